"""Logger ``eemt``: what happens in a run, as events that a program can follow while it goes on.

``snakemake --logger eemt --logger-eemt-file events.jsonl`` adds one line of JSON for each event to a file. Where the
run cannot write where the service reads, it writes to the service's database itself: EEMT_EVENTS_DATABASE has the
database's address and EEMT_EVENTS_JOB the job's identifier, both from the environment, since others see command lines.

Each line has ``at``, a time in UTC, and ``event``:

    workflow_started                         a run begins; what was counted before is of an earlier one
    totals          total, rules             jobs to do, altogether and by rule
    job_started     jobid, rule, message, wildcards, log, again     `again` after a failure
    job_finished    jobid, rule, seconds
    job_failed      jobid, rule, log
    progress        done, total
    error, warning  text
    ended

Only the process that drives a run writes; those of its jobs do not. Whatever goes wrong here costs events, never the
run.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging import ERROR, WARNING, LogRecord
from pathlib import Path
from typing import Any, Protocol

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

DATABASE = "EEMT_EVENTS_DATABASE"
JOB = "EEMT_EVENTS_JOB"
LONGEST_TEXT = 8000  # characters
MOST_WAITING = 10_000  # events kept for a database that does not answer
RETRY_SECONDS = 5.0

Line = dict[str, Any]


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Options of the command line, ``--logger-eemt-…``."""

    file: Path | None = field(
        default=None, metadata={"help": "File that events are added to, one line of JSON each", "type": Path}
    )


class Sink(Protocol):
    """Where events go."""

    def write(self, line: Line) -> None:
        """Add one event."""

    def close(self) -> None:
        """Write what waits, as far as that is possible."""


class Nowhere:
    """Where events go that nobody asked for."""

    def write(self, line: Line) -> None:
        """Forget an event."""

    def close(self) -> None:
        """Do nothing."""


class File:
    """A file of JSON lines, each written whole, at once, at the end."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        # what a killed run left of a line is no part of ours
        self.is_at_line_start = _ends_with_line(path)

    def write(self, line: Line) -> None:
        """Add a line; one of which only a part found room on the disk is ended before the next."""
        octets = (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode(errors="replace")
        if not self.is_at_line_start:
            octets = b"\n" + octets
        self.is_at_line_start = False
        self.is_at_line_start = os.write(self.descriptor, octets) == len(octets)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return True
        file.seek(size - 1)
        return file.read() == b"\n"


class Table:
    """The service's database. Events wait here while it does not answer."""

    def __init__(self, take: Callable[[list[Line]], None]) -> None:
        self.take = take
        self.waiting: deque[Line] = deque(maxlen=MOST_WAITING)
        self.not_before = 0.0

    def write(self, line: Line) -> None:
        """Hand an event on, with those that wait."""
        self.waiting.append(line)
        if time.monotonic() >= self.not_before:
            self._hand_on()

    def _hand_on(self) -> None:
        lines = list(self.waiting)
        try:
            self.take(lines)
        except BaseException:
            self.not_before = time.monotonic() + RETRY_SECONDS
            raise
        self.waiting.clear()

    def close(self) -> None:
        """Try once more."""
        if self.waiting:
            self._hand_on()


class Story:
    """What Snakemake says, as events; it remembers which jobs run, since Snakemake does not say that with their end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.running: dict[int, tuple[str, float]] = {}
        self.failed: set[int] = set()

    def lines(self, record: LogRecord) -> Iterable[Line]:
        """Return the events that a record of Snakemake's log tells of."""
        said = record.__dict__
        match getattr(record, "event", None):
            case LogEvent.WORKFLOW_STARTED:
                self.running.clear()
                self.failed.clear()
                return [_line("workflow_started")]
            case LogEvent.RUN_INFO:
                rules = {str(rule): int(count) for rule, count in said["stats"].items()}
                total = rules.pop("total", None)
                return [_line("totals", total=sum(rules.values()) if total is None else total, rules=rules)]
            case LogEvent.JOB_INFO:
                return self._started(said)
            case LogEvent.JOB_FINISHED:
                return self._finished(int(said["job_id"]))
            case LogEvent.JOB_ERROR:
                return self._failed(said)
            case LogEvent.PROGRESS:
                return [_line("progress", done=int(said["done"]), total=int(said["total"]))]
        if record.levelno >= WARNING and (text := record.getMessage().strip()) and text != "None":
            return [_line("error" if record.levelno >= ERROR else "warning", text=text[:LONGEST_TEXT])]
        return []

    def _started(self, said: Mapping[str, Any]) -> list[Line]:
        jobid, rule = int(said["jobid"]), str(said["rule_name"])
        # a job that was lost without a word, such as one that a cluster forgot
        lost = self._failed({**said, "log": []})
        again = jobid in self.failed
        self.failed.discard(jobid)
        self.running[jobid] = rule, self.clock()
        message = said.get("rule_msg")
        started = _line(
            "job_started",
            jobid=jobid,
            rule=rule,
            message=str(message).strip()[:LONGEST_TEXT] if message else None,
            wildcards={str(name): str(value) for name, value in dict(said.get("wildcards") or {}).items()},
            log=[str(path) for path in said.get("log") or []],
            again=again,
        )
        return [*lost, started]

    def _finished(self, jobid: int) -> list[Line]:
        if jobid not in self.running:
            return []
        rule, since = self.running.pop(jobid)
        return [_line("job_finished", jobid=jobid, rule=rule, seconds=round(self.clock() - since, 3))]

    def _failed(self, said: Mapping[str, Any]) -> list[Line]:
        jobid = int(said["jobid"])
        # of a group Snakemake says it of each job, and of one job more than once
        if self.running.pop(jobid, None) is None:
            return []
        self.failed.add(jobid)
        logs = [str(path) for path in said.get("log") or []]
        return [_line("job_failed", jobid=jobid, rule=str(said["rule_name"]), log=logs)]


def _line(event: str, **more: Any) -> Line:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": at, "event": event, **more}


class LogHandler(LogHandlerBase):
    """Hands each event on as it comes; Snakemake calls it in a thread of its own."""

    writes_to_stream = False
    writes_to_file = False  # of what Snakemake would call a log
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.story = Story()
        self.sink: Sink = Nowhere()
        dry = bool(getattr(self.common_settings, "dryrun", False))
        try:
            if not dry:
                self.sink = self._open()
        except Exception as error:  # such as no such folder, no such module: the run goes on
            self._complain(error)

    def _open(self) -> Sink:
        path = getattr(self.settings, "file", None)
        if path is not None:
            return File(Path(path))
        if address := os.environ.get(DATABASE):
            from eemt.service.events import into_database

            return Table(into_database(address, os.environ[JOB]))
        return Nowhere()

    def emit(self, record: LogRecord) -> None:
        """Write the events of a record."""
        try:
            for line in self.story.lines(record):
                self.sink.write(line)
        except Exception as error:
            self._complain(error)

    def close(self) -> None:
        """Write that it has ended."""
        sink, self.sink = self.sink, Nowhere()
        try:
            sink.write(_line("ended"))
        except Exception as error:
            self._complain(error)
        with suppress(Exception):
            sink.close()
        super().close()

    def _complain(self, error: Exception) -> None:
        """Say once, where the run's own output goes, that events are missing."""
        if not getattr(self, "has_complained", False):
            self.has_complained = True
            with suppress(Exception):
                os.write(2, f"eemt events: {type(error).__name__}: {error}\n".encode(errors="replace"))
