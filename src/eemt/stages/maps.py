"""``eemt maps``: transfer tiles put together, map by map."""

from __future__ import annotations

import argparse

from eemt.errors import InputError
from eemt.products import mosaic_transfer


def run(args: argparse.Namespace) -> None:
    """Write one cloud-optimised GeoTIFF a name."""
    wanted = {name: name.split("_", 2) for name in args.maps}
    for name, parts in wanted.items():
        if len(parts) < 3:
            raise InputError(f"maps: {name} is no map; VARIABLE_METHOD_YEAR is needed, such as eemt_topo_mean")
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (variable, method, year) in wanted.items():
        mosaic_transfer(args.tiles, args.out / f"{name}.tif", variable, method, year)
