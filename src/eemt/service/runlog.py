"""What a job's processes wrote: run.log, a piece or the end of it, and the logs of its rules."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from eemt.service.models import Event, Job
from eemt.service.problems import Problem

RUN_LOG = "run.log"
PIECE = 65_536  # bytes that are read at once
MOST = 4_000_000  # bytes of a log that one answer has
WITH_LOG = ("rule_failed", "rule_finished", "rule_started")


class Piece(NamedTuple):
    """Part of a log: its text, where it begins and where the next begins [bytes], and the log's size."""

    text: str
    start: int
    end: int
    size: int


def read(path: Path, offset: int = 0, limit: int = PIECE) -> Piece:
    """Read text from a place in a log on; a letter that is not whole yet is left to the next piece.

    A log that there is not yet is empty.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = min(offset, size)
            file.seek(start)
            octets = file.read(limit)
    except FileNotFoundError:
        return Piece("", 0, 0, 0)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(octets)
    left = len(decoder.getstate()[0])
    return Piece(text, start, start + len(octets) - left, size)


def start_of_last_lines(path: Path, lines: int) -> int:
    """Return where the last lines of a log begin [bytes], going back no further than `MOST`."""
    try:
        with path.open("rb") as file:
            end = size = file.seek(0, 2)
            # the last line's own end counts for none
            missing = lines + 1
            while end > max(0, size - MOST):
                begin = max(0, end - PIECE)
                file.seek(begin)
                octets = file.read(end - begin)
                if end == size and not octets.endswith(b"\n"):
                    missing -= 1
                place = len(octets)
                while (place := octets.rfind(b"\n", 0, place)) >= 0:
                    missing -= 1
                    if missing == 0:
                        return begin + place + 1
                end = begin
    except FileNotFoundError:
        return 0
    return end


def rule_log(session: Session, job: Job, folder: Path, rule: str, jobid: int | None = None) -> Path:
    """Find the log of one of a job's rules: of a step, or the last there is, those of failed steps first.

    Raises
    ------
    Problem
        When there is none.
    """
    told = select(Event).where(Event.job_id == job.id, Event.kind.in_(WITH_LOG), Event.data["rule"].as_string() == rule)
    if jobid is not None:
        told = told.where(Event.data["jobid"].as_integer() == jobid)
    events = session.scalars(told.order_by(Event.id.desc()).limit(1000)).all()
    for event in sorted(events, key=lambda event: event.kind != "rule_failed"):
        path = inside(folder / "logs", folder / str(event.data.get("log") or ""))
        if path is not None:
            return path
    if jobid is None and (path := _newest_of(folder / "logs", job.name, rule)):
        return path
    raise Problem("not-found", "There is no such log.")


def _newest_of(logs: Path, site: str, rule: str) -> Path | None:
    """Find the newest log that is named after a rule: RULE.log, RULE_….log, or any in a folder RULE."""
    if not rule.isidentifier():
        return None
    places = [*logs.glob(f"{site}/{rule}.log"), *logs.glob(f"{site}/{rule}_*.log"), *logs.glob(f"{site}/{rule}/*.log")]
    found = [path for place in places if (path := inside(logs, place))]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def inside(folder: Path, path: Path) -> Path | None:
    """Return the regular file that a path leads to, unless it lies outside of a folder."""
    try:
        real = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return real if real.is_file() and real.is_relative_to(folder.resolve()) else None
