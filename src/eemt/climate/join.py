"""Years of monthly climate that were made apart, put together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import xarray as xr

from eemt.errors import InputError

# the same for any number of years, so that joined files are as if made at once
TIME_ENCODING = {"units": "days since 1950-01-01", "calendar": "standard", "dtype": "int64"}


def join(years: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put years of one site together, in their order of time.

    Raises
    ------
    InputError
        When they are not of the same cells and made in the same way, or a year stands twice.
    """
    if not years:
        raise InputError("join: no files are given")
    ordered = sorted(years, key=lambda year: year["time"].values[0])
    first = ordered[0]
    for other in ordered[1:]:
        _require_same(first, other)
    parts = [year.drop_encoding() for year in ordered]
    dataset = xr.concat(parts, dim="time", data_vars="minimal", coords="minimal", compat="override", join="exact")
    twice = dataset.indexes["time"].duplicated()
    if twice.any():
        raise InputError(f"join: {int(dataset['time'].dt.year.values[twice][0])} stands twice")
    dataset["time"].encoding.update(TIME_ENCODING)
    dataset.attrs = dict(first.attrs)
    if len(ordered) > 1 and "source_sha256" in first.attrs:
        dataset.attrs["source_sha256"] = digest(year.attrs["source_sha256"] for year in ordered)
    return dataset


def _require_same(first: xr.Dataset, other: xr.Dataset) -> None:
    when = int(other["time"].dt.year.values[0])
    if set(first.variables) != set(other.variables):
        odd = sorted(str(name) for name in set(first.variables) ^ set(other.variables))
        raise InputError(f"join: the file of {when} differs from the first in its variables: {', '.join(odd)}")
    for name in ("x", "y", "elevation", "crs"):
        systems = {dataset[name].attrs.get("crs_name") for dataset in (first, other)}
        if not first[name].equals(other[name]) or len(systems) > 1:
            raise InputError(f"join: the file of {when} is of other cells than the first: its {name} differs")
    for key in ("source", "calendar", "elevation_source"):
        if first.attrs.get(key) != other.attrs.get(key):
            raise InputError(
                f"join: the file of {when} was made otherwise than the first: "
                f"{other.attrs.get(key)!r}, not {first.attrs.get(key)!r}"
            )


def digest(parts: Iterable[str]) -> str:
    """Return one SHA-256 for several, in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
