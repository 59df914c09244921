"""``eemt zones``: maps as a table of zones, and the zones with their means."""

from __future__ import annotations

import argparse

from eemt.raster import whole_or_nothing
from eemt.zonal_statistics import annual_means, summarise_zones, write_geopackage
from eemt.zones import read_zones


def run(args: argparse.Namespace) -> None:
    """Write the same table as CSV and as Parquet, and if asked the polygons with the means of years."""
    zones = read_zones(args.settings)
    table = summarise_zones(args.maps, zones, args.settings.statistics, args.site, args.case)
    with whole_or_nothing(args.csv) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    with whole_or_nothing(args.parquet) as partial:
        table.to_parquet(partial, index=False)
    if args.gpkg:
        write_geopackage(args.gpkg, annual_means(table, zones))
