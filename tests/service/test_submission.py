"""From what users ask for to what Snakemake gets: every mistake at its field, and nothing else than checked values."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import yaml
from pydantic import Field
from sqlalchemy.orm import Session

from eemt.config import SECTIONS, SWEPT, Section, load_config
from eemt.raster import read_grid, write_geotiff
from eemt.service import geotiffs, inspection, jobs, policy, polygons, submission
from eemt.service.database import Database
from eemt.service.dependencies import Principal
from eemt.service.models import Job, Kind, Upload, new_id
from eemt.service.problems import Problem
from eemt.service.settings import PREFIX, Settings
from service.people import make_user
from sites import BOULDER, NORMALS, ROOT

CATCHMENTS = ROOT / "config" / "data" / "boulder_catchments.geojson"
NDVI = ROOT / "config" / "data" / "boulder_ndvi_synthetic.tif"
STATION = {"elevation": 1594, "latitude": 40.43, "longitude": -105.21, "normals_period": [1971, 2000]}


class Group:
    """Two users, and what they have uploaded."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.ada, self.ben = (Principal(make_user(database, name), name, "user", "token") for name in ("ada", "ben"))

    def has(self, kind: str, file: Path, owner: Principal | None = None, **given: Any) -> dict[str, str]:
        """Give a user an upload, looked into, and return how settings name it."""
        upload = new_id()
        folder = self.settings.uploads / upload
        folder.mkdir()
        shutil.copy(file, folder / "data")
        match kind:
            case "dem" | "raster":
                header = geotiffs.header(folder / "data", kind, 10**6)
            case "zones":
                header = self.zones(folder / "data")
            case _:
                header = inspection._header(kind, folder / "data", 0)
        with self.database.session() as session:
            record = Upload(
                id=upload,
                user_id=(owner or self.ada).user_id,
                kind=kind,
                name=file.name,
                size=file.stat().st_size,
                received=file.stat().st_size,
                header=header,
            )
            record.state = "ready"
            for name, value in given.items():
                setattr(record, name, value)
            session.add(record)
        return {"upload": upload}

    @staticmethod
    def zones(path: Path) -> dict[str, Any]:
        before = Path.cwd()
        os.chdir(path.parent)
        try:
            return polygons.header(Path(path.name))
        finally:
            os.chdir(before)

    def ask(self, values: Any, kind: Kind = "eemt", name: str = "boulder", **given: Any) -> submission.Submission:
        """Prepare a job of ada's."""
        settings = self.settings.model_copy(update=given)
        with self.database.reading() as session:
            return submission.prepare(session, settings, self.ada, name, kind, values)

    def mistakes(self, values: Any, kind: Kind = "eemt", name: str = "boulder", **given: Any) -> dict[str, str]:
        """Return the mistakes by field; each field has one."""
        asked = self.ask(values, kind, name, **given)
        assert asked.config_yaml == ""
        assert asked.errors
        found = {mistake["field"]: mistake["message"] for mistake in asked.errors}
        assert len(found) == len(asked.errors)
        assert str(self.settings.folder) not in json.dumps(found)
        return found


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        settings = Settings(folder=tmp_path_factory.mktemp("service"))
    settings.make_folders()
    database = Database(settings.database)
    database.upgrade()
    yield Group(settings, database)
    database.close()


@pytest.fixture(scope="module")
def of_boulder(group: Group) -> dict[str, dict[str, str]]:
    return {"dem": group.has("dem", BOULDER), "climate": group.has("climate", NORMALS)}


