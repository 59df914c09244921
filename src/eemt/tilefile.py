"""The NetCDF file of one tile of `eemt transfer`: laid out first, then filled chunk by chunk.

Chunks are compressed outside the HDF5 library, which has one thread for everything, by the same
lossless filters that it would call, so that any reader of NetCDF-4 opens the file.
"""

from __future__ import annotations

import contextlib
import functools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import numpy.typing as npt

from eemt.cf import Field, sizes_of
from eemt.raster import whole_or_nothing

CHUNK_CELLS = 65_536
ZLIB_HEADER = b"\x78\x01"  # RFC 1950: deflate, a window of 32 KiB, the quickest level
SAMPLE = 13  # one byte in so many is looked at
EVENLY = 1 / 235  # chance that two bytes are equal, of noise 1/256, above which compression saves over 1 %
CALENDAR = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}
BOUNDS = "time_bnds"  # whose numbers are those of the times
Where = tuple[str, int, int]  # variable, time, first row


class TileFile:
    """A file that is being filled.

    Parameters
    ----------
    file : h5py.File
    rows : int
        Height of a chunk.
    """

    def __init__(self, file: h5py.File, rows: int) -> None:
        self._file = file
        self._open: dict[str, Any] = {}
        self.rows = rows

    def put(self, where: Where, chunk: bytes) -> None:
        """Write what `packed` made of a chunk."""
        name, time, row = where
        if name not in self._open:
            self._open[name] = self._file[name].id  # looking it up takes as long as writing
        self._open[name].write_direct_chunk((time, row, 0), chunk)

    def note(self, name: str, at: int, value: int) -> None:
        """Write one number of a short variable."""
        self._file[name][at] = value


def chunk_rows(height: int, width: int) -> int:
    """Return the height of the chunks of a tile, each as wide as the tile."""
    return min(height, max(1, CHUNK_CELLS // width))


def packed(values: npt.NDArray[np.float32], rows: int) -> bytes:
    """Compress a chunk as the filters shuffle and deflate do, filled up where it is less than `rows` high."""
    if values.shape[0] < rows:
        values = np.concatenate([values, np.full((rows - values.shape[0], values.shape[1]), np.nan, np.float32)])
    words = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    first = int(words.flat[0])
    return _of_one_value(first, words.size) if (words == first).all() else _deflated(words)


@functools.lru_cache(maxsize=16)
def _of_one_value(word: int, size: int) -> bytes:
    # months without growth or water are zero all over
    return _deflated(np.full(size, word, dtype="<u4"))


def _deflated(words: npt.NDArray[np.uint32]) -> bytes:
    """Compress numbers byte by byte: all their first bytes, then all their second ones and so on."""
    planes = words.view(np.uint8).reshape(-1, words.itemsize).T
    shuffled = planes.tobytes()
    parts = [ZLIB_HEADER]
    size = words.size
    for number in range(len(planes)):
        plane = memoryview(shuffled)[number * size : (number + 1) * size]
        level = 0 if _is_noise(plane) else 1
        # bytes of floats repeat themselves at once or not at all: twice as fast as looking back further, and as small
        deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
        last = number == len(planes) - 1
        parts += [deflate.compress(plane), deflate.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)]
    return b"".join([*parts, zlib.adler32(shuffled).to_bytes(4, "big")])


def _is_noise(plane: memoryview) -> bool:
    """Say whether bytes are so evenly spread, as the last ones of floats are, that they are better left as they are."""
    some = np.bincount(np.frombuffer(plane, np.uint8)[::SAMPLE], minlength=256)
    return bool(some @ some < EVENLY * int(some.sum()) ** 2)


@dataclass(frozen=True)
class Frame:
    """All of a file but its maps: coordinates, short variables and attributes; times are datetime64."""

    fields: Mapping[str, Field]
    attrs: Mapping[str, Any]

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths by dimension."""
        return sizes_of(self.fields)


@contextlib.contextmanager
def tile_file(path: Path, frame: Frame, layers: Mapping[str, Mapping[str, Any]], rows: int) -> Iterator[TileFile]:
    """Lay out a file and open it to be filled; it appears when the block ends.

    Parameters
    ----------
    path : path
    frame : Frame
    layers : mapping
        Attributes of the variables float32 (time, y, x) that are to be filled.
    rows : int
        Height of their chunks, see `chunk_rows`.
    """
    with whole_or_nothing(path) as partial:
        with h5netcdf.File(partial, "w") as file:
            file.dimensions = frame.sizes
            for name, field in frame.fields.items():
                _lay_out(file, name, field)
            file.attrs.update(frame.attrs)
            for name, attributes in layers.items():
                variable = file.create_variable(
                    name,
                    ("time", "y", "x"),
                    "<f4",
                    fillvalue=np.float32(np.nan),
                    chunks=(1, rows, frame.sizes["x"]),
                    compression="gzip",
                    compression_opts=1,
                    shuffle=True,
                )
                variable.attrs.update(attributes)
        with h5py.File(partial, "r+") as opened:
            yield TileFile(opened, rows)


def _lay_out(file: h5netcdf.File, name: str, field: Field) -> None:
    values, attributes = field.values, dict(field.attrs)
    if values.dtype.kind == "M":
        values = values.astype("datetime64[D]").astype(np.int64)
        if name != BOUNDS:
            attributes |= CALENDAR
    missing = np.nan if values.dtype.kind == "f" else None
    variable = file.create_variable(name, field.dims, values.dtype, data=values, fillvalue=missing)
    variable.attrs.update(attributes)
