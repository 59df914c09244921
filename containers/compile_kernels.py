"""Compile all kernels of eemt, by going every way there is through the model, on a small piece of land.

They are kept beside the package, as for anyone who may write there. Ends with code 1 and the names where a kernel of
the sources was not compiled, so that a new one cannot be forgotten here. Run in the image once more, it compiles
nothing; the tests hold it to that.
"""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import eemt
from eemt import kernel_cache
from eemt.cli import main
from eemt.grid import Grid
from eemt.raster import write_geotiff

LAND = Grid("EPSG:32613", 476_000.0, 4_426_000.0, 30.0, 30.0, 48, 40)
PLACE = (-105.28, 39.98)  # degrees, on it
YEAR = pd.date_range("2001-01-01", periods=12, freq="MS")


def write_land(folder: Path) -> None:
    """Write hills, and maps of albedo and vegetation on their cells."""
    y, x = np.mgrid[: LAND.height, : LAND.width]
    elevation = (1900 + 200 * np.sin(x / 7) * np.cos(y / 9)).astype(np.float32)
    elevation[20:22, 10:13] = np.nan
    write_geotiff(folder / "dem.tif", elevation, LAND, ["elevation"], "m")
    for name, value in {"albedo": 0.2, "ndvi": 0.6, "height": 8.0}.items():
        write_geotiff(folder / f"{name}.tif", np.full(LAND.shape, value, np.float32), LAND, [name], "1")


def write_climate(folder: Path) -> None:
    """Write a station, several of them, and a grid with nothing far from the site."""
    season = -np.cos(2 * np.pi * np.arange(12) / 12)
    table = pd.DataFrame({"month": range(1, 13), "tmin_degC": 2 + 10 * season, "prcp_mm": 40 + 25 * season})
    table["tmax_degC"] = table["tmin_degC"] + 13
    table.to_csv(folder / "station.csv", index=False)
    several = [
        table.assign(station=name, latitude=PLACE[1] + north, longitude=PLACE[0] + north, elevation_m=height)
        for name, north, height in (("low", 0.05, 1700.0), ("high", -0.05, 2700.0), ("middle", 0.1, 2200.0))
    ]
    pd.concat(several).to_csv(folder / "stations.csv", index=False)
    steps = np.arange(-8, 9) * 0.02
    far = np.maximum(np.abs(steps)[:, np.newaxis], np.abs(steps)) > 0.03
    about = (
        {"units": "degrees_north", "standard_name": "latitude"},
        {"units": "degrees_east", "standard_name": "longitude"},
    )
    grid = xr.Dataset(
        coords={"time": YEAR, "lat": ("lat", PLACE[1] - steps, about[0]), "lon": ("lon", PLACE[0] + steps, about[1])}
    )
    for name, column, units in (
        ("tmin", "tmin_degC", "degC"),
        ("tmax", "tmax_degC", "degC"),
        ("prcp", "prcp_mm", "mm"),
    ):
        months = np.where(far, np.nan, table[column].to_numpy()[:, np.newaxis, np.newaxis])
        grid[name] = (("time", "lat", "lon"), months.astype(np.float32), {"units": units})
    grid["elevation"] = (("lat", "lon"), np.full(far.shape, 1900.0, np.float32), {"units": "m"})
    grid.to_netcdf(folder / "grid.nc", engine="h5netcdf")


