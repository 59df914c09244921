"""Files of users: what is found in good ones, and that bad ones are refused with a reason."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import write_geotiff
from eemt.service import geotiffs, inspection, polygons
from sites import BOULDER, NORMALS, ROOT, hills

CATCHMENTS = ROOT / "config" / "data" / "boulder_catchments.geojson"
MOST_CELLS = 1_000_000
PLACE = {"crs": "EPSG:32613", "transform": Affine(30, 0, 471_000, 0, -30, 4_423_000)}


@pytest.fixture
def sent(tmp_path: Path) -> Callable[[bytes | Path], Path]:
    """Put a file where an upload is: alone in a folder, without an ending."""

    def put(content: bytes | Path) -> Path:
        folder = tmp_path / "upload"
        folder.mkdir(exist_ok=True)
        path = folder / "data"
        path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        return path

    return put


def tiff(path: Path, values: np.ndarray, **profile: Any) -> Path:
    """Write a GeoTIFF of bands (bands, rows, columns)."""
    bands, rows, cols = values.shape
    given = {
        "driver": "GTiff",
        "dtype": values.dtype,
        "count": bands,
        "height": rows,
        "width": cols,
        **PLACE,
        **profile,
    }
    with rasterio.open(path, "w", **given) as target:
        target.write(values)
    return path


def elevation(rows: int = 64, cols: int = 64) -> np.ndarray:
    return hills(rows, cols)[np.newaxis]


def problem(kind: str, path: Path) -> str:
    """Look into a file in a process of its own and return why it cannot be used."""
    header, found = inspection.inspect(kind, path, MOST_CELLS)
    assert header == {}
    assert found is not None
    assert str(path.parent) not in found
    return found


def refusal(path: Path, kind: str = "dem", most_cells: int = MOST_CELLS) -> str:
    """Look into a GeoTIFF in this process and return why it cannot be used."""
    with pytest.raises(InputError) as raised:
        geotiffs.header(path, kind, most_cells)
    return str(raised.value)


# what is found


def test_the_header_of_elevation_says_where_it_is_and_how_high(sent: Callable[..., Path]) -> None:
    path = sent(BOULDER)
    header, found = inspection.inspect("dem", path, MOST_CELLS)
    assert found is None
    with rasterio.open(BOULDER) as source:
        values = source.read(1, masked=True)
        assert header["grid"]["west"] == source.transform.c
        assert (header["width"], header["height"]) == (source.width, source.height)
        assert header["bounds"] == pytest.approx(source.bounds, abs=1e-5)
    assert header["range"] == [values.min(), values.max()]
    assert header["crs"] == "WGS 84 (EPSG:4326)"
    assert header["footprint"]["type"] == "Polygon"
    assert header["footprint"]["coordinates"][0][0] == header["footprint"]["coordinates"][0][-1]
    assert header["warnings"] == []
    assert sorted(file.name for file in path.parent.iterdir()) == ["data", "hillshade.png"]


def test_the_hillshade_is_small_and_see_through_where_there_is_no_data(tmp_path: Path) -> None:
    values = elevation(600, 1200)
    values[:, :, 600:] = np.nan
    geotiffs.header(tiff(tmp_path / "data", values, nodata=np.nan), "dem", MOST_CELLS)
    picture = np.asarray(Image.open(tmp_path / "hillshade.png"))
    assert picture.shape == (256, 512, 2)
    assert (picture[:, :250, 1] == 255).all()
    assert (picture[:, 262:, 1] == 0).all()
    assert picture[:, :250, 0].std() > 5


def test_elevation_in_feet_is_warned_of(tmp_path: Path) -> None:
    header = geotiffs.header(tiff(tmp_path / "data", elevation() * np.float32(10)), "dem", MOST_CELLS)
    assert "metres above sea level?" in header["warnings"][0]


def test_of_a_large_raster_a_sample_gives_the_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geotiffs, "READ_WHOLE", 1000)
    monkeypatch.setattr(geotiffs, "STRIP", 640)
    values = np.full((1, 64, 64), np.nan, np.float32)
    values[0, 37, 5] = 1234.0  # in none of the strips that are looked at first
    header = geotiffs.header(tiff(tmp_path / "data", values, nodata=np.nan), "dem", MOST_CELLS)
    assert header["range"] == [1234.0, 1234.0]


def test_polygons_tell_their_attributes_and_which_can_name_them(sent: Callable[..., Path]) -> None:
    header, found = inspection.inspect("zones", sent(CATCHMENTS), MOST_CELLS)
    assert found is None
    assert (header["ending"], header["polygons"], header["crs"]) == ("geojson", 5, "WGS 84")
    assert "catchment" in header["identifiers"]
    assert "origin" in header["attributes"]
    assert "origin" not in header["identifiers"]


def test_a_geopackage_of_several_layers_tells_each(tmp_path: Path, sent: Callable[..., Path]) -> None:
    frame = pyogrio.read_dataframe(CATCHMENTS)
    package = tmp_path / "zones.gpkg"
    for layer, part in (("large", frame[:2]), ("small", frame[2:])):
        pyogrio.write_dataframe(part, package, layer=layer, driver="GPKG", append=package.exists())
    header, found = inspection.inspect("zones", sent(package), MOST_CELLS)
    assert found is None
    assert [(layer["layer"], layer["polygons"]) for layer in header["layers"]] == [("large", 2), ("small", 3)]
    assert header["ending"] == "gpkg"


def test_tables_tell_their_rows(sent: Callable[..., Path]) -> None:
    header, found = inspection.inspect("climate", sent(NORMALS), MOST_CELLS)
    assert found is None
    assert (header["rows"], header["years"], header["stations"]) == (12, None, 1)
    assert header["needs"] == ["elevation", "latitude", "longitude"]
    header, found = inspection.inspect("table", sent(b"linke,omega\n2,2.2\n4,3.0\n"), MOST_CELLS)
    assert (header, found) == ({"rows": 2, "columns": ["linke", "omega"]}, None)


# what is refused: by the process


@pytest.mark.parametrize("kind", ["dem", "zones", "climate", "table"])
def test_a_file_that_is_none_of_its_kind_is_refused_in_one_line(kind: str, sent: Callable[..., Path]) -> None:
    found = problem(kind, sent(b"\x89PNG\r\n\x1a\n" + bytes(range(256))))
    assert "\n" not in found
    assert "Traceback" not in found


def test_a_virtual_raster_that_names_another_file_is_refused(sent: Callable[..., Path]) -> None:
    virtual = (
        f'<VRTDataset rasterXSize="84" rasterYSize="84"><SRS>EPSG:4326</SRS><GeoTransform>-105, 0.1, 0, 40, 0, -0.1'
        f'</GeoTransform><VRTRasterBand dataType="Int16" band="1"><SimpleSource><SourceFilename>{BOULDER}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert "no GeoTIFF" in problem("dem", sent(virtual.encode()))


def test_the_process_has_no_driver_but_those_it_needs(tmp_path: Path) -> None:
    virtual = tmp_path / "other.vrt"
    subprocess.run(["cp", BOULDER, tmp_path / "data"], check=True)
    virtual.write_text(
        '<VRTDataset rasterXSize="84" rasterYSize="84"><VRTRasterBand dataType="Int16" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">data</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    code = "import sys, rasterio; rasterio.open(sys.argv[1]).close()"
    environment = inspection._environment("dem")
    opened = [
        subprocess.run(
            [sys.executable, "-c", code, name], env=environment, cwd=tmp_path, capture_output=True, check=False
        ).returncode
        for name in ("data", "other.vrt", "/vsizip/x.zip/y.tif", "/vsicurl/http://127.0.0.1:9/x.tif")
    ]
    assert opened == [0, 1, 1, 1]
    drivers = "import json, pyogrio; print(json.dumps(list(pyogrio.list_drivers())))"
    listed = subprocess.run(
        [sys.executable, "-c", drivers],
        env=inspection._environment("zones"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(listed.stdout)) <= {"GPKG", "GeoJSON", "MEM", "Memory"}


def test_the_process_has_little_memory_and_no_core_dump(tmp_path: Path) -> None:
    code = (
        "import resource; from eemt.service import inspection; inspection._limit()\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "assert resource.getrlimit(resource.RLIMIT_CPU)[1] == inspection.CPU_SECONDS\n"
        "try:\n    bytearray(inspection.MEMORY)\nexcept MemoryError:\n    print('refused')\n"
        "file = open('large', 'wb', buffering=0); file.seek(inspection.WRITTEN)\n"
        "try:\n    file.write(b'1')\nexcept OSError:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["refused", "refused"]


def test_what_takes_too_long_is_ended_and_told(sent: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "WALL_SECONDS", 0.05)
    header, found = inspection.inspect("dem", sent(BOULDER), MOST_CELLS)
    assert header == {}
    assert "too long" in str(found)


def test_a_service_that_stops_ends_the_process(sent: Callable[..., Path]) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(inspection.Stopped):
        inspection.inspect("dem", sent(BOULDER), MOST_CELLS, stopping)


def test_a_process_that_dies_leaves_a_reason(sent: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_environment", lambda _: {"OPENBLAS_NUM_THREADS": "none", "GDAL_DATA": "/nowhere"})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "damaged" in problem("dem", sent(BOULDER))


# what is refused: of GeoTIFFs


def header_bomb(side: int) -> bytes:
    """Return a BigTIFF of 300 bytes whose header says that it has so many rows and columns, in one strip each row."""
    entries = [
        (256, 4, 1, side),  # columns
        (257, 4, 1, side),  # rows
        (258, 3, 1, 32),  # bits
        (259, 3, 1, 1),  # no compression
        (262, 3, 1, 1),
        (273, 16, 1, 16),  # the only strip
        (277, 3, 1, 1),
        (278, 4, 1, side),  # rows of a strip
        (279, 16, 1, 64),
        (339, 3, 1, 3),  # real numbers
    ]
    body = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + body + bytes(64)


def test_a_header_of_a_thousand_million_rows_and_columns_is_refused(sent: Callable[..., Path]) -> None:
    path = sent(header_bomb(1_000_000_000))
    assert path.stat().st_size < 1000
    assert problem("dem", path)
    assert refusal(sent(header_bomb(2_000_000)))


def test_more_cells_than_allowed_are_refused(tmp_path: Path) -> None:
    assert "4,000 are the most" in refusal(tiff(tmp_path / "data", elevation()), most_cells=4000)


def test_a_header_without_cells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "height": 900,
        "width": 900,
        "SPARSE_OK": "TRUE",
        **PLACE,
    }
    with rasterio.open(path, "w", **profile):
        pass
    assert "no cells" in refusal(path)


def test_blocks_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "data", elevation(512, 512), tiled=True, blockxsize=256, blockysize=256)
    content = bytearray(path.read_bytes())
    start, number = entry_of(content, 324)
    (first,) = struct.unpack_from("<I", content, start)
    struct.pack_into(f"<{number}I", content, start, *[first] * number)
    path.write_bytes(content[: first + 256 * 256 * 4])
    assert "promises" in refusal(path)


def entry_of(content: bytearray, tag: int) -> tuple[int, int]:
    """Return where a tag's values begin in a TIFF, and how many there are."""
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    for number in range(entries):
        found, _, count, value = struct.unpack_from("<HHII", content, directory + 2 + 12 * number)
        if found == tag:
            return value, count
    raise AssertionError(tag)


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, compress: str) -> None:
    path = tiff(tmp_path / "data", elevation(300, 300), compress=compress)
    path.write_bytes(path.read_bytes()[:-20_000])
    assert refusal(path)


