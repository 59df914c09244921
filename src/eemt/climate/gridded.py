"""Climate of the user's own grids: NetCDF or rasters, of months or days, anywhere on Earth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import CRS

from eemt.climate import elevation as heights
from eemt.climate.gridfiles import Bounds, File, Piece, Place, files_of, names_in, read
from eemt.climate.monthly import coordinates, days_in_months, of_days, year_label
from eemt.climate.source import DEW_POINT_ESTIMATE, OPTIONAL, attributes, validate
from eemt.climate.units import conversion
from eemt.config import GridVariable
from eemt.constants import MONTH_LENGTHS
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError
from eemt.grid import Grid

Doubles = npt.NDArray[np.float64]
Days = npt.NDArray[np.int64]

MOIST = ("vp", "tdew", "rh")  # in the order that vapour pressure is best had from
DAYS_MISSING = 3  # that a month of daily values may lack, as the calendars of climate models do
NAMED_FILES = 3  # in the provenance; more are counted


class GridSource:
    """Monthly climate from the user's own grids, NetCDF or anything that GDAL reads.

    Parameters
    ----------
    files : sequence of str
        Paths that may hold ``*``, ``{variable}``, ``{year}`` and ``{month}``.
    variables : mapping
        Our names, to those in the files with their units; see `eemt.config.GridVariable`. A variable
        that it lacks is looked for under our own name.
    years : (int, int), optional
        First and last year.
    normals_period : (int, int), optional
        First and last year that twelve fields are the mean of; where the files hold these years
        month by month, or day by day, their mean is taken.
    elevation_file : path, optional
        Elevation that the values belong to [m], any raster.
    bounds : (float, float, float, float), optional
        West, south, east and north edges of the site; without, and without `dem`, the whole grid is taken.
    bounds_crs : str
        Coordinate system of `bounds`.
    crs : str, optional
        Coordinate system of the grid, where the files do not say.
    dem : (ndarray, Grid), optional
        Elevation of the site [m], whose mean over each cell is the last resort for the elevation.
    full_months : bool
        Whether sums of days are scaled to months of full length, where the files' calendar lacks days.
    """

    def __init__(
        self,
        files: str | Sequence[str],
        *,
        variables: Mapping[str, Any] | None = None,
        years: tuple[int, int] | None = None,
        normals_period: tuple[int, int] | None = None,
        elevation_file: str | Path | None = None,
        bounds: Bounds | None = None,
        bounds_crs: str = "EPSG:4326",
        crs: str | None = None,
        dem: tuple[npt.NDArray[np.float32], Grid] | None = None,
        full_months: bool = False,
    ) -> None:
        self.files = (files,) if isinstance(files, str) else tuple(files)
        self.variables = {name: GridVariable.model_validate(given) for name, given in (variables or {}).items()}
        self.years, self.normals_period = years, normals_period
        self.elevation_file, self.crs, self.dem = elevation_file, crs, dem
        self.full_months = full_months
        self.place = Place(bounds, bounds_crs) if bounds else Place(dem[1].bounds, dem[1].crs) if dem else None

    def monthly(self) -> xr.Dataset:
        """Return the months around the site, on the grid's own cells; see `eemt.climate.source`.

        Raises
        ------
        InputError
            When files, variables, years or months are missing, a unit is not understood, the grid
            does not cover the site or is not the same for all variables.
        """
        needed = {name: self._series(name) for name in ("tmin", "tmax", "prcp")}
        optional = {name: found for name in OPTIONAL if (found := self._if_there(name))}
        moist = next((name for name in MOIST if name in self.variables), "vp")
        moisture = self._if_there(moist)
        series = {**needed, **optional, **({moist: moisture} if moisture else {})}
        _refuse_different_cells(series)
        labels = self._labels()
        months = {name: self._months(name, one, labels) for name, one in series.items()}
        variables = {name: months[name] for name in (*needed, *optional)}
        variables["vp"], origin = _vapour_pressure(months, moist if moisture else None)
        dataset = self._dataset(variables, needed["tmin"].pieces[0], labels)
        if origin == DEW_POINT_ESTIMATE:
            dataset["vp"].attrs["estimated"] = DEW_POINT_ESTIMATE
        dataset.attrs["vapour_pressure"] = "of the grid" if origin == "vp" else f"estimated {origin}"
        counted = [one.counted for one in series.values() if one.counted]
        if counted:
            of_all = np.min([[days[label] for label in labels] for days in counted], axis=0).ravel()
            about = {"long_name": "days that the month's values are of", "units": "1"}
            dataset["days_counted"] = ("time", of_all.astype(np.int32), about)
        dataset.attrs |= self._provenance(series)
        return validate(dataset, "climate")

    def _labels(self) -> list[int]:
        """Return the years to give, or the year zero for normals."""
        if self.normals_period:
            return [0]
        if self.years is None:
            raise InputError("climate: needs years or normals_period")
        return list(range(self.years[0], self.years[1] + 1))

    def _setting(self, name: str) -> GridVariable:
        return self.variables.get(name) or GridVariable()

    def _if_there(self, name: str) -> _Series | None:
        """Read what is optional where it is named, or where NetCDF files have it under our own name."""
        if name in self.variables:
            return self._series(name)
        patterns = [pattern for pattern in self.files if "{variable}" not in pattern]
        files = [file for file in files_of(patterns, name, own=False) if self._wanted(file)]
        pieces = self._pieces([file for file in files if names_in(file)], name)
        return _Series(name, pieces) if pieces else None

    def _series(self, name: str) -> _Series:
        """Read a variable from all files that have it.

        Raises
        ------
        InputError
            When none has it.
        """
        setting = self._setting(name)
        own = setting.name or name
        files = files_of(setting.files or self.files, own, own=bool(setting.files))
        wanted = [file for file in files if self._wanted(file)]
        pieces = self._pieces(wanted or files[-1:], own)
        if not pieces:
            there = sorted({found for file in wanted for found in names_in(file)})
            alone = "; a mean temperature does not do" if name in {"tmin", "tmax"} else ""
            raise InputError(
                f"climate: the files have no variable {own} for {name}{alone}; they have {', '.join(there) or 'none'}; "
                f"name it as climate.variables.{name}.name"
            )
        return _Series(name, pieces)

    def _wanted(self, file: File) -> bool:
        first, last = self.years or self.normals_period or (0, 9999)
        return file.year is None or first <= file.year <= last

    def _pieces(self, files: list[File], name: str) -> list[Piece]:
        return [piece for file in files if (piece := read(file, name, self.place, self.crs))]

    def _months(self, name: str, series: _Series, years: list[int]) -> Doubles:
        """Return a variable's months in our unit (12 for each year, rows, columns)."""
        setting = self._setting(name)
        units = setting.units or series.pieces[0].units
        if units is None:
            raise InputError(
                f"climate.variables.{name}.units: the files do not say what {name} is measured in; give it"
            )
        theirs = conversion(name, units)
        scale = theirs.scale * setting.scale
        offset = theirs.scale * setting.offset + theirs.offset
        if series.dated:
            return self._of_dated(series, years, (scale, offset, theirs.a_day))
        if self.normals_period and any(piece.file.year for piece in series.pieces):
            years = list(range(self.normals_period[0], self.normals_period[1] + 1))
        values = series.twelve(years) * scale + offset
        if theirs.a_day:
            lengths = [days_in_months(str(year)) if year else np.array(MONTH_LENGTHS) for year in years]
            values *= np.concatenate(lengths)[:, np.newaxis, np.newaxis]
        return values.reshape(-1, 12, *values.shape[1:]).mean(axis=0) if self.normals_period else values

    def _of_dated(self, series: _Series, years: list[int], linear: tuple[float, float, bool]) -> Doubles:
        if self.normals_period:
            first, last = self.normals_period
            if series.is_climatology(first, last):
                return self._normals(series, linear)
            period = list(range(first, last + 1))
            every = np.stack([self._of_year(series, year, linear) for year in period])
            if series.counted:
                series.counted[0] = np.min([series.counted[year] for year in period], axis=0)
            return np.asarray(every.mean(axis=0))
        return np.concatenate([self._of_year(series, year, linear) for year in years])

    def _normals(self, series: _Series, linear: tuple[float, float, bool]) -> Doubles:
        scale, offset, a_day = linear
        months = series.values.sortby(series.values["time"].dt.month).values * scale + offset
        return np.asarray(months * np.array(MONTH_LENGTHS)[:, np.newaxis, np.newaxis] if a_day else months)

    def _of_year(self, series: _Series, year: int, linear: tuple[float, float, bool]) -> Doubles:
        """Return the months of a year, from months or from days."""
        scale, offset, a_day = linear
        name, total = series.name, series.name == "prcp"
        fields = series.of_year(year) * scale + offset
        month = fields["time"].dt.month.values
        missing = sorted(set(range(1, 13)) - {int(m) for m in month})
        if missing:
            raise InputError(f"climate: {name} of {year} has no month {missing[0]} in {series.where}")
        lengths = days_in_months(str(year))
        if len(month) == 12:
            values = fields.sortby("time").values
            return np.asarray(values * lengths[:, np.newaxis, np.newaxis] if a_day else values)
        try:
            values, counted = of_days(fields, total, self.full_months)
        except ValueError as error:
            raise InputError(
                f"climate: {name} in {series.where}: {error}; fields of months or of days are needed"
            ) from None
        short = np.flatnonzero(counted < lengths - DAYS_MISSING)
        if len(short):
            m = int(short[0])
            days = f"{counted[m]} of the {lengths[m]} days of month {m + 1}"
            raise InputError(f"climate: {name} of {year} has {days} in {series.where}")
        series.counted[year] = counted
        return values

    def _dataset(self, variables: dict[str, Doubles], like: Piece, years: list[int]) -> xr.Dataset:
        geographic = CRS.from_user_input(like.crs).is_geographic
        mapping = CRS.from_user_input(like.crs).to_cf() | {"crs_name": like.crs}
        elevation, origin = self._elevation(like)
        spans = [self.normals_period] if self.normals_period else [(year, None) for year in years]
        parts = []
        for number, span in enumerate(spans):
            times = coordinates(*span)
            fields = {
                name: (
                    ("time", "y", "x"),
                    values[12 * number : 12 * number + 12].astype(np.float32),
                    attributes(name) | {"grid_mapping": "crs"},
                )
                for name, values in variables.items()
            }
            time = times.pop("time")
            parts.append(xr.Dataset({**fields, **times}, coords={"time": time}))
        dataset = xr.concat(parts, dim="time", data_vars="minimal", coords="minimal", compat="equals", join="exact")
        kind = {"y": "latitude", "x": "longitude"} if geographic else {}
        units = {"y": "degrees_north", "x": "degrees_east"} if geographic else {"y": "m", "x": "m"}
        about = {
            axis: {"units": units[axis], "standard_name": kind.get(axis, f"projection_{axis}_coordinate")}
            for axis in ("y", "x")
        }
        height = {
            "units": "m",
            "standard_name": "surface_altitude",
            "long_name": "elevation that the values belong to",
            "source": origin,
            "grid_mapping": "crs",
        }
        dataset["elevation"] = (("y", "x"), elevation.astype(np.float32), height)
        dataset.attrs["elevation_source"] = origin
        return dataset.assign_coords(
            y=("y", like.y, about["y"]), x=("x", like.x, about["x"]), crs=((), np.int32(0), mapping)
        )

    def _elevation(self, like: Piece) -> tuple[Doubles, str]:
        """Find the elevation that the values belong to, and say where it is from."""
        if self.elevation_file:
            values = heights.elevation_from_file(self.elevation_file, like.x, like.y, like.crs)
            return values, heights.FROM_FILE.format(Path(self.elevation_file).name)
        own = self._if_there("elevation")
        if own:
            _refuse_different_cells({"tmin": _Series("tmin", [like]), "elevation": own})
            setting = self._setting("elevation")
            theirs = conversion("elevation", setting.units or own.pieces[0].units or "m")
            field = own.pieces[0].values[0]
            return theirs.scale * (setting.scale * field + setting.offset) + theirs.offset, heights.OWN
        if self.dem is None:
            raise InputError("climate: the elevation of the grid is not known; give climate.elevation_file")
        return heights.elevation_on(like.x, like.y, like.crs, *self.dem), heights.FROM_SITE

    def _provenance(self, series: dict[str, _Series]) -> dict[str, str]:
        names = sorted({piece.file.path.name for one in series.values() for piece in one.pieces})
        more = f" and {len(names) - NAMED_FILES} more" if len(names) > NAMED_FILES else ""
        digest = hashlib.sha256()
        for one in series.values():
            for piece in one.pieces:
                digest.update(np.ascontiguousarray(piece.values).tobytes())
        sums = "precipitation scaled to the full month" if self.full_months else "precipitation as counted"
        daily = any(one.counted for one in series.values())
        return {
            "Conventions": "CF-1.8",
            "title": "Monthly climate of a grid",
            "source": f"grid files {', '.join(names[:NAMED_FILES])}{more}",
            "values_sha256": digest.hexdigest(),
            **({"calendar": f"means over the days counted, {sums}"} if daily else {}),
            **({"period": year_label(*self.normals_period)} if self.normals_period else {}),
        }


