"""The service as containers: a job in the container itself, and on a SLURM cluster of containers that grows."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from eemt.service.restore import check
from executors.beds import answers, compose_command
from service.conftest import free_port
from service_systems.asking import API, send, submit, wait_for
from service_systems.test_postgresql import AREA
from sites import BOULDER, ROOT

FILE = ROOT / "containers/compose.yaml"
PASSWORD = "a long way up the canyon"


def own_network() -> str:
    """Return another network for each project, so that several can be up at the same time; without its last part."""
    return f"172.{16 + secrets.randbelow(15)}.{secrets.randbelow(256)}"


@dataclass
class Project:
    """A project of Docker Compose of its own, with its volumes."""

    profiles: Sequence[str]
    service: str
    port: int = field(default_factory=free_port)
    name: str = field(default_factory=lambda: f"eemttest{secrets.token_hex(4)}")
    network: str = field(default_factory=own_network)
    files: Sequence[Path] = (FILE,)
    variables: dict[str, str] = field(default_factory=dict)

    def call(self, *words: str, given: str = "") -> str:
        command = [
            *(compose_command() or []),
            "--project-name",
            self.name,
            *(word for file in self.files for word in ("--file", str(file))),
            *(word for profile in self.profiles for word in ("--profile", profile)),
        ]
        environment = {
            **os.environ,
            "EEMT_SERVICE_PORT": str(self.port),
            "EEMT_MONITORING_NETWORK": self.network,
            "EEMT_WORKER_MEMORY": "3000",
            "EEMT_SCRATCH": "1g",
            **self.variables,
        }
        done = subprocess.run(
            [*command, *words], env=environment, input=given, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self, *words: str) -> None:
        """Make the first account, and start."""
        self.call("run", "-T", "--rm", self.service, "eemt", "account", "add", "olga", "--operator", given=PASSWORD)
        self.call("up", "--detach", *words)
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}") as client:
            for _ in range(240):
                try:
                    if client.get("/health/ready", timeout=10).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.5)
        raise AssertionError(self.call("logs", "--no-color", self.service)[-5000:])

    def inside(self, service: str, *words: str) -> str:
        return self.call("exec", "-T", service, *words)

    def client(self) -> httpx.Client:
        """Return a client with a token of the operator's."""
        token = self.inside(self.service, "eemt", "account", "token", "olga").split()[0]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60)

    def container(self, service: str) -> dict[str, Any]:
        identifier = self.call("ps", "--quiet", service).split()[0]
        said = subprocess.run(["docker", "inspect", identifier], capture_output=True, text=True, check=True)
        return json.loads(said.stdout)[0]

    def until_healthy(self, service: str) -> None:
        def health() -> dict[str, Any]:
            return self.container(service)["State"]["Health"]

        wait_until(lambda: health()["Status"] == "healthy", 120, health)


