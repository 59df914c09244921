"""How much the service bears: figures are printed, none is asserted but that nothing fails.

What was measured stands in docs/service.md; `pytest -s` shows it.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import insert

from eemt.service.database import Database
from eemt.service.models import Event, Job, User, new_id
from eemt.sql import now
from service.records import CONFIG
from service.snakefiles import snakefile
from service_systems.asking import API, send, submit, wait_for
from service_systems.driver import Load, run
from service_systems.test_postgresql import make
from sites import BOULDER

__all__ = ["make"]

VIEWERS = 50
REQUESTS = 200  # a second
SECONDS = 30
QUEUED = 500
FOLLOWED = QUEUED if os.environ.get("EEMT_LONG") == "1" else 10  # of these, which takes some 15 minutes
FINISHED = 1000
UPLOAD = int(os.environ.get("EEMT_LOAD_UPLOAD_BYTES", "2_000_000_000"))
FREE = {"EEMT_SERVICE_REQUESTS_A_MINUTE": "1000000", "EEMT_SERVICE_QUEUED_OF_USER": "1000"}


def say(text: str) -> None:
    print(f"\n    {text}", flush=True)


def percentile(values: list[float], part: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[int(part * 100) - 1]


def busy() -> str:
    """Say what else the machine has to do: figures of a busy one are not the service's."""
    return f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, require: Callable[..., None], tmp_path: Path) -> Iterator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'load.sqlite'}"
        return
    require("postgresql")
    make = request.getfixturevalue("make")
    yield make()


def test_fifty_viewers_and_two_hundred_requests_a_second(serve, address, tmp_path, request):
    """On a job that runs: each step of it is told to all."""
    steps = 400
    workflow = snakefile(tmp_path, RUNNING.replace("STEPS", str(steps)))
    server = serve(EEMT_SERVICE_DATABASE_URL=address, EEMT_SERVICE_WORKFLOW=str(workflow), **FREE)
    with httpx.Client(base_url=server.address, timeout=60) as client:
        job = submit(client, "watched", send(client, BOULDER))
        wait_for(client, job, "running")
        paths = [f"{API}/jobs/{job}", f"{API}/jobs?limit=50", f"{API}/jobs/{job}/progress", "/health/live"]
        load = Load("127.0.0.1", server.port)
        process = psutil.Process(server.process.pid)
        before = process.cpu_times()
        asyncio.run(run(load, f"{API}/jobs/{job}/events", VIEWERS, paths, REQUESTS, SECONDS))
        after = process.cpu_times()
        took = (after.user + after.system - before.user - before.system) / len(load.times)
        state = client.get(f"{API}/jobs/{job}").json()
        client.post(f"{API}/jobs/{job}/cancel")
        wait_for(client, job)
    say(
        f"{request.node.callspec.params['address']}: {VIEWERS} viewers, {len(load.times)} requests at {REQUESTS}/s: "
        f"half in {percentile(load.times, 0.5) * 1e3:.0f} ms, 95 % in {percentile(load.times, 0.95) * 1e3:.0f} ms, "
        f"99 % in {percentile(load.times, 0.99) * 1e3:.0f} ms, {len(load.failures)} failed; each viewer was told "
        f"{min(load.told)} to {max(load.told)} times ({state['steps_done']} steps done); "
        f"{took * 1e3:.1f} ms of processor a request, viewers' share within; {busy()}"
    )
    assert not load.failures, load.failures[:5]
    assert len(load.times) >= REQUESTS * SECONDS * 0.99
    assert min(load.told) > 5
    assert "Traceback" not in server.log


RUNNING = """
rule all:
    default_target: True
    input: expand("results/{step}.txt", step=range(STEPS))
rule make:
    output: "results/{step}.txt"
    log: "logs/{step}.log"
    shell: "sleep 0.5; echo made > {output}"
"""


def test_five_hundred_queued_jobs(serve, address, tmp_path, request):
    """All run, in their order, and the page of them stays quick."""
    workflow = snakefile(
        tmp_path, 'rule all:\n    default_target: True\n    output: "results/a.txt"\n    shell: "echo > {output}"\n'
    )
    server = serve(
        EEMT_SERVICE_DATABASE_URL=address, EEMT_SERVICE_WORKFLOW=str(workflow), EEMT_SERVICE_RUNNING="2", **FREE
    )
    with httpx.Client(base_url=server.address, timeout=60) as client:
        upload = send(client, BOULDER)
        began = time.perf_counter()
        jobs = [submit(client, f"job{number}", upload) for number in range(QUEUED)]
        took = time.perf_counter() - began
        times = [timed(client, f"{API}/jobs?limit=100") for _ in range(50)]
        began, first = time.perf_counter(), count(client)["completed"]
        while (done := count(client))["completed"] < min(first + FOLLOWED, QUEUED):
            assert done["failed"] == 0
            assert time.perf_counter() - began < 60 + 20 * FOLLOWED
            times.append(timed(client, f"{API}/jobs?limit=100"))
            time.sleep(0.5)
        rate = (done["completed"] - first) / (time.perf_counter() - began)
        found = [client.get(f"{API}/jobs/{job}").json() for job in jobs]
    say(
        f"{request.node.callspec.params['address']}: {QUEUED} jobs queued in {took:.1f} s; a page of 100 of them "
        f"95 % in {percentile(times, 0.95) * 1e3:.0f} ms; {rate * 60:.0f} jobs of one step run a minute, "
        f"{done['completed']} followed to their end; {busy()}"
    )
    # in the order in which they were submitted, each once
    begun = [job["started"] for job in found if job["started"]]
    assert begun == sorted(begun)
    assert [job["state"] for job in found[: len(begun) - 2]] == ["completed"] * (len(begun) - 2)
    assert {job["attempt"] for job in found if job["state"] == "completed"} == {1}
    assert "Traceback" not in server.log


