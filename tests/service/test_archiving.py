"""Results go from the service to the archive and come back, whatever happens to server, storage and files meanwhile."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from archive.bags import SITE, make_site
from eemt.config import Site, check_section
from eemt.crate import write_crate
from eemt.errors import InputError
from eemt.inventory import CRATE
from eemt.service import archiving, depositing, jobs, processes
from eemt.service.app import create_app
from eemt.service.database import Database
from eemt.service.models import Archive, Audit, Event, Job, User
from eemt.service.service import Service
from eemt.service.settings import PREFIX, Settings, load_settings
from eemt.stages import doctor
from service.conftest import Finished, Server, finish_job
from service.people import group, program, service_of
from service.records import add_job, add_user, ago
from service.snakefiles import until

WAY = ["waiting", "packing", "moving", "verifying", "archived"]
UNDER_WAY = {"waiting", "packing", "moving", "verifying", "retrieving", "ending"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a small finished site, with their crate."""
    made = make_site(tmp_path_factory.mktemp("made") / "results" / SITE)
    (made.folder / "summary.csv").write_text("variable,method,year,month,mean\neemt,topo,2001,0,12\n")
    made.describe()
    return made.folder


class Place:
    """Where an operator's archive is: config file, storage, locks."""

    def __init__(self, folder: Path) -> None:
        self.storage, self.locks = folder / "storage", folder / "locks"
        self.config = folder / "archive.yaml"
        self.storage.mkdir()
        section = {"storage": str(self.storage), "min_free_percent": 0, "moves": 1, "locks": str(self.locks)}
        # it is JSON too, and relative folders are below the service's own
        self.config.write_text(json.dumps({"archive": section}))

    @contextmanager
    def held(self, what: str = "move") -> Iterator[None]:
        """Let no command go on with this, as if another had the only place for it."""
        self.locks.mkdir(exist_ok=True)
        with (self.locks / f"{what}.0").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "archive").mkdir()
    return Place(tmp_path / "archive")


@pytest.fixture
def client(tmp_path: Path, place: Place) -> Iterator[TestClient]:
    """A service with an archive, of one user."""
    settings = Settings(folder=tmp_path / "service", archive=place.config, least_free_bytes=0)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8420") as client:
        yield client


@pytest.fixture
def job(client: TestClient, site: Path) -> Finished:
    return made(service_of(client), site)


def made(service: Service, site: Path, **differs: object) -> Finished:
    """Add a completed job with the site's results."""
    return finish_job(service, site, name=SITE, **differs)


def state(client: TestClient | httpx.Client, job: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/jobs/{job}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["archive"])


def settled(client: TestClient | httpx.Client, job: str) -> dict[str, Any]:
    """Wait until a job is no longer on its way, and return how it is."""
    until(lambda: state(client, job)["state"] not in UNDER_WAY)
    return state(client, job)


def sums(folder: Path) -> dict[str, str]:
    """Return the checksums of the files that people keep."""
    kept = [path for path in folder.rglob("*") if path.is_file() and "tiles" not in path.parts]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in kept
        if path.relative_to(folder).parts[0] not in ("eemt", "inputs", ".hidden")
    }


