"""What Snakemake tells of a run, taken into the database: events for viewers, how far each rule is, signs of life.

`snakemake_logger_plugin_eemt` says what lines there are. They are read from where the last reading ended, and that
place is written with what was read in one transaction: a kill neither loses a line nor counts it twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from eemt.service.database import Database
from eemt.service.jobs import tell
from eemt.service.models import Event, Job, RuleProgress
from eemt.sql import now

FILE = "events.jsonl"
BATCH = 1_000_000  # bytes of a file that one transaction takes in
TAIL_LINES = 20
TAIL_BYTES = 8192
PROGRESS_SECONDS = 1.0
SIGN_SECONDS = 15.0  # between notes of a sign of life that brings nothing else


@dataclass
class Reader:
    """Takes in what runs write; one for all jobs, used by one thread."""

    database: Database
    clock: Callable[[], float] = time.monotonic
    read: dict[str, int] = field(default_factory=dict)  # of jobs' files, as far as it is known [bytes]
    told: dict[str, float] = field(default_factory=dict)  # when a job's progress was last told of
    untold: set[str] = field(default_factory=set)

    def take(self, job_id: str, folder: Path, at_end: bool = False) -> bool:
        """Take in what a run has written since the last time.

        Parameters
        ----------
        job_id : str
            The job.
        folder : path
            Its folder.
        at_end : bool
            Whether the run has ended: a last line without its end is then no line, and progress is told at once.

        Returns
        -------
        bool
            Whether there was anything.

        Raises
        ------
        OSError
            When the file is there and cannot be read.
        """
        found = False
        while self._take_batch(job_id, folder):
            found = True
        if job_id in self.untold and (at_end or self.clock() - self.told.get(job_id, 0.0) >= PROGRESS_SECONDS):
            with self.database.session() as session:
                if job := session.get(Job, job_id):
                    tell_progress(session, job)
            self.untold.discard(job_id)
            self.told[job_id] = self.clock()
        if at_end:
            self.forget(job_id)
        return found

    def forget(self, job_id: str) -> None:
        """Keep no more of a job, which is over."""
        self.read.pop(job_id, None)
        self.told.pop(job_id, None)
        self.untold.discard(job_id)

    def _take_batch(self, job_id: str, folder: Path) -> bool:
        begin = self.read.get(job_id)
        if begin is None:
            with self.database.reading() as session:
                begin = session.scalar(select(Job.events_read).where(Job.id == job_id))
        if begin is None:
            return False
        lines, end = read_lines(folder / FILE, begin)
        self.read[job_id] = begin
        if end == begin:
            return False
        tails = {number: tail_of_log(folder, line) for number, line in enumerate(lines) if _failed(line)}
        with self.database.session() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or job.events_read != begin:
                self.read.pop(job_id)
                return False
            job.events_read = end
            changed = apply(session, job, lines, tails)
        self.read[job_id] = end
        if changed:
            self.untold.add(job_id)
        return True


def _failed(line: Mapping[str, Any]) -> bool:
    return line.get("event") == "job_failed"


def read_lines(path: Path, begin: int) -> tuple[list[dict[str, Any]], int]:
    """Read whole lines from a place on and return them with the place behind them.

    A line that a full disk cut off, or that is no JSON, is left out; one that is not yet whole is left for later.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= begin:
                return [], size  # less than was read: another file than it was
            file.seek(begin)
            octets = file.read(BATCH)
    except FileNotFoundError:
        return [], begin
    cut = octets.rfind(b"\n") + 1
    if cut == 0:
        # as long as a batch and not yet ended: no line of ours
        return [], begin + len(octets) if len(octets) == BATCH else begin
    lines = []
    for text in octets[:cut].splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # of Unicode too
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines, begin + cut


def into_database(address: str, job_id: str) -> Callable[[list[dict[str, Any]]], None]:
    """Return the function by which the run itself takes its events into the service's database.

    Parameters
    ----------
    address : str
        Of the database.
    job_id : str
        The job that runs.
    """
    database = Database(address)
    folder = Path.cwd()

    def take(lines: list[dict[str, Any]]) -> None:
        tails = {number: tail_of_log(folder, line) for number, line in enumerate(lines) if _failed(line)}
        with database.session() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is not None and apply(session, job, lines, tails):
                told = select(func.max(Event.at)).where(Event.job_id == job_id, Event.kind == "progress")
                last = session.scalar(told)
                is_time = last is None or now() - last >= timedelta(seconds=PROGRESS_SECONDS)
                if is_time or any(line.get("event") == "progress" and line["done"] == line["total"] for line in lines):
                    tell_progress(session, job)

    return take


def apply(
    session: Session, job: Job, lines: Iterable[Mapping[str, Any]], tails: Mapping[int, list[str]] | None = None
) -> bool:
    """Write down what lines say of a job and return whether its progress has changed.

    Parameters
    ----------
    lines : iterable of mapping
        As the logger writes them.
    tails : mapping of int to list of str, optional
        The last lines of the logs of jobs that failed, by the number of the line that says so.
    """
    tally = Tally(session, job)
    for number, line in enumerate(lines):
        try:
            tally.take(line, (tails or {}).get(number, []))
        except (KeyError, TypeError, ValueError):
            continue  # not ours, or of another version
    return tally.has_changed


