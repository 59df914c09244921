"""Slope, aspect and northness against planes, whose gradient is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eemt.terrain import aspect, horn, horn_level_rim, northness, slope, terrain


def plane(shape, rise_east, rise_north, dx=1.0, dy=1.0):
    """Elevation of a plane, row 0 northernmost."""
    rows, cols = shape
    east = np.arange(cols) * dx
    north = -np.arange(rows)[:, None] * dy
    return 500.0 + rise_east * east + rise_north * north


@pytest.mark.parametrize("shape", [(7, 9), (2, 2), (1, 5), (5, 1)])
@pytest.mark.parametrize(("dx", "dy"), [(1.0, 1.0), (10.0, 25.0)])
def test_tilted_plane_is_exact_to_its_edges_and_corners(shape, dx, dy):
    dz_dx, dz_dy = horn(plane(shape, 0.3, -0.2, dx, dy), dx, dy)
    # a single row or column says nothing about the gradient across it
    np.testing.assert_allclose(dz_dx, 0.3 if shape[1] > 1 else 0.0, atol=1e-12)
    np.testing.assert_allclose(dz_dy, -0.2 if shape[0] > 1 else 0.0, atol=1e-12)


def test_plane_keeps_its_gradient_beside_a_hole():
    elevation = plane((9, 9), 0.1, 0.4)
    elevation[4, 4] = np.nan
    dz_dx, dz_dy = horn(elevation, 1.0, 1.0)
    there = np.isfinite(elevation)
    assert np.isnan(dz_dx[4, 4])
    assert np.isnan(dz_dy[4, 4])
    np.testing.assert_allclose(dz_dx[there], 0.1, atol=1e-12)
    np.testing.assert_allclose(dz_dy[there], 0.4, atol=1e-12)


def test_level_rim_takes_missing_neighbours_as_high_as_the_cell():
    elevation = plane((6, 7), 0.1, 0.4)
    elevation[2, 3] = np.nan
    filled = np.pad(elevation, 1, constant_values=np.nan)
    level = horn_level_rim(elevation, 1.0, 2.0)
    for i, j in np.argwhere(np.isfinite(elevation)):
        around = filled[i : i + 3, j : j + 3]
        around = np.where(np.isnan(around), elevation[i, j], around)
        expected = horn(around, 1.0, 2.0)
        assert (level[0][i, j], level[1][i, j]) == (expected[0][1, 1], expected[1][1, 1])
    assert np.isnan(level[0][2, 3]) and np.isnan(level[1][2, 3])


def test_lone_cell_is_flat():
    elevation = np.full((3, 3), np.nan)
    elevation[1, 1] = 7.0
    steepness, facing, north = terrain(elevation, 10.0, 10.0)
    assert steepness[1, 1] == 0.0
    assert np.isnan(facing[1, 1])
    assert north[1, 1] == 0.0


def test_horn_weights():
    # Horn 1981: orthogonal neighbours weigh twice the diagonal ones
    elevation = np.zeros((3, 3))
    elevation[1, 2], elevation[0, 2] = 8.0, 4.0
    dz_dx, dz_dy = horn(elevation, 1.0, 1.0)
    assert dz_dx[1, 1] == pytest.approx((2 * 8.0 + 4.0) / 8.0)
    assert dz_dy[1, 1] == pytest.approx(4.0 / 8.0)


@pytest.mark.parametrize(
    ("rise_east", "rise_north", "direction"),
    [(0, -1, 0), (-1, -1, 45), (-1, 0, 90), (-1, 1, 135), (0, 1, 180), (1, 1, 225), (1, 0, 270), (1, -1, 315)],
)
def test_aspect_is_the_downslope_direction_clockwise_from_north(rise_east, rise_north, direction):
    assert aspect(rise_east, rise_north) == pytest.approx(direction)


def test_aspect_stays_below_360():
    assert 0.0 <= aspect(1e-20, -1.0) < 360.0
    facing = terrain(plane((5, 5), 1e-9, -1.0), 1.0, 1.0)[1]
    assert np.all((facing >= 0.0) & (facing < 360.0))


def test_slope_of_a_one_in_one_plane_is_45_degrees():
    assert slope(0.6, 0.8) == pytest.approx(45.0)


def test_flat_land_has_no_aspect_and_no_northness():
    assert np.isnan(aspect(0.0, 0.0))
    assert northness(0.0, 0.0) == 0.0
    assert not np.signbit(northness(0.0, 0.0))


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_northness_is_cosine_of_aspect_times_sine_of_slope(rise_east, rise_north):
    facing = np.nan_to_num(np.radians(aspect(rise_east, rise_north)))
    steepness = np.radians(slope(rise_east, rise_north))
    expected = np.cos(facing) * np.sin(steepness)
    assert northness(rise_east, rise_north) == pytest.approx(expected, abs=1e-12)


def test_cliffs_bound_northness():
    assert northness(0.0, -1e9) == pytest.approx(1.0)
    assert northness(0.0, 1e9) == pytest.approx(-1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_window_with_one_ring_equals_the_whole_bit_for_bit(dtype):
    rng = np.random.default_rng(1)
    elevation = (rng.random((40, 50)) * 300).astype(dtype)
    elevation[10:13, 20:25] = np.nan
    whole = terrain(elevation, 10.0, 12.0)
    window = terrain(elevation[9:31, 4:36], 10.0, 12.0)
    for a, b in zip(whole, window, strict=True):
        np.testing.assert_array_equal(a[10:30, 5:35], b[1:-1, 1:-1])
        assert a.dtype == np.float32
