"""``eemt transfer``: EEMT and its parts for one tile, all its years and methods."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

from eemt.energy.cases import cases_of
from eemt.energy.land import Rasters
from eemt.raster import read_dem


def run(args: argparse.Namespace) -> None:
    """Read the land while the code is being loaded, then compute case after case."""
    cases = cases_of(args)
    threads = args.threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        code = pool.submit(_loaded)
        elevation, grid = read_dem(args.dem)
        core = grid.core(args.halo)
        rasters = Rasters(args, elevation[core], grid.window(*core))
        lands = [rasters.land(case.settings) for case in cases]
        tile = code.result()
        climate = tile.read_months(args.climate_file)
        for case, land in zip(cases, lands, strict=True):
            tile.compute(case, climate, land, rasters.grid, pool)


def _loaded() -> ModuleType:
    # imports and compiled kernels take half a second, which a thread that reads files can use
    from eemt.kernel_cache import without_scipy

    with without_scipy():
        from eemt.energy import kernels, tile

        kernels.load()
    return tile
