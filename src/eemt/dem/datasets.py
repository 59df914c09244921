"""Published elevation models: which pieces of a degree they come in, and where those are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pyproj import Transformer

from eemt.grid import Grid

Corner = tuple[int, int]  # latitude and longitude [degrees] of a piece's south-western corner

EDGE_POINTS = 20_000  # at most, along an edge of the area; between them lie tens of metres
INNER_POINTS = 0.25  # degrees, between points within the area: a piece inside it cannot lie between them


@dataclass(frozen=True)
class DataSet:
    """An elevation model that is published in pieces of one degree.

    Attributes
    ----------
    word : str
        As `dem.source` names it.
    title : str
        With what its licence asks to be said.
    server : str
        The provider's own; a mirror has the same paths.
    inventory : str
        Path of the file that lists the pieces.
    crs : str
    resolution : float
        Cell size of the maps where none is asked for [m].
    """

    word: str
    title: str
    server: str
    inventory: str
    crs: str
    resolution: float
    name: Callable[[Corner], str]
    path: Callable[[str], str]
    listed: re.Pattern[str]

    def inventory_url(self, base: str | None) -> str:
        """Address of the list of pieces."""
        return f"{(base or self.server).rstrip('/')}/{self.inventory}"

    def url(self, corner: Corner, base: str | None) -> str:
        """Address of a piece."""
        return f"{(base or self.server).rstrip('/')}/{self.path(self.name(corner))}"

    def names_in(self, inventory: str) -> frozenset[str]:
        """Return the names of all pieces in a list's text."""
        return frozenset(self.listed.findall(inventory))


def _name_3dep(corner: Corner) -> str:
    # of the north-western corner
    latitude, longitude = corner[0] + 1, corner[1]
    north = f"{'n' if latitude >= 0 else 's'}{abs(latitude):02d}"
    east = f"{'e' if longitude >= 0 else 'w'}{abs(longitude):03d}"
    return f"USGS_13_{north}{east}"


def _name_glo30(corner: Corner) -> str:
    latitude, longitude = corner
    north = f"{'N' if latitude >= 0 else 'S'}{abs(latitude):02d}_00"
    east = f"{'E' if longitude >= 0 else 'W'}{abs(longitude):03d}_00"
    return f"Copernicus_DSM_COG_10_{north}_{east}_DEM"


DATA_SETS = {
    "3dep": DataSet(
        word="3dep",
        title="3D Elevation Program, 1/3 arc second, U.S. Geological Survey",
        server="https://prd-tnm.s3.amazonaws.com",
        inventory="StagedProducts/Elevation/13/TIFF/USGS_Seamless_DEM_13.vrt",
        crs="EPSG:4269",
        resolution=10.0,
        name=_name_3dep,
        path=lambda name: f"StagedProducts/Elevation/13/TIFF/current/{name.removeprefix('USGS_13_')}/{name}.tif",
        listed=re.compile(r"(USGS_13_[ns]\d\d[ew]\d\d\d)\.tif"),
    ),
    "glo30": DataSet(
        word="glo30",
        title="Copernicus DEM GLO-30 (c) DLR e.V. 2010-2014 and (c) Airbus Defence and Space GmbH 2014-2018, "
        "provided under COPERNICUS by the European Union and ESA; all rights reserved",
        server="https://copernicus-dem-30m.s3.amazonaws.com",
        inventory="tileList.txt",
        crs="EPSG:4326",
        resolution=30.0,
        name=_name_glo30,
        path=lambda name: f"{name}/{name}.tif",
        listed=re.compile(r"Copernicus_DSM_COG_10_[NS]\d\d_00_[EW]\d\d\d_00_DEM"),
    ),
}


def corners_of(grid: Grid, crs: str) -> set[Corner]:
    """Return the pieces of a degree that a grid touches.

    Parameters
    ----------
    grid : Grid
    crs : str
        Of the pieces, in degrees.
    """
    west, south, east, north = grid.bounds
    across, up = (_between(low, high, EDGE_POINTS) for low, high in ((west, east), (south, north)))
    to_degrees = Transformer.from_crs(grid.crs, crs, always_xy=True)
    edges = [
        (across, np.full_like(across, south)),
        (across, np.full_like(across, north)),
        (np.full_like(up, west), up),
        (np.full_like(up, east), up),
    ]
    left, bottom, right, top = to_degrees.transform_bounds(west, south, east, north)
    inner = [
        _between(low, high, max(math.ceil((size) / INNER_POINTS), 2) + 1)
        for low, high, size in ((west, east, right - left), (south, north, top - bottom))
    ]
    points = [*edges, tuple(axis.ravel() for axis in np.meshgrid(*inner))]
    touched: set[Corner] = set()
    for x, y in points:
        longitude, latitude = to_degrees.transform(x, y)
        whole = np.unique(np.floor([latitude, longitude]).astype(int), axis=1)
        touched |= {(int(lat), int(lon)) for lat, lon in whole.T}
    return touched


def _between(low: float, high: float, number: int) -> np.ndarray:
    return np.linspace(low, high, number)
