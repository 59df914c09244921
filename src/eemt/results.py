"""What a finished run left in its folder, read for showing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rasterio.enums import Resampling
from rasterio.windows import Window

from eemt import raster
from eemt.config import Site, check_section
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.plots import Profile

MOST_CELLS = 1200  # of a map's longer side; larger maps are read averaged to it
STRIP = 256  # rows read at a time where every cell counts
LOWEST, HIGHEST = -1000, 9000  # m, around every elevation on land
SUMMARY_COLUMNS = ("variable", "method", "year", "month", "mean", "sd", "min", "max", "p5", "p50", "p95", "area_km2")


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
        return [year for year in self.summary["year"].unique() if year != "mean"]

    def path(self, variable: str, method: str) -> Path:
        """File of a map."""
        return self.folder / "maps" / f"{variable}_{method}_{self.label}.tif"

    def read(self, name: str | Path, bands: int | None = None) -> npt.NDArray[np.float32]:
        """Read a raster's first bands, or all, for showing (bands, rows, columns), averaged where it is large."""
        path = self.folder / name
        with raster.open_raster(path, "report") as source:
            if (source.height, source.width) != self.source_grid.shape:
                raise InputError(
                    f"report: {path} has {source.height} x {source.width} cells, the elevation "
                    f"{self.source_grid.height} x {self.source_grid.width}; run the stage that wrote it again"
                )
            numbers = list(range(1, (bands or source.count) + 1))
            masked = source.read(
                numbers,
                out_shape=(len(numbers), *self.grid.shape),
                resampling=Resampling.average,
                masked=True,
                out_dtype="float32",
            )
        values: npt.NDArray[np.float32] = masked.filled(np.nan)
        return values

    def annual(self, variable: str) -> dict[str, npt.NDArray[np.float32]]:
        """Read the annual maps of a variable by method."""
        return {
            method: self.read(self.path(variable, method).relative_to(self.folder), bands=1)[0]
            for method in self.methods
        }


def open_run(results: Path, settings: Mapping[str, Any]) -> Run:
    """Find what a run left in its folder.

    Raises
    ------
    InputError
        When something is missing; the message names the file.
    """
    site: Site = check_section(Site, settings, "settings")
    summary = _read_summary(results / "summary.csv")
    years = [year for year in summary["year"].unique() if year != "mean"]
    label = "mean" if len(years) > 1 else years[0]
    source_grid = raster.read_grid(results / "dem" / "dem.tif", "report")
    return Run(results, site, summary, label, source_grid, shown_grid(source_grid))


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


def survey(run: Run) -> Slopes:
    """Sum EEMT by aspect and elevation over all cells, a strip of rows at a time."""
    bins = HIGHEST - LOWEST
    sums = {method: np.zeros((3, bins)) for method in run.methods}  # number, sum and sum of squares a metre
    facing = {method: np.zeros((2, 2)) for method in run.methods}  # number and sum, north and south
    lowest, highest = math.inf, -math.inf
    for top in range(0, run.source_grid.height, STRIP):
        rows = slice(top, min(top + STRIP, run.source_grid.height))
        elevation = _rows(run.folder / "dem" / "dem.tif", rows)
        northness = _rows(run.folder / "terrain" / "northness.tif", rows)
        if np.isfinite(elevation).any():
            lowest, highest = min(lowest, float(np.nanmin(elevation))), max(highest, float(np.nanmax(elevation)))
        for method in run.methods:
            eemt_rows = _rows(run.path("eemt", method), rows)
            known = np.isfinite(eemt_rows) & np.isfinite(elevation)
            values = eemt_rows[known].astype(np.float64)
            metre = np.clip(np.floor(elevation[known]) - LOWEST, 0, bins - 1).astype(np.intp)
            for power in range(3):
                sums[method][power] += np.bincount(metre, values**power, bins)
            for side, chosen in enumerate((northness[known] > 0, northness[known] < 0)):
                facing[method][side] += chosen.sum(), values[chosen].sum()
    if lowest > highest:
        raise InputError(f"report: {run.folder / 'dem' / 'dem.tif'} has no valid cell")
    means = {m: (_ratio(*f[0]), _ratio(*f[1])) for m, f in facing.items() if f[:, 0].all()}
    first = facing[run.methods[0]]
    return Slopes(
        lowest, highest, means, (int(first[0, 0]), int(first[1, 0])), {m: _profile(s) for m, s in sums.items()}
    )


def _rows(path: Path, rows: slice) -> npt.NDArray[np.float32]:
    with raster.open_raster(path, "report") as source:
        window = Window.from_slices(rows, slice(0, source.width))
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
