"""The workflow on climate from each of its sources, to maps of EEMT."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
import yaml
from scipy.stats import linregress

from executors.runs import Run, assert_same_maps, clip_config
from servers.daymet import DaymetServer
from servers.files import FileServer, Handler

pytestmark = pytest.mark.workflow

PLACE = (-105.29, 39.96)  # of Daymet's server; the clip lies near it
YEARS = (2001, 2002, 2003, 2004)
STATIONS = {"high": (40.02, -105.40, 2700.0), "low": (39.99, -105.27, 1671.0), "middle": (39.94, -105.35, 2430.0)}
LESS = {
    "tiles": {"size": 1024},
    "sun": {"step": 60, "daily": False},
    "outputs": {"parts": False, "report": False, "catalogue": False, "crate": False},
}

Fresh = Callable[..., Run]
Planned = Callable[..., dict[str, int]]


def write_stations(path: Path) -> None:
    """Write several years of stations whose temperatures fall with height, each month at another rate."""
    month = np.arange(1, 13)
    season = -np.cos(2 * np.pi * (month - 1) / 12)
    tables = []
    for name, (latitude, longitude, height) in STATIONS.items():
        for number, year in enumerate(YEARS):
            cold = 1.0 + 9.0 * season + [0.0, 1.1, 0.4, 1.9][number] - (4.0 + season) * (height - 1600.0) / 1000.0
            table = pd.DataFrame({"station": name, "year": year, "month": month, "tmin_degC": cold.round(2)})
            table["tmax_degC"] = (cold + 13.0).round(2)
            table["prcp_mm"] = (40.0 + 25.0 * np.roll(season, 2) + 4.0 * number + height / 100.0).round(1)
            tables.append(table.assign(latitude=latitude, longitude=longitude, elevation_m=height))
    pd.concat(tables).to_csv(path, index=False)


def write_grid(path: Path) -> xr.Dataset:
    """Write two years of months as models do: kelvins, a flux of water, a dew point, names of their own."""
    longitude, latitude = np.arange(-105.6, -104.9, 0.1), np.arange(40.3, 39.6, -0.1)
    time = pd.date_range("2009-01-01", periods=24, freq="MS")
    season = -np.cos(2 * np.pi * np.arange(24) / 12)[:, np.newaxis, np.newaxis]
    east = 3.0 * (longitude + 105.6)[np.newaxis, np.newaxis] + 0.0 * latitude[:, np.newaxis]
    fields = {
        "tn": (273.15 + 2.0 + 10.0 * season + east, "K"),
        "tx": (273.15 + 15.0 + 11.0 * season + east, "K"),
        "pr": (2e-5 + 1e-5 * season + 0.0 * east, "kg m-2 s-1"),
        "dew": (-1.0 + 8.0 * season + east, "degC"),
    }
    dims = ("time", "lat", "lon")
    grid = xr.Dataset(
        {name: (dims, values.astype(np.float32), {"units": units}) for name, (values, units) in fields.items()},
        coords={
            "time": time,
            "lat": ("lat", latitude, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", longitude, {"units": "degrees_east", "standard_name": "longitude"}),
        },
        attrs={"Conventions": "CF-1.8"},
    )
    grid["orog"] = (("lat", "lon"), 1900.0 - 60.0 * east[0], {"units": "m"})
    grid.to_netcdf(path, engine="h5netcdf")
    return grid


@pytest.fixture(scope="module")
def own_data(fresh: Fresh, clip: Path) -> Run:
    """Sites with stations and with a grid, in one run."""
    run = fresh("own")
    write_stations(run.folder / "stations.csv")
    write_grid(run.folder / "model.nc")
    dem = {"source": str(clip)}
    variables = {
        "tmin": "tn",
        "tmax": "tx",
        "prcp": {"name": "pr"},
        "tdew": "dew",
        "elevation": "orog",
    }
    stations = {"file": "stations.csv", "years": [YEARS[0], YEARS[-1]]}
    stations |= {"lapse_tmin": "stations", "lapse_tmax": "stations"}
    grid = {"source": "grid", "files": ["mod*.nc"], "variables": variables, "years": [2009, 2010]}
    run.configure(
        {
            "sites": {
                "stations": {"dem": dem, "climate": stations, "eemt": {"methods": ["trad"], "keep": ["temperature"]}},
                "grid": {"dem": dem, "climate": grid, "eemt": {"methods": ["trad"]}},
            },
            **LESS,
        }
    )
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run


def bands(run: Run, name: str, site: str = "clip") -> np.ndarray:
    with rasterio.open(run.result(f"maps/{name}.tif", site)) as source:
        return source.read()


def map_labels(run: Run, site: str, method: str) -> set[str]:
    paths = run.result("maps", site).glob(f"eemt_{method}_*.tif")
    return {path.stem.removeprefix(f"eemt_{method}_") for path in paths}


def test_several_years_give_mean_spread_and_trend(own_data: Run):
    labels = {*map(str, YEARS), "mean", "sd", "trend", "trend_p"}
    assert map_labels(own_data, "stations", "trad") == labels
    years = np.stack([bands(own_data, f"eemt_trad_{year}", "stations").astype(float) for year in YEARS])
    found = {name: bands(own_data, f"eemt_trad_{name}", "stations") for name in labels}
    valid = np.isfinite(years[0])
    np.testing.assert_allclose(found["mean"], years.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["sd"], years.std(axis=0, ddof=1), rtol=1e-4, atol=1e-5)
    slope = np.polyfit(YEARS, years[:, valid], 1)[0]
    np.testing.assert_allclose(found["trend"][valid], 10 * slope, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(np.isnan(found["trend_p"]), ~valid)
    for row, col in [(0, 0), (5, 31), (39, 39)]:
        expected = linregress(YEARS, years[:, 0, row, col]).pvalue
        assert found["trend_p"][0, row, col] == pytest.approx(expected, rel=1e-3)


def test_stations_carry_their_own_lapse_rate_to_every_cell(own_data: Run):
    with xr.open_dataset(own_data.result("climate/climate.nc", "stations"), engine="h5netcdf") as climate:
        assert (climate.sizes["station"], climate.sizes["time"]) == (len(STATIONS), 12 * len(YEARS))
    with rasterio.open(own_data.result("dem/dem.tif", "stations")) as dem:
        height = dem.read(1)
    july = bands(own_data, "temperature_trad_2001", "stations")[7]
    np.testing.assert_allclose(july, 1.0 + 9.0 - 5.0 * (height - 1600.0) / 1000.0 + 13.0 / 2, atol=0.02)


def test_grid_is_read_by_its_own_names_and_units(own_data: Run):
    assert map_labels(own_data, "grid", "trad") == {"2009", "2010", "mean", "sd"}
    with (
        xr.open_dataset(own_data.folder / "model.nc", engine="h5netcdf") as given,
        xr.open_dataset(own_data.result("climate/climate.nc", "grid"), engine="h5netcdf") as climate,
    ):
        there = given.sel(lat=climate["y"].values, lon=climate["x"].values, method="nearest")
        days = given["time"].dt.days_in_month.values[:, np.newaxis, np.newaxis]
        np.testing.assert_allclose(climate["tmin"], there["tn"] - 273.15, atol=1e-3)
        np.testing.assert_allclose(climate["prcp"], there["pr"].values * 86_400 * days, rtol=1e-5)
        np.testing.assert_allclose(climate["elevation"], there["orog"], rtol=1e-6)
    energy = bands(own_data, "eemt_trad_mean", "grid")
    assert 1 < np.nanmin(energy[0]) < np.nanmax(energy[0]) < 60


class MortalServer(DaymetServer):
    """Daymet's mirror, that goes away in the middle of the second year it is asked for, and can come again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, *PLACE)
        self.mortal = True
        self.asked: list[tuple[int, str]] = []
        self._killer: threading.Thread | None = None

    def respond(self, handler: Handler) -> bool:
        found = re.search(r"_([a-z]+)_(\d{4})\.nc", handler.request_path)
        assert found, handler.request_path
        asked = (int(found[2]), found[1])
        if self.mortal and asked[0] != self.asked_years[0] and len(self.answered(asked[0])) == 2:
            self._die()
            handler.close_connection = True
            return True
        self.asked.append(asked)
        return super().respond(handler)

    def __exit__(self, *trouble: object) -> None:
        self.login.__exit__(*trouble)
        self.stop()

    @property
    def asked_years(self) -> list[int]:
        """Years in the order that they were first asked for."""
        return list(dict.fromkeys(year for year, _ in self.asked)) or [0]

    def answered(self, year: int) -> set[str]:
        return {variable for asked, variable in self.asked if asked == year}

    def stop(self) -> None:
        """Go away, from one moment to the next, and let nobody in any more."""
        if self._thread.is_alive():
            FileServer.__exit__(self)

    def _die(self) -> None:
        if self._killer is None:
            self._killer = threading.Thread(target=self.stop)
            self._killer.start()

    def come_again(self) -> None:
        """Listen on the same port as before."""
        assert self._killer is not None
        self._killer.join()
        port = self._server.server_address[1]
        self._server = type(self._server)(("127.0.0.1", port), Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.mortal = False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MortalServer]:
    running = MortalServer(tmp_path_factory.mktemp("mirror"))
    with running:
        yield running


