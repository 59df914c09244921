"""Jobs run in fair order, end as they should, and are found again by the next server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from eemt.errors import InputError
from eemt.service import following, jobs, processes, queue
from eemt.service.database import Database
from eemt.service.models import Job
from eemt.service.queue import Queue
from eemt.service.settings import Settings
from eemt.sql import now

from .snakefiles import add_job, alive, get, snakefile, told, until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        folder=tmp_path / "service", workflow=snakefile(tmp_path), grace_seconds=5, least_free_bytes=0, running=2
    )


@pytest.fixture
def make_queue(database: Database, settings: Settings) -> Iterator[Callable[..., Queue]]:
    """Make queues, of which the tests look themselves instead of a thread."""
    queues: list[Queue] = []

    def make(**other: object) -> Queue:
        queues.append(Queue(settings.model_copy(update=other), database))
        return queues[-1]

    yield make
    end = Queue(settings.model_copy(update={"at_stop": "end", "grace_seconds": 0}), database)
    end.stop()
    for one in queues:
        for child in [started.child for started in one.follower.started.values()] + one.follower.leaving:
            child.wait(20)


def run_until(queue: Queue, job_id: str, *states: str) -> Job:
    def look() -> bool:
        queue.look()
        return get(queue.database, job_id).state in states

    until(look)
    return get(queue.database, job_id)


def test_a_job_runs_to_its_end_and_says_how_far_it_is(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    job_id = add_job(database, settings)
    job = run_until(make_queue(), job_id, "completed", "failed")
    folder = jobs.folder(settings, job_id)
    assert (job.state, job.message, job.process) == ("completed", None, None), (folder / "run.log").read_text()
    assert (job.steps_done, job.steps_total) == (3, 3)
    assert (folder / "results/0.txt").exists()
    assert (folder / "config/config.yaml").read_text() == job.config
    with database.reading() as session:
        rules = {row.rule: (row.total, row.running, row.done, row.failed) for row in jobs.progress(session, job_id)}
    assert rules == {"make": (2, 0, 2, 0), "all": (1, 0, 1, 0)}
    assert [event.data["state"] for event in told(database, job_id, "state")] == ["pending", "running", "completed"]
    last = told(database, job_id, "progress")[-1].data
    assert (last["done"], last["total"], last["rules"]["make"]["done"]) == (3, 3, 2)
    until(lambda: get(database, job_id).bytes > 0)


def test_a_failed_job_says_which_rule_and_what_its_log_ends_with(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    job_id = add_job(database, settings, "fail", steps=1)
    job = run_until(make_queue(), job_id, "completed", "failed")
    assert job.state == "failed"
    lines = (job.message or "").splitlines()
    assert lines[0] == "make failed; its log ends with:"
    assert lines[1:] == [f"line {number}" for number in range(12, 31)] + ["\N{REPLACEMENT CHARACTER} end"]
    (failed,) = told(database, job_id, "rule_failed")
    assert (failed.data["rule"], failed.data["log"]) == ("make", "logs/0.log")
    assert failed.data["tail"] == lines[1:]
    assert told(database, job_id)[-1].data["message"] == job.message


def test_bad_input_is_said_in_its_one_line(
    make_queue: Callable[..., Queue], database: Database, settings: Settings, tmp_path: Path
) -> None:
    of_rule = add_job(database, settings, "refuse", steps=1)
    assert run_until(make_queue(running=1), of_rule, "failed").message == "make: dem: has no CRS"
    source = "import sys\nprint('eemt: sites.a.sun.linke: 99 is too much', file=sys.stderr)\nsys.exit(2)\n"
    at_start = add_job(database, settings)
    elsewhere = make_queue(workflow=snakefile(tmp_path, source))
    assert run_until(elsewhere, at_start, "failed").message == "sites.a.sun.linke: 99 is too much"


def test_what_snakemake_itself_refuses_is_said_in_its_words(
    make_queue: Callable[..., Queue], database: Database, settings: Settings, tmp_path: Path
) -> None:
    job_id = add_job(database, settings)
    queue = make_queue(workflow=snakefile(tmp_path, "rule all:\n    input: 'nobody_makes_this'\n"))
    message = run_until(queue, job_id, "failed").message or ""
    assert message.startswith("Snakemake failed:\n")
    assert "MissingInputException" in message and "nobody_makes_this" in message


def test_a_cancelled_job_is_cancelled_when_none_of_its_processes_is_left(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    queue = make_queue(grace_seconds=1)
    job_id = add_job(database, settings, "stubborn", steps=1)
    until(lambda: (queue.look(), told(database, job_id, "rule_started"))[1])
    assert alive(job_id)
    with database.session() as session:
        jobs.cancel(session, jobs.get(session, job_id, None))
    seen = []

    def look() -> bool:
        queue.look()
        seen.append((get(database, job_id).state, bool(alive(job_id))))
        return seen[-1][0] != "running"

    until(look)
    assert seen[-1] == ("cancelled", False)
    assert ("running", True) in seen


def test_a_job_whose_processes_were_killed_goes_on_from_what_is_finished(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    queue = make_queue(running=1)
    job_id = add_job(database, settings, "wait", steps=2)
    place = jobs.folder(settings, job_id)
    until(lambda: (queue.look(), told(database, job_id, "rule_started"))[1])
    (place / "results/0.txt").write_text("1\n")
    processes.send(processes.members(job_id), signal.SIGKILL)
    until(lambda: not alive(job_id))
    queue.look()
    job = get(database, job_id)
    assert (job.state, job.attempt, job.returns) in {("pending", 2, 1), ("running", 2, 1)}
    (message,) = (event.data["message"] for event in told(database, job_id, "state") if event.data["message"])
    assert message.startswith("its process is gone")
    (place / "go").touch()
    job = run_until(queue, job_id, "completed", "failed")
    assert (job.state, job.attempt, job.returns) == ("completed", 2, 0), (place / "run.log").read_text()
    assert (place / "run.log").read_text().count("=== attempt") == 2


def test_a_job_that_is_lost_again_and_again_without_progress_is_given_up(
    make_queue: Callable[..., Queue],
    database: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "START_AGAIN_SECONDS", 0.0)
    source = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    queue = make_queue(workflow=snakefile(tmp_path, source))
    job_id = add_job(database, settings)
    with database.session() as session:
        jobs.get(session, job_id, None).returns = 2  # times before
    job = run_until(queue, job_id, "failed")
    assert (job.attempt, job.returns) == (2, 0)
    assert job.message == (
        "its process is gone, as after a start of the machine or container; "
        "given up after 4 times in a row without progress"
    )


def test_what_a_killed_supervisor_leaves_is_ended_before_the_job_starts_again(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    queue = make_queue()
    job_id = add_job(database, settings, "wait", steps=1)
    until(lambda: (queue.look(), told(database, job_id, "rule_started"))[1])
    supervisor = get(database, job_id).process
    assert supervisor is not None
    before = {process.pid for process in processes.members(job_id)} - {supervisor["pid"]}
    os.kill(supervisor["pid"], signal.SIGKILL)
    until(lambda: (queue.look(), get(database, job_id).attempt == 2)[1])
    assert not before & {process.pid for process in processes.members(job_id)}


def test_whoever_ends_a_run_from_outside_does_not_make_the_job_fail(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    queue = make_queue()
    job_id = add_job(database, settings, "wait", steps=1)
    until(lambda: (queue.look(), told(database, job_id, "rule_started"))[1])
    processes.send(processes.members(job_id), signal.SIGTERM)  # as whoever shuts the machine down
    until(lambda: (queue.look(), get(database, job_id).attempt == 2)[1])
    (jobs.folder(settings, job_id) / "go").touch()
    assert run_until(queue, job_id, "completed", "failed").state == "completed"


def test_a_job_without_a_sign_of_life_is_ended_as_hung(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    job_id = add_job(database, settings, "hang", steps=1)
    job = run_until(make_queue(stall_hours=4 / 3600), job_id, "failed", "completed")
    assert (job.message or "").startswith("ended as hung: no sign of life for 0.00111111 hours, since 2")
    assert not alive(job_id)


def test_a_job_that_takes_longer_than_any_may_is_ended(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    job_id = add_job(database, settings, "hang", steps=1)
    job = run_until(make_queue(longest_hours=2 / 3600), job_id, "failed", "completed")
    assert (job.message or "").startswith("ended: it ran longer than 0.000555556 hours")


def test_a_stopped_service_leaves_its_jobs_and_the_next_takes_them_up(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    first = make_queue()
    first.start()
    job_id = add_job(database, settings, "wait", steps=1)
    first.wake()
    until(lambda: told(database, job_id, "rule_started"))
    first.stop()
    assert get(database, job_id).state == "running" and alive(job_id)
    (jobs.folder(settings, job_id) / "go").touch()
    until((jobs.folder(settings, job_id) / "exit.json").exists)
    job = run_until(make_queue(), job_id, "completed", "failed")
    assert (job.state, job.attempt) == ("completed", 1)


def test_a_service_that_ends_its_jobs_puts_them_back(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    queue = make_queue(at_stop="end")
    queue.start()
    job_id = add_job(database, settings, "wait", steps=1)
    queue.wake()
    until(lambda: told(database, job_id, "rule_started"))
    queue.stop()
    job = get(database, job_id)
    assert (job.state, job.attempt, job.returns, job.message) == ("pending", 2, 0, "the service was stopped")
    assert not alive(job_id)


def test_a_job_whose_server_was_killed_before_its_run_began_is_begun(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    job_id = add_job(database, settings)
    with database.session() as session:
        jobs.change(session, jobs.get(session, job_id, None), "running")
    job = run_until(make_queue(), job_id, "completed", "failed")
    assert (job.state, job.attempt) == ("completed", 1)


def test_a_run_that_began_unknown_to_the_database_is_found_and_not_begun_twice(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    first = make_queue()
    job_id = add_job(database, settings, "wait", steps=1)
    until(lambda: (first.look(), told(database, job_id, "rule_started"))[1])
    with database.session() as session:
        jobs.get(session, job_id, None).process = None  # as if killed before it was written
    second = make_queue()
    second.look()
    assert (get(database, job_id).process or {})["pid"] == first.follower.started[job_id].identity.pid
    # and where not even the folder knows it yet, the lock does
    (jobs.folder(settings, job_id) / "process.json").rename(jobs.folder(settings, job_id) / "later")
    with database.session() as session:
        jobs.get(session, job_id, None).process = None
    third = make_queue()
    third.look()
    third.follower.started[job_id].child.wait(20)
    (jobs.folder(settings, job_id) / "later").rename(jobs.folder(settings, job_id) / "process.json")
    third.look()
    assert (get(database, job_id).process or {})["pid"] == first.follower.started[job_id].identity.pid
    (jobs.folder(settings, job_id) / "go").touch()
    job = run_until(third, job_id, "completed", "failed")
    assert (job.state, job.attempt) == ("completed", 1)


def waiting(database: Database, settings: Settings, **of_users: int) -> dict[str, str]:
    """Queue jobs, those of one user after those of another; return them by name."""
    return {
        f"{user}{number}": add_job(database, settings, user=user)
        for user, jobs_of_user in of_users.items()
        for number in range(1, jobs_of_user + 1)
    }


def begin(database: Database, job_id: str) -> None:
    with database.session() as session:
        jobs.change(session, jobs.get(session, job_id, None), "running")


def finish(database: Database, job_id: str) -> None:
    with database.session() as session:
        jobs.change(session, jobs.get(session, job_id, None), "completed")


def test_users_take_turns_however_much_each_has_submitted(database: Database, settings: Settings) -> None:
    names = {job_id: name for name, job_id in waiting(database, settings, ann=4, bob=2, cem=1).items()}
    order = []
    while True:
        with database.reading() as session:
            job_id = queue.next_job(session)
        if job_id is None:
            break
        begin(database, job_id)
        finish(database, job_id)
        order.append(names[job_id])
    assert order == ["ann1", "bob1", "cem1", "ann2", "bob2", "ann3", "ann4"]


def test_who_has_fewest_running_comes_first(database: Database, settings: Settings) -> None:
    names = waiting(database, settings, ann=3, bob=2)
    begin(database, names["bob1"])
    begin(database, names["ann1"])
    begin(database, names["ann2"])
    with database.reading() as session:
        assert queue.next_job(session) == names["bob2"]
        assert queue.next_job(session, {names["bob2"]}) == names["ann3"]


def test_no_more_jobs_run_than_may(make_queue: Callable[..., Queue], database: Database, settings: Settings) -> None:
    ids = [add_job(database, settings, "wait", steps=1) for _ in range(3)]
    one = make_queue(running=2)
    one.look()
    one.look()
    assert sorted(get(database, job_id).state for job_id in ids) == ["pending", "running", "running"]


def test_jobs_wait_for_disk_and_are_told_once(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    job_id = add_job(database, settings, "wait", steps=1)
    one = make_queue(least_free_bytes=10**18)
    one.look()
    one.look()
    assert get(database, job_id).state == "pending"
    (event,) = told(database, job_id, "message")
    assert event.data["text"].startswith("waiting for disk: ")
    one.settings = settings
    one.look()
    assert get(database, job_id).state == "running"


def test_a_job_that_cannot_be_started_waits_and_does_not_keep_others(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    broken = add_job(database, settings, user="ann")
    jobs.folder(settings, broken).write_text("in the place of the folder")
    other = add_job(database, settings, user="bob")
    one = make_queue(running=1)
    assert run_until(one, other, "completed", "failed").state == "completed"
    job = get(database, broken)
    assert (job.state, job.returns) == ("pending", 1)
    assert "it cannot be started" in (job.message or "")


def test_a_file_that_cannot_be_read_does_not_keep_a_job_from_its_end(
    make_queue: Callable[..., Queue], database: Database, settings: Settings
) -> None:
    job_id = add_job(database, settings)
    (jobs.folder(settings, job_id) / "events.jsonl").mkdir(parents=True)
    job = run_until(make_queue(), job_id, "completed", "failed")
    assert (job.state, job.steps_done) == ("completed", 0)


def test_the_queue_waits_for_a_database_that_is_away(
    make_queue: Callable[..., Queue], database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    one = make_queue()
    with database.session() as session:
        session.execute(text("ALTER TABLE jobs RENAME TO away"))
    one.start()
    until(lambda: "the database cannot be asked" in caplog.text)
    with database.session() as session:
        session.execute(text("ALTER TABLE away RENAME TO jobs"))
    job_id = add_job(database, settings, steps=1)
    until(lambda: get(database, job_id).state == "completed")
    one.stop()


def test_nothing_is_touched_without_the_lease(database: Database, settings: Settings) -> None:
    class Lost:
        holds = False

    job_id = add_job(database, settings)
    cancelled = add_job(database, settings)
    begin(database, cancelled)
    Queue(settings, database, Lost()).look()
    assert (get(database, job_id).state, get(database, cancelled).state) == ("pending", "running")


def test_a_clock_that_jumps_makes_no_job_hung(make_queue: Callable[..., Queue]) -> None:
    one = make_queue()
    one.look()
    steady, clock = one.follower._clock
    one.follower._clock = steady, clock - 7 * 3600
    before = now()
    one.look()
    assert one.follower._awake_since >= before


def test_a_profile_that_is_not_there_is_said_at_the_start(make_queue: Callable[..., Queue]) -> None:
    with pytest.raises(InputError, match=r"profile: nowhere is not known; there are .*local"):
        make_queue(profile="nowhere").start()
