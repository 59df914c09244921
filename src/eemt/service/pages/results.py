"""What a job's page shows of its results: files in groups, curves and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from eemt.service import maps, results
from eemt.service.models import Job
from eemt.service.pages import curves
from eemt.service.service import Service

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
VARIABLES = {
    "eemt": ("EEMT", "MJ m⁻²"),
    "ebio": ("E_BIO, by net primary production", "MJ m⁻²"),
    "eppt": ("E_PPT, by effective precipitation", "MJ m⁻²"),
    "pet": ("Potential evaporation", "mm"),
    "aet": ("Actual evaporation", "mm"),
    "peff": ("Effective precipitation", "mm"),
    "npp": ("Net primary production", "g m⁻²"),
}
# titles and the beginnings of paths, the first that fits; those of the first two are seen at once
GROUPS = (
    ("To read", ("report.html", "sweep.html", "overview.png"), True),
    ("Tables", ("summary.", "zones.", "sweep."), True),
    ("Maps of EEMT", ("maps/",), False),
    ("Sun", ("sun/",), False),
    ("Elevation, terrain and water", ("dem/", "terrain/", "wetness/"), False),
    ("Climate", ("climate/",), False),
    ("Catalogue, archive, all in one", ("",), False),
)
OVER_YEARS = ("sd", "trend", "trend_p")  # which are no years
MOST_ROWS = 20_000  # of summary.csv that are looked at


@dataclass(frozen=True)
class Curve:
    """A picture and what it shows."""

    picture: Markup
    caption: str


@dataclass(frozen=True)
class Table:
    """Numbers as they are written."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def of_job(parts: Service, job: Job) -> dict[str, Any]:
    """Return what the page of a job shows of its results; nothing where they were removed."""
    shown: dict[str, Any] = {"report": None, "maps": False, "files": [], "curves": [], "tables": []}
    if job.removed is not None:
        return shown
    place = results.folder(parts.settings, job)
    files = results.listed(place)
    addresses = {file.path: f"/api/v1/jobs/{job.id}/files/{quote(file.path)}" for file in files}
    shown["report"] = addresses.get("report.html")
    shown["maps"] = bool(maps.maps_of(place))
    shown["files"] = _groups(files, addresses)
    if (place / "summary.csv").is_file():
        shown |= _summary(place)
    return shown


def _groups(files: Sequence[results.Result], addresses: Mapping[str, str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        title: {"title": title, "open": is_open, "items": []} for title, _, is_open in GROUPS
    }
    for file in files:
        # the maps of a sweep's case lie in a folder of its own
        inner = file.path.partition("/")[2] if "~" in file.path.partition("/")[0] else file.path
        title = next(title for title, starts, _ in GROUPS if inner.startswith(starts))
        found[title]["items"].append(
            {"path": file.path, "bytes": file.bytes, "meaning": file.meaning, "address": addresses[file.path]}
        )
    # `items` would be a method of the mapping in a template
    return [
        {"title": group["title"], "open": group["open"], "list": group["items"]}
        for group in found.values()
        if group["items"]
    ]


def _summary(place: Path) -> dict[str, Any]:
    rows, _ = results.rows(place / "summary.csv", {}, 0, MOST_ROWS)
    rows = [row for row in rows if not row.get("case")]
    if not rows:
        return {}
    years = list(dict.fromkeys(str(row["year"]) for row in rows))
    singles = [year for year in years if year not in (*OVER_YEARS, "mean")]
    whole = "mean" if "mean" in years else singles[0]
    return {"curves": list(_curves(rows, singles, whole)), "tables": list(_tables(rows, whole))}


def _curves(rows: Sequence[Mapping[str, Any]], years: Sequence[str], whole: str) -> list[Curve]:
    energy = [row for row in rows if row["variable"] == "eemt"]
    methods = list(dict.fromkeys(str(row["method"]) for row in energy))
    found = []
    months = {method: _values(energy, method, [(whole, month) for month in range(1, 13)]) for method in methods}
    if any(value is not None for values in months.values() for value in values):
        when = "mean over all years" if whole == "mean" else whole
        caption = f"EEMT in the course of the year, {when} [MJ m⁻² month⁻¹], mean over all cells"
        found.append(Curve(curves.lines(months, MONTHS, caption), caption))
    if len(years) > 1:
        by_year = {method: _values(energy, method, [(year, 0) for year in years]) for method in methods}
        caption = "EEMT by year [MJ m⁻² yr⁻¹], mean over all cells"
        found.append(Curve(curves.lines(by_year, years, caption), caption))
    return found


def _values(rows: Sequence[Mapping[str, Any]], method: str, places: Sequence[tuple[str, int]]) -> list[float | None]:
    known = {(str(row["year"]), row["month"]): row["mean"] for row in rows if row["method"] == method}
    return [known.get(place) for place in places]


def _tables(rows: Sequence[Mapping[str, Any]], whole: str) -> list[Table]:
    found = []
    for variable, (title, unit) in VARIABLES.items():
        annual = [
            row for row in rows if row["variable"] == variable and str(row["year"]) == whole and row["month"] == 0
        ]
        if annual:
            head = ("Method", "Mean", "Standard deviation", "Least", "5 %", "Median", "95 %", "Greatest", "Area [km²]")
            names = ("mean", "sd", "min", "p5", "p50", "p95", "max", "area_km2")
            cells = [[str(row["method"]).upper(), *(_written(row.get(name)) for name in names)] for row in annual]
            when = "mean of all years" if whole == "mean" else whole
            found.append(Table(f"{title}, {when} [{unit} yr⁻¹]", head, cells))
    return found


def _written(value: Any) -> str:
    if value is None:
        return "–"
    number = float(value)
    text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}" if abs(number) >= 100 else f"{number:.2f}"
    return text.replace(",", "\u202f").replace("-", "\u2212")
