"""What `dem.source` stands for, opened: its pieces, and which of them are sea."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from eemt.config import DemSettings
from eemt.dem.datasets import DATA_SETS, Corner, DataSet, corners_of
from eemt.dem.mosaic import Elevation, Mosaic, Piece
from eemt.dem.remote import OpenRasters, Place, fetch_text
from eemt.dem.sea import Absent, absent_pieces
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import grid_of

RIM = 16  # cells around a grid of maps that its edge may depend on


@dataclass(frozen=True)
class Source:
    """An opened elevation source.

    Attributes
    ----------
    title : str
        Names of the files, or that of the data set.
    grid : Grid
        Of the source's own cells, over all that is needed of it.
    pieces : list of Piece
    absent : Absent
        Pieces that the data set has not.
    data_set : DataSet or None
    """

    title: str
    grid: Grid
    pieces: list[Piece]
    absent: Absent
    data_set: DataSet | None
    mosaic: Mosaic

    def read(self, rows: slice, cols: slice) -> Elevation:
        """Read some rows and columns of the grid [the source's unit], NaN where there is no data, 0 at sea."""
        own = self.mosaic.grid
        down = round((own.north - self.grid.north) / own.dy)
        right = round((self.grid.west - own.west) / own.dx)
        elevation, covered = self.mosaic.read(
            slice(rows.start + down, rows.stop + down), slice(cols.start + right, cols.stop + right)
        )
        for corner in self.absent.sea:
            part = _cells_of(corner, self.grid.window(rows, cols))
            elevation[part] = np.where(covered[part], elevation[part], 0)
        return elevation


def open_source(settings: DemSettings, grid: Grid, rasters: OpenRasters) -> Source:
    """Open what a grid of maps is made from.

    Raises
    ------
    InputError
        When a raster cannot be read, or a piece of a data set is missing.
    """
    word = settings.sources[0]
    if word in DATA_SETS:
        return _open_data_set(DATA_SETS[word], settings.base_url, grid, rasters)
    pieces = [Piece(place, rasters.use(place, grid_of)) for place in map(Place, settings.sources)]
    names = [piece.place.name for piece in pieces]
    title = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    mosaic = Mosaic(pieces, rasters)
    return Source(title, mosaic.grid, pieces, Absent(), None, mosaic)


def _open_data_set(data_set: DataSet, base_url: str | None, grid: Grid, rasters: OpenRasters) -> Source:
    needed = corners_of(grid, data_set.crs)
    around = corners_of(_with_rim(grid), data_set.crs) | needed
    url = data_set.inventory_url(base_url)
    what = f"the list of the pieces of {data_set.word}"
    listed = data_set.names_in(fetch_text(url, what, rasters.patience))
    if not listed:
        raise InputError(f"dem: {what}, {Place(url).shown}, names none; check dem.base_url")
    piece_at = _opener(data_set, base_url, rasters)
    if not any(data_set.name(corner) in listed for corner in needed):
        raise InputError(
            f"dem: {data_set.word} has none of the {len(needed)} pieces of dem.bbox and its buffer, such as "
            f"{data_set.name(min(needed))}; it is all sea, or beyond the data set: take another source"
        )
    absent = absent_pieces(data_set, needed, listed, piece_at, rasters)
    pieces = [piece_at(corner) for corner in sorted(around) if data_set.name(corner) in listed]
    mosaic = Mosaic(pieces, rasters)
    return Source(data_set.title, _over_sea(mosaic.grid, absent.sea), pieces, absent, data_set, mosaic)


def _opener(data_set: DataSet, base_url: str | None, rasters: OpenRasters) -> Callable[[Corner], Piece]:
    @cache
    def piece_at(corner: Corner) -> Piece:
        place = Place(data_set.url(corner, base_url))
        return Piece(place, rasters.use(place, grid_of))

    return piece_at


def _with_rim(grid: Grid) -> Grid:
    return grid.window(slice(-RIM, grid.height + RIM), slice(-RIM, grid.width + RIM))


def _over_sea(grid: Grid, sea: frozenset[Corner]) -> Grid:
    """Widen a grid of degrees by whole cells until it holds the pieces that are sea."""
    rows, cols = slice(0, grid.height), slice(0, grid.width)
    for latitude, longitude in sea:
        top, bottom = (math.floor((grid.north - edge) / grid.dy) for edge in (latitude + 1, latitude))
        left, right = (math.floor((edge - grid.west) / grid.dx) for edge in (longitude, longitude + 1))
        rows = slice(min(rows.start, top - 1), max(rows.stop, bottom + 2))
        cols = slice(min(cols.start, left - 1), max(cols.stop, right + 2))
    return grid.window(rows, cols)


def _cells_of(corner: Corner, grid: Grid) -> tuple[slice, slice]:
    """Find the cells of a degree in a grid, and one more around them: pieces may begin half a cell beside it."""
    latitude, longitude = corner
    top, bottom = (math.floor((grid.north - edge) / grid.dy) for edge in (latitude + 1, latitude))
    left, right = (math.floor((edge - grid.west) / grid.dx) for edge in (longitude, longitude + 1))
    return (
        slice(max(top - 1, 0), max(min(bottom + 2, grid.height), 0)),
        slice(max(left - 1, 0), max(min(right + 2, grid.width), 0)),
    )
