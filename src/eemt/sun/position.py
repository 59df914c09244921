"""Where the sun stands, in true solar time.

Noon is 12 h everywhere: no longitude and no equation of time. One declination holds for a day. Sun elevation is
geometric; refraction belongs to the air mass (:mod:`eemt.sun.clearsky`).

References
----------
.. [1] Scharmer, K. & Greif, J. (2000). The European Solar Radiation Atlas, vol. 1. Les Presses de l'Ecole des Mines.
.. [2] Hofierka, J. & Suri, M. (2002). The solar radiation model for open source GIS. Proc. Open source GIS - GRASS.
"""

import math
from typing import Any

import numpy as np
from numba import njit, vectorize

from eemt.constants import SOLAR_CONSTANT

__all__ = ["day_length", "declination", "extraterrestrial", "sun_position"]

YEAR_LENGTH = 365.25  # days; [1]_ counts the angle of the day over the mean calendar year
HOUR_ANGLE = math.pi / 12.0  # rad per hour of true solar time


@njit(cache=True, nogil=True)
def declination_kernel(day: int) -> float:
    """Declination [rad] on a day of the year (1..365)."""
    angle = 2.0 * math.pi * day / YEAR_LENGTH
    return math.asin(0.3978 * math.sin(angle - 1.4 + 0.0355 * math.sin(angle - 0.0489)))


@njit(cache=True, nogil=True)
def extraterrestrial_kernel(day: int) -> float:
    """Irradiance normal to the beam outside the atmosphere [W m-2]."""
    return SOLAR_CONSTANT * (1.0 + 0.03344 * math.cos(2.0 * math.pi * day / YEAR_LENGTH - 0.048869))


@njit(cache=True, nogil=True)
def sunset_kernel(latitude: float, declination: float) -> float:
    """Hour angle of sunset [rad]: 0 in polar night, pi in polar day. Arguments in rad."""
    cosine = -math.tan(latitude) * math.tan(declination)
    if cosine >= 1.0:
        return 0.0
    if cosine <= -1.0:
        return math.pi
    return math.acos(cosine)


@njit(cache=True, nogil=True)
def direction_kernel(latitude: float, declination: float, hour_angle: float) -> tuple[float, float, float]:
    """Point a unit vector (east, north, up) at the sun. Arguments in rad; the hour angle is positive after noon."""
    east = -math.cos(declination) * math.sin(hour_angle)
    across = math.cos(declination) * math.cos(hour_angle)
    north = math.cos(latitude) * math.sin(declination) - math.sin(latitude) * across
    up = math.cos(latitude) * across + math.sin(latitude) * math.sin(declination)
    return east, north, up


@vectorize(cache=True)
def _declination(day):  # type: ignore[no-untyped-def]
    return declination_kernel(day)


@vectorize(cache=True)
def _extraterrestrial(day):  # type: ignore[no-untyped-def]
    return extraterrestrial_kernel(day)


@vectorize(cache=True)
def _sunset(latitude, declination):  # type: ignore[no-untyped-def]
    return sunset_kernel(latitude, declination)


def _check_day(day: Any) -> None:
    values = np.asarray(day)
    if values.size and (np.any(values < 1) or np.any(values > 365)):
        raise ValueError(f"day: {values.min()}..{values.max()} is outside 1..365 (a sun year has no 29 February)")


def _check_latitude(latitude: Any) -> None:
    values = np.asarray(latitude, dtype=float)
    if not np.all(np.abs(values) <= 90.0):
        raise ValueError("latitude: must be finite and within -90..90 degrees")


def declination(day: Any) -> Any:
    """Declination of the sun.

    Parameters
    ----------
    day : int or array
        Day of the year, 1..365.

    Returns
    -------
    float or array
        Declination [degrees], positive in the northern summer [1]_.
    """
    _check_day(day)
    return np.degrees(_declination(np.asarray(day, dtype=float)))


def extraterrestrial(day: Any) -> Any:
    """Irradiance normal to the beam outside the atmosphere.

    Parameters
    ----------
    day : int or array
        Day of the year, 1..365.

    Returns
    -------
    float or array
        Irradiance [W m-2]: the solar constant corrected for the distance of the sun [1]_.
    """
    _check_day(day)
    return _extraterrestrial(np.asarray(day, dtype=float))


def day_length(latitude: Any, day: Any) -> Any:
    """Time between geometric sunrise and sunset on open, level ground.

    Parameters
    ----------
    latitude : float or array
        Latitude [degrees], positive north.
    day : int or array
        Day of the year, 1..365.

    Returns
    -------
    float or array
        Hours: 0 in polar night, 24 in polar day.
    """
    _check_day(day)
    _check_latitude(latitude)
    sunset = _sunset(np.radians(np.asarray(latitude, dtype=float)), _declination(np.asarray(day, dtype=float)))
    return 2.0 * sunset / HOUR_ANGLE


def sun_position(latitude: Any, day: Any, hour: Any) -> tuple[Any, Any]:
    """Elevation and azimuth of the sun.

    Parameters
    ----------
    latitude : float or array
        Latitude [degrees], positive north.
    day : int or array
        Day of the year, 1..365.
    hour : float or array
        True solar time [h], 0..24; 12 is noon.

    Returns
    -------
    elevation, azimuth : float or array
        Geometric elevation [degrees] and azimuth clockwise from true north [degrees, 0..360).
    """
    _check_day(day)
    _check_latitude(latitude)
    phi = np.radians(np.asarray(latitude, dtype=float))
    delta = _declination(np.asarray(day, dtype=float))
    omega = (np.asarray(hour, dtype=float) - 12.0) * HOUR_ANGLE
    east = -np.cos(delta) * np.sin(omega)
    north = np.cos(phi) * np.sin(delta) - np.sin(phi) * np.cos(delta) * np.cos(omega)
    up = np.cos(phi) * np.cos(delta) * np.cos(omega) + np.sin(phi) * np.sin(delta)
    return np.degrees(np.arctan2(up, np.hypot(east, north))), np.degrees(np.arctan2(east, north)) % 360.0
