"""What a program asks of the service: send a file, submit a job, wait for its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

API = "/api/v1"
FINISHED = ("completed", "failed", "cancelled")
# irradiation as coarse as can be, of which a run takes seconds
QUICK = {"step": 60, "shadows": False, "daily": False}


def send(client: httpx.Client, path: Path, kind: str = "dem", piece: int = 8_000_000) -> str:
    """Upload a file in pieces, wait until it is checked, and return its identifier."""
    made = client.post(f"{API}/uploads", json={"name": path.name, "size": path.stat().st_size, "kind": kind})
    assert made.status_code == 201, made.text
    upload = made.json()
    with path.open("rb") as file:
        while data := file.read(min(piece, upload["chunk_bytes"])):
            headers = {"Upload-Offset": str(file.tell() - len(data)), "Content-Type": "application/octet-stream"}
            answer = client.patch(f"{API}/uploads/{upload['id']}", content=data, headers=headers)
            assert answer.status_code == 200, answer.text
    until = time.monotonic() + 120
    while (state := client.get(f"{API}/uploads/{upload['id']}").json())["state"] in ("receiving", "checking"):
        assert time.monotonic() < until, state
        time.sleep(0.2)
    assert state["state"] == "ready", state
    return str(upload["id"])


def submit(client: httpx.Client, name: str, upload: str, **settings: Any) -> str:
    """Submit a job of irradiation alone and return its identifier."""
    asked = {"dem": {"source": {"upload": upload}}, "sun": QUICK, **settings}
    made = client.post(f"{API}/jobs", json={"name": name, "kind": "sun", "settings": asked})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def wait_for(client: httpx.Client, job: str, *states: str, seconds: float = 300) -> dict[str, Any]:
    """Wait until a job is in one of these states, by default finished, and return it."""
    until = time.monotonic() + seconds
    found: dict[str, Any] = {}
    while time.monotonic() < until:
        try:
            answer = client.get(f"{API}/jobs/{job}")
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == 200:
            found = answer.json()
            if found["state"] in (states or FINISHED):
                return found
        time.sleep(0.3)
    raise AssertionError(f"after {seconds:g} s: {found}")
