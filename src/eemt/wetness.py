"""Specific catchment area, topographic wetness and its mass-conservative index.

Depressions are filled [1]_ and water is led downhill by D-infinity [2]_, both by the library
whitebox-workflows; this module gives it a border that lets water leave.

References
----------
.. [1] Wang, L. & Liu, H. 2006. An efficient method for identifying and filling surface depressions
       in digital elevation models. International Journal of Geographical Information Science 20:193-213.
.. [2] Tarboton, D.G. 1997. A new method for the determination of flow directions and upslope areas
       in grid digital elevation models. Water Resources Research 33:309-319.
.. [3] Beven, K.J. & Kirkby, M.J. 1979. A physically based, variable contributing area model of
       basin hydrology. Hydrological Sciences Bulletin 24:43-69.
.. [4] Rasmussen, C. et al. 2015. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102, Eqs 9-10.
"""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numba import njit
from numpy.typing import ArrayLike, NDArray
from rasterio.transform import from_origin

Floats = NDArray[np.floating]

RIM = 2  # cells: one ring of extrapolated land, one below everything
SEA_DEPTH = 1000.0  # m below the lowest land, so that whatever reaches the rim falls off it
FLAT_INCREMENT = 1e-6  # m a cell, the fall given to filled depressions
SQUARE_WITHIN = 0.01  # -, relative difference of cell sides that counts as square


