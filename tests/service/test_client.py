"""The client and its commands, against a service in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import yaml

from eemt.errors import InputError
from eemt.service import client as module
from eemt.service.bundle import bundle
from eemt.service.client import Client, Failed, Refused, settings_file, unpack
from eemt.service.database import Database
from eemt.service.models import Job
from eemt.service.settings import Settings
from executors.runs import clip_config
from service.conftest import Finished, Server, finish_job

Call = Callable[..., tuple[int, str, str]]


class Line:
    """A line to a server that breaks: each connection is cut after so many bytes, as long as there are cuts left."""

    def __init__(self, port: int, cuts: int, down: int | None = None, up: int | None = None) -> None:
        self.port, self.cuts, self.down, self.up = port, cuts, down, up
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self.port)) as far:
            upward = threading.Thread(target=self._carry, args=(near, far, self.up), daemon=True)
            upward.start()
            self._carry(far, near, self.down)
            upward.join()

    def _carry(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while octets := source.recv(65_536):
                if most is not None and self.cuts and carried + len(octets) > most:
                    self.cuts -= 1
                    target.sendall(octets[: most - carried])
                    break
                target.sendall(octets)
                carried += len(octets)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # close alone does not wake the thread that waits for connections
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("served") / "service", {"EEMT_SERVICE_CHUNK_BYTES": "100000"})
    yield server.start()
    server.end()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.address)


@pytest.fixture
def finished(server: Server, clip_results: Path) -> Finished:
    settings = Settings(folder=server.folder)
    database = Database(settings.database)
    job = finish_job(SimpleNamespace(database=database, settings=settings), clip_results)  # type: ignore[arg-type]
    (job.folder / "run.log").write_text("one\ntwo\x1b[31m\nthree\n")
    database.close()
    return job


@pytest.fixture
def broken(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Line]]:
    """Make lines to the server that break."""
    monkeypatch.setattr(module, "PAUSE", 0.05)
    lines: list[Line] = []

    def make(**how: int) -> Line:
        lines.append(Line(server.port, **how))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


@pytest.fixture
def call_there(call: Call, server: Server, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command line, for the server."""
    monkeypatch.setenv("EEMT_SERVICE_URL", server.address)
    return call


