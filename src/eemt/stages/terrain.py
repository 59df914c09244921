"""``eemt terrain``: slope, aspect and northness."""

from __future__ import annotations

import argparse
import contextlib

import numpy as np
import rasterio
from rasterio.windows import Window

from eemt.errors import InputError
from eemt.raster import geotiff_writer, is_tile, open_raster, read_dem_grid, read_window, row_strips
from eemt.terrain import terrain

LAYERS = {"slope": "degrees", "aspect": "degrees clockwise from north", "northness": "1"}
CACHE = 64 * 2**20  # bytes, of blocks that GDAL holds: a strip is as high as a block


def run(args: argparse.Namespace) -> None:
    """Write one file a layer, strip by strip, so that memory does not grow with the DEM's height.

    Raises
    ------
    InputError
        When the DEM holds no value, unless it is one tile of a larger one.
    """
    grid = read_dem_grid(args.dem)
    rows, cols = grid.core(args.halo)
    core = grid.window(rows, cols)
    empty = not is_tile(args.dem)
    with rasterio.Env(GDAL_CACHEMAX=CACHE), contextlib.ExitStack() as files:
        source = files.enter_context(open_raster(args.dem))
        targets = [
            files.enter_context(geotiff_writer(args.out / f"{name}.tif", core, [name], units))
            for name, units in LAYERS.items()
        ]
        for strip in row_strips(rows):
            around = slice(strip.start - 1, strip.stop + 1), slice(cols.start - 1, cols.stop + 1)
            layers = terrain(read_window(source, *around), grid.dx, grid.dy)
            empty = empty and bool(np.isnan(layers[0]).all())
            window = Window(0, strip.start - rows.start, core.width, strip.stop - strip.start)
            for target, values in zip(targets, layers, strict=True):
                target.write(values[1:-1, 1:-1], 1, window=window)
        if empty:
            raise InputError(f"dem: {args.dem} has no valid cell, all are nodata")
