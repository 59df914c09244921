"""Maps summed up over zones, each cell by the share of it that lies within; the shares are exact, by exactextract."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import exactextract
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import rasterio
import shapely
from exactextract.feature import JSONFeatureSource
from exactextract.operation import Operation
from exactextract.raster import RasterioRasterSource

from eemt.grid import Grid
from eemt.products import STATISTICS, keys_of
from eemt.raster import grid_of, open_raster, whole_or_nothing
from eemt.zones import Zones, outside

MOMENTS = {"mean": "mean", "sd": "stdev", "min": "min", "max": "max"}  # as exactextract calls them
PERCENTILES = {"p5": 5.0, "p50": 50.0, "p95": 95.0}
KEYS = ("site", "case", "zone", "variable", "method", "year", "month")
COUNTS = ("cells", "area_km2")
RESERVED = {*KEYS, *MOMENTS, *PERCENTILES, *COUNTS, "fid", "geom", "geometry"}
HELD = 512 * 2**20  # bytes of a zone's cells that percentiles are taken of at once, at most, or else one band's
CELL_BYTES = 64  # of a cell, measured
CELLS_AT_ONCE = 1_000_000  # of a band, that exactextract holds
LEAST_SHARE = 1e-4  # of a cell; less comes of rounding, and would be a minimum or maximum in its own right
CACHE = 256 * 2**20  # bytes, of blocks that GDAL holds meanwhile: the bands of a map lie in the same ones
MOST_COLUMNS = 1900  # of a GeoPackage; SQLite takes 2000
NAMED = 5  # zones in a message


def summarise_zones(
    maps: Sequence[Path], zones: Zones, statistics: Sequence[str], site: str, case: str = ""
) -> pd.DataFrame:
    """Tabulate maps by zone, variable, method, year and month.

    Parameters
    ----------
    maps : sequence of path
        What `eemt mosaic` wrote; each band but the first is a month.
    zones : Zones
    statistics : sequence of str
        Of `MOMENTS` and `PERCENTILES`. A cell counts by the share of it that lies in the zone; ``min`` and ``max``
        are of all cells that do in part, ``sd`` is that of all, not of a sample.
    site, case : str
        What stands in the columns of these names.

    Returns
    -------
    DataFrame
        A row a zone and band: the zone's attributes, those whose names are taken with ``zone_`` before them; `month` 0
        is the whole year [MJ m-2 yr-1], 1 to 12 are months [MJ m-2 month-1]; `cells` is the sum of the shares of
        the cells with a value, `area_km2` their area. Without any, all else is NaN.

    Raises
    ------
    InputError
        When a file's name is not VARIABLE_METHOD_YEAR.tif.
    """
    attributes = zones.attributes.set_axis(
        _free_names(zones.attributes.columns, {path.stem for path in maps}), axis="columns"
    )
    placed: dict[Grid, npt.NDArray[np.object_]] = {}
    tables = []
    for path in maps:
        named = keys_of(path, "zones")
        with rasterio.Env(GDAL_CACHEMAX=CACHE), open_raster(path, "map") as source:
            grid = grid_of(source, "map")
            if grid not in placed:
                placed[grid] = zones.on(grid)
                _warn_of_outside(zones, placed[grid], grid)
            values = _statistics(source, placed[grid], grid, statistics)
            bands = source.count
        order = np.repeat(np.arange(len(zones.names)), bands)
        keys = {"site": site, "case": case, "zone": [zones.names[number] for number in order]}
        rest = pd.DataFrame(values.reshape(-1, values.shape[-1]), columns=[*statistics, *COUNTS])
        rest.insert(0, "month", np.tile(np.arange(bands), len(zones.names)))
        table = pd.DataFrame(keys).join(attributes.iloc[order].reset_index(drop=True))
        tables.append(table.assign(**named).join(rest))
    return pd.concat(tables, ignore_index=True)


def _free_names(columns: Iterable[str], taken: set[str]) -> list[str]:
    """Put ``zone_`` before the names of attributes that columns of ours have; upper and lower case are the same."""
    used = {name.lower() for name in RESERVED | {_column(stem) for stem in taken} | taken}
    free = []
    for column in columns:
        name = str(column)
        while name.lower() in used:
            name = f"zone_{name}"
        used.add(name.lower())
        free.append(name)
    return free


def _column(stem: str) -> str:
    """Name a map's column, by a name that needs no quotes in expressions."""
    return stem.replace("-", "_")


def _warn_of_outside(zones: Zones, shapes: npt.NDArray[np.object_], grid: Grid) -> None:
    wholly, partly = outside(shapes, grid)
    for which, what in ((wholly, "lie outside the maps; their rows are empty"), (partly, "reach beyond the maps")):
        if which.any():
            names = [str(name) for name, here in zip(zones.names, which, strict=True) if here]
            shown = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
            print(
                f"eemt zones: warning: {len(names)} of {len(which)} zones of {zones.file} {what}: {shown}",
                file=sys.stderr,
            )


