"""Productivity rises as its sources say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eemt.energy.productivity import biomass, canopy, leaf_area_index, lieth, whittaker_niering


@given(st.floats(-50, 50))
def test_lieth_grows_with_warmth_and_has_a_ceiling(t):
    assert 0.0 < lieth(t) < lieth(t + 1.0) < 3000.0


@given(st.floats(580, 2800), st.floats(-1, 0.9))
def test_northness_raises_productivity(elevation, northness):
    shaded, sunny = whittaker_niering(elevation, northness + 0.1), whittaker_niering(elevation, northness)
    assert shaded > sunny or shaded == sunny == 100.0


def test_floor_can_be_set():
    assert whittaker_niering(0.0, 0.0, floor=50.0) == 50.0


def test_missing_stays_missing():
    assert np.isnan(lieth(np.nan))
    assert np.isnan(whittaker_niering(np.nan, 0.0))
    assert np.isnan(whittaker_niering(1000.0, np.nan))


@given(st.floats(0.0, 0.95))
def test_leaf_area_grows_with_greenness(ndvi):
    assert leaf_area_index(ndvi + 0.05) >= leaf_area_index(ndvi) >= 0.0


def test_leaf_area_is_never_negative():
    # the polynomial crosses zero at 0.0680
    assert leaf_area_index(0.067) == leaf_area_index(-1.0) == 0.0
    assert leaf_area_index(0.069) > 0.0


@given(st.floats(0.0, 25.0), st.sampled_from(["printed", "centred"]))
def test_taller_canopies_produce_more(height, form):
    assert canopy(height + 1.0, form) > canopy(height, form)
    assert biomass(height + 1.0) > biomass(height)


def test_floor_of_the_canopys_productivity():
    assert canopy(0.0) == pytest.approx(49.75, abs=0.005)
    assert canopy(0.0, floor=100.0) == 100.0
    assert canopy(200.0, "centred") == 0.0


def test_unknown_reading_of_eq_12_is_named():
    with pytest.raises(ValueError, match='form is "other"; allowed are'):
        canopy(1.0, "other")


def test_missing_canopy_stays_missing():
    assert np.isnan(canopy(np.nan)) and np.isnan(leaf_area_index(np.nan)) and np.isnan(biomass(np.nan))
