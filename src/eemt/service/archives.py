"""Archived jobs as records: what was asked for, and the changes of state that there are.

    none ──> waiting ──> packing ──> moving ──> verifying ──> archived
                │           └──────────┴────────────┴───────> failed
                └──> retrieving ──> retrieved
                          └───────> failed          archived, retrieved, failed ──(retrieve)──> waiting

    on its way ──(called off)──────────> ending ──> as before it was asked for
    failed ──(its files are removed)──> ending ──> none: what it left on its way to the archive is removed too

Only `archiving` runs the commands that do it; here is what the database says of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from eemt.service.jobs import tell
from eemt.service.models import Archive, Event, Job
from eemt.service.problems import Problem
from eemt.sql import now

ArchivalState = Literal[
    "none", "waiting", "packing", "moving", "verifying", "archived", "failed", "retrieving", "retrieved", "ending"
]
Fault = Literal["user", "system"]
UNDER_WAY: tuple[ArchivalState, ...] = ("waiting", "packing", "moving", "verifying", "retrieving", "ending")
Action = Literal["archive", "retrieve"]


@dataclass(frozen=True)
class Archived:
    """How far a job's present results are.

    Attributes
    ----------
    state : str
    identifier : str, optional
        Of the dataset, once the archive has it: what failed then is its retrieval.
    message : str, optional
        What it waits for, or why it failed.
    fault : str, optional
        Of what failed: user or system.
    at : datetime, optional
        Of the last change.
    """

    state: ArchivalState = "none"
    identifier: str | None = None
    message: str | None = None
    fault: Fault | None = None
    at: datetime | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether it is on its way, and the files must stay as they are."""
        return self.state in UNDER_WAY

    def is_given_up(self, removed: datetime | None) -> bool:
        """Whether only what a failed archiving left is being removed, the files of the job being so already."""
        return self.state == "ending" and not self.identifier and removed is not None


def of_job(session: Session, job: Job) -> Archived:
    """Return how far a job's results are."""
    return _shown(job, session.get(Archive, job.id))


def of_jobs(session: Session, jobs: Iterable[Job]) -> dict[str, Archived]:
    """Return the same of several jobs, by identifier."""
    several = {job.id: job for job in jobs}
    rows = session.scalars(select(Archive).where(Archive.job_id.in_(several)))
    return {job_id: Archived() for job_id in several} | {row.job_id: _shown(several[row.job_id], row) for row in rows}


def _shown(job: Job, row: Archive | None) -> Archived:
    if row is None:
        return Archived()
    if row.attempt != job.attempt:
        earlier = f"What attempt {row.attempt} made is archived as {row.identifier}." if row.identifier else None
        return Archived(message=earlier)
    return Archived(row.state, row.identifier, row.message, row.fault, row.at)  # type: ignore[arg-type]


def overview(session: Session, most: int = 100) -> dict[str, Any]:
    """Return for operators how many jobs are in which state, and what failed, the latest first."""
    there = select(Archive.state, func.count()).join(Job, Job.id == Archive.job_id).where(Job.deleted.is_(None))
    failed = select(Job, Archive).join(Archive, Archive.job_id == Job.id)
    failed = failed.where(Job.deleted.is_(None), Archive.state == "failed").order_by(Archive.at.desc()).limit(most)
    return {
        "counts": dict(session.execute(there.group_by(Archive.state).order_by(Archive.state)).tuples().all()),
        "failed": session.execute(failed).tuples().all(),
    }


def is_under_way() -> ColumnElement[bool]:
    """Return the condition that a job is on its way to the archive or back."""
    return exists().where(Archive.job_id == Job.id, Archive.state.in_(UNDER_WAY))


def is_archived() -> ColumnElement[bool]:
    """Return the condition that the archive has a job's present results."""
    return exists().where(Archive.job_id == Job.id, Archive.attempt == Job.attempt, Archive.identifier.is_not(None))


def refuse_while_under_way(session: Session, job: Job) -> None:
    """Raise where a job's files must stay as they are.

    Raises
    ------
    Problem
    """
    state = of_job(session, job).state
    if state == "ending":
        raise Problem("conflict", "Its way to the archive, or back, is being called off; wait until that is done.")
    if state in UNDER_WAY:
        way = "brought back from the archive" if state == "retrieving" else "archived"
        raise Problem("conflict", f"The job is being {way} ({state}); wait until that has ended.")


def refuse_to_delete(session: Session, job: Job) -> None:
    """Raise where a job cannot be deleted: it is on its way, unless its files are gone already.

    Raises
    ------
    Problem
    """
    if not of_job(session, job).is_given_up(job.removed):
        refuse_while_under_way(session, job)


