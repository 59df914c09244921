"""An elevation source brought to the grid of the maps, window by window.

Pieces are first put together on the source's own cells, in a temporary file: units, voids and sea
are settled there. Then they are warped once, so that no seam shows where pieces met. The warp goes
by windows of fixed columns and with one filter for all, so that they leave no trace either.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.warp import reproject
from rasterio.windows import Window

from eemt.config import DemSettings
from eemt.dem import voids
from eemt.dem.layout import Layout, carried, layout
from eemt.dem.mosaic import Elevation
from eemt.dem.provenance import record
from eemt.dem.remote import OpenRasters, Place, environment
from eemt.dem.source import Source, open_source
from eemt.errors import InputError
from eemt.grid import Grid, area_text
from eemt.raster import BLOCK, geotiff_writer
from eemt.sun.horizon import FAR_FACTOR, coarsen

UNITS = {"metre": 1.0, "foot": 0.3048, "us_foot": 1200 / 3937}  # m
AVERAGE_FROM = 1.9  # source cells along a cell, from which `auto` averages
STRIP = 8_000_000  # cells at a time
MEMORY = 192  # MB for GDAL's warp
# GDAL projects the ends and the middle of a row and interpolates between them, unless that is an eighth of a source
# cell wrong. Over so many cells of 10 m it is a hundredth wrong, so that no row is treated otherwise than the next.
WARPED_COLUMNS = 256
KERNEL = 3  # cells of the coarser grid that a cell's value can depend on, to each side
MARGIN = 10  # source cells beyond; edges are carried to the source's system by points


@dataclass
class Extremes:
    """Least and greatest elevation seen."""

    lowest: float = math.inf
    highest: float = -math.inf

    def add(self, elevation: Elevation) -> None:
        """Take some more cells in."""
        if not np.isnan(elevation).all():
            self.lowest = min(self.lowest, float(np.nanmin(elevation)))
            self.highest = max(self.highest, float(np.nanmax(elevation)))


@dataclass
class Prepared:
    """Elevation that is ready to be read on the grid of the maps.

    Attributes
    ----------
    layout : Layout
    source : Source
    staged : rasterio.DatasetReader
        The source's cells that are needed, in metres.
    staged_grid : Grid
    resampling : str
        As it was chosen; ``none`` where the maps are on the source's own cells.
    ratio : (float, float)
        Source columns and rows along a cell of the maps.
    filled : int
        Cells of voids that were filled.
    """

    layout: Layout
    source: Source
    staged: rasterio.DatasetReader
    staged_grid: Grid
    resampling: str
    ratio: tuple[float, float]
    filled: int

    def strips(self) -> Iterator[tuple[Window, Elevation]]:
        """Yield strips of whole rows from north to south, blocks high, in metres; NaN where there is no data."""
        grid = self.layout.grid
        for rows in strips_of(grid):
            window = Window(0, rows.start, grid.width, rows.stop - rows.start)
            yield window, self._read(rows)

    def _read(self, rows: slice) -> Elevation:
        grid = self.layout.grid
        elevation = np.full((rows.stop - rows.start, grid.width), np.nan, dtype=np.float32)
        if self.resampling == "none":
            self.staged.read(1, window=Window(0, rows.start, *elevation.shape[::-1]), out=elevation)
            return elevation
        for cols in _spans(grid.width, WARPED_COLUMNS):
            elevation[:, cols] = self._warped(grid.window(rows, cols))
        return elevation

    def _warped(self, part: Grid) -> Elevation:
        elevation = np.full(part.shape, np.nan, dtype=np.float32)
        reproject(
            rasterio.band(self.staged, 1),
            elevation,
            src_nodata=np.nan,
            dst_transform=part.transform,
            dst_crs=part.crs,
            dst_nodata=np.nan,
            resampling=Resampling[self.resampling],
            warp_mem_limit=MEMORY,
            # GDAL would measure these anew in each window, and filter each a little differently
            XSCALE=1 / self.ratio[0],
            YSCALE=1 / self.ratio[1],
        )
        return elevation


def prepare(settings: DemSettings, out: Path) -> Extremes:
    """Write ``dem.tif``, ``far_field.tif`` and ``dem.json``.

    Parameters
    ----------
    settings : DemSettings
    out : Path
        Folder; it takes the temporary file, too.

    Returns
    -------
    Extremes
        Of all cells.

    Raises
    ------
    InputError
        When the source cannot be used.
    """
    extremes = Extremes()
    with _folder(out), prepared(settings, out) as ready:
        grid = ready.layout.grid
        coarse = far_grid(grid)
        tags = {
            "SOURCE": ready.source.title,
            "RESAMPLING": ready.resampling,
            "AREA": area_text(grid, ready.layout.area),
            "PROVENANCE": "dem.json",
        }
        far_tags = tags | {"BLOCK_MAXIMUM_OF": f"{FAR_FACTOR} x {FAR_FACTOR} cells"}
        with (
            geotiff_writer(out / "dem.tif", grid, ["elevation"], "m", tags) as dem,
            geotiff_writer(out / "far_field.tif", coarse, ["elevation"], "m", far_tags) as far,
        ):
            rows: list[Elevation] = []
            for window, elevation in ready.strips():
                extremes.add(elevation)
                dem.write(elevation, 1, window=window)
                rows.append(coarsen(elevation, FAR_FACTOR))
                bottom = -(-(window.row_off + window.height) // FAR_FACTOR)
                # by whole blocks, since one that is written twice takes its room twice
                if bottom % BLOCK == 0 or bottom == coarse.height:
                    blocks = np.concatenate(rows)
                    far.write(blocks, 1, window=Window(0, bottom - len(blocks), *blocks.shape[::-1]))
                    rows.clear()
            refuse_empty(extremes, ready)
        record(out / "dem.json", settings, ready, (extremes.lowest, extremes.highest))
    return extremes


@contextlib.contextmanager
def prepared(settings: DemSettings, folder: Path) -> Iterator[Prepared]:
    """Bring a source's cells to where they can be read on the grid of the maps; `folder` takes a temporary file."""
    with (
        environment(),
        OpenRasters() as rasters,
        tempfile.TemporaryDirectory(prefix=".dem.", dir=folder) as temporary,
    ):
        found = layout(settings)
        source = open_source(settings, found.grid, rasters)
        wanted, ratio = needed(source.grid, found.grid, settings)
        width = _void_width(ratio, found.grid, settings)
        staged, filled = _stage(source, wanted, settings, Path(temporary)), 0
        if width:
            with_voids, staged = staged, staged.with_name("filled.tif")
            filled = _fill(with_voids, staged, wanted, width)
            with_voids.unlink()
        resampling = _resampling(wanted, found.grid, ratio, settings)
        with rasterio.open(staged) as reader:
            yield Prepared(found, source, reader, wanted, resampling, ratio, filled)


