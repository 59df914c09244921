"""``eemt backup``: the service's database, key, configs, and if asked for its files, in one tar with checksums."""

from __future__ import annotations

import argparse

from eemt.errors import InputError


def run(args: argparse.Namespace) -> None:
    """Write the backup."""
    try:
        from eemt.service.backup import back_up
        from eemt.service.database import Database
        from eemt.service.settings import load_settings
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; the service needs: make setup EXTRAS=service") from None
    settings = load_settings(**({"folder": args.folder} if args.folder else {}))
    if not settings.jobs.is_dir():
        raise InputError(f"backup: {settings.jobs} is not there; no service was started on this folder")
    database = Database(settings.database)
    try:
        contents = back_up(settings, database, args.out, args.with_uploads, args.with_results)
    finally:
        database.close()
    print(
        f"written: {args.out}, {contents.rows.get('jobs', 0)} jobs, {contents.rows.get('users', 0)} users, "
        f"{contents.files} files of {contents.bytes / 1e6:.1f} MB"
    )
