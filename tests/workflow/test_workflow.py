"""The workflow end to end, on a clip of the embedded site, as its users run it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
import yaml
from rio_cogeo.cogeo import cog_validate

from eemt.config import DemSettings
from eemt.grid import Grid
from eemt.raster import read_band, read_grid, write_geotiff
from eemt.stages.dem import projected
from sites import BOULDER, CLIMATE, ROOT

pytestmark = pytest.mark.workflow

CLIP = 40  # cells
SNAKEMAKE = str(Path(sys.executable).parent / "snakemake")


@dataclass(frozen=True)
class Run:
    """A folder that the workflow is called in."""

    folder: Path

    def configure(self, config: dict[str, Any]) -> None:
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(config))

    def command(self, *words: str) -> list[str]:
        workflow, profile = ROOT / "workflow/Snakefile", ROOT / "profiles/local"
        return [SNAKEMAKE, "--snakefile", str(workflow), "--profile", str(profile), *words]

    def snakemake(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), cwd=self.folder, capture_output=True, text=True, check=False)

    def planned(self, *words: str) -> dict[str, int]:
        """Count the jobs that a run would do, by rule."""
        done = self.snakemake("--dry-run", *words)
        assert done.returncode == 0, done.stderr
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", done.stdout + done.stderr, re.M | re.S)
        return {line.split()[0]: int(line.split()[1]) for line in table[1].splitlines()} if table else {}

    def result(self, name: str) -> Path:
        return self.folder / "results/clip" / name

    def changed_times(self) -> dict[Path, int]:
        results = self.folder / "results"
        return {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}


def clip_config(dem: Path, tile_size: int = 24) -> dict[str, Any]:
    return {
        "sites": {"clip": {"dem": {"source": str(dem)}, "climate": CLIMATE}},
        "tiles": {"size": tile_size},
        "sun": {"step": 60},
    }


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 x 40 cells of the embedded DEM in its middle, with a hole."""
    elevation, grid = projected(str(BOULDER), DemSettings(source=str(BOULDER), crs="EPSG:32613", resolution=30))
    rows, cols = slice(100, 100 + CLIP), slice(80, 80 + CLIP)
    part = elevation[rows, cols].copy()
    part[10:12, 22:27] = np.nan
    path = tmp_path_factory.mktemp("dem") / "clip.tif"
    write_geotiff(path, part, grid.window(rows, cols), ["elevation"], "m")
    return path


def fresh(tmp_path_factory: pytest.TempPathFactory, name: str, config: dict[str, Any]) -> Run:
    run = Run(tmp_path_factory.mktemp(name))
    run.configure(config)
    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Run:
    run = fresh(tmp_path_factory, "tiled", clip_config(clip))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "clip: maps in results/clip/maps" in done.stdout + done.stderr
    assert "clip: report in results/clip/report.html" in done.stdout + done.stderr
    return run


