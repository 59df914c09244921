"""The STAC catalogue of a site."""

from __future__ import annotations

import io
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from matplotlib.image import imread
from pyproj import CRS
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from pystac.extensions.scientific import ScientificExtension
from pystac.stac_object import STACObjectType
from pystac.validation import RegisteredValidator
from pystac.validation.local_validator import get_local_schema_cache

from eemt import figures, stac
from eemt.config import Site
from eemt.errors import InputError
from eemt.grid import Grid, map_crs
from eemt.map_header import MapHeader, read_header
from eemt.plan import Plan
from eemt.raster import read_band, read_grid
from eemt.stac import degrees, footprint, time_span, write_catalogue
from eemt.thumbnails import Thumbnails
from stac_extensions import faults


@pytest.fixture
def written(finished, call) -> Path:
    out = finished.folder / "catalog.json"
    code, _, err = call("stac", *finished.words, "--out", out)
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def of_sweep(finished_once, tmp_path_factory) -> Path:
    """The catalogue of the site with two cases, whose maps are those of the site itself."""
    folder = shutil.copytree(finished_once.folder, tmp_path_factory.mktemp("sweep") / "ridge")
    values = json.loads(finished_once.as_json) | {
        "sweep": {"sun": {"linke": [2]}, "eemt": {"omega": [2.2]}, "combine": "each"}
    }
    for case in ("linke~2", "omega~2.2"):
        shutil.copytree(folder / "maps", folder / case / "maps")
        shutil.copy(folder / "summary.csv", folder / case)
    write_catalogue(folder, folder / "catalog.json", "ridge", Site.model_validate(values))
    return folder / "catalog.json"


def parts_of(path: Path) -> list[Path]:
    return [path, *path.parent.glob("stac/*.json"), *path.parent.glob("*/item.json")]


def items_of(path: Path) -> dict[str, pystac.Item]:
    return {item.id: item for item in pystac.Collection.from_file(str(path)).get_items()}


def test_collection_and_items_are_valid_by_the_schemas_that_pystac_ships(written: Path):
    validator = RegisteredValidator.get_validator()
    assert set(get_local_schema_cache()) <= set(validator.schema_cache)  # so that nothing of it is asked for on the net
    for path in parts_of(written):
        content = json.loads(path.read_text())
        kind = STACObjectType.COLLECTION if path == written else STACObjectType.ITEM
        assert validator.validate_core(content, kind, content["stac_version"], path.name)


def test_fields_of_extensions_are_those_of_their_specifications(written: Path, of_sweep: Path):
    for path in (*parts_of(written), *parts_of(of_sweep)):
        assert list(faults(json.loads(path.read_text()))) == [], path


