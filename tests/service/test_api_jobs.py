"""The API of jobs: submit, list, watch, cancel, run again, clone, delete."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy
from fastapi.testclient import TestClient
from sqlalchemy import select

from eemt.service import jobs, runlog, streams
from eemt.service.api.jobs import merged
from eemt.service.app import create_app
from eemt.service.models import Audit, Event, Job, RuleProgress, User
from eemt.service.service import Service
from eemt.service.settings import Settings
from eemt.sql import now

JOBS = "/api/v1/jobs"
PROBLEM = "application/problem+json"
SUN = {
    "name": "valley",
    "kind": "sun",
    "settings": {"dem": {"source": "glo30", "bbox": [-105.30, 39.96, -105.28, 39.98]}, "sun": {"step": 60}},
}


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The application without anything that starts jobs: they stay as the tests make them."""
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1:8420") as client:
        app.state.service.queue.stop()
        yield client


@pytest.fixture
def service(client: TestClient) -> Service:
    return client.app.state.service


def submitted(client: TestClient, **differs: Any) -> dict[str, Any]:
    answer = client.post(JOBS, json=SUN | differs)
    assert answer.status_code == 201, answer.text
    return answer.json()


def put(service: Service, job_id: str, **values: Any) -> None:
    """Change a job's record."""
    with service.database.session() as session:
        job = session.get(Job, job_id)
        for name, value in values.items():
            setattr(job, name, value)


def bring(service: Service, job_id: str, *states: str, message: str | None = None) -> None:
    """Bring a job from state to state, as the queue does."""
    for state in states:
        with service.database.session() as session:
            jobs.change(session, session.get(Job, job_id), state, message)


def told(text: str) -> list[tuple[str, int, dict[str, Any]]]:
    """Read server-sent events: kind, number and data."""
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ")[::2] for line in block.splitlines() if line and not line.startswith(":")]
        if lines:
            event = dict(lines)
            found.append((event["event"], int(event["id"]), json.loads(event["data"])))
    return found


def test_a_job_that_is_submitted_waits_and_is_found(client: TestClient, service: Service):
    answer = client.post(JOBS, json=SUN)
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    assert (job["name"], job["kind"], job["state"], job["user"]) == ("valley", "sun", "pending", "local")
    assert (job["attempt"], job["place_in_queue"], job["settings"]) == (1, 1, SUN["settings"])
    assert client.get(f"{JOBS}/{job['id']}").json() == job
    assert [item["id"] for item in client.get(JOBS).json()["items"]] == [job["id"]]
    config = client.get(f"{JOBS}/{job['id']}/config")
    assert config.headers["content-type"].startswith("application/yaml")
    assert "valley" in config.text
    # what it needs is there before the queue hears of it
    assert (jobs.folder(service.settings, job["id"]) / "config/config.yaml").read_text() == config.text


def test_submitting_wakes_the_queue(client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch):
    woken = []
    monkeypatch.setattr(service.queue, "wake", lambda: woken.append(1))
    job = submitted(client)["id"]
    client.post(f"{JOBS}/{job}/cancel")
    client.post(f"{JOBS}/{job}/retry")
    assert len(woken) == 3