def wait_until(is_so: Callable[[], bool], seconds: float, why: Callable[[], object] = lambda: None) -> None:
    """Look until something is so, or fail with what is instead."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, why()
        time.sleep(1)


def image(name: str) -> Callable[[], str | None]:
    tag = os.environ.get(f"EEMT_{name.upper()}_IMAGE", f"eemt/{name}:{version('eemt')}")

    def probe() -> str | None:
        if not answers("docker", "image", "inspect", tag):
            return f"Docker has no image {tag}; build it with `containers/build.sh {name}`"
        return None

    return probe


def started(require: Callable[..., None], profile: str, service: str, name: str, *words: str) -> Iterator[Project]:
    require("compose")
    require("compose", image(name))
    project = Project([profile], service)
    try:
        project.up(*words)
        yield project
    finally:
        project.call("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="module")
def default(require: Callable[..., None]) -> Iterator[Project]:
    yield from started(require, "default", "web", "web")


@pytest.fixture(scope="module")
def distributed(require: Callable[..., None]) -> Iterator[Project]:
    yield from started(require, "distributed", "web-slurm", "slurm", "--scale", "worker=2")


def run_job(client: httpx.Client, name: str) -> dict[str, object]:
    upload = send(client, BOULDER)
    job = wait_for(client, submit(client, name, upload, dem={"source": {"upload": upload}, **AREA}), seconds=1500)
    log = client.get(f"{API}/jobs/{job['id']}/logs").text
    assert job["state"] == "completed", f"{job}\n{log[-3000:]}"
    files = [item["path"] for item in client.get(f"{API}/jobs/{job['id']}/files").json()["items"]]
    assert any(path.endswith("monthly_global.tif") for path in files), files
    return job


def test_a_job_runs_in_the_container_of_the_service(default):
    with default.client() as client:
        run_job(client, "inside")
        system = client.get(f"{API}/system").json()
        assert (system["execution"]["executor"], system["accounts"]) == ("local", True)


def test_strangers_are_kept_out_and_metrics_too(default):
    with httpx.Client(base_url=f"http://127.0.0.1:{default.port}", timeout=30) as client:
        assert client.get(f"{API}/jobs").status_code == 401
        # they come from the gateway of the network, which is not this machine for the service
        assert client.get("/metrics").status_code in (401, 403)
        assert client.get("/health/live").status_code == 200


def test_the_container_is_confined_and_healthy(default):
    found = default.container("web")
    host, config = found["HostConfig"], found["Config"]
    assert config["User"] == "1000:1000"
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["Memory"] > 0 and host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert "no-new-privileges:true" in host["SecurityOpt"]
    default.until_healthy("web")


def test_it_stops_in_order_and_keeps_what_it_has(default):
    with default.client() as client:
        before = {job["id"] for job in client.get(f"{API}/jobs").json()["items"]}
        default.call("stop", "web")
        assert default.container("web")["State"]["ExitCode"] == 0
        default.call("up", "--detach")
        for _ in range(120):
            try:
                answer = client.get(f"{API}/jobs")
                break
            except httpx.TransportError:
                time.sleep(0.5)
        assert {job["id"] for job in answer.json()["items"]} == before


def test_a_backup_goes_out_of_a_container(default, tmp_path):
    default.inside("web", "eemt", "backup", "/tmp/b.tar")
    identifier = default.call("ps", "--quiet", "web").strip()
    # /tmp is in memory, where `docker cp` does not look
    said = subprocess.run(["docker", "exec", identifier, "cat", "/tmp/b.tar"], capture_output=True, check=True)
    (tmp_path / "b.tar").write_bytes(said.stdout)
    assert check(tmp_path / "b.tar").rows["users"] == 1


def test_a_job_runs_on_the_nodes_of_slurm(distributed):
    assert nodes(distributed) == 2
    with distributed.client() as client:
        job = run_job(client, "nodes")
        assert client.get(f"{API}/system").json()["execution"]["executor"] == "eemt-slurm"
    ended = distributed.inside("controller", "squeue", "--states=all", "--noheader", "--format=%T %N")
    assert "COMPLETED" in ended, f"{job}: {ended}"


def test_nodes_can_be_added(distributed):
    distributed.call("up", "--detach", "--scale", "worker=3")
    for _ in range(60):
        if nodes(distributed) == 3:
            return
        time.sleep(1)
    raise AssertionError(distributed.inside("controller", "sinfo"))


def test_no_part_of_slurm_runs_as_root(distributed):
    for service in ("munge", "controller", "worker", "web-slurm"):
        assert distributed.inside(service, "id", "-u").strip() != "0", service
        assert distributed.container(service)["HostConfig"]["ReadonlyRootfs"], service


def nodes(project: Project) -> int:
    """Return how many nodes take jobs."""
    said = project.inside("controller", "sinfo", "--noheader", "--Node", "--format=%N %T")
    return sum(line.split()[1] in ("idle", "mixed", "allocated") for line in said.splitlines())


def test_what_is_mounted_from_the_project_is_there():
    text = FILE.read_text(encoding="utf-8") + (ROOT / "containers/tls/compose.yaml").read_text(encoding="utf-8")
    for line in text.splitlines():
        source = line.strip().removeprefix("- ").split(":")[0]
        if source.startswith("./"):
            assert Path(ROOT, "containers", source).exists(), line
