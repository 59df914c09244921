"""The catalogue on a real PostgreSQL: the same as on SQLite, and the database locked, gone and back."""

from __future__ import annotations

import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from archive.test_catalogue import (
    archive,
    catalogue,
    kept,
    record,
    test_a_catalogue_is_made_again_from_a_storage_alone,
    test_a_catalogue_of_a_newer_program_is_refused_in_one_line,
    test_a_dataset_that_is_not_there_is_named,
    test_a_failure_is_one_line_and_the_same_one_again_says_how_often,
    test_a_killed_writer_leaves_all_that_it_was_told_is_kept,
    test_an_archived_dataset_stays_archived_whatever_a_second_process_says,
    test_blocks_of_an_earlier_try_are_forgotten,
    test_datasets_are_found_by_any_year_in_common,
    test_datasets_are_found_by_method_site_state_and_words,
    test_datasets_are_found_by_place_across_the_antimeridian_too,
    test_four_processes_at_once_lose_nothing,
    test_identifiers_may_be_shortened_as_long_as_one_alone_begins_so,
    test_nothing_is_archived_whose_blocks_were_not_all_verified,
    test_parameters_are_compared_as_what_they_are,
    test_rebuilding_leaves_alone_what_is_being_archived,
    test_rebuilding_takes_in_no_bag_that_was_exchanged,
    test_rebuilding_twice_forgets_nothing,
    test_states_and_faults_are_kept_with_their_history,
    test_threads_that_write_wait_for_each_other,
    test_values_that_no_json_has_do_not_break_the_catalogue,
    test_what_was_told_stands_there_after_opening_it_again,
)
from eemt.archive.catalogue import Catalogue, open_catalogue
from eemt.archive.errors import StorageError
from eemt.errors import InputError
from service_systems.beds import BEDS, postgresql

BED = BEDS / "postgresql.sh"

# those of SQLite, with the place of this module
__all__ = [
    "catalogue",
    "kept",
    "test_a_catalogue_is_made_again_from_a_storage_alone",
    "test_a_catalogue_of_a_newer_program_is_refused_in_one_line",
    "test_a_dataset_that_is_not_there_is_named",
    "test_a_failure_is_one_line_and_the_same_one_again_says_how_often",
    "test_a_killed_writer_leaves_all_that_it_was_told_is_kept",
    "test_an_archived_dataset_stays_archived_whatever_a_second_process_says",
    "test_blocks_of_an_earlier_try_are_forgotten",
    "test_datasets_are_found_by_any_year_in_common",
    "test_datasets_are_found_by_method_site_state_and_words",
    "test_datasets_are_found_by_place_across_the_antimeridian_too",
    "test_four_processes_at_once_lose_nothing",
    "test_identifiers_may_be_shortened_as_long_as_one_alone_begins_so",
    "test_nothing_is_archived_whose_blocks_were_not_all_verified",
    "test_parameters_are_compared_as_what_they_are",
    "test_rebuilding_leaves_alone_what_is_being_archived",
    "test_rebuilding_takes_in_no_bag_that_was_exchanged",
    "test_rebuilding_twice_forgets_nothing",
    "test_states_and_faults_are_kept_with_their_history",
    "test_threads_that_write_wait_for_each_other",
    "test_values_that_no_json_has_do_not_break_the_catalogue",
    "test_what_was_told_stands_there_after_opening_it_again",
]

PASSWORD = "pass/word@1"


