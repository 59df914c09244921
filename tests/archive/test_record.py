"""What is known of a dataset, and the same as DataCite and STAC have it."""

from __future__ import annotations

import json

import numpy as np
import pystac
import pytest

from archive.bags import GRID, make_site
from eemt.archive.blocks import Packed, plan_blocks
from eemt.archive.record import UNKNOWN, Record, collection, datacite, describe
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.inventory import CRATE
from eemt.provenance import DOI
from eemt.raster import write_geotiff
from eemt.stac import degrees

# of DataCite's metadata schema 4.6: what must be there, and the words that are allowed
REQUIRED = {"creators", "titles", "publisher", "publicationYear", "types", "schemaVersion"}
FIELDS = REQUIRED | {
    *("alternateIdentifiers", "subjects", "contributors", "dates", "language", "relatedIdentifiers", "sizes"),
    *("formats", "version", "rightsList", "descriptions", "geoLocations", "fundingReferences"),
}
WORDS = {
    "nameType": {"Organizational", "Personal"},
    "resourceTypeGeneral": {"Dataset", "JournalArticle"},
    "contributorType": {"ContactPerson", "Producer"},
    "dateType": {"Created", "Coverage"},
    "relationType": {"IsDocumentedBy", "IsDerivedFrom"},
    "relatedIdentifierType": {"DOI", "URL"},
    "descriptionType": {"Abstract", "Methods"},
}


@pytest.fixture
def record(finished_site):
    return describe(finished_site.land())


def changed(record, **fields):
    return Record.model_validate({**record.model_dump(), **fields})


def test_record_says_what_where_when_and_how(finished_site, record):
    dataset = finished_site.land()
    assert (record.identifier, record.site, record.kind) == (dataset.identifier, "ridge", "eemt")
    assert record.title == "EEMT of ridge" and record.created == "2023-11-14T22:13:20+00:00"
    assert record.period == (2001, 2003) and record.methods == ("trad", "topo")
    assert list(record.bbox) == degrees(GRID)
    assert (record.files, record.bytes) == (len(dataset.members), dataset.size)
    assert (record.licence, record.publisher, record.creators) == (
        "CC-BY-4.0",
        "Catchment Survey",
        ("Catchment Survey",),
    )
    assert record.versions["eemt"] and record.program == f"eemt {record.versions['eemt']}"
    assert "Python" in record.versions


def test_parameters_are_the_settings_of_the_run(finished_site, record):
    assert record.parameters["eemt.omega"] == finished_site.settings.eemt.omega
    assert record.parameters["climate.years"] == [2001, 2003]
    assert record.settings == finished_site.settings.model_dump(mode="json")


def test_sources_are_named_without_secrets(record):
    elevation, climate = record.sources
    assert (elevation.name, elevation.sha256) == ("hills.tif", "0" * 64)
    assert climate.url == "https://data.example.org/daymet_2001.nc" and climate.sha256 == "1" * 64
    assert "secret" not in record.model_dump_json()


def test_record_comes_back_from_json_as_it_was(record):
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_creators_and_contact_are_those_of_the_archive(finished_site):
    archive = ArchiveSettings(creators=("Doe, Jane", "Roe, Richard"), contact="jane@example.org")
    record = describe(finished_site.land(), archive)
    assert record.creators == ("Doe, Jane", "Roe, Richard") and record.contact == "jane@example.org"
    made = datacite(record)
    assert made["creators"][0] == {"name": "Doe, Jane", "nameType": "Personal"}
    assert {"name": "jane@example.org", "contributorType": "ContactPerson"} in made["contributors"]


def test_what_this_version_cannot_read_of_the_settings_is_told_as_it_stands(finished_site):
    path = finished_site.folder / CRATE
    path.write_text(path.read_text().replace('\\"omega\\"', '\\"omega_of_later\\"'))
    record = describe(finished_site.land())
    assert record.parameters["eemt.omega_of_later"] == finished_site.settings.eemt.omega
    assert record.period == (2001, 2003) and record.publisher == "Catchment Survey"


def test_normals_are_a_period(new_site):
    climate = {"source": "station", "file": "normals.csv", "elevation": 10, "latitude": 40, "longitude": -105}
    period = {**climate, "years": None, "normals_period": [1971, 2000]}
    assert describe(new_site("normals", {"climate": period}).land()).period == (1971, 2000)


