"""``eemt climate``: monthly climate from its source."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from eemt.climate.join import TIME_ENCODING, join
from eemt.climate.monthly import year_labels
from eemt.climate.source import ClimateSource, validate
from eemt.climate.station import StationSource
from eemt.config import ClimateSettings
from eemt.errors import InputError
from eemt.grid import Grid, area_window
from eemt.raster import open_netcdf, read_dem, whole_or_nothing, write_netcdf


def run(args: argparse.Namespace) -> None:
    """Write the source's months, checked, as one NetCDF file.

    Of a source that downloads, ``NAME.json`` beside ``NAME.nc`` says where and when each part came from:
    apart, so that the same values make the same NetCDF file whoever delivered them.
    """
    if args.join:
        dataset, records = _joined(args.join, args.settings)
    else:
        made = source(args.settings, args.dem, args.area)
        dataset, records = made.monthly(), getattr(made, "records", [])
    dataset["time"].encoding.update(TIME_ENCODING)
    write_netcdf(args.out, dataset)
    if records:
        with whole_or_nothing(provenance_of(args.out)) as partial:
            partial.write_text(json.dumps({"file": args.out.name, "parts": records}, indent=2) + "\n")


def source(settings: ClimateSettings, dem: Path | None = None, area: str | None = None) -> ClimateSource:
    """Make the source that a configuration names.

    Parameters
    ----------
    settings : ClimateSettings
    dem : path, optional
        The site's elevation; the sources ``grid`` and ``daymet`` take from it where the site is.
    area : str, optional
        The part of it that is mapped, see `eemt.grid.area_window`; without it, all.

    Raises
    ------
    InputError
        When the elevation is needed and missing.
    """
    if settings.source == "daymet":
        return _daymet(settings, dem, area)
    if settings.source == "grid":
        return _grid(settings, dem, area)
    if settings.source == "none":
        raise InputError("climate.source: is none; name station, grid or daymet")
    return StationSource(
        settings.file or "",
        elevation=settings.elevation,
        latitude=settings.latitude,
        longitude=settings.longitude,
        years=settings.years,
        normals_period=settings.normals_period,
    )


def provenance_of(path: Path) -> Path:
    """Return the name of the file that says where a climate file's parts came from."""
    return path.with_suffix(".json")


def _grid(settings: ClimateSettings, dem: Path | None, area: str | None) -> ClimateSource:
    from eemt.climate.gridded import GridSource

    bounds, elevation, grid = _site(dem, area, settings.source)
    return GridSource(
        settings.files,
        variables={str(name): variable for name, variable in settings.variables.items()},
        years=settings.years,
        normals_period=settings.normals_period,
        elevation_file=settings.elevation_file,
        bounds=bounds,
        bounds_crs=grid.crs,
        crs=settings.crs,
        dem=(elevation, grid),
        full_months=settings.full_months,
    )


def _daymet(settings: ClimateSettings, dem: Path | None, area: str | None) -> ClimateSource:
    from eemt.climate.daymet import DaymetSource

    bounds, elevation, grid = _site(dem, area, settings.source)
    if settings.years is None:
        raise InputError("climate.years: is missing; the source daymet needs it")
    return DaymetSource(
        bounds,
        crs=grid.crs,
        years=settings.years,
        providers=settings.providers,
        base_urls={str(name): url for name, url in settings.base_urls.items()},
        cache=settings.cache,
        offline=settings.offline,
        variables=settings.variables_extra,
        region=settings.region,
        full_months=settings.full_months,
        dem=(elevation, grid),
        elevation_file=settings.elevation_file,
        max_single_pixel_cells=settings.max_single_pixel_cells,
        local_folder=settings.local,
        whole_files=settings.whole_files,
        patience=settings.patience,
    )


def _site(
    dem: Path | None, area: str | None, source: str
) -> tuple[tuple[float, float, float, float], npt.NDArray[np.float32], Grid]:
    """Return the edges of what is mapped, and the elevation in and around it."""
    if dem is None:
        raise InputError(f"--dem: is missing; the source {source} takes from it where the site is")
    elevation, grid = read_dem(dem)
    return grid.window(*area_window(grid, area)).bounds, elevation, grid


def _joined(paths: Sequence[Path], settings: ClimateSettings) -> tuple[xr.Dataset, list[dict[str, Any]]]:
    """Put files together that were made a year at a time, and what is known of their origin."""
    years, records = [], []
    for path in paths:
        with open_netcdf(path, "join") as year:
            years.append(year.load())
        beside = provenance_of(path)
        if beside.exists():
            records += json.loads(beside.read_text())["parts"]
    dataset = validate(join(years), "join")
    if year_labels(dataset) != settings.labels:
        have, wanted = ", ".join(year_labels(dataset)), ", ".join(settings.labels)
        raise InputError(f"join: the files are of {have}; climate.years asks for {wanted}")
    records.sort(key=lambda record: (record["year"], record["variable"]))
    return dataset, records
