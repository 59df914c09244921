"""The world table of Linke turbidity: known places, a smooth year, and the place it is read at."""

import warnings

import numpy as np
import pandas as pd
import pytest
from pvlib.clearsky import lookup_linke_turbidity

from eemt.grid import Grid
from eemt.sun.turbidity import LIMITS, climatology

BOULDER = (40.03, -105.4)


def test_every_day_of_the_year_has_a_plausible_value():
    values = climatology(*BOULDER)
    assert values.shape == (365,)
    assert 2.0 < values.min() < values.max() < 5.0


def test_summer_air_of_northern_mid_latitudes_is_hazier_than_winter_air():
    values = climatology(*BOULDER)
    assert values[180:210].mean() > values[:30].mean() + 0.5


def test_the_year_has_no_jump_between_days_nor_at_its_end():
    values = climatology(*BOULDER)
    assert np.abs(np.diff(values, append=values[0])).max() < 0.05


def test_middle_of_a_month_has_the_value_of_the_table():
    assert climatology(*BOULDER)[15] == pytest.approx(2.55)  # 51 twentieths


def test_days_are_those_of_pvlib():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, inside pvlib
        days = pd.date_range("2001-01-01", periods=365, tz="UTC")
        theirs = lookup_linke_turbidity(days, *BOULDER).to_numpy()
    np.testing.assert_allclose(climatology(*BOULDER), theirs, atol=0.02)  # whose middle of a month is half a day off


@pytest.mark.parametrize("place", [(90.0, 0.0), (-90.0, 180.0), (0.0, -180.0), (-75.0, 100.0)])
def test_every_place_on_earth_has_values_that_the_clear_sky_takes(place):
    values = climatology(*place)
    assert np.isfinite(values).all()
    assert LIMITS[0] <= values.min() and values.max() <= LIMITS[1]


def test_centre_of_a_grid_is_its_middle():
    grid = Grid("EPSG:32613", 499_000.0, 4_001_000.0, 10.0, 10.0, 200, 200)
    latitude, longitude = grid.centre
    assert longitude == pytest.approx(-105.0, abs=1e-9)
    assert latitude == pytest.approx(36.15, abs=0.01)
