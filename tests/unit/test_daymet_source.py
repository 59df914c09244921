"""Daymet from whichever provider has it: the same climate, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from eemt.climate.daymet import DaymetSource
from eemt.climate.daymet.cache import Cache
from eemt.climate.daymet.errors import AbsentError, RefusedError, UnavailableError
from eemt.climate.daymet.grid import days_counted, to_months
from eemt.climate.daymet.providers import Gdex, Options, file_name, sha256_in_record
from eemt.climate.join import join
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import write_geotiff, write_netcdf
from servers.daymet import (
    GRIDS,
    LCC,
    DaymetServer,
    classic,
    days,
    elevation,
    granule_record,
    subset_file,
    times,
)
from sites import hills

# a few cells in Boulder Creek's foothills: 4 x 4 with their neighbours
BOUNDS = (-105.30, 39.955, -105.285, 39.965)
TOKEN = "a-token-that-nobody-may-see"
GRID = Grid("EPSG:32613", 474_300.0, 4_423_800.0, 50.0, 50.0, 26, 23)
SITE_DEM = (hills(23, 26, 50.0), GRID)
CHAIN = ("gdex", "earthdata", "single_pixel")
Make = Callable[..., DaymetSource]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DaymetServer]:
    with DaymetServer(tmp_path / "served", -105.29, 39.96, token=TOKEN) as running:
        yield running


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", TOKEN)
    monkeypatch.setenv("NETRC", "/dev/null")


@pytest.fixture
def make(server: DaymetServer, tmp_path: Path) -> Make:
    """Make a source that asks the test's server, impatiently."""

    def source(**changes: Any) -> DaymetSource:
        options: dict[str, Any] = {
            "years": (2020, 2020),
            "providers": CHAIN,
            "base_urls": server.base_urls,
            "cache": tmp_path / "cache",
            "dem": SITE_DEM,
            "patience": 30.0,
            "timeout": (5.0, 3.0),
            "first_pause": 0.01,
            "tell": [].append,
        }
        return DaymetSource(BOUNDS, **(options | changes))

    return source


def gdex(server: DaymetServer, folder: Path) -> Gdex:
    options = Options(Cache(folder / "own"), server.base_urls, ("tmin",), patience=60.0, first_pause=0.01)
    return Gdex(options)


def expected(source: DaymetSource, variable: str, year: int, full_months: bool = False) -> np.ndarray:
    window = source.window
    rows, cols = np.arange(window.first_row, window.end_row), np.arange(window.first_col, window.end_col)
    return to_months(days(variable, year, rows, cols), variable, year, full_months)


def as_file(dataset: xr.Dataset, folder: Path) -> str:
    """Write a dataset and return the file's SHA-256."""
    folder.mkdir(exist_ok=True)
    write_netcdf(folder / "climate.nc", dataset)
    return hashlib.sha256((folder / "climate.nc").read_bytes()).hexdigest()


@pytest.mark.parametrize("provider", CHAIN)
@pytest.mark.parametrize("year", [2019, 2020])
def test_each_provider_gives_the_months_of_the_cells_asked_for(make, provider, year):
    source = make(providers=(provider,), years=(year, year))
    climate = source.monthly()
    for name in ("tmin", "tmax", "prcp", "vp"):
        np.testing.assert_array_equal(climate[name].values, expected(source, name, year))
    np.testing.assert_array_equal(climate["x"], source.window.x)
    np.testing.assert_array_equal(climate["y"], source.window.y)
    assert climate["days_counted"].values.tolist() == days_counted(year).tolist()
    assert {record["provider"] for record in source.records} == {provider}


