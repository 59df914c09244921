"""Tables of the single-pixel service."""

from __future__ import annotations

import numpy as np
import pytest

from eemt.climate.daymet.errors import RefusedError, TransientError
from eemt.climate.daymet.pixel import read_pixel
from eemt.energy.evaporation import day_length, saturation_vapour_pressure
from servers.daymet import days, elevation, pixel_table

ROW, COL = 5240, 4128
X, Y = -4_560_250 + 1000.0 * COL, 4_984_000 - 1000.0 * ROW
VARIABLES = ("prcp", "tmax", "tmin", "vp")

# as the service gave them for 44.1142 N 71.1167 W, the first two days of 2025
PUBLISHED_HEADER = """Latitude: 44.1142  Longitude: -71.1167
X & Y on Lambert Conformal Conic: 2160917.68 548899.61
Tile: 12115
Elevation: 405 meters
All years; all variables; Daymet Software Version 4.0
"""
PUBLISHED_COLUMNS = "year,yday,dayl (s),prcp (mm/day),srad (W/m^2),swe (kg/m^2),tmax (deg c),tmin (deg c),vp (Pa)\n"
PUBLISHED_ROWS = (
    "2025,1,31541.06,8.12,90.72,85.60,2.65,-2.84,495.48\n",
    "2025,2,31589.84,0.00,66.35,84.07,0.43,-2.35,513.79\n",
)


def table(**changes: object) -> str:
    options = {"names": list(VARIABLES), "years": [2020]} | changes
    return pixel_table(ROW, COL, X, Y, options["names"], options["years"])


def read(text: str, year: int = 2020):
    return read_pixel(text.encode(), VARIABLES, year, X, Y)


def test_published_rows_are_read_to_the_last_digit():
    # the two published days, and the second again for the rest of the year
    rest = [PUBLISHED_ROWS[1].replace("2025,2,", f"2025,{day},") for day in range(3, 366)]
    text = PUBLISHED_HEADER + PUBLISHED_COLUMNS + "".join([*PUBLISHED_ROWS, *rest])
    x, y = 2_160_750.0, 549_000.0
    pixel = read_pixel(text.encode(), ("dayl", "prcp", "srad", "swe", "tmax", "tmin", "vp"), 2025, x, y)
    assert pixel.elevation == 405
    first = {name: float(values[0]) for name, values in pixel.days.items()}
    assert first == pytest.approx(
        {"dayl": 31541.06, "prcp": 8.12, "srad": 90.72, "swe": 85.6, "tmax": 2.65, "tmin": -2.84, "vp": 495.48}
    )
    assert pixel.days["vp"][1] == pytest.approx(513.79)


def test_published_vapour_pressure_and_day_length_are_of_this_earth():
    for row in PUBLISHED_ROWS:
        _, yday, dayl, *_, tmin, vp = map(float, row.split(","))
        assert 1000 * saturation_vapour_pressure(tmin) == pytest.approx(vp, rel=2e-3)
        assert 3600 * day_length(44.1142, yday) == pytest.approx(dayl, rel=5e-3)


def test_values_and_elevation_are_those_of_the_cell():
    pixel = read(table())
    for name in VARIABLES:
        np.testing.assert_array_equal(pixel.days[name], days(name, 2020, np.array([ROW]), np.array([COL]))[:, 0, 0])
    assert pixel.elevation == elevation(ROW, COL)


@pytest.mark.parametrize("lines", [0, 1, 5])
def test_the_table_is_found_behind_a_preamble_of_any_length(lines):
    header, columns, rows = table().partition("year,yday")
    kept = "\n".join(header.splitlines()[:4]) + "\n" + "remark, with a comma\n" * lines
    assert read(kept + columns + rows).elevation == elevation(ROW, COL)


def test_columns_go_by_name_whatever_their_order():
    pixel = read(table(names=["vp", "tmin", "swe", "tmax", "prcp", "dayl"]))
    np.testing.assert_array_equal(pixel.days["tmax"], read(table()).days["tmax"])


def test_days_may_be_written_as_decimals_as_in_version_3():
    text = table().replace("\n2020,", "\n2020.0,")
    np.testing.assert_array_equal(read(text).days["prcp"], read(table()).days["prcp"])


def test_fill_values_are_no_values():
    header, columns, rows = table(names=list(VARIABLES)).partition("year,yday")
    lines = rows.splitlines()
    filled = [",".join([*line.split(",")[:2], *["-9999"] * 4]) for line in lines[1:]]
    pixel = read(header + columns + "\n".join([lines[0], *filled]) + "\n")
    assert all(np.isnan(values).all() for values in pixel.days.values())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<!DOCTYPE html><html><title>Earthdata Login</title></html>", "web page"),
        ('{"message":"Internal error"}', "no table"),
        (table(years=[1980]), "has not the 365 days of 2020"),  # an early year is silently moved
        (table(names=["tmin", "tmax"]), "without prcp"),
    ],
)
def test_what_is_not_asked_for_is_refused(text, reason):
    with pytest.raises(RefusedError, match=reason):
        read(text)


def test_another_cell_is_refused():
    x, y = X + 3000, Y
    with pytest.raises(RefusedError, match="sent the cell at x"):
        read(pixel_table(ROW, COL, x, y, list(VARIABLES), [2020]))


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_table_that_is_broken_off_is_worth_another_try(kept):
    text = table()
    with pytest.raises(TransientError, match="broken off"):
        read(text[: int(len(text) * kept)])
