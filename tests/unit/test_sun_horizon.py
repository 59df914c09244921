"""Horizons and the far field."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eemt.sun.horizon import FAR_FACTOR, NEAR_CELLS, FarField, coarsen, horizon_tangents


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([np.nan, 1, 2, 3])
    ),
    st.integers(1, 4),
)
def test_coarsen_takes_the_highest_cell_of_each_block(elevation, factor):
    coarse = coarsen(elevation, factor)
    for i in range(coarse.shape[0]):
        for j in range(coarse.shape[1]):
            block = elevation[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            expected = np.nan if np.isnan(block).all() else np.nanmax(block)
            np.testing.assert_equal(coarse[i, j], np.float32(expected))


def test_flat_plane_has_no_horizon():
    assert not horizon_tangents(np.full((20, 30), 500.0), dx=10, dy=10).any()


@pytest.mark.parametrize("convention", ["eemt", "grass"])
def test_wall_stands_as_high_as_it_should(convention):
    z = np.zeros((41, 41), np.float32)
    z[:, 30:33] = 100.0
    tangents = horizon_tangents(z, dx=10, dy=10, azimuths=64, convention=convention)
    np.testing.assert_allclose(tangents[16, :, 20], 1.0, rtol=1e-5)  # 10 cells to the east
    np.testing.assert_allclose(tangents[8, 20, 20], np.sqrt(0.5), rtol=0.07)  # to the north-east
    assert not tangents[48].any() or tangents[48, :, :30].max() == 0.0


def test_earth_falls_away_with_distance():
    z = np.zeros((3, 800), np.float32)
    z[:, 700:740] = 1000.0
    tangent = horizon_tangents(z, dx=100, dy=100, azimuths=4)[1, 1, 0]
    distance = 70_500.0
    assert tangent == pytest.approx((1000.0 - distance**2 / (2 * 6_371_000.0)) / distance, rel=0.06)


def test_holes_cast_no_shadow():
    z = np.full((21, 21), 100.0, np.float32)
    z[:, 12] = np.nan
    tangents = horizon_tangents(z, dx=10, dy=10)
    assert np.isnan(tangents[:, :, 12]).all()
    assert not np.nan_to_num(tangents).any()


def test_mirrored_terrain_has_mirrored_horizons():
    rng = np.random.default_rng(1)
    z = rng.uniform(0, 200, (40, 50)).astype(np.float32)
    straight = horizon_tangents(z, dx=20, dy=30)
    mirrored = horizon_tangents(np.ascontiguousarray(z[:, ::-1]), dx=20, dy=30)
    order = (-np.arange(64)) % 64
    np.testing.assert_allclose(mirrored[order, :, ::-1], straight, atol=2e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 260), st.integers(1, 40), st.integers(0, 230), st.integers(1, 70))
def test_a_window_sees_the_same_horizons_as_the_whole(seed, top, rows, left, cols):
    rng = np.random.default_rng(seed)
    z = (rng.uniform(0, 50, (300, 300)) + 3000 * rng.random((300, 300)) ** 40).astype(np.float32)
    z[rng.random(z.shape) < 0.01] = np.nan
    rows, cols = min(rows, 300 - top), min(cols, 300 - left)
    halo = NEAR_CELLS + 2
    padded = np.pad(z, halo, constant_values=np.nan)
    tile = padded[top : top + rows + 2 * halo, left : left + cols + 2 * halo]
    coarse = coarsen(z, FAR_FACTOR)
    whole = horizon_tangents(z, dx=30, dy=30, azimuths=8, far=FarField(coarse, FAR_FACTOR, 0, 0))
    part = horizon_tangents(
        tile,
        dx=30,
        dy=30,
        azimuths=8,
        core=(slice(halo, halo + rows), slice(halo, halo + cols)),
        far=FarField(coarse, FAR_FACTOR, top - halo, left - halo),
    )
    np.testing.assert_array_equal(part, whole[:, top : top + rows, left : left + cols])


def test_far_field_is_that_of_the_dem_unless_given():
    rng = np.random.default_rng(2)
    z = (2000 * rng.random((230, 260)) ** 30).astype(np.float32)
    far = FarField(coarsen(z, FAR_FACTOR), FAR_FACTOR, 0, 0)
    np.testing.assert_array_equal(
        horizon_tangents(z, dx=30, dy=30, azimuths=8), horizon_tangents(z, dx=30, dy=30, azimuths=8, far=far)
    )


def test_max_distance_ends_the_march():
    z = np.zeros((3, 60), np.float32)
    z[:, 50] = 500.0
    assert horizon_tangents(z, dx=10, dy=10, azimuths=4)[1, 1, 0] > 0
    assert horizon_tangents(z, dx=10, dy=10, azimuths=4, max_distance=300)[1, 1, 0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dx": -1.0}, "dx, dy"),
        ({"azimuths": 2}, "azimuths"),
        ({"convention": "saga"}, "convention"),
        ({"threads": 0}, "threads"),
        ({"core": (slice(5, 5), slice(None))}, "core"),
        ({"max_distance": 0.0}, "max_distance"),
        ({"elevation": np.zeros(4)}, "elevation"),
        ({"elevation": np.full((3, 3), np.inf)}, "elevation"),
    ],
)
def test_bad_arguments_are_named(change, message):
    options = {"elevation": np.zeros((9, 9)), "dx": 10.0, "dy": 10.0} | change
    with pytest.raises(ValueError, match=message):
        horizon_tangents(options.pop("elevation"), **options)