@pytest.mark.parametrize("year", [2019, 2020])
def test_byte_ranges_do_where_there_is_no_subset_service(make, server, tmp_path, year):
    # 2020 and later are stored in other chunks than the years before
    server.subset_service = False
    source = make()
    for name in ("tmin", "vp")[: year - 2018]:
        server.whole_file(file_name("na", name, year))
        delivery = gdex(server, tmp_path).daily(source.window, name, year)
        window = source.window
        rows, cols = np.arange(window.first_row, window.end_row), np.arange(window.first_col, window.end_col)
        np.testing.assert_array_equal(delivery.values, days(name, year, rows, cols))
        assert delivery.origin["method"] == "byte ranges"
    asked = [request for request in server.requests if "fileServer" in request.path]
    assert asked and all(request.range for request in asked)


def test_byte_ranges_survive_faults(make, server, tmp_path):
    server.subset_service = False
    server.whole_file(file_name("na", "vp", 2020))
    server.fault("fileServer", "status:503", times=2)
    server.fault("fileServer", "reset", times=1)
    server.fault("fileServer", "truncate", times=1)
    source = make()
    delivery = gdex(server, tmp_path).daily(source.window, "vp", 2020)
    np.testing.assert_array_equal(to_months(delivery.values, "vp", 2020), expected(source, "vp", 2020))


def test_a_mirror_without_subset_service_is_asked_for_it_once(make, server, tmp_path):
    server.subset_service = False
    window, mirror = make().window, gdex(server, tmp_path)
    for _ in range(3):
        assert mirror.daily(window, "tmin", 2020).origin["method"] == "byte ranges"
    assert len([request for request in server.requests if "ncss" in request.path]) == 1


def test_a_mirror_without_a_year_is_asked_for_parts_of_the_others(make, server, tmp_path):
    server.fault("_2021", "status:404")
    window, mirror = make().window, gdex(server, tmp_path)
    with pytest.raises(AbsentError, match="subset service has no such file"):
        mirror.daily(window, "tmin", 2021)
    assert mirror.daily(window, "tmin", 2020).origin["method"] == "subset service"


