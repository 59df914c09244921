"""Where Daymet's cells are, and what its calendar makes of months."""

from __future__ import annotations

import calendar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from eemt.climate.daymet.grid import (
    HAWAII,
    NORTH_AMERICA,
    PROJECTION,
    Window,
    dates,
    days_counted,
    month_of_day,
    region_of,
    to_months,
    window_of,
)
from eemt.errors import InputError

TO_METRES = Transformer.from_crs("EPSG:4326", PROJECTION, always_xy=True)
YEARS = st.integers(1980, 2100)
BOULDER = (-105.33, 39.93, -105.26, 40.0)


@pytest.mark.parametrize(
    ("longitude", "latitude", "x", "y"),
    [
        (-71.1167, 44.1142, 2160917.68, 548899.61),
        (-84.3104, 35.9313, 1352953.24, -569846.6),
        (-115.0534, 45.4, -1118364.52, 408458.12),
        (-93.6, 41.9, 506022.01, -44135.47),
    ],
)
def test_projection_is_that_of_the_single_pixel_service(longitude, latitude, x, y):
    # places as the service prints them, to the centimetre; a sphere would be off by kilometres
    assert TO_METRES.transform(longitude, latitude) == pytest.approx((x, y), abs=0.01)


def test_grids_end_where_daymet_ends():
    whole = Window(NORTH_AMERICA, 0, NORTH_AMERICA.height, 0, NORTH_AMERICA.width)
    assert (whole.x[0], whole.x[-1]) == (-4_560_250, 3_252_750)
    assert (whole.y[0], whole.y[-1]) == (4_984_000, -3_090_000)
    islands = Window(HAWAII, 0, HAWAII.height, 0, HAWAII.width)
    assert (islands.x[-1], islands.y[-1]) == (-5_519_250, -622_000)


@pytest.mark.parametrize(
    ("longitude", "latitude", "region"),
    [(-105.3, 39.96, "na"), (-155.5, 19.8, "hi"), (-66.5, 18.2, "pr"), (-149.9, 61.2, "na")],
)
def test_region_goes_by_the_place(longitude, latitude, region):
    assert region_of((longitude, latitude, longitude + 0.1, latitude + 0.1)) == region


@pytest.mark.parametrize("place", [(7.9, 46.5), (-60.0, -15.0), (145.0, -37.0), (10.0, 89.9)])
def test_a_site_elsewhere_is_told_of_the_other_sources(place):
    longitude, latitude = place
    with pytest.raises(InputError, match=r"not within what Daymet covers.* grid.* CHELSA .*station") as error:
        region_of((longitude, latitude, longitude + 0.1, latitude + 0.05))
    assert "\n" not in str(error.value)


def test_a_site_outside_the_region_asked_for_is_refused():
    with pytest.raises(InputError, match=r"climate.region.*region hi"):
        window_of(BOULDER, HAWAII)


@given(
    west=st.floats(-125, -70),
    south=st.floats(27, 60),
    width=st.floats(0.01, 4),
    height=st.floats(0.01, 3),
    across=st.floats(0, 1),
    up=st.floats(0, 1),
)
def test_every_point_of_a_site_has_neighbours_on_all_sides(west, south, width, height, across, up):
    bounds = (west, south, west + width, south + height)
    window = window_of(bounds, NORTH_AMERICA, margin=1)
    x, y = TO_METRES.transform(west + across * width, south + up * height)
    assert window.x[0] <= x <= window.x[-1]
    assert window.y[-1] <= y <= window.y[0]


def test_edges_of_a_site_are_projected_as_curves():
    # the northern edge of a box of degrees bulges northward between its corners
    bounds = (-110.0, 40.0, -90.0, 45.0)
    window = window_of(bounds, NORTH_AMERICA, margin=0)
    corner_y = max(TO_METRES.transform(longitude, 45.0)[1] for longitude in (-110.0, -90.0))
    south_middle = TO_METRES.transform(-100.0, 40.0)[1]
    assert window.y[0] >= corner_y - 500
    assert window.y[-1] <= south_middle + 500 < TO_METRES.transform(-110.0, 40.0)[1]


