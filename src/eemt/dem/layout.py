"""Where the maps' cells lie: known from the settings and the headers of the source alone.

The workflow calls these functions whenever it is parsed, so that nothing heavy is imported here, and
for `3dep` and `glo30` nothing is read at all.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.warp import calculate_default_transform

from eemt.config import DemSettings, is_address
from eemt.dem.datasets import DATA_SETS
from eemt.dem.remote import OpenRasters, Place, environment
from eemt.errors import InputError
from eemt.grid import NEARLY_SQUARE, Grid, map_crs, map_grid, same_crs
from eemt.raster import grid_of, read_grid, whole_or_nothing

HEADERS = ".headers"  # folder of the results in which a run keeps the headers of remote rasters
LEAST_CELLS = 3  # rows and columns of a map
ALIGNED = 0.02  # cells, by which pieces on one grid may lie beside it
DENSELY = 101  # points on an edge that is carried to another coordinate system


@dataclass(frozen=True)
class Layout:
    """The grid that is prepared, and the part of it that is mapped.

    Attributes
    ----------
    grid : Grid
        The area and the buffer around it, as far as the source reaches.
    rows, cols : slice
        The area within the grid.
    """

    grid: Grid
    rows: slice
    cols: slice

    @property
    def area(self) -> Grid:
        """The grid of the maps."""
        return self.grid.window(self.rows, self.cols)

    def as_json(self) -> str:
        """Write it for a job that cannot read the source itself; `from_json` reads it."""
        area = {name: [part.start, part.stop] for name, part in (("rows", self.rows), ("cols", self.cols))}
        return json.dumps({"grid": asdict(self.grid), **area})

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Read what `as_json` wrote."""
        stored = json.loads(text)
        return cls(Grid(**stored["grid"]), slice(*stored["rows"]), slice(*stored["cols"]))


def dem_grid(settings: DemSettings, cache: Path | None = None) -> Grid:
    """Return the grid of dem.tif: the area that is mapped and the buffer around it; see `layout`."""
    return layout(settings, cache).grid


def area(settings: DemSettings, cache: Path | None = None) -> tuple[slice, slice]:
    """Return the rows and columns of dem.tif that are mapped; see `layout`."""
    found = layout(settings, cache)
    return found.rows, found.cols


def area_grid(settings: DemSettings, cache: Path | None = None) -> Grid:
    """Return the grid of the maps; see `layout`."""
    return layout(settings, cache).area


def layout(settings: DemSettings, cache: Path | None = None) -> Layout:
    """Lay out the grid of a site.

    Parameters
    ----------
    settings : DemSettings
    cache : Path, optional
        Folder in which the headers of remote rasters are kept, so that they are read over the network
        once. Without it they are read at each call.

    Raises
    ------
    InputError
        When the source cannot be used, the area lies outside it, or fewer than 3 x 3 cells are left.
    """
    found = _around_bbox(settings, cache) if settings.bbox else _whole(map_grid_of(settings, cache))
    for what, grid in (("", found.grid), (" of the area", found.area)):
        if min(grid.shape) < LEAST_CELLS:
            key = "dem.bbox" if settings.resolution is None else f"dem.resolution: {settings.resolution:g} m"
            raise InputError(f"{key} leaves {grid.height} x {grid.width} cells{what}; 3 x 3 are the least")
    return found


def map_grid_of(settings: DemSettings, cache: Path | None = None) -> Grid:
    """Return the grid over all of a source; see `eemt.grid.map_grid`."""
    return map_grid(source_grid(settings, cache), settings.crs, settings.resolution)


def source_grid(settings: DemSettings, cache: Path | None = None) -> Grid:
    """Return the grid of a source's own cells, over all its rasters; not for `3dep` and `glo30`."""
    names = settings.sources
    grids = [read_remote_grid(name, cache) if is_address(name) else read_grid(name) for name in names]
    return laid_together(grids, [Place(name).shown for name in names])


def read_remote_grid(url: str, cache: Path | None = None) -> Grid:
    """Read the grid of a remote raster, once where there is a folder to keep it in."""
    kept = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:24]}.json" if cache else None
    if kept is not None and kept.exists():
        return Grid(**json.loads(kept.read_text(encoding="utf-8")))
    with environment(), OpenRasters() as rasters:
        grid = rasters.use(Place(url), grid_of)
    if kept is not None:
        with whole_or_nothing(kept) as partial:
            partial.write_text(json.dumps(asdict(grid)), encoding="utf-8")
    return grid


def laid_together(grids: Sequence[Grid], names: Sequence[str]) -> Grid:
    """Return the grid, on the cells of the finest, that several grids are put together on.

    Raises
    ------
    InputError
        When they are not in one coordinate system.
    """
    for grid, name in zip(grids, names, strict=True):
        if not same_crs(grid.crs, grids[0].crs):
            raise InputError(
                f"dem: {name} is in {grid.crs[:40]}, {names[0]} in {grids[0].crs[:40]}; bring them to one coordinate "
                "system with `gdalwarp` first"
            )
    if len(grids) == 1:
        return grids[0]
    finest = min(grids, key=lambda grid: grid.cell_area)
    edges = [grid.bounds for grid in grids]
    first_col = min(math.floor((west - finest.west) / finest.dx + ALIGNED) for west, _, _, _ in edges)
    first_row = min(math.floor((finest.north - north) / finest.dy + ALIGNED) for _, _, _, north in edges)
    last_col = max(math.ceil((east - finest.west) / finest.dx - ALIGNED) for _, _, east, _ in edges)
    last_row = max(math.ceil((finest.north - south) / finest.dy - ALIGNED) for _, south, _, _ in edges)
    return finest.window(slice(first_row, last_row), slice(first_col, last_col))


