"""The description of a finished site as an RO-Crate, and the comparison with it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from eemt import verification
from eemt.inventory import CRATE, site_files
from eemt.verification import digest, digests


@pytest.fixture
def described(finished, call):
    code, _, err = call("crate", *finished.words, "--out", finished.folder / CRATE, "--command", "snakemake --cores 2")
    assert code == 0, err
    return finished


def graph(folder: Path) -> dict[str, dict]:
    return {entity["@id"]: entity for entity in json.loads((folder / CRATE).read_text())["@graph"]}


def test_every_kept_file_is_in_the_crate_with_its_checksum(described):
    folder = described.folder
    entities = graph(folder)
    held = {name for name, entity in entities.items() if entity["@type"] == "File"}
    assert held == set(site_files(folder))
    assert {"maps/eemt_topo_2002.tif", "maps/eemt_topo_2002.qml", "dem/dem.json", "sun/monthly_global.tif"} <= held
    assert not any(name.startswith("eemt/") or "/tiles/" in name for name in held)
    one = entities["summary.csv"]
    assert one["sha256"] == hashlib.sha256((folder / "summary.csv").read_bytes()).hexdigest()
    assert int(one["contentSize"]) == (folder / "summary.csv").stat().st_size and one["encodingFormat"] == "text/csv"


def test_crate_opens_in_its_library_and_has_what_a_crate_must_have(described):
    crate = ROCrate(str(described.folder))
    root = crate.root_dataset
    assert all(root[key] for key in ("name", "description", "datePublished", "license", "citation", "hasPart"))
    assert graph(described.folder)[CRATE]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert graph(described.folder)["./"]["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    for name, entity in graph(described.folder).items():  # every reference leads to an entity
        for value in entity.values():
            for link in value if isinstance(value, list) else [value]:
                if isinstance(link, dict) and not link["@id"].startswith("https://w3id.org/ro/crate"):
                    assert crate.dereference(link["@id"]) is not None, (name, link)


def test_run_is_an_action_with_inputs_settings_program_and_results(described):
    entities = graph(described.folder)
    run = entities["#run"]
    assert run["@type"] == "CreateAction" and run["description"] == "snakemake --cores 2"
    assert run["startTime"] < run["endTime"]
    inputs = [entities[link["@id"]] for link in run["object"]]
    by_name = {entity["name"]: entity for entity in inputs}
    hills = Path(described.settings.dem.source)
    assert by_name["hills.tif"]["sha256"] == digest(hills).sha256
    station = Path(described.settings.climate.file)
    assert by_name["station table station.csv"]["sha256"] == digest(station).sha256
    assert json.loads(entities["#settings"]["value"])["eemt"]["omega"] == 2.63
    program = entities[run["instrument"]["@id"]]
    assert program["name"] == "eemt" and {"@id": "#numpy"} in program["softwareRequirements"]
    assert entities["#numpy"]["url"].startswith("https://")
    assert len(run["result"]) == len(list(site_files(described.folder)))


def test_a_raster_of_the_user_is_an_input_with_its_checksum_and_a_password_is_not_shown(finished, call, monkeypatch):
    values = json.loads(finished.as_json)
    raster = finished.folder / "terrain" / "slope.tif"
    values["sun"]["albedo"] = str(raster)
    values["outputs"] |= {"licence": "CC-BY-4.0", "publisher": "Valley Observatory"}
    values["dem"] |= {"source": "https://me:hidden@example.org/dem.tif?key=hidden"}
    monkeypatch.setenv("EEMT_COMMAND", "snakemake --config https://me:hidden@example.org/x")
    words = [finished.folder, "--site", "r", "--settings", json.dumps(values), "--out", finished.folder / CRATE]
    code, _, err = call("crate", *words)
    assert code == 0, err
    entities = graph(finished.folder)
    assert entities["#albedo"]["sha256"] == digest(raster).sha256
    assert entities["#run"]["description"].startswith("snakemake --config https://example.org")
    assert "hidden" not in (finished.folder / CRATE).read_text()
    assert entities["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert entities["#publisher"]["name"] == "Valley Observatory"
    assert entities["#run"]["agent"] == entities["./"]["author"] == {"@id": "#publisher"}


def test_downloads_are_inputs_by_their_addresses(finished, call):
    told = json.loads((finished.folder / "dem" / "dem.json").read_text())
    told["source"] = {
        "title": "A data set",
        "pieces": [{"url": "https://example.org/n40.tif", "last_modified": "2024-01-02"}],
    }
    (finished.folder / "dem" / "dem.json").write_text(json.dumps(told))
    parts = [{"variable": "prcp", "year": 2001, "provider": "gdex", "retrieved": "2026-11-21", "sha256": "ab" * 32}]
    (finished.folder / "climate" / "climate.json").write_text(json.dumps({"file": "climate.nc", "parts": parts}))
    assert call("crate", *finished.words, "--out", finished.folder / CRATE)[0] == 0
    entities = graph(finished.folder)
    assert entities["https://example.org/n40.tif"]["name"] == "n40.tif"
    assert entities["#climate-prcp-2001"]["sha256"] == "ab" * 32
    code, out, _ = call("verify", finished.folder)
    assert code == 0, out


def test_the_same_site_has_the_same_crate(described, call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    found = []
    for _ in range(2):
        assert call("crate", *described.words, "--out", described.folder / CRATE)[0] == 0
        found.append((described.folder / CRATE).read_bytes())
    assert found[0] == found[1] and b"2027-01-15T08:00:00" in found[0]


def test_maps_that_are_no_longer_asked_for_are_left_out_and_called_extra(finished, call):
    old = finished.folder / "maps" / "eemt_topo_1999.tif"
    old.write_bytes(b"old")
    assert call("crate", *finished.words, "--out", finished.folder / CRATE)[0] == 0
    assert "maps/eemt_topo_1999.tif" not in graph(finished.folder)
    code, out, _ = call("verify", finished.folder.parent, "ridge")
    assert (code, out) == (1, "ridge/maps/eemt_topo_1999.tif: extra: not in the crate\n")


def test_an_untouched_site_is_as_it_was_written(described, call):
    code, out, err = call("verify", described.folder.parent)
    assert (code, err) == (0, "")
    assert out == f"ridge: all {len(list(site_files(described.folder)))} files are as they were written\n"


def test_what_differs_is_said_file_by_file(described, call):
    folder = described.folder
    (folder / "summary.parquet").unlink()
    (folder / "summary.csv").write_text("longer or shorter")
    content = bytearray((folder / "terrain" / "slope.tif").read_bytes())
    content[-1] ^= 1
    (folder / "terrain" / "slope.tif").write_bytes(content)
    (folder / "notes.txt").write_text("mine")
    (folder / "eemt" / "r000c000.nc").unlink()  # tiles may go
    code, out, _ = call("verify", folder.parent)
    lines = out.splitlines()
    assert code == 1 and len(lines) == 4
    assert lines[0] == "ridge/notes.txt: extra: not in the crate"
    assert lines[1].startswith("ridge/summary.csv: changed: 17 bytes instead of ")
    assert lines[2] == "ridge/summary.parquet: missing"
    assert lines[3].startswith("ridge/terrain/slope.tif: changed: SHA-256 ")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "does not exist; `eemt crate` writes it"),
        ("{", "is not what `eemt crate` writes"),
        ('{"@graph": [{"@id": "a", "@type": "File"}]}', "is not what `eemt crate` writes"),
        ('{"@graph": []}', "names no file with a checksum"),
        (
            '{"@graph": [{"@id": "../a", "@type": "File", "sha256": "x", "contentSize": "1"}]}',
            "is not what `eemt crate` writes",
        ),
    ],
)
def test_a_crate_that_cannot_be_read_is_bad_input(tmp_path: Path, call, content: str | None, line: str):
    (tmp_path / "ridge").mkdir()
    if content:
        (tmp_path / "ridge" / CRATE).write_text(content)
    code, _, err = call("verify", tmp_path, "ridge")
    assert code == 2 and line in err and len(err.splitlines()) == 1
    if content is None:
        code, _, err = call("verify", tmp_path)
        assert code == 2 and "nor has a folder in it" in err


def test_a_crate_belongs_into_the_folder_that_it_describes(finished, call, tmp_path: Path):
    code, _, err = call("crate", *finished.words, "--out", tmp_path / CRATE)
    assert code == 2 and "names in a crate are those beside it" in err
    (finished.folder / "maps" / "eemt_topo_2002.tif").unlink()
    code, _, err = call("crate", *finished.words, "--out", finished.folder / CRATE)
    assert code == 2 and "eemt_topo_2002.tif does not exist; finish the run first" in err
    assert not (finished.folder / CRATE).exists()


def test_checksums_are_those_of_whole_files_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(verification, "PIECE", 7)
    contents = [b"", b"a", bytes(range(256)) * 3]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    found = digests([tmp_path / str(number) for number in range(3)], threads=2)
    assert [one.sha256 for one in found] == [hashlib.sha256(content).hexdigest() for content in contents]
    assert [one.size for one in found] == [0, 1, 768]


def test_other_commands_load_none_of_this():
    code = "import sys, eemt.cli, eemt.plan; print({'pystac', 'rocrate', 'zarr', 'xarray'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
