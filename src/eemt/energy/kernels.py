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
WATER_UNIT = 1e-6  # mm; sums of whole numbers do not depend on their order, nor on how land is cut into tiles

_OPEN_WATER = 4.72 * math.log(WIND_HEIGHT / OPEN_WATER_ROUGHNESS) ** 2
_SCALE_HEIGHT = GAS_CONSTANT * SEA_LEVEL_TEMPERATURE / (GRAVITY * AIR_MOLAR_MASS)  # m
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


@njit(cache=True, nogil=True, inline="always")
def _at_least(value: float, bound: float) -> float:
    # not max(), which may lose NaN
    return bound if value < bound else value


@njit(cache=True, nogil=True, inline="always")
def _saturation(t: float) -> float:
    return SATURATION_AT_ZERO * math.exp(17.27 * t / (t + 237.3))


@njit(cache=True, nogil=True, inline="always")
def _lieth(t: float) -> float:
    return LIETH_MAXIMUM / (1.0 + math.exp(1.315 - 0.119 * t))


@njit(cache=True, nogil=True)
def _hamon(low: float, high: float, hours: float) -> float:
    t = (low + high) / 2.0
    pet: float = 29.8 * hours * (_saturation(low) + _saturation(high)) / 2.0 / (t + 273.2)
    return 0.0 * pet if t <= 0.0 else pet


@njit(cache=True, nogil=True)
def _zhang(rain: float, pet: float, omega: float) -> float:
    lesser, greater = min(rain, pet), max(rain, pet)
    if math.isnan(rain + pet):
        return math.nan
    if greater == 0.0:
        return 0.0
    ratio = math.pow(lesser / greater, omega)
    return max(lesser - greater * math.expm1(math.log1p(ratio) / omega), 0.0)


@njit(cache=True, nogil=True)
def _net_radiation(
    sun: float, days: float, albedo: float, tilt: float, low: float, high: float, vapour: float, rules: Rules
) -> float:
    absorbed = (1.0 - albedo) * sun / tilt / (24.0 * days)
    if not rules.fao56:
        return absorbed
    powers = ((high + 273.16) ** 4 + (low + 273.16) ** 4) / 2.0
    humidity = 0.34 - 0.14 * math.sqrt(vapour / 1000.0)
    cloudiness = 1.35 * rules.clearness - 0.35
    return absorbed - STEFAN_BOLTZMANN * powers * humidity * (1e6 / SECONDS_IN_DAY) * cloudiness


@njit(cache=True, nogil=True)
def _combined(
    low: float,
    high: float,
    vapour: float,
    radiation: float,
    gamma: float,
    pressure: float,
    days: float,
    air: float,
    surface: float,
) -> float:
    t = (low + high) / 2.0
    slope = 0.04145 * math.exp(0.06088 * t) * 1000.0
    deficit = _at_least((_saturation(low) + _saturation(high)) / 2.0 * 1000.0 - vapour, 0.0)
    density = pressure / (DRY_AIR_GAS_CONSTANT * (t + FREEZING_POINT))
    drying = density * AIR_HEAT_CAPACITY * deficit / air
    rate = (slope * radiation + drying) / (LATENT_HEAT * (slope + gamma * (1.0 + surface / air)))
    evaporated: float = _at_least(rate * SECONDS_IN_DAY * days, 0.0)
    return evaporated


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


@njit(cache=True, nogil=True)
def _warm_by_sun(strip: Strip, row: int, rules: Rules, warm: Doubles, count: Counts) -> None:
    """Write the maximum temperature of a row's cells; count ratios that are out of bounds."""
    months, cols = warm.shape
    for col in range(cols):
        outside = False
        for month in range(months):
            high = np.float64(strip.tmax[month, row, col])
            if rules.method != TRAD:
                sun, flat = np.float64(strip.sun[month, row, col]), np.float64(strip.flat_sun[month, row, col])
                ratio: float = (1.0 + 0.0 * sun) if flat == 0.0 else sun / flat
                if ratio < rules.least_ratio:
                    ratio, outside = rules.least_ratio, True
                elif ratio > rules.greatest_ratio:
                    ratio, outside = rules.greatest_ratio, True
                shade = 1.0
                if rules.method == VEG:
                    leaves = np.float64(strip.leaves[month, row, col])
                    shade = 1.0 - (1.0 if leaves > LAI_MAXIMUM else leaves / LAI_MAXIMUM)
                high += SOLAR_WARMING * (ratio - 1.0 / ratio) * shade
            warm[month, col] = high
        count[3] += outside


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