class Tally:
    """How far a job and each of its rules are, brought up to date line by line."""

    def __init__(self, session: Session, job: Job) -> None:
        self.session = session
        self.job = job
        query = select(RuleProgress).where(RuleProgress.job_id == job.id)
        self.rules = {row.rule: row for row in session.scalars(query)}
        self.has_changed = False

    def take(self, line: Mapping[str, Any], tail: list[str]) -> None:
        """Take one line in."""
        at = _instant(line["at"])
        if self.job.last_sign is None or at > self.job.last_sign:
            self.job.last_sign = min(at, now())
        match line["event"]:
            case "workflow_started":
                self._begin()
            case "totals":
                self.job.steps_total = int(line["total"])
                for rule, count in line["rules"].items():
                    self._rule(rule).total = int(count)
            case "job_started":
                self._start(line, at)
            case "job_finished":
                self._finish(line, at)
            case "job_failed":
                self._fail(line, at, tail)
            case "progress":
                self.job.steps_done, self.job.steps_total = int(line["done"]), int(line["total"])
            case "error" | "warning":
                self._tell(at, "message", text=str(line["text"])[:TAIL_BYTES], level=line["event"])
                return
            case _:
                return
        self.has_changed = True

    def _begin(self) -> None:
        self.session.flush()
        for row in self.rules.values():
            self.session.delete(row)
        self.session.flush()
        self.rules.clear()
        self.job.steps_done = self.job.steps_total = 0

    def _start(self, line: Mapping[str, Any], at: datetime) -> None:
        rule = self._rule(line["rule"])
        rule.running += 1
        if line.get("again"):
            rule.failed = max(rule.failed - 1, 0)
        data = {name: line.get(name) for name in ("rule", "jobid", "message", "wildcards")}
        self._tell(at, "rule_started", **data, log=next(iter(line.get("log") or []), None))

    def _finish(self, line: Mapping[str, Any], at: datetime) -> None:
        rule = self._rule(line["rule"])
        rule.running = max(rule.running - 1, 0)
        rule.done += 1
        rule.seconds += float(line["seconds"])
        self.job.steps_done += 1  # until Snakemake's own count, which follows
        self.job.returns = 0
        self._tell(at, "rule_finished", rule=line["rule"], jobid=line["jobid"], seconds=line["seconds"])

    def _fail(self, line: Mapping[str, Any], at: datetime, tail: list[str]) -> None:
        rule = self._rule(line["rule"])
        rule.running = max(rule.running - 1, 0)
        rule.failed += 1
        log = next(iter(line.get("log") or []), None)
        self._tell(at, "rule_failed", rule=line["rule"], jobid=line["jobid"], log=log, tail=tail)

    def _rule(self, name: str) -> RuleProgress:
        if name not in self.rules:
            zero = {"total": 0, "running": 0, "done": 0, "failed": 0, "seconds": 0.0}
            self.rules[name] = RuleProgress(job_id=self.job.id, rule=str(name)[:128], **zero)
            self.session.add(self.rules[name])
        return self.rules[name]

    def _tell(self, at: datetime, kind: str, **data: Any) -> None:
        self.session.add(Event(job_id=self.job.id, at=at, kind=kind, data=data))


def tell_progress(session: Session, job: Job) -> None:
    """Tell viewers how far a job is."""
    query = select(RuleProgress).where(RuleProgress.job_id == job.id).order_by(RuleProgress.rule)
    names = ("total", "running", "done", "failed", "seconds")
    rules = {row.rule: {name: getattr(row, name) for name in names} for row in session.scalars(query)}
    tell(session, job.id, "progress", done=job.steps_done, total=job.steps_total, rules=rules)


def stop_counting(session: Session, job: Job) -> None:
    """Count none as running, since the run is over."""
    for row in session.scalars(select(RuleProgress).where(RuleProgress.job_id == job.id, RuleProgress.running > 0)):
        row.running = 0


def tail_of_log(folder: Path, line: Mapping[str, Any]) -> list[str]:
    """Return the last lines of the logs that a line names, as far as they lie in the job's folder."""
    for name in line.get("log") or []:
        path = folder / str(name)
        try:
            if path.resolve().is_relative_to(folder.resolve()) and (lines := tail(path)):
                return lines
        except (OSError, ValueError):
            continue
    return []


def tail(path: Path, lines: int = TAIL_LINES, octets: int = TAIL_BYTES) -> list[str]:
    """Return a text file's last lines, so many and so many bytes at most; what is no UTF-8 is replaced."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - octets, 0))
        text = file.read(octets)
    if size > octets and b"\n" in text:
        text = text.split(b"\n", 1)[1]
    return text.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}").splitlines()[-lines:]


def _instant(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)
