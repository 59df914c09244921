"""Daily and monthly irradiation and insolation of terrain under a clear sky.

A day is a sum over time steps k of lit_k c_k, where lit_k is the part of the step in which the sun stands above the
cell's horizon and c_k what a lit step adds to a shaded one. With prefix sums P_k = c_0 + ... + c_k the day is

    sum over k of (lit_k - lit_{k+1}) P_k ,

in which only the few steps count where light comes or goes. Runs of `LANES` neighbouring cells that are all lit, or
all dark, in two steps that follow each other are skipped: their terms are exactly zero.

c_k is linear in six properties of a cell (the three parts of its normal, Muneer's function of slope, its view of the
sky, its albedo), each times a quintic in elevation; so no transcendental function is left per cell and step.

References
----------
.. [1] Hofierka, J. & Suri, M. (2002). The solar radiation model for open source GIS. Proc. Open source GIS - GRASS.
.. [2] Scharmer, K. & Greif, J. (2000). The European Solar Radiation Atlas, vol. 1. Les Presses de l'Ecole des Mines.
.. [3] Rigollier, C., Bauer, O. & Wald, L. (2000). On the clear sky model of the ESRA. Solar Energy 68:33-48.
.. [4] Kasten, F. (1996). The Linke turbidity factor based on improved values of the integral Rayleigh optical
   thickness. Solar Energy 56:239-244.
.. [5] Kasten, F. & Young, A. T. (1989). Revised optical air mass tables. Applied Optics 28:4735-4738.
.. [6] Muneer, T. (1990). Solar radiation model for Europe. Building Services Eng. Res. Technol. 11:153-163.
"""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from eemt.constants import MONTH_LENGTHS
from eemt.sun.clearsky import POLYNOMIAL_TERMS, beam_polynomials, diffuse_kernel, scaled_elevation
from eemt.sun.horizon import (
    BLOCK,
    HOLE,
    LANES,
    FarField,
    Scene,
    checked_core,
    level_samples,
    march_row,
    row_ground,
    scene,
    workers,
)
from eemt.sun.position import (
    HOUR_ANGLE,
    declination_kernel,
    direction_kernel,
    extraterrestrial_kernel,
    sunset_kernel,
)
from eemt.terrain import horn

__all__ = ["irradiation", "strips"]

MONTHLY = ("monthly_global", "monthly_flat_global", "monthly_insolation")
DAILY = ("global", "beam", "diffuse", "insolation", "flat_global")
ROWS_AT_ONCE = 8  # rows of a task; latitude and so the sun's path are often shared between them
LATITUDE_QUANTUM = 1.0 / 1024.0  # degrees (109 m): one sun path per such latitude; irradiation within 3e-5
TANGENT_LIMIT = 1.0e4  # the sun within 0.006 degrees of the zenith

# Muneer 1990: diffuse light on a slope
SHADED_ANISOTROPY = 0.252271
LIT_ANISOTROPY = 0.00263 - SHADED_ANISOTROPY
LOW_SUN = 0.1  # rad

# properties of a cell, for `cells`
N_EAST, N_NORTH, N_UP, TILT, SCALED, KIND = 0, 1, 2, 3, 4, 5
FLAT, TILTED, NO_DATA = 0.0, 1.0, 2.0

# where each quantity of a run of cells stands in `lane`
_L = LANES
Z, EAST, NORTH, BEAM_UP, DIFFUSE_UP, ANISOTROPY, SKY, GROUND = (i * _L for i in range(8))
MARGIN, LIT, CHANGE, TIME, FIRST, SECOND, THIRD = (i * _L for i in range(8, 15))
LANE_SIZE = 15 * _L
(_Z, _EAST, _NORTH, _BEAM_UP, _DIFFUSE_UP, _ANISOTROPY, _SKY, _GROUND) = (np.uint64(i * _L) for i in range(8))
(_MARGIN, _LIT, _CHANGE, _TIME, _FIRST, _SECOND, _THIRD) = (np.uint64(i * _L) for i in range(8, 15))
_LANES = np.uint64(LANES)
_ZERO, _ONE, _TINY = np.float32(0.0), np.float32(1.0), np.float32(1.0e-20)

PARTS = 8  # polynomials of a step when beam and diffuse are kept apart
WHOLE = 6  # polynomials of a step when only their sum is
MAX_TERMS = PARTS * POLYNOMIAL_TERMS