def _beside(land: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that are not land and touch land by a side or a corner."""
    near = land.copy()
    near[1:] |= land[:-1]
    near[:-1] |= land[1:]
    wide = near.copy()
    wide[:, 1:] |= near[:, :-1]
    wide[:, :-1] |= near[:, 1:]
    return wide & ~land


def with_rim(elevation: Floats) -> NDArray[np.float64]:
    """Elevation without gaps, in a border over which water falls off.

    Whitebox keeps water on the grid: a cell whose downslope neighbour is missing passes it along
    the edge. Here each missing cell that touches land carries the land's slope on, and every other
    one lies far below, so water steps over the rim and does not return. A gap enclosed by land
    is a depression like any other and is filled and crossed.

    Parameters
    ----------
    elevation : (rows, cols) array of float
        Elevation [m], NaN where there is none.

    Returns
    -------
    (rows + 4, cols + 4) array of float64
        Elevation [m], finite everywhere if any of `elevation` is.
    """
    padded = np.pad(np.asarray(elevation, dtype=np.float64), RIM, constant_values=np.nan)
    land = np.isfinite(padded)
    rows, cols = np.nonzero(_beside(land))
    extended, near_sum = np.zeros(rows.size), np.zeros(rows.size)
    extended_count, near_count = np.zeros(rows.size), np.zeros(rows.size)
    last_row, last_col = padded.shape[0] - 1, padded.shape[1] - 1
    for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        # off the padding lies no land either, so clipping an index brings none in
        near = padded[np.clip(rows + down, 0, last_row), np.clip(cols + right, 0, last_col)]
        beyond = padded[np.clip(rows + 2 * down, 0, last_row), np.clip(cols + 2 * right, 0, last_col)]
        one, two = np.isfinite(near), np.isfinite(near) & np.isfinite(beyond)
        near_sum += np.where(one, near, 0.0)
        near_count += one
        extended += np.where(two, 2.0 * near - beyond, 0.0)
        extended_count += two
    lowest = padded[land].min() if land.any() else np.nan
    padded[~land] = lowest - SEA_DEPTH
    padded[rows, cols] = np.where(
        extended_count > 0, extended / np.maximum(extended_count, 1), near_sum / np.maximum(near_count, 1)
    )
    return padded


def _accumulated(surface: NDArray[np.float64], cell: float) -> NDArray[np.float64]:
    """Specific catchment area [m] of a gapless surface, by whitebox."""
    # not a plain import: the stubs that come with 2.0.6 do not parse, and stop mypy
    whitebox: Any = import_module("whitebox_workflows").WbEnvironment()
    whitebox.verbose = False
    with tempfile.TemporaryDirectory(prefix="eemt-wetness-") as folder:
        # whitebox makes no raster from an array alone, and remembers the ones it read by their path
        path = Path(folder) / "surface.tif"
        profile: dict[str, Any] = {"driver": "GTiff", "count": 1, "dtype": "float64", "BIGTIFF": "IF_SAFER"}
        rows, cols = surface.shape
        transform = from_origin(0.0, rows * cell, cell, cell)
        with rasterio.open(path, "w", height=rows, width=cols, transform=transform, **profile) as file:
            file.write(surface, 1)
        dem = whitebox.read_raster(str(path))
        # fill_depressions is the other choice; its time grows with the cube of the grid's side
        filled = whitebox.hydrology.fill_depressions_wang_and_liu(
            dem=dem, fix_flats=True, flat_increment=FLAT_INCREMENT
        )
        area = whitebox.hydrology.dinf_flow_accum(input=filled, out_type="sca")
        result = np.asarray(area.to_numpy(), dtype=np.float64)
        for raster in (filled, area):
            whitebox.remove_raster_from_memory(raster)
    return result


def flow(elevation: Floats, dx: float, dy: float) -> NDArray[np.float32]:
    """Specific catchment area by D-infinity on the filled surface [1]_, [2]_.

    Needs the whole of the land that drains to a cell: unlike slope it cannot be computed from a
    window, and cells below an edge of the grid lack what lies beyond it.

    Parameters
    ----------
    elevation : (rows, cols) array of float
        Elevation [m], NaN where there is none; row 0 is the northern edge.
    dx, dy : float
        Cell size eastward and northward [m]; whitebox's D-infinity takes square cells only.

    Returns
    -------
    (rows, cols) array of float32
        Upslope area, the cell's own included, for each metre of contour [m]; NaN where elevation is.

    Raises
    ------
    ValueError
        If the cells are not square within 1 %.
    """
    if abs(dx - dy) > SQUARE_WITHIN * max(dx, dy):
        raise ValueError(f"flow: cells are {dx:g} x {dy:g} m; D-infinity needs square cells: resample the DEM")
    land = np.isfinite(elevation)
    if not land.any():
        return np.full(land.shape, np.nan, dtype=np.float32)
    area = _accumulated(with_rim(elevation), (dx + dy) / 2.0)[RIM:-RIM, RIM:-RIM]
    return np.where(land, area, np.nan).astype(np.float32)


def topographic_wetness(area: ArrayLike, slope_degrees: ArrayLike, floor: float = 0.001) -> Floats:
    """Topographic wetness index, ln(a / tan b) [3]_, [4]_.

    Parameters
    ----------
    area : array_like
        Specific catchment area a [m].
    slope_degrees : array_like
        Slope b [degrees].
    floor : float
        Least tan b [-], for flat land.

    Returns
    -------
    scalar or array of float
        Wetness index [-], never below 0, since MCWI would then be negative.
    """
    steepness = np.tan(np.radians(slope_degrees))
    return np.maximum(np.log(np.asarray(area) / np.maximum(steepness, floor)), 0.0)[()]


def mcwi(twi: Floats, domain: Literal["valid", "catchment"] = "valid") -> Floats:
    """Mass-conservative wetness index: wetness over its mean [4]_.

    Parameters
    ----------
    twi : (rows, cols) array of float
        Topographic wetness index [-], NaN where there is none.
    domain : {"valid", "catchment"}
        Cells that share one mean: all valid ones, or each region of valid cells that touch by a
        side or a corner.

    Returns
    -------
    (rows, cols) array of float
        Share of effective precipitation each cell receives [-], mean 1 over its domain.
    """
    valid = np.isfinite(twi)
    if domain not in ("valid", "catchment"):
        raise ValueError(f'mcwi: domain is "{domain}"; allowed are "valid" and "catchment"')
    region = _label(valid) if domain == "catchment" else valid.astype(np.int64)
    sums = np.bincount(region[valid], weights=twi[valid], minlength=1)
    means = sums / np.maximum(np.bincount(region[valid], minlength=1), 1)
    mean = means[region]
    # where every cell is at the lower bound all are alike
    share = np.where(mean > 0.0, twi / np.where(mean > 0.0, mean, 1.0), 1.0)
    return np.where(valid, share, np.nan).astype(twi.dtype, copy=False)


def _regions(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give each region of cells that touch by a side or a corner its number from 1; 0 elsewhere."""
    rows, cols = valid.shape
    region = np.zeros((rows, cols), dtype=np.int64)
    stack = np.empty(rows * cols, dtype=np.int64)
    number = 0
    for start in range(rows * cols):
        if not valid[start // cols, start % cols] or region[start // cols, start % cols]:
            continue
        number += 1
        region[start // cols, start % cols] = number
        stack[0], waiting = start, 1
        while waiting:
            waiting -= 1
            i, j = stack[waiting] // cols, stack[waiting] % cols
            for k in range(max(i - 1, 0), min(i + 2, rows)):
                for m in range(max(j - 1, 0), min(j + 2, cols)):
                    if valid[k, m] and not region[k, m]:
                        region[k, m] = number
                        stack[waiting] = k * cols + m
                        waiting += 1
    return region


_label = njit(cache=True, nogil=True)(_regions)
