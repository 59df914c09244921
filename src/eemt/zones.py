"""Zones: polygons such as catchments, that maps are summed up over; their file and their place on a map."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import shapely
from pyproj import Transformer
from pyproj.exceptions import ProjError

from eemt.config import ZoneSettings
from eemt.errors import InputError
from eemt.grid import Grid, same_crs

# of which those of layers, features and coordinate systems are kinds
READING_ERRORS = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError)
MARGIN = 0.05  # of the map's size, that polygons are kept beyond it while they are carried to its projection
SEGMENTS = 1000  # parts of the map's size, so that a straight edge is carried over as the curve that it becomes


@dataclass(frozen=True)
class Zones:
    """Polygons with names and attributes.

    Parameters
    ----------
    file : str
        Where they are from, for messages.
    names : list
        One each, no two alike: numbers or words.
    attributes : DataFrame
        As they are in the file, a row a zone, but the one that `names` is made of where it is called zone.
    polygons : GeoSeries
        Of polygons or several polygons each, valid, in the file's coordinate system.
    """

    file: str
    names: list[Any]
    attributes: pd.DataFrame
    polygons: gpd.GeoSeries

    def on(self, grid: Grid) -> npt.NDArray[np.object_]:
        """Carry the polygons to a map's coordinate system, cut off somewhere beyond the map; empty far from it.

        Raises
        ------
        InputError
            When the file's coordinate system has no place on Earth.
        """
        if same_crs(self._crs, grid.crs):
            return np.asarray(self.polygons.to_numpy())
        try:
            near = _surroundings(grid, self._crs)
        except ProjError:
            name = self.polygons.crs.name
            raise InputError(f"zones: {self.file} is in {name}, from which there is no way to the maps") from None
        parts = _polygonal(shapely.intersection(self.polygons.to_numpy(), near))
        west, south, east, north = shapely.total_bounds(parts)
        if not np.isfinite([west, south, east, north]).all():
            return parts
        parts = shapely.segmentize(parts, max(east - west, north - south) / SEGMENTS)
        return np.asarray(gpd.GeoSeries(parts, crs=self._crs).to_crs(grid.crs).to_numpy())

    @cached_property
    def _crs(self) -> str:
        return str(self.polygons.crs.to_wkt())


def read_zones(settings: ZoneSettings) -> Zones:
    """Read polygons with their attributes.

    Raises
    ------
    InputError
        When the file is missing, no vector file, has no coordinate system or no polygons or several layers of them,
        when a feature is no valid polygon, or when their names are missing or the same.
    """
    file = str(settings.file)
    if not Path(file).exists():
        raise InputError(f"zones: {file} does not exist")
    layer = settings.layer or _only_layer(file)
    if layer not in _layers(file):
        raise InputError(f"zones: {file} has no layer {layer}; it has {', '.join(_layers(file))}")
    try:
        # a shape that cannot be made is left empty, so that it is named below
        with _silent():
            frame = pyogrio.read_dataframe(file, layer=layer, on_invalid="ignore")
    except READING_ERRORS as error:
        raise InputError(f"zones: {file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty:
        raise InputError(f"zones: {file}, layer {layer}, has no polygons")
    if frame.crs is None:
        raise InputError(f"zones: {file} has no coordinate system; add one, with `ogr2ogr -a_srs EPSG:…` or in QGIS")
    attributes = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    attributes = attributes.apply(lambda column: column.map(_as_json) if column.dtype == object else column)
    names = _names(file, attributes, settings.id)
    polygons = gpd.GeoSeries(shapely.force_2d(frame.geometry.to_numpy()), crs=frame.crs)
    _refuse_invalid(file, names, polygons)
    return Zones(file, names, attributes.drop(columns="zone") if settings.id == "zone" else attributes, polygons)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep GDAL's warnings back: what matters of them is found in the features, and told of these by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _layers(file: str) -> dict[str, str | None]:
    """Return the geometry of each layer, by name."""
    try:
        with _silent():
            return {str(name): geometry for name, geometry in pyogrio.list_layers(file)}
    except READING_ERRORS:
        raise InputError(f"zones: {file} is not a vector file that GDAL can read") from None


def _only_layer(file: str) -> str:
    layers = _layers(file)
    # shapefiles and the like do not say; what is in them is looked at feature by feature
    with_polygons = [
        name for name, geometry in layers.items() if geometry and ("Polygon" in geometry or geometry == "Unknown")
    ]
    if len(with_polygons) > 1:
        raise InputError(f"zones: {file} has several layers: {', '.join(with_polygons)}; name one as zones.layer")
    if not with_polygons:
        found = ", ".join(f"{name} ({geometry or 'no geometry'})" for name, geometry in layers.items())
        raise InputError(f"zones: {file} has no layer of polygons; it has {found or 'none at all'}")
    return with_polygons[0]


def _as_json(value: Any) -> Any:
    """Write lists and the like as text, since a table's cell holds one value."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return json.dumps(value) if isinstance(value, list | dict) else value