def spoilt(content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return content | {
        "properties": content["properties"] | {name.replace("_", ":", 1): v for name, v in fields.items()}
    }


def test_a_wrong_name_or_type_in_an_extension_is_found(written: Path):
    content = json.loads((written.parent / "stac/eemt_topo_2002.json").read_text())
    assert list(faults(content)) == []
    for wrong in (
        spoilt(content, proj_epsg=32613),
        spoilt(content, proj_code=32613),
        spoilt(content, proj_code=None),
        spoilt(content, proj_shape=[36.5, 44]),
        spoilt(content, proj_transform=[30.0, 0.0]),
        spoilt(content, sci_publications=[{"doi": "https://doi.org/10.1/x"}]),
        spoilt(content, processing_software={"eemt": 1}),
        spoilt(content, raster_bands=[]),
        spoilt(content, file_size=3),
        content | {"stac_extensions": content["stac_extensions"][1:]},
    ):
        assert list(faults(wrong))
    for key, value in {
        "data_type": "float",
        "nodata": "NaN",
        "sampling": "cell",
        "statistics": {"sd": 1.0},
        "min": 0,
    }.items():
        bands = [content["assets"]["data"]["raster:bands"][0] | {key: value}]
        assets = content["assets"] | {"data": content["assets"]["data"] | {"raster:bands": bands}}
        assert list(faults(content | {"assets": assets}))


def test_every_map_has_an_item_and_every_link_leads_to_a_file(written: Path, finished):
    items = items_of(written)
    assert list(items) == finished.maps
    assert sorted(path.stem for path in written.parent.glob("stac/*.json")) == sorted(finished.maps)
    for item in items.values():
        assert item.get_collection().id == "ridge" and item.get_root().id == "ridge"
        for asset in item.assets.values():
            assert not Path(asset.href).is_absolute()
            assert Path(asset.get_absolute_href()).is_file()
    collection = pystac.Collection.from_file(str(written))
    assert {"dem_dem.tif", "summary.parquet", "terrain_slope.tif", "climate_climate.nc"} <= set(collection.assets)
    assert all(Path(asset.get_absolute_href()).is_file() for asset in collection.assets.values())


def test_catalogue_can_be_moved(written: Path, tmp_path: Path):
    moved = written.parent.rename(tmp_path / "elsewhere") / "catalog.json"
    assert str(tmp_path / "results") not in moved.read_text()
    for item in items_of(moved).values():
        assert Path(item.assets["data"].get_absolute_href()).is_file()


def test_item_says_of_a_map_what_the_map_says(written: Path):
    item = items_of(written)["eemt_topo_2002"]
    with rasterio.open(item.assets["data"].get_absolute_href()) as source:
        projection = ProjectionExtension.ext(item)
        assert projection.code == source.crs.to_string()
        assert projection.shape == list(source.shape) and projection.bbox == list(source.bounds)
        assert projection.transform == list(source.transform)[:6]
        bands = RasterExtension.ext(item.assets["data"]).bands
        assert len(bands) == source.count == 13
        assert (bands[0].unit, bands[12].unit) == ("MJ m-2 yr-1", "MJ m-2 month-1")
        assert bands[0].nodata == "nan" and bands[0].data_type == source.dtypes[0]
        assert bands[3].statistics.mean == pytest.approx(float(source.tags(4)["STATISTICS_MEAN"]))
    assert item.assets["data"].extra_fields["bands"][1]["name"] == "Jan"
    assert item.assets["data"].media_type == pystac.MediaType.COG
    assert item.properties["eemt:parameters"]["omega"] == 2.63
    (paper,) = ScientificExtension.ext(item).publications
    assert paper.doi == "10.2136/vzj2014.07.0102" and paper.citation == item_tags(item)["CITATION"]
    assert item.properties["processing:software"]["eemt"] == json.loads(item_tags(item)["VERSIONS"])["eemt"]


def item_tags(item: pystac.Item) -> dict[str, str]:
    with rasterio.open(item.assets["data"].get_absolute_href()) as source:
        return source.tags()


def test_each_case_of_a_sweep_is_an_item_with_all_its_maps(of_sweep: Path, finished_once):
    items = items_of(of_sweep)
    assert [name for name in items if name not in finished_once.maps] == ["linke~2", "omega~2.2"]
    case = items["linke~2"]
    assert Path(case.get_self_href()) == of_sweep.parent / "linke~2" / "item.json"
    assert case.properties["eemt:changes"] == {"linke": 2.0}
    assert case.properties["title"] == "Maps with linke 2"
    maps = {name: asset for name, asset in case.assets.items() if asset.has_role("data")}
    assert list(maps) == finished_once.maps
    for name, asset in maps.items():
        assert Path(asset.get_absolute_href()) == of_sweep.parent / "linke~2" / "maps" / f"{name}.tif"
        assert "_".join(asset.extra_fields[f"eemt:{key}"] for key in ("variable", "method", "year")) == name
        assert len(RasterExtension.ext(asset).bands) == 13
    assert {"eemt_topo_2002_style", "summary.csv", "thumbnail"} <= set(case.assets)
    assert case.common_metadata.start_datetime.year == 2001 and case.common_metadata.end_datetime.year == 2003
    assert all(Path(asset.get_absolute_href()).is_file() for asset in case.assets.values())
    summaries = pystac.Collection.from_file(str(of_sweep)).summaries
    assert summaries.get_list("eemt:method") == ["trad", "topo"]


def test_thumbnails_are_small_pictures_of_their_maps_in_shared_colours(of_sweep: Path):
    items = items_of(of_sweep)
    collection = pystac.Collection.from_file(str(of_sweep))
    assert collection.assets["thumbnail"].href == "./stac/eemt_topo_mean.png"
    for part in (collection, *items.values()):
        asset = part.assets["thumbnail"]
        assert asset.roles == ["thumbnail"] and asset.media_type == "image/png"
        picture = Path(asset.get_absolute_href())
        assert picture.stat().st_size < 100_000
        pixels = imread(picture)
        assert pixels.shape == (36, 44, 4) and np.ptp(pixels[..., 0]) > 0.1
        name = "eemt_topo_mean" if part is collection or "~" in part.id else part.id
        with rasterio.open(of_sweep.parent / "maps" / f"{name}.tif") as source:
            np.testing.assert_array_equal(pixels[..., 3] > 0, source.read_masks(1) > 0)
    own, case = (Path(items[name].assets["thumbnail"].get_absolute_href()) for name in ("eemt_topo_mean", "linke~2"))
    assert own.read_bytes() == case.read_bytes()  # of the same map


def test_colours_of_a_thumbnail_are_those_of_all_methods(finished_once):
    plan = Plan(finished_once.settings)
    folder = finished_once.folder
    maps = [read_header(folder / "maps" / f"{name}.tif", "test") for name in plan.maps]
    shade = figures.hillshade(read_band(folder / "dem/dem.tif"), read_grid(folder / "dem/dem.tif"))
    panels = figures.eemt_panels({m: read_band(folder / f"maps/eemt_{m}_mean.tif") for m in ("trad", "topo")})
    drawn = Thumbnails(maps, folder / "dem/dem.tif")
    for panel, method in zip(panels, ("trad", "topo"), strict=True):
        (known,) = [one for one in maps if one.path.stem == f"eemt_{method}_mean"]
        found = imread(io.BytesIO(drawn.draw(known)))
        np.testing.assert_allclose(found, figures.drape(panel, shade), atol=0.51 / 255)


def test_each_asset_has_a_role_and_a_media_type(written: Path, of_sweep: Path):
    for path in (written, of_sweep):
        for part in (pystac.Collection.from_file(str(path)), *items_of(path).values()):
            for asset in part.assets.values():
                assert set(asset.roles) <= {"data", "metadata", "thumbnail", "overview", "style"} and asset.media_type


def test_time_is_of_the_years_and_of_all_of_them_in_a_statistic(written: Path):
    items = items_of(written)
    year, trend = items["eemt_topo_2002"].common_metadata, items["eemt_topo_trend"].common_metadata
    assert (year.start_datetime.year, year.end_datetime.isoformat()) == (2002, "2002-12-31T23:59:59+00:00")
    assert (trend.start_datetime.year, trend.end_datetime.year) == (2001, 2003)
    assert [moment.year for moment in time_span("1971-2000")] == [1971, 2000]
    with pytest.raises(InputError, match="has no year"):
        time_span("mean")


def test_footprint_follows_the_sides_of_a_grid(finished_once):
    grid = read_grid(finished_once.folder / "maps" / "eemt_topo_2002.tif")
    west, south, east, north = degrees(grid)
    assert west < grid.centre[1] < east and south < grid.centre[0] < north
    wide = Grid("EPSG:32613", 200_000.0, 4_900_000.0, 1000.0, 1000.0, 600, 400)
    ring = footprint(wide)["coordinates"][0]
    assert ring[0] == ring[-1] and len(ring) == 33
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring))
    assert area > 0  # counter-clockwise
    latitudes = [y for _, y in ring[:9]]
    assert max(latitudes) - min(latitudes) > 0.05  # the southern side is bent


