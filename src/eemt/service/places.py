"""Where things lie: the layout of maps from what is known of uploads, and outlines in degrees."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import Transformer

from eemt.config import DemSettings, is_address
from eemt.dem.layout import Layout, carried, layout
from eemt.errors import InputError
from eemt.grid import Grid

STAND_IN = "https://uploads.invalid/"  # address under which the layout looks up the header of an upload


def layout_of(dem: DemSettings, grids: Mapping[str, Mapping[str, Any]]) -> Layout | None:
    """Lay out the grid of the maps from what is known of uploads; nothing where only a server knows.

    Raises
    ------
    InputError
        When there is none.
    """
    if any(is_address(source) for source in dem.sources):
        return None
    if not dem.files:
        return _computed(dem)
    # the layout looks up headers of remote rasters among those kept of earlier runs: there it finds the uploads'
    addresses = [STAND_IN + path for path in dem.sources]
    with tempfile.TemporaryDirectory() as folder:
        for path, address in zip(dem.sources, addresses, strict=True):
            name = hashlib.sha256(address.encode()).hexdigest()[:24]
            (Path(folder) / f"{name}.json").write_text(json.dumps(grids[path]), encoding="utf-8")
        try:
            return _computed(dem.model_copy(update={"source": tuple(addresses)}), Path(folder))
        except InputError as error:
            raise InputError(str(error).replace(STAND_IN, "")) from None


def _computed(dem: DemSettings, cache: Path | None = None) -> Layout:
    try:
        return layout(dem) if cache is None else layout(dem, cache)
    except (ValueError, ArithmeticError):
        raise InputError("dem.resolution: leaves no grid that can be computed") from None


def layout_warnings(grid: Mapping[str, Any]) -> list[str]:
    """Say what would hinder maps of all of an elevation model with all else by default; nothing where they can be."""
    try:
        layout_of(DemSettings(source="data"), {"data": grid})
    except InputError as error:
        return [str(error)]
    return []


def footprint(grid: Grid, points: int = 16) -> dict[str, Any]:
    """Return the outline of a grid as a GeoJSON polygon, WGS 84, with so many points on each edge."""
    west, south, east, north = grid.bounds
    share = np.linspace(0.0, 1.0, points, endpoint=False)
    along, back = west + share * (east - west), east - share * (east - west)
    up, down = south + share * (north - south), north - share * (north - south)
    x = np.concatenate([along, np.full(points, east), back, np.full(points, west), [west]])
    y = np.concatenate([np.full(points, south), up, np.full(points, north), down, [south]])
    longitude, latitude = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        raise InputError("dem: the raster's outline has no place on Earth; check its coordinate system")
    ring = [[round(float(a), 6), round(float(b), 6)] for a, b in zip(longitude, latitude, strict=True)]
    return {"type": "Polygon", "coordinates": [ring]}


def box_in_degrees(bounds: tuple[float, float, float, float], crs: str) -> list[float]:
    """Return west, south, east and north of a rectangle in degrees, WGS 84."""
    west, south, east, north = carried(bounds, crs, "EPSG:4326")
    return [west, south, east, north]
