"""``eemt restore``: a backup put back, on this machine or another."""

from __future__ import annotations

import argparse

from eemt.service.opening import libraries


def run(args: argparse.Namespace) -> None:
    """Check the backup and put it back."""
    with libraries():
        from eemt.service.restore import check, restore
        from eemt.service.settings import load_settings
    if args.check:
        contents = check(args.source)
        print(f"{args.source}: whole; of {contents.at}, {contents.rows.get('jobs', 0)} jobs, {contents.files} files")
        return
    settings = load_settings(folder=args.folder)
    restored = restore(settings, args.source, args.force)
    contents = restored.contents
    print(f"restored: {contents.rows.get('jobs', 0)} jobs and {contents.rows.get('users', 0)} users of {contents.at}")
    for number, what in (
        (restored.again, "jobs were waiting or running and wait now"),
        (restored.failed, "of those cannot begin again, since their inputs were not in the backup"),
        (restored.without_files, "finished jobs are without results, which were not in the backup"),
        (restored.uploads_gone, "uploads were not in the backup"),
    ):
        if number:
            print(f"{number} {what}")
