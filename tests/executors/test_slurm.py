"""The workflow on a real SLURM: the maps of one machine, whatever befalls its jobs, its nodes and its driver.

The cluster is tests/beds/slurm.sh: four nodes on this machine, with accounting and with limits on memory. It is
brought up for this module where it is not up yet, and taken down again. Tests stand in an order that lets them run
beside each other: while one run waits for a job that exceeds its minute, the next use the nodes that are left.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from eemt.stages.profile import FILE
from executors import beds
from executors.runs import Run, assert_same_maps
from sites import ROOT

pytestmark = pytest.mark.workflow

BED = ROOT / "tests/beds/slurm.sh"
TILES = ["r000c000", "r000c001", "r001c000", "r001c001"]
NODES = {"n1", "n2", "n3", "n4"}
# after the targets: it takes all words that follow
SITE = ["--default-resources", "slurm_account=test", "slurm_partition=main"]
# the first look at the jobs comes soon: the bed's database serves nobody else
SOON = ["--eemt-slurm-init-seconds-before-status-checks", "2", "--max-jobs-per-timespan", "50/1s"]
MAP = "maps/eemt_topo_mean.tif"
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
    cpu_seconds: float

    @property
    def rule(self) -> str:
        return self.comment.removeprefix("rule_").split("_wildcards_")[0]


def duration(text: str) -> float:
    """Read hours, minutes and seconds, of which the first may lack."""
    return sum(float(part) * 60**place for place, part in enumerate(reversed(text.split(":"))))


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
        fields = "JobIDRaw,Comment,State,NodeList,ReqMem,ElapsedRaw,TotalCPU,WorkDir"
        table = self(
            "sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-1hour", f"--format={fields}"
        )
        rows = [line.split("|") for line in table.splitlines()]
        jobs = [
            Job(int(number), comment, state.split()[0], node, memory, float(seconds), duration(cpu))
            for number, comment, state, node, memory, seconds, cpu, where in rows
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


def stop_processes(numbers: list[str]) -> None:
    """Let jobs stand still, as on a file system that no longer answers; those who guard them go on."""

    def at_work() -> list[str]:
        words = ["ps", "-o", "pid=,comm=", "--pid", ",".join(processes_of(numbers))]
        table = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        return [pid for pid, name in map(str.split, table.splitlines()) if name != "slurmstepd"]

    subprocess.run(["kill", "-STOP", *wait_until(at_work, "the job has begun")], check=True)


ROOT_OF_BED = Path(os.environ.get("BED", "/var/tmp/eemt-beds")) / "slurm"


def wait_until(holds: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def slurm(require: Callable[..., None]) -> Iterator[Cluster]:
    was_up = subprocess.run([BED, "status"], check=False, capture_output=True).returncode == 0
    require("slurm")
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


def assert_same(run: Run, reference: Run, *names: str, site: str = "clip") -> None:
    """Assert that files of two runs have the same values, to the last bit."""
    for name in names:
        with rasterio.open(run.result(name, site)) as ours, rasterio.open(reference.result(name, site)) as theirs:
            assert ours.count == theirs.count
            np.testing.assert_array_equal(ours.read().view(np.uint32), theirs.read().view(np.uint32), err_msg=name)


def embedded_default(fresh: Callable[..., Run], name: str, **how: Any) -> Run:
    """Make a folder with the config and the data that come with the project."""
    run = fresh(name, **how)
    shutil.copytree(ROOT / "config", run.folder / "config")
    return run


@pytest.fixture(scope="module")
def planned(fresh: Callable[..., Run]) -> Counter[str]:
    """How many jobs of each rule the embedded default has, but for those that end it."""
    table = embedded_default(fresh, "planned").snakemake("--dry-run").stdout.split("Job stats:")[1].split("total")[0]
    return Counter({rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", table, re.M) if rule != "all"})


@pytest.fixture(scope="module")
def on_this_machine(fresh: Callable[..., Run]) -> Run:
    run = embedded_default(fresh, "local")
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run


@pytest.fixture(scope="module")
def finished(
    slurm: Cluster, on_this_machine: Run, fresh: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """The embedded default, all from the start, with a profile that `eemt profile install` wrote."""
    assert on_this_machine  # first, so that kernels are compiled and the times below are those of a second run
    home = tmp_path_factory.mktemp("home")
    words = ["--account", "test", "--partition", "main"]
    eemt = [*slurm.prefix, sys.executable, "-m", "eemt.cli", "profile", "install", "slurm", *words]
    variables = {"XDG_CONFIG_HOME": str(home)}
    done = subprocess.run(eemt, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    assert done.stderr == ""  # no warning: the cluster knows account and partition
    run = embedded_default(fresh, "slurm", prefix=slurm.prefix, variables=variables)
    start = time.monotonic()
    done = run.snakemake(*SOON, profile=Path("slurm"))
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stdout
    jobs = slurm.jobs(run.folder)
    benchmarks = run.folder.glob("logs/benchmarks/boulder/**/*.tsv")
    work = sum(float(path.read_text().splitlines()[1].split("\t")[0]) for path in benchmarks)
    around = (sum(job.seconds for job in jobs) - work) / len(jobs)
    cpu = sum(job.cpu_seconds for job in jobs) / len(jobs)
    print(f"\nSLURM: {len(jobs)} jobs in {seconds:.0f} s; rules took {work:.0f} s in all, and", end=" ")
    print(f"{around:.1f} s around each; {cpu:.1f} s of processor time in each job, the rule's included")
    return run


def test_embedded_default_on_four_nodes_gives_the_maps_of_one_machine(finished: Run, on_this_machine: Run):
    assert_same_maps(finished, on_this_machine, "boulder")
    site = finished.result("", "boulder")
    layers = [str(path.relative_to(site)) for path in site.rglob("tiles/*/*global.tif")]
    assert len(layers) == len(TILES) * len(("global", "flat_global", "monthly_global", "monthly_flat_global"))
    assert_same(finished, on_this_machine, *layers, "wetness/mcwi.tif", site="boulder")
    assert finished.result("report.html", "boulder").is_file()


def test_every_job_of_the_workflow_is_one_of_slurm_on_four_nodes(slurm: Cluster, finished: Run, planned: Counter[str]):
    jobs = slurm.jobs(finished.folder)
    assert Counter(job.rule for job in jobs) == planned
    assert planned["sun"] == len(TILES)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {job.node for job in jobs} == NODES


def test_finished_run_submits_nothing(slurm: Cluster, finished: Run):
    before, submitted = finished.written(), len(slurm.jobs(finished.folder))
    done = finished.snakemake(profile=Path("slurm"))
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


@dataclass
class Faults:
    """A run whose jobs of the sun meet what befalls jobs, and what was done to them."""

    run: Run
    before: dict[str, int]
    driver: subprocess.Popen[bytes]
    lost_node: str = ""
    drained_node: str = ""


@pytest.fixture(scope="module")
def faults(slurm: Cluster, reference: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """Start a run and do to its jobs what takes effect while the next tests go on."""
    folder = tmp_path_factory.mktemp("faults")
    run = copy_of(reference, folder, slurm.prefix, "sun/tiles/*", "eemt/*", "maps/*")
    before = run.written()
    starved, cancelled, lost, stopped = TILES
    first = "if attempt == 1 and wildcards.tile =="
    resources = [f"sun:mem_mb=60 {first} '{starved}' else 3000 * attempt", f"sun:runtime=1 {first} '{stopped}' else 30"]
    # four cores a job, so that each has a node for itself
    words = [f"results/clip/{MAP}", *SITE, *SOON, "--set-threads", "sun=4", "--set-resources", *resources]
    met = Faults(run, before, run.start(*words, profile="slurm"))

    def job_of(tile: str, but: str = "") -> tuple[str, str]:
        return wait_until(
            lambda: [job for job in slurm.running(folder, tile) if job[0] != but], f"a job of {tile} runs"
        )[0]

    try:
        number, _ = job_of(cancelled)
        slurm("scancel", number)
        _, met.lost_node = job_of(lost)
        slurm.kill_node(met.lost_node)
        stop_processes([job_of(stopped)[0]])
        # its second attempt is on a node that is drained meanwhile
        _, met.drained_node = job_of(cancelled, but=number)
        slurm("scontrol", "update", f"nodename={met.drained_node}", "state=drain", "reason=test")
        yield met
    finally:
        met.driver.kill()
        met.driver.wait()
        slurm("bash", "-c", CANCEL_WHAT_IS_LEFT, folder=folder)
        if met.drained_node:
            slurm("scontrol", "update", f"nodename={met.drained_node}", "state=resume")
        if met.lost_node:
            subprocess.run([BED, "node", met.lost_node], check=True, capture_output=True)


@dataclass(frozen=True)
class Outcome:
    """How the jobs of the run with faults ended, those of the sun by their tile."""

    sun: dict[str, list[Job]]
    others: list[Job]


@pytest.fixture(scope="module")
def outcome(slurm: Cluster, faults: Faults) -> Outcome:
    """Wait for the end of the run with faults."""
    assert faults.driver.wait(timeout=420) == 0, (faults.run.folder / "driver.log").read_text()
    jobs = slurm.jobs(faults.run.folder)
    sun = {tile: [job for job in jobs if job.rule == "sun" and tile in job.comment] for tile in TILES}
    return Outcome(sun, [job for job in jobs if job.rule != "sun"])


@pytest.mark.usefixtures("faults")
def test_killed_driver_goes_on_where_it_was(slurm: Cluster, reference: Run, tmp_path: Path):
    run = copy_of(reference, tmp_path / "killed", slurm.prefix, "eemt/*", "maps/*")
    before = run.written()
    words = [f"results/clip/{MAP}", *SITE, *SOON, "--jobs", "2"]
    driver = run.start(*words, profile="slurm")

    def two_run(but: frozenset[str] = frozenset()) -> frozenset[str]:
        numbers = frozenset(number for number, _ in slurm.running(run.folder, "transfer")) - but
        return numbers if len(numbers) == 2 else frozenset()

    try:
        half = wait_until(two_run, "two tiles are under way")
        # two of four tiles are done, and the others are kept from it, however quick the machine is
        stop_processes(list(wait_until(lambda: two_run(but=half), "the other two are")))
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
    assert_same(run, reference, MAP)
    after = run.written()
    assert {name: after[name] for name in kept} == kept
    first, second, third, fourth, *again = [(job.rule, job.state) for job in slurm.jobs(run.folder)]
    assert {first, second} == {("transfer", "COMPLETED")}
    assert {third, fourth} == {("transfer", "CANCELLED")}
    *transfers, (last, state) = again
    assert transfers == [("transfer", "COMPLETED")] * 2
    assert last.startswith("map") and state == "COMPLETED"


@pytest.mark.usefixtures("faults")
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


def test_job_over_its_memory_is_killed_and_repeated_with_more(outcome: Outcome):
    first, second = outcome.sun[TILES[0]]
    assert (first.state, second.state) == ("OUT_OF_MEMORY", "COMPLETED")
    assert re.match(r"60M", first.memory)
    assert re.match(r"6000M", second.memory)


def test_cancelled_job_is_repeated_and_ends_on_a_node_that_is_being_drained(outcome: Outcome, faults: Faults):
    first, second = outcome.sun[TILES[1]]
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert second.node == faults.drained_node
    later = {job.node for job in outcome.others if job.number > second.number}
    assert later
    assert faults.drained_node not in later


def test_job_of_a_dead_node_is_repeated_on_another(outcome: Outcome, faults: Faults):
    first, second = outcome.sun[TILES[2]]
    assert (first.state, first.node) == ("NODE_FAIL", faults.lost_node)
    assert second.state == "COMPLETED"
    assert second.node != faults.lost_node


def test_job_that_stands_still_is_ended_at_its_time_limit_and_repeated(outcome: Outcome):
    assert [job.state for job in outcome.sun[TILES[3]]] == ["TIMEOUT", "COMPLETED"]


def test_faults_of_jobs_change_no_map_and_repeat_nothing_else(outcome: Outcome, faults: Faults, reference: Run):
    assert_same(faults.run, reference, MAP, *[f"sun/tiles/{tile}/global.tif" for tile in TILES])
    *transfers, last = outcome.others
    assert [job.rule for job in transfers] == ["transfer"] * len(TILES)
    assert last.rule.startswith("map")
    assert {job.state for job in outcome.others} == {"COMPLETED"}
    after = faults.run.written()
    assert {name: after[name] for name in faults.before} == faults.before
