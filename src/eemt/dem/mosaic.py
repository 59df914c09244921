"""Pieces of an elevation model put together on the cells of the finest, without a seam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from eemt.dem.layout import ALIGNED, laid_together
from eemt.dem.remote import OpenRasters, Place
from eemt.grid import Grid

FILL = 1e5  # m; float DEMs in the wild mark holes by huge numbers without declaring them

Elevation = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Piece:
    """One raster of a mosaic."""

    place: Place
    grid: Grid


class Mosaic:
    """Rasters of one coordinate system read as one.

    Where pieces overlap, the first that has a value counts. Pieces whose cells are not those of the
    finest, such as GLO-30's on either side of 50 degrees north, are carried to them by bilinear
    interpolation, each together with its like, so that no rim shows.

    Attributes
    ----------
    grid : Grid
        Over all pieces, on the cells of the finest.
    """

    def __init__(self, pieces: Sequence[Piece], rasters: OpenRasters) -> None:
        self.pieces = list(pieces)
        self.grid = laid_together([piece.grid for piece in pieces], [piece.place.shown for piece in pieces])
        self._rasters = rasters
        self._layers = [(_over(layer), layer) for layer in _alike(self.pieces)]

    def read(self, rows: slice, cols: slice) -> tuple[Elevation, Mask]:
        """Read some rows and columns, which may reach beyond the pieces.

        Returns
        -------
        elevation : ndarray float32 (rows, columns)
            NaN where no piece has a value.
        covered : ndarray bool (rows, columns)
            Where a piece has a cell, be it void.
        """
        wanted = self.grid.window(rows, cols)
        elevation = np.full(wanted.shape, np.nan, np.float32)
        covered = np.zeros(wanted.shape, bool)
        for over, layer in self._layers:
            if _on_cells_of(over, self.grid):
                found, there = self._read_layer(layer, wanted)
            else:
                found, there = self._interpolated(over, layer, wanted)
            np.copyto(elevation, found, where=np.isnan(elevation))
            covered |= there
        return elevation, covered

    def _read_layer(self, layer: list[Piece], wanted: Grid) -> tuple[Elevation, Mask]:
        """Read from pieces that all have the cells of the grid wanted."""
        elevation = np.full(wanted.shape, np.nan, np.float32)
        covered = np.zeros(wanted.shape, bool)
        for piece in layer:
            row, col = _offset(piece.grid, wanted)
            rows = slice(max(row, 0), min(row + piece.grid.height, wanted.height))
            cols = slice(max(col, 0), min(col + piece.grid.width, wanted.width))
            if rows.start >= rows.stop or cols.start >= cols.stop:
                continue
            found = read_piece(
                self._rasters,
                piece.place,
                slice(rows.start - row, rows.stop - row),
                slice(cols.start - col, cols.stop - col),
            )
            part = elevation[rows, cols]
            np.copyto(part, found, where=np.isnan(part))
            covered[rows, cols] = True
        return elevation, covered

    def _interpolated(self, over: Grid, layer: list[Piece], wanted: Grid) -> tuple[Elevation, Mask]:
        """Read from pieces with cells of their own, between which is interpolated."""
        x = (wanted.west + (np.arange(wanted.width) + 0.5) * wanted.dx - over.west) / over.dx - 0.5
        y = (over.north - wanted.north + (np.arange(wanted.height) + 0.5) * wanted.dy) / over.dy - 0.5
        x, y = (np.where(abs(axis - np.round(axis)) < ALIGNED, np.round(axis), axis) for axis in (x, y))
        cols = slice(int(np.floor(x[0])), int(np.floor(x[-1])) + 2)
        rows = slice(int(np.floor(y[0])), int(np.floor(y[-1])) + 2)
        coarse, there = self._read_layer(layer, over.window(rows, cols))
        values = np.where(np.isnan(coarse), 0.0, coarse).astype(np.float64)
        known = _between(_between((~np.isnan(coarse)).astype(np.float64), x - cols.start, 1), y - rows.start, 0)
        summed = _between(_between(values, x - cols.start, 1), y - rows.start, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            elevation = np.where(known >= 0.5, summed / known, np.nan).astype(np.float32)
        nearest = np.ix_(np.floor(y + 0.5).astype(int) - rows.start, np.floor(x + 0.5).astype(int) - cols.start)
        return elevation, there[nearest]


def read_piece(rasters: OpenRasters, place: Place, rows: slice, cols: slice) -> Elevation:
    """Read rows and columns of one raster, NaN for what has no data or cannot be an elevation."""

    def action(source: rasterio.DatasetReader) -> Elevation:
        window = Window.from_slices(rows, cols)
        values: Elevation = source.read(1, window=window, masked=True, out_dtype="float32").filled(np.nan)
        return values

    values = rasters.use(place, action)
    values[~(np.abs(values) <= FILL)] = np.nan
    return values


def _alike(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Sort pieces into layers that have their cells in common, the finest first."""
    layers: list[list[Piece]] = []
    for piece in pieces:
        for layer in layers:
            if _on_cells_of(piece.grid, layer[0].grid):
                layer.append(piece)
                break
        else:
            layers.append([piece])
    return sorted(layers, key=lambda layer: layer[0].grid.cell_area)


def _over(layer: Sequence[Piece]) -> Grid:
    return laid_together([piece.grid for piece in layer], [piece.place.shown for piece in layer])


def _on_cells_of(one: Grid, other: Grid) -> bool:
    """Say whether the corners of one grid lie on cell corners of the other, and its cells are as large."""
    if abs(one.dx / other.dx - 1) * one.width > ALIGNED or abs(one.dy / other.dy - 1) * one.height > ALIGNED:
        return False
    west, south, east, north = one.bounds
    places = [(edge - other.west) / other.dx for edge in (west, east)]
    places += [(other.north - edge) / other.dy for edge in (south, north)]
    return all(abs(place - round(place)) <= ALIGNED for place in places)


def _offset(piece: Grid, wanted: Grid) -> tuple[int, int]:
    return round((wanted.north - piece.north) / wanted.dy), round((piece.west - wanted.west) / wanted.dx)


def _between(values: npt.NDArray[np.float64], at: npt.NDArray[np.floating], axis: int) -> npt.NDArray[np.float64]:
    """Interpolate linearly along an axis."""
    below = np.floor(at).astype(int)
    above = np.minimum(below + 1, values.shape[axis] - 1)
    weight = (at - below)[:, np.newaxis] if axis == 0 else at - below
    between: npt.NDArray[np.float64] = np.take(values, below, axis) * (1 - weight)
    between += np.take(values, above, axis) * weight
    return between
