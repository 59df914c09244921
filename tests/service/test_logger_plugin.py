"""What Snakemake says becomes events, and nothing that goes wrong with them harms a run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

import snakemake_logger_plugin_eemt as plugin
from eemt.service import jobs
from eemt.service.database import Database
from eemt.service.settings import Settings
from snakemake_logger_plugin_eemt import LogHandler, LogHandlerSettings

from .snakefiles import add_job, get, told


class TestAsSnakemakeWantsIt(TestLogHandlerBase):
    __test__ = True

    @pytest.fixture(autouse=True)
    def in_folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "events.jsonl"

    def get_log_handler_cls(self) -> type[LogHandler]:
        return LogHandler

    def get_log_handler_settings(self) -> LogHandlerSettings:
        return LogHandlerSettings(file=self.path)


def record(event: LogEvent | None, message: str = "", level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    made.__dict__.update(more, **({"event": event} if event else {}))
    return made


def info(jobid: int, rule: str = "sun", **more: Any) -> logging.LogRecord:
    known = {"rule_msg": "sun of 0_0", "wildcards": {"tile": "0_0"}, "log": [f"logs/{jobid}.log"]}
    return record(LogEvent.JOB_INFO, jobid=jobid, rule_name=rule, **{**known, **more})


def error(jobid: int, rule: str = "sun") -> logging.LogRecord:
    return record(LogEvent.JOB_ERROR, level=logging.ERROR, jobid=jobid, rule_name=rule, log=[f"logs/{jobid}.log"])


def finished(jobid: int) -> logging.LogRecord:
    return record(LogEvent.JOB_FINISHED, job_id=jobid)


def handler(path: Path | None) -> LogHandler:
    return LogHandler(MockOutputSettings(), LogHandlerSettings(file=path))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(path: Path, *records: logging.LogRecord) -> list[tuple[str, Any]]:
    one = handler(path)
    for each in records:
        one.emit(each)
    return [(line["event"], line.get("jobid")) for line in read(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_each_job_begins_and_ends_once(path: Path) -> None:
    said = [info(1), info(2), finished(1), finished(1), error(2), error(2), finished(7)]
    assert events(path, *said) == [("job_started", 1), ("job_started", 2), ("job_finished", 1), ("job_failed", 2)]
    lines = read(path)
    assert lines[0]["wildcards"] == {"tile": "0_0"} and lines[0]["message"] == "sun of 0_0"
    assert lines[2]["rule"] == "sun" and lines[2]["seconds"] >= 0
    assert all(line["at"].endswith("Z") for line in lines)


def test_a_job_that_is_tried_again_says_so(path: Path) -> None:
    events(path, info(1), error(1), info(1), finished(1))
    assert [line.get("again") for line in read(path)] == [False, None, True, None]


def test_a_job_that_a_cluster_forgot_counts_as_failed_when_it_begins_anew(path: Path) -> None:
    said = events(path, info(1), info(1), finished(1))
    assert said == [("job_started", 1), ("job_failed", 1), ("job_started", 1), ("job_finished", 1)]
    assert read(path)[2]["again"]


def test_jobs_of_a_group_are_counted_one_by_one(path: Path) -> None:
    group = record(LogEvent.GROUP_INFO, group_id=0, jobs=[])
    of_group = record(LogEvent.GROUP_ERROR, level=logging.ERROR, groupid=0, aux_logs=[], job_error_info=[])
    said = events(path, group, info(1), info(2), of_group, error(1), error(2))
    assert [event for event in said if event[0].startswith("job")] == [
        ("job_started", 1), ("job_started", 2), ("job_failed", 1), ("job_failed", 2)
    ]  # fmt: skip


def test_totals_and_progress_are_those_of_snakemake(path: Path) -> None:
    events(path, record(LogEvent.RUN_INFO, stats={"sun": 3, "all": 1, "total": 4}))
    events(path, record(LogEvent.PROGRESS, done=1, total=4))
    totals, progress = read(path)
    assert (totals["total"], totals["rules"]) == (4, {"sun": 3, "all": 1})
    assert (progress["done"], progress["total"]) == (1, 4)


def test_errors_are_told_and_idle_talk_is_not(path: Path) -> None:
    said = [
        record(None, "Building DAG of jobs..."),
        record(LogEvent.ERROR, "WorkflowError:\nno", logging.ERROR, exception="WorkflowError"),
        record(None, "look out", logging.WARNING),
        record(None, "x" * 100_000, logging.ERROR),
        record(LogEvent.SHELLCMD, "echo", shellcmd="echo"),
    ]
    assert [name for name, _ in events(path, *said)] == ["error", "warning", "error"]
    assert [len(line["text"]) for line in read(path)] == [17, 8, plugin.LONGEST_TEXT]


def test_a_line_that_a_killed_run_left_half_is_ended_first(path: Path) -> None:
    path.write_text('{"at": "2026')
    events_before = handler(path)
    events_before.emit(info(1))
    first, second = path.read_text().splitlines()
    assert first == '{"at": "2026'
    assert json.loads(second)["event"] == "job_started"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_costs_events_and_not_the_run(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = handler(path)
    full = os.open("/dev/full", os.O_WRONLY)
    disk = one.sink.descriptor  # type: ignore[attr-defined]
    one.sink.descriptor = full  # type: ignore[attr-defined]
    one.emit(info(1))
    one.emit(info(2))
    one.sink.descriptor = disk  # type: ignore[attr-defined]
    os.close(full)
    one.emit(finished(1))
    one.close()
    assert [json.loads(line)["event"] for line in path.read_text().split("\n") if line] == ["job_finished", "ended"]
    assert capfd.readouterr().err.count("No space left") == 1


def test_a_place_that_cannot_be_written_is_said_and_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = handler(tmp_path / "nowhere/events.jsonl")
    one.emit(info(1))
    one.close()
    assert "eemt events: FileNotFoundError" in capfd.readouterr().err


def test_records_of_another_form_are_passed_over(path: Path) -> None:
    said = [record(LogEvent.JOB_INFO), record(LogEvent.JOB_FINISHED, job_id="x"), record(LogEvent.RUN_INFO, stats=None)]
    assert events(path, *said, info(1)) == [("job_started", 1)]


def test_a_dry_run_tells_nothing(path: Path) -> None:
    common = MockOutputSettings()
    common.dryrun = True
    one = LogHandler(common, LogHandlerSettings(file=path))
    one.emit(info(1))
    assert not path.exists()


@pytest.fixture
def into_database(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[LogHandler, str]]:
    job_id = add_job(database, settings)
    monkeypatch.setenv(plugin.DATABASE, settings.database)
    monkeypatch.setenv(plugin.JOB, job_id)
    monkeypatch.chdir(tmp_path)
    one = handler(None)
    yield one, job_id
    one.close()


def test_events_can_go_to_the_database_itself(database: Database, into_database: tuple[LogHandler, str]) -> None:
    one, job_id = into_database
    for each in (record(LogEvent.RUN_INFO, stats={"sun": 1, "total": 1}), info(1), finished(1)):
        one.emit(each)
    one.emit(record(LogEvent.PROGRESS, done=1, total=1))
    assert (get(database, job_id).steps_done, get(database, job_id).steps_total) == (1, 1)
    kinds = [event.kind for event in told(database, job_id)]
    # on a slow machine a second has gone by, and progress is told again
    assert list(dict.fromkeys(kinds)) == ["state", "progress", "rule_started", "rule_finished"]


def test_events_wait_for_a_database_that_is_away(
    database: Database, into_database: tuple[LogHandler, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, job_id = into_database
    real = one.sink.take  # type: ignore[attr-defined]
    monkeypatch.setattr(plugin, "RETRY_SECONDS", 0.0)

    def away(_: list[Any]) -> None:
        raise ConnectionError

    monkeypatch.setattr(one.sink, "take", away)
    one.emit(info(1))
    one.emit(info(2))
    assert not told(database, job_id, "rule_started")
    monkeypatch.setattr(one.sink, "take", real)
    one.emit(finished(1))
    assert [event.data["jobid"] for event in told(database, job_id, "rule_started")] == [1, 2]
    assert [event.data["jobid"] for event in told(database, job_id, "rule_finished")] == [1]


SNAKEFILE = """
rule all:
    input: "b.txt"
