"""Longer trials of running jobs: kill after kill, a machine that starts anew, a disk that fills up."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from eemt.service import jobs, processes
from eemt.service.database import Database
from eemt.service.models import Job
from eemt.service.settings import PREFIX, Settings
from executors.runs import Run, assert_same_maps, clip_config
from service.conftest import Server
from service.snakefiles import add_job, add_user, alive, get, snakefile, told, until

FINISHED = {"completed", "failed", "cancelled"}


def begin(serve: Callable[..., Server], **settings: object) -> tuple[Server, Database, Settings]:
    """Start a server and look into its database."""
    server = serve(**{PREFIX + name.upper(): str(value) for name, value in {"least_free_bytes": 0, **settings}.items()})
    own = Settings(folder=server.folder, jobs_folder=settings.get("jobs_folder"))  # type: ignore[arg-type]
    return server, Database(own.database), own


def test_a_server_killed_again_and_again_loses_and_doubles_nothing(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server, database, settings = begin(serve, workflow=snakefile(tmp_path), running=3)
    chance = random.Random(7)
    ids = [add_job(database, settings, steps=3, user=f"user{number % 3}") for number in range(12)]
    for _ in range(8):
        time.sleep(chance.uniform(0, 4))
        server.end(signal.SIGKILL)
        server.start()
    until(lambda: all(get(database, job_id).state in FINISHED for job_id in ids), 300)
    for job_id in ids:
        job = get(database, job_id)
        assert (job.state, job.attempt, job.steps_done, job.steps_total) == ("completed", 1, 4, 4), job.message
        for kind in ("rule_started", "rule_finished"):
            of_kind = [event.data["jobid"] for event in told(database, job_id, kind)]
            assert sorted(of_kind) == [0, 1, 2, 3]
        states = [event.data["state"] for event in told(database, job_id, "state")]
        assert states == ["pending", "running", "completed"]
        assert (jobs.folder(settings, job_id) / "run.log").read_text().count("=== attempt") == 1
    database.close()


def test_a_real_job_goes_on_where_a_crash_of_the_machine_left_it(
    serve: Callable[..., Server], clip: Path, fresh: Callable[..., Run]
) -> None:
    config = clip_config(str(clip))
    server, database, settings = begin(serve)
    user = add_user(database)
    with database.session() as session:
        job = Job(user_id=user, name="clip", kind="eemt", settings={}, config=yaml.safe_dump(config))
        job_id = jobs.submit(session, settings, job, []).id
    until(lambda: len(told(database, job_id, "rule_finished")) >= 5, 300)
    server.end(signal.SIGKILL)
    processes.send(processes.members(job_id), signal.SIGKILL)
    until(lambda: not alive(job_id))
    run = Run(jobs.folder(settings, job_id))
    before = run.written()
    finished = len(told(database, job_id, "rule_finished"))
    server.start()
    until(lambda: get(database, job_id).state in FINISHED, 300)
    job = get(database, job_id)
    assert (job.state, job.attempt, job.returns) == ("completed", 2, 0), job.message
    after = run.written()
    kept = [name for name, at in before.items() if after.get(name) == at]
    assert len(kept) >= finished - 2
    reference = fresh("undisturbed", config)
    assert reference.snakemake().returncode == 0
    assert_same_maps(run, reference)
    database.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, check=False, capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted; run as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


FILLING = """
configfile: "config/config.yaml"
rule all:
    default_target: True
    input: "results/fill"
rule fill:
    output: "results/fill"
    log: "logs/fill.log"
    shell: "head -c 10000000 /dev/zero > {output} 2> {log}"
"""


def test_a_full_disk_fails_the_run_and_not_the_service(
    serve: Callable[..., Server], tmp_path: Path, small_disk: Path
) -> None:
    server, database, settings = begin(serve, workflow=snakefile(tmp_path, FILLING), jobs_folder=small_disk)
    job_id = add_job(database, settings)
    until(lambda: get(database, job_id).state in FINISHED, 120)
    job = get(database, job_id)
    assert job.state == "failed" and "fill" in (job.message or "")
    # and a job that finds a full disk before it begins waits for room
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert shutil.disk_usage(small_disk).free == 0
    waiting = add_job(database, settings)
    until(lambda: get(database, waiting).returns == 1, 60)
    assert get(database, waiting).state == "pending"
    assert "it cannot be started: [Errno 28] No space left" in server.log
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    with database.session() as session:
        jobs.retry(session, settings, jobs.get(session, job_id, None))
    until(lambda: {get(database, each).state for each in (job_id, waiting)} <= FINISHED, 180)
    for each in (job_id, waiting):
        assert get(database, each).state == "completed", get(database, each).message
    database.close()


def test_a_database_locked_for_longer_than_anyone_waits_is_outlived(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server, database, settings = begin(serve, workflow=snakefile(tmp_path))
    job_id = add_job(database, settings, "wait", steps=1)
    until(lambda: told(database, job_id, "rule_started"))
    with database.session() as session:  # which keeps all others from writing
        session.get(Job, job_id)
        (jobs.folder(settings, job_id) / "go").touch()
        until(lambda: "the database cannot be asked" in server.log, 120)
        until(lambda: "the lease of the queue is lost" in server.log, 120)
    until(lambda: get(database, job_id).state in FINISHED, 90)
    assert (get(database, job_id).state, get(database, job_id).attempt) == ("completed", 1)
    assert "the lease of the queue is held again" in server.log
    database.close()
