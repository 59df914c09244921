"""The workflow on a real HTCondor, with the profile of profiles/htcondor and what `eemt profile install` adds.

The pool is tests/beds/htcondor.sh: one node with a slot of two cores, queue and node on one file system, jobs of an
ordinary user. It is brought up for this module where it is not up yet, and taken down again. Pool, driver and the run
that all is compared with live in the bed's root file system and its Python.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from executors.runs import Run, assert_same_maps, clip_config
from sites import ROOT

pytestmark = pytest.mark.workflow

BED = ROOT / "tests/beds/htcondor.sh"
MAP = "results/clip/maps/eemt_topo_mean.tif"
RUNNING, HELD = 2, 5  # JobStatus


def bed(word: str) -> str:
    return subprocess.run([BED, word], check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Pool:
    """The pool's host: what a command is called with to be there, and a folder that it shares with this one."""

    prefix: Sequence[str]
    folder: Path

    def call(self, *words: str, folder: Path | None = None) -> str:
        done = subprocess.run([*self.at(folder or self.folder), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def at(self, folder: Path) -> list[str]:
        return [f"--wdns={folder}" if word.startswith("--wdns=") else word for word in self.prefix]

    def run_in(self, folder: Path) -> Run:
        return Run(folder, prefix=self.at(folder), program="snakemake")

    def give(self, folder: Path) -> None:
        """Make the pool's user the owner of what was written here."""
        owner = self.folder.stat()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def jobs(self, name: str) -> list[tuple[int, int]]:
        """Return number and status of each queued job of a rule."""
        text = self.call("condor_q", "-af", "ClusterId", "JobStatus", "JobBatchName")
        rows = [line.split() for line in text.splitlines()]
        return [(int(job), int(status)) for job, status, batch in rows if batch.startswith(f"{name}-")]

    def wait_for(self, name: str, status: int, seconds: float = 180) -> int:
        """Wait until a job of a rule has a status, and return the job's number."""
        deadline = time.monotonic() + seconds
        while not (found := [job for job, now in self.jobs(name) if now == status]):
            assert time.monotonic() < deadline, f"no job of {name} came to status {status}"
            time.sleep(0.3)
        return found[0]


@pytest.fixture(scope="module")
def pool(require: Callable[..., None]) -> Iterator[Pool]:
    was_up = subprocess.run([BED, "status"], check=False, capture_output=True).returncode == 0
    require("htcondor")
    words = bed("prefix").split()
    shared = Path(next(word for word in words if word.startswith("--wdns=")).removeprefix("--wdns="))
    folder = Path(mkdtemp(prefix="test-", dir=shared))
    owner = shared.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    pool = Pool(words, folder)
    try:
        yield pool
    finally:
        if was_up:
            subprocess.run([*words, "condor_rm", "-all"], check=False, capture_output=True)
        else:
            bed("down")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def alone(pool: Pool, clip: Path) -> Run:
    """The clip, finished by the local executor in the same environment."""
    folder = pool.folder / "alone"
    folder.mkdir()
    run = pool.run_in(folder)
    run.configure(clip_config(str(shutil.copy(clip, pool.folder))))
    pool.give(pool.folder)
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run


@pytest.fixture(scope="module")
def profile(pool: Pool) -> Path:
    """The profile as a user has it, with an accounting group and the user in it."""
    words = ["eemt", "profile", "install", "htcondor", "--account", "group_test.eemt", "--folder", str(pool.folder)]
    pool.call(*words)
    return pool.folder / "htcondor"


def end(driver: subprocess.Popen[bytes]) -> None:
    """End a driver that still runs, with what it started: what stands before it on this host is not Snakemake."""
    if driver.poll() is None:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


def test_removed_job_is_done_again_and_maps_equal_those_of_one_machine(pool: Pool, alone: Run, profile: Path):
    folder = pool.folder / "removed"
    shutil.copytree(alone.folder / "config", folder / "config")
    pool.give(folder)
    run = pool.run_in(folder)
    # no job asks for more cores than the pool's node has
    driver = run.start("--set-threads", "sun=1", profile=profile)
    try:
        job = pool.wait_for("sun", RUNNING)
        pool.call("condor_rm", str(job))
        assert driver.wait(timeout=900) == 0, (folder / "driver.log").read_text()
    finally:
        end(driver)
    log = (folder / "driver.log").read_text()
    assert f"HTCondor Cluster ID {job} was removed/aborted" in log
    # four tiles, one of them twice
    assert len(re.findall(r"submitted to HTCondor Cluster ID \d+ with batch name sun-", log)) == 4 + 1
    assert_same_maps(run, alone)
    history = pool.call("condor_history", "-af", "Cmd", "AccountingGroup", folder=folder).split()
    assert "group_test.eemt" in history
    report_overhead(pool, log)


def report_overhead(pool: Pool, log: str) -> None:
    """Print how long jobs waited in the queue, and how long they ran."""
    fields = ("ClusterId", "QDate", "JobStartDate", "CompletionDate")
    rows = [line.split() for line in pool.call("condor_history", "-af", *fields).splitlines()]
    done = set(re.findall(r"HTCondor Cluster ID (\d+) was successful", log))
    times = [[int(value) for value in row[1:]] for row in rows if row[0] in done]
    waits = sorted(started - queued for queued, started, _ in times)
    runs = sorted(ended - started for _, started, ended in times)
    middle = len(times) // 2
    print(f"\nHTCondor: {len(times)} jobs; in the queue {waits[middle]} s (median), {waits[-1]} s (longest);")
    print(f"on the node {runs[middle]} s (median), {runs[-1]} s (longest)")


def test_job_on_hold_is_done_again_with_more_memory(pool: Pool, alone: Run, profile: Path):
    folder = pool.folder / "memory"
    shutil.copytree(alone.folder, folder, symlinks=True)
    run = pool.run_in(folder)
    # so many more steps of the sun that the job still runs when it is put on hold
    run.configure(clip_config(str(pool.folder / "clip.tif"), sun={"step": 1}))
    tile = folder / "results/clip/sun/tiles/r000c000"
    made = [str(path.relative_to(folder)) for path in tile.iterdir()]
    shutil.rmtree(tile)
    pool.give(folder)
    # the pool does the same to a job that takes too much memory, but a short one may end before it looks
    options = ["--set-resources", "sun:htcondor_request_mem_mb=1000 * 2 ** (attempt - 1)", "--set-threads", "sun=1"]
    options += ["--htcondor-held-timeout", "0"]
    driver = run.start(*options, "--", made[0], profile=profile)
    try:
        pool.call("condor_hold", str(pool.wait_for("sun", RUNNING)))
        assert driver.wait(timeout=600) == 0, (folder / "driver.log").read_text()
    finally:
        end(driver)
    log = (folder / "driver.log").read_text()
    assert re.findall(r"Requesting memory: (\w+)", log) == ["1000MB", "2000MB"]
    assert re.search(r"HTCondor Cluster ID \d+ is held: ", log)
    # Snakemake's plugin gives a job on hold up, but leaves it in the queue
    assert [status for _, status in pool.jobs("sun")] == [HELD]
    pool.call("condor_rm", "-constraint", "JobStatus == 5")
    assert all((folder / path).exists() for path in made)


def test_killed_driver_is_started_again_and_nothing_finished_is_computed_again(pool: Pool, alone: Run, profile: Path):
    folder = pool.folder / "killed"
    shutil.copytree(alone.folder, folder, symlinks=True)
    for name in ("sun/tiles", "eemt", "maps"):
        shutil.rmtree(folder / "results/clip" / name)
    pool.give(folder)
    run = pool.run_in(folder)
    before = run.written()
    words = [MAP, "--set-threads", "sun=1"]
    driver = run.start(*words, profile=profile)
    try:
        pool.wait_for("sun", RUNNING)
    finally:
        end(driver)
    # its jobs go on without it: what docs/clusters.md says of them
    assert pool.jobs("sun")
    pool.call("sh", "-c", 'condor_rm -constraint "Iwd == \\"$PWD\\""', folder=folder)
    assert run.snakemake("--unlock", profile=profile).returncode == 0
    done = run.snakemake(*words, profile=profile)
    assert done.returncode == 0, done.stdout
    assert_same_maps(run, alone)
    after = run.written()
    assert {name: after[name] for name in before} == before
