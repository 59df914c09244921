"""Published numbers, and vectors worked out from published formulas.

The cases whose inputs are printed in a paper stand in `reference.cases`. V marks values computed by
hand from the formula in the paper named.
R05, R11, R12, R15, Z16: see `eemt.constants`.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from eemt.constants import WATER_HEAT_CAPACITY
from eemt.energy.eemt import biomass_energy, solar_ratio, solar_warming, topographic, traditional
from eemt.energy.evaporation import (
    aerodynamic_resistance,
    air_density,
    day_length,
    hamon,
    mean_saturation_vapour_pressure,
    net_longwave,
    penman,
    psychrometric_constant,
    saturation_vapour_pressure,
    vapour_pressure_slope,
    zhang,
)
from eemt.energy.productivity import biomass, canopy, leaf_area_index, lieth, whittaker_niering
from eemt.energy.regression import greatest_biomass
from eemt.wetness import mcwi, topographic_wetness
from reference.cases import CASES, END, START, Case, table

DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
MID_MONTH = np.cumsum(DAYS) - DAYS + (DAYS + 1) / 2


def case(source, *values):
    return pytest.param(*values, id=source)


@pytest.mark.parametrize("reference", CASES, ids=lambda reference: f"{reference.name} {reference.source}")
def test_a_paper_s_formula_gives_the_same_here(reference: Case):
    formula, ours = reference.texts()
    assert ours == formula


def test_the_documented_table_is_this_one():
    page = (Path(__file__).parents[2] / "docs" / "science.md").read_text(encoding="utf-8")
    assert page.split(START)[1].split(END)[0].strip() == table()


def test_python_of_the_page_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "science.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(block, "docs/science.md", "exec"), {})
    # the year of trad is that of test_twelve_months_of_trad
    assert capsys.readouterr().out.startswith("9.5711")


@pytest.mark.parametrize(
    ("elevation", "npp", "ebio", "eemt"),
    [
        case("humid", 2433.0, 761.87, 16.761, 23.1),
        case("humid transition", 2080.0, 624.20, 13.732, 19.1),
        case("arid transition", 1683.0, 469.37, 10.326, 15.0),
        case("semiarid", 1365.0, 345.35, 7.598, 11.4),
        case("arid", 1063.0, 227.57, 5.007, 8.0),
    ],
)
def test_productivity_leaves_room_for_water_in_the_classes_of_sabino_creek(elevation, npp, ebio, eemt):
    # A22, R15 Table 1 (mean elevation and EEMT_TOPO of each class) and Eq 11 with northness 0
    assert whittaker_niering(elevation, 0.0) == pytest.approx(npp, abs=0.005)
    assert biomass_energy(whittaker_niering(elevation, 0.0)) == pytest.approx(ebio, abs=5e-4)
    assert 2.5 < eemt - ebio < 6.5


def test_facing_north_equals_a_climb_of_300_m():
    # A23, R15 p. 11
    climb = whittaker_niering(2300.0, 0.0) - whittaker_niering(2000.0, 0.0)
    assert climb == pytest.approx(117.0)
    assert whittaker_niering(2000.0, 0.338) - whittaker_niering(2000.0, 0.0) == pytest.approx(climb, abs=0.1)
    assert biomass_energy(climb) == pytest.approx(2.574)
    assert biomass_energy(346.0) == pytest.approx(7.612)


@pytest.mark.parametrize(
    ("t", "expected"),
    [(-10, 226.525), (0, 634.954), (5, 982.179), (10, 1406.372), (15, 1846.151), (20, 2230.935), (25, 2520.714),
     (30, 2715.243)],
)  # fmt: skip
def test_lieth(t, expected):
    # V, R05 Eq 3, Z16 Eq 6
    assert lieth(t) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("t", "expected"), [(-5, 0.42118), (0, 0.61080), (10, 1.22796), (20, 2.33828), (30, 4.24307)])
def test_saturation_vapour_pressure(t, expected):
    # V, FAO-56 Eq 11; its Table 2.3 prints 1.228, 2.338 and 4.243
    assert saturation_vapour_pressure(t) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(
    ("tmin", "tmax", "hours", "expected"), [(20, 20, 12, 2.851874), (10, 10, 10, 1.292136), (5, 25, 14, 2.924228)]
)
def test_hamon(tmin, tmax, hours, expected):
    # V, Hamon 1961 with 29.8
    assert hamon(tmin, tmax, hours) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("month", "expected"), [(3, 11.7773), (6, 14.4163), (11, 10.0485)])
def test_day_length(month, expected):
    # V, FAO-56 Eqs 24, 25 and 34 at 35.8 degrees north
    assert day_length(35.8, MID_MONTH[month - 1]) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("precipitation", "pet", "expected"),
    [(100, 100, 69.845234), (50, 100, 44.140849), (100, 50, 44.140849), (617, 900, 502.415602), (800, 480, 406.271276)],
)
def test_zhang(precipitation, pet, expected):
    # V, R15 Eq 8 with omega 2.63
    assert zhang(precipitation, pet) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(
    ("elevation", "expected"), [(0, 0.0673383), (1000, 0.0598541), (2000, 0.0530583), (2500, 0.0499029)]
)
def test_psychrometric_constant(elevation, expected):
    # V, FAO-56 Eqs 7-8 with the lapse of the public EEMT code
    assert psychrometric_constant(elevation, 0.00649) == pytest.approx(expected, abs=5e-8)


@pytest.mark.parametrize(("t", "expected"), [(0, 0.04145), (10, 0.07619), (20, 0.14006), (30, 0.25747)])
def test_vapour_pressure_slope(t, expected):
    # V, public EEMT code
    assert vapour_pressure_slope(t) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(("wind", "expected"), [(0, 250.571), (1, 163.132), (2, 120.932), (3, 96.078), (5, 68.090)])
def test_aerodynamic_resistance(wind, expected):
    # V, Shuttleworth 1993
    assert aerodynamic_resistance(wind) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("elevation", "t", "expected"), [(0, 15, 1.225012), (2500, 10, 0.926871)])
def test_air_density(elevation, t, expected):
    # V, barometric formula
    assert air_density(elevation, t) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(
    ("elevation", "northness", "expected"),
    [(2433, 0.34, 879.51), (2433, -0.34, 644.23), (580, 0, 100.0), (2080, 0.3, 728.0), (2080, -0.3, 520.4)],
)
def test_whittaker_niering(elevation, northness, expected):
    # V, R15 Eq 11; 580 m gives 39.2 and takes the floor
    assert whittaker_niering(elevation, northness) == pytest.approx(expected, abs=5e-3)


def test_heat_capacity_is_that_of_z16():
    assert WATER_HEAT_CAPACITY == 4187.0  # Z16 Eq 3


def test_twelve_months_of_trad():
    # V, R15 and Z16 with Hamon, 35.8 degrees north, growth only above 0 degC
    tmin = np.array([-9, -8, -6, -2, 2, 6, 9, 8, 5, 0, -5, -9])
    tmax = np.array([4, 6, 9, 14, 19, 24, 25, 23, 20, 15, 8, 4])
    precipitation = np.array([50, 45, 50, 35, 35, 35, 85, 95, 55, 45, 45, 45])
    hours = day_length(35.8, MID_MONTH)
    pet = [0, 0, 30.4633, 44.0541, 65.8203, 87.6284, 97.3878, 82.7045, 61.2031, 42.0030, 24.4277, 0]
    np.testing.assert_allclose(hamon(tmin, tmax, hours) * DAYS, pet, atol=5e-5)
    energy = traditional(tmin, tmax, precipitation, hours, DAYS)
    assert energy.annual_eppt == pytest.approx(1.143980, abs=5e-7)
    assert energy.annual_ebio == pytest.approx(8.427136, abs=5e-7)
    assert energy.annual_eemt == pytest.approx(9.571116, abs=5e-7)


def test_one_month_of_topo():
    # V, R15 Eqs 6-11 at 2500 m in July with S 0.95, all shortwave absorbed
    irradiation = np.array([195e3])
    energy = topographic(
        [9.0], [24.0], [90.0], [1000.0], irradiation, irradiation / 0.95, 2500.0, 0.3, 1.2, [31],
        net_radiation="shortwave", albedo=0.0, pressure_gradient=0.0065,
    )  # fmt: skip
    assert energy.eppt == pytest.approx(0.515543, abs=5e-7)
    assert energy.ebio == pytest.approx(1.666322, abs=5e-7)
    assert energy.eemt == pytest.approx(2.181865, abs=5e-7)


def test_parts_of_one_month_of_topo():
    tmax = 24.0 + 0.95 - 1 / 0.95
    t = (9.0 + tmax) / 2
    assert tmax == pytest.approx(23.897368, abs=5e-7)
    assert vapour_pressure_slope(t) * 1000 == pytest.approx(112.830171, abs=5e-7)
    assert psychrometric_constant(2500.0) * 1000 == pytest.approx(49.879222, abs=5e-7)
    assert air_density(2500.0, t) == pytest.approx(0.906232, abs=5e-7)
    assert mean_saturation_vapour_pressure(9.0, tmax) * 1000 == pytest.approx(2056.822928, abs=5e-7)
    month = {"tmin": 9.0, "tmax": tmax, "vapour_pressure": 1000.0, "elevation": 2500.0, "days": 31}
    pet = penman(net_radiation=195e3 / 744, **month)
    assert pet == pytest.approx(252.595672, abs=5e-7)
    # a fifth reflected
    assert penman(net_radiation=0.8 * 195e3 / 744, **month) == pytest.approx(212.9, abs=0.05)
    # and the net longwave of FAO-56 under a clear sky
    longwave = net_longwave(9.0, tmax, 1000.0)
    assert penman(net_radiation=0.8 * 195e3 / 744 - longwave, **month) == pytest.approx(152.1, abs=0.05)
    # 164.4, which had been worked out for this case, is what it gives with a ratio of solar to clear-sky
    # radiation of 0.85; 0.8 (S - Rnl), the other reading that comes near, is 164.2
    cloudy = net_longwave(9.0, tmax, 1000.0, clearness=0.85)
    assert penman(net_radiation=0.8 * 195e3 / 744 - cloudy, **month) == pytest.approx(164.4, abs=0.05)
    aet = zhang(90.0, pet)
    assert aet == pytest.approx(83.761945, abs=5e-7)
    assert 1.2 * (90.0 - aet) == pytest.approx(7.485666, abs=5e-7)
    assert whittaker_niering(2500.0, 0.3) == pytest.approx(891.8)


@pytest.mark.parametrize(
    ("ratio", "warming"), [(0.5, -1.5), (0.8, -0.45), (0.9, -0.2111), (1.0, 0.0), (1.1, 0.1909), (1.2, 0.3667)]
)
def test_warming_by_the_sun_goes_to_the_maximum_only(ratio, warming):
    # V, R15 Eq 6: the energy of water is that of a maximum warmer by S - 1/S under the same sun
    fixed = {"net_radiation": "shortwave", "albedo": 1.0}
    sun = np.array([150e3])
    sloping = topographic([5], [20], [80], [900], sun * ratio, sun, 2000, 0, 1, [31], **fixed)
    warmer = topographic([5], [20 + warming], [80], [900], sun, sun, 2000, 0, 1, [31], **fixed)
    assert sloping.eppt == pytest.approx(warmer.eppt, rel=2e-5)


@pytest.mark.parametrize(
    ("ratio", "warming"), [(0.5, -1.5), (0.8, -0.45), (0.9, -0.2111), (1.0, 0.0), (1.1, 0.1909), (1.2, 0.3667)]
)
def test_solar_warming(ratio, warming):
    # V, R15 Eq 6
    assert solar_warming(ratio) == pytest.approx(warming, abs=5e-5)
    assert solar_ratio(ratio, 1.0)[0] == pytest.approx(ratio)


def test_temperature_of_eq_6():
    # V: 20 degC at the base, 6.5 K km-1, 500 m up, S 0.9, without leaves and with a leaf area index of 5
    assert 20 - 6.5 * 0.5 + solar_warming(0.9) == pytest.approx(16.538889, abs=5e-7)
    assert 20 - 6.5 * 0.5 + solar_warming(0.9, 5.0) == pytest.approx(16.644444, abs=5e-7)


@pytest.mark.parametrize(("area", "slope", "expected"), [(100.0, 10.0, 6.340585), (10.0, 30.0, 2.851891)])
def test_topographic_wetness(area, slope, expected):
    # V, R15 Eq 9
    assert topographic_wetness(area, slope) == pytest.approx(expected, abs=5e-7)


def test_mass_conservative_wetness():
    # V, R15 Eq 9
    np.testing.assert_allclose(mcwi(np.array([[4.0, 6.0, 8.0, 10.0, 12.0]])), [[0.5, 0.75, 1.0, 1.25, 1.5]])


@pytest.mark.parametrize(
    ("height", "printed", "centred"),
    [(0, 49.75, 106.79), (0.77, 88.61, 145.51), (5.44, 314.84, 364.84), (10, 520.08, 553.33), (20, 915.99, 877.87),
     (26, 1117.81, 1014.03)],
)  # fmt: skip
def test_productivity_of_the_canopy(height, printed, centred):
    # V, R15 Eq 12
    assert canopy(height) == pytest.approx(printed, abs=5e-3)
    assert canopy(height, "centred") == pytest.approx(centred, abs=5e-3)


@pytest.mark.parametrize(
    ("ndvi", "expected"), [(0.1, 0.1270), (0.3, 0.6263), (0.5, 1.2737), (0.7, 2.9808), (0.9, 6.6589), (1.0, 9.5220)]
)
def test_leaf_area_index(ndvi, expected):
    # V, R15 p. 6, Qi et al. 2000
    assert leaf_area_index(ndvi) == pytest.approx(expected, abs=5e-5)


def test_biomass():
    # V, R15 Eq 13 and p. 13
    np.testing.assert_allclose(biomass([10.0, 20.0]), [204.02, 906.11], atol=5e-3)
    np.testing.assert_allclose(greatest_biomass([10.0, 20.0, 30.0]), [53.11, 494.84, 1825.91], atol=5e-3)
    assert greatest_biomass(60.0) == greatest_biomass(40.0)
