"""Where cells are: grids, tiles, and the place of the sun's geometry on them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Proj, Transformer
from rasterio.transform import Affine
from rasterio.warp import calculate_default_transform

from eemt.errors import InputError

# Sun geometry is evaluated once for each row and each column of ground at least this wide, counted
# from the coordinate system's own zero, so that a cell's sun does not depend on the tile it is
# computed in. Columns are whole multiples of the cells that the sun engine takes at once.
SUN_BLOCK = 8000.0  # m; the meridian convergence changes by about 0.05 degrees over it
CELLS_AT_ONCE = 64
LATITUDE_BLOCKS = 4  # with one latitude; along a row of a UTM zone it changes by at most 0.01 degrees over them

NEARLY_SQUARE = 1e-3  # by which a cell's width and height may differ

TILE_NAME = r"r\d+c\d+"


@dataclass(frozen=True)
class Grid:
    """A north-up raster grid.

    Attributes
    ----------
    crs : str
        Coordinate system as ``EPSG:…`` or WKT.
    west, north : float
        Outer edges of the first cell, in units of the coordinate system.
    dx, dy : float
        Cell width and height, both positive.
    width, height : int
        Columns and rows.
    """

    crs: str
    west: float
    north: float
    dx: float
    dy: float
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def transform(self) -> Affine:
        """Affine transform from column and row to coordinates."""
        return Affine(self.dx, 0.0, self.west, 0.0, -self.dy, self.north)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north edges."""
        return (
            self.west,
            self.north - self.height * self.dy,
            self.west + self.width * self.dx,
            self.north,
        )

    @property
    def cell_area(self) -> float:
        """Area of a cell [m2]."""
        return self.dx * self.dy

    @cached_property
    def x(self) -> npt.NDArray[np.float64]:
        """Eastings of the cell centres (columns,)."""
        return _to_millimetre(self.west + (np.arange(self.width) + 0.5) * self.dx)

    @cached_property
    def y(self) -> npt.NDArray[np.float64]:
        """Northings of the cell centres (rows,), from north to south."""
        return _to_millimetre(self.north - (np.arange(self.height) + 0.5) * self.dy)

    @property
    def centre(self) -> tuple[float, float]:
        """Latitude [degrees north] and longitude [degrees east] of the middle."""
        west, south, east, north = self.bounds
        longitude, latitude = _to_degrees(self.crs).transform((west + east) / 2, (south + north) / 2)
        return latitude, longitude

    def window(self, rows: slice, cols: slice) -> Grid:
        """Return the grid of some rows and columns, which may lie outside."""
        return Grid(
            self.crs,
            self.west + cols.start * self.dx,
            self.north - rows.start * self.dy,
            self.dx,
            self.dy,
            cols.stop - cols.start,
            rows.stop - rows.start,
        )

    def core(self, halo: float) -> tuple[slice, slice]:
        """Return the rows and columns that are left without a rim of `halo` [m] on every side.

        Raises
        ------
        InputError
            When nothing is left.
        """
        rows, cols = self.rim(halo)
        if halo < 0 or 2 * rows >= self.height or 2 * cols >= self.width:
            raise InputError(f"halo: {halo:g} m on every side leaves nothing of {self.height} x {self.width} cells")
        return slice(rows, self.height - rows), slice(cols, self.width - cols)

    def rim(self, halo: float) -> tuple[int, int]:
        """Return the rows and columns that a rim of `halo` [m] takes on either side."""
        return round(halo / self.dy), round(halo / self.dx)

    def latitude(self) -> npt.NDArray[np.float64]:
        """Latitude of the cells, that of their row and block of columns (rows, columns) [degrees north]."""
        latitude, _, edges = self.sun_geometry()
        return np.repeat(latitude, np.diff(edges), axis=1)

    def sun_geometry(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Latitude and meridian convergence for each row and block of columns.

        Returns
        -------
        latitude, convergence : ndarray (rows, blocks)
            [degrees north], [degrees, as PROJ's meridian convergence].
        edges : ndarray (blocks + 1,)
            First column of each block, and the number of columns.
        """
        step = CELLS_AT_ONCE * self.dx
        block_width = step * math.ceil(SUN_BLOCK / step)
        block = np.floor(self.x / block_width).astype(np.int64)
        starts = np.flatnonzero(np.diff(block, prepend=block[0] - 1))
        edges = np.append(starts, self.width)
        to_degrees = _to_degrees(self.crs)
        centres = (block[starts] + 0.5) * block_width
        longitude, latitude = to_degrees.transform(*np.meshgrid(centres, self.y))
        convergence = Proj(self.crs).get_factors(longitude, latitude).meridian_convergence
        middles = (block[starts] // LATITUDE_BLOCKS + 0.5) * LATITUDE_BLOCKS * block_width
        _, latitude = to_degrees.transform(*np.meshgrid(middles, self.y))
        return np.asarray(latitude), np.asarray(convergence), edges


@dataclass(frozen=True)
class Tile:
    """A rectangle of a grid that one job computes."""

    name: str
    rows: slice
    cols: slice


def tiles(grid: Grid, size: int) -> dict[str, Tile]:
    """Cut a grid into tiles of `size` cells square, the last of a row or column being smaller.

    Returns
    -------
    dict
        Tiles under their names, ``r000c002`` being the third of the northernmost row.
    """
    cut = {}
    for row in range(math.ceil(grid.height / size)):
        for col in range(math.ceil(grid.width / size)):
            name = f"r{row:03d}c{col:03d}"
            cut[name] = Tile(name, _span(row, size, grid.height), _span(col, size, grid.width))
    return cut


def tile_named(grid: Grid, size: int, name: str) -> Tile:
    """Return one tile of a grid.

    Raises
    ------
    InputError
        When the grid has no such tile.
    """
    found = tiles(grid, size).get(name) if re.fullmatch(TILE_NAME, name) else None
    if found is None:
        last = list(tiles(grid, size))[-1]
        raise InputError(f"tile: no {name} in {grid.height} x {grid.width} cells cut by {size}; the last is {last}")
    return found


def map_grid(source: Grid, crs: str = "auto", resolution: float | None = None) -> Grid:
    """Lay the grid of the maps over an elevation raster.

    Parameters
    ----------
    source : Grid
        The raster's own grid.
    crs : str
        ``EPSG:…``, or ``auto``: the source's own where it is projected in metres, else the UTM
        zone of its centre. Cells become square.
    resolution : float, optional
        Cell size [m]; without one the source's own, carried over.

    Returns
    -------
    Grid
        Its edges are whole multiples of the resolution wherever the source is projected anew.

    Raises
    ------
    InputError
        When the coordinate system is not projected in metres.
    """
    target = _utm_or_own(source) if crs == "auto" else crs
    parsed = _parsed(target)
    if not is_metric(parsed):
        raise InputError(f"dem.crs: {target} is not a projected system in metres; take a UTM zone, or auto")
    square = abs(source.dx / source.dy - 1) < NEARLY_SQUARE
    if parsed == CRS.from_user_input(source.crs) and resolution is None and square:
        return source
    west, south, east, north = source.bounds
    transform, width, height = calculate_default_transform(
        source.crs, target, source.width, source.height, west, south, east, north, resolution=resolution
    )
    cell = resolution or transform.a
    left = math.floor(transform.c / cell + 1e-6)
    top = math.ceil(transform.f / cell - 1e-6)
    right = math.ceil((transform.c + width * transform.a) / cell - 1e-6)
    bottom = math.floor((transform.f + height * transform.e) / cell + 1e-6)
    return Grid(target, left * cell, top * cell, cell, cell, right - left, top - bottom)


def _span(index: int, size: int, whole: int) -> slice:
    return slice(index * size, min((index + 1) * size, whole))


def _to_millimetre(coordinate: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    # a tile's origin carries a rounding error that the whole grid's has not; both vanish here
    return np.round(coordinate, 3)


def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, CRS.from_user_input(crs).geodetic_crs, always_xy=True)


def _parsed(crs: str) -> CRS:
    try:
        return CRS.from_user_input(crs)
    except Exception as error:
        raise InputError(f"dem.crs: {crs} is not known to PROJ; give a code such as EPSG:32613") from error


def is_metric(crs: CRS) -> bool:
    """Say whether a coordinate system is projected, in metres."""
    return bool(crs.is_projected) and all(axis.unit_conversion_factor == 1.0 for axis in crs.axis_info[:2])


def _utm_or_own(source: Grid) -> str:
    own = CRS.from_user_input(source.crs)
    # web Mercator is in metres by name only: its slopes are too gentle by the cosine of the latitude
    if is_metric(own) and own.to_epsg() != 3857:
        return source.crs
    west, south, east, north = source.bounds
    to_wgs84 = Transformer.from_crs(source.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_wgs84.transform((west + east) / 2, (south + north) / 2)
    if not math.isfinite(longitude) or abs(latitude) > 84:
        raise InputError(f"dem.crs: no UTM zone at latitude {latitude:.1f}; name a projected system in metres")
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"
