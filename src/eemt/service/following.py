"""What becomes of jobs that run: starting them, seeing that they live, ending them, and bringing them to their end.

What is known of a run stands in the database and in the job's folder, so that it is followed on where an earlier server
was stopped or killed.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError  # noqa: A004 - of the pool
from sqlalchemy.orm import Session

from eemt.errors import InputError
from eemt.service import events, failures, jobs, processes, runs, supervise
from eemt.service.database import Database
from eemt.service.models import Job, State
from eemt.service.processes import Identity
from eemt.service.settings import Settings
from eemt.sql import now

LOG = logging.getLogger(__name__)
START_AGAIN_SECONDS = 30.0  # after a start that failed, or a job that was lost twice
SUPERVISOR_SECONDS = 15.0  # that a supervisor has beyond the run's time of grace
MOST_RETURNS = 3  # in a row without progress
LEAVE_SECONDS = 5.0  # that a supervisor takes to end when all is said, at most
SIGN_SECONDS = 15.0  # between notes of a sign of life
LOGS_SECONDS = 60.0  # between looks at the logs of rules
MEASURE_SECONDS = 600.0  # between looks at what a running job takes of the disk
CLOCK_JUMP_SECONDS = 60.0
SAME_ERROR_SECONDS = 60.0
NEVER = datetime.min.replace(tzinfo=UTC)


def is_away(error: Exception) -> bool:
    """Tell whether an error says that the database cannot be asked just now, for this job or for another."""
    return isinstance(error, (OperationalError, InterfaceError, TimeoutError))


class Complaints:
    """Errors in the log, the same one of the same job not more than once a minute."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], float] = {}

    def add(self, job_id: str, error: Exception, what: str, with_traceback: bool = False) -> None:
        """Log an error, unless it was logged just now.

        Parameters
        ----------
        job_id : str
            Whose; empty where it is of no one job.
        error : Exception
            What happened.
        what : str
            What it means.
        with_traceback : bool
            Whether it is a mistake of ours, to be found by its traceback.
        """
        key = job_id, type(error).__name__
        if time.monotonic() - self._at.get(key, float("-inf")) >= SAME_ERROR_SECONDS:
            self._at[key] = time.monotonic()
            whose = f"job {job_id}: " if job_id else ""
            reason = " ".join(str(error).split())
            LOG.error("%s%s: %s", whose, what, reason, exc_info=error if with_traceback else None)


@dataclass
class Started:
    """A run that this server itself began."""

    attempt: int
    identity: Identity
    child: subprocess.Popen[bytes]


