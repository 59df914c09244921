"""The service on a real Kubernetes whose jobs run as pods beside it, on a volume that they share.

As test_kubernetes_service.py, with the overlay on `containers/kubernetes/service-pods`. The volume is a folder of the
one node there is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import rasterio

from eemt.stages.profile import FILE, find_profile
from service_systems import cluster
from service_systems.asking import API, QUICK, send, submit, wait_for
from service_systems.cluster import NAMESPACE, Cluster, first_account, missing_for
from service_systems.test_postgresql import AREA
from sites import BOULDER

IMAGES = tuple(cluster.image(name) for name in ("web-kubernetes", "web", "eemt"))  # service, its first account, jobs
# the bed's node has two processors, of which the service asks for one, and its jobs take seconds
OWN = {
    "max-threads: 4": "max-threads: 1",
    "cpu-scalar: 0.95": "cpu-scalar: 0.45",
    "status-checks: 5": "status-checks: 2",
    "latency-wait: 60": "latency-wait: 10",
}
SMALL = {"tiles": {"size": 128}}
SITE = "canyon"


@pytest.fixture(scope="module")
def applied(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require("kubernetes", lambda: missing_for(*IMAGES))
    profile = (find_profile("kubernetes-volume") / FILE).read_text()
    for key, value in OWN.items():
        assert key in profile
        profile = profile.replace(key, value)
    with cluster.applied(
        *(tmp_path_factory.mktemp("cluster"), "service-pods", *IMAGES),
        access="ReadWriteMany",
        settings={"EEMT_SERVICE_PROFILE": "/data/profile"},
        files={f"profile/{FILE}": profile},
    ) as applied:
        yield applied


@pytest.fixture(scope="module")
def token(applied: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    return first_account(applied, tmp_path_factory.mktemp("secret"))


@pytest.fixture
def client(applied: Cluster, token: str) -> Iterator[httpx.Client]:
    with applied.client(token) as client:
        yield client


def pods_of_jobs(applied: Cluster) -> list[str]:
    """Return the names of the pods that jobs of the workflow run in."""
    return [pod["metadata"]["name"] for pod in applied.get("pods", "--selector", "eemt-run")["items"]]


def until_pods_run(applied: Cluster) -> list[str]:
    for _ in range(600):
        if pods := pods_of_jobs(applied):
            return pods
        time.sleep(0.5)
    raise AssertionError(applied.state())


def said(client: httpx.Client, job: str) -> str:
    return client.get(f"{API}/jobs/{job}/logs").text[-4000:]


def begin(client: httpx.Client, name: str, **sun: object) -> str:
    upload = send(client, BOULDER)
    return submit(client, name, upload, dem={"source": {"upload": upload}, **AREA}, sun={**QUICK, **sun}, **SMALL)


def assert_same_rasters(ours: Path, theirs: Path) -> None:
    """Assert that two runs made the same rasters, and that each value of each band is the same to the last bit."""
    names = sorted(str(path.relative_to(theirs)) for path in theirs.glob(f"results/{SITE}/**/*.tif"))
    assert f"results/{SITE}/sun/monthly_global.tif" in names
    assert names == sorted(str(path.relative_to(ours)) for path in ours.glob(f"results/{SITE}/**/*.tif"))
    for name in names:
        with rasterio.open(ours / name) as one, rasterio.open(theirs / name) as other:
            np.testing.assert_array_equal(one.read().view(np.uint8), other.read().view(np.uint8), err_msg=name)


@pytest.fixture(scope="module")
def job(applied: Cluster, token: str) -> str:
    """A job that ran in pods."""
    with applied.client(token) as client:
        job = begin(client, SITE)
        pods = until_pods_run(applied)
        found = wait_for(client, job, seconds=900)
        assert found["state"] == "completed", said(client, job)
        assert pods
    return job


def test_doctor_finds_the_cluster_its_rights_and_the_volume(applied, token):
    assert token
    done = applied.inside("eemt", "doctor")
    lines = done.stdout
    assert "good  executor: eemt-kubernetes: answers, and lets jobs be driven in the namespace eemt" in lines, lines
    assert "good  results: /data/jobs is on a volume that pods mount" in lines, lines


def test_doctor_says_what_an_account_may_not_do_and_where_there_is_no_cluster(applied, token):
    assert token
    elsewhere = "sed 's/namespace: eemt/namespace: default/' $(python -c \"{}\") > /tmp/p/profile.v9+.yaml".format(
        "from eemt.stages.profile import FILE, find_profile; print(find_profile('kubernetes-volume') / FILE)"
    )
    done = applied.inside("sh", "-c", f"mkdir -p /tmp/p && {elsewhere} && eemt doctor --profile /tmp/p")
    assert done.returncode == 1
    lacking = "in the namespace default it may not create jobs, get jobs, list jobs, delete jobs"
    assert lacking in done.stdout, done.stdout
    done = applied.inside("env", "-u", "KUBERNETES_SERVICE_HOST", "eemt", "doctor")
    assert done.returncode == 1
    assert "there is no key to a cluster" in done.stdout, done.stdout


def test_jobs_run_in_pods_and_their_results_are_looked_at_in_the_service(client, job):
    files = [item["path"] for item in client.get(f"{API}/jobs/{job}/files").json()["items"]]
    assert any(path.endswith("monthly_global.tif") for path in files), files
    maps = client.get(f"{API}/jobs/{job}/maps").json()["items"]
    assert maps
    system = client.get(f"{API}/system").json()
    assert system["execution"]["executor"] == "eemt-kubernetes"
    progress = client.get(f"{API}/jobs/{job}/progress").json()
    assert {rule["rule"] for rule in progress["rules"]} >= {"dem", "terrain"}


def test_maps_are_those_of_a_run_without_pods(applied, job):
    """In the service's own pod, by hand, with the config of the job."""
    work = "/data/by-hand"
    copied = applied.inside(
        "sh", "-c", f"mkdir {work} && cp -r /data/jobs/{job}/config /data/jobs/{job}/inputs {work}/"
    )
    assert copied.returncode == 0, copied.stderr
    share = "/opt/eemt/share/eemt"
    done = applied.inside(
        *("snakemake", "--snakefile", f"{share}/workflow/Snakefile", "--profile", f"{share}/profiles/local"),
        *("--directory", work),
        seconds=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert_same_rasters(applied.disk / "jobs" / job, applied.disk / "by-hand")


def test_nothing_is_left_in_the_cluster_when_a_job_is_over(applied, job):
    assert job
    assert applied.get("jobs")["items"] == []
    opaque = [item for item in applied.get("secrets")["items"] if item["type"] == "Opaque"]
    assert opaque == []


def test_a_cancelled_job_takes_its_pods_along(applied, client):
    job = begin(client, "cancelled", step=5, shadows=True)
    until_pods_run(applied)
    assert client.post(f"{API}/jobs/{job}/cancel").is_success
    assert wait_for(client, job, seconds=120)["state"] == "cancelled"
    for _ in range(120):
        if not pods_of_jobs(applied):
            return
        time.sleep(0.5)
    raise AssertionError(applied.state())


def test_a_killed_service_goes_on_and_no_map_has_two_writers(applied, token, client, job):
    again = begin(client, SITE)
    old = until_pods_run(applied)
    (pod,) = applied.pods()
    applied.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    applied.wait_until_ready()
    with applied.client(token) as anew:
        found = wait_for(anew, again, seconds=900)
        log = said(anew, again)
    assert (found["state"], found["attempt"]) == ("completed", 2), log
    assert not set(old) & set(pods_of_jobs(applied))
    assert_same_rasters(applied.disk / "jobs" / again, applied.disk / "jobs" / job)


def test_the_service_may_drive_jobs_and_its_jobs_may_nothing(applied, token):
    assert token
    driver, runner = (f"system:serviceaccount:{NAMESPACE}:{name}" for name in ("eemt-driver", "eemt-job"))
    assert applied.kubectl("auth", "can-i", "create", "jobs.batch", "--as", driver).strip() == "yes"
    for verb, what in (("get", "secrets"), ("list", "nodes"), ("create", "pods"), ("get", "configmaps")):
        assert applied.kubectl("auth", "can-i", verb, what, "--as", driver, fails=True).strip() == "no"
    for verb, what in (("create", "jobs.batch"), ("list", "pods"), ("get", "secrets")):
        assert applied.kubectl("auth", "can-i", verb, what, "--as", runner, fails=True).strip() == "no"


def test_the_disk_is_one_for_all(applied):
    claim = applied.get("persistentvolumeclaim", "eemt-service")
    assert (claim["status"]["phase"], claim["spec"]["accessModes"]) == ("Bound", ["ReadWriteMany"])
    assert json.loads(applied.kubectl("get", "deployment", "eemt-service", "--output", "json"))["spec"]["replicas"] == 1
