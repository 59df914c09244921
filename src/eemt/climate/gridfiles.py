"""Reading a variable's fields around a site from the user's own NetCDF files and rasters."""

from __future__ import annotations

import contextlib
import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.windows import Window

from eemt.climate.positions import Axis
from eemt.errors import InputError
from eemt.raster import open_raster

Doubles = npt.NDArray[np.float64]
Bounds = tuple[float, float, float, float]

MARGIN_CELLS = 2  # around the site, so that its edge lies between centres and sea has a neighbour
EDGE_POINTS = 21  # on each side of a box that is projected: its sides become curves
FIELDS = {"variable": ".+?", "year": r"\d{4}", "month": r"\d{1,2}"}
SPATIAL = {
    "y": ("projection_y_coordinate", "latitude", "grid_latitude", ("y", "lat", "latitude", "rlat", "northing")),
    "x": ("projection_x_coordinate", "longitude", "grid_longitude", ("x", "lon", "longitude", "rlon", "easting")),
}


@dataclass(frozen=True)
class File:
    """A file, and what its name says of it."""

    path: Path
    year: int | None = None
    month: int | None = None
    of_variable: bool = False


@dataclass(frozen=True)
class Piece:
    """What a file has of a variable: fields (time, y, x) on some cells, in the file's own unit."""

    file: File
    values: Doubles
    time: xr.DataArray | None  # dates of the fields, where the file has them
    x: Doubles
    y: Doubles
    crs: str
    units: str | None


@dataclass(frozen=True)
class Place:
    """What of a grid is wanted: the edges of a site, in their coordinate system."""

    bounds: Bounds
    crs: str

    def within(self, crs: str, near: float) -> Bounds:
        """Return the site's edges in another system, longitudes within 180 degrees of `near`."""
        west, south, east, north = self.bounds
        if west > east:
            east += 360.0
        box = Transformer.from_crs(self.crs, crs, always_xy=True).transform_bounds(
            west, south, east, north, densify_pts=EDGE_POINTS
        )
        west, south, east, north = (float(edge) for edge in box)
        if CRS.from_user_input(crs).is_geographic:
            east += 360.0 if west > east else 0.0
            turn = 360.0 * round(((west + east) / 2 - near) / 360.0)
            west, east = west - turn, east - turn
        return west, south, east, north


def files_of(patterns: Sequence[str], name: str, own: bool) -> list[File]:
    """Find the files of a variable.

    Parameters
    ----------
    patterns : sequence of str
        Paths that may hold ``*``, ``?`` and ``{variable}``, ``{year}`` and ``{month}``.
    name : str
        What stands for ``{variable}``.
    own : bool
        Whether the files hold this variable alone; with ``{variable}`` in its path a file does.

    Raises
    ------
    InputError
        When a pattern or path leads to no file.
    """
    found = []
    for pattern in patterns:
        unknown = set(re.findall(r"{(.*?)}", pattern)) - set(FIELDS)
        if unknown:
            raise InputError(
                f"climate.files: {pattern} holds {{{unknown.pop()}}}; {{variable}}, {{year}} and {{month}} are allowed"
            )
        filled = pattern.replace("{variable}", name)
        alone = own or filled != pattern
        if re.search(r"[*?{]", filled) is None:
            if not filled.startswith("/vsi") and not Path(filled).exists():
                raise InputError(f"climate.files: {filled} does not exist")
            found.append(File(Path(filled), of_variable=alone))
            continue
        found += _matching(filled, pattern, alone)
    return found


def _matching(filled: str, pattern: str, alone: bool) -> list[File]:
    names = glob.glob(re.sub(r"{(year|month)}", "*", filled), recursive=True)  # noqa: PTH207 (Path.glob is relative)
    expression = re.compile(_as_expression(filled))
    matched = [(Path(name), match) for name in sorted(names) if (match := expression.fullmatch(name))]
    if not matched:
        raise InputError(f"climate.files: no file is named as {pattern} says ({filled})")
    return [File(path, _number(match, "year"), _number(match, "month"), alone) for path, match in matched]


