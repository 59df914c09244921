"""Polygons that users send: which GeoJSON and GeoPackage files are taken, and what is in them.

Runs in the process of `eemt.service.inspection`. The workflow opens the file later with all of GDAL's drivers, so
that nothing may pass which another driver would take for its own, or in which a reference to somewhere else stands.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely

from eemt.config import ZoneSettings
from eemt.errors import InputError
from eemt.service.places import box_in_degrees
from eemt.zones import READING_ERRORS, read_zones

MOST_LAYERS = 50
DATABASE_START = b"SQLite format 3\0"
DATABASE_KINDS = (b"GPKG", b"GP10", b"GP11", b"GP12")  # its application_id, bytes 68 to 71
MOST_TABLES = 10_000
VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s+TABLE", re.IGNORECASE)
INDEX_OF_PLACES = re.compile(r"USING\s+\"?rtree\"?\s*\(", re.IGNORECASE)
# GDAL tells formats of text apart by words within so many bytes
BEGINNING = 100_000
MEMBERS = {"type", "name", "crs", "bbox", "features", "id", "title", "description", "metadata", "properties"}
MEMBERS |= {"generator", "timestamp", "xy_coordinate_resolution", "z_coordinate_resolution", "licence", "license"}
CRS_NAME = re.compile(r"(urn:ogc:def:crs:)?[A-Za-z0-9]{2,12}:[A-Za-z0-9.]{0,12}:?[A-Za-z0-9]{1,12}", re.ASCII)


def header(path: Path) -> dict[str, Any]:
    """Check a file of polygons and return what is in it.

    Raises
    ------
    InputError
        When it cannot be used.
    """
    with path.open("rb") as file:
        start = file.read(100)
    if start.startswith(DATABASE_START):
        ending = "gpkg"
        refuse_database(path, start)
    elif start.startswith(b"{"):
        ending = "geojson"
        refuse_text(path.read_bytes())
    else:
        raise InputError("it is neither GeoJSON nor GeoPackage; save it as one of these, in QGIS or with `ogr2ogr`")
    named = path.parent / f"zones.{ending}"
    named.symlink_to(path.name)
    layers = _layers(named)
    return layers[0] | {"ending": ending, "layers": layers}


def refuse_database(path: Path, start: bytes) -> None:
    """Raise for a database that is more than tables: views and virtual tables run code of whoever made it.

    Raises
    ------
    InputError
    """
    if start[68:72] not in DATABASE_KINDS:
        raise InputError("it is a database of SQLite but no GeoPackage")
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as database:
            database.execute("PRAGMA trusted_schema=OFF")
            tables = database.execute("SELECT type, name, sql FROM sqlite_master").fetchmany(MOST_TABLES)
    except sqlite3.Error as error:
        raise InputError(f"it is a damaged GeoPackage: {error}") from None
    for kind, name, sql in tables:
        if kind == "view" or (VIRTUAL.match(sql or "") and not INDEX_OF_PLACES.search(sql)):
            raise InputError(f"its {name!r:.80} is no plain table; save the polygons alone as a new GeoPackage")


def refuse_text(text: bytes) -> None:
    """Raise for what is no GeoJSON alone, or names a coordinate system by an address.

    Raises
    ------
    InputError
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise InputError("it has a key twice in one object")
        if isinstance(found.get("crs"), dict):
            _refuse_link(found["crs"])
        return found

    if b"<" in text[:BEGINNING]:
        raise InputError("it has markup (<) near its beginning; take that out of the attributes")
    try:
        whole = json.loads(text.decode("utf-8"), object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is no GeoJSON: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(whole, dict) or whole.get("type") != "FeatureCollection":
        raise InputError("it is no FeatureCollection of GeoJSON")
    if strange := set(whole) - MEMBERS:
        raise InputError(f"it has the key {min(strange)!r:.80}, which is none of GeoJSON's")


def _refuse_link(crs: Mapping[str, Any]) -> None:
    """Raise for a coordinate system that GDAL would fetch."""
    properties = crs.get("properties")
    name = properties.get("name") if isinstance(properties, dict) else None
    if crs.get("type") != "name" or not CRS_NAME.fullmatch(str(name)):
        raise InputError("its coordinate system is no name such as urn:ogc:def:crs:EPSG::32613")


def _layers(path: Path) -> list[dict[str, Any]]:
    """Return what is in each layer of polygons; where there is one alone, it need not be named."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            listed = pyogrio.list_layers(path)
    except READING_ERRORS:
        raise InputError("it cannot be read") from None
    names = [str(name) for name, geometry in listed if geometry and ("Polygon" in geometry or geometry == "Unknown")]
    if len(names) <= 1:
        return [_layer(path, None, names[0] if names else "")]
    if len(names) > MOST_LAYERS:
        raise InputError(f"it has {len(names)} layers; {MOST_LAYERS} are the most")
    return [_layer(path, name, name) for name in names]


def _layer(path: Path, layer: str | None, name: str) -> dict[str, Any]:
    zones = read_zones(ZoneSettings(file=path.name, layer=layer))
    west, south, east, north = (float(edge) for edge in shapely.total_bounds(zones.polygons.to_numpy()))
    if not np.isfinite([west, south, east, north]).all():
        raise InputError("its polygons have no place")
    columns = zones.attributes
    usable = [
        str(column)
        for column in columns
        if columns[column].notna().all() and not columns[column].astype(str).duplicated().any()
    ]
    return {
        "layer": name,
        "polygons": len(zones.names),
        "attributes": [str(column) for column in columns],
        "identifiers": usable,
        "crs": str(zones.polygons.crs.name),
        "bounds": box_in_degrees((west, south, east, north), str(zones.polygons.crs.to_wkt())),
    }
