"""What a method returns: energies, what they were computed from, and cells outside its domain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

COUNTS = {
    "dry_month": "cells where evaporation could take all water of some month",
    "dry_year": "cells where evaporation could take all water of every month, so that there is no energy at all",
    "rainless_month": "cells without any precipitation in some month",
    "solar_ratio_clamped": "cells whose ratio of sloped to flat sun was brought within its bounds in some month",
    "mcwi_clipped": "cells whose wetness index was raised to 0, so that they get no water",
    "elevation_out_of_range": "cells outside the elevations, 580 to 2800 m, that Eq 11 was fitted on",
    "canopy_out_of_range": "cells whose canopy is higher than the 26 m that Eq 12 was fitted on",
    "npp_floor_used": "cells whose productivity was raised to its floor",
    "lai_clipped": "cells whose leaf area index was raised to 0 in some month",
    "aet_limited": "cells where plants could have used more water than fell in some month",
    "without_vegetation": "cells of the elevation model without NDVI or canopy height",
}
COUNTS_OF = {
    "trad": ("dry_month", "dry_year"),
    "topo": ("rainless_month", "solar_ratio_clamped", "mcwi_clipped", "elevation_out_of_range", "npp_floor_used"),
    "veg": (
        "rainless_month",
        "solar_ratio_clamped",
        "mcwi_clipped",
        "canopy_out_of_range",
        "npp_floor_used",
        "lai_clipped",
        "aet_limited",
        "without_vegetation",
    ),
}


@dataclass(frozen=True)
class Energy:
    """Energy transferred to the soil, month by month, and what it was computed from.

    Attributes
    ----------
    eppt, ebio : (months, ...) arrays of float
        Energy of effective precipitation and of biomass [MJ m-2 month-1].
    pet, aet, peff : (months, ...) arrays of float, or None
        Potential and actual evaporation, and effective precipitation before it is shared out over
        the slopes [mm month-1].
    npp : (months, ...) array of float, or None
        Net primary production, dry matter [g m-2 month-1].
    temperature : (months, ...) array of float, or None
        Mean air temperature at the cell [degC].
    counts : mapping
        Number of cells where the model left its domain, by the names of `COUNTS`.
    """

    eppt: Floats
    ebio: Floats
    pet: Floats | None = None
    aet: Floats | None = None
    peff: Floats | None = None
    npp: Floats | None = None
    temperature: Floats | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

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

    @property
    def biomass_share(self) -> Floats:
        """Share F_BIO of biomass in the year's energy [-]; NaN where there is none."""
        total = self.annual_eemt
        return np.where(total > 0.0, self.annual_ebio, np.nan) / np.where(total > 0.0, total, 1.0)
