"""Uploads: in pieces, resumed after whatever broke off, and kept within their limits."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from eemt.service import uploads
from eemt.service.app import create_app
from eemt.service.models import Job, JobUpload, Upload
from eemt.service.settings import Settings
from service.conftest import Server
from service.people import group, program, service_of
from sites import BOULDER, NORMALS

API = "/api/v1/uploads"
OCTETS = {"Content-Type": "application/octet-stream"}
NOWHERE = "0123456789abcdef0123"


def begin(client: Any, size: int, kind: str = "dem", name: str = "dem.tif") -> str:
    answer = client.post(API, json={"name": name, "size": size, "kind": kind})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{API}/{answer.json()['id']}"
    return str(answer.json()["id"])


def piece(client: Any, upload: str, content: bytes, offset: int) -> Any:
    return client.patch(f"{API}/{upload}", content=content, headers={**OCTETS, "Upload-Offset": str(offset)})


def settled(client: Any, upload: str) -> dict[str, Any]:
    """Wait until an upload was looked into."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        view: dict[str, Any] = client.get(f"{API}/{upload}").json()
        if view["state"] not in ("receiving", "checking"):
            return view
        time.sleep(0.1)
    raise AssertionError(view)


def send(client: Any, path: Path, kind: str) -> dict[str, Any]:
    """Send a file and wait until it was looked into."""
    upload = begin(client, path.stat().st_size, kind, path.name)
    assert piece(client, upload, path.read_bytes(), 0).status_code == 200
    return settled(client, upload)


def test_a_file_sent_in_pieces_is_whole_and_looked_into(client: TestClient, settings: Settings) -> None:
    content = BOULDER.read_bytes()
    upload = begin(client, len(content))
    offset = 0
    for end in (5000, 5001, len(content)):
        answer = piece(client, upload, content[offset:end], offset)
        assert answer.json()["offset"] == end
        assert answer.headers["Upload-Offset"] == str(end)
        assert (settings.uploads / upload / "data").stat().st_size == end
        offset = end
    view = settled(client, upload)
    assert view["state"] == "ready"
    assert view["sha256"] == hashlib.sha256(content).hexdigest()
    assert (settings.uploads / upload / "data").read_bytes() == content
    assert view["header"]["crs"] == "WGS 84 (EPSG:4326)"
    picture = client.get(view["hillshade"])
    assert (picture.headers["content-type"], picture.content[:4]) == ("image/png", b"\x89PNG")
    assert piece(client, upload, b"more", offset).json()["type"] == "/problems/conflict"


def test_a_piece_that_begins_elsewhere_is_told_where_to_go_on(client: TestClient) -> None:
    upload = begin(client, 100)
    assert piece(client, upload, b"a" * 40, 0).status_code == 200
    for offset in (0, 39, 41, 1000):
        answer = piece(client, upload, b"b" * 10, offset)
        assert answer.status_code == 409
        assert answer.json()["type"] == "/problems/wrong-offset"
        assert answer.json()["offset"] == 40
        assert answer.headers["Upload-Offset"] == "40"
    head = client.head(f"{API}/{upload}")
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"], head.content) == ("40", "100", b"")


def test_what_was_written_and_not_acknowledged_is_cut_off(client: TestClient, settings: Settings) -> None:
    upload = begin(client, 30, "climate")
    piece(client, upload, b"0123456789", 0)
    with (settings.uploads / upload / "data").open("ab") as file:
        file.write(b"of a piece that the server died in")
    piece(client, upload, b"abcdefghij", 10)
    assert (settings.uploads / upload / "data").read_bytes() == b"0123456789abcdefghij"


def test_a_file_shorter_than_acknowledged_goes_on_from_its_end(client: TestClient, settings: Settings) -> None:
    upload = begin(client, 30, "climate")
    piece(client, upload, b"0123456789", 0)
    os.truncate(settings.uploads / upload / "data", 4)
    answer = piece(client, upload, b"abcdefghij", 10)
    assert (answer.status_code, answer.json()["offset"]) == (409, 4)
    assert client.get(f"{API}/{upload}").json()["offset"] == 4


