"""The pages as a browser gets them: what stands on them, without scripts; what may run on them; errors as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import bokeh
import pytest
from fastapi.testclient import TestClient
from markupsafe import Markup
from sqlalchemy.exc import OperationalError

from eemt.service.app import create_app
from eemt.service.models import Job, RuleProgress, State, User
from eemt.service.pages import curves, explanations, reference, rendering, stages
from eemt.service.problems import TYPES
from eemt.service.settings import Settings
from eemt.sql import now
from service.conftest import Finished
from service.people import PASSWORD, group, service_of
from service.records import add_job, add_user

WORKFLOW = Path(__file__).parents[2] / "workflow"
STATIC = rendering.HERE / "static"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGES = ("/", "/jobs", "/jobs/new", "/api", "/account", "/operator", "/problems/quota", "/nowhere")
VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """What a page has: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(client: TestClient, address: str, status: int = 200) -> Page:
    response = client.get(address, headers=BROWSER)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.text)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[TestClient]:
    with group(tmp_path / "group") as client:
        yield client


@pytest.fixture
def jobs(client: TestClient) -> dict[State, str]:
    """A job in each state, by the one user; the identifiers."""
    service = service_of(client)
    service.queue.stop()  # jobs stay in their states
    states: tuple[State, ...] = ("pending", "running", "completed", "failed", "cancelled")
    with service.database.session() as session:
        user = session.get_one(User, _me(client))
        return {state: add_job(session, service.settings, user, state, name=f"{state}-hill").id for state in states}


def _me(client: TestClient) -> str:
    return str(client.get("/api/v1/me").json()["id"])


def pages_of(client: TestClient) -> dict[str, Page]:
    """Read all pages that need no job."""
    return {address: read(client, address, 404 if address == "/nowhere" else 200) for address in PAGES}


def test_a_page_has_a_language_a_title_landmarks_one_heading_and_labels(client: TestClient) -> None:
    for address, page in pages_of(client).items():
        assert page.all("html") == [{"lang": "en"}]
        assert len(page.all("title")) == len(page.all("h1")) == len(page.all("main")) == 1, address
        assert page.all("nav")[0]["aria-label"] == "Main"
        assert page.all("a")[0] == {"class": "skip", "href": "#main"}
        assert page.open == []
        identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(identifiers) == len(set(identifiers)), address
        labels = {label.get("for") for label in page.all("label")}
        for control in [*page.all("input"), *page.all("select"), *page.all("textarea")]:
            hidden = control.get("type") in {"hidden", "checkbox"} or "hidden" in control
            assert hidden or control["id"] in labels or "aria-label" in control, address


def test_nothing_runs_or_is_styled_but_by_files_of_ours(client: TestClient) -> None:
    for address, page in pages_of(client).items():
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), f"{address}: {tag}"
        assert page.all("style") == []
        sources = [script["src"] for script in page.all("script")] + [link["href"] for link in page.all("link")]
        for source in sources:
            assert source is not None
            assert source.startswith("/static/")
            assert client.get(source).status_code == 200


def test_scripts_name_files_that_there_are() -> None:
    for script in STATIC.glob("*.js"):
        text = script.read_text()
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert (STATIC / module).is_file(), f"{script.name}: {module}"
        assert "eval(" not in text
        assert "innerHTML" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text.replace('placeholder: "https://"', "")


def test_the_plots_library_is_the_installed_one(client: TestClient) -> None:
    sent = client.get("/static/bokeh/bokeh.min.js")
    assert sent.content == (Path(bokeh.__file__).parent / "server/static/js/bokeh.min.js").read_bytes()
    # nothing of others is among our own files
    assert all(path.stat().st_size < 40_000 for path in STATIC.iterdir())
    unchanged = client.get("/static/bokeh/bokeh.min.js", headers={"If-None-Match": sent.headers["etag"]})
    assert unchanged.status_code == 304