def clean(client: TestClient, dry_run: bool = False) -> dict[str, Any]:
    answer = client.post("/api/v1/system/cleanup", params={"dry_run": dry_run})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def figures(client: TestClient) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("eemt_archives{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


# there and back


def test_a_job_is_archived_removed_and_brought_back_as_it_was(client: TestClient, place: Place, job: Finished) -> None:
    results = job.folder / "results" / SITE
    before = sums(results)
    assert state(client, job.id) == dict.fromkeys(("identifier", "message", "fault", "at")) | {"state": "none"}
    assert 'data-action="archive"' in client.get(f"/jobs/{job.id}").text
    answer = client.post(f"{job.address}/archive")
    assert answer.status_code == 202
    assert answer.json()["state"] in UNDER_WAY
    found = settled(client, job.id)
    assert found["state"] == "archived", found
    assert (place.storage / found["identifier"] / "tagmanifest-sha256.txt").is_file()
    assert sums(results) == before
    assert not list((service_of(client).settings.folder / "archive/staging").glob("*/*"))
    # once more changes nothing
    assert client.post(f"{job.address}/archive").json() == found
    page = client.get(f"/jobs/{job.id}").text
    assert found["identifier"] in page and 'data-action="archive"' not in page
    assert "<small>archived</small>" in client.get("/jobs").text

    assert client.post(f"{job.address}/retrieve").status_code == 409  # its files are there
    with service_of(client).database.session() as session:
        session.get_one(Job, job.id).finished = ago(200)
    assert [item["id"] for item in clean(client)["items"]] == [job.id]
    assert not job.folder.exists()
    assert client.get(f"{job.address}/files").status_code == 410
    assert 'data-action="retrieve"' in client.get(f"/jobs/{job.id}").text
    assert client.post(f"{job.address}/archive").status_code == 410

    # a cleanup that is not through with a large folder does not touch what comes back
    (results / "maps").mkdir(parents=True)
    (results / "maps/left.tif").write_bytes(b"of before")
    answer = client.post(f"{job.address}/retrieve")
    assert answer.status_code == 202, answer.text
    back = settled(client, job.id)
    assert (back["state"], back["identifier"]) == ("retrieved", found["identifier"]), back
    assert sums(results) == before
    assert list(job.folder.parent.iterdir()) == [job.folder]
    assert client.get(job.address).json()["removed"] is None
    assert client.get(f"{job.address}/files/summary.csv").text == (results / "summary.csv").read_text()
    assert len(client.get(f"{job.address}/maps").json()["items"]) > 0
    assert client.get(f"{job.address}/bundle.tar").status_code == 200
    assert client.get(f"/jobs/{job.id}").status_code == client.get(f"/jobs/{job.id}/map").status_code == 200
    # its time begins anew
    assert clean(client)["items"] == []
    # its inputs did not come back
    assert client.post(f"{job.address}/retry").status_code == 410
    assert figures(client)["retrieved"] == 1
    with service_of(client).database.reading() as session:
        trail = list(session.scalars(select(Audit.action).where(Audit.target == job.id).order_by(Audit.id)))
        told = [
            event.data["state"]
            for event in session.scalars(
                select(Event).where(Event.job_id == job.id, Event.kind == "archive").order_by(Event.id)
            )
        ]
    assert trail == ["job.archive", "job.archived", "job.removed", "job.retrieve", "job.retrieved"]
    assert told == [*WAY, "waiting", "retrieving", "retrieved"]


def test_what_is_on_its_way_is_neither_deleted_nor_cleaned_up_nor_run_again(
    client: TestClient, place: Place, site: Path
) -> None:
    job = made(service_of(client), site, finished=ago(200))
    with place.held():
        client.post(f"{job.address}/archive")
        until(lambda: state(client, job.id)["state"] == "moving")
        for refused in (client.delete(job.address), client.post(f"{job.address}/retry")):
            assert refused.status_code == 409
            assert "being archived (moving)" in refused.json()["detail"]
        assert clean(client)["items"] == []
        assert 'class="bad" disabled>Delete' in client.get(f"/jobs/{job.id}").text
        assert "<small>is being archived: moving</small>" in client.get("/jobs").text
        assert figures(client)["moving"] == 1
    found = settled(client, job.id)
    assert found["state"] == "archived"
    stored = sums(place.storage / found["identifier"])
    assert client.delete(job.address).status_code == 204
    assert not job.folder.exists()
    # what is archived is no longer the service's to remove
    assert sums(place.storage / found["identifier"]) == stored


def test_only_so_many_are_archived_at_once_and_in_turn(client: TestClient, place: Place, site: Path) -> None:
    service = service_of(client)
    several = [made(service, site) for _ in range(2)]
    with place.held():
        for job in several:
            client.post(f"{job.address}/archive")
        until(lambda: state(client, several[0].id)["state"] == "moving")
        assert state(client, several[1].id)["state"] == "waiting"
        assert len(service.archiver.running) == 1
    # the same files have the same identifier
    assert len({settled(client, job.id)["identifier"] for job in several}) == 1


def test_what_only_completed_jobs_have_is_archived(client: TestClient, job: Finished) -> None:
    with service_of(client).database.session() as session:
        session.get_one(Job, job.id).state = "failed"
    refused = client.post(f"{job.address}/archive")
    assert refused.status_code == 409 and "is failed" in refused.json()["detail"]
    assert client.post(f"{job.address}/retrieve").status_code == 409
    assert 'data-action="archive"' not in client.get(f"/jobs/{job.id}").text


# whose job it is


def test_the_job_of_another_cannot_be_archived(tmp_path: Path, place: Place, site: Path) -> None:
    with group(tmp_path / "service", archive=place.config, least_free_bytes=0) as client:
        service = service_of(client)
        with service.database.reading() as session:
            ada = session.scalars(select(User.id).where(User.name == "ada")).one()
        job = made(service, site, user_id=ada)
        for name in ("ben", "ada"):
            asker = program(client, name)
            answers = [asker.post(f"{job.address}/{way}") for way in ("archive", "retrieve")]
            if name == "ben":
                answers += [asker.delete(f"{job.address}/{way}") for way in ("archive", "retrieve")]
                assert [answer.status_code for answer in answers] == [404] * 4
                assert all("no such job" in answer.json()["detail"] for answer in answers)
        assert answers[0].status_code == 202
        assert program(client, "ben").delete(f"{job.address}/archive").status_code == 404
        assert settled(program(client, "ada"), job.id)["state"] == "archived"
        assert client.post(f"{job.address}/archive").status_code == 401
        assert client.delete(f"{job.address}/archive").status_code == 401


# what goes wrong


def test_a_storage_that_is_missing_is_a_system_error_that_names_it(
    client: TestClient, place: Place, job: Finished
) -> None:
    place.storage.rmdir()
    client.post(f"{job.address}/archive")
    found = settled(client, job.id)
    assert (found["state"], found["fault"], found["identifier"]) == ("failed", "system", None)
    assert str(place.storage) in found["message"] and "\n" not in found["message"]
    page = client.get(f"/jobs/{job.id}").text
    assert "the archive is at fault" in page and found["message"] in page and 'data-action="archive"' in page
    assert "<small>not archived</small>" in client.get("/jobs").text


def test_changed_results_are_a_user_error_that_names_the_file(client: TestClient, place: Place, job: Finished) -> None:
    path = job.folder / "results" / SITE / "summary.csv"
    path.write_text("changed\n")
    client.post(f"{job.address}/archive")
    found = settled(client, job.id)
    assert (found["state"], found["fault"]) == ("failed", "user")
    assert "summary.csv" in found["message"]
    assert str(job.folder) not in found["message"]  # where the service keeps files is not for users
    assert path.read_text() == "changed\n"
    assert not list(place.storage.iterdir())
    with service_of(client).database.reading() as session:
        line = session.scalars(select(Audit).where(Audit.action == "job.archive.failed")).one()
    assert line.target == job.id and line.detail == {"message": found["message"], "fault": "user"}


def test_a_retrieval_that_is_refused_or_fails_leaves_the_job_archived(
    client: TestClient, place: Place, job: Finished
) -> None:
    client.post(f"{job.address}/archive")
    identifier = settled(client, job.id)["identifier"]
    with service_of(client).database.session() as session:
        session.get_one(Job, job.id).finished = ago(200)
        owner = session.scalars(select(User)).one()
        owner.quota_bytes = 1000
    clean(client)
    refused = client.post(f"{job.address}/retrieve")
    assert refused.status_code == 507 and refused.json()["type"].endswith("quota")
    assert state(client, job.id)["state"] == "archived"
    with service_of(client).database.session() as session:
        session.scalars(select(User)).one().quota_bytes = None
    away = place.storage.rename(place.storage.with_name("away"))
    client.post(f"{job.address}/retrieve")
    found = settled(client, job.id)
    assert (found["state"], found["fault"], found["identifier"]) == ("failed", "system", identifier)
    assert client.get(job.address).json()["removed"] is not None
    assert not list(job.folder.parent.iterdir())
    away.rename(place.storage)
    client.post(f"{job.address}/retrieve")
    assert settled(client, job.id)["state"] == "retrieved"


# calling off


def left(client: TestClient, place: Place) -> list[str]:
    """Return what there is of datasets in storage and staging, and the room that they hold."""
    staging = service_of(client).settings.folder / "archive/staging"
    files = [path for folder in (place.storage, staging) for path in folder.rglob("*") if path.is_file()]
    return sorted(path.name for path in [*files, *place.locks.glob("room-*")])


def trail(client: TestClient, job: str) -> list[str]:
    with service_of(client).database.reading() as session:
        return list(session.scalars(select(Audit.action).where(Audit.target == job).order_by(Audit.id)))


def test_an_archiving_that_is_called_off_leaves_nothing_and_can_be_asked_for_again(
    client: TestClient, place: Place, job: Finished
) -> None:
    before = sums(job.folder / "results" / SITE)
    assert client.delete(f"{job.address}/archive").status_code == 409  # none is under way
    with place.held():
        client.post(f"{job.address}/archive")
        until(lambda: state(client, job.id)["state"] == "moving")
        assert left(client, place)
        page = client.get(f"/jobs/{job.id}").text
        assert 'data-action="call-off" data-way="archive"' in page
        assert client.delete(f"{job.address}/retrieve").status_code == 409
        answer = client.delete(f"{job.address}/archive")
        assert (answer.status_code, answer.json()["state"]) == (202, "ending")
        assert settled(client, job.id) == {
            "state": "none", "identifier": None, "message": None, "fault": None, "at": None
        }  # fmt: skip
    assert left(client, place) == []
    assert sums(job.folder / "results" / SITE) == before
    page = client.get(f"/jobs/{job.id}").text
    assert 'data-action="archive"' in page and "call-off" not in page and 'id="archive"' not in page
    assert figures(client) == dict.fromkeys(figures(client), 0)
    refused = client.delete(f"{job.address}/archive")
    assert refused.status_code == 409 and "not being archived" in refused.json()["detail"]
    client.post(f"{job.address}/archive")
    assert settled(client, job.id)["state"] == "archived"
    refused = client.delete(f"{job.address}/archive")
    assert refused.status_code == 409 and "what the archive has stays" in refused.json()["detail"]
    assert trail(client, job.id) == [
        "job.archive", "job.archive.cancel", "job.archive.cancelled", "job.archive", "job.archived"
    ]  # fmt: skip


def test_what_waits_for_room_can_be_called_off_and_deleted(client: TestClient, place: Place, job: Finished) -> None:
    section = json.loads(place.config.read_text())["archive"]
    place.config.write_text(json.dumps({"archive": section | {"min_free_percent": 99.9999, "wait_hours": 5}}))
    client.post(f"{job.address}/archive")
    until(lambda: "waits for room" in str(state(client, job.id)["message"]))
    assert left(client, place)
    client.delete(f"{job.address}/archive")
    assert settled(client, job.id)["state"] == "none"
    assert left(client, place) == []
    assert client.delete(job.address).status_code == 204
    assert not job.folder.exists()


def test_what_waits_for_its_turn_is_called_off_before_that(client: TestClient, place: Place, site: Path) -> None:
    first, second = (made(service_of(client), site) for _ in range(2))
    with place.held():
        for job in (first, second):
            client.post(f"{job.address}/archive")
        until(lambda: state(client, first.id)["state"] == "moving")
        assert state(client, second.id)["state"] == "waiting"
        client.delete(f"{second.address}/archive")
        assert settled(client, second.id)["state"] == "none"
        assert state(client, first.id)["state"] == "moving"
    assert settled(client, first.id)["state"] == "archived"


def test_a_retrieval_that_is_called_off_leaves_the_job_archived(
    client: TestClient, place: Place, job: Finished
) -> None:
    client.post(f"{job.address}/archive")
    identifier = settled(client, job.id)["identifier"]
    stored = sums(place.storage)
    with service_of(client).database.session() as session:
        session.get_one(Job, job.id).finished = ago(200)
    clean(client)
    with place.held("read"):
        client.post(f"{job.address}/retrieve")
        until(lambda: state(client, job.id)["state"] == "retrieving")
        assert 'data-action="call-off" data-way="retrieve"' in client.get(f"/jobs/{job.id}").text
        refused = client.delete(f"{job.address}/archive")
        assert refused.status_code == 409 and "not being archived" in refused.json()["detail"]
        assert client.delete(f"{job.address}/retrieve").status_code == 202
        found = settled(client, job.id)
    assert (found["state"], found["identifier"], found["fault"]) == ("archived", identifier, None)
    assert not list(job.folder.parent.iterdir()) and sums(place.storage) == stored
    assert client.get(job.address).json()["removed"] is not None
    client.post(f"{job.address}/retrieve")
    assert settled(client, job.id)["state"] == "retrieved"
    assert trail(client, job.id)[-4:] == [
        "job.retrieve.cancel", "job.retrieve.cancelled", "job.retrieve", "job.retrieved"
    ]  # fmt: skip


def test_what_another_job_has_archived_stays_when_the_same_results_are_called_off(
    client: TestClient, place: Place, site: Path
) -> None:
    first, second = (made(service_of(client), site) for _ in range(2))
    client.post(f"{first.address}/archive")
    found = settled(client, first.id)
    stored = sums(place.storage)
    with place.held("verify"):
        client.post(f"{second.address}/archive")
        until(lambda: state(client, second.id)["state"] == "verifying")
        client.delete(f"{second.address}/archive")
        assert settled(client, second.id)["state"] == "none"
    assert client.delete(second.address).status_code == 204
    assert sums(place.storage) == stored and state(client, first.id) == found


def test_an_earlier_attempt_stays_archived_when_a_later_one_is_called_off(
    client: TestClient, place: Place, job: Finished
) -> None:
    with service_of(client).database.session() as session:
        jobs.tell(session, job.id, "state", state="completed", attempt=1, message=None)
    client.post(f"{job.address}/archive")
    identifier = settled(client, job.id)["identifier"]
    stored = sums(place.storage)
    (job.folder / "results" / SITE / "summary.csv").write_text("changed\n")
    write_crate_anew(job.folder / "results" / SITE)
    with service_of(client).database.session() as session:
        session.get_one(Job, job.id).attempt = 2
        jobs.tell(session, job.id, "state", state="completed", attempt=2, message=None)
    before = state(client, job.id)
    assert before["message"] == f"What attempt 1 made is archived as {identifier}."
    with place.held():
        client.post(f"{job.address}/archive")
        until(lambda: state(client, job.id)["state"] == "moving")
        client.delete(f"{job.address}/archive")
        assert settled(client, job.id) == before
    assert sums(place.storage) == stored


def write_crate_anew(folder: Path) -> None:
    """Make the crate of results that were changed."""
    values = {
        "dem": {"source": "hills.tif"},
        "climate": {"source": "daymet", "years": [2001, 2003]},
        "eemt": {"methods": ["trad", "topo"], "keep": []},
        "outputs": {"parts": False, "publisher": "Catchment Survey", "licence": "CC-BY-4.0"},
    }
    write_crate(folder, folder / CRATE, SITE, check_section(Site, values, "settings"), "snakemake", threads=1)


def test_what_is_in_the_storage_already_can_no_longer_be_called_off(
    client: TestClient, place: Place, job: Finished
) -> None:
    catalogue = service_of(client).settings.folder / "archive/catalogue.sqlite"
    with place.held("verify"):
        client.post(f"{job.address}/archive")
        until(lambda: state(client, job.id)["state"] == "verifying")
        other = sqlite3.connect(catalogue, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    log = job.folder / depositing.LOG
    until(lambda: ": archived in " in log.read_text())
    until(lambda: service_of(client).archiver.running[job.id].has_archived)
    assert client.delete(f"{job.address}/archive").json()["state"] == "ending"
    other.execute("ROLLBACK")
    other.close()
    found = settled(client, job.id)
    assert found["state"] == "archived", found
    assert (place.storage / found["identifier"] / "tagmanifest-sha256.txt").is_file()


# what is left of what failed


def killed_when_all_is_moved(client: TestClient, place: Place, job: Finished) -> None:
    """Have an archiving fail that has blocks in staging and in the storage."""
    with place.held("verify"):
        client.post(f"{job.address}/archive")
        until(lambda: state(client, job.id)["state"] == "verifying")
        processes.send(processes.members(f"archive-{job.id}"), signal.SIGKILL)
        assert settled(client, job.id)["state"] == "failed"
    assert "0001.tar" in left(client, place)


def test_deleting_a_job_removes_what_its_failed_archiving_left(client: TestClient, place: Place, site: Path) -> None:
    kept = made(service_of(client), site)
    (kept.folder / "results" / SITE / "summary.csv").write_text("another\n")
    write_crate_anew(kept.folder / "results" / SITE)
    client.post(f"{kept.address}/archive")
    assert settled(client, kept.id)["state"] == "archived"
    stored = sums(place.storage)
    job = made(service_of(client), site)
    killed_when_all_is_moved(client, place, job)
    assert client.delete(job.address).status_code == 204
    assert not (job.folder / "results").exists()
    until(lambda: not job.folder.exists())
    assert sums(place.storage) == stored
    assert trail(client, job.id)[-3:] == ["job.archive.failed", "job.delete", "job.archive.discarded"]
    with service_of(client).database.reading() as session:
        assert session.get(Archive, job.id) is None


def test_a_cleanup_that_removes_a_job_removes_what_its_failed_archiving_left(
    client: TestClient, place: Place, job: Finished
) -> None:
    killed_when_all_is_moved(client, place, job)
    with service_of(client).database.session() as session:
        session.get_one(Job, job.id).finished = ago(200)
    assert [item["id"] for item in clean(client)["items"]] == [job.id]
    clean(client)  # does not take away what the archive knows it by
    assert settled(client, job.id)["state"] == "none"
    until(lambda: not job.folder.exists())
    assert left(client, place) == []
    assert "A clone computes it anew" in client.get(f"/jobs/{job.id}").text


def test_what_cannot_be_removed_now_is_removed_when_the_storage_is_back(
    client: TestClient, place: Place, job: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "GIVE_UP_AGAIN_SECONDS", 0.2)
    killed_when_all_is_moved(client, place, job)
    away = place.storage.rename(place.storage.with_name("away"))
    assert client.delete(job.address).status_code == 204
    clean(client)
    until(lambda: "at fault: the storage" in (job.folder / depositing.LOG).read_text())
    assert (job.folder / depositing.WORK / "journal" / f"{SITE}.json").is_file()
    away.rename(place.storage)
    until(lambda: not job.folder.exists())
    assert left(client, place) == []


def test_calling_off_says_when_what_was_begun_cannot_be_removed(
    client: TestClient, place: Place, job: Finished
) -> None:
    with place.held("verify"):
        client.post(f"{job.address}/archive")
        until(lambda: state(client, job.id)["state"] == "verifying")
        away = place.storage.rename(place.storage.with_name("away"))
        client.delete(f"{job.address}/archive")
        found = settled(client, job.id)
    assert (found["state"], found["fault"]) == ("failed", "system")
    assert "called off, but what was begun of it cannot be removed" in found["message"]
    away.rename(place.storage)
    assert client.delete(job.address).status_code == 204
    until(lambda: not job.folder.exists())
    assert left(client, place) == []


def test_what_is_called_off_of_an_archive_that_was_taken_away_ends(
    client: TestClient, place: Place, job: Finished, site: Path
) -> None:
    service = service_of(client)
    removed = made(service, site)
    killed_when_all_is_moved(client, place, removed)
    place.storage.rename(place.storage.with_name("away"))
    assert client.delete(removed.address).status_code == 204
    until(lambda: "at fault: the storage" in (removed.folder / depositing.LOG).read_text())
    with service.database.session() as session:
        session.add(Archive(job_id=job.id, attempt=1, action="archive", state="ending"))
    service.archiver.stop()
    service.archiver.settings = service.settings.model_copy(update={"archive": None})
    service.archiver.start()
    assert not removed.folder.exists()
    assert state(client, job.id)["state"] == "none" and job.folder.is_dir()


def test_the_same_files_at_once_are_archived_one_after_the_other(
    tmp_path: Path, place: Place, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "AGAIN_SECONDS", 0.5)
    waits = "on their way to the archive already"
    settings = Settings(folder=tmp_path / "service", archive=place.config, least_free_bytes=0, archiving=2)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8420") as client:
        several = [made(service_of(client), site) for _ in range(2)]
        with place.held():
            for job in several:
                client.post(f"{job.address}/archive")
            until(lambda: any(waits in str(state(client, job.id)["message"]) for job in several))
        assert [settled(client, job.id)["state"] for job in several] == ["archived"] * 2


# servers that end


def in_mid_archive(place: Place, serve: Callable[..., Server], site: Path) -> tuple[str, Server]:
    """Start a server with a job that is being archived, and wait until that waits for its move."""
    server = serve(**{PREFIX + "ARCHIVE": str(place.config), PREFIX + "LEAST_FREE_BYTES": "0"})
    settings = Settings(folder=server.folder)
    database = Database(settings.database)
    with database.session() as session:
        owner = session.scalars(select(User)).one()
        job = Job(user_id=owner.id, name=SITE, kind="eemt", state="completed", settings={}, config="", finished=ago(1))
        session.add(job)
        session.flush()
        job_id = job.id
    database.close()
    shutil.copytree(site, jobs.folder(settings, job_id) / "results" / SITE)
    assert httpx.post(f"{server.address}/api/v1/jobs/{job_id}/archive").status_code == 202
    is_moving(server, job_id)
    return job_id, server


def is_moving(server: Server, job_id: str) -> None:
    with httpx.Client(base_url=server.address) as client:
        until(lambda: state(client, job_id)["state"] == "moving")


def commands(job_id: str) -> list[int]:
    return [process.pid for process in processes.members(f"archive-{job_id}")]


def test_a_command_that_outlives_its_server_is_taken_up_and_told_of_to_its_end(
    place: Place, serve: Callable[..., Server], site: Path
) -> None:
    with place.held():
        job, server = in_mid_archive(place, serve, site)
        before = commands(job)
        server.end(signal.SIGKILL)
        server.start()
        client = httpx.Client(base_url=server.address, timeout=60)
        is_moving(server, job)
        assert commands(job) == before
        assert client.delete(f"/api/v1/jobs/{job}").status_code == 409
        # the stream of a finished job goes on until it is archived
        stream = client.send(client.build_request("GET", f"/api/v1/jobs/{job}/events"), stream=True)
    lines = [line for line in stream.iter_lines() if line.startswith("data: ") and '"identifier"' in line]
    told = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert (told[0]["state"], told[-1]["state"]) == ("moving", "archived")
    assert told[-1]["job_id"] == job
    found = state(client, job)
    assert found["identifier"] == told[-1]["identifier"]
    assert (place.storage / found["identifier"] / "tagmanifest-sha256.txt").is_file()
    assert not commands(job)
    client.close()


def test_what_is_called_off_ends_so_though_the_server_is_killed_before_the_command_has_ended(
    place: Place, serve: Callable[..., Server], site: Path
) -> None:
    with place.held():
        job, server = in_mid_archive(place, serve, site)
        processes.send(processes.members(f"archive-{job}"), signal.SIGSTOP)
        address = f"{server.address}/api/v1/jobs/{job}/archive"
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: httpx.delete(address, timeout=60), range(4)))
        assert {(answer.status_code, answer.json()["state"]) for answer in answers} == {(202, "ending")}
        server.end(signal.SIGKILL)
        server.start()
        with httpx.Client(base_url=server.address, timeout=60) as client:
            assert state(client, job)["state"] == "ending"
            assert client.post(f"/api/v1/jobs/{job}/archive").status_code == 409
            assert client.delete(f"/api/v1/jobs/{job}").status_code == 409
            processes.send(processes.members(f"archive-{job}"), signal.SIGCONT)
            assert settled(client, job)["state"] == "none"
        assert not commands(job)
    assert not list(place.storage.iterdir()) and not list(place.locks.glob("room-*"))
    assert not [path for path in (server.folder / "archive/staging").rglob("*") if path.is_file()]
    database = Database(Settings(folder=server.folder).database)
    with database.reading() as session:
        audit = list(session.scalars(select(Audit.action).where(Audit.target == job).order_by(Audit.id)))
    database.close()
    assert audit == ["job.archive", "job.archive.cancel", "job.archive.cancelled"]


