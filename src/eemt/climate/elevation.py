"""The elevation that a climate source's values belong to, from a finer elevation model.

A source's own elevation is best. Where it is unknown, the site's elevation model averaged onto the
source's cells takes its place, and the cells at its rim, which it covers in part or not at all, need
care: the mean of a covered half is not the mean of the cell, and what it is wrong by goes into every
temperature at the rim. Such cells are carried on along the slope of the land around them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyproj import Transformer
from scipy.spatial import KDTree

from eemt.climate.positions import Axis, projected
from eemt.errors import InputError
from eemt.grid import Grid

Doubles = npt.NDArray[np.float64]

OWN = "of the source"
FROM_FILE = "of the file {}, averaged onto the source's cells"
FROM_SITE = "of the site's elevation model, averaged onto the source's cells"

SAMPLES_A_SIDE = 4  # elevations in a climate cell, at least, along either axis
REACH = 3.0  # cells of the source; the land's slope at a cell is that of the means within it
FARTHEST = 2.2  # cells that a mean is carried at most; a site's cell takes from none that is farther
TREND_WEIGHT = 0.05  # of the whole model's slope beside the local one's, which few means tell poorly
LEAST_SPAN = 1.0  # cells between means along both axes, for a slope to be told from them
CENTRED = 0.05  # cells; what is no farther from a cell's middle is carried by the slope of the whole model
ELEVATIONS = (-430.0, 9000.0)  # m, the shore of the Dead Sea and above Everest
SAMPLES_AT_ONCE = 2_000_000


def elevation_on(x: Doubles, y: Doubles, crs: str, elevation: npt.NDArray[np.float32], grid: Grid) -> Doubles:
    """Average an elevation model onto a climate source's cells.

    Parameters
    ----------
    x, y : ndarray (columns,), (rows,)
        Centres of the source's cells on even axes that rise or fall.
    crs : str
        Coordinate system of `x` and `y`.
    elevation : ndarray (model's rows, model's columns)
        [m], NaN where unknown.
    grid : Grid
        Where the elevation model's cells are.

    Returns
    -------
    ndarray float64 (rows, columns)
        [m]. The mean of the model's cells in each of the source's; where they leave a part of it
        uncovered, the mean is moved from their middle to the cell's along the slope of the land,
        fitted to the means nearby. Cells without any take the nearest's in the same way, up to 2.2
        cells away, and beyond that keep it. An inclined plane is exact everywhere; on rough land the
        rim is as good as the slope nearby tells. Where the model spans less than two of the source's
        cells, its slope says nothing of them, and means are left where they are.

    Raises
    ------
    InputError
        When no cell of the model lies on the source's.
    """
    columns, rows = Axis.of(x, y), Axis.of(y, x)
    samples = _samples(columns, rows, crs, elevation, grid)
    if not samples.number.any():
        raise InputError("climate: the elevation model does not lie on the cells of the climate source")
    return _carried(samples)


def elevation_from_file(path: str | Path, x: Doubles, y: Doubles, crs: str) -> Doubles:
    """Average a raster of elevations [m] onto a climate source's cells; see `elevation_on`.

    Raises
    ------
    InputError
        When it cannot be read, or does not cover the source's cells.
    """
    from eemt.raster import read_band, read_grid

    what = "climate.elevation_file"
    grid = read_grid(path, what)
    rows, cols = _part(grid, x, y, crs)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        raise InputError(f"{what}: {path} does not lie on the cells of the climate source")
    elevation = read_band(path, rows=rows, cols=cols, what=what)
    elevation[~((elevation >= ELEVATIONS[0]) & (elevation <= ELEVATIONS[1]))] = np.nan
    if np.isnan(elevation).all():
        raise InputError(f"{what}: {path} has no elevation [m] on the cells of the climate source")
    return elevation_on(x, y, crs, elevation, grid.window(rows, cols))


def _part(grid: Grid, x: Doubles, y: Doubles, crs: str) -> tuple[slice, slice]:
    """Return the rows and columns of a raster that a source's cells lie on, and some around them."""
    columns, rows = Axis.of(x, y), Axis.of(y, x)
    (west, east), (south, north) = columns.edges, rows.edges
    to_raster = Transformer.from_crs(crs, grid.crs, always_xy=True)
    west, south, east, north = to_raster.transform_bounds(west, south, east, north, densify_pts=21)
    first_col, last_col = (west - grid.west) / grid.dx - 2, (east - grid.west) / grid.dx + 2
    first_row, last_row = (grid.north - north) / grid.dy - 2, (grid.north - south) / grid.dy + 2
    cols = slice(max(0, int(first_col)), min(grid.width, math.ceil(last_col)))
    return slice(max(0, int(first_row)), min(grid.height, math.ceil(last_row))), cols


@dataclass(frozen=True)
class _Samples:
    """Means of the elevations in each cell of a source, and where their middles are, counted in cells."""

    mean: Doubles
    col: Doubles
    row: Doubles
    number: Doubles


