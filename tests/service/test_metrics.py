"""Figures for Prometheus are those of the requests, jobs, uploads and disk that there are."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from eemt.service import metrics
from eemt.service.app import create_app
from eemt.service.models import Event
from eemt.service.settings import Settings
from service.records import add_job, add_operator, add_upload, add_user

HERE = ("127.0.0.1", 40000)


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 0.0)
    return create_app(settings)


@pytest.fixture
def asked(app):
    with TestClient(app, base_url="http://127.0.0.1:8420", client=HERE) as client:
        yield client


def figures(client: TestClient) -> dict[tuple[str, ...], float]:
    """Read the figures: by name and the values of the labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_never_by_what_was_asked_for(asked):
    for _ in range(3):
        asked.get("/health/live")
    asked.get("/api/v1/jobs/abc?token=secret")
    asked.get("/api/v1/jobs/def")
    asked.get("/made/up")
    found = figures(asked)
    assert found["eemt_http_requests_total", "GET", "/health/live", "200"] == 3
    assert found["eemt_http_requests_total", "GET", "none", "404"] == 1
    routes = {name[2] for name in found if name[0] == "eemt_http_requests_total"}
    assert any(route.startswith("/api/v1/jobs/{") for route in routes)
    assert not any("abc" in route or "made" in route for route in routes)
    assert found["eemt_http_request_seconds_count", "GET", "/health/live"] == 3
    assert found["eemt_http_requests_under_way",] == 1  # the one that asks


def test_jobs_and_uploads_are_counted_by_state(app, asked, settings):
    database = app.state.service.database
    with database.session() as session:
        user = add_user(session)
        for state in ("completed", "completed", "failed"):
            add_job(session, settings, user, state, bytes=1000)
        add_upload(session, settings, user, size=500)
    found = figures(asked)
    assert found["eemt_jobs", "completed"] == 2
    assert found["eemt_jobs", "failed"] == 1
    assert found["eemt_jobs", "running"] == 0
    assert found["eemt_jobs_bytes",] == 3000
    assert found["eemt_uploads", "ready"] == 1
    assert found["eemt_uploads_bytes",] == 500
    assert found["eemt_database_up",] == 1
    assert found["eemt_disk_free_bytes", "jobs"] > 0


def test_what_jobs_did_is_counted_once(app, asked, settings):
    database = app.state.service.database
    figures(asked)
    with database.session() as session:
        user = add_user(session)
        job = add_job(session, settings, user, "completed", cells=3_600_000)
        session.add(Event(job_id=job.id, kind="state", data={"state": "running"}))
        session.add(Event(job_id=job.id, kind="rule_failed", data={"rule": "sun"}))
    for _ in range(2):
        found = figures(asked)
        assert found["eemt_job_queue_seconds_count",] == 1
        assert found["eemt_job_queue_seconds_sum",] == pytest.approx(3600, abs=5)
        assert found["eemt_job_run_seconds_count", "sun", "completed"] == 1
        assert found["eemt_job_cells_total", "sun"] == 3_600_000
        assert found["eemt_job_cells_per_second", "sun"] == pytest.approx(1000, rel=0.01)
        assert found["eemt_rule_seconds_count", "sun"] == 1
        assert found["eemt_rule_seconds_sum", "sun"] == 2.0
        assert found["eemt_rule_failures_total", "sun"] == 1


@pytest.mark.usefixtures("asked")
def test_without_its_database_the_rest_is_still_told(app, monkeypatch):
    def gone():
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(app.state.service.database, "reading", gone)
    registry = app.state.metrics.registry
    assert registry.get_sample_value("eemt_database_up") == 0
    assert registry.get_sample_value("eemt_disk_free_bytes", {"folder": "jobs"}) > 0
    assert registry.get_sample_value("eemt_jobs", {"state": "running"}) is None


def test_the_database_is_asked_once_for_many_readers(settings, monkeypatch):
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 60.0)
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1:8420", client=HERE) as client:
        before = figures(client)
        with app.state.service.database.session() as session:
            add_job(session, settings, add_user(session), "failed")
        assert figures(client)["eemt_jobs", "failed"] == before["eemt_jobs", "failed"] == 0


@pytest.mark.parametrize(
    ("address", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("10.1.2.3", {}, True),
        ("192.0.2.7", {}, False),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, False),
        ("10.1.2.3", {"Forwarded": "for=192.0.2.7"}, False),
    ],
)
def test_strangers_and_those_behind_a_proxy_may_not_read_them(tmp_path, address, headers, allowed):
    settings = Settings(folder=tmp_path / "s", accounts=True, metrics_from=("10.0.0.0/8",))
    add_operator(settings)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8420", client=(address, 1)) as client:
        answer = client.get("/metrics", headers=headers)
    assert answer.status_code == (200 if allowed else 403), answer.text
