"""What a reader may trust in the figures."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from eemt import figures, plots
from eemt.figures import Colours, Panel
from eemt.grid import Grid


def grid_of(rows, cols, cell=30.0):
    return Grid("EPSG:32613", 471_720.0, 4_427_880.0, cell, cell, cols, rows)


def hills(rows, cols):
    y, x = np.mgrid[:rows, :cols]
    return 2000 + 60 * np.sin(x / 9) * np.cos(y / 7) + 0.5 * x


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    buffer.seek(0)
    return imread(buffer)


def map_axes(figure):
    return [axes for axes in figure.axes if axes.images]


def test_slope_toward_the_light_is_brighter_than_level_ground_and_that_than_one_away():
    grid = grid_of(20, 20)
    y, x = np.mgrid[:20, :20] * 30.0
    toward, away = 0.3 * (x + y), -0.3 * (x + y)  # falling to the north-west, where the light is, and from it
    level = figures.hillshade(np.full((20, 20), 1500.0), grid)
    assert np.allclose(level, np.sin(np.radians(45)))
    assert figures.hillshade(toward, grid)[5:-5, 5:-5].min() > level.max()
    assert figures.hillshade(away, grid)[5:-5, 5:-5].max() < level.min()


def test_hillshade_of_a_plane_follows_lamberts_cosine():
    grid = grid_of(12, 12)
    y, _ = np.mgrid[:12, :12] * 30.0
    slope = np.radians(35)  # steep enough not to be exaggerated, falling to the north
    shade = figures.hillshade(np.tan(slope) * y, grid)
    light = np.array([-0.5, 0.5, np.sqrt(0.5)])
    normal = np.array([0, np.sin(slope), np.cos(slope)])
    assert shade[6, 6] == pytest.approx(light @ normal, abs=1e-9)


def test_missing_elevation_has_no_shade_and_spoils_no_neighbour():
    elevation = hills(15, 15)
    elevation[7, 7] = np.nan
    shade = figures.hillshade(elevation, grid_of(15, 15))
    assert np.isnan(shade[7, 7])
    assert np.isfinite(shade).sum() == 15 * 15 - 1


def test_missing_cells_are_transparent_and_others_opaque():
    values = np.array([[1.0, np.nan], [2.0, 3.0]])
    rgba = figures.drape(Panel("", values, Colours("viridis", 1, 3, "")), np.full((2, 2), 0.7))
    assert rgba[..., 3].tolist() == [[1, 0], [1, 1]]


def test_level_ground_keeps_the_colour_of_the_bar():
    level = np.full((1, 3), np.sin(np.radians(45)))
    rgba = figures.drape(Panel("", np.array([[0.0, 0.5, 1.0]]), Colours("viridis", 0, 1, "")), level)
    assert np.allclose(rgba[0], matplotlib.colormaps["viridis"]([0.0, 0.5, 1.0]))


def test_methods_share_their_colours_and_one_bar():
    trad, topo = hills(30, 40) / 100, hills(30, 40) / 80
    panels = figures.eemt_panels({"trad": trad, "topo": topo})
    assert panels[0].colours == panels[1].colours
    assert panels[0].colours.low <= trad.min() + 0.5
    assert panels[0].colours.high >= topo.max() - 0.5
    figure = figures.maps(panels, grid_of(30, 40), figures.hillshade(trad, grid_of(30, 40)))
    assert len(map_axes(figure)) == 2
    assert len(figure.axes) == 3


def test_difference_is_centred_on_no_change():
    panel, of_plants = figures.differences(
        {"trad": np.array([[2.0, 3.0]]), "topo": np.array([[1.0, 9.0]]), "veg": np.array([[1.0, 1.0]])}
    )
    assert panel.colours.low == -panel.colours.high
    assert panel.values.tolist() == [[-1.0, 6.0]]
    assert (of_plants.title, of_plants.values.tolist()) == ("VEG minus TOPO", [[0.0, -8.0]])
    assert of_plants.colours == panel.colours


def test_plants_are_compared_with_climate_alone_where_there_is_nothing_else():
    (panel,) = figures.differences({"trad": np.ones((2, 2)), "veg": np.zeros((2, 2))})
    assert panel.title == "VEG minus TRAD"
    assert figures.differences({"topo": np.ones((2, 2))}) == []


def test_trends_are_dotted_where_they_may_be_chance():
    slope, chance = hills(60, 80) - 2000, np.full((60, 80), 0.5)
    chance[:, :40] = 0.01
    grid = grid_of(60, 80)
    (panel,) = figures.trend_panels({"topo": slope}, {"topo": chance}, 0.05)
    (axes,) = map_axes(figures.maps([panel], grid, figures.hillshade(slope, grid)))
    dots = next(artist for artist in axes.collections if artist.get_gid() == "doubtful").get_offsets()
    assert len(dots) == 30 * 20
    assert dots[:, 0].min() * 1000 > grid.west + 40 * 30


def test_years_are_drawn_as_given():
    figure = plots.years({"trad": [1.0, 3.0, 2.0]}, ["2001", "2002", "2004"])
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [2001, 2002, 2004]
    assert line.get_ydata().tolist() == [1.0, 3.0, 2.0]


def test_ratio_is_centred_on_one():
    colours = figures.diverging("PuOr_r", "", np.array([0.6, 1.1]), centre=1.0)
    assert (colours.low + colours.high) / 2 == pytest.approx(1.0)


@pytest.mark.parametrize("values", [np.full((3, 3), 7.0), np.full((3, 3), np.nan), np.zeros((3, 3))])
def test_colours_of_constant_or_missing_maps_have_a_width(values):
    for colours in (figures.sequential("viridis", "", values), figures.diverging("RdBu_r", "", values)):
        assert colours.high > colours.low
        assert np.isfinite([colours.low, colours.high]).all()


@pytest.mark.parametrize("width", [0.3, 1.0, 3.3, 9.99, 10.0, 47.0, 123.4, 6000.0])
def test_scale_bar_is_round_and_takes_a_tenth_to_a_third_of_the_map(width):
    length = figures.scale_bar_length(width)
    digits = f"{length:.6e}"
    assert digits.split("e", maxsplit=1)[0] in {"1.000000", "2.000000", "5.000000"}
    assert 0.1 * width <= length <= 0.3 * width * (1 + 1e-9)


def test_drawn_scale_bar_has_the_length_it_states():
    grid = grid_of(60, 100)
    elevation = hills(60, 100)
    axes = map_axes(figures.maps([figures.elevation_panel(elevation)], grid, figures.hillshade(elevation, grid)))[0]
    left, right = next(line for line in axes.lines if line.get_gid() == "scale").get_xdata()
    assert right - left == pytest.approx(0.5)
    assert "500 m" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("shape", [(10, 10), (3, 3), (300, 20), (20, 300), (90, 110)])
@pytest.mark.parametrize("count", [1, 2])
def test_any_shape_of_site_is_drawn_true_to_scale_inside_its_figure(shape, count):
    grid, elevation = grid_of(*shape), hills(*shape)
    panels = figures.eemt_panels(dict(zip(("trad", "topo"), [elevation / 100] * count, strict=False)))
    figure = figures.maps(panels, grid, figures.hillshade(elevation, grid))
    assert pixels(figure).shape[2] == 4
    assert figure.get_figwidth() <= 9.01
    for axes in map_axes(figure):
        box = axes.get_window_extent()
        left, right, bottom, top = axes.axis()
        assert box.height / box.width == pytest.approx((top - bottom) / (right - left), rel=1e-6)
        frame = figure.bbox
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def test_missing_cells_are_drawn_grey():
    elevation = hills(40, 40)
    elevation[:, :20] = np.nan
    grid = grid_of(40, 40)
    figure = figures.maps([figures.elevation_panel(elevation)], grid, figures.hillshade(elevation, grid))
    image = pixels(figure)
    box = map_axes(figure)[0].get_position()
    row = int((1 - (box.y0 + box.y1) / 2) * image.shape[0])
    col = int((box.x0 + 0.25 * box.width) * image.shape[1])
    assert np.allclose(image[row, col, :3], matplotlib.colors.to_rgb(figures.MISSING), atol=0.02)


def test_monthly_bars_stack_to_the_sum_of_the_parts():
    ebio, eppt = np.linspace(0, 2, 12), np.linspace(1, 0, 12)
    figure = plots.monthly({"trad": {"ebio": ebio, "eppt": eppt}, "topo": {"ebio": ebio, "eppt": eppt}})
    for axes in figure.axes:
        tops = np.array([patch.get_y() + patch.get_height() for patch in axes.patches])
        assert np.allclose(tops[12:], ebio + eppt)
        assert f"{(ebio + eppt).sum():.1f}" in axes.get_title(loc="left")
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_north_and_south_means_are_written_above_their_bars():
    figure = plots.north_south({"trad": (20.04, 19.96), "topo": (23.41, 18.27)})
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ["20.0", "23.4", "20.0", "18.3"]


def test_overview_shows_sun_both_methods_and_their_difference():
    grid, elevation = grid_of(30, 30), hills(30, 30)
    figure = figures.overview(grid, elevation, elevation * 0.8, {"trad": elevation / 100, "topo": elevation / 90})
    titles = [axes.get_title(loc="left") for axes in map_axes(figure)]
    assert titles == ["Sun of the year", "EEMT TRAD", "EEMT TOPO", "TOPO minus TRAD"]
    alone = figures.overview(grid, elevation, None, {"trad": elevation / 100})
    assert [axes.get_title(loc="left") for axes in map_axes(alone)] == ["Elevation", "EEMT TRAD"]


def test_figures_leave_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    plots.climate(range(12), range(5, 17), range(12))
    plots.elevation_profile({"trad": plots.Profile(*np.ones((3, 5)))})
    assert dict(matplotlib.rcParams) == before
