"""The report of a run: one HTML file with its maps, numbers, method, settings and run times."""

from __future__ import annotations

import base64
import datetime as dt
import importlib.metadata
import io
import itertools
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pandas as pd
import rasterio
import rasterio.crs
import yaml
from matplotlib.figure import Figure

import eemt
from eemt import constants, figures, plots, raster
from eemt.errors import InputError
from eemt.figures import ANNUAL, Floats, Panel
from eemt.results import Run, Slopes, open_run, survey

HEAVY_PICTURE = 300_000  # bytes; beyond it a map is stored as WebP, which takes a fifth of a PNG
PACKAGES = ("snakemake", "numpy", "numba", "rasterio", "pyproj", "xarray", "pandas", "matplotlib", "whitebox-workflows")
PARTS = {
    "ebio": ("viridis", "Energy of net primary production"),
    "eppt": ("plasma", "Heat carried by effective precipitation"),
}


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page."""

    source: str
    width: float  # in
    caption: str


def _picture(figure: Figure, caption: str, vector: bool = False) -> Picture:
    """Turn a figure into a data address: SVG for curves, PNG or WebP at twice the screen's density for maps."""
    width = float(figure.get_figwidth())
    if vector:
        kind, content = "svg+xml", _saved(figure, "svg", metadata={"Date": None})
    else:
        kind, content = "png", _saved(figure, "png", dpi=200)
        if len(content) > HEAVY_PICTURE:
            kind, content = "webp", _saved(figure, "webp", dpi=200, pil_kwargs={"quality": 88, "method": 6})
    return Picture(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", width, caption)


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(figures.STYLE):
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def _pictures(run: Run, slopes: Slopes, when: str) -> dict[str, Picture]:
    """Draw every figure that the run has the data for."""
    elevation = run.read("dem/dem.tif")[0]
    shade = figures.hillshade(elevation, run.grid)
    drawn = {}
    for name, caption, panels in itertools.chain(_energy_maps(run, elevation, when), _ground_maps(run)):
        drawn[name] = _picture(figures.maps(panels, run.grid, shade, width=9.0), caption)
    return drawn | _curves(run, slopes, when)


def _energy_maps(run: Run, elevation: Floats, when: str) -> Iterator[tuple[str, str, list[Panel]]]:
    """Yield names, captions and maps of EEMT and its parts."""
    eemt_maps = run.annual("eemt")
    height = figures.elevation_panel(elevation)
    panels = figures.eemt_panels(eemt_maps)
    if len(panels) > 1:
        yield "eemt", f"EEMT over the hillshade, {when}; one colour scale for all.", panels
    else:
        yield "eemt", f"EEMT over the hillshade, {when}, and elevation.", [*panels, height]
    if {"trad", "topo"} <= set(eemt_maps):
        change = figures.difference(eemt_maps["topo"], eemt_maps["trad"])
        caption = f"What topography changes, EEMT TOPO minus EEMT TRAD, {when}; and elevation."
        yield "difference", caption, [change, height]
    if run.settings.outputs.parts:
        for part, (cmap, meaning) in PARTS.items():
            by_method = run.annual(part)
            symbol = figures.PART_NAME[part]
            colours = figures.sequential(cmap, f"{symbol} ({ANNUAL})", *by_method.values())
            panels = [Panel(f"{symbol} {method.upper()}", values, colours) for method, values in by_method.items()]
            yield part, f"{meaning}, {when}.", panels


def _ground_maps(run: Run) -> Iterator[tuple[str, str, list[Panel]]]:
    """Yield names, captions and maps of what the terrain does to sun and water."""
    if _computed(run, "sun/monthly_global.tif"):
        caption = "Clear-sky irradiation of the slopes, its ratio to that of flat, open ground, and hours of direct sun"
        yield "sun", f"{caption}.", _sun(run)
    if _computed(run, "wetness/mcwi.tif"):
        caption = "How topography shares out water: wetness index, and each cell's share relative to the mean"
        yield "wetness", f"{caption}.", _wetness(run)


def _curves(run: Run, slopes: Slopes, when: str) -> dict[str, Picture]:
    """Draw the plots that are no maps."""
    drawn = {
        "monthly": (plots.monthly(_monthly_means(run)), f"The year's course, mean over the map, {when}."),
        "profile": (
            plots.elevation_profile(slopes.profiles),
            f"EEMT against elevation, {when}: mean of each band and one standard deviation to both sides.",
        ),
    }
    if slopes.facing:
        caption = f"Mean EEMT of slopes with northness above and below zero, {when}."
        drawn["facing"] = plots.north_south(slopes.facing), caption
    return {name: _picture(figure, caption, vector=True) for name, (figure, caption) in drawn.items()}


def _computed(run: Run, name: str) -> bool:
    """Whether a map belongs in the report: always where the method TOPO rests on it."""
    return "topo" in run.methods or (run.folder / name).exists()


def _sun(run: Run) -> list[Panel]:
    sloped = run.read("sun/monthly_global.tif").sum(axis=0)
    flat = run.read("sun/monthly_flat_global.tif").sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(flat > 0, sloped / flat, np.nan)
    relative = figures.diverging("PuOr_r", "Sloped over flat irradiation", ratio, centre=1.0)
    panels = [figures.sun_panel(sloped / 1000), Panel("Ratio to flat ground", ratio, relative, shaded=False)]
    if (run.folder / "sun/monthly_insolation.tif").exists():
        hours = run.read("sun/monthly_insolation.tif").sum(axis=0) / constants.DAYS_IN_YEAR
        colours = figures.sequential("magma", "Direct sun, mean of the year (h day⁻¹)", hours)
        panels.append(Panel("Hours of sun", hours, colours, shaded=False))
    return panels


def _wetness(run: Run) -> list[Panel]:
    twi, mcwi = run.read("wetness/twi.tif")[0], run.read("wetness/mcwi.tif")[0]
    index = figures.sequential("YlGnBu", "Topographic wetness index, ln(m)", twi)
    share = figures.sequential("YlGnBu", "Mass conservative wetness index (mean 1)", mcwi)
    return [Panel("Wetness index", twi, index, shaded=False), Panel("Share of water", mcwi, share, shaded=False)]


def _monthly_means(run: Run) -> dict[str, dict[str, list[float]]]:
    """Twelve means over the map, by method and part."""
    parts = ("ebio", "eppt") if run.settings.outputs.parts else ("eemt",)
    table = run.summary[(run.summary["year"] == run.label) & (run.summary["month"] > 0)]
    means: dict[str, dict[str, list[float]]] = {}
    for method in run.methods:
        for part in parts:
            rows = table[(table["method"] == method) & (table["variable"] == part)].sort_values("month")
            if list(rows["month"]) != list(range(1, 13)):
                path = run.folder / "summary.csv"
                raise InputError(f"report: {path} does not have the twelve months of {part} {method} {run.label}")
            means.setdefault(method, {})[part] = rows["mean"].tolist()
    return means


def _climate(run: Run) -> tuple[dict[str, Any], Picture]:
    """Twelve means of the climate at its source, and what the source is."""
    path = run.folder / "climate" / "climate.nc"
    with raster.open_netcdf(path, "report") as dataset:
        absent = [name for name in ("tmin", "tmax", "prcp") if name not in dataset]
        if absent:
            raise InputError(f"report: {path} has no variable {absent[0]}")
        months = {}
        for name in {"tmin", "tmax", "prcp", "vp"} & set(dataset.data_vars):
            series = dataset[name].mean([d for d in dataset[name].dims if d != "time"])
            months[name] = series.groupby("time.month").mean().reindex(month=range(1, 13)).values.tolist()
        height = float(dataset["elevation"].mean()) if "elevation" in dataset else None
        described = ("title", "source", "period", "vapour_pressure")
        about = {name: str(dataset.attrs[name]) for name in described if name in dataset.attrs}
    place = f" at {height:.0f} m above sea level" if height is not None else ""
    caption = f"Monthly climate of the source{place}: temperatures as lines, precipitation as bars."
    drawn = plots.climate(months["tmin"], months["tmax"], months["prcp"])
    return {"months": months, "about": about}, _picture(drawn, caption, vector=True)


def _annual_rows(run: Run, label: str) -> list[dict[str, Any]]:
    """Rows of the summary for a whole year, EEMT first."""
    table = run.summary[(run.summary["year"] == label) & (run.summary["month"] == 0)]
    order = {"eemt": 0, "ebio": 1, "eppt": 2}
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records") if row["method"] in run.methods]
    return sorted(rows, key=lambda row: (order.get(row["variable"], 9), run.methods.index(row["method"])))


def _eemt_of(run: Run, label: str) -> dict[str, dict[str, Any]]:
    """Rows of the annual EEMT by method."""
    found = {row["method"]: row for row in _annual_rows(run, label) if row["variable"] == "eemt"}
    for method in run.methods:
        if method not in found:
            raise InputError(f"report: {run.folder / 'summary.csv'} has no annual eemt {method} {label}")
    return found


def _outside_domain(run: Run) -> dict[str, int]:
    """Count the cells where a model was used beyond what it was made for."""
    if "topo" not in run.methods:
        return {}
    with raster.open_raster(run.path("eemt", "topo"), "report") as source:
        tags = source.tags()
    return {name: int(float(value)) for name, value in tags.items() if name.startswith("EEMT_CELLS_")}


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
    settings: Mapping[str, Any],
    benchmarks: Path | None = None,
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
    settings : mapping
        The site's resolved configuration.
    benchmarks : path, optional
        Folder of Snakemake's benchmark files, one file or folder a rule.
    workflow_version : str
        Version of eemt that ran.

    Raises
    ------
    InputError
        When a file of the run is missing; the message names it.
    """
    run = open_run(results, settings)
    period = run.label if run.label != "mean" else f"{run.years[0]} to {run.years[-1]}"
    when = period if run.label != "mean" else f"mean of {period}"
    eemt_now = _eemt_of(run, run.label)
    slopes = survey(run)
    climate, climate_picture = _climate(run)
    page = _environment().get_template("report.html.j2")
    out.write_text(
        page.render(
            site=site,
            period=period,
            when=when,
            run=run,
            constants=constants,
            s=run.settings,
            eemt=eemt_now,
            annual=_annual_rows(run, run.label),
            by_year={y: _eemt_of(run, y) for y in run.years} if len(run.years) > 1 else {},
            slopes=slopes,
            pictures=_pictures(run, slopes, when) | {"climate": climate_picture},
            climate=climate,
            outside=_outside_domain(run),
            settings=yaml.safe_dump(
                run.settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
            ),
            crs=rasterio.crs.CRS.from_user_input(run.grid.crs),
            versions=_versions(workflow_version),
            times=run_times(benchmarks) if benchmarks else [],
            today=dt.datetime.now(dt.UTC).date().isoformat(),
        ),
        encoding="utf-8",
    )


def draw_overview(results: Path, settings: Mapping[str, Any]) -> Figure:
    """Draw the wide picture of a run: sun, EEMT by method and their difference."""
    run = open_run(results, settings)
    sun = None
    if _computed(run, "sun/monthly_global.tif"):
        sun = run.read("sun/monthly_global.tif").sum(axis=0) / 1000
    return figures.overview(run.grid, run.read("dem/dem.tif")[0], sun, run.annual("eemt"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eemt"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": _fixed, "grouped": _grouped, "duration": _duration, "monthly": _monthly_value}
    return environment


def _fixed(value: float, digits: int = 1) -> str:
    """Write a number with so many decimals and a proper minus."""
    return f"{value:.{digits}f}".replace("-", "−")


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
