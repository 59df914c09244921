"""The service's own manifests on a real Kubernetes: from nothing to a job's results that outlive their pod.

The cluster is tests/beds/kubernetes.sh, one node of version 1.20. It is brought up for this module where it is not up
yet, and taken down again. `containers/kubernetes/service` is applied as it is, in an overlay that adds what the bed
lacks: a disk (there is no storage class that makes one) and the addresses of the bed's network. What the bed cannot
show:

- It has no kube-proxy, so the Service's own address leads nowhere. The Service is asked through the API server, and
  requests with a token go to the address that the Service has for it, as an ingress controller sends them.
- It has no ingress controller: the ingress is taken, and what it names is compared with what is there.
- It has no network plugin that would hold requests back: of the network policy, too, it is shown that it is taken, and
  whom it lets through.
- Version 1.20 does not know the standards of the namespace's label yet: what they ask for is looked at in the pod.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
import yaml

from service_systems import cluster
from service_systems.asking import API, send, submit, wait_for
from service_systems.cluster import MANIFESTS, NAME, NAMESPACE, PASSWORD, Cluster, digests, first_account, missing_for
from service_systems.test_postgresql import AREA
from sites import BOULDER

IMAGE = cluster.image("web")
RESULT = "monthly_global.tif"


@pytest.fixture(scope="module")
def applied(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The manifests, applied, before there is an account."""
    require("kubernetes", lambda: missing_for(IMAGE))
    with cluster.applied(tmp_path_factory.mktemp("cluster"), "service", IMAGE) as applied:
        yield applied


