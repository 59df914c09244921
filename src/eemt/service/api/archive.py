"""The API of the archive: bring a job's results there, and back."""

from __future__ import annotations

from fastapi import APIRouter, Request
from sqlalchemy import select

from eemt.service import archives, jobs, quotas
from eemt.service.api.documented import problems
from eemt.service.api.jobs import ArchiveState, JobId, owner
from eemt.service.dependencies import Parts, SignedIn, note
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


def _there_is_one(parts: Service) -> None:
    if parts.settings.archive is None:
        raise Problem("conflict", "This service has no archive.")
