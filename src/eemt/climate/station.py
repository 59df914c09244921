"""Climate of one station: a table of months, or of the normals of a period.

Rasmussen et al. (2015) force EEMT in this way: a base station, carried to each cell by lapse rates.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eemt.climate.monthly import coordinates, year_label
from eemt.climate.source import VARIABLES, attributes, validate
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError

COLUMNS = {"tmin_degC": "tmin", "tmax_degC": "tmax", "prcp_mm": "prcp"}
OPTIONAL = {"vp_Pa": "vp"}
DEW_POINT_ESTIMATE = "from the minimum temperature as dew point"


class StationSource:
    """A station's table of monthly climate.

    Parameters
    ----------
    path : path
        See `read_table`.
    elevation : float
        Of the station [m].
    latitude, longitude : float
        Of the station [degrees north, east].
    years : (int, int), optional
        First and last year, for a table with a column ``year``.
    normals_period : (int, int), optional
        First and last year that a table of normals is the mean of.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        elevation: float,
        latitude: float,
        longitude: float,
        years: tuple[int, int] | None = None,
        normals_period: tuple[int, int] | None = None,
    ) -> None:
        self.path = Path(path)
        self.elevation = elevation
        self.latitude = latitude
        self.longitude = longitude
        self.years = years
        self.normals_period = normals_period

    def monthly(self) -> xr.Dataset:
        """Return the months as a dataset of one cell at the station; see `eemt.climate.source`.

        Raises
        ------
        InputError
            When the table cannot be used or lacks a year that is asked for.
        """
        table = read_table(self.path)
        if self.normals_period:
            if "year" in table:
                raise InputError(
                    f"climate: {self.path} has a column year; give climate.years instead of normals_period"
                )
            parts = [self._dataset(table, *self.normals_period)]
        else:
            parts = [self._dataset(table[table["year"] == year], year) for year in self._available_years(table)]
        dataset = xr.concat(parts, dim="time", data_vars="minimal", coords="minimal", compat="equals", join="exact")
        dataset.attrs = self._provenance("vp" in table)
        return validate(dataset, f"climate: {self.path}")

    def _available_years(self, table: pd.DataFrame) -> range:
        if "year" not in table:
            raise InputError(
                f"climate: {self.path} has no column year: these are normals; give climate.normals_period, not years"
            )
        have = sorted(set(table["year"]))
        first, last = self.years or (have[0], have[-1])
        if first > last:
            raise InputError(f"climate.years: runs backwards, from {first} to {last}; write the earlier year first")
        missing = [year for year in range(first, last + 1) if year not in have]
        if missing:
            raise InputError(f"climate.years: {missing[0]} is not in {self.path}, which has {_spans(have)}")
        return range(first, last + 1)

    def _dataset(self, table: pd.DataFrame, first: int, last: int | None = None) -> xr.Dataset:
        rows = table.sort_values("month")
        known = {name: rows[column].to_numpy() for column, name in (COLUMNS | OPTIONAL).items() if column in rows}
        if "vp" not in known:
            known["vp"] = 1000.0 * np.asarray(saturation_vapour_pressure(known["tmin"]))
        shape = (12, 1, 1)
        times = coordinates(first, last)
        time = times.pop("time")
        variables = {
            name: (
                ("time", "y", "x"),
                known[name].astype(np.float64).reshape(shape),
                attributes(name) | {"grid_mapping": "crs"},
            )
            for name in VARIABLES
        }
        if "vp_Pa" not in rows:
            variables["vp"][2]["estimated"] = DEW_POINT_ESTIMATE
        height = {"units": "m", "standard_name": "surface_altitude", "long_name": "elevation of the station"}
        return xr.Dataset(
            {**variables, "elevation": (("y", "x"), [[float(self.elevation)]], height), **times},
            coords={
                "time": time,
                "y": ("y", [float(self.latitude)], {"units": "degrees_north", "standard_name": "latitude"}),
                "x": ("x", [float(self.longitude)], {"units": "degrees_east", "standard_name": "longitude"}),
                "crs": ((), 0, {"grid_mapping_name": "latitude_longitude", "crs_name": "EPSG:4326"}),
            },
        )

    def _provenance(self, vapour_pressure_known: bool) -> dict[str, str]:
        known = {
            "Conventions": "CF-1.8",
            "title": "Monthly climate of a station",
            "source": f"station table {self.path.name}",
            "source_sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "vapour_pressure": "of the table" if vapour_pressure_known else f"estimated {DEW_POINT_ESTIMATE}",
        }
        return known | ({"period": year_label(*self.normals_period)} if self.normals_period else {})


