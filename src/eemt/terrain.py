"""Slope, aspect and northness of an elevation grid.

Row 0 of every grid is its northern edge. Gradients point uphill and are positive eastward and
northward; aspect is the downslope direction, clockwise from north.

References
----------
.. [1] Horn, B.K.P. 1981. Hill shading and the reflectance map. Proceedings of the IEEE 69:14-47.
.. [2] Rasmussen, C. et al. 2015. Quantifying topographic and vegetation effects on the transfer of
       energy and mass to the critical zone. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]


@njit(cache=True, nogil=True, inline="always")
def _orthogonal(value: float, opposite: float, centre: float, level_rim: bool) -> float:
    """Elevation of an orthogonal neighbour; where it is missing, extrapolated through the centre or level with it."""
    if not math.isnan(value):
        return value
    if math.isnan(opposite) or level_rim:
        return centre
    return 2.0 * centre - opposite


@njit(cache=True, nogil=True, inline="always")
def _diagonal(value: float, opposite: float, centre: float, beside: float, above: float, level_rim: bool) -> float:
    """Elevation of a diagonal neighbour; where it is missing, extrapolated or level with the centre."""
    if not math.isnan(value):
        return value
    if level_rim:
        return centre
    if not math.isnan(opposite):
        return 2.0 * centre - opposite
    return beside + above - centre


@njit(cache=True, nogil=True, inline="always")
def _elevation(elevation: NDArray[np.floating], row: int, col: int) -> float:
    """Elevation of a cell, NaN off the grid."""
    if row < 0 or col < 0 or row >= elevation.shape[0] or col >= elevation.shape[1]:
        return math.nan
    return float(elevation[row, col])


@njit(cache=True, nogil=True)
def _gradient(
    elevation: NDArray[np.floating], dx: float, dy: float, level_rim: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted differences over 3 x 3 cells; see :func:`horn` and :func:`horn_level_rim`."""
    rows, cols = elevation.shape
    dz_dx = np.full((rows, cols), np.nan)
    dz_dy = np.full((rows, cols), np.nan)
    for i in range(rows):
        for j in range(cols):
            centre = float(elevation[i, j])
            if math.isnan(centre):
                continue
            raw_n, raw_s = _elevation(elevation, i - 1, j), _elevation(elevation, i + 1, j)
            raw_e, raw_w = _elevation(elevation, i, j + 1), _elevation(elevation, i, j - 1)
            raw_ne, raw_sw = _elevation(elevation, i - 1, j + 1), _elevation(elevation, i + 1, j - 1)
            raw_nw, raw_se = _elevation(elevation, i - 1, j - 1), _elevation(elevation, i + 1, j + 1)
            n, s = _orthogonal(raw_n, raw_s, centre, level_rim), _orthogonal(raw_s, raw_n, centre, level_rim)
            e, w = _orthogonal(raw_e, raw_w, centre, level_rim), _orthogonal(raw_w, raw_e, centre, level_rim)
            ne = _diagonal(raw_ne, raw_sw, centre, n, e, level_rim)
            sw = _diagonal(raw_sw, raw_ne, centre, s, w, level_rim)
            nw = _diagonal(raw_nw, raw_se, centre, n, w, level_rim)
            se = _diagonal(raw_se, raw_nw, centre, s, e, level_rim)
            dz_dx[i, j] = ((ne - nw) + 2.0 * (e - w) + (se - sw)) / (8.0 * dx)
            dz_dy[i, j] = ((nw - sw) + 2.0 * (n - s) + (ne - se)) / (8.0 * dy)
    return dz_dx, dz_dy


