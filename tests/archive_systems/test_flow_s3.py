"""The whole flow with a real S3 server for staging, storage and retrieval: gone for a while, for good, damaged."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archive.bags import FinishedSite, make_site, write
from archive.flow import Call, Flow, Kennel, assert_valid, contents, identifier_in, running_kennel
from archive_systems.conftest import Store
from eemt.archive.areas import open_area
from eemt.archive.bag import TAGMANIFEST
from eemt.archive.s3 import PART, S3Area

AWAY = 4.0  # seconds that the server is gone for
LARGE = 2 * PART + 5_000_000  # bytes, of three parts of an upload


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FinishedSite:
    """A site with a file that is uploaded in several parts."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    made = make_site(tmp_path / "results" / "ridge")
    write(made.folder / "stack.nc", random.Random(2).randbytes(LARGE))
    made.describe()
    return made


@pytest.fixture
def flow(tmp_path: Path, call: Call, request: pytest.FixtureRequest) -> Flow:
    """Settings by which all three places are in the bucket, each test having its own folders there."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    places = {place: f"s3://archive/{name}/{place}" for place in ("storage", "staging", "retrieval")}
    return Flow(tmp_path, call, {**places, "target_size_mb": 1.0})


@pytest.fixture
def kennel(store: Store) -> Iterator[Kennel]:  # noqa: ARG001
    with running_kennel() as kennel:
        yield kennel
        kennel.clear()


def copied(flow: Flow, identifier: str) -> Path:
    """Bring a bag from the storage to this machine, as any program for S3 would."""
    area = open_area(flow.settings["storage"])
    folder = flow.place / "copies" / str(len(list(flow.place.glob("copies/*")))) / identifier
    for name in area.names(f"{identifier}/"):
        path = folder / name.partition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(area.read(name)))
    return folder


def finished(flow: Flow) -> list[str]:
    names = open_area(flow.settings["storage"]).names()
    return sorted({name.partition("/")[0] for name in names if name.endswith(f"/{TAGMANIFEST}")})


def uploads(store: Store) -> list[Any]:
    return store.client().list_multipart_uploads(Bucket="archive").get("Uploads", [])


def assert_archived(flow: Flow, site: FinishedSite, said: str, store: Store) -> None:
    identifier = identifier_in(said)
    assert finished(flow) == [identifier]
    assert_valid(copied(flow, identifier))
    entry = flow.entry(identifier)
    assert entry and (entry.state, entry.storage) == ("archived", flow.settings["storage"])
    out = flow.place / "out"
    code, _, err = flow.retrieve(identifier, "--out", out)
    assert code == 0, err
    assert contents(out / "ridge") == contents(site.folder)
    assert open_area(flow.settings["staging"]).names() == [] and uploads(store) == []


def test_a_site_goes_there_and_back_by_links_that_expire(flow: Flow, site: FinishedSite, store: Store) -> None:
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert_archived(flow, site, said, store)
    code, told, err = flow.retrieve(identifier_in(said), "--product", "summary", "--hours", "2")
    assert code == 0, err
    links = dict(line.split(maxsplit=1) for line in told.splitlines()[1:])
    assert "data/0004.tar" in links or len([name for name in links if name.startswith("data/")]) == 1
    sums = urllib.request.urlopen(links["manifest-sha256.txt"]).read().decode()
    for name, link in links.items():
        assert "X-Amz-Expires=7200" in link and "not-to-be-told" not in link
        content = urllib.request.urlopen(link).read()
        if name.startswith("data/"):
            assert f"{hashlib.sha256(content).hexdigest()}  {name}\n" in sums
    brought = open_area(flow.settings["retrieval"])
    assert json.loads(b"".join(brought.read(f"{identifier_in(said)}/links.json")))["seconds"] == 7200


def hooked(monkeypatch: pytest.MonkeyPatch, place: str, pieces_before: int, action: Callable[[], None]) -> None:
    """Do something once, in the middle of the first large file that is put to a place."""
    put = S3Area.put
    done = threading.Event()

    def putting(area: S3Area, name: str, pieces: Iterator[bytes], size: int) -> None:
        def some() -> Iterator[bytes]:
            for number, piece in enumerate(pieces):
                if number == pieces_before and place in area.address and not done.is_set():
                    done.set()
                    action()
                yield piece

        put(area, name, some(), size)

    monkeypatch.setattr(S3Area, "put", putting)


@pytest.mark.parametrize("place", ["staging", "storage"])
def test_a_server_that_is_gone_for_some_seconds_is_waited_for(
    flow: Flow, site: FinishedSite, own_store: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def go() -> None:
        own_store.stop()
        threading.Timer(AWAY, own_store.launch).start()

    hooked(monkeypatch, f"/{place}", 20, go)
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert_archived(flow, site, said, own_store)


@pytest.mark.parametrize("place", ["staging", "storage"])
def test_a_server_that_is_gone_for_good_is_told_and_the_next_run_finishes(
    flow: Flow, site: FinishedSite, own_store: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    was = contents(site.folder)
    hooked(monkeypatch, f"/{place}", 20, own_store.stop)
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "2")
    code, _, err = flow.archive(site)
    last = err.splitlines()[-1]
    assert code == 1 and last.startswith("eemt archive: s3://archive/") and "Traceback" not in err
    assert contents(site.folder) == was
    entry = flow.entry(flow.journal()["identifier"])
    assert entry and (entry.state, entry.fault) == ("failed", "system")
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "120")
    own_store.start()
    assert finished(flow) == []
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert_archived(flow, site, said, own_store)


@pytest.mark.parametrize(
    "point",
    [("in put", "staging"), ("in put", "storage"), ("in read", "storage"), ("before put", "storage")],
    ids=["packing", "moving", "verifying", "before the tag manifest"],
)
def test_a_run_killed_in_the_middle_of_an_upload_is_finished_by_the_next(
    flow: Flow, site: FinishedSite, store: Store, kennel: Kennel, point: tuple[str, str]
) -> None:
    what, place = point
    words = f"{flow.settings[place]}/"
    if what == "before put":
        words += f"{site.land().identifier}/{TAGMANIFEST}"
    was = contents(site.folder)
    kennel.start(flow.words(site), flow.place, (what, words)).kill()
    assert contents(site.folder) == was and finished(flow) == []
    if what == "in put":
        assert len(uploads(store)) == 1
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert_archived(flow, site, said, store)


def test_sigterm_aborts_the_upload(flow: Flow, site: FinishedSite, store: Store, kennel: Kennel) -> None:
    child = kennel.start(flow.words(site), flow.place, ("in put", f"{flow.settings['storage']}/"))
    child.reach()
    assert child.end(signal.SIGTERM) == 130
    assert uploads(store) == [] and "Traceback" not in child.said()


@pytest.mark.parametrize("how", ["flipped", "deleted"])
@pytest.mark.parametrize(("place", "step"), [("staging", "move"), ("storage", "verify")])
def test_a_damaged_object_is_named_never_propagated_and_brought_anew(
    flow: Flow, site: FinishedSite, store: Store, place: str, step: str, how: str
) -> None:
    before = {"move": "space", "verify": "move"}[step]
    code, said, err = flow.archive(site, "--only", before)
    assert code == 0, err
    area = open_area(flow.settings[place])
    name = max(area.names(), key=lambda name: area.size(name) or 0)
    content = bytearray(b"".join(area.read(name)))
    content[len(content) // 2] ^= 1
    if how == "flipped":
        area.put(name, [bytes(content)], len(content))
        code, _, err = flow.archive(site, "--only", step)
        assert code == 1 and f"{area.address}/{name}" in err.splitlines()[-1]
        assert finished(flow) == []
    else:
        area.remove(name)
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert_archived(flow, site, said, store)


def test_without_the_right_keys_nothing_is_done_and_the_next_run_finishes(
    flow: Flow, site: FinishedSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = contents(site.folder)
    assert flow.archive(site, "--only", "pack")[0] == 0
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "another")
        code, _, err = flow.archive(site)
        assert code == 1 and "another" not in err and "Traceback" not in err
    assert contents(site.folder) == was and finished(flow) == []
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert_archived(flow, site, said, store)


def test_a_clock_that_is_off_is_told_and_the_next_run_finishes(
    flow: Flow, site: FinishedSite, store: Store, require: Callable[..., None]
) -> None:
    require("faketime")
    was = contents(site.folder)
    assert flow.archive(site, "--only", "space")[0] == 0
    command = ["faketime", "-f", "+2h", sys.executable, "-m", "eemt.cli", *flow.words(site)]
    done = subprocess.run(command, cwd=flow.place, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "the clock of this machine is off: " in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert contents(site.folder) == was and finished(flow) == []
    code, said, err = flow.archive(site)
    assert code == 0, err
    assert_archived(flow, site, said, store)


def test_a_bucket_of_a_stated_capacity_is_kept_below_it(flow: Flow, site: FinishedSite, store: Store) -> None:
    code, _, err = flow.archive(site, capacity_gb=0.04, min_free_percent=20.0)
    last = err.splitlines()[-1]
    assert code == 1 and "has 0.04 GB free of 0.04 GB" in last and "archive.min_free_percent wants 20 %" in last
    assert open_area(flow.settings["storage"]).names() == []
    code, said, err = flow.archive(site, capacity_gb=0.05, min_free_percent=20.0)
    assert code == 0, err
    area = open_area(flow.settings["storage"])
    assert LARGE < area.used() == sum(area.size(name) or 0 for name in area.names()) < LARGE + 500_000
    write(site.folder / "summary.csv", b"another\n")
    site.describe()
    code, _, err = flow.archive(site, capacity_gb=0.05, min_free_percent=20.0)
    assert code == 1 and "no room" in err.splitlines()[-1]
    assert finished(flow) == [identifier_in(said)]
    assert_valid(copied(flow, identifier_in(said)))
    assert uploads(store) == []
