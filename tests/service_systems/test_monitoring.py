"""Compose's profile `monitoring`: Prometheus finds the service, reads it, has the rules, and answers the dashboard.

Prometheus is Debian's package (2.42) in an image of its own, started as compose.yaml has it, since a registry cannot be
reached from everywhere. Grafana is in no package of Debian's, so it is not started here: what is shown is that each
query of its dashboard is answered by this Prometheus, and that what it is given fits together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import yaml

from service_systems.asking import send, submit, wait_for
from service_systems.stand_ins import image, stand_in
from service_systems.test_compose import FILE, Project, wait_until
from service_systems.test_compose import image as of_ours
from service_systems.test_postgresql import AREA
from sites import BOULDER, ROOT

MONITORING = ROOT / "containers/monitoring"
SERVICE = "http://127.0.0.1:9090/api/v1"
# nothing has failed
EMPTY = {"sum by (rule) (increase(eemt_rule_failures_total[1h]))"}


@pytest.fixture(scope="module")
def monitored(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A service that has run a job, and Prometheus beside it."""
    require("compose")
    require("compose", of_ours("web"))
    require("compose", stand_in("prometheus"))
    password = tmp_path_factory.mktemp("grafana") / "password"
    password.write_text("a long way up the canyon")
    variables = {"EEMT_PROMETHEUS_IMAGE": image("prometheus"), "EEMT_GRAFANA_PASSWORD_FILE": str(password)}
    project = Project(["default", "monitoring"], "web", variables=variables)
    try:
        project.up("web", "prometheus")
        with project.client() as client:
            upload = send(client, BOULDER)
            # begun once the figures of before are read, so that there is a difference
            wait_until(lambda: bool(vector(project, 'up{job="eemt"} == 1')), 120)
            job = wait_for(client, submit(client, "seen", upload, dem={"source": {"upload": upload}, **AREA}))
            assert job["state"] == "completed", job
        wait_until(lambda: bool(vector(project, 'eemt_jobs{state="completed"} == 1')), 120)
        yield project
    finally:
        project.call("down", "--volumes", "--timeout", "20")


def ask(project: Project, path: str, **named: str) -> Any:
    """Ask Prometheus from within its container, since its port is not published."""
    words = f"?{urlencode(named)}" if named else ""
    answer = json.loads(project.inside("prometheus", "wget", "-qO-", f"{SERVICE}/{path}{words}"))
    assert answer["status"] == "success", answer
    return answer["data"]


def vector(project: Project, expression: str) -> list[float]:
    found = ask(project, "query", query=expression)
    assert found["resultType"] == "vector", expression
    return [float(item["value"][1]) for item in found["result"]]


def dashboard() -> list[str]:
    board = json.loads((MONITORING / "grafana/dashboards/eemt.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_prometheus_finds_the_service_that_is_there_and_misses_no_other(monitored):
    (target,) = ask(monitored, "targets")["activeTargets"]
    assert (target["health"], target["labels"]) == ("up", {"instance": "eemt", "job": "eemt"})
    assert vector(monitored, 'up{job="eemt"}') == [1]


def test_all_rules_are_loaded_and_nothing_is_wrong(monitored):
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    written = [rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]]
    wait_until(lambda: all(rule["health"] == "ok" for rule in rules(monitored)), 60)
    assert [rule["name"] for rule in rules(monitored)] == written
    assert not any(rule.get("lastError") for rule in rules(monitored))
    # one that only may come to fire is no wonder on a busy machine
    assert [alert for alert in ask(monitored, "alerts")["alerts"] if alert["state"] == "firing"] == []


def rules(project: Project) -> list[dict[str, Any]]:
    return [rule for group in ask(project, "rules")["groups"] for rule in group["rules"]]


def test_each_query_of_the_dashboard_has_an_answer(monitored):
    asked = dashboard()
    assert len(asked) > 15
    left = set(asked) - EMPTY

    def is_answered() -> bool:
        left.difference_update({expression for expression in left if vector(monitored, expression)})
        return not left

    # a rate needs two readings, and what is recorded of it one more
    wait_until(is_answered, 240, lambda: left)
    assert all(vector(monitored, expression) == [] for expression in EMPTY)


def test_figures_of_the_job_are_those_of_the_service(monitored):
    assert vector(monitored, 'eemt_job_run_seconds_count{kind="sun", state="completed"}') == [1]
    (cells,) = vector(monitored, 'eemt_job_cells_total{kind="sun"}')
    assert cells > 1000
    (seconds,) = vector(monitored, "sum(eemt_rule_seconds_sum)")
    assert 0 < seconds < math.inf


def test_prometheus_is_confined_and_healthy(monitored):
    found = monitored.container("prometheus")
    assert found["Config"]["User"] == "65534:65534"
    assert found["HostConfig"]["ReadonlyRootfs"] and found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["PortBindings"] in ({}, None)
    monitored.until_healthy("prometheus")


def test_grafana_is_given_this_prometheus_and_this_dashboard():
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    grafana, prometheus = services["grafana"], services["prometheus"]
    mounted = dict(volume.removesuffix(":ro").split(":", 1) for volume in grafana["volumes"])
    provisioning = Path(ROOT, "containers", "monitoring/grafana/provisioning")
    assert mounted["./monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert urlsplit(source["url"]).hostname in services and urlsplit(source["url"]).port == 9090
    assert set(prometheus["networks"]) & set(grafana["networks"])
    (provider,) = yaml.safe_load((provisioning / "dashboards/eemt.yaml").read_text())["providers"]
    assert provider["options"]["path"] == mounted["./monitoring/grafana/dashboards"]