def test_mistakes_stand_at_their_fields_and_nothing_is_queued(client: TestClient, service: Service):
    wrong = SUN | {"settings": {**SUN["settings"], "sun": {"step": -1, "linky": 3}}}
    answer = client.post(JOBS, json=wrong)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    assert {error["field"] for error in answer.json()["errors"]} == {"sun.step", "sun.linky"}
    assert client.get(JOBS).json()["items"] == []
    assert list(service.settings.jobs.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a b", "-a", "a" * 65, "ä", "a/b", "a\n"])
def test_names_that_could_be_paths_are_refused(client: TestClient, name: str):
    answer = client.post(JOBS, json=SUN | {"name": name})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "name"


def test_the_same_request_with_its_key_makes_one_job(client: TestClient, service: Service):
    headers = {"Idempotency-Key": "5f1c"}
    first = client.post(JOBS, json=SUN, headers=headers)
    again = client.post(JOBS, json=SUN, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert len(client.get(JOBS).json()["items"]) == 1
    assert [path.name for path in service.settings.jobs.iterdir()] == [first.json()["id"]]
    other = client.post(JOBS, json=SUN | {"name": "other"}, headers=headers)
    assert other.status_code == 409
    assert other.json()["type"] == "/problems/key-used-otherwise"


def test_the_same_request_sent_at_the_same_time_makes_one_job(client: TestClient, service: Service):
    answers = []

    def send() -> None:
        answers.append(client.post(JOBS, json=SUN, headers={"Idempotency-Key": "at-once"}))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(list(service.settings.jobs.iterdir())) == 1


def test_a_full_queue_says_so_and_leaves_nothing_behind(tmp_path):
    app = create_app(Settings(folder=tmp_path / "service", queued=1))
    with TestClient(app, base_url="http://127.0.0.1:8420") as client:
        app.state.service.queue.stop()
        submitted(client)
        answer = client.post(JOBS, json=SUN)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert len(list((tmp_path / "service/jobs").iterdir())) == 1


def test_pages_have_every_job_once_newest_first(client: TestClient):
    made = [submitted(client, name=f"job-{number}")["id"] for number in range(7)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = client.get(JOBS, params={"limit": 3, **after}).json()
        seen += [item["id"] for item in page["items"]]
        if page["following"] is None:
            break
        after = {"after": page["following"]}
    assert seen == made[::-1]
    assert client.get(JOBS, params={"after": "x"}).status_code == 422


def test_jobs_are_found_by_state_and_name(client: TestClient, service: Service):
    ids = [submitted(client, name=name)["id"] for name in ("north", "south", "southwest")]
    put(service, ids[0], state="failed")
    put(service, ids[1], state="completed")

    def found(**params: Any) -> set[str]:
        return {item["id"] for item in client.get(JOBS, params=params).json()["items"]}

    assert found(state="failed") == {ids[0]}
    assert found(state=["failed", "completed"]) == {ids[0], ids[1]}
    assert found(search="SOUTH") == {ids[1], ids[2]}
    assert found(search="%") == set()
    assert client.get(JOBS, params={"state": "lost"}).status_code == 422


def test_a_thousand_jobs_are_listed_by_few_queries(client: TestClient, service: Service):
    with service.database.session() as session:
        user = session.scalars(select(User.id)).first()
        about = {"user_id": user, "kind": "eemt", "state": "completed", "settings": {}, "config": "x"}
        session.add_all(Job(name=f"job-{number}", **about) for number in range(1000))
    queries = []
    sqlalchemy.event.listen(service.database.engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    answer = client.get(JOBS, params={"limit": 1000})
    assert len(answer.json()["items"]) == 1000
    about_jobs = [query for query in queries if "FROM jobs" in query]
    assert len(about_jobs) == 1
    assert "jobs.config" not in about_jobs[0]
    assert len([query for query in queries if query.startswith("SELECT")]) <= 5


def test_a_pending_job_is_cancelled_at_once_and_a_finished_one_never(client: TestClient):
    job = submitted(client)["id"]
    answer = client.post(f"{JOBS}/{job}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    again = client.post(f"{JOBS}/{job}/cancel")
    assert (again.status_code, again.headers["content-type"]) == (409, PROBLEM)


def test_a_running_job_is_asked_to_end(client: TestClient, service: Service):
    job = submitted(client)["id"]
    bring(service, job, "running")
    answer = client.post(f"{JOBS}/{job}/cancel").json()
    assert (answer["state"], answer["cancelling"]) == ("running", True)


def test_a_job_is_run_again_when_it_is_finished(client: TestClient, service: Service):
    job = submitted(client)["id"]
    assert client.post(f"{JOBS}/{job}/retry").status_code == 409
    bring(service, job, "running", "failed", message="rule sun failed")
    assert client.get(f"{JOBS}/{job}").json()["message"] == "rule sun failed"
    again = client.post(f"{JOBS}/{job}/retry").json()
    assert (again["state"], again["attempt"], again["finished"]) == ("pending", 2, None)
    bring(service, job, "running", "completed")
    put(service, job, removed=now())
    assert client.post(f"{JOBS}/{job}/retry").status_code == 410


def test_a_job_is_deleted_when_it_is_finished_and_its_record_stays(client: TestClient, service: Service):
    job = submitted(client)["id"]
    folder = jobs.folder(service.settings, job)
    refused = client.delete(f"{JOBS}/{job}")
    assert (refused.status_code, folder.exists()) == (409, True)
    client.post(f"{JOBS}/{job}/cancel")
    assert client.delete(f"{JOBS}/{job}").status_code == 204
    assert not folder.exists()
    assert client.get(f"{JOBS}/{job}").status_code == 404
    assert client.delete(f"{JOBS}/{job}").status_code == 404
    assert client.get(JOBS).json()["items"] == []
    with service.database.reading() as session:
        record = session.get(Job, job)
        assert record.settings == SUN["settings"]
        assert record.removed is not None


def test_a_clone_differs_by_what_is_said(client: TestClient):
    job = submitted(client)["id"]
    answer = client.post(f"{JOBS}/{job}/clone", json={"name": "hazy", "settings": {"sun": {"linke": 5.5}}})
    assert answer.status_code == 201
    clone = answer.json()
    assert (clone["name"], clone["cloned_from"], clone["state"]) == ("hazy", job, "pending")
    assert clone["settings"] == {"dem": SUN["settings"]["dem"], "sun": {"step": 60, "linke": 5.5}}
    same = client.post(f"{JOBS}/{job}/clone", json={}).json()
    assert (same["name"], same["settings"]) == ("valley", SUN["settings"])
    wrong = client.post(f"{JOBS}/{job}/clone", json={"settings": {"sun": {"linke": 99}}})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "sun.linke")


def test_a_clone_whose_file_is_gone_is_told_so(client: TestClient, service: Service):
    job = submitted(client)["id"]
    put(service, job, settings={"dem": {"source": [{"upload": "00112233445566778899"}]}})
    answer = client.post(f"{JOBS}/{job}/clone", json={})
    assert answer.status_code == 410
    assert "00112233445566778899" in answer.json()["detail"]


def test_merging_takes_away_by_null():
    old = {"sun": {"step": 15, "linke": 3}, "dem": {"source": "a"}}
    assert merged(old, {"sun": {"linke": None, "albedo": 0.3}, "dem": None}) == {"sun": {"step": 15, "albedo": 0.3}}
    assert merged(old, {"sun": 5, "new": {"a": {"b": None}}})["new"] == {"a": {}}
    assert old == {"sun": {"step": 15, "linke": 3}, "dem": {"source": "a"}}


def test_progress_tells_of_each_rule_and_of_the_time_left(client: TestClient, service: Service):
    job = submitted(client)["id"]
    bring(service, job, "running")
    put(service, job, started=now() - timedelta(seconds=100), steps_done=2, steps_total=12)
    with service.database.session() as session:
        session.add(RuleProgress(job_id=job, rule="sun", total=10, running=1, done=1, seconds=80.0))
        session.add(RuleProgress(job_id=job, rule="dem", total=1, done=1, seconds=20.0))
    progress = client.get(f"{JOBS}/{job}/progress").json()
    assert [rule["rule"] for rule in progress["rules"]] == ["dem", "sun"]
    assert (progress["steps_done"], progress["steps_total"]) == (2, 12)
    # nine more of 80 s, one after the other as so far
    assert progress["seconds_left"] == pytest.approx(9 * 80, rel=0.1)
    assert progress["seconds"] >= 100


def test_logs_are_read_by_place_and_by_last_lines(client: TestClient, service: Service):
    job = submitted(client)["id"]
    log = jobs.folder(service.settings, job) / "run.log"
    address = f"{JOBS}/{job}/logs"
    empty = client.get(address)
    assert (empty.status_code, empty.text, empty.headers["x-next-offset"]) == (200, "", "0")
    text = "".join(f"Zeile {number}: Übergang\n" for number in range(500))
    log.write_text(text, encoding="utf-8")
    size = len(text.encode())
    # pieces that end within a letter make up the whole
    seen, offset = "", 0
    while offset < size:
        answer = client.get(address, params={"offset": offset, "limit": 97})
        seen += answer.text
        offset = int(answer.headers["x-next-offset"])
    assert seen == text
    assert client.get(address, params={"lines": 3}).text.splitlines() == text.splitlines()[-3:]
    assert client.get(address, params={"lines": 9999}).text == text
    assert client.get(address, params={"offset": size + 10}).text == ""


def test_last_lines_are_found_across_pieces(tmp_path):
    path = tmp_path / "log"
    for ending in ("", "\n"):
        lines = [f"{number} {'x' * 3000}" for number in range(100)]
        path.write_text("\n".join(lines) + ending)
        for wanted in (1, 2, 30, 99, 100, 200):
            start = runlog.start_of_last_lines(path, wanted)
            assert path.read_bytes()[start:].decode().splitlines() == lines[-wanted:]


def test_a_log_is_followed_until_the_job_is_finished(client: TestClient, service: Service, monkeypatch):
    monkeypatch.setattr(streams, "LOOK", 0.01)
    job = submitted(client)["id"]
    bring(service, job, "running")
    log = jobs.folder(service.settings, job) / "run.log"
    log.write_text("first\n")

    def go_on() -> None:
        with log.open("a") as file:
            file.write("second\n")
        bring(service, job, "completed")
        with log.open("a") as file:
            file.write("last\n")

    timer = threading.Timer(0.3, go_on)
    timer.start()
    answer = client.get(f"{JOBS}/{job}/logs/stream")
    timer.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    events = told(answer.text)
    assert "".join(data["text"] for kind, _, data in events if kind == "log") == log.read_text()
    assert events[-1][::2] == ("end", {"state": "completed"})
    # taken up again where it broke off
    again = client.get(f"{JOBS}/{job}/logs/stream", headers={"Last-Event-ID": "6"})
    assert "".join(data["text"] for kind, _, data in told(again.text) if kind == "log") == log.read_text()[6:]
    done = client.get(f"{JOBS}/{job}/logs/stream", headers={"Last-Event-ID": str(log.stat().st_size)})
    assert done.status_code == 204


def test_the_log_of_a_rule_is_that_of_its_failed_step(client: TestClient, service: Service):
    job = submitted(client)["id"]
    logs = jobs.folder(service.settings, job) / "logs/valley"
    (logs / "sun").mkdir(parents=True)
    for number in (1, 2):
        (logs / f"sun/r000c00{number}.log").write_text(f"step {number}\n")
    (logs / "dem.log").write_text("dem\n")
    with service.database.session() as session:
        for number, kind in ((1, "rule_failed"), (2, "rule_started")):
            data = {"rule": "sun", "jobid": number, "log": f"logs/valley/sun/r000c00{number}.log", "tail": []}
            session.add(Event(job_id=job, kind=kind, data=data))
    address = f"{JOBS}/{job}/rules"
    assert client.get(f"{address}/sun/log").text == "step 1\n"
    assert client.get(f"{address}/sun/log", params={"jobid": 2}).text == "step 2\n"
    assert client.get(f"{address}/dem/log").text == "dem\n"
    assert client.get(f"{address}/none/log").status_code == 404


@pytest.mark.parametrize("log", ["run.log", "../../service.sqlite", "/etc/passwd", "logs/../run.log", "logs/link.log"])
def test_no_log_is_read_that_lies_elsewhere(client: TestClient, service: Service, log: str):
    job = submitted(client)["id"]
    folder = jobs.folder(service.settings, job)
    (folder / "run.log").write_text("secret")
    (folder / "logs/link.log").symlink_to(folder / "run.log")
    with service.database.session() as session:
        session.add(Event(job_id=job, kind="rule_failed", data={"rule": "sun", "jobid": 1, "log": log}))
    assert client.get(f"{JOBS}/{job}/rules/sun/log").status_code == 404


def test_a_stream_begins_with_the_present_and_ends_with_the_job(client: TestClient, service: Service):
    job = submitted(client)["id"]
    bring(service, job, "running")
    put(service, job, steps_total=3)

    def go_on() -> None:
        with service.database.session() as session:
            jobs.tell(session, job, "rule_started", rule="sun", jobid=4, message=None, wildcards={})
        bring(service, job, "failed", message="sun failed")

    timer = threading.Timer(0.3, go_on)
    timer.start()
    events = told(client.get(f"{JOBS}/{job}/events").text)
    timer.join()
    assert [kind for kind, _, _ in events] == ["progress", "state", "rule_started", "state"]
    assert events[0][2]["total"] == 3
    assert events[1][2]["state"] == "running"
    assert (events[-1][2]["state"], events[-1][2]["message"]) == ("failed", "sun failed")
    assert all(data["job_id"] == job for _, _, data in events)
    # who comes back with the last number is told that there is nothing more; with another, what came after it
    last = {"Last-Event-ID": str(events[-1][1])}
    assert client.get(f"{JOBS}/{job}/events", headers=last).status_code == 204
    before = {"Last-Event-ID": str(events[1][1])}
    assert told(client.get(f"{JOBS}/{job}/events", headers=before).text) == events[2:]


def test_who_comes_late_is_told_how_it_ended(client: TestClient, service: Service):
    job = submitted(client)["id"]
    bring(service, job, "running", "completed")
    events = told(client.get(f"{JOBS}/{job}/events").text)
    assert [(kind, data.get("state")) for kind, _, data in events] == [("progress", None), ("state", "completed")]


def test_all_of_ones_jobs_are_watched_by_one_stream(client: TestClient, service: Service, monkeypatch):
    monkeypatch.setattr(streams, "LONGEST", 1.5)
    first, second = submitted(client)["id"], submitted(client)["id"]

    def go_on() -> None:
        for job in (first, second):
            bring(service, job, "running")

    timer = threading.Timer(0.3, go_on)
    timer.start()
    events = told(client.get("/api/v1/events").text)
    timer.join()
    assert events[0][0] == "hello"
    assert {data["job_id"] for kind, _, data in events if kind == "state"} == {first, second}


@pytest.mark.parametrize("job_id", ["0" * 20, "x", "a..b", "%00", "' OR 1=1 --", "0" * 33])
def test_jobs_that_there_are_not_are_not_found(client: TestClient, job_id: str):
    for path in ("", "/config", "/progress", "/logs", "/events", "/files", "/maps", "/summary", "/bundle.tar"):
        answer = client.get(f"{JOBS}/{job_id}{path}")
        assert answer.status_code in {400, 404, 422}
        assert answer.headers["content-type"] == PROBLEM


def test_what_is_done_stands_in_the_audit_trail(client: TestClient, service: Service):
    job = submitted(client)["id"]
    client.post(f"{JOBS}/{job}/cancel")
    client.post(f"{JOBS}/{job}/retry")
    client.post(f"{JOBS}/{job}/cancel")
    client.delete(f"{JOBS}/{job}")
    with service.database.reading() as session:
        lines = session.scalars(select(Audit).where(Audit.target == job).order_by(Audit.id)).all()
    assert [line.action for line in lines] == ["job.submit", "job.cancel", "job.retry", "job.cancel", "job.delete"]
    assert {line.user_name for line in lines} == {"local"}


def test_the_description_names_every_answer(client: TestClient):
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    for path, operations in paths.items():
        if not path.startswith((JOBS, "/api/v1/events")):
            continue
        for method, operation in operations.items():
            answers = operation["responses"]
            assert "422" in answers, (path, method)
            assert PROBLEM in answers["422"]["content"], (path, method)
            assert any(code.startswith("2") for code in answers), (path, method)
            assert operation.get("summary"), (path, method)