@dataclass
class _Series:
    """A variable's fields from all files that have it, and the days counted of each year."""

    name: str
    pieces: list[Piece]

    def __post_init__(self) -> None:
        self.counted: dict[int, Days] = {}
        first = self.pieces[0]
        for piece in self.pieces[1:]:
            if not _same_cells(first, piece) or piece.units != first.units:
                raise InputError(f"climate: {piece.file.path} has other cells or units than {first.file.path}")
        self.values: Any = self._dated() if self.dated else None

    @property
    def dated(self) -> bool:
        """Whether the fields have dates of their own."""
        return all(piece.time is not None for piece in self.pieces)

    @property
    def where(self) -> str:
        """Name the files."""
        first, last = self.pieces[0].file.path, self.pieces[-1].file.path
        return str(first) if first == last else f"{first} to {last}"

    def _dated(self) -> Any:
        parts = [
            xr.DataArray(piece.values, dims=("time", "y", "x"), coords={"time": piece.time.values})
            for piece in self.pieces
            if piece.time is not None
        ]
        return parts[0] if len(parts) == 1 else xr.concat(parts, dim="time")

    def is_climatology(self, first: int, last: int) -> bool:
        """Say whether the fields are twelve, one a month, for a period of more than a year."""
        months = sorted(int(month) for month in self.values["time"].dt.month.values)
        return months == list(range(1, 13)) and first != last

    def of_year(self, year: int) -> Any:
        """Return the fields of one year."""
        own = self.values["time"].dt.year.values
        if not (own == year).any():
            have = sorted({int(y) for y in own})
            raise InputError(f"climate.years: {year} is not in {self.where}, which has {have[0]} to {have[-1]}")
        return self.values.isel(time=own == year)

    def twelve(self, years: list[int]) -> Doubles:
        """Return the months of fields without dates, which files' names or their order tell."""
        return np.concatenate([self._twelve_of(year) for year in years])

    def _twelve_of(self, year: int) -> Doubles:
        pieces = [piece for piece in self.pieces if piece.file.year in {None, year or piece.file.year}]
        if year and any(piece.file.year is None for piece in pieces):
            raise InputError(
                f"climate: {self.where} has no dates; put {{year}} in climate.files where its files' names tell it, "
                "or give climate.normals_period for normals"
            )
        if not pieces:
            have = sorted({piece.file.year for piece in self.pieces if piece.file.year is not None})
            raise InputError(f"climate.years: {year} is not in {self.where}, which has {have[0]} to {have[-1]}")
        by_month: dict[int, Doubles] = {}
        for piece in pieces:
            months = [piece.file.month] if piece.file.month else list(range(1, 13))
            if len(piece.values) != len(months):
                raise InputError(
                    f"climate: {piece.file.path} has {len(piece.values)} fields of {self.name}; "
                    f"{'one for its month' if piece.file.month else 'twelve, one a month,'} is expected"
                )
            for month, field in zip(months, piece.values, strict=True):
                if month in by_month or not 1 <= month <= 12:
                    raise InputError(
                        f"climate: {piece.file.path}: month {month} of {self.name} stands twice or is none"
                    )
                by_month[month] = field
        missing = sorted(set(range(1, 13)) - set(by_month))
        if missing:
            of_year = f" of {year}" if year else ""
            raise InputError(f"climate: {self.name}{of_year} has no month {missing[0]} in {self.where}")
        return np.stack([by_month[month] for month in range(1, 13)])


