"""The service's own log: what stands in it, what never does, and how the service begins and ends."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from eemt.service import logs
from eemt.service.settings import Settings


@pytest.fixture
def root():
    """The root logger, as it was before, after the test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield root
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(settings: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for line in (settings.logs / logs.FILE).read_text().splitlines()]


@pytest.mark.usefixtures("root")
def test_each_line_is_a_json_object_that_names_its_request(settings):
    logs.set_up(settings)
    token = logs.request_id.set("r-12345678")
    logging.getLogger("eemt.service.x").warning("something of %s", "note", extra={"job": "abc"})
    logs.request_id.reset(token)
    logging.getLogger("eemt.service.x").info("beside\nrequests")
    first, second = lines(settings)
    assert first["request"] == "r-12345678" and first["job"] == "abc" and first["level"] == "WARNING"
    assert first["message"] == "something of note"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(first["at"]))
    assert "request" not in second and second["message"] == "beside\nrequests"
    assert (settings.logs / logs.FILE).stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to postgresql+psycopg://eemt:hunter22@db/eemt",
        "Authorization: Bearer hunter22hunter22",
        "password=hunter22 host=db",
        '{"token": "hunter22", "x": 1}',
        "row $argon2id$v=19$m=65536$hunter22",
    ],
)
def test_no_secret_stands_in_it(settings, text):
    logs.set_up(settings)
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("eemt.service.x").exception("failed: %s", text)
    assert "hunter22" not in (settings.logs / logs.FILE).read_text()


def test_a_day_has_its_file_and_old_ones_go(settings, root):
    logs.set_up(settings.model_copy(update={"keep_logs_days": 2}))
    (handler,) = (h for h in root.handlers if isinstance(h, logging.handlers.TimedRotatingFileHandler))
    for day in range(10, 16):
        (settings.logs / f"service.log.2025-01-{day}").write_text("old")
    handler.doRollover()
    assert len(list(settings.logs.glob("service.log.*"))) == 2


@pytest.mark.usefixtures("root")
def test_a_folder_of_logs_that_cannot_be_written_costs_no_service(settings, capsys):
    settings.folder.mkdir()
    settings.logs.write_text("a file")
    logs.set_up(settings)
    logging.getLogger("eemt.service.x").info("goes on")
    said = capsys.readouterr().out
    assert "no log in" in said and "goes on" in said


def test_it_says_where_it_is_logs_requests_without_their_queries_and_stops_when_asked_to(serve):
    server = serve()
    assert f"EEMT is at {server.address}\n" in server.log
    answer = httpx.get(f"{server.address}/nothing?token=hunter22", headers={"X-Request-ID": "given-by-proxy"})
    assert answer.headers["X-Request-ID"] == "given-by-proxy"
    made_up = httpx.get(f"{server.address}/nothing", headers={"X-Request-ID": "x" * 500}).headers["X-Request-ID"]
    assert len(made_up) == 16
    httpx.get(f"{server.address}/health/live")
    assert server.end(signal.SIGINT) == 0
    text = (server.folder / "logs" / logs.FILE).read_text()
    found = [json.loads(line) for line in text.splitlines()]
    access = [line for line in found if line["logger"] == "eemt.service.access"]
    assert [line["request"] for line in access] == ["given-by-proxy", made_up]
    assert access[0]["message"] == "GET /nothing 404" and access[0]["client"] == "127.0.0.1"
    assert "hunter22" not in text and "hunter22" not in server.log
    assert "Traceback" not in server.log


def test_streams_end_within_seconds_when_it_stops(serve):
    server = serve()
    began, ended = threading.Event(), threading.Event()

    def watch() -> None:
        with httpx.stream("GET", f"{server.address}/api/v1/events", timeout=60) as stream:
            assert stream.status_code == 200
            began.set()
            for _ in stream.iter_raw():
                pass
        ended.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert began.wait(30)
    started = time.monotonic()
    assert server.end(signal.SIGTERM) == 0
    watcher.join(30)
    assert ended.is_set()
    assert time.monotonic() - started < 20  # a stream that nobody ends would wait for ever


def test_a_port_that_is_taken_is_one_line(call, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, said = call("serve", "--folder", tmp_path / "s", "--port", port)
    assert code == 2
    assert said == (
        f"eemt serve: 127.0.0.1:{port} cannot be listened on: Address already in use; "
        "choose another by --port or --host\n"
    )


def test_a_second_server_on_the_same_database_says_so_in_one_line(serve):
    server = serve()
    second = subprocess.run(
        [sys.executable, "-m", "eemt.cli", "serve", "--folder", server.folder, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert second.returncode == 2
    (said,) = second.stderr.splitlines()
    assert said.startswith("eemt serve: database: ")
    assert "Traceback" not in second.stdout
