"""``eemt mosaic``: tiles put together."""

from __future__ import annotations

import argparse

from eemt.errors import InputError
from eemt.products import mosaic_rasters, mosaic_transfer


def run(args: argparse.Namespace) -> None:
    """Write one cloud-optimised GeoTIFF."""
    of_netcdf = {path.suffix == ".nc" for path in args.tiles}
    named = [args.variable, args.method, args.year]
    if of_netcdf == {False} and not any(named):
        mosaic_rasters(args.tiles, args.out)
    elif of_netcdf == {True} and all(named):
        mosaic_transfer(args.tiles, args.out, *named)
    else:
        raise InputError("mosaic: GeoTIFF tiles take no --variable, --method, --year; NetCDF tiles need all three")
