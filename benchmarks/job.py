"""Run a command and append what it took to a file: ``python -m benchmarks.job FILE COMMAND …``.

A line of JSON a command: its words, when it began and ended, processor seconds and peak memory as
the operating system accounts for them, all its children included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main() -> int:
    """Run, record, and hand on the exit code."""
    record, *command = sys.argv[1:]
    begun = time.time()
    with subprocess.Popen(command) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    line = {
        "stage": command[1],
        "begun": begun,
        "ended": time.time(),
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,  # MiB, of the largest process
        "returncode": process.returncode,
    }
    with open(record, "a", encoding="utf-8") as file:  # noqa: PTH123 - appended in one write, by jobs side by side
        file.write(json.dumps(line) + "\n")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
