"""Effective energy and mass transfer: the energy of water and of biomass that enters the soil.

``EEMT = E_PPT + E_BIO`` [1]_: the heat that effective precipitation carries, and the energy bound
by net primary production. Arrays are shaped (months, ...), months first; an array of months alone
holds for every cell. The kernels of `eemt.energy.kernels` do the same in one pass.

References
----------
.. [1] Rasmussen, C. et al. 2011. An open system framework for integrating critical zone structure
       and function. Biogeochemistry 102:15-29.
.. [2] Rasmussen, C. et al. 2015. Quantifying topographic and vegetation effects on the transfer of
       energy and mass to the critical zone. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102.
.. [3] Zapata-Rios, X. et al. 2016. Hydrology and Earth System Sciences 20:1103-1115.
"""

from typing import Literal, Unpack

import numpy as np
from numpy.typing import ArrayLike

from eemt.constants import NPP_CANOPY_LIMIT, NPP_ELEVATION_RANGE, NPP_FLOOR
from eemt.energy.balance import Weather, biomass_energy, renormalisation, solar_ratio, solar_warming, water_energy
from eemt.energy.choices import Choices, Options, Pet
from eemt.energy.productivity import canopy, lieth, whittaker_niering
from eemt.energy.result import COUNTS, COUNTS_OF, Energy

__all__ = [
    "COUNTS",
    "COUNTS_OF",
    "Choices",
    "Energy",
    "biomass_energy",
    "renormalisation",
    "solar_ratio",
    "solar_warming",
    "topographic",
    "traditional",
    "vegetation",
    "water_energy",
]


