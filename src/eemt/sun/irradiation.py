"""Daily and monthly irradiation and insolation of terrain under a clear sky.

References
----------
.. [1] Hofierka, J. & Suri, M. (2002). The solar radiation model for open source GIS. Proc. Open source GIS - GRASS.
.. [2] Scharmer, K. & Greif, J. (2000). The European Solar Radiation Atlas, vol. 1. Les Presses de l'Ecole des Mines.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from eemt.constants import MONTH_LENGTHS
from eemt.sun.horizon import LANES, FarField, Scene, checked_core, level_samples, scene, workers
from eemt.sun.integral import KIND, NO_DATA, PROPERTIES, VIEW, Settings, horizons, integrate, prepare_cells
from eemt.sun.skyview import narrow_sky
from eemt.terrain import horn, horn_level_rim

__all__ = ["irradiation", "strips"]

MONTHLY = ("monthly_global", "monthly_flat_global", "monthly_insolation")
DAILY = ("global", "beam", "diffuse", "insolation", "flat_global")
ROWS_AT_ONCE = 8  # rows of a task; latitude and so the sun's path are often shared between them
LATITUDE_QUANTUM = 1.0 / 512.0  # degrees (217 m): one sun path per such latitude; irradiation within 6e-5
CONVERGENCE_QUANTUM = 1.0 / 256.0  # degrees: of the sun's azimuth, a hundredth of the sun's disc


def _checked_days(days: Iterable[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days sorted by month, where each month starts, and where each day stands in the caller's list."""
    chosen = np.asarray(list(days))
    if chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise ValueError("days: must be whole days of the year, at least one")
    if chosen.min() < 1 or chosen.max() > 365:
        raise ValueError(f"days: {chosen.min()}..{chosen.max()} is outside 1..365 (a sun year has no 29 February)")
    if len(np.unique(chosen)) != len(chosen):
        raise ValueError("days: a day is named twice")
    month = np.repeat(np.arange(12), MONTH_LENGTHS)[chosen - 1]
    order = np.argsort(month, kind="stable")
    starts = np.searchsorted(month[order], np.arange(13))
    return chosen[order].astype(np.int64), starts.astype(np.int64), order.astype(np.int64)