def random_file(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def test_a_config_runs_on_the_service_and_its_results_come_back(
    call_there: Call, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config = clip_config(str(clip), tile_size=40)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code, out, err = call_there("submit", "config.yaml", "--kind", "sun", "--name", "valley", "--wait")
    assert code == 0, err
    job = out.strip()
    assert f"{clip.name}: 100 %" in err
    code, out, _ = call_there("jobs")
    assert code == 0
    row = next(line.split() for line in out.splitlines() if line.startswith(job))
    assert row[1:4] == ["valley", "sun", "completed"]
    code, out, _ = call_there("jobs", "show", job)
    assert "completed" in out
    assert "sun" in out
    code, out, _ = call_there("logs", job)
    assert code == 0
    assert "steps (100%) done" in out or "sun" in out
    code, out, err = call_there("fetch", job, "--out", "got")
    assert code == 0, err
    assert "all as their checksums say" in out
    assert (tmp_path / "got/valley/sun/monthly_global.tif").is_file()
    assert not [path for path in (tmp_path / "got").iterdir() if path.name.startswith(".")]
    # the same file is not sent a second time
    code, out, err = call_there("submit", "config.yaml", "--kind", "sun")
    assert code == 0
    assert "100 %" not in err
    assert call_there("jobs", "cancel", out.strip())[0] == 0


def test_everything_is_fetched_and_checked(call_there: Call, finished: Finished, tmp_path: Path):
    code, _, err = call_there("fetch", finished.id, "--out", tmp_path)
    assert code == 0, err
    for path in finished.results.rglob("*.tif"):
        name = path.relative_to(finished.results)
        if "tiles" not in name.parts and name.name != "far_field.tif":
            assert (tmp_path / "clip" / name).read_bytes() == path.read_bytes()


def test_single_files_are_fetched(call_there: Call, finished: Finished, tmp_path: Path):
    code, out, _ = call_there("fetch", finished.id, "summary.csv", "maps/eemt_topo_1971-2000.tif", "--out", tmp_path)
    assert code == 0
    assert out.splitlines() == [str(tmp_path / "summary.csv"), str(tmp_path / "maps/eemt_topo_1971-2000.tif")]
    assert (tmp_path / "summary.csv").read_bytes() == (finished.results / "summary.csv").read_bytes()
    code, out, _ = call_there("fetch", finished.id, "--list")
    assert any(line.endswith("  summary.csv") for line in out.splitlines())


def test_a_download_that_breaks_off_again_and_again_becomes_whole(
    broken: Callable[..., Line], finished: Finished, tmp_path: Path
):
    size = int(
        requests.head(f"{broken(cuts=0).address}{finished.address}/bundle.tar", timeout=60).headers["Content-Length"]
    )
    line = broken(cuts=5, down=size // 8)
    seen: list[int] = []
    made = Client(line.address).fetch_all(finished.id, tmp_path, lambda _, there, __: seen.append(there))
    assert line.cuts == 0
    assert seen == sorted(seen)
    assert seen[-1] == size
    assert len(made) > 20


def test_a_download_goes_on_in_another_process(
    broken: Callable[..., Line], finished: Finished, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(module, "PATIENCE", 1)
    line = broken(cuts=1, down=200_000)
    with pytest.raises(Failed):
        Client(line.address).fetch_all(finished.id, tmp_path)
    part = tmp_path / f".{finished.id}.tar.part"
    there = part.stat().st_size
    assert there > 100_000
    first: list[int] = []
    Client(line.address).fetch_all(finished.id, tmp_path, lambda _, there, __: first.append(there))
    assert first[0] > there
    assert not part.exists()


def test_an_upload_that_breaks_off_again_and_again_becomes_whole(
    broken: Callable[..., Line], clip: Path, tmp_path: Path
):
    path = tmp_path / "large.tif"
    # what follows a GeoTIFF's own bytes is of no meaning
    path.write_bytes(clip.read_bytes() + os.urandom(900_000))
    line = broken(cuts=4, up=180_000)
    upload = Client(line.address).upload(path, "dem")
    assert line.cuts == 0
    assert upload["state"] == "ready"
    assert upload["size"] == upload["offset"] == path.stat().st_size
    assert Client(line.address).upload(path, "dem")["id"] == upload["id"]


def test_a_file_of_the_same_name_and_size_is_another_upload(client: Client, clip: Path, tmp_path: Path):
    octets = clip.read_bytes()
    ids = []
    for tail in (b"a" * 1000, b"b" * 1000):
        path = tmp_path / "same.tif"
        path.write_bytes(octets + tail)
        ids.append(client.upload(path, "dem")["id"])
    assert len(set(ids)) == 2


def test_a_file_that_cannot_be_used_is_refused_with_its_reason(client: Client, tmp_path: Path):
    with pytest.raises(InputError, match=r"noise\.tif cannot be used: \w+"):
        client.upload(random_file(tmp_path / "noise.tif", 5000), "dem")
    with pytest.raises(InputError, match="does not exist"):
        client.upload(tmp_path / "none.tif", "dem")


def test_events_are_followed_over_breaks_until_the_end(broken: Callable[..., Line], server: Server, finished: Finished):
    database = Database(Settings(folder=server.folder).database)
    with database.session() as session:
        session.get(Job, finished.id).state = "running"

    def go_on() -> None:
        from eemt.service import jobs

        for number in range(40):
            with database.session() as session:
                jobs.tell(session, finished.id, "message", text=f"{number} {'x' * 200}")
            time.sleep(0.02)
        with database.session() as session:
            jobs.change(session, session.get(Job, finished.id), "completed")

    line = broken(cuts=3, down=4000)
    thread = threading.Thread(target=go_on)
    events = Client(line.address).events(finished.id)
    first = next(events)
    thread.start()
    rest = list(events)
    thread.join()
    database.close()
    assert line.cuts == 0
    assert first.kind == "progress"
    texts = [int(event.data["text"].split()[0]) for event in rest if event.kind == "message"]
    assert texts == list(range(40))
    assert rest[-1].data["state"] == "completed"


def test_logs_are_printed_without_what_a_terminal_would_act_on(call_there: Call, finished: Finished):
    assert call_there("logs", finished.id)[1] == "one\ntwo�[31m\nthree\n"
    assert call_there("logs", finished.id, "--lines", 1)[1] == "three\n"
    assert call_there("logs", finished.id, "--follow")[1] == "one\ntwo�[31m\nthree\n"


def test_jobs_are_shown_and_deleted(call_there: Call, finished: Finished, client: Client):
    out = call_there("jobs", "--state", "completed", "--json")[1]
    assert finished.id in {job["id"] for job in json.loads(out)}
    out = call_there("jobs", "--search", "no such name")[1]
    assert out.splitlines() == ["ID  NAME  KIND  STATE  STEPS  CREATED"]
    out = call_there("jobs", "--limit", 1)[1]
    assert len(out.splitlines()) == 2
    assert call_there("jobs", "delete", finished.id)[0] == 0
    with pytest.raises(Refused) as refused:
        client.job(finished.id)
    assert (refused.value.status, refused.value.problem) == (404, "not-found")


def test_errors_are_one_line_and_tell_bad_input_from_failure(
    call_there: Call, call: Call, finished: Finished, monkeypatch
):
    for words, said in {
        ("jobs", "show", "0" * 20): "There is no such job.",
        ("jobs", "cancel", finished.id): "The job is completed already.",
        ("fetch", finished.id, "none.csv"): "There is no such file.",
        ("fetch", finished.id, "../run.log"): "no path within the results",
        ("logs", finished.id, "--rule", "none"): "There is no such log.",
        ("submit", "none.yaml"): "none.yaml does not exist",
    }.items():
        code, _, err = call_there(*words)
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("EEMT_SERVICE_URL", f"http://127.0.0.1:{port}")
    code, _, err = call("jobs")
    assert (code, err.count("\n")) == (1, 1)
    assert "does not answer: nothing listens there" in err
    monkeypatch.setenv("EEMT_SERVICE_URL", "ftp://elsewhere")
    assert call("jobs")[0] == 2


def test_mistakes_in_a_config_are_told_by_their_keys(call_there: Call, clip: Path, tmp_path: Path):
    config = clip_config(str(clip))
    config["sites"]["clip"]["climate"] = {"source": "grid", "files": "x.nc", "years": "2015"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code, out, err = call_there("submit", tmp_path / "config.yaml")
    assert (code, out) == (2, "")
    assert "climate.source: grid" in err
    two = clip_config(str(clip))
    two["sites"]["other"] = two["sites"]["clip"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(two))
    code, _, err = call_there("submit", tmp_path / "config.yaml")
    assert code == 2
    assert "clip, other" in err
    code, _, err = call_there("submit", tmp_path / "config.yaml", "--site", "none")
    assert code == 2


def test_the_address_and_the_token_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_file() == tmp_path / "eemt/service.toml"
    assert Client.from_settings().address == module.HERE
    settings_file().parent.mkdir()
    settings_file().write_text('url = "https://eemt.example.org/"\ntoken = "secret"\n')
    settings_file().chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        Client.from_settings()
    settings_file().chmod(0o600)
    client = Client.from_settings()
    assert client.address == "https://eemt.example.org"
    asked = client._session.auth(requests.Request("GET", client.address).prepare())
    assert asked.headers["Authorization"] == "Bearer secret"
    monkeypatch.setenv("EEMT_SERVICE_URL", "https://other.example.org")
    monkeypatch.setenv("EEMT_SERVICE_TOKEN", "other")
    client = Client.from_settings()
    assert client.address == "https://other.example.org"
    assert client._session.auth.token == "other"
    settings_file().write_text("url = 5\n")
    with pytest.raises(InputError, match=r"service\.toml"):
        Client.from_settings()


def test_no_command_takes_a_token():
    from eemt.service.commands import COMMANDS

    for name in ("submit", "jobs", "logs", "fetch"):
        parser = argparse.ArgumentParser()
        COMMANDS[name](parser)
        assert "token" not in parser.format_help().lower()


@pytest.fixture
def archive(clip_results: Path, tmp_path: Path) -> Path:
    body = bundle(clip_results, "clip", tmp_path / "checksums.json")
    path = tmp_path / "bundle.tar"
    path.write_bytes(b"".join(body.read(0, body.size)))
    return path


def test_a_file_that_is_not_as_its_checksum_says_is_not_kept(archive: Path, tmp_path: Path):
    octets = bytearray(archive.read_bytes())
    with tarfile.open(archive) as opened:
        place = opened.getmember("clip/summary.csv").offset_data
    octets[place] ^= 1
    archive.write_bytes(octets)
    with pytest.raises(Failed, match=r"summary\.csv is not as its checksum says"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out/clip/summary.csv").exists()


@pytest.mark.parametrize("name", ["clip/../../outside", "/outside", "outside", "other/file", "clip/extra.csv"])
@pytest.mark.parametrize("form", [tarfile.REGTYPE, tarfile.SYMTYPE])
def test_nothing_is_unpacked_that_leaves_the_folder(archive: Path, tmp_path: Path, name: str, form: bytes):
    with tarfile.open(tmp_path / "bad.tar", "w") as made, tarfile.open(archive) as good:
        sums = good.getmember("clip/SHA256SUMS")
        made.addfile(sums, good.extractfile(sums))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = form, "/etc/passwd"
        made.addfile(member)
    with pytest.raises(Failed, match="nothing more is unpacked"):
        unpack(tmp_path / "bad.tar", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["SHA256SUMS"]
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_lacks_a_file_is_not_whole(archive: Path, tmp_path: Path):
    with tarfile.open(tmp_path / "short.tar", "w") as made, tarfile.open(archive) as good:
        for member in good.getmembers()[:-1]:
            made.addfile(member, good.extractfile(member))
    with pytest.raises(Failed, match="is missing in the archive"):
        unpack(tmp_path / "short.tar", tmp_path / "out")


def test_what_is_no_service_is_told_apart(tmp_path: Path):
    import http.server

    handler = lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(tmp_path))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        (tmp_path / "api/v1").mkdir(parents=True)
        (tmp_path / "api/v1/jobs").write_text("<html>")
        with pytest.raises(Failed, match="not as EEMT's service does"):
            list(Client(f"http://127.0.0.1:{elsewhere.server_address[1]}").jobs())
        elsewhere.shutdown()
