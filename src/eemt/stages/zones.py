"""``eemt zones``: maps as a table of zones, and the zones with their means."""

from __future__ import annotations

import argparse

from eemt.tables import write_table
from eemt.zonal_statistics import annual_means, summarise_zones, write_geopackage
from eemt.zones import read_zones


def run(args: argparse.Namespace) -> None:
    """Write the same table as CSV and as Parquet, and if asked the polygons with the means of years."""
    zones = read_zones(args.settings)
    table = summarise_zones(args.maps, zones, args.settings.statistics, args.site, args.case)
    write_table(table, args.csv, args.parquet)
    if args.gpkg:
        write_geopackage(args.gpkg, annual_means(table, zones))
