"""Where elevations come from and what was done to them: dem.json beside dem.tif."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import rasterio

import eemt
from eemt.config import DemSettings
from eemt.dem.remote import OpenRasters, Place, facts
from eemt.raster import whole_or_nothing

if TYPE_CHECKING:
    from eemt.dem.prepare import Prepared
    from eemt.dem.source import Source


def record(path: Path, settings: DemSettings, ready: Prepared, extremes: tuple[float, float]) -> None:
    """Write the provenance of a prepared elevation model.

    Files are named without their folders and addresses without user and query.

    Parameters
    ----------
    path : Path
    settings : DemSettings
    ready : Prepared
    extremes : (float, float)
        Least and greatest elevation [m].
    """
    grid, mapped = ready.layout.grid, ready.layout.area
    content = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "eemt": eemt.__version__,
            "rasterio": rasterio.__version__,
            "gdal": rasterio.__gdal_version__,
            "proj": pyproj.proj_version_str,
            "numpy": np.__version__,
        },
        "source": _source(settings, ready.source),
        "steps": _steps(settings, ready),
        "grid": {
            "crs": grid.crs,
            "bounds": grid.bounds,
            "cell": [grid.dx, grid.dy],
            "rows": grid.height,
            "columns": grid.width,
        },
        "area": {
            "bbox": settings.bbox,
            "rows": [ready.layout.rows.start, ready.layout.rows.stop],
            "columns": [ready.layout.cols.start, ready.layout.cols.stop],
            "bounds": mapped.bounds,
        },
        "elevation": {"unit": "m", "lowest": extremes[0], "highest": extremes[1]},
    }
    with whole_or_nothing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _source(settings: DemSettings, source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {"title": source.title}
    if source.data_set:
        name = source.data_set.name
        inventory = Place(source.data_set.inventory_url(settings.base_url))
        found["data_set"] = source.data_set.word
        found["list"] = {"url": inventory.shown, **facts(inventory)}
        found["absent_taken_for_sea"] = sorted(name(corner) for corner in source.absent.sea)
        found["absent_without_data"] = sorted(name(corner) for corner in source.absent.unknown)
    found["pieces"] = [_piece(piece.place) for piece in source.pieces]
    return found


def _piece(place: Place) -> dict[str, Any]:
    if place.remote:
        return {"url": place.shown, **facts(place)}
    with OpenRasters() as rasters:
        names = rasters.use(place, lambda raster: list(raster.files))
    # of a VRT the files that it names, too
    local = [Path(name) for name in dict.fromkeys([place.address, *names]) if Path(name).is_file()]
    if not local:
        return {"file": place.name}
    first, *others = [{"file": file.name, "size": file.stat().st_size, "sha256": _sha256(file)} for file in local]
    return {**first, "with": others} if others else first


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _steps(settings: DemSettings, ready: Prepared) -> list[dict[str, Any]]:
    """List what was done, in order."""
    own = ready.staged_grid
    steps: list[dict[str, Any]] = [
        {
            "step": "read",
            "crs": own.crs,
            "bounds": own.bounds,
            "cell": [own.dx, own.dy],
            "rows": own.height,
            "columns": own.width,
        }
    ]
    if settings.vertical_unit != "metre":
        steps.append({"step": "to metres", "unit": settings.vertical_unit})
    if settings.fill_voids:
        steps.append({"step": "fill voids", "up_to_metres": settings.fill_voids, "cells_filled": ready.filled})
    if ready.resampling != "none":
        steps.append({"step": "warp", "resampling": ready.resampling, "source_cells_per_cell": list(ready.ratio)})
    return steps
