"""The elevation that a coarse climate belongs to, from a finer model."""

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer

from eemt.climate.downscale import to_cells
from eemt.climate.elevation import elevation_from_file, elevation_on
from eemt.climate.positions import projected
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import write_geotiff
from sites import hills

LCC = "+proj=lcc +lat_1=25 +lat_2=60 +lat_0=42.5 +lon_0=-100 +x_0=0 +y_0=0 +ellps=WGS84 +units=m"
SITE = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 240, 200)


def plane(grid, east=0.08, north=-0.05):
    x, y = np.meshgrid(grid.x - 471_000, grid.y - 4_423_000)
    return (1800 + east * x + north * y).astype(np.float32)


def cells_around(grid, step=1000.0, margin=2, crs=LCC):
    """Axes of a climate source around a grid, north first."""
    x, y = projected(grid.x, grid.y, grid.crs, crs)
    first = np.floor([x.min() / step - margin, y.min() / step - margin])
    last = np.ceil([x.max() / step + margin, y.max() / step + margin])
    return np.arange(first[0], last[0] + 1) * step, (np.arange(first[1], last[1] + 1) * step)[::-1]


def true_plane(x, y, crs=LCC, east=0.08, north=-0.05):
    at_x, at_y = Transformer.from_crs(crs, SITE.crs, always_xy=True).transform(*np.meshgrid(x, y))
    return 1800 + east * (at_x - 471_000) + north * (at_y - 4_423_000)


def climate_on(x, y, crs, elevation, temperature):
    """Build a source whose temperature is given and whose elevation is as well."""
    fields = {
        name: (("time", "y", "x"), np.repeat(temperature[None], 12, 0)) for name in ("tmin", "tmax", "prcp", "vp")
    }
    return xr.Dataset(
        fields | {"elevation": (("y", "x"), elevation)},
        coords={"x": x, "y": y, "crs": ((), 0, {"crs_name": crs})},
    )


@pytest.mark.parametrize("step", [1000.0, 2500.0])
@pytest.mark.parametrize("rising", [True, False], ids=["south first", "north first"])
def test_temperature_on_a_slope_is_right_up_to_the_rim(step, rising):
    # temperatures that fall with height exactly, on an elevation model that ends at the site's edge
    x, y = cells_around(SITE, step)
    y = y[::-1] if rising else y
    temperature = 30.0 - 6.5 * true_plane(x, y) / 1000.0
    found = elevation_on(x, y, LCC, plane(SITE), SITE)
    assert np.isfinite(found).all()
    climate = climate_on(x, y, LCC, found, temperature)
    cells = to_cells(climate, plane(SITE), SITE.x, SITE.y, SITE.crs)
    np.testing.assert_allclose(cells["tmin"][0], 30.0 - 6.5 * plane(SITE) / 1000.0, atol=0.02)


def test_cells_within_the_model_have_its_mean():
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 100.0, 100.0, 60, 50)
    rough = hills(50, 60, 100.0)
    x, y = 471_500.0 + 1000 * np.arange(6), 4_422_500.0 - 1000 * np.arange(5)
    found = elevation_on(x, y, grid.crs, rough, grid)
    np.testing.assert_allclose(found, rough.reshape(5, 10, 6, 10).mean(axis=(1, 3)), rtol=1e-6)


def test_rough_land_is_not_thrown_off_at_the_rim():
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 300, 300)
    rough = hills(300, 300)
    part = grid.window(slice(60, 240), slice(60, 240))
    x, y = 471_150.0 + 1000 * np.arange(9), 4_422_850.0 - 1000 * np.arange(9)
    whole = elevation_on(x, y, grid.crs, rough, grid)
    cut = elevation_on(x, y, grid.crs, rough[60:240, 60:240], part)
    touched = (slice(1, 7), slice(1, 7))
    assert np.abs(cut - whole)[touched].mean() < 40.0
    assert cut.min() > rough.min() - 300.0 and cut.max() < rough.max() + 300.0


def test_a_site_within_one_cell_gives_it_its_mean():
    x, y = cells_around(SITE, 50_000.0)
    found = elevation_on(x, y, LCC, plane(SITE), SITE)
    np.testing.assert_allclose(found, plane(SITE).mean(), atol=1.0)


def test_a_model_as_coarse_as_the_source_is_taken_cell_by_cell(tmp_path):
    x, y = cells_around(SITE)
    west, north = x[0] - 500.0, y[0] + 500.0
    own = np.random.default_rng(1).uniform(1000, 2000, (len(y), len(x))).astype(np.float32)
    write_geotiff(tmp_path / "own.tif", own, Grid(LCC, west, north, 1000.0, 1000.0, len(x), len(y)), ["z"], "m")
    np.testing.assert_allclose(elevation_from_file(tmp_path / "own.tif", x, y, LCC), own, rtol=1e-5)


def test_holes_in_the_model_do_not_count():
    holed = plane(SITE)
    holed[50:120, 60:150] = np.nan
    x, y = cells_around(SITE)
    np.testing.assert_allclose(elevation_on(x, y, LCC, holed, SITE)[3:-3, 3:-3], true_plane(x, y)[3:-3, 3:-3], atol=0.5)


def test_a_file_elsewhere_is_refused(tmp_path):
    far = Grid("EPSG:32613", 571_000.0, 4_423_000.0, 30.0, 30.0, 40, 40)
    write_geotiff(tmp_path / "far.tif", plane(far), far, ["z"], "m")
    x, y = cells_around(SITE)
    with pytest.raises(InputError, match=r"elevation_file: .*far\.tif does not lie on the cells"):
        elevation_from_file(tmp_path / "far.tif", x, y, LCC)
    with pytest.raises(InputError, match="does not lie on the cells"):
        elevation_on(x, y, LCC, plane(far), far)
