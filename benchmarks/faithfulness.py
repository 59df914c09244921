"""How far daily sun maps are from the truth: `python -m benchmarks.faithfulness` prints the tables.

Two surfaces, five days. The truth is :mod:`benchmarks.reference`: rays to the sun itself, every 3 minutes. Against it
stand the engine as it is by default and, where it is installed, GRASS r.sun; and the engine's `grass` convention
against r.sun.

Grid north is taken for true north throughout, since r.sun does. Left out of all comparisons are slopes towards the pole
so steep that r.sun 8.2 turns their incident angle by half a day (steeper than 90 degrees less the latitude, if they
face the pole squarely), and of those with the truth the outermost cells, where r.slope.aspect -e takes half the slope.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks import peers
from benchmarks.reference import reference
from benchmarks.terrain import CRS, jacksboro
from pyproj import Transformer

from eemt.grid import Grid
from eemt.raster import write_geotiff
from eemt.sun.irradiation import irradiation
from eemt.terrain import horn

DAYS = (1, 80, 172, 264, 355)
STEP = 15.0  # minutes
LINKE, ALBEDO = 3.0, 0.2
BLOCK = 32  # columns, within which latitude is constant along a row
RAYS = 4096  # azimuths that stand for the sun's own; no multiple of 3, whose rays at 30 degrees run along cell edges

STEEP_CLIP = (81, 161, 80)  # first row, first column, cells

Day = tuple[np.ndarray, np.ndarray]  # global irradiation [Wh m-2 day-1], insolation [h]


class Errors(NamedTuple):
    """One line of :func:`table`: mean error of global irradiation over its mean [-], and of insolation [h]."""

    surface: str
    day: int
    rsun_global: float | None
    eemt_global: float
    rsun_hours: float | None
    eemt_hours: float


class Parity(NamedTuple):
    """One line of :func:`parity`: the `grass` convention against r.sun, as in :class:`Errors`."""

    surface: str
    day: int
    azimuths: int
    relative: float
    hours: float
    most_hours: float


def steep(cells: int = 256, cell: float = 10.0, steepest: float = 60.0) -> tuple[np.ndarray, Grid]:
    """Make a smooth fractal surface in the middle of the Jacksboro DEM.

    Parameters
    ----------
    cells : int
        Rows and columns.
    cell : float
        Cell size [m].
    steepest : float
        Its steepest slope [degrees].
    """
    rng = np.random.default_rng(11)
    wave = np.hypot(np.fft.rfftfreq(cells)[None], np.fft.fftfreq(cells)[:, None])
    wave[0, 0] = np.inf
    amplitude = wave**-2.2 * np.exp(-((wave / 0.09) ** 2))
    z = np.fft.irfft2(amplitude * np.exp(2j * np.pi * rng.random(wave.shape)), s=(cells, cells))
    relief = np.tan(np.radians(steepest)) / np.hypot(*horn(z, cell, cell)).max()
    _, whole = jacksboro(512)
    grid = Grid(CRS, whole.west + 13_000.0, whole.north - 13_000.0, cell, cell, cells, cells)
    return (1500.0 + relief * (z - z.min())).astype(np.float32), grid


def surfaces() -> dict[str, tuple[np.ndarray, Grid]]:
    """Return the two surfaces and their grids."""
    return {"Jacksboro, 56.5 m": jacksboro(512), "steep, 10 m": steep()}


def latitude(grid: Grid, *, south_west: bool = False) -> np.ndarray:
    """Latitude [degrees] of every cell's centre, or of its south-western corner, which r.sun takes."""
    east, south = (-0.5 * grid.dx, -0.5 * grid.dy) if south_west else (0.0, 0.0)
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    return np.asarray(to_degrees.transform(*np.meshgrid(grid.x + east, grid.y + south))[1])


