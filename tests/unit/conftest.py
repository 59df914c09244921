"""A small site, finished by the commands that a run calls, for tests of what is made of its results."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eemt.cli import main
from eemt.config import LapseSettings, Section, Site, check_section
from eemt.grid import Grid
from eemt.options import as_options
from eemt.plan import Plan
from eemt.raster import write_geotiff
from sites import hills

GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 44, 36)
STATION = {"elevation": 1594, "latitude": 40.43, "longitude": -105.21, "years": [2001, 2003]}


@dataclass(frozen=True)
class Finished:
    """A site's folder of results, and its configuration."""

    folder: Path
    settings: Site

    @property
    def as_json(self) -> str:
        return json.dumps(self.settings.model_dump(mode="json"))

    @property
    def maps(self) -> list[str]:
        return Plan(self.settings).maps

    @property
    def words(self) -> list[str]:
        """What commands that read the whole folder take."""
        return [str(self.folder), "--site", "ridge", "--settings", self.as_json]


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    base = tmp_path_factory.mktemp("finished")
    folder = base / "results" / "ridge"
    elevation = hills(*GRID.shape)
    elevation[20:23, 30:33] = np.nan
    write_geotiff(base / "hills.tif", elevation, GRID, ["elevation"], "m")
    _station(base / "station.csv")
    settings = check_section(
        Site,
        {
            "dem": {"source": str(base / "hills.tif")},
            "climate": {"source": "station", "file": str(base / "station.csv"), **STATION},
            "sun": {"step": 60, "daily": False},
            "eemt": {"methods": ["trad", "topo"], "keep": []},
            "outputs": {"parts": False},
        },
        "settings",
    )
    dem = folder / "dem" / "dem.tif"
    _run("dem", base / "hills.tif", "--out", folder / "dem")
    for stage in ("terrain", "wetness"):
        _run(stage, dem, "--out", folder / stage)
    _run("sun", dem, "--out", folder / "sun", *_options(settings.sun))
    _run("climate", "--out", folder / "climate" / "climate.nc", *_options(settings.climate, LapseSettings.model_fields))
    layers = {"northness": "terrain", "slope": "terrain", "mcwi": "wetness"}
    inputs = [f"--{name}={folder / stage / name}.tif" for name, stage in layers.items()]
    inputs += [f"--sun={folder}/sun/monthly_global.tif", f"--flat-sun={folder}/sun/monthly_flat_global.tif"]
    tile = folder / "eemt" / "r000c000.nc"
    climate = folder / "climate" / "climate.nc"
    _run("transfer", dem, "--climate", climate, *inputs, "--out", tile, *_options(settings.eemt))
    maps = Plan(settings).maps
    _run("maps", tile, "--maps", *maps, "--out", folder / "maps")
    tables = ["--csv", folder / "summary.csv", "--parquet", folder / "summary.parquet"]
    _run("summary", *(folder / "maps" / f"{name}.tif" for name in maps), "--site", "ridge", *tables)
    return Finished(folder, settings)


@pytest.fixture
def finished(finished_once: Finished, tmp_path: Path) -> Finished:
    """A copy that a test may change."""
    folder = tmp_path / "results" / "ridge"
    shutil.copytree(finished_once.folder, folder)
    return Finished(folder, finished_once.settings)


def _run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def _options(section: Section, leave_out: Iterable[str] = ()) -> list[str]:
    return shlex.split(as_options(section, leave_out=leave_out))


def _station(path: Path) -> None:
    season = 10 * np.sin(2 * np.pi * (np.arange(12) - 3) / 12)
    rng = np.random.default_rng(5)
    first, last = STATION["years"]
    tables = [
        pd.DataFrame(
            {
                "year": year,
                "month": range(1, 13),
                "tmin_degC": season + 0.3 * (year - first) + rng.normal(0, 1, 12),
                "tmax_degC": season + 14 + rng.normal(0, 1, 12),
                "prcp_mm": rng.gamma(2.0, 25.0, 12).round(1),
            }
        )
        for year in range(first, last + 1)
    ]
    pd.concat(tables).to_csv(path, index=False)