def carried(bounds: tuple[float, float, float, float], crs: str, to: str) -> tuple[float, float, float, float]:
    """Return the bounds in another coordinate system of a rectangle."""
    try:
        edges = Transformer.from_crs(crs, to, always_xy=True).transform_bounds(*bounds, densify_pts=DENSELY)
    except ProjError:
        edges = (math.inf,) * 4
    if not all(math.isfinite(edge) for edge in edges):
        raise InputError(f"dem.crs: the area cannot be carried to {to[:60]}; name a system made for it")
    west, south, east, north = edges
    return west, south, east, north


def _whole(grid: Grid) -> Layout:
    return Layout(grid, slice(0, grid.height), slice(0, grid.width))


def _around_bbox(settings: DemSettings, cache: Path | None) -> Layout:
    """Lay cells over the bbox and its buffer, no further than the source reaches."""
    assert settings.bbox is not None
    data_set = DATA_SETS.get(settings.sources[0])
    own = None if data_set else source_grid(settings, cache)
    crs = map_crs(own.crs if own else None, settings.bbox, "EPSG:4326", settings.crs)
    west, south, east, north = carried(settings.bbox, "EPSG:4326", crs)
    lattice = _lattice(settings, own, crs)
    cell = lattice.dx
    # counted from the lattice's first cell, so that every area lies on the same cells
    left, right = math.floor((west - lattice.west) / cell + 1e-6), math.ceil((east - lattice.west) / cell - 1e-6)
    top, bottom = math.floor((lattice.north - north) / cell + 1e-6), math.ceil((lattice.north - south) / cell - 1e-6)
    rim = math.ceil(settings.buffer / cell - 1e-6)
    rows, cols = (top - rim, bottom + rim), (left - rim, right + rim)
    if own is not None:
        rows, cols = _within_reach(settings, own, lattice, rows, cols)
    grid = lattice.window(slice(*rows), slice(*cols))
    inner_rows = slice(max(top, rows[0]) - rows[0], max(min(bottom, rows[1]), rows[0]) - rows[0])
    inner_cols = slice(max(left, cols[0]) - cols[0], max(min(right, cols[1]), cols[0]) - cols[0])
    if inner_rows.stop <= inner_rows.start or inner_cols.stop <= inner_cols.start:
        raise _outside(settings, own)
    return Layout(grid, inner_rows, inner_cols)


def _lattice(settings: DemSettings, own: Grid | None, crs: str) -> Grid:
    """Return a grid of one cell from which all rows and columns are counted: the source's own, or zero's."""
    if own is not None:
        square = abs(own.dx / own.dy - 1) < NEARLY_SQUARE
        if settings.resolution is None and square and same_crs(crs, own.crs):
            return own.window(slice(0, 1), slice(0, 1))
    cell = settings.resolution
    if cell is None:
        cell = DATA_SETS[settings.sources[0]].resolution if own is None else _own_resolution(settings, own, crs)
    return Grid(crs, 0.0, 0.0, cell, cell, 1, 1)


def _own_resolution(settings: DemSettings, own: Grid, crs: str) -> float:
    """Carry the source's cell size over, at the area."""
    assert settings.bbox is not None
    west, south, east, north = carried(settings.bbox, "EPSG:4326", own.crs)
    width, height = (max(round(size), 1) for size in ((east - west) / own.dx, (north - south) / own.dy))
    transform, _, _ = calculate_default_transform(own.crs, crs, width, height, west, south, east, north)
    return float(transform.a)


def _within_reach(
    settings: DemSettings, own: Grid, lattice: Grid, rows: tuple[int, int], cols: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Cut rows and columns of the lattice down to where the source has cells."""
    wanted = lattice.window(slice(*rows), slice(*cols))
    west, south, east, north = carried(wanted.bounds, lattice.crs, own.crs)
    # one cell more than needed, so that the rim of a source that goes on does not count as its end
    first_col, last_col = math.floor((west - own.west) / own.dx) - 1, math.ceil((east - own.west) / own.dx) + 1
    first_row, last_row = math.floor((own.north - north) / own.dy) - 1, math.ceil((own.north - south) / own.dy) + 1
    left, right = max(first_col, 0), min(last_col, own.width)
    top, bottom = max(first_row, 0), min(last_row, own.height)
    if left >= right or top >= bottom:
        raise _outside(settings, own)
    reach = carried(own.window(slice(top, bottom), slice(left, right)).bounds, own.crs, lattice.crs)
    cell = lattice.dx
    return (
        (
            max(rows[0], math.floor((lattice.north - reach[3]) / cell + 1e-6)),
            min(rows[1], math.ceil((lattice.north - reach[1]) / cell - 1e-6)),
        ),
        (
            max(cols[0], math.floor((reach[0] - lattice.west) / cell + 1e-6)),
            min(cols[1], math.ceil((reach[2] - lattice.west) / cell - 1e-6)),
        ),
    )


def _outside(settings: DemSettings, own: Grid | None) -> InputError:
    if own is None or settings.bbox is None:
        return InputError("dem.bbox: leaves no cell")
    west, south, east, north = carried(own.bounds, own.crs, "EPSG:4326")
    return InputError(
        f"dem.bbox: {', '.join(f'{edge:g}' for edge in settings.bbox)} lies outside {Place(settings.sources[0]).shown}"
        f", which covers {west:.4f}, {south:.4f}, {east:.4f}, {north:.4f}"
    )
