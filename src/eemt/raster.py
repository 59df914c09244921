"""Rasters in and out: checked reading, whole-or-nothing writing, GeoTIFF and NetCDF."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window

import eemt
from eemt.errors import InputError
from eemt.grid import NEARLY_SQUARE, Grid

if TYPE_CHECKING:
    import xarray as xr

BLOCK = 256  # cells, side of a GeoTIFF's inner tiles
NODATA = float("nan")

# read by GDAL, QGIS, R terra and ArcGIS; level 1 costs a tenth of the default's time for 5 % more bytes
COMPRESSION = {"compress": "DEFLATE", "zlevel": 1, "predictor": 3}
# of maps that come by the hundred: a third of DEFLATE's time, and as small
QUICK_COMPRESSION = {"compress": "ZSTD", "zstd_level": 1}
WHOLE_NODATA = 65535
TILE_TAG = "TILE"

COG_THREADS = 2  # that compress at once
COG_LEVEL = 1  # of DEFLATE: half of the default's time for 2 % more bytes
CACHE = 256 * 2**20  # bytes, of blocks that GDAL holds while it makes a cloud-optimised GeoTIFF


def open_raster(path: str | Path, what: str = "dem") -> rasterio.DatasetReader:
    """Open a raster for reading.

    Raises
    ------
    InputError
        When the file is missing or not a raster; the message begins with `what`.
    """
    if "://" not in str(path) and not str(path).startswith("/vsi") and not Path(path).exists():
        raise InputError(f"{what}: {path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioIOError:
        raise InputError(f"{what}: {path} is not a raster that GDAL can read") from None


def read_grid(path: str | Path, what: str = "dem") -> Grid:
    """Read where a raster's cells are, from its header alone.

    Raises
    ------
    InputError
        When it is missing, no raster, without coordinate system, rotated or under 3 x 3 cells.
    """
    with open_raster(path, what) as source:
        return grid_of(source, what)


def grid_of(source: rasterio.DatasetReader, what: str = "dem", least: int = 3) -> Grid:
    """Return the grid of an open raster of at least `least` rows and columns; see `read_grid`."""
    if source.crs is None:
        raise InputError(
            f"{what}: {source.name} has no coordinate system; add one with `rio edit-info --crs EPSG:… {source.name}`"
        )
    if min(source.width, source.height) < least:
        raise InputError(
            f"{what}: {source.name} has {source.height} x {source.width} cells; {least} x {least} are the least"
        )
    t = source.transform
    if t.b or t.d or t.a <= 0 or t.e >= 0:
        raise InputError(f"{what}: {source.name} is not north-up; warp it first with `gdalwarp`")
    return Grid(_crs_name(source.crs), t.c, t.f, t.a, -t.e, source.width, source.height)


def read_band(
    path: str | Path, band: int = 1, rows: slice | None = None, cols: slice | None = None, what: str = "dem"
) -> npt.NDArray[np.float32]:
    """Read one band as float32 with NaN for missing cells.

    Rows and columns may reach beyond the raster; what lies outside is NaN.
    """
    with open_raster(path, what) as source:
        return read_window(source, rows or slice(0, source.height), cols or slice(0, source.width), band)


def read_window(source: rasterio.DatasetReader, rows: slice, cols: slice, band: int = 1) -> npt.NDArray[np.float32]:
    """Read some rows and columns of an open raster; see `read_band`."""
    values = np.full((rows.stop - rows.start, cols.stop - cols.start), np.nan, dtype=np.float32)
    top, bottom = max(rows.start, 0), min(rows.stop, source.height)
    left, right = max(cols.start, 0), min(cols.stop, source.width)
    if top < bottom and left < right:
        inside = Window.from_slices((top, bottom), (left, right))
        read = source.read(band, window=inside, masked=True, out_dtype="float32").filled(np.nan)
        values[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = read
    return values


def row_strips(rows: slice, height: int = BLOCK) -> Iterator[slice]:
    """Cut rows into strips, by default as high as a GeoTIFF's inner tiles."""
    for start in range(rows.start, rows.stop, height):
        yield slice(start, min(start + height, rows.stop))


