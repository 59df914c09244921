"""`eemt catalogue` as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from archive.bags import FinishedSite, Stored, store
from archive.test_catalogue import record
from archive.test_scrub import archived, flip
from eemt.archive.bag import TAGMANIFEST
from eemt.archive.catalogue import STATES, open_catalogue

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config file that names a catalogue; the locks are of this test."""
    monkeypatch.chdir(tmp_path)
    for name in ("EEMT_ARCHIVE_CATALOGUE", "EEMT_ARCHIVE_CATALOGUE_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("archive: {catalogue: kept/catalogue.sqlite, locks: locks}\n")
    return tmp_path / "kept" / "catalogue.sqlite"


@pytest.fixture
def kept(finished_site: FinishedSite, place: Path, tmp_path: Path) -> Stored:
    """An archived site, and one that was not archived to its end."""
    made = store(finished_site, tmp_path / "storage", target=15_000)
    with open_catalogue(place) as catalogue:
        archived(made, catalogue)
        failed = catalogue.begin(record("fiji-0123456789ab", bbox=(179.0, -18.0, -179.0, -16.0), created="2024-01-02"))
        catalogue.state(failed.identifier, "failed", "system", "the storage is full")
    return made


def first_words(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines()]


def test_list_is_a_table_of_all_datasets_the_oldest_maps_first(call: Call, kept: Stored):
    code, out, err = call("catalogue", "list")
    assert (code, err) == (0, "")
    assert first_words(out) == ["IDENTIFIER", kept.identifier, "fiji-0123456789ab"]
    lines = out.splitlines()
    assert lines[1].split()[1:6] == ["eemt", "archived", "2023-11-14", "2001-2003", "trad,topo"]
    assert lines[2].endswith("the storage is full")
    assert first_words(call("catalogue", "list", "--state", "failed")[1])[1:] == ["fiji-0123456789ab"]


def test_list_as_json_has_what_scripts_ask_for(call: Call, kept: Stored):
    found = json.loads(call("catalogue", "list", "--site", "ridge", "--json")[1])
    assert [one["identifier"] for one in found] == [kept.identifier]
    assert found[0]["state"] == "archived"
    assert found[0]["years"] == [2001, 2003]
    assert found[0]["storage"] == kept.area.address
    assert len(found[0]["bbox"]) == 4
    assert found[0]["parameters"]["climate.source"] == "daymet"


@pytest.mark.parametrize(
    ("words", "sites"),
    [
        ((), ["ridge", "fiji"]),
        (("--bbox=-106,39,-105,41",), ["ridge"]),
        (("--bbox=179.5,-17,-179.9,-16.5",), ["fiji"]),
        (("--years", "2003:2010"), ["ridge", "fiji"]),
        (("--years", "1980-2000"), []),
        (("--method", "veg"), []),
        (("--parameter", "climate.source=daymet", "--parameter", "sun.linke=2.00"), ["fiji"]),
        (("--state", "archived"), ["ridge"]),
        (("survey", "CATCHMENT"), ["ridge", "fiji"]),
        (("täler",), ["fiji"]),
    ],
)
@pytest.mark.usefixtures("kept")
def test_search_lists_what_all_that_is_given_applies_to(call: Call, words, sites):
    code, out, _ = call("catalogue", "search", *words)
    assert code == 0
    assert [word.rpartition("-")[0] for word in first_words(out)[1:]] == sites


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bbox=1,2,3",), "--bbox: 1,2,3 is not W,S,E,N"),
        (("--bbox=1,2,3,x",), "is not W,S,E,N"),
        (("--bbox=190,2,195,3",), "longitudes are -180 to 180, not 190 and 195"),
        (("--bbox=nan,2,5,3",), "longitudes are -180 to 180"),
        (("--bbox=1,5,3,4",), "latitudes are -90 to 90, the southern one first, not 5 and 4"),
        (("--years", "2003:2001"), "is neither a year nor FIRST:LAST"),
        (("--years", "soon"), "is neither a year nor FIRST:LAST"),
        (("--parameter", "sun.linke"), "sun.linke is not SECTION.KEY=VALUE"),
        (("--parameter", "sun.linkee=2"), "has sun.linkee; did you mean sun.linke?"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_what_cannot_be_searched_for_is_said_in_one_line(call: Call, words, said):
    code, out, err = call("catalogue", "search", *words)
    assert (code, out) == (2, "")
    assert said in err and err.count("\n") == 1


def test_show_prints_record_blocks_and_history_by_a_beginning_of_the_identifier(call: Call, kept: Stored):
    code, out, _ = call("catalogue", "show", "ridge")
    assert code == 0
    assert out.startswith(f"{kept.identifier}: archived in {kept.area.address}\n")
    for said in ("publisher: Catchment Survey", "period: 2001, 2003", "  climate.source: daymet", "secret"):
        assert (said in out) == (said != "secret")
    for packed in kept.bag.packed:
        assert f"{packed.name}  " in out and packed.sha256 in out
    assert "archived  done" in out
    whole = json.loads(call("catalogue", "show", kept.identifier, "--json")[1])
    assert whole["record"] == kept.bag.record.model_dump(mode="json")
    assert [block["name"] for block in whole["blocks"]] == [one.name for one in kept.bag.packed]
    assert [event["step"] for event in whole["history"]] == ["packing", "archived"]


@pytest.mark.usefixtures("kept")
def test_an_unknown_identifier_is_said_in_one_line(call: Call):
    for action in ("show", "verify"):
        code, _, err = call("catalogue", action, "nobody")
        assert code == 2 and err.count("\n") == 1
        assert "has no dataset nobody; `eemt catalogue list` lists them" in err


def test_verify_reads_a_sample_and_says_that_all_is_right(call: Call, kept: Stored):
    code, out, _ = call("catalogue", "verify")
    assert code == 0
    assert out.startswith(f"{kept.identifier}: 1 of {len(kept.bag.packed)} blocks (")
    assert out.endswith("and all tag files are as they were written\n")
    assert f": {len(kept.bag.packed)} of {len(kept.bag.packed)} blocks" in call("catalogue", "verify", "--all")[1]
    half = call("catalogue", "verify", "ridge", "--sample", "50%")[1]
    assert f": {-(-len(kept.bag.packed) // 2)} of {len(kept.bag.packed)} blocks" in half
    history = json.loads(call("catalogue", "show", "ridge", "--json")[1])["history"]
    assert [event["outcome"] for event in history if event["step"] == "verify"] == ["right"] * 3


def test_verify_names_every_fault_and_exits_with_1(call: Call, kept: Stored):
    flip(kept.folder / kept.bag.packed[0].name, 600)
    flip(kept.folder / "README.txt", 5)
    code, out, err = call("catalogue", "verify", "--all")
    assert code == 1
    block, file = kept.bag.packed[0].name, kept.bag.blocks[0].members[0].path
    assert f"{kept.identifier}: README.txt: its SHA-256" in out
    assert f"{kept.identifier}: {block}: {file}: its SHA-256" in out
    assert len(out.splitlines()) == 2
    assert "nothing was changed in the storage" in err
    assert "README.txt" in call("catalogue", "list")[1].splitlines()[1]


def test_verify_goes_where_the_storage_is_now(call: Call, kept: Stored, tmp_path: Path):
    (tmp_path / "storage").rename(tmp_path / "moved")
    code, out, _ = call("catalogue", "verify")
    assert code == 1
    assert f"{kept.identifier}: cannot be looked at: " in out
    assert call("catalogue", "verify", "--storage", tmp_path / "moved")[0] == 0


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("sample", ["0", "101", "few", "-3", "nan"])
def test_a_part_that_is_none_is_refused(call: Call, sample):
    code, _, err = call("catalogue", "verify", f"--sample={sample}")
    assert code == 2 and f"--sample: {sample} is no part of the blocks" in err


@pytest.mark.usefixtures("kept")
def test_what_is_not_archived_cannot_be_verified(call: Call):
    code, _, err = call("catalogue", "verify", "fiji")
    assert code == 2 and "fiji-0123456789ab is not archived, it is failed" in err


def test_without_a_catalogue_the_way_to_one_is_said(call: Call, place: Path):
    for words in (("list",), ("search", "x"), ("show", "x"), ("verify",)):
        code, _, err = call("catalogue", *words)
        assert code == 2 and "holds none; `eemt archive` makes it, or `eemt catalogue rebuild` from a storage" in err
    assert not place.parent.exists()


def test_rebuild_takes_in_finished_datasets_and_names_the_others(
    call: Call, kept: Stored, place: Path, new_site: Callable[..., FinishedSite]
):
    place.unlink()
    other = store(new_site("other", {"sun": {"linke": 4}}), Path(kept.area.address))
    (other.folder / TAGMANIFEST).unlink()
    code, out, _ = call("catalogue", "rebuild", kept.area.address)
    assert code == 0
    assert f"{other.identifier}: left out: is not finished" in out
    assert out.endswith(f"1 dataset of {kept.area.address}, 1 left out\n")
    assert first_words(call("catalogue", "list")[1])[1:] == [kept.identifier]
    assert call("catalogue", "verify", "--all")[0] == 0


def test_rebuild_of_a_storage_that_is_not_there_makes_no_catalogue(call: Call, place: Path, tmp_path: Path):
    code, _, err = call("catalogue", "rebuild", tmp_path / "unmounted")
    assert code == 1 and err.count("\n") == 1
    code, _, err = call("catalogue", "rebuild")
    assert code == 2 and "no storage is named" in err
    assert not place.parent.exists()


def test_an_option_names_another_catalogue_than_the_config_file(call: Call, kept: Stored, tmp_path: Path):
    assert kept.identifier
    code, out, _ = call("catalogue", "rebuild", "--catalogue", tmp_path / "second.sqlite", kept.area.address)
    assert code == 0 and "second.sqlite: 1 dataset of" in out
    listed = call("catalogue", "list", "--catalogue", tmp_path / "second.sqlite")[1]
    assert first_words(listed)[1:] == [kept.identifier]


@pytest.mark.usefixtures("kept")
def test_every_state_can_be_asked_for(call: Call):
    for state in STATES:
        assert call("catalogue", "list", "--state", state)[0] == 0
    assert call("catalogue", "list", "--state", "lost")[0] == 2
