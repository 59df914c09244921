"""`eemt report`: write a run's HTML report and, if asked for, its wide picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from eemt import raster, report
from eemt.config import site_from_json


def run(args: argparse.Namespace) -> None:
    """Write the report of one site.

    Parameters
    ----------
    args : namespace
        ``results`` (Path), ``out`` (Path), ``site`` (str), ``settings`` (JSON text), ``benchmarks``
        (Path or None), ``beside`` (list of str or None) and, where wanted, ``picture`` (Path or None).
    """
    settings = site_from_json(args.settings)
    with raster.whole_or_nothing(args.out) as partial:
        report.write_report(args.results, partial, args.site, settings, args.benchmarks, args.beside)
    picture: Path | None = args.picture
    if picture is not None:
        with raster.whole_or_nothing(picture) as partial:
            report.draw_overview(args.results, settings).savefig(partial, dpi=150)
