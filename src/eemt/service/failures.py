"""Why a run failed, in words for the one whose job it is."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from eemt.service.events import TAIL_BYTES, TAIL_LINES, tail
from eemt.service.models import Event
from eemt.service.supervise import LOG

BAD_INPUT = re.compile(r"eemt(?: [a-z-]+)?: (.+)")  # what eemt says of bad input, on one line
ATTEMPT = re.compile(r"=== attempt \d+, ")
TAKEN = 262_144  # bytes of run.log in which Snakemake's error is looked for


def why(session: Session, job_id: str, place: Path, code: int) -> str:
    """Return a failed run's message.

    It is the line that says what is wrong with the input, where eemt says so; else the rule that failed with the last
    lines of its log; else what Snakemake itself says.

    Parameters
    ----------
    place : path
        The job's folder.
    code : int
        With which Snakemake ended.
    """
    failed = failed_rules(session, job_id)
    if failed:
        data = failed[0].data
        lines = [str(line) for line in data.get("tail") or []]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        if reason := bad_input(lines):
            return shortened(f"{data['rule']}{more}: {reason}")
        if lines:
            return shortened("\n".join([f"{data['rule']}{more} failed; its log ends with:", *lines]))
        return shortened(
            "\n".join([f"{data['rule']}{more} failed; it left no log. Snakemake says:", *_said(place)[-TAIL_LINES:]])
        )
    said = _said(place)
    if reason := bad_input(said):
        return shortened(reason)
    if said:
        return shortened("\n".join(["Snakemake failed:", *said[-TAIL_LINES:]]))
    return f"Snakemake ended with code {code} and said nothing."


def failed_rules(session: Session, job_id: str) -> list[Event]:
    """Return the failures of the present attempt that no later try made good, in order."""
    begin = select(func.max(Event.id)).where(
        Event.job_id == job_id, Event.kind == "state", Event.data["state"].as_string() == "running"
    )
    query = select(Event).where(
        Event.job_id == job_id,
        Event.id > (session.scalar(begin) or 0),
        Event.kind.in_(("rule_failed", "rule_finished")),
    )
    failed: dict[object, Event] = {}
    for event in session.scalars(query.order_by(Event.id)):
        if event.kind == "rule_failed":
            failed[event.data.get("jobid")] = event
        else:
            failed.pop(event.data.get("jobid"), None)
    return list(failed.values())


def bad_input(lines: list[str]) -> str | None:
    """Return the reason, where eemt says that the input is at fault."""
    for line in reversed(lines):
        if match := BAD_INPUT.fullmatch(line.strip()):
            return match[1]
    return None


def shortened(text: str, octets: int = TAIL_BYTES) -> str:
    """Leave out the middle of what is too long, and what no database takes."""
    content = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace")
    if len(content) <= octets:
        return content.decode()
    half = octets // 2 - 8
    return f"{content[:half].decode(errors='ignore')}\n…\n{content[-half:].decode(errors='ignore')}"


def _said(place: Path) -> list[str]:
    """Return what the present attempt has said, as far as it is near the end of run.log."""
    try:
        lines = tail(place / LOG, lines=TAKEN, octets=TAKEN)
    except OSError:
        return []
    begin = max((number for number, line in enumerate(lines) if ATTEMPT.match(line)), default=-1)
    return [line for line in lines[begin + 1 :] if line.strip()]
