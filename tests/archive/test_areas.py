"""A folder as a place for files, and what all places have in common."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive.writers import KILLED_WRITER
from eemt.archive import areas
from eemt.archive.areas import PIECE, Waiting, counted, open_area, patience
from eemt.archive.errors import StorageError
from eemt.errors import InputError

NAMES_THAT_LEAD_OUT = ("", "../a", "a/../b", "/etc/passwd", "a//b", "./a", "a/", "a\\b", "a\nb", "a\x00b", "..")


@pytest.fixture
def area(tmp_path: Path) -> areas.Area:
    root = tmp_path / "storage"
    root.mkdir()
    return open_area(str(root))


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_put_is_read_back(area: areas.Area) -> None:
    content = os.urandom(3 * PIECE + 17)
    area.put(
        "set/data/0001.tar", (content[start : start + 1000] for start in range(0, len(content), 1000)), len(content)
    )
    assert b"".join(area.read("set/data/0001.tar")) == content
    assert area.size("set/data/0001.tar") == len(content)
    assert area.names() == ["set/data/0001.tar"]


def test_a_file_of_no_bytes_is_a_file(area: areas.Area) -> None:
    area.put("set/empty", [], 0)
    assert area.size("set/empty") == 0
    assert list(area.read("set/empty")) == []
    assert area.names("set/") == ["set/empty"]


def test_a_later_file_replaces_an_earlier_one_whole(area: areas.Area) -> None:
    area.put("a", [b"a long first version"], 20)
    area.put("a", [b"second"], 6)
    assert b"".join(area.read("a")) == b"second"


@pytest.mark.parametrize("came", [b"ab", b"abcd"])
def test_a_file_of_another_size_than_announced_is_not_kept(area: areas.Area, tmp_path: Path, came: bytes) -> None:
    area.put("a", [b"old"], 3)
    with pytest.raises(StorageError, match="3 bytes were to be written") as told:
        area.put("a", [came], 3)
    assert told.value.kind == "corrupt"
    assert b"".join(area.read("a")) == b"old"
    assert everything_in(tmp_path / "storage") == ["a"]


def test_a_source_that_fails_leaves_nothing_and_its_error_as_it_is(area: areas.Area, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(10)
        raise InputError("the source changed")

    def unreadable() -> Iterator[bytes]:
        yield bytes(10)
        raise PermissionError(13, "Permission denied", "/source")

    with pytest.raises(InputError, match="the source changed"):
        area.put("set/data/a", pieces(), 20)
    with pytest.raises(PermissionError, match="/source"):
        area.put("set/data/a", unreadable(), 20)
    assert everything_in(tmp_path / "storage") == []


def test_names_are_sorted_and_begin_with_the_prefix(area: areas.Area) -> None:
    for name in ("b/2", "b/10", "b/data/1", "a", "bc", "ba/1"):
        area.put(name, [b"x"], 1)
    assert area.names() == ["a", "b/10", "b/2", "b/data/1", "ba/1", "bc"]
    assert area.names("b/") == ["b/10", "b/2", "b/data/1"]
    assert area.names("b") == ["b/10", "b/2", "b/data/1", "ba/1", "bc"]
    assert area.names("b/d") == ["b/data/1"]
    assert area.names("nothing/at/all/") == []


def test_to_remove_a_file_takes_its_emptied_folders_along(area: areas.Area, tmp_path: Path) -> None:
    area.put("set/data/1", [b"x"], 1)
    area.put("set/other", [b"x"], 1)
    area.remove("set/data/1")
    assert everything_in(tmp_path / "storage") == ["set", "set/other"]
    area.remove("set/other")
    area.remove("set/other")
    assert everything_in(tmp_path / "storage") == []
    assert (tmp_path / "storage").is_dir()


@pytest.mark.parametrize("name", NAMES_THAT_LEAD_OUT)
def test_names_that_lead_out_are_refused(area: areas.Area, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        area.put(name, [], 0)
    with pytest.raises(InputError, match="cannot be the name"):
        next(area.read(name), None)
    with pytest.raises(InputError, match="cannot be the name"):
        area.size(name)
    with pytest.raises(InputError, match="cannot be the name"):
        area.remove(name)


def test_prefixes_that_lead_out_are_refused(area: areas.Area) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        area.names("../")
    with pytest.raises(InputError, match="cannot be the name"):
        area.clear_leftovers("/")


def test_an_absent_file_is_gone(area: areas.Area) -> None:
    assert area.size("set/none") is None
    with pytest.raises(StorageError, match="set/none: No such file") as told:
        next(area.read("set/none"))
    assert told.value.kind == "gone"


def test_a_killed_writer_leaves_nothing_listed_and_its_rest_can_be_cleared(area: areas.Area, tmp_path: Path) -> None:
    root = tmp_path / "storage"
    area.put("set/bagit.txt", [b"x"], 1)
    command = [sys.executable, "-c", KILLED_WRITER, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        # while its writer lives, it is no leftover
        area.clear_leftovers("set/")
        assert len(list((root / "set" / "data").iterdir())) == 1
        writer.send_signal(signal.SIGKILL)
    assert area.names() == ["set/bagit.txt"]
    assert area.size("set/data/0001.tar") is None
    area.clear_leftovers("other/")
    assert len(list((root / "set" / "data").iterdir())) == 1
    area.clear_leftovers("set/")
    assert everything_in(root) == ["set", "set/bagit.txt"]


def test_a_file_that_is_cut_while_it_is_read_is_corrupt(area: areas.Area, tmp_path: Path) -> None:
    area.put("a", [bytes(PIECE)] * 3, 3 * PIECE)
    reading = area.read("a")
    next(reading)
    os.truncate(tmp_path / "storage" / "a", PIECE + 10)
    with pytest.raises(StorageError, match="changed while it was read") as told:
        list(reading)
    assert told.value.kind == "corrupt"


def test_a_folder_in_a_files_place_is_no_file(area: areas.Area) -> None:
    area.put("set/a", [b"x"], 1)
    assert area.size("set") is None
    with pytest.raises(StorageError, match="is no file"):
        next(area.read("set"))
    with pytest.raises(StorageError):
        area.put("set", [b"x"], 1)
    assert area.names() == ["set/a"]


def test_a_missing_storage_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "mount" / "storage"
    with pytest.raises(StorageError, match="is its disk or share mounted") as told:
        open_area(str(root))
    assert told.value.kind == "gone"
    assert not root.exists()
    open_area(str(root), make_root=True).put("a", [b"x"], 1)
    assert (root / "a").read_bytes() == b"x"


def test_a_storage_that_goes_away_is_gone_and_not_made_anew(area: areas.Area, tmp_path: Path) -> None:
    area.put("a", [b"x"], 1)
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    for call in (
        lambda: area.put("b", [b"x"], 1),
        area.names,
        area.space,
        lambda: area.size("a"),
        lambda: area.remove("a"),
    ):
        with pytest.raises(StorageError, match="is its disk or share mounted") as told:
            call()
        assert told.value.kind == "gone"
    assert not (tmp_path / "storage").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_denied(area: areas.Area, tmp_path: Path) -> None:
    (tmp_path / "storage").chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied") as told:
        area.put("a", [b"x"], 1)
    assert told.value.kind == "denied"


def test_the_room_of_a_folder_is_that_of_its_file_system(area: areas.Area, tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    space = area.space()
    assert space is not None
    assert space.total == found.f_blocks * found.f_frsize
    assert 0 < space.free <= space.total


def test_what_is_used_is_the_bytes_of_all_files(area: areas.Area) -> None:
    assert area.used() == 0
    area.put("set/data/0001.tar", [b"12345"], 5)
    area.put("set/a", [b"123"], 3)
    assert area.used() == 8


def test_a_folder_has_no_links(area: areas.Area) -> None:
    area.put("a", [b"x"], 1)
    assert area.link("a", 60) is None


def test_writers_of_different_files_of_one_folder_do_not_disturb_each_other(area: areas.Area) -> None:
    def write_and_remove(number: int) -> None:
        for _ in range(50):
            area.put(f"set/data/{number}", [bytes(100)], 100)
            area.remove(f"set/data/{number}")
        area.put(f"set/data/{number}", [b"last"], 4)

    failed: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            write_and_remove(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert area.names() == [f"set/data/{number}" for number in range(4)]


def test_without_locks_on_the_share_leftovers_are_cleared_all_the_same(
    area: areas.Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    area.put("set/a", [b"x"], 1)
    (tmp_path / "storage" / "set" / ".eemt-0123456789abcdef.part").touch()
    area.clear_leftovers("set/")
    assert everything_in(tmp_path / "storage") == ["set", "set/a"]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://", "s3://bucket/folder"),
        ("s3://Upper/x", "in lower case"),
        ("s3://bucket/a/../b", "without '..'"),
        ("ftp://host/x", "no place for files"),
        ("", "no place for files"),
        ("rclone:remote", "rclone:remote:folder"),
    ],
)
def test_addresses_that_cannot_be_used_are_refused(address: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        open_area(address)


@pytest.mark.parametrize(
    "address",
    [
        "rclone::s3,access_key_id=AKIA,secret_access_key=hunter2:b",
        "rclone:r,pass=hunter2:b",
        "https://me:hunter2@host/x",
    ],
)
def test_addresses_with_secrets_are_refused_without_telling_them(address: str) -> None:
    with pytest.raises(InputError) as told:
        open_area(address)
    assert "hunter2" not in str(told.value)


def test_more_bytes_than_announced_are_not_passed_on() -> None:
    passed = counted([b"ab", b"cd"], 3, "here")
    assert next(passed) == b"ab"
    with pytest.raises(StorageError, match="here: 3 bytes were to be written, more came"):
        next(passed)


def test_patience_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EEMT_ARCHIVE_PATIENCE", raising=False)
    assert patience() == areas.PATIENCE
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "0")
    assert patience() == 0
    assert not Waiting().again("here")
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "long")
    with pytest.raises(InputError, match="EEMT_ARCHIVE_PATIENCE is 'long'"):
        patience()


def test_a_wait_ends_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "600")
    stopped = threading.Event()
    stopped.set()
    assert not Waiting(stopped).again("here")
