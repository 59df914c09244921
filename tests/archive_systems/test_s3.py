"""A bucket of a real S3 server as a place for files."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from archive.writers import KILLED_WRITER, content_of
from archive_systems.conftest import ACCESS_KEY, SECRET_KEY, Store
from eemt.archive.areas import PIECE, Area, open_area
from eemt.archive.errors import StorageError
from eemt.archive.s3 import PART
from eemt.errors import InputError

LARGE_WRITER = """
import hashlib, resource, sys
from eemt.archive.areas import open_area

area = open_area(sys.argv[1])
area.put("small", [bytes(1 << 20)] * 17, 17 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
area.put("large", (bytes([i]) * (1 << 20) for i in range(200)), 200 << 20)
read = sum(len(piece) for piece in area.read("large"))
assert read == 200 << 20, read
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
READER = """
from eemt.archive.areas import open_area
from eemt.archive.errors import StorageError
import sys
try:
    print(b"".join(open_area(sys.argv[1]).read("a")))
except StorageError as error:
    print(error.kind, error)
"""


@pytest.fixture
def area(store: Store, request: pytest.FixtureRequest) -> Area:  # noqa: ARG001
    """A folder of the shared server for one test."""
    return open_area(f"s3://archive/tests/{request.node.name.partition('[')[0]}")


def digest(pieces: Iterator[bytes]) -> str:
    sum_ = hashlib.sha256()
    for piece in pieces:
        sum_.update(piece)
    return sum_.hexdigest()


@pytest.mark.parametrize("size", [0, 1, PIECE + 3, PART - 1, PART, PART + 1, 2 * PART, 50_000_000])
def test_what_is_put_is_read_back(area: Area, size: int) -> None:
    name = f"set-{size}/data/0001.tar"
    area.put(name, content_of(size), size)
    assert area.size(name) == size
    assert digest(area.read(name)) == digest(content_of(size))
    assert area.names(f"set-{size}/") == [name]


@pytest.mark.parametrize("size", [PIECE, 2 * PART + 5])
def test_without_newer_checksums_md5_is_compared(store: Store, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    area = open_area("s3://archive/md5")
    area.put("a", content_of(size), size)
    assert digest(area.read("a")) == digest(content_of(size))
    assert "ChecksumSHA256" not in store.client().head_object(Bucket="archive", Key="md5/a", ChecksumMode="ENABLED")


def test_the_server_keeps_the_sha256_of_what_it_got(area: Area, store: Store) -> None:
    area.put("small", content_of(PIECE), PIECE)
    area.put("large", content_of(PART + 1), PART + 1)
    key = area.address.removeprefix("s3://archive/")
    small = store.client().head_object(Bucket="archive", Key=f"{key}/small", ChecksumMode="ENABLED")
    large = store.client().head_object(Bucket="archive", Key=f"{key}/large", ChecksumMode="ENABLED")
    assert base64.b64decode(small["ChecksumSHA256"]).hex() == digest(content_of(PIECE))
    assert large["ChecksumSHA256"].endswith("-2")


def test_a_later_file_replaces_an_earlier_one_whole(area: Area) -> None:
    area.put("a", content_of(PART + 1), PART + 1)
    area.put("a", [b"second"], 6)
    assert b"".join(area.read("a")) == b"second"


@pytest.mark.parametrize("came", [10, 3 * PART])
def test_a_file_of_another_size_than_announced_is_not_kept(area: Area, store: Store, came: int) -> None:
    area.put("a", [b"old"], 3)
    with pytest.raises(StorageError, match="were to be written") as told:
        area.put("a", content_of(came), 2 * PART)
    assert told.value.kind == "corrupt"
    assert b"".join(area.read("a")) == b"old"
    assert uploads(store, area) == []


def test_a_source_that_fails_in_the_middle_leaves_nothing_and_its_error_as_it_is(area: Area, store: Store) -> None:
    def pieces() -> Iterator[bytes]:
        yield from content_of(2 * PART + 5)
        raise InputError("the source changed")

    with pytest.raises(InputError, match="the source changed"):
        area.put("a", pieces(), 4 * PART)
    assert area.size("a") is None
    assert uploads(store, area) == []


def test_names_are_sorted_and_begin_with_the_prefix(area: Area) -> None:
    for name in ("b/2", "b/10", "b/data/1", "a", "bc", "ba/ä b+&%"):
        area.put(name, [b"x"], 1)
    assert area.names() == ["a", "b/10", "b/2", "b/data/1", "ba/ä b+&%", "bc"]
    assert area.names("b/") == ["b/10", "b/2", "b/data/1"]
    assert area.names("nothing/") == []
    area.remove("b/10")
    area.remove("b/10")
    assert area.names("b/") == ["b/2", "b/data/1"]


def test_more_names_than_the_server_lists_at_once_are_all_listed(area: Area, store: Store) -> None:
    key = area.address.removeprefix("s3://archive/")
    client = store.client()
    for number in range(1010):
        client.put_object(Bucket="archive", Key=f"{key}/{number:05d}", Body=b"")
    assert area.names() == [f"{number:05d}" for number in range(1010)]


def test_names_that_lead_out_are_refused(area: Area) -> None:
    for name in ("../a", "a/../../b", "/a", "a\\b", ""):
        with pytest.raises(InputError, match="cannot be the name"):
            area.put(name, [], 0)
        with pytest.raises(InputError, match="cannot be the name"):
            next(area.read(name), None)


def test_an_absent_file_is_gone_and_an_absent_bucket_too(area: Area) -> None:
    assert area.size("none") is None
    with pytest.raises(StorageError, match="none: it is not there") as told:
        next(area.read("none"))
    assert told.value.kind == "gone"
    elsewhere = open_area("s3://no-such-bucket/x")
    for call in (lambda: elsewhere.size("a"), elsewhere.names, lambda: elsewhere.put("a", [b"x"], 1)):
        with pytest.raises(StorageError) as told:
            call()
        assert told.value.kind == "gone"


def test_memory_stays_flat(store: Store) -> None:
    done = run_python(LARGE_WRITER, "s3://archive/memory", store)
    # over that of a smaller file; three parts of 16 MiB may be in memory at once
    assert int(done) * 1024 < 64 << 20, done


def test_a_killed_writer_leaves_nothing_listed_and_its_upload_can_be_cleared(area: Area, store: Store) -> None:
    area.put("set/bagit.txt", [b"x"], 1)
    command = [sys.executable, "-c", KILLED_WRITER, area.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | store.environment()) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    assert area.names() == ["set/bagit.txt"]
    assert area.size("set/data/0001.tar") is None
    assert len(uploads(store, area)) == 1
    area.clear_leftovers("other/")
    assert len(uploads(store, area)) == 1
    area.clear_leftovers("set/")
    assert uploads(store, area) == []
    assert area.names() == ["set/bagit.txt"]


def test_a_writer_that_is_interrupted_aborts_its_upload(area: Area, store: Store) -> None:
    command = [sys.executable, "-c", KILLED_WRITER, area.address]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | store.environment()
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.send_signal(signal.SIGINT)
        writer.wait(30)
    assert uploads(store, area) == []


def test_a_put_goes_on_when_the_server_is_back(own_store: Store) -> None:
    size = 6 * PART
    area = open_area("s3://archive/x")
    returns: list[threading.Thread] = []

    def pieces() -> Iterator[bytes]:
        for number, piece in enumerate(content_of(size)):
            if number == 40:
                own_store.stop()
                returns.append(back_after(own_store, 3))
            yield piece

    area.put("a", pieces(), size)
    returns[0].join()
    assert digest(area.read("a")) == digest(content_of(size))


def test_a_read_goes_on_when_the_server_is_back(own_store: Store) -> None:
    size = 6 * PART
    area = open_area("s3://archive/x")
    area.put("a", content_of(size), size)
    sum_ = hashlib.sha256()
    returns = None
    for number, piece in enumerate(area.read("a")):
        sum_.update(piece)
        if number == 5:
            own_store.stop()
            returns = back_after(own_store, 3)
    assert returns is not None
    returns.join()
    assert sum_.hexdigest() == digest(content_of(size))


def test_a_file_that_is_replaced_while_the_connection_is_broken_is_not_mixed(own_store: Store) -> None:
    size = 6 * PART
    area = open_area("s3://archive/x")
    area.put("a", content_of(size), size)
    reading = area.read("a")
    next(reading)
    own_store.stop()
    own_store.start()
    area.put("a", [bytes(PIECE)] * 96, size)
    with pytest.raises(StorageError, match="replaced while it was read") as told:
        list(reading)
    assert told.value.kind == "corrupt"


def test_a_server_that_stays_away_is_gone_after_a_while(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    area = open_area("s3://archive/x")
    area.put("a", content_of(6 * PART), 6 * PART)
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "2")
    reading = area.read("a")
    next(reading)
    own_store.stop()
    began = time.monotonic()
    calls: list[Callable[[], object]] = [
        lambda: list(reading),
        lambda: area.put("b", content_of(3 * PART), 3 * PART),
        lambda: area.size("a"),
        area.names,
        lambda: area.clear_leftovers(""),
    ]
    for call in calls:
        with pytest.raises(StorageError, match=r"127\.0\.0\.1:\d+ does not answer") as told:
            call()
        assert told.value.kind == "gone"
        assert SECRET_KEY not in str(told.value)
    assert time.monotonic() - began >= 2 * len(calls)


def test_what_is_damaged_on_the_way_to_the_server_is_sent_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = b"here a bit is flipped"
    damaged: list[int] = []

    def flip(request: bytes) -> bytes:
        if marker in request and not damaged:
            damaged.append(1)
            return request.replace(marker, b"hEre a bit is flipped")
        return request

    with Between(store, to_server=flip) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", between.endpoint)
        area = open_area("s3://archive/damaged")
        for size in (PIECE, 2 * PART):
            damaged.clear()
            content = (marker * 50).rjust(size)  # many, since one may be cut by the end of a piece
            area.put("a", [content], size)
            assert damaged
            assert b"".join(area.read("a")) == content


def test_what_is_damaged_on_the_way_back_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Between(store, to_client=lambda answer: answer.replace(b"here a bit", b"hEre a bit")) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", between.endpoint)
        area = open_area("s3://archive/damaged")
        area.put("b", [b"here a bit is flipped"], 21)
        with pytest.raises(StorageError, match="checksum") as told:
            list(area.read("b"))
        assert told.value.kind == "corrupt"


def test_an_upload_whose_end_was_not_heard_of_is_found_to_be_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []

    def lose(answer: bytes) -> bytes | None:
        if b"CompleteMultipartUploadResult" in answer and not lost:
            lost.append(1)
            return None
        return answer

    with Between(store, to_client=lose) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", between.endpoint)
        area = open_area("s3://archive/lost")
        area.put("a", content_of(2 * PART), 2 * PART)
        assert lost
        assert digest(area.read("a")) == digest(content_of(2 * PART))


def test_an_upload_that_another_aborts_is_told_and_keeps_the_older_file(area: Area) -> None:
    area.put("a", [b"old"], 3)

    def pieces() -> Iterator[bytes]:
        for number, piece in enumerate(content_of(4 * PART)):
            if number == 40:
                area.clear_leftovers("")
            yield piece

    with pytest.raises(StorageError) as told:
        area.put("a", pieces(), 4 * PART)
    assert told.value.kind in ("gone", "corrupt")
    assert b"".join(area.read("a")) == b"old"


@pytest.mark.parametrize(("key", "secret"), [(ACCESS_KEY, "wrong-0815"), ("nobody-0815", SECRET_KEY)])
@pytest.mark.usefixtures("store")
def test_wrong_keys_are_denied_and_not_told(monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    area = open_area("s3://archive/x")
    for call in (lambda: area.put("a", [b"x"], 1), lambda: area.size("a"), area.names, lambda: next(area.read("a"))):
        with pytest.raises(StorageError, match="these keys do not open it") as told:
            call()
        assert told.value.kind == "denied"
        assert key not in str(told.value) and secret not in str(told.value)


@pytest.mark.usefixtures("store")
def test_no_keys_at_all_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match="no keys for the S3 server") as told:
        open_area("s3://archive/x").names()
    assert told.value.kind == "denied"


@pytest.mark.parametrize(("shift", "told"), [("+40m", "40 minutes ahead of"), ("-3d", "3.0 days behind")])
def test_a_clock_that_is_off_is_told(
    area: Area, store: Store, require: Callable[..., None], shift: str, told: str
) -> None:
    require("faketime")
    area.put("a", [b"x"], 1)
    assert "denied" in (line := run_python(READER, area.address, store, "faketime", "-f", shift))
    assert f"the clock of this machine is off: {told} the server's" in line


def test_keys_and_endpoint_come_from_a_profile(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in store.environment():
        monkeypatch.delenv(name)
    (tmp_path / "aws-config").write_text(
        f"[profile tape]\nregion = us-east-1\nendpoint_url = {store.endpoint}\n"
        f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    area = open_area("s3://archive/profile", "tape")
    area.put("a", [b"x"], 1)
    assert area.names() == ["a"]
    with pytest.raises(InputError, match="no profile 'disk'"):
        open_area("s3://archive/profile", "disk")


def test_a_link_is_read_without_keys_until_it_expires(area: Area) -> None:
    area.put("set/a b.tif", [b"content"], 7)
    link = area.link("set/a b.tif", 3)
    assert link is not None
    assert SECRET_KEY not in link
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"content"
    time.sleep(4)  # the moment of its end is the server's to judge
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(link)
    assert told.value.code == 403
    told.value.close()


def test_a_link_to_an_absent_file_or_for_too_long_is_refused(area: Area) -> None:
    with pytest.raises(StorageError, match="is not there"):
        area.link("none", 60)
    with pytest.raises(InputError, match="7 days"):
        area.link("none", 8 * 86_400)


def test_a_bucket_does_not_tell_its_room(area: Area) -> None:
    assert area.space() is None


def uploads(store: Store, area: Area) -> list[str]:
    key = area.address.removeprefix("s3://archive/")
    found = store.client().list_multipart_uploads(Bucket="archive", Prefix=f"{key}/")
    return [upload["Key"] for upload in found.get("Uploads", [])]


def back_after(store: Store, seconds: float) -> threading.Thread:
    """Start a server again after some seconds."""

    def start() -> None:
        time.sleep(seconds)
        store.start()

    thread = threading.Thread(target=start)
    thread.start()
    return thread


def run_python(program: str, address: str, store: Store, *before: str) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", program, address],
        env=os.environ | store.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Between:
    """What stands between a client and a server, and can change or lose what is said, by hooks that get each piece.

    A hook returns what is passed on, or None for the end of the connection.
    """

    def __init__(
        self,
        store: Store,
        to_server: Callable[[bytes], bytes | None] = bytes,
        to_client: Callable[[bytes], bytes | None] = bytes,
    ) -> None:
        self._server = ("127.0.0.1", store.ports["s3"])
        self._to_server = to_server
        self._to_client = to_client
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Between:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for source, target, hook in ((client, server, self._to_server), (server, client, self._to_client)):
                    threading.Thread(target=self._pass_on, args=(source, target, hook), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, hook: Callable[[bytes], bytes | None]) -> None:
        with suppress(OSError), source, target:
            while (piece := source.recv(1 << 16)) and (passed := hook(piece)) is not None:
                target.sendall(passed)
            # wakes the thread of the other direction
            for one in (source, target):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
