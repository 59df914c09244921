"""What of the real systems that the archive is tried with is here: each probe returns None, or what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

STATE = Path(os.environ.get("BED") or "/var/tmp/eemt-beds")
WEED = STATE / "s3" / "venv" / "bin" / "weed"

Probe = Callable[[], str | None]


def s3() -> str | None:
    """Look for SeaweedFS, an S3 server that tests start by themselves."""
    return None if WEED.exists() else "SeaweedFS is not installed; `tests/beds/s3.sh install`"


def rclone() -> str | None:
    """Look for rclone."""
    if shutil.which("rclone") is None:
        return "rclone is not installed; on Debian or Ubuntu as root: `apt-get install rclone`"
    return None


def faketime() -> str | None:
    """Look for libfaketime, which shows a program another time."""
    if shutil.which("faketime") is None:
        return "faketime is not installed; on Debian or Ubuntu as root: `apt-get install faketime`"
    return None


def tmpfs() -> str | None:
    """Mount a small file system, and unmount it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True
            )
        except FileNotFoundError:
            return "there is no mount; run on Linux"
        if done.returncode:
            return "no file system can be mounted; run as root"
        subprocess.run(["umount", folder], check=True)
    return None


PROBES: dict[str, Probe] = {
    "s3": s3,
    "rclone": rclone,
    "faketime": faketime,
    "tmpfs": tmpfs,
}
