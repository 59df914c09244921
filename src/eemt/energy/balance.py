"""Steps that the methods of EEMT share, and the energies that come of water and growth.

References
----------
.. [1] Rasmussen, C. et al. 2011. An open system framework for integrating critical zone structure
       and function. Biogeochemistry 102:15-29.
.. [2] Rasmussen, C. et al. 2015. Quantifying topographic and vegetation effects on the transfer of
       energy and mass to the critical zone. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102.
.. [3] Zapata-Rios, X. et al. 2016. Hydrology and Earth System Sciences 20:1103-1115.
"""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eemt.constants import (
    BIOMASS_ENTHALPY,
    DAYS_IN_YEAR,
    FREEZING_POINT,
    LAI_MAXIMUM,
    SOLAR_RATIO_LIMITS,
    SOLAR_WARMING,
    WATER_HEAT_CAPACITY,
)
from eemt.energy import evaporation
from eemt.energy.choices import Choices, Pet, refuse_unknown
from eemt.energy.evaporation import hamon, net_longwave, penman, penman_monteith, thornthwaite, zhang
from eemt.energy.productivity import lieth
from eemt.energy.result import Energy, Floats


def as_floats(value: ArrayLike) -> Floats:
    """Value as floats, whole numbers as float64."""
    array = np.asarray(value)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def water_energy(
    effective_precipitation: ArrayLike,
    t: ArrayLike,
    heat_capacity: float = WATER_HEAT_CAPACITY,
    reference_temperature: float = FREEZING_POINT,
) -> Floats:
    """Heat carried by effective precipitation ([2]_ Eq 4).

    Parameters
    ----------
    effective_precipitation : array_like
        Water that enters the soil [mm].
    t : array_like
        Mean air temperature [degC].
    heat_capacity : float
        Of water [J kg-1 K-1].
    reference_temperature : float
        At and below which water carries nothing [K].

    Returns
    -------
    scalar or array of float
        Energy [MJ m-2]; 0 at and below the reference temperature.
    """
    warmth = np.maximum(np.asarray(t) - (reference_temperature - FREEZING_POINT), 0.0)
    return np.asarray(effective_precipitation) * warmth * (heat_capacity * 1e-6)


def biomass_energy(productivity: ArrayLike, enthalpy: float = BIOMASS_ENTHALPY) -> Floats:
    """Energy bound in biomass ([2]_ Eq 5).

    Parameters
    ----------
    productivity : array_like
        Net primary production, dry matter [g m-2].
    enthalpy : float
        Of dry matter [J kg-1].

    Returns
    -------
    scalar or array of float
        Energy [MJ m-2].
    """
    return np.asarray(productivity) * (enthalpy * 1e-9)


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
    slope, flat = (as_floats(value) for value in (irradiation, flat_irradiation))
    ratio = np.where(flat == 0.0, 1.0 + 0.0 * slope, slope / np.where(flat == 0.0, 1.0, flat))
    bounded = np.clip(ratio, *limits).astype(np.result_type(slope, flat), copy=False)
    return bounded, (ratio < limits[0]) | (ratio > limits[1])


def solar_warming(ratio: ArrayLike, leaf_area_index: ArrayLike = 0.0) -> Floats:
    """Warming of the maximum temperature by sun and slope ([2]_ Eq 6, last term).

    Parameters
    ----------
    ratio : array_like
        Irradiation over that of flat land [-].
    leaf_area_index : array_like
        Leaf area index [m2 m-2]: from none to 10, a canopy takes none to all of the warming.

    Returns
    -------
    scalar or array of float
        [K]
    """
    s = as_floats(ratio)
    shade = 1.0 - np.minimum(np.asarray(leaf_area_index, dtype=s.dtype) / LAI_MAXIMUM, 1.0)
    warming: Floats = SOLAR_WARMING * (s - 1.0 / s) * shade
    return warming


def renormalisation(effective_precipitation: ArrayLike, mcwi: ArrayLike) -> Floats:
    """Factor that makes shared out water add up to effective precipitation again, month by month.

    The wetness index has the mean one, but its product with effective precipitation has the mean of
    effective precipitation only where that is the same everywhere.

    Parameters
    ----------
    effective_precipitation : (months, ...) array_like
        [mm]
    mcwi : (...) array_like
        Mass-conservative wetness index [-].

    Returns
    -------
    (months,) array of float
        [-]; 1 where there is no water.
    """
    water, share = np.broadcast_arrays(as_floats(effective_precipitation), as_floats(mcwi))
    over = tuple(range(1, water.ndim))
    known = np.isfinite(water) & np.isfinite(share)
    whole = np.sum(np.where(known, water, 0.0), axis=over, dtype=np.float64)
    shared = np.sum(np.where(known, water * share, 0.0), axis=over, dtype=np.float64)
    return np.asarray(np.where(shared > 0.0, whole / np.where(shared > 0.0, shared, 1.0), 1.0))


