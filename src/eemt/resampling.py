"""Rasters on cells of their own, in any coordinate system, brought to the cells of a map."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import open_raster

# Whole squares of this side are computed, counted from the zero of the coordinate system, so that a
# cell is the same number in whatever tile it lies.
SQUARE = 256
METRES_PER_DEGREE = 111_195.0  # of latitude, on a sphere
ORIGIN_AT = 0.31  # of a cell; an origin there is no fraction that grids have, so that rounding decides nothing


def on_cells(path: str | Path, grid: Grid, what: str) -> npt.NDArray[np.float32]:
    """Read a raster of any grid on the cells of another.

    Cells smaller than the grid's are averaged over each of its cells, larger ones interpolated
    bilinearly between their centres. Scale and offset of the file are applied.

    Returns
    -------
    ndarray float32 (bands, rows, columns)
        NaN where there is no data; a cell has the same value in any grid of the same cells.

    Raises
    ------
    InputError
        When it is missing, no raster, or without coordinate system; the message begins with `what`.
    """
    with open_raster(path, what) as source:
        if source.crs is None:
            raise InputError(
                f"{what}: {path} has no coordinate system; add one with `rio edit-info --crs EPSG:… {path}`"
            )
        values = np.full((source.count, *grid.shape), np.nan, dtype=np.float32)
        method = Resampling.average if _cell(source) < grid.dx else Resampling.bilinear
        for square, rows, cols, part in _squares(grid):
            with WarpedVRT(source, **_on(square, source, method)) as warped:
                values[:, rows, cols] = warped.read(out_dtype="float32")[:, *part]
        scales, offsets = (np.array(v, dtype=np.float32)[:, None, None] for v in (source.scales, source.offsets))
    values[~np.isfinite(values)] = np.nan
    return np.asarray(values * scales + offsets, dtype=np.float32)


def _on(square: Grid, source: DatasetReader, method: Resampling) -> dict[str, Any]:
    return {
        "crs": square.crs,
        "transform": square.transform,
        "width": square.width,
        "height": square.height,
        "resampling": method,
        "src_nodata": source.nodata,
        "nodata": math.nan,
        "dtype": "float32",
        "tolerance": 1e-9,  # of a cell, in GDAL's coordinates; it takes no 0
    }


def _cell(source: DatasetReader) -> float:
    """Return the height of a raster's cells, roughly [m]; the same for every tile."""
    crs: Any = source.crs
    metres: float = METRES_PER_DEGREE if crs.is_geographic else crs.linear_units_factor[1]
    return abs(float(source.transform.e)) * metres


def _squares(grid: Grid) -> Iterator[tuple[Grid, slice, slice, tuple[slice, slice]]]:
    """Cut a grid along the squares; yield each whole square, and where grid and square overlap."""
    first_row, top = _origin(-grid.north, grid.dy)
    first_col, left = _origin(grid.west, grid.dx)
    for i in range(first_row // SQUARE, (first_row + grid.height - 1) // SQUARE + 1):
        for j in range(first_col // SQUARE, (first_col + grid.width - 1) // SQUARE + 1):
            north, west = -(top + i * SQUARE * grid.dy), left + j * SQUARE * grid.dx
            rows = slice(max(i * SQUARE - first_row, 0), min((i + 1) * SQUARE - first_row, grid.height))
            cols = slice(max(j * SQUARE - first_col, 0), min((j + 1) * SQUARE - first_col, grid.width))
            part = (
                slice(rows.start + first_row - i * SQUARE, rows.stop + first_row - i * SQUARE),
                slice(cols.start + first_col - j * SQUARE, cols.stop + first_col - j * SQUARE),
            )
            yield Grid(grid.crs, west, north, grid.dx, grid.dy, SQUARE, SQUARE), rows, cols, part


def _origin(edge: float, cell: float) -> tuple[int, float]:
    """Return an edge as a number of cells, and the rest [m], which all tiles of a grid share."""
    number = math.floor(edge / cell + ORIGIN_AT)
    return number, round(edge - number * cell, 3)
