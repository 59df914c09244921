"""What evaporation must obey whatever the numbers."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eemt.energy.evaporation import (
    aerodynamic_resistance,
    canopy_air_resistance,
    day_length,
    grass_air_resistance,
    hamon,
    net_longwave,
    penman,
    penman_monteith,
    saturation_vapour_pressure,
    surface_resistance,
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


@given(st.floats(0, 12), st.floats(0.01, 2))
def test_leaves_lower_the_resistance_of_the_surface_within_the_published_range(leaves, more):
    # R15 p. 7: 38 to 55 s m-1
    assert 38.0 - 1e-9 <= surface_resistance(leaves + more) <= surface_resistance(leaves) <= 55.0 + 1e-9


def test_resistance_of_the_surface_spans_all_of_the_published_range():
    np.testing.assert_allclose(surface_resistance([0.0, 10.0]), [55.0, 38.0])


@given(st.floats(0, 60), st.floats(0.5, 15))
def test_taller_plants_and_wind_lower_the_resistance_of_the_air(height, wind):
    assert canopy_air_resistance(height + 1.0, wind) < canopy_air_resistance(height, wind)
    assert canopy_air_resistance(height, wind + 1.0) < canopy_air_resistance(height, wind)


def test_air_over_low_grass_resists_as_fao56_says():
    # FAO-56 Eq 4 with h 0.12 m, but wind and air measured at 2 m above ground: 208 / u
    assert canopy_air_resistance(0.12, 2.0) == pytest.approx(104.0, rel=0.03)
    assert grass_air_resistance(2.0) == 104.0


def test_calm_air_still_exchanges():
    assert canopy_air_resistance(5.0, 0.0) == canopy_air_resistance(5.0, 0.5)
    assert grass_air_resistance(0.0) == 416.0


def test_penman_monteith_of_grass_is_fao56s():
    # FAO-56 example 17: Bangkok, April, 5.72 mm day-1 with a net radiation less ground heat of 14.19 MJ
    month = {"tmin": 25.6, "tmax": 34.8, "vapour_pressure": 2850.0, "elevation": 2.0, "days": 1}
    assert penman_monteith(net_radiation=14.19 / 0.0864, **month) == pytest.approx(5.72, rel=0.02)


def test_plants_hold_water_back_that_open_water_gives():
    assert penman_monteith(**JULY, air_resistance=120.0, surface_resistance=0.0) > penman_monteith(
        **JULY, air_resistance=120.0, surface_resistance=50.0
    )
    open_water = penman_monteith(**JULY, air_resistance=aerodynamic_resistance(2.0), surface_resistance=0.0)
    assert open_water == pytest.approx(penman(**JULY, wind=2.0))


def test_clouds_keep_longwave_radiation_in():
    clear = net_longwave(5.0, 20.0, 800.0)
    assert net_longwave(5.0, 20.0, 800.0, clearness=0.7) == pytest.approx(clear * (1.35 * 0.7 - 0.35))


def test_longwave_loss_of_fao56_example_11():
    # Rs/Rso 0.77, 3.5 MJ m-2 day-1
    assert net_longwave(19.1, 25.1, 2100.0, clearness=0.77) * 0.0864 == pytest.approx(3.5, abs=0.05)
