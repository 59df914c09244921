"""``eemt tile``: a tile of a DEM with a rim of the terrain around it."""

from __future__ import annotations

import argparse

from eemt.grid import area_window, tile_named
from eemt.raster import TILE_TAG, read_band, read_grid, write_geotiff
from eemt.sun import HALO_CELLS


def run(args: argparse.Namespace) -> None:
    """Write the tile; its rim reaches beyond the area that is mapped, and is nodata where the DEM ends."""
    grid = read_grid(args.dem)
    area_rows, area_cols = area_window(grid, args.area)
    tile = tile_named(grid.window(area_rows, area_cols), args.size, args.tile)
    halo = HALO_CELLS * max(grid.dx, grid.dy) if args.halo is None else args.halo
    rim_rows, rim_cols = grid.rim(halo)
    rows = slice(area_rows.start + tile.rows.start - rim_rows, area_rows.start + tile.rows.stop + rim_rows)
    cols = slice(area_cols.start + tile.cols.start - rim_cols, area_cols.start + tile.cols.stop + rim_cols)
    elevation = read_band(args.dem, rows=rows, cols=cols)
    tags = {TILE_TAG: tile.name, "HALO": f"{halo:g} m"}
    write_geotiff(args.out, elevation, grid.window(rows, cols), ["elevation"], "m", tags)
