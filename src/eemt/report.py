"""The report of a run: one HTML file with its maps, numbers, method, settings and run times."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import rasterio
import rasterio.crs
import yaml
from matplotlib.figure import Figure

import eemt
from eemt import constants, figures, inventory, origins
from eemt.cf import VARIABLES
from eemt.citations import Citations
from eemt.config import SECTIONS, Site
from eemt.dem.remote import Place
from eemt.errors import InputError
from eemt.pictures import kept, pictures, units
from eemt.results import SIGNIFICANT, Run, counts, edge, open_run, survey

PACKAGES = ("snakemake", "numpy", "numba", "rasterio", "pyproj", "xarray", "pandas", "matplotlib", "whitebox-workflows")
DIGITS = {"pet": 0, "aet": 0, "peff": 0, "npp": 0, "temperature": 1}  # of a table's numbers; 2 of others
CACHE = 64 * 2**20  # bytes, of blocks that GDAL holds: rasters are read once, by strips or averaged
LIST_TAG = "tag:yaml.org,2002:seq"
COMBINED = ("penman", "penman_monteith")  # evaporation by energy and air together


def _annual_rows(run: Run, label: str) -> list[dict[str, Any]]:
    """Rows of the summary for a whole year, EEMT first."""
    table = run.summary[(run.summary["year"] == label) & (run.summary["month"] == 0)]
    order = list(VARIABLES)
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    rows = [row for row in rows if row["method"] in run.methods and row["variable"] in order]
    for row in rows:
        row["units"], row["digits"] = units(row["variable"]), DIGITS.get(row["variable"], 2)
    return sorted(rows, key=lambda row: (order.index(row["variable"]), run.methods.index(row["method"])))


def _eemt_of(run: Run, label: str) -> dict[str, dict[str, Any]]:
    """Rows of the annual EEMT by method."""
    found = {row["method"]: row for row in _annual_rows(run, label) if row["variable"] == "eemt"}
    for method in run.methods:
        if method not in found:
            raise InputError(f"report: {run.folder / 'summary.csv'} has no annual eemt {method} {label}")
    return found


def _over_years(run: Run) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows of the annual EEMT by statistic over years, then by method."""
    return {name: _eemt_of(run, name) for name in ("sd", "trend") if run.has("eemt", name)}


def _shown_settings(site: Site) -> str:
    """Write the settings that a run used as YAML, without those of other sources and without secrets."""
    used = {
        name: {key: value for key, value in section.items() if key not in getattr(site, name).unused}
        for name, section in site.model_dump(mode="json").items()
    }
    ordered = {name: used[name] for name in SECTIONS}
    shown = origins.without_secrets(ordered)
    return str(yaml.dump(shown, Dumper=_InLine, sort_keys=False, allow_unicode=True, width=100))


class _InLine(yaml.SafeDumper):
    """Writes lists as ``[1, 2]``."""


_InLine.add_representer(list, lambda dump, values: dump.represent_sequence(LIST_TAG, values, flow_style=True))


