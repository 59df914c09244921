"""The cloudless sky of the European Solar Radiation Atlas (ESRA), as r.sun uses it.

References
----------
.. [1] Rigollier, C., Bauer, O. & Wald, L. (2000). On the clear sky model of the ESRA. Solar Energy 68:33-48.
.. [2] Scharmer, K. & Greif, J. (2000). The European Solar Radiation Atlas, vol. 1. Les Presses de l'Ecole des Mines.
.. [3] Kasten, F. (1996). The Linke turbidity factor based on improved values of the integral Rayleigh optical
   thickness. Solar Energy 56:239-244.
.. [4] Kasten, F. & Young, A. T. (1989). Revised optical air mass tables. Applied Optics 28:4735-4738.
.. [5] Hofierka, J. & Suri, M. (2002). The solar radiation model for open source GIS. Proc. Open source GIS - GRASS.
"""

import math
from typing import Any

import numpy as np
from numba import njit, vectorize

from eemt.constants import PRESSURE_SCALE_HEIGHT

__all__ = ["air_mass", "beam_transmission", "diffuse_transmission"]

ELEVATION_RANGE = (-500.0, 9000.0)  # m, all dry land; the beam's dependence on elevation is fitted over it
POLYNOMIAL_TERMS = 6  # a quintic over that range follows the beam to 1e-5 of its daily sum
WARP = 30_000.0  # m, the fit is in exp(-z / WARP), in which five powers follow the beam best
_WARPED = (math.exp(-ELEVATION_RANGE[0] / WARP), math.exp(-ELEVATION_RANGE[1] / WARP))
_NODES = np.cos(math.pi * (np.arange(POLYNOMIAL_TERMS) + 0.5) / POLYNOMIAL_TERMS)  # Chebyshev, least largest error
_NODE_ELEVATION = -WARP * np.log(0.5 * (_WARPED[0] + _WARPED[1]) + 0.5 * (_WARPED[0] - _WARPED[1]) * _NODES)
_NODE_PRESSURE = np.exp(-_NODE_ELEVATION / PRESSURE_SCALE_HEIGHT)
# powers of the scaled elevation from values at the nodes
_NODES_TO_POWERS = np.ascontiguousarray(np.linalg.inv(np.vander(_NODES, increasing=True)))


@njit(cache=True, nogil=True, error_model="numpy")
def scaled_elevation(elevation: float) -> float:
    """Elevation [m] mapped onto 1..-1 over ELEVATION_RANGE, clipped there."""
    middle = 0.5 * (_WARPED[0] + _WARPED[1])
    half = 0.5 * (_WARPED[0] - _WARPED[1])
    scaled: float = (math.exp(-elevation / WARP) - middle) / half
    clipped: float = min(1.0, max(-1.0, scaled))
    return clipped


@njit(cache=True, nogil=True, error_model="numpy")
def sea_level_air_mass(sun_elevation: float) -> float:
    """Relative optical air mass at sea level [4]_ for a geometric sun elevation [rad], refraction included [5]_."""
    h = sun_elevation
    refraction = 0.061359 * (0.1594 + 1.123 * h + 0.065656 * h * h) / (1.0 + 28.9344 * h + 277.3971 * h * h)
    apparent = h + refraction
    mass: float = 1.0 / (math.sin(apparent) + 0.50572 * (math.degrees(apparent) + 6.07995) ** -1.6364)
    return mass


@njit(cache=True, nogil=True, error_model="numpy")
def rayleigh_extinction(mass: float) -> float:
    """Air mass times Rayleigh optical thickness [3]_."""
    if mass <= 20.0:
        inverse = 6.6296 + mass * (1.7513 + mass * (-0.1202 + mass * (0.0065 - 0.00013 * mass)))
    else:
        inverse = 10.4 + 0.718 * mass
    return mass / inverse


@njit(cache=True, nogil=True, error_model="numpy")
def beam_kernel(sun_elevation: float, elevation: float, linke: float) -> float:
    """Beam normal irradiance over extraterrestrial [1]_; sun elevation in rad, elevation in m."""
    mass = math.exp(-elevation / PRESSURE_SCALE_HEIGHT) * sea_level_air_mass(sun_elevation)
    return math.exp(-0.8662 * linke * rayleigh_extinction(mass))


