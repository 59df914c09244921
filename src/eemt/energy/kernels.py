"""All months of a strip of cells in one pass: the formulas of this package, compiled.

Each function does for one number what its namesake in `eemt.energy.evaporation`,
`eemt.energy.productivity` and `eemt.energy.eemt` does for arrays; sources stand there, and tests
hold the two together. Arrays are float32 and arithmetic is float64: numba's ``float()`` leaves a
float32 as it is, ``np.float64()`` does not.
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from eemt.constants import (
    AIR_HEAT_CAPACITY,
    AIR_MOLAR_MASS,
    CANOPY_CONDUCTANCES,
    DRY_AIR_GAS_CONSTANT,
    FREEZING_POINT,
    GAS_CONSTANT,
    GRASS_AIR_RESISTANCE,
    GRASS_RESISTANCE,
    GRAVITY,
    LAI_MAXIMUM,
    LATENT_HEAT,
    LEAST_CANOPY_HEIGHT,
    LEAST_WIND,
    LIETH_MAXIMUM,
    NPP_CANOPY_LIMIT,
    NPP_ELEVATION_RANGE,
    OPEN_WATER_ROUGHNESS,
    SATURATION_AT_ZERO,
    SEA_LEVEL_PRESSURE,
    SEA_LEVEL_TEMPERATURE,
    SECONDS_IN_DAY,
    SOLAR_WARMING,
    STEFAN_BOLTZMANN,
    VAPOUR_MOLECULAR_RATIO,
    VON_KARMAN,
    WIND_HEIGHT,
)

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

TRAD, TOPO, VEG = 0, 1, 2
HAMON, THORNTHWAITE, PENMAN, PENMAN_MONTEITH = 0, 1, 2, 3
LAYERS = ("eppt", "ebio", "pet", "aet", "peff", "npp", "temperature")
COUNTS = (
    "dry_month",
    "dry_year",
    "rainless_month",
    "solar_ratio_clamped",
    "mcwi_clipped",
    "elevation_out_of_range",
    "canopy_out_of_range",
    "npp_floor_used",
    "lai_clipped",
    "aet_limited",
    "without_vegetation",
)
STILL = ("elevation", "northness", "share", "height", "slope")  # inputs without months
_UNITS = 1e6  # in 1 mm
WATER_UNIT = 1.0 / _UNITS  # mm; sums of whole numbers do not depend on their order, nor on how land is cut into tiles

_OPEN_WATER = 4.72 * math.log(WIND_HEIGHT / OPEN_WATER_ROUGHNESS) ** 2
_SCALE_HEIGHT = GAS_CONSTANT * SEA_LEVEL_TEMPERATURE / (GRAVITY * AIR_MOLAR_MASS)  # m
_LOG_2, _LOG2_E = math.log(2.0), 1.0 / math.log(2.0)
_ROUNDING = 1.5 * 2.0**52  # added to a number, it leaves no room for a fraction
_ROUNDING_BITS = int(np.float64(_ROUNDING).view(np.int64))
_ROOT_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))
_LOW, _HIGH = NPP_ELEVATION_RANGE
_BARE, _DENSE = CANOPY_CONDUCTANCES


class Rules(NamedTuple):
    """What is computed, in numbers that kernels take; meanings stand with `eemt.energy.eemt.Choices`."""

    method: int
    pet: int
    fao56: bool
    clearness: float
    omega: float
    annual_budyko: bool
    split_by_warmth: bool
    cold_npp: bool
    least_ratio: float
    greatest_ratio: float
    npp_floor: float
    centred: bool
    reference: float  # degC
    heat_capacity: float
    enthalpy: float
    pressure_gradient: float
    vapour_of_tmin: bool = False  # vapour pressure is that of saturation at the minimum temperature
    all_layers: bool = True  # or the first two alone


class Strip(NamedTuple):
    """Inputs of some rows of cells, float32: (12, rows, columns), or (rows, columns) without months.

    ``hours`` is (12, rows, blocks) in float64, and ``block`` the block of each column.
    """

    tmin: Floats
    tmax: Floats
    rain: Floats
    vapour: Floats
    sun: Floats
    flat_sun: Floats
    leaves: Floats
    elevation: Floats
    northness: Floats
    share: Floats
    height: Floats
    slope: Floats
    hours: Doubles
    block: Counts


@njit(cache=True, nogil=True, forceinline=True, error_model="numpy")
def _at_least(value: float, bound: float) -> float:
    # not max(), which may lose NaN
    return bound if value < bound else value


@njit(cache=True, nogil=True, forceinline=True, error_model="numpy")
def _exp(x: float) -> float:
    """Return e to a power, to 2e-10 of it, by arithmetic that compilers turn into vector instructions."""
    x = -700.0 if x < -700.0 else x
    x = 700.0 if x > 700.0 else x
    shifted = x * _LOG2_E + _ROUNDING  # the nearest whole number stands in the lowest bits
    r = x - (shifted - _ROUNDING) * _LOG_2
    p = 1.0 / 120 + r * (1.0 / 720 + r * (1.0 / 5040 + r / 40320))
    p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6 + r * (1.0 / 24 + r * p))))
    return np.int64(np.float64(p).view(np.int64) + (np.float64(shifted).view(np.int64) << 52)).view(np.float64)


@njit(cache=True, nogil=True, forceinline=True, error_model="numpy")
def _log(x: float) -> float:
    """Return the natural logarithm of a number, to 2e-11; of zero -709, of NaN anything."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits - _ROOT_HALF) >> 52
    m = np.int64(bits - (exponent << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    series = 1.0 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q / 11))))
    return exponent * _LOG_2 + 2.0 * s * series


