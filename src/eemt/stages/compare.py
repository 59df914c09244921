"""``eemt compare``: the cases of a sweep as one table and one page."""

from __future__ import annotations

import argparse
import json
from typing import Any

from eemt.comparison import compare
from eemt.config import site_from_json
from eemt.errors import InputError
from eemt.raster import whole_or_nothing
from eemt.sweep_page import write_page
from eemt.tables import write_table


def run(args: argparse.Namespace) -> None:
    """Compare the cases of one site.

    Parameters
    ----------
    args : namespace
        ``results`` (Path), ``site`` (str), ``settings`` (JSON text), ``table`` (JSON text or None), ``beside``
        (list of str or None), ``csv``, ``parquet`` and ``out`` (Path).
    """
    settings = site_from_json(args.settings)
    table = _rows(args.table) if args.table else None
    comparison = compare(args.results, args.site, settings, table)
    write_table(comparison.table, args.csv, args.parquet)
    with whole_or_nothing(args.out) as partial:
        write_page(args.results, partial, args.site, comparison, args.beside)


def _rows(text: str) -> list[dict[str, Any]]:
    """Read the rows of the sweep's table."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"table: not JSON ({error})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError('table: must be a JSON list of rows, such as [{"linke": "2", "omega": "2.2"}]')
    return rows
