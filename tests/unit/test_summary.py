"""The table of maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import write_geotiff
from eemt.summary import summarise

BANDS = list("abcdefghijklm")
GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 50, 40)


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
    monkeypatch.setattr("eemt.summary.HELD", 1)
    monkeypatch.setattr("eemt.summary.PIECE", 1000)
    pd.testing.assert_frame_equal(summarise([path], "here"), whole)
    for row, band in zip(whole.itertuples(), values.astype(np.float64), strict=True):
        known = band[np.isfinite(band)]
        assert (row.mean, row.sd) == (pytest.approx(known.mean()), pytest.approx(known.std()))
        assert (row.p5, row.p50, row.p95) == tuple(np.percentile(known, [5, 50, 95]))


def test_summary_writes_csv_and_parquet_alike(call, tmp_path: Path):
    write_geotiff(tmp_path / "eppt_trad_1971-2000.tif", np.ones((13, *GRID.shape), np.float32), GRID, BANDS, "")
    words = ("--site", "s", "--case", "linke~2", "--csv", tmp_path / "s.csv", "--parquet", tmp_path / "s.parquet")
    code, _, err = call("summary", tmp_path / "eppt_trad_1971-2000.tif", *words)
    assert (code, err) == (0, "")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "s.csv"), pd.read_parquet(tmp_path / "s.parquet"), check_dtype=False
    )


def test_rows_of_a_map_follow_its_bands(tmp_path: Path):
    write_geotiff(tmp_path / "eemt_topo_trend.tif", np.ones((1, *GRID.shape), np.float32), GRID, ["year"], "")
    write_geotiff(tmp_path / "eemt_topo_2003.tif", np.ones((13, *GRID.shape), np.float32), GRID, BANDS, "")
    table = summarise([tmp_path / "eemt_topo_trend.tif", tmp_path / "eemt_topo_2003.tif"], "here")
    assert list(table.month) == [0, *range(13)]
    assert list(table.columns[:6]) == ["site", "case", "variable", "method", "year", "month"]
    assert set(table.case) == {""}


def test_summary_refuses_a_map_by_another_name(tmp_path: Path):
    with pytest.raises(InputError, match=r"slope.tif is not named VARIABLE_METHOD_YEAR.tif"):
        summarise([tmp_path / "slope.tif"], "here")
