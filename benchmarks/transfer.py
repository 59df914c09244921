"""Speed of ``eemt transfer`` beside the same formulas in plain numpy and as GRASS r.mapcalc expressions.

One tile, twelve months, the methods TRAD and TOPO; six maps a month (EEMT, E_BIO and E_PPT of each). All are
timed in the same run.

- Ours and numpy's are whole processes, the start of Python included, from GeoTIFFs and a NetCDF file of climate
  to a compressed NetCDF file.
- r.mapcalc, expressions alone: one process that computes all expressions, from maps that are in GRASS already
  to maps in GRASS. Neither importing nor exporting is counted. Also with a process for each thread, each of which
  has its share of the months, since r.mapcalc has no threads of its own.
- r.mapcalc, files to files: from the same GeoTIFFs to 72 compressed GeoTIFFs, with a process for each thread.
  The files are linked and not copied (r.external), and what is computed goes straight to GeoTIFF
  (r.external.out), the quickest way there is. The start of GRASS, its location and the numbers of climate and
  day length in the expressions are not counted. Its one day length for the tile spares it work that we do.

Processor seconds are of all threads and processes, and tell more than the clock's where other things run beside.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from benchmarks.machine import cores_used, processor
from benchmarks.peers import available
from benchmarks.terrain import CRS, write_jacksboro

from eemt.climate.monthly import days_in_months, middle_days
from eemt.config import EemtSettings, LapseSettings
from eemt.constants import BIOMASS_ENTHALPY, WATER_HEAT_CAPACITY
from eemt.energy.eemt import topographic, traditional
from eemt.energy.evaporation import aerodynamic_resistance, day_length
from eemt.raster import open_netcdf, read_band, read_dem, read_on_grid, write_netcdf

THREADS = 2
TARGET = 5  # times as fast as r.mapcalc
NORMALS = Path(__file__).parents[1] / "config" / "data" / "waterdale_normals_1971-2000.csv"
STATION = {"elevation": 400, "latitude": 36.3, "longitude": -84.2}
PERIOD = "1971-2000"
LATITUDE = 36.3
GRASS_FILES = "COMPRESS=ZSTD,ZSTD_LEVEL=1"  # the quickest compression that GDAL has
COST = r"cost (\S+) (\S+) (\S+)"
ENERGIES = ("eemt", "ebio", "eppt")


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1024, help="side of the tile")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours, of which the median counts")
    parser.add_argument("--numpy", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.numpy:
        plain_numpy(args.numpy)
        return
    print(f"{processor()}, {cores_used(THREADS)}; Python {platform.python_version()}; 12 months, TRAD and TOPO\n")
    with tempfile.TemporaryDirectory(prefix="eemt_bench_", dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        prepare(folder, args.cells)
        ours(folder)  # compiles
        runs = sorted(ours(folder) for _ in range(args.repeat))
        mine = runs[len(runs) // 2]
        plain = timed([sys.executable, "-m", "benchmarks.transfer", "--numpy", str(folder)])
        print("| what | s | processor, s | peak memory, MB | ours is faster | mean difference of annual EEMT, MJ m⁻² |")
        print("|---|---:|---:|---:|---:|---:|")
        print(f"| `eemt transfer`, {args.cells} x {args.cells} | {mine} | | |")
        apart = difference(folder, annual(folder / "numpy.nc"))
        print(f"| numpy | {plain} | {plain.seconds / mine.seconds:.1f} x | {apart:.1e} |")
        if available():
            costs, maps = map_calculator(folder)
            apart = difference(folder, maps)
            for what, peer in costs.items():
                ratio = f"{peer.seconds / mine.seconds:.1f} x, of processor {peer.processor / mine.processor:.1f} x"
                print(f"| r.mapcalc, {what} | {peer} | {ratio} (target {TARGET} x) | {apart:.1e} |")
        else:
            print("GRASS is not installed; `apt-get install grass-core` brings it", file=sys.stderr)


@dataclass(frozen=True, order=True)
class Cost:
    """What something took; memory [MB] is NaN where it was not measured."""

    seconds: float
    processor: float
    memory: float = float("nan")

    def __str__(self) -> str:
        memory = "" if np.isnan(self.memory) else f"{self.memory:.0f}"
        return f"{self.seconds:.1f} | {self.processor:.1f} | {memory}"


def prepare(folder: Path, cells: int) -> None:
    """Make all that transfer reads."""
    dem = write_jacksboro(folder, cells)
    dem.rename(folder / "dem.tif")
    for words in (
        ["terrain", "dem.tif", "--out", "."],
        ["wetness", "dem.tif", "--out", "."],
        ["sun", "dem.tif", "--out", ".", "--no-daily", "--threads", str(THREADS)],
        ["climate", "--out", "climate.nc", "--file", str(NORMALS), "--normals-period", PERIOD]
        + [f"--{name}={value}" for name, value in STATION.items()],
    ):
        subprocess.run([eemt(), *words], cwd=folder, check=True, capture_output=True)


def ours(folder: Path) -> Cost:
    """Run the command."""
    words = ["transfer", "dem.tif", "--climate", "climate.nc", "--northness", "northness.tif", "--mcwi", "mcwi.tif"]
    words += ["--sun", "monthly_global.tif", "--flat-sun", "monthly_flat_global.tif", "--out", "eemt.nc"]
    return timed([eemt(), *words, "--threads", str(THREADS)], folder)


def timed(command: list[str], folder: Path | None = None) -> Cost:
    """Run a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def eemt() -> str:
    """Return the command of this environment."""
    return str(Path(sys.executable).parent / "eemt")