def read_table(path: str | Path) -> pd.DataFrame:
    """Read and check a station's table.

    A CSV file, lines that begin with ``#`` being comments, with the columns ``month`` (1 to 12),
    ``tmin_degC``, ``tmax_degC``, ``prcp_mm``, and where they are known ``year`` and ``vp_Pa``;
    others are left aside.

    Returns
    -------
    DataFrame
        Sorted by year and month, all numbers.

    Raises
    ------
    InputError
        One line that says what is wrong and where.
    """
    what = f"climate: {path}"
    try:
        text = pd.read_csv(path, comment="#", dtype=str, skipinitialspace=True)
    except FileNotFoundError:
        raise InputError(f"{what} does not exist") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{what} is not a CSV table: {' '.join(str(error).split())}") from None
    text.columns = text.columns.str.strip()
    missing = [name for name in ("month", *COLUMNS) if name not in text]
    if missing:
        raise InputError(f"{what} has no column {missing[0]}; it has {', '.join(text.columns)}")
    wanted = [name for name in ("year", "month", *COLUMNS, *OPTIONAL) if name in text]
    table = pd.DataFrame({name: _numbers(text, name, what) for name in wanted})
    _check_months(table, what)
    _check_values(table, what)
    return table.sort_values([name for name in ("year", "month") if name in table], ignore_index=True)


def _numbers(text: pd.DataFrame, name: str, what: str) -> pd.Series[Any]:
    numbers = pd.to_numeric(text[name], errors="coerce").astype(float)
    wrong = ~np.isfinite(numbers)
    whole = name in {"year", "month"}
    if whole:
        wrong |= numbers != numbers.round()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        found = text[name].iloc[row]
        shown = "empty" if pd.isna(found) else repr(found)
        raise InputError(
            f"{what}: {_place(text, row)}: {name} is {shown}; a {'whole ' if whole else ''}number is needed"
        )
    return numbers.astype(np.int64 if whole else np.float64)


def _place(table: pd.DataFrame, row: int) -> str:
    """Name a row by its month, or where that is what is wrong, by its number."""
    year = f"{table['year'].iloc[row]}, " if "year" in table else ""
    return f"row {row + 1} (month {year}{table['month'].iloc[row]})"


def _check_months(table: pd.DataFrame, what: str) -> None:
    outside = ~table["month"].between(1, 12)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(f"{what}: row {row + 1}: month is {table['month'].iloc[row]}; 1 to 12 are allowed")
    years = table["year"] if "year" in table else pd.Series(0, index=table.index)
    for year, months in table["month"].groupby(years):
        of_year = f" of {year}" if "year" in table else ""
        if months.duplicated().any():
            raise InputError(f"{what}: month {months[months.duplicated()].iloc[0]}{of_year} stands twice")
        absent = sorted(set(range(1, 13)) - set(months))
        if absent:
            raise InputError(f"{what}: month {absent[0]}{of_year} is missing; each of the twelve is needed")
    if table.empty:
        raise InputError(f"{what}: has no rows; each of the twelve months is needed")


def _check_values(table: pd.DataFrame, what: str) -> None:
    limits = {"tmin_degC": "tmin", "tmax_degC": "tmax", "prcp_mm": "prcp", "vp_Pa": "vp"}
    for column in (name for name in limits if name in table):
        *_, lowest, highest = VARIABLES[limits[column]]
        wrong = ~table[column].between(lowest, highest)
        if column == "vp_Pa":
            wrong |= table[column] <= 0
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            found = f"{column} is {table[column].iloc[row]:g}"
            possible = f"more than 0, up to {highest}" if column == "vp_Pa" else f"{lowest} to {highest}"
            raise InputError(f"{what}: {_place(table, row)}: {found}; {possible} is possible")
    crossed = table["tmin_degC"] > table["tmax_degC"]
    if crossed.any():
        row = int(np.flatnonzero(crossed)[0])
        low, high = table["tmin_degC"].iloc[row], table["tmax_degC"].iloc[row]
        raise InputError(f"{what}: {_place(table, row)}: tmin {low:g} is above tmax {high:g}")


def _spans(years: list[int]) -> str:
    """Write years as spans: ``1990 to 1999, 2003``."""
    starts = [y for y in years if y - 1 not in years]
    ends = [y for y in years if y + 1 not in years]
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))
