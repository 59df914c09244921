"""Pieces that a published elevation model has not: sea, or land that is withheld or lies beyond it.

A data set leaves out the pieces that hold nothing but sea. It also leaves out land: GLO-30 the
countries that do not release theirs, 3DEP what is not the United States. Sea joins its neighbours at
sea level; that is what is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from eemt.dem.datasets import Corner, DataSet
from eemt.dem.mosaic import Elevation, Piece, read_piece
from eemt.dem.remote import OpenRasters
from eemt.errors import InputError

SEA_LEVEL = 1.0  # m; both models set the sea to 0, tides and geoids leave less than this
COASTLINE = 0.01  # of an edge, that capes which end on it may take

# step to a neighbour, and which of its edges is common with the piece it is seen from
NEIGHBOURS = {(1, 0): "south", (-1, 0): "north", (0, 1): "west", (0, -1): "east"}


@dataclass(frozen=True)
class Absent:
    """Pieces that the data set has not.

    Attributes
    ----------
    sea : frozenset of Corner
        Those to be taken for 0 m.
    unknown : frozenset of Corner
        Those whose neighbours have no data along the common edges; they stay without data.
    """

    sea: frozenset[Corner] = frozenset()
    unknown: frozenset[Corner] = frozenset()


def absent_pieces(
    data_set: DataSet,
    needed: Iterable[Corner],
    listed: frozenset[str],
    piece_at: Callable[[Corner], Piece],
    rasters: OpenRasters,
) -> Absent:
    """Tell sea from missing land among the needed pieces that are not listed.

    Absent pieces that touch, corners included, are judged together, by the edges of all listed
    pieces beside them: each has to be at `SEA_LEVEL`, capes aside.

    Raises
    ------
    InputError
        Naming a piece that is no sea, or that has no neighbour to tell by.
    """
    missing = {corner for corner in needed if data_set.name(corner) not in listed}
    sea: set[Corner] = set()
    unknown: set[Corner] = set()
    while missing:
        together = _region_of(missing.pop(), missing)
        missing -= together
        (sea if _at_sea(data_set, together, listed, piece_at, rasters) else unknown).update(together)
    return Absent(frozenset(sea), frozenset(unknown))


def _at_sea(
    data_set: DataSet,
    together: set[Corner],
    listed: frozenset[str],
    piece_at: Callable[[Corner], Piece],
    rasters: OpenRasters,
) -> bool:
    """Say whether any neighbour shows a region to be sea; none does where their edges have no data."""
    shown, neighbours = False, 0
    for corner in sorted(together):
        for (north, east), side in NEIGHBOURS.items():
            beside = (corner[0] + north, corner[1] + east)
            if data_set.name(beside) not in listed:
                continue
            neighbours += 1
            edge = _edge(piece_at(beside), beside, side, rasters)
            land = np.abs(edge[~np.isnan(edge)]) > SEA_LEVEL
            if land.size and land.mean() > COASTLINE:
                raise InputError(
                    f"dem: the list of {data_set.word} has no piece {data_set.name(corner)}, and it is no sea: "
                    f"{data_set.name(beside)} beside it has {land.mean():.0%} of its {side} edge off sea level; choose "
                    "dem.bbox (and dem.buffer) without it, or another source"
                )
            shown |= bool(land.size)
    if not neighbours:
        raise InputError(
            f"dem: the list of {data_set.word} has no piece {data_set.name(min(together))} and none beside it, so that "
            "sea cannot be told from land; choose dem.bbox (and dem.buffer) without it, or another source"
        )
    return shown


def _region_of(start: Corner, others: set[Corner]) -> set[Corner]:
    """Return the pieces that touch a first one, or one that touches it, corners included."""
    region, border = {start}, [start]
    while border:
        latitude, longitude = border.pop()
        for corner in [(latitude + up, longitude + right) for up in (-1, 0, 1) for right in (-1, 0, 1)]:
            if corner in others and corner not in region:
                region.add(corner)
                border.append(corner)
    return region


def _edge(piece: Piece, corner: Corner, side: str, rasters: OpenRasters) -> Elevation:
    """Read the cells of a piece along one side of its degree; what pieces share beyond it is left out."""
    grid = piece.grid
    latitude, longitude = corner
    rows, cols = slice(0, grid.height), slice(0, grid.width)
    match side:
        case "south":
            rows = _one(round((grid.north - latitude) / grid.dy) - 1, grid.height)
        case "north":
            rows = _one(round((grid.north - (latitude + 1)) / grid.dy), grid.height)
        case "west":
            cols = _one(round((longitude - grid.west) / grid.dx), grid.width)
        case "east":
            cols = _one(round((longitude + 1 - grid.west) / grid.dx) - 1, grid.width)
    return read_piece(rasters, piece.place, rows, cols)


def _one(index: int, size: int) -> slice:
    index = min(max(index, 0), size - 1)
    return slice(index, index + 1)
