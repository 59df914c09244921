"""The workflow on elevation that is fetched by bounding box, from a server on this machine that fails when told to."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from pyproj import Transformer
from rasterio.transform import from_origin

from eemt.dem.datasets import DATA_SETS, Corner
from executors.runs import Run
from servers.files import FileServer
from sites import CLIMATE

pytestmark = pytest.mark.workflow

CELLS = 480  # a degree; the true pieces have 3600 and 10,800
BBOX = (-105.009, 39.993, -104.993, 40.006)  # about the corner of four pieces
FOUR = [(39, -106), (39, -105), (40, -106), (40, -105)]
CRS = "EPSG:32613"
CELL, BUFFER = 60.0, 900.0  # m
SITES = ("glo30", "usgs", "address", "file")

Planned = Callable[..., dict[str, int]]


def write_cog(path: Path, west: float, north: float, shape: tuple[int, int], crs: str) -> None:
    x, y = np.meshgrid(west + (np.arange(shape[1]) + 0.5) / CELLS, north - (np.arange(shape[0]) + 0.5) / CELLS)
    height = 1900 + 300 * np.sin(x * 420) * np.cos(y * 380) + 40 * np.sin(x * 1900 + y * 1500)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.tif")
    place = from_origin(west, north, 1 / CELLS, 1 / CELLS)
    profile = {"dtype": "float32", "count": 1, "nodata": -999999, "crs": crs, "height": shape[0], "width": shape[1]}
    with rasterio.open(plain, "w", driver="GTiff", transform=place, **profile) as target:
        target.write(height.astype(np.float32), 1)
    rasterio.shutil.copy(plain, path, driver="COG", compress="DEFLATE", blocksize=128)
    plain.unlink()


def publish(folder: Path, word: str, corners: list[Corner]) -> None:
    """Lay pieces and their list where the provider of a data set has them, with the rims that its pieces have."""
    data_set = DATA_SETS[word]
    names = [data_set.name(corner) for corner in corners]
    rim = 6 if word == "3dep" else 0
    west, north = (-rim, rim) if word == "3dep" else (-0.5, 0.5)
    for (latitude, longitude), name in zip(corners, names, strict=True):
        size = (CELLS + 2 * rim,) * 2
        path = folder / data_set.path(name)
        write_cog(path, longitude + west / CELLS, latitude + 1 + north / CELLS, size, data_set.crs)
    listed = folder / data_set.inventory
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("\n".join(f"<SourceFilename>/x/{name}.tif</SourceFilename>" for name in names))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    folder = tmp_path_factory.mktemp("published")
    for word in ("glo30", "3dep"):
        publish(folder, word, FOUR)
    write_cog(folder / "around.tif", -105.25, 40.25, (CELLS // 2, CELLS // 2), "EPSG:4326")
    with FileServer(folder) as running:
        yield running


def config_of_sites(server: FileServer) -> dict[str, Any]:
    sources = {"glo30": "glo30", "usgs": "3dep", "address": f"{server.url}/around.tif"}
    sources["file"] = str(server.folder / "around.tif")
    sites: dict[str, Any] = {name: {"dem": {"source": source}} for name, source in sources.items()}
    for name in ("glo30", "usgs"):
        sites[name]["dem"]["base_url"] = server.url
    sites["glo30"]["outputs"] = {"parts": False, "report": True}
    sites["file"]["tiles"] = {"size": 17}
    return {
        "sites": sites,
        "dem": {"bbox": list(BBOX), "buffer": BUFFER, "resolution": CELL, "crs": CRS},
        "tiles": {"size": 1024},
        "sun": {"step": 60, "daily": False},
        "climate": CLIMATE,
        "eemt": {"methods": ["topo"]},
        "outputs": {"parts": False, "report": False, "catalogue": False, "crate": False},
    }


def edges_of_bbox() -> tuple[float, float, float, float]:
    return Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform_bounds(*BBOX, densify_pts=101)


@pytest.fixture(scope="module")
def config(server: FileServer, planted: Callable[..., dict[str, str]]) -> dict[str, Any]:
    made = config_of_sites(server)
    for name in ("address", "file"):
        plants = planted(edges_of_bbox(), CRS, 0.0009)
        made["sites"][name]["eemt"] = {"methods": ["topo", "veg"], "redistribution": "renormalised", **plants}
    return made


@pytest.fixture(scope="module")
def fetched(fresh: Callable[..., Run], server: FileServer, config: dict[str, Any]) -> Run:
    """All sites in one run, through servers' failures that pass."""
    server.fault("N39_00_W106_00_DEM.tif", "status:503", times=2)
    server.fault("N40_00_W105_00_DEM.tif", "truncate", times=1)
    server.fault("USGS_13_n41w106.tif", "reset", times=1)
    server.fault("tileList.txt", "status:503", times=1)
    run = fresh("fetched", config)
    done = run.snakemake()
    server.heal()
    assert done.returncode == 0, done.stdout
    return run


@pytest.mark.usefixtures("fetched")
def test_failures_of_the_server_were_met_and_passed(server: FileServer):
    met = [request.fault for request in server.requests if request.fault]
    assert sorted(met) == ["reset", "status:503", "status:503", "status:503", "truncate"]


@pytest.mark.usefixtures("fetched")
def test_rasters_are_read_by_ranges_alone(server: FileServer):
    asked = [request for request in server.requests if request.method == "GET" and request.path.endswith(".tif")]
    assert asked
    assert all(request.range for request in asked)
    assert {request.status for request in asked} <= {206, 503}


