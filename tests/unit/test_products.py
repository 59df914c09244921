"""Maps put together from tiles, and their table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rio_cogeo.cogeo import cog_validate

from eemt.errors import InputError
from eemt.grid import Grid, tiles
from eemt.products import mosaic_rasters, summarise
from eemt.raster import read_band, read_grid, write_geotiff

BANDS = list("abcdefghijklm")
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


def test_summary_counts_valid_cells_only(tmp_path: Path):
    values = np.arange(26 * 100, dtype=np.float32).reshape(13, 10, 20)
    values[:, 0, :10] = np.nan
    grid = Grid(GRID.crs, GRID.west, GRID.north, 100.0, 100.0, 20, 10)
    write_geotiff(tmp_path / "eemt_topo_2003.tif", values, grid, BANDS, "MJ m-2")
    table = summarise([tmp_path / "eemt_topo_2003.tif"], "here")
    assert list(table.month) == list(range(13))
    year = table.iloc[0]
    valid = values[0][np.isfinite(values[0])]
    assert (year.site, year.variable, year.method, year.year) == ("here", "eemt", "topo", "2003")
    assert year["mean"] == pytest.approx(valid.mean())
    assert (year.p5, year.p50, year.p95) == tuple(pytest.approx(v) for v in np.percentile(valid, [5, 50, 95]))
    assert (year.cells, year.area_km2) == (190, pytest.approx(1.9))


def test_summary_of_a_map_without_values(tmp_path: Path):
    write_geotiff(
        tmp_path / "eemt_trad_mean.tif",
        np.full((13, 4, 4), np.nan, np.float32),
        GRID.window(slice(0, 4), slice(0, 4)),
        BANDS,
        "",
    )
    table = summarise([tmp_path / "eemt_trad_mean.tif"], "here")
    assert table["mean"].isna().all() and (table.cells == 0).all()


def test_summary_is_that_of_all_values_however_much_is_held_at_once(tmp_path: Path, monkeypatch):
    values = np.random.default_rng(3).gamma(2.0, 7.0, size=(3, 300, 70)).astype(np.float32)
    values[:, 250:260, 3:40] = np.nan
    grid = Grid(GRID.crs, GRID.west, GRID.north, 30.0, 30.0, 70, 300)
    path = tmp_path / "eemt_topo_2003.tif"
    write_geotiff(path, values, grid, ["a", "b", "c"], "MJ m-2")
    whole = summarise([path], "here")
    monkeypatch.setattr("eemt.products.HELD", 1)
    monkeypatch.setattr("eemt.products.PIECE", 1000)
    pd.testing.assert_frame_equal(summarise([path], "here"), whole)
    for row, band in zip(whole.itertuples(), values.astype(np.float64), strict=True):
        known = band[np.isfinite(band)]
        assert (row.mean, row.sd) == (pytest.approx(known.mean()), pytest.approx(known.std()))
        assert (row.p5, row.p50, row.p95) == tuple(np.percentile(known, [5, 50, 95]))


def test_summary_writes_csv_and_parquet_alike(call, tmp_path: Path):
    write_geotiff(tmp_path / "eppt_trad_1971-2000.tif", np.ones((13, *GRID.shape), np.float32), GRID, BANDS, "")
    code, _, err = call(
        "summary",
        tmp_path / "eppt_trad_1971-2000.tif",
        "--site",
        "s",
        "--csv",
        tmp_path / "s.csv",
        "--parquet",
        tmp_path / "s.parquet",
    )
    assert (code, err) == (0, "")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "s.csv"), pd.read_parquet(tmp_path / "s.parquet"), check_dtype=False
    )


def test_summary_refuses_a_map_by_another_name(tmp_path: Path):
    with pytest.raises(InputError, match=r"slope.tif is not named VARIABLE_METHOD_YEAR.tif"):
        summarise([tmp_path / "slope.tif"], "here")


def test_mosaic_options_belong_to_netcdf_tiles(call, tmp_path: Path):
    paths = cut(tmp_path, np.ones((2, *GRID.shape), np.float32), 64)
    code, _, err = call("mosaic", *paths, "--out", tmp_path / "w.tif", "--variable", "eemt")
    assert code == 2
    assert "GeoTIFF tiles take no --variable" in err
    assert np.isfinite(read_band(paths[0])).all()
