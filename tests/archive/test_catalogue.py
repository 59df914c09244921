"""The catalogue loses nothing that it was told, and finds it again."""

from __future__ import annotations

import hashlib
import math
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from archive.bags import SITE, Stored, make_site, store
from eemt.archive.areas import open_area
from eemt.archive.blocks import Packed
from eemt.archive.catalogue import Catalogue, open_catalogue
from eemt.archive.database import Database, catalogue_address
from eemt.archive.errors import StorageError
from eemt.archive.record import Record
from eemt.archive.tables import VERSION
from eemt.errors import InputError

BLOCKS = [Packed(f"data/000{n}.tar", 1000 * n, hashlib.sha256(b"%d" % n).hexdigest()) for n in (1, 2, 3)]
SEAL = "5" * 64


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EEMT_ARCHIVE_CATALOGUE", "EEMT_ARCHIVE_CATALOGUE_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "archive" / "catalogue.sqlite"


@pytest.fixture
def catalogue(place: Path) -> Iterator[Catalogue]:
    with open_catalogue(place) as opened:
        yield opened


def record(identifier: str = "ridge-0123456789ab", **changes: Any) -> Record:
    values: dict[str, Any] = {
        "identifier": identifier,
        "site": identifier.rpartition("-")[0],
        "title": "EEMT of a ridge",
        "description": "",
        "created": "2023-11-14T22:13:20+00:00",
        "bbox": (-105.4, 39.9, -105.2, 40.1),
        "period": (2001, 2003),
        "kind": "eemt",
        "methods": ("trad", "topo"),
        "parameters": {"sun.linke": 2.0, "climate.source": "daymet", "eemt.keep": []},
        "versions": {"eemt": "0.1.0"},
        "licence": "CC-BY-4.0",
        "publisher": "Büro für Täler",
        "creators": ("Catchment Survey",),
        "contact": None,
        "files": 13,
        "bytes": 123_456,
        "tiles": False,
        "program": "eemt 0.1.0",
        "sources": (),
    }
    return Record(**{**values, **changes})


def archive(catalogue: Catalogue, of: Record, storage: str = "/long/term") -> str:
    catalogue.begin(of)
    for block in BLOCKS:
        catalogue.block_verified(of.identifier, block)
    catalogue.archived(of.identifier, storage, SEAL)
    return of.identifier


def found(entries: list[Any]) -> list[str]:
    return [entry.site for entry in entries]


def test_what_was_told_stands_there_after_opening_it_again(catalogue, place):
    identifier = archive(catalogue, record())
    with open_catalogue(place, make=False) as again:
        entry = again.get(identifier)
        assert (entry.state, entry.fault, entry.storage) == ("archived", None, "/long/term")
        assert (entry.bbox, entry.years, entry.methods) == (
            (-105.4, 39.9, -105.2, 40.1),
            (2001, 2003),
            ("trad", "topo"),
        )
        assert entry.created.isoformat() == "2023-11-14T22:13:20+00:00"
        assert entry.archived_at.utcoffset().total_seconds() == 0
        assert Record.model_validate(dict(entry.record)) == record()
        assert [block[:3] for block in again.blocks(identifier)] == [tuple(block) for block in BLOCKS]
        assert [(event.step, event.outcome) for event in again.history(identifier)] == [
            ("packing", "begun"),
            ("archived", "done"),
        ]


def test_states_and_faults_are_kept_with_their_history(catalogue):
    identifier = catalogue.begin(record()).identifier
    catalogue.state(identifier, "moving")
    catalogue.state(identifier, "failed", "system", "the storage\nis full")
    entry = catalogue.get(identifier)
    assert (entry.state, entry.fault, entry.message) == ("failed", "system", "the storage is full")
    assert [event[1:] for event in catalogue.history(identifier)] == [
        ("packing", "begun", None),
        ("moving", "done", None),
        ("failed", "system error", "the storage is full"),
    ]
    assert catalogue.begin(record()).state == "packing"
    assert catalogue.get(identifier).message is None