def read_on_grid(path: str | Path, grid: Grid, what: str) -> npt.NDArray[np.float32]:
    """Read all bands of a raster, on the cells of a grid that lies within it.

    Returns
    -------
    ndarray float32 (bands, rows, columns)
        NaN where there is no data.

    Raises
    ------
    InputError
        When its cells are not those of the grid; the message begins with `what`.
    """
    with open_raster(path, what) as source:
        window = window_on_grid(source, grid, what)
        values: npt.NDArray[np.float32]
        if _missing_is_nan(source):
            values = source.read(window=window, out_dtype="float32")  # a mask would take a third longer
        else:
            values = source.read(window=window, masked=True, out_dtype="float32").filled(np.nan)
    return values


def _missing_is_nan(source: rasterio.DatasetReader) -> bool:
    """Say whether what is missing of an open raster is NaN in it already."""
    return all(
        flags == [MaskFlags.all_valid] or (flags == [MaskFlags.nodata] and np.isnan(nodata))
        for flags, nodata in zip(source.mask_flag_enums, source.nodatavals, strict=True)
    )


def window_on_grid(source: rasterio.DatasetReader, grid: Grid, what: str) -> Window:
    """Find a grid within an open raster, from its header alone; raises as `read_on_grid`."""
    own = grid_of(source, what, least=1)
    col, row = (grid.west - own.west) / own.dx, (own.north - grid.north) / own.dy
    aligned = abs(col - round(col)) < 1e-3 and abs(row - round(row)) < 1e-3
    window = Window(round(col), round(row), grid.width, grid.height)
    inside = window.col_off >= 0 and window.row_off >= 0
    inside &= window.col_off + grid.width <= own.width and window.row_off + grid.height <= own.height
    if not (aligned and inside and own.crs == grid.crs and abs(own.dx - grid.dx) < 1e-6 * grid.dx):
        raise InputError(f"{what}: {source.name} is not on the cells of the elevation model, or does not cover them")
    return window


def read_averaged(
    path: str | Path, source: Grid, grid: Grid, what: str, bands: int | None = 1
) -> npt.NDArray[np.float32]:
    """Read a raster for showing: the cells of `source`, which it covers, averaged to those of `grid`.

    Parameters
    ----------
    path : path
    source, grid : Grid
        Of the same area; `grid` has wider cells, or as many.
    what : str
        Begins the message of an error.
    bands : int, optional
        Its first so many; all, where None.

    Returns
    -------
    (bands, rows, cols) array of float32
        NaN where there is no value.

    Raises
    ------
    InputError
        As `read_on_grid`.
    """
    with open_raster(path, what) as opened:
        numbers = list(range(1, (bands or opened.count) + 1))
        masked = opened.read(
            numbers,
            window=window_on_grid(opened, source, what),
            out_shape=(len(numbers), *grid.shape),
            resampling=Resampling.average,
            masked=True,
            out_dtype="float32",
        )
    values: npt.NDArray[np.float32] = masked.filled(np.nan)
    return values


def read_dem(path: str | Path) -> tuple[npt.NDArray[np.float32], Grid]:
    """Read an elevation raster that is on a grid in metres.

    Raises
    ------
    InputError
        As `read_dem_grid`, and when it holds no value, unless it is one tile of a larger one.
    """
    grid = read_dem_grid(path)
    elevation = read_band(path)
    if np.isnan(elevation).all() and not is_tile(path):
        raise InputError(f"dem: {path} has no valid cell, all are nodata")
    return elevation, grid


def read_dem_grid(path: str | Path) -> Grid:
    """Read where the cells of an elevation raster are.

    Raises
    ------
    InputError
        As `read_grid`, and when its grid is in degrees or its cells are oblong.
    """
    grid = read_grid(path)
    if map_units(grid) != "metre":
        raise InputError(f"dem: {path} is in {map_units(grid)}s; bring it to metres first with `eemt dem`")
    if abs(grid.dx / grid.dy - 1) > NEARLY_SQUARE:
        raise InputError(f"dem: {path} has cells of {grid.dx:g} x {grid.dy:g}; make them square first with `eemt dem`")
    return grid


