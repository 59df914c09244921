"""``eemt stack``: all maps of a site in one file for xarray."""

from __future__ import annotations

import argparse

from eemt.config import site_from_json
from eemt.stack import write_stack


def run(args: argparse.Namespace) -> None:
    """Write a CF NetCDF or a zipped Zarr."""
    write_stack(args.results, args.out, args.site, site_from_json(args.settings))
