"""``eemt transfer``: EEMT and its parts for one tile, all its years and methods."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

from eemt.energy.land import read_land
from eemt.raster import read_dem


def run(args: argparse.Namespace) -> None:
    """Read the land while the code is being loaded, then compute."""
    threads = args.threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        code = pool.submit(_loaded)
        elevation, grid = read_dem(args.dem)
        core = grid.core(args.halo)
        elevation, grid = elevation[core], grid.window(*core)
        land = read_land(args, elevation, grid)
        code.result().compute(args, land, grid, pool)


def _loaded() -> ModuleType:
    # imports and compiled kernels take a second, which a thread that reads files can use
    from eemt.energy import kernels, tile

    kernels.load()
    return tile
