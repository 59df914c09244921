"""The workflow in pods of a real Kubernetes, its files in a real bucket: the same maps, whatever befalls the pods.

The cluster is tests/beds/kubernetes.sh, the bucket's server tests/beds/s3.sh; both are brought up for this module
where they are not up yet, and taken down again. Whoever drives a run here has the rights of containers/kubernetes
and no more.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml

from eemt.grid import Grid
from eemt.raster import write_geotiff
from executors.beds import IMAGE, answers, kubernetes, s3
from executors.runs import Run, assert_same_maps, clip_config
from sites import ROOT, hills

pytestmark = pytest.mark.workflow

BEDS = ROOT / "tests/beds"
INSIDE = ("nsenter", "--net=/run/netns/eemtbed")
NAMESPACE = "eemt"
BUCKET = "eemt-test"
GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 48, 24)
# the last of a chain of three: elevation here, a tile and its slope in pods
SLOPE = "results/clip/terrain/tiles/r000c000/slope.tif"
WORKFLOW = Path("workflow/Snakefile")
OTHER_SLOPE = SLOPE.replace("c000/", "c001/")
# as the image compiles its kernels, so that this machine's processor does not show in the last bit
AS_IN_THE_IMAGE = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}


def bed(name: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([BEDS / f"{name}.sh", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{name}.sh {words}: {done.stdout}{done.stderr}"
    return done


def is_up(name: str) -> bool:
    return bed(name, "status", check=False).returncode == 0


def exported(name: str) -> dict[str, str]:
    """Return what a bed's `env` exports."""
    lines = bed(name, "env").stdout.splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def with_bucket(script: str, folder: Path) -> None:
    """Run lines of Python on ``bucket``, in the beds' network."""
    client = (
        "import os, pathlib, boto3\n"
        "key = 'SNAKEMAKE_STORAGE_S3_'\n"
        "s3 = boto3.resource('s3', endpoint_url=os.environ[key + 'ENDPOINT_URL'], region_name='us-east-1',\n"
        "    aws_access_key_id=os.environ[key + 'ACCESS_KEY'],\n"
        "    aws_secret_access_key=os.environ[key + 'SECRET_KEY'])\n"
        f"bucket = s3.Bucket({BUCKET!r})\n"
    )
    done = subprocess.run(
        [*INSIDE, sys.executable, "-c", client + script],
        cwd=folder, env={**os.environ, **exported("s3")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def can_be_had() -> str | None:
    """Say what is missing here for a cluster and a bucket, or None."""
    os.environ.setdefault("KUBECONFIG", exported("kubernetes")["KUBECONFIG"])
    for key, value in exported("s3").items():
        os.environ.setdefault(key, value)
    if missing := kubernetes() or s3():
        return missing
    if not answers("/usr/bin/docker", "image", "inspect", IMAGE, variables=exported("docker")):
        return f"the docker bed (tests/beds/docker.sh) is not up, or has no image {IMAGE}; build it there"
    if is_up("kubernetes") and is_up("s3"):
        return None
    if os.geteuid() != 0:
        return "the beds are not up, and only root can bring them up"
    binaries = Path(os.environ.get("BED", "/var/tmp/eemt-beds")) / "kubernetes/bin"
    if not (binaries / "kubelet").exists():
        return "Kubernetes is not built yet; as root on Debian 12: `tests/beds/kubernetes.sh build`"
    return None


@dataclass(frozen=True)
class Cluster:
    """The beds, and who drives runs on them."""

    variables: dict[str, str]
    prefix: tuple[str, ...] = INSIDE
    admin: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *words: str) -> str:
        """Call kubectl as the cluster's administrator."""
        done = subprocess.run(
            [*self.prefix, "kubectl", *words],
            env={**os.environ, **self.admin}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def pods(self, phase: str) -> list[str]:
        """List the names of the pods of a phase, such as Running."""
        found = json.loads(self.kubectl("--namespace", NAMESPACE, "get", "pods", "--output", "json"))["items"]
        return [
            pod["metadata"]["name"]
            for pod in found
            if pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]
        ]


@pytest.fixture(scope="module")
def cluster(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require("kubernetes", can_be_had)
    ours = [name for name in ("s3", "kubernetes") if not is_up(name)]
    for name in ours:
        bed(name, "up")
    bed("kubernetes", "load", IMAGE)
    admin = exported("kubernetes")
    cluster = Cluster(variables={}, admin=admin)
    cluster.kubectl("apply", "--kustomize", str(ROOT / "containers/kubernetes/base"))
    config = tmp_path_factory.mktemp("driver") / "kubeconfig"
    config.write_text(yaml.safe_dump(as_driver(cluster, admin["KUBECONFIG"])))
    config.chmod(0o600)
    yield Cluster({"KUBECONFIG": str(config), **exported("s3")}, admin=admin)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    # there is none where no test of this call wanted it
    with_bucket("if bucket.creation_date:\n    bucket.objects.delete()\n    bucket.delete()\n", config.parent)
    for name in ours:
        bed(name, "down")


def as_driver(cluster: Cluster, path: str) -> dict[str, Any]:
    """Return the configuration of a client that has the driver's rights instead of the administrator's."""
    token = ""
    for _ in range(50):
        secrets = json.loads(cluster.kubectl("--namespace", NAMESPACE, "get", "secrets", "--output", "json"))["items"]
        for secret in secrets:
            if secret["metadata"].get("annotations", {}).get("kubernetes.io/service-account.name") == "eemt-driver":
                token = base64.b64decode(secret["data"]["token"]).decode()
        if token:
            break
        time.sleep(0.2)
    config: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    config["users"][0]["user"] = {"token": token}
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Hills on 24 x 48 cells, which are two tiles, with rasters of all that can be one."""
    folder = tmp_path_factory.mktemp("own")
    elevation = hills(GRID.height, GRID.width)
    share = (elevation - elevation.min()) / np.ptp(elevation)
    fields = {"dem": elevation, "albedo": 0.1 + 0.3 * share, "ndvi": 0.8 - 0.5 * share, "canopy_height": 15 * share}
    paths = {name: str(folder / f"{name}.tif") for name in fields}
    for name, values in fields.items():
        write_geotiff(Path(paths[name]), values.astype(np.float32), GRID, [name], "1")
    # as NDVI is mostly handed out: whole numbers with a scale
    shape = {"width": GRID.width, "height": GRID.height, "count": 1, "dtype": "int16"}
    with rasterio.open(paths["ndvi"], "w", crs=GRID.crs, transform=GRID.transform, nodata=-32768, **shape) as ndvi:
        ndvi.write(np.rint(fields["ndvi"] * 1e4).astype(np.int16), 1)
        ndvi.scales = (1e-4,)
    plants = {name: paths[name] for name in ("ndvi", "canopy_height")}
    return clip_config(
        paths["dem"],
        sun={"step": 60, "daily": False, "albedo": paths["albedo"]},
        eemt={"methods": ["topo", "veg"], **plants},
        outputs={"parts": False},
    )


@pytest.fixture(scope="module")
def local(fresh: Callable[..., Run], config: dict[str, Any]) -> Run:
    """The same site on this machine alone: what the pods must arrive at."""
    run = fresh("local", config, variables=AS_IN_THE_IMAGE)
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run


@dataclass(frozen=True)
class PodRun(Run):
    """A folder with the workflow in it, as pods get it, and a folder of its own in the bucket."""

    bucket_folder: str = ""
    profile: str = "kubernetes"

    def words(self, *more: str) -> list[str]:
        return [
            f"--container-image={IMAGE}",
            f"--default-storage-prefix=s3://{BUCKET}/{self.bucket_folder}",
            # the bed's node has two processors or so, and its jobs take seconds
            "--eemt-kubernetes-cpu-scalar=0.45",
            "--max-threads=1",
            "--seconds-between-status-checks=2",
            *more,
        ]

    def to_the_end(self, *more: str) -> str:
        done = self.snakemake(*self.words(*more), profile=self.profile, snakefile=WORKFLOW)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def begin(self, *more: str) -> subprocess.Popen[bytes]:
        return self.start(*self.words(*more), profile=self.profile, snakefile=WORKFLOW)

    def fetch(self, folder: str = "results") -> None:
        """Copy what is in a folder of the bucket to the same one here."""
        with_bucket(
            f"start = {self.bucket_folder!r}\n"
            f"for item in bucket.objects.filter(Prefix=f'{{start}}/{folder}'):\n"
            "    path = pathlib.Path(item.key.removeprefix(f'{start}/'))\n"
            "    path.parent.mkdir(parents=True, exist_ok=True)\n"
            "    item.Object().download_file(str(path))\n",
            self.folder,
        )


@dataclass(frozen=True)
class VolumeRun(PodRun):
    """A folder on a volume that pods mount."""

    claim: str = ""
    profile: str = "kubernetes-volume"

    def words(self, *more: str) -> list[str]:
        return [
            f"--container-image={IMAGE}",
            f"--eemt-kubernetes-persistent-volumes={self.claim}:{self.folder}",
            "--eemt-kubernetes-cpu-scalar=0.45",
            "--max-threads=1",
            "--seconds-between-status-checks=2",
            "--latency-wait=10",
            *more,
        ]


@pytest.fixture
def in_pods(cluster: Cluster, tmp_path: Path, config: dict[str, Any]) -> PodRun:
    run = PodRun(tmp_path, cluster.prefix, cluster.variables, bucket_folder=uuid.uuid4().hex[:8])
    run.configure(config)
    shutil.copytree(ROOT / "workflow", run.folder / "workflow")
    return run


def wait_for(what: Callable[[], Any], seconds: float = 600) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.3)
    raise AssertionError("waited in vain")


def finish(run: PodRun, driver: subprocess.Popen[bytes], seconds: float = 900) -> str:
    """Wait for a driver that was started, and return its output."""
    try:
        code = driver.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        code = -1
    output = (run.folder / "driver.log").read_text()
    assert code == 0, output
    return output


def assert_same_slope(run: PodRun, local: Run) -> None:
    run.fetch()
    assert (run.folder / SLOPE).read_bytes() == (local.folder / SLOPE).read_bytes()


@pytest.fixture
def on_volume(cluster: Cluster, tmp_path: Path, config: dict[str, Any]) -> Iterator[VolumeRun]:
    """A folder that pods mount at the path which it has here: a volume of the one node there is."""
    claim = f"volume-{uuid.uuid4().hex[:8]}"
    about = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": claim}
    parts = [
        {
            "kind": "PersistentVolume",
            "metadata": {"name": claim},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany"],
                "hostPath": {"path": str(tmp_path)},
            },
        },
        {
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": NAMESPACE},
            "spec": {**about, "resources": {"requests": {"storage": "1Gi"}}},
        },
    ]
    manifest = tmp_path / "volume.yaml"
    manifest.write_text(yaml.safe_dump_all([{"apiVersion": "v1", **part} for part in parts]))
    cluster.kubectl("apply", "--filename", str(manifest))
    # pods are another user than who drives the run here
    tmp_path.chmod(0o777)
    prefix = (*cluster.prefix, "sh", "-c", 'umask 0; exec "$@"', "sh")
    run = VolumeRun(tmp_path, prefix, cluster.variables, claim=claim)
    run.configure(config)
    shutil.copytree(ROOT / "workflow", run.folder / "workflow")
    yield run
    cluster.kubectl("delete", "--filename", str(manifest), "--wait=false")


def test_without_the_kubernetes_package_snakemake_starts_and_the_executor_says_what_to_install():
    script = (
        "import sys\n"
        "sys.modules['snakemake_executor_plugin_kubernetes'] = None\n"
        "import snakemake_executor_plugin_eemt_kubernetes as plugin\n"
        "from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry as Registry\n"
        "Registry.validate_plugin(object.__new__(Registry), 'eemt-kubernetes', plugin)\n"
        "plugin.Executor.__post_init__(None)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("pip install 'eemt[kubernetes]'"), done.stderr


def test_maps_from_pods_equal_those_of_one_machine(cluster: Cluster, in_pods: PodRun, local: Run):
    output = in_pods.to_the_end()
    in_pods.fetch()
    assert_same_maps(in_pods, local)
    assert in_pods.result("summary.csv").read_bytes() == local.result("summary.csv").read_bytes()
    assert in_pods.result("report.html").stat().st_size > 100_000
    assert f"s3://{BUCKET}/{in_pods.bucket_folder}/results/clip/maps" in output
    # neither keys nor leftovers
    assert in_pods.variables["SNAKEMAKE_STORAGE_S3_SECRET_KEY"] not in output
    secrets = json.loads(cluster.kubectl("--namespace", NAMESPACE, "get", "secrets", "--output", "json"))["items"]
    assert not [secret for secret in secrets if secret["type"] == "Opaque"]
    again = in_pods.to_the_end("--dry-run")
    assert "Nothing to be done" in again


@pytest.mark.skipif(os.environ.get("EEMT_LONG") != "1", reason="takes some 6 minutes; EEMT_LONG=1 asks for it")
def test_embedded_default_in_pods_gives_the_maps_of_one_machine(cluster: Cluster, tmp_path: Path):
    folders = {"local": tmp_path / "local", "pods": tmp_path / "pods"}
    for folder in folders.values():
        shutil.copytree(ROOT / "config", folder / "config")
    here = Run(folders["local"], variables=AS_IN_THE_IMAGE)
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    run = PodRun(folders["pods"], cluster.prefix, cluster.variables, bucket_folder=uuid.uuid4().hex[:8])
    shutil.copytree(ROOT / "workflow", run.folder / "workflow")
    start = time.monotonic()
    output = run.to_the_end()
    seconds = time.monotonic() - start
    pods = output.count("Get status with:")
    benchmarks = here.folder.glob("logs/benchmarks/boulder/**/*.tsv")
    work = sum(float(path.read_text().splitlines()[1].split("\t")[0]) for path in benchmarks)
    print(f"\nKubernetes: {pods} pods in {seconds:.0f} s; on this machine alone rules took {work:.0f} s in all")
    run.fetch("results/boulder/maps")
    assert_same_maps(run, here, "boulder")


def test_a_pod_that_runs_out_of_memory_is_tried_again_with_more(in_pods: PodRun, local: Run):
    # 30 MB are too few for Python and what it loads, 480 are enough
    output = in_pods.to_the_end("--set-resources", "terrain:mem_mb=30*16**(attempt-1)", "--", SLOPE)
    assert "OOMKilled" in output
    assert "Trying to restart job" in output
    assert_same_slope(in_pods, local)


def test_a_failed_pod_leaves_its_output_and_the_others_go_on(in_pods: PodRun):
    rule = in_pods.folder / "workflow/rules/terrain.smk"
    text = rule.read_text()
    assert '"eemt terrain ' in text
    rule.write_text(
        text.replace('"eemt terrain ', '"[ {wildcards.tile} = r000c001 ] || set -- --far; eemt terrain $@ ')
    )
    done = in_pods.snakemake(
        *in_pods.words("--retries=1", "--", SLOPE, OTHER_SLOPE),
        profile=in_pods.profile,
        snakefile=WORKFLOW,
    )
    assert done.returncode == 1
    assert done.stdout.count("failed: Error with exit code 1") == 2
    # the reason, as it stands in the job's log
    assert done.stdout.count("unrecognized arguments: --far") == 2
    in_pods.fetch()
    assert (in_pods.folder / OTHER_SLOPE).exists()
    assert not (in_pods.folder / SLOPE).exists()


def test_a_deleted_pod_and_a_deleted_job_are_done_again(cluster: Cluster, in_pods: PodRun, local: Run):
    driver = in_pods.begin("--", SLOPE)
    pod = wait_for(lambda: cluster.pods("Running"))[0]
    cluster.kubectl("--namespace", NAMESPACE, "delete", "pod", pod, "--wait=false")
    wait_for(lambda: "of tile" in (in_pods.folder / "driver.log").read_text())
    pod = wait_for(lambda: cluster.pods("Running"))[0]
    job = pod.rpartition("-")[0]
    cluster.kubectl("--namespace", NAMESPACE, "delete", "job", job, "--wait=false")
    output = finish(in_pods, driver)
    assert f"{job} is gone" in output
    assert_same_slope(in_pods, local)


def test_a_bucket_that_is_gone_for_a_minute_is_waited_for(cluster: Cluster, in_pods: PodRun, local: Run):
    driver = in_pods.begin("--", SLOPE)
    wait_for(lambda: cluster.pods("Running"))
    bed("s3", "down")
    time.sleep(60)
    bed("s3", "up")
    finish(in_pods, driver)
    assert_same_slope(in_pods, local)


def test_on_a_shared_volume_a_killed_driver_s_pods_are_ended_before_the_next_begin(
    cluster: Cluster, on_volume: VolumeRun, local: Run
):
    # pods are at work until they are ended, however quick they would be
    rule = on_volume.folder / "workflow/rules/dem.smk"
    text = rule.read_text()
    assert '"eemt tile ' in text
    rule.write_text(text.replace('"eemt tile ', '"[ -e go ] || {{ touch begun; sleep 600; }}; eemt tile '))
    driver = on_volume.begin("--", SLOPE)
    wait_for((on_volume.folder / "begun").exists)
    left = cluster.pods("Running")
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    (on_volume.folder / "go").touch()
    assert on_volume.snakemake("--unlock", profile=on_volume.profile, snakefile=WORKFLOW).returncode == 0
    output = on_volume.to_the_end("--", SLOPE)
    assert "is of an earlier run of this folder; it is ended" in output
    assert not set(left) & set(cluster.pods("Running"))
    assert (on_volume.folder / SLOPE).read_bytes() == (local.folder / SLOPE).read_bytes()


def test_a_run_whose_files_pods_would_not_see_is_refused(on_volume: VolumeRun, tmp_path: Path):
    done = on_volume.snakemake(
        *on_volume.words("--eemt-kubernetes-persistent-volumes=elsewhere:/data", "--", SLOPE),
        profile=on_volume.profile, snakefile=WORKFLOW,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{tmp_path} is on no volume that pods mount, which are at /data" in done.stdout
