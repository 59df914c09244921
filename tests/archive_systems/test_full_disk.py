"""A disk that is full, read-only or unmounted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from eemt.archive.areas import PIECE, open_area
from eemt.archive.errors import StorageError


def test_a_full_disk_is_told_and_nothing_of_the_file_is_left(small_disk: Path) -> None:
    area = open_area(str(small_disk))
    area.put("set/data/0001.tar", [bytes(PIECE)] * 5, 5 * PIECE)
    with pytest.raises(StorageError, match=r"set/data/0002\.tar: No space left on device") as told:
        area.put("set/data/0002.tar", [bytes(PIECE)] * 5, 5 * PIECE)
    assert told.value.kind == "full"
    assert [path.name for path in small_disk.rglob("*") if path.is_file()] == ["0001.tar"]
    assert sum(map(len, area.read("set/data/0001.tar"))) == 5 * PIECE


def test_after_room_is_made_the_next_attempt_succeeds(small_disk: Path) -> None:
    area = open_area(str(small_disk))
    area.put("old", [bytes(PIECE)] * 5, 5 * PIECE)
    with pytest.raises(StorageError):
        area.put("new", [bytes(PIECE)] * 5, 5 * PIECE)
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    area.put("new", [bytes(PIECE)] * 5, 5 * PIECE)
    assert area.names() == ["new", "old"]


def test_a_full_disk_keeps_the_older_file(small_disk: Path) -> None:
    area = open_area(str(small_disk))
    area.put("a", [b"older"], 5)
    with pytest.raises(StorageError):
        area.put("a", [bytes(PIECE)] * 20, 20 * PIECE)
    assert b"".join(area.read("a")) == b"older"


def test_the_room_of_a_small_disk_is_told(small_disk: Path) -> None:
    area = open_area(str(small_disk))
    before = area.space()
    area.put("a", [bytes(PIECE)] * 2, 2 * PIECE)
    after = area.space()
    assert before is not None and after is not None
    assert before.total == after.total == 8 * PIECE
    assert before.free - after.free == 2 * PIECE


def test_a_read_only_disk_is_denied(small_disk: Path) -> None:
    area = open_area(str(small_disk))
    area.put("a", [b"x"], 1)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for call in (lambda: area.put("b", [b"x"], 1), lambda: area.remove("a")):
        with pytest.raises(StorageError, match="Read-only file system") as told:
            call()
        assert told.value.kind == "denied"
    assert b"".join(area.read("a")) == b"x"


def test_a_storage_below_an_unmounted_disk_is_gone_and_not_made_anew(small_disk: Path) -> None:
    (small_disk / "storage").mkdir()
    area = open_area(str(small_disk / "storage"))
    area.put("set/a", [b"x"], 1)
    subprocess.run(["umount", small_disk], check=True)
    with pytest.raises(StorageError, match="is its disk or share mounted") as told:
        area.put("set/b", [b"x"], 1)
    assert told.value.kind == "gone"
    assert list(small_disk.iterdir()) == []
