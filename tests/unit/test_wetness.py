"""Flow over surfaces whose catchment areas are known."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from eemt.grid import Grid
from eemt.raster import read_band, write_geotiff
from eemt.wetness import _routed, flow, from_edge, mcwi, receivers, topographic_wetness, with_rim

CELL = 10.0


def plane(rows, cols, fall_east, fall_south):
    return 1000.0 - CELL * (fall_east * np.arange(cols) + fall_south * np.arange(rows)[:, None])


def test_plane_falling_south_gathers_one_cell_a_row_to_its_side_borders():
    area = flow(plane(40, 30, 0.0, 0.1), CELL, CELL).area
    expected = CELL * np.arange(1, 41)[:, None] * np.ones(30)
    np.testing.assert_allclose(area, expected, rtol=1e-6)


def test_plane_tilted_off_axis_does_not_pile_water_on_its_border():
    rows, cols = 40, 60
    area = flow(plane(rows, cols, 0.03, 0.1), CELL, CELL).area
    # water from the western border has spread no further east than one column a row
    beyond = np.arange(cols) > np.arange(rows)[:, None]
    expected = CELL * np.arange(1, rows + 1)[:, None] * np.ones(cols)
    np.testing.assert_allclose(area[beyond], expected[beyond], rtol=1e-6)
    assert area.max() <= CELL * rows * (1 + 1e-6)


def test_cone_spreads_its_water():
    # each ring of an outward cone drains what lies inside it: a = pi r^2 / 2 pi r
    y, x = np.mgrid[-60:61, -60:61] * CELL
    radius = np.hypot(x, y)
    area = flow(1000.0 - 0.2 * radius, CELL, CELL).area
    ring = (radius > 200) & (radius < 550)
    assert np.mean(area[ring] / (radius[ring] / 2)) == pytest.approx(1.0, abs=0.15)


def test_bowl_fills_and_drains_over_its_rim():
    y, x = np.mgrid[-20:21, -20:21] * CELL
    area = flow(1000.0 + 0.001 * (x**2 + y**2), CELL, CELL).area
    assert np.all(np.isfinite(area))
    assert np.all(area >= CELL * (1 - 1e-6))
    border = np.ones(area.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    assert area[border].sum() >= 0.99 * CELL * area.size


def test_all_water_leaves_over_the_rim():
    rng = np.random.default_rng(3)
    surface = 500.0 + 100.0 * rng.random((40, 50))
    surface[5:12, 8:20] = np.nan
    surface[25:, 40:] = np.nan
    cells = _routed(with_rim(surface), CELL)[0] / CELL
    ring = np.concatenate([cells[0], cells[-1], cells[1:-1, 0], cells[1:-1, -1]])
    # conservation: every cell inside the outermost ring drains into it once
    assert ring.sum() - ring.size == pytest.approx(42 * 52, rel=1e-6)


def test_sea_receives_the_coast_s_water():
    surface = plane(30, 30, 0.1, 0.0)
    surface[:, 20:] = np.nan
    area = flow(surface, CELL, CELL).area
    assert np.all(np.isnan(area[:, 20:]))
    np.testing.assert_allclose(area[:, :20], CELL * np.arange(1, 21) * np.ones((30, 1)), rtol=1e-6)


def test_one_cell_hole_does_not_break_the_flow():
    surface = plane(30, 15, 0.0, 0.1)
    surface[10, 7] = np.nan
    area = flow(surface, CELL, CELL).area
    assert np.isnan(area[10, 7])
    np.testing.assert_allclose(area[11:, 7], CELL * np.arange(12, 31), rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_rim_carries_a_plane_on(offset):
    surface = plane(6, 8, 0.2, -0.1) + offset
    bordered = with_rim(surface)
    np.testing.assert_allclose(bordered[1:-1, 1:-1], plane(8, 10, 0.2, -0.1) + offset + CELL * 0.1, atol=1e-9)
    np.testing.assert_allclose(bordered[[0, -1]], surface.min() - 1000.0)


def test_rotating_the_land_rotates_the_flow():
    y, x = np.mgrid[0:30, 0:30]
    surface = 50 * np.sin(x / 7) + 40 * np.cos(y / 5 + x / 11) + 3.0 * y
    area = flow(surface, CELL, CELL).area
    turned = np.rot90(flow(np.rot90(surface).copy(), CELL, CELL).area, -1)
    # facets of equal slope may be chosen otherwise; elsewhere the two agree
    assert np.mean(np.isclose(area, turned, rtol=1e-4)) > 0.9


def test_whitebox_is_silent(capfd):
    flow(plane(8, 8, 0.1, 0.1), CELL, CELL)
    assert capfd.readouterr() == ("", "")


def test_a_second_grid_is_not_mistaken_for_the_first():
    first, second = flow(plane(8, 8, 0.0, 0.1), CELL, CELL), flow(plane(12, 5, 0.0, 0.1), CELL, CELL)
    assert first.area.shape == (8, 8)
    assert second.area.shape == (12, 5)


def test_no_land_gives_no_area():
    nothing = flow(np.full((4, 5), np.nan), CELL, CELL)
    assert np.isnan(nothing.area).all()
    assert not nothing.from_edge.any()


def test_oblong_cells_are_refused():
    with pytest.raises(ValueError, match="square"):
        flow(plane(5, 5, 0.0, 0.1), 10.0, 30.0)


def rim(shape):
    outermost = np.ones(shape, dtype=bool)
    outermost[1:-1, 1:-1] = False
    return outermost


def test_all_of_a_tilted_plane_may_receive_water_from_beyond():
    assert flow(plane(30, 20, 0.03, 0.1), CELL, CELL).from_edge.all()


def test_a_cone_receives_water_from_beyond_on_its_rim_alone():
    y, x = np.mgrid[-20:21, -25:26] * CELL
    flagged = flow(1000.0 - 0.2 * np.hypot(x, y), CELL, CELL).from_edge
    np.testing.assert_array_equal(flagged, rim(flagged.shape))


def test_all_of_a_bowl_receives_water_from_its_rim():
    y, x = np.mgrid[-40:1, -20:21] * CELL  # half of it, so that it drains southward from its bottom
    assert flow(1000.0 + 0.2 * np.hypot(x, y), CELL, CELL).from_edge.all()


def test_water_from_beyond_crosses_a_lake_to_its_outlet():
    y, x = np.mgrid[-20:21, -20:21] * CELL
    surface = 1000.0 + 0.2 * np.hypot(x, y)
    surface[40, 20] = 1000.5  # the outlet, below the rest of the rim
    flagged = flow(surface, CELL, CELL).from_edge
    above_the_lake = np.hypot(x, y) > 22 * CELL
    assert flagged[above_the_lake].all()
    assert flagged[40, 20] and flagged[39, 20]


def test_a_valley_carries_water_in_from_the_edge_and_its_sides_do_not():
    y, x = np.mgrid[:60, -40:41] * CELL
    crest = 20 * CELL
    surface = 1000.0 - 0.2 * np.abs(np.abs(x) - crest) - 0.05 * y
    flagged = flow(surface, CELL, CELL).from_edge
    assert flagged[:, 40].all()
    within = np.zeros(flagged.shape, dtype=bool)
    within[20:-1, 24:38] = within[20:-1, 43:57] = True  # below the crests, above the valley's floor
    assert not flagged[within].any()


def test_water_from_a_gap_is_not_trusted_either():
    y, x = np.mgrid[-20:21, -25:26] * CELL
    surface = 1000.0 - 0.2 * np.hypot(x, y)
    surface[20, 28] = np.nan  # east of the summit
    flagged = flow(surface, CELL, CELL).from_edge
    assert not flagged[20, 28]
    assert flagged[20, 29:].all()
    assert not flagged[5:35, 5:20].any()


SQUARE_ON = [(0, -1, 1), (1, -1, 2), (1, 0, 3), (1, 1, 4), (0, 1, 5), (-1, 1, 6), (-1, 0, 7), (-1, -1, 8)]
BETWEEN = [(1, -2, 9), (2, -1, 10), (2, 1, 11), (1, 2, 12), (-1, 2, 13), (-2, 1, 14), (-2, -1, 15), (-1, -2, 16)]


@pytest.mark.parametrize(("fall_east", "fall_south", "code"), SQUARE_ON + BETWEEN)
def test_water_goes_to_the_neighbours_below(fall_east, fall_south, code):
    _, direction = _routed(with_rim(plane(9, 9, 0.01 * fall_east, 0.01 * fall_south)), CELL)
    assert (receivers(direction)[4:-4, 4:-4] == code).all()


@settings(deadline=None)
@given(arrays(np.uint8, (6, 8), elements=st.integers(0, 16)), arrays(np.bool_, (6, 8)))
def test_a_cell_is_flagged_if_it_touches_a_gap_or_receives_from_one_that_is(codes, land):
    land = land & ~rim(land.shape)
    around = ndimage.binary_dilation(~land, np.ones((3, 3)))
    ways = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
    # water crosses gaps as well, and all land beside one is flagged at once
    reached = around & land
    for _ in range(codes.size):
        for i, j in np.argwhere(reached & (codes > 0)):
            for k in range(codes[i, j] - 1, codes[i, j] + (codes[i, j] > 8)):
                row, col = i + ways[k % 8][0], j + ways[k % 8][1]
                if 0 <= row < 6 and 0 <= col < 8:
                    reached[row, col] = True
    np.testing.assert_array_equal(from_edge(codes, land), reached & land)


@pytest.mark.parametrize(("area", "steepness", "expected"), [(100.0, 10.0, 6.340585), (10.0, 30.0, 2.851891)])
def test_topographic_wetness(area, steepness, expected):
    # science.md 6D: ln(a / tan b)
    assert topographic_wetness(area, steepness) == pytest.approx(expected, abs=5e-7)


def test_wetness_is_bounded_on_flats_and_cliffs():
    assert topographic_wetness(10.0, 0.0) == pytest.approx(np.log(10.0 / 0.001))
    assert topographic_wetness(0.5, 89.0) == 0.0
    assert np.isnan(topographic_wetness(np.nan, 5.0))


def test_mcwi_is_wetness_over_its_mean():
    # science.md 6D
    np.testing.assert_allclose(mcwi(np.array([[4.0, 6.0, 8.0, 10.0, 12.0]])), [[0.5, 0.75, 1.0, 1.25, 1.5]])


@settings(deadline=None)
@given(arrays(np.float64, (5, 7), elements=st.floats(0.1, 30)), arrays(np.bool_, (5, 7)))
def test_mcwi_conserves_mass(twi, gap):
    twi = np.where(gap, np.nan, twi)
    for domain in ("valid", "catchment"):
        share = mcwi(twi, domain)
        np.testing.assert_array_equal(np.isnan(share), gap)
        if not gap.all():
            assert np.nanmean(share) == pytest.approx(1.0)


def test_mcwi_of_each_catchment_has_its_own_mean():
    twi = np.array([[1.0, np.nan, 10.0], [np.nan, np.nan, 30.0], [5.0, np.nan, np.nan], [np.nan, 15.0, np.nan]])
    share = mcwi(twi, "catchment")
    np.testing.assert_allclose(
        [share[0, 0], share[0, 2], share[1, 2], share[2, 0], share[3, 1]], [1, 0.5, 1.5, 0.5, 1.5]
    )


def test_mcwi_of_bare_bounds_is_even():
    np.testing.assert_array_equal(mcwi(np.zeros((2, 2))), np.ones((2, 2)))


@settings(deadline=None)
@given(arrays(np.float32, (9, 11), elements=st.just(0.0) | st.floats(0.125, 20, width=32)), arrays(np.bool_, (9, 11)))
def test_catchments_are_the_regions_that_touch_by_a_side_or_a_corner(twi, gap):
    twi = np.where(gap, np.float32(np.nan), twi)
    share = mcwi(twi, "catchment")
    label, number = ndimage.label(~gap, np.ones((3, 3)))
    for region in range(1, number + 1):
        here = twi[label == region].astype(np.float64)
        expected = here / here.mean() if here.mean() > 0 else np.ones(here.size)
        np.testing.assert_allclose(share[label == region], expected, rtol=1e-6)
    assert share.dtype == np.float32
    assert np.nanmin(share, initial=0.0) >= 0.0


def islands(path: Path) -> np.ndarray:
    """Two islands, higher than a strip of rows, in a buffer of terrain."""
    rng = np.random.default_rng(5)
    rows, cols = 560, 50
    surface = ndimage.gaussian_filter(rng.normal(size=(rows, cols)), 3) * 200 + 500 - 0.05 * np.arange(cols)
    surface[200:203] = np.nan
    surface[300:304, 10:13] = np.nan
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, CELL, CELL, cols, rows)
    write_geotiff(path, surface.astype(np.float32), grid, ["elevation"], "m")
    return surface.astype(np.float32)


def test_command_gives_what_whole_arrays_give(call, tmp_path: Path):
    surface = islands(tmp_path / "dem.tif")
    assert call("wetness", tmp_path / "dem.tif", "--out", tmp_path / "out") == (0, "", "")
    whole = flow(surface, CELL, CELL)
    np.testing.assert_array_equal(read_band(tmp_path / "out" / "area.tif"), whole.area)
    flags = read_band(tmp_path / "out" / "area.tif", 2)
    np.testing.assert_array_equal(flags, np.where(np.isfinite(surface), whole.from_edge, np.nan))
    with rasterio.open(tmp_path / "out" / "area.tif") as file:
        assert file.units == ("m", "1")
        assert int(file.tags()["EDGE_CELLS"]) == whole.from_edge.sum()
        assert float(file.tags()["EDGE_SHARE"]) == pytest.approx(np.nanmean(flags), rel=1e-5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["area.tif", "mcwi.tif", "twi.tif"]


@pytest.mark.parametrize("domain", ["valid", "catchment"])
def test_area_within_a_dem_has_the_water_of_the_whole_and_its_own_mean(call, tmp_path: Path, domain):
    islands(tmp_path / "dem.tif")
    rows, cols = slice(150, 420), slice(7, 45)
    for name, area in (("whole", []), ("part", ["--area", "150:420,7:45"])):
        words = ["wetness", tmp_path / "dem.tif", "--out", tmp_path / name, "--domain", domain, *area]
        assert call(*words) == (0, "", "")
    for layer, band in (("area", 1), ("area", 2), ("twi", 1)):
        whole = read_band(tmp_path / "whole" / f"{layer}.tif", band)
        np.testing.assert_array_equal(read_band(tmp_path / "part" / f"{layer}.tif", band), whole[rows, cols])
    share = read_band(tmp_path / "part" / "mcwi.tif").astype(np.float64)
    regions = [slice(0, 50), slice(53, None)] if domain == "catchment" else [slice(None)]
    for region in regions:
        assert np.nanmean(share[region]) == pytest.approx(1.0, abs=1e-6)
    assert np.nanmin(share) >= 0.0
    flags = read_band(tmp_path / "part" / "area.tif", 2)
    with rasterio.open(tmp_path / "part" / "area.tif") as file:
        assert int(file.tags()["EDGE_CELLS"]) == np.nansum(flags)


@pytest.mark.parametrize("area", ["0:10", "0:10,5:5", "0:561,0:50", "-1:5,0:5", "rows,cols", "9:3,0:5"])
def test_impossible_area_is_an_input_error(call, tmp_path: Path, area):
    islands(tmp_path / "dem.tif")
    code, _, err = call("wetness", tmp_path / "dem.tif", "--out", tmp_path / "out", f"--area={area}")
    assert code == 2
    assert f"area: {area} is not ROW0:ROW1,COL0:COL1 within 0:560,0:50" in err


def test_area_without_land_is_an_input_error(call, tmp_path: Path):
    islands(tmp_path / "dem.tif")
    code, _, err = call("wetness", tmp_path / "dem.tif", "--out", tmp_path / "out", "--area", "200:203,0:50")
    assert code == 2
    assert "area: 200:203,0:50 of" in err and "has no valid cell, all are nodata" in err
    assert list((tmp_path / "out").iterdir()) == []


def test_oblong_cells_are_an_input_error(call, tmp_path: Path):
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 10.0, 10.2, 8, 9)
    write_geotiff(tmp_path / "dem.tif", plane(9, 8, 0.1, 0.1).astype(np.float32), grid, ["elevation"], "m")
    code, _, err = call("wetness", tmp_path / "dem.tif", "--out", tmp_path / "out")
    assert code == 2
    assert "has cells of 10 x 10.2; make them square first with `eemt dem`" in err


def can_cut_off() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "-rn", "true"], check=False).returncode == 0


@pytest.mark.skipif(not can_cut_off(), reason="unshare is not there, or may not take the network away")
def test_wetness_needs_no_network_no_licence_and_no_download(hill_dem: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-m", "eemt.cli", "wetness", str(hill_dem), "--out", str(tmp_path / "out")]
    environment = {name: os.environ[name] for name in ("PATH", "NUMBA_CACHE_DIR") if name in os.environ}
    environment["HOME"] = str(home)
    made = subprocess.run(["unshare", "-rn", *command], env=environment, check=False, capture_output=True, text=True)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    assert np.isfinite(read_band(tmp_path / "out" / "mcwi.tif")).any()
    assert list(home.iterdir()) == []