@njit(cache=True, nogil=True, forceinline=True, error_model="numpy")
def _saturation(t: float) -> float:
    pressure: float = SATURATION_AT_ZERO * _exp(17.27 * t / (t + 237.3))
    return pressure


@njit(cache=True, nogil=True, forceinline=True, error_model="numpy")
def _lieth(t: float) -> float:
    npp: float = LIETH_MAXIMUM / (1.0 + _exp(1.315 - 0.119 * t))
    return npp


@njit(cache=True, nogil=True, forceinline=True, error_model="numpy")
def _hamon(low: float, high: float, hours: float) -> float:
    t = (low + high) / 2.0
    pet: float = 29.8 * hours * (_saturation(low) + _saturation(high)) / 2.0 / (t + 273.2)
    return 0.0 * pet if t <= 0.0 else pet


@njit(cache=True, nogil=True, forceinline=True, error_model="numpy")
def _zhang(rain: float, pet: float, omega: float) -> float:
    lesser, greater = (rain, pet) if rain < pet else (pet, rain)
    power = _exp(omega * _log(lesser / greater))
    aet = lesser - greater * (_exp(_log(1.0 + power) / omega) - 1.0)
    aet = 0.0 if aet < 0.0 or greater == 0.0 else aet
    return aet + 0.0 * (rain + pet)


@njit(cache=True, nogil=True)
def _canopy_air_resistance(height: float, wind: float) -> float:
    canopy, speed = _at_least(height, LEAST_CANOPY_HEIGHT), _at_least(wind, LEAST_WIND)
    above = WIND_HEIGHT + (1.0 - 0.67) * canopy
    profiles = math.log(above / (0.123 * canopy)) * math.log(above / (0.0123 * canopy))
    resistance: float = profiles / (VON_KARMAN**2 * speed)
    return resistance


@njit(cache=True, nogil=True)
def _surface_resistance(leaves: float) -> float:
    share = _at_least(leaves / LAI_MAXIMUM, 0.0)
    share = 1.0 if share > 1.0 else share
    return 1.0 / (_BARE + (_DENSE - _BARE) * share * (2.0 - share))


@njit(cache=True, nogil=True, error_model="numpy")
def _warm_by_sun(strip: Strip, row: int, rules: Rules, warm: Doubles, count: Counts) -> None:
    """Write the maximum temperature of a row's cells; count ratios that are out of bounds."""
    months, cols = warm.shape
    if rules.method == TRAD:
        for month in range(months):
            for col in range(cols):
                warm[month, col] = strip.tmax[month, row, col]
        return
    shade, outside = np.ones(cols), np.zeros(cols)
    least, greatest = rules.least_ratio, rules.greatest_ratio
    for month in range(months):
        high, suns, flats = strip.tmax[month, row], strip.sun[month, row], strip.flat_sun[month, row]
        if rules.method == VEG:
            for col in range(cols):
                leaves = np.float64(strip.leaves[month, row, col])
                shade[col] = 1.0 - (1.0 if leaves > LAI_MAXIMUM else leaves / LAI_MAXIMUM)
        for col in range(cols):
            sun, flat = np.float64(suns[col]), np.float64(flats[col])
            ratio: float = (1.0 + 0.0 * sun) if flat == 0.0 else sun / flat
            outside[col] = 1.0 if ratio < least or ratio > greatest else outside[col]
            ratio = least if ratio < least else ratio
            ratio = greatest if ratio > greatest else ratio
            warm[month, col] = np.float64(high[col]) + SOLAR_WARMING * (ratio - 1.0 / ratio) * shade[col]
    count[3] += np.int64(outside.sum())


