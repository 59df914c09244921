"""Potential and actual evaporation.

Temperatures are in degC; vapour pressure is in kPa where a function says so and in Pa where it is
an input of Penman's equation, as climate sources give it.

References
----------
.. [1] Allen, R.G. et al. 1998. Crop evapotranspiration. FAO Irrigation and Drainage Paper 56.
.. [2] Hamon, W.R. 1961. Estimating potential evapotranspiration. Journal of the Hydraulics
       Division, ASCE 87(HY3):107-120.
.. [3] Thornthwaite, C.W. 1948. An approach toward a rational classification of climate.
       Geographical Review 38:55-94.
.. [4] Shuttleworth, W.J. 1993. Evaporation. In: Maidment, D.R. (ed.) Handbook of Hydrology, ch. 4.
.. [5] Zhang, L. et al. 2004. A rational function approach for estimating mean annual
       evapotranspiration. Water Resources Research 40:W02502.
.. [6] Rasmussen, C. et al. 2015. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102.
.. [7] Kelliher, F.M. et al. 1995. Maximum conductances for evaporation from global vegetation types.
       Agricultural and Forest Meteorology 73:1-16.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eemt.constants import (
    AIR_HEAT_CAPACITY,
    AIR_MOLAR_MASS,
    CANOPY_CONDUCTANCES,
    DAYS_IN_YEAR,
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
    OPEN_WATER_ROUGHNESS,
    PRESSURE_LAPSE,
    SATURATION_AT_ZERO,
    SEA_LEVEL_PRESSURE,
    SEA_LEVEL_TEMPERATURE,
    SECONDS_IN_DAY,
    STEFAN_BOLTZMANN,
    VAPOUR_MOLECULAR_RATIO,
    VON_KARMAN,
    WIND_HEIGHT,
    WIND_SPEED,
    ZHANG_OMEGA,
)

Floats = NDArray[np.floating]


def _floats(value: ArrayLike) -> Floats:
    """Value as floats: float32 stays, whole numbers become float64."""
    array = np.asarray(value)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def saturation_vapour_pressure(t: ArrayLike) -> Floats:
    """Saturation vapour pressure over water, at any temperature ([1]_ Eq 11).

    Parameters
    ----------
    t : array_like
        Air temperature [degC].

    Returns
    -------
    scalar or array of float
        Saturation vapour pressure [kPa].
    """
    t = _floats(t)
    pressure: Floats = SATURATION_AT_ZERO * np.exp(17.27 * t / (t + 237.3))
    return pressure


def mean_saturation_vapour_pressure(tmin: ArrayLike, tmax: ArrayLike) -> Floats:
    """Mean of the saturation vapour pressures at two temperatures ([1]_ Eq 12).

    Parameters
    ----------
    tmin, tmax : array_like
        Least and greatest air temperature [degC].

    Returns
    -------
    scalar or array of float
        Saturation vapour pressure [kPa].
    """
    return (saturation_vapour_pressure(tmin) + saturation_vapour_pressure(tmax)) / 2.0


def vapour_pressure_slope(t: ArrayLike) -> Floats:
    """Slope of the saturation vapour pressure curve, as an exponential.

    Within about 8 % of the derivative of `saturation_vapour_pressure` from 0 to 30 degC; the form
    of the published EEMT code, kept so that its results compare.

    Parameters
    ----------
    t : array_like
        Air temperature [degC].

    Returns
    -------
    scalar or array of float
        Slope [kPa K-1].
    """
    slope: Floats = 0.04145 * np.exp(0.06088 * _floats(t))
    return slope


def psychrometric_constant(elevation: ArrayLike, pressure_gradient: float = PRESSURE_LAPSE) -> Floats:
    """Psychrometric constant at an elevation ([1]_ Eqs 7-8).

    Parameters
    ----------
    elevation : array_like
        Elevation [m].
    pressure_gradient : float
        Fall of temperature with height in the pressure equation [K m-1].

    Returns
    -------
    scalar or array of float
        Psychrometric constant [kPa K-1].
    """
    pressure = 101.3 * ((293.0 - pressure_gradient * _floats(elevation)) / 293.0) ** 5.26  # kPa
    gamma: Floats = AIR_HEAT_CAPACITY * pressure / (VAPOUR_MOLECULAR_RATIO * LATENT_HEAT)
    return gamma


def air_density(elevation: ArrayLike, t: ArrayLike) -> Floats:
    """Density of dry air under the pressure of an isothermal atmosphere.

    Parameters
    ----------
    elevation : array_like
        Elevation [m].
    t : array_like
        Air temperature [degC].

    Returns
    -------
    scalar or array of float
        Density [kg m-3].
    """
    scale_height = GAS_CONSTANT * SEA_LEVEL_TEMPERATURE / (GRAVITY * AIR_MOLAR_MASS)  # m
    pressure = SEA_LEVEL_PRESSURE * np.exp(-_floats(elevation) / scale_height)
    density: Floats = pressure / (DRY_AIR_GAS_CONSTANT * (_floats(t) + FREEZING_POINT))
    return density


def aerodynamic_resistance(wind: ArrayLike) -> Floats:
    """Resistance of the air over open water [4]_.

    Parameters
    ----------
    wind : array_like
        Wind speed 2 m above ground [m s-1].

    Returns
    -------
    scalar or array of float
        Resistance [s m-1].
    """
    resistance: Floats = 4.72 * math.log(WIND_HEIGHT / OPEN_WATER_ROUGHNESS) ** 2 / (1.0 + 0.536 * _floats(wind))
    return resistance


def canopy_air_resistance(height: ArrayLike, wind: ArrayLike) -> Floats:
    """Resistance of the air over plants ([1]_ Eq 4), at a height of 2 m above them.

    Papers do not print the form that [6]_ took; this is the usual one, with displacement 0.67 h and
    roughness 0.123 h for momentum and a tenth of it for heat.

    Parameters
    ----------
    height : array_like
        Canopy height h [m]; less than 0.1 m counts as 0.1 m.
    wind : array_like
        Wind speed 2 m above the canopy [m s-1]; less than 0.5 m s-1 counts as 0.5 m s-1.

    Returns
    -------
    scalar or array of float
        Resistance [s m-1].
    """
    canopy, speed = np.maximum(_floats(height), LEAST_CANOPY_HEIGHT), np.maximum(_floats(wind), LEAST_WIND)
    above = WIND_HEIGHT + (1.0 - 0.67) * canopy
    profiles = np.log(above / (0.123 * canopy)) * np.log(above / (0.0123 * canopy))
    resistance: Floats = profiles / (VON_KARMAN**2 * speed)
    return resistance


def grass_air_resistance(wind: ArrayLike) -> Floats:
    """Resistance of the air over the reference crop, grass of 0.12 m ([1]_ Eq 4).

    Parameters
    ----------
    wind : array_like
        Wind speed 2 m above ground [m s-1]; less than 0.5 m s-1 counts as 0.5 m s-1.

    Returns
    -------
    scalar or array of float
        Resistance [s m-1].
    """
    resistance: Floats = GRASS_AIR_RESISTANCE / np.maximum(_floats(wind), LEAST_WIND)
    return resistance


def surface_resistance(leaf_area_index: ArrayLike) -> Floats:
    """Resistance of plants and soil to evaporation, by leaf area.

    [6]_ takes a polynomial of the leaf area for the conductance, after [7]_, and prints the range of
    its results, 38 to 55 s m-1, but no coefficient. This is the quadratic that runs from the one
    bound at no leaves to the other at a leaf area index of 10 and is level there, as the
    conductance of closed canopies is in [7]_.

    Parameters
    ----------
    leaf_area_index : array_like
        Leaf area index [m2 m-2]; counts as within 0 to 10.

    Returns
    -------
    scalar or array of float
        Resistance [s m-1].
    """
    least, greatest = CANOPY_CONDUCTANCES
    share = np.clip(_floats(leaf_area_index) / LAI_MAXIMUM, 0.0, 1.0)
    resistance: Floats = 1.0 / (least + (greatest - least) * share * (2.0 - share))
    return resistance


def net_longwave(tmin: ArrayLike, tmax: ArrayLike, vapour_pressure: ArrayLike, clearness: ArrayLike = 1.0) -> Floats:
    """Longwave radiation that land loses ([1]_ Eq 39).

    Parameters
    ----------
    tmin, tmax : array_like
        Daily least and greatest air temperature [degC].
    vapour_pressure : array_like
        Vapour pressure of the air [Pa].
    clearness : array_like
        Solar radiation over that of a clear sky [-], from which the equation tells cloudiness; 1
        for this library's sun, which shines from a clear sky.

    Returns
    -------
    scalar or array of float
        Net outgoing longwave radiation [W m-2].
    """
    # Eq 39 takes 0 degC as 273.16 K
    fourth_powers = ((_floats(tmax) + 273.16) ** 4 + (_floats(tmin) + 273.16) ** 4) / 2.0
    humidity = 0.34 - 0.14 * np.sqrt(_floats(vapour_pressure) / 1000.0)
    loss: Floats = STEFAN_BOLTZMANN * fourth_powers * humidity * (1e6 / SECONDS_IN_DAY)
    return loss * (1.35 * np.asarray(clearness, dtype=loss.dtype) - 0.35)


def day_length(latitude: ArrayLike, day_of_year: ArrayLike) -> Floats:
    """Time between astronomical sunrise and sunset ([1]_ Eqs 24-25, 34).

    Parameters
    ----------
    latitude : array_like
        Latitude, north positive [degrees].
    day_of_year : array_like
        Day of the year, 1 January being 1.

    Returns
    -------
    scalar or array of float
        Day length [h]: 0 in polar night, 24 in polar day.
    """
    declination = 0.409 * np.sin(2.0 * np.pi / DAYS_IN_YEAR * _floats(day_of_year) - 1.39)
    cosine = -np.tan(np.radians(_floats(latitude))) * np.tan(declination)
    hours: Floats = 24.0 / np.pi * np.arccos(np.clip(cosine, -1.0, 1.0))
    return hours


def hamon(tmin: ArrayLike, tmax: ArrayLike, day_length: ArrayLike) -> Floats:
    """Potential evaporation by Hamon [2]_, the choice of [6]_ for EEMT_TRAD.

    Parameters
    ----------
    tmin, tmax : array_like
        Monthly mean daily least and greatest air temperature [degC].
    day_length : array_like
        Day length [h].

    Returns
    -------
    scalar or array of float
        Potential evaporation [mm d-1]; 0 where the mean temperature is 0 degC or less.
    """
    t = (_floats(tmin) + _floats(tmax)) / 2.0
    pet = 29.8 * _floats(day_length) * mean_saturation_vapour_pressure(tmin, tmax) / (t + 273.2)
    return np.where(t <= 0.0, 0.0 * pet, pet)[()]


def thornthwaite(monthly_t: ArrayLike, day_length: ArrayLike, days: ArrayLike) -> Floats:
    """Potential evaporation by Thornthwaite [3]_.

    Parameters
    ----------
    monthly_t : (12, ...) array_like
        Monthly mean air temperature of one year [degC].
    day_length : (12, ...) array_like
        Day length in the middle of each month [h].
    days : (12,) array_like
        Days in each month.

    Returns
    -------
    (12, ...) array of float
        Potential evaporation [mm month-1]; 0 where the temperature is 0 degC or less.
    """
    warmth = np.maximum(_floats(monthly_t), 0.0)
    heat_index = np.sum((warmth / 5.0) ** 1.514, axis=0)
    exponent = 6.75e-7 * heat_index**3 - 7.71e-5 * heat_index**2 + 1.792e-2 * heat_index + 0.49239
    ratio = 10.0 * warmth / np.where(heat_index == 0.0, 1.0, heat_index)
    along = (-1,) + (1,) * (warmth.ndim - 1)
    hours = np.asarray(day_length, dtype=warmth.dtype)
    hours = hours if hours.ndim == warmth.ndim else hours.reshape(along)
    months = np.asarray(days, dtype=warmth.dtype).reshape(along) / 30.0
    pet: Floats = 16.0 * (hours / 12.0) * months * ratio**exponent
    return pet


def _combined(
    tmin: ArrayLike,
    tmax: ArrayLike,
    vapour_pressure: ArrayLike,
    net_radiation: ArrayLike,
    elevation: ArrayLike,
    days: ArrayLike,
    air_resistance: Floats,
    surface_resistance: Floats | float,
    pressure_gradient: float,
) -> Floats:
    """Return what energy and drying air evaporate together [mm month-1]."""
    t = (_floats(tmin) + _floats(tmax)) / 2.0
    slope = vapour_pressure_slope(t) * 1000.0  # Pa K-1
    gamma = psychrometric_constant(elevation, pressure_gradient) * 1000.0  # Pa K-1
    gamma = gamma * (1.0 + surface_resistance / air_resistance)
    deficit = np.maximum(mean_saturation_vapour_pressure(tmin, tmax) * 1000.0 - _floats(vapour_pressure), 0.0)
    drying = air_density(elevation, t) * AIR_HEAT_CAPACITY * deficit / air_resistance
    rate = (slope * _floats(net_radiation) + drying) / (LATENT_HEAT * (slope + gamma))  # mm s-1
    return np.maximum(rate * SECONDS_IN_DAY * _floats(days), 0.0)


def penman(
    *,
    tmin: ArrayLike,
    tmax: ArrayLike,
    vapour_pressure: ArrayLike,
    net_radiation: ArrayLike,
    elevation: ArrayLike,
    days: ArrayLike,
    wind: ArrayLike = WIND_SPEED,
    pressure_gradient: float = PRESSURE_LAPSE,
) -> Floats:
    """Potential evaporation by Penman's equation over open water [4]_.

    Parameters
    ----------
    tmin, tmax : array_like
        Monthly mean daily least and greatest air temperature [degC].
    vapour_pressure : array_like
        Vapour pressure of the air [Pa]; what exceeds saturation counts as saturated.
    net_radiation : array_like
        Net radiation, mean of the month over day and night [W m-2].
    elevation : array_like
        Elevation [m].
    days : array_like
        Days in the month.
    wind : array_like
        Wind speed 2 m above ground [m s-1].
    pressure_gradient : float
        Fall of temperature with height in the pressure equation [K m-1].

    Returns
    -------
    scalar or array of float
        Potential evaporation [mm month-1], never below 0.
    """
    resistance = aerodynamic_resistance(wind)
    weather = (tmin, tmax, vapour_pressure, net_radiation, elevation, days)
    return _combined(*weather, resistance, 0.0, pressure_gradient)


def penman_monteith(
    *,
    tmin: ArrayLike,
    tmax: ArrayLike,
    vapour_pressure: ArrayLike,
    net_radiation: ArrayLike,
    elevation: ArrayLike,
    days: ArrayLike,
    air_resistance: ArrayLike | None = None,
    surface_resistance: ArrayLike = GRASS_RESISTANCE,
    pressure_gradient: float = PRESSURE_LAPSE,
) -> Floats:
    """Evaporation from plants by the equation of Penman and Monteith [1]_, [6]_.

    Without resistances it is that of the reference crop, grass of 0.12 m, at the world's mean wind.

    Parameters
    ----------
    tmin, tmax, vapour_pressure, net_radiation, elevation, days : array_like
        As of `penman`.
    air_resistance : array_like, optional
        Resistance of the air, see `canopy_air_resistance` [s m-1].
    surface_resistance : array_like
        Resistance of plants and soil, see `surface_resistance` [s m-1].
    pressure_gradient : float
        Fall of temperature with height in the pressure equation [K m-1].

    Returns
    -------
    scalar or array of float
        Evaporation [mm month-1], never below 0.
    """
    air = grass_air_resistance(WIND_SPEED) if air_resistance is None else _floats(air_resistance)
    weather = (tmin, tmax, vapour_pressure, net_radiation, elevation, days)
    return _combined(*weather, air, _floats(surface_resistance), pressure_gradient)


def zhang(precipitation: ArrayLike, pet: ArrayLike, omega: float = ZHANG_OMEGA) -> Floats:
    """Actual evaporation on the Budyko curve of Fu and Zhang [5]_, [6]_ Eq 8.

    ``P {1 + PET/P - [1 + (PET/P)^w]^(1/w)}``, which is symmetric in P and PET and is computed from
    the ratio of the lesser to the greater, so that it loses no digits at either end.

    Parameters
    ----------
    precipitation : array_like
        Precipitation P [mm].
    pet : array_like
        Potential evaporation PET [mm]; below 0 counts as 0.
    omega : float
        Shape w of the curve [-].

    Returns
    -------
    scalar or array of float
        Actual evaporation [mm], from 0 to the lesser of P and PET.
    """
    supply, demand = _floats(precipitation), np.maximum(_floats(pet), 0.0)
    lesser, greater = np.minimum(supply, demand), np.maximum(supply, demand)
    ratio = lesser / np.where(greater == 0.0, 1.0, greater)
    aet = lesser - greater * np.expm1(np.log1p(ratio**omega) / omega)
    within: Floats = np.maximum(aet, 0.0)
    return within
