"""Compiled kernels do what the functions of the library do, whatever is chosen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from eemt.constants import MONTH_LENGTHS, NPP_FLOOR
from eemt.energy import eemt, kernels
from eemt.energy.kernels import Rules, Strip, transfer

ROWS, COLS = 7, 40
DAYS = np.array(MONTH_LENGTHS, dtype=np.float64)
WIND = np.linspace(0.2, 6.0, 12)
ALBEDO = np.linspace(0.6, 0.1, 12)
PETS = ("hamon", "thornthwaite", "penman", "penman_monteith")


def strip(seed: int = 3) -> Strip:
    """Climates from polar to tropical, sun from none to plenty, holes in every layer."""
    rng = np.random.default_rng(seed)
    shape = (12, ROWS, COLS)
    season = np.sin(2 * np.pi * (np.arange(12) - 3) / 12)[:, None, None]
    tmin = rng.uniform(-25, 22, shape[1:]) + 9 * season + rng.normal(0, 1, shape)
    layers = {
        "tmin": tmin,
        "tmax": tmin + rng.uniform(2, 18, shape),
        "rain": np.where(rng.random(shape) < 0.1, 0.0, rng.gamma(2.0, 30.0, shape)),
        "vapour": rng.uniform(50, 3000, shape),
        "sun": np.where(rng.random(shape) < 0.05, 0.0, rng.uniform(1e4, 2.5e5, shape)),
        "flat_sun": np.where(rng.random(shape) < 0.05, 0.0, rng.uniform(3e4, 2.3e5, shape)),
        "leaves": np.where(rng.random(shape) < 0.1, 0.0, rng.uniform(0.0, 11.0, shape)),
        "elevation": rng.uniform(-50, 4500, shape[1:]),
        "northness": rng.uniform(-0.9, 0.9, shape[1:]),
        "share": np.where(rng.random(shape[1:]) < 0.1, 0.0, rng.uniform(0.0, 3.0, shape[1:])),
        "height": np.where(rng.random(shape[1:]) < 0.2, 0.0, rng.uniform(0.0, 40.0, shape[1:])),
        "slope": rng.uniform(0, 60, shape[1:]),
    }
    for place, layer in enumerate(layers.values()):
        layer[..., place % ROWS, COLS - 1 - place] = np.nan
    layers = {name: layer.astype(np.float32) for name, layer in layers.items()}
    block = np.arange(COLS) // 16
    hours = rng.uniform(0, 24, (12, ROWS, int(block[-1]) + 1))
    return Strip(**layers, hours=hours, block=block)


def rules(method: int, pet: str, **changes: object) -> Rules:
    defaults = Rules(
        method=method, pet=PETS.index(pet), fao56=True, clearness=1.0, omega=2.63, annual_budyko=False,
        split_by_warmth=False, cold_npp=False, least_ratio=0.2, greatest_ratio=5.0,
        npp_floor=NPP_FLOOR if method == kernels.TOPO else 0.0, centred=False, reference=0.0, heat_capacity=4187.0,
        enthalpy=22.0e6, pressure_gradient=0.0065,
    )  # fmt: skip
    return defaults._replace(**changes)


def compiled(here: Strip, chosen: Rules) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
    out = np.full((len(kernels.LAYERS), 12, ROWS, COLS), -1, dtype=np.float32)
    water = np.zeros((2, 12), dtype=np.int64)
    counts = transfer(here, chosen, DAYS, WIND, ALBEDO, out, water)
    return dict(zip(kernels.LAYERS, out, strict=True)), dict(zip(kernels.COUNTS, counts.tolist(), strict=True)), water


def by_the_library(here: Strip, method: int, pet: str, **options: object) -> eemt.Energy:
    def f8(name: str) -> np.ndarray:
        return getattr(here, name).astype(np.float64)

    climate = {"tmin": f8("tmin"), "tmax": f8("tmax"), "precipitation": f8("rain"), "vapour_pressure": f8("vapour")}
    climate |= {"elevation": f8("elevation"), "day_length": here.hours[..., here.block], "days": DAYS, "pet": pet}
    climate |= {"wind": WIND, "albedo": ALBEDO, "irradiation": f8("sun")}
    if method == kernels.TRAD:
        return eemt.traditional(**climate | {"irradiation": f8("flat_sun")}, **options)
    climate |= {"flat_irradiation": f8("flat_sun"), "mcwi": f8("share"), "slope": f8("slope")}
    if method == kernels.TOPO:
        return eemt.topographic(**climate, northness=f8("northness"), **options)
    return eemt.vegetation(**climate, canopy_height=f8("height"), leaf_area_index=f8("leaves"), **options)


def assert_same(here: Strip, chosen: Rules, ours: eemt.Energy) -> None:
    layers, counts, _ = compiled(here, chosen)
    for name, layer in layers.items():
        theirs = getattr(ours, name)
        assert np.isfinite(theirs).mean() > 0.5
        np.testing.assert_allclose(layer, theirs, rtol=1e-5, atol=1e-5, err_msg=name)
    method = ("trad", "topo", "veg")[chosen.method]
    assert set(ours.counts) == set(eemt.COUNTS_OF[method])
    assert {name: counts[name] for name in ours.counts} == ours.counts
    assert sum(counts.values()) == sum(ours.counts.values())


@pytest.mark.parametrize(("method", "pet"), list(itertools.product((kernels.TRAD, kernels.TOPO, kernels.VEG), PETS)))
def test_kernel_equals_the_library_for_every_method_and_evaporation(method: int, pet: str):
    here = strip()
    assert_same(here, rules(method, pet), by_the_library(here, method, pet))


@pytest.mark.parametrize(
    ("method", "pet", "changes", "options"),
    [
        (kernels.TRAD, "hamon", {"cold_npp": True}, {"cold_npp": True}),
        (kernels.TRAD, "hamon", {"reference": -5.0}, {"reference_temperature": 268.15}),
        (kernels.TRAD, "hamon", {"heat_capacity": 4180.0}, {"water_heat_capacity": 4180.0}),
        (kernels.TRAD, "hamon", {"enthalpy": 22.2e6}, {"biomass_enthalpy": 22.2e6}),
        (kernels.TOPO, "penman", {"fao56": False}, {"net_radiation": "shortwave"}),
        (kernels.TOPO, "penman", {"clearness": 0.6}, {"clearness": 0.6}),
        (kernels.TOPO, "penman", {"omega": 3.75}, {"omega": 3.75}),
        (kernels.TOPO, "penman", {"annual_budyko": True}, {"budyko": "annual"}),
        (kernels.TOPO, "penman", {"split_by_warmth": True}, {"npp_split": "warmth"}),
        (kernels.TOPO, "penman", {"least_ratio": 0.5, "greatest_ratio": 1.5}, {"solar_ratio_limits": (0.5, 1.5)}),
        (kernels.TOPO, "penman", {"npp_floor": 600.0}, {"npp_floor": 600.0}),
        (kernels.TOPO, "penman", {"pressure_gradient": 0.00649}, {"pressure_gradient": 0.00649}),
        (kernels.VEG, "penman_monteith", {"centred": True}, {"npp_form": "centred"}),
        (kernels.VEG, "penman_monteith", {"npp_floor": 100.0}, {"npp_floor": 100.0}),
        (kernels.VEG, "penman_monteith", {"annual_budyko": True}, {"budyko": "annual"}),
        (kernels.VEG, "hamon", {"annual_budyko": True}, {"budyko": "annual"}),
    ],
)
def test_kernel_equals_the_library_in_every_choice(method: int, pet: str, changes: dict, options: dict):
    here = strip()
    assert_same(here, rules(method, pet, **changes), by_the_library(here, method, pet, **options))


@pytest.mark.parametrize("method", [kernels.TRAD, kernels.TOPO, kernels.VEG])
def test_vapour_of_the_minimum_temperature_is_that_of_saturation(method: int):
    here = strip()
    saturated = here._replace(vapour=(610.8 * np.exp(17.27 * here.tmin / (here.tmin + 237.3))).astype(np.float32))
    chosen = rules(method, "penman")
    ours, _, _ = compiled(here, chosen._replace(vapour_of_tmin=True))
    theirs, _, _ = compiled(saturated, chosen)
    for name, layer in ours.items():
        np.testing.assert_allclose(layer, theirs[name], rtol=1e-5, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("method", "pet"), [(kernels.TRAD, "hamon"), (kernels.TOPO, "penman")])
def test_a_cell_is_the_same_to_the_bit_whatever_lies_beside_it(method: int, pet: str):
    here, chosen = strip(), rules(method, pet)
    whole, _, _ = compiled(here, chosen)
    for first, last in ((0, 1), (3, 14), (17, COLS)):
        layers = [np.ascontiguousarray(layer[..., first:last]) for layer in here[:-2]]
        part = Strip(*layers, hours=here.hours, block=here.block[first:last])
        out = np.empty((2, 12, ROWS, last - first), dtype=np.float32)
        transfer(part, chosen._replace(all_layers=False), DAYS, WIND, ALBEDO, out, np.zeros((2, 12), dtype=np.int64))
        for name, layer in zip(kernels.LAYERS, out, strict=False):
            np.testing.assert_array_equal(layer, whole[name][..., first:last], err_msg=name)


def test_sums_of_water_are_those_of_the_cells_and_give_the_librarys_factor():
    here = strip()
    layers, _, water = compiled(here, rules(kernels.TOPO, "penman"))
    known = np.isfinite(layers["peff"]) & np.isfinite(here.share)
    whole = np.where(known, layers["peff"].astype(np.float64), 0).sum(axis=(1, 2))
    np.testing.assert_allclose(water[0] * kernels.WATER_UNIT, whole, rtol=1e-5)
    np.testing.assert_allclose(water[0] / water[1], eemt.renormalisation(layers["peff"], here.share), rtol=1e-5)


def test_the_kernel_counts_what_the_library_names():
    assert tuple(eemt.COUNTS) == kernels.COUNTS
