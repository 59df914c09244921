"""From the source's grid to each cell: bilinear in space, then by lapse rates in height."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import Transformer

from eemt.constants import LAPSE_RATE
from eemt.energy.evaporation import saturation_vapour_pressure

Floats = npt.NDArray[np.float32]


def to_cells(
    climate: xr.Dataset,
    elevation: Floats,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    crs: str,
    *,
    lapse_tmin: Any = LAPSE_RATE,
    lapse_tmax: Any = LAPSE_RATE,
    precipitation_gradient: float = 0.0,
) -> dict[str, Floats]:
    """Carry one year's months to cells.

    ``T = T_source - lapse * (z - z_source) / 1000`` [1]_, for the minimum and the maximum alike.

    Parameters
    ----------
    climate : Dataset
        Twelve months, see `eemt.climate.source`; its variable ``crs`` names its coordinate system.
    elevation : ndarray (rows, columns)
        Of the cells [m]; NaN stays NaN in all that is returned.
    x, y : ndarray (columns,), (rows,)
        Coordinates of the cells' centres.
    crs : str
        Coordinate system of `x` and `y`.
    lapse_tmin, lapse_tmax : float or (12,)
        Fall of temperature with height [K km-1].
    precipitation_gradient : float
        Change of precipitation with height as a fraction of the source's [km-1].

    Returns
    -------
    dict of ndarray float32 (12, rows, columns)
        ``tmin``, ``tmax`` [degC], ``prcp`` [mm month-1], ``vp`` [Pa]. Vapour pressure that the source
        only estimated from its minimum temperature is estimated anew from the cell's.

    References
    ----------
    .. [1] Rasmussen, C. et al. 2015. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102, Eq 6.
    """
    here = _sampled(climate, x, y, crs)
    climb = (elevation.astype(np.float64) - here["elevation"]) / 1000.0
    cells = {
        "tmin": here["tmin"] - _by_month(lapse_tmin) * climb,
        "tmax": here["tmax"] - _by_month(lapse_tmax) * climb,
        "prcp": here["prcp"] * np.maximum(1.0 + precipitation_gradient * climb, 0.0),
    }
    # where the two lapse rates differ, high above the source the minimum may pass the maximum
    cells["tmax"] = np.maximum(cells["tmin"], cells["tmax"])
    if "estimated" in climate["vp"].attrs:
        cells["vp"] = np.asarray(1000.0 * saturation_vapour_pressure(cells["tmin"]), dtype=np.float64)
    else:
        cells["vp"] = here["vp"] + 0.0 * climb
    return {name: values.astype(np.float32) for name, values in cells.items()}


def _by_month(rate: Any) -> npt.NDArray[np.float64]:
    return np.broadcast_to(np.asarray(rate, dtype=np.float64), (12,))[:, np.newaxis, np.newaxis]


def _sampled(
    climate: xr.Dataset, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], crs: str
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the source's values at the cells, (12, rows, columns) or broadcasting to it."""
    names = ("tmin", "tmax", "prcp", "vp")
    if climate.sizes["x"] == climate.sizes["y"] == 1:
        values = {name: climate[name].values.astype(np.float64) for name in names}
        return values | {"elevation": climate["elevation"].values.astype(np.float64)}
    to_source = Transformer.from_crs(crs, climate["crs"].attrs["crs_name"], always_xy=True)
    source_x, source_y = to_source.transform(*np.meshgrid(x, y))
    row, row_weight = _neighbours(climate["y"].values, source_y)
    col, col_weight = _neighbours(climate["x"].values, source_x)

    def bilinear(field: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        upper = field[..., row, col] * (1 - col_weight) + field[..., row, col + 1] * col_weight
        lower = field[..., row + 1, col] * (1 - col_weight) + field[..., row + 1, col + 1] * col_weight
        return np.asarray(upper * (1 - row_weight) + lower * row_weight)

    return {name: bilinear(climate[name].values.astype(np.float64)) for name in (*names, "elevation")}


def _neighbours(
    axis: npt.NDArray[np.float64], at: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the index of the lower of two neighbours on an even axis, and the other's weight.

    Beyond the axis's ends, up to half a step, the last value holds.
    """
    position = np.clip((at - axis[0]) / (axis[1] - axis[0]), 0, len(axis) - 1)
    lower = np.minimum(np.floor(position).astype(np.int64), len(axis) - 2)
    return lower, position - lower