def test_a_file_that_cannot_be_used_is_refused_with_its_reason_and_removed(
    client: TestClient, settings: Settings
) -> None:
    view = send(client, NORMALS, "dem")
    assert view["state"] == "refused"
    assert "no GeoTIFF" in view["problem"]
    assert view["header"] is None
    assert not (settings.uploads / view["id"] / "data").exists()
    assert client.get("/api/v1/quota").json()["uploads"] == 0
    assert client.get(f"{API}/{view['id']}/hillshade.png").status_code == 404


def test_names_are_shown_and_lead_nowhere(client: TestClient, settings: Settings) -> None:
    for name, shown in (
        ("../../etc/passwd", "passwd"),
        ("C:\\maps\\dem.tif", "dem.tif"),
        ("/", "file"),
        ("a\x00b\n\u202egnp.tif", "abgnp.tif"),
        ("..", ".."),
        ("x" * 900, "x" * 200),
    ):
        answer = client.post(API, json={"name": name, "size": 4, "kind": "dem"})
        assert answer.json()["name"] == shown
        piece(client, answer.json()["id"], b"II", 0)
        client.delete(f"{API}/{answer.json()['id']}")
    assert list(settings.uploads.iterdir()) == []
    assert {path.name for path in settings.folder.iterdir()} >= {"uploads", "jobs"}


@pytest.mark.parametrize("upload", ["..", "%2e%2e", "..%2f..%2fetc", "a/../..", NOWHERE + "x", "A" * 20, "0" * 64])
def test_identifiers_that_are_none_lead_nowhere(client: TestClient, upload: str) -> None:
    for path in (f"{API}/{upload}", f"{API}/{upload}/hillshade.png"):
        assert client.get(path).status_code in (404, 422)
    assert piece(client, upload, b"x", 0).status_code in (404, 405, 422)
    assert client.delete(f"{API}/{upload}").status_code in (404, 405, 422)


def test_an_upload_belongs_to_who_sends_it(tmp_path: Path) -> None:
    with group(tmp_path / "group") as nobody:
        ada, ben = program(nobody, "ada"), program(nobody, "ben")
        upload = begin(ada, 10)
        piece(ada, upload, b"12345", 0)
        assert ben.get(f"{API}/{upload}").status_code == 404
        assert ben.head(f"{API}/{upload}").status_code == 404
        assert piece(ben, upload, b"12345", 5).json()["type"] == "/problems/not-found"
        assert ben.delete(f"{API}/{upload}").status_code == 404
        assert ben.get(f"{API}/{upload}?all=true").status_code == 404
        assert ben.get(API).json()["items"] == []
        assert nobody.get(f"{API}/{upload}").status_code == 401
        assert nobody.post(API, json={"name": "a", "size": 1, "kind": "dem"}).status_code == 401
        olga = program(nobody, "olga")
        assert olga.get(f"{API}/{upload}").status_code == 404
        assert olga.get(f"{API}/{upload}?all=true").json()["offset"] == 5
        assert ada.get(API).json()["items"][0]["id"] == upload
        assert service_of(nobody).uploads.path(upload).read_bytes() == b"12345"


def test_uploads_are_listed_newest_first_by_pages(client: TestClient) -> None:
    made = [begin(client, 5, kind) for kind in ("dem", "climate", "dem")]
    first = client.get(API, params={"limit": 2}).json()
    assert [item["id"] for item in first["items"]] == [made[2], made[1]]
    second = client.get(API, params={"limit": 2, "after": first["following"]}).json()
    assert ([item["id"] for item in second["items"]], second["following"]) == ([made[0]], None)
    assert [item["id"] for item in client.get(API, params={"kind": "climate"}).json()["items"]] == [made[1]]
    assert client.get(API, params={"after": NOWHERE}).status_code == 422


# limits


@contextlib.contextmanager
def limited(folder: Path, **given: object) -> Iterator[TestClient]:
    settings = Settings(folder=folder, **given)  # type: ignore[arg-type]
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8420") as client:
        yield client


def test_a_file_larger_than_allowed_is_refused_before_it_is_sent(client: TestClient) -> None:
    for size, kind in ((20_000_000_001, "dem"), (20_000_001, "climate"), (2_000_001, "table")):
        answer = client.post(API, json={"name": "a", "size": size, "kind": kind})
        assert answer.status_code == 413
        assert answer.json()["limit"] == size - 1
    for size in (0, -1, 2**60, "many"):
        assert client.post(API, json={"name": "a", "size": size, "kind": "dem"}).status_code == 422
    assert client.post(API, json={"name": "a", "size": 5, "kind": "program"}).status_code == 422