@njit(cache=True, nogil=True, error_model="numpy")
def _hamon_months(strip: Strip, row: int, days: Doubles, warm: Doubles, demand: Doubles) -> None:
    months, cols = warm.shape
    hours = np.empty(cols)
    for month in range(months):
        low, high, length = strip.tmin[month, row], warm[month], days[month]
        for col in range(cols):
            hours[col] = strip.hours[month, row, strip.block[col]]
        for col in range(cols):
            demand[month, col] = _hamon(np.float64(low[col]), high[col], hours[col]) * length


@njit(cache=True, nogil=True)
def _thornthwaite(strip: Strip, row: int, days: Doubles, t: Doubles, demand: Doubles) -> None:
    months, cols = t.shape
    for col in range(cols):
        heat = 0.0
        for month in range(months):
            heat += math.pow(_at_least(t[month, col], 0.0) / 5.0, 1.514)
        exponent = 6.75e-7 * heat**3 - 7.71e-5 * heat**2 + 1.792e-2 * heat + 0.49239
        for month in range(months):
            warmth = _at_least(t[month, col], 0.0)
            ratio = 10.0 * warmth / heat if heat != 0.0 else 0.0 * warmth
            hours = strip.hours[month, row, strip.block[col]]
            demand[month, col] = 16.0 * (hours / 12.0) * (days[month] / 30.0) * math.pow(ratio, exponent)


@njit(cache=True, nogil=True, error_model="numpy")
def _vapour(strip: Strip, row: int, month: int, rules: Rules, vapour: Doubles) -> None:
    low, given = strip.tmin[month, row], strip.vapour[month, row]
    if rules.vapour_of_tmin:
        for col in range(len(vapour)):
            vapour[col] = 1000.0 * _saturation(np.float64(low[col]))
    else:
        for col in range(len(vapour)):
            vapour[col] = given[col]


@njit(cache=True, nogil=True, error_model="numpy")
def _net_radiation(
    sun: Floats, share: Doubles, low: Floats, high: Doubles, vapour: Doubles, longwave: float, net: Doubles
) -> None:
    """Write a month's net radiation [W m-2] of a row's cells, of which `share` is what is absorbed of 1 Wh."""
    for col in range(len(net)):
        powers = ((high[col] + 273.16) ** 4 + (np.float64(low[col]) + 273.16) ** 4) / 2.0
        humidity = 0.34 - 0.14 * math.sqrt(vapour[col] / 1000.0)
        net[col] = np.float64(sun[col]) * share[col] - longwave * powers * humidity


