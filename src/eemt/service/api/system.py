"""The API of the system: its state, its cleanup; health and metrics."""

from __future__ import annotations

import ipaddress
import os
import shutil
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import psutil
from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import JSONResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from eemt import __version__
from eemt.errors import InputError
from eemt.service import retention, runs
from eemt.service.api.documented import problems
from eemt.service.archives import ArchivalState
from eemt.service.dependencies import Asker, Operator, Parts, Reading, SignedIn, note
from eemt.service.models import Job
from eemt.service.problems import Problem
from eemt.service.service import Service
from eemt.service.settings import Settings
from eemt.sql import now
from eemt.stages.profile import read_profile

router = APIRouter(tags=["system"])
probes = APIRouter(tags=["health"])

# below which not even a log can be written; jobs and uploads stop long before, at least_free_bytes
HARDLY_A_DISK = 16_000_000
QUEUE_THREAD = "queue"
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class Alive(BaseModel):
    """That the process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether the service can do its work, and what of it cannot."""

    status: Literal["ok", "unavailable"]
    checks: dict[Literal["database", "disk", "queue"], Literal["ok", "low", "failed"]] = Field(
        description="low: too little disk for new jobs and uploads; what is there can be looked at"
    )


class Memory(BaseModel):
    """Memory of the machine that the service runs on."""

    total: int = Field(description="[bytes]")
    available: int = Field(description="[bytes]")


class Disk(BaseModel):
    """Disk that jobs lie on."""

    total: int = Field(description="[bytes]")
    free: int = Field(description="[bytes]")
    least_free: int = Field(description="Free disk below which no job and no upload begins [bytes]")


class Execution(BaseModel):
    """What runs jobs."""

    profile: str = Field(description="Name of the Snakemake profile")
    executor: str = Field(description="Of the profile: local, slurm, kubernetes and others")
    running: int = Field(description="Jobs that run at the same time at most")


class Waiting(BaseModel):
    """Jobs of all users, by state."""

    pending: int
    running: int
    completed: int
    failed: int
    cancelled: int
    oldest_pending: datetime | None = Field(description="Since when the longest waiting job waits")


class System(BaseModel):
    """The state of the system."""

    version: str
    at: datetime
    cores: int = Field(description="Cores that the service may use")
    load: float = Field(description="Processes that run or wait to run, on average of the last minute")
    memory: Memory
    disk: Disk
    execution: Execution
    jobs: Waiting
    accounts: bool = Field(description="Whether users sign in")


class Removed(BaseModel):
    """What a cleanup removes."""

    kind: Literal["job", "upload"]
    id: str
    name: str
    why: str
    bytes: int = Field(description="On disk")


class KeptBack(BaseModel):
    """Results that are past their time and stay until they are archived."""

    id: str
    name: str
    state: ArchivalState
    why: str = Field(description="What it waits for, or why it cannot be archived")
    bytes: int = Field(description="On disk")


class Cleaned(BaseModel):
    """What a cleanup removed, or would remove."""

    dry_run: bool
    items: list[Removed]
    kept: list[KeptBack] = Field(description="Of completed jobs, where these are archived before they are removed")
    bytes: int = Field(description="Of all items")
    events: int = Field(description="Events of old jobs")
    audit: int = Field(description="Lines of the audit trail past their time")
    sign_ins: int = Field(description="Sign-ins that are over, and old failed ones")


@probes.get("/health/live")
async def live() -> Alive:
    """Say that the process answers; whoever gets no answer should start it anew."""
    return Alive(status="ok")


@probes.get("/health/ready", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Ready}})
def ready(parts: Parts) -> Response:
    """Say whether database, disk and queue work; while they do not, no requests should be sent here."""
    checks = {
        "database": "ok" if parts.database.answers() else "failed",
        "disk": disk_state(parts.settings),
        "queue": "ok" if queue_runs(parts) else "failed",
    }
    good = "failed" not in checks.values()
    return JSONResponse(
        {"status": "ok" if good else "unavailable", "checks": checks},
        status.HTTP_200_OK if good else status.HTTP_503_SERVICE_UNAVAILABLE,
    )