def _number(match: re.Match[str], name: str) -> int | None:
    return int(match.group(name)) if name in match.re.groupindex else None


def _as_expression(pattern: str) -> str:
    """Return the regular expression of a path's pattern; a field that stands twice is the same both times."""
    text, seen = "", set()
    for part in re.split(r"({\w+}|\*\*/|\*|\?)", pattern):
        name = part.strip("{}")
        if part.startswith("{"):
            text += f"(?P={name})" if name in seen else f"(?P<{name}>{FIELDS[name]})"
            seen.add(name)
        else:
            text += {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return text


def read(file: File, name: str, place: Place | None, crs: str | None) -> Piece | None:
    """Read what a file has of a variable around a site; nothing where it has not the variable.

    Raises
    ------
    InputError
        When the file cannot be read, is on no grid that is understood, or does not cover the site.
    """
    if _is_netcdf(file.path):
        return _from_netcdf(file, name, place, crs)
    return _from_raster(file, name, place, crs)


def names_in(file: File) -> list[str]:
    """List the variables of a file, for an error message."""
    if not _is_netcdf(file.path):
        return []
    with _opened(file.path) as dataset:
        return [str(name) for name, variable in dataset.data_vars.items() if variable.ndim >= 2]


def _is_netcdf(path: Path) -> bool:
    return _magic(path) in {b"\x89HDF", b"CDF\x01", b"CDF\x02", b"CDF\x05"}


def _magic(path: Path) -> bytes:
    if str(path).startswith("/vsi"):
        return b""
    with path.open("rb") as opened:
        return opened.read(4)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    engine = "h5netcdf" if _magic(path) == b"\x89HDF" else "scipy"
    try:
        dataset = xr.open_dataset(path, engine=engine, decode_times=False, decode_timedelta=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"climate.files: {path} is not a NetCDF file that can be read ({told})") from None
    with dataset:
        yield dataset


def _from_netcdf(file: File, name: str, place: Place | None, crs: str | None) -> Piece | None:
    with _opened(file.path) as dataset:
        if name not in dataset.data_vars:
            return None
        variable = dataset[name]
        what = f"climate.files: {file.path}: {name}"
        dims = {axis: _dimension(variable, axis, what) for axis in ("y", "x")}
        times = [dim for dim in variable.dims if dim not in dims.values() and _is_time(dataset, str(dim))]
        others = [dim for dim in variable.dims if dim not in {*dims.values(), *times}]
        long = [dim for dim in others if variable.sizes[dim] > 1]
        if long or len(times) > 1:
            raise InputError(f"{what} has the dimension {(long or times)[0]} too; time, y and x are allowed")
        variable = variable.squeeze(others, drop=True).transpose(*times, dims["y"], dims["x"])
        crs = crs or _crs_of(dataset, variable, dims, what)
        axes = {axis: _axis(variable[dims[axis]], crs) for axis in ("y", "x")}
        cut = _cut(axes["x"], axes["y"], crs, place, what)
        parts = [
            variable.isel({dims["y"]: cut.rows, dims["x"]: columns}).values.astype(np.float64)
            for columns in cut.columns
        ]
        values = np.concatenate(parts, axis=-1)
        time = _decoded(dataset[times[0]], what) if times and times[0] in dataset.variables else None
        units = variable.attrs.get("units")
        return Piece(file, values.reshape(-1, *values.shape[-2:]), time, cut.x, cut.y, crs, units)


def _is_time(dataset: xr.Dataset, dim: str) -> bool:
    if dim in dataset.variables:
        attrs = dataset[dim].attrs
        dated = " since " in str(attrs.get("units", ""))
        if dated or attrs.get("standard_name") == "time" or attrs.get("axis") == "T":
            return True
    return dim.lower() in {"time", "valid_time", "month", "months", "t"}


def _dimension(variable: xr.DataArray, axis: str, what: str) -> str:
    """Find the dimension along which an axis of the map runs."""
    *standard_names, names = SPATIAL[axis]
    for dim in variable.dims:
        if dim not in variable.coords:
            continue
        attrs = variable[dim].attrs
        if attrs.get("standard_name") in standard_names or attrs.get("axis") == axis.upper():
            return str(dim)
    for dim in variable.dims:
        if str(dim).lower() in names and dim in variable.coords:
            return str(dim)
    raise InputError(
        f"{what} has the dimensions {', '.join(str(dim) for dim in variable.dims)}, none of them with coordinates that "
        f"are an axis {axis}; bring it to a regular grid first"
    )


def _crs_of(dataset: xr.Dataset, variable: xr.DataArray, dims: dict[str, str], what: str) -> str:
    """Find the coordinate system: the variable's grid mapping, else that of longitudes and latitudes."""
    # xarray moves what it decodes of a variable to its encoding
    mapping = variable.attrs.get("grid_mapping") or variable.encoding.get("grid_mapping")
    only = [str(other) for other, held in dataset.variables.items() if "grid_mapping_name" in held.attrs]
    mapping = mapping or (only[0] if len(only) == 1 else None)
    if mapping and mapping in dataset.variables:
        attrs: dict[str, Any] = dict(dataset[mapping].attrs)
        try:
            for key in ("crs_wkt", "spatial_ref"):
                if key in attrs:
                    return str(CRS.from_user_input(attrs[key]).to_wkt())
            return str(CRS.from_cf({key: _plain(value) for key, value in attrs.items()}).to_wkt())
        except (CRSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{what}: its grid mapping {mapping} is not understood ({error}); give climate.crs"
            ) from None
    attrs = variable[dims["x"]].attrs
    degrees = str(attrs.get("units", "")).lower().startswith("degree")
    if degrees or attrs.get("standard_name") == "longitude" or dims["x"].lower() in {"lon", "longitude"}:
        return "EPSG:4326"
    raise InputError(f"{what} has no grid mapping that names its coordinate system; give climate.crs")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _axis(coordinate: xr.DataArray, crs: str) -> Doubles:
    """Return the centres along an axis, in the units of the coordinate system."""
    values = coordinate.values.astype(np.float64)
    kilometres = str(coordinate.attrs.get("units", "")).lower() in {"km", "kilometer", "kilometre", "kilometers"}
    projected = CRS.from_user_input(crs)
    if kilometres and projected.is_projected and projected.axis_info[0].unit_conversion_factor == 1.0:
        values *= 1000.0
    return values


def _decoded(time: xr.DataArray, what: str) -> xr.DataArray | None:
    """Return the dates of a time axis; nothing where it has none, as with the numbers 1 to 12."""
    units = str(time.attrs.get("units", ""))
    since = re.fullmatch(r"months?\s+since\s+(\d{1,4})-(\d{1,2})(-1|-01)?(\D.*)?", units)
    if since:
        first = 12 * int(since[1]) + int(since[2]) - 1
        months = first + np.floor(time.values.astype(np.float64)).astype(np.int64)
        dates = np.array([f"{month // 12:04d}-{month % 12 + 1:02d}-01" for month in months], dtype="datetime64[ns]")
        return xr.DataArray(dates, dims="time")
    if " since " not in units:
        return None
    try:
        decoded = xr.decode_cf(time.rename("time").to_dataset(name="dates"), decode_timedelta=False)["dates"]
    except (ValueError, OverflowError) as error:
        raise InputError(f"{what}: its times, {units}, are not understood ({error})") from None
    return xr.DataArray(decoded.values, dims="time")


def _from_raster(file: File, name: str, place: Place | None, crs: str | None) -> Piece | None:
    what = f"climate.files: {file.path}"
    if not file.of_variable:
        raise InputError(
            f"{what}: which variable is it? Put {{variable}} in climate.files, or name the files of each variable as "
            f"climate.variables.{name}.files"
        )
    with open_raster(file.path, "climate.files") as source:
        if crs is None and source.crs is None:
            raise InputError(f"{what} has no coordinate system; give climate.crs")
        crs = crs or str(source.crs.to_wkt())
        t = source.transform
        if t.b or t.d:
            raise InputError(f"{what} is rotated; warp it first with `gdalwarp`")
        x = t.c + t.a * (np.arange(source.width) + 0.5)
        y = t.f + t.e * (np.arange(source.height) + 0.5)
        cut = _cut(x, y, crs, place, what)
        parts = [_window(source, cut.rows, columns) for columns in cut.columns]
        units = next((unit for unit in source.units if unit), None)
        return Piece(file, np.concatenate(parts, axis=-1), None, cut.x, cut.y, crs, units)


def _window(source: rasterio.DatasetReader, rows: slice, columns: slice) -> Doubles:
    """Read part of all bands, scaled as the file says, NaN where there is no data."""
    window = Window.from_slices(rows, columns)
    values: Doubles = source.read(window=window, masked=True).astype(np.float64).filled(np.nan)
    scales, offsets = (np.array(numbers)[:, np.newaxis, np.newaxis] for numbers in (source.scales, source.offsets))
    return np.asarray(values * scales + offsets)


@dataclass(frozen=True)
class _Cut:
    """The rows and columns to read; the columns in two parts where a world's seam is crossed."""

    rows: slice
    columns: tuple[slice, ...]
    x: Doubles
    y: Doubles


def _cut(x: Doubles, y: Doubles, crs: str, place: Place | None, what: str) -> _Cut:
    """Find what of a grid lies around a site.

    Raises
    ------
    InputError
        When the grid does not cover the site; the message gives the edges of both.
    """
    columns, rows = Axis.of(x, y), Axis.of(y, x)
    geographic = CRS.from_user_input(crs).is_geographic
    turn = 360.0 * round(columns.middle / 360.0) if geographic else 0.0
    if place is None:
        return _Cut(slice(0, len(y)), (slice(0, len(x)),), x - turn, y)
    west, south, east, north = place.within(crs, columns.middle)
    around = geographic and abs(abs(columns.step) * columns.number - 360.0) < abs(columns.step) / 2
    (least_x, most_x), (least_y, most_y) = columns.edges, rows.edges
    slack_x, slack_y = abs(columns.step) * 1e-3, abs(rows.step) * 1e-3
    inside = (least_x - slack_x <= west and east <= most_x + slack_x) or around
    inside &= least_y - slack_y <= south and north <= most_y + slack_y
    if not inside:
        raise InputError(
            f"{what} covers x {least_x:.6g} to {most_x:.6g}, y {least_y:.6g} to {most_y:.6g}; the site needs "
            f"x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g}; take files that cover it"
        )
    first_row, last_row = _span(rows, south, north)
    first, last = _span(columns, west, east)
    first_row, last_row = max(first_row, 0), min(last_row, rows.number - 1)
    if not around:
        first, last = max(first, 0), min(last, columns.number - 1)
    numbers = np.arange(first, last + 1) if last - first < columns.number else np.arange(columns.number)
    seams = np.flatnonzero(np.diff(numbers // columns.number)) + 1
    parts = tuple(slice(int(p[0]), int(p[-1]) + 1) for p in np.split(numbers % columns.number, seams))
    turns = 360.0 * np.sign(columns.step) * (numbers // columns.number)
    chosen = x[numbers % columns.number] + turns
    chosen -= 360.0 * round(float(chosen.mean()) / 360.0) if geographic else 0.0
    return _Cut(slice(first_row, last_row + 1), parts, chosen, y[first_row : last_row + 1])


def _span(axis: Axis, lower: float, upper: float) -> tuple[int, int]:
    """Return the first and last cell around two coordinates, which may lie beyond the axis."""
    ends = sorted((edge - axis.first) / axis.step for edge in (lower, upper))
    return int(np.floor(ends[0])) - MARGIN_CELLS + 1, int(np.ceil(ends[1])) + MARGIN_CELLS - 1
