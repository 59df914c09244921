"""What brings jobs' results to the archive and back: ``eemt archive`` and ``eemt retrieve``, a few at a time.

Both go on where they were broken off, so that all there is to do after a restart, or a kill, is to run them again. A
command that outlived the server which began it is let go on, and run again when it has ended, to learn how that went.
What is called off is interrupted, and what it had begun is given up by ``eemt archive --discard``; so is what a failed
archiving left, when the files of its job are removed.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from eemt.service import archives, audit, depositing, jobs, runs
from eemt.service.archives import UNDER_WAY, ArchivalState, Fault
from eemt.service.database import Database
from eemt.service.depositing import Deposit, Work
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
GIVE_UP_AGAIN_SECONDS = 600.0  # after what was begun of removed results could not be removed
LONGEST_END_SECONDS = 30.0  # that commands have at a stop, and when they are called off, at most


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
            self._end_without_archive()
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
            with self.database.reading() as session:
                there = select(Archive.job_id, Archive.state).where(Archive.state.in_(UNDER_WAY))
                asked = session.execute(there.order_by(Archive.asked, Archive.job_id)).tuples().all()
            self._call_off([job_id for job_id, state in asked if state == "ending"])
            self._fill([job_id for job_id, state in asked if state != "ending" and job_id not in self.running])

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

    def _fill(self, waiting: Iterable[str]) -> None:
        """Start commands as long as more may run, those first that were asked for first."""
        for job_id in waiting:
            if len(self.running) >= self.settings.archiving or self._ending.is_set():
                return
            if self._may_begin(job_id):
                self._take_up(job_id)

    def _may_begin(self, job_id: str) -> bool:
        if self._not_before.get(job_id, 0.0) > time.monotonic():
            return False
        self._not_before.pop(job_id, None)
        return True

    def _call_off(self, asked: Iterable[str]) -> None:
        """Interrupt commands that are called off, and give up what they had begun when they have ended."""
        for job_id in asked:
            running = self.running.get(job_id)
            if self._ending.is_set():
                return
            if running is None:
                # nobody waits for a place in the row to be rid of something
                if self._may_begin(job_id):
                    self._give_up(job_id)
            elif running.action != "discard" and not running.has_archived:
                running.end(self._grace)

    @property
    def _grace(self) -> float:
        return min(self.settings.grace_seconds, LONGEST_END_SECONDS)

    def _give_up(self, job_id: str) -> None:
        """Give up what was begun of a job, or say that it is called off where that is nothing."""
        with self.database.reading() as session:
            row, job = session.get_one(Archive, job_id), session.get_one(Job, job_id)
        # it may have come to its end when an earlier server could no longer say so
        is_archived = row.action == "archive" and job.removed is None and self._receipt(job_id).is_file()
        try:
            running = depositing.begun_before(self.settings, row)
            gives_up = row.action == "archive" and not is_archived and depositing.has_begun(self.settings, job)
            if running is None and gives_up:
                running = depositing.begin(self.settings, job, row, "discard")
        except OSError as error:
            self.complaints.add(job_id, error, "what was begun of its archiving cannot be given up")
            self._not_before[job_id] = time.monotonic() + AGAIN_SECONDS
            return
        if running is not None:
            self.running[job_id], self._told[job_id] = running, ("ending", None)
        elif is_archived:
            self._take_in(job_id)
        else:
            self._settle_called_off(job_id)

    def _settle_called_off(self, job_id: str) -> None:
        """Bring a job into the state of before, and remove the rest of files that were removed already."""
        shutil.rmtree(depositing.folder(self.settings, job_id, "retrieve"), ignore_errors=True)
        with self.database.session() as session:
            job = session.get_one(Job, job_id, with_for_update=True)
            row = session.get_one(Archive, job_id, with_for_update=True)
            if row.state != "ending":
                return
            is_removed = job.removed is not None and row.action == "archive"
            what = "job.archive.discarded" if is_removed else f"job.{row.action}.cancelled"
            audit.write(session, what, target=job_id)
            archives.settle_called_off(session, row)
        if is_removed:
            shutil.rmtree(jobs.folder(self.settings, job_id), ignore_errors=True)
        LOG.info("job %s: %s", job_id, "what its archiving left is removed" if is_removed else "called off")

    def _take_up(self, job_id: str) -> None:
        """Begin a job's command, unless an earlier server's still runs."""
        with self.database.session() as session:
            row = session.get_one(Archive, job_id, with_for_update=True)
            job = session.get_one(Job, job_id)
            if row.state not in UNDER_WAY or row.state == "ending":
                return
            if row.action == "archive" and job.removed is not None:
                self._end(session, row, "failed", "The job's files were removed.", "user")
                return
            if row.state == "waiting" or row.message:
                archives.change(session, row, "retrieving" if row.action == "retrieve" else "packing")
            told = row.state, row.message
            work: Work = "retrieve" if row.action == "retrieve" else "archive"
        try:
            running = depositing.begun_before(self.settings, row)
            goes_on = running is not None
            running = running or depositing.begin(self.settings, job, row, work)
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
        elif running.action == "discard":
            self._fail_to_discard(running, code)
        elif running.kill_after is not None and running.has_archived:
            # it was too late to call it off: what is left to be done is to tell catalogues
            self._settle(running.job_id, "waiting", "It was archived already when it was called off.", anyway=True)
        elif code in depositing.ASKED_TO_END:
            self._interrupted(running, "It was interrupted, and goes on from there.")
        else:
            self._fail(running, code)
        LOG.info("job %s: %s ended with code %d", running.job_id, running.action, code)

    def _interrupted(self, running: Deposit, message: str) -> None:
        """Have a command run again: by the next server, or by this one after a while; but not what is called off."""
        if running.kill_after is None:
            # as by whoever shuts the machine down
            self._not_before[running.job_id] = time.monotonic() + AGAIN_SECONDS
        self._settle(running.job_id, "waiting", message)

    def _fail(self, running: Deposit, code: int) -> None:
        """Say why a command failed, if it was not ended by being called off."""
        failure = running.why(code)
        if running.action == "retrieve":
            shutil.rmtree(running.log.parent, ignore_errors=True)
        if failure.is_taken:
            self._interrupted(running, failure.message)
            return
        if running.kill_after is None:
            LOG.warning("job %s: %s failed: %s", running.job_id, running.action, failure.reason)
        # what is archived is not to be given up, though it could not be told to all
        self._settle(running.job_id, "failed", failure.message, failure.fault, anyway=running.has_archived)

    def _fail_to_discard(self, running: Deposit, code: int) -> None:
        """Try again later to give up what was begun, or say that it cannot be where its user waits for that."""
        job_id = running.job_id
        failure = running.why(code)
        if code in depositing.ASKED_TO_END or failure.is_taken:
            self._not_before[job_id] = time.monotonic() + AGAIN_SECONDS
            return
        LOG.warning("job %s: what was begun of its archiving cannot be removed: %s", job_id, failure.reason)
        with self.database.reading() as session:
            is_removed = session.get_one(Job, job_id).removed is not None
        if is_removed:
            self._not_before[job_id] = time.monotonic() + GIVE_UP_AGAIN_SECONDS
            return
        told = f"It was called off, but what was begun of it cannot be removed. {failure.message}"
        self._settle(job_id, "failed", told, "system", anyway=True)

    def _finish(self, running: Deposit) -> None:
        """Write down what a command has brought about."""
        try:
            match running.action:
                case "retrieve":
                    self._take_back(running)
                case "archive":
                    self._take_in(running.job_id)
                case _:
                    self._settle_called_off(running.job_id)
        except OSError as error:
            self.complaints.add(running.job_id, error, f"{running.action} cannot be finished")
            self._settle(running.job_id, "failed", f"What it made cannot be used: {error.strerror}.", "system")

    def _take_in(self, job_id: str) -> None:
        """Write down as what a job is archived."""
        receipt = self._receipt(job_id)
        identifier = str(json.loads(receipt.read_text(encoding="utf-8"))["identifier"])
        octets = runs.size(jobs.folder(self.settings, job_id) / "results")
        with self.database.session() as session:
            row = session.get_one(Archive, job_id, with_for_update=True)
            row.identifier, row.bytes = identifier, octets
            self._end(session, row, "archived")
        receipt.unlink(missing_ok=True)

    def _receipt(self, job_id: str) -> Path:
        return jobs.folder(self.settings, job_id) / depositing.RECEIPT

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
        self,
        job_id: str,
        state: ArchivalState,
        message: str | None = None,
        fault: Fault | None = None,
        anyway: bool = False,
    ) -> None:
        """Bring a job into another state, unless it is called off, or anyway."""
        with self.database.session() as session:
            row = session.get_one(Archive, job_id, with_for_update=True)
            if row.state == "ending" and not anyway:
                return
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
        while self.running:
            for running in list(self.running.values()):
                if running.is_over:
                    self._put_back(running)
                else:
                    running.end(self._grace)
            time.sleep(0.05)

    def _put_back(self, running: Deposit) -> None:
        del self.running[running.job_id]
        try:
            if running.child is not None and running.child.returncode == 0:
                self._finish(running)
            else:
                told = "The service was stopped; it goes on when it starts."
                # what is archived can no longer be called off
                self._settle(running.job_id, "waiting", told, anyway=running.has_archived)
        except SQLAlchemyError as error:
            # the next server runs again what is not said to have ended
            self.complaints.add(running.job_id, error, "the database cannot be asked")

    def _end_without_archive(self) -> None:
        """End what waits for an archive that the operator has taken away."""
        with self.database.session() as session:
            called_off = list(session.scalars(select(Archive.job_id).where(Archive.state == "ending")))
            for row in session.scalars(select(Archive).where(Archive.state.in_(UNDER_WAY), Archive.state != "ending")):
                self._end(session, row, "failed", "The service has no archive any more.", "system")
        for job_id in called_off:
            self._settle_called_off(job_id)
