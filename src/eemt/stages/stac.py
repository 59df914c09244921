"""``eemt stac``: a STAC catalogue of a site's maps."""

from __future__ import annotations

import argparse

from eemt.config import site_from_json
from eemt.stac import write_catalogue


def run(args: argparse.Namespace) -> None:
    """Write the collection and the items of its maps."""
    write_catalogue(args.results, args.out, args.site, site_from_json(args.settings))