def _vapour_pressure(months: dict[str, Doubles], known_from: str | None) -> tuple[Doubles, str]:
    """Return vapour pressure [Pa], and what it is from.

    From relative humidity as FAO-56 (Eq 19) has it: the mean saturation at the minimum and the
    maximum temperature times the mean humidity.
    """
    if known_from == "vp":
        return months["vp"], "vp"
    if known_from == "tdew":
        return np.asarray(1000.0 * saturation_vapour_pressure(months["tdew"])), "from the dew point of the grid"
    low, high = (np.asarray(1000.0 * saturation_vapour_pressure(months[name])) for name in ("tmin", "tmax"))
    if known_from == "rh":
        return months["rh"] / 100.0 * (low + high) / 2.0, "from the relative humidity of the grid"
    return low, DEW_POINT_ESTIMATE


def _refuse_different_cells(series: dict[str, _Series]) -> None:
    first = series["tmin"].pieces[0]
    for one in series.values():
        if not _same_cells(first, one.pieces[0]):
            raise InputError(
                f"climate: {one.name} in {one.pieces[0].file.path} is on other cells than tmin in {first.file.path}; "
                "bring them to one grid first"
            )


def _same_cells(one: Piece, other: Piece) -> bool:
    if one.x.shape != other.x.shape or one.y.shape != other.y.shape:
        return False
    near = 1e-3 * max(abs(np.diff(one.x, append=one.x[-1])).max(), 1e-9)
    same = np.abs(one.x - other.x).max() <= near and np.abs(one.y - other.y).max() <= near
    return bool(same) and CRS.from_user_input(one.crs) == CRS.from_user_input(other.crs)