def _samples(columns: Axis, rows: Axis, crs: str, elevation: npt.NDArray[np.float32], grid: Grid) -> _Samples:
    shape = (rows.number, columns.number)
    sums = np.zeros((4, shape[0] * shape[1]))
    height = max(1, SAMPLES_AT_ONCE // grid.width)
    pieces = _pieces(columns, rows, crs, grid)
    offsets = (np.arange(pieces) + 0.5) / pieces - 0.5
    for start in range(0, grid.height, height):
        part = elevation[start : start + height]
        northings = grid.y[start : start + height]
        col, row = _in_cells(
            columns, rows, *projected(grid.x, northings, crs=grid.crs, to_crs=crs, near=columns.middle)
        )
        known = np.isfinite(part)
        values = (part[known].astype(np.float64), col[known], row[known], np.ones(known.sum()))
        for down in offsets:
            for right in offsets:
                if pieces == 1:
                    in_col, in_row = values[1:3]
                else:
                    east, north = grid.x + right * grid.dx, northings - down * grid.dy
                    there = projected(east, north, crs=grid.crs, to_crs=crs, near=columns.middle)
                    in_col, in_row = (place[known] for place in _in_cells(columns, rows, *there))
                cell_col, cell_row = np.rint(in_col), np.rint(in_row)
                inside = (cell_col >= 0) & (cell_col < shape[1]) & (cell_row >= 0) & (cell_row < shape[0])
                cell = (cell_row[inside] * shape[1] + cell_col[inside]).astype(np.int64)
                sums += [np.bincount(cell, value[inside], minlength=sums.shape[1]) for value in values]
    with np.errstate(invalid="ignore"):
        mean, col, row = (total.reshape(shape) / sums[3].reshape(shape) for total in sums[:3])
    return _Samples(mean, col, row, sums[3].reshape(shape))


def _pieces(columns: Axis, rows: Axis, crs: str, grid: Grid) -> int:
    """Return into how many pieces a side the model's cells are cut, for each of the source's to have some."""
    near_x, near_y = grid.x[[0, 0, -1]], grid.y[[0, -1, -1]]
    west, south = projected(near_x[:1], near_y[:1], grid.crs, crs, near=columns.middle)
    east, north = projected(near_x[:1] + grid.dx, near_y[:1] + grid.dy, grid.crs, crs, near=columns.middle)
    wide = max(abs(float((east - west)[0, 0]) / columns.step), abs(float((north - south)[0, 0]) / rows.step))
    return max(1, min(64, math.ceil(SAMPLES_A_SIDE * wide))) if wide > 1 / SAMPLES_A_SIDE else 1


def _in_cells(columns: Axis, rows: Axis, x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return (x - columns.first) / columns.step, (y - rows.first) / rows.step


def _carried(samples: _Samples) -> Doubles:
    """Move the means from the middles of what they are of to the middles of the cells."""
    known = samples.number > 0
    places = np.column_stack([samples.col[known], samples.row[known]])
    means, numbers = samples.mean[known], samples.number[known]
    rows, cols = np.indices(known.shape)
    centres = np.column_stack([cols.ravel(), rows.ravel()]).astype(np.float64)
    near = KDTree(places)
    _, nearest = near.query(centres)
    own = np.full(known.size, -1)
    own[known.ravel()] = np.arange(len(means))
    base = np.where(own >= 0, own, nearest)
    heights = means[base]
    if np.ptp(places, axis=0).min() < LEAST_SPAN:
        return np.asarray(heights.reshape(known.shape))
    trend = _slope(places, means, numbers, np.zeros(2), 0.0)
    away = centres - places[base]
    length = np.hypot(*away.T)
    away *= np.minimum(1.0, FARTHEST / np.maximum(length, FARTHEST))[:, np.newaxis]
    heights = heights + np.where(length <= CENTRED, away @ trend, 0.0)
    for cell in np.flatnonzero(length > CENTRED):
        place = places[base[cell]]
        around = near.query_ball_point(place, REACH)
        weights = numbers[around] * np.exp(-(((places[around] - place) ** 2).sum(axis=1)) / REACH)
        heights[cell] += away[cell] @ _slope(places[around], means[around], weights, trend, TREND_WEIGHT)
    return np.asarray(np.clip(heights, *ELEVATIONS).reshape(known.shape))


def _slope(places: Doubles, means: Doubles, weights: Doubles, prior: Doubles, prior_weight: float) -> Doubles:
    """Fit a plane to heights by least squares, its slope drawn to another's; return the slope per cell."""
    share = weights / weights.sum()
    away = places - share @ places
    high = means - share @ means
    spread = (away * share[:, np.newaxis]).T @ away + prior_weight * np.eye(2)
    return np.asarray(np.linalg.solve(spread, (away * share[:, np.newaxis]).T @ high + prior_weight * prior))
