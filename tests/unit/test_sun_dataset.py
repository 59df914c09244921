"""Sun maps of a DataArray: the same numbers as from arrays, on the same coordinates, described as CF asks."""

import numpy as np
import pytest
import xarray as xr
from pyproj import CRS

from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import write_netcdf
from eemt.sun.dataset import sun_maps
from eemt.sun.irradiation import irradiation
from sites import hills

DAYS = [80, 172]
GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 44, 36)
DAILY = ("global", "beam", "diffuse", "insolation", "flat_global")
MONTHLY = ("monthly_global", "monthly_flat_global", "monthly_insolation")


def dem(**attrs) -> xr.DataArray:
    z = hills(*GRID.shape)
    z[5:8, 9] = np.nan
    return xr.DataArray(z, coords={"y": GRID.y, "x": GRID.x}, dims=("y", "x"), attrs={"crs": GRID.crs, **attrs})


def maps(elevation: xr.DataArray, **options) -> xr.Dataset:
    return sun_maps(elevation, **{"days": DAYS, "step": 30.0, "threads": 1} | options)


@pytest.fixture(scope="module")
def plain() -> xr.Dataset:
    return maps(dem())


def test_values_are_those_of_the_array_function(plain):
    latitude, convergence, blocks = GRID.sun_geometry()
    options = {"latitude": latitude, "convergence": convergence, "blocks": blocks}
    wanted = irradiation(dem().to_numpy(), dx=30.0, dy=30.0, days=DAYS, step=30.0, threads=1, **options)
    assert set(plain.data_vars) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(plain[name], values)


def test_dimensions_are_days_or_months_and_the_grid(plain):
    for name in DAILY:
        assert plain[name].dims == ("day", "y", "x")
    for name in MONTHLY:
        assert plain[name].dims == ("month", "y", "x")
    assert plain["day"].to_numpy().tolist() == DAYS
    assert plain["month"].to_numpy().tolist() == list(range(1, 13))
    np.testing.assert_array_equal(plain["y"], GRID.y)
    np.testing.assert_array_equal(plain["x"], GRID.x)


def test_every_variable_has_units_a_name_and_a_grid_mapping(plain):
    assert plain.attrs["Conventions"] == "CF-1.8"
    for name in (*DAILY, *MONTHLY):
        attributes = plain[name].attrs
        assert attributes["units"] == ("h" if "insolation" in name else "W h m-2")
        assert attributes["long_name"]
        assert CRS.from_cf(plain[attributes["grid_mapping"]].attrs) == CRS.from_user_input(GRID.crs)
    assert plain["x"].attrs["standard_name"] == "projection_x_coordinate"
    assert plain["y"].attrs["standard_name"] == "projection_y_coordinate"
    assert plain["insolation"].attrs["standard_name"] == "duration_of_sunshine"


def test_months_alone(plain):
    months = maps(dem(), daily=False)
    assert set(months.data_vars) == set(MONTHLY)
    assert "day" not in months.dims
    np.testing.assert_allclose(months["monthly_global"], plain["monthly_global"], rtol=1e-4)


@pytest.mark.parametrize("turned", [{"y": slice(None, None, -1)}, {"x": slice(None, None, -1)}])
def test_either_order_of_a_coordinate_gives_the_same_maps(plain, turned):
    ours = maps(dem().isel(turned))
    np.testing.assert_array_equal(ours["y"], plain.isel(turned)["y"])
    for name in DAILY:
        np.testing.assert_array_equal(ours[name], plain[name].isel(turned))


def test_order_of_dimensions_and_a_band_of_one_do_not_matter(plain):
    ours = maps(dem().transpose("x", "y").expand_dims("band"))
    xr.testing.assert_equal(ours, plain)


def test_geotransform_has_the_order_of_the_coordinates(plain):
    assert plain["spatial_ref"].attrs["GeoTransform"] == "471000.0 30.0 0.0 4423000.0 0.0 -30.0"
    turned = maps(dem().isel(y=slice(None, None, -1)))
    assert turned["spatial_ref"].attrs["GeoTransform"] == "471000.0 30.0 0.0 4421920.0 0.0 30.0"