@pytest.fixture(scope="session")
def untiled(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Run:
    run = fresh(tmp_path_factory, "untiled", clip_config(clip, tile_size=1024))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def test_maps_open_as_they_should(finished: Run, clip: Path):
    with rasterio.open(clip) as dem:
        bounds, crs = dem.bounds, dem.crs
    for variable in ("eemt", "ebio", "eppt"):
        for method in ("trad", "topo"):
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


def test_energies_lie_where_published_ones_do(finished: Run):
    for method in ("trad", "topo"):
        annual = read_band(finished.result(f"maps/eemt_{method}_1971-2000.tif"))
        assert np.nanmin(annual) > 2
        assert np.nanmax(annual) < 60


def test_holes_stay_holes_in_every_map(finished: Run, clip: Path):
    hole = np.isnan(read_band(clip))
    for path in sorted(finished.result("maps").iterdir()):
        np.testing.assert_array_equal(np.isnan(read_band(path)), hole)


def test_eemt_is_the_sum_of_its_parts_and_of_its_months(finished: Run):
    for method in ("trad", "topo"):
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
    names = [f"maps/{path.name}" for path in finished.result("maps").iterdir()]
    names += [f"terrain/{layer}.tif" for layer in ("slope", "aspect", "northness")]
    names += [f"sun/monthly_{layer}.tif" for layer in ("global", "flat_global", "insolation")]
    names += [f"wetness/{layer}.tif" for layer in ("area", "twi", "mcwi")]
    assert len(names) == 12 + 9
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
    assert len(table) == 12 * 13


def test_report_is_one_file_with_the_run_in_it(finished: Run):
    page = finished.result("report.html").read_text(encoding="utf-8")
    assert "clip" in page
    assert "1971" in page
    assert "Run times" in page
    assert not re.search(r"<(img|link|script)[^>]+(src|href)=[\"']?https?:", page)


def test_climate_is_cf_and_carries_its_source(finished: Run):
    with xr.open_dataset(finished.result("climate/climate.nc"), engine="h5netcdf") as climate:
        assert climate.attrs["Conventions"].startswith("CF-1.")
        assert climate.sizes["time"] == 12
        assert {"tmin", "tmax", "prcp", "vp", "elevation"} <= set(climate.variables)


def test_second_run_has_nothing_to_do(finished: Run):
    before = finished.changed_times()
    done = finished.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr
    assert finished.changed_times() == before


def test_changed_albedo_reruns_the_sun_and_what_follows_alone(finished: Run, clip: Path):
    config = clip_config(clip)
    config["sun"]["albedo"] = 0.35
    try:
        finished.configure(config)
        planned = finished.planned()
    finally:
        finished.configure(clip_config(clip))
    assert planned.pop("all") == 1
    assert planned == {"sun": 4, "transfer": 4, "map": 12, "mosaic": 3, "summary": 1, "report": 1}


def test_changed_station_height_leaves_the_sun_alone(finished: Run, clip: Path):
    config = clip_config(clip)
    config["sites"]["clip"]["climate"] = {**CLIMATE, "elevation": 1600}
    try:
        finished.configure(config)
        planned = finished.planned()
    finally:
        finished.configure(clip_config(clip))
    assert planned["climate"] == 1
    assert planned["transfer"] == 4
    assert not {"sun", "dem", "tile", "terrain", "wetness"} & set(planned)


def test_days_not_kept_are_not_written(tmp_path_factory, clip: Path):
    config = clip_config(clip, tile_size=64)
    config["sun"]["daily"] = False
    run = fresh(tmp_path_factory, "monthly", config)
    assert run.snakemake("results/clip/sun/monthly_global.tif").returncode == 0
    assert sorted(path.name for path in run.result("sun/tiles/r000c000").iterdir()) == [
        "monthly_flat_global.tif",
        "monthly_global.tif",
        "monthly_insolation.tif",
    ]


def test_changed_raster_of_albedo_reruns_the_sun(tmp_path_factory, clip: Path):
    config = clip_config(clip)
    config["sun"] |= {"daily": False, "albedo": "ground/albedo.tif", "sky_view": True, "linke": "climatology"}
    run = fresh(tmp_path_factory, "ground", config)
    grid = read_grid(clip)
    target = "results/clip/sun/monthly_global.tif"

    def lay(albedo: float) -> None:
        write_geotiff(run.folder / "ground/albedo.tif", np.full(grid.shape, albedo, np.float32), grid, ["albedo"], "1")

    lay(0.2)
    done = run.snakemake(target)
    assert done.returncode == 0, done.stdout + done.stderr
    low = read_band(run.folder / target)
    assert run.planned(target) == {}
    lay(0.9)
    assert run.planned(target) == {"sun_monthly": 4, "mosaic": 1}
    assert run.snakemake(target).returncode == 0
    assert np.nansum(read_band(run.folder / target)) > np.nansum(low)


def test_killed_run_goes_on_where_it_was(tmp_path_factory, clip: Path, untiled: Run):
    run = fresh(tmp_path_factory, "killed", clip_config(clip))
    process = subprocess.Popen(
        run.command(), cwd=run.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not list(run.folder.glob("results/clip/sun/tiles/*/monthly_global.tif")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wetness = run.result("wetness/mcwi.tif")
    before = run.changed_times()
    assert run.snakemake("--unlock").returncode == 0
    done = run.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    after = run.changed_times()
    kept = run.result("dem/dem.tif")
    assert after[kept] == before[kept]
    if wetness in before:
        assert after[wetness] == before[wetness]
    expected = read_band(untiled.result("maps/eemt_topo_mean.tif"))
    np.testing.assert_array_equal(read_band(run.result("maps/eemt_topo_mean.tif")), expected)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"sun": {"albdo": 0.2}}, "eemt: config: sun.albdo: unknown key; did you mean albedo?"),
        ({"sun": {"step": -3}}, "eemt: config: sun.step: is -3; must be greater than or equal to 1"),
        ({"dem": {"source": "gone.tif"}}, "eemt: dem: gone.tif does not exist"),
        ({"climate": {**CLIMATE, "file": "gone.csv"}}, "gone.csv"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path_factory, clip: Path, change: dict[str, Any], line: str):
    config = clip_config(clip)
    for section, values in change.items():
        holder = config["sites"]["clip"] if section in config["sites"]["clip"] else config
        holder[section] = values
    run = fresh(tmp_path_factory, "bad", config)
    done = run.snakemake()
    assert done.returncode == 2, done.stdout + done.stderr
    complaint = [text for text in done.stderr.splitlines() if text.startswith("eemt: ")]
    assert len(complaint) == 1
    assert line in complaint[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert not (run.folder / "results").exists()


def test_results_that_cannot_be_written_are_refused_at_once(tmp_path_factory, clip: Path):
    run = fresh(tmp_path_factory, "blocked", clip_config(clip))
    (run.folder / "results").write_text("a file where the folder should be")
    done = run.snakemake()
    assert done.returncode == 2
    assert "results cannot be written to results" in done.stderr


def test_failing_rule_shows_its_reason_and_leaves_no_output(tmp_path_factory):
    run = fresh(tmp_path_factory, "void", {})
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 30, 30)
    write_geotiff(run.folder / "void.tif", np.full(grid.shape, np.nan, np.float32), grid, ["elevation"], "m")
    run.configure(clip_config(Path("void.tif")))
    done = run.snakemake()
    assert done.returncode != 0
    assert "eemt dem: dem: void.tif has no valid cell, all are nodata" in done.stdout + done.stderr
    assert not [path for path in (run.folder / "results/clip/dem").rglob("*") if path.is_file()]


def test_sites_run_side_by_side_with_settings_of_their_own(tmp_path_factory, clip: Path):
    config = clip_config(clip)
    config["sites"]["other"] = {
        "dem": {"source": str(clip)},
        "climate": CLIMATE,
        "tiles": {"size": 64},
        "eemt": {"methods": ["trad"]},
        "outputs": {"parts": False, "report": False},
    }
    planned = fresh(tmp_path_factory, "two", config).planned()
    assert planned["dem"] == 2
    assert planned["sun"] == 4 + 1
    assert planned["map"] == 12 + 2
    assert planned["report"] == 1


def test_workflow_serves_as_a_module(tmp_path_factory, clip: Path):
    run = fresh(tmp_path_factory, "module", {})
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
    (run.folder / "ours.yaml").write_text(yaml.safe_dump({"eemt": clip_config(clip)}))
    shutil.rmtree(run.folder / "config")
    done = subprocess.run(
        [SNAKEMAKE, "--cores", "1", "--dry-run"], cwd=run.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"eemt_transfer +4", done.stdout + done.stderr)
