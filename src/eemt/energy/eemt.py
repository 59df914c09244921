"""Effective energy and mass transfer: the energy of water and of biomass that enters the soil.

``EEMT = E_PPT + E_BIO`` [1]_: the heat that effective precipitation carries, and the energy bound
by net primary production. Arrays are shaped (months, ...), months first; an array of months alone
holds for every cell.

References
----------
.. [1] Rasmussen, C. et al. 2011. An open system framework for integrating critical zone structure
       and function. Biogeochemistry 102:15-29.
.. [2] Rasmussen, C. et al. 2015. Quantifying topographic and vegetation effects on the transfer of
       energy and mass to the critical zone. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102.
.. [3] Zapata-Rios, X. et al. 2016. Hydrology and Earth System Sciences 20:1103-1115.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eemt.constants import (
    BIOMASS_ENTHALPY,
    DAYS_IN_YEAR,
    NPP_ELEVATION_RANGE,
    NPP_FLOOR,
    PRESSURE_LAPSE,
    SOLAR_RATIO_LIMITS,
    SOLAR_WARMING,
    WATER_HEAT_CAPACITY,
    WIND_SPEED,
    ZHANG_OMEGA,
)
from eemt.energy.evaporation import hamon, net_longwave, penman, thornthwaite, zhang
from eemt.energy.productivity import lieth, whittaker_niering

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Energy:
    """Energy transferred to the soil, month by month.

    Attributes
    ----------
    eppt, ebio : (months, ...) arrays of float
        Energy of effective precipitation and of biomass [MJ m-2 month-1].
    solar_ratio_clamped : int
        Cells whose ratio of irradiation to that of flat land was out of its limits in some month.
    elevation_out_of_range : int
        Cells above or below the land where the productivity of EEMT_TOPO was fitted.
    """

    eppt: Floats
    ebio: Floats
    solar_ratio_clamped: int = 0
    elevation_out_of_range: int = 0

    @property
    def eemt(self) -> Floats:
        """Effective energy and mass transfer [MJ m-2 month-1]."""
        return self.eppt + self.ebio

    @property
    def annual_eppt(self) -> Floats:
        """Energy of effective precipitation [MJ m-2 yr-1]."""
        return np.asarray(self.eppt.sum(axis=0))

    @property
    def annual_ebio(self) -> Floats:
        """Energy of biomass [MJ m-2 yr-1]."""
        return np.asarray(self.ebio.sum(axis=0))

    @property
    def annual_eemt(self) -> Floats:
        """Effective energy and mass transfer [MJ m-2 yr-1]."""
        return self.annual_eppt + self.annual_ebio


def _month(values: Floats, month: int, dtype: np.dtype[np.floating] | None = None) -> Floats:
    """Values of one month; a value without months holds for all."""
    return np.asarray(values[month] if values.ndim else values, dtype=dtype)


def _floats(*values: ArrayLike) -> list[Floats]:
    """Values as arrays of floats, those of whole numbers as float64."""
    arrays = [np.asarray(value) for value in values]
    return [a if np.issubdtype(a.dtype, np.floating) else a.astype(np.float64) for a in arrays]


def _outputs(months: int, *inputs: Floats) -> tuple[Floats, Floats]:
    """Empty arrays for both energies, as wide and as precise as the inputs of one month."""
    shape = (months, *np.broadcast_shapes(*(a.shape for a in inputs)))
    # a scalar, such as one month of a station, does not decide for a grid
    precise = [a.dtype for a in inputs if a.ndim] or [a.dtype for a in inputs]
    dtype = np.result_type(*precise)
    return np.empty(shape, dtype=dtype), np.empty(shape, dtype=dtype)


def _year_length(days: Floats) -> float:
    """Days in the year the months are of: months of a leap year make one whole year too."""
    return float(DAYS_IN_YEAR + 1 if days.sum() == DAYS_IN_YEAR + 1 else DAYS_IN_YEAR)


def water_energy(effective_precipitation: ArrayLike, t: ArrayLike) -> Floats:
    """Heat carried by effective precipitation ([2]_ Eq 4).

    Parameters
    ----------
    effective_precipitation : array_like
        Water that enters the soil [mm].
    t : array_like
        Mean air temperature [degC].

    Returns
    -------
    scalar or array of float
        Energy [MJ m-2]; 0 at and below freezing.
    """
    return np.asarray(effective_precipitation) * np.maximum(t, 0.0) * (WATER_HEAT_CAPACITY * 1e-6)


def biomass_energy(productivity: ArrayLike) -> Floats:
    """Energy bound in biomass ([2]_ Eq 5).

    Parameters
    ----------
    productivity : array_like
        Net primary production, dry matter [g m-2].

    Returns
    -------
    scalar or array of float
        Energy [MJ m-2].
    """
    return np.asarray(productivity) * (BIOMASS_ENTHALPY * 1e-9)


def traditional(
    tmin: ArrayLike,
    tmax: ArrayLike,
    precipitation: ArrayLike,
    day_length: ArrayLike,
    days: ArrayLike,
    *,
    pet: Literal["hamon", "thornthwaite"] = "hamon",
    cold_npp: bool = False,
) -> Energy:
    """EEMT_TRAD, from climate alone ([2]_, [3]_).

    Parameters
    ----------
    tmin, tmax : (months, ...) array_like
        Mean daily least and greatest air temperature at the cell [degC].
    precipitation : (months, ...) array_like
        Precipitation of the month [mm].
    day_length : (months, ...) array_like
        Astronomical day length in the middle of the month [h].
    days : (months,) array_like
        Days in each month.
    pet : {"hamon", "thornthwaite"}
        Potential evaporation; Thornthwaite needs the twelve months of one year.
    cold_npp : bool
        Let plants grow in months at or below 0 degC as well; [3]_ does not.

    Returns
    -------
    Energy
        NaN wherever an input is.
    """
    if pet not in ("hamon", "thornthwaite"):
        raise ValueError(f'traditional: pet is "{pet}"; allowed are "hamon" and "thornthwaite"')
    least, greatest, rain, hours, lengths = _floats(tmin, tmax, precipitation, day_length, days)
    months, year = lengths.size, _year_length(lengths)
    if pet == "thornthwaite":
        demand = thornthwaite((least + greatest) / 2.0, hours, lengths)
    eppt, ebio = _outputs(months, *(_month(a, 0) for a in (least, greatest, rain, hours)))
    for month in range(months):
        length = float(lengths[month])
        cool, warm, wet, light = (_month(a, month, eppt.dtype) for a in (least, greatest, rain, hours))
        t = (cool + warm) / 2.0
        evaporation = demand[month] if pet == "thornthwaite" else hamon(cool, warm, light) * length
        surplus = np.maximum(wet - evaporation, 0.0)
        growing = (surplus > 0.0) & ((t > 0.0) | cold_npp)
        eppt[month] = water_energy(surplus, t)
        # a missing surplus is neither wet nor dry
        ebio[month] = np.where(np.isnan(surplus), np.nan, growing * biomass_energy(lieth(t)) * (length / year))
    return Energy(eppt, ebio)


def solar_ratio(
    irradiation: ArrayLike, flat_irradiation: ArrayLike, limits: tuple[float, float] = SOLAR_RATIO_LIMITS
) -> tuple[Floats, NDArray[np.bool_]]:
    """Irradiation of a slope over that of flat land, S of [2]_ Eq 6.

    Parameters
    ----------
    irradiation, flat_irradiation : array_like
        Of the inclined cell and of flat land, over the same time [Wh m-2].
    limits : tuple of float
        Least and greatest ratio [-]: S - 1/S has no bounds of its own.

    Returns
    -------
    ratio : scalar or array of float
        Within the limits [-]; 1 where the sun does not rise.
    clamped : scalar or array of bool
        Where the ratio was out of the limits.
    """
    slope, flat = _floats(irradiation, flat_irradiation)
    ratio = np.where(flat == 0.0, 1.0 + 0.0 * slope, slope / np.where(flat == 0.0, 1.0, flat))
    bounded = np.clip(ratio, *limits).astype(np.result_type(slope, flat), copy=False)
    return bounded, (ratio < limits[0]) | (ratio > limits[1])


def topographic(
    tmin: ArrayLike,
    tmax: ArrayLike,
    precipitation: ArrayLike,
    vapour_pressure: ArrayLike,
    irradiation: ArrayLike,
    flat_irradiation: ArrayLike,
    elevation: ArrayLike,
    northness: ArrayLike,
    mcwi: ArrayLike,
    days: ArrayLike,
    *,
    wind: ArrayLike = WIND_SPEED,
    albedo: ArrayLike = 0.2,
    omega: float = ZHANG_OMEGA,
    net_radiation: Literal["fao56", "shortwave"] = "fao56",
    solar_ratio_limits: tuple[float, float] = SOLAR_RATIO_LIMITS,
    npp_floor: float = NPP_FLOOR,
    pressure_gradient: float = PRESSURE_LAPSE,
) -> Energy:
    """EEMT_TOPO: climate, sun, slope and the paths of water ([2]_ Eqs 6-11).

    Irradiation is taken per area of the inclined cell, as in [2]_, without the factor 1 / cos(slope)
    of its horizontal area. Productivity is a yearly figure; each month has its share by days.

    Parameters
    ----------
    tmin, tmax : (months, ...) array_like
        Mean daily least and greatest air temperature, carried to the cell by the lapse rate
        [degC]; what sun and slope add to `tmax` is added here.
    precipitation : (months, ...) array_like
        Precipitation of the month [mm].
    vapour_pressure : (months, ...) array_like
        Vapour pressure of the air [Pa].
    irradiation, flat_irradiation : (months, ...) array_like
        Global irradiation of the month, of the inclined cell and of flat land [Wh m-2 month-1].
    elevation : (...) array_like
        Elevation [m].
    northness : (...) array_like
        Cosine of aspect times sine of slope [-].
    mcwi : (...) array_like
        Mass-conservative wetness index [-].
    days : (months,) array_like
        Days in each month.
    wind : scalar or (months, ...) array_like
        Wind speed 2 m above ground [m s-1].
    albedo : scalar or (months, ...) array_like
        Share of shortwave radiation reflected [-].
    omega : float
        Shape of the Budyko curve [-]; published values run from 2.15 to 3.75.
    net_radiation : {"fao56", "shortwave"}
        Absorbed shortwave less the net longwave of FAO-56, or absorbed shortwave alone.
    solar_ratio_limits : tuple of float
        Least and greatest ratio of irradiation to that of flat land [-].
    npp_floor : float
        Least productivity [g m-2 yr-1].
    pressure_gradient : float
        Fall of temperature with height in the pressure equation [K m-1].

    Returns
    -------
    Energy
        NaN wherever an input is.
    """
    if net_radiation not in ("fao56", "shortwave"):
        raise ValueError(f'topographic: net_radiation is "{net_radiation}"; allowed are "fao56" and "shortwave"')
    monthly = _floats(tmin, tmax, precipitation, vapour_pressure, irradiation, flat_irradiation, wind, albedo)
    height, exposure, share, lengths = _floats(elevation, northness, mcwi, days)
    year = _year_length(lengths)
    energy_of_year = biomass_energy(whittaker_niering(height, exposure, npp_floor))
    eppt, ebio = _outputs(lengths.size, *(_month(a, 0) for a in monthly), height, exposure, share)
    clamped = np.zeros(eppt.shape[1:], dtype=bool)
    for month in range(lengths.size):
        length = float(lengths[month])
        cool, warm, rain, vapour, sun, flat_sun, speed, reflected = (_month(a, month, eppt.dtype) for a in monthly)
        ratio, outside = solar_ratio(sun, flat_sun, solar_ratio_limits)
        clamped |= outside
        warm = warm + SOLAR_WARMING * (ratio - 1.0 / ratio)
        radiation = (1.0 - reflected) * sun / (24.0 * length)  # W m-2
        if net_radiation == "fao56":
            radiation -= net_longwave(cool, warm, vapour)
        demand = penman(
            tmin=cool, tmax=warm, vapour_pressure=vapour, net_radiation=radiation, elevation=height,
            days=length, wind=speed, pressure_gradient=pressure_gradient,
        )  # fmt: skip
        water = share * (rain - zhang(rain, demand, omega))
        eppt[month] = water_energy(water, (cool + warm) / 2.0)
        ebio[month] = energy_of_year * (length / year)
    lowest, highest = NPP_ELEVATION_RANGE
    return Energy(eppt, ebio, int(clamped.sum()), int(((height < lowest) | (height > highest)).sum()))
