"""Room in a storage: what must stay free, what others will still take, whose turn it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from archive.bags import FinishedSite, make_site, with_large_file, write
from archive.flow import Call, Flow, Kennel, contents, running_kennel
from eemt.archive.areas import Space
from eemt.archive.errors import StorageError
from eemt.archive.journal import Journal
from eemt.archive.room import Room, size
from eemt.config import ArchiveSettings

GB = 10**9


@dataclass
class Shelf:
    """A storage of a size, of which nothing but its room is asked."""

    total: int = 100 * GB
    free: int = 50 * GB
    address: str = "/shelf"
    files: int | None = None

    def space(self) -> Space | None:
        return None if self.files is not None else Space(self.total, self.free)

    def used(self) -> int:
        assert self.files is not None
        return self.files


@dataclass
class Datasets:
    """Datasets on their way to a shelf, each with its journal."""

    place: Path
    shelf: Shelf = field(default_factory=Shelf)

    def room(self, identifier: str, shelf: Shelf | None = None) -> Room:
        locks = self.place / "locks"
        locks.mkdir(exist_ok=True)
        return Room(shelf or self.shelf, identifier, locks, self.path(identifier))  # type: ignore[arg-type]

    def path(self, identifier: str) -> Path:
        return self.place / "journal" / f"{identifier}.json"

    def on_its_way(self, identifier: str, **values: str) -> Room:
        Journal(identifier=identifier, storage="/shelf", staging="", **values).write(self.path(identifier))
        return self.room(identifier)


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(tmp_path)


def settings(**values: float) -> ArchiveSettings:
    return ArchiveSettings(**{"min_free_percent": 20.0, **values})


def test_room_is_taken_up_to_the_part_that_must_stay_free(datasets: Datasets) -> None:
    room = datasets.on_its_way("ridge-1")
    room.take(30 * GB, settings())
    assert room.held() == 30 * GB
    with pytest.raises(StorageError) as told:
        room.take(30 * GB + 1, settings())
    assert told.value.kind == "full"


def test_refusal_has_the_figures(datasets: Datasets) -> None:
    datasets.on_its_way("valley-2").take(12 * GB, settings())
    with pytest.raises(StorageError) as told:
        datasets.on_its_way("ridge-1").take(25 * GB, settings())
    assert str(told.value) == (
        "archive: no room: /shelf has 50 GB free of 100 GB; the dataset takes 25 GB and others on their way 12 GB "
        "(valley-2), which would leave 13 % where archive.min_free_percent wants 20 %"
    )


def test_what_one_holds_it_does_not_hold_against_itself(datasets: Datasets) -> None:
    room = datasets.on_its_way("ridge-1")
    room.take(25 * GB, settings())
    room.take(30 * GB, settings())
    assert room.held() == 30 * GB


def test_what_is_on_its_way_elsewhere_takes_no_room(datasets: Datasets) -> None:
    datasets.on_its_way("valley-2")
    datasets.room("valley-2", Shelf(address="/other")).take(30 * GB, settings())
    datasets.on_its_way("ridge-1").take(30 * GB, settings())


def test_less_is_held_as_blocks_arrive_and_nothing_at_the_end(datasets: Datasets) -> None:
    one, other = datasets.on_its_way("ridge-1"), datasets.on_its_way("valley-2")
    one.take(25 * GB, settings())
    one.keep(10 * GB)
    assert [note.bytes for note in other.others()] == [10 * GB]
    one.keep(0)
    assert other.others() == [] and one.held() == 0


def test_a_run_that_was_killed_goes_on_holding_its_room_however_old_that_is(datasets: Datasets) -> None:
    room = datasets.on_its_way("ridge-1")
    room.take(25 * GB, settings())
    for path in (datasets.place / "locks").iterdir():
        os.utime(path, (1.0, 1.0))  # in 1970
    assert [note.identifier for note in datasets.on_its_way("valley-2").others()] == ["ridge-1"]


def test_a_dataset_that_was_given_up_holds_nothing(datasets: Datasets) -> None:
    other = datasets.on_its_way("valley-2")
    for given_up in ("gone", "replaced", "archived"):
        datasets.on_its_way("ridge-1").take(25 * GB, settings())
        assert other.others()
        path = datasets.path("ridge-1")
        match given_up:
            case "gone":
                path.unlink()
            case "replaced":
                Journal(identifier="ridge-3", storage="/shelf", staging="").write(path)
            case "archived":
                Journal(identifier="ridge-1", storage="/shelf", staging="", tagmanifest="f" * 64).write(path)
        assert other.others() == []


def test_a_dataset_of_another_machine_whose_journal_is_not_seen_here_holds_its_room(datasets: Datasets) -> None:
    room = datasets.on_its_way("ridge-1")
    room.take(25 * GB, settings())
    path = next((datasets.place / "locks").glob("room-ridge-1.json"))
    path.write_text(path.read_text().replace(os.uname().nodename, "another"))
    datasets.path("ridge-1").unlink()
    assert [note.bytes for note in datasets.on_its_way("valley-2").others()] == [25 * GB]


def test_a_storage_that_does_not_tell_goes_by_its_capacity_and_its_files(datasets: Datasets) -> None:
    shelf = Shelf(files=40 * GB)
    assert size(shelf, 100.0) == Space(100 * GB, 60 * GB)  # type: ignore[arg-type]
    datasets.on_its_way("ridge-1")
    datasets.room("ridge-1", shelf).take(40 * GB, settings(capacity_gb=100.0))
    with pytest.raises(StorageError, match="has 60 GB free of 100 GB"):
        datasets.room("ridge-1", shelf).take(41 * GB, settings(capacity_gb=100.0))


def test_a_storage_of_unknown_size_is_warned_of_and_used(datasets: Datasets, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(files=40 * GB)
    datasets.on_its_way("ridge-1")
    datasets.room("ridge-1", shelf).take(10**15, settings())
    assert size(shelf, None) is None  # type: ignore[arg-type]
    assert "set archive.capacity_gb to have it checked" in caplog.text


def test_who_waits_for_room_lets_others_look_and_takes_it_when_it_is_there(
    datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.on_its_way("ridge-1")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        # a smaller one goes first, meanwhile
        datasets.on_its_way("valley-2").take(GB, settings(space_checks=1))
        if len(slept) == 3:
            datasets.shelf.free = 90 * GB

    monkeypatch.setattr("eemt.archive.room.time.sleep", sleep)
    datasets.room("ridge-1").take(40 * GB, settings(wait_hours=1.0))
    assert len(slept) == 3 and datasets.room("ridge-1").held() == 40 * GB


def test_waiting_ends_with_its_hours(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**6, 600))
    monkeypatch.setattr("eemt.archive.room.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("eemt.archive.room.time.sleep", lambda _: None)
    with pytest.raises(StorageError, match="no room"):
        datasets.on_its_way("ridge-1").take(40 * GB, settings(wait_hours=2.0))


@pytest.fixture
def kennel() -> Iterator[Kennel]:
    with running_kennel() as kennel:
        yield kennel
        kennel.clear()


def test_two_datasets_do_not_both_get_the_last_room(
    tmp_path: Path, call: Call, kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(tmp_path, call)
    one = with_large_file(make_site(tmp_path / "one" / "ridge"))
    two = with_large_file(make_site(tmp_path / "two" / "valley"))
    was = {site.folder.name: contents(site.folder) for site in (one, two)}
    holder = kennel.start(flow.words(one, work="w1"), tmp_path, ("before put", "storage/"))
    holder.reach()
    # room for one of the two, as figures have it
    needed = Room(Shelf(address=str(flow.storage)), "x", flow.locks, tmp_path).others()[0].bytes  # type: ignore[arg-type]
    told = Space(10**9, 2 * 10**8 + needed + needed // 2)
    monkeypatch.setattr("eemt.archive.folder.FolderArea.space", lambda _: told)
    second = FinishedSite(two.folder, two.settings, "valley")
    code, _, err = flow.archive(second, work="w2", min_free_percent=20.0)
    last = err.splitlines()[-1]
    assert code == 1 and "no room" in last and "others on their way" in last and "(ridge-" in last
    assert contents(two.folder) == was["valley"] and flow.finished() == []
    # killed, it holds its room on; finished, it gives it back
    assert holder.end(signal.SIGKILL) < 0
    assert flow.archive(second, work="w2", min_free_percent=20.0)[0] == 1
    assert flow.archive(one, work="w1")[0] == 0
    assert flow.archive(second, work="w2", min_free_percent=20.0)[0] == 0
    assert len(flow.finished()) == 2
    for name in flow.finished():
        flow.assert_archived(name, was[name.rpartition("-")[0]])


def test_a_dataset_that_finds_no_room_is_refused_before_anything_is_written(
    tmp_path: Path, call: Call, finished_site: FinishedSite
) -> None:
    flow = Flow(tmp_path, call)
    code, _, err = flow.archive(finished_site, min_free_percent=99.999)
    assert code == 1 and "which would leave" in err.splitlines()[-1]
    assert not list(flow.storage.iterdir())
    entry = flow.entry(flow.journal()["identifier"])
    assert entry and (entry.state, entry.fault) == ("failed", "system") and "no room" in (entry.message or "")
    write(tmp_path / "unrelated", b"")
    assert flow.archive(finished_site)[0] == 0
