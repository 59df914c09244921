"""A backup holds what was acknowledged, and goes back into an empty folder, from which a server runs."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, update

from eemt.errors import InputError
from eemt.service.backup import back_up
from eemt.service.database import Database
from eemt.service.models import Audit, Event, Job, Lease, Token, Upload, User
from eemt.service.restore import check, restore
from eemt.service.settings import Settings
from eemt.sql import now
from service.records import add_job, add_upload, add_user, ago


@pytest.fixture
def used(settings: Settings, database: Database) -> dict[str, str]:
    """A service that was used: two users, jobs in every state, uploads."""
    with database.session() as session:
        ada, bob = add_user(session, "ada", role="operator", password="$argon2id$x"), add_user(session, "böb")
        dem, unused = add_upload(session, settings, ada), add_upload(session, settings, bob)
        jobs = {
            "completed": add_job(session, settings, ada, "completed", 1, uploads=(dem,), cells=10**10),
            "removed": add_job(session, settings, ada, "completed", 500, removed=now()),
            "failed": add_job(session, settings, bob, "failed", 1, message="Zeile 1\nline 2"),
            "pending": add_job(session, settings, bob, "pending", 1, uploads=(dem,)),
            "running": add_job(session, settings, bob, "running", 1, process={"pid": 1}),
        }
        session.add(Token(user_id=ada.id, name="t", hash="h", expires=ago(-1)))
        found = {name: job.id for name, job in jobs.items()} | {"dem": dem.id, "unused": unused.id}
    assert settings.key
    return found


def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"folder": tmp_path / "elsewhere"})


def rows(database: Database, table: type) -> list[dict[str, object]]:
    with database.reading() as session:
        found = session.scalars(select(table)).all()
        return sorted(
            ({column.key: getattr(row, column.key) for column in table.__mapper__.columns} for row in found), key=repr
        )


def put_back(settings: Settings, out: Path, **options: bool):
    restored = restore(settings, out, say=lambda _: None, **options)
    return restored, Database(settings.database)


def test_what_was_in_the_database_is_in_it_again(settings, database, used, tmp_path):
    back_up(settings, database, tmp_path / "b.tar", with_uploads=True, with_results=True)
    there = elsewhere(settings, tmp_path)
    restored, again = put_back(there, tmp_path / "b.tar")
    for table in (User, Token, Audit, Event, Upload):
        assert rows(again, table) == rows(database, table)
    assert (restored.without_files, restored.failed, restored.uploads_gone) == (0, 0, 0)
    before = {job["id"]: job for job in rows(database, Job)}
    for job in rows(again, Job):
        if job["id"] == used["running"]:
            assert (job["state"], job["process"]) == ("pending", None)
        else:
            assert {**job, "started": None} == {**before[job["id"]], "started": None}
    assert there.key == settings.key
    again.close()
    for name in ("completed", "pending"):
        for path in (settings.jobs / used[name]).rglob("*"):
            if path.is_file() and (name == "completed" or "results" not in path.parts):
                assert (there.jobs / path.relative_to(settings.jobs)).read_bytes() == path.read_bytes()
    assert (there.uploads / used["dem"] / "file").read_bytes() == b"d" * 1000


def test_without_results_finished_jobs_are_marked_as_without_files(settings, database, used, tmp_path):
    contents = back_up(settings, database, tmp_path / "b.tar")
    assert (contents.with_results, contents.with_uploads) == (False, False)
    there = elsewhere(settings, tmp_path)
    restored, again = put_back(there, tmp_path / "b.tar")
    assert (restored.without_files, restored.again, restored.failed, restored.uploads_gone) == (2, 2, 0, 2)
    with again.reading() as session:
        state = {job.id: (job.state, job.removed is not None) for job in session.scalars(select(Job))}
    again.close()
    assert state[used["completed"]] == ("completed", True)
    assert state[used["failed"]] == ("failed", True)
    # what was acknowledged and waits can begin: its inputs came along
    assert state[used["pending"]] == ("pending", False)
    assert (there.jobs / used["pending"] / "inputs/0.tif").read_bytes() == b"d" * 1000
    # configs are there for ever
    assert (there.jobs / used["completed"] / "config/config.yaml").exists()


def test_a_job_whose_inputs_are_gone_is_failed_and_not_begun(settings, database, used, tmp_path):
    (settings.jobs / used["pending"] / "inputs/0.tif").unlink()
    back_up(settings, database, tmp_path / "b.tar")
    restored, again = put_back(elsewhere(settings, tmp_path), tmp_path / "b.tar")
    assert restored.failed == 1
    with again.reading() as session:
        job = session.get_one(Job, used["pending"])
        assert job.state == "failed" and "submit it anew" in job.message
    again.close()


def test_a_server_runs_on_what_was_put_back(serve, settings, database, used, tmp_path):
    """Last night's backup on an empty machine."""
    with database.session() as session:
        session.execute(update(Job).where(Job.state.in_(("pending", "running"))).values(state="failed", finished=now()))
    back_up(settings, database, tmp_path / "night.tar.gz", with_results=True)
    restore(settings.model_copy(update={"folder": tmp_path / "served0"}), tmp_path / "night.tar.gz", say=lambda _: None)
    server = serve()
    assert httpx.get(f"{server.address}/health/ready").json()["checks"]["database"] == "ok"
    answered = httpx.get(f"{server.address}/api/v1/jobs?all=true")
    assert answered.status_code == 200, answered.text
    assert {used["completed"], used["failed"]} <= {job["id"] for job in answered.json()["items"]}


