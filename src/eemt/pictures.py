"""All figures of a report, drawn from a run's rasters and tables and stored as they stand in the page."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from eemt import constants, figures, plots
from eemt.cf import VARIABLES
from eemt.errors import InputError
from eemt.figures import ANNUAL, Floats, Panel
from eemt.origins import Climate
from eemt.results import SIGNIFICANT, Edge, Run, Slopes

DENSITY = 200  # pixels an inch
HEAVY_PICTURE = 300_000  # bytes; beyond it a map is stored as WebP, which takes a fifth of a PNG
NOTABLE_EDGE = 0.01  # share of cells with water from beyond the edge, from which they are mapped
PARTS = {
    "ebio": ("viridis", "Energy of net primary production"),
    "eppt": ("plasma", "Heat carried by effective precipitation"),
}
KEPT = {
    "pet": ("YlOrBr", "PET"),
    "aet": ("YlGnBu", "AET"),
    "peff": ("YlGnBu", "P$_\\mathrm{eff}$"),
    "npp": ("YlGn", "NPP"),
    "temperature": ("RdYlBu_r", "T"),
    "fbio": ("viridis", "F$_\\mathrm{BIO}$"),
}


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page."""

    source: str
    width: float  # in
    caption: str


def pictures(run: Run, slopes: Slopes, climate: Climate, edge: Edge | None, when: str) -> dict[str, Picture]:
    """Draw every figure that the run has the data for.

    Raises
    ------
    InputError
        When a map that belongs in the report is missing.
    """
    elevation = run.read("dem/dem.tif")[0]
    shade = figures.hillshade(elevation, run.grid)
    drawn = {}
    maps = itertools.chain(
        _energy_maps(run, elevation, when), _maps_over_years(run), _ground_maps(run, edge), _kept_maps(run, when)
    )
    for name, caption, panels in maps:
        drawn[name] = encoded_picture(figures.maps(panels, run.grid, shade, width=9.0), caption)
    return drawn | _curves(run, slopes, climate, when)


def kept(run: Run) -> list[str]:
    """Return what is mapped beside energies."""
    return [name for name in run.settings.eemt.keep if run.has(name, run.label)]


def units(variable: str, per: str = "yr⁻¹") -> str:
    """Return a variable's units as they are printed: ``mm yr⁻¹``; `per` is the time that sums are of."""
    about = VARIABLES[variable]
    plain = {"degC": "°C", "1": "–"}.get(about.units, about.units.replace("m-2", "m⁻²"))
    return f"{plain} {per}" if about.summed else plain


