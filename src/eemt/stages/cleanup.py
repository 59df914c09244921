"""``eemt cleanup``: what the service keeps no longer, removed or only listed."""

from __future__ import annotations

import argparse

from eemt.errors import InputError


def run(args: argparse.Namespace) -> None:
    """Clean up beside a running service, or without one."""
    try:
        from eemt.service.database import Database
        from eemt.service.retention import Cleaner
        from eemt.service.settings import load_settings
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; the service needs: make setup EXTRAS=service") from None
    settings = load_settings(**({"folder": args.folder} if args.folder else {}))
    if not settings.jobs.is_dir():
        raise InputError(f"cleanup: {settings.jobs} is not there; no service was started on this folder")
    database = Database(settings.database)
    try:
        database.upgrade()
        done = Cleaner(settings, database).clean(args.dry_run)
    finally:
        database.close()
    for item in done.items:
        print(f"{item.kind:<7}{item.id}  {item.bytes / 1e6:>10.1f} MB  {item.name}: {item.why}")
    print(
        f"{'would be removed' if done.dry_run else 'removed'}: {done.bytes / 1e6:.1f} MB; jobs and uploads: "
        f"{len(done.items)}, events: {done.events}, lines of the audit trail: {done.audit}, sign-ins: {done.sign_ins}"
    )
