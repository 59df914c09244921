"""``eemt tile``: a tile of a DEM with a rim of the terrain around it."""

from __future__ import annotations

import argparse

from eemt.grid import tile_named
from eemt.raster import read_band, read_grid, write_geotiff
from eemt.sun import HALO_CELLS


def run(args: argparse.Namespace) -> None:
    """Write the tile; its rim is nodata where the DEM ends."""
    grid = read_grid(args.dem)
    tile = tile_named(grid, args.size, args.tile)
    halo = HALO_CELLS * max(grid.dx, grid.dy) if args.halo is None else args.halo
    rim_rows, rim_cols = grid.rim(halo)
    rows = slice(tile.rows.start - rim_rows, tile.rows.stop + rim_rows)
    cols = slice(tile.cols.start - rim_cols, tile.cols.stop + rim_cols)
    elevation = read_band(args.dem, rows=rows, cols=cols)
    tags = {"TILE": tile.name, "HALO": f"{halo:g} m"}
    write_geotiff(args.out, elevation, grid.window(rows, cols), ["elevation"], "m", tags)