class Weather:
    """Inputs of one call in shapes that fit together, and the steps that methods share."""

    def __init__(
        self, days: ArrayLike, choices: Choices, months: Mapping[str, ArrayLike], cells: Mapping[str, ArrayLike]
    ) -> None:
        monthly = {name: as_floats(value) for name, value in months.items()}
        monthly |= {"wind": as_floats(choices.wind), "albedo": as_floats(choices.albedo)}
        still = {name: as_floats(value) for name, value in cells.items()}
        rank = max(*(a.ndim - 1 for a in monthly.values()), *(a.ndim for a in still.values()))
        # a scalar, or the months of one place, do not decide for a grid
        wide = [a.dtype for a in monthly.values() if a.ndim > 1] + [a.dtype for a in still.values() if a.ndim]
        self.dtype = np.result_type(*(wide or [a.dtype for a in (*monthly.values(), *still.values()) if a.ndim]))
        self.choices = choices
        self.days = self._along(np.asarray(days), rank)
        whole = DAYS_IN_YEAR + 1 if self.days.sum() == DAYS_IN_YEAR + 1 else DAYS_IN_YEAR
        self.year_share = self.days / self.dtype.type(whole)  # the months of a leap year make one year too
        self.values = {name: self._along(a, rank) for name, a in monthly.items()}
        self.values |= {name: a.astype(self.dtype) for name, a in still.items()}

    def _along(self, values: NDArray[Any], rank: int) -> Floats:
        lifted = values.reshape(-1, *([1] * rank)) if values.ndim == 1 else values
        return np.asarray(lifted, dtype=self.dtype)

    def __getitem__(self, name: str) -> Floats:
        return self.values[name]

    @property
    def t(self) -> Floats:
        """Mean temperature."""
        mean: Floats = (self["tmin"] + self["tmax"]) / self.dtype.type(2.0)
        return mean

    def warm_by_sun(self, leaves: ArrayLike = 0.0) -> NDArray[np.bool_]:
        """Let sun and slope warm the maximum; return where their ratio was out of bounds."""
        ratio, outside = solar_ratio(self["sun"], self["flat_sun"], self.choices.solar_ratio_limits)
        self.values["tmax"] = self["tmax"] + solar_warming(ratio, leaves)
        return np.asarray(outside.any(axis=0))

    def counts(self) -> dict[str, NDArray[np.bool_]]:
        """Cells that get no rain in some month, and those that get no water at all."""
        return {"rainless_month": np.asarray((self["rain"] == 0.0).any(axis=0)), "mcwi_clipped": self["share"] <= 0.0}

    def demand(self, pet: Pet, of_plants: bool = False) -> Floats:
        """Potential evaporation [mm month-1]."""
        refuse_unknown("pet", pet, get_args(Pet))
        if pet == "hamon":
            return hamon(self["tmin"], self["tmax"], self["hours"]) * self.days
        if pet == "thornthwaite":
            return thornthwaite(self.t + self["hours"] * 0, self["hours"], self.days.ravel())
        same: dict[str, Any] = {
            "tmin": self["tmin"],
            "tmax": self["tmax"],
            "vapour_pressure": self["vapour"],
            "net_radiation": self._net_radiation(),
            "elevation": self["elevation"],
            "days": self.days,
            "pressure_gradient": self.choices.pressure_gradient,
        }
        if pet == "penman":
            return penman(**same, wind=self["wind"])
        if not of_plants:
            return penman_monteith(**same, air_resistance=evaporation.grass_air_resistance(self["wind"]))
        return penman_monteith(
            **same,
            air_resistance=evaporation.canopy_air_resistance(self["height"], self["wind"]),
            surface_resistance=evaporation.surface_resistance(self["leaves"]),
        )

    def _net_radiation(self) -> Floats:
        """Energy for evaporation [W m-2]."""
        tilt = np.cos(np.radians(self["slope"])) if "slope" in self.values else 1.0
        absorbed: Floats = (1.0 - self["albedo"]) * self["sun"] / tilt / (self.dtype.type(24.0) * self.days)
        if self.choices.net_radiation == "shortwave":
            return absorbed
        return absorbed - net_longwave(self["tmin"], self["tmax"], self["vapour"], self.choices.clearness)

    def budyko(self, demand: Floats) -> Floats:
        """Actual evaporation [mm month-1]."""
        rain, omega = self["rain"], self.choices.omega
        if self.choices.budyko == "monthly":
            return zhang(rain, demand, omega)
        rain = rain + 0.0 * demand
        year = rain.sum(axis=0)
        evaporated: Floats = rain * (zhang(year, demand.sum(axis=0), omega) / np.where(year == 0.0, 1.0, year))
        return evaporated

    def shared_out(
        self, aet: Floats, annual_npp: Floats, counts: Mapping[str, NDArray[np.bool_]], pet: Floats
    ) -> Energy:
        """Lead effective precipitation along the slopes and split productivity into months."""
        peff = self["rain"] - aet
        water = self["share"] * peff
        if self.choices.redistribution == "renormalised":
            water = water * self._along(renormalisation(peff, self["share"]), water.ndim - 1)
        t = self.t
        share = self.year_share
        if self.choices.npp_split == "warmth":
            growth = np.where(t <= 0.0, 0.0 * t, lieth(t)) * self.days
            season = growth.sum(axis=0)
            share = np.where(season == 0.0, share, growth / np.where(season == 0.0, 1.0, season))
        return self.energy(water, annual_npp * share, counts, pet=pet, aet=aet, peff=peff, temperature=t)

    def energy(self, water: Floats, npp: Floats, counts: Mapping[str, NDArray[np.bool_]], **parts: Floats) -> Energy:
        """Turn water and growth into energies, all as wide as the widest input."""
        choices = self.choices
        capacity, reference = choices.water_heat_capacity, choices.reference_temperature
        eppt = water_energy(water, parts["temperature"], capacity, reference)
        layers = {"eppt": eppt, "ebio": biomass_energy(npp, choices.biomass_enthalpy), "npp": npp, **parts}
        shape = np.broadcast_shapes(*(layer.shape for layer in layers.values()))
        layers = {name: np.broadcast_to(layer, shape).astype(self.dtype) for name, layer in layers.items()}
        cells = {name: int(np.broadcast_to(where, shape[1:]).sum()) for name, where in counts.items()}
        return Energy(**layers, counts=cells)
