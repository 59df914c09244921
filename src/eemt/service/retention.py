"""What is kept how long, and the removal of the rest.

Records and configs stay for ever, both in the database; files of jobs and uploads go when their time is over. The
database is told first and the files go after: a cleanup that is killed in between leaves files that nobody names
any more, which the next one removes, and never a record of files that are gone.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    Select,
    and_,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from eemt.service import archives, audit, depositing
from eemt.service.database import Database
from eemt.service.models import FINISHED, Archive, Audit, Event, FailedLogin, Job, JobUpload, SignIn, Upload
from eemt.service.settings import Settings
from eemt.sql import now

logger = logging.getLogger(__name__)

FIRST_AFTER = 60.0  # seconds from the service's start
AT_ONCE = 5000  # rows removed by one transaction, so that nobody waits long for it
STRAY_HOURS = 24.0  # after which a file that no record names is nobody's
FAILED_LOGIN_DAYS = 1.0  # they throttle for a quarter of an hour


class BusyError(Exception):
    """A cleanup is under way."""


@dataclass(frozen=True)
class Removal:
    """A job's or upload's files that are past their time."""

    kind: Literal["job", "upload"]
    id: str
    name: str
    why: str
    bytes: int


@dataclass(frozen=True)
class Kept:
    """A job's results that are past their time and stay until they are archived."""

    id: str
    name: str
    state: str  # of the archiving
    why: str
    bytes: int


@dataclass
class Cleanup:
    """What a cleanup removed, or would have removed."""

    dry_run: bool
    at: datetime
    items: list[Removal] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    events: int = 0
    audit: int = 0
    sign_ins: int = 0

    @property
    def bytes(self) -> int:
        """Disk of all items."""
        return sum(item.bytes for item in self.items)


