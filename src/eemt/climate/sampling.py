"""Kernels that take the values of a source's grid, or of its stations, to cells."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

AT_A_STATION = 1e-6  # m2, squared distance under which a cell is at the station itself


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def bilinear(fields: Doubles, row: Doubles, col: Doubles) -> Doubles:
    """Interpolate between the centres of a grid's cells.

    Parameters
    ----------
    fields : ndarray (fields, grid rows, grid columns)
    row, col : ndarray (rows, columns)
        Where the cells are, counted in the grid's cells from the centre of its first. Beyond the
        outermost centres the value there holds.

    Returns
    -------
    ndarray (fields, rows, columns)
    """
    last_row, last_col = fields.shape[1] - 1, fields.shape[2] - 1
    rows, cols = row.shape
    result = np.empty((fields.shape[0], rows, cols))
    above = np.empty(cols, dtype=np.int64)
    before = np.empty(cols, dtype=np.int64)
    down = np.empty(cols)
    right = np.empty(cols)
    below, after = min(1, last_row), min(1, last_col)
    for i in range(rows):
        for j in range(cols):
            at_row = min(max(row[i, j], 0.0), float(last_row))
            at_col = min(max(col[i, j], 0.0), float(last_col))
            above[j] = max(min(int(at_row), last_row - 1), 0)
            before[j] = max(min(int(at_col), last_col - 1), 0)
            down[j], right[j] = at_row - above[j], at_col - before[j]
        for k in range(fields.shape[0]):
            for j in range(cols):
                r, c, w = above[j], before[j], right[j]
                upper = fields[k, r, c] * (1.0 - w) + fields[k, r, c + after] * w
                lower = fields[k, r + below, c] * (1.0 - w) + fields[k, r + below, c + after] * w
                result[k, i, j] = upper * (1.0 - down[j]) + lower * down[j]
    return result


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def touched(marked: NDArray[np.bool_], row: Doubles, col: Doubles) -> NDArray[np.bool_]:
    """Say which cells `bilinear` would take something from marked cells of the grid for (rows, columns)."""
    last_row, last_col = marked.shape[0] - 1, marked.shape[1] - 1
    result = np.zeros(row.shape, dtype=np.bool_)
    for i in range(row.shape[0]):
        for j in range(row.shape[1]):
            at_row = min(max(row[i, j], 0.0), float(last_row))
            at_col = min(max(col[i, j], 0.0), float(last_col))
            for r in range(math.floor(at_row), math.ceil(at_row) + 1):
                for c in range(math.floor(at_col), math.ceil(at_col) + 1):
                    result[i, j] |= marked[r, c]
    return result


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def station_weights(x: Doubles, y: Doubles, station_x: Doubles, station_y: Doubles, power: float) -> Doubles:
    """Weigh stations by the inverse of their distance to a power.

    Parameters
    ----------
    x, y : ndarray (columns,), (rows,)
        Centres of the cells [m].
    station_x, station_y : ndarray (stations,)
        [m]
    power : float

    Returns
    -------
    ndarray (rows, columns, stations)
        Of sum one; at a station its own is one and the others are zero.
    """
    stations = len(station_x)
    weights = np.empty((len(y), len(x), stations))
    for i in range(len(y)):
        for j in range(len(x)):
            here, total = -1, 0.0
            for s in range(stations):
                squared = (x[j] - station_x[s]) ** 2 + (y[i] - station_y[s]) ** 2
                if squared < AT_A_STATION:
                    here = s
                    break
                weights[i, j, s] = squared ** (-0.5 * power)
                total += weights[i, j, s]
            for s in range(stations):
                if here >= 0:
                    weights[i, j, s] = 1.0 if s == here else 0.0
                else:
                    weights[i, j, s] /= total
    return weights


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def weighted(fields: Doubles, weights: Doubles) -> Doubles:
    """Sum fields (fields, stations) by weights (rows, columns, stations) to (fields, rows, columns)."""
    rows, cols, stations = weights.shape
    result = np.zeros((fields.shape[0], rows, cols))
    for i in range(rows):
        for k in range(fields.shape[0]):
            for j in range(cols):
                total = 0.0
                for s in range(stations):
                    total += fields[k, s] * weights[i, j, s]
                result[k, i, j] = total
    return result


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def weighted_rain(rain: Doubles, station_z: Doubles, z: Doubles, weights: Doubles, gradient: float) -> Doubles:
    """Sum the rain of stations as `weighted` does, each station's first brought to the cell's height.

    Parameters
    ----------
    rain : ndarray (months, stations)
    station_z, z : ndarray (stations,), (rows, columns)
        Elevations [m].
    weights : ndarray (rows, columns, stations)
    gradient : float
        [km-1]
    """
    rows, cols, stations = weights.shape
    result = np.zeros((rain.shape[0], rows, cols))
    shares = np.empty(stations)
    for i in range(rows):
        for j in range(cols):
            for s in range(stations):
                factor = 1.0 + gradient * (z[i, j] - station_z[s]) / 1000.0
                # a comparison would take NaN, land that is missing, for no rain
                shares[s] = weights[i, j, s] * (0.0 if factor < 0.0 else factor)
            for k in range(rain.shape[0]):
                for s in range(stations):
                    result[k, i, j] += rain[k, s] * shares[s]
    return result