_FAST = {"nnan", "nsz", "contract"}


class Settings(NamedTuple):
    """What does not depend on the cell."""

    days: np.ndarray  # int64, sorted by month
    month_start: np.ndarray  # int64 (13): the days of month m are days[month_start[m]:month_start[m + 1]]
    position: np.ndarray  # int64, where each of `days` stands in the caller's list
    share: np.ndarray  # float64, how many days each of `days` stands for
    step: float  # h
    linke: np.ndarray  # float64 (365)
    azimuths: int
    soft: bool
    shadows: bool
    daily: bool


class Tables(NamedTuple):
    """The sun's path and what it adds, for the days of one month at one latitude."""

    steps: np.ndarray  # int64 (days)
    nodes: int  # room for the nodes of a day
    tangent: np.ndarray  # float32, flat (days, nodes): of the sun's elevation
    azimuth: np.ndarray  # float64, flat (days, nodes), in units of the horizon table, from true north
    elapsed: np.ndarray  # float32, flat (days, nodes): hours from the first step to the end of each
    terms: np.ndarray  # float32, flat (days, nodes, polynomials, POLYNOMIAL_TERMS): prefix sums [Wh m-2]
    diffuse: np.ndarray  # float64 (days): horizontal diffuse of the day [Wh m-2]
    lower: np.ndarray  # int64, flat (days, nodes): horizon azimuth before the sun
    upper: np.ndarray  # int64, flat (days, nodes): the next
    weight: np.ndarray  # float32, flat (days, nodes): of the next


