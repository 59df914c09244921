"""The addresses of pages. They show what the API says, by calling its functions; scripts on them call it by HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import bokeh
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from eemt.service import archives, jobs, quotas, runlog
from eemt.service.accounts import PASSWORD_LENGTH
from eemt.service.api.jobs import JobDetail, get_job, get_progress, owner
from eemt.service.api.system import system
from eemt.service.dependencies import Asker, Operator, Parts, Principal, Reading, SignedIn
from eemt.service.models import State, User
from eemt.service.pages import explanations, mapping, reference, results, stages
from eemt.service.pages.rendering import render
from eemt.service.problems import TYPES, Problem

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

RECENT = 5
ON_A_PAGE = 50
LOG_LINES = 200


@router.get("/")
def start(request: Request, parts: Parts, asker: Asker, session: Reading) -> HTMLResponse:
    """Say what this is, how the system is, and what was last."""
    if asker is None:
        return render(request, "start.html", jobs=[], archives={}, system=None)
    recent = jobs.page(session, asker.user_id, limit=RECENT).jobs
    return render(
        request,
        "start.html",
        jobs=recent,
        archives=archives.of_jobs(session, recent),
        system=system(parts, asker, session),
    )


@router.get("/jobs")
def monitor(
    request: Request,
    principal: SignedIn,
    session: Reading,
    state: State | str = "",
    search: Annotated[str, Query(max_length=64)] = "",
    after: Annotated[str | None, Query(max_length=200)] = None,
    of_all: Annotated[bool, Query(alias="all")] = False,
) -> HTMLResponse:
    """List jobs."""
    of_all = of_all and principal.is_operator
    page = jobs.page(
        session, principal.owner(of_all), [state] if state else [], ON_A_PAGE, after, search.strip() or None
    )
    asked = {"state": state, "search": search, "all": "true" if of_all else ""}
    kept = {name: value for name, value in asked.items() if value}
    return render(
        request,
        "jobs.html",
        page=page,
        archives=archives.of_jobs(session, page.jobs),
        state=state,
        search=search,
        all=of_all,
        owners=_names(session, {job.user_id for job in page.jobs}) if of_all else None,
        after=after,
        newest="/jobs?" + urlencode(kept),
        older="/jobs?" + urlencode(kept | {"after": page.following}) if page.following else None,
    )


@router.get("/jobs/new")
def new_job(
    request: Request,
    principal: SignedIn,
    session: Reading,
    other: Annotated[str | None, Query(alias="from", max_length=32)] = None,
) -> HTMLResponse:
    """Ask for a new job, or for one like another."""
    return render(request, "new.html", other=get_job(principal, session, other) if other else None)


@router.get("/jobs/{job_id}")
def job(request: Request, parts: Parts, principal: SignedIn, session: Reading, job_id: str) -> HTMLResponse:
    """Show a job: its progress, results, log and settings."""
    record = jobs.get(session, job_id, owner(principal))
    path = jobs.folder(parts.settings, job_id) / runlog.RUN_LOG
    log = runlog.read(path, runlog.start_of_last_lines(path, LOG_LINES), runlog.MOST)
    return render(
        request,
        "job.html",
        **_progress(principal, session, job_id),
        archive=archives.of_job(session, record),
        with_archive=parts.settings.archive is not None,
        log=log,
        config=record.config,
        **results.of_job(parts, record),
    )


@router.get("/jobs/{job_id}/progress")
def progress(request: Request, principal: SignedIn, session: Reading, job_id: str) -> HTMLResponse:
    """Show how far a job is: the part of its page that changes."""
    return render(request, "progress.html", **_progress(principal, session, job_id))


@router.get("/jobs/{job_id}/map")
def map_of_job(request: Request, principal: SignedIn, session: Reading, job_id: str) -> HTMLResponse:
    """Show a job's maps."""
    shown = _whole(get_job(principal, session, job_id))
    return render(request, "map.html", job=shown, figure=mapping.figure(), bokeh=bokeh.__version__)


@router.get("/api")
def api(request: Request, _: SignedIn) -> HTMLResponse:
    """Describe the API."""
    document = request.app.openapi()
    return render(
        request,
        "api.html",
        openapi=document["openapi"],
        groups=reference.of_document(document),
        schemas=reference.schemas_of(document),
        problems=TYPES,
        address=str(request.base_url).rstrip("/"),
    )


@router.get("/account")
def account(request: Request, parts: Parts, principal: SignedIn, session: Reading) -> HTMLResponse:
    """Show an account's tokens."""
    disk = quotas.usage(session, parts.settings, principal.user_id)
    return render(
        request,
        "account.html",
        token_days=max(1, int(parts.settings.token_days)),
        used=disk.used,
        quota=disk.limit,
        password_length=PASSWORD_LENGTH,
    )


@router.get("/operator")
def operator(request: Request, parts: Parts, _: Operator, session: Reading) -> HTMLResponse:
    """Show users, cleanup, the archive and the audit trail."""
    settings = parts.settings
    keep = {
        "completed": settings.keep_completed_hours,
        "then": settings.keep_completed_then,
        "failed": settings.keep_failed_hours,
        "uploads": settings.keep_uploads_hours,
        "audit": settings.keep_audit_days,
    }
    return render(
        request,
        "operator.html",
        keep=keep,
        archive=archives.overview(session) if settings.archive else None,
        quota_bytes=settings.quota_bytes,
        password_length=PASSWORD_LENGTH,
    )


@router.get("/problems/{name}")
def problem(request: Request, name: str) -> HTMLResponse:
    """Say what a type of problem means."""
    if name not in TYPES:
        raise Problem("not-found", "There is no such type of problem.")
    number, title = TYPES[name]
    meaning, remedy = explanations.explain(name)
    return render(request, "problem.html", name=name, number=number, title=title, meaning=meaning, remedy=remedy)


def _progress(principal: Principal, session: Session, job_id: str) -> dict[str, Any]:
    progress = get_progress(principal, session, job_id)
    return {
        "job": get_job(principal, session, job_id),
        "progress": progress,
        "stages": stages.of_rules(progress.rules),
    }


def _whole(job: JobDetail) -> JobDetail:
    if job.removed is not None:
        raise Problem("gone", "The job's files were removed; a clone computes them anew.")
    return job


def _names(session: Session, users: set[str]) -> dict[str, str]:
    found = session.scalars(select(User).where(User.id.in_(users)))
    return {user.id: user.name for user in found}
