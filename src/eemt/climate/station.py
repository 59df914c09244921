"""Climate of stations: tables of months, or of the normals of a period.

Rasmussen et al. (2015) force EEMT in this way: a base station, carried to each cell by lapse rates.
Several stations are weighted by their distance.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eemt.climate.monthly import coordinates, year_label
from eemt.climate.source import DEW_POINT_ESTIMATE, VARIABLES, attributes, validate
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError

COLUMNS = {"tmin_degC": "tmin", "tmax_degC": "tmax", "prcp_mm": "prcp"}
OPTIONAL = {"vp_Pa": "vp"}
# column: key of the configuration, least and greatest value
PLACE = {
    "elevation_m": ("elevation", -430.0, 9000.0),
    "latitude": ("latitude", -90.0, 90.0),
    "longitude": ("longitude", -180.0, 180.0),
}
BY_STATION = ["lat", "lon", "elevation", "station_name"]  # of each station, also where two have the same
HEIGHT = {"units": "m", "standard_name": "surface_altitude"}


class StationSource:
    """The monthly climate of one station, or of several in one table.

    Parameters
    ----------
    path : path
        See `read_table`.
    elevation : float, optional
        Of the station [m], where the table does not say.
    latitude, longitude : float, optional
        Of the station [degrees north, east], where the table does not say.
    years : (int, int), optional
        First and last year, for a table with a column ``year``.
    normals_period : (int, int), optional
        First and last year that a table of normals is the mean of.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        elevation: float | None = None,
        latitude: float | None = None,
        longitude: float | None = None,
        years: tuple[int, int] | None = None,
        normals_period: tuple[int, int] | None = None,
    ) -> None:
        self.path = Path(path)
        self.given = {"elevation_m": elevation, "latitude": latitude, "longitude": longitude}
        self.years = years
        self.normals_period = normals_period

    def monthly(self) -> xr.Dataset:
        """Return the months as a dataset of one cell at the station, or of a row of stations.

        See `eemt.climate.source` for the two forms.

        Raises
        ------
        InputError
            When the table cannot be used, lacks a year that is asked for, or a station's place is
            not known.
        """
        table = read_table(self.path)
        tables = {"": table}
        if "station" in table:
            tables = {str(name): rows for name, rows in table.groupby("station", sort=False)}
        datasets = [self._of_station(rows, name if len(tables) > 1 else "") for name, rows in tables.items()]
        dataset = _one_cell(datasets[0]) if len(datasets) == 1 else self._several(datasets)
        dataset.attrs = self._provenance(len(datasets), "vp_Pa" in table) | dataset.attrs
        return validate(dataset, f"climate: {self.path}")

    def _of_station(self, table: pd.DataFrame, name: str) -> xr.Dataset:
        """Return the months of one station (time), with its place."""
        what = f"climate: {self.path}" + (f": station {name}" if name else "")
        if self.normals_period:
            if "year" in table:
                raise InputError(f"{what} has a column year; give climate.years instead of normals_period")
            parts = [_months(table, *self.normals_period)]
        else:
            years = self._available_years(table, what)
            parts = [_months(table[table["year"] == year], year) for year in years]
        dataset = xr.concat(parts, dim="time", data_vars="minimal", coords="minimal", compat="equals", join="exact")
        place = {column: self._place(table, column, what) for column in PLACE}
        return dataset.assign_coords(
            elevation=place["elevation_m"], lat=place["latitude"], lon=place["longitude"], station_name=name
        )

    def _place(self, table: pd.DataFrame, column: str, what: str) -> float:
        """Return where a station is, from its table or the configuration."""
        key, lowest, highest = PLACE[column]
        given = self.given[column]
        known = table[column].dropna().unique() if column in table else np.array([])
        if len(known) > 1:
            raise InputError(f"{what}: {column} is {known[0]:g} and {known[1]:g}; a station has one")
        if len(known) == 0 and given is None:
            raise InputError(f"{what}: where is it? Give climate.{key}, or a column {column} in the table")
        if len(known) and given is not None and known[0] != given:
            raise InputError(f"{what}: {column} is {known[0]:g} and climate.{key} is {given:g}; give one of them")
        value = float(known[0]) if len(known) else float(given or 0.0)
        if not lowest <= value <= highest:
            raise InputError(f"{what}: {column} is {value:g}; {lowest:g} to {highest:g} is possible")
        return value

    def _available_years(self, table: pd.DataFrame, what: str) -> range:
        if "year" not in table:
            raise InputError(f"{what} has no column year: these are normals; give climate.normals_period, not years")
        have = sorted(set(table["year"]))
        first, last = self.years or (have[0], have[-1])
        if first > last:
            raise InputError(f"climate.years: runs backwards, from {first} to {last}; write the earlier year first")
        missing = [year for year in range(first, last + 1) if year not in have]
        if missing:
            where = what.removeprefix("climate: ")
            raise InputError(f"climate.years: {missing[0]} is not in {where}, which has {_spans(have)}")
        return range(first, last + 1)

    def _several(self, datasets: list[xr.Dataset]) -> xr.Dataset:
        """Put stations side by side, as CF has time series at places."""
        what = f"climate: {self.path}"
        first = datasets[0]
        for dataset in datasets[1:]:
            if dataset.sizes["time"] != first.sizes["time"] or not (dataset["time"] == first["time"]).all():
                raise InputError(
                    f"{what}: the stations {first['station_name'].item()} and {dataset['station_name'].item()} have "
                    "other years; give climate.years"
                )
        places = [(float(dataset["lat"]), float(dataset["lon"])) for dataset in datasets]
        for number, place in enumerate(places):
            if place in places[:number]:
                names = [datasets[k]["station_name"].item() for k in (places.index(place), number)]
                raise InputError(f"{what}: the stations {names[0]} and {names[1]} stand at the same place")
        joined = xr.concat(
            datasets, dim="station", data_vars=list(VARIABLES), coords=BY_STATION, compat="equals", join="exact"
        )
        joined = joined.reset_coords("elevation")
        joined["elevation"].attrs = HEIGHT | {"long_name": "elevation of the stations"}
        joined["lat"].attrs = {"units": "degrees_north", "standard_name": "latitude"}
        joined["lon"].attrs = {"units": "degrees_east", "standard_name": "longitude"}
        joined["station_name"].attrs = {"cf_role": "timeseries_id", "long_name": "name of the station"}
        joined.attrs = {"featureType": "timeSeries"}
        return joined.transpose("station", "time", ...)

    def _provenance(self, stations: int, vapour_pressure_known: bool) -> dict[str, str]:
        known = {
            "Conventions": "CF-1.8",
            "title": "Monthly climate of a station" if stations == 1 else f"Monthly climate of {stations} stations",
            "source": f"station table {self.path.name}",
            "source_sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "vapour_pressure": "of the table" if vapour_pressure_known else f"estimated {DEW_POINT_ESTIMATE}",
        }
        return known | ({"period": year_label(*self.normals_period)} if self.normals_period else {})


