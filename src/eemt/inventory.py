"""What a site's folder holds that people keep, as catalogue and archive name it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

CRATE = "ro-crate-metadata.json"
CATALOGUE = "catalog.json"
ITEMS = "stac"
CASE_ITEM = "item.json"
CASE_THUMBNAIL = "thumbnail.png"
# what stages hand on and can be made again: tiles, copies of the user's rasters, single years of climate
HANDED_ON = {"tiles", "inputs"}
HANDED_ON_HERE = {("eemt",), ("climate", "years"), ("dem", "far_field.tif")}

GEOTIFF = "image/tiff; application=geotiff"
MEDIA_TYPES = {
    ".tif": GEOTIFF,
    ".nc": "application/x-netcdf",
    ".zip": "application/zip",
    ".json": "application/json",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".gpkg": "application/geopackage+sqlite3",
    ".html": "text/html",
    ".png": "image/png",
    ".qml": "application/xml",
    ".yaml": "application/yaml",
}

# what pages link to, each by what it is
BESIDE = {
    "report.html": "report of the site",
    "sweep.html": "sweep of its parameters",
    "summary.csv": "table of all maps",
    "zones.csv": "table of zones",
    "zones.gpkg": "zones with their means",
    "sweep.csv": "table of the sweep",
    "catalog.json": "STAC catalogue",
}


class Kind(NamedTuple):
    """A sort of files: the pattern of their names within the site's folder, what they are, their role in STAC."""

    pattern: str
    meaning: str
    role: str


KINDS = (
    Kind("*maps/*.tif", "Map: band 1 the year, bands 2 to 13 its months", "data"),
    Kind("*maps/*.qml", "Style of the map for QGIS", "style"),
    Kind("*summary.csv", "Table of all maps: statistics by variable, method, year and month", "metadata"),
    Kind("*summary.parquet", "Table of all maps: statistics by variable, method, year and month", "metadata"),
    Kind("*zones.*", "Maps summed up over polygons", "metadata"),
    Kind("sweep.*", "Cases of the sweep compared", "metadata"),
    Kind("report.html", "Report: maps, curves, methods, cautions", "overview"),
    Kind("overview.png", "The maps at a glance", "overview"),
    Kind("stack.nc", "All maps in one CF NetCDF", "data"),
    Kind("stack.zarr.zip", "All maps in one Zarr, zipped", "data"),
    Kind("dem/dem.tif", "Elevation above sea level [m]", "data"),
    Kind("dem/dem.json", "Where the elevations come from", "metadata"),
    Kind("terrain/slope.tif", "Slope [degrees]", "data"),
    Kind("terrain/aspect.tif", "Aspect [degrees clockwise from north]", "data"),
    Kind("terrain/northness.tif", "Northness, cos(aspect) sin(slope) [1]", "data"),
    Kind("wetness/area.tif", "Specific catchment area [m], and where it may be incomplete", "data"),
    Kind("wetness/twi.tif", "Topographic wetness index [1]", "data"),
    Kind("wetness/mcwi.tif", "Mass conservative wetness index [1]", "data"),
    Kind("sun/*monthly_global.tif", "Monthly clear-sky irradiation of the slopes [Wh m-2 month-1]", "data"),
    Kind("sun/*monthly_flat_global.tif", "Monthly clear-sky irradiation of level ground [Wh m-2 month-1]", "data"),
    Kind("sun/*monthly_insolation.tif", "Monthly hours of direct sun [h month-1]", "data"),
    Kind("climate/climate.nc", "Monthly climate on its source's cells", "data"),
    Kind("climate/climate.json", "Where the climate comes from", "metadata"),
    Kind(CATALOGUE, "STAC catalogue of the maps", "metadata"),
    Kind(f"{ITEMS}/*.json", "STAC item of a map", "metadata"),
    Kind(f"{ITEMS}/*.png", "Thumbnail of a map", "thumbnail"),
    Kind(f"*~*/{CASE_ITEM}", "STAC item of a case of the sweep", "metadata"),
    Kind(f"*~*/{CASE_THUMBNAIL}", "Thumbnail of a case of the sweep", "thumbnail"),
)


def kind(name: str) -> Kind | None:
    """Return what a file of a site is, by its path within the site's folder."""
    return next((known for known in KINDS if fnmatch.fnmatchcase(name, known.pattern)), None)


def media_type(name: str) -> str:
    """Return the media type of a file by its ending."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")


def site_files(folder: Path) -> Iterator[str]:
    """Yield the paths within a site's folder of all that people keep, sorted.

    Left out are the tiles and whatever else stages hand on (`HANDED_ON`, `HANDED_ON_HERE`), hidden files, which are
    such as are being written, and the crate's own description, since it cannot hold its own checksum.
    """
    found = []
    for place, folders, names in os.walk(folder):
        here = Path(place).relative_to(folder).parts
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name not in HANDED_ON and (*here, name) not in HANDED_ON_HERE
        ]
        found += [
            PurePosixPath(*here, name).as_posix()
            for name in names
            if not name.startswith(".") and (*here, name) not in {*HANDED_ON_HERE, (CRATE,)}
        ]
    yield from sorted(found)


def beside(folder: Path, page: str, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return what a page links to, by file name in the page's own folder, and in the order of `BESIDE`.

    Parameters
    ----------
    folder : path
        The site's folder.
    page : str
        Name of the page itself, which is left out.
    names : iterable of str, optional
        Files that are there when the run has ended; by default those that are there now.
    """
    there = set(names) if names is not None else {name for name in BESIDE if (folder / name).exists()}
    return {name: what for name, what in BESIDE.items() if name in there - {page}}
