"""Productivity rises as its sources say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eemt.energy.productivity import lieth, whittaker_niering


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