@probes.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems()},
)
def metrics(request: Request, asker: Asker) -> Response:
    """Give figures to Prometheus: to this machine, to the networks of `metrics_from`, and to operators."""
    may_read(request, asker is not None and asker.is_operator)
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/system", responses=problems())
def system(parts: Parts, _: SignedIn, session: Reading) -> System:
    """Return the state of the system."""
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(parts.settings.jobs)
    return System(
        version=__version__,
        at=now(),
        cores=len(os.sched_getaffinity(0)),
        load=round(os.getloadavg()[0], 2),
        memory=Memory(total=memory.total, available=memory.available),
        disk=Disk(total=disk.total, free=disk.free, least_free=parts.settings.least_free_bytes),
        execution=Execution(
            profile=Path(parts.settings.profile).name,
            executor=executor(parts.settings),
            running=parts.settings.running,
        ),
        jobs=waiting(session),
        accounts=parts.settings.with_accounts,
    )


@router.post("/system/cleanup", responses=problems("conflict"))
def cleanup(
    request: Request,
    parts: Parts,
    _: Operator,
    dry_run: Annotated[bool, Query(description="Only say what would be removed")] = False,
) -> Cleaned:
    """Remove now what is past its time, or say what that is."""
    try:
        done = parts.cleaner.clean(dry_run)
    except retention.BusyError:
        raise Problem("conflict", "A cleanup is under way already.") from None
    if not dry_run:
        with parts.database.session() as session:
            note(request, session, "cleanup", items=len(done.items), bytes=done.bytes, kept=len(done.kept))
    return Cleaned.model_validate(done, from_attributes=True)


def queue_runs(parts: Service) -> bool:
    """Tell whether jobs are started and followed, and by this process."""
    return parts.lease.holds and any(thread.name == QUEUE_THREAD for thread in threading.enumerate())


def disk_state(settings: Settings) -> Literal["ok", "low", "failed"]:
    """Tell whether the folders can be written to and have room."""
    try:
        free = min(shutil.disk_usage(path).free for path in (settings.jobs, settings.uploads, settings.folder))
    except OSError:
        return "failed"
    if free < HARDLY_A_DISK or not all(os.access(path, os.W_OK) for path in (settings.jobs, settings.uploads)):
        return "failed"
    return "low" if free < settings.least_free_bytes else "ok"


def may_read(request: Request, by_right: bool) -> None:
    """Refuse the metrics to strangers.

    A request that a proxy has passed on comes from the proxy's address, whoever asked: it needs the right.

    Raises
    ------
    Problem
        When the asker is no operator and at an address that may not read them.
    """
    settings: Settings = request.app.state.service.settings
    if by_right:
        return
    passed_on = any(name in request.headers for name in FORWARDED)
    if request.client is not None and not passed_on:
        try:
            address = ipaddress.ip_address(request.client.host)
        except ValueError:  # a test client's
            pass
        else:
            networks = [ipaddress.ip_network(name) for name in settings.metrics_from]
            if address.is_loopback or any(address in network for network in networks):
                return
    raise Problem("not-allowed", "Metrics are for this machine, the networks of metrics_from, and operators' tokens.")


def executor(settings: Settings) -> str:
    """Return the executor that the profile names, as far as it can be read."""
    try:
        found = read_profile(runs.profile_folder(settings))
    except InputError:
        return "unknown"
    return str(found.get("executor", "local")) if found is not None else "unknown"


def waiting(session: Session) -> Waiting:
    """Count the jobs of all users by state."""
    there = Job.deleted.is_(None)
    counts = {
        str(state): number
        for state, number in session.execute(select(Job.state, func.count()).where(there).group_by(Job.state))
    }
    oldest = session.scalar(select(func.min(Job.queued)).where(there, Job.state == "pending"))
    states = ("pending", "running", "completed", "failed", "cancelled")
    return Waiting(**{state: counts.get(state, 0) for state in states}, oldest_pending=oldest)
