"""How much of the sky a cell sees.

The sky-view factor V is the part of an evenly bright sky's light on open, level ground that reaches a cell of slope S
and aspect A under a horizon at the zenith angle H [1]_::

    V = 1 / (2 pi) * integral over azimuth phi of  cos S sin^2 H + sin S cos(phi - A) (H - sin H cos H)

It is 1 on open, level ground and r = (1 + cos S) / 2 on an open slope.

References
----------
.. [1] Dozier, J. & Frew, J. (1990). Rapid calculation of terrain parameters for radiation modeling from digital
   elevation data. IEEE Trans. Geosci. Remote Sens. 28:963-969.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from eemt.sun.horizon import level_samples
from eemt.sun.integral import FLAT, KIND, N_UP, NO_DATA, TILT, VIEW

__all__ = ["sky_view"]


@njit(cache=True, nogil=True, error_model="numpy")
def _row_view(table, t, width, east, north, dz_dx, dz_dy, view):  # type: ignore[no-untyped-def]
    """Sky-view factors of a row, whose tangents lie in `table` from `t`, azimuth by azimuth `width` apart."""
    view[:] = 0.0
    for a in range(len(east)):
        for j in range(len(view)):
            # rising along the azimuth hides the sky; times the cosine of slope it is the normal's part
            rise = dz_dx[j] * east[a] + dz_dy[j] * north[a]
            tangent = max(0.0, rise, table[t + a * width + j])
            sine2 = 1.0 / (1.0 + tangent * tangent)
            view[j] += sine2 - rise * (math.atan2(1.0, tangent) - tangent * sine2)
    for j in range(len(view)):
        up = 1.0 / math.sqrt(1.0 + dz_dx[j] * dz_dx[j] + dz_dy[j] * dz_dy[j])
        # the sum over directions may miss the integral of an open slope by a little
        view[j] = min(view[j] * up / len(east), 0.5 * (1.0 + up))


@njit(cache=True, nogil=True)
def narrow_sky(table, width, east, north, dz_dx, dz_dy, cells):  # type: ignore[no-untyped-def]
    """Give `cells` the part of the sky that their horizons leave open.

    Muneer's function of slope shrinks with it: both belong to the light of the sky without the sun's surroundings.
    """
    rows, cols = dz_dx.shape
    view = np.empty(cols)
    for i in range(rows):
        _row_view(table, i * len(east) * width, width, east, north, dz_dx[i], dz_dy[i], view)
        for j in range(cols):
            if cells[KIND, i, j] == NO_DATA:
                continue
            whole = 1.0 if cells[KIND, i, j] == FLAT else 0.5 * (1.0 + cells[N_UP, i, j])
            cells[TILT, i, j] *= view[j] / whole
            cells[VIEW, i, j] = view[j]


def sky_view(tangents: np.ndarray, dz_dx: Any, dz_dy: Any) -> np.ndarray:
    """Sky-view factor of inclined cells [1]_.

    Parameters
    ----------
    tangents : ndarray (azimuths, rows, cols)
        Tangents of the horizon, as from :func:`eemt.sun.horizon.horizon_tangents`.
    dz_dx, dz_dy : float or ndarray (rows, cols)
        Rise of the cells to the east and to the north [m m-1], as from :func:`eemt.terrain.horn`. A cell's own slope
        hides sky like the horizon does.

    Returns
    -------
    ndarray, float32 (rows, cols)
        0..1 [-], the integral taken as a sum over the azimuths; NaN in holes.
    """
    tangents = np.asarray(tangents, dtype=np.float32)
    if tangents.ndim != 3 or 0 in tangents.shape:
        raise ValueError(f"tangents: must be of azimuths, rows and columns, has shape {tangents.shape}")
    azimuths, rows, cols = tangents.shape
    p, q = (np.array(np.broadcast_to(np.asarray(part, dtype=float), (rows, cols))) for part in (dz_dx, dz_dy))
    east, north = level_samples(azimuths)
    result = np.empty((rows, cols), np.float32)
    view = np.empty(cols)
    for i in range(rows):
        _row_view(np.ascontiguousarray(tangents[:, i]).ravel(), 0, cols, east, north, p[i], q[i], view)
        result[i] = view
    result[np.isnan(tangents).any(axis=0) | np.isnan(p) | np.isnan(q)] = np.nan
    return result
