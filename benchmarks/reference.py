"""A fine reference for daily sun maps: slow, plain and independent of the engine's own horizons and integral.

From every cell a ray is followed towards the sun itself at every time step, over terrain interpolated between cell
centres, until the ground falls behind or the map ends. The clear sky is that of the European Solar Radiation Atlas,
written out again from its equations; nothing of :mod:`eemt.sun` is used.

References
----------
.. [1] Scharmer, K. & Greif, J. (2000). The European Solar Radiation Atlas, vol. 1. Les Presses de l'Ecole des Mines.
.. [2] Rigollier, C., Bauer, O. & Wald, L. (2000). On the clear sky model of the ESRA. Solar Energy 68:33-48.
.. [3] Kasten, F. (1996). The Linke turbidity factor based on improved values of the integral Rayleigh optical
   thickness. Solar Energy 56:239-244.
.. [4] Kasten, F. & Young, A. T. (1989). Revised optical air mass tables. Applied Optics 28:4735-4738.
.. [5] Muneer, T. (1990). Solar radiation model for Europe. Building Services Eng. Res. Technol. 11:153-163.
.. [6] Hofierka, J. & Suri, M. (2002). The solar radiation model for open source GIS. Proc. Open source GIS - GRASS.
"""

import math

import numpy as np
from numba import njit, prange

from eemt.terrain import horn

EARTH_RADIUS = 6_371_000.0  # m
HALF_CELLS = 32  # cells; samples at half cells up to here, at whole cells beyond


@njit(cache=True)
def beam_transmission(height: float, elevation: float, linke: float) -> float:
    """Beam normal irradiance over extraterrestrial [2]_ [3]_ [4]_; sun height [rad], elevation [m]."""
    refraction = 0.061359 * (0.1594 + 1.123 * height + 0.065656 * height**2)
    apparent = height + refraction / (1.0 + 28.9344 * height + 277.3971 * height**2)
    pressure = math.exp(-elevation / 8434.5)
    m = pressure / (math.sin(apparent) + 0.50572 * (math.degrees(apparent) + 6.07995) ** -1.6364)
    if m <= 20.0:
        rayleigh = 1.0 / (6.6296 + 1.7513 * m - 0.1202 * m**2 + 0.0065 * m**3 - 0.00013 * m**4)
    else:
        rayleigh = 1.0 / (10.4 + 0.718 * m)
    return math.exp(-0.8662 * linke * m * rayleigh)


@njit(cache=True)
def diffuse_transmission(height: float, linke: float) -> float:
    """Diffuse horizontal irradiance over extraterrestrial [2]_; sun height [rad]."""
    zenith = -0.015843 + 0.030543 * linke + 0.0003797 * linke**2
    a1 = max(0.26463 - 0.061581 * linke + 0.0031408 * linke**2, 0.0022 / zenith)
    a2 = 2.04020 + 0.018945 * linke - 0.011161 * linke**2
    a3 = -1.3025 + 0.039231 * linke + 0.0085079 * linke**2
    sine = math.sin(height)
    return zenith * (a1 + a2 * sine + a3 * sine**2)


@njit(cache=True)
def sees_sun(
    z: np.ndarray, row: int, col: int, dx: float, dy: float, east: float, north: float, tangent: float, highest: float
) -> bool:
    """Follow a ray from the centre of a cell towards the sun; whether no interpolated terrain stands in its way.

    `east`, `north` are the parts of the level unit vector towards the sun, `tangent` that of the sun's height.
    """
    rows, cols = z.shape
    unit = min(dx, dy)
    ground = z[row, col]
    length = 0.0
    while True:
        length += 0.5 * unit if length < HALF_CELLS * unit else unit
        drop = 2.0 * EARTH_RADIUS * math.sin(0.5 * length / EARTH_RADIUS) ** 2
        ray = ground + drop + length * tangent
        if ray > highest:
            return True
        y, x = row - length * north / dy, col + length * east / dx
        if y < 0.0 or x < 0.0 or y > rows - 1 or x > cols - 1:
            return True
        i, j = min(int(y), rows - 2), min(int(x), cols - 2)
        fy, fx = y - i, x - j
        upper = z[i, j] + fx * (z[i, j + 1] - z[i, j])
        lower = z[i + 1, j] + fx * (z[i + 1, j + 1] - z[i + 1, j])
        if upper + fy * (lower - upper) > ray:
            return False


