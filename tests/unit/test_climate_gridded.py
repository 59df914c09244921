"""The user's own grids: names, units, calendars, coordinates and what is said of those that cannot be used."""

from __future__ import annotations

import calendar

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import CRS
from rasterio.transform import from_origin

from eemt.climate.downscale import to_cells
from eemt.climate.gridded import GridSource
from eemt.climate.units import conversion
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError
from eemt.grid import Grid

LON, LAT = np.arange(-107.0, -103.9, 0.5), np.arange(41.5, 38.4, -0.5)
SITE = (-105.33, 39.93, -105.26, 40.0)
SHAPE = (12, len(LAT), len(LON))
MONTHS = {
    "tmin": np.linspace(-8, 12, 12)[:, None, None] + np.zeros(SHAPE),
    "tmax": np.linspace(4, 30, 12)[:, None, None] + np.zeros(SHAPE),
    "prcp": np.linspace(20, 75, 12)[:, None, None] + np.zeros(SHAPE),
}
UNITS = {"tmin": "degC", "tmax": "degC", "prcp": "mm", "vp": "Pa", "elevation": "m"}
HEIGHT = 2000.0 + 100.0 * (LON + 105.0) + 0.0 * LAT[:, None]


def dates(year, kind="MS"):
    return xr.date_range(f"{year}-01-01", f"{year}-12-31", freq=kind)


def grid_of(fields, time=None, lat=LAT, lon=LON, units=UNITS, elevation=HEIGHT):
    """Build a dataset as users have them."""
    made = xr.Dataset(
        {name: (("time", "lat", "lon"), np.asarray(v), {"units": units[name]}) for name, v in fields.items()},
        coords={"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})},
    )
    if elevation is not None:
        made["elevation"] = (("lat", "lon"), np.asarray(elevation), {"units": "m"})
    return made if time is None else made.assign_coords(time=("time", time))


@pytest.fixture
def save(tmp_path):
    def to_file(dataset, name="grid.nc", **options):
        path = tmp_path / name
        dataset.to_netcdf(path, engine=options.pop("engine", "h5netcdf"), **options)
        return str(path)

    return to_file


def raster(path, bands, nodata=None, units=None, scale=None, crs="EPSG:4326"):
    bands = np.atleast_3d(bands) if np.ndim(bands) == 3 else np.asarray(bands)[None]
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    place = from_origin(LON[0] - 0.25, LAT[0] + 0.25, 0.5, 0.5)
    with rasterio.open(path, "w", **profile, dtype=bands.dtype, crs=crs, transform=place, nodata=nodata) as target:
        target.write(bands)
        if units:
            target.units = [units] * len(bands)
        if scale:
            target.scales, target.offsets = [scale[0]] * len(bands), [scale[1]] * len(bands)
    return str(path)


def source(files, **options):
    return GridSource(files, **({"bounds": SITE, "years": (2001, 2001)} | options))


def at_site(dataset, name):
    return dataset[name].sel(x=-105.5, y=40.0).values


def test_months_in_our_own_names_and_units_come_as_they_are(save):
    climate = source(save(grid_of(MONTHS, dates(2001)))).monthly()
    for name, values in MONTHS.items():
        np.testing.assert_allclose(at_site(climate, name), values[:, 0, 0], rtol=1e-6)
    assert climate["time"].dt.year.values.tolist() == [2001] * 12
    assert climate.attrs["source"] == "grid files grid.nc"
    assert climate.attrs["elevation_source"] == "of the source"
    assert (climate["vp"].attrs["estimated"], climate["x"].attrs["units"]) == (
        "from the minimum temperature as dew point",
        "degrees_east",
    )


def test_only_the_site_and_its_surroundings_are_taken(save):
    climate = source(save(grid_of(MONTHS, dates(2001)))).monthly()
    assert climate["x"].values.min() >= -107.0 and climate["x"].values.max() <= -104.0
    assert climate.sizes["x"] <= 5 and climate.sizes["y"] <= 5
    assert climate["x"].values[1] < SITE[0] and climate["x"].values[-2] > SITE[2]


def test_names_and_units_of_the_file_are_translated(save):
    theirs = grid_of(
        {"tn": MONTHS["tmin"] + 273.15, "tx": MONTHS["tmax"] * 1.8 + 32, "pr": MONTHS["prcp"] * 0 + 1e-5},
        dates(2001),
        units={"tn": "K", "tx": "degF", "pr": "kg m-2 s-1"},
    )
    names = {"tmin": "tn", "tmax": {"name": "tx"}, "prcp": {"name": "pr"}}
    climate = source(save(theirs), variables=names).monthly()
    np.testing.assert_allclose(at_site(climate, "tmin"), MONTHS["tmin"][:, 0, 0], atol=1e-4)
    np.testing.assert_allclose(at_site(climate, "tmax"), MONTHS["tmax"][:, 0, 0], atol=1e-4)
    days = [calendar.monthrange(2001, month)[1] for month in range(1, 13)]
    np.testing.assert_allclose(at_site(climate, "prcp"), 86400e-5 * np.array(days), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "units", "value", "ours"),
    [
        ("tmin", "K", 273.15, 0.0),
        ("tmin", "degF", 50.0, 10.0),
        ("tmin", "degrees_C", 7.0, 7.0),
        ("tmin", "C", 7.0, 7.0),
        ("prcp", "m", 0.03, 30.0),
        ("prcp", "inches", 2.0, 50.8),
        ("prcp", "kg m-2", 30.0, 30.0),
        ("prcp", "mm/month", 30.0, 30.0),
        ("prcp", "kg m**-2 s**-1", 1e-5, 0.864),
        ("prcp", "mm d-1", 2.0, 2.0),
        ("vp", "hPa", 7.0, 700.0),
        ("vp", "kPa", 0.7, 700.0),
        ("rh", "1", 0.4, 40.0),
        ("rh", "%", 40.0, 40.0),
        ("swe", "m of water equivalent", 0.2, 200.0),
        ("elevation", "m2 s-2", 9806.65, 1000.0),
        ("elevation", "ft", 1000.0, 304.8),
        ("dayl", "h", 12.0, 43200.0),
    ],
)
def test_units_in_use_become_ours(name, units, value, ours):
    found = conversion(name, units)
    assert found.scale * value + found.offset == pytest.approx(ours, abs=1e-9)
    assert found.a_day == (name == "prcp" and ("s" in units or "d" in units.split("/")[-1]) and "inch" not in units)


