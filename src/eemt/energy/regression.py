"""EEMT by statistics: for comparison, and for places that have series instead of maps.

None of these takes part in the maps. Where a paper leaves a formula open, the docstring says so.

References
----------
.. [1] Rasmussen, C. 2012. Thermodynamic constraints on effective energy and mass transfer and
       catchment function. Hydrology and Earth System Sciences 16:725-739.
.. [2] Rasmussen, C. & Gallo, E.L. 2013. A comparison of model and empirical measures of
       catchment-scale effective energy and mass transfer. Hydrology and Earth System Sciences
       17:3389-3395.
.. [3] Zapata-Rios, X. et al. 2016. Influence of climate variability on water partitioning and
       effective energy and mass transfer in a semi-arid critical zone. Hydrology and Earth System
       Sciences 20:1103-1115.
.. [4] Rasmussen, C. & Tabor, N.J. 2007. Applying a quantitative pedogenic energy model across a
       range of environmental gradients. Soil Science Society of America Journal 71:1719-1729.
.. [5] Rasmussen, C. et al. 2015. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eemt.constants import CARBON_SHARE, FREEZING_POINT
from eemt.energy.eemt import biomass_energy, water_energy

Floats = NDArray[np.floating]

WATER_VAPOUR_GAS_CONSTANT = 461.5  # J kg-1 K-1; [1]_ Eq 5
LATENT_HEAT_AT_ZERO = 2.501e6  # J kg-1; [1]_ Eq 5
TRIPLE_POINT = 273.16  # K
TRIPLE_POINT_PRESSURE = 611.73  # Pa
STATE_CHANGE = 292.0  # K, where the limits of vapour pressure deficit change; [1]_
DRIEST_WARM = 1200.0  # Pa, greatest deficit with transfer above it; [1]_
DRIEST_COLD = 350.0  # Pa, at the triple point, growing as saturation does; [1]_
BIOMASS_CAP = 40.0  # MJ m-2 yr-1, beyond which biomass grows no more; [5]_


def saturation_pressure(t: ArrayLike) -> Floats:
    """Saturation vapour pressure ([1]_ Eq 5).

    Parameters
    ----------
    t : array_like
        Air temperature [degC].

    Returns
    -------
    scalar or array of float
        [Pa]
    """
    pressure: Floats = TRIPLE_POINT_PRESSURE * _growth(np.asarray(t, dtype=np.float64) + FREEZING_POINT)
    return pressure


def state_space(
    t: ArrayLike,
    precipitation: ArrayLike,
    vapour_pressure_deficit: ArrayLike,
    *,
    least_precipitation: float = 0.0,
    intercept: float = 0.0,
) -> Floats:
    """EEMT of a month from its temperature, precipitation and dryness [1]_.

    ``EEMT = (4.15 T - 1136) P + b``, and nothing where air is too dry: above 292 K, a deficit of more
    than 1200 Pa; below, of more than 350 Pa times the growth of saturation since the triple point.
    The slope is in kJ kg-1, where [1]_ prints J kg-1. [1]_ has a least precipitation above 292 K, whose
    printed fit cannot be used, and intercepts by temperature that it does not print: both are
    arguments here.

    Parameters
    ----------
    t : array_like
        Mean air temperature [degC].
    precipitation : array_like
        [mm month-1]
    vapour_pressure_deficit : array_like
        [Pa]
    least_precipitation : float
        With less of it there is no transfer above 292 K [mm month-1].
    intercept : float
        b [MJ m-2 month-1].

    Returns
    -------
    scalar or array of float
        [MJ m-2 month-1], never below 0.
    """
    kelvin = np.asarray(t, dtype=np.float64) + FREEZING_POINT
    rain, deficit = np.asarray(precipitation), np.asarray(vapour_pressure_deficit)
    warm = kelvin > STATE_CHANGE
    limit = np.where(warm, DRIEST_WARM, DRIEST_COLD * _growth(kelvin))
    nothing = (deficit > limit) | (warm & (rain < least_precipitation))
    energy: Floats = np.maximum((4.15 * kelvin - 1136.0) * rain * 1e-3 + intercept, 0.0)
    return np.where(nothing, 0.0 * energy, energy)[()]


def dryness_limit(t: ArrayLike) -> Floats:
    """Greatest vapour pressure deficit with any transfer [1]_.

    Parameters
    ----------
    t : array_like
        Mean air temperature [degC].

    Returns
    -------
    scalar or array of float
        [Pa]
    """
    kelvin = np.asarray(t, dtype=np.float64) + FREEZING_POINT
    return np.where(kelvin > STATE_CHANGE, DRIEST_WARM, DRIEST_COLD * _growth(kelvin))[()]


def empirical(
    baseflow: ArrayLike, t: ArrayLike, npp: ArrayLike, *, modis_as_carbon: Literal["dry_matter", "raw"] = "dry_matter"
) -> tuple[Floats, Floats]:
    """E_PPT and E_BIO from measured baseflow and satellite productivity [2]_, [3]_.

    Parameters
    ----------
    baseflow : array_like
        Water that passed through the ground [mm]; see `baseflow`.
    t : array_like
        Mean air temperature over the same time [degC].
    npp : array_like
        Net primary productivity as carbon, such as MOD17A3 [g m-2].
    modis_as_carbon : {"dry_matter", "raw"}
        ``dry_matter``: carbon is brought to dry matter, of which it is 0.45, since the enthalpy is
        that of dry matter. ``raw``: not so, as in [2]_ and [3]_.

    Returns
    -------
    eppt, ebio : scalar or array of float
        [MJ m-2]
    """
    if modis_as_carbon not in ("dry_matter", "raw"):
        raise ValueError(f'empirical: modis_as_carbon is "{modis_as_carbon}"; allowed are "dry_matter" and "raw"')
    share = CARBON_SHARE if modis_as_carbon == "dry_matter" else 1.0
    return water_energy(baseflow, t), biomass_energy(np.asarray(npp) / share)


def baseflow(
    discharge: ArrayLike, *, constant: float = 0.925, form: Literal["baseflow", "printed"] = "baseflow", passes: int = 2
) -> Floats:
    """Slow part of a river's discharge by a recursive filter ([3]_ Eq 2).

    ``U_k = a U_(k-1) + (1 - a) / 2 (Q_k + Q_(k-1))``, never above Q. [3]_ prints a minus between the
    two Q: that is how the filter for quick flow goes, whose weight is (1 + a) / 2. With the minus and
    this weight a steady flow dies away.

    Parameters
    ----------
    discharge : (times,) array_like
        Q, evenly in time, such as daily.
    constant : float
        a, above 0 and below 1.
    form : {"baseflow", "printed"}
        With a plus, or as printed.
    passes : int
        How often it is filtered: forward, then backward, and so on.

    Returns
    -------
    (times,) array of float
        In units of `discharge`.
    """
    if form not in ("baseflow", "printed"):
        raise ValueError(f'baseflow: form is "{form}"; allowed are "baseflow" and "printed"')
    slow: Floats = np.asarray(discharge, dtype=np.float64)
    for number in range(passes):
        way = slice(None, None, -1) if number % 2 else slice(None)
        slow = _filtered(slow[way], constant, 1.0 if form == "baseflow" else -1.0)[way]
    return slow


def climate_means(mean_temperature: ArrayLike, annual_precipitation: ArrayLike) -> Floats:
    """EEMT of a year from mean annual temperature and precipitation: UNVERIFIED.

    ``347134 exp(-0.5 {[(MAT - 21.5) / -10.1]^2 + [(MAP - 4412) / 1704]^2})`` kJ, after [4]_. That
    paper was not at hand and none that was prints the formula; against the medians of ecosystems
    that these print it lies between half and twice as much.

    Parameters
    ----------
    mean_temperature : array_like
        MAT [degC].
    annual_precipitation : array_like
        MAP [mm].

    Returns
    -------
    scalar or array of float
        [MJ m-2 yr-1]
    """
    warmth = (np.asarray(mean_temperature) - 21.5) / -10.1
    wetness = (np.asarray(annual_precipitation) - 4412.0) / 1704.0
    energy: Floats = 347.134 * np.exp(-0.5 * (warmth**2 + wetness**2))
    return energy


def greatest_biomass(eemt: ArrayLike) -> Floats:
    """Biomass that 99.5 % of the land of an EEMT_TOPO stays below, Santa Catalina Mountains [5]_.

    Parameters
    ----------
    eemt : array_like
        EEMT_TOPO [MJ m-2 yr-1]; more than 40 counts as 40.

    Returns
    -------
    scalar or array of float
        [Mg ha-1]
    """
    mass: Floats = 0.032 * np.minimum(np.asarray(eemt), BIOMASS_CAP) ** 3.22
    return mass


def _growth(kelvin: Floats) -> Floats:
    """Saturation vapour pressure over that at the triple point."""
    rate = LATENT_HEAT_AT_ZERO / WATER_VAPOUR_GAS_CONSTANT
    growth: Floats = np.exp(rate * (1.0 / TRIPLE_POINT - 1.0 / kelvin))
    return growth


def _filtered(flow: Floats, constant: float, sign: float) -> Floats:
    slow = np.empty_like(flow)
    slow[0] = flow[0]
    for k in range(1, len(flow)):
        through = constant * slow[k - 1] + (1.0 - constant) / 2.0 * (flow[k] + sign * flow[k - 1])
        slow[k] = min(through, flow[k])
    return slow
