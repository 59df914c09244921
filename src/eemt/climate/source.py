"""What every source of climate gives: monthly values where it knows them, CF-1.8.

A grid has the dimensions (time, y, x), stations (station, time): a CF time series each, with ``lat``
and ``lon``. There are twelve times a year or twelve for a period of normals, the variables of
`VARIABLES`, where known those of `OPTIONAL`, and ``elevation`` (y, x) or (station), the height that
the values belong to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from eemt.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

# name: units, standard name, cell method, meaning, least and greatest value on Earth
VARIABLES = {
    "tmin": (
        "degC",
        "air_temperature",
        "time: minimum within days time: mean over days",
        "mean daily minimum",
        -90,
        60,
    ),
    "tmax": (
        "degC",
        "air_temperature",
        "time: maximum within days time: mean over days",
        "mean daily maximum",
        -90,
        60,
    ),
    "prcp": ("mm", "lwe_thickness_of_precipitation_amount", "time: sum", "precipitation of the month", 0, 10_000),
    "vp": ("Pa", "water_vapor_partial_pressure_in_air", "time: mean", "mean vapour pressure", 0, 10_000),
}
OPTIONAL = {
    "srad": (
        "W m-2",
        "surface_downwelling_shortwave_flux_in_air",
        "time: mean",
        "mean shortwave radiation of the daylight hours",
        0,
        1500,
    ),
    "dayl": ("s", "", "time: mean", "mean length of the daylight", 0, 86_400),
    "swe": ("kg m-2", "surface_snow_amount", "time: mean", "mean water of the snow", 0, 100_000),
}
DEW_POINT_ESTIMATE = "from the minimum temperature as dew point"
UNEVEN = 1e-2  # of a step, by which the centres of a grid's cells may be off an even axis


class ClimateSource(Protocol):
    """Something that monthly climate can be had from."""

    def monthly(self) -> xr.Dataset:
        """Return the months that were asked for.

        Raises
        ------
        InputError
            When the source cannot give them.
        """
        ...


def attributes(name: str) -> dict[str, str]:
    """Return the CF attributes of a variable."""
    units, standard_name, cell_methods, meaning, _, _ = (VARIABLES | OPTIONAL)[name]
    found = {"units": units, "standard_name": standard_name, "cell_methods": cell_methods, "long_name": meaning}
    return {key: text for key, text in found.items() if text}


def validate(dataset: xr.Dataset, origin: str) -> xr.Dataset:
    """Return a dataset of monthly climate when it is fit to be used.

    Raises
    ------
    InputError
        When a variable is missing or in other units, when a year has not twelve months, when values
        are not of this Earth, when a grid's axes are uneven or a station lacks a value; the message
        begins with `origin`.
    """
    for name, (units, *_, lowest, highest) in (VARIABLES | OPTIONAL).items():
        if name not in dataset and name in OPTIONAL:
            continue
        if name not in dataset:
            raise InputError(f"{origin}: has no {name}; needed are {', '.join(VARIABLES)}")
        if dataset[name].attrs.get("units") != units:
            raise InputError(f"{origin}: {name} is in {dataset[name].attrs.get('units')}; {units} is needed")
        _check_range(dataset, name, lowest, highest, origin)
    if "elevation" not in dataset:
        raise InputError(f"{origin}: has no elevation that its values belong to")
    if dataset.sizes["time"] % 12 or not np.array_equal(
        dataset["time"].dt.month.values, np.tile(np.arange(1, 13), dataset.sizes["time"] // 12)
    ):
        raise InputError(f"{origin}: its times are not whole years of twelve months")
    _check_place(dataset, origin)
    crossed = (dataset["tmin"] > dataset["tmax"]).any("time")
    if bool(crossed.any()):
        where = f" ({_first_name(dataset, crossed.values)})" if "station" in dataset.dims else ""
        raise InputError(f"{origin}: tmin is above tmax somewhere{where}")
    return dataset


def _check_range(dataset: xr.Dataset, name: str, lowest: float, highest: float, origin: str) -> None:
    units, values = dataset[name].attrs["units"], dataset[name].values
    known = np.isfinite(values)
    if not known.any():
        raise InputError(f"{origin}: {name} has no value at all")
    if "station" in dataset.dims and not known.all():
        missing = ~known.all(axis=dataset[name].dims.index("time"))
        raise InputError(f"{origin}: {name} of the station {_first_name(dataset, missing)} has months without value")
    least, most = values[known].min(), values[known].max()
    if least < lowest or most > highest:
        found = f"{least:g} to {most:g}"
        raise InputError(f"{origin}: {name} runs from {found} {units}; {lowest} to {highest} is possible")


def _check_place(dataset: xr.Dataset, origin: str) -> None:
    if "station" in dataset.dims:
        absent = [name for name in ("lat", "lon") if name not in dataset.variables]
        if absent:
            raise InputError(f"{origin}: its stations have no {absent[0]}")
        return
    if "crs" not in dataset.variables or "crs_name" not in dataset["crs"].attrs:
        raise InputError(f"{origin}: has no coordinate system (attribute crs_name of the variable crs)")
    for name in ("x", "y"):
        axis = dataset[name].values
        steps = np.diff(axis)
        if len(steps) and not np.all(np.abs(steps - steps.mean()) <= UNEVEN * abs(steps.mean())):
            raise InputError(f"{origin}: its axis {name} is uneven; bring it to an even grid first")


def _first_name(dataset: xr.Dataset, marked: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> str:
    return str(dataset["station_name"].values[int(np.flatnonzero(marked)[0])])
