"""``eemt cleanup``: what the service keeps no longer, removed or only listed."""

from __future__ import annotations

import argparse

from eemt.service.opening import libraries, settings_in_use


def run(args: argparse.Namespace) -> None:
    """Clean up beside a running service, or without one."""
    with libraries():
        from eemt.service.database import Database
        from eemt.service.retention import Cleaner
    settings = settings_in_use(args.folder, "cleanup")
    database = Database(settings.database)
    try:
        database.upgrade()
        done = Cleaner(settings, database).clean(args.dry_run)
    finally:
        database.close()
    for item in done.items:
        print(f"{item.kind:<7}{item.id}  {item.bytes / 1e6:>10.1f} MB  {item.name}: {item.why}")
    for kept in done.kept:
        print(f"stays  {kept.id}  {kept.bytes / 1e6:>10.1f} MB  {kept.name}: {kept.why}")
    print(
        f"{'would be removed' if done.dry_run else 'removed'}: {done.bytes / 1e6:.1f} MB; jobs and uploads: "
        f"{len(done.items)}, events: {done.events}, lines of the audit trail: {done.audit}, sign-ins: {done.sign_ins}"
    )
