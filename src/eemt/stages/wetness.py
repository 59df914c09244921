"""``eemt wetness``: the topographic wetness of a whole DEM."""

from __future__ import annotations

import argparse

from eemt.raster import read_dem, write_geotiff
from eemt.terrain import terrain
from eemt.wetness import flow, mcwi, topographic_wetness


def run(args: argparse.Namespace) -> None:
    """Write the specific catchment area and the two indices made of it."""
    elevation, grid = read_dem(args.dem)
    slope, _, _ = terrain(elevation, grid.dx, grid.dy)
    area = flow(elevation, grid.dx, grid.dy)
    twi = topographic_wetness(area, slope, floor=args.settings.slope_floor)
    tags = {"SLOPE_FLOOR": args.settings.slope_floor, "MEAN_ONE_OVER": args.settings.domain}
    index = mcwi(twi, domain=args.settings.domain)
    write_geotiff(args.out / "area.tif", area, grid, ["specific catchment area"], "m", tags)
    write_geotiff(args.out / "twi.tif", twi, grid, ["topographic wetness index"], "1", tags)
    write_geotiff(args.out / "mcwi.tif", index, grid, ["mass conservative wetness index"], "1", tags)
