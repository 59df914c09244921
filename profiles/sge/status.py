#!/usr/bin/env python3
"""Print what became of a job of Grid Engine: running, success or failed."""

import re
import subprocess
import sys
import time
from pathlib import Path

# the accounting file lags behind; a job that neither qstat nor qacct knows so long is lost
LOST_AFTER = 180  # s


def main(number: str) -> str:
    """Return the word for a job."""
    queue = subprocess.run(["qstat", "-u", "*"], capture_output=True, text=True, check=False)
    if queue.returncode != 0:
        return "running"  # the master does not answer: ask again later
    state = next((row.split()[4] for row in queue.stdout.splitlines() if row.split()[:1] == [number]), None)
    if state is not None:
        if "E" not in state:
            return "running"
        # it could not be started, and would stay in the queue for ever
        subprocess.run(["qdel", number], capture_output=True, check=False)
        return "failed"
    account = subprocess.run(["qacct", "-j", number], capture_output=True, text=True, check=False)
    if account.returncode == 0:
        ended = dict(re.findall(r"^(failed|exit_status)\s+(\d+)", account.stdout, re.M))
        return "success" if set(ended.values()) == {"0"} else "failed"
    return "failed" if seconds_unknown(number) > LOST_AFTER else "running"


def seconds_unknown(number: str) -> float:
    """Return since when a job has been unknown, remembered in a file."""
    mark = Path(f".snakemake/sge_logs/{number}.unknown")
    mark.parent.mkdir(parents=True, exist_ok=True)
    if not mark.exists():
        mark.touch()
    return time.time() - mark.stat().st_mtime


if __name__ == "__main__":
    print(main(sys.argv[1]))