FAULTS = {
    "503 twice": lambda server: server.fault("/ncss/", "status:503", times=2),
    "429": lambda server: server.fault("/ncss/", "status:429", times=1, headers={"Retry-After": "0"}),
    "slow": lambda server: server.fault("/ncss/", "slow:100", times=1),
    "reset": lambda server: server.fault("/ncss/", "reset", times=1),
    "truncated": lambda server: server.fault("/ncss/", "truncate", times=1),
    "cut file": lambda server: server.spoil("/ncss/", "cut", times=1),
    "web page": lambda server: server.fault("gdex|thredds", "html"),
    "one pixel": lambda server: server.spoil("/ncss/", "one pixel"),
    "other grid": lambda server: server.spoil("/ncss/", "other grid"),
    "other year": lambda server: server.spoil("/ncss/", "other year"),
    "other calendar": lambda server: server.spoil("/ncss/", "leap day"),
    "other unit": lambda server: server.spoil("/ncss/.*_tm", "fahrenheit"),
    "holes": lambda server: server.spoil("/ncss/", "holes"),
    "401": lambda server: server.fault("thredds", "status:401"),
    "login page": lambda server: server.fault("thredds", f"redirect:{server.login.public_url}/oauth/authorize"),
    "gone": lambda server: server.fault("thredds", "status:410"),
    "dead": lambda server: server.fault("thredds", "status:503"),
    "mirror and OPeNDAP dead": lambda server: server.fault("thredds|opendap", "status:500"),
    "all in turn": lambda server: (
        server.fault("/ncss/", "status:503", times=1),
        server.fault("/ncss/", "html", times=1),
        server.fault("fileServer", "html"),
        server.fault("opendap.*tmax", "status:401"),
        server.spoil("opendap.*vp", "one pixel"),
    ),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a run that nothing happened to, by its SHA-256."""
    folder = tmp_path_factory.mktemp("clean")
    with DaymetServer(folder / "served", -105.29, 39.96, token=TOKEN) as server:
        source = DaymetSource(
            BOUNDS,
            years=(2020, 2020),
            providers=CHAIN,
            base_urls=server.base_urls,
            cache=folder / "cache",
            dem=SITE_DEM,
        )
        assert {record["provider"] for record in (source.monthly(), source.records)[1]} == {"gdex"}
        return as_file(source.monthly(), folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_survived_faults_makes_the_same_file_as_a_clean_one(make, server, tmp_path, clean, fault):
    FAULTS[fault](server)
    if fault != "one pixel":  # the case that goes on to byte ranges
        server.fault("fileServer", "status:404")
    patience = 0.2 if "dead" in fault else 30.0
    source = make(patience=patience)
    assert as_file(source.monthly(), tmp_path / "out") == clean
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_what_is_refused_is_said_and_the_next_provider_asked(make, server):
    lines: list[str] = []
    server.spoil("/ncss/", "one pixel")
    server.fault("fileServer", "html")
    source = make(tell=lines.append)
    source.monthly()
    assert lines[0].startswith("tmin 2020: passed over gdex: subset service sent another grid: 1 cells")
    assert "byte ranges sent a web page" in lines[0]
    assert {record["provider"] for record in source.records} == {"earthdata"}


def test_when_all_fail_one_line_gives_each_ones_reason(make, server):
    server.fault("thredds", "html")
    server.fault("opendap", "status:403")
    server.fault("single-pixel", "status:503")
    with pytest.raises(UnavailableError) as error:
        make(patience=0.05).monthly()
    line = str(error.value)
    assert "\n" not in line and line.startswith(
        "Daymet: tmin of 2020 cannot be had: gdex: subset service sent a web page (Log in)"
    )
    assert "earthdata: OPeNDAP answers 403, the token was not accepted: make a token at https://urs" in line
    assert "single_pixel: answers 503" in line


def test_a_refused_token_is_not_tried_again(make, server, monkeypatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "an-expired-token-that-nobody-may-see")
    with pytest.raises(UnavailableError, match=r"401, the token was not accepted: make a token .* EARTHDATA_TOKEN"):
        make(providers=("earthdata",)).monthly()
    assert len(server.requests) == 1


def test_without_a_login_nasa_is_not_asked(make, server, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN")
    with pytest.raises(UnavailableError, match=r"earthdata: needs a login: make a token .*netrc"):
        make(providers=("earthdata",)).monthly()
    assert not server.requests


def test_name_and_password_of_netrc_log_in(make, server, tmp_path, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine localhost login {server.login.name} password {server.login.password}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    source = make(providers=("earthdata",))
    np.testing.assert_array_equal(source.monthly()["tmin"].values, expected(source, "tmin", 2020))
    assert len(server.login.requests) == 1  # the session is kept
    assert all("authorization" not in request.headers for request in server.requests)


def test_a_wrong_password_says_what_to_do(make, tmp_path, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password wrong-password-that-nobody-may-see\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(UnavailableError, match="401, the name and password was not accepted") as error:
        make(providers=("earthdata",)).monthly()
    assert "nobody-may-see" not in str(error.value)


def test_credentials_are_in_no_file_line_or_error(make, server, tmp_path, capfd):
    lines: list[str] = []
    server.fault("thredds", "html")
    server.fault("opendap.*prcp", "status:401")
    server.fault("opendap.*vp", "status:500")
    source = make(tell=lines.append, patience=0.2)
    as_file(source.monthly(), tmp_path / "out")
    server.fault("single-pixel", f"redirect:{server.login.public_url}/oauth/authorize?code=nobody-may-see")
    with pytest.raises(UnavailableError) as error:
        make(years=(2021, 2021), providers=("single_pixel",)).monthly()
    (tmp_path / "out" / "records.json").write_text(json.dumps(source.records))
    said = "".join([*lines, str(error.value), *capfd.readouterr()])
    assert "nobody-may-see" not in said and "Bearer" not in said
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"nobody-may-see" not in path.read_bytes(), path
            assert b"Bearer" not in path.read_bytes(), path


@pytest.mark.parametrize("url", ["https://me:secret@host/thredds", "https://host/thredds?key=secret", "host/thredds"])
def test_addresses_with_secrets_are_refused_without_repeating_them(make, url):
    with pytest.raises(InputError, match=r"climate.base_urls.gdex") as error:
        make(base_urls={"gdex": url}, providers=("gdex",)).monthly()
    assert "secret" not in str(error.value)


def test_what_is_in_the_cache_is_not_asked_for_again(make, server, tmp_path):
    first = as_file(make().monthly(), tmp_path / "a")
    asked = len(server.requests)
    assert as_file(make(offline=True).monthly(), tmp_path / "b") == first
    assert len(server.requests) == asked


def test_offline_says_what_is_missing(make, server):
    make().monthly()
    server.requests.clear()
    with pytest.raises(UnavailableError, match=r"tmin of 2021 cannot be had: it is not in .*cache.* --offline"):
        make(offline=True, years=(2020, 2021)).monthly()
    assert not server.requests


def test_a_stopped_run_goes_on_where_it_was(make, server, tmp_path):
    whole = as_file(make(years=(2019, 2021), cache=tmp_path / "other").monthly(), tmp_path / "whole")
    server.fault("2020", "status:410")
    with pytest.raises(UnavailableError):
        make(years=(2019, 2021)).monthly()
    server.heal()
    server.requests.clear()
    assert as_file(make(years=(2019, 2021)).monthly(), tmp_path / "resumed") == whole
    assert not [request for request in server.requests if "_2019" in request.path]


def test_a_damaged_cache_file_is_fetched_again(make, server, tmp_path):
    source = make()
    source.monthly()
    path = Cache(tmp_path / "cache").path(source.window, "prcp", 2020)
    path.write_bytes(path.read_bytes()[:-100])
    server.requests.clear()
    np.testing.assert_array_equal(make().monthly()["prcp"].values, expected(source, "prcp", 2020))
    assert len(server.requests) == 1


def test_sidecars_say_where_what_came_from(make, server, tmp_path):
    source = make(providers=("earthdata",))
    source.monthly()
    path = Cache(tmp_path / "cache").path(source.window, "tmax", 2020)
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["url"] == (
        f"{server.url}/opendap/collections/C2532426483-ORNL_CLOUD/granules/"
        "Daymet_Daily_V4R1.daymet_v4_daily_na_tmax_2020.nc.dap.nc4"
    )
    assert (record["provider"], record["variable"], record["year"]) == ("earthdata", "tmax", 2020)
    assert record["retrieved"].endswith("+00:00")


def test_many_jobs_with_one_cache_download_once(make, server):
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: make().monthly(), range(6)))
    assert all(result.identical(results[0]) for result in results)
    assert len(server.requests) == 4  # one for each variable


def test_years_joined_are_as_if_made_at_once(make, tmp_path):
    at_once = as_file(make(years=(2019, 2021)).monthly(), tmp_path / "at once")
    files = []
    for year in (2021, 2019, 2020):
        write_netcdf(tmp_path / f"{year}.nc", make(years=(year, year)).monthly())
        with xr.open_dataset(tmp_path / f"{year}.nc", engine="h5netcdf") as dataset:
            files.append(dataset.load())
    assert as_file(join(files), tmp_path / "joined") == at_once


def test_years_of_different_sites_or_ways_are_not_joined(make):
    year, other = make().monthly(), make(years=(2021, 2021), margin_cells=3).monthly()
    with pytest.raises(InputError, match=r"join: the file of 2021 is of other cells"):
        join([year, other])
    with pytest.raises(InputError, match=r"join: the file of 2021 was made otherwise"):
        join([year, make(years=(2021, 2021), full_months=True).monthly()])
    with pytest.raises(InputError, match=r"join: 2020 stands twice"):
        join([year, year])


def test_full_months_scale_precipitation_alone(make):
    plain, full = make().monthly(), make(full_months=True).monthly()
    np.testing.assert_allclose(full["prcp"].values[11], plain["prcp"].values[11] * 31 / 30, rtol=1e-6)
    np.testing.assert_array_equal(full["prcp"].values[:11], plain["prcp"].values[:11])
    assert full["tmin"].identical(plain["tmin"])
    assert "scaled to the full month" in full.attrs["calendar"] and "as counted" in plain.attrs["calendar"]


def test_more_variables_are_kept_when_asked_for(make):
    source = make(variables=("srad", "dayl", "swe"))
    climate = source.monthly()
    for name, unit in (("srad", "W m-2"), ("dayl", "s"), ("swe", "kg m-2")):
        np.testing.assert_array_equal(climate[name].values, expected(source, name, 2020))
        assert climate[name].attrs["units"] == unit


def test_elevation_is_the_sites_where_nothing_better_is_known(make):
    climate = make().monthly()
    assert climate["elevation"].attrs["source"].startswith("of the site's elevation model")
    assert np.isfinite(climate["elevation"].values).all()
    low, high = np.nanmin(SITE_DEM[0]), np.nanmax(SITE_DEM[0])
    assert low - 500 < climate["elevation"].values.min() and climate["elevation"].values.max() < high + 500


def test_elevation_is_the_headers_where_single_pixels_are_asked_alone(make):
    source = make(providers=("local", "single_pixel"))
    window = source.window
    heights = source.monthly()["elevation"]
    assert heights.values[1, 2] == elevation(window.first_row + 1, window.first_col + 2)
    assert heights.attrs["source"] == "of the single-pixel service, Daymet's own"


def test_elevation_is_the_files_where_one_is_given(make, tmp_path):
    window = make().window
    grid = Grid(LCC, window.edges[0] - 5000, window.edges[3] + 5000, 1000.0, 1000.0, 20, 20)
    rows, cols = np.mgrid[:20, :20]
    write_geotiff(tmp_path / "height.tif", (100.0 * rows + cols).astype(np.float32), grid, ["elevation"], "m")
    heights = make(elevation_file=tmp_path / "height.tif").monthly()["elevation"]
    np.testing.assert_allclose(heights.values, (100.0 * rows + cols)[5 : 5 + window.shape[0], 5 : 5 + window.shape[1]])
    assert "height.tif" in heights.attrs["source"]


def test_elevation_must_come_from_somewhere(make):
    with pytest.raises(InputError, match="--dem or --elevation-file is missing"):
        make(dem=None, providers=("gdex",)).monthly()


def test_too_many_single_pixels_are_not_asked_for(make, server):
    with pytest.raises(
        UnavailableError, match=r"single_pixel: is not asked for 16 cells; .*max_single_pixel_cells is 9"
    ):
        make(providers=("single_pixel",), max_single_pixel_cells=9).monthly()
    assert not server.requests


def test_single_pixels_are_asked_for_once_for_all_variables(make, server):
    source = make(providers=("single_pixel",))
    source.monthly()
    assert len(server.requests) == np.prod(source.window.shape)


def test_single_pixels_not_of_this_earth_are_refused(make, tmp_path):
    for path in _pixel_tables(make, tmp_path):
        rows = path.read_text().splitlines()
        tmin = rows[6].split(",").index("tmin (deg c)")
        parts = rows[100].split(",")
        parts[tmin] = "300.00"
        path.write_text("\n".join([*rows[:100], ",".join(parts), *rows[101:]]) + "\n")
        break
    with pytest.raises(UnavailableError, match=r"sent tmin of -.* to 300 degrees C"):
        make(providers=("single_pixel",)).monthly()


def _pixel_tables(make: Make, folder: Path) -> list[Path]:
    """Download tables of single pixels; return them, and forget the days made of them."""
    make(providers=("single_pixel",)).monthly()
    for path in (folder / "cache").glob("na/y*/*"):
        path.unlink()
    return sorted((folder / "cache").glob("na/pixels/*.csv"))


def test_a_site_at_sea_is_told_so(make, tmp_path):
    with DaymetServer(tmp_path / "sea", -105.29, 39.96, token=TOKEN, sea=True) as sea:
        for providers in (("gdex",), ("earthdata",)):
            with pytest.raises(InputError, match=r"land; it has no values there.*source station"):
                make(base_urls=sea.base_urls, providers=providers, cache=tmp_path / providers[0]).monthly()
        with pytest.raises(UnavailableError, match="has none of the cells"):
            make(base_urls=sea.base_urls, providers=("single_pixel",), cache=tmp_path / "pixels").monthly()


@pytest.mark.parametrize(
    ("bounds", "providers", "region"),
    [
        ((-155.52, 19.80, -155.50, 19.82), ("gdex",), "hi"),
        ((-66.52, 18.20, -66.50, 18.22), ("gdex", "earthdata"), "pr"),
    ],
)
def test_islands_are_on_grids_of_their_own(server, tmp_path, bounds, providers, region):
    # Puerto Rico's is read from its files
    grid = Grid("EPSG:4326", bounds[0] - 0.01, bounds[3] + 0.01, 0.001, 0.001, 40, 40)
    source = DaymetSource(
        bounds,
        years=(2020, 2020),
        providers=providers,
        base_urls=server.base_urls,
        cache=tmp_path / "cache",
        dem=(np.full(grid.shape, 300.0, np.float32), grid),
        tell=[].append,
    )
    climate = source.monthly()
    assert source.window.region.name == region
    x0, y0, *_ = GRIDS[region]
    assert climate["x"].values[0] == x0 + 1000.0 * source.window.first_col
    assert climate["y"].values[0] == y0 - 1000.0 * source.window.first_row
    np.testing.assert_array_equal(climate["tmin"].values, expected(source, "tmin", 2020))


def test_years_before_daymet_are_refused(make, server):
    with pytest.raises(InputError, match=r"climate.years: 1979 is before Daymet; in North America it begins in 1980"):
        make(years=(1979, 1981)).monthly()
    assert not server.requests


@pytest.mark.parametrize("kind", ["whole", "kilometres", "classic"])
def test_files_on_disk_are_used_whole_or_in_part(make, server, tmp_path, kind):
    folder = tmp_path / "mine" / "deeper"
    folder.mkdir(parents=True)
    window = make().window
    rows = np.arange(window.first_row - 2, window.end_row + 3)
    cols = np.arange(window.first_col - 1, window.end_col + 2)
    x0, y0, *_ = GRIDS["na"]
    for name in ("tmin", "tmax", "prcp", "vp"):
        target = folder / file_name("na", name, 2020)
        if kind == "whole":
            shutil.copy(server.whole_file(target.name), target)
            continue
        content = subset_file(
            name, days(name, 2020, rows, cols), times(2020), x0 + 1000.0 * cols, y0 - 1000.0 * rows, kilometres=True
        )
        target.write_bytes(classic(content, name) if kind == "classic" else content)
    source = make(providers=("local",), local_folder=tmp_path / "mine", offline=True)
    np.testing.assert_array_equal(source.monthly()["tmax"].values, expected(source, "tmax", 2020))
    assert not server.requests


def test_a_folder_that_lacks_a_file_says_so_and_the_next_provider_is_asked(make, tmp_path):
    (tmp_path / "mine").mkdir()
    lines: list[str] = []
    source = make(providers=("local", "gdex"), local_folder=tmp_path / "mine", tell=lines.append)
    source.monthly()
    assert "passed over local" in lines[0] and "has no daymet_v4_daily_na_tmin_2020.nc" in lines[0]


@pytest.fixture
def whole_files(server: DaymetServer) -> None:
    """Have them ready, since they take longer to make than a client waits."""
    for name in ("tmin", "tmax", "prcp", "vp"):
        server.whole_file(file_name("na", name, 2020))


@pytest.mark.usefixtures("whole_files")
def test_whole_files_are_compared_with_their_published_checksum(make, server, tmp_path):
    server.fault("thredds|opendap", "status:404")
    server.spoil("/protected/.*tmin", "cut", times=1)
    source = make(providers=("gdex", "earthdata"), whole_files=True)
    np.testing.assert_array_equal(source.monthly()["tmin"].values, expected(source, "tmin", 2020))
    name = file_name("na", "tmin", 2020)
    record = json.loads((tmp_path / "cache" / "whole" / name).with_suffix(".json").read_text())
    digest = hashlib.sha256(server.whole_file(name).read_bytes()).hexdigest()
    assert record["sha256"] == record["published_sha256"] == digest
    assert len([r for r in server.requests if "/protected/" in r.path and "tmin" in r.path]) == 2


@pytest.mark.usefixtures("whole_files")
def test_a_whole_file_that_stays_wrong_is_refused(make, server):
    server.fault("thredds|opendap|single", "status:404")
    server.spoil("/protected/", "cut")
    with pytest.raises(UnavailableError, match=r"whole file sent a file whose SHA-256 is \w+…, not \w+… as published"):
        make(providers=("earthdata",), whole_files=True, patience=0.1).monthly()


@pytest.mark.usefixtures("whole_files")
def test_the_catalogue_knows_a_checksum_where_no_file_has_it(make, server, tmp_path):
    server.subset_service = False
    server.fault("/public/", "status:404")
    # no byte ranges either: whole files from the mirror, checksums from NASA's catalogue
    server.fault("fileServer.*tmin", "html", times=1)
    make(providers=("gdex",), whole_files=True).monthly()
    name = file_name("na", "tmin", 2020)
    record = json.loads((tmp_path / "cache" / "whole" / name).with_suffix(".json").read_text())
    assert record["published_sha256"] == hashlib.sha256(server.whole_file(name).read_bytes()).hexdigest()


def test_checksums_of_catalogue_records_are_of_the_file_asked_for():
    name = "daymet_v4_daily_pr_dayl_1950.nc"
    content = json.dumps(granule_record(name, b"abc")).encode()
    assert sha256_in_record(content, name) == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(RefusedError):
        sha256_in_record(b"<html>", name)


def test_the_file_follows_cf_conventions(make, tmp_path):
    as_file(make().monthly(), tmp_path / "out")
    with h5py.File(tmp_path / "out" / "climate.nc") as file:
        assert file.attrs["Conventions"] == "CF-1.8"
        assert file["crs"].attrs["grid_mapping_name"] == "lambert_conformal_conic"
        assert list(file["crs"].attrs["standard_parallel"]) == [25.0, 60.0]
        assert file["crs"].attrs["semi_major_axis"] == 6378137.0
        assert file["crs"].attrs["inverse_flattening"] == pytest.approx(298.257223563)
        assert file["time"].attrs["bounds"] == "time_bnds"
        for name, unit in (("tmin", "degC"), ("tmax", "degC"), ("prcp", "mm"), ("vp", "Pa"), ("elevation", "m")):
            assert file[name].attrs["units"] == unit and file[name].attrs["grid_mapping"] == "crs"
        assert "doi:10.3334/ORNLDAAC/2129" in file.attrs["references"]


@pytest.fixture
def command(server: DaymetServer, tmp_path: Path) -> list[str]:
    write_geotiff(tmp_path / "dem.tif", SITE_DEM[0], GRID, ["elevation"], "m")
    urls = json.dumps(server.base_urls)
    return [
        "climate", "--source=daymet", f"--dem={tmp_path / 'dem.tif'}", "--providers=gdex,earthdata",
        f"--base-urls={urls}", f"--cache={tmp_path / 'cache'}", "--patience=1",
    ]  # fmt: skip


def test_command_line_makes_years_and_joins_them(call, command, tmp_path):
    files = []
    for year in (2019, 2020):
        files.append(tmp_path / "years" / f"{year}.nc")
        code, _, err = call(*command, f"--years={year}", "--out", files[-1])
        assert code == 0, err
    code, _, err = call(*command, "--years=2019-2020", "--join", *files, "--out", tmp_path / "climate.nc")
    assert code == 0, err
    parts = json.loads((tmp_path / "climate.json").read_text())["parts"]
    assert [(part["year"], part["variable"]) for part in parts[:4]] == [
        (2019, "prcp"), (2019, "tmax"), (2019, "tmin"), (2019, "vp")
    ]  # fmt: skip
    assert len(parts) == 8 and {part["provider"] for part in parts} == {"gdex"}
    code, _, err = call(*command, "--years=2019-2020", "--out", tmp_path / "at_once.nc")
    assert (tmp_path / "at_once.nc").read_bytes() == (tmp_path / "climate.nc").read_bytes()
    code, _, err = call(*command, "--years=2019-2021", "--join", *files, "--out", tmp_path / "climate.nc")
    assert code == 2 and "join: the files are of 2019, 2020; climate.years asks for 2019, 2020, 2021" in err


def test_command_line_ends_with_one_line_when_nobody_delivers(call, command, server, tmp_path):
    server.fault(".", "status:410")
    code, _, err = call(*command, "--years=2020", "--out", tmp_path / "climate.nc")
    assert code == 1
    assert err.splitlines()[-1].startswith("eemt climate: Daymet: tmin of 2020 cannot be had: gdex: ")
    assert not (tmp_path / "climate.nc").exists()


def test_a_killed_run_is_taken_up_again(call, command, server, tmp_path):
    server.fault("vp_2020", "slow:600", times=1)
    words = [*command, "--years=2020", "--out", str(tmp_path / "climate.nc")]
    process = subprocess.Popen([sys.executable, "-m", "eemt.cli", *words])
    end = time.monotonic() + 120
    while not any("vp_2020" in request.path for request in server.requests):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (tmp_path / "climate.nc").exists()
    server.requests.clear()
    code, _, err = call(*words)
    assert code == 0, err
    assert {request.path.partition("?")[0].rpartition("/")[2] for request in server.requests} == {
        "daymet_v4_daily_na_vp_2020.nc"
    }


def test_daymet_leads_to_a_map_of_energy(call, command, server, tmp_path):
    server.fault("/ncss/", "status:503", times=2)
    code, _, err = call(*command, "--years=2020", "--out", tmp_path / "climate.nc")
    assert code == 0, err
    code, _, err = call(
        "transfer", tmp_path / "dem.tif", "--climate", tmp_path / "climate.nc", "--methods=trad",
        "--out", tmp_path / "tile.nc",
    )  # fmt: skip
    assert code == 0, err
    with xr.open_dataset(tmp_path / "tile.nc", engine="h5netcdf") as tile:
        assert tile["eemt_trad"].shape == (12, *GRID.shape)
        assert np.isfinite(tile["eemt_trad"].values).all()


def test_a_server_that_dies_half_way_and_comes_back_leaves_no_trace(make, server, tmp_path, clean):
    server.fault("prcp|vp", "status:503")
    with pytest.raises(UnavailableError, match=r"prcp of 2020 cannot be had"):
        make(patience=0.1).monthly()
    with DaymetServer(tmp_path / "again", -105.29, 39.96, token=TOKEN) as again:
        source = make(base_urls=again.base_urls)
        assert as_file(source.monthly(), tmp_path / "out") == clean
        assert not [request for request in again.requests if "_tm" in request.path]
