"""All results as one archive: what is in it, and that a download can be taken up again anywhere."""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from eemt.inventory import CRATE
from eemt.service.bundle import SUMS, bundle
from eemt.service.results import listed
from service.conftest import Finished, finish_job


def whole(place: Path, folder: Path) -> bytes:
    body = bundle(place, "clip", folder / "checksums.json")
    octets = b"".join(body.read(0, body.size))
    assert len(octets) == body.size
    return octets


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Results of awkward sizes and names, without a crate."""
    place = tmp_path / "results"
    long = "/".join(["a" * 90] * 3)
    for name, size in {"empty.csv": 0, "one.csv": 512, "odd.csv": 700_001, f"{long}.csv": 3, "größe.csv": 511}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(os.urandom(size))
        os.utime(place / name, (1_700_000_000, 1_700_000_000))
    return place


def test_the_archive_has_every_file_after_its_checksums(client: TestClient, finished: Finished, tmp_path: Path):
    answer = client.get(f"{finished.address}/bundle.tar")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-tar"
    assert int(answer.headers["content-length"]) == len(answer.content)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path, filter="data")
    assert members[0].name == f"clip/{SUMS}"
    assert [member.name.removeprefix("clip/") for member in members[1:]] == [
        file.path for file in listed(finished.results)
    ]
    for file in listed(finished.results):
        assert (tmp_path / "clip" / file.path).read_bytes() == (finished.results / file.path).read_bytes()
        assert int((tmp_path / "clip" / file.path).stat().st_mtime) == int(file.modified)
    check = subprocess.run(
        ["sha256sum", "--strict", "-c", SUMS], cwd=tmp_path / "clip", capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar")
def test_tar_reads_what_python_reads(place: Path, tmp_path: Path):
    (tmp_path / "bundle.tar").write_bytes(whole(place, tmp_path))
    named = subprocess.run(["tar", "-tf", tmp_path / "bundle.tar"], capture_output=True, check=True).stdout
    assert len(named.splitlines()) == 1 + len(listed(place))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "bundle.tar", "-C", tmp_path / "out"], check=True)
    for file in listed(place):
        assert (tmp_path / "out/clip" / file.path).read_bytes() == (place / file.path).read_bytes()


def test_any_part_is_that_of_the_whole(place: Path, tmp_path: Path):
    octets = whole(place, tmp_path)
    body = bundle(place, "clip", tmp_path / "checksums.json")
    edges = [0, 1, 511, 512, 513, 1024, 4096, 700_000, body.size - 1024, body.size - 1, body.size]
    for start in edges:
        for end in edges:
            if start < end:
                assert b"".join(body.read(start, end)) == octets[start:end], (start, end)


def test_a_part_is_sent_without_reading_what_is_before(place: Path, tmp_path: Path):
    octets = whole(place, tmp_path)
    body = bundle(place, "clip", tmp_path / "checksums.json")
    first = listed(place)[0]
    (place / first.path).unlink()
    start = octets.index(b"clip/odd.csv", len(octets) - 704_000)
    assert b"".join(body.read(start, body.size)) == octets[start:]


def test_the_archive_is_the_same_each_time_until_a_file_changes(place: Path, tmp_path: Path):
    first, again = (bundle(place, "clip", tmp_path / "checksums.json") for _ in range(2))
    assert first.etag == again.etag
    assert b"".join(first.read(0, first.size)) == b"".join(again.read(0, again.size))
    (place / "one.csv").write_bytes(bytes(512))
    assert bundle(place, "clip", tmp_path / "checksums.json").etag != first.etag


def test_a_download_that_broke_off_goes_on(client: TestClient, finished: Finished):
    address = f"{finished.address}/bundle.tar"
    answer = client.get(address)
    there = answer.content[:100_001]
    rest = client.get(address, headers={"Range": f"bytes={len(there)}-", "If-Range": answer.headers["etag"]})
    assert rest.status_code == 206
    assert there + rest.content == answer.content
    head = client.head(address)
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(answer.content)), answer.headers["etag"])
    # what has changed meanwhile begins anew
    (finished.results / "summary.csv").write_text("other\n")
    changed = client.get(address, headers={"Range": "bytes=100-", "If-Range": answer.headers["etag"]})
    assert changed.status_code == 200


def test_checksums_come_from_the_crate_and_are_else_computed_once(finished: Finished, tmp_path: Path, monkeypatch):
    from eemt.service import bundle as module

    read: list[str] = []
    digests = module.digests

    def counted(paths, threads=None):
        paths = list(paths)
        read.extend(path.name for path in paths)
        return digests(paths, threads)

    monkeypatch.setattr(module, "digests", counted)
    remembered = tmp_path / "checksums.json"
    bundle(finished.results, "clip", remembered)
    assert read == [CRATE]
    bundle(finished.results, "clip", remembered)
    assert read == [CRATE]
    (finished.results / "summary.csv").write_text("changed\n")
    bundle(finished.results, "clip", remembered)
    assert read == [CRATE, "summary.csv"]


def test_only_finished_jobs_have_an_archive(client: TestClient, clip_results: Path):
    job = finish_job(client.app.state.service, clip_results, state="failed")
    assert client.get(f"{job.address}/bundle.tar").status_code == 200
    from eemt.service.models import Job, now

    with client.app.state.service.database.session() as session:
        record = session.get(Job, job.id)
        record.state, record.removed = "completed", now()
    assert client.get(f"{job.address}/bundle.tar").status_code == 410


def test_a_large_file_is_sent_by_pieces(tmp_path: Path):
    place = tmp_path / "results"
    place.mkdir()
    with (place / "large.nc").open("wb") as file:
        file.truncate(600_000_000)
    body = bundle(place, "clip", tmp_path / "checksums.json")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = sum(len(piece) for piece in body.read(0, body.size))
    assert total == body.size > 600_000_000
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 20_000_000
