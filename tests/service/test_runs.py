"""A run is one supervised command: it says how it ended, leaves nothing behind and knows no secret."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from eemt.errors import InputError
from eemt.service import jobs, processes, runs, supervise
from eemt.service.database import Database
from eemt.service.settings import PREFIX, Settings
from eemt.stages import profile
from sites import ROOT

from .snakefiles import add_job, get, snakefile, until

DAEMON = """
import os, signal, time
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, signal.SIG_IGN)
os.fork() and os._exit(0)
os.setsid()
open("there", "w").close()
while True:
    time.sleep(1)
"""


def supervised(folder: Path, *command: str, grace: float = 5, attempt: int = 1) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "eemt.service.supervise", str(folder), "--grace", str(grace)]
    environment = {**os.environ, processes.RUN: folder.name}
    return subprocess.Popen(
        [*words, "--attempt", str(attempt), "--", *command], start_new_session=True, env=environment
    )


def shell(folder: Path, script: str, **how: float) -> subprocess.Popen[bytes]:
    return supervised(folder, "bash", "-c", script, **how)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / f"job{os.getpid()}{time.monotonic_ns()}"
    path.mkdir()
    return path


def end(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "exit.json").read_text())
    return found


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_end_of_a_run_is_written_down(folder: Path, code: int) -> None:
    assert shell(folder, f"echo said; echo complained >&2; exit {code}").wait(20) == code
    assert {name: end(folder)[name] for name in ("code", "attempt", "asked")} == {
        "code": code, "attempt": 1, "asked": False
    }  # fmt: skip
    head, *said = (folder / "run.log").read_text().splitlines()
    assert head.startswith("=== attempt 1, 20") and said == ["said", "complained"]
    found = runs.ended(folder, 1)
    assert found is not None and found.code == code
    assert runs.ended(folder, 2) is None


def test_a_run_that_is_killed_says_by_what(folder: Path) -> None:
    shell(folder, "kill -9 $$").wait(20)
    found = runs.ended(folder, 1)
    assert found is not None and (found.code, found.asked) == (-9, False)


def test_a_command_that_is_not_there_is_said_in_the_log(folder: Path) -> None:
    assert supervised(folder, "/nowhere/snakemake").wait(20) == 126
    assert "eemt: /nowhere/snakemake cannot be started: No such file" in (folder / "run.log").read_text()


def test_a_run_that_is_to_end_is_interrupted_with_all_its_children(folder: Path) -> None:
    run = shell(folder, "trap 'echo interrupted; exit 3' INT; sleep 100 & touch there; wait")
    until((folder / "there").exists)
    run.terminate()
    run.wait(20)
    found = runs.ended(folder, 1)
    assert found is not None and found.asked
    assert "interrupted" in (folder / "run.log").read_text()
    assert not processes.members(folder.name)


def test_what_does_not_end_in_its_time_of_grace_is_killed_with_all_it_began(folder: Path) -> None:
    # one that will not end, and one that has left its session and its parent
    (folder / "daemon.py").write_text(DAEMON)
    run = shell(folder, f"trap '' INT TERM; {sys.executable} daemon.py; while true; do sleep 1; done", grace=0.5)
    until((folder / "there").exists)
    assert len(processes.members(folder.name)) >= 3
    run.terminate()
    run.wait(20)
    assert end(folder)["killed"] and not processes.members(folder.name)


def test_what_a_run_leaves_behind_is_ended_with_it(folder: Path) -> None:
    run = shell(folder, "setsid sleep 1000 & touch there")
    run.wait(20)
    assert end(folder)["code"] == 0 and not processes.members(folder.name)


def test_a_job_has_one_run_at_a_time(folder: Path) -> None:
    first = shell(folder, "touch there; while [ ! -e go ]; do sleep 0.05; done")
    until((folder / "there").exists)
    assert shell(folder, "touch twice").wait(20) == supervise.ALREADY_RUNS
    (folder / "go").touch()
    first.wait(20)
    assert end(folder)["code"] == 0 and not (folder / "twice").exists()


def test_a_run_outlives_who_started_it(folder: Path) -> None:
    words = [sys.executable, "-m", "eemt.service.supervise", str(folder), "--", "bash", "-c", "sleep 1; echo late"]
    starter = f"import subprocess, os\nsubprocess.Popen({words!r}, start_new_session=True)\nos.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", starter], check=False)
    until((folder / "exit.json").exists)
    assert "late" in (folder / "run.log").read_text()


def test_a_process_is_known_by_more_than_its_number() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = processes.identify(child.pid)
    assert known is not None and known.is_alive and known.is_here
    assert processes.from_json(json.loads(json.dumps(known.as_json()))) == known
    another = processes.Identity(known.pid, known.started - 1, known.boot, known.host)
    before = processes.Identity(known.pid, known.started, "an earlier start of the machine", known.host)
    assert not another.is_alive and not before.is_alive and not before.is_here
    child.stdin.close()  # type: ignore[union-attr]
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert not known.is_alive  # though its parent has not yet asked
    child.wait()
    assert not known.is_alive
    assert processes.from_json(None) is None and processes.from_json({"pid": "x"}) is None


def test_the_workflow_is_the_operators_or_that_which_came_with_eemt(tmp_path: Path) -> None:
    assert runs.workflow_file(Settings(folder=tmp_path)) == ROOT / "workflow/Snakefile"
    own = snakefile(tmp_path)
    assert runs.workflow_file(Settings(folder=tmp_path, workflow=own)) == own
    with pytest.raises(
        InputError, match=r"workflow: .*gone does not exist; name the Snakefile in EEMT_SERVICE_WORKFLOW"
    ):
        runs.workflow_file(Settings(folder=tmp_path, workflow=tmp_path / "gone"))


def test_the_users_own_profile_comes_before_that_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "snakemake_folder", lambda: tmp_path / "snakemake")
    settings = Settings(folder=tmp_path)
    assert runs.profile_folder(settings) == ROOT / "profiles/local"
    own = tmp_path / "snakemake/local"
    own.mkdir(parents=True)
    assert runs.profile_folder(settings) == ROOT / "profiles/local"  # an empty folder is no profile
    (own / profile.FILE).write_text("cores: 1\n")
    assert runs.profile_folder(settings) == own
    assert runs.profile_folder(Settings(folder=tmp_path, profile=str(own))) == own
    with pytest.raises(InputError, match="is no folder with a profile in it"):
        runs.profile_folder(Settings(folder=tmp_path, profile=str(tmp_path)))


def test_neither_environment_nor_command_line_of_a_run_holds_a_secret(tmp_path: Path) -> None:
    settings = Settings(
        folder=tmp_path,
        database_url=SecretStr("postgresql+psycopg://eemt:hidden-word@db/eemt"),
        secret_key=SecretStr("a key that nobody else may know at all"),
    )
    present = {
        "HOME": "/home/me",
        "PGPASSWORD": "hidden-word",
        "KUBECONFIG": "/home/me/.kube/config",
        "COPY": "x=a key that nobody else may know at all",
        f"{PREFIX}DATABASE_URL": "postgresql://",
        f"{PREFIX}SECRETS": "/run/secrets",
        "EEMT_EVENTS_DATABASE": "postgresql://",
    }
    kept = runs.environment(settings, "abc", present)
    assert kept == {
        "HOME": "/home/me",
        "KUBECONFIG": "/home/me/.kube/config",
        "EEMT_RUN": "abc",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    words = " ".join(runs.command(settings, "abc"))
    assert "hidden-word" not in words and "nobody else" not in words and "postgresql" not in words


def test_the_operator_s_image_is_that_of_pods_too(settings: Settings) -> None:
    words = runs.command(settings.model_copy(update={"image": "registry.example.org/eemt:1"}), "abc")
    assert words[words.index("--container-image") + 1] == "registry.example.org/eemt:1"
    assert "--container-image" not in runs.command(settings, "abc")


def test_a_real_run_knows_no_secret_either(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}SECRET_KEY", "a key that nobody else may know at all")
    settings = settings.model_copy(update={"workflow": snakefile(tmp_path, "import time\ntime.sleep(60)\n")})
    job_id = add_job(database, settings)
    _, child = runs.start(settings, get(database, job_id))
    until(lambda: len(processes.members(job_id)) >= 2)
    for process in processes.members(job_id):
        assert "nobody else" not in "\n".join([*process.environ().values(), *process.cmdline()])
    child.send_signal(signal.SIGTERM)
    child.wait(20)


def test_the_lock_of_a_killed_run_is_taken_away(database: Database, settings: Settings, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"workflow": snakefile(tmp_path)})
    job_id = add_job(database, settings)
    place = jobs.folder(settings, job_id)
    locks = place / ".snakemake/locks"
    locks.mkdir(parents=True)
    results = [str(place / f"results/{step}.txt") for step in range(2)]
    for kind in ("input", "output"):
        (locks / f"0.{kind}.lock").write_text(
            "\n".join([*results, *(f"results/{step}.txt" for step in range(2))]) + "\n"
        )
    _, child = runs.start(settings, get(database, job_id))
    assert child.wait(60) == 0, (place / "run.log").read_text()


def test_a_config_that_was_changed_is_written_again_and_else_left_alone(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"workflow": snakefile(tmp_path)})
    job = get(database, add_job(database, settings))
    place = jobs.folder(settings, job.id)
    runs._prepare(place, job.config)
    written = (place / runs.CONFIG).stat().st_mtime_ns
    runs._prepare(place, job.config)
    assert (place / runs.CONFIG).stat().st_mtime_ns == written
    (place / runs.CONFIG).write_text("does: harm\n")
    runs._prepare(place, job.config)
    assert (place / runs.CONFIG).read_text() == job.config


def test_a_jobs_size_counts_each_file_once_and_no_shared_upload(tmp_path: Path) -> None:
    (tmp_path / "upload.tif").write_bytes(b"x" * 1000)
    place = tmp_path / "job"
    (place / "inputs").mkdir(parents=True)
    (place / "inputs/dem.tif").hardlink_to(tmp_path / "upload.tif")
    (place / "inputs/own.tif").write_bytes(b"x" * 100)
    (place / "results").mkdir()
    (place / "results/map.tif").write_bytes(b"x" * 10)
    (place / "results/again.tif").hardlink_to(place / "results/map.tif")
    (place / "results/outside").symlink_to(tmp_path)
    assert 110 <= runs.size(place) < 1000
