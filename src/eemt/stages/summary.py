"""``eemt summary``: maps as a table."""

from __future__ import annotations

import argparse

from eemt.summary import summarise
from eemt.tables import write_table


def run(args: argparse.Namespace) -> None:
    """Write the same table as CSV and as Parquet."""
    table = summarise(args.maps, args.site, args.case)
    write_table(table, args.csv, args.parquet)
