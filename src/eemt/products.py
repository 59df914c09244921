"""What users open: maps put together from tiles, and the table that sums them up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from pyproj import CRS
from rasterio.windows import Window

from eemt.climate.monthly import select, year_labels
from eemt.constants import MONTH_NAMES
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import cog_writer, grid_of, open_netcdf, open_raster

VARIABLES = {
    "eemt": "effective energy and mass transfer",
    "ebio": "energy of net primary production",
    "eppt": "energy of effective precipitation",
}
ENERGY_UNITS = "MJ m-2"
MEAN = "mean"
MAP_NAME = re.compile(r"(?P<variable>[a-z]+)_(?P<method>[a-z]+)_(?P<year>\d{4}(-\d{4})?|mean)\.tif")
CITATION = "Rasmussen et al. 2015, Vadose Zone Journal, doi:10.2136/vzj2014.07.0102"


def mosaic_rasters(tiles: Sequence[Path], out: Path) -> None:
    """Put GeoTIFF tiles together, all their bands.

    Raises
    ------
    InputError
        When a tile is missing or not on the same cells as the first.
    """
    grids = []
    for path in tiles:
        with open_raster(path, "tile") as tile:
            grids.append(grid_of(tile, "tile", least=1))
            names, units, tags = tile.descriptions, tile.units[0], tile.tags()
    whole = _union(grids, tiles)
    tags = {name: value for name, value in tags.items() if name not in {"AREA_OR_POINT", "EEMT_VERSION"}}
    with cog_writer(out, whole, [name or "" for name in names], units or "", tags) as target:
        for path, grid in zip(tiles, grids, strict=True):
            with open_raster(path, "tile") as tile:
                for band in range(1, len(names) + 1):
                    target.write(tile.read(band), band, window=_window(grid, whole))


def mosaic_transfer(tiles: Sequence[Path], out: Path, variable: str, method: str, year: str) -> None:
    """Put one variable of transfer tiles together: the year in band 1, its months in bands 2 to 13.

    Parameters
    ----------
    tiles : sequence of path
        NetCDF files of `eemt transfer`.
    out : path
    variable, method : str
        Such as ``eemt`` and ``topo``.
    year : str
        A label of the tiles, or ``mean`` for the mean over all of them.

    Raises
    ------
    InputError
        When a tile is missing, lacks what is asked for, or is not on the same cells as the first.
    """
    grids = [read_transfer_grid(path) for path in tiles]
    whole = _union(grids, tiles)
    bands = [f"{variable} {method} {year} {span}" for span in ("year", *MONTH_NAMES)]
    tags: dict[str, Any] = {
        "TITLE": f"{VARIABLES.get(variable, variable)}, method {method}, {year}",
        "UNITS": f"band 1 {ENERGY_UNITS} yr-1, bands 2 to 13 {ENERGY_UNITS} month-1",
        "CITATION": CITATION,
    }
    with cog_writer(out, whole, bands, ENERGY_UNITS, tags) as target:
        counts: dict[str, int] = {}
        options = ""
        for path, grid in zip(tiles, grids, strict=True):
            with open_netcdf(path, "tile") as dataset:
                target.write(_year_and_months(dataset, f"{variable}_{method}", year, path), window=_window(grid, whole))
                for name, count in _counts(dataset, method, year).items():
                    counts[name] = counts.get(name, 0) + count
                options = str(dataset.attrs.get("options", ""))
        target.update_tags(OPTIONS=options, **{name: str(count) for name, count in counts.items()})


def grid_attributes(grid: Grid) -> dict[str, Any]:
    """Describe a grid by the CF attributes of its grid mapping variable."""
    attributes = dict(CRS.from_user_input(grid.crs).to_cf())
    attributes["GeoTransform"] = " ".join(repr(v) for v in (grid.west, grid.dx, 0.0, grid.north, 0.0, -grid.dy))
    attributes["crs_name"] = grid.crs
    return attributes


def read_transfer_grid(path: Path) -> Grid:
    """Return the grid of a NetCDF tile.

    Raises
    ------
    InputError
        When the file is missing or is no such tile.
    """
    with open_netcdf(path, "tile") as dataset:
        if "crs" not in dataset or "GeoTransform" not in dataset["crs"].attrs:
            raise InputError(f"tile: {path} has no grid; give files that `eemt transfer` wrote")
        attributes, width, height = dataset["crs"].attrs, dataset.sizes["x"], dataset.sizes["y"]
    west, dx, _, north, _, dy = (float(v) for v in attributes["GeoTransform"].split())
    return Grid(attributes["crs_name"], west, north, dx, -dy, width, height)


def summarise(maps: Iterable[Path], site: str) -> pd.DataFrame:
    """Tabulate maps by variable, method, year and month.

    Returns
    -------
    DataFrame
        A row a band: `month` 0 is the whole year [MJ m-2 yr-1], 1 to 12 are months
        [MJ m-2 month-1]; `cells` and `area_km2` are those with a value.

    Raises
    ------
    InputError
        When a file's name is not VARIABLE_METHOD_YEAR.tif.
    """
    rows = []
    for path in maps:
        name = MAP_NAME.fullmatch(path.name)
        if name is None:
            raise InputError(f"summary: {path.name} is not named VARIABLE_METHOD_YEAR.tif")
        with open_raster(path, "map") as source:
            grid = grid_of(source, "map")
            for month in range(source.count):
                values = source.read(month + 1)
                rows.append({"site": site, **name.groupdict(), "month": month, **_statistics(values, grid)})
    return pd.DataFrame(rows)


def _statistics(values: npt.NDArray[np.float32], grid: Grid) -> dict[str, float]:
    valid = values[np.isfinite(values)].astype(np.float64)
    if valid.size == 0:
        return dict.fromkeys(("mean", "sd", "min", "max", "p5", "p50", "p95"), np.nan) | {"cells": 0, "area_km2": 0.0}
    p5, p50, p95 = np.percentile(valid, (5, 50, 95))
    return {
        "mean": valid.mean(),
        "sd": valid.std(),
        "min": valid.min(),
        "max": valid.max(),
        "p5": p5,
        "p50": p50,
        "p95": p95,
        "cells": valid.size,
        "area_km2": valid.size * grid.cell_area / 1e6,
    }


def _year_and_months(dataset: xr.Dataset, name: str, year: str, path: Path) -> npt.NDArray[np.float32]:
    if name not in dataset:
        raise InputError(f"mosaic: {path} has no {name}; it has {', '.join(map(str, dataset.data_vars))}")
    labels = year_labels(dataset)
    if year != MEAN and year not in labels:
        raise InputError(f"mosaic: {path} has no year {year}; it has {', '.join(labels)}")
    wanted = labels if year == MEAN else [year]
    months = np.mean([select(dataset, label)[name].values for label in wanted], axis=0, dtype=np.float64)
    return np.concatenate([months.sum(axis=0, keepdims=True), months]).astype(np.float32)


def _counts(dataset: xr.Dataset, method: str, year: str) -> dict[str, int]:
    """Return in how many cells the model left its domain, in the worst year of the map."""
    prefix = f"cells_{method}_"
    labels = year_labels(dataset)
    years = slice(None) if year == MEAN else labels.index(year)
    return {
        f"EEMT_CELLS_{name.removeprefix(prefix).upper()}": int(dataset[name].values[years].max())
        for name in map(str, dataset.data_vars)
        if name.startswith(prefix)
    }


def _union(grids: Sequence[Grid], tiles: Sequence[Path]) -> Grid:
    first = grids[0]
    for grid, path in zip(grids, tiles, strict=True):
        offset = ((grid.west - first.west) / first.dx, (grid.north - first.north) / first.dy)
        same = (grid.crs, grid.dx, grid.dy) == (first.crs, first.dx, first.dy)
        if not same or any(abs(cells - round(cells)) > 1e-3 for cells in offset):
            raise InputError(f"mosaic: {path} is not on the same cells as {tiles[0]}")
    west, north = min(g.west for g in grids), max(g.north for g in grids)
    east, south = max(g.bounds[2] for g in grids), min(g.bounds[1] for g in grids)
    return Grid(
        first.crs, west, north, first.dx, first.dy, round((east - west) / first.dx), round((north - south) / first.dy)
    )


def _window(tile: Grid, whole: Grid) -> Window:
    return Window(
        round((tile.west - whole.west) / whole.dx),
        round((whole.north - tile.north) / whole.dy),
        tile.width,
        tile.height,
    )
