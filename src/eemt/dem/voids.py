"""Holes in elevation models: the narrow ones closed from their rims, the wide ones left."""

from __future__ import annotations

import numpy as np
from rasterio.fill import fillnodata
from scipy import ndimage

from eemt.dem.mosaic import Elevation, Mask

WIDEST = 500  # cells; a window with three times as many on each side still fits in memory


def reach(width: int) -> int:
    """Return how far around a cell its filling depends on others [cells]."""
    return 3 * width + 2


def narrow(void: Mask, width: int) -> Mask:
    """Find the cells of voids that are to be filled.

    A void is as wide as the largest square of whole cells that fits in it, so that a gap of one cell
    between two surveys is narrow however long it is. Where it is wider than `width`, it is kept, and
    so is what belongs to it within that distance: its ragged rim is not filled in part.

    Parameters
    ----------
    void : ndarray bool (rows, columns)
        What lies outside counts as void.
    width : int
        [cells]
    """
    size = width + 1
    padded = np.pad(void, size, constant_values=True).astype(np.uint8)
    # scipy's window of an even size reaches one cell further back; the second filter undoes that
    square = ndimage.minimum_filter(padded, size, mode="constant", cval=1)
    wide = ndimage.maximum_filter(square, size, mode="constant", origin=0 if size % 2 else -1)
    inside = wide[size:-size, size:-size]
    kept: Mask = ndimage.maximum_filter(inside, 2 * width + 1, mode="constant").astype(bool)
    return void & ~kept


def filled(elevation: Elevation, width: int) -> Elevation:
    """Fill the narrow voids by inverse distance weights of the nearest cells in four directions.

    Parameters
    ----------
    elevation : ndarray float32 (rows, columns)
        NaN where there is no data.
    width : int
        Of the widest void that is filled [cells].

    Returns
    -------
    ndarray float32 (rows, columns)
    """
    void = np.isnan(elevation)
    to_fill = narrow(void, width)
    if not to_fill.any():
        return elevation
    values = fillnodata(np.where(void, 0, elevation).astype(np.float32), mask=~void, max_search_distance=2 * width + 1)
    result: Elevation = np.where(to_fill, values, elevation)
    return result
