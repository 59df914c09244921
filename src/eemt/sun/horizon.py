"""How high the terrain stands around every cell.

For each of K azimuths a ray is marched outward from every cell; the horizon is the largest tangent (z - z0 - drop) / L
of the terrain met, where drop is the fall of the Earth's surface below the tangent plane at distance L. All cells of a
row share the offsets and weights of each sample, so the march runs along rows.

Near a cell the fine DEM is sampled; beyond `NEAR_CELLS` a coarse grid of block maxima is, taken once from the whole
DEM, so that a tile sees the same mountains as the whole does::

    cell  . . . . . .  .  .  .  .   .   .   .   |     .      .      .       .        far field
          half cells   whole cells  growing 5 %   NEAR_CELLS

References
----------
.. [1] Hofierka, J. & Suri, M. (2002). The solar radiation model for open source GIS. Proc. Open source GIS - GRASS.
.. [2] Dozier, J. & Frew, J. (1990). Rapid calculation of terrain parameters for radiation modeling from digital
   elevation data. IEEE Trans. Geosci. Remote Sens. 28:963-969.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from eemt.constants import EARTH_RADIUS
from eemt.sun import NEAR_CELLS

__all__ = ["FAR_FACTOR", "NEAR_CELLS", "FarField", "coarsen", "horizon_tangents"]

FAR_FACTOR = 4  # fine cells per coarse cell
HALF_CELLS = 12  # cells; half-cell samples up to here, where a missed ridge matters most
WHOLE_CELLS = 32  # cells; whole-cell samples up to here
GROWTH = 0.05  # of the distance, the step beyond that: irradiation within 3e-5 of steps a fifth as long

LANES = 64  # cells worked on together; widths are padded to it so that no vector loop has a remainder
BLOCK = 256  # cells, the widest run whose march is stopped together
HOLE = np.float32(-1.0e30)  # m, stands for no data: too deep to cast a shadow
PRUNE_EVERY = 8  # samples between looks at whether any higher terrain is left
PRUNE_MARGIN = 0.05  # m, more than the rounding error of an interpolated elevation


@dataclass(frozen=True)
class FarField:
    """Coarse terrain of a whole DEM, seen from any tile of it.

    Attributes
    ----------
    elevation : ndarray, float32 (rows, cols)
        Block maximum of the whole DEM [m]; NaN where a block has no data.
    factor : int
        Fine cells per coarse cell, along each axis.
    row_offset, col_offset : int
        Fine row and column, counted from the coarse grid's origin, of the fine array's first row and column.
    """

    elevation: np.ndarray
    factor: int
    row_offset: int
    col_offset: int

    def __post_init__(self) -> None:
        if self.elevation.ndim != 2:
            raise ValueError(f"far.elevation: must have 2 dimensions, has {self.elevation.ndim}")
        if self.factor < 1:
            raise ValueError(f"far.factor: must be at least 1, is {self.factor}")


class Samples(NamedTuple):
    """Where rays are sampled: one run of samples per azimuth, `start[a]` to `start[a + 1]`, nearest first."""

    start: np.ndarray  # int64 (K + 1)
    row: np.ndarray  # int64, offset in fine cells, positive south
    col: np.ndarray  # int64, offset in fine cells, positive east
    weight: np.ndarray  # float32 (n, 2): of the eastern and of the southern neighbours
    inverse: np.ndarray  # float32, 1 / distance [m-1]
    drop: np.ndarray  # float32, fall of the Earth's surface [m]


class Scene(NamedTuple):
    """What the march needs, as flat arrays."""

    fine: np.ndarray  # float32, padded terrain, HOLE where there is none
    stride: int  # cells per padded row
    origin: int  # index in `fine` of the core's first cell
    far: np.ndarray  # float32 (rows, cols), HOLE where there is none
    factor: int
    far_row: int  # fine row of the core's first cell, from the far field's origin
    far_col: int
    near_samples: Samples
    far_samples: Samples
    bilinear: bool
    highest: float  # m, no terrain stands higher


def coarsen(elevation: np.ndarray, factor: int) -> np.ndarray:
    """Block maximum of a DEM.

    Parameters
    ----------
    elevation : ndarray (rows, cols)
        Elevation [m]; NaN is no data.
    factor : int
        Cells per block, along each axis. Blocks are aligned to the first cell; the last may be incomplete.

    Returns
    -------
    ndarray, float32 (ceil(rows / factor), ceil(cols / factor))
        NaN where a block has no data.
    """
    elevation = _checked_elevation(elevation)
    if factor < 1:
        raise ValueError(f"factor: must be at least 1, is {factor}")
    rows, cols = (-(-n // factor) for n in elevation.shape)
    coarse = np.full((rows, elevation.shape[1]), np.nan, np.float32)
    for i in range(factor):
        part = elevation[i::factor]
        np.fmax(coarse[: len(part)], part, out=coarse[: len(part)])
    result = np.full((rows, cols), np.nan, np.float32)
    for j in range(factor):
        part = coarse[:, j::factor]
        np.fmax(result[:, : part.shape[1]], part, out=result[:, : part.shape[1]])
    return result


def _checked_elevation(elevation: np.ndarray) -> np.ndarray:
    elevation = np.asarray(elevation, dtype=np.float32)
    if elevation.ndim != 2 or 0 in elevation.shape:
        raise ValueError(f"elevation: must be a non-empty array of rows and columns, has shape {elevation.shape}")
    if np.isinf(elevation).any():
        raise ValueError("elevation: must be finite, or NaN where there is no data")
    return elevation


def checked_core(core: tuple[slice, slice] | None, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """First row, rows, first column and columns of the core window."""
    if core is None:
        return 0, shape[0], 0, shape[1]
    bounds = []
    for name, window, size in zip(("row", "column"), core, shape, strict=True):
        start, stop, step = window.indices(size)
        if step != 1 or stop <= start:
            raise ValueError(f"core: the {name} slice {window} selects nothing of {size} cells, or not all in turn")
        bounds += [start, stop - start]
    return bounds[0], bounds[1], bounds[2], bounds[3]


def _distances(unit: float, half_cells: bool, whole: float, reach: float) -> Iterator[float]:
    """Distances [m] from `unit` to `reach`: half and whole cells, then growing steps beyond `whole` cells."""
    halves = 2 * HALF_CELLS if half_cells else 0
    distance = 0.0
    for i in range(1, halves + 1):
        distance = 0.5 * i * unit
        if distance > reach:
            return
        yield distance
    count = halves // 2
    while count < whole:
        count += 1
        distance = count * unit
        if distance > reach:
            return
        yield distance
    while True:
        distance *= 1.0 + GROWTH
        if distance > reach:
            return
        yield distance


def _gather_samples(rays: list[list[tuple[int, int, tuple[float, float], float]]]) -> Samples:
    start = np.cumsum([0] + [len(ray) for ray in rays])
    flat = [sample for ray in rays for sample in ray]
    distance = np.array([sample[3] for sample in flat])
    return Samples(
        start.astype(np.int64),
        np.array([sample[0] for sample in flat], np.int64),
        np.array([sample[1] for sample in flat], np.int64),
        np.array([sample[2] for sample in flat], np.float32).reshape(-1, 2),
        (1.0 / distance).astype(np.float32),
        (2.0 * EARTH_RADIUS * np.sin(0.5 * distance / EARTH_RADIUS) ** 2).astype(np.float32),
    )


def _bearing(index: int, azimuths: int) -> tuple[float, float]:
    """East and north parts of an azimuth's direction, exact along the axes and mirrored exactly."""
    angle = 2.0 * math.pi * index / azimuths
    return round(math.sin(angle), 12), round(math.cos(angle), 12)


