"""What a run makes of a site and from what: its grid, its tiles, the names of its maps and of its inputs.

Known from the configuration and the headers of rasters alone, since the workflow asks whenever it is
parsed, in each of its jobs; nothing heavy is imported.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from eemt.config import ClimateSettings, GridVariable, Site
from eemt.dem.layout import HEADERS, Layout, layout
from eemt.errors import InputError
from eemt.grid import area_text, tile_size, tiles
from eemt.sun import HALO_CELLS
from eemt.sweep import Case, cases, read_table

PARTS = ("ebio", "eppt")
RASTERS = ("albedo", "ndvi", "canopy_height")
GRID_NEEDS = ("tmin", "tmax", "prcp")
# maps over all years, by the number of years that they need
OVER_YEARS = {"mean": (1, ("mean",)), "sd": (2, ("sd",)), "trend": (3, ("trend", "trend_p"))}
TRANSFERS = 400  # jobs of a sweep, above which one computes several cases of a tile
MOST_TOGETHER = 32  # cases in one job
MILLION_CELLS = 60.0  # of maps that one job writes, a minute or so
MOST_JOBS = 10_000  # of a sweep; Snakemake plans them in a minute


class Plan:
    """A site's place in the workflow.

    Parameters
    ----------
    settings : Site
    results : path
        Folder of all results; headers of remote rasters are kept in it.
    known : Layout, optional
        Of a job that cannot read the elevation's source itself.
    table : sequence of mapping, optional
        The sweep's table, of a job that cannot read it itself.
    """

    def __init__(
        self,
        settings: Site,
        results: Path = Path("results"),
        known: Layout | None = None,
        table: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        self.settings = settings
        self.results = results
        self._known = known
        self._table = table

    @cached_property
    def layout(self) -> Layout:
        """The grid that is prepared, and the area in it that is mapped.

        Raises
        ------
        InputError
            When the elevation's source cannot be used.
        """
        return self._known or layout(self.settings.dem, self.results / HEADERS)

    @cached_property
    def area(self) -> str:
        """The part of dem.tif that is mapped, as commands take it."""
        return area_text(self.layout.grid, self.layout.area)

    @cached_property
    def tile_size(self) -> int:
        """Rows and columns of a tile."""
        chosen = self.settings.tiles
        return tile_size(*self.layout.area.shape, chosen.size, chosen.workers)

    @cached_property
    def tiles(self) -> list[str]:
        """Names of the tiles."""
        return list(tiles(self.layout.area, self.tile_size))

    @property
    def halo(self) -> str:
        """Width of a tile's rim [m]: as far as the sun engine looks at full resolution."""
        grid = self.layout.grid
        return f"{HALO_CELLS * max(grid.dx, grid.dy):.15g}"

    @property
    def million_cells(self) -> float:
        """Cells of dem.tif, in millions."""
        grid = self.layout.grid
        return grid.width * grid.height / 1e6

    @property
    def tile_million_cells(self) -> float:
        """Cells of a whole tile, in millions."""
        height, width = self.layout.area.shape
        return min(self.tile_size, height) * min(self.tile_size, width) / 1e6

    @property
    def years(self) -> list[str]:
        """Names of the years, or of the period, of the climate."""
        return self.settings.climate.labels

    @property
    def elevation_files(self) -> list[str]:
        """Local files that the elevation is read from."""
        return list(self.settings.dem.files)

    @property
    def elevation_addresses(self) -> str:
        """What of the elevation comes from servers, as words of a command."""
        return " ".join(shlex.quote(name) for name in self.settings.dem.sources if name not in self.elevation_files)

    @property
    def elevation_downloads(self) -> int:
        """How many downloads the elevation counts as."""
        return 1 if self.elevation_addresses else 0

    @property
    def climate_files(self) -> list[str]:
        """Local files that the climate is read from.

        Raises
        ------
        InputError
            When a pattern of the source `grid` matches none.
        """
        climate = self.settings.climate
        own = [climate.elevation_file] if climate.elevation_file else []
        if climate.source == "station":
            return [str(climate.file)]
        return [*_grid_files(climate), *own] if climate.source == "grid" else own

    @property
    def rasters(self) -> dict[str, str]:
        """The user's rasters, other than elevation and climate, that parameters name: paths by parameter."""
        return rasters_of(self.settings)

    @property
    def maps(self) -> list[str]:
        """Names of the maps, without folder and ending."""
        outputs, eemt = self.settings.outputs, self.settings.eemt
        variables = ["eemt", *(PARTS if outputs.parts else ()), *eemt.keep]
        labels = [*self.years, *self.over_years]
        return [f"{name}_{method}_{label}" for name in variables for method in eemt.methods for label in labels]

    @property
    def over_years(self) -> list[str]:
        """What is mapped over all years, as far as there are enough."""
        needs = [OVER_YEARS[name] for name in self.settings.outputs.over_years]
        return [label for least, labels in needs if len(self.years) >= least for label in labels]

    @property
    def map_groups(self) -> list[list[str]]:
        """The maps, in groups that one job makes."""
        maps = self.maps
        area = self.layout.area
        size = max(1, int(MILLION_CELLS / (area.width * area.height / 1e6)))
        return [maps[start : start + size] for start in range(0, len(maps), size)]

    @cached_property
    def table(self) -> Sequence[Mapping[str, str]] | None:
        """Rows of the sweep's table, if it has one."""
        path = self.settings.sweep.table
        return read_table(path) if path and self._table is None else self._table

    @cached_property
    def cases(self) -> dict[str, Case]:
        """The cases of the sweep by `folder`; the site itself, alone or not, first."""
        return {folder(case.name): case for case in cases(self.settings, self.table)}

    def case(self, name: str) -> Case:
        """Return the case of a `folder`.

        Raises
        ------
        InputError
            When the sweep has no such case.
        """
        return _known(self.cases, name)

    def sun(self, name: str) -> Case:
        """Return a case that has the sun maps of a `folder`; see `case`."""
        return _known(self.suns, name)

    @property
    def is_swept(self) -> bool:
        """Whether there are cases beside the site itself."""
        return len(self.cases) > 1

    @cached_property
    def suns(self) -> dict[str, Case]:
        """For each kind of sun maps, by `folder`, a case that has them."""
        return {folder(case.sun): case for case in reversed(self.cases.values())}

    @cached_property
    def batches(self) -> list[list[str]]:
        """Folders of cases that one job computes of a tile; with the same sun, so that it reads its inputs once."""
        folders: dict[str, list[str]] = {}
        for name, case in self.cases.items():
            folders.setdefault(case.sun, []).append(name)
        size = self.settings.sweep.together
        if size == "auto":
            jobs = len(self.cases) * len(self.tiles) if self.is_swept else 1
            size = min(MOST_TOGETHER, math.ceil(jobs / TRANSFERS))
        return [same[start : start + size] for same in folders.values() for start in range(0, len(same), size)]

    def refuse_too_many_jobs(self) -> None:
        """Raise where a sweep would be more jobs than Snakemake plans in reasonable time.

        Raises
        ------
        InputError
        """
        if not self.is_swept:
            return
        number, tiles = len(self.cases), len(self.tiles)
        jobs = tiles * (2 + len(self.suns) + len(self.batches)) + number * (1 + len(self.map_groups))
        if jobs > MOST_JOBS:
            raise InputError(
                f"sweep: {number} cases of {tiles} tiles are {jobs} jobs; {MOST_JOBS} are the most, "
                "sweep fewer values of sun, or take larger tiles"
            )


