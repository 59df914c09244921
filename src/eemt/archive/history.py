"""What happened to a dataset, line by line; a failure that comes again at each try is one line of it."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from eemt.archive.entries import as_line
from eemt.archive.tables import EventRow
from eemt.sql import now

OF_A_TRY = {(step, outcome) for step in ("packing", "staged", "moving", "verifying") for outcome in ("begun", "done")}
REPEATED = re.compile(r" \((\d+) times since (\S+)\)$")


def note(session: Session, identifier: str, step: str, outcome: str, message: str | None = None) -> None:
    """Add a line."""
    session.add(EventRow(dataset=identifier, step=step, outcome=outcome, message=as_line(message)))


def note_failure(session: Session, identifier: str, step: str, outcome: str, message: str) -> None:
    """Add a line of a failure; the same one again, after a try that came to nothing else, goes into the one there is.

    That line says then how often it was and since when, and the lines of the try are removed.
    """
    message = as_line(message) or ""
    tried: list[EventRow] = []
    before: EventRow | None = None
    lines = select(EventRow).where(EventRow.dataset == identifier).order_by(EventRow.id.desc())
    for line in session.scalars(lines):
        if (line.step, line.outcome) not in OF_A_TRY:
            before = line
            break
        tried.append(line)
    known = before.message or "" if before else ""
    if before is None or (before.step, before.outcome, REPEATED.sub("", known)) != (step, outcome, message):
        note(session, identifier, step, outcome, message)
        return
    repeated = REPEATED.search(known)
    times = int(repeated[1]) + 1 if repeated else 2
    since = repeated[2] if repeated else before.at.isoformat(timespec="seconds").replace("+00:00", "Z")
    before.at, before.message = now(), f"{message} ({times} times since {since})"
    for line in tried:
        session.delete(line)