def daymet_config(server: DaymetServer, clip: Path) -> dict[str, Any]:
    config = clip_config(str(clip), **LESS, eemt={"methods": ["trad"]})
    config["sites"]["clip"]["climate"] = {
        "source": "daymet",
        "years": [2019, 2020],
        "providers": ["gdex"],
        "base_urls": {"gdex": server.base_urls["gdex"]},
        "cache": "downloads",
        "patience": 1,
    }
    return config


@pytest.fixture(scope="module")
def clean(fresh: Fresh, clip: Path, jobs: Callable[[str], dict[str, int]], tmp_path_factory) -> Run:
    """A run that nothing happened to."""
    with DaymetServer(tmp_path_factory.mktemp("sound"), *PLACE) as server:
        run = fresh("clean", daymet_config(server, clip))
        done = run.snakemake()
    assert done.returncode == 0, done.stdout
    made = jobs(done.stdout)
    assert (made["climate_year"], made["climate_of_years"]) == (2, 1)
    return run


def test_daymet_is_fetched_year_by_year_and_joined(clean: Run):
    assert map_labels(clean, "clip", "trad") == {"2019", "2020", "mean", "sd"}
    with xr.open_dataset(clean.result("climate/climate.nc"), engine="h5netcdf") as climate:
        assert np.unique(climate["time"].dt.year).tolist() == [2019, 2020]
        assert climate["days_counted"].values[-1] == 30  # December 2020 has no 31st
    parts = json.loads(clean.result("climate/climate.json").read_text())["parts"]
    assert [(part["year"], part["variable"]) for part in parts] == [
        (year, variable) for year in (2019, 2020) for variable in ("prcp", "tmax", "tmin", "vp")
    ]
    energy = bands(clean, "eemt_trad_mean")[0]
    assert 1 < np.nanmin(energy) < np.nanmax(energy) < 60


