"""``eemt compare``: the cases of a sweep as one table and one page."""

from __future__ import annotations

import argparse
import json
from typing import Any

from eemt.comparison import compare
from eemt.config import Site, check_section
from eemt.errors import InputError
from eemt.raster import whole_or_nothing
from eemt.sweep_page import write_page
from eemt.tables import write_table


def run(args: argparse.Namespace) -> None:
    """Compare the cases of one site.

    Parameters
    ----------
    args : namespace
        ``results`` (Path), ``site`` (str), ``settings`` (JSON text), ``table`` (JSON text or None), ``csv``,
        ``parquet`` and ``out`` (Path).
    """
    settings = check_section(Site, _from_json(args.settings, dict, "settings"), "compare: settings")
    table = _from_json(args.table, list, "table") if args.table else None
    comparison = compare(args.results, args.site, settings, table)
    write_table(comparison.table, args.csv, args.parquet)
    with whole_or_nothing(args.out) as partial:
        write_page(args.results, partial, args.site, comparison)


def _from_json(text: str, kind: type, name: str) -> Any:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"compare: the {name} are not JSON ({error})") from None
    if not isinstance(found, kind):
        wanted = "an object, a site's resolved configuration" if kind is dict else "a list of the table's rows"
        raise InputError(f"compare: the {name} must be JSON of {wanted}")
    return found