def test_damaged_cells_are_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "data", elevation(300, 300), compress="deflate")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_metadata_that_can_name_other_files_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "data", elevation())
    with rasterio.open(path, "r+") as target:
        target.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/etc/other.vrt")
    assert "may name other files" in refusal(path)
    path = tiff(tmp_path / "data", elevation())
    with rasterio.open(path, "r+") as target:
        target.update_tags(ns="GEOLOCATION", X_DATASET="/vsicurl/http://127.0.0.1/x")
    assert "may name other files" in refusal(path)


@pytest.mark.parametrize(
    ("values", "profile", "kind", "reason"),
    [
        (np.ones((3, 64, 64), np.float32), {}, "dem", "3 bands; one is needed"),
        (np.ones((13, 8, 8), np.float32), {}, "raster", "13 bands; 12 are the most"),
        (np.ones((1, 64, 64), np.complex64), {}, "dem", "complex64"),
        (np.ones((1, 64, 64), np.uint8), {"compress": "jpeg"}, "raster", "compression is jpeg"),
        (np.full((1, 64, 64), np.nan, np.float32), {"nodata": np.nan}, "dem", "without data"),
        (np.full((1, 64, 64), -9999, np.int16), {"nodata": -9999}, "dem", "without data"),
        (np.ones((1, 2, 64), np.float32), {}, "dem", "3 x 3 are the least"),
        (np.ones((1, 64, 64), np.float32), {"crs": None}, "dem", "no coordinate system"),
        (np.ones((1, 64, 64), np.float32), {"transform": Affine(30, 9, 471_000, 9, -30, 4e6)}, "dem", "not north-up"),
        (np.ones((1, 64, 64), np.float32), {"transform": Affine(1e9, 0, 0, 0, -1e9, 4e6)}, "dem", "no place on Earth"),
        (np.ones((1, 300, 300), np.uint8), {"photometric": "palette"}, "raster", "numbers of colours"),
    ],
)
def test_a_raster_that_cannot_be_used_is_refused(
    tmp_path: Path, values: np.ndarray, profile: dict[str, Any], kind: str, reason: str
) -> None:
    path = tiff(tmp_path / "data", values, **profile)
    if profile.get("photometric"):
        with rasterio.open(path, "r+") as target:
            target.write_colormap(1, {number: (number, 0, 0, 255) for number in range(256)})
    assert reason in refusal(path, kind)


