"""How the whole workflow grows with the number of cells: ``python -m benchmarks.scale``.

The Jacksboro DEM on ever finer grids, normals of one station, TRAD and TOPO, from the elevation raster
to maps, table and report. Every job is measured by the operating system's own accounting; what is
left of the wall time when no job runs is Snakemake's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from benchmarks.machine import cores_used, processor
from benchmarks.terrain import write_jacksboro

ROOT = Path(__file__).parents[1]
SIDES = (1024, 2048, 4096, 8192)
CORES = 2
CLIMATE = {
    "source": "station",
    "file": str(ROOT / "config/data/waterdale_normals_1971-2000.csv"),
    "elevation": 1594,
    "latitude": 40.43,
    "longitude": -105.21,
    "normals_period": [1971, 2000],
}
SNAKEFILE = """
shell.prefix({prefix!r})


configfile: "config.yaml"


module eemt:
    snakefile:
        {snakefile!r}
    config:
        config


use rule * from eemt
"""


# what users ask for: name, area [km2], cell [m]
AREAS = (
    ("Colorado", 269_600, 30),
    ("Colorado", 269_600, 10),
    ("conterminous United States", 8_080_000, 30),
    ("conterminous United States", 8_080_000, 10),
    ("North America", 24_700_000, 30),
)
RUN_CELLS = 1e8  # of one run's elevation: what wetness holds in 4 GB, a region of whole catchments
MARGIN = 1.25  # by which catchments' outlines and buffers make the elevation larger than the area


@dataclass(frozen=True)
class Measured:
    """One run of the workflow."""

    side: int
    wall: float  # s
    cpu: float  # s, of everything
    jobs: list[dict[str, Any]]
    disk: dict[str, float]  # MB by folder of the results

    @property
    def million_cells(self) -> float:
        """Size of the map."""
        return self.side**2 / 1e6

    @property
    def job_cpu(self) -> float:
        """Core-seconds in jobs."""
        return sum(job["cpu"] for job in self.jobs)

    @property
    def outside(self) -> float:
        """Wall seconds in which no job ran."""
        return self.wall - covered((job["begun"], job["ended"]) for job in self.jobs)

    def of(self, stage: str) -> list[dict[str, Any]]:
        """Jobs of a command."""
        return [job for job in self.jobs if job["stage"] == stage]


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), metavar="CELLS")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder); 60 GB for 8192")
    args = parser.parse_args()
    print(f"{processor()}, {cores_used(CORES)}; Python {platform.python_version()}\n", flush=True)
    runs = []
    with tempfile.TemporaryDirectory(prefix="eemt_scale_", dir=args.folder) as name:
        run(64, Path(name) / "warm")  # numba compiles, files are cached
        for side in args.sides:
            runs.append(run(side, Path(name) / str(side)))
            print(f"{side} x {side}: {runs[-1].wall:.0f} s, {runs[-1].cpu:.0f} core-s", file=sys.stderr, flush=True)
            shutil.rmtree(Path(name) / str(side))
    print(whole_table(runs))
    print(stage_table(runs))
    print(disk_table(runs))
    print(extrapolated(runs[-1]))


def run(side: int, folder: Path) -> Measured:
    """Run the workflow in a folder of its own."""
    folder.mkdir(parents=True)
    dem = write_jacksboro(folder, side)
    config = {"sites": {"jacksboro": {"dem": {"source": dem.name}, "climate": CLIMATE}}}
    config |= {"sun": {"daily": False}, "outputs": {"parts": False}, "eemt": {"methods": ["trad", "topo"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    record = folder / "jobs.jsonl"
    prefix = f"PYTHONPATH={ROOT} {sys.executable} -m benchmarks.job {record} "
    (folder / "Snakefile").write_text(SNAKEFILE.format(prefix=prefix, snakefile=str(ROOT / "workflow/Snakefile")))
    command = [sys.executable, "-m", "snakemake", "--snakefile", "Snakefile", "--cores", str(CORES)]
    command += ["--profile", str(ROOT / "profiles/local")]
    with (folder / "snakemake.log").open("w") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    if status:
        tail = "\n".join((folder / "snakemake.log").read_text().splitlines()[-30:])
        raise RuntimeError(f"the workflow failed on {side} x {side} cells:\n{tail}")
    jobs = [json.loads(line) for line in record.read_text().splitlines()]
    return Measured(side, wall, usage.ru_utime + usage.ru_stime, jobs, disk_use(folder / "results/jacksboro"))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length that spans cover together."""
    total, reached = 0.0, float("-inf")
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, reached))
        reached = max(reached, ended)
    return total


