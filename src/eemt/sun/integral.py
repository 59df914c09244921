"""The daily sum of the sun on terrain, and the tables of the sun's path that it is made with.

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
from typing import NamedTuple

import numpy as np
from numba import njit

from eemt.sun.clearsky import POLYNOMIAL_TERMS, beam_polynomials, diffuse_kernel, scaled_elevation
from eemt.sun.horizon import (
    BLOCK,
    HOLE,
    LANES,
    march_row,
    row_ground,
)
from eemt.sun.position import (
    HOUR_ANGLE,
    declination_kernel,
    direction_kernel,
    extraterrestrial_kernel,
    sunset_kernel,
)

TANGENT_LIMIT = 1.0e4  # the sun within 0.006 degrees of the zenith

# Muneer 1990: diffuse light on a slope
SHADED_ANISOTROPY = 0.252271
LIT_ANISOTROPY = 0.00263 - SHADED_ANISOTROPY
LOW_SUN = 0.1  # rad

# properties of a cell, for `cells`
N_EAST, N_NORTH, N_UP, TILT, SCALED, KIND, VIEW = range(7)
PROPERTIES = 7
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

# what bounds the horizons of a run of cells in an azimuth, and between it and the next
LOW, HIGH, FLOOR, CEILING = range(4)
ROUNDING = np.float32(1.0e-5)

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
            place = tables.azimuth[node] - shift
            if place < 0.0:
                place += azimuths
            elif place >= azimuths:
                place -= azimuths
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
    """Light of a step from the margins at its two ends."""
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


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _hard_light(lane):  # type: ignore[no-untyped-def]
    """Light of a step from the margin at its one sample."""
    for j in range(_LANES):
        lit = _ONE if lane[_MARGIN + j] >= _ZERO else _ZERO
        change = lane[_LIT + j] - lit
        lane[_CHANGE + j] = change
        lane[_LIT + j] = lit


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _even_light(lit, lane):  # type: ignore[no-untyped-def]
    """Light of a step that is the same in all cells."""
    for j in range(_LANES):
        change = lane[_LIT + j] - lit
        lane[_CHANGE + j] = change
        lane[_LIT + j] = lit


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
def _evenness(bounds, c, tangent, lower, upper, weight):  # type: ignore[no-untyped-def]
    """1 where the sun surely stands above the horizon of all cells of the run, 0 where below, 2 where neither."""
    if tangent > bounds[CEILING, c, lower]:
        return 1
    if tangent < bounds[FLOOR, c, lower]:
        return 0
    near, far = bounds[HIGH, c, lower], bounds[HIGH, c, upper]
    if tangent > near + weight * (far - near):
        return 1
    near, far = bounds[LOW, c, lower], bounds[LOW, c, upper]
    if tangent < near + weight * (far - near):
        return 0
    return 2


@njit(cache=True, nogil=True)
def _add_day(  # type: ignore[no-untyped-def] # noqa: PLR0912
    table,
    t,
    width,
    bounds,
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
    following = _evenness(bounds, c, tangent[base], lower[base], upper[base], weight[base])
    k = -1
    while k < steps:
        k += 1
        b = base + k
        even = following
        if k == steps:
            even = 0
        elif soft or k + 1 < steps:
            b1 = b + 1
            if soft and before == 1 and even == 1 and 2 * k < steps - 4 and tangent[b1] > highest:
                # until the sun is as low again in the afternoon nothing changes
                k = steps - k - 2
                b, b1 = base + k, base + k + 1
            following = _evenness(bounds, c, tangent[b1], lower[b1], upper[b1], weight[b1])
            if soft and even != following:
                even = 2
        if even != 2:
            if even == before:
                continue
            _even_light(np.float32(even), lane)
        else:
            if known != k:
                near, far = np.uint64(t + lower[b] * width), np.uint64(t + upper[b] * width)
                _margins(table, near, far, weight[b], tangent[b], lane)
            if soft:
                b1 = b + 1
                near, far = np.uint64(t + lower[b1] * width), np.uint64(t + upper[b1] * width)
                _soft_light(table, near, far, weight[b1], tangent[b1], lane)
                known = k + 1
            else:
                _hard_light(lane)
        if k > 0:
            p = np.uint64((b - 1) * size)
            if parts:
                _add_parts(terms, p, elapsed[b - 1], lane)
            else:
                _add_whole(terms, p, elapsed[b - 1], lane)
        before = even


@njit(cache=True, nogil=True)
def prepare_cells(scene, first, rows, dz_dx, dz_dy, edges, convergence, cells):  # type: ignore[no-untyped-def]
    """Properties of the cells of some rows, normals turned to true north, into `cells` (7, rows, width)."""
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
                cells[VIEW, i, j] = 0.5 * (1.0 + up)


@njit(cache=True, nogil=True)
def horizons(scene, first, rows, cols, dz_dx, dz_dy, east, north, shadows, table):  # type: ignore[no-untyped-def]
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
def _bounds(table, t, width, size, bounds, c):  # type: ignore[no-untyped-def]
    """Lowest and highest horizon of a run of cells in each azimuth, and from each azimuth to the next.

    All are moved apart by more than the rounding error of the cells' own interpolation.
    """
    azimuths = bounds.shape[2]
    for a in range(azimuths):
        least, most = table[t + a * width], table[t + a * width]
        for j in range(t + a * width, t + a * width + size):
            least = min(least, table[j])
            most = max(most, table[j])
        bounds[LOW, c, a] = least - ROUNDING * (_ONE + least)
        bounds[HIGH, c, a] = most + ROUNDING * (_ONE + most)
    highest = _ZERO
    for a in range(azimuths):
        after = a + 1 if a + 1 < azimuths else 0
        bounds[FLOOR, c, a] = min(bounds[LOW, c, a], bounds[LOW, c, after])
        bounds[CEILING, c, a] = max(bounds[HIGH, c, a], bounds[HIGH, c, after])
        highest = max(highest, bounds[HIGH, c, a])
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
            lane[SKY + j] = cells[VIEW, i, col]
            ground = albedo_map[row, col] if albedo_map.shape[0] > 0 else np.float32(albedo)
            lane[GROUND + j] = ground * np.float32(0.5) * (_ONE - up)
        elif cells[KIND, i, col] == FLAT:
            # the light around the sun comes whole, however little of the sky is in view
            lane[SKY + j] = cells[VIEW, i, col] - _ONE


@njit(cache=True, nogil=True)
def _shaded(cells, i, col, ground):  # type: ignore[no-untyped-def]
    """Parts of the horizontal diffuse light that a shaded cell gets from the sky and from the ground."""
    if cells[KIND, i, col] == FLAT:
        return cells[VIEW, i, col], _ZERO
    return cells[VIEW, i, col] + np.float32(SHADED_ANISOTROPY) * cells[TILT, i, col], ground


@njit(cache=True, nogil=True)
def _alike(latitude, convergence, row, end):  # type: ignore[no-untyped-def]
    """Return the first row after `row` whose sun is another in some block, at most `end`."""
    following = row + 1
    while following < end:
        for block in range(latitude.shape[1]):
            if latitude[following, block] != latitude[row, block]:
                return following
            if convergence[following, block] != convergence[row, block]:
                return following
        following += 1
    return end


@njit(cache=True, nogil=True)
def integrate(  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915
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
    runs_before = np.empty(len(edges) - 1, np.int64)
    for block in range(len(edges) - 1):
        runs_before[block] = runs
        runs += -(-(edges[block + 1] - edges[block]) // LANES)
    bounds = np.empty((4, rows * runs, azimuths), np.float32)
    highest = np.empty(rows * runs, np.float32)
    c = 0
    for i in range(rows):
        for block in range(len(edges) - 1):
            for left in range(edges[block], edges[block + 1], LANES):
                size = min(LANES, edges[block + 1] - left)
                highest[c] = _bounds(table, i * azimuths * width + left, width, size, bounds, c)
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
        here, turned = math.nan, math.nan
        top = 0
        while top < rows:
            bottom = _alike(latitude, convergence, first + top, first + rows) - first
            for block in range(len(edges) - 1):
                if latitude[first + top, block] != here:
                    here, turned = latitude[first + top, block], math.nan
                    for d in range(days):
                        day = settings.days[first_day + d]
                        share = settings.share[first_day + d]
                        _fill_day(tables, d, math.radians(here), day, share, settings, sums, beams, skies)
                if convergence[first + top, block] != turned:
                    turned = convergence[first + top, block]
                    _turn(tables, days, math.radians(turned), azimuths, settings.soft)
                for i in range(top, bottom):
                    row = first + i
                    out_row = row - strip_first
                    c = i * runs + runs_before[block] - 1
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
                                        bounds,
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
                                        bounds,
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

            top = bottom


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
