"""A real Prometheus reads the service's figures, and its tools accept the rules that come with it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from service_systems.asking import send, submit, wait_for
from service_systems.beds import BEDS
from service_systems.test_postgresql import AREA
from sites import BOULDER, ROOT

MONITORING = ROOT / "containers/monitoring"
BED = BEDS / "prometheus.sh"


def tool(*words: str | Path) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_rules_and_configuration(require, tmp_path):
    require("prometheus")
    assert "SUCCESS" in tool("check", "rules", MONITORING / "rules.yaml")
    # compose.yaml mounts both into one folder
    for name in ("prometheus.yaml", "rules.yaml"):
        (tmp_path / name).write_text((MONITORING / name).read_text())
    assert "SUCCESS" in tool("check", "config", tmp_path / "prometheus.yaml")


def test_alerts_fire_when_they_should_and_not_before(require, tmp_path):
    require("prometheus")
    full = [
        {"series": 'up{job="eemt", instance="a"}', "values": "1+0x400"},
        {"series": 'eemt_disk_free_bytes{folder="jobs", instance="a"}', "values": "6e9+0x60 4e9+0x340"},
        {"series": 'eemt_disk_least_free_bytes{instance="a"}', "values": "5e9+0x400"},
        {"series": 'eemt_database_up{instance="a"}', "values": "1+0x100 0+0x300"},
        {"series": 'eemt_job_oldest_pending_seconds{instance="a"}', "values": "0+60x400"},
        {"series": 'eemt_jobs{state="running", instance="a"}', "values": "1+0x400"},
        {"series": 'eemt_running_limit{instance="a"}', "values": "1+0x400"},
    ]
    checks = [
        ("50m", "EemtDiskLow", 0),
        ("70m", "EemtDiskLow", 1),
        ("100m", "EemtDatabaseDown", 0),
        ("105m", "EemtDatabaseDown", 1),
        # it waits since there is no room
        ("200m", "EemtQueueStands", 0),
        ("200m", "EemtDown", 0),
    ]
    tests = {
        "rule_files": [str(MONITORING / "rules.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": full,
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                        "eval_time": at,
                        "exp_samples": [{"labels": "{}", "value": number}],
                    }
                    for at, alert, number in checks
                ],
            },
            {
                "interval": "1m",
                "input_series": [{"series": 'up{job="eemt"}', "values": "1+0x5 0+0x20"}],
                "promql_expr_test": [
                    {
                        "expr": 'count(ALERTS{alertname="EemtDown", alertstate="firing"})',
                        "eval_time": "15m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            },
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    assert "SUCCESS" in tool("test", "rules", tmp_path / "tests.yaml")


@pytest.fixture
def scraped(require: Callable[..., None], serve: Callable[..., object]) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A service and a Prometheus that reads it each second."""
    require("prometheus")
    server = serve()
    subprocess.run([BED, "up", f"127.0.0.1:{server.port}"], check=True, capture_output=True, timeout=120)
    with (
        httpx.Client(base_url=server.address, timeout=60) as service,
        httpx.Client(base_url="http://127.0.0.1:15090", timeout=30) as prometheus,
    ):
        yield service, prometheus
    subprocess.run([BED, "down"], check=True, timeout=60)


def value(prometheus: httpx.Client, expression: str) -> float | None:
    answer = prometheus.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    found = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def until(prometheus: httpx.Client, expression: str, wanted: Callable[[float], bool]) -> float:
    found = None
    for _ in range(120):
        found = value(prometheus, expression)
        if found is not None and wanted(found):
            return found
        time.sleep(0.5)
    raise AssertionError(f"{expression}: {found}")


def test_it_reads_what_the_service_did(scraped):
    service, prometheus = scraped
    until(prometheus, 'up{job="eemt"}', lambda up: up == 1)
    upload = send(service, BOULDER)
    job = submit(service, "measured", upload, dem={"source": {"upload": upload}, **AREA})
    assert wait_for(service, job)["state"] == "completed"
    until(prometheus, 'eemt_jobs{state="completed"}', lambda jobs: jobs == 1)
    until(prometheus, 'eemt_job_run_seconds_count{kind="sun", state="completed"}', lambda jobs: jobs == 1)
    assert until(prometheus, 'eemt_job_cells_total{kind="sun"}', lambda cells: cells > 0) > 1000
    assert until(prometheus, "sum(eemt_rule_seconds_count)", lambda rules: rules > 2)
    assert until(prometheus, 'eemt_disk_free_bytes{folder="jobs"}', lambda free: free > 0)
    assert until(prometheus, "eemt:requests:rate5m", lambda rate: rate > 0)
    assert value(prometheus, 'count(ALERTS{alertstate="firing"})') is None


def test_what_the_dashboard_asks_for_is_there(scraped):
    service, prometheus = scraped
    until(prometheus, 'up{job="eemt"}', lambda up: up == 1)
    board = json.loads((MONITORING / "grafana/dashboards/eemt.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(asked) > 15
    for expression in asked:
        assert prometheus.get("/api/v1/query", params={"query": expression}).json()["status"] == "success", expression
    names = {
        name for text in [*asked, (MONITORING / "rules.yaml").read_text()] for name in re.findall(r"\beemt_\w+", text)
    }
    there = service.get("/metrics").text
    # those of histograms end otherwise, and the cleanup's are there after the first one
    missing = {
        name
        for name in names
        if name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count").removesuffix("_total") not in there
    }
    assert missing <= {"eemt_cleanup_at_seconds"}


def test_grafana_is_given_the_data_source_that_its_dashboard_names():
    source = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    board = json.loads((MONITORING / "grafana/dashboards/eemt.json").read_text())
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["datasources"][0]["uid"]}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