def _near_samples(azimuths: int, dx: float, dy: float, bilinear: bool, cells: tuple[int, int], reach: float) -> Samples:
    """Place samples of the fine DEM, at most `cells` (rows, columns) and `reach` metres away."""
    unit = min(dx, dy) if bilinear else 0.5 * (dx + dy)
    whole = WHOLE_CELLS if bilinear else math.inf
    rays = []
    for index in range(azimuths):
        east, north = _bearing(index, azimuths)
        ray = []
        for distance in _distances(unit, bilinear, whole, reach):
            col, row = round(distance * east / dx, 9), round(-distance * north / dy, 9)
            if abs(row) > cells[0] or abs(col) > cells[1]:
                break
            if bilinear:
                i, j = math.floor(row), math.floor(col)
                y, x = row - i, col - j
                weights = (x, y)
            else:
                # r.sun measures to the centre of the cell the ray is in
                i, j = math.floor(row + 0.5), math.floor(col + 0.5)
                distance = math.hypot(i * dy, j * dx)  # noqa: PLW2901
                weights = (0.0, 0.0)
            ray.append((i, j, weights, distance))
        rays.append(ray)
    return _gather_samples(rays)


def _far_samples(
    azimuths: int, dx: float, dy: float, first: float, step: float, cells: tuple[int, int], reach: float
) -> Samples:
    """Place samples of the far field beyond `first` metres, at least `step` apart."""
    rays = []
    for index in range(azimuths):
        east, north = _bearing(index, azimuths)
        ray = []
        distance = first
        while True:
            distance += max(step, GROWTH * distance)
            col, row = math.floor(distance * east / dx + 0.5), math.floor(-distance * north / dy + 0.5)
            if distance > reach or abs(row) > cells[0] or abs(col) > cells[1]:
                break
            ray.append((row, col, (0.0, 0.0), distance))
        rays.append(ray)
    return _gather_samples(rays)