def test_no_file_but_those_of_pages_is_sent(client: TestClient) -> None:
    for name in ("../routes.py", "%2e%2e/routes.py", "..%2f..%2fsettings.py", "/etc/passwd"):
        assert client.get(f"/static/{name}").status_code == 404


# errors


def test_errors_are_pages_for_browsers_and_problems_for_programs(client: TestClient) -> None:
    page = read(client, "/jobs/0123456789abcdef", 404)
    assert "There is no such job." in page.text
    assert client.get("/jobs/0123456789abcdef").headers["content-type"] == "application/problem+json"
    of_api = client.get("/api/v1/jobs/0123456789abcdef", headers=BROWSER)
    assert of_api.headers["content-type"] == "application/problem+json"


def test_a_failure_is_a_page_that_tells_nothing_of_it(tmp_path: Path) -> None:
    app = create_app(Settings(folder=tmp_path / "service"))

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret of the house")

    with TestClient(app, base_url="http://127.0.0.1:8420", raise_server_exceptions=False) as client:
        page = read(client, "/broken", 500)
    assert "This is a fault of the service" in page.text
    assert "secret of the house" not in page.text


def test_a_database_that_is_gone_is_a_page_that_says_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("locked"))

    monkeypatch.setattr("eemt.service.jobs.page", gone)
    page = read(client, "/jobs", 503)
    assert "Running jobs go on by themselves" in page.text


def test_each_type_of_problem_has_a_page_that_says_what_to_do(client: TestClient) -> None:
    for name, (status, title) in TYPES.items():
        page = read(client, f"/problems/{name}")
        assert title in page.text
        assert str(status) in page.text
        assert name in explanations.MEANINGS
    read(client, "/problems/nothing", 404)


# who sees what