@pytest.fixture
def boulder(of_boulder: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A site that can be mapped."""
    return {
        "dem": {"source": of_boulder["dem"], "crs": "EPSG:32613", "resolution": 30},
        "climate": {"file": of_boulder["climate"], **STATION},
    }


# what Snakemake gets


def test_the_config_names_inputs_in_the_folder_of_the_job(group: Group, boulder: dict[str, Any]) -> None:
    asked = group.ask({**boulder, "zones": {"file": group.has("zones", CATCHMENTS), "id": "catchment"}})
    assert asked.errors == []
    config = yaml.safe_load(asked.config_yaml)
    assert list(config) == ["sites"]
    site = config["sites"]["boulder"]
    assert site["dem"] == {"source": "inputs/dem.tif", "crs": "EPSG:32613", "resolution": 30.0}
    assert site["climate"]["file"] == "inputs/climate.csv"
    assert site["zones"]["file"] == "inputs/zones.geojson"
    assert asked.links == {
        "inputs/dem.tif": boulder["dem"]["source"]["upload"],
        "inputs/climate.csv": boulder["climate"]["file"]["upload"],
        "inputs/zones.geojson": asked.links["inputs/zones.geojson"],
    }
    assert sorted(asked.links.values()) == asked.uploads
    assert asked.cells == 260 * 202
    assert load_config(config).sites["boulder"] == asked.site


def test_what_is_laid_out_is_a_run_that_eemt_takes(
    group: Group, boulder: dict[str, Any], monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]
) -> None:
    boulder["dem"]["source"] = group.has("dem", BOULDER)
    asked = group.ask(boulder)
    job = Job(id=new_id(), name="boulder", kind="eemt", settings=boulder, config=asked.config_yaml)
    folder = submission.lay_out(group.settings, job)
    assert folder == jobs.folder(group.settings, job.id)
    assert (folder / "inputs" / "dem.tif").stat().st_nlink == 2  # takes no space
    assert (folder / "inputs" / "dem.tif").read_bytes() == BOULDER.read_bytes()
    shutil.rmtree(group.settings.uploads / boulder["dem"]["source"]["upload"])
    assert submission.lay_out(group.settings, job) == folder  # what is there is left
    monkeypatch.chdir(folder)
    code, out, err = call("check", "config/config.yaml")
    assert (code, err) == (0, "")
    assert "boulder: 260 x 202 cells of 30 m in EPSG:32613" in out


def test_several_rasters_of_elevation_are_several_inputs(group: Group, boulder: dict[str, Any]) -> None:
    boulder["dem"]["source"] = [group.has("dem", BOULDER), group.has("dem", BOULDER)]
    asked = group.ask(boulder)
    assert yaml.safe_load(asked.config_yaml)["sites"]["boulder"]["dem"]["source"] == [
        "inputs/dem_1.tif",
        "inputs/dem_2.tif",
    ]
    assert submission.links(boulder, asked.config_yaml) == asked.links


def test_sun_needs_no_climate_and_takes_none(group: Group, boulder: dict[str, Any]) -> None:
    asked = group.ask({"dem": boulder["dem"], "sun": {"linke": 4}}, "sun")
    assert asked.errors == []
    assert asked.site is not None
    assert not asked.site.has_climate
    assert set(group.mistakes(boulder, "sun")) == {"climate"}
    assert set(group.mistakes({"dem": boulder["dem"]}, "eemt")) == {"climate"}


def test_the_operator_says_where_downloads_are_kept_and_which_image_runs(group: Group) -> None:
    values = {
        "dem": {"source": "3dep", "bbox": [-105.33, 39.93, -105.26, 40.0]},
        "climate": {"source": "daymet", "years": [2003, 2004]},
    }
    asked = group.ask(values, image="docker://example.org/eemt:1")
    config = yaml.safe_load(asked.config_yaml)
    assert config["container"] == "docker://example.org/eemt:1"
    assert config["sites"]["boulder"]["climate"]["cache"] == str(group.settings.cache / "daymet")
    assert asked.uploads == []


@pytest.mark.parametrize(
    ("bbox", "years", "field"),
    [
        ([-105.33, 39.93, -105.26, 40.0], [1950, 1960], "climate.years"),
        ([-105.33, 39.93, -105.26, 40.0], [2003, 2999], "climate.years"),
        ([8.0, 47.0, 8.1, 47.1], [2003, 2004], "climate.source"),
    ],
)
def test_daymet_is_asked_for_what_it_has(group: Group, bbox: list[float], years: list[int], field: str) -> None:
    values = {"dem": {"source": "glo30", "bbox": bbox}, "climate": {"source": "daymet", "years": years}}
    assert set(group.mistakes(values)) == {field}


def test_values_stay_data_whatever_they_look_like(group: Group, boulder: dict[str, Any]) -> None:
    for text in (
        "{{ config }} {input} {% raw %} ${HOME} $(id) `id` %(a)s",
        "!!python/object/apply:os.system ['id']",
        "&anchor *alias << : # - ? | >",
        "'\"; DROP TABLE jobs; --",
        "yes",
        "null",
        "1e5",
        "Universität Zürich – 中文",
        "<script>alert(1)</script>",
    ):
        asked = group.ask({**boulder, "outputs": {"publisher": text}})
        assert asked.errors == []
        assert asked.config_yaml.isascii()
        assert yaml.safe_load(asked.config_yaml)["sites"]["boulder"]["outputs"] == {"publisher": text}
        assert set(yaml.safe_load(asked.config_yaml)) == {"sites"}


@pytest.mark.parametrize("text", ["a\nsites: {}", "a\rb", "a\x00b", "a\u202eb", "a\u2028b", "a\u200bb", "a" * 201])
def test_text_with_what_cannot_be_seen_is_refused(group: Group, boulder: dict[str, Any], text: str) -> None:
    assert set(group.mistakes({**boulder, "outputs": {"publisher": text}})) == {"outputs.publisher"}


# mistakes


def test_all_mistakes_are_told_at_their_fields(group: Group, boulder: dict[str, Any]) -> None:
    found = group.mistakes(
        {
            "dem": {**boulder["dem"], "resolution": -1, "crs": "here", "colour": 1},
            "sun": {"linke": 20, "step": 0, "shadows": "perhaps"},
            "climate": {**boulder["climate"], "lapse_tmin": [1, 2]},
            "eemt": {"methods": ["tropo"], "wind": 99, "omega": "x"},
            "weather": {"a": 1},
            "tiles": 5,
        },
        name="no name",
    )
    assert set(found) == {
        "name",
        "dem.resolution",
        "dem.crs",
        "dem.colour",
        "sun.linke",
        "sun.step",
        "sun.shadows",
        "climate.lapse_tmin",
        "eemt.methods",
        "eemt.wind",
        "eemt.omega",
        "weather",
        "tiles",
    }
    assert found["sun.linke"] == "is 20; allowed are 1 to 10"
    assert found["climate.lapse_tmin"] == "has 2 values; give one, or twelve with January first"
    assert "trad" in found["eemt.methods"]


@pytest.mark.parametrize(
    ("section", "values", "field"),
    [
        ("dem", {"source": "3dep"}, "dem.bbox"),
        ("dem", {"bbox": [-105, 39, -106, 40]}, "dem.bbox"),
        ("dem", {"bbox": [0, 0, 1, 1]}, "dem.bbox"),
        ("dem", {"resolution": 9000}, "dem.resolution"),
        ("climate", {"file": None}, "climate.file"),
        ("climate", {"normals_period": None}, "climate.years"),
        ("climate", {"years": [2001, 2003], "normals_period": None}, "climate.normals_period"),
        ("climate", {"elevation": None}, "climate.elevation"),
        ("climate", {"latitude": 91}, "climate.latitude"),
        ("climate", {"source": "grid"}, "climate.source"),
        ("climate", {"source": "none"}, "climate.source"),
        ("eemt", {"methods": ["veg"]}, "eemt.ndvi"),
        ("eemt", {"methods": []}, "eemt.methods"),
        ("sweep", {"sun": {"linke": [2, 20]}}, "sweep.sun.linke"),
        ("sweep", {"sun": {"albedo": ["/etc/passwd"]}}, "sweep.sun.albedo"),
        ("sweep", {"samples": 4}, "sweep.samples"),
        ("sweep", {"years": [2001]}, "sweep.years"),
        ("outputs", {"over_years": ["sd"]}, "outputs.over_years"),
    ],
)
def test_a_mistake_of_a_whole_section_is_told_at_the_field_that_mends_it(
    group: Group, boulder: dict[str, Any], section: str, values: dict[str, Any], field: str
) -> None:
    found = group.mistakes({**boulder, section: {**boulder.get(section, {}), **values}})
    assert set(found) == {field}


@pytest.mark.parametrize(
    "values",
    [
        [],
        "text",
        {"dem": {"bbox": [float("nan"), 0, 1, 1]}},
        {"eemt": {"solar_ratio_limits": [0.2, float("inf")]}},
        {"tiles": {"size": 10**400}},
        {"sweep": {"sun": {"linke": [[[[[[1]]]]]]}}},
        {"sweep": {"sun": {"linke": [2.0] * 30_000}}},
        {"a" * 1000: {}},
        {"\ud800": {}},
        {"sun": {"linke": "\udfff"}},
    ],
)
def test_values_without_measure_are_refused_before_they_are_looked_at(group: Group, values: Any) -> None:
    assert set(group.mistakes(values)) == {"settings"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"tiles": {"size": 1}}, "tiles.size"),
        ({"dem": {"resolution": 1e-9}}, "dem.resolution"),
        ({"dem": {"resolution": 1e-300}}, "dem.resolution"),
        ({"dem": {"resolution": 0.05}}, "dem.resolution"),
        ({"sweep": {"eemt": {"omega": [2 + k / 1000 for k in range(1000)], "wind": [1, 2, 3, 4, 5, 6]}}}, "sweep"),
        ({"sweep": {"samples": 4096, "eemt": {"omega": {"low": 2, "high": 3}}}}, "sweep"),
    ],
)
def test_jobs_without_measure_are_refused(
    group: Group, boulder: dict[str, Any], values: dict[str, Any], field: str
) -> None:
    merged = {name: {**boulder.get(name, {}), **values.get(name, {})} for name in {*boulder, *values}}
    assert set(group.mistakes(merged)) == {field}


def test_a_job_that_does_not_fit_into_disk_or_quota_is_refused(group: Group, boulder: dict[str, Any]) -> None:
    with pytest.raises(Problem) as raised:
        group.ask(boulder, quota_bytes=1_000_000)
    assert raised.value.name == "quota"
    with pytest.raises(Problem) as raised:
        group.ask(boulder, least_free_bytes=10**15)
    assert raised.value.name == "disk-full"


# files


def test_a_file_is_an_upload_of_ones_own_of_the_right_kind(group: Group, boulder: dict[str, Any]) -> None:
    unfinished = group.has("dem", BOULDER, received=5)
    with group.database.session() as session:
        record = session.get(Upload, unfinished["upload"])
        assert record is not None
        record.state = "receiving"
    gone = group.has("dem", BOULDER)
    shutil.rmtree(group.settings.uploads / gone["upload"])
    for source, reason in (
        (group.has("dem", BOULDER, group.ben), "do not have"),
        ({"upload": "f" * 20}, "do not have"),
        ({"upload": "../../" + "f" * 14}, "do not have"),
        ({"upload": "x' OR '1'='1"}, "do not have"),
        ({"upload": 5}, "must be {upload: ID}"),
        ({"upload": ["a"]}, "must be {upload: ID}"),
        ({"upload": "f" * 20, "path": "/etc"}, "must be {upload: ID}"),
        ({}, "must be {upload: ID}"),
        (group.has("raster", NDVI), "one of the kind dem is needed"),
        (group.has("dem", BOULDER, state="refused", problem="it is no GeoTIFF"), "it is no GeoTIFF"),
        (unfinished, "not all there"),
        (gone, "upload it again"),
        ([], "empty list"),
        ([group.has("dem", BOULDER), "/etc/passwd"], "uploaded first"),
    ):
        assert reason in group.mistakes({**boulder, "dem": {"source": source}})["dem.source"]


PATHS = (
    "/etc/passwd",
    "../../../etc/passwd",
    "inputs/dem.tif",
    "data.vrt",
    "/vsicurl/http://127.0.0.1/x.tif",
    "/vsizip//etc/x.zip/y",
    "file:///etc/passwd",
    "<VRTDataset></VRTDataset>",
    "GTIFF_DIR:1:/etc/x.tif",
    "PG:host=db",
    "http:/x",
    "ftp://example.org/x.tif",
    "gs://bucket/x.tif",
    "3dep ",
)


@pytest.mark.parametrize("key", sorted(policy.FILES))
def test_no_path_is_taken_for_a_file(group: Group, boulder: dict[str, Any], key: str) -> None:
    section, _, name = key.partition(".")
    for path in PATHS:
        values = {**boulder, section: {**boulder.get(section, {}), name: path}}
        assert "uploaded first" in group.mistakes(values)[key]


def test_albedo_is_numbers_or_an_upload(group: Group, boulder: dict[str, Any]) -> None:
    for albedo in (0.3, [0.2] * 12, "0.25"):
        assert group.ask({**boulder, "sun": {"albedo": albedo}}).errors == []
    for albedo in (5, [0.2] * 3, "0.2/x", "1.e", True, ["/etc/passwd"] * 12, [[0.2]] * 12):
        assert set(group.mistakes({**boulder, "sun": {"albedo": albedo}})) == {"sun.albedo"}


def test_a_map_of_albedo_lies_on_the_cells_of_the_maps(
    group: Group, boulder: dict[str, Any], hill_dem: Path, tmp_path: Path
) -> None:
    grid = read_grid(hill_dem)
    given = {**boulder, "dem": {"source": group.has("dem", hill_dem)}}
    wide = tmp_path / "albedo.tif"
    write_geotiff(wide, np.full((44, 52), 0.2, np.float32), grid.window(slice(-4, 40), slice(-4, 48)), ["albedo"], "1")
    asked = group.ask({**given, "sun": {"albedo": group.has("raster", wide)}})
    assert asked.errors == []
    assert asked.site is not None
    assert asked.site.sun.albedo == "inputs/albedo.tif"
    for other in (
        grid.window(slice(1, 36), slice(0, 44)),
        replace(grid, west=grid.west + 7),
        replace(grid, dx=10, dy=10),
    ):
        write_geotiff(wide, np.full(other.shape, 0.2, np.float32), other, ["albedo"], "1")
        assert set(group.mistakes({**given, "sun": {"albedo": group.has("raster", wide)}})) == {"sun.albedo"}


def test_what_a_section_lacks_is_not_told_where_a_value_was_refused(group: Group, boulder: dict[str, Any]) -> None:
    climate = {"source": "grid", "files": ["/etc/*"], "years": [2001, 2002]}
    assert set(group.mistakes({**boulder, "climate": climate})) == {"climate.source", "climate.files"}


def test_empty_sections_are_as_if_they_were_not_there(group: Group, boulder: dict[str, Any]) -> None:
    values = {**boulder, "sweep": None, "zones": {}, "sun": {"linke": None}}
    asked = group.ask(values)
    assert set(yaml.safe_load(asked.config_yaml)["sites"]["boulder"]) == {"dem", "climate", "sun"}
    assert asked.site == group.ask(boulder).site
    assert submission.links(values, asked.config_yaml) == asked.links


def test_a_table_of_cases_is_read_with_the_settings(group: Group, boulder: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("linke,omega\n2,2.2\n4,3.0\n")
    asked = group.ask({**boulder, "sweep": {"table": group.has("table", table)}})
    assert asked.estimate is not None
    assert asked.estimate.cases == 3
    for text, reason in (("linke\n20\n", "1 to 10"), ("albedo\n/etc/passwd\n", "albedo"), ("cache\n/x\n", "cache")):
        table.write_text(text)
        found = group.mistakes({**boulder, "sweep": {"table": group.has("table", table)}})
        assert reason in str(found)


def test_zones_are_checked_against_their_file_and_the_maps(
    group: Group, boulder: dict[str, Any], tmp_path: Path
) -> None:
    frame = pyogrio.read_dataframe(CATCHMENTS)
    package = tmp_path / "zones.gpkg"
    for layer in ("one", "two"):
        pyogrio.write_dataframe(frame, package, layer=layer, driver="GPKG", append=package.exists())
    several, single = group.has("zones", package), group.has("zones", CATCHMENTS)
    far = tmp_path / "far.geojson"
    pyogrio.write_dataframe(frame.set_geometry(frame.translate(20, 0)), far, driver="GeoJSON")
    assert group.ask({**boulder, "zones": {"file": several, "layer": "two", "id": "catchment"}}).errors == []
    for zones, field in (
        ({"file": several}, "zones.layer"),
        ({"file": several, "layer": "three"}, "zones.layer"),
        ({"file": single, "id": "nothing"}, "zones.id"),
        ({"file": single, "id": "origin"}, "zones.id"),
        ({"file": group.has("zones", far)}, "zones.file"),
    ):
        assert set(group.mistakes({**boulder, "zones": zones})) == {field}


# the policy


def test_every_key_that_can_hold_text_is_thought_of() -> None:
    known = {*policy.FILES, *policy.TEXTS, *policy.PATTERNED, *policy.SWEPT_SECTIONS, *policy.NOT_OFFERED}
    assert known <= set(policy.all_keys())
    assert {key for key in policy.all_keys() if policy._free(key)} <= known
    assert not set(policy.NOT_OFFERED) & {*policy.FILES, *policy.TEXTS, *policy.PATTERNED}


def test_a_key_that_the_config_gets_later_is_closed_where_it_holds_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(Section):
        mask: str | None = Field(None, description="A raster")
        masks: tuple[str, ...] = ()
        anything: dict[str, Any] = {}  # noqa: RUF012 - read by the library
        number: float = 1.0

    monkeypatch.setitem(SECTIONS, "later", Later)
    for key in ("later.mask", "later.masks", "later.anything"):
        assert policy.why_not(key) == "cannot be set here"
    assert policy.why_not("later.number") is None


def test_a_raster_cannot_be_swept() -> None:
    swept = {f"{section}.{name}" for section, names in SWEPT.items() for name in names}
    assert swept & set(policy.FILES) == {"sun.albedo"}  # which eemt.config refuses, see above
    assert not swept & {*policy.TEXTS, *policy.NOT_OFFERED}


@pytest.mark.parametrize("key", sorted(policy.PATTERNED))
def test_a_pattern_leaves_no_room_for_a_path(key: str) -> None:
    section, _, name = key.partition(".")
    base = {"source": "x"} if section == "dem" else {}
    with_folders = [path for path in PATHS if {"/", "<"} & set(path)]
    for text in (*with_folders, "http://127.0.0.1/", "a b", "EPSG:4326\n", "urn:x:/etc", "+init=/etc/passwd"):
        with pytest.raises(ValueError, match="pattern"):
            SECTIONS[section].model_validate({**base, name: text})


@pytest.mark.parametrize("key", sorted(policy.NOT_OFFERED))
def test_what_is_the_operators_cannot_be_set(group: Group, boulder: dict[str, Any], key: str) -> None:
    section, _, name = key.partition(".")
    for value in ("/etc", {"gdex": "http://127.0.0.1/"}, 5, True):
        found = group.mistakes({**boulder, section: {**boulder.get(section, {}), name: value}})
        assert found == {key: policy.NOT_OFFERED[key]}


def test_a_config_has_no_other_sections_than_a_site(group: Group, boulder: dict[str, Any]) -> None:
    for name in ("container", "sites", "pathvars", "__class__", "configfile"):
        assert set(group.mistakes({**boulder, name: {"a": "b"}})) == {name}


# addresses


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name lead to a place in the public internet; there is no network in tests."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)


HOSTS = ("data.example.org", "http://plain.example.org", "https://other.example.org:8443")


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    "address",
    [
        "https://data.example.org/dem.tif",
        "https://DATA.example.org:443/a/b.TIFF?signature=x",
        "http://plain.example.org/dem.tif",
        "https://other.example.org:8443/dem.tif",
    ],
)
def test_elevation_is_fetched_from_hosts_that_are_listed(group: Group, boulder: dict[str, Any], address: str) -> None:
    asked = group.ask({**boulder, "dem": {"source": address}}, source_hosts=HOSTS)
    assert asked.errors == []
    assert asked.cells is None
    assert yaml.safe_load(asked.config_yaml)["sites"]["boulder"]["dem"]["source"] == address


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example.org/dem.tif",
        "https://data.example.org.evil.example/dem.tif",
        "https://evil.example/data.example.org/dem.tif",
        "https://sub.data.example.org/dem.tif",
        "https://data.example.org./dem.tif",
        "http://data.example.org/dem.tif",
        "https://plain.example.org/dem.tif",
        "https://data.example.org:8443/dem.tif",
        "https://other.example.org/dem.tif",
        "https://user:secret@data.example.org/dem.tif",
        "https://data.example.org@evil.example/dem.tif",
        "https://evil.example#data.example.org/dem.tif",
        "https://evil.example\\@data.example.org/dem.tif",
        "https://data.example.org/dem.vrt",
        "https://data.example.org/dem",
        "https://data.example.org/x#.tif",
        "https://data.example.org:99999/dem.tif",
        "https://data.example.org:x/dem.tif",
        "https://[::1]/dem.tif",
        "https://[::1/dem.tif",
        "https://127.0.0.1/dem.tif",
        "https://2130706433/dem.tif",
        "https://0x7f.1/dem.tif",
        "https:///dem.tif",
        "https://data.example.org/a b.tif",
        "https://data.example.org/a\n.tif",
        "https://d\u0430ta.example.org/dem.tif",
        "https://data.example.org/" + "a" * 2000 + ".tif",
    ],
)
def test_elevation_is_fetched_from_nowhere_else(group: Group, boulder: dict[str, Any], address: str) -> None:
    found = group.mistakes({**boulder, "dem": {"source": address}}, source_hosts=HOSTS)
    assert set(found) == {"dem.source"}


def test_without_hosts_there_are_no_addresses(group: Group, boulder: dict[str, Any]) -> None:
    found = group.mistakes({**boulder, "dem": {"source": "https://data.example.org/dem.tif"}})
    assert "upload the file instead" in found["dem.source"]


def test_a_name_that_leads_into_a_private_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://data.example.org/dem.tif"
    for inner in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1", "0.0.0.0"):
        answer = [(2, 1, 6, "", ("93.184.215.14", 443)), (2, 1, 6, "", (inner, 443))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=answer, **__: found)
        assert "private network" in str(policy.address_problem(address, HOSTS))
    monkeypatch.undo()
    assert "private network" in str(policy.address_problem("https://localhost/dem.tif", ["localhost"]))


def test_a_place_that_the_operator_lists_by_number_is_taken() -> None:
    assert policy.address_problem("http://10.0.0.5:8080/dem.tif", ["http://10.0.0.5:8080"]) is None


PRIVATE = "127.0.0.1 10.0.0.1 192.168.1.1 172.16.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 ::1 :: fe80::1"
PRIVATE += " fe80::1%eth0 fc00::1 ::ffff:127.0.0.1 2002:7f00:1:: ff02::1"


@pytest.mark.parametrize("place", PRIVATE.split())
def test_places_that_are_not_public(place: str) -> None:
    assert not policy.is_public(place)


def test_places_that_are_public() -> None:
    assert policy.is_public("93.184.215.14")
    assert policy.is_public("2606:2800:220:1:248:1893:25c8:1946")


def test_nothing_is_written_while_a_job_is_prepared(group: Group, boulder: dict[str, Any]) -> None:
    def content(session: Session) -> int:
        return session.query(Job).count()

    before = sorted(path.relative_to(group.settings.folder) for path in group.settings.jobs.rglob("*"))
    group.ask(boulder)
    assert sorted(path.relative_to(group.settings.folder) for path in group.settings.jobs.rglob("*")) == before
    with group.database.reading() as session:
        assert content(session) == 0