def encoded_picture(figure: Figure, caption: str, vector: bool = False) -> Picture:
    """Turn a figure into a data address: SVG for curves, PNG or WebP at twice the screen's density for maps."""
    width = float(figure.get_figwidth())
    kind, content = ("svg+xml", _as_svg(figure)) if vector else _as_pixels(figure)
    return Picture(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", width, caption)


def _as_svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(figures.STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _as_pixels(figure: Figure) -> tuple[str, bytes]:
    """Draw a figure once and encode it; `Figure.savefig` would draw it anew for each format."""
    figure.set_dpi(DENSITY)
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(figures.STYLE):
        canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    content = _encoded(pixels, "png", compress_level=4)
    if len(content) <= HEAVY_PICTURE:
        return "png", content
    return "webp", _encoded(pixels, "webp", quality=88, method=4)


def _encoded(pixels: npt.NDArray[np.uint8], kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    imsave(buffer, pixels, format=kind, pil_kwargs=options)
    return buffer.getvalue()


def _energy_maps(run: Run, elevation: Floats, when: str) -> Iterator[tuple[str, str, list[Panel]]]:
    """Yield names, captions and maps of EEMT and its parts."""
    eemt_maps = run.annual("eemt")
    height = figures.elevation_panel(elevation)
    panels = figures.eemt_panels(eemt_maps)
    changes = figures.differences(eemt_maps)
    if changes:
        yield "eemt", f"EEMT over the hillshade, {when}; one colour scale for all.", panels
        named = " and ".join(panel.title for panel in changes)
        yield "difference", f"What the methods change in EEMT, {named}, {when}; and elevation.", [*changes, height]
    else:
        yield "eemt", f"EEMT over the hillshade, {when}, and elevation.", [*panels, height]
    if run.settings.outputs.parts:
        for part, (cmap, meaning) in PARTS.items():
            symbol = figures.PART_NAME[part]
            by_method = run.annual(part)
            yield part, f"{meaning}, {when}.", figures.variable_panels(by_method, cmap, symbol, f"{symbol} ({ANNUAL})")


def _maps_over_years(run: Run) -> Iterator[tuple[str, str, list[Panel]]]:
    """Yield names, captions and maps of what years differ by."""
    if run.has("eemt", "sd"):
        label = f"Standard deviation over years ({ANNUAL})"
        panels = figures.variable_panels(run.annual("eemt", "sd"), "magma", "SD", label, shaded=False)
        yield "sd", f"How much years differ: standard deviation of EEMT over {_span(run)}.", panels
    if run.has("eemt", "trend"):
        panels = figures.trend_panels(run.annual("eemt", "trend"), run.annual("eemt", "trend_p"), SIGNIFICANT)
        caption = (
            f"Trend of EEMT over {_span(run)}, by least squares. Dots: p ≥ {SIGNIFICANT:g} in a t test, no trend that "
            "could be told from chance."
        )
        yield "trend", caption, panels


def _span(run: Run) -> str:
    return f"{run.years[0]} to {run.years[-1]}"


def _ground_maps(run: Run, edge: Edge | None) -> Iterator[tuple[str, str, list[Panel]]]:
    """Yield names, captions and maps of what the terrain does to sun and water."""
    if _computed(run, "sun/monthly_global.tif"):
        caption = "Clear-sky irradiation of the slopes, its ratio to that of flat, open ground, and hours of direct sun"
        yield "sun", f"{caption}.", _sun(run)
    if _computed(run, "wetness/mcwi.tif"):
        notable = edge is not None and edge.share >= NOTABLE_EDGE
        caption = "How topography shares out water: wetness index, and each cell's share relative to the mean"
        more = "; and cells whose water may come from beyond the edge of the elevation model" if notable else ""
        yield "wetness", f"{caption}{more}.", _wetness(run, notable)


def _kept_maps(run: Run, when: str) -> Iterator[tuple[str, str, list[Panel]]]:
    """Yield names, captions and maps of what was kept beside energies."""
    for name in kept(run):
        cmap, symbol = KEPT[name]
        meaning = VARIABLES[name].meaning
        label = meaning[0].upper() + meaning[1:]
        panels = figures.variable_panels(run.annual(name), cmap, symbol, f"{symbol} ({units(name)})")
        yield f"kept_{name}", f"{label}, {when}.", panels


def _curves(run: Run, slopes: Slopes, climate: Climate, when: str) -> dict[str, Picture]:
    """Draw the plots that are no maps."""
    drawn = {
        "monthly": (plots.monthly(_monthly_means(run)), f"The year's course, mean over the map, {when}."),
        "profile": (
            plots.elevation_profile(slopes.profiles),
            f"EEMT against elevation, {when}: mean of each band and one standard deviation to both sides.",
        ),
        "climate": (
            plots.climate(climate.months["tmin"], climate.months["tmax"], climate.months["prcp"]),
            f"Monthly climate of the site, mean over the map, {when}: temperatures as lines, precipitation as bars.",
        ),
    }
    if slopes.facing:
        caption = f"Mean EEMT of slopes with northness above and below zero, {when}."
        drawn["facing"] = plots.north_south(slopes.facing), caption
    if len(run.years) > 1:
        drawn["years"] = plots.years(_yearly_means(run), run.years), "Mean EEMT of the map, year by year."
    return {name: encoded_picture(figure, caption, vector=True) for name, (figure, caption) in drawn.items()}


def _computed(run: Run, name: str) -> bool:
    """Whether a map belongs in the report: always where a method rests on it."""
    return run.sloping or (run.folder / name).exists()


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


def _wetness(run: Run, with_edge: bool) -> list[Panel]:
    twi, mcwi = run.read("wetness/twi.tif")[0], run.read("wetness/mcwi.tif")[0]
    index = figures.sequential("YlGnBu", "Topographic wetness index, ln(m)", twi)
    share = figures.sequential("YlGnBu", "Mass conservative wetness index", mcwi)
    panels = [Panel("Wetness index", twi, index, shaded=False), Panel("Share of water", mcwi, share, shaded=False)]
    return [*panels, figures.edge_panel(run.read("wetness/area.tif")[1])] if with_edge else panels


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


def _yearly_means(run: Run) -> Mapping[str, list[float]]:
    table = run.summary[(run.summary["variable"] == "eemt") & (run.summary["month"] == 0)]
    by_method = {method: table[table["method"] == method].set_index("year")["mean"] for method in run.methods}
    return {method: [float(values[year]) for year in run.years] for method, values in by_method.items()}
