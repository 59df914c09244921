"""Figures for Prometheus: of requests as they pass, of jobs, uploads and disk when they are asked for.

What the database says is cached for some seconds, so that a reader who asks often costs nothing. Counters of what
jobs did begin at zero with the process, as Prometheus expects of counters, and grow by the events since then.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eemt import __version__
from eemt.service.archives import UNDER_WAY
from eemt.service.models import FINISHED, Archive, Event, Job, Upload
from eemt.service.service import Service
from eemt.sql import now

FRESH_SECONDS = 5.0
EVENTS_AT_ONCE = 5000
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
STATES = ("pending", "running", *FINISHED)
ARCHIVE_STATES = (*UNDER_WAY, "archived", "failed", "retrieved")
UPLOAD_STATES = ("receiving", "checking", "ready", "refused")
REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAIT_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 48 * 3600)
RUN_SECONDS = (10, 30, 60, 300, 900, 3600, 3 * 3600, 12 * 3600, 48 * 3600, 168 * 3600)
RULE_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)


def install(app: FastAPI) -> None:
    """Measure the requests of an application."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody asks for
    app.state.metrics = Metrics(app.state.service)
    app.add_middleware(Requests, metrics=app.state.metrics)


class Metrics:
    """The figures of one service, in a registry of its own."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "eemt_http_requests", "Requests answered", ("method", "route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "eemt_http_request_seconds",
            "Time from a request to the end of its answer, but for streams of events",
            ("method", "route"),
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.under_way = Gauge("eemt_http_requests_under_way", "Requests that are worked on", registry=registry)
        self.streams = Gauge("eemt_http_event_streams", "Streams of events that are watched", registry=registry)
        registry.register(FromService(service))


class Requests:
    """ASGI middleware that counts and times requests by their route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and measure it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status, streams = 500, False  # an exception that nothing has answered becomes 500

        async def watch(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                kinds = [value for name, value in message.get("headers", ()) if name.lower() == b"content-type"]
                streams = any(kind.startswith(b"text/event-stream") for kind in kinds)
                if streams:
                    self.metrics.under_way.dec()
                    self.metrics.streams.inc()
            await send(message)

        self.metrics.under_way.inc()
        try:
            await self.app(scope, receive, watch)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = template(scope)
            (self.metrics.streams if streams else self.metrics.under_way).dec()
            self.metrics.requests.labels(method, route, str(status)).inc()
            if not streams:
                self.metrics.request_seconds.labels(method, route).observe(time.perf_counter() - started)


def template(scope: Scope) -> str:
    """Return the address that a request was routed by, such as /api/v1/jobs/{job_id}; never what a caller made up."""
    route = scope.get("route")
    if route is None:
        # below a mount, whose path is the application's root there; else nothing was found
        return f"{scope['root_path']}/" if "app_root_path" in scope and scope.get("root_path") else "none"
    pattern: str = getattr(route, "path_format", None) or route.path
    # a router does not know the prefix that it was included with
    filled = pattern
    for name, value in scope.get("path_params", {}).items():
        filled = filled.replace(f"{{{name}}}", str(value))
    path: str = scope["path"]
    return path[: -len(filled)] + pattern if path.endswith(filled) else pattern


class FromService(Collector):
    """What the service and its database know, asked when Prometheus asks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._began = now()
        self._lock = threading.Lock()
        self._asked = -FRESH_SECONDS
        self._found: list[Metric] = []
        self._event: int | None = None  # the last one that was counted
        # in no registry: they are collected below, after they have counted
        self.queue_seconds = Histogram(
            "eemt_job_queue_seconds", "Time that jobs waited", buckets=WAIT_SECONDS, registry=None
        )
        self.run_seconds = Histogram(
            "eemt_job_run_seconds", "Time that jobs ran", ("kind", "state"), buckets=RUN_SECONDS, registry=None
        )
        self.cells = Counter("eemt_job_cells", "Cells of completed jobs", ("kind",), registry=None)
        self.cells_per_second = Gauge(
            "eemt_job_cells_per_second", "Cells of the last completed job by its run time", ("kind",), registry=None
        )
        self.rule_seconds = Histogram(
            "eemt_rule_seconds", "Time that rules' jobs ran", ("rule",), buckets=RULE_SECONDS, registry=None
        )
        self.rules_failed = Counter("eemt_rule_failures", "Rules' jobs that failed", ("rule",), registry=None)
        self._counters = (
            self.queue_seconds,
            self.run_seconds,
            self.cells,
            self.cells_per_second,
            self.rule_seconds,
            self.rules_failed,
        )

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: the database may not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return what is known now, or was some seconds ago."""
        with self._lock:
            if time.monotonic() - self._asked >= FRESH_SECONDS:
                found = [*self._here(), *self._from_database()]
                self._found = [*found, *(metric for counter in self._counters for metric in counter.collect())]
                self._asked = time.monotonic()
            yield from self._found

    def _here(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("eemt_build_info", "Version that runs", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        settings = self.service.settings
        free = GaugeMetricFamily("eemt_disk_free_bytes", "Free disk", labels=["folder"])
        total = GaugeMetricFamily("eemt_disk_total_bytes", "Size of the disk", labels=["folder"])
        for name in ("jobs", "uploads", "cache", "logs"):
            try:
                disk = shutil.disk_usage(getattr(settings, name))
            except OSError:
                continue
            free.add_metric([name], disk.free)
            total.add_metric([name], disk.total)
        yield from (free, total)
        yield GaugeMetricFamily(
            "eemt_disk_least_free_bytes", "Free disk below which nothing begins", settings.least_free_bytes
        )
        yield GaugeMetricFamily("eemt_running_limit", "Jobs that run at the same time at most", settings.running)
        if last := self.service.cleaner.last:
            yield GaugeMetricFamily("eemt_cleanup_at_seconds", "When the last cleanup was", last.at.timestamp())
            yield GaugeMetricFamily(
                "eemt_cleanup_removed_bytes", "Removed by cleanups since the start", self.service.cleaner.removed_bytes
            )

    def _from_database(self) -> Iterator[Metric]:
        found: list[Metric] = []
        try:
            with self.service.database.reading() as session:
                found = [*_jobs(session), *_uploads(session), _archives(session)]
                self._count_events(session)
        except SQLAlchemyError:
            found = []
        yield GaugeMetricFamily("eemt_database_up", "Whether the database answers", float(bool(found)))
        yield from found

    def _count_events(self, session: Session) -> None:
        """Count what jobs did since the last time."""
        newest = session.scalar(select(func.max(Event.id))) or 0
        if self._event is None:
            self._event = session.scalar(select(func.max(Event.id)).where(Event.at < self._began)) or 0
        while self._event < newest:
            query = (
                select(Event.id, Event.kind, Event.data, Job.kind, Job.cells, Job.queued, Job.started, Job.finished)
                .join(Job, Job.id == Event.job_id)
                .where(Event.id > self._event, Event.id <= newest)
                .where(Event.kind.in_(("state", "rule_finished", "rule_failed")))
                .order_by(Event.id)
                .limit(EVENTS_AT_ONCE)
            )
            rows = session.execute(query).all()
            for _, what, data, *job in rows:
                self._count(what, data, *job)
            self._event = rows[-1][0] if len(rows) == EVENTS_AT_ONCE else newest

    def _count(self, what, data, kind, cells, queued, started, finished) -> None:  # type: ignore[no-untyped-def]
        if what == "rule_failed":
            self.rules_failed.labels(str(data.get("rule"))).inc()
        elif what == "rule_finished":
            self.rule_seconds.labels(str(data.get("rule"))).observe(float(data.get("seconds") or 0))
        elif data.get("state") == "running" and started is not None:
            self.queue_seconds.observe(max((started - queued).total_seconds(), 0))
        elif data.get("state") in FINISHED and started is not None and finished is not None:
            seconds = max((finished - started).total_seconds(), 0.001)
            self.run_seconds.labels(kind, data["state"]).observe(seconds)
            if data["state"] == "completed" and cells:
                self.cells.labels(kind).inc(cells)
                self.cells_per_second.labels(kind).set(cells / seconds)


def _jobs(session: Session) -> Iterator[Metric]:
    query = select(Job.state, func.count(), func.sum(Job.bytes)).where(Job.deleted.is_(None)).group_by(Job.state)
    yield from _by_state("jobs", session.execute(query).all(), STATES)
    oldest = session.scalar(select(func.min(Job.queued)).where(Job.state == "pending", Job.deleted.is_(None)))
    waits = (now() - oldest).total_seconds() if oldest else 0.0
    yield GaugeMetricFamily("eemt_job_oldest_pending_seconds", "How long the longest waiting job waits", waits)
    sign = session.scalar(select(func.min(Job.last_sign)).where(Job.state == "running"))
    silent = (now() - sign).total_seconds() if sign else 0.0
    yield GaugeMetricFamily("eemt_job_longest_silence_seconds", "Time without a sign of life of a running job", silent)


def _uploads(session: Session) -> Iterator[Metric]:
    query = select(Upload.state, func.count(), func.sum(Upload.received)).group_by(Upload.state)
    yield from _by_state("uploads", session.execute(query).all(), UPLOAD_STATES)


def _archives(session: Session) -> Metric:
    """Count the jobs on their way to the archive, there, or back; one that its user has deleted failed for nobody."""
    query = select(Archive.state, func.count()).join(Job, Job.id == Archive.job_id)
    query = query.where((Archive.state != "failed") | Job.deleted.is_(None)).group_by(Archive.state)
    counts = dict.fromkeys(ARCHIVE_STATES, 0) | dict(session.execute(query).tuples().all())
    family = GaugeMetricFamily("eemt_archives", "Archived jobs by state", labels=["state"])
    for state, number in counts.items():
        family.add_metric([state], number)
    return family


def _by_state(what: str, rows: Iterable[Any], states: Iterable[str]) -> Iterator[Metric]:
    """Yield how many there are in each state, those without any too, and the disk that all fill."""
    counts = dict.fromkeys(states, 0)
    size = 0
    for state, number, total in rows:
        counts[state] = number
        size += int(total or 0)
    family = GaugeMetricFamily(f"eemt_{what}", f"{what.capitalize()} by state", labels=["state"])
    for state, number in counts.items():
        family.add_metric([state], number)
    yield family
    yield GaugeMetricFamily(f"eemt_{what}_bytes", f"Disk that {what} fill", size)