rule first:
    output: "a.txt"
    group: "both"
    run:
        open(output[0], "w").write("in a process of its own")
rule second:
    input: "a.txt"
    output: "b.txt"
    group: "both"
    retries: 1
    shell: "if [ -e tried ]; then cp {input} {output}; else touch tried; exit 1; fi"
"""


def test_snakemake_tells_of_a_real_run_and_its_jobs_do_not(tmp_path: Path, path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "eemt", "--logger-eemt-file", str(path)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    lines = read(path)
    assert lines[0]["event"] == "workflow_started" and lines[-1]["event"] == "ended"
    assert [line["event"] for line in lines].count("workflow_started") == 1
    assert next(line for line in lines if line["event"] == "totals")["rules"] == {"first": 1, "second": 1, "all": 1}
    ends = [(line["rule"], line["event"]) for line in lines if line["event"] in {"job_finished", "job_failed"}]
    assert ends == [
        ("first", "job_finished"), ("second", "job_failed"), ("second", "job_finished"), ("all", "job_finished")
    ]  # fmt: skip
    assert [line["total"] for line in lines if line["event"] == "progress"] == [3, 3, 3]


def test_its_events_are_those_that_the_service_reads(
    tmp_path: Path, path: Path, database: Database, settings: Settings
) -> None:
    from eemt.service.events import Reader

    test_snakemake_tells_of_a_real_run_and_its_jobs_do_not(tmp_path, path)
    job_id = add_job(database, settings)
    Reader(database).take(job_id, tmp_path, at_end=True)
    with database.reading() as session:
        rules = {row.rule: (row.total, row.running, row.done, row.failed) for row in jobs.progress(session, job_id)}
    assert rules == {"first": (1, 0, 1, 0), "second": (1, 0, 1, 0), "all": (1, 0, 1, 0)}
