"""Remotes of the real rclone as places for files: a disk, WebDAV, a bucket of an S3 server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from archive.writers import KILLED_WRITER, content_of
from archive_systems.conftest import ACCESS_KEY, SECRET_KEY, Store, free_ports
from eemt.archive.areas import PIECE, Area, open_area
from eemt.archive.errors import StorageError
from eemt.errors import InputError

WEBDAV_PASSWORD = "not-to-be-told-0816"


@dataclass
class Dav:
    """A WebDAV server, of rclone itself, for a folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [f"--addr=127.0.0.1:{self.port}", "--user=me", f"--pass={WEBDAV_PASSWORD}", "--quiet"]
        self.process = subprocess.Popen(["rclone", "serve", "webdav", *words, self.folder], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                requests.get(f"http://127.0.0.1:{self.port}", timeout=5)
                return
            except requests.ConnectionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def configured(
    require: Callable[..., None],
    own_keys: None,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], None]:
    """Write rclone's configuration."""
    require("rclone")

    def write(text: str) -> None:
        config = tmp_path / "rclone.conf"
        config.write_text(text)
        monkeypatch.setenv("RCLONE_CONFIG", str(config))

    return write


@pytest.fixture
def disk(configured: Callable[[str], None], tmp_path: Path) -> Area:
    """A folder of this machine as rclone's remote."""
    configured("[disk]\ntype = local\n")
    (tmp_path / "disk").mkdir()
    return open_area(f"rclone:disk:{tmp_path}/disk")


@pytest.fixture
def bucket(configured: Callable[[str], None], store: Store, tmp_path: Path) -> Area:
    """A bucket as rclone's remote."""
    configured(
        f"[bucket]\ntype = s3\nprovider = Other\nendpoint = {store.endpoint}\nregion = us-east-1\n"
        f"access_key_id = {ACCESS_KEY}\nsecret_access_key = {SECRET_KEY}\n"
    )
    return open_area(f"rclone:bucket:archive/{tmp_path.name}")


@pytest.fixture
def dav(configured: Callable[[str], None], tmp_path: Path) -> Iterator[Dav]:
    """A WebDAV server as rclone's remote `dav`."""
    server = Dav(tmp_path / "dav", free_ports(1)[0])
    server.folder.mkdir()
    write_dav_config(configured, server, WEBDAV_PASSWORD)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def write_dav_config(configured: Callable[[str], None], server: Dav, password: str) -> None:
    hidden = subprocess.run(["rclone", "obscure", password], check=True, capture_output=True, text=True).stdout.strip()
    configured(
        f"[dav]\ntype = webdav\nurl = http://127.0.0.1:{server.port}\nvendor = other\nuser = me\npass = {hidden}\n"
    )


@pytest.fixture(params=["disk", "dav", "bucket"])
def area(request: pytest.FixtureRequest) -> Area:
    """Each kind of remote."""
    if request.param == "dav":
        request.getfixturevalue("dav")
        return open_area("rclone:dav:")
    found: Area = request.getfixturevalue(request.param)
    return found


def test_what_is_put_is_read_back(area: Area) -> None:
    for size in (0, 1, 3 * PIECE + 5):
        name = f"set {size}/data/0001.tar"
        area.put(name, content_of(size), size)
        assert area.size(name) == size
        assert b"".join(area.read(name)) == b"".join(content_of(size))
    assert area.names() == [f"set {size}/data/0001.tar" for size in (0, 1, 3 * PIECE + 5)]


def test_a_later_file_of_the_same_size_replaces_an_earlier_one(area: Area) -> None:
    area.put("a", [b"first "], 6)
    area.put("a", [b"second"], 6)
    assert b"".join(area.read("a")) == b"second"


@pytest.mark.parametrize("came", [b"ab", b"abcd"])
def test_a_file_of_another_size_than_announced_is_not_kept(area: Area, came: bytes) -> None:
    area.put("a", [b"old"], 3)
    with pytest.raises(StorageError, match="3 bytes were to be written") as told:
        area.put("a", [came], 3)
    assert told.value.kind == "corrupt"
    assert area.names() == ["a"]
    assert b"".join(area.read("a")) == b"old"


def test_names_begin_with_the_prefix_and_can_be_removed(area: Area) -> None:
    for name in ("b/2", "b/10", "b/data/1", "a", "bc"):
        area.put(name, [b"x"], 1)
    assert area.names() == ["a", "b/10", "b/2", "b/data/1", "bc"]
    assert area.names("b/") == ["b/10", "b/2", "b/data/1"]
    assert area.names("b") == ["b/10", "b/2", "b/data/1", "bc"]
    assert area.names("nothing/at/all/") == []
    area.remove("b/10")
    area.remove("b/10")
    area.remove("b/data/1")
    assert area.names("b/") == ["b/2"]


def test_to_remove_a_file_takes_its_emptied_folders_along(disk: Area, tmp_path: Path) -> None:
    disk.put("set/data/1", [b"x"], 1)
    disk.put("set/other", [b"x"], 1)
    disk.remove("set/data/1")
    assert sorted(path.name for path in (tmp_path / "disk").rglob("*")) == ["other", "set"]


def test_an_absent_file_is_gone(area: Area) -> None:
    assert area.size("set/none") is None
    with pytest.raises(StorageError, match="set/none is not there") as told:
        next(area.read("set/none"))
    assert told.value.kind == "gone"


