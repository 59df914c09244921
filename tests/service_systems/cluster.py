"""The service in the Kubernetes bed: its manifests in an overlay that adds what the bed lacks, and how it is asked."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
import yaml

from executors.beds import answers
from executors.test_kubernetes import INSIDE, bed, exported, is_up
from service_systems.asking import API
from sites import ROOT

MANIFESTS = ROOT / "containers/kubernetes"
NAMESPACE = "eemt"
NETWORK = Path("/run/netns/eemtbed")
# pods of the bed hang on Docker's bridge; the test asks from its other end, where a proxy would be
BED_NETWORK = "172.17.0.0/16"
NAME = "eemt.example.org"
PASSWORD = "a long way up the canyon"


def image(name: str) -> str:
    return f"eemt/{name}:{version('eemt')}"


def missing_for(*images: str) -> str | None:
    """Say what is missing here for a cluster with these images, or None."""
    if not answers("kubectl", "version", "--client"):
        return "kubectl is not installed; as root on Debian 12: `tests/beds/kubernetes.sh build`"
    for name in images:
        if not answers("/usr/bin/docker", "image", "inspect", name, variables=exported("docker")):
            return f"the docker bed (tests/beds/docker.sh) is not up, or has no image {name}; build it there"
    if os.geteuid() != 0:
        return "the bed's network can only be entered by root"
    binaries = Path(os.environ.get("BED", "/var/tmp/eemt-beds")) / "kubernetes/bin"
    if not is_up("kubernetes") and not (binaries / "kubelet").exists():
        return "Kubernetes is not built yet; as root on Debian 12: `tests/beds/kubernetes.sh build`"
    return None


def enter_network() -> None:
    """Bring this thread into the bed's network."""
    libc = ctypes.CDLL(None, use_errno=True)
    with NETWORK.open() as network:
        if libc.setns(network.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), str(NETWORK))


class InsideNetwork(httpcore.SyncBackend):
    """Makes connections in the bed's network: a socket stays in the one that it was made in."""

    def __init__(self) -> None:
        super().__init__()
        # a thread of its own, since each has its network
        self.thread = ThreadPoolExecutor(1, initializer=enter_network)

    def connect_tcp(self, *words: Any, **named: Any) -> httpcore.NetworkStream:
        return self.thread.submit(super().connect_tcp, *words, **named).result()


