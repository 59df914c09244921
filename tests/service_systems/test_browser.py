"""The pages in a real browser: from an upload to a value on the map, by mouse, by keys, on a phone, without scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rasterio

from service.conftest import Server
from service_systems.beds import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

DATA = Path(__file__).parents[2] / "config/data"
DEM = DATA / "boulder_srtm3.tif"
STATIONS = DATA / "waterdale_normals_1971-2000.csv"
AREA = {"west": -105.31, "south": 39.95, "east": -105.29, "north": 39.965}
STATION = {"elevation": "1594", "latitude": "40.43", "longitude": "-105.21"}
NAME, PASSWORD = "ada", "a long way up the canyon"
MINUTES = 60_000  # ms
RUN = 8 * MINUTES  # a run takes one; machines may be busy
PHONE = {"width": 390, "height": 800}
NARROWEST = 360  # pixels


@dataclass
class Workplace:
    """A server with accounts, and a browser; what pages complained of."""

    server: Server
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    def context(self, **options: object) -> BrowserContext:
        """Open a window of its own, in which complaints are noted."""
        context = self.browser.new_context(base_url=self.server.address, **options)  # type: ignore[arg-type]
        context.set_default_timeout(MINUTES / 2)
        context.on("console", lambda told: self.complaints.append(told.text) if told.type == "error" else None)
        context.on("weberror", lambda told: self.complaints.append(str(told.error)))
        return context

    def signed_in(self, name: str = NAME, **options: object) -> Page:
        """Open a window and sign in."""
        page = self.context(**options).new_page()
        page.goto("/sign-in")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        return page


@pytest.fixture(scope="module")
def workplace(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    require("browser")
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("browser") / "served"
    for name, options in (("olga", ["--operator"]), (NAME, [])):
        command = [sys.executable, "-m", "eemt.cli", "account", "add", name, *options, "--folder", str(folder)]
        done = subprocess.run(command, input=PASSWORD + "\n", text=True, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
    server = Server(folder, {"EEMT_SERVICE_ACCOUNTS": "true"}).start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            yield Workplace(server, browser)
            browser.close()
    finally:
        server.end()


@pytest.fixture(autouse=True)
def without_complaints(workplace: Workplace) -> Iterator[None]:
    """Nothing is blocked, broken or missing on a page, unless the test expects it."""
    workplace.complaints.clear()
    yield
    assert workplace.complaints == []


@pytest.fixture(scope="module")
def job(workplace: Workplace) -> str:
    """The identifier of a job that was asked for in the browser, and is complete."""
    page = workplace.signed_in()
    page.get_by_role("link", name="New job").first.click()
    upload(page, "Elevation model", DEM)
    page.get_by_role("img", name="Hillshade of boulder_srtm3.tif").wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "boulder_srtm3"
    page.get_by_label("Name", exact=True).fill("canyon")
    for side, degrees in AREA.items():
        page.get_by_label(side, exact=True).fill(str(degrees))
    upload(page, "Table of stations", STATIONS)
    for what, number in STATION.items():
        page.get_by_label(re.compile(f"^{what.capitalize()} of the station")).fill(number)
    period = page.get_by_role("group", name="Period of the normals")
    period.get_by_label("first").fill("1971")
    period.get_by_label("last").fill("2000")
    page.get_by_label("Keep daily maps").uncheck()
    page.locator("#estimate").get_by_text("of disk").wait_for()
    picture(page, "new")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f]{20}$"))
    page.locator("#top .state.running").wait_for(timeout=RUN)
    page.locator("#progress .state.completed").first.wait_for(timeout=RUN)
    picture(page, "running")
    # the page follows by itself
    page.locator("#top .state.completed").wait_for(timeout=RUN)
    page.context.close()
    return page.url.rpartition("/")[2]


def upload(page: Page, field: str, path: Path) -> None:
    """Choose a file at a field, and wait until it was looked into."""
    zone = (
        page.get_by_role("group", name=field) if field == "Elevation model" else page.locator(".field", has_text=field)
    )
    zone.locator("input[type=file]").first.set_input_files(path)
    zone.get_by_text(f"{path.name}:").get_by_text("ready").wait_for()


def picture(page: Page, name: str) -> None:
    """Take a picture of a page for the docs, where EEMT_SCREENSHOTS names a folder."""
    if folder := os.environ.get("EEMT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"service-{name}.png", full_page=True)


def test_a_job_is_submitted_and_watched_to_its_end(workplace: Workplace, job: str) -> None:
    page = workplace.signed_in()
    page.goto(f"/jobs/{job}")
    assert page.locator("#log").inner_text().strip()
    picture(page, "job")


def test_the_value_under_the_pointer_is_that_of_the_geotiff(workplace: Workplace, job: str) -> None:
    page = workplace.signed_in()
    page.goto(f"/jobs/{job}/map")
    page.locator("#map[data-ready]").wait_for()
    page.get_by_label("Method").select_option("topo")
    page.get_by_label("Month").select_option(label="Jul")
    box = page.locator("#map").bounding_box()
    assert box is not None
    value = page.locator("#value")
    seen = set()
    for part in (0.4, 0.5, 0.6):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + part * box["height"], steps=3)
        page.wait_for_timeout(600)  # values are asked for at a pace
        told = value.evaluate("element => ({...element.dataset})")
        path = next((workplace.server.folder / "jobs" / job).glob(f"results/*/maps/{told['map']}.tif"))
        with rasterio.open(path) as source:
            band = source.read(int(told["band"]))
        cell = band[int(told["row"]), int(told["col"])]
        assert float(told["value"]) == pytest.approx(float(cell), rel=1e-6)
        assert path.name.startswith("eemt_topo")
        assert told["band"] == "8"
        seen.add((told["row"], told["col"]))
    assert len(seen) == 3
    picture(page, "map")


def test_all_results_come_as_one_archive(workplace: Workplace, job: str, tmp_path: Path) -> None:
    page = workplace.signed_in()
    page.goto(f"/jobs/{job}")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Everything as one archive").click()
    waiting.value.save_as(tmp_path / "all.tar")
    with tarfile.open(tmp_path / "all.tar") as archive:
        names = archive.getnames()
    assert any(name.endswith("SHA256SUMS") for name in names)
    assert any(name.endswith(".tif") for name in names)


def test_a_clone_with_another_linke_is_cancelled(workplace: Workplace, job: str) -> None:
    page = workplace.signed_in()
    page.goto(f"/jobs/{job}")
    page.get_by_role("link", name="Clone").click()
    linke = page.get_by_label("Linke turbidity").first
    linke.fill("4.5")
    page.locator("#estimate").get_by_text("of disk").wait_for()
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(rf"/jobs/(?!{job})[0-9a-f]{{20}}$"))
    page.get_by_text("config.yaml, as the workflow gets it").click()
    assert re.search(r"linke: 4\.5", page.locator("pre", has_text="linke").inner_text())
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    page.locator("#top .state.cancelled").wait_for()
