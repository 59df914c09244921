"""Rasters of any grid on the cells of a map, whichever tile they are read for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from eemt.errors import InputError
from eemt.grid import Grid
from eemt.resampling import on_cells

GRID = Grid("EPSG:32613", 471_015.0, 4_423_007.0, 28.26, 28.26, 600, 560)


def raster(path: Path, values: np.ndarray, crs: str, west: float, north: float, cell: float, **more: object) -> Path:
    bands = values[np.newaxis] if values.ndim == 2 else values
    scale = more.pop("scale", None)
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    profile |= {"dtype": bands.dtype, "crs": crs, "transform": from_origin(west, north, cell, cell)} | more
    with rasterio.open(path, "w", **profile) as target:
        target.write(bands)
        if scale:
            target.scales = (scale,) * len(bands)
    return path


def wavy(rows: int, cols: int) -> np.ndarray:
    y, x = np.mgrid[:rows, :cols]
    return (np.sin(x / 7.0) + np.cos(y / 5.0) + 0.1 * np.sin(x * y)).astype(np.float32)


@pytest.mark.parametrize(
    ("crs", "west", "north", "cell", "shape"),
    [
        ("EPSG:4326", -105.345, 39.96, 0.0008, (200, 320)),
        ("EPSG:4326", -105.345, 39.96, 0.0001, (1600, 2600)),
        ("EPSG:5070", -785_000.0, 1_930_000.0, 250.0, (260, 260)),
        ("EPSG:32613", 470_990.0, 4_423_100.0, 10.0, (1700, 1800)),
    ],
)
def test_a_cell_is_the_same_in_every_tile(tmp_path: Path, crs, west, north, cell, shape):
    path = raster(tmp_path / "a.tif", wavy(*shape), crs, west, north, cell)
    whole = on_cells(path, GRID, "ndvi")
    assert np.isfinite(whole).mean() > 0.5
    for rows, cols in (
        (slice(0, 97), slice(3, 401)),
        (slice(101, 560), slice(255, 600)),
        (slice(300, 301), slice(7, 8)),
    ):
        tile = on_cells(path, GRID.window(rows, cols), "ndvi")
        np.testing.assert_array_equal(tile, whole[:, rows, cols])


def test_fine_cells_are_averaged_and_coarse_ones_interpolated(tmp_path: Path):
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 40, 40)
    rng = np.random.default_rng(1)
    fine = rng.random((400, 400)).astype(np.float32)
    path = raster(tmp_path / "f.tif", fine, "EPSG:32613", 471_000.0, 4_423_000.0, 3.0)
    blocks = fine.reshape(40, 10, 40, 10).mean(axis=(1, 3))
    np.testing.assert_allclose(on_cells(path, grid, "ndvi")[0], blocks, atol=1e-5)
    ramp = np.broadcast_to(np.arange(14, dtype=np.float32), (14, 14)).copy()
    path = raster(tmp_path / "c.tif", ramp, "EPSG:32613", 471_000.0 - 150, 4_423_000.0 + 150, 120.0)
    expected = (grid.x - (471_000.0 - 150) - 60) / 120.0
    np.testing.assert_allclose(on_cells(path, grid, "ndvi")[0], np.broadcast_to(expected, (40, 40)), atol=1e-4)


def test_whole_numbers_are_scaled_and_not_rounded(tmp_path: Path):
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 10, 10)
    values = np.full((12, 20, 20), 5000, dtype=np.int16)
    values[:, ::2] = 5001
    values[:, :2, :2] = -3000
    path = raster(tmp_path / "n.tif", values, grid.crs, grid.west, grid.north, 15.0, nodata=-3000, scale=1e-4)
    ndvi = on_cells(path, grid, "ndvi")
    assert ndvi.shape == (12, 10, 10)
    assert np.isnan(ndvi[:, 0, 0]).all() and np.isnan(ndvi).sum() == 12
    np.testing.assert_allclose(ndvi[:, 1:], 0.50005, rtol=1e-6)


def test_beyond_a_raster_without_nodata_is_no_value(tmp_path: Path):
    path = raster(
        tmp_path / "s.tif", np.ones((40, 40), np.float32), GRID.crs, GRID.west + 2000, GRID.north - 2000, 30.0
    )
    values = on_cells(path, GRID, "ndvi")
    assert np.isnan(values[0, 0, 0])
    assert np.nanmin(values) == np.nanmax(values) == 1.0


def test_a_raster_must_be_placed_on_earth(tmp_path: Path):
    path = raster(tmp_path / "p.tif", np.ones((4, 4), np.float32), None, 0, 0, 30.0)
    with pytest.raises(InputError, match=r"ndvi: .*p.tif has no coordinate system"):
        on_cells(path, GRID, "ndvi")
    with pytest.raises(InputError, match="does not exist"):
        on_cells(tmp_path / "gone.tif", GRID, "ndvi")
