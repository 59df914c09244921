"""GeoTIFFs that users send: which are taken, what is in them, and how their terrain looks.

Runs in the process of `eemt.service.inspection`, whose GDAL has no driver but that of GeoTIFF.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from pyproj import CRS
from pyproj.exceptions import ProjError
from rasterio.enums import Interleaving, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from eemt.errors import InputError
from eemt.figures import hillshade
from eemt.grid import Grid
from eemt.raster import grid_of
from eemt.resampling import METRES_PER_DEGREE
from eemt.service.places import footprint
from eemt.stages.dem import PLAUSIBLE_ELEVATION

PICTURE = 512  # pixels, the longer side of the hillshade
READ_WHOLE = 40_000_000  # cells, up to which all values are looked at; of more, a sample
STRIP = 4_000_000  # cells at a time
LARGEST_BLOCK = 512 * 2**20  # bytes of one inner tile or strip
MOST_BLOCKS = 500_000
LONGEST_CRS = 20_000  # characters
MOST_BANDS = {"dem": 1, "raster": 12}
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# those that lose nothing
CODECS = {"none", "deflate", "lzw", "packbits", "zstd", "lzma", "lerc", "lerc_deflate", "lerc_zstd"}
NUMBERS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"}
# of metadata; those of overviews, geolocation and the like can name other files
NAMESPACES = {"", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "COLOR_PROFILE", "EXIF", "TIFF", "COG"}
NAMESPACES |= {"xml:XMP", "xml:ESRI"}


def header(path: Path, kind: str, most_cells: int) -> dict[str, Any]:
    """Check a GeoTIFF and return what is in it; of elevation, draw its hillshade beside it.

    Parameters
    ----------
    path : path
    kind : str
        dem or raster.
    most_cells : int

    Raises
    ------
    InputError
        When it cannot be used.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start not in STARTS:
        raise InputError("it is no GeoTIFF; bring it to one, with `gdal_translate -of GTiff` or in QGIS")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(path, driver="GTiff", sharing=False)
        with source:
            refuse_header(source, kind, most_cells)
            refuse_blocks(source, path.stat().st_size)
            found = _found(source, kind)
            if kind == "dem":
                draw(source, path.parent / "hillshade.png")
                found["warnings"] = _strange(found["range"])
            return found
    except RasterioIOError:
        raise InputError("it is a damaged GeoTIFF: its cells cannot be read") from None
    except (RasterioError, ProjError, ValueError, OverflowError) as error:
        raise InputError(f"it is a GeoTIFF that cannot be used: {' '.join(str(error).split())[:200]}") from None


def refuse_header(source: rasterio.DatasetReader, kind: str, most_cells: int) -> None:
    """Raise for a header that promises too much, or what is no raster of values.

    Raises
    ------
    InputError
    """
    if source.width * source.height > most_cells:
        raise InputError(f"it has {source.height:,} x {source.width:,} cells; {most_cells:,} are the most")
    if source.count > MOST_BANDS[kind]:
        wanted = "one is needed" if kind == "dem" else f"{MOST_BANDS[kind]} are the most"
        raise InputError(f"it has {source.count} bands; {wanted}, take one out with `gdal_translate -b 1`")
    if strange := set(source.dtypes) - NUMBERS:
        raise InputError(f"its cells are of the type {min(strange)}; whole or real numbers are needed")
    codec = source.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "none").lower()
    if codec not in CODECS:
        raise InputError(f"its compression is {codec}; take DEFLATE, by `gdal_translate -co COMPRESS=DEFLATE`")
    if any(colour.name == "palette" for colour in source.colorinterp):
        raise InputError("its cells are numbers of colours; a raster of values is needed")
    if unknown := set(source.tag_namespaces()) - NAMESPACES:
        raise InputError(f"it has metadata of the kind {min(unknown)!r:.80}, which may name other files; leave it out")
    if source.crs is not None and len(source.crs.to_wkt()) > LONGEST_CRS:
        raise InputError("its coordinate system is too long a text")