def test_a_command_that_had_finished_when_it_was_called_off_has_archived(
    place: Place, serve: Callable[..., Server], site: Path
) -> None:
    with place.held():
        job, server = in_mid_archive(place, serve, site)
        processes.send(processes.members(f"archive-{job}"), signal.SIGSTOP)
        assert httpx.delete(f"{server.address}/api/v1/jobs/{job}/archive").status_code == 202
        server.end(signal.SIGKILL)
        # as if it had not been interrupted yet
        processes.send(processes.members(f"archive-{job}"), signal.SIGKILL)
        until(lambda: not commands(job))
        settings = Settings(folder=server.folder, archive=place.config)
        database = Database(settings.database)
        with database.reading() as session:
            record, row = session.get_one(Job, job), session.get_one(Archive, job)
            assert row.state == "ending"
        database.close()
    assert depositing.begin(settings, record, row, "archive").child.wait(60) == 0  # type: ignore[union-attr]
    server.start()
    with httpx.Client(base_url=server.address, timeout=60) as client:
        found = settled(client, job)
    assert found["state"] == "archived", found
    assert (place.storage / found["identifier"] / "tagmanifest-sha256.txt").is_file()


def test_what_is_killed_or_stopped_in_the_middle_is_gone_on_with_by_the_next_server(
    place: Place, serve: Callable[..., Server], site: Path
) -> None:
    with place.held():
        job, server = in_mid_archive(place, serve, site)
        server.end(signal.SIGKILL)
        processes.send(processes.members(f"archive-{job}"), signal.SIGKILL)
        until(lambda: not commands(job))
        server.start()
        until(lambda: commands(job))
        is_moving(server, job)
        assert server.end() == 0
        # a server that is stopped leaves no command behind
        assert not commands(job)
        log = (server.folder / "jobs" / job / depositing.LOG).read_text()
        assert "interrupted; nothing half-written is left" in log
        database = Database(Settings(folder=server.folder).database)
        with database.reading() as session:
            assert session.get_one(Archive, job).state == "waiting"
        database.close()
    server.start()
    with httpx.Client(base_url=server.address) as client:
        found = settled(client, job)
    assert found["state"] == "archived", found
    assert (place.storage / found["identifier"] / "tagmanifest-sha256.txt").is_file()