def test_absurd_inner_tiles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiff(tmp_path / "data", elevation(512, 512), tiled=True, blockxsize=512, blockysize=512, compress="deflate")
    monkeypatch.setattr(geotiffs, "LARGEST_BLOCK", 512 * 512 * 4 - 1)
    assert "inner tiles are 512 x 512" in refusal(path)
    monkeypatch.undo()
    path = tiff(tmp_path / "data", elevation(512, 512), blockysize=1, compress="deflate")
    monkeypatch.setattr(geotiffs, "MOST_BLOCKS", 500)
    assert "512 pieces" in refusal(path)


def test_eemt_takes_what_is_accepted(tmp_path: Path) -> None:
    from eemt.config import DemSettings
    from eemt.stages.dem import check

    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 44, 36)
    path = tmp_path / "dem.tif"
    write_geotiff(path, hills(*grid.shape), grid, ["elevation"], "m")
    assert Grid(**geotiffs.header(path, "dem", MOST_CELLS)["grid"]) == check(DemSettings(source=str(path)))


# what is refused: of polygons


def collection(**members: Any) -> bytes:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    feature = {"type": "Feature", "properties": {"name": "a"}, "geometry": square}
    return json.dumps({"type": "FeatureCollection", "features": [feature], **members}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (collection(crs={"type": "link", "properties": {"href": "http://127.0.0.1:9/"}}), "is no name"),
        (collection(crs={"type": "name", "properties": {"name": "http://127.0.0.1:9/"}}), "is no name"),
        (collection(crs={"type": "name", "properties": {"name": "/etc/passwd"}}), "is no name"),
        (collection(crs={"type": "url", "properties": {"url": "http://127.0.0.1:9/"}}), "is no name"),
        (collection(name="<OGRVRTDataSource><OGRVRTLayer name='x'/></OGRVRTDataSource>"), "markup"),
        (collection(conformsTo=["http://www.opengis.net/spec/json-fg-1/0.3/conf/core"]), "'conformsTo'"),
        (collection(coordRefSys="http://127.0.0.1:9/"), "'coordRefSys'"),
        (collection(stac_version="1.0.0"), "'stac_version'"),
        (b'{"type":"FeatureCollection","features":[],"crs":null,"crs":{"type":"link"}}', "key twice"),
        (b'{"type":"Topology","objects":{},"arcs":[]}', "no FeatureCollection"),
        (b'{"type":"FeatureCollection",' + b"[" * 100_000, "no GeoJSON"),
        (b"{\xff\xfe", "no GeoJSON"),
    ],
)
def test_geojson_that_refers_to_elsewhere_or_is_something_else_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        polygons.refuse_text(content)


