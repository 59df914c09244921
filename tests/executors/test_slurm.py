"""The workflow on a real SLURM: the maps of one machine, whatever befalls its jobs, its nodes and its driver.

The cluster is tests/beds/slurm.sh: four nodes on this machine, with accounting and with limits on memory. It is
brought up for this module where it is not up yet, and taken down again.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from eemt.stages.profile import FILE
from executors import beds
from executors.runs import Run, clip_config
from sites import ROOT

pytestmark = pytest.mark.workflow

BED = ROOT / "tests/beds/slurm.sh"
TILES = ["r000c000", "r000c001", "r001c000", "r001c001"]
NODES = {"n1", "n2", "n3", "n4"}
# after the targets: it takes all words that follow
SITE = ["--default-resources", "slurm_account=test", "slurm_partition=main"]
# the first look at the jobs comes soon: the bed's database serves nobody else
SOON = ["--eemt-slurm-init-seconds-before-status-checks", "5"]
MAPS = [f"maps/eemt_{method}_{year}.tif" for method in ("trad", "topo") for year in ("1971-2000", "mean")]
# as docs/clusters.md has it
CANCEL_WHAT_IS_LEFT = (
    """squeue --me --noheader --format '%A %j %Z' | awk -v d="$PWD" '$2 ~ /^eemt_/ && $3 == d {print $1}' """
    "| xargs --no-run-if-empty scancel"
)


@dataclass(frozen=True)
class Job:
    """A job as SLURM's accounting has it."""

    number: int
    comment: str
    state: str
    node: str
    memory: str
    seconds: float

    @property
    def rule(self) -> str:
        return self.comment.removeprefix("rule_").split("_wildcards_")[0]