def needed(source: Grid, grid: Grid, settings: DemSettings) -> tuple[Grid, tuple[float, float]]:
    """Find the part of a source's grid that a grid of maps is made from.

    Returns
    -------
    Grid
    (float, float)
        Columns and rows of the source along a cell of the maps, at its middle.
    """
    ratio = _ratio(source, grid)
    west, south, east, north = carried(grid.bounds, grid.crs, source.crs)
    if _is_part(grid, source):
        margins = (0, 0)
    else:
        margins = (
            math.ceil(KERNEL * max(ratio[0], 1)) + MARGIN,
            math.ceil(KERNEL * max(ratio[1], 1)) + MARGIN,
        )
    left, right = (west - source.west) / source.dx, (east - source.west) / source.dx
    top, bottom = (source.north - north) / source.dy, (source.north - south) / source.dy
    cols = slice(max(math.floor(left + 1e-6) - margins[0], 0), min(math.ceil(right - 1e-6) + margins[0], source.width))
    rows = slice(max(math.floor(top + 1e-6) - margins[1], 0), min(math.ceil(bottom - 1e-6) + margins[1], source.height))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        raise InputError(f"dem.crs: nothing of {named(settings)} falls on a grid in {grid.crs}")
    return source.window(rows, cols), ratio


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder, and take it away again where nothing comes of it."""
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException as error:
        if new:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, RasterioIOError):
            raise OSError(f"{path}: elevations could not be written whole; is the disk full?") from None
        raise


def named(settings: DemSettings) -> str:
    """Name a source in a message."""
    names = [Place(name).shown for name in settings.sources]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def strips_of(grid: Grid) -> Iterator[slice]:
    """Yield the rows of a grid by whole blocks, up to `STRIP` cells at a time."""
    step = max(STRIP // grid.width // BLOCK, 1) * BLOCK
    for top in range(0, grid.height, step):
        yield slice(top, min(top + step, grid.height))


def far_grid(grid: Grid) -> Grid:
    """Return the grid of the block maxima that far horizons are seen against."""
    height, width = (-(-size // FAR_FACTOR) for size in grid.shape)
    return Grid(grid.crs, grid.west, grid.north, grid.dx * FAR_FACTOR, grid.dy * FAR_FACTOR, width, height)


def refuse_empty(extremes: Extremes, ready: Prepared) -> None:
    """Raise where no cell of the maps has a value."""
    if not math.isfinite(extremes.lowest):
        raise InputError(f"dem.crs: nothing of {ready.source.title} falls on a grid in {ready.layout.grid.crs}")


def _is_part(grid: Grid, source: Grid) -> bool:
    """Say whether a grid's cells are cells of the source, so that nothing has to be warped."""
    if grid.crs != source.crs or (grid.dx, grid.dy) != (source.dx, source.dy):
        return False
    col, row = (grid.west - source.west) / source.dx, (source.north - grid.north) / source.dy
    return abs(col - round(col)) < 1e-6 and abs(row - round(row)) < 1e-6


