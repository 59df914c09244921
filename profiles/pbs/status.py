#!/usr/bin/env python3
"""Print what became of a job of PBS: running, success or failed. Untested on a real cluster."""

import json
import subprocess
import sys

UNKNOWN_JOB = 153  # exit status of qstat


def main(number: str) -> str:
    """Return the word for a job."""
    words = ["qstat", "-x", "-f", "-F", "json", number]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == UNKNOWN_JOB:
        return "failed"
    if done.returncode != 0:
        return "running"  # the server does not answer: ask again later
    job = next(iter(json.loads(done.stdout)["Jobs"].values()))
    if job["job_state"] not in ("F", "X"):
        return "running"
    return "success" if job.get("Exit_status") == 0 else "failed"


if __name__ == "__main__":
    print(main(sys.argv[1]))
