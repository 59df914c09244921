"""Properties of EEMT_TRAD and EEMT_TOPO that hold whatever the climate."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eemt.constants import MONTH_LENGTHS
from eemt.energy.eemt import solar_ratio, topographic, traditional, vegetation
from eemt.energy.evaporation import zhang

DAYS = np.array(MONTH_LENGTHS)
HOURS = 12.0 + 2.5 * np.sin(2 * np.pi * (np.arange(12) - 2) / 12)
SEASON = 10.0 * np.sin(2 * np.pi * (np.arange(12) - 3) / 12)


def trad(warmth=8.0, rain=60.0, **options):
    return traditional(SEASON + warmth - 7, SEASON + warmth + 7, np.full(12, 1.0) * rain, HOURS, DAYS, **options)


def topo(warmth=8.0, rain=60.0, **changes):
    given_values = {
        "tmin": SEASON + warmth - 7,
        "tmax": SEASON + warmth + 7,
        "precipitation": np.full(12, 1.0) * rain,
        "vapour_pressure": np.full(12, 600.0),
        "irradiation": 150e3 + 8e3 * SEASON,
        "flat_irradiation": 160e3 + 8e3 * SEASON,
        "elevation": 2000.0,
        "northness": 0.2,
        "mcwi": 1.1,
        "days": DAYS,
    }
    return topographic(**given_values | changes)


@given(st.floats(-30, 35), st.floats(0, 500))
def test_energy_is_never_negative(warmth, rain):
    for energy in (trad(warmth, rain), topo(warmth, rain)):
        assert np.all(energy.eppt >= 0.0)
        assert np.all(energy.ebio >= 0.0)
        assert np.all(np.isfinite(energy.eemt))


@given(st.floats(-30, 35), st.floats(0, 500))
def test_months_sum_to_the_year(warmth, rain):
    for energy in (trad(warmth, rain), topo(warmth, rain)):
        assert energy.annual_eemt == pytest.approx(energy.eemt.sum())
        assert energy.annual_eemt == pytest.approx(energy.annual_eppt + energy.annual_ebio)


@given(st.floats(-40, -20))
def test_frozen_water_carries_no_energy(warmth):
    assert not trad(warmth).eppt.any()
    assert not topo(warmth).eppt.any()


def test_water_of_a_month_at_freezing_carries_no_energy():
    energy = traditional([-5.0], [5.0], [100.0], [12.0], [31])
    assert energy.eppt == 0.0
    assert energy.ebio == 0.0


def test_cold_months_grow_only_when_asked():
    cold, warm = trad(-20.0), trad(-20.0, cold_npp=True)
    assert cold.annual_ebio == 0.0
    assert warm.annual_ebio > 0.0
    assert not warm.eppt.any()


def test_dry_months_grow_nothing_in_trad():
    assert trad(25.0, rain=1.0).annual_eemt == 0.0


@given(st.floats(600, 2800), st.floats(-0.9, 0.8))
def test_northness_raises_productivity_in_topo(elevation, northness):
    sunny = topo(elevation=elevation, northness=northness).annual_ebio
    shaded = topo(elevation=elevation, northness=northness + 0.1).annual_ebio
    assert shaded >= sunny
    assert shaded == pytest.approx(sunny + 34.6 * 0.022) or sunny == pytest.approx(2.2)


def test_wetter_paths_carry_more_energy_in_proportion():
    np.testing.assert_allclose(topo(mcwi=2.2).eppt, 2.0 * topo(mcwi=1.1).eppt)


def test_shade_keeps_more_water():
    shaded = topo(irradiation=np.full(12, 80e3), flat_irradiation=np.full(12, 80e3)).annual_eppt
    assert shaded > topo(irradiation=np.full(12, 200e3), flat_irradiation=np.full(12, 200e3)).annual_eppt


def test_leap_year_is_one_year_of_productivity():
    leap = DAYS.copy()
    leap[1] = 29
    assert topo(days=leap).annual_ebio == pytest.approx(topo().annual_ebio)


def test_warming_by_the_sun_is_bounded_and_counted():
    dark = np.full((12, 2), 1.0)
    dark[:, 1] = 160e3
    energy = topo(
        tmin=np.full((12, 1), 5.0), tmax=np.full((12, 1), 15.0), precipitation=np.full((12, 1), 50.0),
        vapour_pressure=np.full((12, 1), 600.0), irradiation=dark, flat_irradiation=np.full((12, 1), 160e3),
    )  # fmt: skip
    assert energy.counts["solar_ratio_clamped"] == 1
    assert np.all(np.isfinite(energy.eemt))


@pytest.mark.parametrize(
    ("slope", "flat", "ratio"), [(0.0, 0.0, 1.0), (0.0, 5.0, 0.2), (50.0, 5.0, 5.0), (6.0, 5.0, 1.2)]
)
def test_solar_ratio_stays_within_its_limits(slope, flat, ratio):
    assert solar_ratio(slope, flat)[0] == pytest.approx(ratio)


def test_cells_outside_the_fitted_elevations_are_counted():
    energy = topo_grid(np.array([[500.0, 580.0, 2800.0, 2801.0, np.nan]]))
    assert energy.counts["elevation_out_of_range"] == 2


def topo_grid(elevation, dtype=np.float64):
    shape = (12, *elevation.shape)
    month = (SEASON[:, None, None] * np.ones(shape)).astype(dtype)
    one = np.ones(shape, dtype=dtype)
    return topographic(
        month + 2, month + 14, 60 * one, 600 * one, 150e3 * one, 160e3 * one,
        elevation.astype(dtype), 0.2 * one[0], one[0], DAYS,
    )  # fmt: skip


def test_grid_of_one_climate_equals_its_cell():
    whole = topo_grid(np.array([[1000.0, 2000.0], [1500.0, 2500.0]]))
    np.testing.assert_allclose(whole.eemt[:, 1, 0], topo_grid(np.array([[1500.0]])).eemt[:, 0, 0])
    assert whole.eemt.shape == (12, 2, 2)


def test_single_precision_stays_single_and_agrees():
    elevation = np.linspace(800.0, 2700.0, 12).reshape(3, 4)
    single, double = topo_grid(elevation, np.float32), topo_grid(elevation)
    assert single.eppt.dtype == single.ebio.dtype == np.float32
    np.testing.assert_allclose(single.annual_eemt, double.annual_eemt, rtol=1e-4)


@pytest.mark.parametrize("pet", ["hamon", "thornthwaite"])
def test_missing_climate_is_missing_energy_without_a_warning(pet):
    rain = np.full((12, 1, 2), 60.0)
    rain[:, 0, 0] = np.nan
    cold, warm = np.tile((SEASON + 1)[:, None, None], (1, 1, 2)), np.tile((SEASON + 15)[:, None, None], (1, 1, 2))
    gap = warm.copy()
    gap[:, 0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for energy in (
            traditional(cold, warm, rain, HOURS, DAYS, pet=pet),
            traditional(cold, gap, np.full((12, 1, 2), 60.0), HOURS, DAYS, pet=pet),
        ):
            assert np.all(np.isnan(energy.eemt[:, 0, 0]))
            assert np.all(np.isfinite(energy.eemt[:, 0, 1]))


@pytest.mark.parametrize("name", ["elevation", "northness", "mcwi"])
def test_missing_land_is_missing_energy(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.all(np.isnan(topo(**{name: np.nan}).eemt))


def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match="penman"):
        trad(pet="turc")
    for name in ("net_radiation", "budyko", "redistribution", "npp_split"):
        with pytest.raises(ValueError, match=f'{name} is "none"; allowed are'):
            topo(**{name: "none"})


def veg(warmth=8.0, rain=60.0, **changes):
    given_values = {
        "tmin": SEASON + warmth - 7,
        "tmax": SEASON + warmth + 7,
        "precipitation": np.full(12, 1.0) * rain,
        "vapour_pressure": np.full(12, 600.0),
        "irradiation": 150e3 + 8e3 * SEASON,
        "flat_irradiation": 160e3 + 8e3 * SEASON,
        "elevation": 2000.0,
        "mcwi": 1.1,
        "canopy_height": 8.0,
        "leaf_area_index": 2.0,
        "days": DAYS,
    }
    return vegetation(**given_values | changes)


@given(st.floats(-30, 35), st.floats(0, 500), st.floats(0, 40), st.floats(0, 10))
def test_plants_transpire_no_more_than_falls(warmth, rain, height, leaves):
    energy = veg(warmth, rain, canopy_height=height, leaf_area_index=leaves)
    assert np.all((energy.aet >= 0.0) & (energy.aet <= rain))
    assert np.all((energy.peff >= 0.0) & (energy.peff <= rain))
    assert np.all(energy.eppt >= 0.0) and np.all(np.isfinite(energy.eemt))


@given(st.floats(-30, 35), st.floats(0, 500), st.sampled_from(["hamon", "thornthwaite", "penman", "penman_monteith"]))
def test_water_closes_in_every_method_with_every_evaporation(warmth, rain, pet):
    more = {"vapour_pressure": np.full(12, 600.0), "irradiation": 150e3 + 8e3 * SEASON, "elevation": 2000.0}
    for energy in (
        trad(warmth, rain, pet=pet, **more),
        topo(warmth, rain, pet=pet, day_length=HOURS),
        veg(warmth, rain, pet=pet, day_length=HOURS),
    ):
        np.testing.assert_allclose(energy.aet + energy.peff, rain, atol=1e-9)
        assert np.all(energy.aet >= 0.0) and np.all(energy.aet <= rain)
        assert np.all(energy.aet <= energy.pet + 1e-9)
        assert energy.annual_eemt == pytest.approx(energy.eemt.sum())


def test_leaves_shade_the_ground_from_the_warming_of_the_sun():
    bare, half, closed = (veg(leaf_area_index=leaves).temperature for leaves in (0.0, 5.0, 10.0))
    lapse_only = (SEASON + 1 + SEASON + 15) / 2
    np.testing.assert_allclose(closed, lapse_only)
    np.testing.assert_allclose(half, (bare + closed) / 2)


def test_evaporation_of_plants_goes_through_the_budyko_curve_only_when_it_is_potential():
    assert np.all(veg(pet="penman_monteith").aet == np.minimum(veg(pet="penman_monteith").pet, 60.0))
    assert np.all(veg(pet="penman").aet < np.minimum(veg(pet="penman").pet, 60.0))


def test_annual_budyko_takes_one_share_of_each_month():
    energy = topo(rain=np.linspace(10, 120, 12), budyko="annual")
    shares = energy.aet / np.linspace(10, 120, 12)
    np.testing.assert_allclose(shares, shares[0])
    total = zhang(np.linspace(10, 120, 12).sum(), energy.pet.sum())
    assert energy.aet.sum() == pytest.approx(total)
    assert np.any(topo(rain=np.linspace(10, 120, 12)).aet != energy.aet)


def test_renormalised_water_adds_up_and_the_papers_does_not():
    rng = np.random.default_rng(2)
    wet = rng.uniform(0.4, 2.0, (5, 6))
    wet /= wet.mean()
    rain = np.full((12, 5, 6), 60.0) * wet  # the wetter the path, the more rain
    month = np.full((12, 5, 6), 10.0)
    given_values = {"tmin": month, "tmax": month + 10, "precipitation": rain, "vapour_pressure": 600 + 0 * month}
    given_values |= {"irradiation": 1.5e5 + 0 * month, "flat_irradiation": 1.5e5 + 0 * month, "mcwi": wet}
    paper, even = (topo(**given_values, redistribution=form) for form in ("paper", "renormalised"))
    water = even.eppt / (4187e-6 * even.temperature)
    np.testing.assert_allclose(water.sum(axis=(1, 2)), even.peff.sum(axis=(1, 2)))
    assert np.all(paper.eppt.sum(axis=(1, 2)) > 1.05 * even.eppt.sum(axis=(1, 2)))


def test_warmth_splits_the_year_and_does_not_change_it():
    even, warm = topo(npp_split="days"), topo(npp_split="warmth")
    assert warm.annual_ebio == pytest.approx(even.annual_ebio)
    assert warm.ebio[6] > even.ebio[6] and warm.ebio[0] == 0.0
    frozen = topo(warmth=-40.0, npp_split="warmth")
    np.testing.assert_allclose(frozen.ebio, topo(warmth=-40.0).ebio)


def test_energy_for_the_area_of_the_map_is_greater_on_slopes():
    assert np.all(topo(slope=60.0).pet > topo().pet)
    doubled = topo(slope=60.0, net_radiation="shortwave", irradiation=np.full(12, 1e5), flat_irradiation=2e5)
    same = topo(net_radiation="shortwave", irradiation=np.full(12, 2e5), flat_irradiation=4e5)
    np.testing.assert_allclose(doubled.pet, same.pet)


def test_energy_follows_its_constants():
    base = topo()
    np.testing.assert_allclose(topo(water_heat_capacity=4180.0).eppt, base.eppt * 4180 / 4187)
    np.testing.assert_allclose(topo(biomass_enthalpy=22.2e6).ebio, base.ebio * 22.2 / 22.0)
    warmer = topo(reference_temperature=283.15)
    assert np.all(warmer.eppt[base.temperature < 10.0] == 0.0) and np.all(warmer.eppt <= base.eppt)


def test_share_of_biomass_lies_between_none_and_all():
    assert 0.0 < topo().biomass_share < 1.0
    assert np.isnan(trad(25.0, rain=1.0).biomass_share)


def test_what_leaves_the_domain_is_counted():
    shape = (12, 1, 3)
    month = np.full(shape, 5.0)
    rain = np.full(shape, 60.0)
    rain[4, 0, 1] = 0.0
    cells = {"canopy_height": np.array([[30.0, 5.0, np.nan]]), "mcwi": np.array([[0.0, 1.0, 2.0]])}
    cells |= {"elevation": np.full((1, 3), 2000.0), "leaf_area_index": np.full(shape, 1.0)}
    cells["leaf_area_index"][:, 0, 1] = 0.0
    energy = veg(tmin=month, tmax=month + 10, precipitation=rain, npp_floor=400.0, **cells)
    assert energy.counts["canopy_out_of_range"] == 1
    assert energy.counts["mcwi_clipped"] == 1
    assert energy.counts["rainless_month"] == 1
    assert energy.counts["lai_clipped"] == 1
    assert energy.counts["without_vegetation"] == 1
    assert energy.counts["npp_floor_used"] == 1
    assert 1 <= energy.counts["aet_limited"] <= 3
    dry = traditional(month, month + 20, 0.1 * rain, HOURS, DAYS)
    assert (dry.counts["dry_month"], dry.counts["dry_year"]) == (3, 3)
    mixed = traditional(month - 10, month, rain, HOURS, DAYS)
    assert (mixed.counts["dry_month"], mixed.counts["dry_year"]) == (1, 0)