def scene(
    elevation: np.ndarray,
    *,
    dx: float,
    dy: float,
    core: tuple[slice, slice] | None,
    far: FarField | None,
    azimuths: int,
    max_distance: float | None,
    convention: str,
) -> Scene:
    """Prepare a DEM for the march; arguments as in :func:`horizon_tangents`."""
    elevation = _checked_elevation(elevation)
    if not (dx > 0 and dy > 0 and math.isfinite(dx) and math.isfinite(dy)):
        raise ValueError(f"dx, dy: cell size must be positive metres, is {dx}, {dy}")
    if azimuths < 4:
        raise ValueError(f"azimuths: must be at least 4, is {azimuths}")
    if max_distance is not None and not max_distance > 0:
        raise ValueError(f"max_distance: must be positive metres, is {max_distance}")
    if convention not in ("eemt", "grass"):
        raise ValueError(f"convention: must be 'eemt' or 'grass', is {convention!r}")
    first_row, rows, first_col, cols = checked_core(core, elevation.shape)
    bilinear = convention == "eemt"
    reach = math.inf if max_distance is None else float(max_distance)
    near_cells = (NEAR_CELLS, NEAR_CELLS)
    near_reach = NEAR_CELLS * min(dx, dy)
    if far is None and core is None:
        if bilinear:
            far = FarField(coarsen(elevation, FAR_FACTOR), FAR_FACTOR, 0, 0)
        else:
            near_cells = (elevation.shape[0], elevation.shape[1])
            near_reach = math.inf
    near = _near_samples(azimuths, dx, dy, bilinear, near_cells, min(reach, near_reach))
    if far is None:
        coarse, factor, row_offset, col_offset, extent = np.full((1, 1), HOLE), 1, 0, 0, (0, 0)
    else:
        coarse = np.nan_to_num(_checked_elevation(far.elevation), nan=float(HOLE))
        factor, row_offset, col_offset = far.factor, far.row_offset, far.col_offset
        extent = (coarse.shape[0] * factor, coarse.shape[1] * factor)
    beyond = _far_samples(azimuths, dx, dy, near_reach, 0.5 * (dx + dy), extent, reach) if far is not None else None
    beyond = beyond if beyond is not None else _gather_samples([[] for _ in range(azimuths)])

    pad_rows, pad_cols = (_reach_of(near.row), _reach_of(near.col))
    width = -(-cols // LANES) * LANES
    fine = np.full((rows + 2 * pad_rows, width + LANES + 2 * pad_cols), HOLE, np.float32)
    top, left = max(0, first_row - pad_rows), max(0, first_col - pad_cols)
    bottom = min(elevation.shape[0], first_row + rows + pad_rows)
    right = min(elevation.shape[1], first_col + cols + pad_cols)
    part = elevation[top:bottom, left:right]
    i, j = top - first_row + pad_rows, left - first_col + pad_cols
    fine[i : i + part.shape[0], j : j + part.shape[1]] = np.nan_to_num(part, nan=float(HOLE))
    return Scene(
        fine.ravel(),
        fine.shape[1],
        pad_rows * fine.shape[1] + pad_cols,
        np.ascontiguousarray(coarse),
        factor,
        row_offset + first_row,
        col_offset + first_col,
        near,
        beyond,
        bilinear,
        float(max(fine.max(), coarse.max())),
    )


def _reach_of(offsets: np.ndarray) -> int:
    """Cells of padding: the farthest offset, and one for the second row or column of an interpolation or slope."""
    return int(np.abs(offsets).max(initial=0)) + 2


_FAST = {"nnan", "nsz", "contract"}


@njit(cache=True, nogil=True, fastmath=_FAST)
def _march_bilinear(fine, p, stride, weight, s, inverse, drop, ground, g, n, table, t):  # type: ignore[no-untyped-def]
    """Raise `table[t:t+n]` to one interpolated sample whose north-west cells start at `fine[p]`."""
    x, y = weight[s, 0], weight[s, 1]
    east = p + np.uint64(1)
    south = p + np.uint64(stride)
    south_east = south + np.uint64(1)
    for j in range(n):
        # differences, so that level ground stays exactly level
        north_z = fine[p + j] + x * (fine[east + j] - fine[p + j])
        south_z = fine[south + j] + x * (fine[south_east + j] - fine[south + j])
        z = north_z + y * (south_z - north_z) - drop
        tangent = (z - ground[g + j]) * inverse
        table[t + j] = tangent if tangent > table[t + j] else table[t + j]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _march_nearest(fine, p, inverse, drop, ground, g, n, table, t):  # type: ignore[no-untyped-def]
    """Raise `table[t:t+n]` to one sample of the cells that start at `fine[p]`."""
    for j in range(n):
        tangent = (fine[p + j] - drop - ground[g + j]) * inverse
        table[t + j] = tangent if tangent > table[t + j] else table[t + j]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _any_below(highest, inverse, ground, g, n, table, t):  # type: ignore[no-untyped-def]
    """Whether terrain as high as `highest`, at 1 / `inverse` or farther, could still raise `table[t:t+n]`."""
    open_cells = 0
    for j in range(n):
        open_cells += (highest - ground[g + j]) * inverse > table[t + j]
    return open_cells > 0


@njit(cache=True, nogil=True)
def _expand(far, row, col, factor, n, line):  # type: ignore[no-untyped-def]
    """Spread far-field blocks over fine cells; returns the index in `line` of fine column `col`."""
    block = col // factor
    offset = col - block * factor
    cols = far.shape[1]
    filled = 0
    while filled < offset + n:
        value = far[row, block] if 0 <= block < cols else HOLE
        for k in range(filled, filled + factor):
            line[k] = value
        filled += factor
        block += 1
    return offset


@njit(cache=True, nogil=True)
def march_row(scene, row, width, ground, line, table, t_first):  # type: ignore[no-untyped-def]
    """Raise the horizons of one core row.

    Parameters
    ----------
    scene : Scene
    row : int
        Core row.
    width : int
        Padded width, a multiple of LANES.
    ground : float32 (width)
        Elevation of the cells [m]; -HOLE where there is none.
    line : float32 (BLOCK + 2 * factor)
        Scratch.
    table : float32, flat
        Tangents, azimuth by azimuth, `width` apart, from index `t_first`: what they hold on entry is a floor.
    """
    near, beyond = scene.near_samples, scene.far_samples
    near_start, near_row, near_col, weight = near.start, near.row, near.col, near.weight
    near_inverse, near_drop = near.inverse, near.drop
    far_start, far_row, far_col = beyond.start, beyond.row, beyond.col
    far_inverse, far_drop = beyond.inverse, beyond.drop
    fine, far, factor, stride, bilinear = scene.fine, scene.far, scene.factor, scene.stride, scene.bilinear
    highest = np.float32(scene.highest + PRUNE_MARGIN)
    first = scene.origin + row * stride
    this_row, this_col = scene.far_row + row, scene.far_col
    for azimuth in range(len(near_start) - 1):
        for left in range(0, width, BLOCK):
            size = min(BLOCK, width - left)
            n, g = np.uint64(size), np.uint64(left)
            t = np.uint64(t_first + azimuth * width + left)
            hidden = False
            begin = near_start[azimuth]
            for s in range(begin, near_start[azimuth + 1]):
                inverse = near_inverse[s]
                if (s - begin) % PRUNE_EVERY == 0 and not _any_below(highest, inverse, ground, g, n, table, t):
                    hidden = True
                    break
                p = np.uint64(first + left + near_row[s] * stride + near_col[s])
                if bilinear:
                    _march_bilinear(fine, p, stride, weight, s, inverse, near_drop[s], ground, g, n, table, t)
                else:
                    _march_nearest(fine, p, inverse, near_drop[s], ground, g, n, table, t)
            if hidden:
                continue
            begin = far_start[azimuth]
            for s in range(begin, far_start[azimuth + 1]):
                inverse = far_inverse[s]
                if (s - begin) % PRUNE_EVERY == 0 and not _any_below(highest, inverse, ground, g, n, table, t):
                    break
                coarse_row = (this_row + far_row[s]) // factor
                if 0 <= coarse_row < far.shape[0]:
                    offset = _expand(far, coarse_row, this_col + left + far_col[s], factor, size, line)
                    _march_nearest(line, np.uint64(offset), inverse, far_drop[s], ground, g, n, table, t)


@njit(cache=True, nogil=True)
def _tangent_rows(scene, first, rows, cols, out):  # type: ignore[no-untyped-def]
    """Horizons of core rows `first` to `first + rows` into `out` (azimuths, core rows, cols)."""
    width = -(-cols // LANES) * LANES
    azimuths = out.shape[0]
    table = np.empty(azimuths * width, np.float32)
    ground = np.empty(width, np.float32)
    line = np.empty(BLOCK + 2 * scene.factor, np.float32)
    for row in range(first, first + rows):
        row_ground(scene, row, cols, ground)
        table[:] = np.float32(0.0)
        march_row(scene, row, width, ground, line, table, 0)
        for a in range(azimuths):
            for j in range(cols):
                hole = ground[j] == -HOLE
                out[a, row, j] = np.float32(np.nan) if hole else table[a * width + j]


@njit(cache=True, nogil=True)
def row_ground(scene, row, cols, ground):  # type: ignore[no-untyped-def]
    """Elevations of a core row; -HOLE, above all terrain, where there is none."""
    first = scene.origin + row * scene.stride
    for j in range(len(ground)):
        z = scene.fine[first + j]
        ground[j] = -HOLE if j >= cols or z == HOLE else z


@contextmanager
def workers(threads: int | None) -> Iterator[ThreadPoolExecutor]:
    """Threads for kernels that release the interpreter lock; default all cores."""
    import os

    if threads is not None and threads < 1:
        raise ValueError(f"threads: must be at least 1, is {threads}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads or available, thread_name_prefix="eemt-sun")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def horizon_tangents(
    elevation: np.ndarray,
    *,
    dx: float,
    dy: float,
    core: tuple[slice, slice] | None = None,
    far: FarField | None = None,
    azimuths: int = 64,
    max_distance: float | None = None,
    convention: str = "eemt",
    threads: int | None = None,
) -> np.ndarray:
    """Tangent of the terrain horizon in evenly spaced directions [1]_ [2]_.

    Parameters
    ----------
    elevation : ndarray, float32 (rows, cols)
        Elevation [m], row 0 in the north; NaN is a hole, which casts no shadow.
    dx, dy : float
        Cell size [m].
    core : (slice, slice), optional
        Rows and columns to compute; the rest is halo. Default all.
    far : FarField, optional
        Terrain beyond `NEAR_CELLS`. If None it is made from `elevation` when `core` is None; with a core there is
        then nothing beyond `NEAR_CELLS`.
    azimuths : int
        Number of directions; direction k is at 360 k / azimuths degrees clockwise from grid north.
    max_distance : float, optional
        Farthest terrain looked at [m]. Default no limit.
    convention : {"eemt", "grass"}
        "eemt" interpolates, at half cells nearby; "grass" takes the nearest cell at every whole cell, as r.sun does
        (of the whole DEM, where neither `core` nor `far` is given).
    threads : int, optional
        Default all cores.

    Returns
    -------
    ndarray, float32 (azimuths, core rows, core columns)
        Tangents, at least 0: a horizon below the level is no obstacle to the sun. NaN in holes.
    """
    elevation = _checked_elevation(elevation)
    prepared = scene(
        elevation,
        dx=dx,
        dy=dy,
        core=core,
        far=far,
        azimuths=azimuths,
        max_distance=max_distance,
        convention=convention,
    )
    _, rows, _, cols = checked_core(core, elevation.shape)
    out = np.empty((azimuths, rows, cols), np.float32)
    with workers(threads) as pool:
        jobs = [pool.submit(_tangent_rows, prepared, i, min(4, rows - i), cols, out) for i in range(0, rows, 4)]
        for job in jobs:
            job.result()
    return out


def level_samples(azimuths: int) -> tuple[Any, Any]:
    """East and north parts (float64) of the unit vector of every azimuth."""
    parts = np.array([_bearing(k, azimuths) for k in range(azimuths)])
    return np.ascontiguousarray(parts[:, 0]), np.ascontiguousarray(parts[:, 1])
