"""Whether the service is alive, is ready, and how the system is."""

from __future__ import annotations

import os
import shutil

import pytest
from fastapi.testclient import TestClient

from eemt.service.api import system
from eemt.service.app import create_app
from eemt.service.models import Audit
from eemt.service.settings import Settings
from eemt.sql import now
from service.records import add_job, add_operator, add_user


def test_a_service_that_has_begun_is_alive_and_ready(client):
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {
        "status": "ok",
        "checks": {"database": "ok", "disk": "ok", "queue": "ok"},
    }


def test_without_database_it_is_alive_and_not_ready(client, monkeypatch):
    parts = client.app.state.service
    monkeypatch.setattr(parts.database, "answers", lambda: False)
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "checks": {"database": "failed", "disk": "ok", "queue": "ok"}}


def test_without_its_queue_it_is_not_ready(client):
    client.app.state.service.queue.stop()
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["queue"] == "failed"


def test_with_little_disk_what_is_there_can_still_be_looked_at(client, monkeypatch):
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(system.shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**9, 10**9))
    assert client.get("/health/ready").json()["checks"]["disk"] == "low"
    monkeypatch.setattr(system.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 0))
    assert client.get("/health/ready").status_code == 503


def test_without_its_folders_it_is_not_ready(client, settings):
    settings.jobs.rename(settings.folder / "away")
    assert client.get("/health/ready").json()["checks"]["disk"] == "failed"
    (settings.folder / "away").rename(settings.jobs)


def test_the_system_says_what_there_is(client, settings):
    with client.app.state.service.database.session() as session:
        user = add_user(session)
        for state in ("completed", "failed", "failed"):
            add_job(session, settings, user, state)
        add_job(session, settings, user, "failed", deleted=now())
    state = client.get("/api/v1/system").json()
    assert state["cores"] == len(os.sched_getaffinity(0))
    assert state["memory"]["total"] > state["memory"]["available"] > 0
    assert state["disk"]["total"] > state["disk"]["free"] > 0
    assert state["disk"]["least_free"] == settings.least_free_bytes
    assert state["execution"] == {"profile": "local", "executor": "local", "running": 1}
    assert (state["jobs"]["completed"], state["jobs"]["failed"], state["jobs"]["cancelled"]) == (1, 2, 0)
    assert state["accounts"] is False
    assert state["at"].endswith("Z")


def test_the_executor_is_the_profiles(tmp_path):
    assert system.executor(Settings(folder=tmp_path, profile="slurm")) == "eemt-slurm"
    own = tmp_path / "mine"
    own.mkdir()
    (own / "config.yaml").write_text("executor: lsf\n")
    assert system.executor(Settings(folder=tmp_path, profile=str(own))) == "lsf"
    assert system.executor(Settings(folder=tmp_path, profile=str(tmp_path / "none"))) == "unknown"


def test_a_cleanup_by_the_api_lists_and_removes(client, settings):
    database = client.app.state.service.database
    with database.session() as session:
        job_id = add_job(session, settings, add_user(session), "completed", 300).id
    listed = client.post("/api/v1/system/cleanup?dry_run=true").json()
    assert [item["id"] for item in listed["items"]] == [job_id]
    assert (settings.jobs / job_id).exists()
    done = client.post("/api/v1/system/cleanup").json()
    assert done["items"] == listed["items"]
    assert not done["dry_run"]
    assert not (settings.jobs / job_id).exists()
    with database.reading() as session:
        actions = {line.action for line in session.query(Audit)}
    assert {"cleanup", "job.removed"} <= actions


@pytest.mark.parametrize("path", ["/api/v1/system", "/metrics"])
def test_strangers_learn_nothing_of_the_system(tmp_path, path):
    settings = Settings(folder=tmp_path / "s", accounts=True)
    add_operator(settings)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8420", client=("192.0.2.7", 1)) as client:
        assert client.get(path).status_code in (401, 403)
        assert client.post("/api/v1/system/cleanup").status_code in (401, 403)
        assert client.get("/health/live").status_code == 200