def test_who_is_not_signed_in_is_led_to_it_and_back(people: TestClient) -> None:
    answer = people.get("/jobs?state=failed", headers=BROWSER, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fjobs%3Fstate%3Dfailed"
    page = read(people, answer.headers["location"])
    assert {field["name"] for field in page.all("input")} >= {"name", "password", "next"}
    assert {"name": "next", "value": "/jobs?state=failed"}.items() <= next(
        field for field in page.all("input") if field["name"] == "next"
    ).items()
    there = people.post(
        "/sign-in",
        data={"name": "ada", "password": PASSWORD, "next": "/jobs?state=failed"},
        headers=BROWSER,
        follow_redirects=False,
    )
    assert there.headers["location"] == "/jobs?state=failed"
    page = read(people, "/jobs?state=failed")
    assert "ada" in page.text
    assert "Operator" not in page.text
    assert next(meta for meta in page.all("meta") if meta.get("name") == "csrf")["content"]


def test_a_wrong_password_is_said_on_the_page(people: TestClient) -> None:
    answer = people.post("/sign-in", data={"name": "ada", "password": "wrong", "next": "/"}, headers=BROWSER)
    assert answer.status_code == 401
    page = Page(answer.text)
    assert [element for element in page.all("div") if element.get("role") == "alert"]
    assert next(field for field in page.all("input") if field.get("id") == "name")["value"] == "ada"


def test_users_see_neither_the_operators_page_nor_others_jobs(people: TestClient) -> None:
    service = service_of(people)
    with service.database.session() as session:
        stranger = add_user(session, "eve")
        other = add_job(session, service.settings, stranger, "completed").id
    people.post("/sign-in", data={"name": "ada", "password": PASSWORD, "next": "/"}, headers=BROWSER)
    read(people, "/operator", 403)
    for part in ("", "/map", "/progress"):
        read(people, f"/jobs/{other}{part}", 404)
    read(people, f"/jobs/new?from={other}", 404)
    assert other not in people.get("/jobs?all=true", headers=BROWSER).text


# jobs


def test_jobs_are_listed_by_state_and_name_without_scripts(client: TestClient, jobs: dict[State, str]) -> None:
    page = read(client, "/jobs")
    assert all(f"{state}-hill" in page.text for state in jobs)
    page = read(client, "/jobs?state=failed")
    assert "failed-hill" in page.text
    assert "completed-hill" not in page.text
    page = read(client, "/jobs?search=ancel")
    assert "cancelled-hill" in page.text
    assert "running-hill" not in page.text
    assert "No job is like this" in read(client, "/jobs?search=nothing").text


def test_older_jobs_are_on_further_pages(client: TestClient) -> None:
    service = service_of(client)
    with service.database.session() as session:
        user = session.get_one(User, _me(client))
        for number in range(53):
            add_job(session, service.settings, user, "completed", hours=number, name=f"hill{number:02}")
    first = read(client, "/jobs?search=hill")
    older = next(link["href"] for link in first.all("a") if link.get("rel") == "next")
    assert older is not None
    second = read(client, older)
    assert "hill52" in second.text
    assert "hill00" not in second.text


def test_a_running_job_shows_its_stages_and_rules(client: TestClient, jobs: dict[State, str]) -> None:
    service = service_of(client)
    with service.database.session() as session:
        for rule, total, done in (("dem", 1, 1), ("sun", 4, 1), ("maps_running_hill", 2, 0), ("all", 1, 0)):
            session.add(RuleProgress(job_id=jobs["running"], rule=rule, total=total, done=done, seconds=3.0 * done))
    for address in (f"/jobs/{jobs['running']}", f"/jobs/{jobs['running']}/progress"):
        page = read(client, address)
        assert "Elevation completed 1 of 1" in page.text
        assert "Sun running 1 of 4" in page.text
        assert "Maps, tables, report waiting 0 of 2" in page.text


def test_what_can_be_done_with_a_job_goes_by_its_state(client: TestClient, jobs: dict[State, str]) -> None:
    actions = {
        state: {button.get("data-action") for button in read(client, f"/jobs/{job}").all("button")} - {None}
        for state, job in jobs.items()
    }
    assert actions == {
        "pending": {"cancel"},
        "running": {"cancel"},
        "completed": {"delete"},
        "failed": {"retry", "delete"},
        "cancelled": {"retry", "delete"},
    }


def test_what_a_rule_said_is_text_and_no_markup(client: TestClient, jobs: dict[State, str]) -> None:
    service = service_of(client)
    with service.database.session() as session:
        job = session.get_one(Job, jobs["failed"])
        job.message = "<script>alert(1)</script> {{ 7 * 7 }}"
    (service.settings.jobs / jobs["failed"] / "run.log").write_text("</pre><img src=x onerror=alert(2)>\n")
    text = client.get(f"/jobs/{jobs['failed']}", headers=BROWSER).text
    assert "<script>alert" not in text
    assert "{{ 7 * 7 }}" in text
    assert "<img" not in text


def test_removed_files_are_said_and_nothing_of_them_is_linked(client: TestClient, jobs: dict[State, str]) -> None:
    service = service_of(client)
    with service.database.session() as session:
        session.get_one(Job, jobs["completed"]).removed = now()
    page = read(client, f"/jobs/{jobs['completed']}")
    assert "Its files were removed" in page.text
    assert not [link for link in page.all("a") if "/files/" in (link["href"] or "")]
    read(client, f"/jobs/{jobs['completed']}/map", 410)


def test_results_are_shown_without_scripts(client: TestClient, finished: Finished) -> None:
    page = read(client, f"/jobs/{finished.id}")
    links = [link["href"] or "" for link in page.all("a")]
    assert f"/api/v1/jobs/{finished.id}/files/report.html" in links
    assert f"/api/v1/jobs/{finished.id}/bundle.tar" in links
    for link in links:
        if link.startswith("/api/v1/") and "/files/" in link:
            assert client.get(link).status_code == 200
    assert "EEMT in the course of the year" in page.text
    assert page.all("svg")[0]["role"] == "img"
    assert "TOPO" in page.text
    page = read(client, f"/jobs/{finished.id}/map")
    assert [script for script in page.all("script") if script.get("type") == "application/json"]


# the reference


def test_the_reference_names_every_operation_of_the_api(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    text = read(client, "/api").text
    for path, item in document["paths"].items():
        for method in item:
            if method in reference.METHODS:
                assert f"{method.upper()} {path}" in text


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "array", "items": {"$ref": "#/components/schemas/Job"}}, "list of Job"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer | null"),
        ({"enum": ["sun", "eemt"]}, "sun | eemt"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"const": "ok"}, '"ok"'),
        ({}, "any"),
    ],
)
def test_types_are_told_in_few_words(schema: dict[str, object], told: str) -> None:
    assert reference.type_of(schema) == told