def refuse_blocks(source: rasterio.DatasetReader, size: int) -> None:
    """Raise where inner tiles or strips are absurd, beyond the end of the file, or more than there is room for.

    Raises
    ------
    InputError
    """
    by_pixel = source.interleaving is Interleaving.pixel
    height, width = source.block_shapes[0]
    bands = source.indexes[:1] if by_pixel else source.indexes
    down, across = -(-source.height // height), -(-source.width // width)
    a_cell = max(np.dtype(name).itemsize for name in source.dtypes) * (source.count if by_pixel else 1)
    anew = "write it anew with `gdal_translate -co TILED=YES`"
    if height * width * a_cell > LARGEST_BLOCK:
        raise InputError(f"its inner tiles are {height:,} x {width:,} cells; {anew}")
    if down * across * len(bands) > MOST_BLOCKS:
        raise InputError(f"it is cut into {down * across * len(bands):,} pieces; {anew}")
    total = 0
    for band in bands:
        for row in range(down):
            for col in range(across):
                start, length = _place(source, band, col, row)
                total += length
                if start + length > size:
                    raise InputError("it ends before its last cells; was it cut off while it was copied?")
    if total == 0:
        raise InputError("it has a header and no cells")
    if total > size:
        raise InputError(f"its header promises {total:,} bytes of cells, and the file has {size:,}")


def _place(source: rasterio.DatasetReader, band: int, col: int, row: int) -> tuple[int, int]:
    """Return where a block begins and how long it is [bytes]; nothing of one that was left out, all without data."""
    start = source.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
    length = source.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
    return (int(start), int(length)) if start and length else (0, 0)


def _found(source: rasterio.DatasetReader, kind: str) -> dict[str, Any]:
    grid = grid_of(source, kind, least=3 if kind == "dem" else 1)
    outline = footprint(grid)
    longitudes, latitudes = zip(*outline["coordinates"][0], strict=True)
    known = CRS.from_user_input(grid.crs)
    return {
        "grid": asdict(grid),
        "crs": f"{known.name} ({grid.crs})" if len(grid.crs) < 30 else known.name,
        "width": grid.width,
        "height": grid.height,
        "cell": [grid.dx, grid.dy],
        "unit": _unit(source),
        "bounds": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "footprint": outline,
        "bands": source.count,
        "type": source.dtypes[0],
        "nodata": source.nodata if source.nodata is not None and np.isfinite(source.nodata) else None,
        "range": extremes(source),
    }


def _unit(source: rasterio.DatasetReader) -> str:
    return str(source.crs.units_factor[0])


def extremes(source: rasterio.DatasetReader) -> list[float]:
    """Return the least and the greatest value: of all cells, or of a large raster of a sample.

    Raises
    ------
    InputError
        When there is none.
    """
    rows = max(1, STRIP // source.width)
    starts = range(0, source.height, rows)
    step = max(1, -(-source.width * source.height * source.count // READ_WHOLE))
    lowest, highest = np.inf, -np.inf
    # a sample first; the rest only where that holds nothing
    for part in (starts[::step], [start for start in starts if (start // rows) % step]):
        for start in part:
            window = Window(0, start, source.width, min(rows, source.height - start))
            for band in source.indexes:
                values = source.read(band, window=window, masked=True).compressed()
                values = values[np.isfinite(values)]
                if values.size:
                    lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
        if np.isfinite(lowest):
            return [lowest, highest]
    raise InputError("all its cells are without data")


def _strange(values: list[float]) -> list[str]:
    (lowest, highest), (low, high) = values, PLAUSIBLE_ELEVATION
    if low <= lowest and highest <= high:
        return []
    return [f"its values run from {lowest:,.0f} to {highest:,.0f}; are these metres above sea level?"]


def draw(source: rasterio.DatasetReader, out: Path) -> None:
    """Draw the terrain in grey, see-through where there is no data."""
    grid = grid_of(source)
    scale = min(1.0, PICTURE / max(grid.shape))
    height, width = (max(1, round(side * scale)) for side in grid.shape)
    elevation = source.read(
        1, out_shape=(height, width), masked=True, out_dtype="float32", resampling=Resampling.nearest
    ).filled(np.nan)
    small = replace(
        grid, dx=grid.dx * grid.width / width, dy=grid.dy * grid.height / height, width=width, height=height
    )
    with np.errstate(all="ignore"):
        shade = hillshade(elevation, _in_metres(small, _unit(source)))
    seen = np.isfinite(shade)
    grey = np.where(seen, np.clip(np.nan_to_num(shade) * 255, 0, 255), 0).astype(np.uint8)
    opaque = np.where(seen, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([grey, opaque])).save(out, format="PNG")


def _in_metres(grid: Grid, unit: str) -> Grid:
    """Give cells in degrees their size in metres, by which slopes are reckoned."""
    if unit != "degree":
        return grid
    narrower = max(float(np.cos(np.radians(grid.centre[0]))), 0.01)
    return replace(grid, dx=grid.dx * METRES_PER_DEGREE * narrower, dy=grid.dy * METRES_PER_DEGREE)
