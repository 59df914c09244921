"""The ESRA clear sky, against the published equations written out once more."""

import math

import numpy as np
import pvlib
import pytest

from eemt.sun.clearsky import (
    POLYNOMIAL_TERMS,
    air_mass,
    beam_polynomials,
    beam_transmission,
    diffuse_transmission,
    scaled_elevation,
)


def published(h, z, linke):
    """Beam normal and diffuse horizontal over extraterrestrial (Rigollier et al. 2000; Kasten 1996); h in rad."""
    refraction = 0.061359 * (0.1594 + 1.123 * h + 0.065656 * h**2) / (1 + 28.9344 * h + 277.3971 * h**2)
    apparent = h + refraction
    m = math.exp(-z / 8434.5) / (math.sin(apparent) + 0.50572 * (math.degrees(apparent) + 6.07995) ** -1.6364)
    if m <= 20:
        rayleigh = 1 / (6.6296 + 1.7513 * m - 0.1202 * m**2 + 0.0065 * m**3 - 0.00013 * m**4)
    else:
        rayleigh = 1 / (10.4 + 0.718 * m)
    tn = -0.015843 + 0.030543 * linke + 0.0003797 * linke**2
    a1 = 0.26463 - 0.061581 * linke + 0.0031408 * linke**2
    if a1 * tn < 0.0022:
        a1 = 0.0022 / tn
    a2 = 2.04020 + 0.018945 * linke - 0.011161 * linke**2
    a3 = -1.3025 + 0.039231 * linke + 0.0085079 * linke**2
    return math.exp(-0.8662 * linke * m * rayleigh), tn * (a1 + a2 * math.sin(h) + a3 * math.sin(h) ** 2)


@pytest.mark.parametrize("linke", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("elevation", [-400.0, 0.0, 1500.0, 6000.0])
@pytest.mark.parametrize("degrees", [0.5, 3.0, 12.0, 45.0, 90.0])
def test_sky_equals_the_published_equations(degrees, elevation, linke):
    beam, diffuse = published(math.radians(degrees), elevation, linke)
    assert beam_transmission(degrees, elevation, linke) == pytest.approx(beam, rel=1e-12)
    assert diffuse_transmission(degrees, linke) == pytest.approx(diffuse, rel=1e-12)


def test_air_mass_agrees_with_pvlib():
    degrees = np.array([5.0, 20.0, 60.0, 90.0])
    # refraction is in ours and has to be put into pvlib's
    expected = pvlib.atmosphere.get_relative_airmass(90 - degrees, model="kastenyoung1989")
    np.testing.assert_allclose(air_mass(degrees), expected, rtol=0.04)


def test_beam_grows_with_elevation_and_falls_with_turbidity():
    assert np.all(np.diff(beam_transmission(30.0, np.array([0.0, 1000.0, 3000.0]))) > 0)
    assert np.all(np.diff(beam_transmission(30.0, 0.0, np.array([2.0, 3.0, 5.0]))) < 0)


def test_no_light_below_the_horizon():
    assert beam_transmission(-1.0) == 0.0
    assert diffuse_transmission(0.0) == 0.0


@pytest.mark.parametrize("linke", [2.0, 3.0, 5.0, 8.0])
def test_quintic_in_elevation_keeps_the_daily_beam_to_one_part_in_a_hundred_thousand(linke):
    elevations = np.linspace(-500.0, 9000.0, 300)
    scaled = np.array([scaled_elevation(z) for z in elevations])
    for noon in (15.0, 45.0, 80.0):
        heights = np.radians(noon) * np.sin(np.linspace(0.01, np.pi - 0.01, 48))
        exact, fitted = np.zeros(300), np.zeros(300)
        coefficients, sky = np.empty(POLYNOMIAL_TERMS), np.empty(POLYNOMIAL_TERMS)
        for h in heights:
            beam_polynomials(h, linke, coefficients, sky)
            fitted += math.sin(h) * np.polynomial.polynomial.polyval(scaled, coefficients)
            exact += [math.sin(h) * published(h, z, linke)[0] for z in elevations]
        assert np.abs(fitted / exact - 1).max() < (1e-5 if linke <= 5 else 3e-5)


def test_turbidity_out_of_range_is_refused():
    with pytest.raises(ValueError, match="linke"):
        beam_transmission(30.0, 0.0, 0.2)
    with pytest.raises(ValueError, match="sun_elevation"):
        beam_transmission(120.0)
