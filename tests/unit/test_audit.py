"""The audit of dependencies fails on a known vulnerability, and says so where it could not look."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci/audit.py"

pytest.importorskip("pip_audit", reason="pip-audit is not installed")


class Advisories(BaseHTTPRequestHandler):
    """OSV's answers, as far as pip-audit asks for them: one package has a vulnerability."""

    vulnerable = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        advisory = {"id": "PYSEC-2026-1", "summary": "Bad", "aliases": ["CVE-2026-1"], "affected": []}
        body = json.dumps({"vulns": [advisory]} if name == self.vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - named by the library
        """Write nothing."""


@pytest.fixture
def advisories() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


def audit(address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(AUDIT), "--vulnerability-service", "osv", "--osv-url", address]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_known_vulnerability_fails(advisories: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Advisories, "vulnerable", "numpy")
    done = audit(advisories)
    assert done.returncode == 1, done.stderr
    assert "numpy" in done.stderr
    assert "PYSEC-2026-1, CVE-2026-1" in done.stderr


def test_without_vulnerabilities_it_passes(advisories: str) -> None:
    done = audit(advisories)
    assert done.returncode == 0, done.stderr
    assert "0 vulnerabilities" in done.stdout


def test_where_the_advisories_cannot_be_had_it_says_so_and_passes() -> None:
    done = audit("http://127.0.0.1:9/v1/query")
    assert done.returncode == 0
    assert "not done, the advisories cannot be had" in done.stderr
