"""``eemt crate``: a finished site described as an RO-Crate."""

from __future__ import annotations

import argparse

from eemt.config import site_from_json
from eemt.crate import write_crate
from eemt.errors import InputError
from eemt.inventory import CRATE


def run(args: argparse.Namespace) -> None:
    """Write the description into the site's folder."""
    if args.out.name != CRATE or args.out.parent.resolve() != args.results.resolve():
        raise InputError(f"crate: {args.out} is not {args.results / CRATE}; names in a crate are those beside it")
    write_crate(args.results, args.out, args.site, site_from_json(args.settings), args.command, args.threads)
