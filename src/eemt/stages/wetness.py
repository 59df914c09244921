"""``eemt wetness``: the topographic wetness of a whole DEM, or of an area within it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from eemt.errors import InputError
from eemt.grid import Grid, area_window
from eemt.raster import geotiff_writer, open_raster, read_dem_grid, read_window, row_strips
from eemt.terrain import horn, slope
from eemt.wetness import (
    RIM,
    from_edge,
    mcwi,
    receivers,
    route,
    surface_profile,
    topographic_wetness,
    without_gaps,
)

CACHE = 128 * 2**20  # bytes, of blocks that GDAL holds: a strip is as high as a block
EDGE_CELLS, EDGE_SHARE = "EDGE_CELLS", "EDGE_SHARE"


def run(args: argparse.Namespace) -> None:
    """Write the specific catchment area and the two indices made of it, strip by strip.

    Raises
    ------
    InputError
        When the DEM or the area holds no value.
    """
    grid = read_dem_grid(args.dem)
    rows, cols = area_window(grid, args.area)
    target = grid.window(rows, cols)
    tags = {"SLOPE_FLOOR": args.settings.slope_floor, "MEAN_ONE_OVER": args.settings.domain}
    args.out.mkdir(parents=True, exist_ok=True)
    # beside the results, since the folder for temporary files is often kept in memory
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE),
        tempfile.TemporaryDirectory(prefix=".wetness-", dir=args.out) as name,
        open_raster(args.dem) as dem,
    ):
        surface = Path(name) / "surface.tif"
        land = _write_surface(dem, grid, surface)
        if not land[RIM + rows.start : RIM + rows.stop, RIM + cols.start : RIM + cols.stop].any():
            where = f"area: {args.area} of {args.dem}" if args.area else f"dem: {args.dem}"
            raise InputError(f"{where} has no valid cell, all are nodata")
        area, direction = route(surface, Path(name))
        edge = from_edge(_receivers(direction), land)
        twi = _write_area(dem, grid, (rows, cols), area, edge, args, tags)
    _write(args.out / "twi.tif", twi, target, "topographic wetness index", tags)
    _write(args.out / "mcwi.tif", mcwi(twi, args.settings.domain), target, "mass conservative wetness index", tags)


def _write_surface(dem: rasterio.DatasetReader, grid: Grid, path: Path) -> npt.NDArray[np.bool_]:
    """Write the land without gaps, in its rim, and return where land is (rows + 4, columns + 4)."""
    land = np.zeros((grid.height + 2 * RIM, grid.width + 2 * RIM), dtype=np.bool_)
    lowest = np.inf
    for rows in row_strips(slice(0, grid.height)):
        elevation = read_window(dem, rows, slice(0, grid.width))
        here = np.isfinite(elevation)
        land[rows.start + RIM : rows.stop + RIM, RIM:-RIM] = here
        lowest = min(lowest, float(elevation.min(where=here, initial=np.inf)))
    if not land.any():
        return land
    with rasterio.open(path, "w", **surface_profile(*land.shape, (grid.dx + grid.dy) / 2.0)) as file:
        for rows in row_strips(slice(0, land.shape[0])):
            around = slice(rows.start - 2 * RIM, rows.stop), slice(-2 * RIM, grid.width + 2 * RIM)
            window = Window.from_slices(rows, slice(0, land.shape[1]))
            file.write(without_gaps(read_window(dem, *around), lowest), 1, window=window)
    return land


def _receivers(direction: Path) -> npt.NDArray[np.uint8]:
    with rasterio.open(direction) as file:
        codes = np.empty(file.shape, dtype=np.uint8)
        for rows in row_strips(slice(0, file.height)):
            codes[rows] = receivers(file.read(1, window=Window.from_slices(rows, slice(0, file.width))))
    return codes


def _write_area(
    dem: rasterio.DatasetReader,
    grid: Grid,
    area: tuple[slice, slice],
    routed: Path,
    edge: npt.NDArray[np.bool_],
    args: argparse.Namespace,
    tags: dict[str, Any],
) -> npt.NDArray[np.float32]:
    """Write ``area.tif`` and return the topographic wetness index."""
    (rows, cols), target = area, grid.window(*area)
    twi = np.empty(target.shape, dtype=np.float32)
    bands = ["specific catchment area", "upslope area reaches the edge of the elevation model"]
    reached, valid = 0, 0
    with rasterio.open(routed) as file, geotiff_writer(args.out / "area.tif", target, bands, "m", tags) as out:
        for strip in row_strips(rows):
            around = slice(strip.start - 1, strip.stop + 1), slice(cols.start - 1, cols.stop + 1)
            elevation = read_window(dem, *around)
            land = np.isfinite(elevation[1:-1, 1:-1])
            steepness = slope(*horn(elevation, grid.dx, grid.dy))[1:-1, 1:-1].astype(np.float32)
            in_rim = (
                slice(strip.start + RIM, strip.stop + RIM),
                slice(cols.start + RIM, cols.stop + RIM),
            )
            upslope = np.where(land, file.read(1, window=Window.from_slices(*in_rim)), np.float32(np.nan))
            here = slice(strip.start - rows.start, strip.stop - rows.start)
            twi[here] = topographic_wetness(upslope, steepness, floor=args.settings.slope_floor)
            flags = np.where(land, edge[in_rim].astype(np.float32), np.float32(np.nan))
            out.write(np.stack([upslope, flags]), window=Window.from_slices(here, slice(0, target.width)))
            reached, valid = reached + int(edge[in_rim].sum()), valid + int(land.sum())
        out.set_band_unit(2, "1")
        out.update_tags(**{EDGE_CELLS: reached, EDGE_SHARE: f"{reached / valid:.6g}"})
    return twi


def _write(path: Path, values: npt.NDArray[np.float32], grid: Grid, name: str, tags: dict[str, Any]) -> None:
    with geotiff_writer(path, grid, [name], "1", tags) as out:
        for strip in row_strips(slice(0, grid.height)):
            out.write(values[strip], 1, window=Window.from_slices(strip, slice(0, grid.width)))
