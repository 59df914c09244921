"""Published elevation models fetched by bounding box from a server on this machine that has their true paths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from eemt.config import DemSettings
from eemt.dem import remote
from eemt.dem.datasets import DATA_SETS, corners_of
from eemt.dem.layout import area_grid, dem_grid, layout
from eemt.dem.prepare import prepare
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import read_band
from eemt.stages.dem import check
from servers.files import FileServer

CELLS = 120  # a degree; the true pieces have 3600 and 10,800
Corner = tuple[int, int]
BBOX = (-105.3, 39.7, -104.8, 40.2)  # in four pieces
FOUR = [(39, -106), (39, -105), (40, -106), (40, -105)]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE", remote.Patience(tries=4, delay=0.01))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "served").mkdir()
    with FileServer(tmp_path / "served") as running:
        yield running


def hills(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    return 1500 + 400 * np.sin(longitude * 9) * np.cos(latitude * 7) + 30 * np.sin(longitude * 61 + latitude * 47)


def write_cog(
    path: Path, west: float, north: float, dx: float, shape: tuple[int, int], crs: str, height: Callable = hills
) -> None:
    x = west + (np.arange(shape[1]) + 0.5) * dx
    y = north - (np.arange(shape[0]) + 0.5) / CELLS
    values = np.broadcast_to(height(*np.meshgrid(x, y)), shape).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.tif")
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "nodata": -999999, "crs": crs}
    with rasterio.open(
        plain, "w", width=shape[1], height=shape[0], transform=from_origin(west, north, dx, 1 / CELLS), **profile
    ) as target:
        target.write(np.where(np.isnan(values), -999999, values), 1)
    rasterio.shutil.copy(plain, path, driver="COG", compress="DEFLATE", blocksize=128)
    plain.unlink()


def publish_3dep(folder: Path, corners: Iterable[Corner], height: Callable = hills) -> None:
    """Pieces with the six shared cells on every side, and the seamless VRT that lists them."""
    names = [DATA_SETS["3dep"].name(corner) for corner in corners]
    rim = 6 / CELLS
    for (latitude, longitude), name in zip(corners, names, strict=True):
        path = folder / DATA_SETS["3dep"].path(name)
        write_cog(path, longitude - rim, latitude + 1 + rim, 1 / CELLS, (CELLS + 12,) * 2, "EPSG:4269", height)
    listed = "".join(
        f"<SourceFilename>/vsicurl/https://x/current/{name[8:]}/{name}.tif</SourceFilename>" for name in names
    )
    vrt = folder / DATA_SETS["3dep"].inventory
    vrt.parent.mkdir(parents=True, exist_ok=True)
    vrt.write_text(f"<VRTDataset>{listed}</VRTDataset>")


def publish_glo30(folder: Path, corners: Iterable[Corner], height: Callable = hills) -> None:
    """Pieces that begin half a cell beside their degree, wider cells above 50 degrees north, and tileList.txt."""
    names = [DATA_SETS["glo30"].name(corner) for corner in corners]
    for (latitude, longitude), name in zip(corners, names, strict=True):
        dx = (1 if latitude < 50 else 1.5) / CELLS
        shape = (CELLS, round(1 / dx))
        path = folder / name / f"{name}.tif"
        write_cog(path, longitude - dx / 2, latitude + 1 + 0.5 / CELLS, dx, shape, "EPSG:4326", height)
    (folder / "tileList.txt").write_text("\n".join(names) + "\n")


def settings(server: FileServer, source: str = "3dep", **more: object) -> DemSettings:
    values = {"bbox": BBOX, "resolution": 500, "buffer": 2000, "base_url": server.url, **more}
    return DemSettings.model_validate({"source": source, **values})


def prepared_elevation(chosen: DemSettings, out: Path) -> np.ndarray:
    prepare(chosen, out)
    return read_band(out / "dem.tif")


def expected(grid: Grid, crs: str) -> np.ndarray:
    from pyproj import Transformer

    return hills(*Transformer.from_crs(grid.crs, crs, always_xy=True).transform(*np.meshgrid(grid.x, grid.y)))


def test_pieces_are_named_by_the_corner_that_the_provider_takes():
    assert DATA_SETS["3dep"].url((39, -106), None) == (
        "https://prd-tnm.s3.amazonaws.com/StagedProducts/Elevation/13/TIFF/current/n40w106/USGS_13_n40w106.tif"
    )
    assert DATA_SETS["glo30"].url((39, -106), "http://mirror/") == (
        "http://mirror/Copernicus_DSM_COG_10_N39_00_W106_00_DEM/Copernicus_DSM_COG_10_N39_00_W106_00_DEM.tif"
    )
    assert DATA_SETS["glo30"].name((-34, 18)) == "Copernicus_DSM_COG_10_S34_00_E018_00_DEM"
    assert DATA_SETS["3dep"].name((13, 144)) == "USGS_13_n14e144"


def test_corners_are_those_that_the_grid_touches():
    grid = dem_grid(DemSettings(source="glo30", bbox=(-105.9, 39.1, -103.1, 41.9), buffer=0, resolution=100))
    assert corners_of(grid, "EPSG:4326") == {(lat, lon) for lat in (39, 40, 41) for lon in (-106, -105, -104)}


@pytest.mark.parametrize("source", ["3dep", "glo30"])
def test_four_pieces_become_one_map_without_a_seam(server: FileServer, tmp_path: Path, source: str):
    publish = publish_3dep if source == "3dep" else publish_glo30
    publish(server.folder, FOUR)
    chosen = settings(server, source)
    elevation = prepared_elevation(chosen, tmp_path / "out")
    grid = dem_grid(chosen)
    assert elevation.shape == grid.shape
    assert np.abs(elevation - expected(grid, DATA_SETS[source].crs)).max() < 15
    assert all(request.headers["user-agent"].startswith("eemt/") for request in server.requests)


def test_pieces_are_warped_bit_for_bit_as_one_whole(server: FileServer, tmp_path: Path):
    publish_3dep(server.folder, FOUR)
    write_cog(tmp_path / "whole.tif", -106, 41, 1 / CELLS, (2 * CELLS, 2 * CELLS), "EPSG:4269")
    pieces = prepared_elevation(settings(server), tmp_path / "pieces")
    whole = prepared_elevation(settings(server, str(tmp_path / "whole.tif"), base_url=None), tmp_path / "one")
    # the origins differ by a rounding error of the degrees
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=1e-3)
    edges = [Path(tmp_path / f"{number}.tif") for number in range(4)]
    with rasterio.open(tmp_path / "whole.tif") as source:
        for path, (row, col) in zip(edges, [(0, 0), (0, 90), (130, 0), (130, 90)], strict=True):
            window = rasterio.windows.Window(col, row, 90 if col == 0 else 150, 130 if row == 0 else 110)
            profile = source.profile | {"driver": "GTiff", "width": window.width, "height": window.height}
            with rasterio.open(path, "w", **profile | {"transform": source.window_transform(window)}) as target:
                target.write(source.read(window=window))
    files = settings(server, base_url=None).model_copy(update={"source": tuple(map(str, edges))})
    np.testing.assert_array_equal(prepared_elevation(files, tmp_path / "files"), whole)


def test_pieces_of_different_spacing_meet_without_a_step(server: FileServer, tmp_path: Path):
    publish_glo30(server.folder, [(49, 7), (49, 8), (50, 7), (50, 8)])
    chosen = settings(server, "glo30", bbox=(7.7, 49.8, 8.3, 50.2))
    elevation = prepared_elevation(chosen, tmp_path)
    assert np.abs(elevation - expected(dem_grid(chosen), "EPSG:4326")).max() < 20


def test_grid_needs_no_server():
    found = layout(DemSettings(source="3dep", bbox=BBOX, base_url="http://127.0.0.1:1"))
    assert found.grid.crs == "EPSG:32613"
    assert found.grid.dx == 10.0
    assert (found.rows.start, found.cols.start) == (1000, 1000)
    assert DATA_SETS["glo30"].resolution == dem_grid(DemSettings(source="glo30", bbox=BBOX)).dx == 30.0


@pytest.mark.parametrize(("kind", "times"), [("status:503", 2), ("status:429", 1), ("truncate", 1), ("reset", 1)])
def test_failures_that_pass_leave_no_trace(server: FileServer, tmp_path: Path, kind: str, times: int):
    publish_3dep(server.folder, FOUR)
    whole = prepared_elevation(settings(server), tmp_path / "whole")
    for path in ("Seamless", "n40w106", "n41w105"):
        server.fault(path, kind, times)
    np.testing.assert_array_equal(prepared_elevation(settings(server), tmp_path / "again"), whole)
    assert sum(request.fault == kind for request in server.requests) == 3 * times


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("status:404", "USGS_13_n41w105.tif is not on its server"),
        ("status:403", "n41w105.tif without a permission (HTTP status 403); fetch it by hand"),
        ("status:503", "USGS_13_n41w105.tif did not come whole in 4 tries"),
        ("truncate", "USGS_13_n41w105.tif did not come whole in 4 tries"),
        ("reset", "USGS_13_n41w105.tif did not come whole in 4 tries"),
        ("html", "USGS_13_n41w105.tif is answered by a web page"),
    ],
)
def test_piece_that_does_not_come_is_named(server: FileServer, tmp_path: Path, kind: str, words: str):
    publish_3dep(server.folder, FOUR)
    server.fault("n41w105", kind)
    with pytest.raises(InputError) as error:
        prepare(settings(server), tmp_path / "out")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_refusal_is_not_asked_again(server: FileServer, tmp_path: Path):
    publish_3dep(server.folder, FOUR)
    server.fault("n40w106", "status:403")
    with pytest.raises(InputError):
        prepare(settings(server), tmp_path)
    assert sum("n40w106" in request.path for request in server.requests) <= 4


@pytest.mark.parametrize("kind", ["status:404", "status:503", "html", "truncate"])
def test_list_that_does_not_come_is_an_error(server: FileServer, tmp_path: Path, kind: str):
    publish_glo30(server.folder, FOUR)
    server.fault("tileList", kind)
    with pytest.raises(InputError, match="the list of the pieces of glo30"):
        prepare(settings(server, "glo30"), tmp_path)


def coast(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    return np.where(longitude > -105.5, np.maximum(hills(longitude, latitude), 5), 0)


def test_absent_piece_beside_the_sea_is_sea(server: FileServer, tmp_path: Path):
    publish_glo30(server.folder, [(39, -106), (40, -106)], coast)
    bbox = (-106.6, 39.8, -105.2, 40.2)
    elevation = prepared_elevation(settings(server, "glo30", bbox=bbox), tmp_path)
    assert not np.isnan(elevation).any()
    assert (elevation[:, :60] == 0).all() and elevation[:, -20:].min() > 4
    names = ["Copernicus_DSM_COG_10_N39_00_W107_00_DEM", "Copernicus_DSM_COG_10_N40_00_W107_00_DEM"]
    assert json.loads((tmp_path / "dem.json").read_text())["source"]["absent_taken_for_sea"] == names


def test_land_that_is_withheld_is_named(server: FileServer, tmp_path: Path):
    publish_glo30(server.folder, FOUR[:3])
    with pytest.raises(InputError) as error:
        prepare(settings(server, "glo30"), tmp_path)
    assert "has no piece Copernicus_DSM_COG_10_N40_00_W105_00_DEM, and it is no sea" in str(error.value)
    assert "dem.bbox" in str(error.value)


def test_absent_piece_beside_voids_stays_void(server: FileServer, tmp_path: Path):
    publish_3dep(server.folder, FOUR[:1], lambda x, y: np.where((x > -105.1) | (y > 39.9), np.nan, hills(x, y)))
    elevation = prepared_elevation(settings(server), tmp_path)
    assert 0.1 < np.isnan(elevation).mean() < 0.9
    said = json.loads((tmp_path / "dem.json").read_text())["source"]
    assert said["absent_taken_for_sea"] == []
    assert len(said["absent_without_data"]) == 3


def test_area_without_any_piece_is_an_error(server: FileServer, tmp_path: Path):
    publish_glo30(server.folder, [(10, 10)])
    with pytest.raises(InputError, match="glo30 has none of the 4 pieces"):
        prepare(settings(server, "glo30"), tmp_path)


def test_only_the_needed_windows_are_read(server: FileServer, tmp_path: Path):
    noise = np.random.default_rng(1)
    write_cog(
        server.folder / "a.tif",
        -120,
        41,
        1 / CELLS,
        (1500, 1500),
        "EPSG:4326",
        lambda x, _: noise.normal(1000, 100, x.shape),
    )
    chosen = DemSettings(source=f"{server.url}/a.tif", bbox=(-115.3, 35.35, -115.2, 35.4), buffer=500, resolution=1000)
    prepare(chosen, tmp_path)
    asked = [request.range.removeprefix("bytes=").split("-") for request in server.requests if request.range]
    size = (server.folder / "a.tif").stat().st_size
    assert sum(int(last) + 1 - int(first) for first, last in asked) < size / 10


def test_provenance_has_what_the_server_says_and_no_secret(server: FileServer, tmp_path: Path):
    write_cog(server.folder / "a.tif", -106, 41, 1 / CELLS, (CELLS, CELLS), "EPSG:4269")
    address = server.url.replace("//", "//user:pass-word@") + "/a.tif?token=se-cret"
    prepare(DemSettings(source=address, resolution=500), tmp_path)
    text = (tmp_path / "dem.json").read_text()
    piece = json.loads(text)["source"]["pieces"][0]
    assert piece["url"] == f"{server.url}/a.tif"
    assert piece["size"] == (server.folder / "a.tif").stat().st_size
    assert piece["etag"] and piece["last_modified"]
    with rasterio.open(tmp_path / "dem.tif") as dem:
        text += str(dem.tags())
    server.fault("a.tif", "status:403")
    with pytest.raises(InputError) as error:
        prepare(DemSettings(source=address, resolution=500), tmp_path / "again")
    for secret in ("pass-word", "se-cret"):
        assert secret not in text + str(error.value)


def test_header_of_an_address_is_read_once(server: FileServer, tmp_path: Path):
    write_cog(server.folder / "a.tif", -106, 41, 1 / CELLS, (CELLS, CELLS), "EPSG:4269")
    chosen = DemSettings(source=f"{server.url}/a.tif", resolution=500)
    first = dem_grid(chosen, tmp_path / "headers")
    asked = len(server.requests)
    assert asked > 0
    assert dem_grid(chosen, tmp_path / "headers") == first == dem_grid(chosen)
    assert dem_grid(chosen, tmp_path / "headers") == first
    server.fault("a.tif", "status:404")
    assert dem_grid(chosen, tmp_path / "headers") == first


def test_check_finds_a_missing_piece_before_anything_is_computed(server: FileServer):
    publish_glo30(server.folder, FOUR)
    chosen = settings(server, "glo30")
    assert check(chosen) == area_grid(chosen)
    publish_glo30(server.folder, FOUR[:3])
    with pytest.raises(InputError, match="N40_00_W105_00_DEM, and it is no sea"):
        check(chosen)
    server.fault("W106", "status:404")
    with pytest.raises(InputError, match="is not on its server"):
        check(settings(server, "glo30", bbox=(-105.9, 39.2, -105.5, 39.5)))