@njit(cache=True, nogil=True, error_model="numpy")
def diffuse_kernel(sine: float, linke: float) -> float:
    """Diffuse horizontal irradiance over extraterrestrial [1]_ for the sine of the sun's elevation."""
    transmission = -0.015843 + linke * (0.030543 + 0.0003797 * linke)
    a1 = 0.26463 + linke * (-0.061581 + 0.0031408 * linke)
    if a1 * transmission < 0.0022:
        a1 = 0.0022 / transmission
    a2 = 2.04020 + linke * (0.018945 - 0.011161 * linke)
    a3 = -1.3025 + linke * (0.039231 + 0.0085079 * linke)
    return transmission * (a1 + sine * (a2 + a3 * sine))


@njit(cache=True, nogil=True, error_model="numpy")
def beam_polynomials(sun_elevation, linke, beam, sky):  # type: ignore[no-untyped-def]
    """Fit the beam over all elevations.

    Writes the coefficients, lowest power first, of two polynomials in :func:`scaled_elevation`: `beam`, the beam
    transmission q, and `sky`, the anisotropy -0.71463 q + 0.0237 q^2 + 0.6883 q^3 of Muneer's tilted diffuse light.
    """
    mass = sea_level_air_mass(sun_elevation)
    for i in range(POLYNOMIAL_TERMS):
        beam[i] = 0.0
        sky[i] = 0.0
    for node in range(POLYNOMIAL_TERMS):
        q = math.exp(-0.8662 * linke * rayleigh_extinction(_NODE_PRESSURE[node] * mass))
        anisotropy = q * (-0.71463 + q * (0.0237 + 0.6883 * q))
        for i in range(POLYNOMIAL_TERMS):
            beam[i] += _NODES_TO_POWERS[i, node] * q
            sky[i] += _NODES_TO_POWERS[i, node] * anisotropy


@vectorize(cache=True)
def _air_mass(sun_elevation, elevation):  # type: ignore[no-untyped-def]
    return math.exp(-elevation / PRESSURE_SCALE_HEIGHT) * sea_level_air_mass(sun_elevation)


@vectorize(cache=True)
def _beam(sun_elevation, elevation, linke):  # type: ignore[no-untyped-def]
    if sun_elevation <= 0.0:
        return 0.0
    return beam_kernel(sun_elevation, elevation, linke)


@vectorize(cache=True)
def _diffuse(sun_elevation, linke):  # type: ignore[no-untyped-def]
    if sun_elevation <= 0.0:
        return 0.0
    return diffuse_kernel(math.sin(sun_elevation), linke)


def _radians(sun_elevation: Any) -> Any:
    degrees = np.asarray(sun_elevation, dtype=float)
    if np.any(np.abs(degrees) > 90.0):
        raise ValueError("sun_elevation: must be within -90..90 degrees")
    return np.radians(degrees)


def _checked_linke(linke: Any) -> Any:
    values = np.asarray(linke, dtype=float)
    if not np.all((values >= 1.0) & (values <= 15.0)):
        raise ValueError("linke: Linke turbidity must be within 1 (clean, dry air) and 15")
    return values


def air_mass(sun_elevation: Any, elevation: Any = 0.0) -> Any:
    """Relative optical air mass [4]_, corrected for refraction and pressure.

    Parameters
    ----------
    sun_elevation : float or array
        Geometric sun elevation [degrees], 0..90.
    elevation : float or array
        Height above sea level [m].

    Returns
    -------
    float or array
    """
    return _air_mass(_radians(sun_elevation), np.asarray(elevation, dtype=float))


def beam_transmission(sun_elevation: Any, elevation: Any = 0.0, linke: Any = 3.0) -> Any:
    """Beam normal irradiance as a fraction of the extraterrestrial [1]_ [3]_.

    Parameters
    ----------
    sun_elevation : float or array
        Geometric sun elevation [degrees]; at or below 0 the result is 0.
    elevation : float or array
        Height above sea level [m].
    linke : float or array
        Linke turbidity for air mass 2 [-], 1..15.

    Returns
    -------
    float or array
    """
    return _beam(_radians(sun_elevation), np.asarray(elevation, dtype=float), _checked_linke(linke))


def diffuse_transmission(sun_elevation: Any, linke: Any = 3.0) -> Any:
    """Diffuse horizontal irradiance as a fraction of the extraterrestrial [1]_; no pressure correction.

    Parameters
    ----------
    sun_elevation : float or array
        Geometric sun elevation [degrees]; at or below 0 the result is 0.
    linke : float or array
        Linke turbidity for air mass 2 [-], 1..15.

    Returns
    -------
    float or array
    """
    return _diffuse(_radians(sun_elevation), _checked_linke(linke))