@njit(cache=True, nogil=True, error_model="numpy")
def _combined(
    t: Doubles,
    deficit: Doubles,
    gamma: Doubles,
    pressure: Doubles,
    air: Doubles,
    surface: Doubles,
    seconds: float,
    demand: Doubles,
) -> None:
    """Turn a month's net radiation of a row's cells, in `demand`, into evaporation [mm]."""
    # loops over more arrays than these seven are not made into vector instructions
    for col in range(len(demand)):
        slope = 0.04145 * _exp(0.06088 * t[col]) * 1000.0
        density = pressure[col] / (DRY_AIR_GAS_CONSTANT * (t[col] + FREEZING_POINT))
        drying = density * AIR_HEAT_CAPACITY * deficit[col] / air[col]
        resisted = LATENT_HEAT * (slope + gamma[col] * (1.0 + surface[col] / air[col]))
        demand[col] = _at_least((slope * demand[col] + drying) / resisted * seconds, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _resistances(
    strip: Strip, row: int, month: int, rules: Rules, wind: float, canopy_air: Doubles, air: Doubles, surface: Doubles
) -> None:
    """Write the resistances of the air and of the surface [s m-1] of a row's cells."""
    if rules.pet == PENMAN:
        air[:], surface[:] = _OPEN_WATER / (1.0 + 0.536 * wind), 0.0
    elif rules.method == VEG:
        for col in range(len(air)):
            air[col] = canopy_air[col] / max(wind, LEAST_WIND)
            surface[col] = _surface_resistance(np.float64(strip.leaves[month, row, col]))
    else:
        air[:], surface[:] = GRASS_AIR_RESISTANCE / max(wind, LEAST_WIND), GRASS_RESISTANCE


@njit(cache=True, nogil=True, error_model="numpy")
def _of_the_place(
    strip: Strip, row: int, rules: Rules, pressure: Doubles, gamma: Doubles, tilt: Doubles, canopy_air: Doubles
) -> None:
    """Write what does not change from month to month."""
    for col in range(len(pressure)):
        z = np.float64(strip.elevation[row, col])
        pressure[col] = SEA_LEVEL_PRESSURE * _exp(-z / _SCALE_HEIGHT)
        standard = 101.3 * math.pow((293.0 - rules.pressure_gradient * z) / 293.0, 5.26)
        gamma[col] = AIR_HEAT_CAPACITY * standard / (VAPOUR_MOLECULAR_RATIO * LATENT_HEAT) * 1000.0
        tilt[col] = 1.0 if rules.method == TRAD else math.cos(math.radians(np.float64(strip.slope[row, col])))
        if rules.pet == PENMAN_MONTEITH and rules.method == VEG:
            canopy_air[col] = _canopy_air_resistance(np.float64(strip.height[row, col]), 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _penman(
    strip: Strip,
    row: int,
    rules: Rules,
    days: Doubles,
    wind: Doubles,
    albedo: Doubles,
    warm: Doubles,
    t: Doubles,
    demand: Doubles,
) -> None:
    """Penman's equation over open water, or that of Monteith over grass or the plants that are there."""
    months, cols = warm.shape
    pressure, gamma, tilt, canopy_air = np.empty(cols), np.empty(cols), np.empty(cols), np.empty(cols)
    share, vapour, deficit = np.empty(cols), np.empty(cols), np.empty(cols)
    air, surface = np.empty(cols), np.empty(cols)
    _of_the_place(strip, row, rules, pressure, gamma, tilt, canopy_air)
    longwave = STEFAN_BOLTZMANN * (1e6 / SECONDS_IN_DAY) * (1.35 * rules.clearness - 0.35) if rules.fao56 else 0.0
    for month in range(months):
        low, high = strip.tmin[month, row], warm[month]
        sunshine = strip.flat_sun[month, row] if rules.method == TRAD else strip.sun[month, row]
        for col in range(cols):
            share[col] = (1.0 - albedo[month]) / tilt[col] / (24.0 * days[month])
        _vapour(strip, row, month, rules, vapour)
        _net_radiation(sunshine, share, low, high, vapour, longwave, demand[month])
        for col in range(cols):
            saturated = (_saturation(np.float64(low[col])) + _saturation(high[col])) / 2.0 * 1000.0
            deficit[col] = _at_least(saturated - vapour[col], 0.0)
        _resistances(strip, row, month, rules, wind[month], canopy_air, air, surface)
        _combined(t[month], deficit, gamma, pressure, air, surface, SECONDS_IN_DAY * days[month], demand[month])


@njit(cache=True, nogil=True, error_model="numpy")
def _share_of_year(strip: Strip, row: int, omega: float, demand: Doubles, aet: Doubles) -> None:
    """Evaporate the same share of every month's rain, that of the year."""
    months, cols = demand.shape
    for col in range(cols):
        year, year_demand = 0.0, 0.0
        for month in range(months):
            year += np.float64(strip.rain[month, row, col])
            year_demand += demand[month, col]
        share = _zhang(year, year_demand, omega) / (year if year != 0.0 else 1.0)
        for month in range(months):
            aet[month, col] = np.float64(strip.rain[month, row, col]) * share


@njit(cache=True, nogil=True, error_model="numpy")
def _evaporated(strip: Strip, row: int, rules: Rules, demand: Doubles, aet: Doubles, count: Counts) -> None:
    """Actual evaporation of a row's cells; count the months without water."""
    months, cols = demand.shape
    capped = rules.method == TRAD or (rules.method == VEG and rules.pet == PENMAN_MONTEITH)
    dry, rainless, limited = np.zeros(cols), np.zeros(cols), np.zeros(cols)
    for month in range(months):
        rains, need, taken = strip.rain[month, row], demand[month], aet[month]
        for col in range(cols):
            rain = np.float64(rains[col])
            dry[col] += 1.0 if rain <= need[col] else 0.0
            rainless[col] = 1.0 if rain == 0.0 else rainless[col]
            limited[col] = 1.0 if need[col] > rain else limited[col]
        if capped:
            for col in range(cols):
                rain = np.float64(rains[col])
                taken[col] = rain if need[col] > rain else need[col] + 0.0 * rain
        elif not rules.annual_budyko:
            omega = rules.omega
            for col in range(cols):
                taken[col] = _zhang(np.float64(rains[col]), need[col], omega)
    if rules.annual_budyko and not capped:
        _share_of_year(strip, row, rules.omega, demand, aet)
    if rules.method == TRAD:
        count[0] += (dry > 0).sum()
        count[1] += (dry == months).sum()
    else:
        count[2] += (rainless > 0).sum()
        count[9] += (limited > 0).sum() if capped else 0


@njit(cache=True, nogil=True)
def _annual_npp(strip: Strip, row: int, col: int, rules: Rules, count: Counts) -> float:
    """Productivity of a year [g m-2]; count the cells where it is taken beyond its fit."""
    z = np.float64(strip.elevation[row, col])
    if rules.method == TOPO:
        npp: float = 0.39 * z + 346.0 * np.float64(strip.northness[row, col]) - 187.0
        count[5] += z < _LOW or z > _HIGH
    else:
        h = np.float64(strip.height[row, col])
        loss = 0.61 * (h - 12.0933) ** 2 if rules.centred else (0.61 * h - 12.0933) ** 2
        npp = 196.0 + 36.0 * h - loss
        leaves, bare = 0.0, False
        for month in range(strip.leaves.shape[0]):
            leaves += np.float64(strip.leaves[month, row, col])
            bare |= strip.leaves[month, row, col] <= 0.0
        count[6] += h > NPP_CANOPY_LIMIT
        count[8] += bare
        count[10] += math.isfinite(z) and math.isnan(h + leaves)
    count[4] += strip.share[row, col] <= 0.0
    if npp < rules.npp_floor:
        count[7] += 1
        npp = rules.npp_floor
    return npp + 0.0 * z


@njit(cache=True, nogil=True, error_model="numpy")
def _monthly_npp(
    strip: Strip, row: int, rules: Rules, days: Doubles, t: Doubles, aet: Doubles, npp: Doubles, count: Counts
) -> None:
    months, cols = t.shape
    year = 366.0 if days.sum() == 366.0 else 365.0
    if rules.method == TRAD:
        coldest = -math.inf if rules.cold_npp else 0.0
        for month in range(months):
            rain, taken, warmth, grown = strip.rain[month, row], aet[month], t[month], npp[month]
            share = days[month] / year
            for col in range(cols):
                left = np.float64(rain[col]) - taken[col]
                growth = _lieth(warmth[col]) * share
                grown[col] = growth if left > 0.0 and warmth[col] > coldest else 0.0 * left
        return
    annual, season = np.empty(cols), np.zeros(cols)
    for col in range(cols):
        annual[col] = _annual_npp(strip, row, col, rules, count)
        if rules.split_by_warmth:
            for month in range(months):
                if not t[month, col] <= 0.0:
                    season[col] += _lieth(t[month, col]) * days[month]
    for month in range(months):
        share = days[month] / year
        for col in range(cols):
            npp[month, col] = annual[col] * share
        if rules.split_by_warmth:
            for col in range(cols):
                if season[col] != 0.0:
                    grows = 0.0 if t[month, col] <= 0.0 else _lieth(t[month, col]) * days[month]
                    npp[month, col] = annual[col] * (grows / season[col])


@njit(cache=True, nogil=True, error_model="numpy")
def _add_water(peff: Doubles, moved: Doubles, month: int, water: Counts) -> None:
    """Add a row's water in whole units, to the nearest."""
    kept, spread = np.int64(0), np.int64(0)
    for col in range(len(peff)):
        known = moved[col] == moved[col]
        left = (peff[col] if known else 0.0) * _UNITS + _ROUNDING
        gone = (moved[col] if known else 0.0) * _UNITS + _ROUNDING
        kept += np.float64(left).view(np.int64) - _ROUNDING_BITS
        spread += np.float64(gone).view(np.int64) - _ROUNDING_BITS
    water[0, month] += kept
    water[1, month] += spread


@njit(cache=True, nogil=True, error_model="numpy")
def _write(
    strip: Strip,
    row: int,
    rules: Rules,
    t: Doubles,
    demand: Doubles,
    aet: Doubles,
    npp: Doubles,
    out: Floats,
    water: Counts,
) -> None:
    """Write a row's layers, and add its water."""
    months, cols = t.shape
    share, peff, moved = np.ones((3, cols))
    if rules.method != TRAD:
        share[:] = strip.share[row]
    heat, enthalpy, reference = rules.heat_capacity * 1e-6, rules.enthalpy * 1e-9, rules.reference
    for month in range(months):
        rain, taken, warmth, grown = strip.rain[month, row], aet[month], t[month], npp[month]
        eppt, ebio = out[0, month, row], out[1, month, row]
        for col in range(cols):
            peff[col] = np.float64(rain[col]) - taken[col]
            moved[col] = peff[col] * share[col]
        for col in range(cols):
            eppt[col] = moved[col] * (heat * _at_least(warmth[col] - reference, 0.0))
            ebio[col] = grown[col] * enthalpy
        _add_water(peff, moved, month, water)
        if rules.all_layers:
            out[2, month, row] = demand[month]
            out[3, month, row] = taken
            out[4, month, row] = peff
            out[5, month, row] = grown
            out[6, month, row] = warmth


@njit(cache=True, nogil=True)
def transfer(
    strip: Strip, rules: Rules, days: Doubles, wind: Doubles, albedo: Doubles, out: Floats, water: Counts
) -> Counts:
    """Compute one method for one year.

    Parameters
    ----------
    strip : Strip
        What the method does not need may hold anything.
    rules : Rules
    days, wind, albedo : (12,) array of float64
        Days in each month; wind speed [m s-1]; reflectance of the evaporating surface [-].
    out : (7, 12, rows, columns) array of float32
        Is filled with the `LAYERS`, or with the first two of them where `Rules.all_layers` is false.
    water : (2, 12) array of int64
        To which are added effective precipitation, and the same times the wetness index, of the
        cells that have both, in `WATER_UNIT`.

    Returns
    -------
    (11,) array of int64
        Cells outside the model's domain, by `COUNTS`.
    """
    _, months, rows, cols = out.shape
    count = np.zeros(11, dtype=np.int64)
    warm, t, demand = np.empty((months, cols)), np.empty((months, cols)), np.empty((months, cols))
    aet, npp = np.empty((months, cols)), np.empty((months, cols))
    for row in range(rows):
        _warm_by_sun(strip, row, rules, warm, count)
        for month in range(months):
            for col in range(cols):
                t[month, col] = (np.float64(strip.tmin[month, row, col]) + warm[month, col]) / 2.0
        if rules.pet == HAMON:
            _hamon_months(strip, row, days, warm, demand)
        elif rules.pet == THORNTHWAITE:
            _thornthwaite(strip, row, days, t, demand)
        else:
            _penman(strip, row, rules, days, wind, albedo, warm, t, demand)
        _evaporated(strip, row, rules, demand, aet, count)
        _monthly_npp(strip, row, rules, days, t, aet, npp, count)
        _write(strip, row, rules, t, demand, aet, npp, out, water)
    return count


def load() -> None:
    """Load, or compile, what `transfer` needs, before it is wanted; another thread may read files meanwhile."""
    months, cells = np.zeros((12, 1, 1), dtype=np.float32), np.zeros((1, 1), dtype=np.float32)
    hours, block = np.zeros((12, 1, 1)), np.zeros(1, dtype=np.int64)
    layers = {name: cells if name in STILL else months for name in Strip._fields[:-2]}
    still = np.ones(12)
    rules = Rules(0, 0, True, 1.0, 2.6, False, False, False, 0.2, 5.0, 0.0, False, 0.0, 1.0, 1.0, 0.0)
    out = np.zeros((len(LAYERS), 12, 1, 1), dtype=np.float32)
    transfer(Strip(**layers, hours=hours, block=block), rules, still, still, still, out, np.zeros((2, 12), np.int64))