class Cleaner:
    """Removes what is past its time, on a schedule and when asked to."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.last: Cleanup | None = None  # that removed
        self.removed_bytes = 0  # since the start
        self._at_work = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin the schedule, if there is one."""
        if self.settings.cleanup_hours > 0 and self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="cleaner", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it; a cleanup under way ends after the item it is at."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def clean(self, dry_run: bool = False) -> Cleanup:
        """Remove what is past its time, or only list it.

        Raises
        ------
        BusyError
            When another cleanup is under way.
        """
        if not self._at_work.acquire(blocking=False):
            raise BusyError
        try:
            done = Cleanup(dry_run, now())
            with self.database.reading() as session:
                planned = [*self._jobs(session, done.at), *self._uploads(session, done.at)]
                unarchived = list(session.scalars(self._unarchived(done.at)))
            done.kept = [kept for job in unarchived if (kept := self._keep(job, done.at, dry_run))]
            if dry_run:
                done.items = planned
                self._count(done)
                return done
            self._remove_strays()
            for item in planned:
                if self._stop.is_set():
                    break
                if self._remove(item, done.at):
                    done.items.append(item)
                    self.removed_bytes += item.bytes
            self._shorten(done)
            self.last = done
            return done
        finally:
            self._at_work.release()

    def _run(self) -> None:
        wait = min(FIRST_AFTER, self.settings.cleanup_hours * 3600)
        while not self._stop.wait(wait):
            started = time.monotonic()
            try:
                done = self.clean()
            except BusyError:
                pass
            except Exception:
                # the next one may succeed; the schedule must live
                logger.exception("cleanup failed")
            else:
                took = round(time.monotonic() - started, 1)
                logger.info("cleanup: %d items, %d bytes", len(done.items), done.bytes, extra={"seconds": took})
            wait = self.settings.cleanup_hours * 3600

    # what is past its time

    def _jobs(self, session: Session, at: datetime) -> Iterator[Removal]:
        query = select(Job).where(self._is_over(at)).order_by(Job.finished, Job.id)
        for job in session.scalars(query):
            why = "deleted by its user" if job.deleted else f"{job.state} {_age(at, job.finished)} ago"
            yield Removal("job", job.id, job.name, why, size(self.settings.jobs / job.id))

    def _is_over(self, at: datetime) -> ColumnElement[bool]:
        """Return the condition that a job's files may be removed."""
        may = and_(self._is_past(at), ~archives.is_under_way())
        if self.settings.keep_completed_then == "delete":
            return may
        return and_(may, or_(Job.state != "completed", Job.deleted.is_not(None), archives.is_archived()))

    def _is_past(self, at: datetime) -> ColumnElement[bool]:
        """Return the condition that a job's time is over; of what came back from the archive it begins anew."""
        completed = at - timedelta(hours=self.settings.keep_completed_hours)
        failed = at - timedelta(hours=self.settings.keep_failed_hours)
        return and_(
            Job.removed.is_(None),
            Job.state.in_(FINISHED),
            or_(
                and_(
                    Job.state == "completed",
                    Job.finished < completed,
                    ~exists().where(Archive.job_id == Job.id, Archive.brought >= completed),
                ),
                and_(Job.state != "completed", Job.finished < failed),
                Job.deleted.is_not(None),
            ),
        )

    def _unarchived(self, at: datetime) -> Select[tuple[Job]]:
        """Ask for the jobs that would be removed if they were archived."""
        chosen = select(Job).where(self._is_past(at), Job.state == "completed", Job.deleted.is_(None))
        if self.settings.keep_completed_then == "delete":
            chosen = chosen.where(false())
        return chosen.where(or_(archives.is_under_way(), ~archives.is_archived())).order_by(Job.finished, Job.id)

    def _keep(self, job: Job, at: datetime, dry_run: bool) -> Kept | None:
        """Have a job archived, and say why its results stay; what failed by its own fault is not tried again."""
        with self.database.reading() as session:
            found = archives.of_job(session, job)
        if found.state == "failed":
            why = f"cannot be archived, {found.fault} error: {found.message}"
            again = found.fault == "system"
        else:
            way = "is being called off" if found.state == "ending" else f"is being archived: {found.state}"
            why = way if found.is_under_way else "is to be archived first"
            again = not found.is_under_way
        if again and not dry_run:
            with self.database.session() as session:
                present = session.scalar(select(Job).where(Job.id == job.id, self._is_past(at)).with_for_update())
                if present is None or not archives.ask_to_archive(session, present):
                    return None
                audit.write(session, "job.archive", target=job.id, why=f"{job.state} {_age(at, job.finished)} ago")
        return Kept(job.id, job.name, found.state, why, size(self.settings.jobs / job.id))

    def _uploads(self, session: Session, at: datetime) -> Iterator[Removal]:
        query = select(Upload).where(self._is_unused(at)).order_by(Upload.touched, Upload.id)
        for upload in session.scalars(query):
            why = f"named by no job, last used {_age(at, upload.touched)} ago"
            yield Removal("upload", upload.id, upload.name, why, sum(size(path) for path in self._files(upload.id)))

    def _is_unused(self, at: datetime) -> ColumnElement[bool]:
        living = exists().where(JobUpload.upload_id == Upload.id, JobUpload.job_id == Job.id, Job.removed.is_(None))
        return and_(Upload.touched < at - timedelta(hours=self.settings.keep_uploads_hours), ~living)

    # its removal

    def _remove(self, item: Removal, at: datetime) -> bool:
        """Remove one item, unless it is in use again by now."""
        with self.database.session() as session:
            if item.kind == "job":
                # whoever asks for it to be archived at this moment holds its row, and is seen by what follows
                session.scalar(select(Job.id).where(Job.id == item.id).with_for_update())
                gone = session.execute(
                    update(Job).where(Job.id == item.id, self._is_over(at)).values(removed=now(), bytes=0)
                )
            else:
                gone = session.execute(delete(Upload).where(Upload.id == item.id, self._is_unused(at)))
            assert isinstance(gone, CursorResult)
            if not gone.rowcount:
                return False
            gives_up = item.kind == "job" and self.settings.archive is not None and archives.give_up(session, item.id)
            audit.write(session, f"{item.kind}.removed", target=item.id, why=item.why, bytes=item.bytes)
        if gives_up:
            # the rest goes when what is left of it in staging and storage is gone
            depositing.remove_files(self.settings, item.id)
            return True
        for path in [self.settings.jobs / item.id] if item.kind == "job" else self._files(item.id):
            _delete(path)
        return True

    def _files(self, upload_id: str) -> list[Path]:
        return sorted(self.settings.uploads.glob(f"{upload_id}*") if upload_id else ())

    def _remove_strays(self) -> None:
        """Remove files whose record says that they are gone, which a killed cleanup left behind."""
        jobs = {path.name: path for path in self.settings.jobs.iterdir()}
        # what comes back from the archive is written beside the job's folder, and takes its place at the end
        back = {path.name.split(".")[1]: path for path in self.settings.jobs.glob(".*.back")}
        before = time.time() - STRAY_HOURS * 3600
        # what is newer may belong to an upload that is just announced
        uploads = [path for path in self.settings.uploads.iterdir() if path.lstat().st_mtime < before]
        with self.database.reading() as session:
            removed = _among(session, jobs, and_(Job.removed.is_not(None), ~archives.is_under_way()))
            coming = set(_among(session, back, archives.is_under_way()))
            known = {
                upload_id
                for some in _batches([_upload_id(path) for path in uploads])
                for upload_id in session.scalars(select(Upload.id).where(Upload.id.in_(some)))
            }
        for job_id in removed:
            _delete(jobs[job_id])
        for path in self.settings.jobs.glob(".*.old"):
            _delete(path)
        for job_id in back.keys() - coming:
            _delete(back[job_id])
        for path in uploads:
            if _upload_id(path) not in known:
                _delete(path)

    # rows that nobody looks at any more

    def _old_rows(self, at: datetime) -> dict[str, tuple[type, ColumnElement[bool]]]:
        # those that are over are removed by now, unless nothing is
        ended = select(Job.id).where(or_(Job.removed.is_not(None), self._is_over(at)))
        # that a job was submitted, ran, ended is kept as long as its record
        passing = and_(Event.kind.not_in(("state", "rule_failed", "archive")), Event.job_id.in_(ended))
        before = at - timedelta(days=FAILED_LOGIN_DAYS)
        return {
            "events": (Event, passing),
            "audit": (Audit, Audit.at < at - timedelta(days=self.settings.keep_audit_days)),
            "sign_ins": (SignIn, SignIn.expires < at),
            "failed_logins": (FailedLogin, FailedLogin.at < before),
        }

    def _count(self, done: Cleanup) -> None:
        with self.database.reading() as session:
            counts = {
                name: session.scalar(select(func.count()).select_from(table).where(condition)) or 0
                for name, (table, condition) in self._old_rows(done.at).items()
            }
        self._note(done, counts)

    def _shorten(self, done: Cleanup) -> None:
        counts = {
            name: self._delete_rows(table, condition) for name, (table, condition) in self._old_rows(done.at).items()
        }
        self._note(done, counts)

    def _delete_rows(self, table: type, condition: ColumnElement[bool]) -> int:
        """Delete rows, some at a time."""
        key = table.id  # type: ignore[attr-defined]
        some: Delete = delete(table).where(key.in_(select(key).where(condition).limit(AT_ONCE)))
        total = 0
        while not self._stop.is_set():
            with self.database.session() as session:
                result = session.execute(some.execution_options(synchronize_session=False))
                assert isinstance(result, CursorResult)
                total += result.rowcount
            if result.rowcount < AT_ONCE:
                break
        return total

    @staticmethod
    def _note(done: Cleanup, counts: dict[str, int]) -> None:
        done.events = counts["events"]
        done.audit = counts["audit"]
        done.sign_ins = counts["sign_ins"] + counts["failed_logins"]


def size(path: Path) -> int:
    """Return the bytes of a file or of all files of a folder, which may vanish meanwhile."""
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        return sum(size(inside) for inside in path.iterdir())
    except OSError:
        return 0


def _upload_id(path: Path) -> str:
    """Return which upload a file belongs to, as its name says before any ending."""
    return path.name.split(".")[0]


def _delete(path: Path) -> None:
    """Delete a file or folder; what cannot be deleted now is left to the next cleanup."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("cleanup: %s cannot be removed: %s", path, error.strerror)


def _among(session: Session, ids: dict[str, Path], condition: ColumnElement[bool]) -> list[str]:
    return [
        job_id
        for some in _batches(list(ids))
        for job_id in session.scalars(select(Job.id).where(Job.id.in_(some), condition))
    ]


def _batches(names: list[str], size: int = 500) -> Iterator[list[str]]:
    for first in range(0, len(names), size):
        yield names[first : first + size]


def _age(at: datetime, since: datetime | None) -> str:
    hours = (at - since).total_seconds() / 3600 if since else 0.0
    return f"{int(hours / 24)} days" if hours >= 48 else f"{int(hours)} hours"
