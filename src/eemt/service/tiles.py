"""Tiles of maps for the browser, and the value of a cell.

Files are opened by the GeoTIFF driver alone, on this machine alone; no address of a request names a file.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from morecantile import TileMatrixSet, tms
from rasterio.warp import calculate_default_transform, transform
from rasterio.windows import Window
from rio_tiler.errors import TileOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.models import ImageData
from titiler.core.algorithm.dem import HillShade

from eemt.raster import BLOCK, whole_or_nothing
from eemt.service.maps import HILLSHADE, Map

MERCATOR: TileMatrixSet = tms.get("WebMercatorQuad")
SIDE = 256  # pixels of a tile
LARGE = 512  # cells of a side beyond which a raster needs overviews
CLOSER = 4  # zoom levels beyond a map's own, in which its cells become squares
FARTHER = 2  # zoom levels beyond that in which a map fits into a tile
FARTHEST, CLOSEST = 0, 24
STEEPER = 2.0  # by how much the hillshade exaggerates heights
SUN_FROM = 45  # degrees, which titiler counts from north to west: northwest, as the report's
EARTH = 40_075_016.686  # m, circumference of web mercator
COPY = {"driver": "COG", "compress": "DEFLATE", "level": 1, "predictor": "YES", "blocksize": BLOCK}
COPY |= {"overview_resampling": "AVERAGE", "bigtiff": "IF_SAFER"}
ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no files beside a map are looked for
    "GDAL_NUM_THREADS": "1",  # many tiles are made at the same time
    "GDAL_HTTP_MAX_RETRY": "0",
}


class Value(NamedTuple):
    """What a map has at a place; nothing beyond its edge, and no value where it is nodata."""

    value: float | None
    row: int | None
    col: int | None


@contextmanager
def opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF of this machine."""
    with rasterio.Env(**ENVIRONMENT), rasterio.open(path, driver="GTiff") as source:
        yield source


def zooms(path: Path) -> tuple[int, int]:
    """Return the zoom levels between which a map is looked at."""
    stat = path.stat()
    return _zooms(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(4096)
def _zooms(path: Path, written: int, size: int) -> tuple[int, int]:  # noqa: ARG001 - what makes it another
    with opened(path) as source:
        place, width, height = calculate_default_transform(
            source.crs, MERCATOR.rasterio_crs, source.width, source.height, *source.bounds
        )
    own = MERCATOR.zoom_for_res(max(place.a, -place.e))
    whole = own - math.ceil(math.log2(max(1.0, max(width, height) / SIDE)))
    return max(FARTHEST, whole - FARTHER), min(CLOSEST, own + CLOSER)


def tile(one: Map, prepared: Path, band: int, limits: tuple[float, float], z: int, x: int, y: int) -> bytes:
    """Draw a tile of a map as PNG; what has no value is transparent.

    Parameters
    ----------
    one : Map
    prepared : path
        Its file, or a copy with overviews, see `with_overviews`.
    band : int
        Counted from 1.
    limits : (float, float)
        Values that the first and last colour stand for.
    z, x, y : int
        Of the web mercator pyramid.
    """
    with opened(prepared) as source:
        try:
            with Reader(None, dataset=source, tms=MERCATOR) as reader:
                if one.variable == HILLSHADE:
                    return _hillshade(reader, z, x, y)
                image = reader.tile(
                    x, y, z, tilesize=SIDE, indexes=(band,), resampling_method="nearest", reproject_method="nearest"
                )
        except TileOutsideBounds:
            return nothing()
    values = image.array.data[0].astype(np.float64)
    known = ~np.ma.getmaskarray(image.array)[0] & np.isfinite(values)
    return _png(colours(one.ramp)[_indices(values, known, limits)], known)


def _indices(
    values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_], limits: tuple[float, float]
) -> npt.NDArray[np.intp]:
    """Return which of the 256 colours each value has."""
    low, high = limits
    place = (np.where(known, values, low) - low) / (high - low) * 255
    return np.clip(np.rint(place), 0, 255).astype(np.intp)


