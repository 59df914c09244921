"""The sun's place in the sky."""

import numpy as np
import pandas as pd
import pvlib
import pytest

from eemt.sun.position import day_length, declination, extraterrestrial, sun_position

DAYS = np.arange(1, 366)


def test_declination_agrees_with_pvlib():
    expected = np.degrees(pvlib.solarposition.declination_spencer71(DAYS))
    np.testing.assert_allclose(declination(DAYS), expected, atol=0.35)


def test_extraterrestrial_irradiance_agrees_with_pvlib():
    expected = pvlib.irradiance.get_extra_radiation(DAYS, solar_constant=1367.0, method="spencer")
    np.testing.assert_allclose(extraterrestrial(DAYS), expected, rtol=2e-3)


@pytest.mark.parametrize("latitude", [-35.0, 0.0, 36.0, 60.0])
def test_position_agrees_with_pvlib_in_true_solar_time(latitude):
    for day in (1, 80, 172, 264, 355):
        # longitude 0: true solar time is universal time plus the equation of time
        hours = np.array([8.0, 10.0, 11.5, 13.0, 16.0])
        offset = pvlib.solarposition.equation_of_time_pvcdrom(day) / 60.0
        times = pd.Timestamp("2023-01-01", tz="UTC") + pd.to_timedelta((day - 1) * 24 + hours - offset, unit="h")
        expected = pvlib.solarposition.get_solarposition(pd.DatetimeIndex(times), latitude, 0.0)
        elevation, azimuth = sun_position(latitude, day, hours)
        up = expected["elevation"].to_numpy() > 2
        np.testing.assert_allclose(elevation[up], expected["elevation"].to_numpy()[up], atol=0.6)
        across = (azimuth - expected["azimuth"].to_numpy() + 180) % 360 - 180
        apart = np.abs(across * np.cos(np.radians(elevation)))
        assert apart[up].max() < 0.8


def test_day_length_is_twelve_hours_on_the_equator_all_year():
    np.testing.assert_allclose(day_length(0.0, DAYS), 12.0, atol=1e-9)


def test_polar_day_and_polar_night():
    assert day_length(75.0, 172) == 24.0
    assert day_length(75.0, 355) == 0.0
    assert day_length(-75.0, 355) == 24.0


def test_sun_stands_south_at_noon_in_the_north_and_north_in_the_south():
    assert sun_position(45.0, 80, 12.0)[1] == pytest.approx(180.0)
    assert sun_position(-45.0, 80, 12.0)[1] % 360 == pytest.approx(0.0, abs=1e-9)


def test_sun_rises_in_the_east():
    assert 60 < sun_position(36.0, 172, 6.0)[1] < 90


@pytest.mark.parametrize("day", [0, 366])
def test_a_day_outside_the_year_is_refused(day):
    with pytest.raises(ValueError, match=r"outside 1\.\.365"):
        declination(day)


def test_a_latitude_beyond_the_pole_is_refused():
    with pytest.raises(ValueError, match="latitude"):
        day_length(91.0, 1)
