"""Rasters in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from rio_cogeo.cogeo import cog_validate

from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import (
    cog_writer,
    open_netcdf,
    read_band,
    read_dem,
    read_grid,
    read_on_grid,
    row_strips,
    whole_or_nothing,
    write_geotiff,
)

GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 20, 18)


def plain(path: Path, values: np.ndarray, crs: str | None = "EPSG:32613", transform: Affine | None = None) -> Path:
    where = transform or from_origin(471_000, 4_423_000, 30, 30)
    profile = {"driver": "GTiff", "dtype": values.dtype, "count": 1, "crs": crs, "transform": where, "nodata": -9999}
    with rasterio.open(path, "w", height=values.shape[0], width=values.shape[1], **profile) as target:
        target.write(values, 1)
    return path


def test_missing_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"dem: .*gone.tif does not exist"):
        read_dem(tmp_path / "gone.tif")


def test_file_that_is_no_raster(tmp_path: Path):
    path = tmp_path / "notes.tif"
    path.write_text("not a raster")
    with pytest.raises(InputError, match=r"notes.tif is not a raster that GDAL can read"):
        read_dem(path)


def test_raster_without_crs(tmp_path: Path):
    path = plain(tmp_path / "d.tif", np.ones((5, 5), dtype=np.float32), crs=None)
    with pytest.raises(InputError, match=r"has no coordinate system; add one with `rio edit-info"):
        read_dem(path)


def test_raster_all_nodata(tmp_path: Path):
    with pytest.raises(InputError, match="has no valid cell"):
        read_dem(plain(tmp_path / "d.tif", np.full((5, 5), -9999, dtype=np.float32)))


@pytest.mark.parametrize("shape", [(2, 9), (9, 2), (1, 1)])
def test_raster_too_small(tmp_path: Path, shape: tuple[int, int]):
    with pytest.raises(InputError, match=f"has {shape[0]} x {shape[1]} cells; 3 x 3 are the least"):
        read_dem(plain(tmp_path / "d.tif", np.ones(shape, dtype=np.float32)))


def test_rotated_raster(tmp_path: Path):
    turned = from_origin(471_000, 4_423_000, 30, 30) * Affine.rotation(10)
    with pytest.raises(InputError, match="is not north-up"):
        read_grid(plain(tmp_path / "d.tif", np.ones((5, 5), dtype=np.float32), transform=turned))


def test_raster_in_degrees(tmp_path: Path):
    path = plain(tmp_path / "d.tif", np.ones((5, 5), np.float32), "EPSG:4326", from_origin(-105, 40, 0.001, 0.001))
    with pytest.raises(InputError, match="is in degrees; bring it to metres first with `eemt dem`"):
        read_dem(path)


def test_holes_stay_holes(tmp_path: Path):
    values = np.arange(25, dtype=np.int16).reshape(5, 5)
    values[2, 3] = -9999
    elevation, _ = read_dem(plain(tmp_path / "d.tif", values))
    assert np.isnan(elevation[2, 3]) and np.isnan(elevation).sum() == 1


def test_reading_beyond_the_edge_gives_nan(tmp_path: Path):
    path = plain(tmp_path / "d.tif", np.arange(20, dtype=np.float32).reshape(4, 5))
    values = read_band(path, rows=slice(-2, 6), cols=slice(-1, 7))
    assert values.shape == (8, 8)
    np.testing.assert_array_equal(values[2:6, 1:6], np.arange(20).reshape(4, 5))
    assert np.isnan(values).sum() == 64 - 20


def test_reading_wholly_beyond_the_edge_gives_nan(tmp_path: Path):
    path = plain(tmp_path / "d.tif", np.ones((4, 5), dtype=np.float32))
    assert np.isnan(read_band(path, rows=slice(4, 6), cols=slice(-3, 0))).all()


def test_strips_cover_rows_once():
    assert list(row_strips(slice(3, 10), 3)) == [slice(3, 6), slice(6, 9), slice(9, 10)]


def test_a_tile_may_be_all_nodata(tmp_path: Path):
    write_geotiff(tmp_path / "t.tif", np.full(GRID.shape, np.nan, np.float32), GRID, ["z"], "m", {"TILE": "r000c000"})
    elevation, grid = read_dem(tmp_path / "t.tif")
    assert np.isnan(elevation).all() and grid == GRID


def test_geotiff_carries_names_units_nodata_crs_and_tags(tmp_path: Path):
    values = np.random.default_rng(0).normal(size=(2, *GRID.shape)).astype(np.float32)
    values[:, 3, 3] = np.nan
    write_geotiff(tmp_path / "m.tif", values, GRID, ["one", "two"], "MJ m-2", {"METHOD": "topo"})
    with rasterio.open(tmp_path / "m.tif") as source:
        assert source.descriptions == ("one", "two")
        assert source.units == ("MJ m-2", "MJ m-2")
        assert np.isnan(source.nodata)
        assert source.crs.to_epsg() == 32613
        assert source.tags()["METHOD"] == "topo"
        np.testing.assert_array_equal(source.read(), values)
    assert read_grid(tmp_path / "m.tif") == GRID


def test_cog_is_valid_and_has_overviews(tmp_path: Path):
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 700, 600)
    values = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    with cog_writer(tmp_path / "m.tif", grid, ["eemt"], "MJ m-2", {"A": "b"}) as target:
        target.write(values, 1)
    valid, errors, warnings = cog_validate(tmp_path / "m.tif", strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(tmp_path / "m.tif") as source:
        assert source.overviews(1)
        assert source.descriptions == ("eemt",) and source.units == ("MJ m-2",) and source.tags()["A"] == "b"
        np.testing.assert_array_equal(source.read(1), values)


@pytest.mark.parametrize("writer", [whole_or_nothing, lambda path: cog_writer(path, GRID, ["a"], "m")])
def test_interrupted_writing_leaves_nothing(tmp_path: Path, writer):
    def interrupted():
        with writer(tmp_path / "m.tif"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_interrupted_writing_keeps_what_was_there(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def failing():
        with whole_or_nothing(path) as partial:
            partial.write_text("half")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        failing()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_window_of_another_raster_on_the_same_cells(tmp_path: Path):
    values = np.arange(360, dtype=np.float32).reshape(GRID.shape)
    write_geotiff(tmp_path / "m.tif", values, GRID, ["a"], "1")
    part = GRID.window(slice(2, 6), slice(3, 9))
    np.testing.assert_array_equal(read_on_grid(tmp_path / "m.tif", part, "mcwi")[0], values[2:6, 3:9])
    shifted = Grid(GRID.crs, GRID.west + 11, GRID.north, 30.0, 30.0, 5, 5)
    for other in (shifted, GRID.window(slice(-1, 4), slice(0, 4))):
        with pytest.raises(InputError, match=r"mcwi: .* is not on the cells of the elevation model"):
            read_on_grid(tmp_path / "m.tif", other, "mcwi")


def test_netcdf_that_is_none(tmp_path: Path):
    (tmp_path / "c.nc").write_text("<html>login</html>")
    with pytest.raises(InputError, match="is not a NetCDF-4 file"), open_netcdf(tmp_path / "c.nc", "climate"):
        pass
    with pytest.raises(InputError, match="does not exist"), open_netcdf(tmp_path / "d.nc", "climate"):
        pass
