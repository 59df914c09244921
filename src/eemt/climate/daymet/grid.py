"""Where Daymet's cells are, and which days it has.

Daymet V4 R1 is on a Lambert conformal conic projection of the WGS84 ellipsoid, with cells of 1 km.
Every year has 365 days: 29 February is kept and 31 December of leap years is dropped, so that it is
none of the calendars that CF knows.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import CRS, Transformer

from eemt.climate.monthly import of_days
from eemt.errors import InputError

PROJECTION = (
    "+proj=lcc +lat_1=25 +lat_2=60 +lat_0=42.5 +lon_0=-100 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs +type=crs"
)
CELL = 1000.0  # m
DAYS = 365
FILL = -9999.0
EDGE_POINTS = 101  # on each side of a box that is projected: the sides of a box become curves

# unit in the files, least and greatest value of a day on Earth
VARIABLES: dict[str, tuple[str, float, float]] = {
    "tmin": ("degrees C", -90.0, 60.0),
    "tmax": ("degrees C", -90.0, 60.0),
    "prcp": ("mm/day", 0.0, 2000.0),  # 1825 mm fell in a day on La Reunion in 1966
    "vp": ("Pa", 0.0, 10_000.0),
    "srad": ("W/m2", 0.0, 1400.0),  # mean over the daylight, not over the day
    "dayl": ("s", 0.0, 86_400.0),
    "swe": ("kg/m2", 0.0, 100_000.0),  # grows from year to year where snow never melts
}


@dataclass(frozen=True)
class Region:
    """One of Daymet's grids.

    Attributes
    ----------
    name : str
        As in the names of files: ``na``, ``hi``, ``pr``.
    first_year : int
    x, y : float
        Centre of the north-western cell [m].
    width, height : int
        Columns and rows.
    """

    name: str
    first_year: int
    x: float
    y: float
    width: int
    height: int


# centres x -4560250 to 3252750, y 4984000 to -3090000
NORTH_AMERICA = Region("na", 1980, -4_560_250.0, 4_984_000.0, 7814, 8075)
# centres x -5802250 to -5519250, y -39000 to -622000
HAWAII = Region("hi", 1980, -5_802_250.0, -39_000.0, 284, 584)
# Puerto Rico's grid is read from its files; this box [degrees] of NASA's catalogue only says that a site is there
PUERTO_RICO_FIRST_YEAR = 1950
PUERTO_RICO_BOX = (-67.9928, 16.8444, -64.1196, 19.9382)
KNOWN_REGIONS = {"na": NORTH_AMERICA, "hi": HAWAII}
TITLES = {"na": "North America", "hi": "Hawaii", "pr": "Puerto Rico"}


@dataclass(frozen=True)
class Window:
    """Some rows and columns of a region, the ends not included."""

    region: Region
    first_row: int
    end_row: int
    first_col: int
    end_col: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.end_row - self.first_row, self.end_col - self.first_col

    @property
    def x(self) -> npt.NDArray[np.float64]:
        """Centres of the columns [m]."""
        return self.region.x + CELL * np.arange(self.first_col, self.end_col, dtype=np.float64)

    @property
    def y(self) -> npt.NDArray[np.float64]:
        """Centres of the rows [m], from north to south."""
        return self.region.y - CELL * np.arange(self.first_row, self.end_row, dtype=np.float64)

    @property
    def name(self) -> str:
        """Say which cells these are, for the name of a folder."""
        return f"y{self.first_row}-{self.end_row}_x{self.first_col}-{self.end_col}"

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """West, south, east and north edges of the cells [m]."""
        return self.x[0] - CELL / 2, self.y[-1] - CELL / 2, self.x[-1] + CELL / 2, self.y[0] + CELL / 2

    def degrees(self) -> tuple[float, float, float, float]:
        """Return the box of longitudes and latitudes that the cells lie in: west, south, east, north."""
        west, south, east, north = _from_metres().transform_bounds(*self.edges, densify_pts=EDGE_POINTS)
        return west, south, east, north

    def centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Longitudes and latitudes of the cells' centres, each (rows, columns) [degrees]."""
        longitude, latitude = _from_metres().transform(*np.meshgrid(self.x, self.y))
        return np.asarray(longitude), np.asarray(latitude)


def region_of(bounds: tuple[float, float, float, float], crs: str = "EPSG:4326") -> str:
    """Say which of Daymet's regions a site lies in.

    Parameters
    ----------
    bounds : (float, float, float, float)
        West, south, east and north edges of the site.
    crs : str
        Coordinate system of `bounds`.

    Raises
    ------
    InputError
        When it lies in none; the message names the sources that serve everywhere.
    """
    box = projected(bounds, crs)
    for name, region in KNOWN_REGIONS.items():
        if _lies_within(box, region):
            return name
    longitude, latitude = _middle(bounds, crs)
    west, south, east, north = PUERTO_RICO_BOX
    if west <= longitude <= east and south <= latitude <= north:
        return "pr"
    raise InputError(outside("climate.source", longitude, latitude, ", ".join(TITLES.values())))


