#!/usr/bin/env python3
"""Submit one of Snakemake's job scripts to Grid Engine and print the job's number."""

import json
import re
import subprocess
import sys
from pathlib import Path

MARK = "# properties = "
MAPPED = 1500  # MB, address space that Python and its libraries map and never use, but h_vmem counts


def main(script: str) -> int:
    """Submit the script; return the exit code of qsub."""
    lines = Path(script).read_text(encoding="utf-8").splitlines()
    job = json.loads(next(line for line in lines if line.startswith(MARK)).removeprefix(MARK))
    done = subprocess.run([*command(job), script], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr.strip() or done.stdout.strip(), file=sys.stderr)
        return done.returncode
    print(re.match(r"\d+", done.stdout.strip())[0])
    return 0


def command(job: dict) -> list[str]:
    """Return the call of qsub, without the script."""
    wanted, threads = job["resources"], job["threads"]
    logs = Path(".snakemake/sge_logs").absolute()
    logs.mkdir(parents=True, exist_ok=True)
    name = "eemt." + "_".join([job["rule"], *job["wildcards"].values()])
    words = ["qsub", "-terse", "-cwd", "-V", "-S", "/bin/bash", "-j", "y", "-o", str(logs), "-N", name]
    words += ["-pe", wanted["sge_pe"], str(threads)] if threads > 1 else []
    if "mem_mb" in wanted:
        memory = wanted["mem_mb"] + (MAPPED if wanted["sge_memory"] == "h_vmem" else 0)
        # Grid Engine counts memory by core
        words += ["-l", f"{wanted['sge_memory']}={-(-memory // threads)}M"]
    words += ["-l", f"h_rt={60 * wanted['runtime']}"] if "runtime" in wanted else []
    words += ["-P", wanted["account"]] if "account" in wanted else []
    words += ["-q", wanted["queue"]] if "queue" in wanted else []
    return words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
