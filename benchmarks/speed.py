"""Speed of ``eemt sun`` against GRASS r.sun: whole processes, from start to files on disk.

Each figure is a ratio of two things timed in the same run on the same machine. r.sun is timed on
single days and scaled to the year; ours runs the whole year.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.machine import cores_used, fma_peak, processor
from benchmarks.peers import ABSENT, available, r_sun
from benchmarks.terrain import CRS, jacksboro, write_jacksboro

from eemt.sun.irradiation import strips

DAYS = [80, 172, 355]
STEP, LINKE, ALBEDO, THREADS = 15.0, 3.0, 0.2, 2
FLOP = 36  # of a cell and step in the factored integral, see docs/sun.md


@dataclass(frozen=True)
class Case:
    """One grid, with or without maps of single days."""

    cells: int
    daily: bool
    target: float  # ratio to r.sun
    memory: float | None  # MB


CASES = (
    Case(512, False, 200, None),
    Case(1024, False, 600, None),
    Case(1024, True, 250, None),
    Case(2048, False, 1500, 1500),
)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each of ours, of which the median counts")
    parser.add_argument("--large", action="store_true", help="also 2048 x 2048 with daily maps, 8 GB on disk")
    args = parser.parse_args()
    print(f"{processor()}, {cores_used(THREADS)}; Python {platform.python_version()}; 365 days, step {STEP:g} min\n")
    if not available():
        print(ABSENT, file=sys.stderr)
    cases = CASES + ((Case(2048, True, float("nan"), 3000),) if args.large else ())
    print("| grid | maps | eemt sun, s | peak memory, MB | r.sun, s a day | r.sun, h a year | ratio | target |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="eemt_bench_", dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        compile_once(folder)
        peers: dict[int, float] = {}
        for case in cases:
            dem = write_jacksboro(folder, case.cells)
            if available() and case.cells not in peers:
                options = {"step": STEP, "linke": LINKE, "albedo": ALBEDO, "threads": THREADS}
                runs = r_sun(dem, CRS, DAYS, **options).values()
                peers[case.cells] = statistics.mean(run.seconds for run in runs)
            print(row(case, dem, folder, args.repeat, peers.get(case.cells)), flush=True)
    print("\n" + integral())


def compile_once(folder: Path) -> None:
    """Let numba compile and cache before anything is timed."""
    dem = write_jacksboro(folder, 64)
    for daily in (True, False):
        eemt_sun(dem, folder / "warm", daily)


def row(case: Case, dem: Path, folder: Path, repeat: int, peer: float | None) -> str:
    """Time one case and write its row."""
    runs = [eemt_sun(dem, folder / "maps", case.daily) for _ in range(repeat)]
    seconds = statistics.median(run[0] for run in runs)
    memory = max(run[1] for run in runs)
    columns = [f"{case.cells} x {case.cells}", "daily and monthly" if case.daily else "monthly"]
    columns += [f"{seconds:.1f}", f"{memory:.0f}"]
    if peer is None:
        columns += ["", "", "", ""]
    else:
        year = peer * 365
        target = "" if np.isnan(case.target) else f"{case.target:.0f} x"
        columns += [f"{peer:.1f}", f"{year / 3600:.2f}", f"{year / seconds:.0f} x", target]
    return "| " + " | ".join(columns) + " |"


def eemt_sun(dem: Path, out: Path, daily: bool) -> tuple[float, float]:
    """Run the command; return wall seconds and peak resident memory [MB]."""
    shutil.rmtree(out, ignore_errors=True)
    command = [str(Path(sys.executable).parent / "eemt"), "sun", str(dem), "--out", str(out), "--threads", str(THREADS)]
    command += ["--step", str(STEP), "--linke", str(LINKE), "--albedo", str(ALBEDO)]
    command += ["--daily" if daily else "--no-daily"]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss / 1024


def integral(cells: int = 1024) -> str:
    """Compare the daily integral, horizons taken off, with the machine's multiply-add peak."""
    elevation, grid = jacksboro(cells)
    latitude = float(grid.latitude()[cells // 2, cells // 2])

    def timed(days: range) -> float:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            for _ in strips(
                elevation, dx=grid.dx, dy=grid.dy, latitude=latitude, days=days, step=STEP, daily=False, threads=THREADS
            ):
                pass
            best = min(best, time.perf_counter() - start)
        return best

    horizons, year = timed(range(1, 2)), timed(range(1, 366))
    seconds = (year - horizons) * 365 / 364
    steps = 365 * 12 * 60 / STEP  # the sun is up for half of the year
    rate = cells**2 * steps * FLOP / seconds / 1e9
    peak = fma_peak(THREADS)
    return (
        f"The integral of {cells} x {cells} cells: {seconds:.2f} s for the year, horizons another {horizons:.2f} s. "
        f"At {FLOP} flop a cell and step that is {rate:.0f} GFLOP/s, {100 * rate / peak:.0f} % of the "
        f"{peak:.0f} GFLOP/s of float32 multiply-adds that {THREADS} threads of this machine were measured at."
    )


if __name__ == "__main__":
    main()