def count(client: httpx.Client) -> dict[str, int]:
    """Return how many jobs are in each state."""
    states: dict[str, int] = client.get(f"{API}/system").json()["jobs"]
    return states


def timed(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began


def test_a_thousand_finished_jobs_are_listed(serve, address, request):
    server = serve(EEMT_SERVICE_DATABASE_URL=address, **FREE)
    fill(address)
    with httpx.Client(base_url=server.address, timeout=60) as client:
        everything = f"{API}/jobs?limit={FINISHED}"
        assert len(client.get(everything).json()["items"]) == FINISHED
        figures = {}
        for name, path in (("a page of 50", f"{API}/jobs?limit=50"), ("all at once", everything)):
            times = [timed(client, path) for _ in range(100)]
            figures[name] = (
                f"{name}: half in {percentile(times, 0.5) * 1e3:.0f} ms, 95 % in {percentile(times, 0.95) * 1e3:.0f} ms"
            )
    say(f"{request.node.callspec.params['address']}: {FINISHED} finished jobs; {'; '.join(figures.values())}; {busy()}")
    if shutil.which("wrk"):
        words = ["wrk", "--threads", "1", "--connections", "4", "--duration", "10s", "--latency"]
        out = subprocess.run(
            [*words, f"{server.address}{API}/jobs?limit=50"], capture_output=True, text=True, check=True
        )
        found = dict(re.findall(r"^\s+(50%|99%)\s+(\S+)$", out.stdout, re.M))
        rate = re.search(r"Requests/sec:\s+(\S+)", out.stdout)[1]
        say(f"wrk, 4 connections: {rate} pages of 50 a second, half in {found['50%']}, 99 % in {found['99%']}")
        assert "Non-2xx" not in out.stdout


def fill(address: str) -> None:
    """Put finished jobs into a database, each with its events."""
    database = Database(address)
    with database.session() as session:
        user = session.query(User).first()
        rows = [
            {
                "id": new_id(),
                "user_id": user.id,
                "name": f"job{number}",
                "kind": "eemt",
                "state": "completed",
                "settings": {"dem": {"source": "glo30", "bbox": [-105.3, 39.9, -105.2, 40.0]}},
                "config": CONFIG * 50,
                "cells": 10**6,
                "started": now(),
                "finished": now(),
                "steps_done": 40,
                "steps_total": 40,
            }
            for number in range(FINISHED)
        ]
        session.execute(insert(Job), rows)
        for row in rows:
            session.execute(
                insert(Event),
                [{"job_id": row["id"], "kind": "rule_finished", "data": {"rule": "sun"}} for _ in range(40)],
            )
    database.close()


def test_a_large_upload_keeps_memory_flat(serve, tmp_path):
    """A GeoTIFF of so many bytes, of which most are zeros behind its end."""
    if shutil.disk_usage(tmp_path).free < 3 * UPLOAD + 6_000_000_000:
        pytest.skip(f"needs {3 * UPLOAD / 1e9 + 6:.0f} GB of disk")
    server = serve(**FREE)
    process = psutil.Process(server.process.pid)
    memory: list[int] = []
    stop = threading.Event()

    def measure() -> None:
        while not stop.wait(0.2):
            memory.append(process.memory_info().rss)

    with httpx.Client(base_url=server.address, timeout=120) as client:
        send(client, BOULDER)  # what is loaded once is loaded
        before = process.memory_info().rss
        watcher = threading.Thread(target=measure)
        watcher.start()
        made = client.post(f"{API}/uploads", json={"name": "large.tif", "size": UPLOAD, "kind": "dem"})
        assert made.status_code == 201, made.text
        upload = made.json()
        content = BOULDER.read_bytes()
        began, offset = time.perf_counter(), 0
        while offset < UPLOAD:
            length = min(upload["chunk_bytes"], UPLOAD - offset)
            piece = (content if offset == 0 else b"").ljust(length, b"\0")
            headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
            answer = client.patch(f"{API}/uploads/{upload['id']}", content=piece, headers=headers)
            assert answer.status_code == 200, answer.text
            offset = answer.json()["offset"]
        took = time.perf_counter() - began
        while (state := client.get(f"{API}/uploads/{upload['id']}").json())["state"] in ("receiving", "checking"):
            assert time.perf_counter() - began < 600
            time.sleep(0.5)
        stop.set()
        watcher.join()
        client.delete(f"{API}/uploads/{upload['id']}")
    grown = (max(memory) - before) / 1e6
    say(
        f"an upload of {UPLOAD / 1e9:g} GB: {took:.0f} s, {UPLOAD / took / 1e6:.0f} MB/s, the server's memory grew by "
        f"at most {grown:.0f} MB from {before / 1e6:.0f} MB; then {state['state']}; this process has "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )
    # not a tenth of the file: what is written is not held
    assert grown * 1e6 < UPLOAD / 10 + 100e6
