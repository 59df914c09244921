"""Where cells are: grids, tiles, and the place of the sun's geometry on them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Proj, Transformer
from rasterio._err import CPLE_BaseError
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

UTM_ZONE = 6.0  # degrees of longitude
WIDEST = 120.0  # degrees, of an area that a conformal projection about its centre is taken for
LEAST_CONE = 2.0  # degrees, sum of the standard parallels below which a Lambert cone is nearly a cylinder

TILE_NAME = r"r\d+c\d+"

# A job of sun maps takes 9 to 25 s for 1024 x 1024 cells, so that these make jobs of seconds to minutes.
ONE_TILE = 1024 * 1024  # cells, up to which a grid is not cut
SIDES = range(2048, 511, -CELLS_AT_ONCE)  # cells, of a tile; shorter ones would be rim for the greater part
ALIGNED = 1e-3  # of a cell, within which grids lie on the same cells


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


def tile_size(height: int, width: int, size: int | Literal["auto"], workers: int) -> int:
    """Return the side of a grid's tiles [cells].

    It follows from the numbers given alone, since tiles must have the same names on every machine.

    Parameters
    ----------
    height, width : int
        Rows and columns of the grid.
    size : int or "auto"
        ``auto``: one tile for up to `ONE_TILE` cells; for more, the longest of `SIDES` that gives every worker a
        tile, or else the shortest, and then evened out so that the last of a row or column is hardly smaller.
    workers : int
        How many jobs a run should be able to keep busy.
    """
    if size != "auto":
        return size
    if height * width <= ONE_TILE:
        return max(height, width)
    cuts = {side: (math.ceil(height / side), math.ceil(width / side)) for side in SIDES}
    cuts = {side: (n, m) for side, (n, m) in cuts.items() if not _too_fine(height, n) and not _too_fine(width, m)}
    cut = next(((n, m) for n, m in cuts.values() if n * m >= workers), list(cuts.values())[-1])
    return min(side for side in cuts if cuts[side] == cut)


def _too_fine(cells: int, parts: int) -> bool:
    return parts > 1 and cells / parts < min(SIDES)


def tiles(grid: Grid, size: int) -> dict[str, Tile]:
    """Cut a grid into tiles of `size` cells square, the last of a row or column being smaller.

    Returns
    -------
    dict
        Tiles under their names, ``r000c002`` being the third of the northernmost row. Names sort as places; they have
        three digits, or as many as the last row or column needs.
    """
    down, across = math.ceil(grid.height / size), math.ceil(grid.width / size)
    digits = max(3, len(str(max(down, across) - 1)))
    cut = {}
    for row in range(down):
        for col in range(across):
            name = f"r{row:0{digits}d}c{col:0{digits}d}"
            cut[name] = Tile(name, _span(row, size, grid.height), _span(col, size, grid.width))
    return cut


def tile_named(grid: Grid, size: int, name: str) -> Tile:
    """Return one tile of a grid.

    Raises
    ------
    InputError
        When the size is none, or the grid has no such tile.
    """
    if size < 1:
        raise InputError(f"size: {size} cells; a tile has at least 1 row and column")
    cut = tiles(grid, size)
    if name not in cut:
        raise InputError(
            f"tile: no {name} in {grid.height} x {grid.width} cells cut by {size}; the last is {list(cut)[-1]}"
        )
    return cut[name]


def area_text(whole: Grid, part: Grid) -> str:
    """Write which cells of a grid a smaller one is, as ``ROW0:ROW1,COL0:COL1``, each end one past the last.

    Raises
    ------
    InputError
        When the one is not on cells of the other.
    """
    row, col = (whole.north - part.north) / whole.dy, (part.west - whole.west) / whole.dx
    text = f"{round(row)}:{round(row) + part.height},{round(col)}:{round(col) + part.width}"
    same = abs(part.dx / whole.dx - 1) < ALIGNED / whole.width and abs(part.dy / whole.dy - 1) < ALIGNED / whole.height
    if not same or max(abs(row - round(row)), abs(col - round(col))) > ALIGNED or not same_crs(part.crs, whole.crs):
        raise InputError(f"area: {part.height} x {part.width} cells are not on those of the elevation model")
    area_window(whole, text)
    return text


def area_window(grid: Grid, area: str | None) -> tuple[slice, slice]:
    """Read ``ROW0:ROW1,COL0:COL1`` as rows and columns of a grid, each end one past the last; without it, all.

    Raises
    ------
    InputError
        When it is no such thing, or reaches beyond the grid.
    """
    if area is None:
        return slice(0, grid.height), slice(0, grid.width)
    found = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+)", area)
    top, bottom, left, right = (int(number) for number in found.groups()) if found else (0, 0, 0, 0)
    if not (top < bottom <= grid.height and left < right <= grid.width):
        raise InputError(
            f"area: {area} is not ROW0:ROW1,COL0:COL1 within 0:{grid.height},0:{grid.width}, start below end"
        )
    return slice(top, bottom), slice(left, right)


def map_grid(source: Grid, crs: str = "auto", resolution: float | None = None) -> Grid:
    """Lay the grid of the maps over an elevation raster.

    Parameters
    ----------
    source : Grid
        The raster's own grid.
    crs : str
        ``EPSG:…``, or ``auto``, see `map_crs`. Cells become square.
    resolution : float, optional
        Cell size [m]; without one the source's own, carried over.

    Returns
    -------
    Grid
        Its edges are whole multiples of the resolution wherever the source is projected anew.

    Raises
    ------
    InputError
        When the coordinate system is not projected in metres, or does not hold the raster.
    """
    target = map_crs(source.crs, source.bounds, source.crs, crs)
    square = abs(source.dx / source.dy - 1) < NEARLY_SQUARE
    if same_crs(target, source.crs) and resolution is None and square:
        return source
    west, south, east, north = source.bounds
    try:
        transform, width, height = calculate_default_transform(
            source.crs, target, source.width, source.height, west, south, east, north, resolution=resolution
        )
    except CPLE_BaseError:
        raise InputError(
            f"dem.crs: an area of {source.height} x {source.width} cells cannot be carried to {target}; narrow it by "
            "dem.bbox, or name another projected system"
        ) from None
    cell = resolution or transform.a
    left = math.floor(transform.c / cell + 1e-6)
    top = math.ceil(transform.f / cell - 1e-6)
    right = math.ceil((transform.c + width * transform.a) / cell - 1e-6)
    bottom = math.floor((transform.f + height * transform.e) / cell + 1e-6)
    return Grid(target, left * cell, top * cell, cell, cell, right - left, top - bottom)


def map_crs(own: str | None, bounds: tuple[float, float, float, float], bounds_crs: str, crs: str = "auto") -> str:
    """Return the coordinate system of the maps of an area.

    Parameters
    ----------
    own : str, optional
        The elevation source's own system.
    bounds : (float, float, float, float)
        West, south, east and north edge of the area, in `bounds_crs`.
    bounds_crs : str
    crs : str
        ``EPSG:…``, which is taken as it is; or ``auto``: the source's own where it is projected in
        metres; else the UTM zone of the area's centre; and for an area wider than a zone a conformal
        projection about its centre, see `_conformal_about`.

    Raises
    ------
    InputError
        When it is not projected in metres, or the area has none.
    """
    if crs != "auto":
        if not is_metric(_parsed(crs)):
            raise InputError(f"dem.crs: {crs} is not a projected system in metres; take a UTM zone, or auto")
        return crs
    # web Mercator is in metres by name only: its slopes are too gentle by the cosine of the latitude
    if own is not None and is_metric(_parsed(own)) and _parsed(own).to_epsg() != 3857:
        return own
    west, south, east, north = bounds
    to_degrees = Transformer.from_crs(bounds_crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform((west + east) / 2, (south + north) / 2)
    if not math.isfinite(longitude) or abs(latitude) > 84:
        raise InputError(f"dem.crs: no UTM zone at latitude {latitude:.1f}; name a projected system in metres")
    left, bottom, right, top = to_degrees.transform_bounds(west, south, east, north)
    if right - left > WIDEST or top - bottom > WIDEST:
        raise InputError(
            f"dem.crs: no conformal map holds {left:g} to {right:g} degrees east, {bottom:g} to {top:g} north; "
            "narrow the area by dem.bbox, or name a projected system in metres"
        )
    if right - left > UTM_ZONE:
        return _conformal_about(longitude, bottom, top)
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def same_crs(one: str, other: str) -> bool:
    """Say whether two names are of one coordinate system."""
    return one == other or _parsed(one) == _parsed(other)


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


def _conformal_about(longitude: float, south: float, north: float) -> str:
    """Return a conformal projection for an area wider than a UTM zone, as WKT.

    Slopes and the directions of shadows need true angles, which equal-area maps have not. A Lambert
    conic has its parallels at a sixth of the area's height from its edges (Snyder 1987, U.S.
    Geological Survey Professional Paper 1395, p. 99); a Mercator takes its place at the equator,
    where the cone is a cylinder. Numbers are rounded, so that a slightly changed area keeps its map.
    """
    middle = round(longitude * 2) / 2
    first, second = (round(south + (north - south) * part, 1) for part in (1 / 6, 5 / 6))
    if abs(first + second) >= LEAST_CONE:
        name, origin = "Lambert conformal conic", round(first + second) / 2
        projection = (
            f'PROJECTION["Lambert_Conformal_Conic_2SP"],PARAMETER["latitude_of_origin",{origin:g}],'
            f'PARAMETER["central_meridian",{middle:g}],PARAMETER["standard_parallel_1",{first:g}],'
            f'PARAMETER["standard_parallel_2",{second:g}]'
        )
    else:
        name, origin = "Mercator", max(abs(first), abs(second))
        projection = (
            f'PROJECTION["Mercator_2SP"],PARAMETER["standard_parallel_1",{origin:g}],'
            f'PARAMETER["central_meridian",{middle:g}]'
        )
    # just as GDAL reads it back from a GeoTIFF, so that a grid and its file name the same system
    return (
        f'PROJCS["{name} about {origin:g} {middle:g}",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,'
        '298.257223563,AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0],UNIT["degree",'
        f'0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]],{projection},'
        'PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
        'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    )