def test_a_piece_larger_than_allowed_or_than_what_is_missing_leaves_nothing(tmp_path: Path) -> None:
    with limited(tmp_path / "service", chunk_bytes=1000) as client:
        upload = begin(client, 1500)
        assert piece(client, upload, b"x" * 1001, 0).status_code == 413
        assert piece(client, upload, b"x" * 1000, 0).status_code == 200
        assert piece(client, upload, b"x" * 501, 1000).status_code == 413

        def endless() -> Iterator[bytes]:  # without Content-Length
            for _ in range(20):
                yield b"y" * 100

        assert piece(client, upload, endless(), 1000).status_code == 413  # type: ignore[arg-type]
        assert client.get(f"{API}/{upload}").json()["offset"] == 1000
        path = tmp_path / "service" / "uploads" / upload / "data"
        assert path.read_bytes().rstrip(b"y") == b"x" * 1000
        assert piece(client, upload, b"z" * 500, 1000).json()["state"] == "checking"
        assert path.read_bytes()[1000:] in (b"z" * 500, b"")


def test_a_piece_is_octets_and_no_form(client: TestClient) -> None:
    upload = begin(client, 10)
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        headers = {"Content-Type": kind, "Upload-Offset": "0"}
        assert client.patch(f"{API}/{upload}", content=b"a", headers=headers).status_code == 415
    assert client.patch(f"{API}/{upload}", content=b"a", headers=OCTETS).status_code == 422
    for offset in ("-1", "1e3", "x", "9" * 30):
        headers = {**OCTETS, "Upload-Offset": offset}
        assert client.patch(f"{API}/{upload}", content=b"a", headers=headers).status_code == 422


def test_the_quota_counts_files_that_are_on_their_way(tmp_path: Path) -> None:
    with limited(tmp_path / "service", quota_bytes=1000) as client:
        first = begin(client, 700)
        answer = client.post(API, json={"name": "a", "size": 301, "kind": "dem"})
        assert (answer.status_code, answer.json()["type"]) == (507, "/problems/quota")
        assert "300 bytes of your 1 kB are left" in answer.json()["detail"]
        found = client.get("/api/v1/quota").json()
        assert (found["limit"], found["used"], found["left"], found["uploads"]) == (1000, 700, 300, 700)
        assert client.delete(f"{API}/{first}").status_code == 204
        assert client.get("/api/v1/quota").json()["used"] == 0


def test_no_upload_begins_on_a_full_disk(tmp_path: Path) -> None:
    with limited(tmp_path / "service", least_free_bytes=10**15) as client:
        answer = client.post(API, json={"name": "a", "size": 301, "kind": "dem"})
        assert (answer.status_code, answer.json()["type"]) == (507, "/problems/disk-full")


def test_few_uploads_of_a_user_are_unfinished(client: TestClient) -> None:
    made = [begin(client, 10) for _ in range(uploads.MOST_PENDING)]
    answer = client.post(API, json={"name": "a", "size": 5, "kind": "dem"})
    assert answer.json()["type"] == "/problems/conflict"
    client.delete(f"{API}/{made[0]}")
    begin(client, 5)


def test_a_disk_that_fills_up_in_a_piece_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(small).encode(), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip("a file system of 2 MB cannot be mounted without being root")
    try:
        with limited(tmp_path / "service", uploads_folder=small, least_free_bytes=0) as client:
            upload = begin(client, 1_500_000)
            assert piece(client, upload, b"a" * 400_000, 0).status_code == 200
            (small / "other").write_bytes(bytes(1_200_000))

            def unannounced() -> Iterator[bytes]:
                yield b"b" * 1_100_000

            answer = piece(client, upload, unannounced(), 400_000)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["type"]) == (507, "/problems/disk-full")
            assert client.get(f"{API}/{upload}").json()["offset"] == 400_000
            (small / "other").unlink()
            assert piece(client, upload, b"b" * 1_100_000, 400_000).status_code == 200
    finally:
        libc.umount2(str(small).encode(), 2)