def _ratio(source: Grid, grid: Grid) -> tuple[float, float]:
    """Columns and rows of the source along a cell at the middle of a grid."""
    west, south, east, north = grid.bounds
    x, y = (west + east) / 2, (south + north) / 2
    to_source = Transformer.from_crs(grid.crs, source.crs, always_xy=True)
    xs, ys = to_source.transform([x, x + grid.dx, x], [y, y, y + grid.dy])
    return (
        math.hypot(xs[1] - xs[0], xs[2] - xs[0]) / source.dx,
        math.hypot(ys[1] - ys[0], ys[2] - ys[0]) / source.dy,
    )


def _resampling(source: Grid, grid: Grid, ratio: tuple[float, float], settings: DemSettings) -> str:
    if _is_part(grid, source):
        return "none"
    if settings.resampling != "auto":
        return settings.resampling
    return "average" if math.sqrt(ratio[0] * ratio[1]) >= AVERAGE_FROM else "bilinear"


def _stage(source: Source, wanted: Grid, settings: DemSettings, folder: Path) -> Path:
    """Write the part of a source that is needed, in metres."""
    offset = round((source.grid.north - wanted.north) / wanted.dy), round((wanted.west - source.grid.west) / wanted.dx)
    path = folder / "source.tif"
    factor = UNITS[settings.vertical_unit]
    empty = True
    with geotiff_writer(path, wanted, ["elevation"], "m", quick="float") as target:
        for rows in strips_of(wanted):
            for cols in _spans(wanted.width, max(STRIP // BLOCK, BLOCK)):
                elevation = source.read(
                    slice(rows.start + offset[0], rows.stop + offset[0]),
                    slice(cols.start + offset[1], cols.stop + offset[1]),
                )
                if factor != 1.0:
                    elevation = (elevation.astype(np.float64) * factor).astype(np.float32)
                empty &= bool(np.isnan(elevation).all())
                target.write(elevation, 1, window=Window.from_slices(rows, cols))
    if empty:
        where = " within dem.bbox" if settings.bbox else ""
        raise InputError(f"dem: {named(settings)} has no valid cell{where}, all are nodata")
    return path


def _void_width(ratio: tuple[float, float], grid: Grid, settings: DemSettings) -> int:
    """Return the width of the voids to be filled in cells of the source, of their mean side."""
    side = grid.dx / math.sqrt(ratio[0] * ratio[1])
    width = math.floor(settings.fill_voids / side + 1e-6)
    if width > voids.WIDEST:
        raise InputError(
            f"dem.fill_voids: {settings.fill_voids:g} m are {width} cells of {side:.3g} m; {voids.WIDEST} cells, "
            f"{voids.WIDEST * side:.0f} m, are the most"
        )
    return width


def _fill(path: Path, filled: Path, grid: Grid, width: int) -> int:
    """Fill the narrow voids of a raster, window by window with the ground around each that it depends on."""
    rim, number = voids.reach(width), 0
    side = BLOCK * 4
    with rasterio.open(path) as source, geotiff_writer(filled, grid, ["elevation"], "m", quick="float") as target:
        for rows in _spans(grid.height, side):
            for cols in _spans(grid.width, side):
                around = [
                    slice(max(span.start - rim, 0), min(span.stop + rim, size))
                    for span, size in ((rows, grid.height), (cols, grid.width))
                ]
                core = tuple(
                    slice(span.start - wide.start, span.stop - wide.start)
                    for span, wide in zip((rows, cols), around, strict=True)
                )
                elevation = source.read(1, window=Window.from_slices(*around))
                closed = voids.filled(elevation, width)[core]
                number += int((np.isnan(elevation[core]) & ~np.isnan(closed)).sum())
                target.write(closed, 1, window=Window.from_slices(rows, cols))
    return number


def _spans(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))
