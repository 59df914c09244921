"""Downloads that are polite, patient within a budget, and show nobody else's login."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eemt.climate.daymet.download import USER_AGENT, Fetcher, RemoteFile
from eemt.climate.daymet.errors import (
    AbsentError,
    DeniedError,
    ProviderError,
    RefusedError,
    TransientError,
)
from eemt.climate.daymet.login import Earthdata
from servers.files import FileServer

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    with FileServer(tmp_path) as running:
        yield running


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(patience=30.0, timeout=(5.0, 2.0), first_pause=0.01)


@pytest.mark.parametrize("kind", ["status:503", "status:500", "status:429", "status:408", "reset", "truncate"])
def test_failures_that_pass_are_outlived(server, fetcher, kind):
    server.fault("file.bin", kind, times=2)
    assert fetcher.content(f"{server.url}/file.bin") == CONTENT
    assert len(server.requests) == 3


def test_a_server_that_hangs_times_out_and_is_asked_again(server, fetcher):
    server.fault("file.bin", "slow:100", times=1)
    assert fetcher.content(f"{server.url}/file.bin") == CONTENT
    assert len(server.requests) == 2


def test_the_user_agent_names_the_project(server, fetcher):
    fetcher.content(f"{server.url}/file.bin")
    assert server.requests[0].headers["user-agent"] == USER_AGENT
    assert USER_AGENT.startswith("eemt/")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, DeniedError), (403, DeniedError), (404, AbsentError), (410, AbsentError), (400, RefusedError)],
)
def test_failures_that_stay_are_not_tried_again(server, fetcher, status, kind):
    server.fault("file.bin", f"status:{status}")
    with pytest.raises(kind, match=str(status)):
        fetcher.content(f"{server.url}/file.bin")
    assert len(server.requests) == 1


def test_a_server_is_waited_for_as_long_as_it_asks(server, fetcher):
    server.fault("file.bin", "status:429", times=1, headers={"Retry-After": "1"})
    start = time.monotonic()
    fetcher.content(f"{server.url}/file.bin")
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_asks_for_more_than_the_budget_is_left_at_once(server, fetcher, form):
    in_an_hour = email.utils.format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server.fault("file.bin", "status:503", headers={"Retry-After": "3600" if form == "seconds" else in_an_hour})
    with pytest.raises(TransientError, match=r"answers 503 and asks to wait 3\d\d\d s"):
        fetcher.content(f"{server.url}/file.bin")
    assert len(server.requests) == 1


def test_a_dead_server_costs_its_budget_once(server):
    fetcher = Fetcher(patience=0.3, timeout=(5.0, 5.0), first_pause=0.05)
    server.fault("file.bin", "status:503")
    with pytest.raises(TransientError, match=r"answers 503 \(\d+ attempts\)"):
        fetcher.content(f"{server.url}/file.bin")
    before = len(server.requests)
    assert before > 1
    for _ in range(4):
        with pytest.raises(TransientError):
            fetcher.content(f"{server.url}/file.bin")
    assert len(server.requests) == before + 4
    server.heal()
    assert fetcher.content(f"{server.url}/file.bin") == CONTENT
    server.fault("file.bin", "status:503", times=1)
    assert fetcher.content(f"{server.url}/file.bin") == CONTENT


def test_a_server_that_is_gone_cannot_be_reached(tmp_path):
    with FileServer(tmp_path) as gone:
        url = gone.url
    with pytest.raises(TransientError, match="cannot be reached"):
        Fetcher(patience=0.1, first_pause=0.02).content(f"{url}/file.bin")


def test_what_the_check_finds_broken_off_is_fetched_again(server, fetcher, tmp_path):
    found = []

    def check(path: Path) -> int:
        found.append(path.stat().st_size)
        if len(found) == 1:
            raise TransientError("is broken off")
        return found[-1]

    assert fetcher.to_file(f"{server.url}/file.bin", tmp_path / "copy", check) == len(CONTENT)
    assert len(found) == 2


@pytest.mark.parametrize("block", [100, 4096, 1 << 20])
def test_any_part_of_a_remote_file_can_be_read(server, fetcher, block):
    remote = RemoteFile(fetcher, f"{server.url}/file.bin", block)
    assert remote.size == len(CONTENT)
    for start, length in ((0, 10), (95, 300), (5000, 1), (len(CONTENT) - 7, 100), (3, 9000), (len(CONTENT) + 5, 4)):
        remote.seek(start)
        assert remote.read(length) == CONTENT[start : start + length]
    assert all(request.range for request in server.requests)


def test_blocks_are_asked_for_once(server, fetcher):
    remote = RemoteFile(fetcher, f"{server.url}/file.bin", 1024)
    for _ in range(3):
        remote.seek(100)
        remote.read(3000)
    assert len(server.requests) == 4


def test_a_server_without_byte_ranges_is_refused(server, fetcher):
    server.fault("file.bin", "html")
    with pytest.raises(RefusedError, match="a web page in place of a part"):
        RemoteFile(fetcher, f"{server.url}/file.bin")


def test_a_file_that_changes_under_way_is_refused(server, fetcher, tmp_path):
    remote = RemoteFile(fetcher, f"{server.url}/file.bin", 1024)
    (tmp_path / "file.bin").write_bytes(CONTENT[::-1])
    remote.seek(5000)
    with pytest.raises(OSError, match="changed the file"):
        remote.read(10)
    assert isinstance(remote.fault, ProviderError)


def test_a_token_does_not_follow_a_redirect_to_another_server(server, tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "my-secret-token")
    with FileServer(tmp_path) as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        server.fault("file.bin", f"redirect:{elsewhere}/file.bin")
        fetcher = Fetcher(Earthdata([server.url], "http://login.invalid"), patience=1.0)
        assert fetcher.content(f"{server.url}/file.bin") == CONTENT
        assert server.requests[0].headers["authorization"] == "Bearer my-secret-token"
        assert "authorization" not in other.requests[0].headers


def test_netrc_is_shown_to_the_login_server_alone(server, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\ndefault login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    Fetcher().content(f"{server.url}/file.bin")
    Fetcher(Earthdata([server.url], "http://127.0.0.1:1")).content(f"{server.url}/file.bin")
    assert all("authorization" not in request.headers for request in server.requests)


def test_endless_redirects_end(server, fetcher):
    server.fault("file.bin", f"redirect:{server.url}/file.bin")
    with pytest.raises(RefusedError, match="redirects more than"):
        fetcher.content(f"{server.url}/file.bin")