def test_a_command_that_is_killed_is_a_system_error(client: TestClient, place: Place, job: Finished) -> None:
    with place.held():
        client.post(f"{job.address}/archive")
        until(lambda: state(client, job.id)["state"] == "moving")
        processes.send(processes.members(f"archive-{job.id}"), signal.SIGKILL)
        found = settled(client, job.id)
    assert (found["state"], found["fault"]) == ("failed", "system")
    assert found["message"] == "The command was killed by SIGKILL."


# retention


@pytest.fixture
def keeper(tmp_path: Path, place: Place) -> Iterator[TestClient]:
    """A service that archives results when their time is over."""
    settings = Settings(
        folder=tmp_path / "service", archive=place.config, least_free_bytes=0, keep_completed_then="archive"
    )
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8420") as client:
        yield client


def test_results_past_their_time_are_removed_only_when_they_are_archived(keeper: TestClient, site: Path) -> None:
    job = made(service_of(keeper), site, finished=ago(200))
    young = made(service_of(keeper), site, finished=ago(100))
    planned = clean(keeper, dry_run=True)
    assert planned["items"] == [] and [kept["why"] for kept in planned["kept"]] == ["is to be archived first"]
    assert state(keeper, job.id)["state"] == "none"
    done = clean(keeper)
    assert done["items"] == [] and [kept["id"] for kept in done["kept"]] == [job.id]
    assert settled(keeper, job.id)["state"] == "archived"
    assert job.folder.is_dir()
    done = clean(keeper)
    assert [item["id"] for item in done["items"]] == [job.id] and done["kept"] == []
    assert not job.folder.exists()
    assert young.folder.is_dir() and state(keeper, young.id)["state"] == "none"


