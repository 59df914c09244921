"""Archiving a finished site: killed anywhere, run twice at once, its files or its places damaged under way."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archive import scicat_server
from archive.bags import FinishedSite, make_site, with_large_file, write
from archive.flow import Flow, Kennel, contents, identifier_in
from archive.scicat_server import SciCat
from eemt.archive import deposit
from eemt.archive.areas import Area
from eemt.archive.bag import TAGMANIFEST
from eemt.archive.blocks import Block, Packed
from eemt.archive.deposit import STEPS
from eemt.archive.journal import Digest
from eemt.config import ArchiveSettings
from eemt.inventory import CRATE

KILLED = {
    "before the first block is packed": ("before put", "staging/"),
    "in the middle of a block that is packed": ("in put", "staging/"),
    "when a block is packed, before that is written down": ("after put", "staging/"),
    "when the storage's room is looked at": ("with slot", "space"),
    "before the first block is moved": ("before put", "storage/"),
    "in the middle of a block that is moved": ("in put", "storage/"),
    "when a block is moved, before that is written down": ("after put", "storage/"),
    "while a place to move is held": ("with slot", "move"),
    "in the middle of a block that is verified": ("in read", "storage/"),
    "while a place to verify is held": ("with slot", "verify"),
    "before the bag is finished": ("before put", "bag-info.txt"),
    "in the middle of the bag's own files": ("after put", "metadata/record.json"),
    "before the last file of the bag": ("before put", TAGMANIFEST),
    "after the last file of the bag, before that is written down": ("after put", TAGMANIFEST),
    "before the catalogue knows": ("before telling", ""),
    "when the catalogue knows, before that is written down": ("after telling", ""),
    "before the staging area is cleaned": ("before remove", "staging/"),
}


@pytest.mark.parametrize("point", KILLED.values(), ids=KILLED)
def test_a_killed_run_leaves_the_source_and_the_truth_and_is_finished_by_the_next(
    flow: Flow, site: FinishedSite, kennel: Kennel, point: tuple[str, str]
) -> None:
    was = contents(site.folder)
    kennel.start(flow.words(site), flow.place, point).kill()
    assert contents(site.folder) == was
    flow.assert_honest()
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert contents(site.folder) == was
    flow.assert_archived(identifier_in(said), was)
    assert not list(flow.staging.rglob("*.*")) and not list(flow.locks.glob("room-*"))


CLEANING = {
    "before the first file is removed": ("before unlink", "/"),
    "in the middle of the files": ("before unlink", "report.html"),
    "before the crate is removed": ("before unlink", CRATE),
}


@pytest.mark.parametrize("point", CLEANING.values(), ids=CLEANING)
def test_a_run_killed_while_it_cleans_the_source_has_archived_all_and_is_finished_by_the_next(
    flow: Flow, site: FinishedSite, kennel: Kennel, point: tuple[str, str]
) -> None:
    was = contents(site.folder)
    kennel.start(flow.words(site, clean_source=True), flow.place, point).kill()
    left = contents(site.folder)
    assert left.items() <= was.items() and CRATE in left
    flow.assert_archived(flow.finished()[0], was)
    code, said, err = flow.archive(site, clean_source=True)
    assert code == 0, err
    assert identifier_in(said) == flow.finished()[0] and "its files are removed" in said
    assert contents(site.folder) == {}
    code, _, err = flow.archive(site, clean_source=True)
    assert code == 2 and f"`eemt retrieve {flow.finished()[0]}` brings them back" in err


@pytest.mark.parametrize("step", ["pack", "move", "verify", "register"])
def test_the_source_is_not_touched_before_all_is_verified_and_known(
    flow: Flow, site: FinishedSite, kennel: Kennel, step: str
) -> None:
    points = {
        "pack": ("in put", "staging/"),
        "move": ("in put", "storage/"),
        "verify": ("in read", "storage/"),
        "register": ("before telling", ""),
    }
    was = contents(site.folder)
    kennel.start(flow.words(site, clean_source=True), flow.place, points[step]).kill()
    assert contents(site.folder) == was


def test_sigterm_ends_cleanly_and_nothing_half_written_is_left(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    for point in (("in put", "staging/"), ("in put", "storage/"), ("in read", "storage/"), ("with slot", "verify")):
        child = kennel.start(flow.words(site), flow.place, point)
        child.reach()
        assert child.end(signal.SIGTERM) == 130
        assert "interrupted; nothing half-written is left" in child.said() and "Traceback" not in child.said()
        assert not list(flow.place.rglob(".eemt-*"))
        flow.assert_honest()
    assert flow.archive(site)[0] == 0


def test_two_runs_of_one_dataset_at_once_end_in_one_good_bag(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    was = contents(site.folder)
    first = kennel.start(flow.words(site), flow.place, ("in put", "storage/"))
    first.reach()
    # from the same folder, and from another one
    for work in ("work", "other"):
        code, _, err = flow.archive(site, work=work)
        assert code == 2
        assert f"is being archived by process {first.pid} on" in err and "wait for it" in err
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    code, said, err = flow.archive(site, work="other")
    assert code == 0, err
    flow.assert_archived(identifier_in(said), was)
    # the first one finds it there, and believes it when it has read it
    code, again, err = flow.archive(site)
    assert code == 0, err
    assert again == said and "verify begins" in err and "move begins" not in err and "packs" not in err


def test_runs_of_one_dataset_started_together_end_in_one_good_bag(
    flow: Flow, site: FinishedSite, kennel: Kennel
) -> None:
    was = contents(site.folder)
    children = [kennel.start(flow.words(site, work=f"work-{number}"), flow.place) for number in range(3)]
    codes = sorted(child.end() for child in children)
    assert codes[0] == 0 and set(codes) <= {0, 2}
    assert all("already; wait for it" in child.said() or "register" in child.said() for child in children)
    flow.assert_archived(flow.finished()[0], was)


def test_a_second_run_does_nothing(flow: Flow, site: FinishedSite) -> None:
    _, said, _ = flow.archive(site)
    bag = flow.bag(identifier_in(said))
    before = {path: path.stat().st_mtime_ns for path in bag.rglob("*")}
    code, again, err = flow.archive(site)
    assert (code, again) == (0, said)
    assert not any(word in err for word in ("packs", "begins"))
    assert {path: path.stat().st_mtime_ns for path in bag.rglob("*")} == before


def test_a_changed_result_is_another_dataset(flow: Flow, site: FinishedSite) -> None:
    was = contents(site.folder)
    first = identifier_in(flow.archive(site)[1])
    write(site.folder / "summary.csv", b"variable,mean\neemt,13\n")
    code, _, err = flow.archive(site)
    assert code == 2 and "summary.csv" in err
    site.describe()
    second = identifier_in(flow.archive(site)[1])
    assert flow.finished() == sorted({first, second}) and first != second
    flow.assert_archived(second, contents(site.folder))
    flow.assert_archived(first, was)


def test_what_was_begun_of_results_that_changed_is_taken_back(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    kennel.start(flow.words(site), flow.place, ("in put", "storage/")).kill()
    begun = {path.name for path in flow.storage.iterdir()}
    assert begun
    write(site.folder / "summary.csv", b"variable,mean\neemt,13\n")
    site.describe()
    code, said, err = flow.archive(site)
    assert code == 0 and f"takes back what was begun of {begun.pop()}" in err
    assert [path.name for path in flow.storage.iterdir()] == [identifier_in(said)] == flow.finished()
    assert not list(flow.staging.rglob("*.*")) and not list(flow.locks.glob("room-*"))


def test_what_another_process_is_archiving_is_not_taken_back(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    kennel.start(flow.words(site), flow.place, ("in put", "storage/")).kill()
    was = contents(site.folder)
    copy = FinishedSite(shutil.copytree(site.folder, flow.place / "copy" / site.folder.name), site.settings)
    other = kennel.start(flow.words(copy, work="other"), flow.place, ("before put", TAGMANIFEST))
    other.reach()
    write(site.folder / "summary.csv", b"variable,mean\neemt,13\n")
    site.describe()
    code, _, err = flow.archive(site)
    assert code == 2 and f"is being archived by process {other.pid}" in err
    assert other.end(signal.SIGKILL) < 0
    assert flow.archive(copy, work="other")[0] == 0
    flow.assert_archived(flow.finished()[0], was)


@pytest.mark.parametrize("how", ["changed", "grown", "missing", "extra"])
def test_a_source_that_is_not_as_its_crate_says_is_refused_and_named(flow: Flow, site: FinishedSite, how: str) -> None:
    path = site.folder / "maps" / "eemt_topo_2001.tif"
    content = path.read_bytes()
    match how:
        case "changed":
            path.write_bytes(flipped(content))
        case "grown":
            path.write_bytes(content + b"x")
        case "missing":
            path.unlink()
        case "extra":
            path = path.with_name("more.tif")
            path.write_bytes(b"x")
    code, _, err = flow.archive(site)
    assert code == 2 and path.name in err.splitlines()[-1]
    assert flow.finished() == [] and not list(flow.staging.rglob("*.*")) and not list(flow.storage.iterdir())
    if how == "extra":
        path.unlink()
    else:
        path.write_bytes(content)
    code, said, err = flow.archive(site)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), contents(site.folder))


def flipped(content: bytes, at: int | None = None) -> bytes:
    at = len(content) // 2 if at is None else at
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def flip(path: Path) -> None:
    path.write_bytes(flipped(path.read_bytes()))


def test_a_file_that_changes_while_it_is_packed_is_found_and_nothing_is_kept(
    flow: Flow, site: FinishedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eemt.archive.folder import FolderArea

    put = FolderArea.put
    path = site.folder / "stack.nc"
    content = path.read_bytes()

    def changing(area: FolderArea, name: str, pieces: Iterator[bytes], size: int) -> None:
        def some() -> Iterator[bytes]:
            for number, piece in enumerate(pieces):
                yield piece
                if number == 0 and size > len(content):
                    path.write_bytes(flipped(content, len(content) - 1))

        put(area, name, some(), size)

    monkeypatch.setattr(FolderArea, "put", changing)
    code, _, err = flow.archive(site)
    last = err.splitlines()[-1]
    assert code == 2 and "stack.nc: changed: SHA-256" in last
    assert not list(flow.staging.rglob("*.*")) and not list(flow.storage.iterdir())
    entry = flow.entry(flow.journal()["identifier"])
    assert entry and (entry.state, entry.fault) == ("failed", "user") and "stack.nc" in (entry.message or "")
    monkeypatch.undo()
    path.write_bytes(content)
    code, said, err = flow.archive(site)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), contents(site.folder))


def stopped_before(flow: Flow, site: FinishedSite, step: str) -> str:
    """Take all steps before one; return the identifier."""
    for earlier in STEPS[: STEPS.index(step)]:
        code, said, err = flow.archive(site, "--only", earlier)
        assert code == 0, err
    return identifier_in(said)


@pytest.mark.parametrize("only", [True, False], ids=["step by step", "at once"])
@pytest.mark.parametrize("how", ["flipped", "deleted", "cut short"])
def test_a_block_damaged_in_staging_is_named_never_propagated_and_packed_anew(
    flow: Flow, site: FinishedSite, how: str, only: bool
) -> None:
    identifier = stopped_before(flow, site, "move")
    block = sorted((flow.staging / identifier / "data").iterdir())[-2]
    damage(block, how)
    words = ("--only", "move") if only else ()
    code, _, err = flow.archive(site, *words)
    if how == "flipped":
        assert code == 1 and f"{block} is no longer what was packed" in err.splitlines()[-1]
        assert not (flow.bag(identifier) / "data" / block.name).exists() and flow.finished() == []
        code, _, err = flow.archive(site, *words)
    assert code == 0, err
    code, _, err = flow.archive(site)
    assert code == 0, err
    flow.assert_archived(identifier, contents(site.folder))


def damage(path: Path, how: str) -> None:
    match how:
        case "flipped":
            flip(path)
        case "deleted":
            path.unlink()
        case "cut short":
            os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("only", [True, False], ids=["step by step", "at once"])
@pytest.mark.parametrize("how", ["flipped", "deleted", "cut short"])
def test_a_block_damaged_in_the_storage_is_named_never_taken_for_archived_and_copied_anew(
    flow: Flow, site: FinishedSite, how: str, only: bool
) -> None:
    identifier = stopped_before(flow, site, "verify")
    block = sorted((flow.bag(identifier) / "data").iterdir())[0]
    damage(block, how)
    words = ("--only", "verify") if only else ()
    code, _, err = flow.archive(site, *words)
    if how == "flipped":
        assert code == 1 and f"{block} is corrupt: its SHA-256 is" in err.splitlines()[-1]
        assert flow.finished() == [] and flow.journal()["fault"] == "system"
        code, _, err = flow.archive(site, *words)
    assert code == 0, err
    code, _, err = flow.archive(site, *(("--only", "register") if only else ()))
    assert code == 0, err
    flow.assert_archived(identifier, contents(site.folder))


@pytest.mark.parametrize("how", ["deleted", "cut short"])
def test_a_block_that_vanishes_after_it_was_verified_is_missed_before_the_bag_is_finished(
    flow: Flow, site: FinishedSite, how: str
) -> None:
    identifier = stopped_before(flow, site, "register")
    damage(sorted((flow.bag(identifier) / "data").iterdir())[0], how)
    code, _, err = flow.archive(site, "--only", "register")
    assert code == 0 and "goes back to move" in err
    flow.assert_archived(identifier, contents(site.folder))


def test_a_block_that_vanishes_in_the_moment_after_is_missed_too(
    flow: Flow, site: FinishedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = deposit.check_block

    def checking(area: Area, identifier: str, packed: Packed) -> None:
        check(area, identifier, packed)
        if packed.name == "data/0001.tar":
            area.remove(f"{identifier}/{packed.name}")

    monkeypatch.setattr(deposit, "check_block", checking)
    code, _, err = flow.archive(site)
    assert code == 1 and "data/0001.tar was verified, but is no longer there" in err.splitlines()[-1]
    assert flow.finished() == []
    monkeypatch.undo()
    assert flow.archive(site)[0] == 0
    flow.assert_archived(flow.journal()["identifier"], contents(site.folder))


def test_blocks_keep_their_order_where_there_are_more_than_names_have_digits_for(
    flow: Flow, site: FinishedSite
) -> None:
    settings = ArchiveSettings(storage=str(flow.storage), staging=str(flow.staging), locks=str(flow.locks))
    made = deposit.Deposit(site.folder, "ridge", settings, flow.place / "work")
    names = [f"data/{number:04d}.tar" for number in (1, 9_999, 10_000, 100_000)]
    made.blocks = [Block(name, ()) for name in names]
    made.journal.packed = {name: Digest(sha256="", size=0) for name in reversed(names)}
    assert [packed.name for packed in made.packed] == names


@pytest.mark.parametrize("how", ["deleted", "cut short"])
def test_a_block_that_an_archived_dataset_has_lost_is_brought_again_by_the_next_run(
    flow: Flow, site: FinishedSite, how: str
) -> None:
    was = contents(site.folder)
    identifier = identifier_in(flow.archive(site)[1])
    damage(sorted((flow.bag(identifier) / "data").iterdir())[1], how)
    code, _, err = flow.archive(site)
    assert code == 0, err
    assert f"{identifier}: is not whole in" in err
    flow.assert_archived(identifier, was)


@pytest.mark.parametrize("name", [TAGMANIFEST, "manifest-sha256.txt", "metadata/record.json"])
def test_a_manifest_damaged_after_archiving_is_named_and_made_anew(flow: Flow, site: FinishedSite, name: str) -> None:
    was = contents(site.folder)
    identifier = identifier_in(flow.archive(site)[1])
    flip(flow.bag(identifier) / name)
    code, _, err = flow.retrieve(identifier)
    assert code == 1 and name in err.splitlines()[-1]
    assert not (flow.place / "retrieved" / "ridge").exists()
    code, _, err = flow.archive(site)
    assert code == 0, err
    assert f"{flow.bag(identifier)}/{name} is corrupt" in err and "it is made anew" in err
    flow.assert_archived(identifier, was)


def test_a_dataset_that_the_storage_has_lost_is_archived_anew(flow: Flow, site: FinishedSite) -> None:
    was = contents(site.folder)
    identifier = identifier_in(flow.archive(site)[1])
    shutil.rmtree(flow.bag(identifier))
    code, _, err = flow.archive(site)
    assert code == 0 and f"{identifier} is no longer in" in err
    flow.assert_archived(identifier, was)


def test_a_damaged_block_of_a_bag_that_another_run_made_is_replaced_and_the_bag_finished_anew(
    flow: Flow, site: FinishedSite
) -> None:
    was = contents(site.folder)
    identifier = identifier_in(flow.archive(site)[1])
    block = sorted((flow.bag(identifier) / "data").iterdir())[0]
    flip(block)
    code, _, err = flow.archive(site, work="other")
    assert code == 1 and f"{block} is corrupt" in err.splitlines()[-1]
    assert block.exists()  # most of it is good, and the source is not known to be so yet
    code, _, err = flow.archive(site, work="other")
    assert code == 0, err
    flow.assert_archived(identifier, was)


def test_a_bag_cut_another_way_is_taken_as_it_is(flow: Flow, site: FinishedSite) -> None:
    was = contents(site.folder)
    _, said, _ = flow.archive(site)
    for changes in ({"target_size_mb": 1.0}, {"compression": "zstd"}, {"target_size_mb": 0.001, "work": "other"}):
        code, again, err = flow.archive(site, **changes)
        assert (code, again) == (0, said) and "packs" not in err and "move begins" not in err
    flow.assert_archived(identifier_in(said), was)


def test_settings_changed_in_the_middle_leave_no_blocks_of_the_old_ones(flow: Flow, site: FinishedSite) -> None:
    was = contents(site.folder)
    identifier = stopped_before(flow, site, "register")
    assert len(list((flow.bag(identifier) / "data").iterdir())) > 2
    code, _, err = flow.archive(site, compression="zstd", target_size_mb=1.0)
    assert code == 0, err
    assert [path.name for path in sorted((flow.bag(identifier) / "data").iterdir())] == [
        "0001.tar.zst",
        "0002.tar.zst",
        "0003.tar.zst",
    ]
    assert not list(flow.staging.rglob("*.*"))
    flow.assert_archived(identifier, was)


@pytest.mark.parametrize("first", STEPS)
def test_any_step_takes_those_before_it_that_are_missing(flow: Flow, site: FinishedSite, first: str) -> None:
    code, said, err = flow.archive(site, "--only", first)
    assert code == 0, err
    assert (flow.finished() == [identifier_in(said)]) == (first == "register")
    assert flow.archive(site)[0] == 0
    flow.assert_archived(identifier_in(said), contents(site.folder))


def test_times_of_files_and_clocks_decide_nothing(
    flow: Flow, site: FinishedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = contents(site.folder)
    for path in site.folder.rglob("*"):
        os.utime(path, (4e9, 4e9))  # in 2096
    said = set()
    for step, clock in zip(STEPS, ("0", "4000000000", "1", "3000000000", "86400"), strict=True):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", clock)
        code, _, err = flow.archive(site, "--only", step)
        assert code == 0, err
        for path in flow.locks.iterdir():
            os.utime(path, (1.0, 1.0))
        for path in [*flow.storage.rglob("*"), *flow.staging.rglob("*"), *(flow.place / "work").rglob("*")]:
            os.utime(path, (4e9, 4e9) if len(said) % 2 else (1.0, 1.0))
        said.add(step)
    flow.assert_archived(flow.finished()[0], was)
    code, _, err = flow.archive(site)
    assert code == 0 and "begins" not in err


def test_a_file_changed_after_archiving_stays_when_the_source_is_cleaned(
    flow: Flow, site: FinishedSite, kennel: Kennel
) -> None:
    was = contents(site.folder)
    kennel.start(flow.words(site, clean_source=True), flow.place, ("before unlink", "report.html")).kill()
    write(site.folder / "report.html", b"written since")
    write(site.folder / "sun" / "notes.txt", b"mine")
    code, _, err = flow.archive(site, clean_source=True)
    assert code == 0 and "report.html changed after it was archived, and stays" in err
    assert set(contents(site.folder)) == {"report.html", "sun/notes.txt"}
    flow.assert_archived(flow.finished()[0], was)


def test_results_made_anew_in_the_middle_of_cleaning_are_left_alone_and_archived_too(
    flow: Flow, site: FinishedSite, kennel: Kennel
) -> None:
    was = contents(site.folder)
    kennel.start(flow.words(site, clean_source=True), flow.place, ("before unlink", "report.html")).kill()
    again = with_large_file(make_site(site.folder, {"outputs": {"publisher": "Another"}}))
    new = contents(again.folder)
    code, said, err = flow.archive(again)
    assert code == 0, err
    assert contents(again.folder) == new
    flow.assert_archived(identifier_in(said), new)
    first = next(name for name in flow.finished() if name != identifier_in(said))
    flow.assert_archived(first, was)


def test_tiles_that_were_not_archived_stay_when_the_source_is_cleaned(flow: Flow, site: FinishedSite) -> None:
    code, _, err = flow.archive(site, clean_source=True)
    assert code == 0, err
    left = {path.relative_to(site.folder).as_posix() for path in site.folder.rglob("*") if path.is_file()}
    assert left == {"eemt/r000c000.nc", "dem/tiles/r000c000.tif", "inputs/copy.tif", ".hidden"}


def test_without_a_catalogue_the_dataset_is_archived_and_made_known_by_the_next_run(
    flow: Flow, site: FinishedSite
) -> None:
    was = contents(site.folder)
    (flow.place / "catalogue.sqlite").write_bytes(b"no database, but long enough to be looked at " * 50)
    for words in (("--only", "register"), ()):
        code, _, err = flow.archive(site, *words)
        assert code == 1 and "catalogue.sqlite" in err.splitlines()[-1]
        assert len(flow.finished()) == 1 and contents(site.folder) == was
        assert flow.journal()["tagmanifest"] and not flow.journal()["registered"]
        assert flow.journal()["fault"] == "system"
    (flow.place / "catalogue.sqlite").unlink()
    code, _, err = flow.archive(site, "--only", "register")
    assert code == 0 and "begins" not in err
    flow.assert_archived(flow.finished()[0], was)


def test_the_source_is_not_cleaned_before_catalogues_know(flow: Flow, site: FinishedSite) -> None:
    was = contents(site.folder)
    (flow.place / "catalogue.sqlite").write_bytes(b"no database, but long enough to be looked at " * 50)
    assert flow.archive(site, clean_source=True)[0] == 1
    assert contents(site.folder) == was
    (flow.place / "catalogue.sqlite").unlink()
    assert flow.archive(site, clean_source=True)[0] == 0
    assert contents(site.folder) == {}
    flow.assert_archived(flow.finished()[0], was)


def test_a_catalogue_that_was_lost_is_told_again(flow: Flow, site: FinishedSite) -> None:
    flow.archive(site)
    for path in flow.place.glob("catalogue.sqlite*"):
        path.unlink()
    assert flow.archive(site)[0] == 0
    flow.assert_archived(flow.finished()[0], contents(site.folder))


@pytest.fixture
def scicat(monkeypatch: pytest.MonkeyPatch) -> Iterator[SciCat]:
    with scicat_server.running() as server:
        monkeypatch.setenv("EEMT_SCICAT_TOKEN", server.token())
        monkeypatch.delenv("EEMT_SCICAT_TOKEN_FILE", raising=False)
        monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "0.2")
        yield server


def states_in(server: SciCat) -> list[str]:
    found = [change.get("archiveStatusMessage") for _, change in server.history]
    return [state for state, before in zip(found, [None, *found], strict=False) if state and state != before]


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_scicat_knows_of_the_way_and_of_the_way_back(
    flow: Flow, site: FinishedSite, scicat: SciCat, version: str
) -> None:
    flow.settings = {"scicat": scicat.address, "contact": "maps@example.org", "scicat_version": version}
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert states_in(scicat) == ["started", "datasetOnArchiveDisk"]
    assert len(scicat.datablocks) == len(list((flow.bag(identifier_in(said)) / "data").iterdir()))
    seen = len(scicat.seen)
    assert flow.archive(site)[0] == 0
    assert len(scicat.seen) == seen
    flow.assert_archived(identifier_in(said), contents(site.folder))
    assert "datasetRetrieved" in str(scicat.history[-1])


def test_scicat_knows_whose_fault_a_failure_is_and_that_the_next_run_archived(
    flow: Flow, site: FinishedSite, scicat: SciCat
) -> None:
    flow.settings = {"scicat": scicat.address, "contact": "maps@example.org"}
    path = site.folder / "stack.nc"
    flip(path)
    assert flow.archive(site)[0] == 2
    flip(path)
    code, _, err = flow.archive(site, min_free_percent=99.99)
    assert code == 1 and "no room" in err.splitlines()[-1]
    assert flow.archive(site)[0] == 0
    assert [state for state in states_in(scicat) if state != "started"] == [
        "missingFilesError",
        "scheduleArchiveJobFailed",
        "datasetOnArchiveDisk",
    ]


@pytest.mark.parametrize("steps", [("register",), ()], ids=["step by step", "at once"])
def test_without_scicat_the_dataset_is_archived_and_registered_by_the_next_run(
    flow: Flow, site: FinishedSite, scicat: SciCat, steps: tuple[str, ...]
) -> None:
    was = contents(site.folder)
    flow.settings = {"scicat": scicat.address, "contact": "maps@example.org"}
    words = [word for step in steps for word in ("--only", step)]
    scicat.stop()
    code, _, err = flow.archive(site, *words)
    assert code == 1 and "SciCat" in err.splitlines()[-1]
    assert len(flow.finished()) == 1 and not flow.journal()["registered"]
    # what is archived comes back without it
    code, _, err = flow.retrieve(flow.finished()[0], "--out", flow.place / "out")
    assert code == 0 and contents(flow.place / "out" / "ridge") == was
    scicat.start()
    code, _, err = flow.archive(site, *words)
    assert code == 0 and "begins" not in err
    assert len(scicat.datasets) == 1 and states_in(scicat)[-1] == "datasetOnArchiveDisk"
    flow.assert_archived(flow.finished()[0], was)


def test_ten_thousand_small_files_come_back_as_they_were(flow: Flow, new_site: Callable[..., FinishedSite]) -> None:
    many = new_site("many")
    for number in range(10_000):
        path = many.folder / "maps" / f"{number // 100:02}" / f"piece_{number:05}.csv"
        if number % 100 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d\n" % number * (number % 50))
    many.describe()
    was = contents(many.folder)
    assert len(was) > 10_000
    code, said, err = flow.archive(many, target_size_mb=0.2)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), was)
