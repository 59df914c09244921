#!/usr/bin/env python3
"""Submit one of Snakemake's job scripts to PBS and print the job's number. Untested on a real cluster."""

import json
import re
import subprocess
import sys
from pathlib import Path

MARK = "# properties = "


def main(script: str) -> int:
    """Submit the script; return the exit code of qsub."""
    lines = Path(script).read_text(encoding="utf-8").splitlines()
    job = json.loads(next(line for line in lines if line.startswith(MARK)).removeprefix(MARK))
    done = subprocess.run([*command(job), script], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr.strip() or done.stdout.strip(), file=sys.stderr)
        return done.returncode
    print(done.stdout.strip())
    return 0


def command(job: dict) -> list[str]:
    """Return the call of qsub, without the script."""
    wanted = job["resources"]
    logs = Path(".snakemake/pbs_logs").absolute()
    logs.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W", "_", "_".join(["eemt", job["rule"], *job["wildcards"].values()]))[:200]
    chunk = f"select=1:ncpus={job['threads']}"
    chunk += f":mem={wanted['mem_mb']}mb" if "mem_mb" in wanted else ""
    words = ["qsub", "-V", "-S", "/bin/bash", "-j", "oe", "-o", f"{logs}/", "-N", name, "-l", chunk]
    # a PBS that starts a lost job again would run it beside Snakemake's own repetition
    words += ["-r", "n"]
    if "runtime" in wanted:
        hours, minutes = divmod(wanted["runtime"], 60)
        words += ["-l", f"walltime={hours:02d}:{minutes:02d}:00"]
    words += ["-A", wanted["account"]] if "account" in wanted else []
    words += ["-q", wanted["queue"]] if "queue" in wanted else []
    return words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
