"""Bringing datasets back: bit by bit as they were, a part of them, after kills and from damaged storages."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from archive.bags import FinishedSite, make_site, store, write
from archive.flow import Flow, Kennel, contents, identifier_in
from eemt.archive.areas import open_area
from eemt.archive.bag import TAGMANIFEST, read_bag
from eemt.archive.errors import StorageError
from eemt.archive.retrieve import LINKS, retrieve_to_area
from eemt.archive.selection import Selection
from eemt.config import ArchiveSettings


@pytest.fixture
def archived(flow: Flow, site: FinishedSite) -> str:
    """Identifier of a dataset in the storage, its tiles with it."""
    code, said, err = flow.archive(site, tiles=True)
    assert code == 0, err
    return identifier_in(said)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def block_of(flow: Flow, identifier: str, path: str) -> Path:
    bag = read_bag(open_area(str(flow.storage)), identifier)
    name = next(block.name for block in bag.blocks if path in [member.path for member in block.members])
    return flow.bag(identifier) / name


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_all_comes_back_bit_by_bit_with_the_tiles_that_were_archived(
    flow: Flow, site: FinishedSite, compression: str
) -> None:
    _, said, _ = flow.archive(site, tiles=True, compression=compression)
    code, told, err = flow.retrieve(identifier_in(said), "--receipt", flow.place / "receipt.json")
    assert code == 0, err
    brought = everything(flow.place / "retrieved" / "ridge")
    kept = {name: content for name, content in everything(site.folder).items() if name not in LEFT_OUT}
    assert brought == kept
    identifier = identifier_in(said)
    place = str(flow.place / "retrieved")
    size = sum(map(len, kept.values()))
    assert json.loads((flow.place / "receipt.json").read_text()) == {
        identifier: {"place": place, "files": len(kept), "bytes": size}
    }
    assert told == f"{identifier}: {len(kept)} files, {size / 1e6:,.1f} MB, as they were archived, in {place}\n"
    assert flow.call("verify", place)[0] == 0


LEFT_OUT = {"inputs/copy.tif", ".hidden"}


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (("--product", "summary"), {"summary.csv"}),
        (("--product", "eemt_topo", "--year", "2001"), {"maps/eemt_topo_2001.tif"}),
        (("--tile", "r000c000"), {"eemt/r000c000.nc", "dem/tiles/r000c000.tif"}),
        (("--product", "terrain", "--product", "sun"), {"terrain/slope.tif", "sun/monthly_global.tif"}),
    ],
)
def test_a_part_needs_only_the_blocks_that_it_is_in(
    flow: Flow, site: FinishedSite, archived: str, words: tuple[str, ...], paths: set[str]
) -> None:
    needed = {block_of(flow, archived, path) for path in paths}
    others = set((flow.bag(archived) / "data").iterdir()) - needed
    assert others
    for path in others:
        path.unlink()
    code, _, err = flow.retrieve(archived, *words)
    assert code == 0, err
    was = everything(site.folder)
    assert everything(flow.place / "retrieved" / "ridge") == {path: was[path] for path in paths}
    code, _, err = flow.retrieve(archived)
    assert code == 1 and "/data/" in err.splitlines()[-1]


def test_nothing_that_was_asked_for_is_said(flow: Flow, archived: str) -> None:
    code, _, err = flow.retrieve(archived, "--year", "1999")
    assert code == 2 and "the dataset has no file of year 1999" in err


def test_what_is_there_is_not_read_again_and_what_is_missing_is(flow: Flow, site: FinishedSite, archived: str) -> None:
    assert flow.retrieve(archived, tiles=True)[0] == 0
    code, _, err = flow.retrieve(archived)
    assert code == 0 and "read begins" not in err
    (flow.place / "retrieved" / "ridge" / "summary.csv").unlink()
    code, _, err = flow.retrieve(archived)
    assert code == 0 and err.count("read begins") == 1
    assert contents(flow.place / "retrieved" / "ridge") == contents(site.folder)


def test_a_file_that_differs_is_not_written_over_unless_told(flow: Flow, site: FinishedSite, archived: str) -> None:
    path = flow.place / "retrieved" / "ridge" / "summary.csv"
    write(path, b"mine")
    code, _, err = flow.retrieve(archived)
    assert code == 2 and f"{path} is there already and differs" in err and "--force" in err
    assert everything(flow.place / "retrieved" / "ridge") == {"summary.csv": b"mine"}
    assert flow.retrieve(archived, "--force")[0] == 0
    assert contents(flow.place / "retrieved" / "ridge") == contents(site.folder)


def test_a_folder_in_the_place_of_a_file_and_a_link_that_leads_out_are_refused(
    flow: Flow, archived: str, tmp_path: Path
) -> None:
    (flow.place / "one" / "ridge" / "summary.csv").mkdir(parents=True)
    code, _, err = flow.retrieve(archived, "--out", flow.place / "one")
    assert code == 2 and "summary.csv is a folder" in err
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (flow.place / "two" / "ridge").mkdir(parents=True)
    (flow.place / "two" / "ridge" / "maps").symlink_to(elsewhere)
    code, _, err = flow.retrieve(archived, "--out", flow.place / "two")
    assert code == 2 and "is a link that leads out" in err
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("how", ["flipped", "deleted", "cut short"])
def test_a_damaged_block_is_named_and_nothing_of_it_is_brought(
    flow: Flow, site: FinishedSite, archived: str, how: str
) -> None:
    block = block_of(flow, archived, "stack.nc")
    content = block.read_bytes()
    match how:
        case "flipped":
            block.write_bytes(content[:-700_000] + bytes([content[-700_000] ^ 1]) + content[-699_999:])
        case "deleted":
            block.unlink()
        case "cut short":
            block.write_bytes(content[:-10_240])
    code, _, err = flow.retrieve(archived)
    assert code == 1 and block.relative_to(flow.bag(archived)).as_posix() in err.splitlines()[-1]
    # other blocks that came before are good
    brought = contents(flow.place / "retrieved" / "ridge")
    assert brought.items() <= contents(site.folder).items() and "stack.nc" not in brought
    assert not list((flow.place / "retrieved").glob(".*"))
    block.write_bytes(content)
    assert flow.retrieve(archived)[0] == 0
    assert contents(flow.place / "retrieved" / "ridge") == contents(site.folder)


def test_a_bag_that_was_changed_as_a_whole_is_told_from_the_one_that_was_archived(
    flow: Flow, site: FinishedSite, archived: str, tmp_path: Path
) -> None:
    # the same dataset, put together another time: every checksum in it agrees
    other = store(site, tmp_path / "other", tiles=True)
    assert other.identifier == archived
    shutil.rmtree(flow.bag(archived))
    shutil.copytree(other.folder, flow.bag(archived))
    code, _, err = flow.retrieve(archived)
    assert code == 1 and f"{TAGMANIFEST} is corrupt: it is not the one that was written" in err


KILLED = {
    "while a place to read is held": ("with slot", "read"),
    "in the middle of a block": ("in read", "/data/"),
}


@pytest.mark.parametrize("point", KILLED.values(), ids=KILLED)
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_a_retrieval_that_is_broken_off_leaves_no_half_file_and_is_finished_by_the_next(
    flow: Flow, site: FinishedSite, archived: str, kennel: Kennel, point: tuple[str, str], with_signal: signal.Signals
) -> None:
    child = kennel.start(["retrieve", archived, *flow.options()], flow.place, point)
    child.reach()
    assert child.end(with_signal) == (130 if with_signal == signal.SIGTERM else -signal.SIGKILL)
    place = flow.place / "retrieved" / "ridge"
    assert contents(place).items() <= contents(site.folder).items()
    if with_signal == signal.SIGTERM:
        assert not list((flow.place / "retrieved").glob(".*"))
    code, _, err = flow.retrieve(archived)
    assert code == 0, err
    assert contents(place) == contents(site.folder)
    assert not list((flow.place / "retrieved").glob(".*"))


def test_two_retrievals_of_one_dataset_to_one_place_do_not_meet(
    flow: Flow, site: FinishedSite, archived: str, kennel: Kennel
) -> None:
    first = kennel.start(["retrieve", archived, *flow.options()], flow.place, ("in read", "/data/"))
    first.reach()
    code, _, err = flow.retrieve(archived)
    assert code == 2 and f"{archived} is being brought to {flow.place / 'retrieved'} by process {first.pid}" in err
    first.end(signal.SIGKILL)
    assert flow.retrieve(archived)[0] == 0
    assert contents(flow.place / "retrieved" / "ridge") == contents(site.folder)


def test_a_dataset_is_named_by_any_beginning_that_no_other_has(flow: Flow, site: FinishedSite, archived: str) -> None:
    write(site.folder / "summary.csv", b"another")
    site.describe()
    second = identifier_in(flow.archive(site)[1])
    for catalogue in (True, False):
        if not catalogue:
            for path in flow.place.glob("catalogue.sqlite*"):
                path.unlink()
        code, _, err = flow.retrieve("ridge")
        assert code == 2 and archived in err and second in err
        code, _, err = flow.retrieve(archived[:12], "--out", flow.place / f"out-{catalogue}")
        assert code == 0, err
        assert len(contents(flow.place / f"out-{catalogue}" / "ridge")) > 20
        code, _, err = flow.retrieve("valley")
        assert code == 2 and "has a dataset valley" in err


def test_a_dataset_that_is_not_finished_cannot_be_brought(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    kennel.start(flow.words(site), flow.place, ("before put", TAGMANIFEST)).kill()
    code, _, err = flow.retrieve(flow.journal()["identifier"])
    assert code == 1 and "is no finished dataset" in err


def test_a_storage_that_is_not_there_is_gone_and_the_history_tells(
    flow: Flow, site: FinishedSite, archived: str
) -> None:
    block = block_of(flow, archived, "stack.nc")
    block.rename(block.with_suffix(".moved"))
    assert flow.retrieve(archived)[0] == 1
    block.with_suffix(".moved").rename(block)
    flow.storage.rename(flow.place / "unmounted")
    code, _, err = flow.retrieve(archived)
    assert code == 1 and "is its disk or share mounted?" in err
    assert not flow.storage.exists()
    (flow.place / "unmounted").rename(flow.storage)
    assert flow.retrieve(archived)[0] == 0
    code, said, _ = flow.call("catalogue", "show", archived, "--json", *flow.options())
    assert code == 0
    events = [(one["step"], one["outcome"]) for one in json.loads(said)["history"] if one["step"] == "retrieve"]
    assert events == [("retrieve", "failed"), ("retrieve", "done")]
    assert contents(flow.place / "retrieved" / "ridge") == contents(site.folder)


def test_a_damaged_catalogue_hinders_nobody_from_his_data(flow: Flow, site: FinishedSite, archived: str) -> None:
    for path in flow.place.glob("catalogue.sqlite*"):
        path.unlink()
    (flow.place / "catalogue.sqlite").write_bytes(b"no database, but long enough to be looked at " * 50)
    code, _, err = flow.retrieve(archived)
    assert code == 0 and "the catalogue could not be told" in err
    assert contents(flow.place / "retrieved" / "ridge") == contents(site.folder)


def test_a_scicat_that_cannot_be_used_hinders_nobody_from_his_data(
    flow: Flow, site: FinishedSite, archived: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EEMT_SCICAT_TOKEN", "EEMT_SCICAT_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = flow.retrieve(archived, scicat="https://scicat.example.org", contact="maps@example.org")
    assert code == 0 and "SciCat could not be told: archive.scicat: there is no token" in err
    assert contents(flow.place / "retrieved" / "ridge") == contents(site.folder)


def test_several_are_brought_at_one_call(flow: Flow, site: FinishedSite, archived: str, tmp_path: Path) -> None:
    valley = make_site(tmp_path / "more" / "valley")
    _, said, _ = flow.archive(FinishedSite(valley.folder, valley.settings, "valley"))
    code, told, err = flow.retrieve(archived, identifier_in(said))
    assert code == 0, err
    assert len(told.splitlines()) == 2
    for made in (site, valley):
        assert contents(flow.place / "retrieved" / made.folder.name) == contents(made.folder)


def limits(flow: Flow, **values: Any) -> ArchiveSettings:
    return ArchiveSettings(locks=str(flow.locks), **values)


def test_blocks_brought_to_an_area_are_a_bag_of_what_is_wanted(flow: Flow, archived: str) -> None:
    storage, target = open_area(str(flow.storage)), open_area(str(flow.place / "bucket"), make_root=True)
    bag = read_bag(storage, archived)
    links = retrieve_to_area(storage, bag, target, limits(flow), Selection(("summary",)), 3600)
    block = block_of(flow, archived, "summary.csv")
    brought = everything(flow.place / "bucket" / archived)
    assert set(links) == {f"data/{block.name}", *bag.tag_files}
    assert set(brought) == {*links, LINKS}
    assert all(brought[name] == (flow.bag(archived) / name).read_bytes() for name in links)
    assert json.loads(brought[LINKS]) == {"identifier": archived, "seconds": 3600, "links": links}


def test_a_damaged_block_in_the_retrieval_area_is_brought_again_and_one_of_the_storage_never(
    flow: Flow, archived: str
) -> None:
    storage, target = open_area(str(flow.storage)), open_area(str(flow.place / "bucket"), make_root=True)
    bag = read_bag(storage, archived)
    retrieve_to_area(storage, bag, target, limits(flow), Selection(), 3600)
    was = everything(flow.place / "bucket" / archived)
    name = f"data/{block_of(flow, archived, 'stack.nc').name}"
    brought = flow.place / "bucket" / archived / name
    content = brought.read_bytes()
    brought.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    retrieve_to_area(storage, bag, target, limits(flow), Selection(), 3600)
    assert {**everything(flow.place / "bucket" / archived), LINKS: b""} == {**was, LINKS: b""}
    brought.unlink()
    (flow.bag(archived) / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(StorageError, match=rf"retrieve: .*{name} has \d+ bytes, SHA-256 .*; nothing of it was kept"):
        retrieve_to_area(storage, bag, target, limits(flow), Selection(), 3600)
    assert not brought.exists()