class Follower:
    """Starts runs and follows them to their end.

    Parameters
    ----------
    settings : Settings
        The operator's.
    database : Database
        Of the jobs.
    complaints : Complaints
        Where errors go.
    """

    def __init__(self, settings: Settings, database: Database, complaints: Complaints) -> None:
        self.settings = settings
        self.database = database
        self.complaints = complaints
        self.reader = events.Reader(database)
        self.started: dict[str, Started] = {}
        self.leaving: list[subprocess.Popen[bytes]] = []  # that have said how it went, and end now
        self._known: set[str] = set()  # that were looked at
        self._not_before: dict[str, float] = {}
        self._logs_seen: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self._clock = time.monotonic(), time.time()
        self._awake_since = NEVER  # before then the clock jumped, or the machine slept
        self._measuring = ThreadPoolExecutor(1, thread_name_prefix="sizes")

    def close(self) -> None:
        """Begin nothing more, and let go of what has ended."""
        self._measuring.shutdown(wait=False, cancel_futures=True)
        for child in self.leaving:
            with suppress(subprocess.TimeoutExpired):
                child.wait(LEAVE_SECONDS)
        for started in self.started.values():
            if started.child.poll() is None:
                started.child.returncode = 0  # goes on without us, and nobody is to be warned of it

    def mind_the_clock(self) -> None:
        """Note when the clock jumps, or the machine sleeps, so that no job is taken for hung because of it."""
        steady, clock = time.monotonic(), time.time()
        before_steady, before_clock = self._clock
        self._clock = steady, clock
        if abs((clock - before_clock) - (steady - before_steady)) > CLOCK_JUMP_SECONDS:
            LOG.warning("the clock jumped by %.0f s", (clock - before_clock) - (steady - before_steady))
            self._awake_since = now()

    def keep(self, running: list[str]) -> None:
        """Forget all but jobs that run."""
        for job_id in self._known.difference(running):
            self._forget(job_id)
        self._known = set(running)
        self.leaving = [child for child in self.leaving if child.poll() is None]

    def waits_for_another_try(self) -> set[str]:
        """Return the jobs whose start has failed just now."""
        self._not_before = {job: at for job, at in self._not_before.items() if at > time.monotonic()}
        return set(self._not_before)

    def launch(self, job: Job) -> None:
        """Begin a job's run."""
        try:
            identity, child = runs.start(self.settings, job)
        except (InputError, OSError) as error:
            self.complaints.add(job.id, error, "it cannot be started")
            reason = f"{error.filename or 'a process'}: {error.strerror}" if isinstance(error, OSError) else str(error)
            self._put_back_now(job, f"it cannot be started: {reason}")
            return
        self.started[job.id] = Started(job.attempt, identity, child)
        self._known.add(job.id)
        LOG.info("job %s: attempt %d begins, process %d", job.id, job.attempt, identity.pid)
        self._note(job.id, job.attempt, **identity.as_json())

    def follow(self, job_id: str) -> None:
        """See what became of a running job."""
        with self.database.reading() as session:
            job = session.get(Job, job_id)
        if job is None or job.state != "running":
            return
        place = jobs.folder(self.settings, job_id)
        identity = self._supervisor(job, place)
        if identity is None:
            # a server was killed after it took the job from the queue and before it began the run
            self.launch(job)
            return
        if job_id not in self._known and job_id not in self.started:
            LOG.info("job %s is taken up again: attempt %d, process %d", job_id, job.attempt, identity.pid)
        lives = identity.is_alive
        try:
            self.reader.take(job_id, place, at_end=not lives)
        except Exception as error:
            if is_away(error):
                raise
            self.complaints.add(job_id, error, "its events cannot be read")
        if lives:
            self._watch(job, identity, place)
            self._measure_now_and_then(job_id, place)
        else:
            self._conclude(job, identity, place)

    def _supervisor(self, job: Job, place: Path) -> Identity | None:
        """Return the process that runs a job, which the database, this server or the job's folder knows."""
        started = self.started.get(job.id)
        if started is not None and started.attempt != job.attempt:
            self._let_go(job.id)
            started = None
        if started is not None:
            started.child.poll()  # lets go of it when it has ended
        if noted := processes.from_json(job.process):
            return noted
        found = started.identity if started else runs.recorded(place, job.attempt)
        if found is not None:
            self._note(job.id, job.attempt, **found.as_json())
        return found

    def _note(self, job_id: str, attempt: int, **more: Any) -> dict[str, Any] | None:
        """Add to what the database says of a job's process, and return all of it."""
        with self.database.session() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or job.state != "running" or job.attempt != attempt:
                return None
            job.process = {**(job.process or {}), **more}
            return job.process

    def _watch(self, job: Job, identity: Identity, place: Path) -> None:
        """End a job that is to end, and see whether it gives signs of life."""
        ending = (job.process or {}).get("ending")
        if ending is None or (job.cancel is not None and ending["state"] != "cancelled"):
            ending = self._reason_to_end(job, place) or ending
            if ending is not None:
                self._note(job.id, job.attempt, ending=ending)
        if ending is None:
            return
        runs.ask_to_end(identity)
        asked = datetime.fromisoformat(ending["at"])
        if now() - asked > timedelta(seconds=self.settings.grace_seconds + SUPERVISOR_SECONDS):
            LOG.warning("job %s does not end by itself and is killed", job.id)
            processes.send(processes.members(job.id, identity.pid), signal.SIGKILL)

    def _reason_to_end(self, job: Job, place: Path) -> dict[str, str] | None:
        if job.cancel is not None or job.deleted is not None:
            return _ending("cancelled", "cancelled")
        if self._is_over_time(job):
            hours = f"{self.settings.longest_hours:g}"
            return _ending("failed", f"ended: it ran longer than {hours} hours, the longest that a job may run")
        sign = self._sign(job, place)
        if now() - max(sign, self._awake_since) > timedelta(hours=self.settings.stall_hours):
            hours = f"{self.settings.stall_hours:g}"
            return _ending(
                "failed", f"ended as hung: no sign of life for {hours} hours, since {sign:%Y-%m-%d %H:%M} UTC"
            )
        return None

    def _is_over_time(self, job: Job) -> bool:
        return job.started is not None and now() - job.started > timedelta(hours=self.settings.longest_hours)

    def _sign(self, job: Job, place: Path) -> datetime:
        """Return a job's last sign of life; the many logs of rules are looked at where there is no other."""
        sign = max(job.last_sign or NEVER, job.started or NEVER, min(runs.last_sign(place) or NEVER, now()))
        patience = timedelta(hours=self.settings.stall_hours) / 2
        waited = time.monotonic() - self._logs_seen.get(job.id, float("-inf"))
        if now() - sign > patience and waited > min(LOGS_SECONDS, patience.total_seconds() / 4):
            self._logs_seen[job.id] = time.monotonic()
            sign = max(sign, min(runs.last_sign(place, with_logs=True) or NEVER, now()))
        if job.last_sign is None or sign - job.last_sign > timedelta(seconds=SIGN_SECONDS):
            with self.database.session() as session:
                present = session.get(Job, job.id, with_for_update=True)
                if present is not None and present.state == "running":
                    present.last_sign = sign
        return sign

    def _conclude(self, job: Job, identity: Identity, place: Path) -> None:
        """Bring a job whose supervisor is gone into the state that its end says."""
        started = self.started.get(job.id)
        if started is not None and started.child.returncode == supervise.ALREADY_RUNS:
            self._follow_other(job, place, identity)
            return
        end = runs.ended(place, job.attempt)
        if self._are_left(job):
            return
        ending = (job.process or {}).get("ending") or {}
        why = ""
        if end is not None and end.code > 0:
            with self.database.reading() as session:
                why = failures.why(session, job.id, place, end.code)
        with self.database.session() as session:
            present = session.get(Job, job.id, with_for_update=True)
            if present is None or present.state != "running" or present.attempt != job.attempt:
                return
            self._settle(session, present, end, ending, why)
            if end is not None and present.finished is not None:
                present.finished = min(end.at, present.finished)  # it may have ended while no server was there
            state, returns = present.state, present.returns
        LOG.info("job %s: attempt %d ended: %s", job.id, job.attempt, state)
        if state == "pending" and returns > 1:
            self._not_before[job.id] = time.monotonic() + START_AGAIN_SECONDS
        self._forget(job.id)
        self._measuring.submit(self._measure, job.id, place)

    def _follow_other(self, job: Job, place: Path, identity: Identity) -> None:
        """Take up the run that began before a server was killed, and keeps ours from beginning."""
        other = runs.recorded(place, job.attempt)
        if other is not None and other != identity:
            self._let_go(job.id)
            self._note(job.id, job.attempt, **other.as_json())
        elif other is None:
            self._put_back_now(job, "another run of it still goes on")

    def _are_left(self, job: Job) -> bool:
        """End what a killed supervisor left behind, first as Ctrl-C would; tell whether any is left."""
        left = processes.members(job.id)
        if not left:
            return False
        since = (job.process or {}).get("left")
        if since is None:
            LOG.warning("job %s: its supervisor is gone; %d processes of it are ended", job.id, len(left))
            self._note(job.id, job.attempt, left=now().isoformat())
            processes.send(left, signal.SIGINT)
        elif now() - datetime.fromisoformat(since) > timedelta(seconds=self.settings.grace_seconds):
            processes.send(left, signal.SIGKILL)
        return True

    def _settle(self, session: Session, job: Job, end: runs.End | None, ending: dict[str, str], why: str) -> None:
        events.stop_counting(session, job)
        if end is not None and end.code == 0:
            self._finish(session, job, "completed", None)
        elif job.cancel is not None or job.deleted is not None:
            self._finish(session, job, "cancelled", "cancelled")
        elif ending.get("state") == "failed":
            self._finish(session, job, "failed", ending["message"])
        elif ending.get("state") == "pending":
            _put_back(session, job, ending["message"])
        elif end is None:
            gone = "its process is gone, as after a start of the machine or container"
            self._put_back_or_fail(session, job, gone)
        elif end.asked or end.code < 0:
            by = signal.Signals(-end.code).name if end.code < 0 else "SIGTERM"
            self._put_back_or_fail(session, job, f"it was ended from outside, by {by}")
        else:
            self._finish(session, job, "failed", why)

    def _finish(self, session: Session, job: Job, state: State, message: str | None) -> None:
        job.returns = 0
        jobs.change(session, job, state, message)

    def _put_back_or_fail(self, session: Session, job: Job, why: str) -> None:
        """Put a job back that was lost, unless that happens again and again."""
        if job.returns >= MOST_RETURNS:
            message = f"{why}; given up after {MOST_RETURNS + 1} times in a row without progress"
            self._finish(session, job, "failed", message)
            return
        job.returns += 1
        _put_back(session, job, f"{why}; it goes on from what is finished")

    def _put_back_now(self, job: Job, why: str) -> None:
        """Put a job back whose run could not begin, for another try after a while."""
        with self.database.session() as session:
            present = session.get(Job, job.id, with_for_update=True)
            if present is not None and present.state == "running" and present.attempt == job.attempt:
                self._put_back_or_fail(session, present, why)
        self._forget(job.id)
        self._not_before[job.id] = time.monotonic() + START_AGAIN_SECONDS

    def _forget(self, job_id: str) -> None:
        self.reader.forget(job_id)
        self._let_go(job_id)
        self._logs_seen.pop(job_id, None)
        self._measured.pop(job_id, None)

    def _let_go(self, job_id: str) -> None:
        if started := self.started.pop(job_id, None):
            self.leaving.append(started.child)

    def _measure_now_and_then(self, job_id: str, place: Path) -> None:
        if time.monotonic() - self._measured.setdefault(job_id, time.monotonic()) > MEASURE_SECONDS:
            self._measured[job_id] = time.monotonic()
            self._measuring.submit(self._measure, job_id, place)

    def _measure(self, job_id: str, place: Path) -> None:
        """Write down what a job takes of the disk."""
        try:
            octets = runs.size(place)
            with self.database.session() as session:
                if job := session.get(Job, job_id, with_for_update=True):
                    job.bytes = octets
        except Exception as error:
            self.complaints.add(job_id, error, "its size is not known")

    def end_for_stop(self, job_id: str) -> None:
        """End a job and put it back into the queue, for the next server."""
        with self.database.session() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is not None and job.process is not None and "ending" not in job.process:
                job.process = {**job.process, "ending": _ending("pending", "the service was stopped")}
        self.follow(job_id)


def _put_back(session: Session, job: Job, why: str) -> None:
    """Put a running job back to its place in the queue."""
    queued = job.queued
    job.attempt += 1
    jobs.change(session, job, "pending", why)
    job.queued, job.message = queued, why


def _ending(state: State, message: str) -> dict[str, str]:
    return {"state": state, "message": message, "at": now().isoformat()}
