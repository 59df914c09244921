"""Months of climate as plain arrays, which load in no time: what `eemt transfer` reads.

The rest of the package has climate as xarray does; `Months.of` takes that as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5netcdf
import numpy as np
import numpy.typing as npt

from eemt.cf import Field, sizes_of
from eemt.climate.monthly import year_label
from eemt.climate.source import VARIABLES
from eemt.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BOUNDS = ("time_bnds", "climatology_bounds")
STORED = {"_FillValue", "missing_value", "scale_factor", "add_offset"}  # attributes that say how numbers are stored
PACKING = {"scale_factor": 1.0, "add_offset": 0.0}
STEPS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}  # s
CALENDARS = ("standard", "gregorian", "proleptic_gregorian")  # which are one since 1582


@dataclass(frozen=True)
class Months:
    """Months of climate, see `eemt.climate.source`.

    Attributes
    ----------
    fields : mapping of str to Field
        Variables and coordinates; times are datetime64.
    attrs : mapping
        What is said of all of them.
    """

    fields: Mapping[str, Field]
    attrs: Mapping[str, Any]

    @classmethod
    def of(cls, climate: Months | xr.Dataset) -> Months:
        """Take climate as xarray has it, or as it is."""
        if isinstance(climate, Months):
            return climate
        fields = {
            str(name): Field(variable.values, tuple(map(str, variable.dims)), variable.attrs)
            for name, variable in climate.variables.items()
        }
        return cls(fields, climate.attrs)

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths by dimension."""
        return sizes_of(self.fields)

    @property
    def labels(self) -> list[str]:
        """Names of the years, or of the period, in their order."""
        if "period" in self.attrs:
            return [str(self.attrs["period"])]
        years = self["time"].values[::12].astype("datetime64[Y]").astype(np.int64) + 1970
        return [year_label(int(year)) for year in years]

    def year(self, number: int) -> Months:
        """Return the twelve months of one of the years, counted from 0."""
        cut = slice(12 * number, 12 * number + 12)
        fields = {
            name: Field(
                field.values[tuple(cut if dim == "time" else slice(None) for dim in field.dims)],
                field.dims,
                field.attrs,
            )
            for name, field in self.fields.items()
        }
        return Months(fields, self.attrs)


def read_months(path: str | Path, what: str = "climate") -> Months:
    """Read what `eemt climate` wrote.

    Raises
    ------
    InputError
        When it is missing, no NetCDF-4, or without a variable that is needed; the message begins with `what`.
    """
    if not Path(path).exists():
        raise InputError(f"{what}: {path} does not exist")
    try:
        with h5netcdf.File(path, "r") as file:
            absent = [name for name in (*VARIABLES, "elevation", "time") if name not in file.variables]
            if absent:
                raise InputError(f"{what}: {path} has no {absent[0]}; give a file that `eemt climate` wrote")
            fields = {name: _field(name, file) for name in file.variables}
            return Months(fields, dict(file.attrs))
    except (OSError, ValueError) as error:
        raise InputError(f"{what}: {path} is not a NetCDF-4 file ({error})") from None


def _field(name: str, file: h5netcdf.File) -> Field:
    """Read a variable; times are brought to datetime64, numbers to what they are stored for."""
    variable = file.variables[name]
    attrs = dict(variable.attrs)
    if name == "time" or name in BOUNDS:
        # bounds may leave to the times how they count
        counted = attrs if "units" in attrs else file.variables["time"].attrs
        values = _dated(variable[...], str(counted["units"]), str(counted.get("calendar", "standard")))
    else:
        values = _unpacked(np.asarray(variable[...]), attrs)
    told = {key: value for key, value in attrs.items() if key not in STORED}
    if values.dtype.kind == "M":
        told = {key: value for key, value in told.items() if key not in {"units", "calendar", "coordinates"}}
    return Field(values, tuple(variable.dimensions), told)


def _dated(numbers: npt.NDArray[Any], units: str, calendar: str) -> npt.NDArray[np.datetime64]:
    word, _, since = units.partition(" since ")
    if word not in STEPS or calendar not in CALENDARS:
        raise ValueError(f"its times are in {units!r} of the calendar {calendar!r}")
    start = np.datetime64(since.strip().replace(" ", "T"), "s")
    steps = np.rint(np.asarray(numbers, dtype=np.float64) * STEPS[word]).astype("timedelta64[s]")
    return np.asarray(start + steps)


def _unpacked(values: npt.NDArray[Any], attrs: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Undo how other programs may have packed the numbers."""
    if values.dtype.kind not in "fiu":
        return values
    for key in ("_FillValue", "missing_value"):
        mark = np.ravel(attrs[key])[0] if key in attrs else np.nan
        if not np.isnan(mark):
            values = np.where(values == mark, np.nan, values.astype(np.result_type(values, np.float32)))
    if "scale_factor" in attrs or "add_offset" in attrs:
        scale, offset = (float(np.ravel(attrs.get(key, given))[0]) for key, given in PACKING.items())
        values = values.astype(np.float64) * scale + offset
    return values