def test_what_cannot_be_archived_stays_and_its_reason_is_told(
    keeper: TestClient,
    place: Place,
    site: Path,
    call: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = service_of(keeper)
    gone = made(service, site, finished=ago(200))
    place.storage.rmdir()
    clean(keeper)
    assert settled(keeper, gone.id)["fault"] == "system"
    [kept] = clean(keeper, dry_run=True)["kept"]
    assert kept["state"] == "failed" and str(place.storage) in kept["why"] and kept["bytes"] > 0
    assert gone.folder.is_dir()
    assert figures(keeper)["failed"] == 1
    page = keeper.get("/operator").text
    assert "1 failed" in page and str(place.storage) in page and f"/jobs/{gone.id}" in page
    place.storage.mkdir()
    # the next cleanup tries again what the system was at fault for, and not what the files are
    changed = made(service, site, finished=ago(201))
    (changed.folder / "results" / SITE / "summary.csv").unlink()
    clean(keeper)
    assert settled(keeper, gone.id)["state"] == "archived"
    assert settled(keeper, changed.id)["fault"] == "user"
    at = state(keeper, changed.id)["at"]
    done = clean(keeper)
    assert [item["id"] for item in done["items"]] == [gone.id]
    assert [kept["id"] for kept in done["kept"]] == [changed.id]
    assert state(keeper, changed.id)["at"] == at
    for name in ("archive", "keep_completed_then"):
        monkeypatch.setenv(PREFIX + name.upper(), str(getattr(service.settings, name)))
    code, said, _ = call("cleanup", "--folder", str(service.settings.folder))
    assert code == 0
    assert re.search(rf"stays +{changed.id} .* ridge: cannot be archived, user error: .*summary\.csv", said)


@pytest.mark.parametrize("wrong", ["archive: [", "archive: {storage: 's3://keep/maps', storage_profile: of-nobody}"])
def test_a_config_file_that_is_wrong_is_not_the_users_fault_and_is_tried_again(
    keeper: TestClient, place: Place, site: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    right = place.config.read_text()
    place.config.write_text(wrong)
    job = made(service_of(keeper), site, finished=ago(200))
    clean(keeper)
    found = settled(keeper, job.id)
    assert (found["state"], found["fault"], found["message"]) == ("failed", "system", depositing.NOT_SET_UP)
    page = keeper.get(f"/jobs/{job.id}").text
    assert "the archive is at fault" in page and str(place.config) not in page
    [line] = [line for line in caplog.messages if line.startswith(f"job {job.id}: archive failed: ")]
    assert "cannot be read as YAML" in line or "of-nobody" in line
    place.config.write_text(right)
    clean(keeper)
    assert settled(keeper, job.id)["state"] == "archived"


def test_failed_and_deleted_jobs_are_removed_as_ever(keeper: TestClient) -> None:
    service = service_of(keeper)
    with service.database.session() as session:
        user = add_user(session)
        failed = add_job(session, service.settings, user, "failed", 13).id
        deleted = add_job(session, service.settings, user, "completed", 1, deleted=ago(1)).id
    done = clean(keeper)
    assert {item["id"] for item in done["items"]} == {failed, deleted}
    assert done["kept"] == []


# what an operator sets


def test_a_service_without_an_archive_says_nothing_of_it(tmp_path: Path, site: Path) -> None:
    with TestClient(create_app(Settings(folder=tmp_path / "bare")), base_url="http://127.0.0.1:8420") as client:
        job = made(service_of(client), site)
        page = client.get(f"/jobs/{job.id}").text
        assert 'data-action="archive"' not in page and 'id="archive"' not in page and "data-archive" not in page
        assert "Archive" not in client.get("/operator").text
        for way in ("archive", "retrieve"):
            refused = client.post(f"{job.address}/{way}")
            assert refused.status_code == 409
            assert refused.json()["detail"] == "This service has no archive."
        assert list(doctor.archive(service_of(client).settings)) == []


def test_settings_that_cannot_be_are_refused_in_a_line(tmp_path: Path, place: Place) -> None:
    with pytest.raises(InputError, match=r"^settings: keep_completed_then: archive needs .*EEMT_SERVICE_ARCHIVE$"):
        load_settings(folder=tmp_path, keep_completed_then="archive")
    for text, reason in (
        (None, "which is no file"),
        ("archive: {}", "has no archive.storage"),
        ("archive: [", "cannot be read as YAML"),
        ("archive: {storage: here, target_size_mb: -1}", "target_size_mb"),
    ):
        place.config.unlink(missing_ok=True)
        if text is not None:
            place.config.write_text(text)
        service = Service(Settings(folder=tmp_path / "service", archive=place.config))
        with pytest.raises(InputError, match=reason) as raised:
            service.archiver.start()
        assert "\n" not in str(raised.value)
        service.database.close()


def test_the_doctor_looks_at_the_storage(tmp_path: Path, place: Place) -> None:
    settings = Settings(folder=tmp_path / "service", archive=place.config)

    def found() -> dict[str, doctor.Finding]:
        return {finding.subject: finding for finding in doctor.archive(settings)}

    assert found()["archive"].state == "good"
    assert str(place.storage) in found()["archive"].said
    assert found()["staging"].state == "note"
    assert list(place.storage.iterdir()) == []
    section = json.loads(place.config.read_text())["archive"]
    place.config.write_text(json.dumps({"archive": section | {"min_free_percent": 99.999}}))
    assert found()["archive"].state == "wrong" and "min_free_percent" in str(found()["archive"].mend)
    place.storage.rmdir()
    assert found()["archive"].state == "wrong" and str(place.storage) in found()["archive"].said
    place.config.unlink()
    assert found()["archive"].state == "wrong" and "no file" in found()["archive"].said
