"""Maps for the browser: which there are, their colours, their tiles, the value of a cell."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient
from morecantile import tms
from PIL import Image
from rasterio.warp import transform

from eemt import qml
from eemt.grid import Grid
from eemt.raster import write_geotiff
from eemt.service import maps, tiles
from service.conftest import Finished

MERCATOR = tms.get("WebMercatorQuad")


def picture(octets: bytes) -> np.ndarray:
    """Return a tile as (256, 256, 4)."""
    image = Image.open(io.BytesIO(octets))
    assert image.format == "PNG"
    assert image.size == (256, 256)
    return np.asarray(image.convert("RGBA"))


def listed(client: TestClient, job: Finished) -> dict[str, dict]:
    answer = client.get(f"{job.address}/maps")
    assert answer.status_code == 200, answer.text
    return {item["name"]: item for item in answer.json()["items"]}


def middle(item: dict) -> tuple[float, float]:
    west, south, east, north = item["bounds"]
    return (west + east) / 2, (south + north) / 2


def tile_of(client: TestClient, item: dict, z: int, band: int = 1) -> np.ndarray:
    """Return the tile that the middle of a map lies in."""
    place = MERCATOR.tile(*middle(item), z)
    answer = client.get(item["tiles"].format(z=z, x=place.x, y=place.y), params={"band": band})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return picture(answer.content)


def cell_centre(path: Path, row: int, col: int) -> tuple[float, float]:
    with rasterio.open(path) as source:
        x, y = source.transform * (col + 0.5, row + 0.5)
        (longitude,), (latitude,) = transform(source.crs, "EPSG:4326", [x], [y])
    return longitude, latitude


def test_all_maps_of_a_run_are_offered(client: TestClient, finished: Finished):
    found = listed(client, finished)
    made = {path.stem for path in (finished.results / "maps").glob("*.tif")}
    assert made
    assert set(found) == made | {
        *("monthly_global", "monthly_flat_global", "monthly_insolation", "elevation", "hillshade"),
        *("slope", "aspect", "northness", "twi", "mcwi"),
    }
    eemt = found["eemt_topo_1971-2000"]
    assert (eemt["variable"], eemt["method"], eemt["year"]) == ("eemt", "topo", "1971-2000")
    assert [band["label"] for band in eemt["bands"]][:3] == ["Year", "Jan", "Feb"]
    assert (eemt["bands"][0]["unit"], eemt["bands"][1]["unit"]) == ("MJ m-2 yr-1", "MJ m-2 month-1")
    assert [band["label"] for band in found["monthly_global"]["bands"]][:2] == ["Jan", "Feb"]
    assert found["slope"]["bands"][0]["label"] == "Slope"


def test_maps_of_a_variable_have_the_same_colours(client: TestClient, finished: Finished):
    found = listed(client, finished).values()
    eemt = [item for item in found if item["variable"] == "eemt"]
    assert len(eemt) >= 2
    assert len({(item["low"], item["high"]) for item in eemt}) == 1
    months = {(band["low"], band["high"]) for item in eemt for band in item["bands"][1:]}
    assert len(months) == 1
    with rasterio.open(finished.results / eemt[0]["file"]) as source:
        low, high = qml.shown_range(source.tags(1), eemt[0]["year"])
    assert eemt[0]["low"] <= low < high <= eemt[0]["high"]
    legend = eemt[0]["legend"]
    assert (legend[0]["colour"], legend[-1]["colour"]) == ("#440154", "#fde725")
    assert (legend[0]["value"], legend[-1]["value"]) == (eemt[0]["low"], eemt[0]["high"])


def test_every_map_has_a_tile_that_shows_something(client: TestClient, finished: Finished):
    for item in listed(client, finished).values():
        drawn = tile_of(client, item, 14)
        opaque = drawn[..., 3] == 255
        assert opaque.any(), item["name"]
        assert len(np.unique(drawn[opaque][:, :3], axis=0)) > 1, item["name"]


def test_a_tile_has_the_colour_of_the_cell_below_it(client: TestClient, finished: Finished):
    item = listed(client, finished)["eemt_topo_1971-2000"]
    path = finished.results / item["file"]
    row, col, z = 20, 31, 18
    longitude, latitude = cell_centre(path, row, col)
    place = MERCATOR.tile(longitude, latitude, z)
    answer = client.get(item["tiles"].format(z=z, x=place.x, y=place.y))
    drawn = picture(answer.content)
    # where the cell's centre is in the tile
    bounds = MERCATOR.xy_bounds(place)
    (x,), (y,) = transform("EPSG:4326", "EPSG:3857", [longitude], [latitude])
    across = int((x - bounds.left) / (bounds.right - bounds.left) * 256)
    down = int((bounds.top - y) / (bounds.top - bounds.bottom) * 256)
    with rasterio.open(path) as source:
        value = float(source.read(1)[row, col])
    share = (value - item["low"]) / (item["high"] - item["low"])
    expected = tiles.colours("viridis")[int(np.clip(np.rint(share * 255), 0, 255))]
    np.testing.assert_array_equal(drawn[down, across, :3], expected)


def test_where_there_is_no_value_a_tile_is_transparent(client: TestClient, finished: Finished):
    item = listed(client, finished)["eemt_topo_1971-2000"]
    # the clip has a hole in its rows 10 and 11
    longitude, latitude = cell_centre(finished.results / item["file"], 10, 24)
    place = MERCATOR.tile(longitude, latitude, 20)
    drawn = picture(client.get(item["tiles"].format(z=20, x=place.x, y=place.y)).content)
    assert (drawn[..., 3] == 0).any()
    assert not drawn[drawn[..., 3] == 0][:, 3].any()


@pytest.mark.parametrize("name", ["eemt_topo_1971-2000", "hillshade"])
def test_a_tile_beyond_the_map_shows_nothing(client: TestClient, finished: Finished, name: str):
    answer = client.get(f"{finished.address}/maps/{name}/tiles/12/5/5.png")
    assert answer.status_code == 200
    assert not picture(answer.content)[..., 3].any()


def test_neighbouring_tiles_of_the_hillshade_fit(client: TestClient, finished: Finished):
    item = listed(client, finished)["hillshade"]
    west, south, east, north = item["bounds"]
    # a column of tiles and the one beside it, where the map is
    first = MERCATOR.tile(west + 0.3 * (east - west), (south + north) / 2, 17)
    left, right = (
        picture(client.get(item["tiles"].format(z=17, x=first.x + step, y=first.y)).content) for step in (0, 1)
    )
    both = (left[:, -1, 3] == 255) & (right[:, 0, 3] == 255)
    assert both.sum() > 100
    step = np.abs(left[both, -1, 0].astype(int) - right[both, 0, 0].astype(int))
    within = np.abs(np.diff(left[both][:, -20:, 0].astype(int), axis=1))
    assert np.median(step) <= np.percentile(within, 99)


def test_slopes_to_the_northwest_are_bright(tmp_path: Path):
    rows, cols = np.mgrid[:64, :64]
    shades = {}
    for name, elevation in {"northwest": rows + cols, "southeast": -rows - cols}.items():
        path = tmp_path / f"{name}.tif"
        grid = Grid("EPSG:3857", -11_720_000.0, 4_860_000.0, 30.0, 30.0, 64, 64)
        write_geotiff(path, (elevation * 8.0).astype(np.float32), grid, ["elevation"], "m")
        one = maps.Map("hillshade", path, "", maps.HILLSHADE, "gray")
        with rasterio.open(path) as source:
            place = MERCATOR.tile(
                *map(float, np.ravel(transform(source.crs, "EPSG:4326", *[[v] for v in source.xy(32, 32)]))), 14
            )
        drawn = picture(tiles.tile(one, path, 1, (0, 255), place.z, place.x, place.y))
        shades[name] = float(np.median(drawn[drawn[..., 3] == 255][:, 0]))
    assert shades["northwest"] > 220
    assert shades["southeast"] < 150


def test_browsers_keep_tiles_until_they_change(client: TestClient, finished: Finished):
    item = listed(client, finished)["eemt_topo_1971-2000"]
    place = MERCATOR.tile(*middle(item), 14)
    address = item["tiles"].format(z=14, x=place.x, y=place.y)
    answer = client.get(address)
    assert answer.headers["cache-control"].startswith("private, max-age=")
    tag = answer.headers["etag"]
    again = client.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(address, params={"band": 2}).headers["etag"] != tag
    shutil.copy(finished.results / "maps/eemt_trad_1971-2000.tif", finished.results / item["file"])
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("name", ["eemt_topo_1971-2000", "ebio_trad_1971-2000", "monthly_global", "mcwi", "slope"])
def test_the_value_at_a_place_is_that_of_the_cell(client: TestClient, finished: Finished, name: str):
    item = listed(client, finished)[name]
    path = finished.results / item["file"]
    with rasterio.open(path) as source:
        values = source.read()
    for row, col in ((0, 0), (7, 33), (39, 39), (20, 20)):
        longitude, latitude = cell_centre(path, row, col)
        band = len(item["bands"]) if row == 7 else 1
        where = {"longitude": longitude, "latitude": latitude, "band": band}
        found = client.get(f"{finished.address}/maps/{name}/value", params=where).json()
        assert (found["row"], found["col"]) == (row, col)
        expected = values[band - 1, row, col]
        if np.isnan(expected):
            assert found["value"] is None
        else:
            assert np.float32(found["value"]) == expected
        assert found["unit"] == item["bands"][band - 1]["unit"]


def test_nodata_and_what_lies_beyond_have_no_value(client: TestClient, finished: Finished):
    item = listed(client, finished)["eemt_topo_1971-2000"]
    longitude, latitude = cell_centre(finished.results / item["file"], 10, 24)
    address = f"{finished.address}/maps/{item['name']}/value"
    hole = client.get(address, params={"longitude": longitude, "latitude": latitude}).json()
    assert (hole["value"], hole["row"], hole["col"]) == (None, 10, 24)
    for place in ((0, 0), (180, 90), (-180, -90)):
        beyond = client.get(address, params={"longitude": place[0], "latitude": place[1]})
        assert beyond.status_code == 200
        assert (beyond.json()["value"], beyond.json()["row"]) == (None, None)


def test_the_legend_of_a_band_is_that_of_its_tiles(client: TestClient, finished: Finished):
    item = listed(client, finished)["eemt_topo_1971-2000"]
    legend = client.get(f"{finished.address}/maps/{item['name']}/legend", params={"band": 8}).json()
    assert (legend["low"], legend["high"]) == (item["bands"][7]["low"], item["bands"][7]["high"])
    assert legend["unit"] == "MJ m-2 month-1"
    assert len(legend["stops"]) == qml.STOPS


@pytest.mark.parametrize(
    "path",
    [
        "maps/none/legend",
        "maps/eemt_topo_1971-2000/legend?band=14",
        "maps/eemt_topo_1971-2000/tiles/2/9/0.png",
        "maps/eemt_topo_1971-2000/value?longitude=0&latitude=0&band=99",
    ],
)
def test_what_there_is_not_is_not_found(client: TestClient, finished: Finished, path: str):
    answer = client.get(f"{finished.address}/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["..", "..%2F..%2Frun.log", "%2Fetc%2Fpasswd", "a%00b", "maps%2Feemt_topo_1971-2000"])
def test_names_of_maps_lead_nowhere_else(client: TestClient, finished: Finished, name: str):
    for rest in ("legend", "value?longitude=0&latitude=0", "tiles/0/0/0.png"):
        assert client.get(f"{finished.address}/maps/{name}/{rest}").status_code in {400, 404, 422}


def test_cases_of_a_sweep_are_maps_too(client: TestClient, finished: Finished):
    case = "linke~2_omega~2.2"
    shutil.copytree(finished.results / "maps", finished.results / case / "maps")
    found = listed(client, finished)
    item = found[f"{case}:eemt_topo_1971-2000"]
    assert item["case"] == case
    assert item["file"] == f"{case}/maps/eemt_topo_1971-2000.tif"
    assert tile_of(client, item, 14).any()


def test_a_large_raster_without_overviews_gets_them_once(tmp_path: Path):
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 10.0, 10.0, 2100, 300)
    values = np.add.outer(np.arange(300), np.arange(2100)).astype(np.float32)
    path = tmp_path / "dem.tif"
    write_geotiff(path, values, grid, ["elevation"], "m")
    copy = tiles.with_overviews(path, tmp_path / "overviews")
    assert copy != path
    with rasterio.open(copy) as source:
        assert source.overviews(1)
        np.testing.assert_array_equal(source.read(1), values)
    written = copy.stat().st_mtime_ns
    assert tiles.with_overviews(path, tmp_path / "overviews") == copy
    assert copy.stat().st_mtime_ns == written
    assert tiles.with_overviews(copy, tmp_path / "overviews") == copy


def test_maps_that_are_the_same_everywhere_have_a_range(tmp_path: Path):
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 40, 40)
    (tmp_path / "terrain").mkdir()
    write_geotiff(tmp_path / "terrain/slope.tif", np.zeros((40, 40), np.float32), grid, ["slope"], "degrees")
    found = maps.maps_of(tmp_path)
    assert [one.name for one in found] == ["slope"]
    assert maps.colour_range(found[0], found, 1) == (-0.5, 0.5)
