"""What of the real systems that the service is tried with is here: each probe returns None, or what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from executors.beds import compose

BEDS = Path(__file__).parents[1] / "beds"
CHROMIUM = os.environ.get("EEMT_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"

Probe = Callable[[], str | None]


def browser() -> str | None:
    """Look for Debian's Chromium and Playwright, which steers it."""
    if find_spec("playwright") is None:
        return "Playwright is not installed; `make setup`"
    if not Path(CHROMIUM).exists():
        return "Chromium is not installed; on Debian or Ubuntu as root: `apt-get install chromium`"
    return None


def postgresql() -> str | None:
    """Bring PostgreSQL's bed up, where the package is installed."""
    return brought_up("postgresql", "PostgreSQL", "up")


def prometheus() -> str | None:
    """Look for Prometheus and promtool."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return (
        f"{missing[0]} is not installed; as root on Debian or Ubuntu: `tests/beds/prometheus.sh install`"
        if missing
        else None
    )


def brought_up(name: str, title: str, *words: str) -> str | None:
    """Bring a bed up that is not up yet, or say what is missing."""
    bed = BEDS / f"{name}.sh"
    if subprocess.run([bed, "status"], check=False, capture_output=True).returncode == 0:
        return None
    done = subprocess.run([bed, *words], check=False, capture_output=True, text=True, timeout=300)
    return None if done.returncode == 0 else f"{title} did not come up: {done.stderr.strip()[-500:]}"


PROBES: dict[str, Probe] = {
    "browser": browser,
    "postgresql": postgresql,
    "prometheus": prometheus,
    "compose": compose,
}