def outside(key: str, longitude: float, latitude: float, areas: str) -> str:
    """Word the error for a site that Daymet does not have."""
    return (
        f"{key}: the site, around {latitude:.2f} N {longitude:.2f} E, is not within what Daymet covers ({areas}); "
        "use the source grid, with a climate of the whole Earth such as CHELSA or ERA5-Land, or the source station"
    )


def window_of(
    bounds: tuple[float, float, float, float], region: Region, crs: str = "EPSG:4326", margin: int = 2
) -> Window:
    """Find the cells that a site lies on.

    Parameters
    ----------
    bounds, crs
        See `region_of`. The edges are projected point by point, since they become curves.
    region : Region
    margin : int
        Cells to add on every side, as far as the region has any; one is needed for interpolation
        up to the site's edge.

    Raises
    ------
    InputError
        When the site is not within the region.
    """
    box = projected(bounds, crs)
    if not _lies_within(box, region):
        longitude, latitude = _middle(bounds, crs)
        raise InputError(outside("climate.region", longitude, latitude, f"in its region {region.name}"))
    west, south, east, north = box
    first_col, end_col = _nearest((west - region.x) / CELL), _nearest((east - region.x) / CELL) + 1
    first_row, end_row = _nearest((region.y - north) / CELL), _nearest((region.y - south) / CELL) + 1
    return Window(
        region,
        max(first_row - margin, 0),
        min(end_row + margin, region.height),
        max(first_col - margin, 0),
        min(end_col + margin, region.width),
    )


def projected(bounds: tuple[float, float, float, float], crs: str) -> tuple[float, float, float, float]:
    """Return the box [m] in Daymet's projection that a site lies in; infinite where it cannot be projected."""
    west, south, east, north = bounds
    box = _to_metres(crs).transform_bounds(west, south, east, north, densify_pts=EDGE_POINTS)
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def dates(year: int) -> list[datetime.date]:
    """Return the days that Daymet has of a year (365): 29 February, but no 31 December in leap years."""
    first = datetime.date(year, 1, 1)
    return [first + datetime.timedelta(days=day) for day in range(DAYS)]


def month_of_day(year: int) -> npt.NDArray[np.int64]:
    """Return the month, 0 to 11, of each of Daymet's days of a year (365,)."""
    return np.array([day.month - 1 for day in dates(year)])


def days_counted(year: int) -> npt.NDArray[np.int64]:
    """Return how many days Daymet has of each month (12,): 30 in the December of leap years."""
    return np.bincount(month_of_day(year), minlength=12)


def to_months(
    daily: npt.NDArray[np.float32], variable: str, year: int, full_months: bool = False
) -> npt.NDArray[np.float32]:
    """Bring a year's days to months.

    Parameters
    ----------
    daily : ndarray (365, ...)
    variable : str
        Precipitation is summed, anything else is a mean over the days that there are.
    year : int
    full_months : bool
        Whether sums are scaled to the month's true length, which makes a difference of 31/30 in the
        December of leap years.

    Returns
    -------
    ndarray float32 (12, ...)
    """
    dated = xr.DataArray(
        daily,
        dims=("time", *(f"axis_{number}" for number in range(1, daily.ndim))),
        coords={"time": np.array(dates(year), dtype="datetime64[ns]")},
    )
    values, _ = of_days(dated, variable == "prcp", full_months)
    return values.astype(np.float32)


def grid_mapping() -> dict[str, Any]:
    """Return the attributes of a CF grid mapping variable for the projection."""
    crs = CRS.from_user_input(PROJECTION)
    return {**crs.to_cf(), "crs_name": crs.to_wkt()}


def _nearest(position: float) -> int:
    # half up: a point on the edge between two cells belongs to the one beyond it
    return math.floor(position + 0.5)


def _lies_within(box: tuple[float, float, float, float], region: Region) -> bool:
    if not all(math.isfinite(edge) for edge in box):
        return False
    west, south, east, north = box
    inside = west >= region.x - CELL / 2 and east <= region.x + (region.width - 0.5) * CELL
    return inside and north <= region.y + CELL / 2 and south >= region.y - (region.height - 0.5) * CELL


def _middle(bounds: tuple[float, float, float, float], crs: str) -> tuple[float, float]:
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    return float(longitude), float(latitude)


@cache
def _to_metres(crs: str) -> Transformer:
    return Transformer.from_crs(crs, PROJECTION, always_xy=True)


@cache
def _from_metres() -> Transformer:
    return Transformer.from_crs(PROJECTION, "EPSG:4326", always_xy=True)
