"""The page that compares the cases of a sweep, one HTML file that needs nothing beside it."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

import eemt
from eemt import figures, inventory, raster, sweep_plots
from eemt.comparison import OWN, Comparison, changed, is_number, meaning_of, shown, unit_of, written
from eemt.config import Spread
from eemt.figures import ANNUAL, Panel
from eemt.pictures import Picture, encoded_picture
from eemt.report import page_environment
from eemt.results import shown_grid
from eemt.sensitivity import RESAMPLES, Response, Sobol, independent, responses, sobol_indices
from eemt.sweep import Case, Key, label

MOST_MAPS = 24  # cases whose maps are shown
MOST_OF_MAPS = 7_000_000  # bytes of all maps in the page; where they would be more, fewer cases are shown
MAP_CELLS = 440  # of a shown map's longer side, two for each pixel on most screens
MOST_CASES_LISTED = 60  # in the table, beyond which the extremes alone are
MOST_ROWS = 400
EXTREMES = 10  # of each end
MOST_LABELS = 3  # years that are drawn
CACHE = 64 * 2**20  # bytes, of blocks that GDAL holds
WIDE_INTERVAL = 0.1  # half of a confidence interval, above which an index is rough
SPAN = (5, 50, 95)


@dataclass(frozen=True)
class Axis:
    """A swept key as the page tells it."""

    name: str
    meaning: str
    unit: str
    values: str
    own: str


@dataclass(frozen=True)
class Outcome:
    """What one method says of one year or mean."""

    method: str
    label: str
    own: float
    least: float
    least_case: str
    greatest: float
    greatest_case: str
    percentiles: tuple[float, ...]  # of drawn points, by `SPAN`; none without samples
    responses: Sequence[Response]
    sobol: Sobol | None

    @property
    def changed(self) -> bool:
        """Whether a case changes the mean, as far as a summary tells."""
        return self.greatest - self.least > 1e-6 * abs(self.own)


def write_page(
    results: Path, out: Path, site: str, comparison: Comparison, beside: Sequence[str] | None = None
) -> None:
    """Write the page of a sweep.

    Parameters
    ----------
    results : path
        Folder of the site, with its maps and a folder a case.
    out : path
        The HTML file.
    site : str
        Its name, for the title.
    comparison : Comparison
        From `eemt.comparison.compare`.
    beside : sequence of str, optional
        Files of `eemt.inventory.BESIDE` that it links to; by default those that are there, and its table.

    Raises
    ------
    InputError
        When a map of EEMT or the elevation is missing or cannot be read; the message names the file.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE):
        there = [*inventory.beside(results, "sweep.html", beside), "sweep.csv"]
        links = inventory.beside(results, "sweep.html", there)
        out.write_text(_page(results, site, comparison, links), encoding="utf-8")


def _page(results: Path, site: str, comparison: Comparison, links: Mapping[str, str]) -> str:
    drawn_labels = _evenly(comparison.labels, MOST_LABELS)
    outcomes = [_outcome(comparison, method, year) for year in comparison.labels for method in comparison.methods]
    by_label = {year: [found for found in outcomes if found.label == year] for year in drawn_labels}
    rows, complete = _rows(comparison, drawn_labels)
    maps, shown = _maps_that_fit(results, comparison, drawn_labels[0])
    sweep = comparison.settings.sweep
    page = page_environment().get_template("sweep.html.j2")
    return page.render(
        site=site,
        unit=ANNUAL,
        own=OWN,
        comparison=comparison,
        sweep=sweep,
        axes=_axes(comparison),
        table_name=Path(sweep.table).name if sweep.table else "",
        drawn_labels=drawn_labels,
        outcomes=outcomes,
        by_label=by_label,
        named=[label(key) for key in comparison.keys],
        rows=rows,
        complete=complete,
        extremes=EXTREMES,
        links=links,
        maps=maps,
        shown=shown,
        ranked_by=_ranked_by(comparison, drawn_labels[0]),
        curves={year: _curve_pictures(comparison, found) for year, found in by_label.items()},
        span=SPAN,
        resamples=RESAMPLES,
        rough=_rough(outcomes),
        salib=importlib.metadata.version("SALib"),
        version=eemt.__version__,
        today=dt.datetime.now(dt.UTC).date().isoformat(),
    )


