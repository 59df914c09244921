#!/usr/bin/env python3
"""Look whether any pinned package has a known vulnerability:  .ci/audit.py [OPTIONS OF pip-audit].

The pins are looked up as they stand in the requirements files, so that what is installed here does not matter. Ends
with code 1 where there is a vulnerability. Where the advisories cannot be had, since there is no network, or since the
package index is a mirror that has none, it says so and ends with code 0: a check that fails on a train is soon left
out, and one that is silent is believed. Continuous integration, which has the network, sees the advisories.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = (*sorted(ROOT.glob("requirements*.txt")), ROOT / "containers/requirements-s3.txt")


def main() -> int:
    """Ask for the advisories of all pins."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--format=json", "--progress-spinner=off"]
    command += ["--disable-pip", "--require-hashes", "--timeout=15", *sys.argv[1:]]
    for path in PINS:
        command += ["--requirement", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        print(f"audit: not done, the advisories cannot be had: {reason[:300]}", file=sys.stderr)
        return 0
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        print("audit: not done, the package index that answers here has no advisories", file=sys.stderr)
        return 0
    found = [(package, advisory) for package in packages for advisory in package.get("vulns", ())]
    for package, advisory in found:
        names = ", ".join([advisory["id"], *advisory.get("aliases", ())])
        mended = ", ".join(advisory.get("fix_versions", ())) or "no version yet"
        print(f"audit: {package['name']} {package['version']} has {names}; mended in {mended}", file=sys.stderr)
    left = f"; nothing is known of {', '.join(unknown)}" if unknown else ""
    print(f"audit: {len(packages) - len(unknown)} packages, {len(found)} vulnerabilities{left}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
