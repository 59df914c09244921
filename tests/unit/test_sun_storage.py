"""What rounding may do to daily maps."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eemt.raster import WHOLE_NODATA
from eemt.sun import storage


def test_both_know_the_same_value_for_no_data():
    assert storage.WHOLE_NODATA == WHOLE_NODATA


@settings(deadline=None)
@given(st.lists(st.floats(0, 20_000, width=32), min_size=1, max_size=50))
def test_whole_numbers_are_within_half(values: list[float]):
    array = np.array(values, np.float32)
    assert np.abs(storage.whole_numbers(array).astype(float) - array).max() <= 0.5 + 1e-3


@settings(deadline=None)
@given(st.lists(st.floats(0, 24, width=32), min_size=1, max_size=50))
def test_hours_are_within_fifteen_seconds(values: list[float]):
    array = np.array(values, np.float32)
    assert np.abs(storage.hour_steps(array) - array).max() * 3600 < 15


def test_holes_are_kept():
    array = np.array([[1.2, np.nan], [np.nan, 3.7]], np.float32)
    np.testing.assert_array_equal(storage.whole_numbers(array), [[1, WHOLE_NODATA], [WHOLE_NODATA, 4]])
    np.testing.assert_array_equal(np.isnan(storage.hour_steps(array)), np.isnan(array))
