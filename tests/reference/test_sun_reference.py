"""Sun maps against a slow ray marcher: exact sun azimuth, bilinear terrain, half-cell samples, 3-minute steps.

Only numpy, and nothing of eemt.sun (slopes are eemt.terrain's, tested there): the model is written out again from its
published equations (Scharmer & Greif 2000, Rigollier et al. 2000, Kasten 1996, Kasten & Young 1989, Muneer 1990,
Hofierka & Suri 2002).
"""

import numpy as np
import pytest

from eemt.sun.irradiation import irradiation
from eemt.terrain import horn

DAYS = [1, 80, 172, 264, 355]
EARTH = 6_371_000.0


def hills(size: int, cell: float, relief: float, seed: int) -> np.ndarray:
    """Smooth random terrain: waves of random direction, amplitude in proportion to their length."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] * cell
    z = np.zeros((size, size))
    for length in (40, 25, 14, 9, 6):
        for _ in range(3):
            direction, phase = rng.uniform(0, 2 * np.pi, 2)
            wave = np.sin(2 * np.pi * (x * np.cos(direction) + y * np.sin(direction)) / (length * cell) + phase)
            z += wave * length
    return (800 + relief * (z - z.min()) / np.ptp(z)).astype(np.float32)


def shadow_tangent(z: np.ndarray, cell: float, azimuth: float) -> np.ndarray:
    """Tangent of the horizon towards one azimuth."""
    size = z.shape[0]
    y0, x0 = np.mgrid[:size, :size].astype(float)
    best = np.full(z.shape, -np.inf)
    for half in range(1, int(2 * 1.5 * size)):
        length = 0.5 * half
        y, x = y0 - length * np.cos(azimuth), x0 + length * np.sin(azimuth)
        inside = (y >= 0) & (y <= size - 1) & (x >= 0) & (x <= size - 1)
        if not inside.any():
            break
        i, j = np.clip(y.astype(int), 0, size - 2), np.clip(x.astype(int), 0, size - 2)
        fy, fx = y - i, x - j
        zi = (1 - fy) * ((1 - fx) * z[i, j] + fx * z[i, j + 1]) + fy * ((1 - fx) * z[i + 1, j] + fx * z[i + 1, j + 1])
        metres = length * cell
        drop = EARTH * (1 - np.cos(metres / EARTH))
        best = np.where(inside, np.maximum(best, (zi - z - drop) / metres), best)
    return best


def sky(h: float, z: np.ndarray, linke: float) -> tuple[np.ndarray, float]:
    """Beam normal and diffuse horizontal over extraterrestrial."""
    refraction = 0.061359 * (0.1594 + 1.123 * h + 0.065656 * h**2) / (1 + 28.9344 * h + 277.3971 * h**2)
    high = h + refraction
    m = np.exp(-z / 8434.5) / (np.sin(high) + 0.50572 * (np.degrees(high) + 6.07995) ** -1.6364)
    thick = np.where(
        m <= 20,
        1 / (6.6296 + 1.7513 * m - 0.1202 * m**2 + 0.0065 * m**3 - 0.00013 * m**4),
        1 / (10.4 + 0.718 * m),
    )
    tn = -0.015843 + 0.030543 * linke + 0.0003797 * linke**2
    a1 = max(0.26463 - 0.061581 * linke + 0.0031408 * linke**2, 0.0022 / tn)
    a2 = 2.04020 + 0.018945 * linke - 0.011161 * linke**2
    a3 = -1.3025 + 0.039231 * linke + 0.0085079 * linke**2
    return np.exp(-0.8662 * linke * m * thick), tn * (a1 + a2 * np.sin(h) + a3 * np.sin(h) ** 2)


def brute_force(z, cell, latitude, day, step, *, linke=3.0, albedo=0.2, convergence=0.0, gradient=None, tangents=None):
    """Daily beam, diffuse, reflected [Wh m-2] and insolation [h]; the middle of a step decides whether it is lit."""
    p, q = horn(z, cell, cell) if gradient is None else gradient
    slope, aspect = np.arctan(np.hypot(p, q)), np.arctan2(-p, -q)
    x = 2 * np.pi * day / 365.25
    normal = 1367 * (1 + 0.03344 * np.cos(x - 0.048869))
    d = np.arcsin(0.3978 * np.sin(x - 1.4 + 0.0355 * np.sin(x - 0.0489)))
    phi = np.radians(latitude)
    dusk = np.arccos(np.clip(-np.tan(phi) * np.tan(d), -1, 1)) * 12 / np.pi
    count = int(np.ceil(2 * dusk / step))
    hours = 2 * dusk / count if count else 0.0
    beam, diffuse, reflected, lit_hours = (np.zeros(z.shape) for _ in range(4))
    r = (1 + np.cos(slope)) / 2
    f = np.sin(slope) - slope * np.cos(slope) - np.pi * np.sin(slope / 2) ** 2
    flat = slope == 0
    for k in range(count):
        w = (-dusk + (k + 0.5) * hours) * np.pi / 12
        east, north = -np.cos(d) * np.sin(w), np.cos(phi) * np.sin(d) - np.sin(phi) * np.cos(d) * np.cos(w)
        h = np.arcsin(np.cos(phi) * np.cos(d) * np.cos(w) + np.sin(phi) * np.sin(d))
        azimuth = np.arctan2(east, north) - np.radians(convergence)
        s = np.sin(h) * np.cos(slope) + np.cos(h) * np.sin(slope) * np.cos(azimuth - aspect)
        horizon = shadow_tangent(z.astype(float), cell, azimuth) if tangents is None else tangents
        lit = (s > 0) & (np.tan(h) > horizon)
        b, dh = sky(h, z.astype(float), linke)
        bh = b * np.sin(h)
        n = 0.00263 - 0.712 * b - 0.6883 * b**2
        if h >= 0.1:
            sunlit = dh * ((r + f * n) * (1 - b) + b * s / np.sin(h))
        else:
            sunlit = dh * ((r + f * n) * (1 - b) + b * np.sin(slope) * np.cos(azimuth - aspect) / (0.1 - 0.008 * h))
        amount = normal * hours
        beam += amount * np.where(lit, b * s, 0)
        diffuse += amount * np.where(flat, dh, np.where(lit, sunlit, dh * (r + 0.252271 * f)))
        reflected += amount * np.where(flat, 0, albedo * (np.where(lit, bh, 0) + dh) * (1 - np.cos(slope)) / 2)
        lit_hours += hours * lit
    return beam, diffuse, reflected, lit_hours


def errors(maps, truth):
    """Mean relative error of daily global, mean error of insolation [h]."""
    whole = sum(truth[:3])
    return np.abs(maps["global"][0] - whole).mean() / whole.mean(), np.abs(maps["insolation"][0] - truth[3]).mean()


@pytest.mark.parametrize("day", DAYS)
def test_hilly_maps_follow_a_fine_ray_marcher(day):
    z = hills(40, 30.0, 150.0, 7)
    ours = irradiation(z, dx=30, dy=30, latitude=36.0, days=[day], threads=1)
    error, hours = errors(ours, brute_force(z, 30.0, 36.0, day, 0.05))
    assert error < 1e-3
    assert hours < 0.03


@pytest.mark.parametrize("day", DAYS)
def test_steep_maps_are_nearer_the_truth_than_hard_shadow_edges_at_the_same_step(day):
    z = hills(40, 10.0, 200.0, 7)
    ours = irradiation(z, dx=10, dy=10, latitude=36.0, days=[day], threads=1)
    truth = brute_force(z, 10.0, 36.0, day, 0.05)
    coarse = brute_force(z, 10.0, 36.0, day, 0.25)
    error, hours = errors(ours, truth)
    assert error < 0.9 * np.abs(sum(coarse[:3]) - sum(truth[:3])).mean() / sum(truth[:3]).mean()
    assert hours < 0.7 * np.abs(coarse[3] - truth[3]).mean()


def test_meridian_convergence_turns_the_sun():
    z = hills(24, 30.0, 200.0, 3)
    ours = irradiation(z, dx=30, dy=30, latitude=52.0, convergence=12.0, days=[80], threads=1)
    beam, diffuse, reflected, _ = brute_force(z, 30.0, 52.0, 80, 0.05, convergence=12.0)
    unturned = sum(brute_force(z, 30.0, 52.0, 80, 0.05)[:3])
    truth = beam + diffuse + reflected
    error = np.abs(ours["global"][0] - truth).mean() / truth.mean()
    assert error < 1e-3
    assert error < 0.1 * np.abs(unturned - truth).mean() / truth.mean()


@pytest.mark.parametrize("latitude", [-33.0, 0.0, 36.0, 69.0])
@pytest.mark.parametrize("bearing", [0.0, 100.0, 225.0])
def test_tilted_plane_follows_the_model_of_muneer(latitude, bearing):
    steep = np.tan(np.radians(25.0))
    p, q = -steep * np.sin(np.radians(bearing)), -steep * np.cos(np.radians(bearing))
    y, x = np.mgrid[:7, :7]
    z = (1000 + 10 * (p * x - q * y)).astype(np.float32)
    days = [20, 100, 172, 300]
    ours = irradiation(z, dx=10, dy=10, latitude=latitude, days=days, shadows=False, threads=1, step=3, linke=4.0)
    for i, day in enumerate(days):
        gradient = np.full(z.shape, p), np.full(z.shape, q)
        parts = brute_force(
            z, 10.0, latitude, day, 0.05, linke=4.0, gradient=gradient, tangents=np.full(z.shape, -np.inf)
        )
        scale = max(1.0, parts[1].mean())
        for name, expected in zip(("beam", "diffuse"), parts, strict=False):
            np.testing.assert_allclose(ours[name][i], expected, atol=5e-3 * scale, rtol=1e-3)
        np.testing.assert_allclose(ours["global"][i], sum(parts[:3]), atol=5e-3 * scale, rtol=1e-3)
        np.testing.assert_allclose(ours["insolation"][i], parts[3], atol=0.06)
