"""Climate carried to cells."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from eemt.climate.downscale import conserving, fitted_lapse, to_cells
from eemt.climate.positions import projected
from eemt.climate.sampling import station_weights
from eemt.climate.station import StationSource
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError
from eemt.grid import Grid
from sites import hills

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


def test_only_what_is_wanted_is_carried_to_cells(station):
    every, few = (to_cells(station, heights(1900.0), X, Y, CRS, **only) for only in ({}, {"names": ()}))
    assert set(few) == {"tmin", "tmax", "prcp"}
    for name, values in few.items():
        np.testing.assert_array_equal(values, every[name])


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


LCC = "+proj=lcc +lat_1=25 +lat_2=60 +lat_0=42.5 +lon_0=-100 +x_0=0 +y_0=0 +ellps=WGS84 +units=m"
SITE = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 130, 110)


def grid_source(rows=9, cols=9, step=1000.0, crs=LCC, seed=0, **fixed):
    """A rough climate around the site, on a kilometre grid."""
    x, y = projected(SITE.x, SITE.y, SITE.crs, crs)
    middle = np.round([x.mean(), y.mean()])
    rng = np.random.default_rng(seed)
    ranges = {"tmin": (-9, 4), "tmax": (5, 25), "prcp": (5, 90), "vp": (300, 900), "elevation": (1500, 2500)}
    fields = {
        name: np.full((12, rows, cols), fixed[name]) if name in fixed else rng.uniform(low, high, (12, rows, cols))
        for name, (low, high) in ranges.items()
    }
    return xr.Dataset(
        {name: (("time", "y", "x"), fields[name]) for name in ("tmin", "tmax", "prcp", "vp")}
        | {"elevation": (("y", "x"), fields["elevation"][0])},
        coords={
            "x": middle[0] + step * (np.arange(cols) - (cols - 1) / 2),
            "y": middle[1] - step * (np.arange(rows) - (rows - 1) / 2),
            "crs": ((), 0, {"crs_name": crs}),
        },
    )


def stations_at(x, y, elevation, **fields):
    """Several stations at places of the site."""
    longitude, latitude = Transformer.from_crs(SITE.crs, "EPSG:4326", always_xy=True).transform(x, y)
    rng = np.random.default_rng(5)
    ranges = {"tmin": (-9, 4), "tmax": (5, 25), "prcp": (5, 90), "vp": (300, 900)}
    return xr.Dataset(
        {
            name: (("station", "time"), fields.get(name, rng.uniform(low, high, (len(x), 12))))
            for name, (low, high) in ranges.items()
        }
        | {"elevation": ("station", np.asarray(elevation, dtype=float))},
        coords={
            "lat": ("station", latitude),
            "lon": ("station", longitude),
            "station_name": ("station", [f"s{k}" for k in range(len(x))]),
        },
    )


PLACES = (
    np.array([471_500.0, 474_000.0, 476_000.0, 472_200.0]),
    np.array([4_422_000.0, 4_420_100.0, 4_424_000.0, 4_419_000.0]),
)


@pytest.mark.parametrize(
    "climate", [grid_source(), stations_at(*PLACES, [1600, 1900, 2300, 2000])], ids=["grid", "stations"]
)
@pytest.mark.parametrize("options", [{}, {"precipitation_resampling": "conservative", "precipitation_gradient": 0.4}])
def test_a_cell_is_the_same_in_every_tile(climate, options):
    elevation = hills(*SITE.shape)
    whole = to_cells(climate, elevation, SITE.x, SITE.y, SITE.crs, **options)
    for rows, cols in ((slice(0, 37), slice(0, 130)), (slice(37, 110), slice(64, 91)), (slice(5, 6), slice(3, 4))):
        tile = SITE.window(rows, cols)
        part = to_cells(climate, elevation[rows, cols], tile.x, tile.y, tile.crs, **options)
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][:, rows, cols])


def test_there_are_no_steps_between_the_cells_of_the_source():
    climate = grid_source()
    cells = to_cells(climate, np.full(SITE.shape, 2000.0, np.float32), SITE.x, SITE.y, SITE.crs, lapse_tmin=0.0)
    most = (
        np.abs(np.diff(climate["tmin"].values, axis=-1)).max() + np.abs(np.diff(climate["tmin"].values, axis=-2)).max()
    )
    # 30 m of a kilometre's change at most
    assert np.abs(np.diff(cells["tmin"], axis=-1)).max() < 0.032 * most


@given(seed=st.integers(0, 200), mean=st.floats(1.0, 400.0))
@settings(max_examples=15)
def test_conservative_precipitation_has_the_source_s_mean_in_each_of_its_cells(seed, mean):
    # within a quarter of the mean, no arrangement of cells needs less than nothing anywhere
    rain = mean * (1 + np.random.default_rng(seed).uniform(-0.24, 0.24, (2, 5, 6)))
    climate = xr.Dataset(
        {name: (("time", "y", "x"), np.repeat(rain, 6, axis=0)) for name in ("tmin", "tmax", "prcp", "vp")}
        | {"elevation": (("y", "x"), np.zeros((5, 6)))},
        coords={"x": 500.0 + 1000 * np.arange(6), "y": 4500.0 - 1000 * np.arange(5), "crs": ((), 0, {"crs_name": CRS})},
    )
    x, y = 20.0 + 40 * np.arange(150), 4980.0 - 40 * np.arange(125)
    cells = to_cells(climate, np.zeros((125, 150), np.float32), x, y, CRS, precipitation_resampling="conservative")
    means = cells["prcp"].reshape(12, 5, 25, 6, 25).mean(axis=(2, 4))
    np.testing.assert_allclose(means, climate["prcp"].values, rtol=2e-3)
    assert cells["prcp"].min() >= 0.0


def test_conservative_precipitation_of_a_lone_wet_cell_keeps_the_total_and_is_never_negative():
    rain = np.zeros((1, 7, 7))
    rain[0, 3, 3] = 80.0
    centres = conserving(rain)
    assert centres.min() >= 0.0
    axis = np.eye(7) * 0.75 + 0.125 * (np.eye(7, k=1) + np.eye(7, k=-1))
    assert (axis @ centres[0] @ axis.T).sum() == pytest.approx(80.0)


def test_uniform_precipitation_is_conserved_as_it_is():
    np.testing.assert_allclose(conserving(np.full((12, 4, 5), 33.0)), 33.0)


@pytest.mark.parametrize(("rows", "cols"), [(1, 9), (9, 1)])
def test_a_single_row_or_column_of_the_source_is_interpolated_along_itself(rows, cols):
    climate = grid_source(rows, cols)
    tile = SITE.window(slice(50, 54), slice(60, 64))
    cells = to_cells(climate, np.full((4, 4), 2000.0, np.float32), tile.x, tile.y, tile.crs, lapse_tmin=0.0)
    assert np.isfinite(cells["tmin"]).all()
    middle = climate["tmin"].values.reshape(12, 9)[:, 3:6]
    assert np.all(cells["tmin"].min(axis=(1, 2)) >= middle.min(axis=1) - 1e-4)
    assert np.all(cells["tmin"].max(axis=(1, 2)) <= middle.max(axis=1) + 1e-4)


def test_cells_beyond_the_source_are_refused_with_both_extents():
    climate = grid_source(3, 3)
    with pytest.raises(InputError, match=r"the source covers x .* to .*, y .*; the site needs x .* to .*") as refusal:
        to_cells(climate, np.full(SITE.shape, 2000.0, np.float32), SITE.x, SITE.y, SITE.crs)
    assert "\n" not in str(refusal.value)
    nowhere = np.full(SITE.shape, np.nan, np.float32)
    nowhere[55, 65] = 2000.0
    assert np.isfinite(to_cells(climate, nowhere, SITE.x, SITE.y, SITE.crs)["prcp"][:, 55, 65]).all()


def test_unknown_cells_of_the_source_take_the_nearest_pair_of_climate_and_elevation():
    climate = grid_source(tmin=5.0, elevation=1000.0)
    for name in ("tmin", "tmax", "prcp", "vp"):
        climate[name].values[:, 4:6, 4] = np.nan
    cells = to_cells(climate, np.full(SITE.shape, 2000.0, np.float32), SITE.x, SITE.y, SITE.crs)
    np.testing.assert_allclose(cells["tmin"], 5.0 - 6.5, atol=1e-5)
    assert np.isfinite(cells["prcp"]).all()
    with pytest.raises(InputError, match=r"no value within climate\.fill_distance of x"):
        to_cells(climate, np.full(SITE.shape, 2000.0, np.float32), SITE.x, SITE.y, SITE.crs, fill_distance=0.0)


@given(
    seed=st.integers(0, 1000),
    stations=st.integers(2, 7),
    power=st.floats(0.3, 6.0),
)
@settings(max_examples=40)
def test_weights_of_stations_sum_to_one_and_stay_within_their_range(seed, stations, power):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(470_000, 476_000, stations), rng.uniform(4_418_000, 4_424_000, stations)
    weights = station_weights(X_FEW, Y_FEW, x, y, power)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-12)
    assert weights.min() >= 0.0
    climate = stations_at(x, y, rng.uniform(1500, 2500, stations))
    elevation = np.full((len(Y_FEW), len(X_FEW)), 2000.0, np.float32)
    cells = to_cells(climate, elevation, X_FEW, Y_FEW, CRS, lapse_tmin=0.0, lapse_tmax=0.0, idw_power=power)
    for name in ("tmin", "tmax", "prcp", "vp"):
        values = climate[name].values
        assert np.all(cells[name] <= values.max(axis=0)[:, None, None] + 1e-3)
        assert np.all(cells[name] >= values.min(axis=0)[:, None, None] - 1e-3)


X_FEW, Y_FEW = np.arange(471_000.0, 475_000.0, 500.0), np.arange(4_423_000.0, 4_419_000.0, -500.0)


def test_a_cell_at_a_station_has_its_climate():
    x, y = np.array([471_500.0, 474_000.0, 472_500.0]), np.array([4_422_000.0, 4_420_500.0, 4_419_500.0])
    climate = stations_at(x, y, [1700.0, 1900.0, 2100.0])
    elevation = np.full((len(Y_FEW), len(X_FEW)), 1900.0, np.float32)
    cells = to_cells(climate, elevation, X_FEW, Y_FEW, CRS, precipitation_gradient=0.5)
    at = (list(Y_FEW).index(4_420_500.0), list(X_FEW).index(474_000.0))
    for name in ("tmin", "tmax", "prcp", "vp"):
        np.testing.assert_allclose(cells[name][:, at[0], at[1]], climate[name].values[1], rtol=1e-6)


def test_stations_are_brought_to_the_cell_s_height_before_they_are_weighted():
    # all stations tell the same temperature at sea level and the same gradient of rain
    heights_of = np.array([1600.0, 1900.0, 2300.0, 2000.0])
    sea_level = np.linspace(10, 30, 12)
    temperature = sea_level - 5.0 * heights_of[:, None] / 1000.0
    climate = stations_at(*PLACES, heights_of, tmin=temperature, tmax=temperature + 8)
    elevation = hills(*SITE.shape)
    cells = to_cells(climate, elevation, SITE.x, SITE.y, SITE.crs, lapse_tmin=5.0, lapse_tmax=5.0)
    np.testing.assert_allclose(cells["tmin"], sea_level[:, None, None] - 5.0 * elevation / 1000.0, atol=1e-3)
    fitted = to_cells(climate, elevation, SITE.x, SITE.y, SITE.crs, lapse_tmin="stations", lapse_tmax="stations")
    np.testing.assert_allclose(fitted["tmax"], cells["tmax"], atol=1e-3)
    np.testing.assert_allclose(fitted_lapse(climate, "tmax"), 5.0)


@pytest.mark.parametrize(
    ("number", "heights_of", "told"),
    [(2, [1500, 2500], "there are 2 stations; 3 are needed"), (3, [1500, 1520, 1510], "stand at 1500 to 1520 m")],
)
def test_lapse_rates_are_not_fitted_to_too_little(number, heights_of, told):
    climate = stations_at(PLACES[0][:number], PLACES[1][:number], heights_of)
    with pytest.raises(InputError, match=told) as refusal:
        to_cells(climate, heights(2000.0), X, Y, CRS, lapse_tmin="stations")
    assert "climate.lapse_tmin" in str(refusal.value)


def test_lapse_rates_need_several_stations(station):
    with pytest.raises(InputError, match="there are 1 stations"):
        to_cells(station, heights(2000.0), X, Y, CRS, lapse_tmax="stations")