def horn(elevation: NDArray[np.floating], dx: float, dy: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Elevation gradient by Horn's weighted differences over 3 x 3 cells [1]_.

    A missing neighbour (NaN or off the grid) is extrapolated linearly through the centre, so a
    tilted plane has its exact gradient up to its edges and corners.

    Parameters
    ----------
    elevation : (rows, cols) array of float
        Elevation [m], NaN where there is none; row 0 is the northern edge.
    dx, dy : float
        Cell size eastward and northward [m], both positive.

    Returns
    -------
    dz_dx, dz_dy : (rows, cols) arrays of float64
        Gradient, positive where the land rises eastward and northward [-]; NaN where elevation is.
    """
    gradient: tuple[NDArray[np.float64], NDArray[np.float64]] = _gradient(elevation, dx, dy, False)
    return gradient


def horn_level_rim(
    elevation: NDArray[np.floating], dx: float, dy: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Elevation gradient as GRASS r.slope.aspect -e has it: a missing neighbour is as high as the cell itself.

    Equal to :func:`horn` where no neighbour is missing; at an edge about half as steep across it. Takes and returns
    what :func:`horn` does.
    """
    gradient: tuple[NDArray[np.float64], NDArray[np.float64]] = _gradient(elevation, dx, dy, True)
    return gradient


def slope(dz_dx: ArrayLike, dz_dy: ArrayLike) -> Floats:
    """Slope of a gradient.

    Parameters
    ----------
    dz_dx, dz_dy : array_like
        Elevation gradient eastward and northward [-].

    Returns
    -------
    scalar or array of float
        Angle between the surface and the horizontal [degrees], 0 to 90.
    """
    return np.degrees(np.arctan(np.hypot(dz_dx, dz_dy)))


def aspect(dz_dx: ArrayLike, dz_dy: ArrayLike) -> Floats:
    """Direction a gradient's downslope faces.

    Parameters
    ----------
    dz_dx, dz_dy : array_like
        Elevation gradient eastward and northward [-].

    Returns
    -------
    scalar or array of float
        Downslope direction clockwise from north [degrees], 0 up to 360; NaN where flat.
    """
    east, north = -np.asarray(dz_dx, dtype=np.float64), -np.asarray(dz_dy, dtype=np.float64)
    # a tiny negative angle would round to 360 itself
    direction = np.degrees(np.arctan2(east, north)) % 360.0 % 360.0
    return np.where((east == 0.0) & (north == 0.0), np.nan, direction)[()]


def northness(dz_dx: ArrayLike, dz_dy: ArrayLike) -> Floats:
    """Northness, the cosine of aspect times the sine of slope [2]_.

    Parameters
    ----------
    dz_dx, dz_dy : array_like
        Elevation gradient eastward and northward [-].

    Returns
    -------
    scalar or array of float
        -1 (cliff facing south) to 1 (cliff facing north) [-]; 0 where flat.
    """
    x, y = np.asarray(dz_dx, dtype=np.float64), np.asarray(dz_dy, dtype=np.float64)
    # cos(aspect) = -y / |gradient| and sin(slope) = |gradient| / sqrt(1 + |gradient|^2)
    return np.asarray(0.0 - y / np.sqrt(1.0 + x**2 + y**2))[()]


def terrain(
    elevation: Floats, dx: float, dy: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Slope, aspect and northness of every cell.

    A window read with one ring of neighbours gives, bit for bit, the values of the whole grid.

    Parameters
    ----------
    elevation : (rows, cols) array of float
        Elevation [m], NaN where there is none; row 0 is the northern edge.
    dx, dy : float
        Cell size eastward and northward [m], both positive.

    Returns
    -------
    slope, aspect : (rows, cols) arrays of float32
        [degrees]; aspect is clockwise from north, NaN where flat.
    northness : (rows, cols) array of float32
        Cosine of aspect times sine of slope [-].
    """
    dz_dx, dz_dy = horn(elevation, dx, dy)
    # float32 would round an aspect just under 360 up to it
    facing = aspect(dz_dx, dz_dy).astype(np.float32) % np.float32(360.0)
    return slope(dz_dx, dz_dy).astype(np.float32), facing, northness(dz_dx, dz_dy).astype(np.float32)
