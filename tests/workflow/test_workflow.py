"""The workflow end to end, on a clip of the embedded site, as its users run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import xarray as xr
import yaml
from rio_cogeo.cogeo import cog_validate
from rocrate.rocrate import ROCrate

from browser import CHROMIUM, DESK, PHONE, assert_fits
from eemt.grid import Grid
from eemt.raster import read_band, read_grid, write_geotiff
from executors.runs import SNAKEMAKE, Run, clip_config
from sites import CLIMATE, ROOT
from stac_extensions import faults

pytestmark = pytest.mark.workflow

METHODS = ("trad", "topo", "veg")
Fresh = Callable[..., Run]
OF_THE_SITE = dict.fromkeys(["maps_clip", "summary", "catalogue_clip", "report", "crate"], 1)
Planned = Callable[..., dict[str, int]]


def verify(run: Run) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "eemt"), "verify", "results"]
    return subprocess.run(command, cwd=run.folder, capture_output=True, text=True, check=False)


def config_of(run: Run) -> dict[str, Any]:
    return yaml.safe_load((run.folder / "config/config.yaml").read_text())


def test_maps_open_as_they_should(finished: Run, clip: Path):
    with rasterio.open(clip) as dem:
        bounds, crs = dem.bounds, dem.crs
    for variable in ("eemt", "ebio", "eppt"):
        for method in METHODS:
            for year in ("1971-2000", "mean"):
                path = finished.result(f"maps/{variable}_{method}_{year}.tif")
                assert cog_validate(path, strict=True)[0]
                with rasterio.open(path) as source:
                    assert (source.bounds, source.crs, source.count) == (bounds, crs, 13)
                    assert source.descriptions[0] == f"{variable} {method} {year} year"
                    assert source.descriptions[7] == f"{variable} {method} {year} Jul"
                    assert set(source.units) == {"MJ m-2"}
                    assert np.isnan(source.nodata)
                    assert "Rasmussen" in source.tags()["CITATION"]


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's own programs are not installed")
def test_another_gdal_such_as_that_of_qgis_reads_maps_with_their_bands_units_and_statistics(finished: Run):
    def told_of(name: str) -> dict[str, Any]:
        words = ["gdalinfo", "-json", str(finished.result(name))]
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    mean = "maps/eemt_topo_mean.tif"
    for name in (mean, "sun/monthly_global.tif", "terrain/slope.tif", "wetness/area.tif", "dem/dem.tif"):
        told = told_of(name)
        assert told["driverShortName"] == "GTiff" and "UTM zone 13N" in told["coordinateSystem"]["wkt"]
        assert all(band["description"] and band["unit"] for band in told["bands"])
        assert all(np.isnan(float(band["noDataValue"])) for band in told["bands"])
    told = told_of(mean)
    assert [band["description"].split()[-1] for band in told["bands"]][:3] == ["year", "Jan", "Feb"]
    assert float(told["bands"][0]["metadata"][""]["STATISTICS_MEAN"]) == pytest.approx(
        float(np.nanmean(read_band(finished.result(mean)))), rel=1e-5
    )


def test_catalogue_crate_and_report_open_in_their_tools(finished: Run, tmp_path: Path):
    site = pystac.Collection.from_file(str(finished.result("catalog.json")))
    items = list(site.get_items())
    assert len(items) == 18
    for item in items:
        assert list(faults(item.to_dict(include_self_link=False))) == []
        with rasterio.open(item.assets["data"].get_absolute_href()) as source:
            assert source.crs.to_string() == item.properties["proj:code"]
    crate = ROCrate(str(finished.result("")))
    assert crate.dereference("maps/eemt_topo_mean.tif")["sha256"]
    assert crate.dereference("stac/eemt_topo_mean.png")["sha256"]
    if CHROMIUM:
        for width in (PHONE, DESK):
            assert_fits([finished.result("report.html")], tmp_path, width)


def test_energies_lie_where_published_ones_do(finished: Run):
    for method in ("trad", "topo"):
        annual = read_band(finished.result(f"maps/eemt_{method}_1971-2000.tif"))
        assert np.nanmin(annual) > 2
        assert np.nanmax(annual) < 60


def test_bare_ground_has_the_least_energy_by_veg(finished: Run):
    # Rasmussen et al. 2015, Eq 12 as printed, with a canopy of 0 m; 22 kJ g-1
    bare = 0.022 * (196.0 - 12.0933**2)
    energy = read_band(finished.result("maps/ebio_veg_1971-2000.tif"))
    assert np.nanmin(energy) == pytest.approx(bare, rel=1e-5)
    assert 2 * bare < np.nanmax(energy) < 60


def test_holes_stay_holes_in_every_map(finished: Run, clip: Path):
    hole = np.isnan(read_band(clip))
    for path in sorted(finished.result("maps").glob("*.tif")):
        np.testing.assert_array_equal(np.isnan(read_band(path)), hole)


def test_eemt_is_the_sum_of_its_parts_and_of_its_months(finished: Run):
    for method in METHODS:
        stack = {}
        for variable in ("eemt", "ebio", "eppt"):
            with rasterio.open(finished.result(f"maps/{variable}_{method}_1971-2000.tif")) as source:
                stack[variable] = source.read()
        np.testing.assert_allclose(stack["eemt"], stack["ebio"] + stack["eppt"], rtol=1e-5)
        np.testing.assert_allclose(stack["eemt"][0], stack["eemt"][1:].sum(axis=0), rtol=1e-5)


def test_north_facing_cells_have_more_energy_by_topo(finished: Run):
    annual = read_band(finished.result("maps/eemt_topo_1971-2000.tif"))
    northness = read_band(finished.result("terrain/northness.tif"))
    assert np.nanmean(annual[northness > 0]) > np.nanmean(annual[northness < 0])


def test_tiled_equals_untiled_in_every_product(finished: Run, untiled: Run):
    names = [f"maps/{path.name}" for path in finished.result("maps").glob("*.tif")]
    names += [f"terrain/{layer}.tif" for layer in ("slope", "aspect", "northness")]
    names += [f"sun/monthly_{layer}.tif" for layer in ("global", "flat_global", "insolation")]
    names += [f"wetness/{layer}.tif" for layer in ("area", "twi", "mcwi")]
    assert len(names) == 18 + 9
    for name in names:
        with rasterio.open(finished.result(name)) as tiled, rasterio.open(untiled.result(name)) as whole:
            np.testing.assert_array_equal(tiled.read(), whole.read(), err_msg=name)


def test_a_year_of_days_is_kept_for_each_tile(finished: Run):
    tiles = sorted(path.name for path in finished.result("sun/tiles").iterdir())
    assert tiles == ["r000c000", "r000c001", "r001c000", "r001c001"]
    with rasterio.open(finished.result("sun/tiles/r001c001/global.tif")) as source:
        assert (source.count, source.shape) == (365, (16, 16))


def test_summary_agrees_with_the_maps(finished: Run):
    table = pd.read_csv(finished.result("summary.csv"))
    row = table.query("variable == 'eemt' and method == 'topo' and year == 'mean' and month == 0").iloc[0]
    assert row["mean"] == pytest.approx(np.nanmean(read_band(finished.result("maps/eemt_topo_mean.tif"))), rel=1e-5)
    assert len(table) == 18 * 13


def test_report_is_one_file_with_the_run_in_it(finished: Run):
    page = finished.result("report.html").read_text(encoding="utf-8")
    assert "clip" in page
    assert "1971" in page
    assert "Run times" in page
    assert not re.search(r"<(img|link|script)[^>]+(src|href)=[\"']?https?:", page)


def test_snakemake_s_own_report_has_the_results_by_site(finished: Run):
    done = finished.snakemake("--report", "all.html")
    assert done.returncode == 0, done.stdout
    assert all(f"Adding {name} " in done.stdout for name in ("report.html", "overview.png", "summary.csv"))
    assert "The report of clip: maps, curves, methods" in (finished.folder / "all.html").read_text()


def test_what_was_made_is_in_the_crate_and_unchanged(finished: Run):
    done = verify(finished)
    assert done.returncode == 0, done.stdout + done.stderr


def test_climate_is_cf_and_carries_its_source(finished: Run):
    with xr.open_dataset(finished.result("climate/climate.nc"), engine="h5netcdf") as climate:
        assert climate.attrs["Conventions"].startswith("CF-1.")
        assert climate.sizes["time"] == 12
        assert {"tmin", "tmax", "prcp", "vp", "elevation"} <= set(climate.variables)


def test_second_run_has_nothing_to_do(finished: Run):
    before = finished.written()
    done = finished.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout
    assert finished.written() == before


def test_changed_albedo_reruns_the_sun_and_what_follows_alone(finished: Run, planned: Planned):
    changed = config_of(finished)
    changed["sun"]["albedo"] = 0.35
    jobs = planned(finished, config=changed)
    assert jobs.pop("all") == 1
    assert jobs == {"sun": 4, "transfer": 4, "mosaic": 3, **OF_THE_SITE}


def test_changed_station_height_leaves_the_sun_alone(finished: Run, planned: Planned):
    changed = config_of(finished)
    changed["sites"]["clip"]["climate"] = {**CLIMATE, "elevation": 1600}
    jobs = planned(finished, config=changed)
    assert jobs["climate"] == 1
    assert jobs["transfer"] == 4
    assert not {"sun", "dem", "tile", "terrain", "wetness"} & set(jobs)


def test_changed_raster_of_plants_reruns_the_energy_alone(finished: Run, planned: Planned, plants: dict[str, str]):
    ndvi = Path(plants["ndvi"])
    before, content = ndvi.stat(), ndvi.read_bytes()
    try:
        with rasterio.open(ndvi, "r+") as target:
            target.write(target.read(1) * 0.9, 1)
        jobs = planned(finished)
    finally:
        ndvi.write_bytes(content)
        os.utime(ndvi, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert jobs.pop("all") == 1
    assert jobs == {"transfer": 4, **OF_THE_SITE}


def test_days_not_kept_are_not_written(fresh: Fresh, clip: Path):
    run = fresh("monthly", clip_config(str(clip), 64, sun={"step": 60, "daily": False}))
    assert run.snakemake("results/clip/sun/monthly_global.tif").returncode == 0
    assert sorted(path.name for path in run.result("sun/tiles/r000c000").iterdir()) == [
        "monthly_flat_global.tif",
        "monthly_global.tif",
        "monthly_insolation.tif",
    ]


def test_without_climate_there_are_sun_maps_slopes_and_wetness(fresh: Fresh, clip: Path, finished: Run):
    site = {"dem": {"source": str(clip)}, "climate": {"source": "none"}}
    run = fresh("sun_alone", clip_config(str(clip), sites={"clip": site}))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    assert "clip: sun maps in results/clip/sun" in done.stdout
    for name in ("sun/monthly_global.tif", "terrain/slope.tif", "wetness/mcwi.tif"):
        with rasterio.open(run.result(name)) as alone, rasterio.open(finished.result(name)) as ours:
            np.testing.assert_array_equal(alone.read(), ours.read())
    with (
        rasterio.open(run.result("sun/insolation.tif")) as days,
        rasterio.open(run.result("sun/monthly_insolation.tif")) as months,
    ):
        # days are kept in steps of 1/128 hours
        january = days.read(range(1, 32)).sum(axis=0)
        np.testing.assert_allclose(january, months.read(1), atol=31 / 256 + 0.01)
    assert not run.result("maps").exists() and not run.result("climate").exists()
    assert verify(run).returncode == 0


def test_changed_raster_of_albedo_reruns_the_sun(fresh: Fresh, planned: Planned, clip: Path):
    ground = {"daily": False, "albedo": "ground/albedo.tif", "sky_view": True, "linke": "climatology"}
    run = fresh("ground", clip_config(str(clip), 64, sun={"step": 60, **ground}))
    grid = read_grid(clip)
    target = "results/clip/sun/monthly_global.tif"

    def lay(albedo: float) -> None:
        write_geotiff(run.folder / "ground/albedo.tif", np.full(grid.shape, albedo, np.float32), grid, ["albedo"], "1")

    lay(0.2)
    done = run.snakemake(target)
    assert done.returncode == 0, done.stdout
    low = read_band(run.folder / target)
    assert planned(run, target) == {}
    lay(0.9)
    assert planned(run, target) == {"sun_monthly": 1, "mosaic": 1}
    assert run.snakemake(target).returncode == 0
    assert np.nansum(read_band(run.folder / target)) > np.nansum(low)


def test_killed_run_goes_on_where_it_was(fresh: Fresh, clip: Path, untiled: Run):
    run = fresh("killed", clip_config(str(clip), outputs={"parts": False, "report": False}))
    process = run.start()
    deadline = time.monotonic() + 300
    while not list(run.folder.glob("results/clip/sun/tiles/*/monthly_global.tif")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = run.written()
    assert run.snakemake("--unlock").returncode == 0
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    after = run.written()
    for name in ("dem/dem.tif", "wetness/mcwi.tif"):
        path = f"results/clip/{name}"
        assert path not in before or after[path] == before[path]
    expected = read_band(untiled.result("maps/eemt_topo_mean.tif"))
    np.testing.assert_array_equal(read_band(run.result("maps/eemt_topo_mean.tif")), expected)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"sun": {"albdo": 0.2}}, "eemt: config: sun.albdo: unknown key; did you mean albedo?"),
        ({"sun": {"step": -3}}, "eemt: config: sun.step: is -3; must be greater than or equal to 1"),
        ({"dem": {"source": "gone.tif"}}, "eemt: dem: gone.tif does not exist"),
        ({"climate": {**CLIMATE, "file": "gone.csv"}}, "eemt: climate: gone.csv does not exist"),
        (
            {"climate": {"source": "grid", "files": ["gone/{variable}_{year}.nc"], "years": [2001, 2002]}},
            "eemt: climate.files: no file is named as gone/{variable}_{year}.nc says",
        ),
        (
            {"eemt": {"methods": ["veg"], "ndvi": "gone.tif", "canopy_height": "gone.tif"}},
            "eemt: eemt.ndvi: gone.tif does not exist",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(fresh: Fresh, clip: Path, change: dict[str, Any], line: str):
    config = clip_config(str(clip))
    for section, values in change.items():
        holder = config["sites"]["clip"] if section in config["sites"]["clip"] else config
        holder[section] = values
    run = fresh("bad", config)
    done = run.snakemake()
    assert done.returncode == 2, done.stdout
    complaint = [text for text in done.stdout.splitlines() if text.startswith("eemt: ")]
    assert len(complaint) == 1
    assert line in complaint[0]
    assert "Traceback" not in done.stdout
    assert not (run.folder / "results").exists()


def test_site_that_daymet_has_not_is_refused_before_anything_runs(fresh: Fresh, tmp_path: Path):
    alps = Grid("EPSG:32632", 680_000.0, 5_200_000.0, 30.0, 30.0, 20, 20)
    write_geotiff(tmp_path / "alps.tif", np.full(alps.shape, 1000.0, np.float32), alps, ["elevation"], "m")
    config = clip_config(str(tmp_path / "alps.tif"))
    config["sites"]["clip"]["climate"] = {"source": "daymet", "years": [2019, 2020]}
    run = fresh("abroad", config)
    done = run.snakemake()
    assert done.returncode == 2, done.stdout
    (complaint,) = [text for text in done.stdout.splitlines() if text.startswith("eemt: ")]
    assert "climate.source: the site, around 46.93 N 11.37 E, is not within what Daymet covers" in complaint
    assert "use the source grid" in complaint and "or the source station" in complaint
    assert "Traceback" not in done.stdout
    assert not (run.folder / "results").exists()


def test_results_that_cannot_be_written_are_refused_at_once(fresh: Fresh, clip: Path):
    run = fresh("blocked", clip_config(str(clip)))
    (run.folder / "results").write_text("a file where the folder should be")
    done = run.snakemake()
    assert done.returncode == 2
    assert "results cannot be written to results" in done.stdout


def test_failing_rule_shows_its_reason_and_leaves_no_output(fresh: Fresh):
    run = fresh("void")
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 30, 30)
    write_geotiff(run.folder / "void.tif", np.full(grid.shape, np.nan, np.float32), grid, ["elevation"], "m")
    run.configure(clip_config("void.tif"))
    done = run.snakemake()
    assert done.returncode != 0
    assert "eemt dem: dem: void.tif has no valid cell, all are nodata" in done.stdout
    assert not [path for path in (run.folder / "results/clip/dem").rglob("*") if path.is_file()]


def test_sites_run_side_by_side_with_settings_of_their_own(fresh: Fresh, planned: Planned, clip: Path):
    config = clip_config(str(clip))
    config["sites"]["other"] = {
        "dem": {"source": str(clip)},
        "climate": CLIMATE,
        "tiles": {"size": 64},
        "eemt": {"methods": ["trad"]},
        "outputs": {"parts": False, "report": False},
    }
    jobs = planned(fresh("two", config))
    assert jobs["dem"] == 2
    assert jobs["sun"] == 4 + 1
    assert jobs["maps_clip"] == jobs["maps_other"] == 1
    assert jobs["report"] == 1


def test_workflow_serves_as_a_module(fresh: Fresh, clip: Path):
    run = fresh("module")
    (run.folder / "Snakefile").write_text(
        f"""
configfile: "ours.yaml"

module eemt:
    snakefile: {str(ROOT / "workflow/Snakefile")!r}
    config: config["eemt"]

use rule * from eemt as eemt_*

rule ours:
    default_target: True
    input: "results/clip/maps/eemt_topo_mean.tif"
"""
    )
    (run.folder / "ours.yaml").write_text(yaml.safe_dump({"eemt": clip_config(str(clip))}))
    done = subprocess.run(
        [SNAKEMAKE, "--cores", "1", "--dry-run"],
        cwd=run.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"eemt_transfer +4", done.stdout)