@pytest.mark.parametrize("name", ["spatial_ref", "utm"])
@pytest.mark.parametrize("key", ["crs_wkt", "spatial_ref"])
def test_coordinate_system_of_a_grid_mapping(plain, name, key):
    mapping = xr.DataArray(0, attrs={key: CRS.from_user_input(GRID.crs).to_wkt()})
    bare = dem().assign_coords({name: mapping})
    bare.attrs = {"grid_mapping": name}
    xr.testing.assert_equal(maps(bare)["global"], plain["global"])


def test_coordinate_system_of_rioxarray_is_used_where_it_is_loaded(plain):
    class Accessor:
        def __init__(self, _):
            self.crs = CRS.from_user_input(GRID.crs)

    bare = dem()
    bare.attrs = {}
    xr.register_dataarray_accessor("rio")(Accessor)
    try:
        ours = maps(bare)
    finally:
        del xr.DataArray.rio
    np.testing.assert_array_equal(ours["global"], plain["global"])


def test_fill_value_is_a_hole(plain):
    filled = dem(_FillValue=-9999.0).fillna(-9999.0)
    np.testing.assert_array_equal(maps(filled)["global"], plain["global"])


def test_sky_view_and_horizons_on_demand():
    ours = maps(dem(), sky_view=True, horizons=True, azimuths=16)
    assert ours["sky_view"].dims == ("y", "x")
    assert ours["horizon"].dims == ("azimuth", "y", "x")
    assert ours["azimuth"].to_numpy()[:2].tolist() == [0.0, 22.5]
    assert ours["horizon"].attrs["units"] == "degree"
    assert 0.2 < float(ours["sky_view"].mean()) < 1


def test_turbidity_by_name_and_albedo_as_a_map(plain):
    hazy = maps(dem(), linke="climatology", days=[172])
    assert (hazy["beam"] < plain["beam"].sel(day=[172])).sum() > 1000  # Linke 4 in June
    even = maps(dem(), albedo=xr.full_like(dem(), 0.2))
    np.testing.assert_allclose(even["global"], plain["global"], rtol=1e-5)


def test_survives_a_file_of_netcdf(plain, tmp_path):
    write_netcdf(tmp_path / "sun.nc", plain)
    with xr.open_dataset(tmp_path / "sun.nc", engine="h5netcdf") as back:
        for name in DAILY:
            np.testing.assert_array_equal(back[name], plain[name])
        assert CRS.from_cf(back["spatial_ref"].attrs) == CRS.from_user_input(GRID.crs)


def geographic() -> xr.DataArray:
    axes = {"lat": np.linspace(40, 40.1, 20), "lon": np.linspace(-105, -104.9, 20)}
    return xr.DataArray(np.zeros((20, 20)), coords=axes, dims=("lat", "lon"), attrs={"crs": "EPSG:4326"})


@pytest.mark.parametrize(
    ("elevation", "line"),
    [
        (
            geographic(),
            "elevation: WGS 84 is not a projected system in metres; bring the DEM to one first with `eemt dem`",
        ),
        (dem(crs="EPSG:2231"), "is not a projected system in metres"),
        (dem(crs=None), "elevation: has no coordinate system; set attrs['crs']"),
        (dem(crs="EPSG:99999"), "elevation: its coordinate system EPSG:99999 is not known to PROJ"),
        (dem().rename(x="east"), "elevation: must have dimensions y and x, has y, east"),
        (dem().drop_vars("x"), "elevation: has no coordinate x, the cell centres [m]"),
        (dem().isel(x=[0, 1, 3]), "elevation: the coordinate x is not evenly spaced"),
        (dem().isel(x=slice(1), y=slice(3)), "elevation: must have dimensions y and x"),
        (dem().to_numpy(), "elevation: must be an xarray.DataArray, is ndarray"),
    ],
)
def test_a_dem_that_cannot_be_used_gets_one_line(elevation, line):
    with pytest.raises(InputError) as error:
        maps(elevation)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_albedo_on_other_cells_is_refused():
    with pytest.raises(InputError, match="albedo: is not on the cells of the elevation model"):
        maps(dem(), albedo=dem().isel(x=slice(3, None)))