def _axes(comparison: Comparison) -> list[Axis]:
    """Tell what was swept: each key with its values or its range."""
    found = []
    for key in comparison.keys:
        name = label(key)
        values = list({written(case.values[name]): case.values[name] for case in comparison.design}.values())
        axis = comparison.settings.sweep.axes.get(key)
        if isinstance(axis, Spread):
            text = f"{written(axis.low)} to {written(axis.high)}"
        elif all(map(is_number, values)) and len(values) > MOST_MAPS:
            text = f"{len(values)} values from {written(min(values))} to {written(max(values))}"
        else:
            ordered = sorted(values) if all(map(is_number, values)) else values
            text = "; ".join(map(written, ordered)) if any(isinstance(v, tuple) for v in values) else _listed(ordered)
        found.append(Axis(name, meaning_of(key), unit_of(key), text, written(comparison.own.values[name])))
    return found


def _listed(values: Sequence[Any]) -> str:
    words = [written(value) for value in values]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _outcome(comparison: Comparison, method: str, year: str) -> Outcome:
    means = comparison.means(method, year)
    ordered = sorted(comparison.cases, key=lambda case: means[case.name])
    least, greatest = ordered[0], ordered[-1]
    percentiles: tuple[float, ...] = ()
    indices = None
    if comparison.settings.sweep.samples:
        drawn = comparison.outcomes(method, year)
        percentiles = tuple(map(float, np.percentile(independent(comparison, drawn), SPAN)))
        indices = sobol_indices(comparison.keys, drawn, comparison.settings.sweep.seed)
    return Outcome(
        method,
        year,
        means[""],
        means[least.name],
        changed(least),
        means[greatest.name],
        changed(greatest),
        percentiles,
        responses(comparison, method, year),
        indices,
    )


def _rough(outcomes: Sequence[Outcome]) -> bool:
    """Whether confidence intervals of the indices are too wide to rank parameters by."""
    errors = [found.sobol.total_error for found in outcomes if found.sobol]
    return any(bool((np.nan_to_num(error, nan=1.0) > WIDE_INTERVAL).any()) for error in errors)