@njit(cache=True, nogil=True)
def _grass_samples(sunset: float, step: float) -> tuple[float, int]:
    """First sample [h] and number of samples of r.sun's clock grid [1]_."""
    sunrise, dusk = 12.0 - sunset / HOUR_ANGLE, 12.0 + sunset / HOUR_ANGLE
    whole = int(sunrise / step)
    first = (whole + 1.5) * step if sunrise - whole * step > 0.5 * step else (whole + 0.5) * step
    return first, max(1, math.floor((dusk - first) / step + 1.0e-9) + 1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _fill_day(  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    tables, d, latitude, day, share, settings, sums, beams, skies
):
    """Fill day `d` of the tables, for as many days as its share; latitude in rad."""
    linke = settings.linke[day - 1]
    declination = declination_kernel(day)
    normal = extraterrestrial_kernel(day)
    sunset = sunset_kernel(latitude, declination)
    polynomials = PARTS if settings.daily else WHOLE
    terms = polynomials * POLYNOMIAL_TERMS
    tables.diffuse[d] = 0.0
    tables.steps[d] = 0
    if sunset <= 0.0:
        return
    if settings.soft:
        steps = max(1, math.ceil(2.0 * sunset / HOUR_ANGLE / settings.step - 1.0e-9))
        hours = 2.0 * sunset / HOUR_ANGLE / steps
        first = 12.0 - sunset / HOUR_ANGLE + 0.5 * hours
    else:
        hours = settings.step
        first, steps = _grass_samples(sunset, hours)
    nodes = steps + 1 if settings.soft else steps
    base = d * tables.nodes
    begin = first - 0.5 * hours if settings.soft else first
    for b in range(nodes):
        east, north, up = direction_kernel(latitude, declination, (begin + b * hours - 12.0) * HOUR_ANGLE)
        level = math.hypot(east, north)
        tables.tangent[base + b] = TANGENT_LIMIT if up > TANGENT_LIMIT * level else max(0.0, up / level)
        tables.azimuth[base + b] = math.atan2(east, north) / (2.0 * math.pi) * settings.azimuths
    if settings.soft and sunset < math.pi:
        tables.tangent[base] = 0.0
        tables.tangent[base + steps] = 0.0

    sums[:] = 0.0
    for k in range(steps):
        east, north, up = direction_kernel(latitude, declination, (first + k * hours - 12.0) * HOUR_ANGLE)
        if up > 0.0:
            height = math.asin(min(1.0, up))
            diffuse = diffuse_kernel(up, linke)
            # the afternoon mirrors the morning
            source = steps - 1 - k if settings.soft and 2 * k >= steps else k
            beam, sky = beams[source], skies[source]
            if source == k:
                beam_polynomials(height, linke, beam, sky)
            amount = normal * hours * share
            tables.diffuse[d] += amount * diffuse
            if height >= LOW_SUN:
                tilt, upward = 1.0 / up, 1.0
            else:
                tilt, upward = 1.0 / (math.cos(height) * (0.1 - 0.008 * height)), 0.0
            for i in range(POLYNOMIAL_TERMS):
                q = amount * beam[i]
                light = diffuse * q
                anisotropy = amount * diffuse * (sky[i] + (LIT_ANISOTROPY if i == 0 else 0.0))
                if settings.daily:
                    sums[i] += q * east
                    sums[POLYNOMIAL_TERMS + i] += q * north
                    sums[2 * POLYNOMIAL_TERMS + i] += q * up
                    sums[3 * POLYNOMIAL_TERMS + i] += light * east * tilt
                    sums[4 * POLYNOMIAL_TERMS + i] += light * north * tilt
                    sums[5 * POLYNOMIAL_TERMS + i] += light * upward
                    sums[6 * POLYNOMIAL_TERMS + i] += anisotropy
                    sums[7 * POLYNOMIAL_TERMS + i] -= light
                else:
                    sums[i] += q * east + light * east * tilt
                    sums[POLYNOMIAL_TERMS + i] += q * north + light * north * tilt
                    sums[2 * POLYNOMIAL_TERMS + i] += q * up
                    sums[3 * POLYNOMIAL_TERMS + i] += light * upward
                    sums[4 * POLYNOMIAL_TERMS + i] += anisotropy
                    sums[5 * POLYNOMIAL_TERMS + i] -= light
        for i in range(terms):
            tables.terms[(base + k) * terms + i] = sums[i]
        tables.elapsed[base + k] = (k + 1) * hours * share
    tables.steps[d] = steps


@njit(cache=True, nogil=True)
def _turn(tables, days, convergence, azimuths, soft):  # type: ignore[no-untyped-def]
    """Turn the sun's path from true to grid north; convergence is the bearing of grid north [rad]."""
    shift = convergence / (2.0 * math.pi) * azimuths
    for d in range(days):
        for b in range(tables.steps[d] + (1 if soft else 0)):
            node = d * tables.nodes + b
            place = (tables.azimuth[node] - shift) % azimuths
            lower = int(place)
            tables.weight[node] = place - lower
            tables.lower[node] = lower if lower < azimuths else 0
            tables.upper[node] = lower + 1 if lower + 1 < azimuths else 0


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _margins(table, t, u, weight, tangent, lane):  # type: ignore[no-untyped-def]
    """How far the sun stands above the horizon, in tangents."""
    for j in range(_LANES):
        near = table[t + j]
        lane[_MARGIN + j] = tangent - (near + weight * (table[u + j] - near))


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _soft_light(table, t, u, weight, tangent, lane):  # type: ignore[no-untyped-def]
    """Light of a step from the margins at its two ends; returns in how many cells it changed."""
    changed = 0
    for j in range(_LANES):
        near = table[t + j]
        after = tangent - (near + weight * (table[u + j] - near))
        before = lane[_MARGIN + j]
        high = after if after > before else before
        low = before if after > before else after
        lit = high / (high - low + _TINY)
        lit = lit if lit > _ZERO else _ZERO
        lit = lit if lit < _ONE else _ONE
        change = lane[_LIT + j] - lit
        lane[_MARGIN + j] = after
        lane[_CHANGE + j] = change
        lane[_LIT + j] = lit
        changed += change != _ZERO
    return changed


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _hard_light(lane):  # type: ignore[no-untyped-def]
    """Light of a step from the margin at its one sample; returns in how many cells it changed."""
    changed = 0
    for j in range(_LANES):
        lit = _ONE if lane[_MARGIN + j] >= _ZERO else _ZERO
        change = lane[_LIT + j] - lit
        lane[_CHANGE + j] = change
        lane[_LIT + j] = lit
        changed += change != _ZERO
    return changed


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _even_light(lit, lane):  # type: ignore[no-untyped-def]
    """Light of a step that is the same in all cells; returns in how many cells it changed."""
    changed = 0
    for j in range(_LANES):
        change = lane[_LIT + j] - lit
        lane[_CHANGE + j] = change
        lane[_LIT + j] = lit
        changed += change != _ZERO
    return changed


@njit(cache=True, nogil=True, fastmath=_FAST, inline="always")
def _quintic(terms, p, z):  # type: ignore[no-untyped-def]
    """Quintic whose coefficients start at `terms[p]`, lowest power first."""
    tail = terms[p + np.uint64(4)] + z * terms[p + np.uint64(5)]
    tail = terms[p + np.uint64(2)] + z * (terms[p + np.uint64(3)] + z * tail)
    return terms[p] + z * (terms[p + np.uint64(1)] + z * tail)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _add_whole(terms, p, elapsed, lane):  # type: ignore[no-untyped-def]
    """Add change times prefix sum: global irradiation and insolation."""
    p1, p2, p3 = (
        p + np.uint64(POLYNOMIAL_TERMS),
        p + np.uint64(2 * POLYNOMIAL_TERMS),
        p + np.uint64(3 * POLYNOMIAL_TERMS),
    )
    p4, p5 = p + np.uint64(4 * POLYNOMIAL_TERMS), p + np.uint64(5 * POLYNOMIAL_TERMS)
    for j in range(_LANES):
        z = lane[_Z + j]
        change = lane[_CHANGE + j]
        total = lane[_EAST + j] * _quintic(terms, p, z)
        total += lane[_NORTH + j] * _quintic(terms, p1, z)
        total += (lane[_BEAM_UP + j] + lane[_GROUND + j]) * _quintic(terms, p2, z)
        total += lane[_DIFFUSE_UP + j] * _quintic(terms, p3, z)
        total += lane[_ANISOTROPY + j] * _quintic(terms, p4, z)
        total += lane[_SKY + j] * _quintic(terms, p5, z)
        lane[_FIRST + j] += change * total
        lane[_TIME + j] += change * elapsed


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _add_parts(terms, p, elapsed, lane):  # type: ignore[no-untyped-def]
    """Add change times prefix sum: beam, diffuse and reflected irradiation and insolation."""
    p1, p2, p3, p4 = (
        p + np.uint64(POLYNOMIAL_TERMS),
        p + np.uint64(2 * POLYNOMIAL_TERMS),
        p + np.uint64(3 * POLYNOMIAL_TERMS),
        p + np.uint64(4 * POLYNOMIAL_TERMS),
    )
    p5, p6, p7 = (
        p + np.uint64(5 * POLYNOMIAL_TERMS),
        p + np.uint64(6 * POLYNOMIAL_TERMS),
        p + np.uint64(7 * POLYNOMIAL_TERMS),
    )
    for j in range(_LANES):
        z = lane[_Z + j]
        change = lane[_CHANGE + j]
        level = _quintic(terms, p2, z)
        beam = lane[_EAST + j] * _quintic(terms, p, z) + lane[_NORTH + j] * _quintic(terms, p1, z)
        beam += lane[_BEAM_UP + j] * level
        diffuse = lane[_EAST + j] * _quintic(terms, p3, z) + lane[_NORTH + j] * _quintic(terms, p4, z)
        diffuse += lane[_DIFFUSE_UP + j] * _quintic(terms, p5, z)
        diffuse += lane[_ANISOTROPY + j] * _quintic(terms, p6, z)
        diffuse += lane[_SKY + j] * _quintic(terms, p7, z)
        lane[_FIRST + j] += change * beam
        lane[_SECOND + j] += change * diffuse
        lane[_THIRD + j] += change * lane[_GROUND + j] * level
        lane[_TIME + j] += change * elapsed


@njit(cache=True, nogil=True, inline="always")
def _evenness(low, high, c, tangent, lower, upper, weight, highest):  # type: ignore[no-untyped-def]
    """1 where the sun surely stands above the horizon of all cells of the run, 0 where below, 2 where neither."""
    if tangent > highest:
        return 1
    ceiling = high[c, lower] + weight * (high[c, upper] - high[c, lower])
    # more than the rounding error of the cells' own interpolation
    if tangent > ceiling + np.float32(1.0e-5) * (_ONE + ceiling):
        return 1
    floor = low[c, lower] + weight * (low[c, upper] - low[c, lower])
    if tangent < floor - np.float32(1.0e-5) * (_ONE + floor):
        return 0
    return 2


@njit(cache=True, nogil=True)
def _add_day(  # type: ignore[no-untyped-def] # noqa: PLR0912
    table,
    t,
    width,
    low,
    high,
    c,
    highest,
    steps,
    base,
    tangent,
    lower,
    upper,
    weight,
    elapsed,
    terms,
    parts,
    soft,
    lane,
):
    """Add one day of one run of cells, whose horizons start at `table[t]` and sun's path at node `base`."""
    size = (PARTS if parts else WHOLE) * POLYNOMIAL_TERMS
    known = -1  # node whose margins are in `lane`
    before = -1
    following = _evenness(low, high, c, tangent[base], lower[base], upper[base], weight[base], highest)
    for k in range(steps + 1):
        b = base + k
        even = following
        if k == steps:
            even = 0
        elif soft or k + 1 < steps:
            b1 = b + 1
            following = _evenness(low, high, c, tangent[b1], lower[b1], upper[b1], weight[b1], highest)
            if soft and even != following:
                even = 2
        if even != 2:
            if even == before:
                continue
            changed = _even_light(np.float32(even), lane)
        else:
            if known != k:
                near, far = np.uint64(t + lower[b] * width), np.uint64(t + upper[b] * width)
                _margins(table, near, far, weight[b], tangent[b], lane)
            if soft:
                b1 = b + 1
                near, far = np.uint64(t + lower[b1] * width), np.uint64(t + upper[b1] * width)
                changed = _soft_light(table, near, far, weight[b1], tangent[b1], lane)
                known = k + 1
            else:
                changed = _hard_light(lane)
        if k > 0 and changed > 0:
            p = np.uint64((b - 1) * size)
            if parts:
                _add_parts(terms, p, elapsed[b - 1], lane)
            else:
                _add_whole(terms, p, elapsed[b - 1], lane)
        before = even


@njit(cache=True, nogil=True)
def _prepare_cells(scene, first, rows, dz_dx, dz_dy, edges, convergence, cells):  # type: ignore[no-untyped-def]
    """Properties of the cells of some rows, normals turned to true north, into `cells` (6, rows, width)."""
    for i in range(rows):
        start = scene.origin + (first + i) * scene.stride
        for block in range(len(edges) - 1):
            gamma = math.radians(convergence[first + i, block])
            cosine, sine = math.cos(gamma), math.sin(gamma)
            for j in range(edges[block], edges[block + 1]):
                z = scene.fine[start + j]
                if z == HOLE:
                    cells[N_UP, i, j] = 1.0
                    cells[KIND, i, j] = NO_DATA
                    continue
                p, q = dz_dx[i, j], dz_dy[i, j]
                steep = math.sqrt(p * p + q * q)
                up = 1.0 / math.sqrt(1.0 + steep * steep)
                slope = math.atan(steep)
                cells[N_EAST, i, j] = -up * (p * cosine + q * sine)
                cells[N_NORTH, i, j] = -up * (q * cosine - p * sine)
                cells[N_UP, i, j] = up
                cells[TILT, i, j] = steep * up - slope * up - 0.5 * math.pi * (1.0 - up)
                cells[SCALED, i, j] = scaled_elevation(z)
                cells[KIND, i, j] = FLAT if steep == 0.0 else TILTED


@njit(cache=True, nogil=True)
def _horizons(scene, first, rows, cols, dz_dx, dz_dy, east, north, shadows, table):  # type: ignore[no-untyped-def]
    """Horizon tangents of some rows, at least 0 and at least the cell's own slope, into flat `table`."""
    width = -(-cols // LANES) * LANES
    azimuths = len(east)
    ground = np.empty(width, np.float32)
    line = np.empty(BLOCK + 2 * scene.factor, np.float32)
    table[:] = np.float32(0.0)
    for i in range(rows):
        begin = i * azimuths * width
        for a in range(azimuths):
            for j in range(cols):
                own = np.float32(dz_dx[i, j] * east[a] + dz_dy[i, j] * north[a])
                # a comparison with the NaN of a hole is false
                table[begin + a * width + j] = own if own > _ZERO else _ZERO
        if shadows:
            row_ground(scene, first + i, cols, ground)
            march_row(scene, first + i, width, ground, line, table, begin)


@njit(cache=True, nogil=True)
def _bounds(table, t, width, size, low, high, c):  # type: ignore[no-untyped-def]
    """Lowest and highest horizon of a run of cells in each azimuth; returns the highest of all."""
    highest = _ZERO
    for a in range(low.shape[1]):
        least, most = table[t + a * width], table[t + a * width]
        for j in range(t + a * width, t + a * width + size):
            least = min(least, table[j])
            most = max(most, table[j])
        low[c, a], high[c, a] = least, most
        highest = max(highest, most)
    return highest


@njit(cache=True, nogil=True)
def _load_lanes(cells, i, left, size, albedo, albedo_map, row, lane):  # type: ignore[no-untyped-def]
    """Bring a run of cells into `lane`; the rest of the run is level ground."""
    lane[:] = _ZERO
    for j in range(size):
        col = left + j
        up = cells[N_UP, i, col]
        lane[Z + j] = cells[SCALED, i, col]
        lane[EAST + j] = cells[N_EAST, i, col]
        lane[NORTH + j] = cells[N_NORTH, i, col]
        lane[BEAM_UP + j] = up
        if cells[KIND, i, col] == TILTED:
            lane[DIFFUSE_UP + j] = up
            lane[ANISOTROPY + j] = cells[TILT, i, col]
            lane[SKY + j] = np.float32(0.5) * (_ONE + up)
            ground = albedo_map[row, col] if albedo_map.shape[0] > 0 else np.float32(albedo)
            lane[GROUND + j] = ground * np.float32(0.5) * (_ONE - up)


@njit(cache=True, nogil=True)
def _shaded(cells, i, col, ground):  # type: ignore[no-untyped-def]
    """Parts of the horizontal diffuse light that a shaded cell gets from the sky and from the ground."""
    if cells[KIND, i, col] == FLAT:
        return _ONE, _ZERO
    up = cells[N_UP, i, col]
    return np.float32(0.5) * (_ONE + up) + np.float32(SHADED_ANISOTROPY) * cells[TILT, i, col], ground


@njit(cache=True, nogil=True)
def _integrate(  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
    first,
    rows,
    strip_first,
    settings,
    edges,
    latitude,
    convergence,
    albedo,
    albedo_map,
    cells,
    table,
    width,
    monthly,
    daily,
):
    """Integrate core rows `first` to `first + rows`, which begin at row `first - strip_first` of the outputs."""
    azimuths = settings.azimuths
    runs = 0
    for block in range(len(edges) - 1):
        runs += -(-(edges[block + 1] - edges[block]) // LANES)
    low = np.empty((rows * runs, azimuths), np.float32)
    high = np.empty((rows * runs, azimuths), np.float32)
    highest = np.empty(rows * runs, np.float32)
    c = 0
    for i in range(rows):
        for block in range(len(edges) - 1):
            for left in range(edges[block], edges[block + 1], LANES):
                size = min(LANES, edges[block + 1] - left)
                highest[c] = _bounds(table, i * azimuths * width + left, width, size, low, high, c)
                highest[c] *= np.float32(1.00001)
                c += 1

    longest = 0
    for month in range(12):
        longest = max(longest, settings.month_start[month + 1] - settings.month_start[month])
    nodes = math.ceil(24.0 / settings.step) + 3
    tables = Tables(
        np.zeros(longest, np.int64),
        nodes,
        np.zeros(longest * nodes, np.float32),
        np.zeros(longest * nodes, np.float64),
        np.zeros(longest * nodes, np.float32),
        np.zeros(longest * nodes * MAX_TERMS, np.float32),
        np.zeros(longest, np.float64),
        np.zeros(longest * nodes, np.int64),
        np.zeros(longest * nodes, np.int64),
        np.zeros(longest * nodes, np.float32),
    )
    steps, tangent, elapsed, terms = tables.steps, tables.tangent, tables.elapsed, tables.terms
    lower, upper, weight, soft = tables.lower, tables.upper, tables.weight, settings.soft
    sums = np.empty(MAX_TERMS)
    beams, skies = np.empty((nodes, POLYNOMIAL_TERMS)), np.empty((nodes, POLYNOMIAL_TERMS))
    flat_terms = np.empty(POLYNOMIAL_TERMS, np.float32)
    lane = np.empty(LANE_SIZE, np.float32)
    for month in range(12):
        first_day = settings.month_start[month]
        days = settings.month_start[month + 1] - first_day
        if days == 0:
            _write_empty_month(cells, rows, edges[-1], monthly, month, first - strip_first)
            continue
        here = math.nan
        c = -1
        for i in range(rows):
            row = first + i
            out_row = row - strip_first
            for block in range(len(edges) - 1):
                if latitude[row, block] != here:
                    here = latitude[row, block]
                    for d in range(days):
                        day = settings.days[first_day + d]
                        share = settings.share[first_day + d]
                        _fill_day(tables, d, math.radians(here), day, share, settings, sums, beams, skies)
                _turn(tables, days, math.radians(convergence[row, block]), azimuths, settings.soft)
                for left in range(edges[block], edges[block + 1], LANES):
                    size = min(LANES, edges[block + 1] - left)
                    c += 1
                    t = i * azimuths * width + left
                    _load_lanes(cells, i, left, size, albedo[month], albedo_map, row, lane)
                    if settings.daily:
                        for d in range(days):
                            lane[LIT:] = _ZERO
                            if steps[d] > 0:
                                _add_day(
                                    table,
                                    t,
                                    width,
                                    low,
                                    high,
                                    c,
                                    highest[c],
                                    steps[d],
                                    d * nodes,
                                    tangent,
                                    lower,
                                    upper,
                                    weight,
                                    elapsed,
                                    terms,
                                    settings.daily,
                                    soft,
                                    lane,
                                )
                            _last_terms(tables, d, PARTS, flat_terms, True)
                            _write_day(
                                tables.diffuse[d],
                                flat_terms,
                                cells,
                                i,
                                left,
                                size,
                                lane,
                                daily,
                                settings.position[first_day + d],
                                monthly,
                                month,
                                out_row,
                                d == 0,
                            )
                    else:
                        diffuse = 0.0
                        for d in range(days):
                            lane[LIT : LIT + LANES] = _ZERO
                            if steps[d] > 0:
                                _add_day(
                                    table,
                                    t,
                                    width,
                                    low,
                                    high,
                                    c,
                                    highest[c],
                                    steps[d],
                                    d * nodes,
                                    tangent,
                                    lower,
                                    upper,
                                    weight,
                                    elapsed,
                                    terms,
                                    settings.daily,
                                    soft,
                                    lane,
                                )
                            _last_terms(tables, d, WHOLE, flat_terms, d == 0)
                            diffuse += tables.diffuse[d]
                        _write_month(diffuse, flat_terms, cells, i, left, size, lane, monthly, month, out_row)


@njit(cache=True, nogil=True)
def _last_terms(tables, d, polynomials, flat_terms, clear):  # type: ignore[no-untyped-def]
    """Add the beam of a whole day on level ground to `flat_terms`."""
    if clear:
        flat_terms[:] = _ZERO
    if tables.steps[d] > 0:
        last = (d * tables.nodes + tables.steps[d] - 1) * polynomials * POLYNOMIAL_TERMS
        for i in range(POLYNOMIAL_TERMS):
            flat_terms[i] += tables.terms[last + 2 * POLYNOMIAL_TERMS + i]


@njit(cache=True, nogil=True)
def _write_empty_month(cells, rows, cols, monthly, month, out_row):  # type: ignore[no-untyped-def]
    """Write a month without days: nothing, but holes stay holes."""
    for quantity in range(3):
        for i in range(rows):
            for col in range(cols):
                monthly[quantity, month, out_row + i, col] = np.nan if cells[KIND, i, col] == NO_DATA else _ZERO


@njit(cache=True, nogil=True)
def _write_month(diffuse, flat_terms, cells, i, left, size, lane, monthly, month, row):  # type: ignore[no-untyped-def]
    """Write one month of a run of cells."""
    for j in range(size):
        col = left + j
        if cells[KIND, i, col] == NO_DATA:
            for quantity in range(3):
                monthly[quantity, month, row, col] = np.nan
            continue
        from_sky, from_ground = _shaded(cells, i, col, lane[GROUND + j])
        monthly[0, month, row, col] = max(_ZERO, lane[FIRST + j] + np.float32(diffuse) * (from_sky + from_ground))
        monthly[1, month, row, col] = np.float32(diffuse) + _quintic(flat_terms, np.uint64(0), lane[Z + j])
        monthly[2, month, row, col] = max(_ZERO, lane[TIME + j])


@njit(cache=True, nogil=True)
def _write_day(  # type: ignore[no-untyped-def]
    diffuse, flat_terms, cells, i, left, size, lane, daily, day, monthly, month, row, first_of_month
):
    """Write one day of a run of cells, and add it to its month."""
    for j in range(size):
        col = left + j
        if cells[KIND, i, col] == NO_DATA:
            for quantity in range(5):
                daily[quantity, day, row, col] = np.nan
            for quantity in range(3):
                monthly[quantity, month, row, col] = np.nan
            continue
        from_sky, from_ground = _shaded(cells, i, col, lane[GROUND + j])
        beam = max(_ZERO, lane[FIRST + j])
        scattered = lane[SECOND + j] + np.float32(diffuse) * from_sky
        reflected = lane[THIRD + j] + np.float32(diffuse) * from_ground
        whole = beam + scattered + reflected
        hours = max(_ZERO, lane[TIME + j])
        flat = np.float32(diffuse) + _quintic(flat_terms, np.uint64(0), lane[Z + j])
        daily[0, day, row, col] = whole
        daily[1, day, row, col] = beam
        daily[2, day, row, col] = scattered
        daily[3, day, row, col] = hours
        daily[4, day, row, col] = flat
        if first_of_month:
            monthly[0, month, row, col] = whole
            monthly[1, month, row, col] = flat
            monthly[2, month, row, col] = hours
        else:
            monthly[0, month, row, col] += whole
            monthly[1, month, row, col] += flat
            monthly[2, month, row, col] += hours


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


def _rows(job: _Job, first: int, rows: int, strip_first: int, monthly: np.ndarray, daily: np.ndarray) -> None:
    """Compute some rows of the core into the outputs of their strip."""
    top, _, left, cols = job.window
    row, col = max(0, top + first - 1), max(0, left - 1)
    near = np.ascontiguousarray(job.elevation[row : top + first + rows + 1, col : left + cols + 1])
    dz_dx, dz_dy = horn(near, job.dx, job.dy)
    i, j = top + first - row, left - col
    dz_dx, dz_dy = (np.ascontiguousarray(part[i : i + rows, j : j + cols]) for part in (dz_dx, dz_dy))
    width = -(-cols // LANES) * LANES
    cells = np.zeros((6, rows, width), np.float32)
    _prepare_cells(job.scene, first, rows, dz_dx, dz_dy, job.edges, job.convergence, cells)
    azimuths = job.settings.azimuths
    # a run of cells may begin anywhere and reads LANES cells
    table = np.empty(rows * azimuths * width + LANES, np.float32)
    east, north = level_samples(azimuths)
    _horizons(job.scene, first, rows, cols, dz_dx, dz_dy, east, north, job.settings.shadows, table)
    _integrate(
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


def _start(
    pool: ThreadPoolExecutor, job: _Job, first: int, rows: int
) -> tuple[slice, np.ndarray, np.ndarray, list[Future[None]]]:
    """Begin a strip."""
    cols = job.window[3]
    monthly = np.empty((3, 12, rows, cols), np.float32)
    daily = np.empty((5, len(job.settings.days), rows, cols) if job.settings.daily else (0, 0, 0, 0), np.float32)
    tasks = [
        pool.submit(_rows, job, row, min(ROWS_AT_ONCE, first + rows - row), first, monthly, daily)
        for row in range(first, first + rows, ROWS_AT_ONCE)
    ]
    return slice(first, first + rows), monthly, daily, tasks


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
        counts in part, terrain is interpolated. "grass": r.sun's clock grid, hard shadow edges, nearest cells.
    shadows : bool
        Whether terrain casts shadows. A slope that faces away from the sun is dark in either case.
    azimuths : int
        Directions of the horizon, interpolated between.
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
        plus diffuse plus ground-reflected; flat is a level, unshaded surface at the cell's elevation. NaN in holes.
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
    )
    return _run(job, strip_rows, threads)


def _run(job: _Job, strip_rows: int, threads: int | None) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    rows = job.window[1]
    with workers(threads) as pool:
        for first in range(0, rows, strip_rows):
            where, monthly, daily, tasks = _start(pool, job, first, min(strip_rows, rows - first))
            for task in tasks:
                task.result()
            maps = dict(zip(MONTHLY, monthly, strict=True))
            if job.settings.daily:
                maps |= dict(zip(DAILY, daily, strict=True))
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