def disk_use(results: Path) -> dict[str, float]:
    """Return the size of each folder of the results [MB]."""
    sizes: dict[str, float] = {}
    for path in results.rglob("*"):
        if path.is_file():
            folder, *rest = path.relative_to(results).parts
            kind = f"{folder}/tiles" if rest[:1] == ["tiles"] else folder if rest else "tables and report"
            sizes[kind] = sizes.get(kind, 0.0) + path.stat().st_size / 1e6
    return sizes


def whole_table(runs: list[Measured]) -> str:
    """Tabulate the runs as wholes."""
    head = ["cells", "jobs", "wall, s", "core-s", "core-s a million cells", "against the first", "Snakemake, s of wall"]
    head += ["share of wall", "Snakemake, core-s", "results, GB"]
    rows = []
    for measured in runs:
        rate = measured.cpu / measured.million_cells
        first = runs[0].cpu / runs[0].million_cells
        row = [f"{measured.side} x {measured.side}", str(len(measured.jobs)), f"{measured.wall:.0f}"]
        row += [f"{measured.cpu:.0f}", f"{rate:.1f}", f"{100 * (rate / first - 1):+.0f} %", f"{measured.outside:.1f}"]
        row += [f"{100 * measured.outside / measured.wall:.1f} %", f"{measured.cpu - measured.job_cpu:.1f}"]
        row += [f"{sum(measured.disk.values()) / 1000:.2f}"]
        rows.append(row)
    return markdown(head, rows)


def stage_table(runs: list[Measured]) -> str:
    """Tabulate core-seconds a million cells and peak memory by command."""
    head = ["command"]
    for measured in runs:
        head += [f"{measured.side}: core-s a million cells", f"{measured.side}: longest job, s", "peak, MB"]
    stages = sorted({job["stage"] for measured in runs for job in measured.jobs})
    rows = []
    for stage in stages:
        row = [f"eemt {stage}"]
        for measured in runs:
            jobs = measured.of(stage)
            row += [f"{sum(job['cpu'] for job in jobs) / measured.million_cells:.2f}"]
            row += [f"{max(job['ended'] - job['begun'] for job in jobs):.1f}"]
            row += [f"{max(job['memory'] for job in jobs):.0f}"]
        rows.append(row)
    return markdown(head, rows)


def disk_table(runs: list[Measured]) -> str:
    """Tabulate bytes a cell by folder."""
    head = ["results", *(f"{measured.side}: bytes a cell" for measured in runs)]
    kinds = sorted({kind for measured in runs for kind in measured.disk})
    rows = [
        [kind, *(f"{measured.disk.get(kind, 0.0) / measured.million_cells:.2f}" for measured in runs)] for kind in kinds
    ]
    return markdown(head, rows)


def extrapolated(largest: Measured) -> str:
    """Carry the figures of the largest run over to regions, cut into runs of `RUN_CELLS`."""
    head = ["region", "cell, m", "million cells", "runs", "jobs", "core-hours", "days on 200 cores", "results, TB"]
    jobs_a_cell = len(largest.jobs) / largest.million_cells
    rows = []
    for name, area, cell in AREAS:
        cells = area / cell**2 * MARGIN  # millions, since the area is in km2 and the cell in m
        hours = largest.cpu / largest.million_cells * cells / 3600
        bytes_a_cell = sum(largest.disk.values()) / largest.million_cells
        row = [name, str(cell), f"{cells:,.0f}", f"{np.ceil(cells * 1e6 / RUN_CELLS):,.0f}"]
        row += [f"{cells * jobs_a_cell:,.0f}", f"{hours:,.0f}", f"{hours / 200 / 24:.1f}"]
        rows.append([*row, f"{bytes_a_cell * cells / 1e6:.2f}"])
    return markdown(head, rows)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