def is_tile(path: str | Path) -> bool:
    """Say whether an elevation raster was cut by `eemt tile`, so that it may lie wholly where there is no data."""
    with open_raster(path) as source:
        return TILE_TAG in source.tags()


def map_units(grid: Grid) -> str:
    """Return the unit of a grid's coordinates, such as ``metre`` or ``degree``."""
    return str(rasterio.crs.CRS.from_user_input(grid.crs).units_factor[0])


@contextlib.contextmanager
def whole_or_nothing(path: str | Path) -> Iterator[Path]:
    """Write a file under another name and rename it when it is whole.

    Yields a name in the same folder and with the same ending. Whatever ends the block early, a
    full disk or an interrupt included, leaves neither the file nor the other name behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def geotiff_writer(
    path: str | Path,
    grid: Grid,
    bands: Sequence[str],
    units: str,
    tags: Mapping[str, Any] | None = None,
    block: tuple[int, int] = (BLOCK, BLOCK),
    quick: Literal["whole", "float", "plain"] | None = None,
) -> Iterator[rasterio.io.DatasetWriter]:
    """Open a GeoTIFF to be written window by window; it appears when the block ends.

    Parameters
    ----------
    path : path
    grid : Grid
    bands : sequence of str
        One description a band.
    units : str
        Of every band.
    tags : mapping, optional
        Further metadata; the program's version is added.
    block : (int, int)
        Rows and columns of the file's inner tiles, multiples of 16.
    quick : {"whole", "float", "plain"}, optional
        Compress by `QUICK_COMPRESSION`, whole numbers (uint16) or float32; or not at all, for
        a file that is soon gone. Default float32 by `COMPRESSION`.
    """
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": len(bands),
        "width": grid.width,
        "height": grid.height,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": NODATA,
        "interleave": "band",
        "bigtiff": "IF_SAFER",
    }
    if quick == "whole":
        profile |= {"dtype": "uint16", "nodata": WHOLE_NODATA, **QUICK_COMPRESSION, "predictor": 2}
    elif quick == "float":
        profile |= QUICK_COMPRESSION | {"predictor": 3}
    elif quick is None:
        profile |= COMPRESSION
    if min(grid.shape) >= 16:
        profile |= {"tiled": True, "blockysize": block[0], "blockxsize": block[1]}
    with whole_or_nothing(path) as partial:
        with rasterio.open(partial, "w", **profile) as target:
            for number, name in enumerate(bands, start=1):
                target.set_band_description(number, name)
                target.set_band_unit(number, units)
            target.update_tags(EEMT_VERSION=eemt.__version__, **(tags or {}))
            yield target
        _refuse_unfinished(partial, path)


def write_geotiff(
    path: str | Path,
    values: npt.NDArray[np.float32],
    grid: Grid,
    bands: Sequence[str],
    units: str,
    tags: Mapping[str, Any] | None = None,
) -> None:
    """Write bands (bands, rows, columns), or one (rows, columns), as a GeoTIFF."""
    stack = values if values.ndim == 3 else values[np.newaxis]
    with geotiff_writer(path, grid, bands, units, tags) as target:
        target.write(stack.astype(np.float32, copy=False))


class BandStatistics:
    """Statistics of a raster's bands, gathered from samples and kept in its tags as GDAL does."""

    def __init__(self, bands: int) -> None:
        self.number = np.zeros(bands)
        self.sums = np.zeros((2, bands))
        self.least = np.full(bands, np.inf)
        self.most = np.full(bands, -np.inf)

    def add(self, sample: npt.NDArray[np.float32]) -> None:
        """Count in some cells of each band (bands, rows, columns); NaN is left out."""
        flat = sample.reshape(len(sample), -1).astype(np.float64)
        known = np.isfinite(flat)
        self.number += known.sum(axis=1)
        self.sums += [np.where(known, flat**power, 0.0).sum(axis=1) for power in (1, 2)]
        self.least = np.minimum(self.least, np.where(known, flat, np.inf).min(axis=1))
        self.most = np.maximum(self.most, np.where(known, flat, -np.inf).max(axis=1))

    def tag(self, target: rasterio.io.DatasetWriter) -> None:
        """Write the statistics of the bands that have any."""
        for band in np.flatnonzero(self.number):
            mean, square = self.sums[:, band] / self.number[band]
            target.update_tags(
                int(band) + 1,
                STATISTICS_APPROXIMATE="YES",
                STATISTICS_MINIMUM=f"{self.least[band]:.6g}",
                STATISTICS_MAXIMUM=f"{self.most[band]:.6g}",
                STATISTICS_MEAN=f"{mean:.6g}",
                STATISTICS_STDDEV=f"{max(square - mean**2, 0.0) ** 0.5:.6g}",
            )


