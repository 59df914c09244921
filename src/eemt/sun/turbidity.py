"""The haze of the air through the year, from the world table that ships in pvlib.

References
----------
.. [1] Remund, J., Wald, L., Lefevre, M., Ranchin, T. & Page, J. (2003). Worldwide Linke turbidity information.
   Proc. ISES Solar World Congress, Goteborg.
"""

import numpy as np
import numpy.typing as npt

from eemt.constants import DAYS_IN_YEAR

__all__ = ["climatology"]

LIMITS = (1.0, 15.0)  # what the clear-sky model takes; the table falls below in single cells of ice and sea


def climatology(latitude: float, longitude: float) -> npt.NDArray[np.float64]:
    """Linke turbidity of each day of the year at a place [1]_.

    The table has monthly means on a grid of 1/12 degree. A month's mean stands in the middle of the month; the days
    between are interpolated, December to January too.

    Parameters
    ----------
    latitude, longitude : float
        [degrees north], [degrees east].

    Returns
    -------
    ndarray (365,)
        Linke turbidity for air mass 2 [-], 1 January first.
    """
    import pandas as pd
    from pvlib.clearsky import lookup_linke_turbidity

    from eemt.climate.monthly import middle_days

    months = pd.date_range("2001-01-15", periods=12, freq=pd.DateOffset(months=1), tz="UTC")
    table = lookup_linke_turbidity(months, latitude, longitude, interp_turbidity=False).to_numpy(dtype=np.float64)
    days = np.arange(1, DAYS_IN_YEAR + 1)
    values: npt.NDArray[np.float64] = np.interp(days, middle_days(), np.clip(table, *LIMITS), period=DAYS_IN_YEAR)
    return values
