"""``eemt summary``: maps as a table."""

from __future__ import annotations

import argparse

from eemt.raster import whole_or_nothing
from eemt.summary import summarise


def run(args: argparse.Namespace) -> None:
    """Write the same table as CSV and as Parquet."""
    table = summarise(args.maps, args.site, args.case)
    with whole_or_nothing(args.csv) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    with whole_or_nothing(args.parquet) as partial:
        table.to_parquet(partial, index=False)