def _months(table: pd.DataFrame, first: int, last: int | None = None) -> xr.Dataset:
    """Return the months of one year or of normals (time)."""
    rows = table.sort_values("month")
    known = {name: rows[column].to_numpy() for column, name in (COLUMNS | OPTIONAL).items() if column in rows}
    if "vp" not in known:
        known["vp"] = 1000.0 * np.asarray(saturation_vapour_pressure(known["tmin"]))
    times = coordinates(first, last)
    variables = {name: ("time", known[name].astype(np.float64), attributes(name)) for name in VARIABLES}
    if "vp_Pa" not in rows:
        variables["vp"][2]["estimated"] = DEW_POINT_ESTIMATE
    time = times.pop("time")
    return xr.Dataset({**variables, **times}, coords={"time": time})


def _one_cell(station: xr.Dataset) -> xr.Dataset:
    """Return a station's months as a grid of one cell."""
    latitude, longitude = float(station["lat"]), float(station["lon"])
    mapped = {"grid_mapping": "crs"}
    variables: dict[str, Any] = {
        name: (("time", "y", "x"), values.values.reshape(-1, 1, 1), {**attributes(name), **mapped, **values.attrs})
        for name, values in ((name, station[name]) for name in VARIABLES)
    }
    height = HEIGHT | {"long_name": "elevation of the station"}
    variables["elevation"] = (("y", "x"), [[float(station["elevation"])]], height)
    times = {name: station[name].variable for name in ("time_bnds", "climatology_bounds") if name in station}
    return xr.Dataset(
        {**variables, **times},
        coords={
            "time": station["time"].variable,
            "y": ("y", [latitude], {"units": "degrees_north", "standard_name": "latitude"}),
            "x": ("x", [longitude], {"units": "degrees_east", "standard_name": "longitude"}),
            "crs": ((), 0, {"grid_mapping_name": "latitude_longitude", "crs_name": "EPSG:4326"}),
        },
    )


def read_table(path: str | Path) -> pd.DataFrame:
    """Read and check a table of stations.

    A CSV file, lines that begin with ``#`` being comments, with the columns ``month`` (1 to 12),
    ``tmin_degC``, ``tmax_degC``, ``prcp_mm``, and where they are known ``year`` and ``vp_Pa``. For
    several stations, ``station`` names them, and ``elevation_m``, ``latitude`` and ``longitude`` say
    where each is, in all its rows or in one; others are left aside.

    Returns
    -------
    DataFrame
        Sorted by year and month, stations in the order of the file; all numbers but the names.

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
    columns = {name: _numbers(text, name, what) for name in wanted}
    columns |= {name: _numbers(text, name, what, may_be_empty=True) for name in PLACE if name in text}
    table = pd.DataFrame(columns)
    if "station" not in text:
        return _checked(table, what)
    names = _station_names(text, what)
    of_each = [_checked(table[names == name], f"{what}: station {name}") for name in names.unique()]
    labels = np.repeat(names.unique(), [len(part) for part in of_each])
    return pd.concat(of_each, ignore_index=True).assign(station=labels)


def _checked(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return the rows of one station in order."""
    _check_months(table, what)
    _check_values(table, what)
    return table.sort_values([name for name in ("year", "month") if name in table], ignore_index=True)


def _station_names(text: pd.DataFrame, what: str) -> pd.Series[Any]:
    names = text["station"].str.strip()
    if names.isna().any() or (names == "").any():
        row = int(np.flatnonzero(names.isna() | (names == ""))[0])
        raise InputError(f"{what}: {_place(text, row)}: station is empty; its name is needed")
    return names


def _numbers(text: pd.DataFrame, name: str, what: str, may_be_empty: bool = False) -> pd.Series[Any]:
    numbers = pd.to_numeric(text[name], errors="coerce").astype(float)
    wrong = ~np.isfinite(numbers)
    if may_be_empty:
        wrong &= text[name].notna()
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
