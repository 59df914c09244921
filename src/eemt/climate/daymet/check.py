"""What a file of daily values must be before anything is computed from it."""

from __future__ import annotations

import contextlib
import datetime
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from eemt.climate.daymet.errors import RefusedError, TransientError
from eemt.climate.daymet.grid import CELL, DAYS, FILL, VARIABLES, Region, Window, dates

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
CLASSIC_MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
ON_GRID = 50.0  # m by which a cell may be off its place: axes in kilometres come as rounded decimals
UNIT_SPELLINGS = {
    "degrees C": {"degreesc", "degc", "celsius", "c", "degree_celsius", "degrees_celsius"},
    "mm/day": {"mm/day", "mm/d", "mmday1", "mmd1", "mm"},
    "Pa": {"pa", "pascal"},
    "W/m2": {"w/m2", "wm2"},
    "s": {"s", "sec", "seconds", "s/day"},
    "kg/m2": {"kg/m2", "kgm2", "mm"},
}
_DAYS_IN = {"day": 1.0, "hour": 1 / 24, "minute": 1 / 1440, "second": 1 / 86_400}

Stream = IO[bytes] | io.RawIOBase
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class _Contents(Protocol):
    """A file's variables, whatever its format."""

    def __contains__(self, name: str) -> bool: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def attributes(self, name: str) -> Mapping[str, Any]: ...

    def values(self, name: str, at: Any = ()) -> npt.NDArray[Any]: ...


class _Hdf5:
    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def __contains__(self, name: str) -> bool:
        return isinstance(self._file.get(name), h5py.Dataset)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file[name].shape)

    def attributes(self, name: str) -> Mapping[str, Any]:
        return dict(self._file[name].attrs)

    def values(self, name: str, at: Any = ()) -> npt.NDArray[Any]:
        return np.asarray(self._file[name][at])


class _Classic:
    """NetCDF-3, as the old subset service gave it."""

    def __init__(self, content: bytes) -> None:
        from scipy.io import netcdf_file

        self._file = netcdf_file(io.BytesIO(content), "r", mmap=False)

    def __contains__(self, name: str) -> bool:
        return name in self._file.variables

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file.variables[name].shape)

    def attributes(self, name: str) -> Mapping[str, Any]:
        return dict(self._file.variables[name]._attributes)

    def values(self, name: str, at: Any = ()) -> npt.NDArray[Any]:
        variable = self._file.variables[name]
        values = variable[at] if variable.shape else variable.getValue()
        return np.array(values, dtype=np.asarray(values).dtype.newbyteorder("="))


def read_daily(source: Path | Stream, window: Window, variable: str, year: int) -> Floats:
    """Read a year's days of some cells, from a file that has them and perhaps others.

    Parameters
    ----------
    source : path or binary file
        NetCDF-4, or NetCDF-3, with axes in metres or kilometres.
    window : Window
    variable : str
    year : int

    Returns
    -------
    ndarray float32 (365, rows, columns)
        NaN where Daymet has no values, over the sea.

    Raises
    ------
    RefusedError
        When it is another kind of file, another grid, variable or year, when it does not cover the
        window, or when its values are not of this Earth.
    TransientError
        When it is broken off.
    """
    with _opened(source) as contents:
        _require(contents, variable)
        _check_projection(contents, variable)
        _check_unit(contents, variable)
        rows, cols = _place(contents, variable, window)
        _check_days(contents, year)
        stored = contents.values(variable, (slice(None), rows, cols))
        values = _cleaned(stored, contents.attributes(variable))
    check_values(values, variable)
    return values


def read_axes(source: Path | Stream, name: str, first_year: int) -> Region:
    """Read from a file where a region's cells are.

    Raises
    ------
    RefusedError, TransientError
        As `read_daily`.
    """
    with _opened(source) as contents:
        x, y = _metres(contents, "x"), _metres(contents, "y")
    if len(x) < 2 or len(y) < 2 or x[1] - x[0] != CELL or y[1] - y[0] != -CELL:
        raise RefusedError(f"has no axes of {CELL:g} m")
    return Region(name, first_year, float(x[0]), float(y[0]), len(x), len(y))


def check_kind(start: bytes) -> None:
    """Look at a file's first bytes.

    Raises
    ------
    RefusedError
        When it is no NetCDF file.
    """
    if start.startswith(HDF5_MAGIC) or start[:4] in CLASSIC_MAGIC:
        return
    if not start:
        raise TransientError("sent nothing")
    if start.lstrip()[:1] == b"<":
        title = re.search(rb"<title>\s*([^<]{1,80}?)\s*</title>", start, re.IGNORECASE)
        words = f" ({title[1].decode(errors='replace')})" if title else ""
        raise RefusedError(f"sent a web page{words} in place of the file")
    raise RefusedError(f"sent no NetCDF file but {start[:16]!r}")