def test_the_usual_names_of_coordinate_systems_are_taken() -> None:
    for name in ("urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::32613", "EPSG:4326"):
        polygons.refuse_text(collection(crs={"type": "name", "properties": {"name": name}}))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE VIEW looked AS SELECT 1 AS fid", "'looked' is no plain table"),
        ("CREATE VIRTUAL TABLE words USING fts5(a)", "'words' is no plain table"),
    ],
)
def test_a_geopackage_with_more_than_tables_is_refused(
    tmp_path: Path, sent: Callable[..., Path], statement: str, reason: str
) -> None:
    package = tmp_path / "zones.gpkg"
    pyogrio.write_dataframe(pyogrio.read_dataframe(CATCHMENTS), package, driver="GPKG")
    connection = sqlite3.connect(package)
    connection.execute(statement)
    connection.commit()
    connection.close()
    assert reason in problem("zones", sent(package))


def test_another_database_and_other_formats_of_polygons_are_refused(tmp_path: Path, sent: Callable[..., Path]) -> None:
    database = tmp_path / "other.sqlite"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE a (b)")
    connection.commit()
    connection.close()
    for content in (
        database.read_bytes(),
        b"<OGRVRTDataSource><OGRVRTLayer name='passwd'><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer>"
        b"</OGRVRTDataSource>",
        b"PK\x03\x04",
    ):
        path = sent(content)
        with pytest.raises(InputError, match="GeoPackage"):
            polygons.header(path)


def test_polygons_that_eemt_would_refuse_are_refused_in_its_words(sent: Callable[..., Path]) -> None:
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": bow}
    found = problem("zones", sent(json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()))
    assert "no valid polygon: Self-intersection" in found


# what is refused: of tables


def test_a_table_of_stations_is_refused_in_the_words_of_eemt_without_our_paths(sent: Callable[..., Path]) -> None:
    text = NORMALS.read_text().replace("tmin_degC", "tmin")
    found = problem("climate", sent(text.encode()))
    assert found.startswith("the file has no column tmin_degC")
