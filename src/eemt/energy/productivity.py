"""Net primary productivity of vegetation, as dry matter.

References
----------
.. [1] Lieth, H. 1975. Modeling the primary productivity of the world. In: Lieth, H. & Whittaker,
       R.H. (eds) Primary Productivity of the Biosphere, 237-263.
.. [2] Rasmussen, C. et al. 2015. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102, Eq 11.
.. [3] Whittaker, R.H. & Niering, W.A. 1975. Vegetation of the Santa Catalina Mountains, Arizona. V.
       Biomass, production, and diversity along the elevation gradient. Ecology 56:771-790.
"""

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
