"""Specific catchment area, topographic wetness and its mass-conservative index.

Depressions are filled [1]_ and water is led downhill by D-infinity [2]_, both by the library
whitebox-workflows; this module gives it a border that lets water leave, and finds the cells whose
water may come from beyond that border. Whitebox takes and gives files, so that no more than three
surfaces are in memory at once.

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

import math
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
LEAST_SHARE = 1e-6  # -, of a cell's water; directions come in single precision, and less may be their rounding
UNCOMPRESSED = {"compress": False, "geotiff": {"compression": "none", "bigtiff": True, "layout": "stripped"}}


class Flow(NamedTuple):
    """Where water comes from, for each cell."""

    area: NDArray[np.float32]  # specific catchment area [m], NaN where there is no land
    from_edge: NDArray[np.bool_]  # whether some of the area may lie beyond the land


def _beside(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that touch some of these by a side or a corner and are none of them."""
    near = cells.copy()
    near[1:] |= cells[:-1]
    near[:-1] |= cells[1:]
    wide = near.copy()
    wide[:, 1:] |= near[:, :-1]
    wide[:, :-1] |= near[:, 1:]
    return wide & ~cells


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
    land = np.isfinite(elevation)
    lowest = float(elevation[land].min()) if land.any() else np.nan
    return without_gaps(np.pad(elevation, 2 * RIM, constant_values=np.nan), lowest)


def without_gaps(around: Floats, lowest: float) -> NDArray[np.float64]:
    """Give a part of the land what `with_rim` gives it.

    Parameters
    ----------
    around : (rows + 4, cols + 4) array of float
        Elevation [m] of the part and the `RIM` cells around it, NaN where there is none.
    lowest : float
        Elevation of the lowest land of all [m].

    Returns
    -------
    (rows, cols) array of float64
        Elevation [m] without gaps.
    """
    inner = slice(RIM, -RIM)
    land = np.isfinite(around)
    filled = around[inner, inner].astype(np.float64)
    filled[~land[inner, inner]] = lowest - SEA_DEPTH
    rows, cols = np.nonzero(_beside(land)[inner, inner])
    if rows.size == 0:
        return filled
    extended, near_sum = np.zeros(rows.size), np.zeros(rows.size)
    extended_count, near_count = np.zeros(rows.size), np.zeros(rows.size)
    for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        near = around[rows + RIM + down, cols + RIM + right].astype(np.float64)
        beyond = around[rows + RIM + 2 * down, cols + RIM + 2 * right].astype(np.float64)
        one, two = np.isfinite(near), np.isfinite(near) & np.isfinite(beyond)
        near_sum += np.where(one, near, 0.0)
        near_count += one
        extended += np.where(two, 2.0 * near - beyond, 0.0)
        extended_count += two
    filled[rows, cols] = np.where(
        extended_count > 0, extended / np.maximum(extended_count, 1), near_sum / np.maximum(near_count, 1)
    )
    return filled


def surface_profile(rows: int, cols: int, cell: float) -> dict[str, Any]:
    """Describe the file that :func:`route` takes, for `rasterio.open`: one band of float64, square cells [m]."""
    return {
        "driver": "GTiff",
        "count": 1,
        "dtype": "float64",
        "height": rows,
        "width": cols,
        "transform": from_origin(0.0, rows * cell, cell, cell),
        "BIGTIFF": "IF_SAFER",
    }