def run_times(benchmarks: Path) -> list[dict[str, Any]]:
    """Sum Snakemake's benchmark files by rule, the longest rule first.

    Returns
    -------
    list of dict
        ``rule``, ``jobs``, ``total`` and ``longest`` [s], ``cpu`` [s] and ``memory`` [MiB], the last
        two None where jobs were too short to be measured.
    """
    rules: dict[str, list[pd.DataFrame]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        try:
            table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        except (pd.errors.ParserError, pd.errors.EmptyDataError):
            continue
        if "s" in table:
            rules.setdefault(rule, []).append(table)
    times = []
    for rule, tables in rules.items():
        jobs = pd.concat(tables).reindex(columns=["s", "max_rss", "cpu_time"]).apply(pd.to_numeric, errors="coerce")
        peak, cpu = jobs["max_rss"].max(), jobs["cpu_time"].sum(min_count=1)
        row = {"rule": rule, "jobs": len(tables), "total": float(jobs["s"].sum()), "longest": float(jobs["s"].max())}
        times.append(row | {"memory": None if pd.isna(peak) else peak, "cpu": None if pd.isna(cpu) else cpu})
    return sorted(times, key=lambda row: -row["total"])


def _versions(workflow_version: str) -> dict[str, str]:
    found = {"eemt": workflow_version, "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"GDAL": rasterio.__gdal_version__, "PROJ": rasterio.__proj_version__}


def write_report(
    results: Path,
    out: Path,
    site: str,
    settings: Site,
    benchmarks: Path | None = None,
    beside: Sequence[str] | None = None,
    workflow_version: str = eemt.__version__,
) -> None:
    """Write a run's report as one HTML file that needs nothing beside it.

    Parameters
    ----------
    results : path
        Folder of the run, ``results/{site}``.
    out : path
        The HTML file.
    site : str
        Its name, for the title.
    settings : Site
    benchmarks : path, optional
        Folder of Snakemake's benchmark files, one file or folder a rule.
    beside : sequence of str, optional
        Files of `eemt.inventory.BESIDE` that it links to; by default those that are there.
    workflow_version : str
        Version of eemt that ran.

    Raises
    ------
    InputError
        When a file of the run is missing; the message names it.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE):
        run = open_run(results, settings)
        links = inventory.beside(results, "report.html", beside)
        times = run_times(benchmarks) if benchmarks else []
        out.write_text(_page(run, site, links, times, workflow_version), encoding="utf-8")


def _page(run: Run, site: str, links: Mapping[str, str], times: list[dict[str, Any]], workflow_version: str) -> str:
    several = len(run.years) > 1
    period = f"{run.years[0]} to {run.years[-1]}" if several else run.label
    when = f"mean of {period}" if several else period
    slopes, climate, beyond = survey(run), origins.climate_of(run), edge(run)
    page = page_environment().get_template("report.html.j2")
    chosen = {method: getattr(run.settings.eemt, f"pet_{method}") for method in run.methods}
    return page.render(
        site=site,
        period=period,
        when=when,
        run=run,
        constants=constants,
        s=run.settings,
        pet=chosen,
        combined=[method for method, kind in chosen.items() if kind in COMBINED],
        eemt=_eemt_of(run, run.label),
        annual=_annual_rows(run, run.label),
        by_year={year: _eemt_of(run, year) for year in run.years} if several else {},
        over_years=_over_years(run),
        significant=SIGNIFICANT,
        slopes=slopes,
        pictures=pictures(run, slopes, climate, beyond, when),
        kept=kept(run),
        climate=climate,
        elevation=origins.elevation_origin(run),
        counts=counts(run),
        edge=beyond,
        cite=Citations(),
        settings=_shown_settings(run.settings),
        crs=rasterio.crs.CRS.from_user_input(run.grid.crs),
        versions=_versions(workflow_version),
        times=times,
        links=links,
        today=dt.datetime.now(dt.UTC).date().isoformat(),
    )


def draw_overview(results: Path, settings: Site) -> Figure:
    """Draw the wide picture of a run: sun, EEMT by method and their differences."""
    run = open_run(results, settings)
    sun = None
    if run.sloping or (run.folder / "sun/monthly_global.tif").exists():
        sun = run.read("sun/monthly_global.tif").sum(axis=0) / 1000
    return figures.overview(run.grid, run.read("dem/dem.tif")[0], sun, run.annual("eemt"))


def page_environment() -> jinja2.Environment:
    """Return what renders the templates of pages, with the filters that they use."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eemt"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": _fixed,
        "signed": _signed,
        "grouped": _grouped,
        "percent": _percent,
        "duration": _duration,
        "monthly": _monthly_value,
        "listed": _listed,
        "filename": lambda path: Place(path).name,
        "place": _place,
    }
    return environment


def _fixed(value: float, digits: int = 1) -> str:
    """Write a number with so many decimals and a proper minus; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "−")


def _signed(value: float, digits: int = 1) -> str:
    """Write a difference: a plus or a minus before all but zero."""
    text = _fixed(value, digits)
    return f"+{text}" if value > 0 and float(text) else text


def _percent(share: float) -> str:
    """Write a share in per cent, small ones as such."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _listed(words: list[str]) -> str:
    """Write a list: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _place(latitude: float, longitude: float) -> str:
    """Write a place: ``40.43° N, 105.21° W``."""
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.2f}° {north}, {abs(longitude):.2f}° {east}"


def _grouped(value: float) -> str:
    """Write a whole number, its thousands apart where it has five digits or more."""
    return f"{value:,.0f}".replace(",", "\u202f" if abs(value) >= 9999.5 else "").replace("-", "−")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _monthly_value(value: float | tuple[float, ...]) -> str:
    """Write a parameter that holds all year or comes as twelve."""
    return (
        f"{value:g}"
        if isinstance(value, float | int)
        else ", ".join(f"{v:g}" for v in value) + " (January to December)"
    )