@pytest.fixture(scope="module")
def token(applied: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A token of the first operator."""
    return first_account(applied, tmp_path_factory.mktemp("secret"))


@pytest.fixture(scope="module")
def client(applied: Cluster, token: str) -> Iterator[httpx.Client]:
    with applied.client(token) as client:
        yield client


@pytest.fixture(scope="module")
def job(client: httpx.Client) -> str:
    """The identifier of a small job that ran in the pod."""
    upload = send(client, BOULDER)
    job = wait_for(client, submit(client, "canyon", upload, dem={"source": {"upload": upload}, **AREA}), seconds=600)
    log = client.get(f"{API}/jobs/{job['id']}/logs").text
    assert job["state"] == "completed", f"{job}\n{log[-3000:]}"
    return str(job["id"])


def test_it_becomes_ready_and_answers_through_the_service(applied, token):
    assert token
    (pod,) = applied.pods()
    assert {item["type"]: item["status"] for item in pod["status"]["conditions"]}["Ready"] == "True"
    path = f"/api/v1/namespaces/{NAMESPACE}/services/eemt-web:http/proxy/health/ready"
    said = json.loads(applied.kubectl("get", "--raw", path))
    assert said == {"status": "ok", "checks": {"database": "ok", "disk": "ok", "queue": "ok"}}


def test_a_job_runs_in_the_pod(client, job):
    files = [item["path"] for item in client.get(f"{API}/jobs/{job}/files").json()["items"]]
    assert any(path.endswith(RESULT) for path in files), files
    system = client.get(f"{API}/system").json()
    assert (system["execution"]["executor"], system["accounts"]) == ("local", True)


def test_strangers_are_kept_out_and_other_names_too(applied, token):
    assert token
    with applied.client() as stranger:
        assert stranger.get(f"{API}/jobs").status_code == 401
        assert stranger.get(f"{API}/jobs", headers={"Host": "elsewhere.example.org"}).status_code == 400


def test_prometheus_reads_and_those_whom_the_ingress_passes_on_do_not(applied, token):
    assert token
    with applied.client() as stranger:
        assert "eemt_jobs{" in stranger.get("/metrics").text
        assert stranger.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"}).status_code in (401, 403)


def test_the_audit_trail_has_the_addresses_that_the_ingress_passes_on(applied, client):
    passed_on = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    with applied.client() as browser:
        signed_in = browser.post(f"{API}/session", json={"name": "olga", "password": PASSWORD}, headers=passed_on)
    assert signed_in.is_success, signed_in.text
    lines = client.get(f"{API}/audit").json()["items"]
    assert "192.0.2.7" in {line["address"] for line in lines}


def test_nothing_in_the_container_can_be_written_but_disk_and_scratch(applied, token):
    assert token
    for path in ("/opt/eemt/x", "/etc/x", "/home/eemt/x", "/run/x"):
        done = applied.inside("touch", path)
        assert done.returncode != 0 and "Read-only file system" in done.stderr, path
    for path in ("/data/x", "/tmp/x"):
        assert applied.inside("sh", "-c", f"touch {path} && rm {path}").returncode == 0, path


def test_the_container_has_no_rights_of_a_system_s_administrator(applied, token):
    assert token
    assert applied.inside("id", "-u").stdout.strip() == "1000"
    # the first process of the container is the service itself
    status = dict(
        line.split(":\t", 1) for line in applied.inside("cat", "/proc/1/status").stdout.splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == ["1000"] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_pod_has_no_key_to_the_cluster_and_its_account_no_rights(applied, token):
    assert token
    assert applied.inside("ls", "/var/run/secrets/kubernetes.io").returncode != 0
    asker = f"system:serviceaccount:{NAMESPACE}:eemt-service"
    for verb, what in (("get", "pods"), ("create", "pods"), ("get", "secrets"), ("list", "nodes")):
        assert applied.kubectl("auth", "can-i", verb, what, "--as", asker, fails=True).strip() == "no"
    variables = applied.inside("env").stdout
    # a Service of the cluster's would be taken for a setting
    assert not re.search(r"^EEMT_WEB", variables, re.MULTILINE)


def test_the_network_policy_lets_the_ingress_and_prometheus_reach_the_port_and_no_one_else(applied):
    policy = applied.get("networkpolicy", "eemt-service")["spec"]
    (pod,) = applied.get("deployments")["items"]
    labels = pod["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": 8420, "protocol": "TCP"}]
    let_in = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]]
    assert let_in == ["ingress-nginx", "monitoring"]
    assert all(peer.keys() == {"namespaceSelector"} for peer in rule["from"])


def test_the_ingress_leads_to_the_service_by_the_name_that_it_is_known_by(applied):
    ingress = applied.get("ingress.v1.networking.k8s.io", "eemt")["spec"]
    assert ingress["ingressClassName"] == "nginx"
    (rule,) = ingress["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    service = applied.get("service", backend["name"])["spec"]
    assert backend["port"]["name"] in {port["name"] for port in service["ports"]}
    assert service["type"] == "ClusterIP"
    assert rule["host"] == NAME and ingress["tls"][0]["hosts"] == [NAME]
    name = applied.get("deployment", "eemt-service")["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]
    settings = applied.get("configmap", name["configMapRef"]["name"])["data"]
    assert settings["EEMT_SERVICE_PUBLIC_URL"] == f"https://{NAME}"


def test_records_and_results_are_still_there_when_the_pod_is_gone(applied, client, job, token):
    before, kept = client.get(f"{API}/jobs/{job}").json(), digests(client, job)
    assert any(path.endswith(RESULT) for path in kept)
    (pod,) = applied.pods()
    applied.kubectl("delete", "pod", pod["metadata"]["name"], "--timeout=150s")
    new = applied.wait_until_ready()
    assert new["metadata"]["uid"] != pod["metadata"]["uid"]
    # another pod, another address
    with applied.client(token) as anew:
        assert anew.get(f"{API}/jobs/{job}").json() == before
        assert digests(anew, job) == kept


def test_a_job_in_a_pod_that_is_deleted_goes_on_in_the_next_one(applied, token):
    with applied.client(token) as client:
        upload = send(client, BOULDER)
        # it is met in its middle: to start its programs alone takes longer than to ask for the pod's end
        sun = {"step": 30, "shadows": True, "daily": False}
        job = submit(client, "interrupted", upload, dem={"source": {"upload": upload}, **AREA}, sun=sun)
        wait_for(client, job, "running")
    (pod,) = applied.pods()
    applied.kubectl("delete", "pod", pod["metadata"]["name"], "--timeout=150s")
    applied.wait_until_ready()
    with applied.client(token) as client:
        found = wait_for(client, job, seconds=600)
        assert found["state"] == "completed", client.get(f"{API}/jobs/{job}/logs").text[-3000:]
        assert found["attempt"] == 2


def test_the_first_account_s_pod_goes_to_the_node_that_has_the_disk():
    made = yaml.safe_load((MANIFESTS / "service/first-account.yaml").read_text(encoding="utf-8"))
    pod = made["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": "eemt-service"}


def test_only_one_pod_at_a_time_has_the_disk(applied):
    spec = applied.get("deployment", "eemt-service")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert applied.get("persistentvolumeclaim", "eemt-service")["status"]["phase"] == "Bound"
