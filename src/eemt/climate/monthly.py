"""The calendar of monthly climate: years and their names, days and their middles.

A year is named ``2003``; a period whose months are climatological normals is named ``1971-2000``.
"""

from __future__ import annotations

import calendar
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from eemt.constants import MONTH_LENGTHS

if TYPE_CHECKING:
    import xarray as xr


def year_label(first: int, last: int | None = None) -> str:
    """Return the name of a year, or of a period of normals."""
    return str(first) if last is None else f"{first}-{last}"


def days_in_months(label: str) -> npt.NDArray[np.int64]:
    """Return the days of a year's months (12,); 29 in the February of a leap year, 28 in normals."""
    if "-" in label:
        return np.array(MONTH_LENGTHS)
    return np.array([calendar.monthrange(int(label), month)[1] for month in range(1, 13)])


def middle_days() -> npt.NDArray[np.float64]:
    """Return the day of the year in the middle of each month (12,), in a year of 365 days."""
    lengths = np.array(MONTH_LENGTHS)
    return np.asarray(np.cumsum(lengths) - lengths + (lengths + 1) / 2)


def coordinates(first: int, last: int | None = None) -> dict[str, xr.DataArray]:
    """Make the times of one year, or of the normals of a period, with their bounds.

    Returns
    -------
    dict
        ``time`` (12,) in mid-month, of the period's middle year for normals, and ``time_bnds``, or
        ``climatology_bounds``, (12, 2).
    """
    import xarray as xr  # loaded where it is needed: `eemt transfer` starts without

    year = first if last is None else (first + last) // 2
    starts = np.array([f"{first}-{month:02d}-01" for month in range(1, 13)], dtype="datetime64[D]")
    end_year = first if last is None else last
    ends = (np.array([f"{end_year}-{month:02d}" for month in range(1, 13)], dtype="datetime64[M]") + 1).astype(
        "datetime64[D]"
    )
    middles = np.array([f"{year}-{month:02d}-15" for month in range(1, 13)], dtype="datetime64[ns]")
    bounds_name = "time_bnds" if last is None else "climatology_bounds"
    attribute = {"bounds": bounds_name} if last is None else {"climatology": bounds_name}
    bounds = np.stack([starts, ends], axis=1).astype("datetime64[ns]")
    return {
        "time": xr.DataArray(middles, dims="time", attrs={"standard_name": "time", "axis": "T", **attribute}),
        bounds_name: xr.DataArray(bounds, dims=("time", "nv")),
    }


def of_days(
    daily: xr.DataArray, total: bool = False, full_months: bool = False
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Bring one year's days to months, by the calendar that the days themselves are dated in.

    Parameters
    ----------
    daily : DataArray (time, ...)
        Days of one year, in any order.
    total : bool
        Sums, as of precipitation; else means over the days that there are.
    full_months : bool
        Whether sums are scaled to the month's true length, where days are missing.

    Returns
    -------
    values : ndarray (12, ...)
        NaN where a day's value is.
    counted : ndarray (12,)
        Days of each month.

    Raises
    ------
    ValueError
        When the days are not of one year, a day stands twice, or a month has none.
    """
    daily = daily.sortby("time").transpose("time", ...)
    year, day = daily["time"].dt.year.values, daily["time"].dt.dayofyear.values
    if len(set(year)) != 1:
        raise ValueError(f"days of {len(set(year))} years; one is needed")
    if len(set(day)) < len(day):
        twice = next(int(d) for d in day if (day == d).sum() > 1)
        raise ValueError(f"day {twice} of {year[0]} stands twice; one value a day is needed")
    month = daily["time"].dt.month.values.astype(np.int64) - 1
    counted = np.bincount(month, minlength=12)
    if not counted.all():
        raise ValueError(f"month {int(np.argmin(counted)) + 1} of {year[0]} has no day")
    sums = np.add.reduceat(daily.values.astype(np.float64), np.cumsum(counted) - counted, axis=0)
    divisor = counted.astype(np.float64)
    if total:
        divisor = counted / days_in_months(str(year[0])) if full_months else np.ones(12)
    return sums / divisor.reshape(12, *[1] * (sums.ndim - 1)), counted


def year_labels(dataset: xr.Dataset) -> list[str]:
    """Return the names of a dataset's years, in their order."""
    if "period" in dataset.attrs:
        return [str(dataset.attrs["period"])]
    return [year_label(int(year)) for year in dataset["time"].dt.year.values[::12]]


def select(dataset: xr.Dataset, label: str) -> xr.Dataset:
    """Return the twelve months of one year or period.

    Raises
    ------
    KeyError
        When the dataset has no such year.
    """
    labels = year_labels(dataset)
    if label not in labels:
        raise KeyError(f"no year {label}; there are {', '.join(labels)}")
    start = 12 * labels.index(label)
    return dataset.isel(time=slice(start, start + 12))
