"""``eemt dem``: an elevation raster on a grid in metres."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.warp import reproject

from eemt.config import DemSettings
from eemt.errors import InputError
from eemt.grid import Grid, map_grid
from eemt.raster import grid_of, open_raster, write_geotiff
from eemt.sun.horizon import FAR_FACTOR, coarsen

# Earth's surface from the Dead Sea's shore to Everest; what lies outside is another unit or a fill value
PLAUSIBLE_ELEVATION = (-500.0, 9000.0)  # m


def run(args: argparse.Namespace) -> None:
    """Write ``dem.tif`` and, for far horizons, ``far_field.tif``."""
    elevation, grid = projected(args.source, args.settings)
    warn_of_implausible(elevation, args.source)
    tags = {"SOURCE": Path(args.source).name, "RESAMPLING": args.settings.resampling}
    write_geotiff(args.out / "dem.tif", elevation, grid, ["elevation"], "m", tags)
    coarse = coarsen(elevation, FAR_FACTOR)
    tags["BLOCK_MAXIMUM_OF"] = f"{FAR_FACTOR} x {FAR_FACTOR} cells"
    write_geotiff(args.out / "far_field.tif", coarse, _coarse_grid(grid, coarse.shape), ["elevation"], "m", tags)


def projected(source: str, settings: DemSettings) -> tuple[npt.NDArray[np.float32], Grid]:
    """Read an elevation raster and carry it to the grid of the maps.

    Returns
    -------
    elevation : ndarray float32 (rows, columns)
        [m], NaN where the source has no data.
    grid : Grid

    Raises
    ------
    InputError
        When the source cannot be used; see `eemt.raster.read_grid`.
    """
    with open_raster(source) as raster:
        own = grid_of(raster)
        elevation = raster.read(1, masked=True, out_dtype="float32").filled(np.nan)
    # float DEMs in the wild mark holes by huge numbers without declaring them
    elevation[~np.isfinite(elevation) | (np.abs(elevation) > 1e5)] = np.nan
    if np.isnan(elevation).all():
        raise InputError(f"dem: {source} has no valid cell, all are nodata")
    grid = map_grid(own, settings.crs, settings.resolution)
    if grid == own:
        return elevation, grid
    if min(grid.shape) < 3:
        raise InputError(
            f"dem.resolution: {settings.resolution:g} m leaves {grid.height} x {grid.width} cells; 3 x 3 are the least"
        )
    target = np.full(grid.shape, np.nan, dtype=np.float32)
    reproject(
        elevation,
        target,
        src_transform=own.transform,
        src_crs=own.crs,
        src_nodata=np.nan,
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        dst_nodata=np.nan,
        resampling=Resampling[settings.resampling],
    )
    if np.isnan(target).all():
        raise InputError(f"dem.crs: nothing of {source} falls on a grid in {grid.crs}")
    return target, grid


def warn_of_implausible(elevation: npt.NDArray[np.float32], source: str) -> None:
    """Say on the error stream when elevations cannot be metres above the sea."""
    lowest, highest = float(np.nanmin(elevation)), float(np.nanmax(elevation))
    if lowest < PLAUSIBLE_ELEVATION[0] or highest > PLAUSIBLE_ELEVATION[1]:
        print(
            f"eemt dem: warning: {source} runs from {lowest:,.0f} to {highest:,.0f}; are these metres above sea level?",
            file=sys.stderr,
        )


def _coarse_grid(grid: Grid, shape: tuple[int, ...]) -> Grid:
    return Grid(grid.crs, grid.west, grid.north, grid.dx * FAR_FACTOR, grid.dy * FAR_FACTOR, shape[1], shape[0])
