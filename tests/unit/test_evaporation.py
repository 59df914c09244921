"""What evaporation must obey whatever the numbers."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eemt.energy.evaporation import (
    aerodynamic_resistance,
    day_length,
    hamon,
    net_longwave,
    penman,
    saturation_vapour_pressure,
    thornthwaite,
    vapour_pressure_slope,
    zhang,
)

JULY = {"tmin": 9.0, "tmax": 24.0, "vapour_pressure": 1000.0, "net_radiation": 150.0, "elevation": 2500.0, "days": 31}
RAIN = st.floats(0, 2000)


def test_saturation_slope_fits_the_derivative_within_8_percent():
    t = np.linspace(0.0, 30.0, 31)
    exact = 4098.0 * saturation_vapour_pressure(t) / (t + 237.3) ** 2
    np.testing.assert_allclose(vapour_pressure_slope(t), exact, rtol=0.085)


def test_day_is_twelve_hours_on_the_equator():
    np.testing.assert_allclose(day_length(0.0, np.arange(1, 366)), 12.0)


def test_polar_day_and_night():
    assert day_length(80.0, 172) == 24.0
    assert day_length(80.0, 355) == 0.0


def test_hemispheres_mirror_day_length():
    assert day_length(40.0, 172) + day_length(-40.0, 172) == pytest.approx(24.0)


@given(st.floats(-40, 40), st.floats(0, 20))
def test_hamon_is_zero_at_and_below_freezing(tmin, spread):
    pet = hamon(tmin, tmin + spread, 12.0)
    assert (pet == 0.0) == ((tmin + tmin + spread) / 2 <= 0.0)


def test_hamon_keeps_the_frozen_half_of_a_mild_day():
    pressures = saturation_vapour_pressure(np.array([-3.0, 12.0]))
    assert hamon(-3.0, 12.0, 12.0) == pytest.approx(29.8 * 12 * pressures.mean() / 277.7)


def test_thornthwaite_of_an_even_year():
    # I = 12 (20/5)^1.514, a from its cubic, PET = 16 (200/I)^a for 30 days of 12 h
    heat = 12 * 4**1.514
    exponent = 6.75e-7 * heat**3 - 7.71e-5 * heat**2 + 1.792e-2 * heat + 0.49239
    pet = thornthwaite(np.full(12, 20.0), np.full(12, 12.0), np.full(12, 30))
    np.testing.assert_allclose(pet, 16.0 * (200.0 / heat) ** exponent)


def test_thornthwaite_of_a_frozen_year_is_zero():
    np.testing.assert_array_equal(thornthwaite(np.full(12, -5.0), np.full(12, 12.0), np.full(12, 30)), 0.0)


def test_thornthwaite_of_a_grid_is_that_of_its_cells():
    t = np.random.default_rng(0).uniform(-10, 30, (12, 3, 4))
    hours, days = np.linspace(9, 15, 12), np.full(12, 30)
    whole = thornthwaite(t, hours, days)
    np.testing.assert_allclose(whole[:, 1, 2], thornthwaite(t[:, 1, 2], hours, days))


def test_clear_sky_longwave_loss():
    # FAO-56 example 11 without its factor of cloudiness; sigma T^4 is 38.8 and 35.8 MJ m-2 day-1
    expected = (38.8 + 35.8) / 2 * (0.34 - 0.14 * np.sqrt(2.1)) / 0.0864
    assert net_longwave(19.1, 25.1, 2100.0) == pytest.approx(expected, rel=2e-3)


def test_longwave_loss_of_dry_air_is_greater():
    assert net_longwave(5.0, 20.0, 400.0) > net_longwave(5.0, 20.0, 1500.0)


@given(st.floats(0, 15))
def test_wind_lowers_resistance(wind):
    assert aerodynamic_resistance(wind + 1) < aerodynamic_resistance(wind)


def test_penman_grows_with_radiation_and_dryness_and_wind():
    base = penman(**JULY)
    assert penman(**JULY | {"net_radiation": 200.0}) > base
    assert penman(**JULY | {"vapour_pressure": 500.0}) > base
    assert penman(**JULY, wind=5.0) > base


def test_penman_is_never_negative():
    assert penman(**JULY | {"net_radiation": -500.0}) == 0.0


def test_supersaturated_air_counts_as_saturated():
    assert penman(**JULY | {"vapour_pressure": 1e4}) == penman(**JULY | {"vapour_pressure": 3e3})


@given(RAIN, RAIN, st.floats(1.1, 6))
def test_actual_evaporation_stays_within_supply_and_demand(precipitation, pet, omega):
    aet = zhang(precipitation, pet, omega)
    assert 0.0 <= aet <= min(precipitation, pet)
    assert 0.0 <= precipitation - aet <= precipitation


@given(RAIN, RAIN)
def test_budyko_curve_is_symmetric(precipitation, pet):
    assert zhang(precipitation, pet) == zhang(pet, precipitation)


def test_budyko_limits():
    assert zhang(0.0, 100.0) == 0.0
    assert zhang(100.0, 0.0) == 0.0
    assert zhang(100.0, -5.0) == 0.0
    assert zhang(100.0, 1e9) == pytest.approx(100.0)


def test_missing_stays_missing_without_a_warning():
    gap = np.array([np.nan, 5.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for result in (zhang(gap, 3.0), zhang(3.0, gap), hamon(gap, gap, 12.0), penman(**JULY | {"tmin": gap})):
            np.testing.assert_array_equal(np.isnan(result), [True, False])


def test_single_precision_stays_single():
    values = np.full(3, 5.0, dtype=np.float32)
    assert zhang(values, values).dtype == np.float32
    assert hamon(values, values, values).dtype == np.float32
    assert penman(**dict.fromkeys([*JULY, "wind"], values)).dtype == np.float32
