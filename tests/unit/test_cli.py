"""The command line: help, quick start, one clear line and exit code 2 for bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from eemt import __version__
from eemt.cli import COMMANDS
from eemt.grid import Grid
from eemt.raster import read_band, read_grid, write_geotiff
from sites import BOULDER, CLIMATE


def config_file(folder: Path, **site: object) -> Path:
    content = {"sites": {"here": {"dem": {"source": str(BOULDER)}, "climate": CLIMATE, **site}}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_and_version(call, command: str):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert out.startswith(f"usage: eemt {command}")
    assert call(command, "--version")[:2] == (0, f"eemt {__version__}\n")


def test_help_loads_no_heavy_library():
    heavy = "numba, rasterio, xarray, pandas, matplotlib, whitebox_workflows"
    code = f"import eemt.cli, sys; eemt.cli._parser(); print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["sun", "terrain", "wetness"])
def test_missing_dem_is_one_line_and_exit_2(call, tmp_path: Path, command: str):
    code, out, err = call(command, tmp_path / "gone.tif", "--out", tmp_path / "maps")
    assert (code, out) == (2, "")
    assert err == f"eemt {command}: dem: {tmp_path}/gone.tif does not exist\n"
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--albedo", "1.5"], "options: albedo: is 1.5; allowed are 0 to 1"),
        (["--albedo", "grey"], "options: albedo: must be a number or twelve numbers, January first, or the path of"),
        (["--albedo", "no.tif"], "albedo: no.tif does not exist"),
        (["--linke", "hazy"], "options: linke: must be a number or twelve numbers, January first, or climatology"),
        (["--linke", "3,4"], "options: linke: has 2 values; give one, or twelve with January first"),
        (["--step", "soon"], "options: step: is 'soon'; must be a valid number"),
        (["--days", "300:10"], "days: 300:10 is not FIRST:LAST within 1:365"),
        (["--days", "0:10"], "days: 0:10 is not FIRST:LAST within 1:365"),
        (["--days", "x"], "days: x is not FIRST:LAST within 1:365"),
        (["--halo", "9999"], "halo: 9999 m on every side leaves nothing of 36 x 44 cells"),
    ],
)
def test_bad_options_of_sun(call, hill_dem: Path, tmp_path: Path, words: list[str], line: str):
    code, _, err = call("sun", hill_dem, "--out", tmp_path / "maps", *words)
    assert code == 2
    assert err.startswith(f"eemt sun: {line}")
    assert err.count("\n") == 1
    assert not (tmp_path / "maps").exists()


def test_dem_is_brought_to_metres(call, tmp_path: Path):
    code, _, err = call("dem", BOULDER, "--out", tmp_path, "--crs", "EPSG:32613", "--resolution", 30)
    assert (code, err) == (0, "")
    grid = read_grid(tmp_path / "dem.tif")
    assert (grid.crs, grid.dx, grid.dy) == ("EPSG:32613", 30.0, 30.0)
    elevation = read_band(tmp_path / "dem.tif")
    assert 1630 < np.nanmin(elevation) < 1660
    assert 2560 < np.nanmax(elevation) < 2590
    far = read_grid(tmp_path / "far_field.tif")
    assert (far.west, far.north) == (grid.west, grid.north)
    assert np.nanmax(read_band(tmp_path / "far_field.tif")) == np.nanmax(elevation)


def test_elevations_that_cannot_be_metres_are_warned_of(call, tmp_path: Path, hill_grid: Grid):
    write_geotiff(tmp_path / "feet.tif", np.full(hill_grid.shape, 14_433, np.float32), hill_grid, ["z"], "")
    code, _, err = call("dem", tmp_path / "feet.tif", "--out", tmp_path)
    assert code == 0
    assert "runs from 14,433 to 14,433; are these metres above sea level?" in err


def test_undeclared_fill_values_become_holes(call, tmp_path: Path, hill_grid: Grid):
    values = np.full(hill_grid.shape, 1800, np.float32)
    values[3, 4] = -3.4e38
    write_geotiff(tmp_path / "raw.tif", values, hill_grid, ["z"], "m")
    assert call("dem", tmp_path / "raw.tif", "--out", tmp_path)[0] == 0
    assert np.isnan(read_band(tmp_path / "dem.tif")).sum() == 1


def test_dem_all_nodata(call, tmp_path: Path, hill_grid: Grid):
    write_geotiff(tmp_path / "void.tif", np.full(hill_grid.shape, np.nan, np.float32), hill_grid, ["z"], "m")
    code, _, err = call("dem", tmp_path / "void.tif", "--out", tmp_path / "out")
    assert (code, err) == (2, f"eemt dem: dem: {tmp_path}/void.tif has no valid cell, all are nodata\n")
    assert not (tmp_path / "out").exists()


def test_grid_too_coarse_for_the_dem(call, tmp_path: Path):
    code, _, err = call("dem", BOULDER, "--out", tmp_path, "--resolution", 9000)
    assert code == 2
    assert "3 x 3 are the least" in err


def test_tile_has_its_rim_and_nodata_beyond(call, hill_dem: Path, tmp_path: Path, hill_grid: Grid):
    out = tmp_path / "tile.tif"
    assert call("tile", hill_dem, "--tile", "r000c001", "--size", 24, "--halo", 90, "--out", out)[0] == 0
    tile = read_grid(out)
    assert tile == hill_grid.window(slice(-3, 27), slice(21, 47))
    values, whole = read_band(out), read_band(hill_dem)
    assert np.isnan(values[:3]).all() and np.isnan(values[:, -3:]).all()
    np.testing.assert_array_equal(values[3:, :-3], whole[:27, 21:])


def test_far_field_of_another_dem_is_refused(call, hill_dem: Path, tmp_path: Path, hill_grid: Grid):
    other = Grid(hill_grid.crs, hill_grid.west + 7, hill_grid.north, 240.0, 240.0, 5, 5)
    write_geotiff(tmp_path / "far.tif", np.ones(other.shape, np.float32), other, ["z"], "m")
    code, _, err = call("sun", hill_dem, "--out", tmp_path / "maps", "--far", tmp_path / "far.tif")
    assert code == 2
    assert "was not made from the DEM that the tile was cut from" in err


def test_sun_writes_what_it_promises(call, hill_dem: Path, tmp_path: Path):
    code, _, err = call("sun", hill_dem, "--out", tmp_path, "--days", "170:174", "--step", 30, "--threads", 1)
    assert (code, err) == (0, "")
    for name in ("global", "beam", "diffuse", "insolation", "flat_global"):
        with rasterio.open(tmp_path / f"{name}.tif") as source:
            assert source.descriptions == tuple(f"day {day}" for day in range(170, 175))
            assert source.units[0] == ("h" if name == "insolation" else "Wh m-2 day-1")
            holes = source.read(masked=True).mask
            assert holes[:, 20:23, 30:33].all()
            assert holes.sum() == 5 * 9
            statistics = source.tags(1)
            low, high = float(statistics["STATISTICS_MINIMUM"]), float(statistics["STATISTICS_MAXIMUM"])
            assert low <= float(statistics["STATISTICS_MEAN"]) <= high
    monthly = read_band(tmp_path / "monthly_global.tif", band=6)
    daily = np.stack([read_band(tmp_path / "global.tif", band=band) for band in range(1, 6)])
    # days are kept to the nearest Wh m-2
    np.testing.assert_allclose(monthly, daily.sum(axis=0), atol=5 * 0.5 + 0.01)
    assert np.nanmax(read_band(tmp_path / "monthly_global.tif", band=1)) == 0


def test_monthly_sums_alone(call, hill_dem: Path, tmp_path: Path):
    out = tmp_path / "maps"
    assert call("sun", hill_dem, "--out", out, "--days", "170:174", "--step", 30, "--no-daily")[0] == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "monthly_flat_global.tif",
        "monthly_global.tif",
        "monthly_insolation.tif",
    ]


def test_linke_climatology_is_that_of_the_far_field_so_that_tiles_agree(
    call, hill_dem, tmp_path, hill_grid, monkeypatch
):
    far = Grid(hill_grid.crs, hill_grid.west, hill_grid.north, 120.0, 120.0, 100, 80)
    write_geotiff(tmp_path / "far.tif", np.full(far.shape, 1600, np.float32), far, ["z"], "m")
    places = []
    monkeypatch.setattr("eemt.stages.sun.climatology", lambda *place: places.append(place) or np.full(365, 4.0))
    words = ["sun", hill_dem, "--days", "172", "--step", 60, "--linke", "climatology"]
    assert call(*words, "--out", tmp_path / "whole")[0] == 0
    assert call(*words, "--out", tmp_path / "tile", "--far", tmp_path / "far.tif")[0] == 0
    assert places == [hill_grid.centre, far.centre]
    assert call(*words[:-1], "4", "--out", tmp_path / "four")[0] == 0
    np.testing.assert_array_equal(read_band(tmp_path / "whole/global.tif"), read_band(tmp_path / "four/global.tif"))


def test_albedo_raster_is_read_on_the_cells_of_the_core(call, hill_dem: Path, tmp_path: Path, hill_grid: Grid):
    wide = hill_grid.window(slice(-2, 40), slice(-3, 50))
    albedo = np.full(wide.shape, 0.2, np.float32)
    albedo[:, :20] = 0.8
    write_geotiff(tmp_path / "albedo.tif", albedo, wide, ["albedo"], "1")
    words = ["sun", hill_dem, "--days", "172", "--step", 60, "--halo", 90]
    for name, value in (("map", tmp_path / "albedo.tif"), ("low", 0.2), ("high", 0.8)):
        assert call(*words, "--albedo", value, "--out", tmp_path / name)[0] == 0
    ours, low, high = (read_band(tmp_path / name / "monthly_global.tif", 6) for name in ("map", "low", "high"))
    np.testing.assert_array_equal(ours[:, :14], high[:, :14])
    np.testing.assert_array_equal(ours[:, 14:], low[:, 14:])
    assert np.nansum(high) > np.nansum(low)


@pytest.mark.parametrize(
    ("value", "shift", "bands", "line"),
    [
        (0.2, 7.0, 1, "is not on the cells of the elevation model, or does not cover them"),
        (0.2, 30.0, 1, "is not on the cells of the elevation model, or does not cover them"),
        (0.2, 0.0, 12, "has 12 bands; a map of albedo has one"),
        (23.0, 0.0, 1, "is 23 in places; allowed are 0 to 1"),
        (np.nan, 0.0, 1, "has no value in 1575 cells of 36 x 44"),
    ],
)
def test_bad_albedo_raster(call, hill_dem, tmp_path, hill_grid, value, shift, bands, line):
    grid = Grid(hill_grid.crs, hill_grid.west + shift, hill_grid.north, 30.0, 30.0, hill_grid.width, hill_grid.height)
    path = tmp_path / "albedo.tif"
    write_geotiff(path, np.full((bands, *grid.shape), value, np.float32), grid, ["albedo"] * bands, "1")
    code, _, err = call("sun", hill_dem, "--out", tmp_path / "maps", "--albedo", path)
    assert (code, err) == (2, f"eemt sun: albedo: {path} {line}\n")
    assert not (tmp_path / "maps").exists()


def test_sky_view_and_horizons_are_written_on_demand(call, hill_dem: Path, tmp_path: Path):
    words = ["sun", hill_dem, "--days", "172", "--step", 60, "--out", tmp_path / "maps"]
    assert call(*words)[0] == 0
    assert not (tmp_path / "maps/sky_view.tif").exists() and not (tmp_path / "maps/horizon.tif").exists()
    whole = read_band(tmp_path / "maps/diffuse.tif")
    assert call(*words, "--sky-view", "--horizons")[0] == 0
    assert np.nanmean(read_band(tmp_path / "maps/diffuse.tif")) < np.nanmean(whole)
    with rasterio.open(tmp_path / "maps/sky_view.tif") as source:
        view = source.read(1)
        assert (source.count, source.units) == (1, ("1",))
    assert np.nanmin(view) > 0 and np.nanmax(view) <= 1
    with rasterio.open(tmp_path / "maps/horizon.tif") as source:
        assert source.count == 64
        assert source.descriptions[:2] == ("azimuth 0 from grid north", "azimuth 5.625 from grid north")
        assert set(source.units) == {"degrees"}
        horizons = source.read()
    assert np.nanmin(horizons) >= 0 and np.nanmax(horizons) < 90
    assert np.isnan(horizons[:, 20:23, 30:33]).all()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_sun_leaves_no_file(tmp_path: Path, how: signal.Signals):
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 700, 700)
    rough = np.random.default_rng(0).normal(2000, 100, grid.shape).astype(np.float32)
    write_geotiff(tmp_path / "dem.tif", rough, grid, ["z"], "m")
    command = [sys.executable, "-m", "eemt.cli", "sun", str(tmp_path / "dem.tif"), "--out", str(tmp_path / "maps")]
    # what runs in the background ignores an interrupt, and so would its children
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **heeding)
    deadline = time.monotonic() + 120
    while not (tmp_path / "maps").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert process.poll() is None, "it ended before it could be stopped"
    process.send_signal(how)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.endswith("eemt sun: interrupted; nothing half-written is left\n")
    assert list((tmp_path / "maps").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_output_folder(call, hill_dem: Path, tmp_path: Path):
    tmp_path.joinpath("locked").mkdir(mode=0o500)
    code, _, err = call("terrain", hill_dem, "--out", tmp_path / "locked" / "maps")
    assert code == 1
    assert "Permission denied" in err


def test_output_folder_that_is_a_file(call, hill_dem: Path, tmp_path: Path):
    (tmp_path / "maps").write_text("")
    code, _, err = call("terrain", hill_dem, "--out", tmp_path / "maps")
    assert code == 2
    assert err == f"eemt terrain: out: {tmp_path}/maps is a file; name a folder\n"


def test_check_says_what_a_run_would_do(call, tmp_path: Path):
    path = config_file(tmp_path, dem={"source": str(BOULDER), "resolution": 30}, tiles={"size": 160})
    code, out, err = call("check", path)
    assert (code, err) == (0, "")
    assert "cells of" in out
    assert "4 tiles, methods trad, topo, years 1971-2000" in out


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("month,tmin_degC,tmax_degC\n1,0,1\n", "prcp_mm"),
        ("", "is not a CSV table"),
    ],
)
def test_check_refuses_a_bad_station_table(call, tmp_path: Path, table: str, line: str):
    (tmp_path / "s.csv").write_text(table)
    climate = {**CLIMATE, "file": str(tmp_path / "s.csv")}
    code, _, err = call("check", config_file(tmp_path, climate=climate))
    assert code == 2
    assert err.count("\n") == 1
    assert line in err


def test_check_looks_at_the_albedo_raster(call, tmp_path: Path):
    code, _, err = call("check", config_file(tmp_path, sun={"albedo": str(tmp_path / "gone.tif")}))
    assert (code, err) == (2, f"eemt check: sun.albedo: {tmp_path}/gone.tif does not exist\n")
    site = {"dem": {"source": str(BOULDER), "resolution": 30}, "sun": {"albedo": str(BOULDER)}}
    code, _, err = call("check", config_file(tmp_path, **site))
    assert code == 2
    assert "is not on the cells of the elevation model, or does not cover them" in err and err.count("\n") == 1


def test_check_of_years_that_the_table_lacks(call, tmp_path: Path):
    climate = {**CLIMATE, "normals_period": None, "years": [2001, 2002]}
    code, _, err = call("check", config_file(tmp_path, climate=climate))
    assert code == 2
    assert err.count("\n") == 1


@pytest.mark.parametrize(("content", "line"), [("a: [", "is not YAML"), ("- a", "must be keys and values")])
def test_check_of_a_broken_config(call, tmp_path: Path, content: str, line: str):
    (tmp_path / "c.yaml").write_text(content)
    code, _, err = call("check", tmp_path / "c.yaml")
    assert code == 2
    assert line in err and err.count("\n") == 1


def test_full_disk_is_one_line(tmp_path: Path, hill_dem: Path):
    # a limit on the size of files stands in for a full disk: writing fails with an error of the system
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
    limit += (
        f"import sys; from eemt.cli import main; sys.exit(main(['terrain', {str(hill_dem)!r}, '--out', sys.argv[1]]))"
    )
    out = tmp_path / "maps"
    done = subprocess.run([sys.executable, "-c", limit, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("eemt terrain: ")
    assert list(out.iterdir()) == []


def test_runs_as_a_process_of_its_own():
    command = [str(Path(sys.executable).parent / "eemt"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"eemt {__version__}\n")
