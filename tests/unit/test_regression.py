"""EEMT by statistics: what its formulas obey."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eemt.energy.regression import (
    baseflow,
    climate_means,
    dryness_limit,
    empirical,
    greatest_biomass,
    saturation_pressure,
    state_space,
)


@given(st.floats(-30, 35), st.floats(0, 500), st.floats(0, 3000))
def test_state_space_is_never_negative_and_grows_with_rain(t, rain, deficit):
    assert 0.0 <= state_space(t, rain, deficit) <= state_space(t, rain + 10.0, deficit)


def test_too_dry_air_transfers_nothing():
    assert state_space(25.0, 100.0, 1201.0) == 0.0
    assert state_space(25.0, 100.0, 1199.0) > 0.0
    assert state_space(5.0, 100.0, dryness_limit(5.0) + 1.0) == 0.0
    assert state_space(5.0, 100.0, dryness_limit(5.0) - 1.0) > 0.0


def test_least_precipitation_holds_in_warm_months_only():
    assert state_space(25.0, 20.0, 500.0, least_precipitation=30.0) == 0.0
    assert state_space(10.0, 20.0, 300.0, least_precipitation=30.0) > 0.0


def test_heat_of_water_is_about_that_of_the_state_space():
    # c_w (T - T_ref) is 112.4 kJ kg-1 at 300 K
    assert state_space(26.85, 1.0, 0.0) * 1e3 == pytest.approx(4.187 * 26.85, rel=0.04)


def test_saturation_is_that_of_fao56_within_two_percent():
    np.testing.assert_allclose(saturation_pressure([0.0, 10.0, 20.0]), [610.8, 1227.96, 2338.28], rtol=0.02)


def test_carbon_is_less_than_dry_matter():
    raw, whole = (empirical(37.6, 6.1, 450.0, modis_as_carbon=form) for form in ("raw", "dry_matter"))
    assert raw[0] == whole[0]
    assert whole[1] == pytest.approx(raw[1] / 0.45)


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=60), st.integers(1, 3))
def test_baseflow_is_never_more_than_the_river(flow, passes):
    for form in ("baseflow", "printed"):
        slow = baseflow(flow, form=form, passes=passes)
        assert np.all(slow <= np.array(flow) + 1e-12)
    assert np.all(baseflow(flow, passes=passes) >= 0.0)


def test_steady_flow_is_all_baseflow_and_dies_away_as_printed():
    steady = np.full(200, 3.0)
    np.testing.assert_allclose(baseflow(steady), steady)
    assert baseflow(steady, form="printed", passes=1)[-1] < 1e-5


def test_a_flood_is_mostly_left_out():
    river = np.ones(100)
    river[50:53] = 30.0
    assert baseflow(river).sum() < 0.7 * river.sum()


def test_unknown_forms_are_named():
    with pytest.raises(ValueError, match="form"):
        baseflow([1.0], form="other")
    with pytest.raises(ValueError, match="modis_as_carbon"):
        empirical(1.0, 1.0, 1.0, modis_as_carbon="other")


@pytest.mark.parametrize(
    ("t", "rain", "eemt"),
    [
        (25, 1512, 76.8),
        (23, 1015, 47.1),
        (10, 550, 13.9),
        (0, 474, 2.5),
        (9, 996, 21.6),
        (10, 761, 18.3),
        (16, 550, 22.9),
    ],
)
def test_climate_means_says_it_is_unverified(t, rain, eemt):
    # worked out from the formula; R11 Table 2 prints 74, 46, 11, 2, 28, 27, 12 for these climates
    assert climate_means(t, rain) == pytest.approx(eemt, abs=0.05)
    assert "UNVERIFIED" in climate_means.__doc__


def test_greatest_biomass_grows_up_to_its_cap():
    assert greatest_biomass(39.0) < greatest_biomass(40.0) == greatest_biomass(80.0)
