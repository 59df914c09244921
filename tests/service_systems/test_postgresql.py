"""The service on a real PostgreSQL: its tables, its jobs, its backups, and the database gone and back."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, make_url, text

from eemt.service.backup import back_up
from eemt.service.database import Database
from eemt.service.models import Audit, Event, Job, Token, User
from eemt.service.restore import restore
from eemt.service.retention import Cleaner
from eemt.service.settings import Settings
from eemt.sql import now
from service.records import add_job, add_upload, add_user, ago
from service.test_backup import rows, used
from service.test_database import (
    test_a_database_of_a_newer_version_is_refused,
    test_many_writers_wait_for_each_other,
    test_migrations_make_the_tables_of_the_models,
    test_upgrading_twice_changes_nothing,
)
from service.test_retention import (
    cleaner,
    test_a_dry_run_lists_the_same_and_removes_nothing,
    test_completed_jobs_are_kept_a_week_and_failed_ones_half_a_day,
    test_old_lines_of_the_audit_trail_and_old_jobs_events_go,
    test_running_and_pending_jobs_are_never_touched,
    test_uploads_go_when_no_living_job_names_them,
)
from service_systems.asking import send, submit, wait_for
from service_systems.beds import BEDS
from sites import BOULDER

BED = BEDS / "postgresql.sh"

# those of SQLite, with the fixtures of this module
__all__ = [
    "cleaner",
    "test_a_database_of_a_newer_version_is_refused",
    "test_a_dry_run_lists_the_same_and_removes_nothing",
    "test_completed_jobs_are_kept_a_week_and_failed_ones_half_a_day",
    "test_many_writers_wait_for_each_other",
    "test_migrations_make_the_tables_of_the_models",
    "test_old_lines_of_the_audit_trail_and_old_jobs_events_go",
    "test_running_and_pending_jobs_are_never_touched",
    "test_upgrading_twice_changes_nothing",
    "test_uploads_go_when_no_living_job_names_them",
    "used",
]


def bed(word: str) -> str:
    done = subprocess.run([BED, word], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def make(require: Callable[..., None]) -> Iterator[Callable[[], str]]:
    """Make databases, which are removed after the tests, and return the address of each."""
    require("postgresql")
    url = make_url(bed("up").split("'")[1])
    made: list[str] = []

    def new() -> str:
        made.append(f"eemt_{secrets.token_hex(6)}")
        call(f"CREATE DATABASE {made[-1]}")
        return url.set(database=made[-1]).render_as_string(hide_password=False)

    def call(statement: str) -> None:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    yield new
    bed("up")
    for name in made:
        call(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(tmp_path: Path, make: Callable[[], str]) -> Settings:
    return Settings(folder=tmp_path / "service", database_url=SecretStr(make()))


@pytest.fixture
def client(serve: Callable[..., object], make: Callable[[], str]) -> Iterator[httpx.Client]:
    server = serve(EEMT_SERVICE_DATABASE_URL=make())
    with httpx.Client(base_url=server.address, timeout=60) as client:
        client.server = server
        yield client


def test_a_job_runs_from_its_upload_to_its_maps(client):
    upload = send(client, BOULDER)
    job = wait_for(client, submit(client, "boulder", upload, dem={"source": {"upload": upload}, **AREA}))
    assert job["state"] == "completed", job
    assert job["steps_done"] == job["steps_total"] > 0
    files = [item["path"] for item in client.get(f"/api/v1/jobs/{job['id']}/files").json()["items"]]
    assert any(path.endswith("monthly_global.tif") for path in files), files
    found = client.get("/metrics").text
    assert 'eemt_jobs{state="completed"} 1.0' in found
    assert 'eemt_job_cells_per_second{kind="sun"}' in found


# a part of the embedded DEM, on a grid of metres
AREA = {"crs": "EPSG:32613", "resolution": 30, "bbox": [-105.31, 39.95, -105.29, 39.965]}


def test_the_database_gone_and_back_loses_no_job(client):
    upload = send(client, BOULDER)
    dem = {"source": {"upload": upload}, **AREA}
    first = submit(client, "before", upload, dem=dem)
    second = submit(client, "behind", upload, dem=dem)
    wait_for(client, first, "running", "completed")
    try:
        bed("crash")
        assert client.get("/health/live").status_code == 200
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "failed")
        answer = client.get("/api/v1/jobs")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert "eemt_database_up 0.0" in until(client, "/metrics", "eemt_database_up 0.0")
        time.sleep(3)
    finally:
        bed("up")
    for job in (first, second):
        assert wait_for(client, job)["state"] == "completed"
    assert until(client, "/health/ready", '"ok"')
    assert "Traceback" not in client.server.log


def until(client: httpx.Client, path: str, wanted: str) -> str:
    """Ask until the answer holds what is wanted."""
    said = ""
    for _ in range(60):
        said = client.get(path).text
        if wanted in said:
            return said
        time.sleep(0.5)
    raise AssertionError(f"{path}: {wanted} not in {said[:2000]}")


def test_a_server_killed_in_mid_run_takes_it_up_again(client):
    import signal

    upload = send(client, BOULDER)
    job = submit(client, "killed", upload, dem={"source": {"upload": upload}, **AREA})
    wait_for(client, job, "running")
    client.server.end(signal.SIGKILL)
    client.server.start()
    found = wait_for(client, job)
    assert (found["state"], found["attempt"]) == ("completed", 1)


def test_a_backup_goes_from_sqlite_to_postgresql_and_back(settings, tmp_path):
    """Rows, times, umlauts and large numbers are the same in both."""
    lite = Settings(folder=tmp_path / "lite")
    lite.make_folders()
    first = Database(lite.database)
    first.upgrade()
    with first.session() as session:
        user = add_user(session, "böb", role="operator", password="$argon2id$x", quota_bytes=10**12)
        upload = add_upload(session, lite, user)
        for state in ("completed", "failed", "pending"):
            add_job(session, lite, user, state, uploads=(upload,), cells=10**10)
        session.add(Token(user_id=user.id, name="t", hash="h", expires=ago(-1)))
        session.add(Audit(action="x", detail={"a": [1, None, "ü"]}))
    options = {"with_uploads": True, "with_results": True}
    back_up(lite, first, tmp_path / "lite.tar", **options)
    restore(settings, tmp_path / "lite.tar", say=lambda _: None)
    postgres = Database(settings.database)
    tables = (User, Token, Audit, Event)
    assert [rows(postgres, table) for table in tables] == [rows(first, table) for table in tables]
    # numbers go on after those that were put back
    with postgres.session() as session:
        job_id = session.query(Job.id).first()[0]
        session.add(Event(job_id=job_id, kind="message", data={}))
        session.add(Audit(action="y"))
    back_up(settings, postgres, tmp_path / "postgres.tar", **options)
    again = Settings(folder=tmp_path / "again")
    restore(again, tmp_path / "postgres.tar", say=lambda _: None)
    third = Database(again.database)
    assert [rows(third, table) for table in (*tables, Job)] == [rows(postgres, table) for table in (*tables, Job)]
    for database in (first, postgres, third):
        database.close()


def test_a_restore_by_force_replaces_what_is_there(settings, database, used, tmp_path):
    back_up(settings, database, tmp_path / "b.tar", with_results=True)
    with database.session() as session:
        add_job(session, settings, session.query(User).first(), "completed")
    database.close()
    restored = restore(settings, tmp_path / "b.tar", force=True, say=lambda _: None)
    assert restored.aside is not None
    again = Database(settings.database)
    with again.reading() as session:
        assert session.query(Job).count() == 5
        assert session.get(Job, used["completed"]).removed is None
    again.close()


def test_a_cleanup_and_a_retry_at_once_never_both_win(settings, database):
    """Whoever comes second sees what the first did."""
    from threading import Thread

    for _ in range(10):
        with database.session() as session:
            user = add_user(session, secrets.token_hex(4))
            job_id = add_job(session, settings, user, "failed", 20).id

        def run_again(job_id: str = job_id) -> None:
            with database.session() as session:
                job = session.get_one(Job, job_id, with_for_update=True)
                if job.removed is None:
                    job.state, job.queued = "pending", now()

        thread = Thread(target=run_again)
        thread.start()
        Cleaner(settings, database).clean()
        thread.join()
        with database.reading() as session:
            job = session.get_one(Job, job_id)
            assert (job.state == "pending") == (job.removed is None) == (settings.jobs / job_id / "results").exists()
