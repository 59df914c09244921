"""Elevation files brought to the grid of the maps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from eemt.config import DemSettings
from eemt.dem import prepare as preparation
from eemt.dem.layout import area, area_grid, dem_grid, layout
from eemt.dem.prepare import prepare
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import read_band, read_grid, write_geotiff
from eemt.sun.horizon import FAR_FACTOR, coarsen
from sites import BOULDER, hills

DEGREES = Grid("EPSG:4326", -105.4, 40.1, 1 / 3600, 1 / 3600, 700, 600)
UTM = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 300, 260)


def written(path: Path, grid: Grid, elevation: np.ndarray | None = None) -> str:
    write_geotiff(path, hills(*grid.shape) if elevation is None else elevation, grid, ["z"], "m")
    return str(path)


def prepared(out: Path, **values: object) -> np.ndarray:
    prepare(DemSettings.model_validate(values), out)
    return read_band(out / "dem.tif")


@pytest.mark.parametrize(
    "values",
    [
        {"crs": "EPSG:32613", "resolution": 20},
        {"resolution": 30, "resampling": "cubic"},
        {"resolution": 100},
        {"resolution": 77.7, "resampling": "bilinear"},
        {"bbox": (-105.35, 40.0, -105.3, 40.05), "buffer": 1000},
    ],
)
def test_windows_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict):
    source = written(tmp_path / "source.tif", DEGREES)
    whole = prepared(tmp_path / "whole", source=source, **values)
    monkeypatch.setattr(preparation, "STRIP", 1)
    np.testing.assert_array_equal(prepared(tmp_path / "strips", source=source, **values), whole)
    far = read_band(tmp_path / "strips" / "far_field.tif")
    np.testing.assert_array_equal(far, coarsen(whole, FAR_FACTOR))


def test_source_on_its_own_grid_is_copied(tmp_path: Path):
    source = written(tmp_path / "source.tif", UTM)
    np.testing.assert_array_equal(prepared(tmp_path / "out", source=source), hills(*UTM.shape))
    assert read_grid(tmp_path / "out" / "dem.tif") == UTM


def test_bbox_cuts_a_metric_source_without_resampling(tmp_path: Path):
    source = written(tmp_path / "source.tif", UTM)
    chosen = DemSettings(source=source, bbox=(-105.31, 39.92, -105.29, 39.93), buffer=600)
    elevation = prepared(tmp_path / "out", **chosen.model_dump())
    rows, cols = area(chosen)
    assert (rows.start, cols.start) == (20, 20)
    assert elevation.shape == (rows.stop + 20, cols.stop + 20)
    grid = dem_grid(chosen)
    row, col = round((UTM.north - grid.north) / 30), round((grid.west - UTM.west) / 30)
    np.testing.assert_array_equal(elevation, hills(*UTM.shape)[row : row + grid.height, col : col + grid.width])


def test_buffer_ends_where_the_source_does(tmp_path: Path):
    source = written(tmp_path / "source.tif", UTM)
    chosen = DemSettings(source=source, bbox=(-105.31, 39.92, -105.29, 39.93))
    assert dem_grid(chosen) == UTM
    assert area_grid(chosen) == area_grid(chosen.model_copy(update={"buffer": 600.0}))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    west=st.floats(-105.39, -105.25),
    south=st.floats(39.95, 40.05),
    size=st.floats(0.01, 0.04),
    buffer=st.floats(0, 5000),
    resolution=st.sampled_from([10.0, 30.0, 28.26, 90.0]),
)
def test_cells_of_the_area_do_not_depend_on_the_buffer(
    tmp_path: Path, west: float, south: float, size: float, buffer: float, resolution: float
):
    source = tmp_path / "source.tif"
    if not source.exists():
        written(source, DEGREES)
    chosen = DemSettings(
        source=str(source), bbox=(west, south, west + size, south + size), buffer=buffer, resolution=resolution
    )
    found, bare = layout(chosen), layout(chosen.model_copy(update={"buffer": 0.0}))
    assert found.area.shape == bare.area.shape
    np.testing.assert_allclose(found.area.bounds, bare.area.bounds, rtol=0, atol=1e-6)
    bounds = np.array(found.area.bounds) / resolution
    np.testing.assert_allclose(bounds, np.round(bounds), rtol=0, atol=1e-6)
    assert found.rows.stop <= found.grid.height
    assert found.cols.stop <= found.grid.width


def test_elevation_of_the_area_does_not_depend_on_the_buffer(tmp_path: Path):
    values = {"source": written(tmp_path / "source.tif", DEGREES), "bbox": (-105.35, 40.0, -105.3, 40.05)}
    chosen = DemSettings.model_validate({**values, "resolution": 30, "buffer": 3000})
    wide = prepared(tmp_path / "wide", **chosen.model_dump())
    bare = prepared(tmp_path / "bare", **{**values, "resolution": 30, "buffer": 0})
    # positions are interpolated along a row to some hundredths of a cell, and cells of noise differ by metres
    np.testing.assert_allclose(wide[area(chosen)], bare, rtol=0, atol=1.0)


def test_feet_become_metres(tmp_path: Path):
    source = written(tmp_path / "feet.tif", UTM, np.full(UTM.shape, 10_000, np.float32))
    assert np.all(prepared(tmp_path / "a", source=source, vertical_unit="foot") == 3048)
    survey = prepared(tmp_path / "b", source=source, vertical_unit="us_foot")
    assert np.all(survey == np.float32(10_000 * 1200 / 3937))


def test_auto_averages_where_cells_become_clearly_coarser(tmp_path: Path):
    source = written(tmp_path / "source.tif", UTM)
    for resolution, word in ((30, "bilinear"), (45, "bilinear"), (60, "average"), (15, "bilinear")):
        prepare(DemSettings(source=source, resolution=resolution), tmp_path)
        with rasterio.open(tmp_path / "dem.tif") as dem:
            assert dem.tags()["RESAMPLING"] == word
    prepare(DemSettings(source=source, resolution=60), tmp_path)
    blocks = hills(*UTM.shape).reshape(130, 2, 150, 2).mean(axis=(1, 3))
    grid = read_grid(tmp_path / "dem.tif")
    if (grid.west, grid.north) == (UTM.west, UTM.north):
        np.testing.assert_allclose(read_band(tmp_path / "dem.tif"), blocks, rtol=1e-6)


def test_narrow_voids_are_filled_and_wide_ones_kept(tmp_path: Path):
    elevation = hills(*UTM.shape)
    elevation[:, 100] = np.nan  # a gap between two surveys
    elevation[50:53, 30:33] = np.nan
    elevation[150:180, 200:230] = np.nan
    source = written(tmp_path / "source.tif", UTM, elevation)
    filled = prepared(tmp_path / "out", source=source, fill_voids=90)
    assert np.argwhere(np.isnan(filled)).min(axis=0).tolist() == [150, 200]
    assert np.isnan(filled).sum() == 30 * 30
    known = ~np.isnan(elevation)
    np.testing.assert_array_equal(filled[known], elevation[known])
    assert np.abs(filled[:, 100] - hills(*UTM.shape)[:, 100]).max() < 20
    steps = json.loads((tmp_path / "out" / "dem.json").read_text())["steps"]
    assert {"step": "fill voids", "up_to_metres": 90.0, "cells_filled": 260 + 9} in steps
    assert np.isnan(prepared(tmp_path / "kept", source=source)).sum() == np.isnan(elevation).sum()


def test_vrt_and_several_files_are_one_source(tmp_path: Path):
    whole = hills(*UTM.shape)
    parts = []
    for number, rows in enumerate((slice(0, 140), slice(120, 260))):
        parts.append(written(tmp_path / f"{number}.tif", UTM.window(rows, slice(0, 300)), whole[rows]))
    np.testing.assert_array_equal(prepared(tmp_path / "files", source=parts), whole)
    said = json.loads((tmp_path / "files" / "dem.json").read_text())
    assert [piece["file"] for piece in said["source"]["pieces"]] == ["0.tif", "1.tif"]
    assert str(tmp_path) not in (tmp_path / "files" / "dem.json").read_text()
    vrt = tmp_path / "both.vrt"
    sources = "".join(
        f"<SimpleSource><SourceFilename relativeToVRT='1'>{n}.tif</SourceFilename><SourceBand>1</SourceBand>"
        f"<SrcRect xOff='0' yOff='0' xSize='300' ySize='140'/><DstRect xOff='0' yOff='{120 * n}' xSize='300' "
        "ySize='140'/></SimpleSource>"
        for n in (0, 1)
    )
    vrt.write_text(
        f"<VRTDataset rasterXSize='300' rasterYSize='260'><SRS>EPSG:32613</SRS><GeoTransform>471000,30,0,4423000,0,-30"
        f"</GeoTransform><VRTRasterBand dataType='Float32' band='1'>{sources}</VRTRasterBand></VRTDataset>"
    )
    np.testing.assert_array_equal(prepared(tmp_path / "vrt", source=str(vrt)), whole)
    said = json.loads((tmp_path / "vrt" / "dem.json").read_text())["source"]["pieces"][0]
    assert said["file"] == "both.vrt"
    assert [other["file"] for other in said["with"]] == ["0.tif", "1.tif"]


def test_wide_area_gets_a_conformal_map_that_its_file_gives_back(tmp_path: Path):
    grid = Grid("EPSG:4326", -110.0, 45.0, 0.05, 0.05, 200, 160)
    elevation = prepared(tmp_path / "out", source=written(tmp_path / "wide.tif", grid), resolution=5000)
    found = read_grid(tmp_path / "out" / "dem.tif")
    assert "Lambert_Conformal_Conic_2SP" in found.crs
    assert found == dem_grid(DemSettings(source=str(tmp_path / "wide.tif"), resolution=5000))
    assert np.isfinite(elevation).mean() > 0.8


def written_without_crs(path: Path, **changes: object) -> str:
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "width": 40, "height": 40, **changes}
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.full((40, 40), 5, np.float32), 1)
    return str(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"source": "gone.tif"}, "gone.tif does not exist"),
        ({"source": ["source.tif", "gone.tif"]}, "gone.tif does not exist"),
        ({"source": ["source.tif", "degrees.tif"]}, "bring them to one coordinate system"),
        ({"source": "nowhere.tif"}, "has no coordinate system"),
        ({"source": "rotated.tif"}, "is not north-up"),
        ({"source": "text.tif"}, "is not a raster that GDAL can read"),
        ({"source": "broken.tif"}, "cannot be read whole"),
        ({"source": "source.tif", "bbox": (10, 10, 11, 11)}, "lies outside"),
        ({"source": "degrees.tif", "bbox": (10, 10, 11, 11)}, "lies outside"),
        ({"source": "source.tif", "bbox": (-105.3, 39.92, -105.2999, 39.9201), "buffer": 0}, "3 x 3 are the least"),
        ({"source": "source.tif", "resolution": 9000}, "dem.resolution: 9000 m leaves 2 x 2 cells; 3 x 3"),
        ({"source": "source.tif", "crs": "EPSG:4326"}, "not a projected system in metres"),
        ({"source": "void.tif"}, "has no valid cell, all are nodata"),
        ({"source": "fine.tif", "fill_voids": 10_000}, "500 cells, 500 m, are the most"),
    ],
)
def test_bad_source_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict, words: str):
    monkeypatch.chdir(tmp_path)
    small = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 300, 260)
    written(Path("source.tif"), small)
    written(Path("degrees.tif"), DEGREES)
    written(Path("fine.tif"), Grid("EPSG:32613", 471_000.0, 4_423_000.0, 1.0, 1.0, 40, 40))
    written(Path("void.tif"), small, np.full(small.shape, np.nan, np.float32))
    written_without_crs(Path("nowhere.tif"), transform=from_origin(10, 10, 1, 1))
    turned = from_origin(471_000, 4_423_000, 30, 30) @ rasterio.Affine.rotation(20)
    written_without_crs(Path("rotated.tif"), crs="EPSG:32613", transform=turned)
    Path("text.tif").write_text("no raster")
    whole = Path("source.tif").read_bytes()
    Path("broken.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as error:
        prepare(DemSettings.model_validate(values), tmp_path / "out")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["3dep"], "options: bbox: is missing; source 3dep needs west, south, east and north [degrees]"),
        (["a.tif", "glo30"], "options: source: names glo30 beside other sources; it has to stand alone"),
        (["a.tif", "--bbox=1,2,3"], "options: bbox: has 3 numbers; four are needed"),
        (["a.tif", "--bbox=170,2,-170,3"], "an area across the date line has to be mapped as two sites"),
        (["a.tif", "--bbox=1,9,2,3"], "bbox: has its south, 9, not south of its north, 3"),
        (["a.tif", "--bbox=1,9,2,93"], "south and north in -90 to 90"),
        (["a.tif", "--bbox=1,x,2,3"], "must be a valid number"),
    ],
)
def test_bad_options_are_one_line(call: Callable, tmp_path: Path, words: list[str], line: str):
    code, _, err = call("dem", *words, "--out", tmp_path / "out")
    assert code == 2
    assert line in err
    assert err.count("\n") == 1


def test_killed_run_leaves_nothing(tmp_path: Path):
    source = written(tmp_path / "source.tif", DEGREES)
    code = (
        "import os, signal, sys\n"
        "from eemt.dem import prepare\n"
        "from eemt.cli import main\n"
        "prepare.coarsen = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.exit(main(['dem', {source!r}, '--resolution', '30', '--out', {str(tmp_path / 'out')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert not (tmp_path / "out").exists()


def test_full_disk_leaves_nothing(tmp_path: Path):
    source = written(tmp_path / "source.tif", DEGREES)
    code = (
        "import resource, signal, sys\n"
        "from eemt.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
        f"sys.exit(main(['dem', {source!r}, '--resolution', '30', '--out', {str(tmp_path / 'out')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "is the disk full?" in done.stderr
    assert not (tmp_path / "out").exists()


def test_embedded_site_keeps_its_elevations(tmp_path: Path):
    elevation = prepared(tmp_path, source=str(BOULDER), crs="EPSG:32613", resolution=30)
    target = np.full(elevation.shape, np.nan, np.float32)
    grid = read_grid(tmp_path / "dem.tif")
    with rasterio.open(BOULDER) as source:
        rasterio.warp.reproject(
            source.read(1, masked=True, out_dtype="float32").filled(np.nan),
            target,
            src_transform=source.transform,
            src_crs=source.crs,
            src_nodata=np.nan,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            dst_nodata=np.nan,
            resampling=rasterio.enums.Resampling.bilinear,
        )
    np.testing.assert_array_equal(elevation, target)
