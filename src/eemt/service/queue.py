"""The queue: which job starts next, and what becomes of those that run.

One thread looks at everything, once a second and whenever it is woken. What it knows stands in the database and in the
jobs' folders, so that it goes on where an earlier server was stopped or killed. Whatever goes wrong with one job does
not keep it from the others, and a database that is away is waited for.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from eemt.errors import InputError
from eemt.service import jobs, runs
from eemt.service.database import Database
from eemt.service.following import NEVER, SUPERVISOR_SECONDS, Complaints, Follower, is_away
from eemt.service.models import Job, RuleProgress
from eemt.service.settings import Settings

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
WAIT_SECONDS = 10.0  # at most, after an error


class Holder(Protocol):
    """What tells whether this server may run jobs."""

    @property
    def holds(self) -> bool:
        """Whether it may just now."""


class Queue:
    """Starts jobs in fair order and follows them.

    Parameters
    ----------
    settings : Settings
        The operator's.
    database : Database
        Of the jobs.
    lease : Holder, optional
        The right to run them; without one it is taken for granted.
    """

    def __init__(self, settings: Settings, database: Database, lease: Holder | None = None) -> None:
        self.settings = settings
        self.database = database
        self.lease = lease
        self.complaints = Complaints()
        self.follower = Follower(settings, database, self.complaints)
        self._disk_is_low = False
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take up what runs, and begin.

        Raises
        ------
        InputError
            When jobs could not be run at all: workflow or profile are not there.
        """
        runs.command(self.settings, "")
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop starting jobs; those that run go on or end, as the settings say."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(60)
            self._thread = None
        if self.settings.at_stop == "end" and self._holds:
            self._end_all()
        self.follower.close()

    def wake(self) -> None:
        """Look now, since something was submitted or cancelled."""
        self._wake.set()

    def look(self) -> None:
        """Look at all jobs once: follow those that run, start those that may.

        Raises
        ------
        SQLAlchemyError
            When the database cannot be asked.
        """
        self.follower.mind_the_clock()
        if not self._holds:
            return
        running = self._running()
        for job_id in running:
            self._guarded(job_id, self.follower.follow, job_id)
        self.follower.keep(running)
        self._guarded("", self._fill)

    @property
    def _holds(self) -> bool:
        return self.lease is None or self.lease.holds

    def _work(self) -> None:
        wait = LOOK_SECONDS
        while not self._ending.is_set():
            try:
                self.look()
            except SQLAlchemyError as error:
                wait = min(2 * wait, WAIT_SECONDS)
                self.complaints.add("", error, "the database cannot be asked; jobs go on, and are looked at again")
            except Exception as error:
                wait = min(2 * wait, WAIT_SECONDS)
                self.complaints.add("", error, "the queue cannot be looked at", with_traceback=True)
            else:
                wait = LOOK_SECONDS
            self._wake.wait(wait)
            self._wake.clear()

    def _guarded(self, job_id: str, step: Callable[..., None], *arguments: Any) -> None:
        """Take a step that may fail without harm to others; a database that fails does so for all."""
        try:
            step(*arguments)
        except OSError as error:
            self.complaints.add(job_id, error, f"{error.filename or 'a file'} cannot be used")
        except Exception as error:
            if is_away(error):
                raise
            self.complaints.add(job_id, error, "it cannot be looked at", with_traceback=True)

    def _running(self) -> list[str]:
        with self.database.reading() as session:
            query = select(Job.id).where(Job.state == "running").order_by(Job.started, Job.id)
            return list(session.scalars(query))

    def _end_all(self) -> None:
        """End what runs and put it back into the queue, for the next server."""
        until = time.monotonic() + self.settings.grace_seconds + 2 * SUPERVISOR_SECONDS
        while time.monotonic() < until:
            try:
                running = self._running()
                if not running:
                    return
                for job_id in running:
                    self._guarded(job_id, self.follower.end_for_stop, job_id)
            except SQLAlchemyError as error:
                self.complaints.add("", error, "the database cannot be asked")
            time.sleep(0.2)

    def _fill(self) -> None:
        """Start jobs as long as more may run."""
        while not self._ending.is_set() and self._holds:
            with self.database.reading() as session:
                running = session.scalar(select(func.count()).select_from(Job).where(Job.state == "running")) or 0
                if running >= self.settings.running:
                    return
                job_id = next_job(session, self.follower.waits_for_another_try())
            if job_id is None or not self._has_disk() or not self._has_command():
                return
            job = self._claim(job_id)
            if job is not None:
                self.follower.launch(job)

    def _has_disk(self) -> bool:
        """Tell whether there is disk for another job; where there is none, say so once to those who wait."""
        free = shutil.disk_usage(self.settings.jobs).free
        is_low = free < self.settings.least_free_bytes
        if is_low and not self._disk_is_low:
            needed = self.settings.least_free_bytes
            text = f"waiting for disk: {free / 1e9:.1f} GB are free, and {needed / 1e9:.1f} GB are needed"
            LOG.warning("no job is started: %s", text)
            with self.database.session() as session:
                waiting = select(Job.id).where(Job.state == "pending", Job.deleted.is_(None))
                for job_id in session.scalars(waiting).all():
                    jobs.tell(session, job_id, "message", text=text)
        elif self._disk_is_low and not is_low:
            LOG.warning("there is disk again; jobs are started")
        self._disk_is_low = is_low
        return not is_low

    def _has_command(self) -> bool:
        """Tell whether jobs can be run; an operator's profile that is away for a while fails none of them."""
        try:
            runs.command(self.settings, "")
        except InputError as error:
            self.complaints.add("", error, "no job is started")
            return False
        return True

    def _claim(self, job_id: str) -> Job | None:
        """Take a job from the queue, if it still waits there."""
        with self.database.session() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or job.state != "pending" or job.deleted is not None:
                return None
            jobs.change(session, job, "running")
            session.query(RuleProgress).filter(RuleProgress.job_id == job_id).delete()
            job.process, job.steps_done, job.steps_total = None, 0, 0
        return job


def next_job(session: Session, but: set[str] | None = None) -> str | None:
    """Return the job whose turn it is, if any waits.

    Of the users who have jobs that wait it is the turn of the one with fewest running, then of the one whose last job
    started longest ago, then of the one whose job waits longest; of the user's jobs it is the oldest.

    Parameters
    ----------
    but : set of str, optional
        Jobs whose turn it is not yet.
    """
    waiting = select(Job.id, Job.user_id, Job.queued).where(Job.state == "pending", Job.deleted.is_(None))
    first: dict[str, tuple[datetime, str]] = {}
    for job_id, user_id, queued in session.execute(waiting.order_by(Job.queued, Job.created, Job.id)):
        if user_id not in first and job_id not in (but or ()):
            first[user_id] = queued, job_id
    if not first:
        return None
    number = select(Job.user_id, func.count()).where(Job.state == "running").group_by(Job.user_id)
    running: dict[str, int] = dict(session.execute(number).tuples().all())
    last = select(Job.user_id, func.max(Job.started)).where(Job.user_id.in_(first)).group_by(Job.user_id)
    started: dict[str, datetime | None] = dict(session.execute(last).tuples().all())
    turn = min(first, key=lambda user: (running.get(user, 0), started.get(user) or NEVER, *first[user]))
    return first[turn][1]