def _names(file: str, attributes: pd.DataFrame, key: str | None) -> list[Any]:
    if key is None:
        return list(range(1, len(attributes) + 1))
    if key not in attributes:
        have = ", ".join(map(str, attributes.columns)) or "none"
        raise InputError(f"zones.id: {file} has no attribute {key}; it has {have}")
    column = attributes[key]
    if column.isna().any():
        number = int(np.flatnonzero(column.isna())[0]) + 1
        raise InputError(f"zones.id: polygon {number} of {file} has no {key}; each needs one")
    twice = column[column.astype(str).duplicated()]
    if not twice.empty:
        raise InputError(
            f"zones.id: {file} has {key} {twice.iloc[0]} more than once; give another attribute, or join its polygons"
        )
    return list(column)


def _refuse_invalid(file: str, names: Sequence[Any], polygons: gpd.GeoSeries) -> None:
    """Raise for the first that is missing, no polygon, empty, not finite or crosses itself."""
    values = polygons.to_numpy()
    kinds = polygons.geom_type.to_numpy()
    wrong = ~np.isin(kinds, ["Polygon", "MultiPolygon"]) | shapely.is_empty(values) | ~shapely.is_valid(values)
    for number in map(int, np.flatnonzero(wrong)):
        where = f"zone {names[number]} (feature {number + 1}) of {file}"
        if values[number] is None or shapely.is_empty(values[number]):
            raise InputError(f"zones: {where} has no geometry that can be used; each needs a polygon")
        if kinds[number] not in {"Polygon", "MultiPolygon"}:
            raise InputError(f"zones: {where} is a {kinds[number]}; only polygons have an area")
        with np.errstate(all="ignore"):
            reason = shapely.is_valid_reason(values[number])
        raise InputError(f"zones: {where} is no valid polygon: {reason}; mend it, with QGIS's Fix geometries")


def _surroundings(grid: Grid, crs: str) -> Any:
    """Return where a map lies in another coordinate system, and a margin; nothing where it has no place there."""
    west, south, east, north = grid.bounds
    aside = MARGIN * max(east - west, north - south) + 2 * max(grid.dx, grid.dy)
    outer = (west - aside, south - aside, east + aside, north + aside)
    transformer = Transformer.from_crs(grid.crs, crs, always_xy=True)
    west, south, east, north = transformer.transform_bounds(*outer, densify_pts=101)
    if not np.isfinite([west, south, east, north]).all():
        return shapely.Polygon()
    if west > east:  # over the date line
        return shapely.union_all([shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)])
    return shapely.box(west, south, east, north)


def _polygonal(shapes: Any) -> npt.NDArray[np.object_]:
    """Leave out the points and lines where a polygon just touches what it was cut by."""
    kept = np.empty(len(shapes), dtype=object)
    for number, shape in enumerate(shapes):
        parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
        kept[number] = shapely.MultiPolygon(parts)
    return kept


def outside(shapes: npt.NDArray[np.object_], grid: Grid) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say which zones lie wholly outside a map, and which of the others by more than a cell in part."""
    window = shapely.box(*grid.bounds)
    wholly = shapely.area(shapely.intersection(shapes, window)) == 0.0
    partly = shapely.area(shapely.difference(shapes, window)) > grid.cell_area
    return wholly, partly & ~wholly


def refuse_elsewhere(zones: Zones, grid: Grid) -> None:
    """Raise when no zone lies on the maps.

    Raises
    ------
    InputError
    """
    wholly, _ = outside(zones.on(grid), grid)
    if wholly.all():
        edges = ", ".join(f"{edge:.6g}" for edge in zones.polygons.total_bounds)
        raise InputError(
            f"zones: none of the {len(wholly)} polygons of {zones.file} lies on the maps; they reach from west, south, "
            f"east, north {edges} in {zones.polygons.crs.name}"
        )
