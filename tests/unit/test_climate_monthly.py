"""Years, months and their middles."""

import numpy as np
import pytest
import xarray as xr

from eemt.climate.monthly import coordinates, days_in_months, middle_days, select, year_labels


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
