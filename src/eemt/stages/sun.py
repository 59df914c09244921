"""``eemt sun``: daily sun maps and their monthly sums."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window
from tqdm import tqdm

from eemt.config import SunSettings
from eemt.constants import DAYS_IN_YEAR, MONTH_NAMES
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import (
    BandStatistics,
    geotiff_writer,
    grid_of,
    open_raster,
    read_band,
    read_dem,
    read_on_grid,
)
from eemt.sun.horizon import FAR_FACTOR, FarField
from eemt.sun.irradiation import strips
from eemt.sun.storage import hour_steps, whole_numbers
from eemt.sun.turbidity import climatology

STRIP_ROWS = 32
# directions of the horizon; r.sun has a ray for each sun, which more directions come nearer to
AZIMUTHS = {"eemt": 64, "grass": 256}
BLOCK_COLUMNS = 1024  # greatest width of a file's inner tiles
SAMPLE_ROWS = 16  # one of so many rows counts for the statistics that a GIS colours the maps by
CACHE = 64 * 2**20  # bytes, of blocks that GDAL holds back; each is written whole, so that more is of no use
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
    whole = _far_grid(args.far) if args.far else grid
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
        linke=climatology(*whole.centre) if settings.linke == "climatology" else settings.linke,
        albedo=_albedo_of(settings.albedo, elevation[core], target),
        convention=settings.convention,
        shadows=settings.shadows,
        sky_view=settings.sky_view,
        horizons=args.horizons,
        daily=settings.daily,
        azimuths=AZIMUTHS[settings.convention],
        strip_rows=STRIP_ROWS,
        threads=args.threads,
    )
    with rasterio.Env(GDAL_CACHEMAX=CACHE), contextlib.ExitStack() as files:
        writers = _open(files, args.out, target, days, settings, args.horizons)
        stored = Rounding()
        statistics = {name: BandStatistics(writer.count) for name, writer in writers.items()}
        progress = files.enter_context(tqdm(total=target.height, unit="row", desc="sun", disable=None))
        for rows, layers in computed:
            window = Window.from_slices(rows, slice(0, target.width))
            for name, writer in writers.items():
                statistics[name].add(layers[name][:, ::SAMPLE_ROWS])
                writer.write(stored(name, layers[name]), window=window)
            progress.update(rows.stop - rows.start)
        for name, writer in writers.items():
            statistics[name].tag(writer)


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
    files: contextlib.ExitStack, folder: Path, grid: Grid, days: range, settings: SunSettings, horizons: bool
) -> Mapping[str, rasterio.io.DatasetWriter]:
    tags = {f"SUN_{name.upper()}": value for name, value in settings.model_dump(exclude={"daily"}).items()}
    wanted = {name: ([f"day {day}" for day in days], units) for name, units in DAILY.items() if settings.daily}
    wanted |= {name: (list(MONTH_NAMES), units) for name, units in MONTHLY.items()}
    if settings.sky_view:
        wanted["sky_view"] = (["sky-view factor"], "1")
    if horizons:
        around = AZIMUTHS[settings.convention]
        wanted["horizon"] = [f"azimuth {360 * k / around:g} from grid north" for k in range(around)], "degrees"
    block_columns = min(BLOCK_COLUMNS, -(-grid.width // 16) * 16)
    return {
        name: files.enter_context(
            geotiff_writer(
                folder / f"{name}.tif",
                grid,
                bands,
                units,
                tags,
                block=(STRIP_ROWS, block_columns),
                quick=_storage(name),
            )
        )
        for name, (bands, units) in wanted.items()
    }


def _storage(name: str) -> Literal["whole", "float"] | None:
    if name not in DAILY:
        return None
    return "float" if name == "insolation" else "whole"


class Rounding:
    """Layers as their files keep them, in memory that is used again for each strip."""

    def __init__(self) -> None:
        self.spare: npt.NDArray[np.uint16] = np.empty(0, np.uint16)

    def __call__(self, name: str, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | npt.NDArray[np.uint16]:
        """Round a layer of a strip; what is returned holds until the next call."""
        match _storage(name):
            case "whole":
                if self.spare.shape != values.shape:
                    self.spare = np.empty(values.shape, np.uint16)
                return whole_numbers(values, self.spare)
            case "float":
                return hour_steps(values, values)
            case _:
                return values


def _albedo_of(albedo: Any, elevation: npt.NDArray[np.float32], grid: Grid) -> Any:
    """Read the albedo of each cell where it is a raster; one value or twelve are as they are.

    Raises
    ------
    InputError
        When the raster is not on the cells of the grid, lacks a value where there is elevation, or has an impossible
        one.
    """
    if not isinstance(albedo, str):
        return albedo
    bands = read_on_grid(albedo, grid, "albedo")
    if len(bands) != 1:
        raise InputError(f"albedo: {albedo} has {len(bands)} bands; a map of albedo has one")
    missing = np.count_nonzero(np.isnan(bands[0]) & ~np.isnan(elevation))
    if missing:
        raise InputError(f"albedo: {albedo} has no value in {missing} cells of {grid.height} x {grid.width}")
    beyond = bands[(bands < 0) | (bands > 1)]
    if beyond.size:
        raise InputError(f"albedo: {albedo} is {beyond[0]:g} in places; allowed are 0 to 1")
    return bands[0]


def _far_field(path: Path, grid: Grid) -> FarField:
    """Place the coarse grid of the whole DEM under a tile of it.

    Raises
    ------
    InputError
        When the two do not belong together.
    """
    coarse = _far_grid(path)
    row_offset, col_offset = (coarse.north - grid.north) / grid.dy, (grid.west - coarse.west) / grid.dx
    aligned = abs(row_offset - round(row_offset)) < 1e-3 and abs(col_offset - round(col_offset)) < 1e-3
    if not aligned or abs(coarse.dx / grid.dx - FAR_FACTOR) > 1e-6 or coarse.crs != grid.crs:
        raise InputError(f"far: {path} was not made from the DEM that the tile was cut from")
    return FarField(read_band(path, what="far"), FAR_FACTOR, round(row_offset), round(col_offset))


def _far_grid(path: Path) -> Grid:
    with open_raster(path, "far") as raster:
        return grid_of(raster, "far", least=1)
