"""Datasets that are given up on their way: nothing of them is left, and nothing that is archived is touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archive import scicat_server
from archive.bags import FinishedSite, write
from archive.flow import Flow, Kennel, assert_valid, contents, identifier_in
from eemt.archive.bag import TAGMANIFEST
from eemt.archive.catalogue import open_catalogue

Point = tuple[str, str]
BEGUN = {
    "in the middle of a block that is packed": ("in put", "staging/"),
    "when the storage's room is looked at": ("with slot", "space"),
    "in the middle of a block that is moved": ("in put", "storage/"),
    "in the middle of a block that is verified": ("in read", "storage/"),
    "in the middle of the bag's own files": ("after put", "metadata/record.json"),
    "before the last file of the bag": ("before put", TAGMANIFEST),
}
ALL_MOVED = ("with slot", "verify")


def begun(
    flow: Flow, site: FinishedSite, kennel: Kennel, point: tuple[str, str] = ALL_MOVED, work: str = "work"
) -> str:
    """Begin to archive a site, as far as a point, and return the identifier."""
    kennel.start(flow.words(site, work=work), flow.place, point).kill()
    return str(flow.journal(work=work)["identifier"])


def assert_nothing_left(flow: Flow) -> None:
    assert not [path for place in (flow.storage, flow.staging) for path in place.rglob("*") if path.is_file()]
    assert not list(flow.locks.glob("room-*")) and not list(flow.place.glob("work/journal/*"))


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("point", BEGUN.values(), ids=BEGUN)
def test_nothing_is_left_of_what_was_begun_and_it_can_be_begun_anew(
    flow: Flow, site: FinishedSite, kennel: Kennel, point: tuple[str, str]
) -> None:
    was = contents(site.folder)
    identifier = begun(flow, site, kennel, point)
    code, said, err = flow.archive(site, "--discard")
    assert code == 0, err
    assert said == f"ridge: given up; nothing of {identifier} is left in staging and storage\n"
    assert_nothing_left(flow)
    assert contents(site.folder) == was
    entry = flow.entry(identifier)
    assert entry and (entry.state, entry.fault, entry.message) == ("failed", "user", "it was given up on its way")
    assert flow.archive(site, "--discard")[:2] == (0, "ridge: nothing was begun\n")
    assert flow.archive(site)[0] == 0
    flow.assert_archived(identifier, was)


@pytest.mark.parametrize("place", ["staging", "storage"])
def test_giving_up_that_is_killed_is_finished_by_the_next_or_archived_after_all(
    flow: Flow, site: FinishedSite, kennel: Kennel, place: str
) -> None:
    was = contents(site.folder)
    identifier = begun(flow, site, kennel)
    for block in ("0002", "0003"):
        point = "before remove", f"{place}/{identifier}/data/{block}"
        kennel.start(flow.words(site, "--discard"), flow.place, point).kill()
        assert list((flow.place / place).rglob(f"data/{block}*"))
    journal = flow.place / "work/journal/ridge.json"
    kept = journal.read_bytes()
    assert flow.archive(site, "--discard")[0] == 0
    assert_nothing_left(flow)
    # a journal of what is no longer there, as one would find it that was killed before it removed that
    journal.write_bytes(kept)
    assert flow.archive(site)[0] == 0
    flow.assert_archived(identifier, was)


def test_the_results_need_not_be_there_any_more(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    begun(flow, site, kennel)
    shutil.rmtree(site.folder)
    code, _, err = flow.archive(site, "--discard")
    assert code == 0, err
    assert_nothing_left(flow)


def test_what_is_archived_stays(flow: Flow, site: FinishedSite) -> None:
    identifier = identifier_in(flow.archive(site)[1])
    before = [files(folder) for folder in (flow.storage, flow.place / "work")]
    code, said, _ = flow.archive(site, "--discard")
    assert (code, said) == (0, f"ridge: is archived as {identifier}, which stays\n")
    assert [files(folder) for folder in (flow.storage, flow.place / "work")] == before


def test_the_same_files_archived_by_another_run_stay(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    was = contents(site.folder)
    identifier = begun(flow, site, kennel, ("in put", "storage/"))
    assert flow.archive(site, work="other")[0] == 0
    before = files(flow.storage)
    code, said, _ = flow.archive(site, "--discard")
    assert (code, said) == (0, f"ridge: is archived as {identifier}, which stays\n")
    assert files(flow.storage) == before and not list(flow.place.glob("work/journal/*"))
    flow.assert_archived(identifier, was)


@pytest.mark.parametrize("whose", ["work", "other", "third"])
def test_what_was_archived_and_is_being_made_whole_again_stays(
    flow: Flow, site: FinishedSite, kennel: Kennel, whose: str
) -> None:
    """A bag whose last file is taken away for the time of its repair may be the only copy that there is."""
    was = contents(site.folder)
    if whose == "third":
        begun(flow, site, kennel, ("in put", "staging/"), work="third")
    identifier = identifier_in(flow.archive(site)[1])
    *kept, lost = sorted((flow.bag(identifier) / "data").iterdir())
    lost.unlink()
    work = "work" if whose == "work" else "other"
    kennel.start(flow.words(site, work=work), flow.place, ("before put", "storage/")).kill()
    assert flow.finished() == []
    code, said, err = flow.archive(site, "--discard", work=whose)
    assert code == 0, err
    assert all(path.exists() for path in kept)
    if whose != "third":  # whose journal does not hold the room
        assert said == f"ridge: given up; {identifier} was archived before, and what the storage has of it stays\n"
    assert flow.archive(site)[0] == 0
    flow.assert_archived(identifier, was)


def test_what_another_run_is_at_is_left_to_that(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    was = contents(site.folder)
    identifier = begun(flow, site, kennel, ("in put", "staging/"))
    other = kennel.start(flow.words(site, work="other"), flow.place, ("before put", TAGMANIFEST))
    other.reach()
    before = files(flow.storage)
    code, said, _ = flow.archive(site, "--discard")
    assert (code, said) == (0, f"ridge: given up; another run is at {identifier}, and what is there of it stays\n")
    assert files(flow.storage) == before
    assert other.end(9) < 0
    # nor is it removed when that one was broken off, holds its room and will go on
    begun(flow, site, kennel, work="third")
    before = files(flow.storage)
    third = flow.place / "third/journal/ridge.json"
    assert third.exists() and "another run is at" in flow.archive(site, "--discard", work="third")[1]
    assert files(flow.storage) == before and not third.exists()
    assert flow.archive(site, work="other")[0] == 0
    flow.assert_archived(identifier, was)


def test_a_site_that_is_being_archived_is_not_given_up(flow: Flow, site: FinishedSite, kennel: Kennel) -> None:
    child = kennel.start(flow.words(site), flow.place, ALL_MOVED)
    child.reach()
    code, _, err = flow.archive(site, "--discard")
    assert code == 2 and f"by process {child.pid}" in err and "ridge: at fault: another process" in err
    assert child.end(9) < 0


@pytest.mark.parametrize("what", ["storage", "catalogue"])
def test_nothing_is_removed_while_it_is_not_known_what_is_archived(
    flow: Flow, site: FinishedSite, kennel: Kennel, what: str
) -> None:
    begun(flow, site, kennel)
    before = files(flow.staging)
    place = flow.storage if what == "storage" else flow.place / "catalogue.sqlite"
    away = place.rename(place.with_name("away"))
    if what == "catalogue":
        place.write_bytes(b"no database" * 100)
    code, _, err = flow.archive(site, "--discard")
    assert code in (1, 2) and "Traceback" not in err
    assert files(flow.staging) == before and flow.journal()["packed"]
    away.replace(place)
    assert flow.archive(site, "--discard")[0] == 0
    assert_nothing_left(flow)


def test_what_was_begun_at_places_that_are_no_longer_set_is_named(
    flow: Flow, site: FinishedSite, kennel: Kennel
) -> None:
    identifier = begun(flow, site, kennel)
    before = files(flow.storage)
    (flow.place / "new").mkdir()
    code, _, err = flow.archive(site, "--discard", storage=str(flow.place / "new"))
    assert code == 0 and f"{identifier}: what was begun of it in {flow.storage} stays there" in err
    assert files(flow.storage) == before and not files(flow.staging)


def test_scicat_is_told_that_it_was_given_up(flow: Flow, site: FinishedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    with scicat_server.running() as server:
        monkeypatch.setenv("EEMT_SCICAT_TOKEN", server.token())
        monkeypatch.delenv("EEMT_SCICAT_TOKEN_FILE", raising=False)
        flow.settings = {"scicat": server.address, "contact": "maps@example.org"}
        assert flow.archive(site, min_free_percent=99.9999, wait_hours=0)[0] == 1
        assert flow.archive(site, "--discard")[0] == 0
        _, last = server.history[-1]
    assert last["archiveStatusMessage"] == "scheduleArchiveJobFailed"
    assert "it was given up on its way" in str(last["archiveReturnMessage"])


def test_other_results_do_not_take_back_what_was_archived_before(
    flow: Flow, site: FinishedSite, kennel: Kennel
) -> None:
    identifier = identifier_in(flow.archive(site)[1])
    *kept, lost = sorted((flow.bag(identifier) / "data").iterdir())
    lost.unlink()
    kennel.start(flow.words(site), flow.place, ("before put", "storage/")).kill()
    write(site.folder / "summary.csv", b"variable,mean\neemt,13\n")
    site.describe()
    code, said, err = flow.archive(site)
    assert code == 0 and all(path.exists() for path in kept), err
    assert identifier_in(said) != identifier
    assert_valid(flow.bag(identifier_in(said)))


def test_options_that_contradict_it_are_refused(flow: Flow, site: FinishedSite) -> None:
    code, _, err = flow.archive(site, "--discard", "--receipt", str(flow.place / "receipt.json"))
    assert code == 2 and "--discard leaves none" in err
    code, _, err = flow.archive(site, "--discard", "--only", "pack")
    assert code == 2 and "not allowed with argument" in err


def test_what_is_at_fault_stands_in_the_log_in_two_words(flow: Flow, site: FinishedSite) -> None:
    for what, changes in (
        ("the storage", {"storage": str(flow.place / "gone")}),
        ("the settings", {"storage": "s3://keep/maps", "storage_profile": "of-nobody"}),
    ):
        assert f"ridge: at fault: {what}\n" in flow.archive(site, **changes)[2]
    write(site.folder / "summary.csv", b"changed\n")
    assert "ridge: at fault: the results\n" in flow.archive(site)[2]


def test_a_failure_stands_in_the_history_once_however_often_it_is_tried_again(flow: Flow, site: FinishedSite) -> None:
    for _ in range(3):
        assert flow.archive(site, min_free_percent=99.9999, wait_hours=0)[0] == 1
    with open_catalogue(flow.place / "catalogue.sqlite") as catalogue:
        lines = catalogue.history(site.land().identifier)
    assert [(line.step, line.outcome) for line in lines] == [
        ("packing", "begun"),
        ("packing", "done"),
        ("staged", "done"),
        ("space", "system error"),
    ]
    assert "(3 times since 20" in str(lines[-1].message)