@pytest.mark.parametrize("site", SITES)
def test_maps_cover_the_bbox_alone_and_the_dem_its_buffer_too(fetched: Run, site: str):
    wanted = edges_of_bbox()
    names = [*(f"maps/{path.name}" for path in fetched.result("maps", site).glob("*.tif"))]
    names += ["sun/monthly_global.tif", "wetness/mcwi.tif"]
    assert "maps/eemt_topo_mean.tif" in names
    for name in names:
        with rasterio.open(fetched.result(name, site)) as source:
            found, values = source.bounds, source.read()
        assert np.isfinite(values).all(), name
        outwards = np.array([wanted[0] - found.left, wanted[1] - found.bottom, found.right - wanted[2]])
        assert (outwards >= 0).all() and (outwards < CELL).all() and 0 <= found.top - wanted[3] < CELL, name
        with rasterio.open(fetched.result("dem/dem.tif", site)) as dem:
            around = np.abs(np.array(dem.bounds) - np.array(found))
        np.testing.assert_allclose(around, BUFFER, atol=1e-6, err_msg=name)


def test_pieces_and_one_file_give_the_same_elevation(fetched: Run):
    with rasterio.open(fetched.result("dem/dem.tif", "file")) as source:
        whole = source.read(1)
    with rasterio.open(fetched.result("dem/dem.tif", "usgs")) as source:
        np.testing.assert_allclose(source.read(1), whole, rtol=0, atol=0.01)
    with rasterio.open(fetched.result("dem/dem.tif", "glo30")) as source:
        assert source.shape == whole.shape
        # Copernicus' cells lie half a cell aside, on slopes of up to 50 m a cell
        assert np.abs(source.read(1) - whole).mean() < 20


def test_tiled_file_equals_untiled_address_in_every_product(fetched: Run):
    assert len(list(fetched.result("sun/tiles", "file").iterdir())) > 1
    assert len(list(fetched.result("sun/tiles", "address").iterdir())) == 1
    names = sorted(f"maps/{path.name}" for path in fetched.result("maps", "file").glob("*.tif"))
    assert names == [f"maps/eemt_{method}_{year}.tif" for method in ("topo", "veg") for year in ("1971-2000", "mean")]
    names += ["dem/dem.tif", "sun/monthly_global.tif"] + [f"wetness/{layer}.tif" for layer in ("area", "twi", "mcwi")]
    for name in names:
        with (
            rasterio.open(fetched.result(name, "file")) as tiled,
            rasterio.open(fetched.result(name, "address")) as untiled,
        ):
            assert tiled.transform == untiled.transform
            np.testing.assert_array_equal(tiled.read(), untiled.read(), err_msg=name)


def test_origin_is_told_with_the_elevation(fetched: Run, server: FileServer):
    pieces = json.loads(fetched.result("dem/dem.json", "glo30").read_text())["source"]["pieces"]
    assert len(pieces) == 4
    assert all(piece["url"].startswith(server.url) and piece["etag"] for piece in pieces)
    assert "Copernicus" in fetched.result("report.html", "glo30").read_text(encoding="utf-8")


def test_second_run_does_nothing_and_asks_no_server(fetched: Run, server: FileServer):
    asked, before = len(server.requests), fetched.written()
    done = fetched.snakemake()
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout
    assert len(server.requests) == asked
    assert fetched.written() == before


def test_wider_buffer_makes_the_site_anew_but_its_climate(
    fetched: Run, config: dict[str, Any], planned: Planned, server: FileServer
):
    changed = copy.deepcopy(config)
    changed["sites"]["usgs"]["dem"]["buffer"] = 1500.0
    asked = len(server.requests)
    jobs = planned(fetched, config=changed)
    assert jobs.pop("all") == 1
    stages = ("dem", "tile", "terrain", "wetness", "sun_monthly", "transfer", "mosaic", "summary")
    assert jobs == {**dict.fromkeys(stages, 1), "maps_usgs": 1}
    assert len(server.requests) == asked


def test_piece_that_is_gone_is_named_and_nothing_is_left(
    fresh: Callable[..., Run], server: FileServer, config: dict[str, Any]
):
    run = fresh("gone", {**config, "sites": {"glo30": config["sites"]["glo30"]}})
    server.fault("N40_00_W105_00_DEM.tif", "status:404")
    try:
        done = run.snakemake("results/glo30/dem/dem.tif")
    finally:
        server.heal()
    assert done.returncode == 1, done.stdout
    said = {line.strip() for line in done.stdout.splitlines() if line.strip().startswith("eemt dem: ")}
    assert len(said) == 1
    assert "N40_00_W105_00_DEM.tif is not on its server (HTTP status 404); check the address" in said.pop()
    assert "Traceback" not in done.stdout
    assert not [path for path in (run.folder / "results/glo30").rglob("*") if path.is_file()]


def test_area_outside_a_file_is_refused_before_anything_runs(
    fresh: Callable[..., Run], server: FileServer, config: dict[str, Any]
):
    site = {"dem": {"source": str(server.folder / "around.tif"), "bbox": [-104.5, 39.9, -104.4, 40.0]}}
    done = fresh("outside", {**config, "sites": {"outside": site}}).snakemake()
    assert done.returncode == 2, done.stdout
    (complaint,) = [line for line in done.stdout.splitlines() if line.startswith("eemt: ")]
    assert "dem.bbox: -104.5, 39.9, -104.4, 40 lies outside" in complaint
    assert "which covers -105.2500, 39.7500, -104.7500, 40.2500" in complaint