def test_a_failure_is_one_line_and_the_same_one_again_says_how_often(catalogue):
    identifier = catalogue.begin(record()).identifier
    for message in ("no room", "no room", "no room", "it is gone", "no room"):
        catalogue.begin(record())
        catalogue.state(identifier, "moving")
        catalogue.failed(identifier, "move", "system", f"{message}:\n3 of 7")
        entry = catalogue.get(identifier)
        assert (entry.state, entry.fault, entry.message) == ("failed", "system", f"{message}: 3 of 7")
    lines = [line for line in catalogue.history(identifier) if line.outcome == "system error"]
    since = re.compile(r"no room: 3 of 7 \(3 times since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)")
    assert since.fullmatch(lines[0].message)
    assert [line.message for line in lines[1:]] == ["it is gone: 3 of 7", "no room: 3 of 7"]
    # tries that came to nothing else are not told of line by line
    assert sum(line.outcome == "begun" for line in catalogue.history(identifier)) == 3
    # what happened in between is never forgotten
    catalogue.event(identifier, "rebuild", "known")
    catalogue.failed(identifier, "move", "system", "no room: 3 of 7")
    assert [line.step for line in catalogue.history(identifier)][-3:] == ["move", "rebuild", "move"]
    # another fault, or another step, is another line
    catalogue.failed(identifier, "move", "user", "no room: 3 of 7")
    catalogue.failed(identifier, "pack", "user", "no room: 3 of 7")
    assert [line.step for line in catalogue.history(identifier)][-3:] == ["move", "move", "pack"]


def test_a_failure_of_what_is_archived_is_history_alone(catalogue):
    identifier = archive(catalogue, record())
    for _ in range(2):
        catalogue.failed(identifier, "pack", "user", "a file has changed")
    assert catalogue.get(identifier).state == "archived"
    assert [line.step for line in catalogue.history(identifier)][-2:] == ["archived", "pack"]
    assert "(2 times since" in catalogue.history(identifier)[-1].message


def test_nothing_is_archived_whose_blocks_were_not_all_verified(catalogue):
    identifier = catalogue.begin(record()).identifier
    with pytest.raises(ValueError, match="no block"):
        catalogue.archived(identifier, "/long/term", SEAL)
    catalogue.block_verified(identifier, BLOCKS[0])
    with pytest.raises(ValueError, match=r"data/0002.tar"):
        catalogue.archived(identifier, "/long/term", SEAL, BLOCKS[:2])
    # the same name with other bytes was not verified
    with pytest.raises(ValueError, match=r"data/0001.tar"):
        catalogue.archived(identifier, "/long/term", SEAL, [BLOCKS[0]._replace(sha256="6" * 64)])
    with pytest.raises(ValueError, match="archived is no state to be set"):
        catalogue.state(identifier, "archived")
    assert catalogue.get(identifier).state == "packing"


def test_blocks_of_an_earlier_try_are_forgotten(catalogue):
    identifier = catalogue.begin(record()).identifier
    for block in BLOCKS:
        catalogue.block_verified(identifier, block)
    catalogue.archived(identifier, "/long/term", SEAL, BLOCKS[:1])
    assert [block.name for block in catalogue.blocks(identifier)] == ["data/0001.tar"]


def test_an_archived_dataset_stays_archived_whatever_a_second_process_says(catalogue):
    identifier = archive(catalogue, record())
    before = catalogue.get(identifier)
    assert catalogue.begin(record()).state == "archived"
    catalogue.state(identifier, "failed", "user", "a file has changed")
    catalogue.archived(identifier, "/long/term", SEAL)
    assert catalogue.get(identifier) == before
    assert catalogue.history(identifier)[-1].message == "a file has changed"
    assert catalogue.begin(record(), again=True).state == "packing"


def test_a_dataset_that_is_not_there_is_named(catalogue):
    assert catalogue.get("ridge") is None
    assert catalogue.get("") is None
    with pytest.raises(InputError, match="does not hold ridge-0123456789ab"):
        catalogue.event("ridge-0123456789ab", "retrieve", "done")