def test_a_backup_is_of_one_moment_while_others_write(settings, database, used, tmp_path):
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with database.session() as session:
                job = session.get_one(Job, used["failed"])
                job.steps_done += 1
                session.add(Event(job_id=job.id, kind="message", data={"text": "x"}))

    with database.reading() as session:
        before = session.scalar(select(func.count()).select_from(Event))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            back_up(settings, database, tmp_path / f"{number}.tar")
    finally:
        stop.set()
        writer.join()
    with tarfile.open(tmp_path / "4.tar") as archive:
        events = archive.extractfile("database/events.jsonl").read().splitlines()
        jobs = [json.loads(line) for line in archive.extractfile("database/jobs.jsonl").read().splitlines()]
    done = next(job["steps_done"] for job in jobs if job["id"] == used["failed"])
    assert len(events) - before == done > 0


def test_it_refuses_what_is_there_and_puts_it_aside_by_force(settings, database, used, tmp_path):
    out = tmp_path / "b.tar"
    back_up(settings, database, out, with_results=True)
    database.close()
    with pytest.raises(InputError, match="hold a service's data"):
        restore(settings, out)
    restored, again = put_back(settings, out, force=True)
    assert rows(again, User)
    again.close()
    assert restored.aside is not None
    assert (restored.aside / "jobs" / used["completed"] / "results/hill/summary.csv").exists()
    assert check(restored.aside / "database.tar").rows["jobs"] == 5


@pytest.mark.usefixtures("used")
def test_it_refuses_while_a_service_runs(settings, database, tmp_path):
    back_up(settings, database, tmp_path / "b.tar")
    with database.session() as session:
        session.merge(Lease(name="queue", holder="h", where="here:1", expires=ago(-1)))
    with pytest.raises(InputError, match=r"here:1.*stop it first"):
        restore(settings, tmp_path / "b.tar", force=True)


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("harm", ["flipped", "cut", "missing", "extra", "outside", "link", "no backup", "newer"])
def test_a_damaged_backup_is_refused_before_anything_is_changed(settings, database, tmp_path, harm):
    out = tmp_path / "b.tar"
    back_up(settings, database, out)
    if harm == "flipped":
        data = bytearray(out.read_bytes())
        where = data.index(b'"ada"')
        data[where + 1] ^= 1
        out.write_bytes(data)
    elif harm == "cut":
        out.write_bytes(out.read_bytes()[:20000])
    elif harm == "no backup":
        out.write_bytes(b"nothing of ours" * 1000)
    else:
        harmed(out, harm)
    there = elsewhere(settings, tmp_path)
    with pytest.raises(InputError, match=r"restore: .*b\.tar"):
        restore(there, out)
    assert not there.folder.exists()


def harmed(out: Path, how: str) -> None:
    with tarfile.open(out) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive}
    if how == "missing":
        del files["secret.key"]
    if how == "newer":
        files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | {"revision": "9999"}).encode()
        lines = [line for line in files["SHA256SUMS"].decode().splitlines() if not line.endswith("manifest.json")]
        sha256 = hashlib.sha256(files["manifest.json"]).hexdigest()
        files["SHA256SUMS"] = "\n".join([*lines, f"{sha256}  manifest.json", ""]).encode()
    with tarfile.open(out, "w") as archive:
        for name, data in files.items():
            add(archive, name, data)
        if how == "extra":
            add(archive, "jobs/x/config/evil.yaml", b"x")
        if how == "outside":
            add(archive, "jobs/../../outside", b"x")
        if how == "link":
            info = tarfile.TarInfo("jobs/x")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc"
            archive.addfile(info)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@pytest.mark.usefixtures("used")
def test_a_backup_is_readable_by_its_owner_alone_and_never_half(settings, database, tmp_path):
    out = tmp_path / "b.tar"
    back_up(settings, database, out)
    assert out.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="is there already"):
        back_up(settings, database, out)
    (settings.folder / "service.sqlite").rename(settings.folder / "away")
    database.close()
    with pytest.raises(InputError):
        back_up(settings, database, tmp_path / "c.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "service"]


@pytest.mark.usefixtures("used")
def test_sign_ins_and_the_lease_are_left_out(settings, database, tmp_path):
    contents = back_up(settings, database, tmp_path / "b.tar")
    assert not {"sign_ins", "leases", "failed_logins"} & set(contents.rows)
    assert contents.rows["users"] == 2
    assert asdict(check(tmp_path / "b.tar"))["rows"] == contents.rows


@pytest.mark.usefixtures("used", "database")
def test_the_commands_back_up_and_restore(settings, tmp_path, call):
    code, said, error = call("backup", tmp_path / "b.tar", "--folder", settings.folder, "--with-results")
    assert code == 0, error
    assert "5 jobs, 2 users" in said
    code, said, _ = call("restore", tmp_path / "b.tar", "--check")
    assert code == 0 and "whole" in said
    code, said, error = call("restore", tmp_path / "b.tar", "--folder", tmp_path / "elsewhere")
    assert code == 0, error
    assert "restored: 5 jobs and 2 users" in said
    assert call("restore", tmp_path / "b.tar", "--folder", tmp_path / "elsewhere")[0] == 2
