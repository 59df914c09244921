"""``eemt fetch``: results of a job on the web service."""

from __future__ import annotations

import argparse
import sys

from eemt.service.client import Client


def run(args: argparse.Namespace) -> None:
    """Fetch all results of a job, checked, or some of its files; print where they are."""
    client = Client.from_settings()
    if args.list:
        for file in client.files(args.id):
            print(f"{file['bytes']:>14,}  {file['path']}")
    elif args.paths:
        for path in args.paths:
            print(client.fetch(args.id, path, args.out, _tell))
    else:
        made = client.fetch_all(args.id, args.out, _tell)
        print(f"{len(made) - 1} files, all as their checksums say, in {made[0].parent}")


def _tell(name: str, there: int, size: int) -> None:
    if sys.stderr.isatty():
        share = 100 * there // size if size else 100
        end = "\n" if there == size else "\r"
        print(f"{name}: {share} % of {size:,} bytes", end=end, file=sys.stderr, flush=True)