def test_identifiers_may_be_shortened_as_long_as_one_alone_begins_so(catalogue):
    for name in ("ridge-0123456789ab", "ridge-01ffffffffff", "ridge_2-0123456789ab", "Ridge-aaaaaaaaaaaa"):
        catalogue.begin(record(name))
    assert catalogue.get("ridge-012").identifier == "ridge-0123456789ab"
    assert catalogue.get("Ridge").identifier == "Ridge-aaaaaaaaaaaa"
    assert catalogue.get("ridge_").identifier == "ridge_2-0123456789ab"
    assert catalogue.get("%") is None
    with pytest.raises(InputError, match=r"2 datasets begin with ridge-01: ridge-0123456789ab, ridge-01ffffffffff; "):
        catalogue.get("ridge-01")


PLACES = {
    "colorado": (-105.4, 39.9, -105.2, 40.1),
    "fiji": (179.2, -17.5, -179.5, -16.0),  # across the antimeridian
    "taveuni": (179.9, -17.0, 180.0, -16.7),
    "tonga": (-175.4, -21.3, -175.0, -21.0),
}


@pytest.mark.parametrize(
    ("box", "sites"),
    [
        ((-106, 39, -105.3, 40), ["colorado"]),
        ((-105.2, 40.1, -100, 45), ["colorado"]),  # a corner in common
        ((-105.19, 39, -100, 45), []),
        ((178, -18, -179.9, -16.5), ["fiji", "taveuni"]),
        ((-179.8, -18, -179, -16), ["fiji"]),
        ((-180, -18, -179.9, -16), ["fiji", "taveuni"]),  # 180 and -180 are the same
        ((179.5, -18, 179.7, -16), ["fiji"]),
        ((170, -22, -170, -15), ["fiji", "taveuni", "tonga"]),
        ((-180, -90, 180, 90), ["colorado", "fiji", "taveuni", "tonga"]),
        ((10, -22, -170, -15), ["fiji", "taveuni", "tonga"]),
    ],
)
def test_datasets_are_found_by_place_across_the_antimeridian_too(catalogue, box, sites):
    for number, (name, bbox) in enumerate(PLACES.items()):
        catalogue.begin(record(f"{name}-{number:012x}", bbox=bbox))
    catalogue.begin(record("nowhere-0123456789ab", bbox=None))
    assert sorted(found(catalogue.search(bbox=box))) == sites


def test_datasets_are_found_by_any_year_in_common(catalogue):
    catalogue.begin(record("one-000000000001", period=(1981, 2010)))
    catalogue.begin(record("two-000000000002", period=(2003, 2003)))
    catalogue.begin(record("sun-000000000003", period=None, kind="sun", methods=()))
    assert found(catalogue.search(years=(2003, 2003))) == ["one", "two"]
    assert found(catalogue.search(years=(2010, 2020))) == ["one"]
    assert found(catalogue.search(years=(1900, 1980))) == []


def test_datasets_are_found_by_method_site_state_and_words(catalogue):
    catalogue.begin(record("one-000000000001"))
    catalogue.begin(record("two-000000000002", methods=("veg",), title="Ridges of the north"))
    archive(catalogue, record("two-000000000003", publisher=None))
    assert found(catalogue.search(method="veg")) == ["two"]
    assert found(catalogue.search(site="one")) == ["one"]
    assert [entry.identifier for entry in catalogue.search(state="archived", site="two")] == ["two-000000000003"]
    assert found(catalogue.search(text="BÜRO täler")) == ["one", "two"]
    assert found(catalogue.search(text="north ridges")) == ["two"]
    assert found(catalogue.search(text="two-0000")) == ["two", "two"]
    assert found(catalogue.search(text="nowhere")) == []


