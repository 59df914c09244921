"""What the tests of the archive on real systems share: what each needs, an S3 server, a small disk."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from archive_systems.beds import PROBES, WEED
from executors.beds import asker, named

START = 60  # seconds
# of servers that nobody outside this machine can reach
ACCESS_KEY = "archive-test"
SECRET_KEY = "not-to-be-told-4711"
PARTS = ("master", "volume", "filer", "s3")


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """Ask for a system: skip with what is missing, or fail where `EEMT_REQUIRE_BEDS` says that it must be there."""
    return asker(PROBES, named)


@dataclass
class Store:
    """An S3 server (SeaweedFS) at 127.0.0.1, with its objects in a folder."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def start(self) -> None:
        """Start it, and wait until it takes and gives objects."""
        self.launch()
        end = time.monotonic() + START
        while True:
            try:
                client = self.client()
                with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
                    client.create_bucket(Bucket="archive")
                # the server answers before its volumes can be written
                client.put_object(Bucket="archive", Key="probe", Body=b"x")
                client.delete_object(Bucket="archive", Key="probe")
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def launch(self) -> None:
        """Start it, and do not wait."""
        self.ports = self.ports or dict(zip([*PARTS, *(f"{part}.grpc" for part in PARTS)], free_ports(8), strict=True))
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        keys = self.folder / "keys.json"
        keys.write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": "test",
                            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                        }
                    ]
                }
            )
        )
        words = [
            f"-{part}.port{'.grpc' if grpc else ''}={self.ports[f'{part}.grpc' if grpc else part]}"
            for part in PARTS
            for grpc in (False, True)
        ]
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    WEED,
                    "server",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    f"-dir={data}",
                    "-filer",
                    "-s3",
                    f"-s3.config={keys}",
                    "-s3.autoCreateBucket=false",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-master.telemetry=false",
                    "-master.volumeSizeLimitMB=64",
                    "-volume.max=100",
                    *words,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Kill it; its objects stay."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None

    def client(self, **words: str) -> boto3.client:
        """Return a client of its own keys."""
        given = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20),
            **(given | words),
        )

    def environment(self) -> dict[str, str]:
        """Return what a program needs to use it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


@pytest.fixture
def own_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave out what this machine's user has of AWS and of rclone."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "RCLONE_", "EEMT_ARCHIVE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "120")


@pytest.fixture(scope="session")
def running_store(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An S3 server for all tests that leave it running."""
    require("s3")
    store = Store(tmp_path_factory.mktemp("s3"))
    try:
        store.start()
        yield store
    finally:
        store.stop()


@pytest.fixture
def store(running_store: Store, own_keys: None, monkeypatch: pytest.MonkeyPatch) -> Store:  # noqa: ARG001
    """The S3 server that all tests share, its keys in the environment."""
    for name, value in running_store.environment().items():
        monkeypatch.setenv(name, value)
    return running_store


@pytest.fixture
def own_store(
    require: Callable[..., None],
    tmp_path: Path,
    own_keys: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Store]:
    """An S3 server for one test, which may stop it."""
    require("s3")
    store = Store(tmp_path / "s3")
    try:
        store.start()
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        yield store
    finally:
        store.stop()


@pytest.fixture
def small_disk(require: Callable[..., None], tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    require("tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)