def bed(word: str) -> str:
    done = subprocess.run([BED, word], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def server(require: Callable[..., None]) -> Iterator[URL]:
    require("postgresql", postgresql)
    yield make_url(bed("up").split("'")[1])
    bed("up")


@pytest.fixture
def database(server: URL) -> Iterator[URL]:
    """A database of this test's own, which is removed after it."""
    name = f"eemt_{secrets.token_hex(6)}"
    call(server, f"CREATE DATABASE {name}")
    yield server.set(database=name, password=PASSWORD)
    bed("up")
    call(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def place(database: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is not used, since the environment names the database."""
    monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE", written(database))
    file = tmp_path / "unused.sqlite"
    yield file
    assert not file.exists()


def written(url: URL) -> str:
    """Return an address as people write it, without the name of the driver."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def call(url: URL, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_the_address_may_stand_in_a_file(database: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "address").write_text(f"{written(database)}\n")
    monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE_FILE", str(tmp_path / "address"))
    with open_catalogue(tmp_path / "unused.sqlite") as opened:
        archive(opened, record())
        assert opened.name.startswith("postgresql://") and PASSWORD not in opened.name
    assert not (tmp_path / "unused.sqlite").exists()


def test_looking_makes_no_tables(place: Path):
    with pytest.raises(InputError, match=r"^catalogue: postgresql://.* holds none"):
        open_catalogue(place, make=False)
    with pytest.raises(InputError, match="holds none"):
        open_catalogue(place, make=False)


def test_it_stands_beside_the_tables_of_others(place: Path, database: URL):
    for table in ("events", "dataset", "block"):
        call(database, f"CREATE TABLE {table} (id INTEGER)")
    with open_catalogue(place) as opened:
        assert opened.begin(record()).state == "packing"


def test_the_database_gone_and_back_in_mid_work_loses_nothing(catalogue: Catalogue):
    identifier = catalogue.begin(record()).identifier
    back = threading.Timer(2, bed, ["up"])
    bed("crash")
    back.start()
    try:
        for n in range(5):
            catalogue.event(identifier, "retrieve", "done", str(n))
    finally:
        back.join()
    assert [event.message for event in catalogue.history(identifier)[1:]] == ["0", "1", "2", "3", "4"]


def test_the_database_gone_for_good_is_said_in_one_line_without_its_password(
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "1")
    bed("crash")
    try:
        with pytest.raises(StorageError, match=r"cannot be used: .*\(waited for 1 s\)") as gone:
            catalogue.begin(record())
    finally:
        bed("up")
    assert gone.value.kind == "gone"
    assert "\n" not in str(gone.value) and PASSWORD not in str(gone.value)
    assert catalogue.begin(record()).state == "packing"


def test_a_lock_that_another_holds_is_said_in_one_line_after_a_bounded_wait(
    place: Path, database: URL, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "0.5")
    with open_catalogue(place) as impatient:
        identifier = impatient.begin(record()).identifier
        engine = create_engine(database)
        with engine.begin() as holder:
            holder.execute(text("LOCK TABLE archive_dataset IN EXCLUSIVE MODE"))
            with pytest.raises(StorageError, match=r"lock timeout.*\(waited for 0.5 s\)") as locked:
                impatient.event(identifier, "retrieve", "done")
            assert len(impatient.search()) == 1  # who reads waits for nobody
        engine.dispose()
        assert (locked.value.kind, "\n" in str(locked.value)) == ("gone", False)
        impatient.event(identifier, "retrieve", "done")


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"database": "eemt_nowhere"}, "gone", "does not exist"),
        ({"username": "eemt_nobody"}, "gone", "does not exist"),
    ],
)
def test_what_no_waiting_helps_is_said_at_once(
    database: URL, change, kind, said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE", written(database.set(**change)))
    with pytest.raises(StorageError, match=said) as error:
        open_catalogue(tmp_path / "unused.sqlite")
    assert error.value.kind == kind
    assert "waited" not in str(error.value) and PASSWORD not in str(error.value) and "\n" not in str(error.value)


def test_who_may_not_write_is_told_so(place: Path, database: URL, monkeypatch: pytest.MonkeyPatch):
    open_catalogue(place).close()
    reader = f"reader_{secrets.token_hex(4)}"
    call(database, f"CREATE ROLE {reader} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")
    try:
        monkeypatch.setenv("EEMT_ARCHIVE_CATALOGUE", written(database.set(username=reader)))
        with open_catalogue(place, make=False) as reading:
            assert reading.search() == []
            with pytest.raises(StorageError, match="permission denied") as denied:
                reading.begin(record())
            assert denied.value.kind == "denied"
    finally:
        call(database, f"DROP OWNED BY {reader}; DROP ROLE {reader}")


def test_a_catalogue_goes_on_after_many_openings(place: Path):
    """Connections are closed: a server takes about a hundred."""
    opened: list[Callable[[], None]] = []
    for _ in range(60):
        one = open_catalogue(place)
        one.search()
        opened.append(one.close)
        one.close()
    with open_catalogue(place) as last:
        assert last.begin(record()).state == "packing"