def stage(*words: str) -> None:
    """Call the command line, or end with what it says."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(list(words))
    if code:
        sys.exit(f"eemt {' '.join(words)}: {said.getvalue()}")


def run_stages() -> None:
    """Call the stages from elevation to EEMT as the workflow does, with all sources of climate and all methods."""
    stage("dem", "dem.tif", "--out", "site")
    dem, tile = "site/dem.tif", "tile.tif"
    stage("tile", dem, "--tile=r000c000", "--size=24", "--halo=2940", "--out", tile)
    stage("terrain", tile, "--halo=2940", "--out", "site")
    for domain in ("valid", "catchment"):
        stage("wetness", dem, "--domain", domain, "--out", "site")
    far = ["--halo=2940", "--far", "site/far_field.tif", "--step=60"]
    stage("sun", tile, *far, "--out", "site")
    place = ["--elevation=1700", f"--latitude={PLACE[1]}", f"--longitude={PLACE[0]}"]
    normals = "--normals-period=1971,2000"
    climates = {
        "station": ["--source=station", "--file=station.csv", *place, normals],
        "stations": ["--source=station", "--file=stations.csv", normals],
        "grid": ["--source=grid", "--files=grid.nc", "--years=2001,2001", "--dem", dem],
    }
    names = {"northness": "northness", "slope": "slope", "mcwi": "mcwi", "sun": "monthly_global"}
    names["flat-sun"] = "monthly_flat_global"
    inputs = [f"--{option}=site/{name}.tif" for option, name in names.items()]
    inputs += ["--methods=trad,topo,veg", "--ndvi=ndvi.tif", "--canopy-height=height.tif", "--halo=2940"]
    for name, words in climates.items():
        stage("climate", *words, "--out", f"{name}.nc")
        for more in (["--precipitation-gradient=0.2", "--fill-distance=0"], ["--keep=pet"]):
            stage("transfer", tile, "--climate", f"{name}.nc", *inputs, *more, "--out", "eemt.nc")


def run_sun() -> None:
    """Call `eemt sun` with all its options, each with each."""
    ways = itertools.product(
        ["--convention=eemt", "--convention=grass"],
        ["--shadows", "--no-shadows"],
        ["--sky-view", "--no-sky-view"],
        ["--daily", "--no-daily"],
        ["--albedo=0.2", "--albedo=albedo.tif"],
        ["--linke=3", "--linke=climatology"],
        [[], ["--horizons"]],
    )
    for *words, more in ways:
        stage("sun", "dem.tif", "--out", "sun", "--days=1:2", "--step=60", *words, *more)


def call_library() -> None:
    """Call what is there for programs alone."""
    from eemt.sun import clearsky, horizon, position, skyview  # numba is loaded, and asks where to keep kernels

    clearsky.air_mass(30.0)
    clearsky.beam_transmission(30.0)
    clearsky.diffuse_transmission(30.0)
    position.declination(1)
    position.extraterrestrial(1)
    position.day_length(40.0, 1)
    position.sun_position(40.0, 1, 12.0)
    hills = np.ones((8, 8), np.float32)
    tangents = horizon.horizon_tangents(hills, dx=30.0, dy=30.0)
    skyview.sky_view(tangents, np.zeros((8, 8)), np.zeros((8, 8)))


def kernels() -> Iterator[str]:
    """Name the compiled functions of the sources as numba names their files, without those written into others."""
    for path in sorted(Path(eemt.__file__).parent.rglob("*.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = [found for found in function.decorator_list if isinstance(found, ast.Call)]
            words = {
                ast.unparse(call.func): {word.arg: ast.unparse(word.value) for word in call.keywords} for call in calls
            }
            if any(
                words.get(name, {"inline": "'always'"}).get("inline") != "'always'" for name in ("njit", "vectorize")
            ):
                yield f"{path.stem}.{function.name}"


def compile_all() -> None:
    """Go all ways in a folder for temporary files, then look whether each kernel is there."""
    kernel_cache.settle()
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_land(Path(folder))
        write_climate(Path(folder))
        run_stages()
        run_sun()
        call_library()
        os.chdir(before)
    cache = Path(os.environ[kernel_cache.VARIABLE])
    missing = [name for name in kernels() if not any(cache.rglob(f"{name}-*.nbi"))]
    if missing:
        sys.exit(f"compile_kernels.py: never compiled: {', '.join(missing)}; go a way through them there")


if __name__ == "__main__":
    compile_all()