@pytest.mark.parametrize(
    ("name", "units", "told"),
    [
        ("tmin", "mm", "does not measure what tmin is"),
        ("prcp", "K", "does not measure what prcp is"),
        ("vp", "%", "does not measure"),
        ("swe", "mm/day", "does not measure"),
        ("tmin", "K/10", "is not a unit that is known"),
        ("tmin", "warm", "is not a unit that is known"),
    ],
)
def test_units_that_cannot_be_are_refused(name, units, told):
    with pytest.raises(InputError, match=told) as refusal:
        conversion(name, units)
    assert f"climate.variables.{name}.units" in str(refusal.value)


def test_scale_and_offset_of_the_mapping_come_before_its_unit(save):
    tenths = grid_of({**MONTHS, "tmin": (MONTHS["tmin"] + 273.15) * 10}, dates(2001))
    climate = source(save(tenths), variables={"tmin": {"units": "K", "scale": 0.1}}).monthly()
    np.testing.assert_allclose(at_site(climate, "tmin"), MONTHS["tmin"][:, 0, 0], atol=1e-4)


def test_packed_values_are_unpacked(save):
    packing = {
        name: {"dtype": "int16", "scale_factor": 0.01, "add_offset": 5.0, "_FillValue": -9999} for name in MONTHS
    }
    climate = source(save(grid_of(MONTHS, dates(2001)), encoding=packing)).monthly()
    np.testing.assert_allclose(at_site(climate, "tmax"), MONTHS["tmax"][:, 0, 0], atol=0.006)


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"], ids=["NetCDF-4", "NetCDF-3"])
def test_both_generations_of_netcdf_are_read(save, engine):
    climate = source(save(grid_of(MONTHS, dates(2001)), engine=engine)).monthly()
    np.testing.assert_allclose(at_site(climate, "prcp"), MONTHS["prcp"][:, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("turned", ["longitudes from 0", "south first", "west last"])
def test_axes_may_run_any_way(save, turned):
    given = grid_of(MONTHS, dates(2001))
    given["tmin"] = given["tmin"] + (given["lon"] + 105) + 2 * (given["lat"] - 40)
    given["tmin"].attrs["units"] = "degC"
    plain = source(save(given, "plain.nc")).monthly()
    other = {
        "longitudes from 0": lambda: given.assign_coords(lon=("lon", LON + 360.0, {"units": "degrees_east"})),
        "south first": lambda: given.isel(lat=slice(None, None, -1)),
        "west last": lambda: given.isel(lon=slice(None, None, -1)),
    }[turned]()
    climate = source(save(other, "other.nc")).monthly()
    assert climate["x"].values.min() >= -180.0
    np.testing.assert_allclose(at_site(climate, "tmin"), at_site(plain, "tmin"), atol=1e-5)
    cells = [
        to_cells(one, np.full((2, 2), 2000.0, np.float32), *SITE_CELLS, "EPSG:32613")["tmin"]
        for one in (plain, climate)
    ]
    np.testing.assert_allclose(cells[0], cells[1], atol=1e-4)


SITE_CELLS = (np.array([472000.0, 477000.0]), np.array([4426000.0, 4421000.0]))


def test_a_site_at_the_world_s_seam_is_whole(save):
    lon = np.arange(0.5, 360.0, 1.0)
    lat = np.arange(-20.5, -10.0, 1.0)
    fields = {name: values[:, :1, :1] + np.zeros((12, len(lat), len(lon))) for name, values in MONTHS.items()}
    fields["tmin"] = fields["tmin"] - 10 + 0.01 * np.abs(lon - 180)
    world = grid_of(fields, dates(2001), lat=lat, lon=lon, elevation=np.zeros((len(lat), len(lon))))
    at_zero = source(save(world, "a.nc"), bounds=(-0.3, -16.2, 0.4, -15.8)).monthly()
    assert np.all(np.diff(at_zero["x"].values) == 1.0)
    np.testing.assert_allclose(at_zero["x"].values, [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_allclose(
        at_zero["tmin"].values[0, 0] + 18, 0.01 * np.array([178.5, 179.5, 179.5, 178.5]), atol=1e-5
    )
    at_antimeridian = source(save(world, "b.nc"), bounds=(179.8, -16.2, -179.7, -15.8)).monthly()
    assert np.all(np.diff(at_antimeridian["x"].values) == 1.0)
    elevation = np.zeros((1, 2), np.float32)
    # UTM zone 1 S, either side of the antimeridian
    cells = to_cells(
        at_antimeridian, elevation, np.array([160_000.0, 200_000.0]), np.array([8_230_000.0]), "EPSG:32701"
    )
    assert np.isfinite(cells["tmin"]).all()


def daily(year, calendar_name="standard"):
    time = xr.date_range(
        f"{year}-01-01", periods=366, freq="D", calendar=calendar_name, use_cftime=calendar_name != "standard"
    )
    time = time[time.year == year]
    shape = (len(time), len(LAT), len(LON))
    fields = {name: np.zeros(shape) + value for name, value in (("tmin", 1.0), ("tmax", 9.0), ("prcp", 2.0))}
    fields["tmin"] = fields["tmin"] + np.asarray(time.month)[:, None, None]
    fields["tmax"] = fields["tmax"] + np.asarray(time.month)[:, None, None]
    return grid_of(fields, time)


@pytest.mark.parametrize(
    ("year", "calendar_name", "february", "december"),
    [(2003, "standard", 28, 31), (2004, "standard", 29, 31), (2004, "noleap", 28, 31), (2004, "360_day", 30, 30)],
)
def test_days_become_months_by_their_own_calendar(save, year, calendar_name, february, december):
    climate = source(save(daily(year, calendar_name)), years=(year, year)).monthly()
    assert climate["days_counted"].values[[1, 11]].tolist() == [february, december]
    np.testing.assert_allclose(at_site(climate, "tmin"), 1.0 + np.arange(1, 13))
    np.testing.assert_allclose(at_site(climate, "prcp"), 2.0 * climate["days_counted"].values)


def test_sums_are_scaled_to_full_months_where_asked(save):
    path = save(daily(2004, "noleap"))
    climate = source(path, years=(2004, 2004), full_months=True).monthly()
    assert at_site(climate, "prcp")[1] == pytest.approx(58.0)
    assert "full month" in climate.attrs["calendar"]


def test_rates_of_days_are_summed(save):
    given = daily(2003)
    given["prcp"].attrs["units"] = "mm/day"
    climate = source(save(given), years=(2003, 2003)).monthly()
    np.testing.assert_allclose(at_site(climate, "prcp")[0], 62.0)


def test_a_month_that_lacks_days_is_refused(save):
    given = daily(2003).isel(time=slice(0, 340))
    with pytest.raises(InputError, match="tmin of 2003 has 6 of the 31 days of month 12"):
        source(save(given), years=(2003, 2003)).monthly()


def test_years_may_stand_in_a_file_each_and_those_asked_for_are_read(save, tmp_path):
    for year in (2000, 2001, 2002):
        fields = {name: values + (year - 2000 if name != "prcp" else 0) for name, values in MONTHS.items()}
        save(grid_of(fields, dates(year)), f"months_{year}.nc")
    climate = source(str(tmp_path / "months_{year}.nc"), years=(2001, 2002)).monthly()
    assert climate.sizes["time"] == 24
    np.testing.assert_allclose(
        at_site(climate, "tmin")[[0, 12]], MONTHS["tmin"][0, 0, 0] + np.array([1.0, 2.0]), rtol=1e-6
    )


def test_absent_years_and_months_are_named(save):
    path = save(grid_of(MONTHS, dates(2001)))
    with pytest.raises(InputError, match=r"climate\.years: 2003 is not in .*grid\.nc, which has 2001 to 2001"):
        source(path, years=(2003, 2003)).monthly()
    with pytest.raises(InputError, match="tmin of 2001 has no month 6"):
        source(save(grid_of(MONTHS, dates(2001)).drop_isel(time=5), "hole.nc")).monthly()


def test_normals_may_be_twelve_fields_or_the_mean_of_years(save):
    twelve = source(save(grid_of(MONTHS), "normals.nc"), years=None, normals_period=(1991, 2020)).monthly()
    assert twelve.attrs["period"] == "1991-2020"
    np.testing.assert_allclose(at_site(twelve, "tmin"), MONTHS["tmin"][:, 0, 0], rtol=1e-6)
    years = [grid_of({n: v + k for n, v in MONTHS.items()}, dates(2001 + k)) for k in range(3)]
    path = save(xr.concat(years, dim="time", data_vars="minimal"), "years.nc")
    mean = source(path, years=None, normals_period=(2001, 2003)).monthly()
    np.testing.assert_allclose(at_site(mean, "tmin"), MONTHS["tmin"][:, 0, 0] + 1.0, rtol=1e-6)
    assert mean.sizes["time"] == 12
    with pytest.raises(InputError, match="2004 is not in"):
        source(path, years=None, normals_period=(2001, 2004)).monthly()


def test_files_of_each_month_and_variable_are_put_together(tmp_path):
    for ours, theirs in (("tmin", "tmin"), ("tmax", "tmax"), ("prcp", "prec")):
        for month in range(12):
            raster(tmp_path / f"wc_{theirs}_{month + 1:02d}.tif", MONTHS[ours][month].astype("f4"))
    raster(tmp_path / "elevation.tif", HEIGHT.astype("f4"))
    climate = source(
        str(tmp_path / "wc_{variable}_{month}.tif"),
        variables={"tmin": {"units": "degC"}, "tmax": {"units": "degC"}, "prcp": {"name": "prec", "units": "mm"}},
        years=None,
        normals_period=(1970, 2000),
        elevation_file=tmp_path / "elevation.tif",
    ).monthly()
    np.testing.assert_allclose(at_site(climate, "prcp"), MONTHS["prcp"][:, 0, 0], rtol=1e-6)
    assert climate["elevation"].sel(x=-105.5, y=40.0) == pytest.approx(1950.0, abs=0.01)
    assert climate.attrs["elevation_source"] == "of the file elevation.tif, averaged onto the source's cells"


def test_rasters_of_twelve_bands_a_year_carry_their_own_scale_and_holes(tmp_path):
    for name, values in MONTHS.items():
        scale, offset = (0.1, -273.15) if name != "prcp" else (0.1, 0.0)
        packed = np.round((values - offset) / scale).astype("int16")
        packed[:, 0, 0] = -9999
        raster(tmp_path / f"{name}_2001.tif", packed, nodata=-9999, units=UNITS[name], scale=(scale, offset))
    climate = source(
        str(tmp_path / "{variable}_{year}.tif"), dem=(np.full((3, 3), 2000.0, np.float32), DEM_GRID)
    ).monthly()
    np.testing.assert_allclose(at_site(climate, "tmin"), MONTHS["tmin"][:, 0, 0], atol=0.06)
    assert "site's elevation model" in climate.attrs["elevation_source"]


DEM_GRID = Grid("EPSG:32613", 472_000.0, 4_425_000.0, 1000.0, 1000.0, 3, 3)


def test_projected_grids_in_kilometres_are_read_in_metres(save):
    x, y = np.arange(455.0, 495.0, 5.0), np.arange(4445.0, 4405.0, -5.0)
    shape = (12, len(y), len(x))
    fields = {name: values[:, :1, :1] + np.zeros(shape) for name, values in MONTHS.items()}
    given = grid_of(fields, dates(2001), lat=y, lon=x, elevation=np.full(shape[1:], 2000.0))
    given = given.rename(lat="y", lon="x")
    given["x"].attrs = {"units": "km", "standard_name": "projection_x_coordinate"}
    given["y"].attrs = {"units": "km", "standard_name": "projection_y_coordinate"}
    with pytest.raises(InputError, match=r"give climate\.crs"):
        source(save(given, "bare.nc")).monthly()
    climate = source(save(given, "named.nc"), crs="EPSG:32613").monthly()
    assert climate["x"].values.min() >= 455_000.0
    given["utm"] = ((), 0, CRS.from_user_input("EPSG:32613").to_cf())
    for name in MONTHS:
        given[name].attrs["grid_mapping"] = "utm"
    again = source(save(given, "mapped.nc")).monthly()
    np.testing.assert_array_equal(again["x"], climate["x"])


@pytest.mark.parametrize(("name", "units"), [("tdew", "K"), ("rh", "%"), ("vp", "hPa")])
def test_vapour_pressure_is_had_from_what_tells_it(save, name, units):
    value = {"tdew": 275.15, "rh": 50.0, "vp": 8.0}[name]
    given = grid_of({**MONTHS, "moist": MONTHS["tmin"] * 0 + value}, dates(2001), units={**UNITS, "moist": units})
    climate = source(save(given), variables={name: "moist"}).monthly()
    low, high = (saturation_vapour_pressure(MONTHS[n][:, 0, 0]) * 1000 for n in ("tmin", "tmax"))
    expected = {"tdew": 1000 * saturation_vapour_pressure(2.0), "rh": 0.5 * (low + high) / 2, "vp": 800.0}[name]
    np.testing.assert_allclose(at_site(climate, "vp"), np.broadcast_to(expected, 12), rtol=1e-5)
    assert "estimated" not in climate["vp"].attrs


def test_optional_variables_pass_through(save):
    given = grid_of({**MONTHS, "swe": MONTHS["prcp"]}, dates(2001), units={**UNITS, "swe": "mm"})
    climate = source(save(given)).monthly()
    assert climate["swe"].attrs["units"] == "kg m-2"
    cells = to_cells(climate, np.full((2, 2), 2000.0, np.float32), *SITE_CELLS, "EPSG:32613")
    np.testing.assert_allclose(cells["swe"][:, 0, 0], MONTHS["prcp"][:, 0, 0], rtol=1e-5)


def test_a_grid_that_does_not_cover_the_site_is_refused_with_both_extents(save):
    with pytest.raises(
        InputError, match=r"covers x -107\.25 to -103\.75.*the site needs x -103\.9 to -103\.6"
    ) as refusal:
        source(save(grid_of(MONTHS, dates(2001))), bounds=(-103.9, 39.9, -103.6, 40.0)).monthly()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("spoil", "options", "told"),
    [
        (
            lambda d: d.drop_vars("tmax"),
            {},
            r"no variable tmax for tmax; a mean temperature does not do; they have .*tmin",
        ),
        (lambda d: d.drop_vars("elevation"), {}, r"give climate\.elevation_file"),
        (lambda d: d.drop_vars("time"), {}, r"has no dates.*normals_period"),
        (lambda d: d.assign(tmin=d["tmin"].assign_attrs(units="Pa")), {}, "does not measure what tmin is"),
        (lambda d: d.assign(tmin=d["tmin"].drop_attrs()), {}, r"climate\.variables\.tmin\.units: the files do not say"),
        (lambda d: d.expand_dims(height=[2.0, 10.0]), {}, "dimension height too"),
        (lambda d: d.isel(time=np.repeat(np.arange(12), 2)), {}, "stands twice"),
        (lambda d: d, {"years": None}, "needs years or normals_period"),
        (
            lambda d: d.assign(tmin=d["tmin"] + 60).assign(tmin=lambda e: e["tmin"].assign_attrs(units="degC")),
            {},
            "60 is",
        ),
    ],
)
def test_unusable_grid_is_refused_in_one_line(save, spoil, options, told):
    with pytest.raises(InputError, match=told) as refusal:
        source(save(spoil(grid_of(MONTHS, dates(2001)))), **options).monthly()
    assert "\n" not in str(refusal.value)


def test_files_that_cannot_be_found_or_read_are_named(tmp_path):
    (tmp_path / "web.nc").write_text("<html>gone</html>")
    with pytest.raises(InputError, match=r"none\.nc does not exist"):
        source(str(tmp_path / "none.nc")).monthly()
    with pytest.raises(InputError, match="no file is named as"):
        source(str(tmp_path / "{variable}_{year}.tif")).monthly()
    with pytest.raises(InputError, match=r"\{month\} are allowed"):
        source(str(tmp_path / "{model}.nc")).monthly()
    with pytest.raises(InputError, match="which variable is it"):
        source(str(tmp_path / "web.nc")).monthly()
    with pytest.raises(InputError, match="not a raster"):
        source(str(tmp_path / "{variable}.nc"), variables={"tmin": "web"}).monthly()


def test_the_sea_beside_the_site_takes_the_nearest_land_and_the_open_sea_is_refused(save):
    fields = {name: values.copy() for name, values in MONTHS.items()}
    for values in fields.values():
        values[:, :, LON < -105.2] = np.nan
    given = grid_of(fields, dates(2001))
    climate = source(save(given)).monthly()
    cells = to_cells(climate, np.full((2, 2), 2000.0, np.float32), *SITE_CELLS, "EPSG:32613")
    for name in MONTHS:
        assert np.isfinite(cells[name]).all()
    with pytest.raises(InputError, match=r"fill_distance of x -105\.\d+"):
        to_cells(climate, np.full((2, 2), 2000.0, np.float32), *SITE_CELLS, "EPSG:32613", fill_distance=0.5)


def test_rasters_of_years_are_averaged_to_normals(tmp_path):
    for year in (2001, 2002):
        for name, values in MONTHS.items():
            for month in range(12):
                raster(tmp_path / f"{name}_{year}{month + 1:02d}.tif", values[month] + year - 2001, units=UNITS[name])
    files = str(tmp_path / "{variable}_{year}{month}.tif")
    dem = (np.full((3, 3), 2000.0, np.float32), DEM_GRID)
    normals = source(files, years=None, normals_period=(2001, 2002), dem=dem).monthly()
    np.testing.assert_allclose(at_site(normals, "tmax"), MONTHS["tmax"][:, 0, 0] + 0.5, rtol=1e-6)
    years = source(files, years=(2002, 2002), dem=dem).monthly()
    np.testing.assert_allclose(at_site(years, "tmax"), MONTHS["tmax"][:, 0, 0] + 1.0, rtol=1e-6)
    with pytest.raises(InputError, match=r"climate\.years: 2003 is not in"):
        source(files, years=None, normals_period=(2001, 2003), dem=dem).monthly()
