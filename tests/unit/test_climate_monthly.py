"""Years, months and their middles."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from eemt.climate.monthly import coordinates, days_in_months, middle_days, of_days, select, year_labels


@pytest.mark.parametrize(
    ("label", "february"), [("2003", 28), ("2004", 29), ("1900", 28), ("2000", 29), ("1971-2000", 28)]
)
def test_february_is_that_of_its_year(label, february):
    days = days_in_months(label)
    assert days[1] == february
    assert days.sum() == 337 + february


def test_middle_of_a_month_is_days_before_and_half_its_own():
    middles = middle_days()
    assert middles[0] == 16.0
    assert middles[1] == 31 + 14.5
    assert middles[11] == 334 + 16.0


def dataset(*parts):
    pieces = [
        xr.Dataset({"tmin": ("time", np.full(12, float(part[0])))}, coords={"time": coordinates(*part)["time"]})
        for part in parts
    ]
    return xr.concat(pieces, dim="time")


def test_years_are_named_and_found():
    climate = dataset((2001,), (2002,))
    assert year_labels(climate) == ["2001", "2002"]
    assert np.all(select(climate, "2002")["tmin"] == 2002.0)
    with pytest.raises(KeyError, match="2003"):
        select(climate, "2003")


def test_normals_are_named_by_their_period():
    climate = dataset((1971, 2000)).assign_attrs(period="1971-2000")
    assert year_labels(climate) == ["1971-2000"]
    assert select(climate, "1971-2000").sizes["time"] == 12


def test_bounds_of_months_meet():
    times = coordinates(2004)
    bounds = times["time_bnds"].values
    assert np.all(bounds[1:, 0] == bounds[:-1, 1])
    assert np.all((bounds[:, 0] < times["time"].values) & (times["time"].values < bounds[:, 1]))
    assert bounds[1, 1] - bounds[1, 0] == np.timedelta64(29, "D")


def test_normals_span_their_period_and_stand_in_its_middle():
    times = coordinates(1971, 2000)
    bounds = times["climatology_bounds"].values
    assert bounds[0, 0] == np.datetime64("1971-01-01")
    assert bounds[11, 1] == np.datetime64("2001-01-01")
    assert set(times["time"].dt.year.values) == {1985}


def days_of(year, calendar="standard", values=None):
    time = xr.date_range(f"{year}-01-01", periods=366, freq="D", calendar=calendar, use_cftime=calendar != "standard")
    time = time[time.year == year]
    values = np.arange(len(time), dtype=float) if values is None else values(time)
    return xr.DataArray(values, dims="time", coords={"time": time})


@given(year=st.integers(1950, 2100), seed=st.integers(0, 100))
def test_precipitation_of_the_months_is_that_of_the_days(year, seed):
    daily = days_of(year, values=lambda time: np.random.default_rng(seed).gamma(0.7, 9.0, len(time)))
    sums, counted = of_days(daily, total=True)
    assert sums.sum() == pytest.approx(daily.values.sum())
    assert counted.tolist() == days_in_months(str(year)).tolist()
    means, _ = of_days(daily)
    np.testing.assert_allclose(means * counted, sums)


def test_days_may_stand_in_any_order():
    daily = days_of(2003)
    shuffled = daily.isel(time=np.random.default_rng(3).permutation(daily.size))
    np.testing.assert_array_equal(of_days(daily)[0], of_days(shuffled)[0])


def test_a_month_that_lacks_days_is_a_mean_over_those_there_are_and_scaled_to_the_full_where_asked():
    daily = days_of(2004, values=lambda time: np.ones(len(time))).isel(time=slice(0, 365))  # no 31 December
    means, counted = of_days(daily)
    assert means[11] == 1.0
    assert counted[11] == 30
    assert of_days(daily, total=True)[0][11] == 30.0
    assert of_days(daily, total=True, full_months=True)[0][11] == pytest.approx(31.0)


def test_days_that_are_no_year_are_refused():
    both = xr.concat([days_of(2003), days_of(2004)], dim="time")
    with pytest.raises(ValueError, match="2 years"):
        of_days(both)
    with pytest.raises(ValueError, match="day 1 of 2003 stands twice"):
        of_days(xr.concat([days_of(2003), days_of(2003).isel(time=[0])], dim="time"))
    with pytest.raises(ValueError, match="month 12 of 2003 has no day"):
        of_days(days_of(2003).isel(time=slice(0, 330)))
