"""Which maps a job has, and how their numbers become colours: the same for all maps of a variable."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import transform_bounds

from eemt import qml
from eemt.cf import VARIABLES
from eemt.constants import MONTH_NAMES
from eemt.map_header import UNITS
from eemt.products import MAP_NAME
from eemt.raster import open_raster
from eemt.service.problems import Problem

HILLSHADE = "hillshade"
SAMPLE = 512  # cells of the longer side that a raster without statistics is read averaged to
NAMES = {"eemt": "EEMT", "ebio": "E_BIO", "eppt": "E_PPT", "pet": "PET", "aet": "AET", "peff": "Effective rain"}
NAMES |= {"npp": "Net primary production", "temperature": "Temperature", "fbio": "Share of E_BIO"}
OVER_YEARS = {"mean": "mean of all years", "sd": "standard deviation", "trend": "trend", "trend_p": "p of trend"}
CASE = re.compile(r"[^/]+~[^/]+")


class Other(NamedTuple):
    """A raster that is no map of a method: its name, what it shows, its colours."""

    name: str
    file: str
    title: str
    ramp: str
    limits: tuple[float, float] | None = None


OTHERS = (
    Other("elevation", "dem/dem.tif", "Elevation", "cividis"),
    Other("slope", "terrain/slope.tif", "Slope", "magma"),
    Other("aspect", "terrain/aspect.tif", "Aspect", "twilight", (0.0, 360.0)),
    Other("northness", "terrain/northness.tif", "Northness", "PuOr", (-1.0, 1.0)),
    Other("twi", "wetness/twi.tif", "Topographic wetness index", "YlGnBu"),
    Other("mcwi", "wetness/mcwi.tif", "Mass conservative wetness index", "YlGnBu"),
)
SUN = (
    Other("monthly_global", "monthly_global.tif", "Clear-sky irradiation", "inferno"),
    Other("monthly_flat_global", "monthly_flat_global.tif", "Clear-sky irradiation of level ground", "inferno"),
    Other("monthly_insolation", "monthly_insolation.tif", "Hours of direct sun", "magma"),
)


@dataclass(frozen=True)
class Map:
    """A map, as it is chosen.

    Attributes
    ----------
    name : str
        In addresses; of a case of a sweep, after its name and a colon.
    path : path
    case : str
        Empty for the site's own settings.
    variable, method, year : str
        Such as eemt, topo, 2003; other rasters have no method and no year.
    ramp : str
        Colour map of matplotlib.
    limits : (float, float), optional
        Range of the colours, where it does not depend on the values.
    """

    name: str
    path: Path
    title: str
    variable: str
    ramp: str
    case: str = ""
    method: str | None = None
    year: str | None = None
    limits: tuple[float, float] | None = None

    @property
    def shares(self) -> tuple[str, str]:
        """What maps have in common that have the same colours."""
        return self.variable, self.year if self.year in {"sd", "trend", "trend_p"} else ""


@dataclass(frozen=True)
class Header:
    """What a map's file says: its bands, units, place."""

    bands: tuple[str, ...]
    units: tuple[str, ...]
    ranges: tuple[tuple[float, float] | None, ...]
    bounds: tuple[float, float, float, float]
    shape: tuple[int, int]
    crs: str


def maps_of(place: Path) -> list[Map]:
    """List the maps of a job's results, in the order in which they are offered."""
    if not place.is_dir():
        return []
    cases = ["", *sorted(path.name for path in place.iterdir() if path.is_dir() and CASE.fullmatch(path.name))]
    found = [one for case in cases for one in _of_methods(place / case, case)]
    suns = sorted(path.name for path in (place / "sun").glob("*~*") if path.is_dir())
    for case in ("", *suns):
        found += [_other(other, place / "sun" / case / other.file, case) for other in SUN]
    found += [_other(other, place / other.file, "") for other in OTHERS]
    found.append(Map(HILLSHADE, place / "dem/dem.tif", "Hillshade", HILLSHADE, "gray", limits=(0.0, 255.0)))
    return [one for one in found if one.path.is_file()]


def _of_methods(folder: Path, case: str) -> list[Map]:
    found = []
    for path in folder.glob("maps/*.tif"):
        name = MAP_NAME.fullmatch(path.name)
        if name is None:
            continue
        variable, method, year = name["variable"], name["method"], name["year"]
        title = f"{NAMES.get(variable, variable)}, method {method.upper()}, {OVER_YEARS.get(year, year)}"
        ramp = qml.OVER_YEARS.get(year, qml.RAMPS.get(variable, "viridis"))
        prefix = f"{case}:" if case else ""
        found.append(Map(f"{prefix}{path.stem}", path, title, variable, ramp, case, method, year))
    variables, methods = list(VARIABLES), ["trad", "topo", "veg"]

    def order(one: Map) -> tuple[int, int, str]:
        def place(name: str | None, names: Sequence[str]) -> int:
            return names.index(name) if name in names else len(names)

        return place(one.variable, variables), place(one.method, methods), one.year or ""

    return sorted(found, key=order)


