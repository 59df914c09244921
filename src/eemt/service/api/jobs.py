"""The API of jobs: submit, list, watch, cancel, run again, clone, delete."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from eemt.service import archives, depositing, jobs, runlog, streams, submission
from eemt.service.api.documented import problems
from eemt.service.archives import ArchivalState, Fault
from eemt.service.dependencies import Parts, Principal, Reading, SignedIn, note
from eemt.service.models import FINISHED, Event, Job, Kind, RuleProgress, State, Upload, User, new_id
from eemt.service.problems import Problem
from eemt.sql import now

router = APIRouter(tags=["jobs"])

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
MOST_JOBS = 1000  # of one page
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Server-sent events"},
    204: {"description": "The job is finished, and everything was sent before"},
}
TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{8,32}$", description="The job's identifier")]
OfAll = Annotated[bool, Query(alias="all", description="Of all users; for operators")]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="The last event that was received; those after it follow")
]


class NewJob(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME, max_length=64, description="Name of the job and of its site", examples=["boulder"])
    kind: Kind = Field("eemt", description="sun: irradiation alone; eemt: everything")
    settings: dict[str, Any] = Field(
        description="One site as in config.yaml; a file is written as {upload: ID}",
        examples=[{"dem": {"source": {"upload": "0f1e2d3c4b5a69788796"}}, "sun": {"step": 15}}],
    )


class Clone(BaseModel):
    """What a copy of a job has of its own."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, pattern=NAME, max_length=64, description="By default the name of the other")
    kind: Kind | None = Field(None, description="By default that of the other")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="What differs in the settings, as a JSON merge patch (RFC 7396): null takes a key away",
        examples=[{"sun": {"linke": 4.5}}],
    )


class ArchiveState(BaseModel):
    """How far a job's results are on their way to the archive, or back."""

    model_config = ConfigDict(from_attributes=True)

    state: ArchivalState
    identifier: str | None = Field(description="Of the dataset, once the archive has it")
    message: str | None = Field(description="What it waits for, or why it failed")
    fault: Fault | None = Field(description="Of what failed: user, such as files that changed, or system")
    at: datetime | None = Field(description="Of the last change")


class JobSummary(BaseModel):
    """A job."""

    id: str
    name: str
    kind: Kind
    state: State
    user: str | None = Field(description="Name of whom it belongs to")
    attempt: int
    cloned_from: str | None
    cells: int | None = Field(description="Of the elevation model, as mapped")
    bytes: int = Field(description="On disk")
    steps_done: int
    steps_total: int = Field(description="0 where they are not known yet")
    seconds_left: float | None = Field(description="Of a running job, by what it has done so far")
    cancelling: bool = Field(description="Whether it is about to end since it was cancelled")
    message: str | None = Field(description="Why it failed, with the last lines of the rule's log")
    created: datetime
    queued: datetime
    started: datetime | None
    finished: datetime | None
    removed: datetime | None = Field(description="When its files were removed")


COPIED = tuple(name for name in JobSummary.model_fields if name in Job.__table__.columns)


class JobDetail(JobSummary):
    """A job with what was asked for."""

    settings: dict[str, Any] = Field(description="As submitted")
    place_in_queue: int | None = Field(description="Of a pending job: 1 where none was submitted before it")
    archive: ArchiveState


class JobList(BaseModel):
    """Some jobs, newest first."""

    items: list[JobSummary]
    following: str | None = Field(description="Where the next page begins (`after`); null on the last")


class RuleState(BaseModel):
    """How far the steps of one rule are."""

    model_config = ConfigDict(from_attributes=True)

    rule: str
    total: int
    running: int
    done: int
    failed: int
    seconds: float = Field(description="That the steps took that are done, together")


class Progress(BaseModel):
    """How far a job is."""

    state: State
    attempt: int
    steps_done: int
    steps_total: int
    seconds: float | None = Field(description="Since it began")
    seconds_left: float | None
    last_sign: datetime | None = Field(description="Of life")
    rules: list[RuleState]


@router.post(
    "/jobs",
    status_code=201,
    responses={
        200: {"model": JobDetail, "description": "The job that this Idempotency-Key made before"},
        **problems("key-used-otherwise", "queue-full", "quota"),
    },
)
def submit(
    request: Request,
    parts: Parts,
    principal: SignedIn,
    new: NewJob,
    response: Response,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            description="Any text of yours, such as a UUID: the same request sent again with it makes no second job",
        ),
    ] = None,
) -> JobDetail:
    """Submit a job."""
    return _submit(request, parts, principal, new, response, key)


