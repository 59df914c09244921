"""``eemt sun``: daily sun maps and their monthly sums."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path

import rasterio
from rasterio.windows import Window
from tqdm import tqdm

from eemt.config import SunSettings
from eemt.constants import DAYS_IN_YEAR, MONTH_NAMES
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import geotiff_writer, grid_of, open_raster, read_band, read_dem
from eemt.sun.horizon import FAR_FACTOR, FarField
from eemt.sun.irradiation import strips

STRIP_ROWS = 32
DAILY = {
    "global": "Wh m-2 day-1",
    "beam": "Wh m-2 day-1",
    "diffuse": "Wh m-2 day-1",
    "insolation": "h",
    "flat_global": "Wh m-2 day-1",
}
MONTHLY = {
    "monthly_global": "Wh m-2 month-1",
    "monthly_flat_global": "Wh m-2 month-1",
    "monthly_insolation": "h month-1",
}


def run(args: argparse.Namespace) -> None:
    """Compute strip by strip and write each as it comes."""
    elevation, grid = read_dem(args.dem)
    settings: SunSettings = args.settings
    days = day_range(args.days)
    core = grid.core(args.halo)
    target = grid.window(*core)
    latitude, convergence, blocks = target.sun_geometry()
    computed = strips(
        elevation,
        dx=grid.dx,
        dy=grid.dy,
        latitude=latitude,
        convergence=convergence,
        blocks=blocks,
        core=core if args.halo else None,
        far=_far_field(args.far, grid) if args.far else None,
        days=days,
        step=settings.step,
        linke=settings.linke,
        albedo=settings.albedo,
        convention=settings.convention,
        shadows=settings.shadows,
        daily=settings.daily,
        strip_rows=STRIP_ROWS,
        threads=args.threads,
    )
    with contextlib.ExitStack() as files:
        writers = _open(files, args.out, target, days, settings)
        progress = files.enter_context(tqdm(total=target.height, unit="row", desc="sun", disable=None))
        for rows, layers in computed:
            window = Window.from_slices(rows, slice(0, target.width))
            for name, writer in writers.items():
                writer.write(layers[name], window=window)
            progress.update(rows.stop - rows.start)


def day_range(text: str) -> range:
    """Read ``FIRST:LAST``, days of the year counted from 1, both included.

    Raises
    ------
    InputError
        When it is anything else.
    """
    first, _, last = text.partition(":")
    try:
        days = range(int(first), int(last or first) + 1)
    except ValueError:
        days = range(0)
    if not days or days[0] < 1 or days[-1] > DAYS_IN_YEAR:
        raise InputError(f"days: {text} is not FIRST:LAST within 1:{DAYS_IN_YEAR}")
    return days


def _open(
    files: contextlib.ExitStack, folder: Path, grid: Grid, days: range, settings: SunSettings
) -> Mapping[str, rasterio.io.DatasetWriter]:
    tags = {f"SUN_{name.upper()}": value for name, value in settings.model_dump(exclude={"daily"}).items()}
    wanted = {name: ([f"day {day}" for day in days], units) for name, units in DAILY.items() if settings.daily}
    wanted |= {name: (list(MONTH_NAMES), units) for name, units in MONTHLY.items()}
    return {
        name: files.enter_context(
            geotiff_writer(folder / f"{name}.tif", grid, bands, units, tags, block=(STRIP_ROWS, 256))
        )
        for name, (bands, units) in wanted.items()
    }


def _far_field(path: Path, grid: Grid) -> FarField:
    """Place the coarse grid of the whole DEM under a tile of it.

    Raises
    ------
    InputError
        When the two do not belong together.
    """
    with open_raster(path, "far") as raster:
        coarse = grid_of(raster, "far", least=1)
    row_offset, col_offset = (coarse.north - grid.north) / grid.dy, (grid.west - coarse.west) / grid.dx
    aligned = abs(row_offset - round(row_offset)) < 1e-3 and abs(col_offset - round(col_offset)) < 1e-3
    if not aligned or abs(coarse.dx / grid.dx - FAR_FACTOR) > 1e-6 or coarse.crs != grid.crs:
        raise InputError(f"far: {path} was not made from the DEM that the tile was cut from")
    return FarField(read_band(path, what="far"), FAR_FACTOR, round(row_offset), round(col_offset))
