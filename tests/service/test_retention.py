"""What is removed when its time is over, and what never is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from eemt.service import retention
from eemt.service.database import Database
from eemt.service.models import Audit, Event, Job, Upload
from eemt.service.retention import Cleaner
from eemt.service.settings import Settings
from eemt.sql import now
from service.records import add_job, add_upload, add_user, ago


@pytest.fixture
def cleaner(settings: Settings, database: Database) -> Cleaner:
    return Cleaner(settings, database)


def ids(done: retention.Cleanup) -> set[str]:
    return {item.id for item in done.items}


def test_completed_jobs_are_kept_a_week_and_failed_ones_half_a_day(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        old = {
            add_job(session, settings, user, state, hours).id
            for state, hours in (("completed", 169), ("failed", 13), ("cancelled", 13))
        }
        kept = {
            add_job(session, settings, user, state, hours).id
            for state, hours in (("completed", 167), ("failed", 11), ("cancelled", 11))
        }
    assert ids(cleaner.clean()) == old
    assert {path.name for path in settings.jobs.iterdir()} == kept
    with database.reading() as session:
        removed = set(session.scalars(select(Job.id).where(Job.removed.is_not(None))))
        assert removed == old
        # records and configs stay for ever
        assert session.scalar(select(func.count()).select_from(Job)) == 6
        assert all(session.scalars(select(Job.config)))


def test_running_and_pending_jobs_are_never_touched(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        upload = add_upload(session, settings, user, hours=5000)
        for state in ("running", "pending"):
            add_job(session, settings, user, state, 5000, uploads=(upload,))
    assert cleaner.clean().items == []
    assert len(list(settings.jobs.iterdir())) == 2
    assert len(list(settings.uploads.iterdir())) == 1


def test_uploads_go_when_no_living_job_names_them(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        unused = add_upload(session, settings, user, hours=169).id
        of_old_job = add_upload(session, settings, user, hours=400)
        add_job(session, settings, user, "completed", 300, uploads=(of_old_job,))
        used = add_upload(session, settings, user, hours=400)
        add_job(session, settings, user, "completed", 1, uploads=(used,))
        new = add_upload(session, settings, user, hours=1).id
        old_job_upload, used_id = of_old_job.id, used.id
    cleaner.clean()
    cleaner.clean()
    with database.reading() as session:
        assert set(session.scalars(select(Upload.id))) == {used_id, new}
    assert {path.name for path in settings.uploads.iterdir()} == {used_id, new}
    assert not (settings.uploads / unused).exists()
    assert not (settings.uploads / old_job_upload).exists()


def test_a_dry_run_lists_the_same_and_removes_nothing(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        for hours in (200, 300):
            add_job(session, settings, user, "completed", hours)
        add_upload(session, settings, user, hours=200, size=5000)
    before = sorted(path for path in settings.folder.rglob("*"))
    listed = cleaner.clean(dry_run=True)
    assert sorted(path for path in settings.folder.rglob("*")) == before
    done = cleaner.clean()
    assert listed.items == done.items
    assert listed.bytes == done.bytes > 5000
    assert cleaner.clean().items == []


def test_a_job_its_user_deleted_goes_at_once(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        job_id = add_job(session, settings, user, "completed", 1, deleted=now()).id
        running = add_job(session, settings, user, "running", 1, deleted=now()).id
    assert ids(cleaner.clean()) == {job_id}
    assert (settings.jobs / running).exists()


def test_a_job_that_is_run_again_meanwhile_keeps_its_files(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        job_id = add_job(session, settings, user, "failed", 20).id
    planned = list(cleaner.clean(dry_run=True).items)
    with database.session() as session:
        session.get_one(Job, job_id).state = "pending"
    assert not cleaner._remove(planned[0], now())
    assert (settings.jobs / job_id / "results").is_dir()


def test_a_cleanup_that_was_killed_is_finished_by_the_next(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        job_id = add_job(session, settings, user, "completed", 300, removed=now()).id
        orphan = add_upload(session, settings, user)
        session.delete(orphan)
        orphan_id = orphan.id
    stray = settings.uploads / orphan_id
    os.utime(stray, (time.time() - 48 * 3600,) * 2)
    cleaner.clean()
    assert not (settings.jobs / job_id).exists()
    assert not stray.exists()


def test_a_kill_in_the_middle_loses_no_job_that_is_kept(settings, database):
    with database.session() as session:
        user = add_user(session)
        for hours in range(160, 220):
            add_job(session, settings, user, "completed", hours)
    code = (
        "import sys, time, shutil; from pathlib import Path; from eemt.service import retention\n"
        "from eemt.service.database import Database; from eemt.service.settings import Settings\n"
        "real = retention._delete\n"
        "def slow(path): real(path); print(path.name, flush=True); time.sleep(0.05)\n"
        "retention._delete = slow\n"
        "s = Settings(folder=Path(sys.argv[1])); retention.Cleaner(s, Database(s.database)).clean()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, settings.folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with database.reading() as session:
        kept = set(session.scalars(select(Job.id).where(Job.removed.is_(None))))
        assert 8 <= len(kept) < 60
    assert kept <= {path.name for path in settings.jobs.iterdir()}
    Cleaner(settings, database).clean()
    with database.reading() as session:
        kept = set(session.scalars(select(Job.id).where(Job.removed.is_(None))))
    assert {path.name for path in settings.jobs.iterdir()} == kept
    assert len(kept) == 8  # of 160 to 167 hours


def test_old_lines_of_the_audit_trail_and_old_jobs_events_go(cleaner, settings, database):
    with database.session() as session:
        user = add_user(session)
        session.add(Audit(action="old", at=now() - timedelta(days=91)))
        session.add(Audit(action="new", at=now() - timedelta(days=89)))
        old = add_job(session, settings, user, "completed", 300).id
        new = add_job(session, settings, user, "completed", 1).id
    counted = cleaner.clean(dry_run=True)
    done = cleaner.clean()
    assert done.audit == counted.audit == 1
    assert done.events == counted.events == 1
    with database.reading() as session:
        actions = set(session.scalars(select(Audit.action)))
        assert "old" not in actions and "new" in actions
        kinds = {job: list(session.scalars(select(Event.kind).where(Event.job_id == job))) for job in (old, new)}
    assert kinds[old] == ["state", "state"]
    assert len(kinds[new]) == 3


def test_the_schedule_cleans_by_itself_and_survives_a_failure(settings, database, monkeypatch):
    monkeypatch.setattr(retention, "FIRST_AFTER", 0.01)
    with database.session() as session:
        user = add_user(session)
        job_id = add_job(session, settings, user, "completed", 300).id
    cleaner = Cleaner(settings.model_copy(update={"cleanup_hours": 0.02 / 3600}), database)
    real, failures = cleaner._shorten, []

    def failing(done):
        if not failures:
            failures.append(1)
            raise OSError("gone for a moment")
        real(done)

    monkeypatch.setattr(cleaner, "_shorten", failing)
    cleaner.start()
    until = time.monotonic() + 20
    while cleaner.last is None and time.monotonic() < until:
        time.sleep(0.02)
    cleaner.stop()
    assert failures and cleaner.last is not None
    assert not (settings.jobs / job_id).exists()


def test_only_one_cleanup_is_at_work(cleaner):
    with cleaner._at_work, pytest.raises(retention.BusyError):
        cleaner.clean()


def test_the_command_says_what_it_would_remove(settings, database, call):
    with database.session() as session:
        user = add_user(session)
        session.add(Audit(action="old", at=ago(24 * 100)))
        job_id = add_job(session, settings, user, "completed", 300).id
    code, said, _ = call("cleanup", "--folder", str(settings.folder), "--dry-run")
    assert code == 0
    assert job_id in said and "completed 12 days ago" in said and "would be removed" in said
    assert (settings.jobs / job_id).exists()
    code, said, _ = call("cleanup", "--folder", str(settings.folder))
    assert code == 0 and not (settings.jobs / job_id).exists()