@pytest.mark.parametrize(
    ("wanted", "sites"),
    [
        ({"sun.linke": 2}, ["a", "b"]),
        ({"sun.linke": 2.0}, ["a", "b"]),
        ({"sun.linke": "2"}, ["a", "b"]),
        ({"sun.linke": 3}, ["c"]),  # one of twelve
        ({"sun.linke": [3, 4]}, ["c"]),
        ({"sun.linke": [4, 3]}, []),
        ({"sun.linke": 0.3}, ["d"]),
        ({"sun.linke": 2, "climate.source": "grid"}, ["b"]),
        ({"eemt.keep": "pet"}, ["c"]),
        ({"eemt.parts": True}, ["a"]),
        ({"eemt.parts": 1}, []),  # true is no number
        ({"sun.linkee": 2}, []),
        ({"climate.lapse.tmin": 5}, ["d"]),
        ({"climate.lapse.tmax": 5}, []),
    ],
)
def test_parameters_are_compared_as_what_they_are(catalogue, wanted, sites):
    for name, parameters in {
        "a": {"sun.linke": 2.0, "climate.source": "daymet", "eemt.parts": True},
        "b": {"sun.linke": 2, "climate.source": "grid"},
        "c": {"sun.linke": [3.0, 4.0], "eemt.keep": ["pet", "aet"]},
        "d": {"sun.linke": 0.1 + 0.2, "eemt.parts": False, "climate.lapse": {"tmin": 5.0}},
    }.items():
        catalogue.begin(record(f"{name}-000000000001", parameters=parameters))
    assert sorted(found(catalogue.search(parameters=wanted))) == sites


def test_values_that_no_json_has_do_not_break_the_catalogue(catalogue):
    entry = catalogue.begin(record(parameters={"sun.linke": math.nan}, created=""))
    assert (entry.parameters, entry.created) == ({"sun.linke": None}, None)


def own_environment() -> dict[str, str]:
    """Return the environment of a process that finds the tests' modules."""
    tests = Path(__file__).parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}


WRITER = """
import sys
from eemt.archive.blocks import Packed
from eemt.archive.catalogue import open_catalogue
from archive.test_catalogue import record
place, number = sys.argv[1], int(sys.argv[2])
with open_catalogue(place) as catalogue:
    for n in range(10):
        own = f"site{number}-{n:012x}"
        for identifier in (own, "shared-0123456789ab"):
            catalogue.begin(record(identifier))
            catalogue.block_verified(identifier, Packed(f"data/{number}{n:03d}.tar", n, "7" * 64))
        catalogue.event("shared-0123456789ab", "retrieve", "done", f"{number} {n}")
        catalogue.archived(own, "/long/term", "5" * 64)
"""


def test_four_processes_at_once_lose_nothing(place):
    """They also all find that there is no catalogue yet."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, place, str(n)], env=own_environment(), stderr=subprocess.PIPE)
        for n in range(4)
    ]
    errors = [writer.communicate(timeout=300)[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, errors
    with open_catalogue(place, make=False) as catalogue:
        assert len(catalogue.search(state="archived")) == 40
        shared = "shared-0123456789ab"
        assert len(catalogue.blocks(shared)) == 40
        told = [event.message for event in catalogue.history(shared) if event.step == "retrieve"]
        assert sorted(told) == sorted(f"{writer} {n}" for writer in range(4) for n in range(10))
        assert sum(event.step == "packing" for event in catalogue.history(shared)) == 1


ENDLESS = """
import itertools, sys
from eemt.archive.catalogue import open_catalogue
from archive.test_catalogue import record
with open_catalogue(sys.argv[1]) as catalogue:
    identifier = catalogue.begin(record()).identifier
    for n in itertools.count():
        catalogue.event(identifier, "retrieve", "done", str(n))
        print(n, flush=True)