def refuse_to_run_again(session: Session, job: Job) -> None:
    """Raise where a job cannot be run again: it is on its way, or its inputs did not come back with its results.

    Raises
    ------
    Problem
    """
    refuse_while_under_way(session, job)
    row = session.get(Archive, job.id)
    if row is not None and row.brought is not None and row.attempt == job.attempt:
        raise Problem("gone", "Of the job's files only its results came back; submit it anew by a clone.")


def ask_to_archive(session: Session, job: Job) -> bool:
    """Ask for a job's results to be archived; tell whether there is anything to do.

    Parameters
    ----------
    job : Job
        Locked.

    Raises
    ------
    Problem
        When there are no finished results.
    """
    if job.state != "completed":
        raise Problem("conflict", f"The job is {job.state}; only what completed jobs made is archived.")
    if job.removed is not None:
        raise Problem("gone", "The job's files were removed.")
    found = of_job(session, job)
    _refuse_while_ending(found.state)
    if found.is_under_way or found.identifier:
        return False
    row = session.get(Archive, job.id)
    if row is None:
        row = Archive(job_id=job.id)
        session.add(row)
    row.attempt, row.action, row.identifier, row.brought, row.asked = job.attempt, "archive", None, None, now()
    change(session, row, "waiting")
    return True


def ask_to_retrieve(session: Session, job: Job) -> bool:
    """Ask for a job's results to be brought back; tell whether there is anything to do.

    Raises
    ------
    Problem
        When the archive does not have them, or they are there.
    """
    row = session.get(Archive, job.id)
    if row is None or not row.identifier or row.attempt != job.attempt:
        raise Problem("conflict", "The job is not archived.")
    _refuse_while_ending(row.state)
    if row.state in UNDER_WAY:
        return False
    if job.removed is None:
        raise Problem("conflict", "The job's files are there.")
    row.action, row.asked = "retrieve", now()
    change(session, row, "waiting")
    return True


def _refuse_while_ending(state: str) -> None:
    if state == "ending":
        raise Problem("conflict", "It is being called off; ask again when that is done.")


def ask_to_call_off(session: Session, job: Job, action: Action) -> bool:
    """Ask for a job's archiving, or bringing back, to be called off; tell whether that is new.

    Parameters
    ----------
    job : Job
        Locked.
    action : str
        archive or retrieve.

    Raises
    ------
    Problem
        When it is not on its way.
    """
    row = _locked(session, job.id)
    if row is None or row.attempt != job.attempt or row.action != action or row.state not in UNDER_WAY:
        way = "archived" if action == "archive" else "brought back from the archive"
        raise Problem("conflict", f"The job is not being {way}; what the archive has stays.")
    if row.state == "ending":
        return False
    change(session, row, "ending")
    return True


def give_up(session: Session, job_id: str) -> bool:
    """Have removed what a failed archiving may have left; tell whether that is so.

    Parameters
    ----------
    job_id : str
        Of a job whose files are removed; those by which the archive knows what was begun must stay until it is done.
    """
    row = _locked(session, job_id)
    if row is None or row.identifier:
        return False
    if row.state == "failed":
        change(session, row, "ending")
    return row.state == "ending"


def settle_called_off(session: Session, row: Archive) -> None:
    """Bring what was called off into the state of before, now that nothing of it is left."""
    if row.identifier:  # what was called off is bringing it back
        change(session, row, "archived")
        return
    tell(session, row.job_id, "archive", state="none", identifier=None, message=None, fault=None)
    if earlier := _archived_earlier(session, row.job_id):
        row.attempt, row.identifier = earlier
        row.state, row.message, row.fault, row.at = "archived", None, None, now()
    else:
        session.delete(row)


def _archived_earlier(session: Session, job_id: str) -> tuple[int, str] | None:
    """Return which attempt's results were archived last, and as what, by the job's events."""
    events = select(Event).where(Event.job_id == job_id, Event.kind.in_(("state", "archive"))).order_by(Event.id)
    attempt, found = None, None
    for event in session.scalars(events):
        if event.kind == "state":
            attempt = event.data.get("attempt")
        elif event.data.get("identifier") and attempt is not None:
            found = int(attempt), str(event.data["identifier"])
    return found


def _locked(session: Session, job_id: str) -> Archive | None:
    """Return how far a job is, which nobody changes until the transaction ends."""
    return session.get(Archive, job_id, with_for_update=True, populate_existing=True)


def change(
    session: Session, row: Archive, state: ArchivalState, message: str | None = None, fault: Fault | None = None
) -> None:
    """Bring the archiving of a job into another state and tell of it."""
    row.state, row.message, row.fault, row.at = state, message, fault, now()
    tell(session, row.job_id, "archive", state=state, identifier=row.identifier, message=message, fault=fault)