def _known(cases: Mapping[str, Case], name: str) -> Case:
    if name not in cases:
        raise InputError(f"sweep: {name.removeprefix('/')} is none of its {len(cases)} cases")
    return cases[name]


def folder(name: str) -> str:
    """Return what stands for a case in paths, after the site or the word sun; nothing for the site's own."""
    return f"/{name}" if name else ""


def rasters_of(settings: Site) -> dict[str, str]:
    """Return the rasters, other than elevation and climate, that a site's parameters name: paths by parameter."""
    sun, eemt = settings.sun, settings.eemt
    plants = (eemt.ndvi, eemt.canopy_height) if "veg" in eemt.methods else (None, None)
    named = dict(zip(RASTERS, (sun.albedo, *plants), strict=True))
    return {name: path for name, path in named.items() if isinstance(path, str)}


def _grid_files(climate: ClimateSettings) -> list[str]:
    """List the files that the patterns of the source `grid` stand for."""
    from eemt.climate.gridfiles import files_of

    shared = [pattern for pattern in climate.files if "{variable}" not in pattern]
    found = files_of(shared, "", own=False)
    # those that are always read have our own names where no other is given
    named = {name: GridVariable() for name in GRID_NEEDS} | {
        str(name): given for name, given in climate.variables.items()
    }
    for name, variable in named.items():
        patterns = variable.files or [pattern for pattern in climate.files if "{variable}" in pattern]
        found += files_of(patterns, variable.name or name, own=True)
    return sorted({str(file.path) for file in found})
