"""Servers that are killed, doubled or lose their database in the middle of a run: nothing that was accepted is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eemt.service import jobs, processes
from eemt.service.database import Database
from eemt.service.settings import PREFIX, Settings

from .conftest import Server
from .snakefiles import add_job, alive, get, snakefile, told, until


@pytest.fixture
def server(serve: Callable[..., Server], tmp_path: Path) -> Server:
    """A real one, that runs small workflows."""
    environment = {"WORKFLOW": str(snakefile(tmp_path)), "LEAST_FREE_BYTES": "0", "RUNNING": "4", "GRACE_SECONDS": "5"}
    return serve(**{PREFIX + name: value for name, value in environment.items()})


@pytest.fixture
def settings(server: Server) -> Settings:
    return Settings(folder=server.folder)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The server's, from another process."""
    database = Database(settings.database)
    yield database
    database.close()


@pytest.fixture
def waits(server: Server, settings: Settings, database: Database) -> Iterator[str]:
    """A job in the middle of its run, which ends when a file `go` is in its folder."""
    job_id = add_job(database, settings, "wait", steps=2)
    until(lambda: told(database, job_id, "rule_started"))
    yield job_id
    server.end(signal.SIGKILL)
    processes.send(processes.members(job_id), signal.SIGKILL)
    until(lambda: not alive(job_id))


def go(settings: Settings, job_id: str) -> None:
    (jobs.folder(settings, job_id) / "go").touch()


def assert_whole(database: Database, job_id: str, attempt: int = 1) -> None:
    """Assert that a job has ended well, and that each thing that happened is told once."""
    job = get(database, job_id)
    assert (job.state, job.attempt, job.steps_done, job.steps_total) == ("completed", attempt, 3, 3), job.message
    ends = [(event.data["rule"], event.data["jobid"]) for event in told(database, job_id, "rule_finished")]
    assert len(ends) == len(set(ends)) == 3
    assert [event.data["state"] for event in told(database, job_id, "state")] == ["pending", "running", "completed"]


def test_a_killed_server_takes_its_runs_up_again(
    server: Server, settings: Settings, database: Database, waits: str
) -> None:
    waiting = [add_job(database, settings, steps=1) for _ in range(3)]
    server.end(signal.SIGKILL)
    supervisor = processes.from_json(get(database, waits).process)
    assert supervisor is not None and supervisor.is_alive
    server.start()
    until(lambda: f"job {waits} is taken up again" in server.log or get(database, waits).state == "completed")
    go(settings, waits)
    until(lambda: get(database, waits).state == "completed")
    assert_whole(database, waits)
    until(lambda: all(get(database, job_id).state == "completed" for job_id in waiting))


def test_what_ended_while_no_server_was_there_is_not_done_again(
    server: Server, settings: Settings, database: Database, waits: str
) -> None:
    server.end(signal.SIGKILL)
    go(settings, waits)
    until((jobs.folder(settings, waits) / "exit.json").exists)
    ended = time.time()
    server.start()
    until(lambda: get(database, waits).state == "completed")
    assert_whole(database, waits)
    finished = get(database, waits).finished
    assert finished is not None and finished.timestamp() <= ended


def test_a_server_that_is_stopped_leaves_its_runs(
    server: Server, settings: Settings, database: Database, waits: str
) -> None:
    assert server.end() == 0
    assert alive(waits) and get(database, waits).state == "running"
    server.start()
    go(settings, waits)
    until(lambda: get(database, waits).state == "completed")
    assert_whole(database, waits)


def test_a_second_server_on_the_same_database_is_refused_in_one_line(
    server: Server, settings: Settings, database: Database, waits: str
) -> None:
    assert server.process is not None
    command = [sys.executable, "-m", "eemt.cli", "serve", "--folder", str(server.folder), "--port", "0"]
    second = subprocess.run(
        command, env={**os.environ, **server.environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 2
    said = [line for line in second.stderr.splitlines() if line.startswith("eemt serve: ")]
    assert len(said) == 1 and "Traceback" not in second.stderr
    assert f"has a server already: {os.uname().nodename}, process {server.process.pid}" in said[0]
    go(settings, waits)
    until(lambda: get(database, waits).state == "completed")
    assert_whole(database, waits)


def test_a_database_that_is_locked_or_gone_is_asked_until_it_answers(
    server: Server, settings: Settings, database: Database, waits: str
) -> None:
    # a table without its name can be asked by no one
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs RENAME TO away")
    until(lambda: "the database cannot be asked" in server.log)
    go(settings, waits)
    until((jobs.folder(settings, waits) / "exit.json").exists)
    other = sqlite3.connect(server.folder / "service.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    other.execute("ALTER TABLE away RENAME TO jobs")
    time.sleep(2)
    other.execute("COMMIT")
    other.close()
    until(lambda: get(database, waits).state == "completed")
    assert_whole(database, waits)
