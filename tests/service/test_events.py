"""What a run tells is taken in once, whole and in order, however the file looks and whenever the reader is killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eemt.service import events, jobs
from eemt.service.database import Database
from eemt.service.events import Reader
from eemt.service.settings import Settings

from .snakefiles import add_job, get, told

AT = "2026-11-21T16:00:00.000Z"


@pytest.fixture
def job_id(database: Database, settings: Settings) -> str:
    return add_job(database, settings)


@pytest.fixture
def folder(settings: Settings, job_id: str) -> Path:
    place = jobs.folder(settings, job_id)
    place.mkdir()
    return place


def line(event: str, **more: Any) -> str:
    return json.dumps({"at": AT, "event": event, **more}) + "\n"


def started(jobid: int, rule: str = "sun", again: bool = False) -> str:
    more = {"message": f"job {jobid}", "wildcards": {"tile": "0_0"}, "log": ["logs/sun.log"], "again": again}
    return line("job_started", jobid=jobid, rule=rule, **more)


def finished(jobid: int, rule: str = "sun") -> str:
    return line("job_finished", jobid=jobid, rule=rule, seconds=1.5)


def write(folder: Path, *lines: str) -> None:
    with (folder / events.FILE).open("a") as file:
        file.write("".join(lines))


def rules(database: Database, job_id: str) -> dict[str, tuple[int, int, int, int]]:
    with database.reading() as session:
        return {row.rule: (row.total, row.running, row.done, row.failed) for row in jobs.progress(session, job_id)}


def test_rules_are_counted_as_their_jobs_begin_and_end(database: Database, job_id: str, folder: Path) -> None:
    write(folder, line("workflow_started"), line("totals", total=4, rules={"sun": 3, "all": 1}))
    write(folder, started(1), started(2), finished(1), line("progress", done=1, total=4))
    assert Reader(database).take(job_id, folder)
    assert rules(database, job_id) == {"sun": (3, 1, 1, 0), "all": (1, 0, 0, 0)}
    job = get(database, job_id)
    assert (job.steps_done, job.steps_total) == (1, 4)
    assert job.last_sign is not None and job.last_sign.isoformat() == "2026-11-21T16:00:00+00:00"
    kinds = [event.kind for event in told(database, job_id)]
    assert kinds == ["state", "rule_started", "rule_started", "rule_finished", "progress"]
    assert told(database, job_id, "rule_started")[0].data == {
        "rule": "sun", "jobid": 1, "message": "job 1", "wildcards": {"tile": "0_0"}, "log": "logs/sun.log"
    }  # fmt: skip
    assert told(database, job_id, "rule_finished")[0].data == {"rule": "sun", "jobid": 1, "seconds": 1.5}
    counts = {"total": 3, "running": 1, "done": 1, "failed": 0, "seconds": 1.5}
    assert told(database, job_id, "progress")[0].data["rules"]["sun"] == counts


def test_a_job_tried_again_is_no_longer_failed(database: Database, job_id: str, folder: Path) -> None:
    (folder / "logs").mkdir()
    (folder / "logs/sun.log").write_text("why\n")
    reader = Reader(database)
    write(folder, started(1), line("job_failed", jobid=1, rule="sun", log=["logs/sun.log"]))
    reader.take(job_id, folder)
    assert rules(database, job_id) == {"sun": (0, 0, 0, 1)}
    assert told(database, job_id, "rule_failed")[0].data["tail"] == ["why"]
    write(folder, started(1, again=True), finished(1))
    reader.take(job_id, folder)
    assert rules(database, job_id) == {"sun": (0, 0, 1, 0)}


def test_a_new_attempt_counts_from_nothing(database: Database, job_id: str, folder: Path) -> None:
    write(folder, line("totals", total=2, rules={"sun": 2}), started(1), started(2), finished(1))
    write(folder, line("workflow_started"), line("totals", total=1, rules={"sun": 1}), started(1))
    Reader(database).take(job_id, folder)
    assert rules(database, job_id) == {"sun": (1, 1, 0, 0)}
    assert get(database, job_id).steps_total == 1


def test_a_line_that_is_not_yet_whole_is_left_for_later(database: Database, job_id: str, folder: Path) -> None:
    reader = Reader(database)
    text = started(1)
    write(folder, text[:20])
    assert not reader.take(job_id, folder)
    write(folder, text[20:], finished(1)[:-1])
    assert reader.take(job_id, folder)
    assert rules(database, job_id) == {"sun": (0, 1, 0, 0)}
    write(folder, "\n")
    reader.take(job_id, folder)
    assert rules(database, job_id) == {"sun": (0, 0, 1, 0)}


def test_what_is_no_event_is_passed_over(database: Database, job_id: str, folder: Path) -> None:
    broken = [
        "{\n",
        "[]\n",
        '"text"\n',
        "\n",
        '{"event": "job_started"}\n',
        line("unheard of"),
        line("totals", total="x"),
    ]
    (folder / events.FILE).write_bytes(b"\xff\xfe\n")
    write(folder, *broken, started(1))
    Reader(database).take(job_id, folder)
    assert rules(database, job_id) == {"sun": (0, 1, 0, 0)}


def test_every_reader_goes_on_where_the_last_one_was_killed(
    database: Database, job_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 200
    write(folder, *(text for jobid in range(number) for text in (started(jobid), finished(jobid))))
    monkeypatch.setattr(events, "BATCH", 3000)
    real = events.apply
    killed = 0

    def dies_now_and_then(*arguments: Any) -> bool:
        nonlocal killed
        changed = real(*arguments)  # all is written, and not yet committed
        killed += 1
        if killed % 3 == 0:
            raise KeyboardInterrupt
        return changed

    monkeypatch.setattr(events, "apply", dies_now_and_then)
    while True:
        try:
            Reader(database).take(job_id, folder)
        except KeyboardInterrupt:
            continue
        break
    assert killed > 20
    assert rules(database, job_id) == {"sun": (0, 0, number, 0)}
    assert [event.data["jobid"] for event in told(database, job_id, "rule_finished")] == list(range(number))


def test_progress_is_told_once_a_second_and_at_the_end(database: Database, job_id: str, folder: Path) -> None:
    clock = 100.0
    reader = Reader(database, clock=lambda: clock)

    def tell(jobid: int, after: float, at_end: bool = False) -> int:
        nonlocal clock
        clock += after
        write(folder, started(jobid))
        reader.take(job_id, folder, at_end)
        return len(told(database, job_id, "progress"))

    assert [tell(1, 0), tell(2, 0.4), tell(3, 0.4), tell(4, 0.4), tell(5, 0.1)] == [1, 1, 1, 2, 2]
    clock += 1
    reader.take(job_id, folder)
    assert len(told(database, job_id, "progress")) == 3  # of what was held back
    assert tell(6, 0.1, at_end=True) == 4


def test_a_file_shorter_than_what_was_read_is_read_on_from_its_end(
    database: Database, job_id: str, folder: Path
) -> None:
    write(folder, started(1), started(2))
    Reader(database).take(job_id, folder)
    (folder / events.FILE).write_text(started(1))
    Reader(database).take(job_id, folder)
    write(folder, finished(1))
    Reader(database).take(job_id, folder)
    assert rules(database, job_id) == {"sun": (0, 1, 1, 0)}


def test_a_log_outside_the_job_is_not_read(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (folder / "link.log").symlink_to(tmp_path / "secret")
    for name in (str(tmp_path / "secret"), "../../../secret", "link.log", "nothing", "\0"):
        assert events.tail_of_log(folder, {"log": [name]}) == []


def test_the_tail_of_a_log_is_short_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"first\n" + b"x" * 100_000 + b"\n\xe9\0 end\n")
    assert events.tail(path) == ["\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} end"]
    path.write_bytes(b"y" * 100_000)
    assert [len(text) for text in events.tail(path)] == [events.TAIL_BYTES]


def test_errors_of_snakemake_become_messages(database: Database, job_id: str, folder: Path) -> None:
    write(folder, line("error", text="MissingInputException: a.tif"))
    Reader(database).take(job_id, folder)
    assert told(database, job_id, "message")[0].data == {"text": "MissingInputException: a.tif", "level": "error"}
