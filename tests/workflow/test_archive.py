"""`snakemake archive` and `snakemake retrieve`: killed and run again, several sites at once, results that change."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from archive.flow import assert_valid, contents, most_at_once, spans
from eemt.archive.bag import TAGMANIFEST
from eemt.archive.limits import slot
from eemt.grid import Grid
from eemt.raster import write_geotiff
from executors.runs import Run
from sites import hills

pytestmark = pytest.mark.workflow

EEMT = str(Path(sys.executable).parent / "eemt")
GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 14, 12)
MORE = ("birch", "cedar", "dogwood")
LIMITS = {"space": 1, "move": 2, "verify": 1, "read": 1}
LONGEST = 600  # seconds until a job must have come to its place


def config(sites: tuple[str, ...] = ("alder",), **archive: Any) -> dict[str, Any]:
    """Return the config of small sites without climate, and of their archive."""
    site = {"dem": {"source": "hills.tif"}, "climate": {"source": "none"}}
    kept = {"storage": "storage", "locks": "locks", "target_size_mb": 0.05, "min_free_percent": 0, **archive}
    return {
        "sites": dict.fromkeys(sites, site),
        "sun": {"step": 60, "daily": False},
        "outputs": {"report": False, "catalogue": False},
        "archive": kept,
    }


@pytest.fixture(scope="module")
def run(fresh: Callable[..., Run]) -> Run:
    """A folder with one finished site, and an empty storage."""
    made = fresh("archive", config())
    write_geotiff(made.folder / "hills.tif", hills(*GRID.shape), GRID, ["elevation"], "m")
    (made.folder / "storage").mkdir()
    (made.folder / "locks").mkdir()
    done = made.snakemake()
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture(scope="module")
def was(run: Run) -> dict[str, str]:
    """Checksums of the finished site's files."""
    return contents(run.folder / "results" / "alder")


def finished(run: Run) -> list[str]:
    return sorted(path.parent.name for path in (run.folder / "storage").glob(f"*/{TAGMANIFEST}"))


def eemt(run: Run, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([EEMT, *words], cwd=run.folder, capture_output=True, text=True, check=False)


@contextmanager
def occupied(run: Run, what: str) -> Iterator[None]:
    """Hold all places for something, so that jobs come to wait for one."""
    with ExitStack() as held:
        for _ in range(LIMITS[what]):
            held.enter_context(slot(what, LIMITS[what], run.folder / "locks", "a test"))
        yield


def killed_in(run: Run, target: str, what: str, log: str) -> None:
    """Run a target until a job waits in the middle of what it does, and kill all processes there."""
    with occupied(run, what):
        driver = run.start(target)
        try:
            path, end = run.folder / log, time.monotonic() + LONGEST
            while not (path.exists() and "waits for one of" in path.read_text()):
                assert driver.poll() is None and time.monotonic() < end, (run.folder / "driver.log").read_text()
                time.sleep(0.1)
        finally:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
    assert run.snakemake("--unlock").returncode == 0


def test_an_archiving_that_is_killed_in_the_middle_is_finished_by_the_next(run: Run, was: dict[str, str]) -> None:
    killed_in(run, "archive", "move", "logs/alder/archive_move.log")
    assert contents(run.folder / "results" / "alder") == was
    assert finished(run) == [] and not list((run.folder / "storage").iterdir())
    done = run.snakemake("archive")
    assert done.returncode == 0, done.stdout
    assert contents(run.folder / "results" / "alder") == was
    (identifier,) = finished(run)
    assert_valid(run.folder / "storage" / identifier)
    assert identifier in (run.folder / "logs/alder/archive_register.log").read_text()
    assert not list((run.folder / "archive/staging").rglob("*.tar")) and not list((run.folder / "locks").glob("room-*"))


def test_a_second_archiving_has_nothing_to_do(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run.folder / "storage").rglob("*")}
    done = run.snakemake("archive")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stdout
    assert {path: path.stat().st_mtime_ns for path in (run.folder / "storage").rglob("*")} == before


def test_a_block_lost_in_the_middle_is_copied_again_by_the_step_that_misses_it(run: Run, was: dict[str, str]) -> None:
    (identifier,) = finished(run)
    sorted((run.folder / "storage" / identifier / "data").iterdir())[0].unlink()
    done = run.snakemake("archive", "--forcerun", "archive_register")
    assert done.returncode == 0, done.stdout
    assert "goes back to move" in (run.folder / "logs/alder/archive_register.log").read_text()
    assert_valid(run.folder / "storage" / identifier)
    assert contents(run.folder / "results" / "alder") == was


def test_a_retrieval_that_is_killed_in_the_middle_is_finished_by_the_next(run: Run, was: dict[str, str]) -> None:
    (identifier,) = finished(run)
    run.configure(config(retrieve=[identifier]))
    killed_in(run, "retrieve", "read", f"logs/retrievals/{identifier}.log")
    place = run.folder / "archive" / "retrieved" / "alder"
    assert not place.exists()
    done = run.snakemake("retrieve")
    assert done.returncode == 0, done.stdout
    assert contents(place) == was
    done = run.snakemake("retrieve")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout
    told = eemt(run, "verify", "archive/retrieved")
    assert told.returncode == 0, told.stdout + told.stderr


def test_four_sites_keep_to_the_limits_and_a_changed_one_is_another_dataset(run: Run, was: dict[str, str]) -> None:
    (first,) = finished(run)
    for name in MORE:
        shutil.copytree(run.folder / "results" / "alder", run.folder / "results" / name)
    run.configure(config(("alder", *MORE)))
    # of the first one the crate is written anew, and has another date
    done = run.snakemake("archive", "--cores", "4", "--forcerun", "crate")
    assert done.returncode == 0, done.stdout
    names = finished(run)
    assert [name.rpartition("-")[0] for name in names] == ["alder", "alder", *MORE]
    for name in names:
        assert_valid(run.folder / "storage" / name)
    logs = sorted((run.folder / "logs").glob("*/archive_*.log"))
    found = [span for path in logs for span in spans(path.read_text())]
    for what in ("space", "move", "verify"):
        some = [span for span in found if span.what == what]
        assert len({span.whose.rpartition("-")[0] for span in some}) >= 4
        assert most_at_once(some) <= LIMITS[what]
    told = eemt(run, "catalogue", "list", "--json", "--state", "archived")
    assert all(name in told.stdout for name in names)
    out = eemt(run, "retrieve", first, "--out", "old", "--settings", '{"storage": "storage", "locks": "locks"}')
    assert out.returncode == 0, out.stderr
    assert contents(run.folder / "old" / "alder") == was


def test_a_source_that_is_cleaned_is_not_made_again_by_a_second_archiving(run: Run) -> None:
    now = contents(run.folder / "results" / "birch")
    run.configure(config(("birch",), clean_source=True))
    done = run.snakemake("archive")
    assert done.returncode == 0, done.stdout
    assert contents(run.folder / "results" / "birch") == {}
    done = run.snakemake("archive")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stdout
    identifier = next(name for name in finished(run) if name.startswith("birch-"))
    assert_valid(run.folder / "storage" / identifier)
    out = eemt(run, "retrieve", identifier, "--out", "back")
    assert out.returncode == 0, out.stderr
    assert contents(run.folder / "back" / "birch") == now