# how things are written and drawn


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.7, "1 min"), (200, "3 min 20 s"), (7200, "2 h"), (90_000, "1 d 1 h")]
)
def test_time_spans_are_written_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert rendering.duration(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (999_999, "1.0 MB"), (20e9, "20 GB")]
)
def test_sizes_are_written_with_two_digits(octets: float, text: str) -> None:
    assert rendering.size(octets) == text


def test_a_curve_leaves_out_what_is_missing_and_begins_at_zero() -> None:
    drawn = curves.lines({"topo": [1.0, None, 3.0], "trad": [2.0, 2.0, 2.9]}, ["a", "<b>", "c"], "A & B")
    assert isinstance(drawn, Markup)
    assert drawn.count("<polyline") == 2
    assert 'class="axis"' in drawn
    assert "&lt;b&gt;" in drawn
    assert 'aria-label="A &amp; B"' in drawn
    topo = re.search(r'class="topo"><polyline points="([^"]+)"', drawn)
    assert topo is not None
    assert len(topo[1].split()) == 2


def test_curves_of_nothing_and_of_equal_values_have_axes() -> None:
    for values in ([None, None], [0.0, 0.0], [-2.0, -2.0], [1e-6, 2e-6], [5e7, 5e7]):
        assert 'class="axis"' in curves.lines({"topo": values}, ["a", "b"], "t")


def test_each_rule_of_the_workflow_belongs_to_a_stage_of_its_own() -> None:
    names = re.findall(r"^rule (\w+):", "".join(path.read_text() for path in WORKFLOW.glob("rules/*.smk")), re.M)
    assert len(names) > 10
    found = {stages.stage_of(name) for name in names} | {stages.stage_of("transfer"), stages.stage_of("maps_x")}
    assert found == set(stages.STAGES)
    assert stages.stage_of("climate_year") == "Climate"


# colours


def _colours(block: str) -> dict[str, tuple[int, int, int]]:
    found = {}
    for name, code in re.findall(r"--([a-z-]+): #([0-9a-f]{3,6});", block):
        digits = "".join(2 * digit for digit in code) if len(code) == 3 else code
        found[name] = tuple(int(digits[place : place + 2], 16) for place in (0, 2, 4))
    return found  # type: ignore[return-value]


def _luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance, WCAG 2.1."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", (STATIC / "style.css").read_text(), re.S)
    colours = _colours(light) | (_colours(dark) if scheme == "dark" else {})

    def contrast(one: str, other: str) -> float:
        high, low = sorted((_luminance(colours[one]), _luminance(colours[other])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    text = [(ink, paper) for ink in ("ink", "soft", "link", "red") for paper in ("paper", "tint")]
    text += [("on-green", "green"), ("green", "green-tint"), ("red", "red-tint"), ("link", "blue-tint")]
    text += [("ink", "amber-tint"), ("ink", "red-tint"), ("ink", "green-tint"), ("soft", "green-tint")]
    for ink, paper in text:
        assert contrast(ink, paper) >= 4.5, f"{ink} on {paper}: {contrast(ink, paper):.2f}"
    for mark in ("edge", "green", "link"):  # borders of fields, bars, focus
        assert contrast(mark, "paper") >= 3, mark