def test_a_projection_without_a_code_is_written_out():
    crs = map_crs(None, (-110.0, 35.0, -100.0, 42.0), "EPSG:4326")
    grid = Grid(crs, -400_000.0, 300_000.0, 100.0, 100.0, 8000, 6000)
    tags = dict.fromkeys(("TITLE", "VARIABLE", "METHOD", "YEAR", "CREATED", "CITATION"), "x") | {
        "UNITS": "band 1 1, bands 2 to 13 1",
        "YEARS": "2001",
    }
    made = stac.item(MapHeader(Path("maps/x.tif"), grid, tags, [("x", {})], True), Path("stac/x.json"), "site")
    projection = ProjectionExtension.ext(made)
    assert projection.code is None and CRS.from_user_input(projection.wkt2) == CRS.from_user_input(crs)
    assert "statistics" not in RasterExtension.ext(made.assets["data"]).bands[0].properties  # of a map without a value
    assert "style" not in made.assets


def test_licence_and_publisher_are_those_of_the_config(finished, call):
    values = json.loads(finished.as_json)
    values["outputs"] |= {"licence": "CC-BY-4.0", "publisher": "Valley Observatory"}
    out = finished.folder / "catalog.json"
    code, _, err = call("stac", finished.folder, "--site", "r", "--settings", json.dumps(values), "--out", out)
    assert code == 0, err
    collection = pystac.Collection.from_file(str(out))
    assert collection.license == "CC-BY-4.0"
    assert collection.providers[0].name == "Valley Observatory"


def test_a_missing_or_foreign_map_is_named_in_one_line(finished, call):
    path = finished.folder / "maps" / "eemt_topo_2002.tif"
    path.unlink()
    code, _, err = call("stac", *finished.words, "--out", finished.folder / "catalog.json")
    assert code == 2 and len(err.splitlines()) == 1
    assert "eemt_topo_2002.tif does not exist" in err
    path.write_bytes((finished.folder / "terrain" / "slope.tif").read_bytes())
    code, _, err = call("stac", *finished.words, "--out", finished.folder / "catalog.json")
    assert code == 2 and "has no tag TITLE" in err
    assert not (finished.folder / "catalog.json").exists()
