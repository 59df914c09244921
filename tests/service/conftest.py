"""What the tests of the service share: its database, the application in this process, and a server of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from eemt.service.app import create_app
from eemt.service.database import Database
from eemt.service.settings import PREFIX, Settings


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what the machine's environment says of a service."""
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=tmp_path / "service")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    settings.make_folders()
    database = Database(settings.database)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The application of one user, who need not sign in."""
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8420") as client:
        yield client


@dataclass
class Server:
    """``eemt serve`` in a process of its own.

    Parameters
    ----------
    folder : path
        Of its data; a server started anew on the same one goes on with it.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start, and wait until it answers."""
        self.port = self.port or free_port()
        command = [sys.executable, "-m", "eemt.cli", "serve", "--folder", str(self.folder), "--port", str(self.port)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **self.environment}, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log
            try:
                if httpx.get(f"{self.address}/health/live", timeout=5).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(f"no answer in a minute: {self.log}")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder.parent / "serve.log").read_text()

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(by)
        code = self.process.wait(60)
        self.process = None
        return code


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers, which are ended after the test: serve(EEMT_SERVICE_RUNNING="2")."""
    servers: list[Server] = []

    def start(**environment: str) -> Server:
        servers.append(Server(tmp_path / f"served{len(servers)}", environment))
        return servers[-1].start()

    yield start
    for server in servers:
        server.end()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
