"""``eemt backup``: the service's database, key, configs, and if asked for its files, in one tar with checksums."""

from __future__ import annotations

import argparse

from eemt.service.opening import libraries, settings_in_use


def run(args: argparse.Namespace) -> None:
    """Write the backup."""
    with libraries():
        from eemt.service.backup import back_up
        from eemt.service.database import Database
    settings = settings_in_use(args.folder, "backup")
    database = Database(settings.database)
    try:
        contents = back_up(settings, database, args.out, args.with_uploads, args.with_results)
    finally:
        database.close()
    print(
        f"written: {args.out}, {contents.rows.get('jobs', 0)} jobs, {contents.rows.get('users', 0)} users, "
        f"{contents.files} files of {contents.bytes / 1e6:.1f} MB"
    )