@dataclass
class Cluster:
    """The bed, the overlay, and the folder that is the service's disk."""

    overlay: Path
    disk: Path
    variables: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *words: str, fails: bool = False) -> str:
        done = subprocess.run(
            [*INSIDE, "kubectl", "--namespace", NAMESPACE, *words],
            env={**os.environ, **self.variables}, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, f"{words}: {done.stdout}\n{done.stderr}\n{self.state()}"
        return done.stdout

    def state(self) -> str:
        """Return what is to be known where something went wrong."""
        said = [
            subprocess.run(
                [*INSIDE, "kubectl", "--namespace", NAMESPACE, *words],
                env={**os.environ, **self.variables}, capture_output=True, text=True, check=False, timeout=60,
            ).stdout
            for words in (
                ["get", "pods,persistentvolumeclaims,jobs"],
                ["get", "events"],
                ["logs", "deployment/eemt-service", "--tail=40"],
            )
        ]  # fmt: skip
        return "\n".join(said)[-6000:]

    def get(self, what: str, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", what, *words, "--output", "json"))
        return found

    def pods(self) -> list[dict[str, Any]]:
        """Return the service's pods that are not on their way out."""
        found = self.get("pods", "--selector", "app.kubernetes.io/name=eemt-service")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def wait_until_ready(self) -> dict[str, Any]:
        """Wait for the one pod, which was restarted before there was an account."""
        self.kubectl("rollout", "status", "deployment/eemt-service", "--timeout", "240s")
        (pod,) = self.pods()
        return pod

    def inside(self, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command in the service's container."""
        return subprocess.run(
            [*INSIDE, "kubectl", "--namespace", NAMESPACE, "exec", "deployment/eemt-service", "--", *words],
            env={**os.environ, **self.variables}, capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip

    def address(self) -> str:
        """Return the address that the Service has for what is sent to it."""
        (subset,) = self.get("endpoints", "eemt-web")["subsets"]
        return f"http://{subset['addresses'][0]['ip']}:{subset['ports'][0]['port']}"

    def client(self, token: str = "") -> httpx.Client:
        transport = httpx.HTTPTransport()
        transport._pool = httpcore.ConnectionPool(network_backend=InsideNetwork())
        headers = {"Host": NAME, **({"Authorization": f"Bearer {token}"} if token else {})}
        return httpx.Client(base_url=self.address(), headers=headers, transport=transport, timeout=60)


@contextmanager
def applied(
    folder: Path,
    manifests: str,
    *images: str,
    access: str = "ReadWriteOnce",
    settings: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Cluster]:
    """Apply the manifests of a folder, with settings and files on the disk of a site's own; there is no account yet."""
    is_ours = not is_up("kubernetes")
    if is_ours:
        bed("kubernetes", "up")
    for name in images:
        bed("kubernetes", "load", name)
    cluster = Cluster(folder / "overlay", folder / "disk", exported("kubernetes"))
    cluster.disk.mkdir()
    # disks of a storage class get the pod's group from the node; a folder keeps its owner
    for name, text in files.items():
        (cluster.disk / name).parent.mkdir(parents=True, exist_ok=True)
        (cluster.disk / name).write_text(text)
    os.chown(cluster.disk, 1000, 1000)
    write_overlay(cluster, manifests, access, settings)
    try:
        if access == "ReadWriteMany":
            cluster.kubectl("apply", "--kustomize", str(MANIFESTS / "base"))
        cluster.kubectl("apply", "--kustomize", str(cluster.overlay))
        yield cluster
    finally:
        cluster.kubectl("delete", "--kustomize", str(cluster.overlay), "--ignore-not-found", "--timeout", "280s")
        if is_ours:
            bed("kubernetes", "down")


def write_overlay(cluster: Cluster, manifests: str, access: str, settings: Mapping[str, str]) -> None:
    """Write the manifests with a disk of the node's and the addresses of its network."""
    cluster.overlay.mkdir()
    disk = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "eemt-service"},
        "spec": {
            "capacity": {"storage": "200Gi"},
            "accessModes": [access],
            "hostPath": {"path": str(cluster.disk)},
            "claimRef": {"namespace": NAMESPACE, "name": "eemt-service"},
        },
    }
    # the API server's address for pods leads nowhere without kube-proxy; a variable of the pod's own goes before it
    config = yaml.safe_load(Path(cluster.variables["KUBECONFIG"]).read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    literals = [
        *(f"{name}={value}" for name, value in settings.items()),
        f"KUBERNETES_SERVICE_HOST={server.hostname}",
        f"KUBERNETES_SERVICE_PORT={server.port}",
        f'EEMT_SERVICE_PROXIES=["{BED_NETWORK}"]',
        f'EEMT_SERVICE_METRICS_FROM=["{BED_NETWORK}"]',
    ]
    customization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / manifests, cluster.overlay.resolve()), "disk.yaml"],
        "configMapGenerator": [
            {"name": "eemt-service", "namespace": NAMESPACE, "behavior": "merge", "literals": literals}
        ],
    }
    (cluster.overlay / "disk.yaml").write_text(yaml.safe_dump(disk))
    (cluster.overlay / "kustomization.yaml").write_text(yaml.safe_dump(customization))


def first_account(cluster: Cluster, folder: Path) -> str:
    """Make the first operator as docs/service.md says, wait for the service, and return a token of hers."""
    until_it_says(cluster, "accounts: there is none yet")
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    cluster.kubectl(
        "create", "secret", "generic", "eemt-first-account", "--from-literal=name=olga", f"--from-file={password}"
    )
    cluster.kubectl("apply", "--filename", str(MANIFESTS / "service/first-account.yaml"))
    cluster.kubectl("wait", "--for=condition=complete", "job/eemt-first-account", "--timeout=120s")
    cluster.kubectl("delete", "secret/eemt-first-account", "job/eemt-first-account")
    cluster.wait_until_ready()
    done = cluster.inside("eemt", "account", "token", "olga")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def until_it_says(cluster: Cluster, text: str) -> None:
    """Wait until the service's container has ended and said why."""
    said = ""
    for _ in range(240):
        for pod in cluster.pods():
            for status in pod["status"].get("containerStatuses", []):
                if status["restartCount"] or "terminated" in status["state"]:
                    previous = ["--previous"] if status["restartCount"] else []
                    said = cluster.kubectl("logs", pod["metadata"]["name"], *previous)
        if text in said:
            return
        time.sleep(0.5)
    raise AssertionError(f"{said}\n{cluster.state()}")


def digests(client: httpx.Client, job: str) -> dict[str, str]:
    """Return what the service hands out of a job's files, as checksums."""
    files = [item["path"] for item in client.get(f"{API}/jobs/{job}/files").json()["items"]]
    return {
        path: hashlib.sha256(client.get(f"{API}/jobs/{job}/files/{path}").content).hexdigest()
        for path in files
        if path.endswith((".tif", ".csv"))
    }
