"""What a job will be: its grid, its tiles, and about how much time and disk it takes.

Known from headers and settings alone: nothing is fetched, and no raster is opened.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session

from eemt.config import Site, Spread, load_config
from eemt.dem.layout import Layout
from eemt.errors import InputError
from eemt.grid import Grid, tile_size
from eemt.plan import MOST_JOBS, Plan
from eemt.service.models import Job
from eemt.service.places import layout_of
from eemt.service.settings import Settings

# Measured, docs/scaling.md: core-seconds a million cells of one year, two methods, months of sun, by cells of the map
CELLS = (1024**2, 2048**2, 4096**2, 8192**2)
CORE_SECONDS: dict[str, tuple[float, ...]] = {
    "dem": (0.94, 0.25, 0.13, 0.08),
    "tile": (0.39, 0.91, 0.27, 0.13),
    "terrain": (1.35, 2.47, 0.75, 0.37),
    "wetness": (2.10, 1.04, 0.84, 0.85),
    "sun": (15.15, 15.43, 11.91, 10.59),
    "climate": (1.04, 0.24, 0.06, 0.01),
    "transfer": (5.02, 6.90, 3.90, 3.46),
    "mosaic": (18.41, 10.54, 8.55, 8.31),
    "summary": (1.86, 1.17, 1.35, 2.65),
    "report": (8.19, 3.00, 1.01, 0.49),
}
# the same maps, bytes a cell
BYTES: dict[str, tuple[float, ...]] = {
    "dem": (5.33, 6.02, 5.17, 4.39),
    "terrain": (22.29, 21.55, 20.12, 18.62),
    "wetness": (9.43, 9.05, 8.48, 7.87),
    "sun": (195.87, 184.32, 174.05, 162.37),
    "energy": (78.30, 77.27, 75.60, 73.20),
    "maps": (94.39, 91.66, 87.74, 83.79),
}
MAPS_MEASURED = 12  # maps of that run: three variables, two methods, the period and the mean
DAILY_BYTES = 1500.0  # a cell more, with maps of single days
DAILY_TIMES = 3.0  # the time of the sun's maps with them
STEP_MEASURED = 15.0  # min
SUN_OF_MOSAIC = 0.55  # of putting maps together, the share that those of the sun take
START = 1.5  # core-seconds that a job takes whatever it computes
JOBS_MEASURED = 15  # of the smallest run, whose start its rates hold already
SNAKEMAKE = 4.0  # seconds in which no job runs
TOGETHER = 0.68  # of the cores' number, by which two were faster than one
OVERHEAD_BYTES = 5_000_000  # tables, report, logs
MEASURED_JOBS = 12  # of the finished jobs, the latest, that estimates are corrected by
TRUSTED = 50.0  # times that a correction may be too long or too short
MOST_CASES = 5000  # of a sweep; each is at least two jobs


@dataclass(frozen=True)
class Estimate:
    """What a job will be.

    Attributes
    ----------
    grid : Grid or None
        Of the maps; nothing where only a server knows.
    prepared : Grid or None
        Of the elevation with the buffer around them.
    cells : int or None
        Of the maps.
    tiles, jobs, cases, maps : int or None
        How many.
    seconds, bytes : float, int
        Time on this machine's cores; disk.
    measured : bool
        Whether jobs that ran here corrected the time.
    """

    grid: Grid | None = None
    prepared: Grid | None = None
    cells: int | None = None
    tiles: int | None = None
    jobs: int | None = None
    cases: int | None = None
    maps: int | None = None
    seconds: float | None = None
    bytes: int = 0
    measured: bool = False


def estimate(
    session: Session,
    settings: Settings,
    site: Site,
    grids: Mapping[str, Mapping[str, Any]],
    table: Sequence[Mapping[str, str]] | None = None,
) -> Estimate:
    """Estimate a job.

    Parameters
    ----------
    session : Session
        In which finished jobs are looked up.
    settings : Settings
    site : Site
        Checked.
    grids : mapping
        Grids of uploaded elevation, by their path in `site.dem.source`.
    table : sequence of mapping, optional
        Rows of the sweep's table.

    Raises
    ------
    InputError
        When there is no such grid, or it is larger than the service takes, or there are too many jobs.
    """
    refuse_too_many_cases(site, table)
    found = layout_of(site.dem, grids)
    if found is None:
        return Estimate()
    refuse_too_large(site, found, settings)
    work = Work(Plan(site, known=found, table=table))
    if work.jobs > MOST_JOBS:
        raise InputError(
            f"{'sweep' if work.cases > 1 else 'tiles.size'}: {work.cases:,} cases of {work.tiles:,} tiles are "
            f"{work.jobs:,} jobs; {MOST_JOBS:,} are the most, take larger tiles or sweep less"
        )
    correction = measured_correction(session, site.has_climate)
    return Estimate(
        found.area,
        found.grid,
        work.cells,
        work.tiles,
        work.jobs,
        work.cases,
        work.cases * work.maps,
        work.seconds(cores()) * (correction or 1.0),
        work.bytes,
        correction is not None,
    )


class Work:
    """How much there is to compute for a site.

    Parameters
    ----------
    plan : Plan
        Whose layout is known.
    """

    def __init__(self, plan: Plan) -> None:
        self.site = plan.settings
        area, prepared = plan.layout.area, plan.layout.grid
        self.cells = area.width * area.height
        self.prepared = prepared.width * prepared.height
        self.tiles = count_tiles(area, self.site)
        with_energy = self.site.has_climate
        self.cases, self.suns = len(plan.cases), len(plan.suns)
        self.years = len(plan.years)
        self.maps = len(plan.maps)
        # batches are looked up only where there are as few tiles as they can be listed for
        batches = len(plan.batches) if with_energy and self.tiles <= MOST_JOBS else 0
        groups = len(plan.map_groups)
        self.jobs = self.tiles * (2 + self.suns + batches) + self.cases * (1 + groups) + 10

    def seconds(self, workers: int) -> float:
        """Time of all jobs on so many cores [s]."""
        sun = self.site.sun
        days = DAILY_TIMES if sun.daily else 1.0
        maps = self.cases * self.maps / MAPS_MEASURED
        times = {
            **dict.fromkeys(("dem", "tile", "terrain", "wetness"), 1.0),
            "sun": self.suns * days * STEP_MEASURED / sun.step,
            "mosaic": SUN_OF_MOSAIC * self.suns * days + (1 - SUN_OF_MOSAIC) * maps,
            "climate": self.years,
            "transfer": self.cases * self.years * len(self.site.eemt.methods) / 2,
            "summary": maps,
            "report": 1.0 if self.site.outputs.report else 0.0,
        }
        rate = sum(at(CORE_SECONDS[name], self.cells) * factor for name, factor in times.items())
        core_seconds = rate * self.cells / 1e6 + START * max(self.jobs - JOBS_MEASURED, JOBS_MEASURED)
        return SNAKEMAKE + core_seconds / max(1.0, TOGETHER * workers)

    @property
    def bytes(self) -> int:
        """Disk that results take [bytes]."""
        maps = self.cases * self.maps / MAPS_MEASURED
        stacked = maps if self.site.outputs.stack != "none" else 0.0
        a_cell = (
            at(BYTES["terrain"], self.cells)
            + at(BYTES["wetness"], self.cells)
            + at(BYTES["sun"], self.cells) * self.suns
            + (DAILY_BYTES if self.site.sun.daily else 0.0)
            + at(BYTES["energy"], self.cells) * maps
            + at(BYTES["maps"], self.cells) * (maps + stacked)
        )
        return int(a_cell * self.cells + at(BYTES["dem"], self.prepared) * self.prepared) + OVERHEAD_BYTES


def refuse_too_many_cases(site: Site, table: Sequence[Mapping[str, str]] | None) -> None:
    """Raise where a sweep can have more cases than are worth listing.

    Raises
    ------
    InputError
    """
    number = len(table) if table is not None else most_cases(site)
    if number > MOST_CASES:
        raise InputError(f"sweep: {number:,} cases; {MOST_CASES:,} are the most, sweep fewer values")


def most_cases(site: Site) -> int:
    """Return how many cases a sweep has at most, without listing them."""
    sweep = site.sweep
    if sweep.samples:
        return sweep.samples * (len(sweep.axes) + 2)
    lengths = [len(axis) for axis in sweep.axes.values() if not isinstance(axis, Spread)]
    return sum(lengths) if sweep.combine == "each" else math.prod(lengths)


def refuse_too_large(site: Site, found: Layout, settings: Settings) -> None:
    """Raise where a grid has more cells than the service takes.

    Raises
    ------
    InputError
    """
    grid = found.grid
    if grid.width * grid.height > settings.upload_cells:
        key = "dem.resolution" if site.dem.resolution else "dem.bbox"
        raise InputError(
            f"{key}: {grid.height:,} x {grid.width:,} cells with the buffer; {settings.upload_cells:,} are the most, "
            "take a smaller area or a greater dem.resolution"
        )


def count_tiles(area: Grid, site: Site) -> int:
    """Return how many tiles a grid is cut into."""
    size = tile_size(*area.shape, site.tiles.size, site.tiles.workers)
    return math.ceil(area.height / size) * math.ceil(area.width / size)


def at(figures: tuple[float, ...], cells: int) -> float:
    """Return a figure for a map of so many cells, between those measured."""
    return float(np.interp(math.log(max(cells, 1)), [math.log(number) for number in CELLS], figures))


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measured_correction(session: Session, has_climate: bool) -> float | None:
    """Return how many times longer jobs took here than was estimated, the median of the latest; none without any."""
    query = (
        select(Job.config, Job.cells, Job.started, Job.finished)
        .where(Job.state == "completed", Job.kind == ("eemt" if has_climate else "sun"), Job.attempt == 1)
        .where(Job.cells.is_not(None), Job.started.is_not(None), Job.finished.is_not(None))
        .order_by(Job.finished.desc())
        .limit(MEASURED_JOBS)
    )
    ratios = []
    for config, cells, started, finished in session.execute(query):
        expected = _expected(config, cells)
        if expected is not None:
            ratio = (finished - started).total_seconds() / expected
            ratios.append(min(max(ratio, 1 / TRUSTED), TRUSTED))
    return statistics.median(ratios) if ratios else None


def _expected(config: str, cells: int) -> float | None:
    """Return what would have been estimated for a job, as if it were square; nothing where that cannot be said."""
    side = max(math.isqrt(cells), 1)
    square = Layout(Grid("EPSG:32631", 0.0, 0.0, 30.0, 30.0, side, side), slice(0, side), slice(0, side))
    try:
        (site,) = load_config(yaml.safe_load(config)).sites.values()
        if site.sweep.table:
            return None
        return Work(Plan(site, known=square)).seconds(cores())
    except (InputError, ValueError, yaml.YAMLError):
        return None  # made by another version