@contextlib.contextmanager
def _opened(source: Path | Stream) -> Iterator[_Contents]:
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        stream.seek(0)
        start = stream.read(1024) or b""
        check_kind(start)
        stream.seek(0)
        try:
            if start.startswith(HDF5_MAGIC):
                yield _Hdf5(stack.enter_context(h5py.File(source if isinstance(source, Path) else stream, "r")))
            else:
                yield _Classic(stream.read() or b"")
        # what HDF5 and scipy raise of a file that ends too soon, depending on where
        except (OSError, KeyError, RuntimeError, ValueError, IndexError) as error:
            raise TransientError(f"sent a file that is broken off or damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _require(contents: _Contents, variable: str) -> None:
    for name in (variable, "x", "y", "time"):
        if name not in contents:
            raise RefusedError(f"sent a file without {name}")


def _place(contents: _Contents, variable: str, window: Window) -> tuple[slice, slice]:
    """Find the window's rows and columns in the file."""
    x, y = _metres(contents, "x"), _metres(contents, "y")
    shape = contents.shape(variable)
    if shape != (DAYS, len(y), len(x)):
        raise RefusedError(
            f"sent {variable} of {' x '.join(map(str, shape))} values; {DAYS} x {len(y)} x {len(x)} belong"
        )
    return _run(y, window.y, "y"), _run(x, window.x, "x")


def _run(have: Doubles, wanted: Doubles, axis: str) -> slice:
    first = int(np.argmin(np.abs(have - wanted[0])))
    found = have[first : first + len(wanted)]
    if len(found) < len(wanted) or not np.allclose(found, wanted, rtol=0, atol=ON_GRID):
        raise RefusedError(
            f"sent another grid: {len(have)} cells with {axis} {have[0]:.0f} to {have[-1]:.0f} m, "
            f"where {len(wanted)} with {wanted[0]:.0f} to {wanted[-1]:.0f} m are needed"
        )
    return slice(first, first + len(wanted))


def _metres(contents: _Contents, axis: str) -> Doubles:
    """Return an axis in metres; the subset service writes kilometres, whole files have metres."""
    values = contents.values(axis).astype(np.float64).ravel()
    unit = _text(contents.attributes(axis).get("units", ""))
    if not len(values):
        raise RefusedError(f"sent a file with no cell along {axis}")
    in_kilometres = unit in {"km", "kilometer", "kilometre", "kilometers", "kilometres"}
    if not unit and len(values) > 1:
        in_kilometres = bool(abs(values[1] - values[0]) < CELL / 10)
    return np.asarray(np.round(values * 1000.0) if in_kilometres else values)


def _check_projection(contents: _Contents, variable: str) -> None:
    name = _text(contents.attributes(variable).get("grid_mapping", "lambert_conformal_conic"))
    if name not in contents:
        return
    mapping = contents.attributes(name)
    wanted = {
        "standard_parallel": [25.0, 60.0],
        "longitude_of_central_meridian": [-100.0],
        "latitude_of_projection_origin": [42.5],
    }
    for key, value in wanted.items():
        if key in mapping and not np.array_equal(np.ravel(mapping[key]).astype(np.float64), value):
            raise RefusedError(f"sent another projection: its {key} is {mapping[key]}")


def _check_unit(contents: _Contents, variable: str) -> None:
    found = _text(contents.attributes(variable).get("units", ""))
    needed = VARIABLES[variable][0]
    if found and re.sub(r"[\s^*-]", "", found).lower() not in UNIT_SPELLINGS[needed]:
        raise RefusedError(f"sent {variable} in {found}; {needed} is needed")


def _check_days(contents: _Contents, year: int) -> None:
    """Refuse another year, and years that are whole or of another calendar."""
    stored = contents.values("time").astype(np.float64).ravel()
    unit = _text(contents.attributes("time").get("units", ""))
    parts = re.match(r"(day|hour|minute|second)s? since (\d{4})-(\d{1,2})-(\d{1,2})", unit)
    if not parts:
        raise RefusedError(f"sent times in {unit!r}")
    origin = datetime.date(int(parts[2]), int(parts[3]), int(parts[4])).toordinal()
    found = np.floor(stored * _DAYS_IN[parts[1]] + origin + 1e-6).astype(np.int64)
    wanted = np.array([day.toordinal() for day in dates(year)])
    if len(found) != DAYS:
        raise RefusedError(f"sent {len(found)} days; a year of Daymet has {DAYS}")
    if not np.array_equal(found, wanted):
        wrong = int(np.flatnonzero(found != wanted)[0])
        raise RefusedError(
            f"sent {datetime.date.fromordinal(max(int(found[wrong]), 1))} as day {wrong + 1} of {year}, "
            f"which is {dates(year)[wrong]}"
        )


def _cleaned(stored: npt.NDArray[Any], attributes: Mapping[str, Any]) -> Floats:
    values = stored.astype(np.float32)
    fills = [FILL, *(attributes[key] for key in ("_FillValue", "missing_value") if key in attributes)]
    values[np.isin(values, np.array([np.ravel(fill)[0] for fill in fills], dtype=np.float32))] = np.nan
    return values


def check_values(values: Floats, variable: str) -> None:
    """Look whether days (365, rows, columns) can be of this Earth.

    Raises
    ------
    RefusedError
        When they cannot, or when a cell has values on some days only.
    """
    known = np.isfinite(values)
    if not known.any():
        return
    if bool((known.any(axis=0) != known.all(axis=0)).any()):
        raise RefusedError(f"sent {variable} with holes: cells that have values on some days only")
    unit, least, most = VARIABLES[variable]
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    if lowest < least or highest > most:
        raise RefusedError(
            f"sent {variable} of {lowest:g} to {highest:g} {unit}, where {least:g} to {most:g} is possible"
        )
    # parts of a file that were never written read as zeros
    if variable in {"tmin", "tmax", "vp"} and bool((np.ptp(values, axis=0) == 0).any()):
        raise RefusedError(f"sent {variable} that is the same on every day of the year in some cell")


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode() if isinstance(value, bytes) else str(value)