def _other(other: Other, path: Path, case: str) -> Map:
    name = f"{case}:{other.name}" if case else other.name
    return Map(name, path, other.title, other.name, other.ramp, case, limits=other.limits)


def find(maps: Iterable[Map], name: str) -> Map:
    """Return a map by its name.

    Raises
    ------
    Problem
        When there is none.
    """
    for one in maps:
        if one.name == name:
            return one
    raise Problem("not-found", "There is no such map.")


def header(one: Map) -> Header:
    """Read what a map's file says, once as long as it does not change."""
    stat = one.path.stat()
    return _header(one.path, one.year or "", stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(4096)
def _header(path: Path, year: str, written: int, size: int) -> Header:  # noqa: ARG001 - what makes it another
    with open_raster(path, "map") as source:
        count = source.count if path.parent.name != "wetness" else 1
        names = tuple(_label(source.descriptions[band] or "", band, count) for band in range(count))
        ranges = tuple(_spread(source, band, year) for band in range(count))
        bounds = transform_bounds(source.crs, "EPSG:4326", *source.bounds, densify_pts=21)
        return Header(names, _units(source), ranges, bounds, source.shape, str(source.crs))


def _label(description: str, band: int, count: int) -> str:
    """Name a band: of 13 the year and its months, of 12 the months."""
    if count in (12, 13):
        return MONTH_NAMES[band - (count - 12)] if band >= count - 12 else "Year"
    return description.capitalize() or f"Band {band + 1}"


def _units(source: rasterio.DatasetReader) -> tuple[str, ...]:
    """Return the unit of each band; of what is summed over time, with the time."""
    told = UNITS.fullmatch(source.tags().get("UNITS", ""))
    if told and source.count == len(MONTH_NAMES) + 1:
        found = (told["year"], *[told["month"]] * len(MONTH_NAMES))
    else:
        found = tuple(unit or "" for unit in source.units)
    return tuple("" if unit == "1" else unit for unit in found)


def _spread(source: rasterio.DatasetReader, band: int, year: str) -> tuple[float, float] | None:
    """Return the values that a band's colours would be spread over by itself; of one without values nothing."""
    told = source.tags(band + 1)
    if "STATISTICS_MEAN" not in told:
        told = _sampled(source, band)
    if not told:
        return None
    least, most = float(told["STATISTICS_MINIMUM"]), float(told["STATISTICS_MAXIMUM"])
    # the same everywhere, such as zero in winter: the other months have a range to be seen in
    return (least, most) if least == most else qml.shown_range(told, year)


def _sampled(source: rasterio.DatasetReader, band: int) -> dict[str, str]:
    """Return statistics of a band that has none, from its cells averaged to few."""
    factor = max(1.0, max(source.shape) / SAMPLE)
    shape = tuple(math.ceil(side / factor) for side in source.shape)
    values = source.read(band + 1, out_shape=shape, resampling=Resampling.average, masked=True)
    known = values.compressed().astype(np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return {}
    told = {"MINIMUM": known.min(), "MAXIMUM": known.max(), "MEAN": known.mean(), "STDDEV": known.std()}
    return {f"STATISTICS_{name}": repr(float(value)) for name, value in told.items()}


def colour_range(one: Map, maps: Iterable[Map], band: int) -> tuple[float, float]:
    """Return the values between which a band's colours lie, the same for all maps of the variable.

    The year has a range of its own, and so have the months together. It spans what the maps' styles for QGIS span.

    Parameters
    ----------
    one : Map
    maps : iterable of Map
        All of the job.
    band : int
        Counted from 1.
    """
    if one.limits:
        return one.limits
    ranges: list[tuple[float, float]] = []
    for other in maps:
        if other.shares == one.shares:
            about = header(other)
            count = len(about.ranges)
            alike = (
                about.ranges if count != len(MONTH_NAMES) + 1 else about.ranges[:1] if band == 1 else about.ranges[1:]
            )
            ranges += [spread for spread in alike if spread and math.isfinite(sum(spread))]
    low, high = min((low for low, _ in ranges), default=0.0), max((high for _, high in ranges), default=1.0)
    if one.year == "trend":
        high = max(abs(low), abs(high))
        low = -high
    if high - low < 1e-6 * max(abs(low), abs(high), 1e-6):
        margin = max(abs(low) * 0.05, 0.5)
        low, high = low - margin, high + margin
    return low, high


def stops(ramp: str, low: float, high: float) -> list[tuple[float, str]]:
    """Return values and the colours that they have, as #rrggbb, evenly spaced."""
    colours = qml.ramp(ramp)
    step = (high - low) / (len(colours) - 1)
    return [(low + number * step, "#{:02x}{:02x}{:02x}".format(*colour)) for number, colour in enumerate(colours)]
