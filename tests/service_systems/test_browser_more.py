"""In a real browser: a job that failed is tried again, and sun maps from the form to the map."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rasterio

from eemt.service.maps import find, maps_of
from service.conftest import Server
from service_systems.beds import CHROMIUM
from service_systems.test_browser import AREA, DEM, NAME, PASSWORD, RUN, Workplace, picture, upload, without_complaints
from sites import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["without_complaints"]

FAILING = "wetness"
WHY = "the disk does not answer"
# in a copy of the workflow, one of its programs fails while the file is there
OUTAGE = """\
shell.prefix(
    "set -euo pipefail; "
    "eemt() {{ "
    "if [ -e {outage} ] && [ $1 = {failing} ]; then echo 'eemt {failing}: {why}'; return 1; fi; "
    "command eemt \\"$@\\"; "
    "}}; "
)
"""


@dataclass
class Faulty(Workplace):
    """A workplace whose workflow fails as long as a file is there."""

    outage: Path = Path()


@pytest.fixture
def outage(workplace: Faulty) -> Iterator[Path]:
    """The file that makes jobs fail, while it is there."""
    workplace.outage.touch()
    yield workplace.outage
    workplace.outage.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def workplace(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    require("browser")
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("faulty")
    outage = folder / "outage"
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    snakefile = folder / "workflow/Snakefile"
    snakefile.write_text(
        OUTAGE.replace("{outage}", str(outage)).replace("{failing}", FAILING).replace("{why}", WHY)
        + snakefile.read_text()
    )
    command = [sys.executable, "-m", "eemt.cli", "account", "add", NAME, "--folder", str(folder / "served")]
    subprocess.run(command, input=PASSWORD + "\n", text=True, check=True, capture_output=True)
    settings = {"EEMT_SERVICE_ACCOUNTS": "true", "EEMT_SERVICE_WORKFLOW": str(snakefile)}
    server = Server(folder / "served", settings).start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            yield Faulty(server, browser, outage=outage)
            browser.close()
    finally:
        server.end()


def submit_sun_maps(page: Page, name: str) -> str:
    """Fill in the form for sun maps of a small area, submit it, and return the job's identifier."""
    page.goto("/jobs/new")
    page.get_by_role("radio", name=re.compile("Sun maps")).check()
    upload(page, "Elevation model", DEM)
    page.get_by_label("Name", exact=True).fill(name)
    for side, degrees in AREA.items():
        page.get_by_label(side, exact=True).fill(str(degrees))
    page.get_by_label(re.compile("^Time step")).fill("60")
    page.get_by_label("Keep daily maps").uncheck()
    page.locator("#estimate").get_by_text("of disk").wait_for()
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f]{20}$"))
    return page.url.rpartition("/")[2]


def test_a_job_that_failed_says_why_and_is_tried_again_from_there(workplace: Faulty, outage: Path) -> None:
    page = workplace.signed_in()
    job = submit_sun_maps(page, "outage")
    page.locator("#top .state.failed").wait_for(timeout=RUN)
    # the program's own words, without a look into a file
    page.get_by_label("Why it failed").get_by_text(WHY).wait_for()
    page.get_by_text("By rule of the workflow").click()
    row = page.locator("#rules tr", has=page.get_by_text(FAILING, exact=True))
    assert row.locator("td[data-label=Failed]").inner_text() == "1"
    row.get_by_role("link", name="log").click()
    page.wait_for_url("**/log*")
    assert WHY in page.inner_text("body")
    page.go_back()
    picture(page, "failed")
    results = workplace.server.folder / "jobs" / job / "results/outage"
    made = {path: path.stat().st_mtime_ns for path in results.rglob("*.tif")}
    monitor = page.context.new_page()
    monitor.goto("/jobs?state=failed")
    monitor.locator(f"tr[data-job='{job}'] .state.failed").wait_for()
    outage.unlink()
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("attempt 2").wait_for()
    page.locator("#top .state.completed").wait_for(timeout=RUN)
    assert page.get_by_label("Why it failed").count() == 0
    assert page.get_by_role("button", name="Retry").count() == 0
    # what the first attempt had finished was not computed again
    kept = {path: path.stat().st_mtime_ns for path in made if path.exists()}
    assert kept and kept.items() <= made.items()
    page.get_by_role("link", name="Map").first.click()
    page.locator("#map[data-ready]").wait_for()


def test_sun_maps_come_without_a_climate_from_the_form_to_a_value_on_the_map(workplace: Faulty) -> None:
    page = workplace.signed_in()
    page.goto("/jobs/new")
    page.get_by_role("radio", name=re.compile("Sun maps")).check()
    # nothing is asked for that only EEMT needs
    assert page.get_by_label("Table of stations").filter(visible=True).count() == 0
    job = submit_sun_maps(page, "canyon")
    page.locator("#top .state.completed").wait_for(timeout=RUN)
    page.get_by_role("link", name="Map").first.click()
    page.locator("#map[data-ready]").wait_for()
    page.get_by_label("Month", exact=True).select_option(label="Jul")
    page.wait_for_load_state("networkidle")
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    page.wait_for_function("() => document.querySelector('#value:not([aria-busy])')?.dataset.value")
    told = page.locator("#value").evaluate("element => ({...element.dataset})")
    offered = maps_of(workplace.server.folder / "jobs" / job / "results/canyon")
    path = find(offered, told["map"]).path
    assert path.name == "monthly_global.tif"
    with rasterio.open(path) as source:
        cell = source.read(int(told["band"]))[int(told["row"]), int(told["col"])]
    assert float(told["value"]) == pytest.approx(float(cell), rel=1e-6)
    assert all(one.method is None for one in offered)
    page.goto("/jobs")
    page.locator(f"tr[data-job='{job}']").get_by_text("Sun").first.wait_for()