def _hillshade(reader: Reader, z: int, x: int, y: int) -> bytes:
    """Draw relief, with as many pixels around the tile as its neighbours need to fit."""
    shade = HillShade(azimuth=SUN_FROM, buffer=1, z_exaggeration=STEEPER / _metres(z, y))
    image = reader.tile(
        x,
        y,
        z,
        tilesize=SIDE,
        indexes=(1,),
        buffer=shade.buffer,
        resampling_method="bilinear",
        reproject_method="bilinear",
    )
    known = ~np.ma.getmaskarray(image.array)[0] & np.isfinite(image.array.data[0])
    if not known.any():
        return nothing()
    # of what is beyond the edge nothing is shown, nor of the slopes to it
    filled = np.where(known, image.array.data[0], image.array.data[0][known].mean())
    shaded = shade(ImageData(filled[np.newaxis], crs=image.crs, bounds=image.bounds))
    inner = _with_neighbours(known)[shade.buffer : -shade.buffer, shade.buffer : -shade.buffer]
    grey = shaded.array.data[0]
    return _png(np.stack([grey, grey, grey], axis=-1), inner)


def _with_neighbours(known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return where a pixel is known and so are those beside, above and below it."""
    inner = known.copy()
    inner[1:] &= known[:-1]
    inner[:-1] &= known[1:]
    inner[:, 1:] &= known[:, :-1]
    inner[:, :-1] &= known[:, 1:]
    return inner


def _metres(z: int, y: int) -> float:
    """Return the size of a pixel on the ground, in the middle of a tile [m]."""
    northing = math.pi * (1 - 2 * (y + 0.5) / 2.0**z)
    return EARTH / (SIDE * 2.0**z) / math.cosh(northing)


def _png(rgb: npt.NDArray[np.uint8], known: npt.NDArray[np.bool_]) -> bytes:
    image = ImageData(np.ma.MaskedArray(np.moveaxis(rgb, -1, 0), np.broadcast_to(~known, (3, *known.shape))))
    return image.render(img_format="PNG", zlevel=6)


@functools.cache
def nothing() -> bytes:
    """Return a tile that shows nothing."""
    return _png(np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.bool_))


@functools.cache
def colours(ramp: str) -> npt.NDArray[np.uint8]:
    """Return 256 colours of a colour map of matplotlib, (256, 3)."""
    from matplotlib import colormaps

    table: npt.NDArray[np.uint8] = np.rint(colormaps[ramp](np.arange(256))[:, :3] * 255).astype(np.uint8)
    return table


def value(path: Path, band: int, longitude: float, latitude: float) -> Value:
    """Return what the cell has that a place lies in.

    Parameters
    ----------
    path : path
    band : int
        Counted from 1.
    longitude, latitude : float
        WGS 84 [degrees].
    """
    with opened(path) as source:
        (easting,), (northing,) = transform("EPSG:4326", source.crs, [longitude], [latitude])
        if not (math.isfinite(easting) and math.isfinite(northing)):
            return Value(None, None, None)
        col, row = (math.floor(place) for place in ~source.transform * (easting, northing))
        if not (0 <= row < source.height and 0 <= col < source.width):
            return Value(None, None, None)
        cell = source.read(band, window=Window(col, row, 1, 1), masked=True)[0, 0]
    missing = cell is np.ma.masked or not np.isfinite(cell)
    return Value(None if missing else float(cell), row, col)


_preparing = threading.Lock()


def with_overviews(path: Path, folder: Path) -> Path:
    """Return a raster, or where it is large and has no overviews, a copy that has them, made once.

    Parameters
    ----------
    path : path
    folder : path
        Where such copies are kept.
    """
    with opened(path) as source:
        if max(source.shape) <= LARGE or source.overviews(1):
            return path
    stat = path.stat()
    copy = folder / f"{path.stem}_{stat.st_mtime_ns:x}_{stat.st_size:x}.tif"
    # one after the other: a copy takes memory and the disk's time
    with _preparing:
        if not copy.exists():
            with whole_or_nothing(copy) as partial:
                rasterio.shutil.copy(path, partial, **COPY)
    return copy