"""


def test_a_killed_writer_leaves_all_that_it_was_told_is_kept(place):
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, place], env=own_environment(), stdout=subprocess.PIPE, text=True
    ) as writer:
        for line in writer.stdout:
            if int(line) >= 20:
                writer.kill()
                break
        last = int((writer.stdout.read().split() or [line])[-1])
    with open_catalogue(place, make=False) as catalogue:
        identifier = catalogue.get("ridge").identifier
        told = [event.message for event in catalogue.history(identifier)[1:]]
        # what it had no time to say may be kept too
        assert told[: last + 1] == [str(n) for n in range(last + 1)] and len(told) <= last + 2
        catalogue.event(identifier, "retrieve", "done")


def test_threads_that_write_wait_for_each_other(catalogue):
    identifier = catalogue.begin(record()).identifier
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: catalogue.event(identifier, "retrieve", "done", str(n)), range(100)))
    assert len(catalogue.history(identifier)) == 101


def test_a_catalogue_of_a_newer_program_is_refused_in_one_line(place):
    open_catalogue(place).close()
    database = Database(catalogue_address(place))
    database.write(lambda session: session.execute(text(f"UPDATE archive_form SET version = {VERSION + 1}")))
    database.close()
    with pytest.raises(
        InputError, match=rf"is of a newer eemt \(its tables are of version {VERSION + 1}.*upgrade"
    ) as no:
        open_catalogue(place)
    assert "\n" not in str(no.value)


def test_looking_into_a_catalogue_that_is_not_there_makes_none(place):
    with pytest.raises(InputError, match=r"catalogue.sqlite holds none; `eemt archive` makes it"):
        open_catalogue(place, make=False)
    assert not place.exists()


def test_a_database_of_something_else_is_left_alone(tmp_path):
    other = tmp_path / "other.gpkg"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE forests (id INTEGER)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(InputError, match="is a database of something else"):
        open_catalogue(other)
    with pytest.raises(InputError, match="holds none"):
        open_catalogue(other, make=False)
    with sqlite3.connect(other) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("forests",)]
    connection.close()
    assert len(before) == other.stat().st_size


def test_a_locked_catalogue_is_said_in_one_line_after_a_bounded_wait(place, monkeypatch):
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "0.5")
    with open_catalogue(place) as impatient:
        holder = sqlite3.connect(place, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(StorageError, match=r"database is locked \(waited for 0.5 s\)") as locked:
                impatient.begin(record())
            assert impatient.search() == []  # who reads waits for nobody
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        assert (locked.value.kind, "\n" in str(locked.value)) == ("gone", False)
        impatient.begin(record())


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [(b"no database\n" * 100, "corrupt", "not a database"), (None, "gone", "unable to open")],
)
def test_a_file_that_is_no_catalogue_is_said_in_one_line(tmp_path, content, kind, said):
    place = tmp_path / "catalogue.sqlite"
    if content:
        place.write_bytes(content)
    else:
        place.mkdir()
    with pytest.raises(StorageError, match=said) as error:
        open_catalogue(place)
    assert (error.value.kind, "\n" in str(error.value)) == (kind, False)


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot be made: .*/file is no folder"):
        open_catalogue(tmp_path / "file" / "catalogue.sqlite")


def test_a_database_that_is_not_there_is_said_without_its_password(monkeypatch, tmp_path):
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "0")
    monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE", "postgresql://me:s3cret@127.0.0.1:9/maps?application_name=s3cret")
    with pytest.raises(StorageError, match=r"postgresql://127.0.0.1/maps cannot be used: .*refused") as gone:
        open_catalogue(tmp_path / "unused.sqlite")
    assert gone.value.kind == "gone"
    assert "s3cret" not in str(gone.value) and "\n" not in str(gone.value)


def test_the_address_comes_from_the_environment_or_from_a_file_that_it_names(monkeypatch, tmp_path):
    named = tmp_path / "address"
    monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE_FILE", str(named))
    with pytest.raises(InputError, match=r"address cannot be read: No such file"):
        catalogue_address("a.sqlite")
    for bad in ("", "one\ntwo\n"):
        named.write_text(bad)
        with pytest.raises(InputError, match=r"address has to hold one line"):
            catalogue_address("a.sqlite")
    named.write_text("postgresql://me:s3cret@there/maps\n")
    assert catalogue_address("a.sqlite") == "postgresql://me:s3cret@there/maps"
    monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE", "b.sqlite")
    assert catalogue_address("a.sqlite") == "b.sqlite"


@pytest.mark.parametrize(
    "address", ["mysql://me:s3cret@there/maps", "postgresql://me:s3cret@there:port/maps", "x://s3cret"]
)
def test_an_address_that_cannot_be_used_is_not_repeated(monkeypatch, tmp_path, address):
    monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE", address)
    with pytest.raises(InputError, match="EEMT_ARCHIVE_CATALOGUE: is neither") as no:
        open_catalogue(tmp_path / "a.sqlite")
    assert "s3cret" not in str(no.value)


def test_an_address_with_a_password_does_not_stand_in_the_settings():
    with pytest.raises(InputError, match="has to be in the environment variable EEMT_ARCHIVE_CATALOGUE") as no:
        catalogue_address("postgresql://me:s3cret@there/maps")
    assert "s3cret" not in str(no.value)


@pytest.fixture
def kept(tmp_path: Path) -> Stored:
    return store(make_site(tmp_path / "results" / SITE), tmp_path / "storage")


def test_a_catalogue_is_made_again_from_a_storage_alone(catalogue, kept):
    rebuilt = catalogue.rebuild(kept.area)
    assert rebuilt == ([kept.identifier], {})
    entry = catalogue.get("ridge")
    assert Record.model_validate(dict(entry.record)) == kept.bag.record
    assert (entry.state, entry.storage) == ("archived", kept.area.address)
    assert entry.archived_at.isoformat() == "2023-11-15T08:00:00+00:00"
    assert entry.tagmanifest_sha256 == kept.bag.tagmanifest
    blocks = catalogue.blocks(kept.identifier)
    assert [block[:3] for block in blocks] == [tuple(one) for one in kept.bag.packed]
    assert len(blocks) > 1 and {block.verified_at for block in blocks} == {None}


def test_rebuilding_passes_over_what_is_not_of_the_archive(catalogue, kept):
    (Path(kept.area.address) / "lost+found").mkdir()
    (Path(kept.area.address) / "lost+found" / "1").write_text("")
    (Path(kept.area.address) / "notes.txt").write_text("")
    assert catalogue.rebuild(kept.area) == ([kept.identifier], {})


def test_rebuilding_twice_forgets_nothing(catalogue, kept):
    catalogue.rebuild(kept.area)
    catalogue.block_verified(kept.identifier, kept.bag.packed[0])
    before = catalogue.blocks(kept.identifier)
    assert catalogue.rebuild(open_area(kept.area.address)).taken == [kept.identifier]
    assert catalogue.blocks(kept.identifier) == before


def test_rebuilding_from_a_storage_that_was_moved_finds_it_at_its_new_place(catalogue, kept, tmp_path):
    catalogue.rebuild(kept.area)
    (tmp_path / "storage").rename(tmp_path / "moved")
    assert catalogue.rebuild(open_area(str(tmp_path / "moved"))).taken == [kept.identifier]
    assert catalogue.get(kept.identifier).storage == str(tmp_path / "moved")


def left_out(change: Callable[[Stored], None], catalogue: Catalogue, kept: Stored) -> str:
    change(kept)
    rebuilt = catalogue.rebuild(kept.area)
    assert rebuilt.taken == [] and list(rebuilt.left_out) == [kept.identifier]
    return rebuilt.left_out[kept.identifier]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tagmanifest-sha256.txt", None, "is not finished: it has no tagmanifest-sha256.txt"),
        ("metadata/record.json", b"{}", "metadata/record.json is corrupt"),
        ("metadata/blocks.csv", None, "blocks.csv"),
    ],
)
def test_rebuilding_names_and_leaves_out_what_is_unfinished_or_damaged(catalogue, kept, name, content, said):
    def change(stored: Stored) -> None:
        path = stored.folder / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    assert said in left_out(change, catalogue, kept)
    assert catalogue.search() == []


def test_rebuilding_takes_in_no_bag_that_was_exchanged(catalogue, kept):
    catalogue.begin(kept.bag.record)
    for packed in kept.bag.packed:
        catalogue.block_verified(kept.identifier, packed)
    catalogue.archived(kept.identifier, kept.area.address, SEAL)
    said = left_out(lambda _: None, catalogue, kept)
    assert "is not the bag that the catalogue remembers" in said
    assert catalogue.get(kept.identifier).tagmanifest_sha256 == SEAL


def test_rebuilding_leaves_alone_what_is_being_archived(catalogue, kept):
    catalogue.begin(kept.bag.record)
    catalogue.state(kept.identifier, "verifying")
    assert "is verifying, says the catalogue" in left_out(lambda _: None, catalogue, kept)
    assert catalogue.get(kept.identifier).state == "verifying"
