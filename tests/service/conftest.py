"""What the tests of the service share: its database, the application in this process, and a server of its own."""

from __future__ import annotations

import json
import os
import shutil
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
import rasterio
from fastapi.testclient import TestClient
from rasterio.warp import transform_bounds
from sqlalchemy import select

from eemt.service.app import create_app
from eemt.service.database import Database
from eemt.service.jobs import folder
from eemt.service.models import Job, User
from eemt.service.service import Service
from eemt.service.settings import PREFIX, Settings
from eemt.sql import now
from executors.runs import Run, clip_config


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


@pytest.fixture(scope="session")
def clip_results(clip: Path, fresh: Callable[..., Run]) -> Path:
    """What the workflow makes of the clip, with two zones: the folder of the site."""
    with rasterio.open(clip) as source:
        west, south, east, north = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    middle = (west + east) / 2
    halves = {"west": (west, middle), "east": (middle, east)}
    zones = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"half": name},
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[left, south], [right, south], [right, north], [left, north], [left, south]]],
                },
            }
            for name, (left, right) in halves.items()
        ],
    }
    config = clip_config(str(clip), tile_size=40)
    run = fresh("service", config)
    (run.folder / "zones.geojson").write_text(json.dumps(zones))
    config["sites"]["clip"] |= {"zones": {"file": "zones.geojson", "id": "half"}, "eemt": {"methods": ["trad", "topo"]}}
    run.configure(config)
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run.folder / "results/clip"


@dataclass(frozen=True)
class Finished:
    """A job that is in the database as finished, and its folder."""

    id: str
    folder: Path

    @property
    def address(self) -> str:
        return f"/api/v1/jobs/{self.id}"

    @property
    def results(self) -> Path:
        return self.folder / "results/clip"


@pytest.fixture
def finished(client: TestClient, clip_results: Path) -> Finished:
    """A completed job of the one user, with the results of the clip."""
    return finish_job(client.app.state.service, clip_results)


def finish_job(service: Service, results: Path, **differs: object) -> Finished:
    """Add a job to a service's database as if it had run."""
    with service.database.session() as session:
        about = {
            "user_id": session.scalars(select(User.id).order_by(User.created)).first(),
            "name": "clip",
            "kind": "eemt",
            "state": "completed",
            "settings": {"dem": {"source": "glo30", "bbox": [-105.3, 39.9, -105.2, 40.0]}},
            "config": "sites: {}\n",
            "started": now(),
            "finished": now(),
        }
        job = Job(**(about | differs))
        session.add(job)
        session.flush()
    place = folder(service.settings, job.id)
    for name in ("logs", "results"):
        (place / name).mkdir(parents=True)
    shutil.copytree(results, place / "results" / job.name)
    return Finished(job.id, place)
