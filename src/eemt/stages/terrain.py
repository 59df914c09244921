"""``eemt terrain``: slope, aspect and northness."""

from __future__ import annotations

import argparse

from eemt.raster import read_dem, write_geotiff
from eemt.terrain import terrain

LAYERS = {"slope": "degrees", "aspect": "degrees clockwise from north", "northness": "1"}


def run(args: argparse.Namespace) -> None:
    """Write one file a layer."""
    elevation, grid = read_dem(args.dem)
    core = grid.core(args.halo)
    layers = terrain(elevation, grid.dx, grid.dy)
    for (name, units), values in zip(LAYERS.items(), layers, strict=True):
        write_geotiff(args.out / f"{name}.tif", values[core], grid.window(*core), [name], units)
