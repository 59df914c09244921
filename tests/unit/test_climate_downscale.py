"""Climate carried to cells."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer

from eemt.climate.downscale import to_cells
from eemt.climate.station import StationSource
from eemt.energy.evaporation import saturation_vapour_pressure

WATERDALE = Path(__file__).parents[2] / "config/data/waterdale_normals_1971-2000.csv"
X, Y = np.array([480000.0, 480500.0, 481000.0]), np.array([4420500.0, 4420000.0])
CRS = "EPSG:32613"


@pytest.fixture(scope="module")
def station():
    source = StationSource(WATERDALE, elevation=1594.0, latitude=40.43, longitude=-105.21, normals_period=(1971, 2000))
    return source.monthly()


def heights(value):
    return np.full((2, 3), value, dtype=np.float32)


def test_cells_at_the_station_s_height_have_its_climate(station):
    cells = to_cells(station, heights(1594.0), X, Y, CRS)
    for name in ("tmin", "tmax", "prcp", "vp"):
        assert cells[name].shape == (12, 2, 3)
        assert cells[name].dtype == np.float32
        np.testing.assert_allclose(cells[name], np.broadcast_to(station[name].values, (12, 2, 3)), rtol=1e-6)


def test_a_kilometre_up_is_colder_by_the_lapse_rate(station):
    low = to_cells(station, heights(1594.0), X, Y, CRS)
    high = to_cells(station, heights(2594.0), X, Y, CRS, lapse_tmin=5.0, lapse_tmax=np.linspace(4.0, 8.0, 12))
    np.testing.assert_allclose(low["tmin"] - high["tmin"], 5.0, atol=1e-5)
    np.testing.assert_allclose((low["tmax"] - high["tmax"])[:, 0, 0], np.linspace(4.0, 8.0, 12), atol=1e-5)


def test_precipitation_changes_with_height_and_is_never_negative(station):
    low = to_cells(station, heights(1594.0), X, Y, CRS)["prcp"]
    high = to_cells(station, heights(2094.0), X, Y, CRS, precipitation_gradient=0.5)["prcp"]
    np.testing.assert_allclose(high, 1.25 * low, rtol=1e-6)
    assert np.all(to_cells(station, heights(0.0), X, Y, CRS, precipitation_gradient=5.0)["prcp"] == 0.0)


def test_estimated_vapour_pressure_follows_the_cell_s_minimum(station):
    cells = to_cells(station, heights(2594.0), X, Y, CRS)
    np.testing.assert_allclose(cells["vp"], 1000 * saturation_vapour_pressure(cells["tmin"]), rtol=1e-5)


def test_measured_vapour_pressure_is_kept(station):
    measured = station.copy()
    measured["vp"] = measured["vp"].assign_attrs()
    measured["vp"].attrs.pop("estimated")
    cells = to_cells(measured, heights(2594.0), X, Y, CRS)
    np.testing.assert_allclose(cells["vp"][:, 0, 0], station["vp"].values[:, 0, 0], rtol=1e-6)


def test_missing_land_has_no_climate(station):
    elevation = heights(1594.0)
    elevation[0, 1] = np.nan
    for values in to_cells(station, elevation, X, Y, CRS).values():
        assert np.all(np.isnan(values[:, 0, 1]))
        assert np.all(np.isfinite(values[:, 1]))


def test_minimum_never_passes_the_maximum(station):
    cells = to_cells(station, heights(6000.0), X, Y, CRS, lapse_tmin=0.0, lapse_tmax=9.0)
    assert np.all(cells["tmin"] <= cells["tmax"])


@pytest.mark.parametrize("falling", [True, False], ids=["north first", "south first"])
def test_grid_is_sampled_bilinearly_in_its_own_projection(falling):
    # bilinear sampling is exact for a field linear in longitude and latitude
    lon, lat = np.linspace(-105.4, -105.0, 5), np.linspace(39.7, 40.1, 4)[:: -1 if falling else 1]
    field = 10.0 + 3.0 * (lon + 105.2) + 2.0 * (lat[:, None] - 39.9)
    monthly = np.repeat(field[None], 12, axis=0)
    variables = {name: (("time", "y", "x"), monthly + k) for k, name in enumerate(("tmin", "tmax", "prcp", "vp"))}
    source = xr.Dataset(
        variables | {"elevation": (("y", "x"), 1000.0 + 100.0 * field)},
        coords={"y": lat, "x": lon, "crs": ((), 0, {"crs_name": "EPSG:4326"})},
    )
    cells = to_cells(source, heights(2500.0), X, Y, CRS)
    at_lon, at_lat = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(*np.meshgrid(X, Y))
    expected = 10.0 + 3.0 * (at_lon + 105.2) + 2.0 * (at_lat - 39.9)
    climb = (2500.0 - (1000.0 + 100.0 * expected)) / 1000.0
    np.testing.assert_allclose(cells["tmin"][0], expected - 6.5 * climb, rtol=1e-5)
    np.testing.assert_allclose(cells["vp"][5], expected + 3, rtol=1e-6)
