"""Maps put together from tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rio_cogeo.cogeo import cog_validate

from eemt.errors import InputError
from eemt.grid import Grid, tiles
from eemt.products import mosaic_rasters
from eemt.raster import read_band, read_grid, write_geotiff

GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 50, 40)


def cut(folder: Path, values: np.ndarray, size: int) -> list[Path]:
    paths = []
    for tile in tiles(GRID, size).values():
        path = folder / f"{tile.name}.tif"
        write_geotiff(
            path, values[:, tile.rows, tile.cols], GRID.window(tile.rows, tile.cols), ["a", "b"], "Wh m-2", {"K": 1}
        )
        paths.append(path)
    return paths


@settings(max_examples=10, deadline=None)
@given(size=st.sampled_from([1, 7, 16, 24, 40, 64]))
def test_mosaic_of_tiles_is_the_whole(tmp_path_factory, size: int):
    folder = tmp_path_factory.mktemp("tiles")
    size = max(size, 7)
    values = np.random.default_rng(1).normal(size=(2, *GRID.shape)).astype(np.float32)
    values[:, 5:9, 5:30] = np.nan
    mosaic_rasters(cut(folder, values, size), folder / "whole.tif")
    with rasterio.open(folder / "whole.tif") as source:
        np.testing.assert_array_equal(source.read(), values)
        assert source.descriptions == ("a", "b") and source.units == ("Wh m-2",) * 2 and source.tags()["K"] == "1"
    assert read_grid(folder / "whole.tif") == GRID
    assert cog_validate(folder / "whole.tif", strict=True)[0]


def test_big_mosaic_is_a_cog_with_overviews_and_leaves_nothing_else(tmp_path: Path):
    grid = Grid(GRID.crs, GRID.west, GRID.north, 30.0, 30.0, 700, 600)
    values = np.random.default_rng(2).normal(size=(2, *grid.shape)).astype(np.float32)
    paths = []
    for tile in tiles(grid, 330).values():  # no multiple of a block
        paths.append(tmp_path / f"{tile.name}.tif")
        part = grid.window(tile.rows, tile.cols)
        write_geotiff(paths[-1], values[:, tile.rows, tile.cols], part, ["a", "b"], "m")
    mosaic_rasters(paths, tmp_path / "out" / "whole.tif")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole.tif"]
    assert cog_validate(tmp_path / "out" / "whole.tif", strict=True)[0]
    with rasterio.open(tmp_path / "out" / "whole.tif") as source:
        np.testing.assert_array_equal(source.read(), values)
        assert source.overviews(1) == source.overviews(2) != []


def test_tiles_of_different_grids_are_refused(tmp_path: Path):
    one = cut(tmp_path, np.ones((2, *GRID.shape), np.float32), 64)[0]
    other = Grid(GRID.crs, GRID.west + 10, GRID.north, 30.0, 30.0, 5, 5)
    write_geotiff(tmp_path / "o.tif", np.ones((2, 5, 5), np.float32), other, ["a", "b"], "")
    with pytest.raises(InputError, match="is not on the same cells as"):
        mosaic_rasters([one, tmp_path / "o.tif"], tmp_path / "whole.tif")
    assert not (tmp_path / "whole.tif").exists()


def test_missing_tile_is_named(tmp_path: Path):
    paths = cut(tmp_path, np.ones((2, *GRID.shape), np.float32), 24)
    paths[1].unlink()
    with pytest.raises(InputError, match=paths[1].name):
        mosaic_rasters(paths, tmp_path / "whole.tif")


def test_mosaic_options_belong_to_netcdf_tiles(call, tmp_path: Path):
    paths = cut(tmp_path, np.ones((2, *GRID.shape), np.float32), 64)
    code, _, err = call("mosaic", *paths, "--out", tmp_path / "w.tif", "--variable", "eemt")
    assert code == 2
    assert "GeoTIFF tiles take no --variable" in err
    assert np.isfinite(read_band(paths[0])).all()
