"""``eemt transfer``: EEMT and its parts for one tile, all its years and methods."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

import eemt
from eemt.climate.downscale import to_cells
from eemt.climate.monthly import days_in_months, middle_days, select, year_labels
from eemt.config import EemtSettings, LapseSettings
from eemt.energy.eemt import Energy, topographic, traditional
from eemt.energy.evaporation import day_length
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.products import CITATION, ENERGY_UNITS, VARIABLES, grid_attributes
from eemt.raster import open_netcdf, read_dem, read_on_grid, write_netcdf

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Days = npt.NDArray[np.int64]

CELLS_AT_ONCE = 200_000  # bounds the memory of a job's twelve-month arrays to some hundred MB
COUNTS = {
    "solar_ratio_clamped": "cells whose ratio of sloped to flat sun was brought within its bounds in some month",
    "elevation_out_of_range": "cells outside the elevations, 580 to 2800 m, that Eq 11 was fitted on",
}


@dataclass(frozen=True)
class Slopes:
    """What the method topo needs of a tile's cells, (rows, columns) or (12, rows, columns)."""

    northness: Floats
    mcwi: Floats
    sun: Floats  # Wh m-2 month-1
    flat_sun: Floats  # Wh m-2 month-1

    def rows(self, rows: slice) -> Slopes:
        """Return some of the rows."""
        return Slopes(*(layer[..., rows, :] for layer in vars(self).values()))


def run(args: argparse.Namespace) -> None:
    """Compute year by year and strip by strip; write one NetCDF file."""
    settings: EemtSettings = args.settings
    elevation, grid = read_dem(args.dem)
    core = grid.core(args.halo)
    elevation, grid = elevation[core], grid.window(*core)
    slopes = _read_slopes(args, grid) if "topo" in settings.methods else None
    latitude = grid.latitude()
    with open_netcdf(args.climate_file, "climate") as climate:
        result = _empty(climate, grid, settings)
        for number, label in enumerate(year_labels(climate)):
            months = slice(12 * number, 12 * number + 12)
            days = days_in_months(label)
            for rows in _strips(grid):
                here = elevation[rows]
                weather = _weather(select(climate, label), here, grid, rows, args.lapse)
                if "trad" in settings.methods:
                    energy = _traditional(weather, latitude[rows], days, settings)
                    _put(result, "trad", energy, (number, months, rows))
                if slopes is not None:
                    energy = _topographic(weather, here, slopes.rows(rows), days, settings)
                    _put(result, "topo", energy, (number, months, rows))
    result.attrs["options"] = settings.model_dump_json()
    write_netcdf(args.out, result)


def _read_slopes(args: argparse.Namespace, grid: Grid) -> Slopes:
    layers = {}
    for name, bands in (("northness", 1), ("mcwi", 1), ("sun", 12), ("flat_sun", 12)):
        path, what = getattr(args, name), name.replace("_", "-")
        if path is None:
            raise InputError(f"--{what}: is missing; the method topo needs it")
        values = read_on_grid(path, grid, what)
        if values.shape[0] != bands:
            raise InputError(f"{what}: {path} has {values.shape[0]} bands; {bands} are needed")
        layers[name] = values[0] if bands == 1 else values
    return Slopes(**layers)


def _strips(grid: Grid) -> Iterator[slice]:
    height = max(1, CELLS_AT_ONCE // grid.width)
    for start in range(0, grid.height, height):
        yield slice(start, min(start + height, grid.height))


def _weather(months: xr.Dataset, elevation: Floats, grid: Grid, rows: slice, lapse: LapseSettings) -> dict[str, Floats]:
    return to_cells(months, elevation, grid.x, grid.y[rows], grid.crs, **lapse.model_dump())


def _traditional(weather: dict[str, Floats], latitude: Doubles, days: Days, settings: EemtSettings) -> Energy:
    hours = np.asarray(day_length(latitude, middle_days()[:, np.newaxis, np.newaxis]))
    return traditional(
        weather["tmin"],
        weather["tmax"],
        weather["prcp"],
        hours,
        days,
        pet=settings.pet,
        cold_npp=settings.cold_npp,
    )


def _topographic(
    weather: dict[str, Floats], elevation: Floats, slopes: Slopes, days: Days, settings: EemtSettings
) -> Energy:
    return topographic(
        weather["tmin"],
        weather["tmax"],
        weather["prcp"],
        weather["vp"],
        slopes.sun,
        slopes.flat_sun,
        elevation,
        slopes.northness,
        slopes.mcwi,
        days,
        wind=settings.wind,
        albedo=settings.albedo,
        omega=settings.omega,
        net_radiation=settings.net_radiation,
        solar_ratio_limits=settings.solar_ratio_limits,
        npp_floor=settings.npp_floor,
    )


def _put(result: xr.Dataset, method: str, energy: Energy, where: tuple[int, slice, slice]) -> None:
    number, months, rows = where
    for variable in VARIABLES:
        result[f"{variable}_{method}"].values[months, rows] = getattr(energy, variable)
    if method == "topo":
        for name in COUNTS:
            result[f"cells_{method}_{name}"].values[number] += getattr(energy, name)


def _empty(climate: xr.Dataset, grid: Grid, settings: EemtSettings) -> xr.Dataset:
    """Make the dataset of a tile, to be filled."""
    shape = (climate.sizes["time"], *grid.shape)
    times = {name: climate[name].variable for name in ("time_bnds", "climatology_bounds") if name in climate}
    result = xr.Dataset(
        coords={
            "time": climate["time"].variable,
            "y": ("y", grid.y, {"standard_name": "projection_y_coordinate", "units": "m"}),
            "x": ("x", grid.x, {"standard_name": "projection_x_coordinate", "units": "m"}),
        },
        data_vars={"crs": ((), 0, grid_attributes(grid)), **times},
        attrs={
            "Conventions": "CF-1.8",
            "title": "Effective energy and mass transfer",
            "source": f"eemt {eemt.__version__}",
            "references": CITATION,
            **{name: climate.attrs[name] for name in ("period",) if name in climate.attrs},
        },
    )
    for method in settings.methods:
        for variable, meaning in VARIABLES.items():
            result[f"{variable}_{method}"] = (
                ("time", "y", "x"),
                np.full(shape, np.nan, dtype=np.float32),
                {"long_name": f"{meaning}, method {method}", "units": f"{ENERGY_UNITS} month-1", "grid_mapping": "crs"},
            )
    if "topo" in settings.methods:
        for name, meaning in COUNTS.items():
            values = np.zeros(shape[0] // 12, dtype=np.int64)
            result[f"cells_topo_{name}"] = ("year", values, {"long_name": meaning, "units": "1"})
    return result