def route(surface: Path, folder: Path) -> tuple[Path, Path]:
    """Fill a surface's depressions and lead water over it, by whitebox, from file to files.

    Parameters
    ----------
    surface : path
        GeoTIFF of elevation without gaps [m], see :func:`surface_profile`; it is removed once it is read.
    folder : path
        Where the results go; another one for each call, since whitebox remembers files by their path.

    Returns
    -------
    area, direction : path
        GeoTIFFs of float32: specific catchment area [m], direction of flow [degrees clockwise from north].
    """
    # not a plain import: the stubs that come with 2.0.6 do not parse, and stop mypy
    whitebox: Any = import_module("whitebox_workflows").WbEnvironment()
    whitebox.verbose = False
    dem = whitebox.read_raster(str(surface))
    # fill_depressions is the other choice; its time grows with the cube of the grid's side
    filled = whitebox.hydrology.fill_depressions_wang_and_liu(dem=dem, fix_flats=True, flat_increment=FLAT_INCREMENT)
    whitebox.remove_raster_from_memory(dem)
    surface.unlink()
    pointer = whitebox.hydrology.dinf_pointer(dem=filled)
    whitebox.remove_raster_from_memory(filled)
    paths = folder / f"{surface.stem}_area.tif", folder / f"{surface.stem}_direction.tif"
    accumulated = whitebox.hydrology.dinf_flow_accum(input=pointer, input_is_pointer=True, out_type="sca")
    for raster, path in zip((accumulated, pointer), paths, strict=True):
        whitebox.write_raster(raster, str(path), UNCOMPRESSED)
        whitebox.remove_raster_from_memory(raster)
    return paths


def flow(elevation: Floats, dx: float, dy: float) -> Flow:
    """Specific catchment area by D-infinity on the filled surface [1]_, [2]_, and what of it is uncertain.

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
    Flow
        `area`, the upslope area, the cell's own included, for each metre of contour [m], NaN where elevation is;
        and `from_edge`, see :func:`from_edge`.

    Raises
    ------
    ValueError
        If the cells are not square within 1 %.
    """
    if abs(dx - dy) > SQUARE_WITHIN * max(dx, dy):
        raise ValueError(f"flow: cells are {dx:g} x {dy:g} m; D-infinity needs square cells: resample the DEM")
    land = np.isfinite(elevation)
    if not land.any():
        return Flow(np.full(land.shape, np.nan, dtype=np.float32), np.zeros(land.shape, dtype=np.bool_))
    area, direction = _routed(with_rim(elevation), (dx + dy) / 2.0)
    reached = from_edge(receivers(direction), np.pad(land, RIM))
    inner = slice(RIM, -RIM)
    return Flow(np.where(land, area[inner, inner], np.float32(np.nan)), reached[inner, inner])


