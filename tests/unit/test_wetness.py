"""Flow over surfaces whose catchment areas are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eemt.wetness import _accumulated, flow, mcwi, topographic_wetness, with_rim

CELL = 10.0


def plane(rows, cols, fall_east, fall_south):
    return 1000.0 - CELL * (fall_east * np.arange(cols) + fall_south * np.arange(rows)[:, None])


def test_plane_falling_south_gathers_one_cell_a_row_to_its_side_borders():
    area = flow(plane(40, 30, 0.0, 0.1), CELL, CELL)
    expected = CELL * np.arange(1, 41)[:, None] * np.ones(30)
    np.testing.assert_allclose(area, expected, rtol=1e-6)


def test_plane_tilted_off_axis_does_not_pile_water_on_its_border():
    rows, cols = 40, 60
    area = flow(plane(rows, cols, 0.03, 0.1), CELL, CELL)
    # water from the western border has spread no further east than one column a row
    beyond = np.arange(cols) > np.arange(rows)[:, None]
    expected = CELL * np.arange(1, rows + 1)[:, None] * np.ones(cols)
    np.testing.assert_allclose(area[beyond], expected[beyond], rtol=1e-6)
    assert area.max() <= CELL * rows * (1 + 1e-6)


def test_cone_spreads_its_water():
    # each ring of an outward cone drains what lies inside it: a = pi r^2 / 2 pi r
    y, x = np.mgrid[-60:61, -60:61] * CELL
    radius = np.hypot(x, y)
    area = flow(1000.0 - 0.2 * radius, CELL, CELL)
    ring = (radius > 200) & (radius < 550)
    assert np.mean(area[ring] / (radius[ring] / 2)) == pytest.approx(1.0, abs=0.15)


def test_bowl_fills_and_drains_over_its_rim():
    y, x = np.mgrid[-20:21, -20:21] * CELL
    area = flow(1000.0 + 0.001 * (x**2 + y**2), CELL, CELL)
    assert np.all(np.isfinite(area))
    assert np.all(area >= CELL * (1 - 1e-6))
    border = np.ones(area.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    assert area[border].sum() >= 0.99 * CELL * area.size


def test_all_water_leaves_over_the_rim():
    rng = np.random.default_rng(3)
    surface = 500.0 + 100.0 * rng.random((40, 50))
    surface[5:12, 8:20] = np.nan
    surface[25:, 40:] = np.nan
    cells = _accumulated(with_rim(surface), CELL) / CELL
    ring = np.concatenate([cells[0], cells[-1], cells[1:-1, 0], cells[1:-1, -1]])
    # conservation: every cell inside the outermost ring drains into it once
    assert ring.sum() - ring.size == pytest.approx(42 * 52, rel=1e-6)


def test_sea_receives_the_coast_s_water():
    surface = plane(30, 30, 0.1, 0.0)
    surface[:, 20:] = np.nan
    area = flow(surface, CELL, CELL)
    assert np.all(np.isnan(area[:, 20:]))
    np.testing.assert_allclose(area[:, :20], CELL * np.arange(1, 21) * np.ones((30, 1)), rtol=1e-6)


def test_one_cell_hole_does_not_break_the_flow():
    surface = plane(30, 15, 0.0, 0.1)
    surface[10, 7] = np.nan
    area = flow(surface, CELL, CELL)
    assert np.isnan(area[10, 7])
    np.testing.assert_allclose(area[11:, 7], CELL * np.arange(12, 31), rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_rim_carries_a_plane_on(offset):
    surface = plane(6, 8, 0.2, -0.1) + offset
    bordered = with_rim(surface)
    np.testing.assert_allclose(bordered[1:-1, 1:-1], plane(8, 10, 0.2, -0.1) + offset + CELL * 0.1, atol=1e-9)
    np.testing.assert_allclose(bordered[[0, -1]], surface.min() - 1000.0)


def test_rotating_the_land_rotates_the_flow():
    y, x = np.mgrid[0:30, 0:30]
    surface = 50 * np.sin(x / 7) + 40 * np.cos(y / 5 + x / 11) + 3.0 * y
    area = flow(surface, CELL, CELL)
    turned = np.rot90(flow(np.rot90(surface).copy(), CELL, CELL), -1)
    # facets of equal slope may be chosen otherwise; elsewhere the two agree
    assert np.mean(np.isclose(area, turned, rtol=1e-4)) > 0.9


def test_whitebox_is_silent(capfd):
    flow(plane(8, 8, 0.1, 0.1), CELL, CELL)
    assert capfd.readouterr() == ("", "")


def test_a_second_grid_is_not_mistaken_for_the_first():
    first, second = flow(plane(8, 8, 0.0, 0.1), CELL, CELL), flow(plane(12, 5, 0.0, 0.1), CELL, CELL)
    assert first.shape == (8, 8)
    assert second.shape == (12, 5)


def test_no_land_gives_no_area():
    assert np.all(np.isnan(flow(np.full((4, 5), np.nan), CELL, CELL)))


def test_oblong_cells_are_refused():
    with pytest.raises(ValueError, match="square"):
        flow(plane(5, 5, 0.0, 0.1), 10.0, 30.0)


@pytest.mark.parametrize(("area", "steepness", "expected"), [(100.0, 10.0, 6.340585), (10.0, 30.0, 2.851891)])
def test_topographic_wetness(area, steepness, expected):
    # science.md 6D: ln(a / tan b)
    assert topographic_wetness(area, steepness) == pytest.approx(expected, abs=5e-7)


def test_wetness_is_bounded_on_flats_and_cliffs():
    assert topographic_wetness(10.0, 0.0) == pytest.approx(np.log(10.0 / 0.001))
    assert topographic_wetness(0.5, 89.0) == 0.0
    assert np.isnan(topographic_wetness(np.nan, 5.0))


def test_mcwi_is_wetness_over_its_mean():
    # science.md 6D
    np.testing.assert_allclose(mcwi(np.array([[4.0, 6.0, 8.0, 10.0, 12.0]])), [[0.5, 0.75, 1.0, 1.25, 1.5]])


@settings(deadline=None)
@given(arrays(np.float64, (5, 7), elements=st.floats(0.1, 30)), arrays(np.bool_, (5, 7)))
def test_mcwi_conserves_mass(twi, gap):
    twi = np.where(gap, np.nan, twi)
    for domain in ("valid", "catchment"):
        share = mcwi(twi, domain)
        np.testing.assert_array_equal(np.isnan(share), gap)
        if not gap.all():
            assert np.nanmean(share) == pytest.approx(1.0)


def test_mcwi_of_each_catchment_has_its_own_mean():
    twi = np.array([[1.0, np.nan, 10.0], [np.nan, np.nan, 30.0], [5.0, np.nan, np.nan], [np.nan, 15.0, np.nan]])
    share = mcwi(twi, "catchment")
    np.testing.assert_allclose(
        [share[0, 0], share[0, 2], share[1, 2], share[2, 0], share[3, 1]], [1, 0.5, 1.5, 0.5, 1.5]
    )


def test_mcwi_of_bare_bounds_is_even():
    np.testing.assert_array_equal(mcwi(np.zeros((2, 2))), np.ones((2, 2)))
