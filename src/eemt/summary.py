"""The table of maps: what their cells amount to, by variable, method, year and month."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
from rasterio.windows import Window

from eemt.grid import Grid
from eemt.products import keys_of
from eemt.raster import grid_of, open_raster, row_strips

HELD = 512 * 2**20  # bytes of a map that are summed up at once, at most, or else one band
CACHE = 64 * 2**20  # bytes, of blocks that GDAL holds meanwhile: each is read once
PIECE = 2**20  # values that are squared at once


def summarise(maps: Iterable[Path], site: str, case: str = "") -> pd.DataFrame:
    """Tabulate maps by variable, method, year and month.

    Parameters
    ----------
    maps : paths
        What `eemt mosaic` wrote; each band but the first is a month.
    site, case : str
        What stands in the columns of these names, so that the tables of several can be joined; `case` is one
        of a sweep, or nothing.

    Returns
    -------
    DataFrame
        A row a band: `month` 0 is the whole year [MJ m-2 yr-1], 1 to 12 are months
        [MJ m-2 month-1]; `cells` and `area_km2` are those with a value.

    Raises
    ------
    InputError
        When a file's name is not VARIABLE_METHOD_YEAR.tif.
    """
    rows = []
    for path in maps:
        keys = keys_of(path, "summary")
        with rasterio.Env(GDAL_CACHEMAX=CACHE), open_raster(path, "map") as source:
            grid = grid_of(source, "map")
            for first in range(0, source.count, _bands_at_once(source.count, grid)):
                rest = range(first, min(first + _bands_at_once(source.count, grid), source.count))
                for month, values in zip(rest, _known_values(source, rest, grid), strict=True):
                    rows.append({"site": site, "case": case, **keys, "month": month, **_statistics(values, grid)})
    return pd.DataFrame(rows)


def _bands_at_once(count: int, grid: Grid) -> int:
    """Return how many bands of a map are held together, since all of them are unpacked to read one."""
    return max(1, min(count, HELD // (4 * grid.width * grid.height)))


def _known_values(source: rasterio.DatasetReader, bands: range, grid: Grid) -> Iterator[npt.NDArray[np.float32]]:
    """Read the values of some bands without their missing cells, in 4 bytes each and no copy."""
    known = np.empty((len(bands), grid.height * grid.width), dtype=np.float32)
    sizes = [0] * len(bands)
    for rows in row_strips(slice(0, grid.height)):
        strip = source.read([band + 1 for band in bands], window=Window.from_slices(rows, slice(0, grid.width)))
        for number, values in enumerate(strip):
            here = values[np.isfinite(values)]
            known[number, sizes[number] : sizes[number] + here.size] = here
            sizes[number] += here.size
    for values, size in zip(known, sizes, strict=True):
        yield values[:size]


def _statistics(values: npt.NDArray[np.float32], grid: Grid) -> dict[str, float]:
    """Sum up values, which are put in another order; in double precision, a piece at a time."""
    if values.size == 0:
        return dict.fromkeys(("mean", "sd", "min", "max", "p5", "p50", "p95"), np.nan) | {"cells": 0, "area_km2": 0.0}
    pieces = [values[start : start + PIECE] for start in range(0, values.size, PIECE)]
    mean = sum(float(piece.sum(dtype=np.float64)) for piece in pieces) / values.size
    squares = sum(float(((piece - mean) ** 2).sum()) for piece in (piece.astype(np.float64) for piece in pieces))
    p5, p50, p95 = _percentiles(values, (5.0, 50.0, 95.0))
    return {
        "mean": mean,
        "sd": float(np.sqrt(squares / values.size)),
        "min": float(values.min()),
        "max": float(values.max()),
        "p5": p5,
        "p50": p50,
        "p95": p95,
        "cells": values.size,
        "area_km2": values.size * grid.cell_area / 1e6,
    }


def _percentiles(values: npt.NDArray[np.float32], percents: Sequence[float]) -> list[float]:
    """Return percentiles, linear between neighbours as those of numpy, and put the values in another order."""
    places = [(values.size - 1) * percent / 100.0 for percent in percents]
    below = [int(place) for place in places]
    values.partition(sorted({index for low in below for index in (low, min(low + 1, values.size - 1))}))
    found = []
    for place, low in zip(places, below, strict=True):
        here, above = float(values[low]), float(values[min(low + 1, values.size - 1)])
        found.append(here + (above - here) * (place - low))
    return found