def plain_numpy(folder: Path) -> None:
    """Do what the command does with the functions of the library on whole arrays."""
    elevation, grid = read_dem(folder / "dem.tif")
    days, settings, lapse = days_in_months(PERIOD), EemtSettings(), LapseSettings()
    with open_netcdf(folder / "climate.nc", "climate") as climate:
        climb = (elevation - float(climate["elevation"].values.squeeze())) / 1000.0
        station = {name: climate[name].values.astype(np.float32).reshape(12, 1, 1) for name in climate if name != "crs"
                   and climate[name].dims[:1] == ("time",) and climate[name].size == 12}  # fmt: skip
    tmin = (station["tmin"] - lapse.lapse_tmin * climb).astype(np.float32)
    tmax = (station["tmax"] - lapse.lapse_tmax * climb).astype(np.float32)
    rain = np.broadcast_to(station["prcp"], tmin.shape)
    vapour = 610.8 * np.exp(17.27 * tmin / (tmin + 237.3))
    hours = np.float32(day_length(grid.latitude(), middle_days()[:, None, None]))
    sun, flat = (read_on_grid(folder / f"monthly_{name}.tif", grid, name) for name in ("global", "flat_global"))
    northness, mcwi = read_band(folder / "northness.tif"), read_band(folder / "mcwi.tif")
    methods = {
        "trad": traditional(tmin, tmax, rain, hours, days),
        "topo": topographic(
            tmin, tmax, rain, vapour, sun, flat, elevation, northness, mcwi, days, wind=float(settings.wind)
        ),
    }
    dims = ("time", "y", "x")
    layers = {f"{name}_{method}": (dims, getattr(methods[method], name)) for method in methods for name in ENERGIES}
    write_netcdf(folder / "numpy.nc", xr.Dataset(layers))


def annual(path: Path) -> dict[str, np.ndarray]:
    """Return the annual EEMT of a file by method."""
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return {method: dataset[f"eemt_{method}"].values.sum(axis=0) for method in ("trad", "topo")}


def difference(folder: Path, theirs: dict[str, np.ndarray]) -> float:
    """Return the mean absolute difference from ours [MJ m-2 yr-1].

    Of r.mapcalc it is that of its one day length: near the limit, a month grows in the one and not in the other.
    """
    mine = annual(folder / "eemt.nc")
    return max(float(np.nanmean(np.abs(mine[method] - theirs[method]))) for method in mine)


def map_calculator(folder: Path) -> tuple[dict[str, Cost], dict[str, np.ndarray]]:
    """Compute the same with r.mapcalc; return what each way of it took, and annual EEMT."""
    alone, together = [*range(12)], [[*range(12)][part::THREADS] for part in range(THREADS)]
    with tempfile.TemporaryDirectory(prefix="eemt_grass_", dir=folder) as name:
        place = Path(name)
        made = place / "maps"
        made.mkdir()
        (place / "script.sh").write_text(
            "\n".join(
                [
                    "set -e",
                    "TIMEFORMAT='cost %R %U %S'",
                    *imports("r.in.gdal"),
                    *timed_block(calculations(folder, place, [alone])),
                    *totals(place),
                    *timed_block(calculations(folder, place, together)),
                    "g.remove --q -f type=raster pattern='*'",
                    *timed_block(
                        [
                            *imports("r.external"),
                            f"r.external.out --q directory={made} extension=tif format=GTiff options={GRASS_FILES}",
                            *calculations(folder, place, together),
                            "r.external.out --q -r",
                        ]
                    ),
                ]
            )
        )
        call(folder, "grass", "-c", CRS, str(place / "location"), "-e")
        said = call(folder, "grass", str(place / "location" / "PERMANENT"), "--exec", "bash", str(place / "script.sh"))
        if len([*made.glob("*.tif")]) != 12 * 2 * len(ENERGIES):
            raise RuntimeError("r.mapcalc did not make all files")
        maps = {}
        for method in ("trad", "topo"):
            with rasterio.open(place / f"{method}.tif") as source:
                maps[method] = source.read(1)
    ways = ("expressions alone", f"expressions alone, {THREADS} processes", f"files to files, {THREADS} processes")
    costs = [(float(wall), float(user) + float(system)) for wall, user, system in re.findall(COST, said)]
    return {way: Cost(*cost) for way, cost in zip(ways, costs, strict=True)}, maps


def imports(command: str) -> list[str]:
    """Word what brings the files into GRASS."""
    lines = [f"{command} -o --q input=dem.tif output=z", "g.region raster=z"]
    lines += [f"{command} -o --q input={layer}.tif output={layer}" for layer in ("northness", "mcwi")]
    return lines + [f"{command} -o --q input=monthly_{layer}.tif output={layer}" for layer in ("global", "flat_global")]


