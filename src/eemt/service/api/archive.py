"""The API of the archive: bring a job's results there, and back, or call that off."""

from __future__ import annotations

from fastapi import APIRouter, Request
from sqlalchemy import select

from eemt.service import archives, jobs, quotas
from eemt.service.api.documented import problems
from eemt.service.api.jobs import ArchiveState, JobId, owner
from eemt.service.archives import Action
from eemt.service.dependencies import Parts, Principal, SignedIn, note
from eemt.service.models import Archive
from eemt.service.problems import Problem
from eemt.service.service import Service

router = APIRouter(tags=["archive"])


@router.post("/jobs/{job_id}/archive", status_code=202, responses=problems("not-found", "conflict", "gone"))
def archive(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> ArchiveState:
    """Bring a completed job's results to the archive; the job's `archive` says how far that is."""
    with parts.database.session() as session:
        job = jobs.get(session, job_id, owner(principal), lock=True)
        _there_is_one(parts)
        if archives.ask_to_archive(session, job):
            note(request, session, "job.archive", target=job_id)
        state = ArchiveState.model_validate(archives.of_job(session, job))
    parts.archiver.wake()
    return state


@router.post(
    "/jobs/{job_id}/retrieve", status_code=202, responses=problems("not-found", "conflict", "quota", "disk-full")
)
def retrieve(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> ArchiveState:
    """Bring the results of a job, whose files were removed, back from the archive."""
    with parts.database.session() as session:
        job = jobs.get(session, job_id, owner(principal), lock=True)
        _there_is_one(parts)
        if not archives.of_job(session, job).is_under_way:
            octets = session.scalar(select(Archive.bytes).where(Archive.job_id == job_id)) or 0
            quotas.refuse_over_quota(session, parts.settings, job.user_id, octets)
            quotas.refuse_full_disk(parts.settings, octets)
        if archives.ask_to_retrieve(session, job):
            note(request, session, "job.retrieve", target=job_id)
        state = ArchiveState.model_validate(archives.of_job(session, job))
    parts.archiver.wake()
    return state


@router.delete("/jobs/{job_id}/archive", status_code=202, responses=problems("not-found", "conflict"))
def call_off_archiving(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> ArchiveState:
    """Call off a job's archiving; the state is `ending` until what was begun is removed. What is archived stays."""
    return _call_off(request, parts, principal, job_id, "archive")


@router.delete("/jobs/{job_id}/retrieve", status_code=202, responses=problems("not-found", "conflict"))
def call_off_retrieval(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> ArchiveState:
    """Call off bringing a job's results back; they stay in the archive."""
    return _call_off(request, parts, principal, job_id, "retrieve")


def _call_off(request: Request, parts: Service, principal: Principal, job_id: str, action: Action) -> ArchiveState:
    with parts.database.session() as session:
        job = jobs.get(session, job_id, owner(principal), lock=True)
        _there_is_one(parts)
        if archives.ask_to_call_off(session, job, action):
            note(request, session, f"job.{action}.cancel", target=job_id)
        state = ArchiveState.model_validate(archives.of_job(session, job))
    parts.archiver.wake()
    return state


def _there_is_one(parts: Service) -> None:
    if parts.settings.archive is None:
        raise Problem("conflict", "This service has no archive.")
