"""The pages in a real browser: from an upload to a value on the map, by mouse, by keys, on a phone, without scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from PIL import Image

from eemt.service.database import Database
from eemt.service.models import Job
from eemt.service.settings import Settings
from eemt.sql import now
from service.conftest import Server
from service_systems.beds import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

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
        context.on("console", lambda told: self.note(told.text) if told.type == "error" else None)
        context.on("weberror", lambda told: self.complaints.append(str(told.error)))
        return context

    def note(self, complaint: str) -> None:
        """Note what the browser complains of, but for answers that say what is wrong in a form."""
        if "status of 422" not in complaint:
            self.complaints.append(complaint)

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
    (folder.parent / "storage").mkdir()
    config = folder.parent / "archive.yaml"
    config.write_text(f"archive: {{storage: {folder.parent / 'storage'}, min_free_percent: 0}}\n")
    server = Server(folder, {"EEMT_SERVICE_ACCOUNTS": "true", "EEMT_SERVICE_ARCHIVE": str(config)}).start()
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
    for context in workplace.browser.contexts:
        context.close()
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
    page.mouse.move(640, 400)
    picture(page, "new", top=420)
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


def picture(page: Page, name: str, top: int = 0) -> None:
    """Take a picture of a page for the docs, where EEMT_SCREENSHOTS names a folder."""
    folder = os.environ.get("EEMT_SCREENSHOTS")
    if not folder:
        return
    path = Path(folder) / f"service-{name}.png"
    page.evaluate("top => scrollTo({top, behavior: 'instant'})", top)
    page.wait_for_timeout(500)  # tiles and pictures arrive
    page.screenshot(path=path)
    # few colours make small files; maps keep theirs well enough
    with Image.open(path) as taken:
        taken.convert("RGB").quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)


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
        page.wait_for_function("() => !document.querySelector('#value[aria-busy]')")
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
    page.wait_for_load_state("networkidle")
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


def test_a_clone_with_another_linke_is_cancelled_and_the_list_follows(workplace: Workplace, job: str) -> None:
    page = workplace.signed_in()
    monitor = page.context.new_page()
    monitor.goto("/jobs")
    monitor.get_by_text("This list follows").wait_for()
    page.goto(f"/jobs/{job}")
    page.get_by_role("link", name="Clone").click()
    linke = page.get_by_label("Linke turbidity").first
    linke.fill("4.5")
    page.locator("#estimate").get_by_text("of disk").wait_for()
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(rf"/jobs/(?!{job})[0-9a-f]{{20}}$"))
    clone = page.url.rpartition("/")[2]
    page.get_by_text("config.yaml, as the workflow gets it").click()
    assert re.search(r"linke: 4\.5", page.get_by_label("config.yaml").inner_text())
    row = monitor.locator(f"tr[data-job='{clone}']")
    row.wait_for()
    picture(monitor, "jobs")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    page.locator("#top .state.cancelled").wait_for()
    row.locator(".state.cancelled").wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the job").click()
    page.wait_for_url("**/jobs")
    assert page.locator(f"tr[data-job='{clone}']").count() == 0


def test_mistakes_stand_at_their_fields_and_nothing_is_queued(workplace: Workplace) -> None:
    page = workplace.signed_in()
    page.goto("/jobs")
    before = page.locator("tr[data-job]").count()
    page.goto("/jobs/new")
    step = page.get_by_label(re.compile("^Time step"))
    step.fill("90")
    page.locator("#field-sun-step-wrong").get_by_text("60").wait_for()
    assert step.get_attribute("aria-invalid") == "true"
    # what nobody has come to yet is not called wrong, until it is to be submitted
    assert page.locator("#field-climate-file-wrong").is_hidden()
    page.get_by_role("button", name="Submit").click()
    page.locator("#field-climate-file-wrong").wait_for()
    assert page.locator("#field-dem-source-wrong").is_visible()
    assert "Please look at" in page.get_by_role("alert").inner_text()
    assert page.evaluate("document.activeElement.matches('input')")
    page.goto("/jobs")
    assert page.locator("tr[data-job]").count() == before


def test_an_area_is_drawn_or_typed(workplace: Workplace) -> None:
    page = workplace.signed_in()
    page.goto("/jobs/new")
    page.get_by_role("radio", name=re.compile("GLO-30")).check()
    drawing = page.get_by_role("img", name=re.compile("drag to draw the area"))
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    assert box is not None
    for place, action in ((0.4, page.mouse.down), (0.5, page.mouse.up)):
        page.mouse.move(box["x"] + place * box["width"], box["y"] + place * box["height"], steps=4)
        action()
    sides = [float(page.get_by_label(side, exact=True).input_value()) for side in AREA]
    assert sides[0] < sides[2]
    assert sides[1] < sides[3]
    for side, degrees in AREA.items():
        page.get_by_label(side, exact=True).fill(str(degrees))
    page.get_by_role("radio", name=re.compile("Sun maps")).check()
    page.get_by_label("Name", exact=True).fill("drawn")
    page.locator("#estimate").get_by_text("EPSG:32613").wait_for()


def test_an_upload_that_broke_off_goes_on_where_it_was(workplace: Workplace, tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with rasterio.open(DEM) as source:
        profile = source.profile | {"width": 1200, "height": 1200, "dtype": "float32", "compress": None}
    noise = np.random.default_rng(1).normal(2000, 300, (1, 1200, 1200)).astype("float32")
    with rasterio.open(path, "w", **profile) as target:
        target.write(noise)
    page = workplace.signed_in()
    offsets: list[int] = []

    def unreliable(route: Route) -> None:
        if route.request.method != "PATCH":
            return route.continue_()
        offsets.append(int(route.request.headers["upload-offset"]))
        # the second piece is lost once, and all after the third until the page is loaded again
        return route.abort() if len(offsets) == 2 or (len(offsets) > 3 and not again) else route.continue_()

    again = False
    page.route("**/api/v1/uploads/*", unreliable)
    page.goto("/jobs/new")
    page.locator("#field-dem-source-file").set_input_files(path)
    page.get_by_text("the connection broke off; trying again").wait_for()
    until = time.monotonic() + 60
    while len(offsets) < 4 and time.monotonic() < until:
        page.wait_for_timeout(200)
    assert offsets[0] == 0
    assert offsets[1] == offsets[2] > 0
    page.reload()
    again = True
    sent = len(offsets)
    page.locator("#field-dem-source-file").set_input_files(path)
    page.get_by_text(re.compile(r"large\.tif: .*, ready")).wait_for()
    assert offsets[sent] == offsets[3] > offsets[2]
    page.get_by_role("img", name="Hillshade of large.tif").wait_for()
    workplace.complaints.clear()  # the pieces that were lost


@pytest.fixture
def kept(workplace: Workplace, job: str) -> Iterator[str]:
    """The identifier of another job with the same results, whose time is over."""
    settings = Settings(folder=workplace.server.folder)
    database = Database(settings.database)
    with database.session() as session:
        done = session.get_one(Job, job)
        other = Job(**{name: getattr(done, name) for name in ("user_id", "kind", "state", "settings", "config")})
        other.name, other.finished = done.name, now() - timedelta(days=8)
        session.add(other)
        session.flush()
        made = other.id
    shutil.copytree(settings.jobs / job / "results", settings.jobs / made / "results")
    yield made
    with database.session() as session:
        session.get_one(Job, made).deleted = now()
    database.close()


def test_a_job_is_archived_and_brought_back_by_buttons(workplace: Workplace, kept: str) -> None:
    page = workplace.signed_in()
    monitor = page.context.new_page()
    monitor.goto("/jobs")
    monitor.get_by_text("This list follows").wait_for()
    page.goto(f"/jobs/{kept}")
    page.get_by_role("button", name="Archive").click()
    # both follow by themselves
    page.get_by_text(re.compile(r"Archived as canyon-[0-9a-f]{12}")).wait_for(timeout=MINUTES)
    monitor.locator(f"tr[data-job='{kept}']").get_by_text("archived", exact=True).wait_for()
    picture(page, "archived")
    assert page.get_by_role("button", name="Archive").count() == 0
    operator = workplace.signed_in("olga")
    operator.goto("/operator")
    operator.get_by_text("1 archived").wait_for()
    operator.get_by_role("button", name="What would be removed?").click()
    operator.locator("#cleaned").get_by_role("link", name="canyon").wait_for()
    operator.get_by_role("button", name="Remove it").click()
    operator.get_by_role("button", name="Remove", exact=True).click()
    operator.get_by_text("This was removed").wait_for()
    page.reload()
    assert page.get_by_role("link", name="Map").count() == 0
    page.get_by_text("Retrieve brings its results back").wait_for()
    picture(page, "removed")
    page.get_by_role("button", name="Retrieve").click()
    page.get_by_text(re.compile(r"Archived as canyon-[0-9a-f]{12}, and brought back")).wait_for(timeout=MINUTES)
    page.get_by_role("link", name="Map").first.click()
    page.locator("#map[data-ready]").wait_for()
    for context in (page.context, operator.context):
        context.close()  # before the job is taken away


@pytest.mark.usefixtures("job")
def test_pages_tell_what_they_have_without_scripts(workplace: Workplace) -> None:
    page = workplace.signed_in(java_script_enabled=False)
    page.get_by_role("link", name="canyon").first.wait_for()
    page.goto("/jobs")
    page.get_by_label("Part of the name").fill("cany")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="canyon").first.click()
    page.get_by_role("heading", name="Results").wait_for()
    page.get_by_role("img", name=re.compile("EEMT in the course of the year")).wait_for()
    assert page.get_by_role("link", name="summary.csv").is_visible()
    assert page.get_by_label("Log of the run").inner_text().strip()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign in").wait_for()


def test_keys_alone_lead_from_signing_in_to_a_value_on_the_map(workplace: Workplace, job: str) -> None:
    page = workplace.context().new_page()
    page.goto(f"/jobs/{job}/map")
    keys = page.keyboard
    keys.type(NAME)  # where the page begins
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    page.wait_for_url(f"**/jobs/{job}/map")
    page.locator("#map[data-ready]").wait_for()
    keys.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        if page.evaluate("document.activeElement.id") == "map":
            break
        keys.press("Tab")
    keys.press("+")
    value = page.locator("#value")
    first = value.evaluate("element => element.textContent")
    for key in ("ArrowRight", "ArrowUp"):
        page.wait_for_timeout(400)
        keys.press(key)
    page.wait_for_function("before => document.getElementById('value').textContent !== before", arg=first)
    assert value.get_attribute("data-value")


def test_no_page_is_wider_than_a_phone(workplace: Workplace, job: str) -> None:
    page = workplace.signed_in("olga", viewport={"width": NARROWEST, "height": 740}, color_scheme="dark")
    addresses = [
        "/",
        "/jobs?all=true",
        "/jobs/new",
        f"/jobs/{job}",
        f"/jobs/{job}/map",
        "/api",
        "/account",
        "/operator",
    ]
    for address in addresses:
        page.goto(address)
        page.wait_for_load_state("networkidle") if "jobs" not in address else page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROWEST, address
    page.goto(f"/jobs/{job}")
    picture(page, "phone")


def test_a_token_is_shown_once_and_revoked(workplace: Workplace) -> None:
    page = workplace.signed_in()
    page.get_by_role("link", name=NAME, exact=True).click()
    page.get_by_label("For what").fill("notebook")
    page.get_by_role("button", name="Make a token").click()
    secret = page.locator("#secret-text")
    page.wait_for_function("() => document.getElementById('secret-text').textContent.length > 20")
    token = secret.inner_text()
    headers = {"Authorization": f"Bearer {token}"}
    program = workplace.context().request
    assert program.get("/api/v1/jobs", headers=headers).ok
    page.reload()
    assert token not in page.content()
    page.get_by_role("button", name="Revoke notebook").click()
    page.get_by_role("button", name="Revoke it").click()
    page.get_by_text("notebook is revoked").wait_for()
    assert program.get("/api/v1/jobs", headers=headers).status == 401


@pytest.mark.usefixtures("job")
def test_an_operator_makes_accounts_and_looks_before_a_cleanup(workplace: Workplace) -> None:
    page = workplace.signed_in("olga")
    page.get_by_role("link", name="Operator").click()
    page.get_by_text("New user").click()
    form = page.locator("#new-user")
    form.get_by_label("Name").fill("ben")
    form.get_by_label("Password").fill("another long one")
    page.get_by_role("button", name="Make the account").click()
    page.get_by_text("ben can sign in").wait_for()
    page.get_by_role("button", name="Disable ben").click()
    page.get_by_role("button", name="Disable", exact=True).click()
    page.get_by_role("button", name="Enable ben").wait_for()
    page.get_by_role("button", name="What would be removed?").click()
    page.locator("#cleaned p").first.wait_for()
    page.get_by_role("cell", name="job.submit").first.wait_for()
    picture(page, "operator")


def test_a_page_goes_on_by_itself_when_the_server_is_back(workplace: Workplace) -> None:
    page = workplace.signed_in()
    page.goto("/jobs")
    page.get_by_text("This list follows").wait_for()
    workplace.server.end()
    page.get_by_text("The connection is interrupted").wait_for()
    workplace.server.start()
    page.get_by_text("This list follows").wait_for(timeout=MINUTES)
    workplace.complaints.clear()  # the connection that was lost
