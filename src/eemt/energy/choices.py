"""What the papers of EEMT leave open, and constants that they differ in.

References
----------
.. [1] Rasmussen, C. et al. 2011. An open system framework for integrating critical zone structure
       and function. Biogeochemistry 102:15-29.
.. [2] Rasmussen, C. et al. 2015. Quantifying topographic and vegetation effects on the transfer of
       energy and mass to the critical zone. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102.
.. [3] Zapata-Rios, X. et al. 2016. Hydrology and Earth System Sciences 20:1103-1115.
"""

from dataclasses import dataclass
from typing import Literal, TypedDict

from numpy.typing import ArrayLike

from eemt.constants import (
    BIOMASS_ENTHALPY,
    FREEZING_POINT,
    PRESSURE_LAPSE,
    SOLAR_RATIO_LIMITS,
    WATER_HEAT_CAPACITY,
    WIND_SPEED,
    ZHANG_OMEGA,
)

Pet = Literal["hamon", "thornthwaite", "penman", "penman_monteith"]


@dataclass(frozen=True)
class Choices:
    """Choices that the papers leave open, and constants.

    Attributes
    ----------
    wind : scalar or (months, ...) array_like
        Wind speed 2 m above ground, or above the canopy [m s-1].
    albedo : scalar or (months, ...) array_like
        Share of shortwave radiation reflected [-].
    net_radiation : {"fao56", "shortwave"}
        Absorbed shortwave less the net longwave of FAO-56, or absorbed shortwave alone.
    clearness : float
        Solar radiation over that of a clear sky, in the net longwave of FAO-56 [-].
    omega : float
        Shape of the Budyko curve [-]; published values run from 2.15 to 3.75.
    budyko : {"monthly", "annual"}
        Whether the curve holds for each month, or for the year, whose evaporation then is the same
        share of each month's precipitation.
    redistribution : {"paper", "renormalised"}
        Whether water is multiplied by the wetness index as in [2]_ Eq 10, or that product is brought
        back, month by month, to the sum of effective precipitation over all cells given.
    npp_split : {"days", "warmth"}
        How a year's productivity is shared out to months: by their days, or by days and the
        productivity of Lieth at their temperature, none in frozen months.
    cold_npp : bool
        Let plants of EEMT_TRAD grow in months at or below 0 degC as well; [3]_ does not.
    solar_ratio_limits : tuple of float
        Least and greatest ratio of irradiation to that of flat land [-].
    reference_temperature : float
        Temperature at which water carries no energy [K].
    water_heat_capacity : float
        [J kg-1 K-1]
    biomass_enthalpy : float
        [J kg-1]
    pressure_gradient : float
        Fall of temperature with height in the pressure equation [K m-1].
    """

    wind: ArrayLike = WIND_SPEED
    albedo: ArrayLike = 0.2
    net_radiation: Literal["fao56", "shortwave"] = "fao56"
    clearness: float = 1.0
    omega: float = ZHANG_OMEGA
    budyko: Literal["monthly", "annual"] = "monthly"
    redistribution: Literal["paper", "renormalised"] = "paper"
    npp_split: Literal["days", "warmth"] = "days"
    cold_npp: bool = False
    solar_ratio_limits: tuple[float, float] = SOLAR_RATIO_LIMITS
    reference_temperature: float = FREEZING_POINT
    water_heat_capacity: float = WATER_HEAT_CAPACITY
    biomass_enthalpy: float = BIOMASS_ENTHALPY
    pressure_gradient: float = PRESSURE_LAPSE

    def __post_init__(self) -> None:
        refuse_unknown("net_radiation", self.net_radiation, ("fao56", "shortwave"))
        refuse_unknown("budyko", self.budyko, ("monthly", "annual"))
        refuse_unknown("redistribution", self.redistribution, ("paper", "renormalised"))
        refuse_unknown("npp_split", self.npp_split, ("days", "warmth"))


class Options(TypedDict, total=False):
    """Keywords that make `Choices`."""

    wind: ArrayLike
    albedo: ArrayLike
    net_radiation: Literal["fao56", "shortwave"]
    clearness: float
    omega: float
    budyko: Literal["monthly", "annual"]
    redistribution: Literal["paper", "renormalised"]
    npp_split: Literal["days", "warmth"]
    cold_npp: bool
    solar_ratio_limits: tuple[float, float]
    reference_temperature: float
    water_heat_capacity: float
    biomass_enthalpy: float
    pressure_gradient: float


def refuse_unknown(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise for a choice that there is not.

    Raises
    ------
    ValueError
        With what is allowed.
    """
    if value not in allowed:
        raise ValueError(f'{name} is "{value}"; allowed are {", ".join(allowed)}')
