"""`eemt report`: write a run's HTML report and, if asked for, its wide picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from eemt import raster, report
from eemt.errors import InputError


def run(args: argparse.Namespace) -> None:
    """Write the report of one site.

    Parameters
    ----------
    args : namespace
        ``results`` (Path), ``out`` (Path), ``site`` (str), ``settings`` (JSON text), ``benchmarks``
        (Path or None) and, where wanted, ``picture`` (Path or None).
    """
    try:
        settings = json.loads(args.settings)
    except json.JSONDecodeError as error:
        raise InputError(f"report: the settings are not JSON ({error})") from None
    if not isinstance(settings, dict):
        raise InputError("report: the settings must be a JSON object, a site's resolved configuration")
    with raster.whole_or_nothing(args.out) as partial:
        report.write_report(args.results, partial, args.site, settings, args.benchmarks)
    picture: Path | None = getattr(args, "picture", None)
    if picture is not None:
        with raster.whole_or_nothing(picture) as partial:
            report.draw_overview(args.results, settings).savefig(partial, dpi=150)