# deleting


def test_a_file_that_an_unfinished_job_reads_stays(client: TestClient, settings: Settings) -> None:
    view = send(client, NORMALS, "climate")
    service = service_of(client)
    with service.database.session() as session:
        user = session.get(Upload, view["id"])
        assert user is not None
        job = Job(id="f" * 20, user_id=user.user_id, name="reads", kind="sun", settings={}, config="", state="running")
        session.add(job)
        session.flush()
        session.add(JobUpload(job_id=job.id, upload_id=view["id"]))
    answer = client.delete(f"{API}/{view['id']}")
    assert (answer.status_code, "reads" in answer.json()["detail"]) == (409, True)
    with service.database.session() as session:
        job = session.get(Job, "f" * 20)
        assert job is not None
        job.state = "completed"
    assert client.delete(f"{API}/{view['id']}").status_code == 204
    assert not (settings.uploads / view["id"]).exists()
    assert client.delete(f"{API}/{view['id']}").status_code == 404


# a server of its own


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is not killed."""
    server = Server(tmp_path_factory.mktemp("served") / "service").start()
    yield server
    server.end()


def connect(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.address, timeout=120)


def half_a_piece(server: Server, upload: str, content: bytes, announced: int) -> socket.socket:
    """Send a part of a piece and leave the connection open."""
    stream = socket.create_connection(("127.0.0.1", server.port))
    head = (
        f"PATCH {API}/{upload} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {announced}\r\n"
        "Content-Type: application/octet-stream\r\nUpload-Offset: 0\r\n\r\n"
    )
    stream.sendall(head.encode() + content)
    return stream


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_server_killed_in_mid_piece_lets_the_client_go_on(serve: Callable[..., Server]) -> None:
    server = serve()
    content = os.urandom(6_000_000)
    with connect(server) as client:
        upload = begin(client, len(content))
    path = server.folder / "uploads" / upload / "data"
    stream = half_a_piece(server, upload, content[:4_000_000], len(content))
    eventually(lambda: path.exists() and path.stat().st_size > 1_000_000)
    server.end(signal.SIGKILL)
    stream.close()
    assert path.stat().st_size > 0
    server.start()
    with connect(server) as client:
        offset = int(client.head(f"{API}/{upload}").headers["Upload-Offset"])
        assert offset <= path.stat().st_size
        assert piece(client, upload, content[offset : offset + 2_500_000], offset).status_code == 200
        answer = piece(client, upload, content[offset + 2_500_000 :], offset + 2_500_000)
        assert answer.json()["offset"] == len(content)
        server.end(signal.SIGKILL)  # while it looks into the file, of which everything was acknowledged
        server.start()
        assert settled(client, upload)["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_connection_that_breaks_leaves_what_came_and_another_piece_waits(running: Server) -> None:
    with connect(running) as client:
        upload = begin(client, 3_000_000)
        path = running.folder / "uploads" / upload / "data"
        stream = half_a_piece(running, upload, b"a" * 2_000_000, 3_000_000)
        eventually(lambda: path.exists() and path.stat().st_size >= 1_000_000)
        answer = piece(client, upload, b"b" * 10, 0)
        assert answer.json()["type"] == "/problems/conflict"
        assert answer.headers["Retry-After"] == "2"
        stream.close()
        eventually(lambda: client.get(f"{API}/{upload}").json()["offset"] > 0)
        offset = client.get(f"{API}/{upload}").json()["offset"]
        assert path.read_bytes() == b"a" * offset
        assert piece(client, upload, b"b" * (3_000_000 - offset), offset).json()["state"] == "checking"


def test_memory_does_not_grow_with_the_file(running: Server) -> None:
    assert running.process is not None
    process = psutil.Process(running.process.pid)
    block = os.urandom(1_000_000) * 16
    total = 8 * len(block)
    with connect(running) as client:
        upload = begin(client, total, "raster")
        piece(client, upload, block, 0)
        before = highest = process.memory_info().rss
        for number in range(1, 8):
            assert piece(client, upload, block, number * len(block)).status_code == 200
            highest = max(highest, process.memory_info().rss)
        assert settled(client, upload)["state"] == "refused"
        highest = max(highest, process.memory_info().rss)
    assert highest - before < 40_000_000