def _thinned_days(
    days: np.ndarray, month_start: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Keep middle days of groups of `stride` days of a month, and what is left over, with the days each stands for."""
    middles: list[int] = []
    shares: list[int] = []
    starts = [0]
    for month in range(12):
        chosen = np.sort(days[month_start[month] : month_start[month + 1]])
        whole = len(chosen) // stride * stride
        middles += [*chosen[stride // 2 : whole : stride], *chosen[whole:]]
        shares += [stride] * (whole // stride) + [1] * (len(chosen) - whole)
        starts.append(len(middles))
    return np.array(middles), np.array(starts), np.arange(len(middles)), np.array(shares, dtype=float)


def _checked_linke(linke: Any) -> np.ndarray:
    values = np.asarray(linke, dtype=float)
    if values.shape not in ((), (12,), (365,)):
        raise ValueError(f"linke: must be one value, 12 or 365, has shape {values.shape}")
    if not np.all((values >= 1.0) & (values <= 15.0)):
        raise ValueError("linke: Linke turbidity must be within 1 (clean, dry air) and 15")
    if values.shape == (12,):
        return np.repeat(values, MONTH_LENGTHS)
    return np.full(365, values) if values.shape == () else values


def _checked_albedo(albedo: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Monthly albedo, and a map of it that is empty unless one is given."""
    values = np.asarray(albedo, dtype=float)
    if values.shape not in ((), (12,), shape):
        raise ValueError(f"albedo: must be one value, 12, or of the core's shape {shape}, has shape {values.shape}")
    if np.any((values < 0.0) | (values > 1.0)):
        raise ValueError("albedo: must be within 0..1")
    if values.ndim == 2:
        return np.zeros(12), np.ascontiguousarray(np.nan_to_num(values), dtype=np.float32)
    if not np.all(np.isfinite(values)):
        raise ValueError("albedo: must be finite")
    return np.broadcast_to(values, 12).copy(), np.zeros((0, 0), np.float32)


def _checked_blocks(
    blocks: Any, latitude: Any, convergence: Any, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column edges of the blocks, and latitude and convergence [degrees] per row and block."""
    edges = np.array([0, shape[1]]) if blocks is None else np.asarray(blocks)
    if edges.ndim != 1 or len(edges) < 2 or edges.dtype.kind not in "iu" or np.any(np.diff(edges) <= 0):
        raise ValueError("blocks: must be increasing whole column numbers")
    if edges[0] != 0 or edges[-1] != shape[1]:
        raise ValueError(
            f"blocks: must run from 0 to the core's {shape[1]} columns, run from {edges[0]} to {edges[-1]}"
        )
    result = []
    for name, value, limit in (("latitude", latitude, 90.0), ("convergence", convergence, 360.0)):
        values = np.asarray(value, dtype=float)
        wanted = (shape[0], len(edges) - 1)
        if values.shape not in ((), wanted):
            raise ValueError(f"{name}: must be one value or (core rows, blocks) {wanted}, has shape {values.shape}")
        if not np.all(np.abs(values) <= limit):
            raise ValueError(f"{name}: must be finite and within -{limit:g}..{limit:g} degrees")
        result.append(np.ascontiguousarray(np.broadcast_to(values, wanted)))
    return edges.astype(np.int64), result[0], result[1]


class _Job(NamedTuple):
    """A checked request."""

    elevation: np.ndarray
    dx: float
    dy: float
    window: tuple[int, int, int, int]
    scene: Scene
    settings: Settings
    edges: np.ndarray
    latitude: np.ndarray
    convergence: np.ndarray
    albedo: np.ndarray
    albedo_map: np.ndarray
    sky_view: bool
    horizons: bool


_Strip = tuple[slice, dict[str, np.ndarray], list[Future[None]]]  # rows, maps being filled, when they are


def _rows(
    job: _Job,
    first: int,
    rows: int,
    strip_first: int,
    monthly: np.ndarray,
    daily: np.ndarray,
    views: dict[str, np.ndarray],
) -> None:
    """Compute some rows of the core into the outputs of their strip."""
    top, _, left, cols = job.window
    row, col = max(0, top + first - 1), max(0, left - 1)
    near = np.ascontiguousarray(job.elevation[row : top + first + rows + 1, col : left + cols + 1])
    gradient = horn if job.settings.soft else horn_level_rim
    dz_dx, dz_dy = gradient(near, job.dx, job.dy)
    i, j = top + first - row, left - col
    dz_dx, dz_dy = (np.ascontiguousarray(part[i : i + rows, j : j + cols]) for part in (dz_dx, dz_dy))
    width = -(-cols // LANES) * LANES
    cells = np.zeros((PROPERTIES, rows, width), np.float32)
    prepare_cells(job.scene, first, rows, dz_dx, dz_dy, job.edges, job.convergence, cells)
    azimuths = job.settings.azimuths
    # a run of cells may begin anywhere and reads LANES cells
    table = np.empty(rows * azimuths * width + LANES, np.float32)
    east, north = level_samples(azimuths)
    horizons(job.scene, first, rows, cols, dz_dx, dz_dy, east, north, job.settings.shadows, table)
    if job.sky_view:
        narrow_sky(table, width, east, north, dz_dx, dz_dy, cells)
    hole = cells[KIND, :, :cols] == NO_DATA
    here = slice(first - strip_first, first - strip_first + rows)
    if "sky_view" in views:
        views["sky_view"][0, here] = np.where(hole, np.nan, cells[VIEW, :, :cols])
    if "horizon" in views:
        tangents = table[: rows * azimuths * width].reshape(rows, azimuths, width)[:, :, :cols].swapaxes(0, 1)
        views["horizon"][:, here] = np.where(hole, np.nan, np.degrees(np.arctan(tangents)))
    integrate(
        first,
        rows,
        strip_first,
        job.settings,
        job.edges,
        job.latitude,
        job.convergence,
        job.albedo,
        job.albedo_map,
        cells,
        table,
        width,
        monthly,
        daily,
    )


def _start(pool: ThreadPoolExecutor, job: _Job, first: int, rows: int) -> _Strip:
    """Begin a strip."""
    cols = job.window[3]
    monthly = np.empty((3, 12, rows, cols), np.float32)
    daily = np.empty((5, len(job.settings.days), rows, cols) if job.settings.daily else (0, 0, 0, 0), np.float32)
    views = {"sky_view": np.empty((1, rows, cols), np.float32)} if job.sky_view else {}
    if job.horizons:
        views["horizon"] = np.empty((job.settings.azimuths, rows, cols), np.float32)
    tasks = [
        pool.submit(_rows, job, row, min(ROWS_AT_ONCE, first + rows - row), first, monthly, daily, views)
        for row in range(first, first + rows, ROWS_AT_ONCE)
    ]
    maps = dict(zip(MONTHLY, monthly, strict=True)) | views
    if job.settings.daily:
        maps |= dict(zip(DAILY, daily, strict=True))
    return slice(first, first + rows), maps, tasks


def strips(
    elevation: np.ndarray,
    *,
    dx: float,
    dy: float,
    latitude: Any,
    convergence: Any = 0.0,
    blocks: Any = None,
    core: tuple[slice, slice] | None = None,
    far: FarField | None = None,
    days: Iterable[int] = range(1, 366),
    step: float = 15.0,
    linke: Any = 3.0,
    albedo: Any = 0.2,
    convention: str = "eemt",
    shadows: bool = True,
    sky_view: bool = False,
    horizons: bool = False,
    azimuths: int = 64,
    max_distance: float | None = None,
    daily: bool = True,
    day_stride: int = 1,
    strip_rows: int = 32,
    threads: int | None = None,
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Clear-sky irradiation of terrain, a strip of rows at a time [1]_ [2]_.

    The result does not depend on `strip_rows` or `threads`, nor on the window: with a halo of at least
    ``NEAR_CELLS + 2`` cells (NaN where the DEM ends) and the `far` of the whole DEM, the cells of a core equal those
    of the whole, bit for bit.

    Parameters
    ----------
    elevation : ndarray, float32 (rows, cols)
        Elevation [m], row 0 in the north, halo included; NaN is a hole, which casts no shadow.
    dx, dy : float
        Cell size [m].
    latitude : float or ndarray, float64 (core rows, blocks)
        Latitude [degrees], positive north.
    convergence : float or ndarray, float64 (core rows, blocks)
        Bearing of grid north from true north [degrees], positive where grid north lies east of true north, so that
        grid azimuth = true azimuth - convergence. This is ``pyproj.Proj(crs).get_factors(lon, lat)
        .meridian_convergence``: positive east of the central meridian of a northern UTM zone. Convention "grass"
        ignores it.
    blocks : ndarray, int (n + 1), optional
        Column edges, within the core, of the blocks in which `latitude` and `convergence` are constant along a row.
        Default one block. Blocks of some hundred columns cost nothing.
    core : (slice, slice), optional
        Rows and columns to compute; the rest is halo. Default all.
    far : FarField, optional
        Terrain beyond ``horizon.NEAR_CELLS``. If None it is made from `elevation` when `core` is None; with a core
        there is then nothing beyond ``NEAR_CELLS``.
    days : iterable of int
        Days of the year, 1..365.
    step : float
        Longest time step [minutes], up to 120.
    linke : float or array (12) or (365)
        Linke turbidity [-] of the year, each month or each day.
    albedo : float or array (12) or (core rows, core cols)
        Albedo of the ground [-].
    convention : {"eemt", "grass"}
        "eemt": the day is divided evenly between sunrise and sunset, a step in which the sun crosses the horizon
        counts in part, terrain is interpolated. "grass": r.sun's clock grid, hard shadow edges, nearest cells, and
        the slopes of r.slope.aspect -e; r.sun takes its latitude at a cell's south-western corner.
    shadows : bool
        Whether terrain casts shadows. A slope that faces away from the sun is dark in either case.
    sky_view : bool
        Whether the sky-view factor of the horizon (:mod:`eemt.sun.skyview`) takes the place of (1 + cos slope) / 2 in
        the diffuse light.
    horizons : bool
        Whether to return the horizons.
    azimuths : int
        Directions of the horizon, interpolated between. With convention "grass", daily global irradiation is within
        2e-3 of r.sun's on average with 64, 1e-3 with 256 and 1e-4 with 4096 on slopes to 60 degrees.
    max_distance : float, optional
        Farthest terrain that casts a shadow [m]. Default no limit.
    daily : bool
        Whether to return daily maps as well as monthly sums.
    day_stride : int
        With ``daily=False``, let the middle one of so many chosen days (an odd number) stand for all of them: 3 changes
        monthly sums by 5e-5 on average and takes less than half the time.
    strip_rows : int
        Rows per strip: memory grows with it and the core's width.
    threads : int, optional
        Default all cores.

    Yields
    ------
    rows : slice
        Core rows of the strip.
    maps : dict of ndarray, float32
        ``monthly_global``, ``monthly_flat_global`` [Wh m-2 month-1] and ``monthly_insolation`` [h month-1], of shape
        (12, strip rows, core cols), sums over the chosen days; with `daily` also ``global``, ``beam``, ``diffuse``,
        ``flat_global`` [Wh m-2 day-1] and ``insolation`` [h], of shape (days, strip rows, core cols). Global is beam
        plus diffuse plus ground-reflected; flat is a level, unshaded surface at the cell's elevation. With `sky_view`
        also ``sky_view`` [-], of shape (1, strip rows, core cols); with `horizons` also ``horizon`` [degrees], of
        shape (azimuths, strip rows, core cols), the first in grid north and the next clockwise, at least the cell's
        own slope and at least 0. NaN in holes.
    """
    elevation = np.asarray(elevation, dtype=np.float32)
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
    window = checked_core(core, elevation.shape)
    shape = (window[1], window[3])
    if not 0.0 < step <= 120.0:
        raise ValueError(f"step: must be within 0..120 minutes, is {step}")
    if strip_rows < 1:
        raise ValueError(f"strip_rows: must be at least 1, is {strip_rows}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: must be at least 1, is {threads}")
    if day_stride < 1 or day_stride % 2 == 0 or (daily and day_stride > 1):
        raise ValueError(f"day_stride: must be odd, and 1 for daily maps, is {day_stride}")
    chosen, month_start, position = _checked_days(days)
    share = np.ones(len(chosen))
    if day_stride > 1:
        chosen, month_start, position, share = _thinned_days(chosen, month_start, day_stride)
    soft = convention == "eemt"
    edges, latitudes, convergences = _checked_blocks(blocks, latitude, convergence, shape)
    if soft:
        latitudes = np.round(latitudes / LATITUDE_QUANTUM) * LATITUDE_QUANTUM
        convergences = np.round(convergences / CONVERGENCE_QUANTUM) * CONVERGENCE_QUANTUM
    else:
        convergences = np.zeros_like(convergences)
    settings = Settings(
        chosen,
        month_start,
        position,
        share,
        step / 60.0,
        _checked_linke(linke),
        azimuths,
        soft,
        bool(shadows),
        bool(daily),
    )
    monthly_albedo, albedo_map = _checked_albedo(albedo, shape)
    job = _Job(
        elevation,
        float(dx),
        float(dy),
        window,
        prepared,
        settings,
        edges,
        latitudes,
        convergences,
        monthly_albedo,
        albedo_map,
        bool(sky_view),
        bool(horizons),
    )
    return _run(job, strip_rows, threads)


def _run(job: _Job, strip_rows: int, threads: int | None) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    rows = job.window[1]
    with workers(threads) as pool:
        waiting: _Strip | None = _start(pool, job, 0, min(strip_rows, rows))
        while waiting is not None:
            where, maps, tasks = waiting
            for task in tasks:
                task.result()
            # the next strip is computed while the caller is busy with this one
            left = rows - where.stop
            waiting = _start(pool, job, where.stop, min(strip_rows, left)) if left > 0 else None
            yield where, maps


def irradiation(elevation: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """Clear-sky irradiation of terrain as whole maps.

    Parameters
    ----------
    elevation : ndarray, float32 (rows, cols)
        Elevation [m], row 0 in the north; NaN is a hole.
    **options
        As for :func:`strips`.

    Returns
    -------
    dict of ndarray, float32
        The maps of :func:`strips`, its strips joined.
    """
    parts = [maps for _, maps in strips(elevation, **options)]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