def _routed(surface: NDArray[np.float64], cell: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Specific catchment area [m] and direction of flow [degrees] of a gapless surface."""
    with tempfile.TemporaryDirectory(prefix="eemt-wetness-") as name:
        path = Path(name) / "surface.tif"
        rows, cols = surface.shape
        with rasterio.open(path, "w", **surface_profile(rows, cols, cell)) as file:
            file.write(surface, 1)
        area, direction = (_only_band(made) for made in route(path, Path(name)))
    return area, direction


def _only_band(path: Path) -> NDArray[np.float32]:
    with rasterio.open(path) as file:
        band: NDArray[np.float32] = file.read(1)
    return band


def receivers(direction: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Which neighbours a cell's water goes to, from the direction of flow.

    Parameters
    ----------
    direction : (rows, cols) array of float32
        [degrees clockwise from north]; negative where water stays.

    Returns
    -------
    (rows, cols) array of uint8
        0 where water stays, 1 to 8 for the neighbour in the north, north-east and so on, 9 to 16 where water is
        shared between that one and the next clockwise.
    """
    eighths = direction / np.float32(45.0)
    first = np.floor(eighths + np.float32(LEAST_SHARE))
    shared = eighths - first > LEAST_SHARE
    code = np.where(direction >= 0.0, first.astype(np.int64) % 8 + 1 + 8 * shared, 0)
    return code.astype(np.uint8)


@njit(cache=True, nogil=True)
def from_edge(receivers: NDArray[np.uint8], land: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the cells whose upslope area may reach beyond the land.

    Land beside a missing cell may receive water from there, and passes it on along the flow: to all below it, and over
    a filled depression the way that leads to its outlet.

    Parameters
    ----------
    receivers : (rows, cols) array of uint8
        See :func:`receivers`, of the land, its gaps and its rim.
    land : (rows, cols) array of bool
        Cells with elevation; the outermost are none.

    Returns
    -------
    (rows, cols) array of bool
        True for cells of the land that water from beyond may reach.
    """
    rows, cols = land.shape
    reached = np.zeros((rows, cols), dtype=np.bool_)
    # the memory of pages never written to is never taken
    waiting = np.empty(rows * cols, dtype=np.int64)
    down = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
    right = np.array([0, 1, 1, 1, 0, -1, -1, -1])
    for i in range(1, rows - 1):
        for j in range(1, cols - 1):
            if not land[i, j]:
                continue
            missing = False
            for k in range(8):
                missing = missing or not land[i + down[k], j + right[k]]
            if not missing or reached[i, j]:
                continue
            reached[i, j] = True
            waiting[0], number = i * cols + j, 1
            while number:
                number -= 1
                row, col = waiting[number] // cols, waiting[number] % cols
                code = receivers[row, col]
                for k in range(code - 1, code - 1 + (code > 0) + (code > 8)):
                    to_row, to_col = row + down[k % 8], col + right[k % 8]
                    inside = 0 <= to_row < rows and 0 <= to_col < cols
                    if inside and not reached[to_row, to_col]:
                        reached[to_row, to_col] = True
                        waiting[number] = to_row * cols + to_col
                        number += 1
    return reached & land


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
    if domain not in ("valid", "catchment"):
        raise ValueError(f'mcwi: domain is "{domain}"; allowed are "valid" and "catchment"')
    if domain == "catchment":
        runs = _runs(twi)
        shared: Floats = _over_mean(twi, runs, _regions(runs))
        return shared
    valid = np.isfinite(twi)
    mean = twi[valid].mean(dtype=np.float64) if valid.any() else np.nan
    # where every cell is at the lower bound all are alike
    share = (twi / mean).astype(twi.dtype, copy=False) if mean > 0.0 else np.ones_like(twi)
    share[~valid] = np.nan
    return share


@njit(cache=True, nogil=True)
def _runs(twi: Floats) -> NDArray[np.int32]:
    """Find the runs of valid cells in each row: row, first column, and one past the last (runs, 3)."""
    rows, cols = twi.shape
    number = 0
    for i in range(rows):
        for j in range(cols):
            number += math.isfinite(twi[i, j]) and (j == 0 or not math.isfinite(twi[i, j - 1]))
    runs = np.empty((number, 3), dtype=np.int32)
    run = -1
    for i in range(rows):
        for j in range(cols):
            if not math.isfinite(twi[i, j]):
                continue
            if j == 0 or not math.isfinite(twi[i, j - 1]):
                run += 1
                runs[run, 0], runs[run, 1] = i, j
            runs[run, 2] = j + 1
    return runs


@njit(cache=True, nogil=True)
def _root(parents: NDArray[np.int32], run: int) -> int:
    """Run that stands for a run's region, the path to it being made shorter on the way."""
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@njit(cache=True, nogil=True)
def _regions(runs: NDArray[np.int32]) -> NDArray[np.int32]:
    """For each run, the first one of its region of cells that touch by a side or a corner (runs,)."""
    parents = np.arange(len(runs), dtype=np.int32)
    above = 0
    for run in range(len(runs)):
        row, start, stop = runs[run]
        # runs above that end before this one begins touch none of those that follow it either
        while runs[above, 0] < row - 1 or (runs[above, 0] == row - 1 and runs[above, 2] < start):
            above += 1
        other = above
        while runs[other, 0] == row - 1 and runs[other, 1] <= stop:
            one, two = _root(parents, run), _root(parents, other)
            parents[max(one, two)] = min(one, two)
            other += 1
    for run in range(len(runs)):
        parents[run] = _root(parents, run)
    return parents


@njit(cache=True, nogil=True)
def _over_mean(twi: Floats, runs: NDArray[np.int32], region: NDArray[np.int32]) -> Floats:
    """Wetness over its mean in each region; one where all of a region is zero."""
    sums, cells = np.zeros(len(runs)), np.zeros(len(runs))
    for run in range(len(runs)):
        row, start, stop = runs[run]
        for col in range(start, stop):
            sums[region[run]] += twi[row, col]
        cells[region[run]] += stop - start
    share = np.full_like(twi, np.nan)
    for run in range(len(runs)):
        row, start, stop = runs[run]
        mean = sums[region[run]] / cells[region[run]]
        for col in range(start, stop):
            share[row, col] = twi[row, col] / mean if mean > 0.0 else 1.0
    return share
