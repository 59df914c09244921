"""Net primary productivity of vegetation, as dry matter, and what it follows from.

References
----------
.. [1] Lieth, H. 1975. Modeling the primary productivity of the world. In: Lieth, H. & Whittaker,
       R.H. (eds) Primary Productivity of the Biosphere, 237-263.
.. [2] Rasmussen, C. et al. 2015. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102, Eqs 11-13.
.. [3] Whittaker, R.H. & Niering, W.A. 1975. Vegetation of the Santa Catalina Mountains, Arizona. V.
       Biomass, production, and diversity along the elevation gradient. Ecology 56:771-790.
.. [4] Qi, J. et al. 2000. Spatial and temporal dynamics of vegetation in the San Pedro River basin
       area. Agricultural and Forest Meteorology 105:55-68.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eemt.constants import LIETH_MAXIMUM, NPP_FLOOR

Floats = NDArray[np.floating]


def lieth(t: ArrayLike) -> Floats:
    """Productivity where water does not limit it [1]_.

    Parameters
    ----------
    t : array_like
        Mean air temperature [degC].

    Returns
    -------
    scalar or array of float
        Net primary productivity, dry matter [g m-2 yr-1].
    """
    # R15 p. 8 prints a minus sign in the denominator; every other source has a plus
    return LIETH_MAXIMUM / (1.0 + np.exp(1.315 - 0.119 * np.asarray(t)))


def whittaker_niering(elevation: ArrayLike, northness: ArrayLike, floor: float = NPP_FLOOR) -> Floats:
    """Above-ground productivity by elevation and exposure, Santa Catalina Mountains [2]_, [3]_.

    Parameters
    ----------
    elevation : array_like
        Elevation [m]; the fit holds from 580 to 2800 m.
    northness : array_like
        Cosine of aspect times sine of slope [-].
    floor : float
        Least productivity [g m-2 yr-1].

    Returns
    -------
    scalar or array of float
        Net primary productivity, dry matter [g m-2 yr-1].
    """
    return np.maximum(0.39 * np.asarray(elevation) + 346.0 * np.asarray(northness) - 187.0, floor)


def canopy(height: ArrayLike, form: Literal["printed", "centred"] = "printed", floor: float = 0.0) -> Floats:
    """Above-ground productivity by canopy height, Santa Catalina Mountains ([2]_ Eq 12).

    ``196 + 36 h - (0.61 h - 12.0933)^2`` is printed; ``196 + 36 h - 0.61 (h - 12.0933)^2`` is how a
    statistics package prints a centred quadratic, and gives 106.8 at no height, near the least
    measured value of 100, where the printed form gives 49.8.

    Parameters
    ----------
    height : array_like
        Canopy height h [m].
    form : {"printed", "centred"}
    floor : float
        Least productivity [g m-2 yr-1]; [2]_ has one for Eq 11 alone.

    Returns
    -------
    scalar or array of float
        Net primary productivity, dry matter [g m-2 yr-1].
    """
    if form not in ("printed", "centred"):
        raise ValueError(f'canopy: form is "{form}"; allowed are "printed" and "centred"')
    h = np.asarray(height)
    loss = (0.61 * h - 12.0933) ** 2 if form == "printed" else 0.61 * (h - 12.0933) ** 2
    npp: Floats = np.maximum(196.0 + 36.0 * h - loss, floor)
    return npp


def leaf_area_index(ndvi: ArrayLike) -> Floats:
    """Leaf area by the normalised difference vegetation index [2]_, [4]_.

    Parameters
    ----------
    ndvi : array_like
        Normalised difference vegetation index [-].

    Returns
    -------
    scalar or array of float
        Leaf area index [m2 m-2]; 0 where the polynomial is below, at an index under 0.068.
    """
    # R15 p. 6 prints "bx2 + c + d"; c belongs to x
    x = np.asarray(ndvi)
    leaves: Floats = np.maximum(((18.99 * x - 15.24) * x + 6.124) * x - 0.352, 0.0)
    return leaves


def biomass(canopy_height: ArrayLike) -> Floats:
    """Biomass by the mean height of the canopy profile ([2]_ Eq 13).

    Parameters
    ----------
    canopy_height : array_like
        Mean canopy profile height [m].

    Returns
    -------
    scalar or array of float
        Biomass [Mg ha-1].
    """
    return 1.441 * np.asarray(canopy_height) ** 2.151
