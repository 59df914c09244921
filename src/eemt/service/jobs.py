"""Jobs as records: submitting, listing, and the changes of state that there are.

    pending ──> running ──> completed
       │           ├──────> failed
       └───────────┴──────> cancelled          completed, failed, cancelled ──(retry)──> pending

Only `queue` starts and ends processes; here is what the database says of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session, defer

from eemt.service.models import FINISHED, Event, Job, JobUpload, RuleProgress, State
from eemt.service.problems import Problem
from eemt.service.settings import Settings
from eemt.sql import now

CHANGES: dict[State, tuple[State, ...]] = {
    "pending": ("running", "cancelled"),
    "running": ("pending", "completed", "failed", "cancelled"),  # pending: its process went with the machine
    "completed": ("pending",),
    "failed": ("pending",),
    "cancelled": ("pending",),
}


@dataclass(frozen=True)
class Page:
    """Some of the jobs, newest first, and where the next ones begin, if there are any."""

    jobs: Sequence[Job]
    following: str | None


def folder(settings: Settings, job_id: str) -> Path:
    """Return a job's folder: config/config.yaml, inputs/, results/, logs/, run.log, events.jsonl."""
    return settings.jobs / job_id


def tell(session: Session, job_id: str, kind: str, **data: Any) -> None:
    """Add an event, which viewers are told."""
    session.add(Event(job_id=job_id, kind=kind, data=data))


def change(session: Session, job: Job, state: State, message: str | None = None) -> None:
    """Bring a job into another state and tell of it.

    Raises
    ------
    Problem
        When no such change is possible.
    """
    if state not in CHANGES[job.state]:  # type: ignore[index]
        raise Problem("conflict", f"The job is {job.state}; it cannot become {state}.")
    at = now()
    job.state = state
    match state:
        case "running":
            job.started, job.finished, job.last_sign, job.message = at, None, at, None
        case "pending":
            job.queued, job.started, job.finished, job.process, job.cancel = at, None, None, None, None
        case _:
            job.finished, job.process, job.message = at, None, message
    tell(session, job.id, "state", state=state, attempt=job.attempt, message=message)


def get(session: Session, job_id: str, user_id: str | None, lock: bool = False) -> Job:
    """Return a job of a user's, or of anyone's where no user is given.

    Raises
    ------
    Problem
        When there is none, or it is another's, which callers cannot tell apart.
    """
    query = select(Job).where(Job.id == job_id, Job.deleted.is_(None))
    if user_id is not None:
        query = query.where(Job.user_id == user_id)
    job = session.scalar(query.with_for_update() if lock else query)
    if job is None:
        raise Problem("not-found", "There is no such job.")
    return job


def page(
    session: Session,
    user_id: str | None,
    states: Iterable[str] = (),
    limit: int = 50,
    after: str | None = None,
    search: str | None = None,
) -> Page:
    """List jobs, newest first.

    Parameters
    ----------
    user_id : str or None
        Whose; of all users where none is given.
    after : str, optional
        The `following` of the page before.
    search : str, optional
        Part of the name.
    """
    # what was asked for is long, and not shown in a list
    query = select(Job).options(defer(Job.config), defer(Job.settings)).where(Job.deleted.is_(None))
    if user_id is not None:
        query = query.where(Job.user_id == user_id)
    if wanted := list(states):
        query = query.where(Job.state.in_(wanted))
    if search:
        query = query.where(Job.name.icontains(search, autoescape=True))
    if after is not None:
        created, job_id = _cursor(after)
        query = query.where(or_(Job.created < created, and_(Job.created == created, Job.id < job_id)))
    found = session.scalars(query.order_by(Job.created.desc(), Job.id.desc()).limit(limit + 1)).all()
    more = len(found) > limit
    found = found[:limit]
    return Page(found, _as_cursor(found[-1]) if more else None)


def _as_cursor(job: Job) -> str:
    return base64.urlsafe_b64encode(json.dumps([job.created.isoformat(), job.id]).encode()).decode().rstrip("=")


def _cursor(text: str) -> tuple[datetime, str]:
    try:
        created, job_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        at = datetime.fromisoformat(created)
        if at.tzinfo is None or not isinstance(job_id, str):
            raise ValueError
    except (ValueError, TypeError):
        raise Problem(
            "invalid", "after: is no cursor of a page before", [{"field": "after", "message": "unknown"}]
        ) from None
    return at, job_id


def submit(session: Session, settings: Settings, job: Job, uploads: Iterable[str]) -> Job:
    """Put a job into the queue; one that has the same idempotency key is returned instead.

    Raises
    ------
    Problem
        When the queue is full, or the key was used for another request.
    """
    if job.idempotency_key is not None:
        query = select(Job).where(Job.user_id == job.user_id, Job.idempotency_key == job.idempotency_key)
        if known := session.scalar(query):
            if known.request_hash != job.request_hash:
                raise Problem("key-used-otherwise", "Idempotency-Key: was used for another job; take a new one.")
            return known
    refuse_full_queue(session, settings, job.user_id)
    session.add(job)
    session.flush()
    session.add_all(JobUpload(job_id=job.id, upload_id=upload) for upload in set(uploads))
    tell(session, job.id, "state", state="pending", attempt=1, message=None)
    return job


def refuse_full_queue(session: Session, settings: Settings, user_id: str) -> None:
    """Raise when as many jobs wait as may."""
    waiting = select(func.count()).select_from(Job).where(Job.state == "pending", Job.deleted.is_(None))
    retry = {"Retry-After": "60"}
    if session.scalar(waiting.where(Job.user_id == user_id)) >= settings.queued_of_user:  # type: ignore[operator]
        raise Problem("queue-full", f"{settings.queued_of_user} of your jobs wait already.", headers=retry)
    if session.scalar(waiting) >= settings.queued:  # type: ignore[operator]
        raise Problem("queue-full", f"{settings.queued} jobs wait already; try again later.", headers=retry)


def cancel(session: Session, job: Job) -> None:
    """Take a job out of the queue, or ask for its process to be ended."""
    if job.state in FINISHED:
        raise Problem("conflict", f"The job is {job.state} already.")
    if job.state == "pending":
        change(session, job, "cancelled", "cancelled before it began")
    elif job.cancel is None:
        job.cancel = now()
        tell(session, job.id, "message", text="cancelling")


def retry(session: Session, settings: Settings, job: Job) -> None:
    """Put a finished job into the queue again; what it had finished is not computed again."""
    if job.removed is not None:
        raise Problem("gone", "The job's files were removed; submit it anew by a clone.")
    if job.state not in FINISHED:
        raise Problem("conflict", f"The job is {job.state}; only finished jobs can be run again.")
    refuse_full_queue(session, settings, job.user_id)
    job.attempt += 1
    change(session, job, "pending")


def progress(session: Session, job_id: str) -> Sequence[RuleProgress]:
    """Return how far each rule of a job is, in the order of their names."""
    return session.scalars(select(RuleProgress).where(RuleProgress.job_id == job_id).order_by(RuleProgress.rule)).all()


def events(session: Session, job_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
    """Return a job's events after one of them, in order."""
    query = select(Event).where(Event.job_id == job_id, Event.id > after).order_by(Event.id).limit(limit)
    return session.scalars(query).all()
