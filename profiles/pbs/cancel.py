#!/usr/bin/env python3
"""Cancel jobs of PBS."""

import subprocess
import sys

if __name__ == "__main__":
    sys.exit(subprocess.run(["qdel", *sys.argv[1:]], stdout=subprocess.DEVNULL, check=False).returncode)
