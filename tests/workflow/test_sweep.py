"""Sweeps through the workflow: only what a value changes is computed, and the cases are what single runs would be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio

from executors.runs import Run, clip_config

pytestmark = pytest.mark.workflow

Planned = Callable[..., dict[str, int]]
OUTPUTS = {"parts": False, "over_years": ["mean"]}
# what names all cases, and is written anew from what there is when one comes or goes
NAMES_CASES = dict.fromkeys(["sweep", "catalogue_clip", "crate"], 1)
SWEEP: dict[str, Any] = {"sun": {"linke": [2, 3]}, "eemt": {"omega": [2.2, 2.63]}}
CASES = ["", "linke~2_omega~2.2", "linke~2", "omega~2.2"]


@pytest.fixture(scope="module")
def site(clip: Path) -> Callable[..., dict[str, Any]]:
    """Return the config of the clip in one tile, swept."""

    def config(sweep: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
        return clip_config(
            str(clip), 1024, sun={"step": 60, "daily": False}, outputs=OUTPUTS, sweep=dict(sweep), **sections
        )

    return config


@pytest.fixture(scope="module")
def swept(fresh: Callable[..., Run], site: Callable[..., dict[str, Any]]) -> Run:
    """Two kinds of sun times two shapes of the Budyko curve."""
    run = fresh("swept", site(SWEEP))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    assert "clip: sweep in results/clip/sweep.html" in done.stdout
    return run


def eemt(run: Run, case: str = "", method: str = "topo") -> np.ndarray:
    with rasterio.open(run.result(f"{case}/maps/eemt_{method}_1971-2000.tif".lstrip("/"))) as source:
        return source.read()


def planned_of(planned: Planned, run: Run, config: Mapping[str, Any]) -> dict[str, int]:
    jobs = planned(run, config=config)
    jobs.pop("all", None)
    return jobs


def test_a_sweep_has_the_maps_of_each_case_and_a_comparison(swept: Run):
    for case in CASES:
        assert swept.result(f"{case}/maps/eemt_topo_mean.tif".lstrip("/")).exists()
    table = pd.read_csv(swept.result("sweep.csv"), keep_default_na=False)
    assert set(table["case"]) == set(CASES)
    assert swept.result("sweep.html").stat().st_size < 10e6
    # without more evaporation there is as much or more water left
    assert np.nanmin(eemt(swept, "omega~2.2")[0] - eemt(swept)[0]) > 0.01
    assert np.nanmax(np.abs(eemt(swept, "linke~2") - eemt(swept))) > 0.001


def test_what_cases_have_in_common_is_computed_once(swept: Run):
    sun = sorted(path.relative_to(swept.result("sun")).as_posix() for path in swept.result("sun").rglob("r000c000"))
    assert sun == ["linke~2/tiles/r000c000", "tiles/r000c000"]
    assert len([*swept.result("eemt").rglob("*.nc")]) == len(CASES)


def test_a_case_equals_a_run_with_its_parameters(swept: Run, fresh: Callable[..., Run], site: Callable[..., Any]):
    single = site({}, eemt={"omega": 2.2})
    single["sun"]["linke"] = 2
    run = fresh("single", single)
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    for method in ("trad", "topo"):
        np.testing.assert_array_equal(eemt(run, method=method), eemt(swept, "linke~2_omega~2.2", method))


def test_another_value_of_the_sun_makes_its_sun_maps_and_what_follows_alone(swept: Run, planned: Planned, site: Any):
    more = {**SWEEP, "sun": {"linke": [2, 3, 4]}}
    jobs = planned_of(planned, swept, site(more))
    assert jobs == {"sun_monthly": 1, "transfer": 2, "maps_clip": 2, "summary": 2, **NAMES_CASES}


def test_another_value_of_the_energy_leaves_the_sun_alone(swept: Run, planned: Planned, site: Any):
    more = {**SWEEP, "eemt": {"omega": [2.2, 2.63, 3.0]}}
    assert planned_of(planned, swept, site(more)) == {"transfer": 2, "maps_clip": 2, "summary": 2, **NAMES_CASES}


def test_another_key_leaves_what_is_there(swept: Run, planned: Planned, site: Any):
    more = {**SWEEP, "climate": {"lapse_tmin": [6.5, 5]}}
    assert planned_of(planned, swept, site(more)) == {"transfer": 4, "maps_clip": 4, "summary": 4, **NAMES_CASES}


@pytest.mark.parametrize(
    "less", [{**SWEEP, "sun": {"linke": [3]}}, {**SWEEP, "sun": {"linke": [2]}}, {"eemt": {"omega": [2.2]}}]
)
def test_one_value_less_schedules_no_sun_energy_map_or_summary(
    swept: Run, planned: Planned, site: Any, less: dict[str, Any]
):
    # what names the cases must not go on naming one that is not asked for
    assert planned_of(planned, swept, site(less)) == NAMES_CASES


def test_no_sweep_any_more_computes_nothing(swept: Run, planned: Planned, site: Any):
    # the report links to no sweep then
    assert planned_of(planned, swept, site({})) == dict.fromkeys(["report", "catalogue_clip", "crate"], 1)


def test_maps_of_a_value_less_stay_and_pages_no_longer_show_it(swept: Run, site: Any, tmp_path: Path, planned: Planned):
    shutil.copytree(swept.folder, tmp_path, dirs_exist_ok=True)
    run = Run(tmp_path)
    before = run.written()
    assert "linke~2" in run.result("catalog.json").read_text()
    run.configure(site({**SWEEP, "sun": {"linke": [3]}}))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    after = run.written()
    assert set(after) == set(before)
    again = {Path(name).relative_to("results/clip") for name in before if before[name] != after[name]}
    assert {path.parts[0] for path in again if path.name not in {"item.json", "thumbnail.png"}} == {
        "catalog.json", "stac", "sweep.csv", "sweep.parquet", "sweep.html", "ro-crate-metadata.json"
    }  # fmt: skip
    for name in ("sweep.csv", "catalog.json"):
        assert "linke~2" not in run.result(name).read_text()
    assert planned(run) == {}


def test_pages_and_catalogue_lead_to_each_other_and_to_the_cases(swept: Run):
    report, sweep = (swept.result(name).read_text(encoding="utf-8") for name in ("report.html", "sweep.html"))
    for page in (report, sweep):
        links = re.findall(r'<a href="([a-z]+\.[a-z]+)"', page)
        assert {"summary.csv", "catalog.json"} <= set(links)
        assert all(swept.result(name).is_file() for name in links)
    assert 'href="sweep.html"' in report and 'href="report.html"' in sweep
    items = {item.id: item for item in pystac.Collection.from_file(str(swept.result("catalog.json"))).get_items()}
    assert {name for name in items if "~" in name} == {case for case in CASES if case}
    for name, asset in items["linke~2"].assets.items():
        assert Path(asset.get_absolute_href()).is_file(), name


def test_cases_in_one_job_are_what_they_are_alone(swept: Run, fresh: Callable[..., Run], site: Any, planned: Planned):
    three = {**SWEEP, "eemt": {"omega": [2.2, 2.63, 3.0]}, "together": 2}
    run = fresh("together", site(three))
    jobs = planned(run)
    # two cases and one, for each of two suns
    assert {name: number for name, number in jobs.items() if name.startswith("transfer")} == {
        f"transfer_clip_{number}": 1 for number in range(1, 5)
    }
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    for case in CASES:
        np.testing.assert_array_equal(eemt(run, case), eemt(swept, case))
    for sun in ("linke~2", ""):
        alone = eemt(run, "_".join(filter(None, [sun, "omega~3"])))
        assert np.nanmin(eemt(run, sun)[0] - alone[0]) > 0.01
    more = site({**three, "sun": {"linke": [2, 3, 4]}})
    assert planned_of(planned, run, more) == {
        "sun_monthly": 1, "transfer_clip_5": 1, "transfer_clip_6": 1, "maps_clip": 3, "summary": 3, **NAMES_CASES
    }  # fmt: skip
    assert planned_of(planned, run, site({**SWEEP, "eemt": {"omega": [2.2]}, "together": 2})) == NAMES_CASES


def test_samples_share_the_sun_where_only_energy_differs(swept: Run, planned: Planned, site: Any):
    sampled = {"samples": 2, "sun": {"linke": {"low": 2, "high": 4}}, "eemt": {"omega": {"low": 2.2, "high": 3.2}}}
    jobs = planned_of(planned, swept, site(sampled))
    # two points and two others, each with the other's sun and the other's omega
    assert jobs == {"sun_monthly": 4, "transfer": 8, "maps_clip": 8, "summary": 8, **NAMES_CASES}


def test_a_table_of_cases(swept: Run, planned: Planned, site: Any):
    table = swept.folder / "config/cases.csv"
    table.write_text("linke,omega,npp_split\n2,2.2,\n4,,warmth\n")
    jobs = planned_of(planned, swept, site({"table": "config/cases.csv"}))
    assert jobs == {"sun_monthly": 1, "transfer": 1, "maps_clip": 1, "summary": 1, **NAMES_CASES}
    table.write_text("linke,omega\n2,2.2\n4,22\n")
    swept.configure(site({"table": "config/cases.csv"}))
    done = swept.snakemake("--dry-run")
    swept.configure(site(SWEEP))
    assert done.returncode == 2
    assert "eemt: config: sweep.eemt.omega: is 22" in done.stdout
