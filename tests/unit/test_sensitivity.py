"""What parameters do to the mean EEMT."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eemt.comparison import Comparison
from eemt.sensitivity import independent, responses, sobol_indices
from eemt.sweep import cases, drawn, label, swept_keys
from sweeps import formula, site

RANGES = {"eemt": {"omega": {"low": 2, "high": 4}, "npp_floor": {"low": 0, "high": 3000}}}


def compared(sweep, mean=formula):
    """A comparison of formulas, without files."""
    settings = site(sweep)
    rows = [
        {"case": case.name, "method": method, "year": "mean", "variable": "eemt", "mean": mean(case.settings, method)}
        for case in cases(settings)
        for method in settings.eemt.methods
    ]
    design = drawn(settings)
    methods = list(settings.eemt.methods)
    return Comparison(settings, swept_keys(settings), cases(settings), design, methods, ["mean"], pd.DataFrame(rows))


def by_name(comparison, method="topo"):
    return {response.name: response for response in responses(comparison, method, "mean")}


def test_sobol_indices_of_the_ishigami_function_are_those_known():
    # Saltelli et al. 2008, Global Sensitivity Analysis, a = 7, b = 0.1
    sweep = {"climate": {"lapse_tmin": {"low": -4, "high": 4}}, **RANGES, "samples": 1024}
    settings = site(sweep)
    lows = {"lapse_tmin": (-4, 8), "omega": (2, 2), "npp_floor": (0, 3000)}
    keys = swept_keys(settings)
    x = np.array([[case.values[label(key)] for key in keys] for case in drawn(settings)])
    low, span = np.array([lows[label(key)] for key in keys]).T
    x = np.pi * (2 * (x - low) / span - 1)
    outcomes = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    found = sobol_indices(keys, outcomes, settings.sweep.seed)
    for values, errors, known in (
        (found.first, found.first_error, [0.3139, 0.4424, 0.0]),
        (found.total, found.total_error, [0.5576, 0.4424, 0.2437]),
    ):
        assert (np.abs(values - known) <= errors).all()
        assert (errors < 0.12).all()


def test_sobol_indices_of_a_choice_and_a_number_are_their_shares_of_the_variance():
    comparison = compared(
        {"sun": {"shadows": [True, False]}, "eemt": {"omega": {"low": 2, "high": 4}}, "samples": 512},
        lambda settings, _: 10 + settings.eemt.omega + 0.5 * settings.sun.shadows,
    )
    outcomes = comparison.outcomes("topo", "mean")
    found = sobol_indices(comparison.keys, outcomes)
    omega, shadows = 2**2 / 12, 0.5**2 / 4
    known = np.array([shadows, omega]) / (omega + shadows)
    assert (np.abs(found.total - known) < found.total_error).all()
    assert (np.abs(found.first - known) < found.first_error).all()
    points = independent(comparison, outcomes)
    assert points.size == 1024
    assert points.mean() == pytest.approx(13.25, abs=0.05)


def test_same_seed_gives_the_same_intervals():
    outcomes = np.random.default_rng(1).normal(size=64)
    keys = [("eemt", "omega"), ("sun", "linke")]
    first, again = (sobol_indices(keys, outcomes, seed=0) for _ in range(2))
    assert (first.total_error == again.total_error).all()


def test_few_samples_are_no_error_and_equal_results_have_no_indices():
    keys = [("eemt", "omega"), ("sun", "linke")]
    assert sobol_indices(keys, np.array([1.0, 2, 3, 4, 1, 2, 5, 4])) is not None
    assert sobol_indices(keys, np.full(64, 23.1)) is None


def test_one_key_at_a_time_is_of_the_cases_that_differ_in_nothing_else():
    found = by_name(compared({"sun": {"linke": [2, 6]}, "eemt": {"omega": [2.2, 3.2]}, "combine": "each"}))
    linke = found["linke"]
    assert not linke.conditional
    assert (list(linke.values), list(linke.names)) == ([2, 3, 6], ["2", "3", "6"])
    own = site({})
    expected = [
        formula(own.model_copy(update={"sun": own.sun.model_copy(update={"linke": v})}), "topo")
        for v in (2.0, 3.0, 6.0)
    ]
    assert linke.means == pytest.approx(expected)
    assert linke.ends == (0, 2)
    assert linke.swing == pytest.approx(expected[0] - expected[2])


def test_a_key_without_effect_has_no_swing():
    found = by_name(compared({"sun": {"linke": [2, 6]}, "combine": "each"}), "trad")
    assert found["linke"].swing == 0


def test_product_that_holds_the_sites_own_values_needs_no_conditional_means():
    found = by_name(compared({"sun": {"linke": [2, 3]}, "eemt": {"omega": [2.2, 2.63, 3.2]}}))
    assert not any(response.conditional for response in found.values())
    assert list(found["omega"].values) == [2.2, 2.63, 3.2]


def test_product_without_the_sites_own_values_has_means_over_the_cases_with_a_value():
    comparison = compared({"sun": {"linke": [2, 6]}, "eemt": {"omega": [2.2, 3.2]}})
    linke = by_name(comparison)["linke"]
    assert linke.conditional
    means = comparison.means("topo", "mean")
    assert linke.means[0] == pytest.approx((means["linke~2_omega~2.2"] + means["linke~2_omega~3.2"]) / 2)
    assert list(linke.values) == [2, 6]


def test_samples_are_gathered_in_parts_of_the_range_that_hold_the_trend():
    omega = by_name(compared({**RANGES, "samples": 64}))["omega"]
    assert omega.conditional
    assert len(omega.values) == 10
    ends = [[float(end) for end in name.split("–")] for name in (omega.names[0], omega.names[-1])]
    assert ends == [
        [pytest.approx(2, abs=0.05), pytest.approx(2.2, abs=0.05)],
        [pytest.approx(3.8, abs=0.05), pytest.approx(4, abs=0.05)],
    ]
    assert np.all(np.diff(omega.means) > 0)
    assert len(omega.points) == 64 * 4


def test_one_sampled_key_is_one_at_a_time():
    found = by_name(compared({"eemt": {"omega": {"low": 2.0, "high": 4.0}}, "samples": 16}))
    assert not found["omega"].conditional


def test_choices_end_at_the_least_and_the_greatest_mean():
    rank = {"hamon": 3, "penman": 1, "thornthwaite": 2}
    comparison = compared(
        {"eemt": {"pet": ["penman", "thornthwaite"]}}, lambda settings, _: 20.0 + rank[settings.eemt.pet]
    )
    pet = by_name(comparison)["pet"]
    assert not pet.numeric
    assert [pet.names[end] for end in pet.ends] == ["penman", "hamon"]
    assert {place for place, _ in pet.points} <= {0, 1, 2}


def test_lists_of_twelve_and_numbers_of_one_key_are_choices():
    linke = by_name(compared({"sun": {"linke": [2, [4.0] * 12]}, "combine": "each"}))["linke"]
    assert not linke.numeric
    assert len(linke.values) == 3