def _statistics(
    source: rasterio.DatasetReader, shapes: npt.NDArray[np.object_], grid: Grid, statistics: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Sum up a map's bands: an array (zones, bands, statistics and `COUNTS`)."""
    found = np.full((len(shapes), source.count, len(statistics) + len(COUNTS)), np.nan)
    found[:, :, -len(COUNTS) :] = 0.0
    # exactextract knows bands by their names alone
    bands = [RasterioRasterSource(source, band, name=f"band {band}") for band in source.indexes]
    columns = {name: statistics.index(name) for name in statistics if name in MOMENTS}
    there = [number for number, shape in enumerate(shapes) if not shapely.is_empty(shape)]
    wanted = [*((MOMENTS[name], column) for name, column in columns.items()), ("count", len(statistics))]
    operations = [
        _operation(name, f"{band} {column}", raster) for band, raster in enumerate(bands) for name, column in wanted
    ]
    for number, feature in zip(there, _extract(bands, shapes[there], operations), strict=True):
        for field, value in feature.items():
            band, column = (int(word) for word in field.split())
            found[number, band, column] = np.nan if value is None else value
    percents = {column: PERCENTILES[name] for column, name in enumerate(statistics) if name in PERCENTILES}
    for number in there if percents else ():
        together = max(1, min(len(bands), int(HELD / (CELL_BYTES * (1 + found[number, :, -2].max())))))
        for first in range(0, len(bands), together):
            chosen = slice(first, first + together)
            values = _percentiles(bands[chosen], shapes[number], list(percents.values()))
            found[number, chosen, list(percents)] = values
    found[:, :, -1] = found[:, :, -2] * grid.cell_area / 1e6
    return found


def _operation(name: str, field: str, raster: RasterioRasterSource) -> Operation:
    return Operation(name, field, raster, options={"min_coverage_frac": LEAST_SHARE})


def _extract(
    bands: Sequence[RasterioRasterSource], shapes: npt.NDArray[np.object_], operations: Sequence[Operation]
) -> list[dict[str, Any]]:
    """Return what exactextract finds, for each shape by the names of the operations."""
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    found = exactextract.exact_extract(
        list(bands), JSONFeatureSource(features), list(operations), max_cells_in_memory=CELLS_AT_ONCE
    )
    return [feature["properties"] for feature in found]


def _percentiles(
    bands: Sequence[RasterioRasterSource], shape: Any, percents: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return percentiles of some bands in one zone (percents, bands); see `weighted_percentiles`."""
    both = ("values", "coverage")
    wanted = [_operation(name, f"{name} {band}", raster) for band, raster in enumerate(bands) for name in both]
    [found] = _extract(bands, np.array([shape]), wanted)
    each = [
        weighted_percentiles(found[f"values {band}"], found[f"coverage {band}"], percents) for band in range(len(bands))
    ]
    return np.stack(each, axis=1)


def weighted_percentiles(
    values: npt.NDArray[np.floating], weights: npt.NDArray[np.floating], percents: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return percentiles of values that count by weights above zero.

    Each value stands at the middle of its weight, and between these they are interpolated, from the first to the last;
    where all weights are the same, as `numpy.percentile` does.

    Parameters
    ----------
    values, weights : (n,) array
    percents : sequence of float
        0 to 100 [%].

    Returns
    -------
    (percents,) array
        NaN where there are no values.
    """
    if values.size == 0:
        return np.full(len(percents), np.nan)
    order = np.argsort(values)
    ordered = np.asarray(weights, dtype=np.float64)[order]
    middles = np.cumsum(ordered) - ordered / 2
    places = middles[0] + (middles[-1] - middles[0]) * np.asarray(percents) / 100.0
    return np.asarray(np.interp(places, middles, values[order]), dtype=np.float64)


def annual_means(table: pd.DataFrame, zones: Zones) -> gpd.GeoDataFrame:
    """Join the mean of each map's year to the polygons, as columns such as ``eemt_topo_2003``.

    Where these are too many for a GeoPackage, those of single years are left out.

    Parameters
    ----------
    table : DataFrame
        What `summarise_zones` returns of one case, with the statistic ``mean``.
    zones : Zones

    Returns
    -------
    GeoDataFrame
        A row a zone, in the polygons' own coordinate system: its name, its attributes as they are named in the table,
        the greatest area that has values in a map [km2], and the means.
    """
    year = table[table["month"] == 0]
    names = year["variable"] + "_" + year["method"] + "_" + year["year"].str.replace("-", "_")
    maps = list(dict.fromkeys(names))
    kept = [name for name in table.columns[: table.columns.get_loc("variable")] if name not in {"site", "case"}]
    if len(maps) + len(kept) > MOST_COLUMNS:
        maps = list(dict.fromkeys(names[year["year"].isin(STATISTICS)]))
    count = len(zones.names)
    # rows come map by map, in each of them zone by zone
    columns = {name: year.loc[names == name, "mean"].to_numpy() for name in maps}
    area = year["area_km2"].to_numpy().reshape(-1, count).max(axis=0)
    described = year[kept].iloc[:count].reset_index(drop=True).assign(area_km2=area)
    return gpd.GeoDataFrame(described.join(pd.DataFrame(columns)), geometry=zones.polygons.reset_index(drop=True))


def write_geopackage(path: Path, frame: gpd.GeoDataFrame) -> None:
    """Write polygons with attributes as the only layer, ``zones``."""
    with whole_or_nothing(path) as partial:
        partial.unlink()
        pyogrio.write_dataframe(frame, partial, layer="zones", driver="GPKG")