def test_a_site_without_climate_has_no_years_and_methods(tmp_path):
    site = make_site(tmp_path / "sun" / "ridge", {"climate": {"source": "none", "years": None}})
    record = describe(site.land())
    assert (record.kind, record.period, record.methods, record.title) == ("sun", None, (), "Sun maps of ridge")
    assert list(record.bbox) == degrees(GRID)
    assert_valid(record)


def test_a_raster_that_says_no_place_is_refused(finished_site):
    path = finished_site.folder / "maps" / "eemt_topo_2001.tif"
    path.write_bytes(b"no raster")
    dataset = finished_site.land  # the crate knows the file as it was
    with pytest.raises(InputError, match=r"eemt_topo_2001.tif \(9 bytes"):
        dataset()
    write_geotiff(path, np.ones((2, 2), np.float32), GRID.window(slice(0, 2), slice(0, 2)), ["a"], "1")
    finished_site.describe()
    with pytest.raises(InputError, match=r"^archive: .*has 2 x 2 cells"):
        describe(finished_site.land())


def strange_words(value):
    if isinstance(value, list):
        return [word for one in value for word in strange_words(one)]
    if isinstance(value, dict):
        here = [(key, one) for key, one in value.items() if key in WORDS and one not in WORDS[key]]
        return here + [word for one in value.values() for word in strange_words(one)]
    return [] if value not in ("", None) else ["empty"]


def assert_valid(record):
    made = datacite(record)
    assert REQUIRED <= made.keys() <= FIELDS
    assert strange_words(made) == []
    assert all(one["name"] for one in made["creators"]) and made["publisher"]["name"]
    assert made["publicationYear"] == "2023" and made["types"]["resourceTypeGeneral"] == "Dataset"
    assert made["schemaVersion"] == "http://datacite.org/schema/kernel-4"
    return made


def test_datacite_has_its_fields(record):
    made = assert_valid(record)
    assert made["creators"] == [{"name": "Catchment Survey", "nameType": "Organizational"}]
    assert made["alternateIdentifiers"][0]["alternateIdentifier"] == record.identifier
    assert {one["relatedIdentifier"] for one in made["relatedIdentifiers"]} >= {DOI}
    assert made["rightsList"][0]["rightsUri"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert {"date": "2001/2003", "dateType": "Coverage"} in made["dates"]
    box = made["geoLocations"][0]["geoLocationBox"]
    assert box["westBoundLongitude"] < box["eastBoundLongitude"]
    assert box["southBoundLatitude"] < box["northBoundLatitude"]


def test_datacite_says_unavailable_where_nobody_is_named(record):
    made = assert_valid(changed(record, publisher=None, creators=(), licence=None, bbox=None, period=None))
    assert made["creators"] == [{"name": UNKNOWN}] and made["publisher"] == {"name": UNKNOWN}
    assert made["rightsList"] == [] and made["contributors"] == []


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_collection_is_valid_stac_and_leads_to_the_blocks(finished_site, record, compression):
    blocks = plan_blocks(finished_site.land().members, 10_000, compression)
    packed = [Packed(block.name, 5, "a" * 64) for block in blocks]
    made = collection(record, blocks, packed)
    read = pystac.Collection.from_dict(json.loads(json.dumps(made)))
    read.validate()
    assert read.id == record.identifier and read.license == "CC-BY-4.0"
    assert read.extent.spatial.bboxes == [list(record.bbox)]
    assert [moment.year for moment in read.extent.temporal.intervals[0]] == [2001, 2003]
    assert {one.href for one in read.assets.values()} >= {f"../{block.name}" for block in blocks}
    assert [provider.name for provider in read.providers] == ["Catchment Survey", "eemt"]


def test_collection_without_place_and_years_is_valid_too(finished_site, record):
    unknown = changed(record, bbox=None, period=None, licence=None, publisher=None, creators=())
    blocks = plan_blocks(finished_site.land().members, 10**9)
    made = collection(unknown, blocks, [Packed(blocks[0].name, 5, "a" * 64)])
    pystac.Collection.from_dict(made).validate()