def comparable(elevation: np.ndarray, grid: Grid, *, outermost: bool = False) -> np.ndarray:
    """Cells on which r.sun can be compared: not facing the pole too steeply, nor, unless allowed, outermost."""
    _, dz_dy = horn(elevation, grid.dx, grid.dy)
    # where the product is over 1 the arc tangent of the slope's own longitude is in the wrong quadrant
    chosen = np.asarray(-dz_dy * np.tan(np.radians(latitude(grid))) < 1.0)
    if not outermost:
        chosen[[0, -1]] = False
        chosen[:, [0, -1]] = False
    return chosen


def rsun(elevation: np.ndarray, grid: Grid, days: Iterable[int] = DAYS) -> dict[int, Day]:
    """Run GRASS r.sun with slopes by ``r.slope.aspect -e``.

    Raises
    ------
    FileNotFoundError
        If GRASS is not installed.
    RuntimeError
        If it fails.
    """
    with tempfile.TemporaryDirectory(prefix="eemt_dem_") as name:
        dem = Path(name) / "z.tif"
        write_geotiff(dem, elevation, grid, ["elevation"], "m")
        made = peers.r_sun(dem, grid.crs, days, step=STEP, linke=LINKE, albedo=ALBEDO)
    return {day: (run.irradiation, run.hours) for day, run in made.items()}