def calculations(folder: Path, place: Path, parts: list[list[int]]) -> list[str]:
    """Word the calculation of all months, each part in a process of its own, at once."""
    lines = []
    for number, months in enumerate(parts):
        file = place / f"months_{number}_of_{len(parts)}.txt"
        file.write_text("\n".join(line for month in months for line in expressions(folder, month)) + "\n")
        lines.append(f"r.mapcalc --q --o file={file} & jobs_{number}=$!")
    return lines + [f"wait $jobs_{number}" for number in range(len(parts))]


def totals(place: Path) -> list[str]:
    """Word the export of annual EEMT, which is not timed."""
    lines = []
    for method in ("trad", "topo"):
        total = "+".join(f"eemt_{method}_{month}" for month in range(12))
        out = f"{place}/{method}.tif format=GTiff type=Float32 nodata=nan"
        lines += [f'r.mapcalc --q --o expression="total_{method} = float({total})"']
        lines += [f"r.out.gdal --q -c input=total_{method} output={out}"]
    return lines


def timed_block(lines: list[str]) -> list[str]:
    """Let the shell time some lines."""
    return ["time {", *lines, "}"]


def expressions(folder: Path, month: int) -> list[str]:
    """Write the energies of a month as r.mapcalc takes them."""
    with open_netcdf(folder / "climate.nc", "climate") as climate:
        tmin, tmax, rain = (float(climate[name].values[month].squeeze()) for name in ("tmin", "tmax", "prcp"))
    days, settings, lapse = int(days_in_months(PERIOD)[month]), EemtSettings(), LapseSettings()
    hours = float(day_length(LATITUDE, middle_days()[month]))
    climb = f"(z - {STATION['elevation']}) / 1000.0"
    weather = [f"low = {tmin} - {lapse.lapse_tmin} * {climb}", f"flat_high = {tmax} - {lapse.lapse_tmax} * {climb}"]

    def saturation(t: str) -> str:
        return f"0.6108 * exp(17.27 * {t} / ({t} + 237.3))"

    trad = [
        *weather,
        "t = (low + flat_high) / 2",
        f"pet = if(t <= 0, 0, 29.8 * {hours} * ({saturation('low')} + {saturation('flat_high')}) / 2 / (t + 273.2)"
        f" * {days})",
        f"surplus = max({rain} - pet, 0)",
    ]
    sun, flat = f"global.{month + 1}", f"flat_global.{month + 1}"
    resistance = float(aerodynamic_resistance(settings.wind))
    topo = [
        *weather,
        f"s = max(0.2, min(5.0, {sun} / {flat}))",
        "high = flat_high + s - 1 / s",
        "t = (low + high) / 2",
        f"vapour = 1000 * {saturation('low')}",
        "powers = ((high + 273.16)^4 + (low + 273.16)^4) / 2",
        "longwave = 0.000000004903 * powers * (0.34 - 0.14 * sqrt(vapour / 1000)) * 11.574074",
        f"radiation = {1 - float(settings.albedo)} * {sun} / {24 * days} - longwave",
        "delta = 41.45 * exp(0.06088 * t)",
        "gamma = 1013.0 / (0.622 * 2450000) * 101300 * ((293 - 0.0065 * z) / 293)^5.26",
        "density = 101325 * exp(-z / 8434.45) / (287.05 * (t + 273.15))",
        f"deficit = max(500 * ({saturation('low')} + {saturation('high')}) - vapour, 0)",
        f"pet = max((delta * radiation + density * 1013 * deficit / {resistance}) / (2450000 * (delta + gamma))"
        f" * {86400 * days}, 0)",
        f"aet = {rain} * (1 + pet / {rain} - (1 + (pet / {rain})^{settings.omega})^(1 / {settings.omega}))",
    ]
    heat, share = WATER_HEAT_CAPACITY * 1e-6, days / 365
    growth = f"3000 / (1 + exp(1.315 - 0.119 * t)) * {share * BIOMASS_ENTHALPY * 1e-9}"
    annual_growth = f"max(0.39 * z + 346 * northness - 187, {settings.npp_floor})"
    results = {
        "eppt_trad": (trad, f"surplus * max(t, 0) * {heat}"),
        "ebio_trad": (trad, f"if(surplus > 0 && t > 0, {growth}, 0)"),
        "eppt_topo": (topo, f"mcwi * ({rain} - aet) * max(t, 0) * {heat}"),
        "ebio_topo": ([], f"{annual_growth} * {share * BIOMASS_ENTHALPY * 1e-9}"),
    }
    lines = [
        f"{name}_{month} = eval({', '.join([*steps, f'float({result})'])})" for name, (steps, result) in results.items()
    ]
    return lines + [f"eemt_{m}_{month} = float(eppt_{m}_{month} + ebio_{m}_{month})" for m in ("trad", "topo")]


def call(folder: Path, *command: str) -> str:
    """Run a command and return what it says."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