def traditional(
    tmin: ArrayLike,
    tmax: ArrayLike,
    precipitation: ArrayLike,
    day_length: ArrayLike,
    days: ArrayLike,
    *,
    pet: Pet = "hamon",
    vapour_pressure: ArrayLike = np.nan,
    irradiation: ArrayLike = np.nan,
    elevation: ArrayLike = np.nan,
    **options: Unpack[Options],
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
    pet : {"hamon", "thornthwaite", "penman", "penman_monteith"}
        Potential evaporation; Thornthwaite needs the twelve months of one year.
    vapour_pressure, irradiation, elevation : array_like
        For both of Penman's equations: as of `topographic`, the irradiation that of flat land.
    **options
        See `Choices`.

    Returns
    -------
    Energy
        NaN wherever an input is.
    """
    choices = Choices(**options)
    weather = Weather(
        days,
        choices,
        months={
            "tmin": tmin,
            "tmax": tmax,
            "rain": precipitation,
            "hours": day_length,
            "vapour": vapour_pressure,
            "sun": irradiation,
        },
        cells={"elevation": elevation},
    )
    demand, t = weather.demand(pet), weather.t
    surplus = np.maximum(weather["rain"] - demand, 0.0)
    growing = (surplus > 0.0) & ((t > 0.0) | choices.cold_npp)
    # a missing surplus is neither wet nor dry
    npp = np.where(np.isnan(surplus), np.nan, growing * lieth(t) * weather.year_share)
    dry = surplus == 0.0
    counts = {"dry_month": dry.any(axis=0), "dry_year": dry.all(axis=0)}
    return weather.energy(surplus, npp, counts, pet=demand, peff=surplus, aet=weather["rain"] - surplus, temperature=t)


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
    pet: Pet = "penman",
    day_length: ArrayLike = np.nan,
    slope: ArrayLike = 0.0,
    npp_floor: float = NPP_FLOOR,
    **options: Unpack[Options],
) -> Energy:
    """EEMT_TOPO: climate, sun, slope and the paths of water ([2]_ Eqs 6-11).

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
    pet : {"hamon", "thornthwaite", "penman", "penman_monteith"}
        Potential evaporation; that of Penman and Monteith is of the reference crop.
    day_length : (months, ...) array_like
        For Hamon and Thornthwaite: as of `traditional`.
    slope : (...) array_like
        Slope [degrees], for the energy of evaporation for each area of the map. Without it, it is
        that for each area of the inclined cell, as in [2]_.
    npp_floor : float
        Least productivity [g m-2 yr-1].
    **options
        See `Choices`.

    Returns
    -------
    Energy
        NaN wherever an input is.
    """
    weather = Weather(
        days,
        Choices(**options),
        months={
            "tmin": tmin,
            "tmax": tmax,
            "rain": precipitation,
            "hours": day_length,
            "vapour": vapour_pressure,
            "sun": irradiation,
            "flat_sun": flat_irradiation,
        },
        cells={"elevation": elevation, "northness": northness, "share": mcwi, "slope": slope},
    )
    counts = {"solar_ratio_clamped": weather.warm_by_sun(), **weather.counts()}
    demand = weather.demand(pet)
    aet = weather.budyko(demand)
    height = weather["elevation"]
    annual = whittaker_niering(height, weather["northness"], npp_floor)
    unbounded = whittaker_niering(height, weather["northness"], -np.inf)
    lowest, highest = NPP_ELEVATION_RANGE
    counts |= {
        "elevation_out_of_range": (height < lowest) | (height > highest),
        "npp_floor_used": unbounded < npp_floor,
    }
    return weather.shared_out(aet, annual, counts, pet=demand)


def vegetation(
    tmin: ArrayLike,
    tmax: ArrayLike,
    precipitation: ArrayLike,
    vapour_pressure: ArrayLike,
    irradiation: ArrayLike,
    flat_irradiation: ArrayLike,
    elevation: ArrayLike,
    mcwi: ArrayLike,
    canopy_height: ArrayLike,
    leaf_area_index: ArrayLike,
    days: ArrayLike,
    *,
    pet: Pet = "penman_monteith",
    day_length: ArrayLike = np.nan,
    slope: ArrayLike = 0.0,
    npp_form: Literal["printed", "centred"] = "printed",
    npp_floor: float = 0.0,
    **options: Unpack[Options],
) -> Energy:
    """EEMT_TOPO-VEG: as `topographic`, with the plants that are there ([2]_ Eqs 6, 10, 12).

    Parameters
    ----------
    tmin, tmax, precipitation, vapour_pressure, irradiation, flat_irradiation, elevation, mcwi, days : array_like
        As of `topographic`.
    canopy_height : (...) array_like
        [m]
    leaf_area_index : (months, ...) array_like
        [m2 m-2]
    pet : {"hamon", "thornthwaite", "penman", "penman_monteith"}
        ``penman_monteith``: evaporation of these plants, itself actual evaporation where it is less
        than precipitation. The others are potential evaporation, on the Budyko curve.
    day_length, slope : array_like
        As of `topographic`.
    npp_form : {"printed", "centred"}
        See `eemt.energy.productivity.canopy`.
    npp_floor : float
        Least productivity [g m-2 yr-1].
    **options
        See `Choices`.

    Returns
    -------
    Energy
        NaN wherever an input is.
    """
    weather = Weather(
        days,
        Choices(**options),
        months={
            "tmin": tmin,
            "tmax": tmax,
            "rain": precipitation,
            "hours": day_length,
            "vapour": vapour_pressure,
            "sun": irradiation,
            "flat_sun": flat_irradiation,
            "leaves": np.atleast_1d(leaf_area_index),
        },
        cells={"elevation": elevation, "share": mcwi, "height": canopy_height, "slope": slope},
    )
    leaves, height, rain = weather["leaves"], weather["height"], weather["rain"]
    counts = {"solar_ratio_clamped": weather.warm_by_sun(leaves), **weather.counts()}
    demand = weather.demand(pet, of_plants=True)
    aet = np.minimum(demand, rain) if pet == "penman_monteith" else weather.budyko(demand)
    counts |= {
        "canopy_out_of_range": height > NPP_CANOPY_LIMIT,
        "npp_floor_used": canopy(height, npp_form, -np.inf) < npp_floor,
        "lai_clipped": np.asarray((leaves <= 0.0).any(axis=0)),
        "aet_limited": np.asarray((demand > rain).any(axis=0) & (pet == "penman_monteith")),
        "without_vegetation": np.isfinite(weather["elevation"]) & np.isnan(height + np.atleast_1d(leaves).sum(axis=0)),
    }
    annual = canopy(height, npp_form, npp_floor) + 0.0 * weather["elevation"]
    return weather.shared_out(aet, annual, counts, pet=demand)