def test_names_that_lead_out_are_refused(disk: Area) -> None:
    for name in ("../a", "a/../../b", "/a", "a\\b", ""):
        with pytest.raises(InputError, match="cannot be the name"):
            disk.put(name, [], 0)
        with pytest.raises(InputError, match="cannot be the name"):
            next(disk.read(name), None)


def test_a_source_that_fails_leaves_nothing_and_its_error_as_it_is(disk: Area, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield from content_of(5 * PIECE)
        raise InputError("the source changed")

    with pytest.raises(InputError, match="the source changed"):
        disk.put("a", pieces(), 10 * PIECE)
    assert [path for path in (tmp_path / "disk").rglob("*") if path.is_file()] == []


def test_a_killed_writer_leaves_nothing_listed_no_process_and_its_rest_can_be_cleared(
    disk: Area, tmp_path: Path
) -> None:
    disk.put("set/bagit.txt", [b"x"], 1)
    command = [sys.executable, "-c", KILLED_WRITER, disk.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    wait_until_no_rclone_has(str(tmp_path))
    assert disk.names() == ["set/bagit.txt"]
    disk.clear_leftovers("set/")
    assert [path.name for path in (tmp_path / "disk").rglob("*") if path.is_file()] == ["bagit.txt"]


def test_an_interrupted_writer_leaves_neither_process_nor_file(disk: Area, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WRITER, disk.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.send_signal(signal.SIGINT)
        writer.wait(60)
    assert rclones_with(str(tmp_path)) == []
    assert [path for path in (tmp_path / "disk").rglob("*") if path.is_file()] == []


def test_a_reader_that_stops_early_leaves_no_process(disk: Area, tmp_path: Path) -> None:
    disk.put("a", content_of(20 * PIECE), 20 * PIECE)
    reading = disk.read("a")
    next(reading)
    assert len(rclones_with(str(tmp_path))) == 1
    reading.close()  # type: ignore[attr-defined]
    assert rclones_with(str(tmp_path)) == []


def test_a_read_goes_on_when_the_server_is_back(dav: Dav) -> None:
    area = open_area("rclone:dav:")
    size = 40 * PIECE
    area.put("a", content_of(size), size)
    read = []
    returns = None
    for number, piece in enumerate(area.read("a")):
        read.append(piece)
        if number == 3:
            dav.stop()
            returns = threading.Timer(3, dav.start)
            returns.start()
    assert returns is not None
    returns.join()
    assert b"".join(read) == b"".join(content_of(size))


def test_a_server_that_stays_away_is_gone_after_a_while(dav: Dav, monkeypatch: pytest.MonkeyPatch) -> None:
    area = open_area("rclone:dav:")
    area.put("a", [b"x"], 1)
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "1")
    dav.stop()
    for call in (lambda: area.size("a"), area.names, lambda: area.put("b", content_of(PIECE), PIECE)):
        with pytest.raises(StorageError) as told:
            call()
        assert told.value.kind == "gone"
        assert "rclone:dav:" in str(told.value)
        assert WEBDAV_PASSWORD not in str(told.value)


def test_wrong_keys_are_denied_and_not_told(dav: Dav, configured: Callable[[str], None]) -> None:
    write_dav_config(configured, dav, "wrong-0815")
    with pytest.raises(StorageError) as told:
        open_area("rclone:dav:").names()
    assert told.value.kind == "denied"
    assert "0815" not in str(told.value)


def test_a_full_disk_is_told_and_nothing_of_the_file_is_left(
    configured: Callable[[str], None], small_disk: Path
) -> None:
    configured("[disk]\ntype = local\n")
    area = open_area(f"rclone:disk:{small_disk}")
    with pytest.raises(StorageError) as told:
        area.put("set/a", content_of(20 * PIECE), 20 * PIECE)
    assert told.value.kind == "full", str(told.value)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_a_missing_storage_is_not_made(disk: Area, tmp_path: Path) -> None:
    assert disk.names() == []
    root = tmp_path / "mount" / "storage"
    area = open_area(f"rclone:disk:{root}")
    for call in (lambda: area.put("a", [b"x"], 1), area.names):
        with pytest.raises(StorageError, match="the folder is not there") as told:
            call()
        assert told.value.kind == "gone"
    assert not root.parent.exists()
    open_area(f"rclone:disk:{root}", make_root=True).put("a", [b"x"], 1)
    assert (root / "a").read_bytes() == b"x"


def test_a_remote_that_is_not_configured_is_refused(disk: Area) -> None:  # noqa: ARG001
    with pytest.raises(InputError, match="has no such remote"):
        open_area("rclone:tape:x").names()


def test_without_the_program_the_place_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs the program rclone"):
        open_area("rclone:disk:x")


def test_the_room_is_told_where_the_remote_tells_it(disk: Area, tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    space = disk.space()
    assert space is not None
    assert space.total == found.f_blocks * found.f_frsize
    assert 0 < space.free <= space.total


def test_a_bucket_does_not_tell_its_room(bucket: Area) -> None:
    assert bucket.space() is None


def rclones_with(word: str) -> list[int]:
    """Return the rclone processes that have a word on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "rclone" in words[0] and any(word in one for one in words[1:]):
            found.append(int(path.name))
    return found


def wait_until_no_rclone_has(word: str) -> None:
    end = time.monotonic() + 60
    while rclones_with(word):
        assert time.monotonic() < end
        time.sleep(0.05)