def test_a_point_is_in_the_cell_whose_centre_is_nearest():
    x, y = NORTH_AMERICA.x + 1000 * 4321, NORTH_AMERICA.y - 1000 * 1234
    window = window_of((x - 499, y - 499, x + 499, y + 499), NORTH_AMERICA, PROJECTION, margin=0)
    assert (window.first_row, window.end_row, window.first_col, window.end_col) == (1234, 1235, 4321, 4322)


def test_margin_ends_at_the_edge_of_the_grid():
    x, y = HAWAII.x, HAWAII.y
    window = window_of((x - 100, y - 100, x + 100, y + 100), HAWAII, PROJECTION, margin=3)
    assert (window.first_row, window.end_row, window.first_col, window.end_col) == (0, 4, 0, 4)


@given(YEARS)
def test_every_year_has_365_days_with_29_february_and_without_its_31_december(year):
    days = dates(year)
    assert len(days) == 365 and len(set(days)) == 365
    assert calendar.isleap(year) == any((day.month, day.day) == (2, 29) for day in days)
    assert calendar.isleap(year) != any((day.month, day.day) == (12, 31) for day in days)


@given(YEARS)
def test_months_are_the_calendars_but_for_the_december_of_leap_years(year):
    expected = [calendar.monthrange(year, month)[1] for month in range(1, 13)]
    expected[11] -= calendar.isleap(year)
    assert days_counted(year).tolist() == expected
    assert month_of_day(year).tolist() == np.repeat(np.arange(12), expected).tolist()


@given(year=YEARS, seed=st.integers(0, 2**32 - 1))
def test_precipitation_is_conserved(year, seed):
    daily = np.random.default_rng(seed).gamma(0.8, 5.0, size=(365, 2, 3)).astype(np.float32)
    months = to_months(daily, "prcp", year)
    np.testing.assert_allclose(months.sum(axis=0), daily.sum(axis=0, dtype=np.float64), rtol=1e-6)


@given(year=YEARS, value=st.floats(0, 50, width=32))
def test_full_months_of_steady_rain_are_whole(year, value):
    daily = np.full((365, 1, 1), value, dtype=np.float32)
    months = to_months(daily, "prcp", year, full_months=True)[:, 0, 0]
    lengths = [calendar.monthrange(year, month)[1] for month in range(1, 13)]
    np.testing.assert_allclose(months, np.array(lengths) * value, rtol=1e-6)


@given(year=YEARS, value=st.floats(-40, 40, width=32))
def test_means_divide_by_the_days_counted(year, value):
    daily = np.full((365, 1, 1), value, dtype=np.float32)
    np.testing.assert_allclose(to_months(daily, "tmin", year), value, rtol=1e-6, atol=1e-6)


def test_a_months_mean_is_of_its_own_days():
    daily = np.arange(365, dtype=np.float32)[:, np.newaxis, np.newaxis]
    leap, plain = to_months(daily, "tmin", 2020)[:, 0, 0], to_months(daily, "tmin", 2019)[:, 0, 0]
    assert leap[1] == pytest.approx(np.mean(range(31, 60))) and plain[1] == pytest.approx(np.mean(range(31, 59)))
    assert leap[11] == pytest.approx(np.mean(range(335, 365))) and plain[11] == pytest.approx(np.mean(range(334, 365)))


def test_sea_stays_without_value():
    daily = np.full((365, 1, 2), np.nan, dtype=np.float32)
    daily[:, 0, 0] = 1.0
    months = to_months(daily, "prcp", 2019)
    assert np.isnan(months[:, 0, 1]).all() and np.isfinite(months[:, 0, 0]).all()
