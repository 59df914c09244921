"""What a finished run left in its folder, read for showing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from rasterio.windows import Window

from eemt import raster
from eemt.config import Site
from eemt.energy.eemt import COUNTS
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.plots import Profile
from eemt.products import MEAN, STATISTICS
from eemt.stages.wetness import EDGE_CELLS, EDGE_SHARE

MOST_CELLS = 1200  # of a map's longer side; larger maps are read averaged to it
STRIP = 256  # rows read at a time where every cell counts
CELLS = "EEMT_CELLS_"  # begins the tags that count cells
SIGNIFICANT = 0.05  # p-value under which a trend counts as one
LOWEST, HIGHEST = -1000, 9000  # m, around every elevation on land
SUMMARY_COLUMNS = (
    "variable",
    "method",
    "year",
    "month",
    "mean",
    "sd",
    "min",
    "max",
    "p5",
    "p50",
    "p95",
    "cells",
    "area_km2",
)


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, settings and summary, and the grid its maps are shown on."""

    folder: Path
    settings: Site
    summary: pd.DataFrame
    label: str
    source_grid: Grid
    grid: Grid

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that were computed, in the order of the config."""
        return tuple(self.settings.eemt.methods)

    @property
    def years(self) -> list[str]:
        """Years or periods that were computed."""
        return _years(self.summary)

    @property
    def sloping(self) -> bool:
        """Whether a method rests on the sun and the water of slopes."""
        return bool({"topo", "veg"} & set(self.methods))

    def path(self, variable: str, method: str, label: str = "") -> Path:
        """File of a map, by default of what the report is about: the year, or the mean of all."""
        return self.folder / "maps" / f"{variable}_{method}_{label or self.label}.tif"

    def read(self, name: str | Path, bands: int | None = None, grid: Grid | None = None) -> npt.NDArray[np.float32]:
        """Read a raster's first bands, or all, for showing (bands, rows, columns), averaged where it is large.

        It may reach beyond the maps, as the elevation does. `grid` has other cells of the same area.
        """
        return raster.read_averaged(self.folder / name, self.source_grid, grid or self.grid, "report", bands)

    def annual(self, variable: str, label: str = "") -> dict[str, npt.NDArray[np.float32]]:
        """Read the annual maps of a variable by method."""
        return {
            method: self.read(self.path(variable, method, label).relative_to(self.folder), bands=1)[0]
            for method in self.methods
        }

    def has(self, variable: str, label: str) -> bool:
        """Whether there are such maps, by the summary."""
        rows = self.summary
        return bool(((rows["variable"] == variable) & (rows["year"] == label)).any())


def open_run(results: Path, settings: Site) -> Run:
    """Find what a run left in its folder.

    Raises
    ------
    InputError
        When something is missing; the message names the file.
    """
    summary = _read_summary(results / "summary.csv")
    years = _years(summary)
    if not years:
        raise InputError(f"report: {results / 'summary.csv'} has no year")
    label = MEAN if len(years) > 1 else years[0]
    source_grid = raster.read_grid(results / "maps" / f"eemt_{settings.eemt.methods[0]}_{label}.tif", "report")
    return Run(results, settings, summary, label, source_grid, shown_grid(source_grid))


def _years(summary: pd.DataFrame) -> list[str]:
    return [year for year in summary["year"].unique() if year not in STATISTICS]


def shown_grid(grid: Grid, most: int = MOST_CELLS) -> Grid:
    """Return the grid with wider cells, such that its longer side has no more than `most`."""
    factor = max(1.0, max(grid.shape) / most)
    height, width = max(1, round(grid.height / factor)), max(1, round(grid.width / factor))
    return Grid(
        grid.crs, grid.west, grid.north, grid.dx * grid.width / width, grid.dy * grid.height / height, width, height
    )


def _read_summary(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise InputError(f"report: {path} does not exist")
    try:
        summary = pd.read_csv(path, dtype={"year": str, "method": str, "variable": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"report: {path} is not a table ({error})") from None
    missing = [name for name in SUMMARY_COLUMNS if name not in summary.columns]
    if missing or summary.empty:
        raise InputError(f"report: {path} has no {'column ' + missing[0] if missing else 'rows'}")
    return summary


@dataclass(frozen=True)
class Slopes:
    """What every cell of a run, none averaged away, says about relief and aspect."""

    lowest: float
    highest: float
    facing: dict[str, tuple[float, float]]
    cells: tuple[int, int]
    profiles: dict[str, Profile]
    significant: dict[str, float] = field(default_factory=dict)  # share of cells with a trend


def survey(run: Run) -> Slopes:
    """Sum EEMT by aspect and elevation over all cells, a strip of rows at a time."""
    bins = HIGHEST - LOWEST
    sums = {method: np.zeros((3, bins)) for method in run.methods}  # number, sum and sum of squares a metre
    facing = {method: np.zeros((2, 2)) for method in run.methods}  # number and sum, north and south
    trends = {method: np.zeros(2) for method in run.methods if run.has("eemt", "trend_p")}  # cells, and with a trend
    lowest, highest = math.inf, -math.inf
    for top in range(0, run.source_grid.height, STRIP):
        rows = slice(top, min(top + STRIP, run.source_grid.height))
        elevation = _rows(run, "dem/dem.tif", rows)
        northness = _rows(run, "terrain/northness.tif", rows)
        if np.isfinite(elevation).any():
            lowest, highest = min(lowest, float(np.nanmin(elevation))), max(highest, float(np.nanmax(elevation)))
        for method in run.methods:
            eemt_rows = _rows(run, run.path("eemt", method).relative_to(run.folder), rows)
            known = np.isfinite(eemt_rows) & np.isfinite(elevation)
            values = eemt_rows[known].astype(np.float64)
            metre = np.clip(np.floor(elevation[known]) - LOWEST, 0, bins - 1).astype(np.intp)
            for power in range(3):
                sums[method][power] += np.bincount(metre, values**power, bins)
            for side, chosen in enumerate((northness[known] > 0, northness[known] < 0)):
                facing[method][side] += chosen.sum(), values[chosen].sum()
            if method in trends:
                p = _rows(run, run.path("eemt", method, "trend_p").relative_to(run.folder), rows)
                trends[method] += np.isfinite(p).sum(), (p < SIGNIFICANT).sum()
    if lowest > highest:
        raise InputError(f"report: {run.folder / 'dem' / 'dem.tif'} has no valid cell")
    means = {m: (_ratio(*f[0]), _ratio(*f[1])) for m, f in facing.items() if f[:, 0].all()}
    first = facing[run.methods[0]]
    return Slopes(
        lowest=lowest,
        highest=highest,
        facing=means,
        cells=(int(first[0, 0]), int(first[1, 0])),
        profiles={m: _profile(s) for m, s in sums.items()},
        significant={m: _ratio(*t) for m, t in trends.items() if t[0]},
    )


def _rows(run: Run, name: str | Path, rows: slice) -> npt.NDArray[np.float32]:
    """Read rows of the maps out of a raster that covers them."""
    with raster.open_raster(run.folder / name, "report") as source:
        whole = raster.window_on_grid(source, run.source_grid, "report")
        window = Window(whole.col_off, whole.row_off + rows.start, whole.width, rows.stop - rows.start)
        masked = source.read(1, window=window, masked=True, out_dtype="float32")
    values: npt.NDArray[np.float32] = masked.filled(np.nan)
    return values


def _ratio(number: float, total: float) -> float:
    return float(total / number)


def _profile(sums: npt.NDArray[np.float64], most: int = 40) -> Profile:
    """Gather sums by the metre into at most about `most` bands of a round height."""
    used = np.flatnonzero(sums[0])
    if not used.size:
        return Profile(np.empty(0), np.empty(0), np.empty(0))
    relief = used[-1] - used[0] + 1
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500) if relief <= most * s)
    start = used[0] // step * step
    edges = np.arange(start, used[-1] + 1, step)
    number, total, squares = np.add.reduceat(sums, edges, axis=1)
    enough = number >= max(1.0, 2e-4 * number.sum())
    number, total, squares = number[enough], total[enough], squares[enough]
    mean = total / number
    deviation = np.sqrt(np.maximum(squares / number - mean**2, 0.0))
    return Profile((edges + step / 2 + LOWEST)[enough], mean, deviation)


@dataclass(frozen=True)
class Count:
    """Cells in which a method left what it was made for."""

    method: str
    meaning: str
    cells: int
    share: float  # of the cells that the method has values for


def counts(run: Run) -> list[Count]:
    """Read from the maps of EEMT how often each method left its domain; what never happened is left out."""
    found = []
    for method in run.methods:
        rows = run.summary[(run.summary["variable"] == "eemt") & (run.summary["method"] == method)]
        valid = float(rows[(rows["year"] == run.label) & (rows["month"] == 0)]["cells"].iloc[0])
        with raster.open_raster(run.path("eemt", method), "report") as source:
            tags = source.tags()
        for tag, text in sorted(tags.items()):
            cells = int(float(text)) if tag.startswith(CELLS) else 0
            if cells:
                name = tag.removeprefix(CELLS).lower()
                meaning = COUNTS.get(name, f"cells of the kind {name.replace('_', ' ')}")
                found.append(Count(method, meaning, cells, cells / max(valid, cells)))
    return found


@dataclass(frozen=True)
class Edge:
    """Cells that may get water from beyond the edge of the elevation model."""

    cells: int
    share: float


def edge(run: Run) -> Edge | None:
    """Read how many cells may get water from beyond the edge; None where no method needs the wetness."""
    path = run.folder / "wetness" / "area.tif"
    if not (run.sloping or path.exists()):
        return None
    with raster.open_raster(path, "report") as source:
        tags = source.tags()
    return Edge(int(tags[EDGE_CELLS]), float(tags[EDGE_SHARE])) if EDGE_CELLS in tags else None
