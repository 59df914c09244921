"""What every source of climate gives: monthly values on a grid of its own, CF-1.8.

The dataset has the dimensions (time, y, x), twelve times a year or twelve for a period of normals,
and the variables of `VARIABLES`, besides ``elevation`` (y, x), the height that the values belong to.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import xarray as xr

from eemt.errors import InputError

_DAILY = "time: {} within days time: mean over days"

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
    units, standard_name, cell_methods, meaning, _, _ = VARIABLES[name]
    return {"units": units, "standard_name": standard_name, "cell_methods": cell_methods, "long_name": meaning}


def validate(dataset: xr.Dataset, origin: str) -> xr.Dataset:
    """Return a dataset of monthly climate when it is fit to be used.

    Raises
    ------
    InputError
        When a variable is missing or in other units, when a year has not twelve months, or when
        values are not of this Earth; the message begins with `origin`.
    """
    for name, (units, *_, lowest, highest) in VARIABLES.items():
        if name not in dataset:
            raise InputError(f"{origin}: has no {name}; needed are {', '.join(VARIABLES)}")
        if dataset[name].attrs.get("units") != units:
            raise InputError(f"{origin}: {name} is in {dataset[name].attrs.get('units')}; {units} is needed")
        values = dataset[name].values
        if not np.nanmin(values) >= lowest or not np.nanmax(values) <= highest:
            found = f"{np.nanmin(values):g} to {np.nanmax(values):g}"
            raise InputError(f"{origin}: {name} runs from {found} {units}; {lowest} to {highest} is possible")
    if "elevation" not in dataset:
        raise InputError(f"{origin}: has no elevation that its values belong to")
    if dataset.sizes["time"] % 12 or not np.array_equal(
        dataset["time"].dt.month.values, np.tile(np.arange(1, 13), dataset.sizes["time"] // 12)
    ):
        raise InputError(f"{origin}: its times are not whole years of twelve months")
    if bool((dataset["tmin"] > dataset["tmax"]).any()):
        raise InputError(f"{origin}: tmin is above tmax somewhere")
    return dataset