@pytest.fixture(scope="module")
def survivor(fresh: Fresh, clip: Path, server: MortalServer) -> Run:
    """A run whose server died in the middle of the second year, started again with the server."""
    run = fresh("survivor", daymet_config(server, clip))
    done = run.snakemake("--resources", "downloads=1")
    assert done.returncode == 1, done.stdout
    first, second = server.asked_years
    assert "eemt climate: Daymet: " in done.stdout and f" of {second} cannot be had: gdex: " in done.stdout
    assert run.result(f"climate/years/{first}.nc").exists()
    assert not run.result(f"climate/years/{second}.nc").exists()
    assert server.answered(first) == {"tmin", "tmax", "prcp", "vp"}
    served, before = server.answered(second), run.written()
    assert len(served) == 2
    server.come_again()
    server.asked.clear()
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    # neither the finished year nor what had come of the other is asked for again
    assert {year for year, _ in server.asked} == {second}
    assert server.answered(second) == {"tmin", "tmax", "prcp", "vp"} - served
    after = run.written()
    assert [path for path, time in before.items() if after.get(path) != time] == []
    return run


def test_run_whose_server_died_and_came_again_equals_a_clean_one(survivor: Run, clean: Run):
    for name in ("climate.nc", "years/2019.nc", "years/2020.nc"):
        ours, theirs = (run.result(f"climate/{name}").read_bytes() for run in (survivor, clean))
        assert ours == theirs, name
    assert_same_maps(survivor, clean)


def test_run_offline_needs_the_cache_alone(survivor: Run, clean: Run, server: MortalServer, planned: Planned):
    server.stop()
    config = yaml.safe_load((survivor.folder / "config/config.yaml").read_text())
    config["sites"]["clip"]["climate"]["offline"] = True
    survivor.configure(config)
    assert planned(survivor) == {}  # how climate is fetched does not change it
    for folder in ("climate", "eemt", "maps"):
        shutil.rmtree(survivor.result(folder))
    jobs = planned(survivor)
    assert jobs.pop("all") == 1
    assert jobs == {"climate_year": 2, "climate_of_years": 1, "transfer": 1, "maps_clip": 1, "summary": 1}
    done = survivor.snakemake()
    assert done.returncode == 0, done.stdout
    assert survivor.result("climate/climate.nc").read_bytes() == clean.result("climate/climate.nc").read_bytes()
    assert_same_maps(survivor, clean)


def test_year_that_is_not_in_the_cache_is_named_offline(survivor: Run):
    config = yaml.safe_load((survivor.folder / "config/config.yaml").read_text())
    config["sites"]["clip"]["climate"] |= {"offline": True, "years": [2021, 2021]}
    survivor.configure(config)
    done = survivor.snakemake("results/clip/climate/climate.nc")
    assert done.returncode == 1, done.stdout
    assert "tmin of 2021 cannot be had: it is not in downloads, and --offline uses nothing else" in done.stdout
    assert "Traceback" not in done.stdout