@njit(cache=True, parallel=True)
def _integrate(  # type: ignore[no-untyped-def]
    z, dz_dx, dz_dy, dx, dy, latitude, convergence, day, step, linke, albedo, irradiation, insolation
):
    rows, cols = z.shape
    angle = 2.0 * math.pi * day / 365.25
    normal = 1367.0 * (1.0 + 0.03344 * math.cos(angle - 0.048869))
    declination = math.asin(0.3978 * math.sin(angle - 1.4 + 0.0355 * math.sin(angle - 0.0489)))
    highest = z.max()
    for row in prange(rows):
        for col in range(cols):
            phi = math.radians(latitude[row, col])
            dusk = math.acos(min(1.0, max(-1.0, -math.tan(phi) * math.tan(declination)))) * 12.0 / math.pi
            count = math.ceil(2.0 * dusk / step)
            hours = 2.0 * dusk / max(1, count)
            steep = math.hypot(dz_dx[row, col], dz_dy[row, col])
            slope, aspect = math.atan(steep), math.atan2(-dz_dx[row, col], -dz_dy[row, col])
            open_sky = 0.5 * (1.0 + math.cos(slope))
            f = math.sin(slope) - slope * math.cos(slope) - math.pi * math.sin(0.5 * slope) ** 2
            for k in range(count):
                w = (-dusk + (k + 0.5) * hours) * math.pi / 12.0
                east = -math.cos(declination) * math.sin(w)
                north = math.cos(phi) * math.sin(declination) - math.sin(phi) * math.cos(declination) * math.cos(w)
                up = math.cos(phi) * math.cos(declination) * math.cos(w) + math.sin(phi) * math.sin(declination)
                height = math.asin(min(1.0, up))
                if height <= 0.0:
                    continue
                azimuth = math.atan2(east, north) - math.radians(convergence[row, col])
                facing = math.cos(height) * math.sin(slope) * math.cos(azimuth - aspect)
                incidence = math.sin(height) * math.cos(slope) + facing
                lit = incidence > 0.0 and sees_sun(
                    z, row, col, dx, dy, math.sin(azimuth), math.cos(azimuth), math.tan(height), highest
                )
                amount = normal * hours
                sky = diffuse_transmission(height, linke)
                if not lit:
                    reflected = albedo * sky * (1.0 - open_sky)
                    irradiation[row, col] += amount * (sky * (open_sky + 0.252271 * f) + reflected)
                    continue
                b = beam_transmission(height, z[row, col], linke)
                diffuse = sky
                if steep > 0.0:
                    n = 0.00263 - 0.712 * b - 0.6883 * b**2
                    low = facing / (0.1 - 0.008 * height)
                    diffuse *= (open_sky + f * n) * (1.0 - b) + b * (incidence / up if height >= 0.1 else low)
                reflected = albedo * (b * up + sky) * (1.0 - open_sky)
                irradiation[row, col] += amount * (b * incidence + diffuse + reflected)
                insolation[row, col] += hours


def reference(
    elevation: np.ndarray,
    *,
    dx: float,
    dy: float,
    latitude: np.ndarray | float,
    day: int,
    convergence: np.ndarray | float = 0.0,
    step: float = 3.0,
    linke: float = 3.0,
    albedo: float = 0.2,
) -> tuple[np.ndarray, np.ndarray]:
    """Clear-sky global irradiation and insolation of one day.

    Parameters
    ----------
    elevation : ndarray (rows, cols)
        Elevation [m], row 0 in the north, without holes.
    dx, dy : float
        Cell size [m].
    latitude : float or ndarray (rows, cols)
        Latitude [degrees], positive north.
    day : int
        Day of the year.
    convergence : float or ndarray (rows, cols)
        Bearing of grid north from true north [degrees].
    step : float
        Longest time step [minutes]; a cell's day is divided evenly between its sunrise and sunset.
    linke : float
        Linke turbidity [-].
    albedo : float
        Albedo of the ground [-].

    Returns
    -------
    irradiation, insolation : ndarray, float64 (rows, cols)
        Beam, diffuse and ground-reflected light together [Wh m-2 day-1]; hours in which the sun is seen [h].
    """
    z = np.ascontiguousarray(elevation, dtype=np.float64)
    dz_dx, dz_dy = horn(z, dx, dy)
    places = [np.broadcast_to(np.asarray(value, dtype=np.float64), z.shape).copy() for value in (latitude, convergence)]
    irradiation, insolation = np.zeros(z.shape), np.zeros(z.shape)
    _integrate(z, dz_dx, dz_dy, dx, dy, *places, day, step / 60.0, linke, albedo, irradiation, insolation)
    return irradiation, insolation
