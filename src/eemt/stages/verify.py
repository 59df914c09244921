"""``eemt verify``: finished sites compared with the checksums in their RO-Crates."""

from __future__ import annotations

import argparse

from eemt.inventory import CRATE
from eemt.verification import crates, differences, recorded

EXIT_DIFFERENT = 1


def run(args: argparse.Namespace) -> None:
    """Print a line for each file that differs, and exit with 1 if there is one."""
    different = False
    for site, folder in crates(args.results, args.sites).items():
        found = differences(folder, args.threads)
        different |= bool(found)
        for name, what in found:
            print(f"{site}/{name}: {what}")
        if not found:
            print(f"{site}: all {len(recorded(folder / CRATE))} files are as they were written")
    if different:
        raise SystemExit(EXIT_DIFFERENT)