@router.get("/jobs", response_model=JobList, responses=problems())
def list_jobs(
    principal: SignedIn,
    session: Reading,
    state: Annotated[list[State], Query(description="Only jobs in these states")] = [],  # noqa: B006 - never changed
    search: Annotated[str | None, Query(max_length=64, description="Part of the name")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_JOBS)] = 50,
    after: Annotated[str | None, Query(max_length=200, description="The `following` of the page before")] = None,
    of_all: OfAll = False,
) -> Response:
    """List jobs, newest first."""
    page = jobs.page(session, principal.owner(of_all), state, limit, after, search)
    names = _names(session, page.jobs)
    shown = JobList(items=[JobSummary(**_summary(job, names)) for job in page.jobs], following=page.following)
    # written at once: a thousand jobs need not be checked again by the framework
    return Response(shown.model_dump_json(), media_type="application/json")


@router.get("/jobs/{job_id}", responses=problems("not-found"))
def get_job(principal: SignedIn, session: Reading, job_id: JobId) -> JobDetail:
    """Return a job and what was asked for."""
    return _detail(session, jobs.get(session, job_id, owner(principal)))


@router.delete("/jobs/{job_id}", status_code=204, responses=problems("not-found", "conflict"))
def delete(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> None:
    """Remove a finished job's files and take it off the list; what was asked for is kept on record, and archived."""
    with parts.database.session() as session:
        job = jobs.get(session, job_id, owner(principal), lock=True)
        if job.state not in FINISHED:
            raise Problem("conflict", f"The job is {job.state}; cancel it first.")
        archives.refuse_to_delete(session, job)
        job.deleted = now()
        job.removed = job.removed or job.deleted
        job.bytes = 0
        gives_up = parts.settings.archive is not None and archives.give_up(session, job_id)
        note(request, session, "job.delete", target=job_id)
    # what cannot be removed now is left to the next cleanup
    if gives_up:
        depositing.remove_files(parts.settings, job_id)
        parts.archiver.wake()
    else:
        shutil.rmtree(jobs.folder(parts.settings, job_id), ignore_errors=True)


@router.post("/jobs/{job_id}/cancel", status_code=202, responses=problems("not-found", "conflict"))
def cancel(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> JobDetail:
    """Take a job out of the queue, or end it."""
    with parts.database.session() as session:
        job = jobs.get(session, job_id, owner(principal), lock=True)
        jobs.cancel(session, job)
        note(request, session, "job.cancel", target=job_id)
        session.flush()
        detail = _detail(session, job)
    parts.queue.wake()
    return detail


@router.post("/jobs/{job_id}/retry", responses=problems("not-found", "conflict", "gone", "queue-full"))
def retry(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> JobDetail:
    """Run a finished job again; what it had finished is not computed again."""
    with parts.database.session() as session:
        job = jobs.get(session, job_id, owner(principal), lock=True)
        archives.refuse_to_run_again(session, job)
        jobs.retry(session, parts.settings, job)
        note(request, session, "job.retry", target=job_id, attempt=job.attempt)
        session.flush()
        detail = _detail(session, job)
    parts.queue.wake()
    return detail


@router.post("/jobs/{job_id}/clone", status_code=201, responses=problems("not-found", "gone", "queue-full", "quota"))
def clone(
    request: Request, parts: Parts, principal: SignedIn, job_id: JobId, own: Clone, response: Response
) -> JobDetail:
    """Submit a job like another, with other settings."""
    with parts.database.reading() as session:
        other = jobs.get(session, job_id, owner(principal))
        settings = merged(other.settings, own.settings)
        missing = _missing_uploads(session, settings)
    if missing:
        raise Problem("gone", f"The file {missing[0]} that the job was made from is no longer there; upload it again.")
    new = NewJob(name=own.name or other.name, kind=own.kind or other.kind, settings=settings)
    return _submit(request, parts, principal, new, response, cloned_from=other.id)


@router.get(
    "/jobs/{job_id}/config",
    response_class=PlainTextResponse,
    responses={200: {"content": {"application/yaml": {"schema": {"type": "string"}}}}, **problems("not-found")},
)
def get_config(principal: SignedIn, session: Reading, job_id: JobId) -> Response:
    """Return the config.yaml that the workflow got."""
    job = jobs.get(session, job_id, owner(principal))
    return Response(job.config, media_type="application/yaml")


@router.get("/jobs/{job_id}/progress", responses=problems("not-found"))
def get_progress(principal: SignedIn, session: Reading, job_id: JobId) -> Progress:
    """Return how far a job is, rule by rule."""
    job = jobs.get(session, job_id, owner(principal))
    return _progress(job, jobs.progress(session, job_id))


@router.get(
    "/jobs/{job_id}/logs",
    response_class=PlainTextResponse,
    responses={
        200: {
            **TEXT[200],
            "headers": {
                "X-Offset": {"description": "Where the text begins [bytes]", "schema": {"type": "integer"}},
                "X-Next-Offset": {"description": "Where the text goes on [bytes]", "schema": {"type": "integer"}},
                "X-Size": {"description": "Of the whole log [bytes]", "schema": {"type": "integer"}},
            },
        },
        **problems("not-found", "gone"),
    },
)
def get_log(
    parts: Parts,
    principal: SignedIn,
    job_id: JobId,
    offset: Annotated[int, Query(ge=0, lt=2**63, description="First byte")] = 0,
    limit: Annotated[int, Query(ge=16, le=runlog.MOST, description="Most bytes")] = 1_000_000,
    lines: Annotated[int | None, Query(ge=1, le=100_000, description="The last lines, in place of an offset")] = None,
) -> PlainTextResponse:
    """Return what a job's processes wrote, or a part of it."""
    with parts.database.reading() as session:
        _there(jobs.get(session, job_id, owner(principal)))
    path = jobs.folder(parts.settings, job_id) / runlog.RUN_LOG
    if lines is not None:
        offset, limit = runlog.start_of_last_lines(path, lines), runlog.MOST
    return _log(runlog.read(path, offset, limit))


@router.get(
    "/jobs/{job_id}/logs/stream", response_class=Response, responses=EVENT_STREAM | problems("not-found", "gone")
)
def stream_log(
    parts: Parts,
    principal: SignedIn,
    job_id: JobId,
    offset: Annotated[int, Query(ge=0, lt=2**63, description="First byte")] = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow what a job's processes write.

    Events `log` have the text and where it begins, their number is where the next begins; `end` comes last, with the
    state that the job has then.
    """
    with parts.database.reading() as session:
        job = _there(jobs.get(session, job_id, owner(principal)))
    offset = _number(last_event_id, offset)
    path = jobs.folder(parts.settings, job_id) / runlog.RUN_LOG
    if last_event_id and job.state in FINISHED and not runlog.read(path, offset, 16).text:
        return Response(status_code=streams.NOTHING_MORE)

    def state() -> str | None:
        with parts.database.reading() as session:
            return session.scalar(select(Job.state).where(Job.id == job_id, Job.deleted.is_(None)))

    return streams.response(streams.growing_log(path, offset, state))


@router.get(
    "/jobs/{job_id}/rules/{rule}/log",
    response_class=PlainTextResponse,
    responses=TEXT | problems("not-found", "gone"),
)
def get_rule_log(
    parts: Parts,
    principal: SignedIn,
    job_id: JobId,
    rule: Annotated[str, Path(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)],
    jobid: Annotated[int | None, Query(ge=0, lt=2**31, description="Which step; by default one that failed")] = None,
) -> PlainTextResponse:
    """Return the log of one of the workflow's rules: its end, where it is very long."""
    with parts.database.reading() as session:
        job = _there(jobs.get(session, job_id, owner(principal)))
        path = runlog.rule_log(session, job, jobs.folder(parts.settings, job_id), rule, jobid)
    return _log(runlog.read(path, max(0, path.stat().st_size - runlog.MOST), runlog.MOST))


@router.get("/jobs/{job_id}/events", response_class=Response, responses=EVENT_STREAM | problems("not-found"))
def stream_job(
    parts: Parts,
    principal: SignedIn,
    session: Reading,
    job_id: JobId,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="As Last-Event-ID")] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow what happens to a job.

    Without Last-Event-ID it begins with the present `state` and `progress`; what happens then follows: `state`,
    `progress`, `rule_started`, `rule_finished`, `rule_failed`, `message`, `archive`. It ends when the job is finished,
    and not on its way to the archive or back.
    """
    # asked for before the state is read, so that what happens in between comes twice and not never
    newest = session.scalar(select(func.max(Event.id)).where(Event.job_id == job_id)) or 0
    job = jobs.get(session, job_id, owner(principal))
    known = _number(last_event_id, after)
    first = []
    if known is None:
        known = newest
        state = {"job_id": job.id, "state": job.state, "attempt": job.attempt, "message": job.message}
        progress = _progress(job, jobs.progress(session, job_id)).model_dump(mode="json")
        first = [
            streams.as_event("progress", {"job_id": job.id, **_as_told(progress)}, newest),
            streams.as_event("state", state, newest),
        ]
        if (told := archives.of_job(session, job)).state != "none":
            about = ArchiveState.model_validate(told).model_dump(mode="json", exclude={"at"})
            first.append(streams.as_event("archive", {"job_id": job.id, **about}, newest))
    if newest <= known and _is_over(session, job_id):
        if not first:
            return Response(status_code=streams.NOTHING_MORE)
        return streams.response(streams.these(first))

    def is_over() -> bool:
        with parts.database.reading() as later:
            return _is_over(later, job_id)

    return streams.response(streams.happenings(parts, [job_id], None, known, first, is_over))


@router.get("/events", response_class=Response, responses={200: EVENT_STREAM[200], **problems()})
def stream_all(
    parts: Parts,
    principal: SignedIn,
    session: Reading,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="As Last-Event-ID")] = None,
    last_event_id: LastEventId = None,
    of_all: OfAll = False,
) -> Response:
    """Follow what happens to all of one's jobs, from now on, or from an event on."""
    known = _number(last_event_id, after)
    if known is None:
        known = session.scalar(select(func.max(Event.id))) or 0
    # tells the number that a reader who has seen nothing yet would ask from
    first = [streams.as_event("hello", {}, known)]
    return streams.response(streams.happenings(parts, None, principal.owner(of_all), known, first))


def _is_over(session: Session, job_id: str) -> bool:
    """Tell whether nothing more happens to a job."""
    going_on = select(Job.id).where(Job.id == job_id, Job.state.not_in(FINISHED) | archives.is_under_way())
    return session.scalar(going_on) is None


def owner(principal: Principal) -> str | None:
    """Return whose job may be asked for by its identifier: operators', anyone's."""
    return principal.owner(of_all=True)


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a JSON merge patch (RFC 7396)."""
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            present = result.get(key)
            result[key] = merged(present if isinstance(present, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _submit(
    request: Request,
    parts: Parts,
    principal: Principal,
    new: NewJob,
    response: Response,
    key: str | None = None,
    cloned_from: str | None = None,
) -> JobDetail:
    job = Job(
        id=new_id(),
        user_id=principal.user_id,
        name=new.name,
        kind=new.kind,
        settings=new.settings,
        idempotency_key=key,
        request_hash=_hash(new) if key else None,
        cloned_from=cloned_from,
    )
    if key and (known := _known(parts, job)):
        response.status_code = 200
        return known
    with parts.database.reading() as session:
        asked = submission.prepare(session, parts.settings, principal, new.name, new.kind, new.settings)
    asked.refuse_mistakes()
    job.config, job.cells = asked.config_yaml, asked.cells
    job.expected = asked.estimate.bytes if asked.estimate else 0
    # before the queue knows of the job, and no file work within a transaction
    folder = submission.lay_out(parts.settings, job)
    made = None
    try:
        with parts.database.session() as session:
            submitted = jobs.submit(session, parts.settings, job, asked.uploads)
            if submitted.id == job.id:
                note(request, session, "job.submit", target=job.id, name=job.name, kind=job.kind)
            session.flush()
            detail = _detail(session, submitted)
        made = detail.id
    except IntegrityError:
        # another request with this key came first, at the same moment
        known = _known(parts, job) if key else None
        if known is None:
            raise
        detail = known
    finally:
        if made != job.id:
            shutil.rmtree(folder, ignore_errors=True)
    if made != job.id:
        response.status_code = 200
        return detail
    parts.queue.wake()
    response.headers["Location"] = request.url_for("get_job", job_id=detail.id).path
    return detail


def _known(parts: Parts, job: Job) -> JobDetail | None:
    """Return the job that a key made before."""
    with parts.database.reading() as session:
        query = select(Job).where(Job.user_id == job.user_id, Job.idempotency_key == job.idempotency_key)
        known = session.scalar(query)
        if known is None:
            return None
        if known.request_hash != job.request_hash:
            raise Problem("key-used-otherwise", "Idempotency-Key: was used for another job; take a new one.")
        return _detail(session, known)


def _hash(new: NewJob) -> str:
    return hashlib.sha256(json.dumps(new.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def _missing_uploads(session: Session, settings: Any) -> list[str]:
    """Return which uploads that settings name are no longer there."""
    named = list(_uploads_in(settings))
    there = set(session.scalars(select(Upload.id).where(Upload.id.in_(named))).all())
    return [upload for upload in named if upload not in there]


def _uploads_in(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        if set(value) == {"upload"} and isinstance(value["upload"], str):
            yield value["upload"]
        for part in value.values():
            yield from _uploads_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _uploads_in(part)


def _there(job: Job) -> Job:
    """Return a job whose files were not removed."""
    if job.removed is not None:
        raise Problem("gone", "The job's files were removed.")
    return job


def _names(session: Session, found: Sequence[Job]) -> dict[str, str]:
    """Return the names of the users that jobs belong to."""
    users = {job.user_id for job in found}
    return {user.id: user.name for user in session.execute(select(User.id, User.name).where(User.id.in_(users)))}


def _summary(job: Job, names: Mapping[str, str]) -> dict[str, Any]:
    return {name: getattr(job, name) for name in COPIED} | {
        "user": names.get(job.user_id),
        "cancelling": job.cancel is not None and job.state not in FINISHED,
        "seconds_left": _seconds_left(job),
    }


def _detail(session: Session, job: Job) -> JobDetail:
    place = None
    if job.state == "pending":
        before = select(func.count()).select_from(Job).where(Job.state == "pending", Job.queued < job.queued)
        place = 1 + (session.scalar(before) or 0)
    archive = ArchiveState.model_validate(archives.of_job(session, job))
    return JobDetail(
        **_summary(job, _names(session, [job])), settings=job.settings, place_in_queue=place, archive=archive
    )


def _seconds_left(job: Job, rules: Sequence[RuleProgress] = ()) -> float | None:
    """Estimate how long a running job still takes, from its own pace."""
    if job.state != "running" or job.started is None or not 0 < job.steps_done <= job.steps_total:
        return None
    passed = (now() - job.started).total_seconds()
    done, seconds = sum(rule.done for rule in rules), sum(rule.seconds for rule in rules)
    if not (done and seconds):
        return round(passed * (job.steps_total - job.steps_done) / job.steps_done, 1)
    # rules that have not been seen yet are taken for as long as the others
    each = seconds / done
    work = sum(max(rule.total - rule.done, 0) * (rule.seconds / rule.done if rule.done else each) for rule in rules)
    return round(work * passed / seconds, 1)


def _progress(job: Job, rules: Sequence[RuleProgress]) -> Progress:
    passed = ((job.finished or now()) - job.started).total_seconds() if job.started else None
    return Progress(
        state=job.state,
        attempt=job.attempt,
        steps_done=job.steps_done,
        steps_total=job.steps_total,
        seconds=None if passed is None else round(passed, 1),
        seconds_left=_seconds_left(job, rules),
        last_sign=job.last_sign,
        rules=[RuleState.model_validate(rule) for rule in rules],
    )


def _as_told(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Write progress as events of progress have it."""
    rules = {rule["rule"]: {key: rule[key] for key in rule if key != "rule"} for rule in progress["rules"]}
    return {"done": progress["steps_done"], "total": progress["steps_total"], "rules": rules}


def _log(piece: runlog.Piece) -> PlainTextResponse:
    headers = {"X-Offset": str(piece.start), "X-Next-Offset": str(piece.end), "X-Size": str(piece.size)}
    return PlainTextResponse(piece.text, headers={**headers, "Cache-Control": "no-store"})


def _number(last_event_id: str | None, otherwise: Any) -> Any:
    """Return the number of the last event, as a browser sends it when it connects again."""
    if last_event_id is None or not re.fullmatch(r"\d{1,18}", last_event_id):
        return otherwise
    return int(last_event_id)