def _rows(comparison: Comparison, labels: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """Return the table's rows of EEMT, and whether they are all; else the site's own and the extremes."""
    table = comparison.table[comparison.table["variable"] == "eemt"]
    complete = len(comparison.cases) <= MOST_CASES_LISTED and len(table) <= MOST_ROWS
    if not complete:
        kept = []
        for year in labels:
            for method in comparison.methods:
                of_both = table[(table["method"] == method) & (table["year"] == year)].sort_values("mean")
                ends = np.r_[:EXTREMES, len(of_both) - EXTREMES : len(of_both)]
                own = of_both[of_both["case"] == ""]
                kept += [*own.index, *(place for place in of_both.index[ends] if place not in own.index)]
        table = table.loc[kept]
    values = {case.name: {name: shown(value) for name, value in case.values.items()} for case in comparison.cases}
    records = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    return [{**row, "is_own": row["case"] == "", "values": values[row["case"]]} for row in records], complete


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def _maps_that_fit(results: Path, comparison: Comparison, year: str) -> tuple[dict[str, list[Picture]], int]:
    """Draw the maps of as many cases as the page has room for; return them by method, and that number."""
    most = MOST_MAPS
    while True:
        chosen = _chosen_cases(comparison, year, most)
        drawn = _map_pictures(results, comparison, chosen, year)
        size = sum(len(picture.source) for pair in drawn.values() for picture in pair)
        if size <= MOST_OF_MAPS or most <= 2:
            return drawn, len(chosen)
        most = max(2, int(len(chosen) * 0.9 * MOST_OF_MAPS / size))


def _chosen_cases(comparison: Comparison, year: str, most: int) -> list[Case]:
    """Return the cases whose maps are shown: all, or the site's own and others evenly by their rank."""
    if len(comparison.cases) <= most:
        return comparison.cases
    means = comparison.means(_ranked_by(comparison, year), year)
    others = sorted(comparison.cases[1:], key=lambda case: means[case.name])
    return [comparison.own, *_evenly(others, most - 1)]


def _ranked_by(comparison: Comparison, year: str) -> str:
    """Return the method whose mean EEMT the cases change most."""
    return max(comparison.methods, key=lambda method: float(np.ptp(list(comparison.means(method, year).values()))))


def _map_pictures(results: Path, comparison: Comparison, chosen: Sequence[Case], year: str) -> dict[str, list[Picture]]:
    """Draw for each method the maps of cases, and what they differ by from the site's own; nothing if in nothing."""
    source = raster.read_grid(results / "maps" / f"eemt_{comparison.methods[0]}_{year}.tif", _about(comparison.own))
    grid = shown_grid(source, MAP_CELLS)
    elevation = raster.read_averaged(results / "dem" / "dem.tif", source, grid, "compare")[0]
    shade = figures.hillshade(elevation, grid)
    drawn = {}
    for method in comparison.methods:
        maps = [
            raster.read_averaged(
                results / case.name / "maps" / f"eemt_{method}_{year}.tif", source, grid, _about(case)
            )[0]
            for case in chosen
        ]
        own, *others = maps
        differ = any(not np.array_equal(own, values, equal_nan=True) for values in others)
        drawn[method] = [
            encoded_picture(sweep_plots.case_maps(panels, grid, shade), caption)
            for panels, caption in _panels(maps, [_title(case) for case in chosen], method)
            if differ
        ]
    return drawn


def _panels(
    maps: Sequence[npt.NDArray[np.float32]], titles: Sequence[str], method: str
) -> Iterator[tuple[list[Panel], str]]:
    colours = figures.sequential("viridis", f"EEMT ({ANNUAL})", *maps)
    all_panels = [Panel(title, values, colours) for title, values in zip(titles, maps, strict=True)]
    yield all_panels, f"EEMT {method.upper()} of each case over the hillshade; one colour scale for all."
    own, *others = maps
    changes = [values - own for values in others]
    diverging = figures.diverging("RdBu_r", f"Difference of EEMT ({ANNUAL})", *changes)
    panels = [Panel(title, values, diverging, shaded=False) for title, values in zip(titles[1:], changes, strict=True)]
    yield panels, f"What each case changes in EEMT {method.upper()}: its map minus that of {OWN} parameters."


def _title(case: Case) -> str:
    # a key and its value stay on one line
    pairs = [pair.replace(" ", "\N{NO-BREAK SPACE}") for pair in changed(case).split(", ")]
    return ", ".join(pairs) if case.changes else "The site's own"


def _about(case: Case) -> str:
    return f"compare: case {case.name or OWN}"


def _curve_pictures(comparison: Comparison, outcomes: Sequence[Outcome]) -> dict[str, Picture]:
    """Draw the plots of one year or mean, all methods side by side."""
    own_values: Mapping[Key, Any] = {key: comparison.own.values[label(key)] for key in comparison.keys}
    own = {found.method: found.own for found in outcomes}
    effects = {found.method: found.responses for found in outcomes}
    conditional = {response.conditional for response in outcomes[0].responses}
    plots = {
        "tornado": (sweep_plots.tornado(effects, own), _tornado_caption(conditional)),
        "response": (sweep_plots.response_curves(effects, own, own_values), _response_caption(conditional)),
    }
    if comparison.settings.sweep.samples:
        points = {
            found.method: independent(comparison, comparison.outcomes(found.method, found.label)) for found in outcomes
        }
        caption = (
            f"Mean EEMT of the {next(iter(points.values())).size} points of both Latin hypercubes: histogram, and as a "
            "line the share of points below. Dashed: 5, 50 and 95 %; solid: the site's own parameters."
        )
        plots["distribution"] = sweep_plots.distribution(points, own), caption
        indices = {found.method: found.sobol for found in outcomes if found.sobol}
        if indices:
            caption = (
                "Sobol indices: share of the variance of the mean EEMT that a parameter accounts for alone (first "
                "order) and with all that it does together with others (total), with 95 % confidence intervals."
            )
            plots["sobol"] = sweep_plots.sobol_bars(indices), caption
    return {name: encoded_picture(figure, caption, vector=True) for name, (figure, caption) in plots.items()}


def _tornado_caption(conditional: set[bool]) -> str:
    single = (
        "Mean EEMT at the lowest (blue) and the highest (orange) value of each parameter, all others as the site has "
        "them; grey: choices with the least and the greatest mean. The line is the site's own."
    )
    mean = (
        "the sweep has no cases in which only this parameter differs over its whole range, and ends are means over "
        "all cases with that value, or in that part of the range, which differ in the others too"
    )
    if conditional == {True}:
        return (
            "Mean EEMT at the lowest (blue) and the highest (orange) values of each parameter; grey: choices with the "
            f"least and the greatest mean. In all of them {mean}. The line is the site's own."
        )
    return f"{single} *: {mean}." if True in conditional else single


def _response_caption(conditional: set[bool]) -> str:
    line = {
        frozenset({False}): "all other parameters as the site has them",
        frozenset({True}): "means over the cases with that value, or in that part of the range",
    }.get(
        frozenset(conditional),
        "all other parameters as the site has them where there are such cases, else means over the cases with that "
        "value",
    )
    return (
        f"What each parameter changes in the mean EEMT: {line}. Small dots are single cases, the dashed line the "
        "site's own value."
    )