@dataclass(frozen=True)
class Cluster:
    """The bed; commands run on its network."""

    prefix: list[str]

    def __call__(self, *words: str, folder: Path | None = None) -> str:
        done = subprocess.run([*self.prefix, *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def jobs(self, folder: Path) -> list[Job]:
        """List the jobs submitted from a folder, first to last."""
        fields = "JobIDRaw,Comment,State,NodeList,ReqMem,ElapsedRaw,WorkDir"
        table = self(
            "sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-1hour", f"--format={fields}"
        )
        rows = [line.split("|") for line in table.splitlines()]
        jobs = [
            Job(int(number), comment, state.split()[0], node, memory, float(seconds))
            for number, comment, state, node, memory, seconds, where in rows
            if Path(where) == folder
        ]
        return sorted(jobs, key=lambda job: job.number)

    def running(self, folder: Path, what: str) -> list[tuple[str, str]]:
        """List number and node of a folder's running jobs whose comment has `what` in it."""
        table = self("squeue", "--noheader", "--states=RUNNING", "--format=%A|%N|%Z|%k")
        rows = [line.split("|") for line in table.splitlines()]
        return [(number, node) for number, node, where, comment in rows if Path(where) == folder and what in comment]

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon and all that it runs at once, as a loss of power does."""
        daemon = (ROOT_OF_BED / f"run/slurmd-{name}.pid").read_text().strip()
        numbers = [number for number, node in self.running_anywhere() if node == name]
        # SLURM calls a job running before its processes are there
        jobs = wait_until(lambda: processes_of(numbers), f"a job of {name} has begun")
        subprocess.run(["kill", "-9", daemon, *jobs], check=False, capture_output=True)

    def running_anywhere(self) -> list[tuple[str, str]]:
        table = self("squeue", "--noheader", "--states=RUNNING", "--format=%A %N")
        return [(number, node) for number, node in (line.split() for line in table.splitlines())]


def processes_of(numbers: list[str]) -> list[str]:
    """List the process ids of jobs: each step's keeper, and all that comes from it."""
    table = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    parents, found = {}, []
    for pid, parent, words in (line.split(None, 2) for line in table.splitlines()):
        parents[pid] = parent
        if any(words.startswith(f"slurmstepd: [{number}.") for number in numbers):
            found.append(pid)
    for pid in found:  # grows as children are found
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return found


ROOT_OF_BED = Path(os.environ.get("BED", "/var/tmp/eemt-beds")) / "slurm"


def wait_until(holds: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.2)
    return found


def up() -> str | None:
    """Bring the bed up, or say what is missing for it."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "the executor plugin is not installed; `pip install 'eemt[slurm]'`"
    if subprocess.run([BED, "status"], check=False, capture_output=True).returncode == 0:
        return None
    if os.geteuid() != 0:
        return "no cluster is up; as root: `tests/beds/slurm.sh up`"
    if shutil.which("slurmctld") is None and "slurm" not in beds.required():
        return "SLURM is not installed; as root on Debian or Ubuntu: `tests/beds/slurm.sh install`"
    done = subprocess.run([BED, "up", str(len(NODES))], check=False, capture_output=True, text=True, timeout=600)
    return None if done.returncode == 0 else f"the cluster did not come up: {done.stderr[-500:]}"


@pytest.fixture(scope="module")
def slurm(require: Callable[..., None]) -> Iterator[Cluster]:
    was_up = subprocess.run([BED, "status"], check=False, capture_output=True).returncode == 0
    require("slurm", up)
    yield Cluster(subprocess.run([BED, "prefix"], check=True, capture_output=True, text=True).stdout.split())
    if not was_up:
        subprocess.run([BED, "down"], check=True, capture_output=True)


def copy_of(finished: Run, folder: Path, prefix: list[str], *without: str) -> Run:
    """Copy a run with the times of its files, as if it had been stopped before some results were there."""
    shutil.copytree(finished.folder, folder, dirs_exist_ok=True)
    for pattern in without:
        for path in (folder / "results/clip").glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Run(folder, prefix=prefix)


def assert_same(run: Run, reference: Run, *names: str) -> None:
    """Assert that files of two runs have the same values, to the last bit."""
    for name in names:
        with rasterio.open(run.result(name)) as ours, rasterio.open(reference.result(name)) as theirs:
            assert ours.count == theirs.count
            np.testing.assert_array_equal(ours.read().view(np.uint32), theirs.read().view(np.uint32), err_msg=name)


@pytest.fixture(scope="module")
def finished(slurm: Cluster, fresh: Callable[..., Run], clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All from the start, with a profile that `eemt profile install` wrote."""
    home = tmp_path_factory.mktemp("home")
    words = ["--account", "test", "--partition", "main"]
    eemt = [*slurm.prefix, sys.executable, "-m", "eemt.cli", "profile", "install", "slurm", *words]
    done = subprocess.run(
        eemt, env={**os.environ, "XDG_CONFIG_HOME": str(home)}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""  # no warning: the cluster knows account and partition
    run = fresh("slurm", clip_config(str(clip)), prefix=slurm.prefix, variables={"XDG_CONFIG_HOME": str(home)})
    command = run.command(*SOON, *[str(Path("results/clip") / name) for name in MAPS])
    command[command.index("--profile") + 1] = "slurm"
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=run.folder, env=run.environment(), capture_output=True, text=True, check=False
    )  # fmt: skip
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = slurm.jobs(run.folder)
    work = sum(
        float(path.read_text().splitlines()[1].split("\t")[0])
        for path in run.folder.glob("logs/benchmarks/clip/**/*.tsv")
    )
    inside = sum(job.seconds for job in jobs)
    print(f"\nSLURM: {len(jobs)} jobs in {seconds:.0f} s; of {inside:.0f} s in jobs {work:.0f} s were the rules' own")
    return run


def test_maps_equal_those_of_one_machine(finished: Run, reference: Run):
    layers = [f"sun/tiles/{tile}/{layer}.tif" for tile in TILES for layer in ("global", "monthly_global")]
    assert_same(finished, reference, *MAPS, *layers, "wetness/mcwi.tif")


def test_every_job_of_the_workflow_is_one_of_slurm_on_four_nodes(slurm: Cluster, finished: Run):
    jobs = slurm.jobs(finished.folder)
    tiled = dict.fromkeys(("tile", "terrain", "sun", "transfer"), len(TILES))
    expected = {"dem": 1, "climate": 1, "wetness": 1, "map": len(MAPS), **tiled}
    assert {rule: sum(job.rule == rule for job in jobs) for rule in expected} == expected
    assert len(jobs) == sum(expected.values())
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {job.node for job in jobs} == NODES


def test_finished_run_submits_nothing(slurm: Cluster, finished: Run):
    before, submitted = finished.written(), len(slurm.jobs(finished.folder))
    done = finished.snakemake(*[str(Path("results/clip") / name) for name in MAPS], *SITE, profile="slurm")
    assert "Nothing to be done" in done.stdout
    assert finished.written() == before
    assert len(slurm.jobs(finished.folder)) == submitted


def test_unknown_account_and_partition_are_pointed_out(slurm: Cluster, tmp_path: Path):
    words = ["profile", "install", "slurm", "--account", "nobody", "--partition", "gpu", "--folder", str(tmp_path)]
    done = subprocess.run(
        [*slurm.prefix, sys.executable, "-m", "eemt.cli", *words], capture_output=True, text=True, check=True
    )
    assert "partition gpu is not among yours here: main" in done.stderr
    assert "account nobody is not among yours here: root, test" in done.stderr
    assert (tmp_path / "slurm" / FILE).exists()


@dataclass(frozen=True)
class Disturbed:
    """A run whose four jobs of the sun met: nothing, too little memory, `scancel`, the end of their node."""

    run: Run
    before: dict[str, int]
    sun: dict[str, list[Job]]
    lost_node: str
    others: list[Job]


@pytest.fixture(scope="module")
def disturbed(slurm: Cluster, reference: Run, tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    folder = tmp_path_factory.mktemp("disturbed")
    run = copy_of(reference, folder, slurm.prefix, "sun/tiles/*", "eemt/*", "maps/*")
    before = run.written()
    _, starved, cancelled, lost = TILES
    too_little = f"sun:mem_mb=60 if attempt == 1 and wildcards.tile == '{starved}' else 3000 * attempt"
    target = f"results/clip/{MAPS[-1]}"
    driver = run.start(target, *SITE, *SOON, "--set-resources", too_little, profile="slurm")
    lost_node = ""
    try:
        [(number, _)] = wait_until(lambda: slurm.running(folder, cancelled), "the job to cancel runs")
        slurm("scancel", number)
        [(_, lost_node)] = wait_until(lambda: slurm.running(folder, lost), "the job to lose runs")
        slurm.kill_node(lost_node)
        assert driver.wait(timeout=420) == 0, (folder / "driver.log").read_text()
    finally:
        driver.kill()
        driver.wait()
        slurm("bash", "-c", CANCEL_WHAT_IS_LEFT, folder=folder)
        if lost_node:
            subprocess.run([BED, "node", lost_node], check=True, capture_output=True)
    jobs = slurm.jobs(folder)
    sun = {tile: [job for job in jobs if job.rule == "sun" and tile in job.comment] for tile in TILES}
    return Disturbed(run, before, sun, lost_node, [job for job in jobs if job.rule != "sun"])


def test_job_over_its_memory_is_killed_and_repeated_with_more(disturbed: Disturbed):
    first, second = disturbed.sun[TILES[1]]
    assert (first.state, second.state) == ("OUT_OF_MEMORY", "COMPLETED")
    assert re.match(r"60M", first.memory)
    assert re.match(r"6000M", second.memory)


def test_cancelled_job_is_repeated(disturbed: Disturbed):
    assert [job.state for job in disturbed.sun[TILES[2]]] == ["CANCELLED", "COMPLETED"]


def test_job_of_a_dead_node_is_repeated_on_another(disturbed: Disturbed):
    first, second = disturbed.sun[TILES[3]]
    assert (first.state, first.node) == ("NODE_FAIL", disturbed.lost_node)
    assert second.state == "COMPLETED"
    assert second.node != disturbed.lost_node


def test_faults_of_jobs_change_no_map_and_repeat_nothing_else(disturbed: Disturbed, reference: Run):
    assert_same(disturbed.run, reference, MAPS[-1], *[f"sun/tiles/{tile}/global.tif" for tile in TILES])
    assert disturbed.sun[TILES[0]][-1].state == "COMPLETED"
    done = sorted(job.rule for job in disturbed.others if job.state == "COMPLETED")
    assert done == ["map", *["transfer"] * len(TILES)]
    after = disturbed.run.written()
    assert {name: after[name] for name in disturbed.before} == disturbed.before


def test_killed_driver_goes_on_where_it_was(slurm: Cluster, reference: Run, tmp_path: Path):
    run = copy_of(reference, tmp_path / "killed", slurm.prefix, "eemt/*", "maps/*")
    before = run.written()
    words = [f"results/clip/{MAPS[-1]}", *SITE, *SOON, "--jobs", "2"]
    driver = run.start(*words, profile="slurm")
    try:
        # two of four tiles are done, the others are under way
        wait_until(
            lambda: len(slurm.jobs(run.folder)) == 4 and slurm.running(run.folder, "transfer"), "the second half runs"
        )
    finally:
        driver.kill()
        driver.wait()
    # as the manual says: first end what the dead driver left in the queue
    slurm("bash", "-c", CANCEL_WHAT_IS_LEFT, folder=run.folder)
    wait_until(lambda: not slurm.running(run.folder, ""), "no job is left")
    kept = before | {name: written for name, written in run.written().items() if "/eemt/" in name}
    assert len(kept) == len(before) + 2
    assert run.snakemake("--unlock").returncode == 0
    done = run.snakemake(*words, profile="slurm")
    assert done.returncode == 0, done.stdout
    assert_same(run, reference, MAPS[-1])
    after = run.written()
    assert {name: after[name] for name in kept} == kept
    first, second, third, fourth, *again = [(job.rule, job.state) for job in slurm.jobs(run.folder)]
    assert {first, second} == {("transfer", "COMPLETED")}
    assert {third, fourth} == {("transfer", "CANCELLED")}
    assert again == [("transfer", "COMPLETED"), ("transfer", "COMPLETED"), ("map", "COMPLETED")]


def test_rule_runs_in_an_image_on_a_node(slurm: Cluster, require: Callable[..., None], reference: Run, tmp_path: Path):
    require("apptainer", image_as_one_file)
    run = copy_of(reference, tmp_path / "image", slurm.prefix, "terrain/tiles/*")
    # the shell of each rule first leaves the name of the system that it finds itself on
    (run.folder / "Snakefile").write_text(
        f"""
configfile: "config/config.yaml"

shell.prefix("grep -h VARIANT_ID /etc/os-release > seen; ")

module eemt:
    snakefile: {str(ROOT / "workflow/Snakefile")!r}
    config: config

use rule * from eemt
"""
    )
    words = ["--account", "test", "--image", os.environ["EEMT_SIF"], "--folder", str(tmp_path)]
    slurm(sys.executable, "-m", "eemt.cli", "profile", "install", "slurm", *words)
    layer = "terrain/tiles/r000c000/slope.tif"
    # what was computed without the image counts as changed, unless times alone are looked at
    options = [f"results/clip/{layer}", "--rerun-triggers", "mtime", *SOON]
    # root in a bed may lack capabilities that Apptainer would hand on
    inside = Run(run.folder, slurm.prefix, {"APPTAINER_NO_PRIVS": "1"} if os.geteuid() == 0 else {})
    done = inside.snakemake(*options, profile=tmp_path / "slurm", snakefile=Path("Snakefile"))
    assert done.returncode == 0, done.stdout
    assert [(job.rule, job.state) for job in slurm.jobs(run.folder)] == [("terrain", "COMPLETED")]
    assert (run.folder / "seen").read_text() == "VARIANT_ID=eemt\n"
    assert_same(run, reference, layer)


def image_as_one_file() -> str | None:
    if missing := beds.apptainer():
        return missing
    return None if os.environ.get("EEMT_SIF") else "no image is named in EEMT_SIF, a .sif file"
