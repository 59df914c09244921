"""The cases of a sweep: which there are, what they are called, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eemt.config import Site, load_config
from eemt.errors import InputError
from eemt.plan import MOST_JOBS, TRANSFERS, Plan
from eemt.sweep import cases, drawn, swept_keys
from sites import BOULDER, CLIMATE


def site(sweep: dict[str, Any], **sections: Any) -> Site:
    place = {"dem": {"source": str(BOULDER), "crs": "EPSG:32613", "resolution": 30}, "climate": CLIMATE}
    return load_config({"sites": {"a": place}, "sweep": sweep, **sections}).sites["a"]


def names(sweep: dict[str, Any], **sections: Any) -> list[str]:
    return [case.name for case in cases(site(sweep, **sections))]


def test_without_a_sweep_there_is_the_site_alone():
    assert names({}) == [""]
    assert cases(site({}))[0].settings.sun.daily


def test_product_has_every_value_with_every_other_and_the_sites_own_under_its_own_name():
    found = names({"sun": {"linke": [2, 3]}, "eemt": {"omega": [2.2, 2.63]}})
    assert found == ["", "linke~2_omega~2.2", "linke~2", "omega~2.2"]


def test_each_changes_one_key_at_a_time():
    found = names({"combine": "each", "sun": {"linke": [2, 3]}, "climate": {"lapse_tmin": [5]}, "eemt": {"omega": [2]}})
    assert found == ["", "linke~2", "lapse_tmin~5", "omega~2"]


def test_a_case_has_what_it_changes_and_knows_its_sun():
    own, other = cases(site({"sun": {"linke": [2]}, "climate": {"lapse_tmin": [5]}, "eemt": {"albedo": [0.1]}}))
    assert other.values == {"linke": 2.0, "lapse_tmin": 5.0, "eemt.albedo": 0.1}
    assert own.values == {"linke": 3.0, "lapse_tmin": 6.5, "eemt.albedo": 0.2}
    assert (own.sun, other.sun) == ("", "linke~2")
    assert other.energy == {"lapse_tmin": 5.0, "albedo": 0.1}
    assert (other.settings.sun.linke, other.settings.climate.lapse_tmin, other.settings.eemt.albedo) == (2, 5, 0.1)
    # the maps of days are for looking at, not for comparing
    assert own.settings.sun.daily and not other.settings.sun.daily


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("climatology", "linke~climatology"),
        ([2] * 12, "linke~2,2,2,2,2,2,2,2,2,2,2,2"),
        ([round(2 + 0.123 * k, 3) for k in range(12)], "linke~63ded843"),
    ],
)
def test_any_value_makes_a_name_for_a_folder(value: Any, name: str):
    assert names({"sun": {"linke": [value]}}) == ["", name]


def test_a_table_names_its_keys_and_leaves_out_what_a_case_does_not_change(tmp_path: Path):
    path = tmp_path / "cases.csv"
    path.write_text("# two of them\nlinke,eemt.albedo,pet,sky_view\n2,0.1,thornthwaite,\n3,,hamon,yes\n")
    place = site({"table": str(path)})
    assert [case.name for case in cases(place)] == ["", "linke~2_eemt.albedo~0.1_pet~thornthwaite", "sky_view~yes"]
    assert [key for _, key in swept_keys(place)] == ["linke", "albedo", "pet", "sky_view"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "has no rows"),
        ("linke\n", "has no rows"),
        ("linke,omega\n2\n", "line 2 has not as many values"),
        ("lnke\n2\n", "lnke is no key that can be swept"),
        ("albedo\n0.1\n", "albedo is a key of sun and eemt; write sun.albedo"),
        ("linke\n20\n", "sweep.sun.linke: is 20; allowed are 1 to 10"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path: Path, text: str, line: str):
    path = tmp_path / "cases.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=line):
        cases(site({"table": str(path)}))


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        ({"sun": {"lnke": [2]}}, "sun.lnke cannot be swept; known are step, linke"),
        ({"sun": {"daily": [True]}}, "sun.daily cannot be swept"),
        ({"sun": {"linke": [2, 20]}}, "sweep.sun.linke: is 20; allowed are 1 to 10"),
        ({"sun": {"linke": []}}, "give a list of values"),
        ({"sun": {"linke": 2}}, "give a list of values"),
        ({"sun": {"linke": {"low": 2, "high": 4}}}, "is a range, which only samples are drawn from"),
        ({"samples": 8, "sun": {"linke": {"low": 4, "high": 2}}}, "low must be below high"),
        ({"samples": 8, "sun": {"linke": {"low": 2, "high": 40}}}, "sweep.sun.linke: is 40; allowed are 1 to 10"),
        ({"samples": 8}, "samples needs keys to draw for"),
        ({"table": "cases.csv", "sun": {"linke": [2]}}, "table has all cases"),
        ({"table": "missing.csv"}, "missing.csv cannot be read"),
        ({"sun": {"albedo": ["snow.tif"]}}, "a raster cannot be swept"),
        ({"eemt": {"method": ["veg"]}}, "sweep.eemt.method: veg is not among eemt.methods"),
        ({"years": [2001]}, "sweep.years: 2001 is not among the years of climate"),
        ({"eemt": {"omega": [2 + 0.01 * k for k in range(101)], "wind": [1 + 0.01 * k for k in range(101)]}}, "10201 "),
    ],
)
def test_a_bad_sweep_is_one_line(sweep: dict[str, Any], line: str):
    with pytest.raises(InputError, match=line) as caught:
        cases(site(sweep))
    assert "\n" not in str(caught.value)


def test_samples_are_two_latin_hypercubes_mixed_key_by_key():
    samples, keys = 10, 3
    low, high = 2.0, 4.0
    sweep = {
        "samples": samples,
        "sun": {"linke": {"low": low, "high": high}},
        "eemt": {"omega": {"low": 2.2, "high": 3.2}, "pet": ["hamon", "thornthwaite"]},
    }
    design = drawn(site(sweep))
    assert len(design) == samples * (keys + 2)
    linke = np.array([case.values["linke"] for case in design]).reshape(samples, keys + 2)
    first, second = linke[:, 0], linke[:, -1]
    for points in (first, second):
        slices = np.sort(((points - low) / (high - low) * samples).astype(int))
        np.testing.assert_array_equal(slices, np.arange(samples))
    # only where it is its turn is a key the second's
    np.testing.assert_array_equal(linke[:, 1], second)
    np.testing.assert_array_equal(linke[:, 2:-1], first[:, np.newaxis].repeat(2, axis=1))
    pets = [case.values["pet"] for case in design[:: keys + 2]]
    assert sorted(pets) == ["hamon"] * 5 + ["thornthwaite"] * 5
    # cases that differ in energy alone share a sun
    assert len({case.sun for case in design}) == 2 * samples
    assert [case.name for case in drawn(site(sweep))] == [case.name for case in design]
    assert [case.name for case in drawn(site({**sweep, "seed": 2}))] != [case.name for case in design]


def test_a_hundred_cases_stay_under_the_job_budget():
    sweep = {"sun": {"linke": [1 + 0.5 * k for k in range(10)]}, "eemt": {"omega": [2 + 0.1 * k for k in range(10)]}}
    few = Plan(site(sweep, tiles={"size": 1024}))
    assert (len(few.cases), len(few.tiles), len(few.batches)) == (101, 1, 101)
    many = Plan(site(sweep, tiles={"size": 32}))
    assert len(many.tiles) == 63
    assert len(many.tiles) * len(many.batches) < 2 * TRANSFERS
    assert max(map(len, many.batches)) == 11
    # with one sun a batch, and each case in one
    assert all(len({many.cases[name].sun for name in batch}) == 1 for batch in many.batches)
    assert sorted(name for batch in many.batches for name in batch) == sorted(many.cases)
    many.refuse_too_many_jobs()


def test_a_sweep_of_too_many_jobs_is_refused():
    sweep = {"sun": {"linke": [1 + 0.05 * k for k in range(150)]}}
    plan = Plan(site(sweep, tiles={"size": 32}))
    with pytest.raises(InputError, match=rf"sweep: 150 cases of 63 tiles are \d+ jobs; {MOST_JOBS} are the most"):
        plan.refuse_too_many_jobs()


def test_a_case_that_there_is_not_is_named():
    plan = Plan(site({"sun": {"linke": [2]}}))
    assert plan.case("/linke~2").settings.sun.linke == plan.sun("/linke~2").settings.sun.linke == 2
    with pytest.raises(InputError, match="sweep: linke~9 is none of its 2 cases"):
        plan.case("/linke~9")