@njit(cache=True, nogil=True)
def _penman(
    strip: Strip,
    row: int,
    rules: Rules,
    days: Doubles,
    wind: Doubles,
    albedo: Doubles,
    warm: Doubles,
    demand: Doubles,
) -> None:
    """Penman's equation over open water, or that of Monteith over grass or the plants that are there."""
    months, cols = warm.shape
    sunshine = strip.flat_sun if rules.method == TRAD else strip.sun
    for col in range(cols):
        z = np.float64(strip.elevation[row, col])
        pressure = SEA_LEVEL_PRESSURE * math.exp(-z / _SCALE_HEIGHT)
        standard = 101.3 * math.pow((293.0 - rules.pressure_gradient * z) / 293.0, 5.26)
        gamma = AIR_HEAT_CAPACITY * standard / (VAPOUR_MOLECULAR_RATIO * LATENT_HEAT) * 1000.0
        tilt = 1.0 if rules.method == TRAD else math.cos(math.radians(np.float64(strip.slope[row, col])))
        canopy_air = 0.0
        if rules.pet == PENMAN_MONTEITH and rules.method == VEG:
            canopy_air = _canopy_air_resistance(np.float64(strip.height[row, col]), 1.0)
        for month in range(months):
            low, high, vapour = (
                np.float64(strip.tmin[month, row, col]),
                warm[month, col],
                np.float64(strip.vapour[month, row, col]),
            )
            radiation = _net_radiation(
                np.float64(sunshine[month, row, col]), days[month], albedo[month], tilt, low, high, vapour, rules
            )
            surface = 0.0
            if rules.pet == PENMAN:
                air = _OPEN_WATER / (1.0 + 0.536 * wind[month])
            elif rules.method == VEG:
                air = canopy_air / max(wind[month], LEAST_WIND)
                surface = _surface_resistance(np.float64(strip.leaves[month, row, col]))
            else:
                air = GRASS_AIR_RESISTANCE / max(wind[month], LEAST_WIND)
                surface = GRASS_RESISTANCE
            demand[month, col] = _combined(low, high, vapour, radiation, gamma, pressure, days[month], air, surface)


@njit(cache=True, nogil=True)
def _evaporated(strip: Strip, row: int, rules: Rules, demand: Doubles, aet: Doubles, count: Counts) -> None:
    """Actual evaporation of a row's cells; count the months without water."""
    months, cols = demand.shape
    for col in range(cols):
        year, year_demand = 0.0, 0.0
        dry, rainless, limited = 0, False, False
        for month in range(months):
            rain = np.float64(strip.rain[month, row, col])
            year += rain
            year_demand += demand[month, col]
            dry += rain <= demand[month, col]
            rainless |= rain == 0.0
            limited |= demand[month, col] > rain
        capped = rules.method == TRAD or (rules.method == VEG and rules.pet == PENMAN_MONTEITH)
        share = 0.0
        if rules.annual_budyko and not capped:
            share = _zhang(year, year_demand, rules.omega) / (year if year != 0.0 else 1.0)
        for month in range(months):
            rain = np.float64(strip.rain[month, row, col])
            if capped:
                taken = demand[month, col]
                aet[month, col] = rain if taken > rain else taken + 0.0 * rain
            elif rules.annual_budyko:
                aet[month, col] = rain * share
            else:
                aet[month, col] = _zhang(rain, demand[month, col], rules.omega)
        if rules.method == TRAD:
            count[0] += dry > 0
            count[1] += dry == months
        else:
            count[2] += rainless
            count[9] += limited and capped


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


@njit(cache=True, nogil=True)
def _monthly_npp(
    strip: Strip, row: int, rules: Rules, days: Doubles, t: Doubles, aet: Doubles, npp: Doubles, count: Counts
) -> None:
    months, cols = t.shape
    year = 366.0 if days.sum() == 366.0 else 365.0
    for col in range(cols):
        if rules.method == TRAD:
            for month in range(months):
                left = np.float64(strip.rain[month, row, col]) - aet[month, col]
                grows = left > 0.0 and (t[month, col] > 0.0 or rules.cold_npp)
                npp[month, col] = _lieth(t[month, col]) * (days[month] / year) if grows else 0.0 * left
            continue
        annual = _annual_npp(strip, row, col, rules, count)
        season = 0.0
        if rules.split_by_warmth:
            for month in range(months):
                if not t[month, col] <= 0.0:
                    season += _lieth(t[month, col]) * days[month]
        for month in range(months):
            share = days[month] / year
            if season != 0.0:
                share = 0.0 if t[month, col] <= 0.0 else _lieth(t[month, col]) * days[month] / season
            npp[month, col] = annual * share


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
        Is filled with the `LAYERS`.
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
            for month in range(months):
                for col in range(cols):
                    hours = strip.hours[month, row, strip.block[col]]
                    low = np.float64(strip.tmin[month, row, col])
                    demand[month, col] = _hamon(low, warm[month, col], hours) * days[month]
        elif rules.pet == THORNTHWAITE:
            _thornthwaite(strip, row, days, t, demand)
        else:
            _penman(strip, row, rules, days, wind, albedo, warm, demand)
        _evaporated(strip, row, rules, demand, aet, count)
        _monthly_npp(strip, row, rules, days, t, aet, npp, count)
        for month in range(months):
            for col in range(cols):
                peff = np.float64(strip.rain[month, row, col]) - aet[month, col]
                share = 1.0 if rules.method == TRAD else np.float64(strip.share[row, col])
                moved = peff * share
                heat = rules.heat_capacity * 1e-6 * _at_least(t[month, col] - rules.reference, 0.0)
                out[0, month, row, col] = moved * heat
                out[1, month, row, col] = npp[month, col] * rules.enthalpy * 1e-9
                out[2, month, row, col] = demand[month, col]
                out[3, month, row, col] = aet[month, col]
                out[4, month, row, col] = peff
                out[5, month, row, col] = npp[month, col]
                out[6, month, row, col] = t[month, col]
                if not math.isnan(moved):
                    water[0, month] += np.int64(round(peff / WATER_UNIT))
                    water[1, month] += np.int64(round(moved / WATER_UNIT))
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