@contextlib.contextmanager
def cog_writer(
    path: str | Path, grid: Grid, bands: Sequence[str], units: str, tags: Mapping[str, Any] | None = None
) -> Iterator[rasterio.io.DatasetWriter]:
    """Open a raster to be written window by window that ends as a cloud-optimised GeoTIFF.

    The windows go to a plain GeoTIFF beside it, of 4 bytes a cell and band; overviews and order are made at the end.
    """
    path = Path(path)
    with whole_or_nothing(path) as partial, rasterio.Env(GDAL_CACHEMAX=CACHE):
        plain = partial.with_name(f"{partial.stem}.plain.tif")
        try:
            with geotiff_writer(plain, grid, bands, units, tags, quick="plain") as target:
                yield target
            _copy_as_cog(plain, partial, path)
        finally:
            plain.unlink(missing_ok=True)


def _copy_as_cog(plain: Path, partial: Path, path: Path) -> None:
    try:
        rasterio.shutil.copy(
            plain,
            partial,
            driver="COG",
            compress="DEFLATE",
            level=COG_LEVEL,
            predictor="YES",
            blocksize=BLOCK,
            overview_resampling="AVERAGE",
            bigtiff="IF_SAFER",
            statistics="YES",
            num_threads=COG_THREADS,
        )
    except CPLE_BaseError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    _refuse_unfinished(partial, path)


def _refuse_unfinished(partial: Path, path: str | Path) -> None:
    """Raise when a GeoTIFF just written lacks a block, which GDAL does not report of a full disk.

    Raises
    ------
    OSError
        Naming the file that was to be.
    """
    size = partial.stat().st_size
    try:
        with rasterio.open(partial) as source:
            height, width = source.block_shapes[0]
            whole = all(
                _block_end(source, band, col, row) <= size
                for band in (source.indexes if source.interleaving.name == "band" else (1,))
                for row in range(-(-source.height // height))
                for col in range(-(-source.width // width))
            )
    except RasterioIOError:
        whole = False
    if not whole:
        raise OSError(f"{path} could not be written whole; is the disk full?")


def _block_end(source: rasterio.DatasetReader, band: int, col: int, row: int) -> float:
    offset = source.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
    length = source.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
    return int(offset) + int(length) if offset and length else float("inf")


def write_netcdf(path: str | Path, dataset: xr.Dataset) -> None:
    """Write a dataset as compressed NetCDF-4."""
    encoding = {
        str(name): {"zlib": True, "complevel": 1, "shuffle": True}
        for name, variable in dataset.data_vars.items()
        if variable.ndim >= 2 and variable.dtype.kind == "f"
    }
    with whole_or_nothing(path) as partial:
        dataset.to_netcdf(partial, engine="h5netcdf", encoding=encoding)


@contextlib.contextmanager
def open_netcdf(path: str | Path, what: str) -> Iterator[xr.Dataset]:
    """Open a NetCDF file that another stage wrote; values are read when they are used.

    Raises
    ------
    InputError
        When it is missing or no NetCDF-4; the message begins with `what`.
    """
    import xarray as xr

    if not Path(path).exists():
        raise InputError(f"{what}: {path} does not exist")
    try:
        dataset = xr.open_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise InputError(f"{what}: {path} is not a NetCDF-4 file ({error})") from None
    with dataset:
        yield dataset


def _crs_name(crs: rasterio.crs.CRS) -> str:
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(crs.to_wkt())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
