"""What brings jobs' results to the archive and back: ``eemt archive`` and ``eemt retrieve``, a few at a time.

Both go on where they were broken off, so that all there is to do after a restart, or a kill, is to run them again. A
command that outlived the server which began it is let go on, and run again when it has ended, to learn how that went.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import threading
import time

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from eemt.service import archives, audit, depositing, jobs, runs
from eemt.service.archives import UNDER_WAY, ArchivalState, Fault
from eemt.service.database import Database
from eemt.service.depositing import Deposit
from eemt.service.following import Complaints
from eemt.service.models import Archive, Job
from eemt.service.queue import Holder
from eemt.service.settings import Settings
from eemt.sql import now

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
WATCH_SECONDS = 0.2  # while something is under way
WAIT_SECONDS = 10.0  # at most, after an error
AGAIN_SECONDS = 30.0  # after a command was ended from outside
LONGEST_END_SECONDS = 30.0  # that commands have at a stop, at most


class Archiver:
    """Starts commands and follows them to their end.

    Parameters
    ----------
    settings : Settings
        The operator's.
    database : Database
        Of the jobs.
    lease : Holder, optional
        The right to run commands; without one it is taken for granted.
    """

    def __init__(self, settings: Settings, database: Database, lease: Holder | None = None) -> None:
        self.settings = settings
        self.database = database
        self.lease = lease
        self.complaints = Complaints()
        self.running: dict[str, Deposit] = {}
        self._told: dict[str, tuple[str, str | None]] = {}  # of those that run: state and message
        self._not_before: dict[str, float] = {}
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take up what was under way, and begin.

        Raises
        ------
        InputError
            When the config file of the archive cannot be used.
        """
        if depositing.settings_of_archive(self.settings) is None:
            self._give_up()
            return
        self._ending.clear()
        self._thread = threading.Thread(target=self._work, name="archiver", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Interrupt what runs; the next server goes on with it."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(60)
            self._thread = None
            self._end_all()

    def wake(self) -> None:
        """Look now, since something was asked for."""
        self._wake.set()

    def look(self) -> None:
        """Look at all commands once: follow those that run, start those that may.

        Raises
        ------
        SQLAlchemyError
            When the database cannot be asked.
        """
        for running in list(self.running.values()):
            self._follow(running)
        if self.lease is None or self.lease.holds:
            self._fill()

    def _work(self) -> None:
        wait = LOOK_SECONDS
        while not self._ending.is_set():
            try:
                self.look()
            except SQLAlchemyError as error:
                wait = min(2 * max(wait, LOOK_SECONDS), WAIT_SECONDS)
                self.complaints.add("", error, "the database cannot be asked; archiving goes on")
            except Exception as error:
                wait = min(2 * max(wait, LOOK_SECONDS), WAIT_SECONDS)
                self.complaints.add("", error, "archiving cannot be looked at", with_traceback=True)
            else:
                wait = WATCH_SECONDS if self.running else LOOK_SECONDS
            self._wake.wait(wait)
            self._wake.clear()

    def _fill(self) -> None:
        """Start commands as long as more may run, those first that were asked for first."""
        if len(self.running) >= self.settings.archiving:
            return
        with self.database.reading() as session:
            query = select(Archive.job_id).where(Archive.state.in_(UNDER_WAY)).order_by(Archive.asked, Archive.job_id)
            waiting = [job_id for job_id in session.scalars(query) if job_id not in self.running]
        for job_id in waiting:
            if len(self.running) >= self.settings.archiving or self._ending.is_set():
                return
            if self._not_before.get(job_id, 0.0) <= time.monotonic():
                self._not_before.pop(job_id, None)
                self._take_up(job_id)

    def _take_up(self, job_id: str) -> None:
        """Begin a job's command, unless an earlier server's still runs."""
        with self.database.session() as session:
            row = session.get_one(Archive, job_id, with_for_update=True)
            job = session.get_one(Job, job_id)
            if row.state not in UNDER_WAY:
                return
            if row.action == "archive" and job.removed is not None:
                self._end(session, row, "failed", "The job's files were removed.", "user")
                return
            if row.state == "waiting" or row.message:
                archives.change(session, row, "retrieving" if row.action == "retrieve" else "packing")
            told = row.state, row.message
        try:
            running = depositing.begun_before(self.settings, row)
            goes_on = running is not None
            running = running or depositing.begin(self.settings, job, row)
        except OSError as error:
            self.complaints.add(job_id, error, f"{row.action} cannot be started")
            reason = f"{error.filename or 'a process'} cannot be used: {error.strerror}"
            self._settle(job_id, "failed", reason, "system")
            return
        self.running[job_id], self._told[job_id] = running, told
        LOG.info("job %s: %s %s", job_id, row.action, "goes on from before the start" if goes_on else "begins")

    def _follow(self, running: Deposit) -> None:
        """See how far a command is, and how it ended."""
        is_over = running.is_over
        for state, message in running.steps():
            if (state, message) != self._told[running.job_id]:
                self._settle(running.job_id, state, message)
                self._told[running.job_id] = state, message
        if not is_over:
            return
        # how one ended that an earlier server began is known to nobody: run again, it finds all done or goes on
        if running.child is not None:
            self._conclude(running, running.child.returncode)
        del self.running[running.job_id]

    def _conclude(self, running: Deposit, code: int) -> None:
        """Bring a job into the state that its command's end says."""
        if code == 0:
            self._finish(running)
        elif code in depositing.ASKED_TO_END:
            # as by whoever shuts the machine down: the next server, or this one after a while, goes on
            self._not_before[running.job_id] = time.monotonic() + AGAIN_SECONDS
            self._settle(running.job_id, "waiting", "It was interrupted, and goes on from there.")
        else:
            why = running.why(code)
            if running.action == "retrieve":
                shutil.rmtree(running.log.parent, ignore_errors=True)
            self._settle(running.job_id, "failed", *why)
        LOG.info("job %s: %s ended with code %d", running.job_id, running.action, code)

    def _finish(self, running: Deposit) -> None:
        """Write down what a command has brought about."""
        try:
            if running.action == "retrieve":
                self._take_back(running)
            else:
                self._take_in(running)
        except OSError as error:
            self.complaints.add(running.job_id, error, f"{running.action} cannot be finished")
            self._settle(running.job_id, "failed", f"What it made cannot be used: {error.strerror}.", "system")

    def _take_in(self, running: Deposit) -> None:
        """Write down as what a job is archived."""
        place = jobs.folder(self.settings, running.job_id)
        identifier = str(json.loads((place / depositing.RECEIPT).read_text(encoding="utf-8"))["identifier"])
        octets = runs.size(place / "results")
        with self.database.session() as session:
            row = session.get_one(Archive, running.job_id, with_for_update=True)
            row.identifier, row.bytes = identifier, octets
            self._end(session, row, "archived")

    def _take_back(self, running: Deposit) -> None:
        """Put what came back where the job's files were, of which some may still be about to be removed."""
        place, back = jobs.folder(self.settings, running.job_id), running.log.parent
        aside = back.with_suffix(".old")
        octets = runs.size(back if back.is_dir() else place)
        with self.database.session() as session:
            job = session.get_one(Job, running.job_id, with_for_update=True)
            row = session.get_one(Archive, running.job_id, with_for_update=True)
            if back.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
                if place.exists():
                    place.rename(aside)
                back.rename(place)
            job.removed, job.bytes, row.brought = None, octets, now()
            self._end(session, row, "retrieved")
        shutil.rmtree(aside, ignore_errors=True)

    def _settle(
        self, job_id: str, state: ArchivalState, message: str | None = None, fault: Fault | None = None
    ) -> None:
        with self.database.session() as session:
            row = session.get_one(Archive, job_id, with_for_update=True)
            if state in UNDER_WAY:
                archives.change(session, row, state, message, fault)
            else:
                self._end(session, row, state, message, fault)

    @staticmethod
    def _end(
        session: Session, row: Archive, state: ArchivalState, message: str | None = None, fault: Fault | None = None
    ) -> None:
        """Bring a job into the state that it stays in, and write that to the audit trail."""
        archives.change(session, row, state, message, fault)
        told = {"identifier": row.identifier, "message": message, "fault": fault}
        action = f"job.{row.action}.failed" if state == "failed" else f"job.{state}"
        audit.write(session, action, target=row.job_id, **{name: value for name, value in told.items() if value})

    def _end_all(self) -> None:
        """Interrupt the commands that run, as Ctrl-C would, kill those that do not end, and put all back."""
        until = time.monotonic() + min(self.settings.grace_seconds, LONGEST_END_SECONDS)
        for running in self.running.values():
            running.send(signal.SIGINT)
        while self.running:
            late = time.monotonic() > until
            for running in list(self.running.values()):
                if late:
                    running.send(signal.SIGKILL)
                if running.is_over:
                    self._put_back(running)
            time.sleep(0.05)

    def _put_back(self, running: Deposit) -> None:
        del self.running[running.job_id]
        try:
            if running.child is not None and running.child.returncode == 0:
                self._finish(running)
            else:
                self._settle(running.job_id, "waiting", "The service was stopped; it goes on when it starts.")
        except SQLAlchemyError as error:
            # the next server runs again what is not said to have ended
            self.complaints.add(running.job_id, error, "the database cannot be asked")

    def _give_up(self) -> None:
        """End what waits for an archive that the operator has taken away."""
        with self.database.session() as session:
            for row in session.scalars(select(Archive).where(Archive.state.in_(UNDER_WAY))):
                self._end(session, row, "failed", "The service has no archive any more.", "system")