def eemt(
    elevation: np.ndarray,
    grid: Grid,
    days: Iterable[int] = DAYS,
    *,
    convention: str = "eemt",
    azimuths: int = 64,
    threads: int | None = None,
) -> dict[int, Day]:
    """Run the engine."""
    chosen = list(days)
    edges = np.append(np.arange(0, grid.width, BLOCK), grid.width)
    places = latitude(grid, south_west=convention == "grass")[:, (edges[:-1] + edges[1:]) // 2]
    maps = irradiation(
        elevation,
        dx=grid.dx,
        dy=grid.dy,
        latitude=places,
        blocks=edges,
        days=chosen,
        step=STEP,
        linke=LINKE,
        albedo=ALBEDO,
        convention=convention,
        azimuths=azimuths,
        threads=threads,
    )
    return {day: (maps["global"][i], maps["insolation"][i]) for i, day in enumerate(chosen)}


def truth(elevation: np.ndarray, grid: Grid, days: Iterable[int] = DAYS) -> dict[int, Day]:
    """Run the fine reference."""
    places = latitude(grid)
    return {
        day: reference(elevation, dx=grid.dx, dy=grid.dy, latitude=places, day=day, linke=LINKE, albedo=ALBEDO)
        for day in days
    }


def errors(maps: Day, against: Day, cells: np.ndarray) -> tuple[float, float, float]:
    """Mean error of global irradiation over its mean [-], and mean and greatest error of insolation [h]."""
    apart = np.abs(maps[0] - against[0])[cells].mean() / against[0][cells].mean()
    hours = np.abs(maps[1] - against[1])[cells]
    return float(apart), float(hours.mean()), float(hours.max())


@cache
def _rsun_of(surface: str) -> dict[int, Day]:
    """Return r.sun's maps of a surface, none where GRASS is missing."""
    return rsun(*surfaces()[surface]) if peers.available() else {}


def table() -> list[Errors]:
    """Errors of r.sun and of the engine against the fine reference; r.sun's are None where GRASS is missing."""
    lines = []
    for name, (elevation, grid) in surfaces().items():
        cells = comparable(elevation, grid)
        fine, ours, peer = truth(elevation, grid), eemt(elevation, grid), _rsun_of(name)
        for day in DAYS:
            apart, hours, _ = errors(ours[day], fine[day], cells)
            peer_apart, peer_hours = errors(peer[day], fine[day], cells)[:2] if peer else (None, None)
            lines.append(Errors(name, day, peer_apart, apart, peer_hours, hours))
    return lines


def parity() -> list[Parity]:
    """Return how far the `grass` convention is from r.sun, fast and with rays all around; empty without GRASS."""
    lines = []
    for name, (elevation, grid) in surfaces().items():
        peer = _rsun_of(name)
        if not peer:
            continue
        cells = comparable(elevation, grid, outermost=True)
        for azimuths in (64, RAYS):
            ours = eemt(elevation, grid, convention="grass", azimuths=azimuths)
            lines += [Parity(name, day, azimuths, *errors(ours[day], peer[day], cells)) for day in DAYS]
    return lines


def clips() -> dict[str, tuple[np.ndarray, Grid]]:
    """Return a rugged part of each surface, small enough to be kept with the tests; heights are whole 1/64 m."""
    places = (("jacksboro", jacksboro(512), 256, 160, 96), ("steep", steep(), *STEEP_CLIP))
    return {
        name: (
            np.round(elevation[row : row + size, col : col + size] * 64).astype(np.float32) / np.float32(64),
            grid.window(slice(row, row + size), slice(col, col + size)),
        )
        for name, (elevation, grid), row, col, size in places
    }


def store(folder: Path) -> None:
    """Write r.sun's maps of the clips, for tests without GRASS: irradiation in 1/8 Wh m-2, insolation in steps."""
    for name, (elevation, grid) in clips().items():
        maps = rsun(elevation, grid)
        np.savez_compressed(
            folder / f"rsun_{name}.npz",
            elevation=elevation,
            crs=grid.crs,
            west=grid.west,
            north=grid.north,
            cell=grid.dx,
            days=np.array(DAYS),
            irradiation=np.stack([np.round(maps[day][0] * 8) / np.float32(8) for day in DAYS]),
            steps=np.stack([np.round(maps[day][1] * 60.0 / STEP) for day in DAYS]).astype(np.uint8),
        )


def stored(path: Path) -> tuple[np.ndarray, Grid, dict[int, Day]]:
    """Read a clip, its grid and r.sun's maps of it."""
    with np.load(path) as file:
        elevation = file["elevation"]
        rows, cols = elevation.shape
        cell = float(file["cell"])
        grid = Grid(str(file["crs"]), float(file["west"]), float(file["north"]), cell, cell, cols, rows)
        hours = file["steps"].astype(np.float32) * np.float32(STEP / 60.0)
        return (
            elevation,
            grid,
            dict(zip(file["days"].tolist(), zip(file["irradiation"], hours, strict=True), strict=True)),
        )


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description="How far r.sun and eemt are from a fine reference.")
    parser.add_argument("--store", type=Path, metavar="FOLDER", help="write what tests need of r.sun instead")
    folder = parser.parse_args().store
    if folder is not None:
        store(folder)
        return
    installed = peers.available()
    if not installed:
        print("GRASS is missing (Debian: apt-get install grass-core); r.sun is left out.\n", file=sys.stdout)
    print("Error against the fine reference: of global irradiation, mean over its mean; of insolation, mean hours.\n")
    if installed:
        print("| surface | day | global, r.sun | global, eemt | hours, r.sun | hours, eemt |")
        print("|---|---:|---:|---:|---:|---:|")
    else:
        print("| surface | day | global, eemt | hours, eemt |")
        print("|---|---:|---:|---:|")
    for line in table():
        cells = [f"{line.eemt_global:.1e}", f"{line.eemt_hours:.3f}"]
        if line.rsun_global is not None and line.rsun_hours is not None:
            cells = [f"{line.rsun_global:.1e}", cells[0], f"{line.rsun_hours:.3f}", cells[1]]
        print(f"| {line.surface} | {line.day} | {' | '.join(cells)} |")
    if not installed:
        return
    print("\nThe `grass` convention against r.sun.\n")
    print("| surface | day | azimuths | global | hours, mean | hours, most |")
    print("|---|---:|---:|---:|---:|---:|")
    for same in parity():
        print(
            f"| {same.surface} | {same.day} | {same.azimuths} | {same.relative:.1e} | {same.hours:.4f} |"
            f" {same.most_hours:.2f} |"
        )


if __name__ == "__main__":
    main()
