"""Which voids are filled, and with what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.lib.stride_tricks import sliding_window_view

from eemt.dem.voids import filled, narrow, reach


def wide_by_definition(void: np.ndarray, width: int) -> np.ndarray:
    """Mark every cell of each square of more than `width` cells that is all void."""
    size = width + 1
    padded = np.pad(void, size, constant_values=True)
    wide = np.zeros_like(padded)
    for row, col in np.argwhere(sliding_window_view(padded, (size, size)).all(axis=(2, 3))):
        wide[row : row + size, col : col + size] = True
    return wide[size:-size, size:-size]


VOIDS = arrays.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@given(VOIDS, st.integers(1, 4))
def test_no_cell_of_a_wide_void_is_filled(void: np.ndarray, width: int):
    found = narrow(void, width)
    wide = wide_by_definition(void, width)
    assert not (found & (wide | ~void)).any()
    if not wide.any():
        np.testing.assert_array_equal(found, void)


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_windows_fill_as_the_whole(width: int, seed: int):
    random = np.random.default_rng(seed)
    elevation = random.normal(1000, 50, (60, 60)).astype(np.float32)
    for _ in range(12):
        row, col, high, broad = random.integers([0, 0, 1, 1], [60, 60, 9, 9])
        elevation[row : row + high, col : col + broad] = np.nan
    whole = filled(elevation, width)
    rim = reach(width)
    for start in range(0, 60, 20):
        top, bottom = max(start - rim, 0), min(start + 20 + rim, 60)
        part = filled(elevation[top:bottom], width)[start - top : start - top + 20]
        np.testing.assert_array_equal(part, whole[start : start + 20])


@pytest.mark.parametrize("width", [1, 2, 5])
def test_void_is_as_wide_as_the_square_in_it(width: int):
    elevation = np.full((30, 40), 7.0, np.float32)
    elevation[10 : 10 + width, 2:38] = np.nan
    assert not np.isnan(filled(elevation, width)).any()
    assert (filled(elevation, width) == 7).all()
    if width > 1:
        np.testing.assert_array_equal(filled(elevation, width - 1), elevation)


def test_voids_at_the_rim_are_filled_where_they_are_narrow():
    elevation = np.full((20, 20), 7.0, np.float32)
    elevation[:, 5] = np.nan
    elevation[0, 12:14] = np.nan
    assert not np.isnan(filled(elevation, 2)).any()


def test_what_may_go_on_beyond_the_rim_is_kept():
    elevation = np.full((20, 20), 7.0, np.float32)
    elevation[0, 3:12] = np.nan
    np.testing.assert_array_equal(filled(elevation, 2), elevation)
