"""``eemt logs``: what a job on the web service writes."""

from __future__ import annotations

import argparse
import sys

from eemt.service.client import Client


def run(args: argparse.Namespace) -> None:
    """Print a job's log, and go on as it grows where that is asked for."""
    client = Client.from_settings()
    if args.rule:
        _print(client.rule_log(args.id, args.rule))
    elif args.follow:
        for text in client.follow_log(args.id):
            _print(text)
    else:
        _print(client.log(args.id, args.lines))


def _print(text: str) -> None:
    # of what a rule's program wrote, nothing is for the terminal to act on
    safe = "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text.replace("\r", "\n"))
    sys.stdout.write(safe)
    sys.stdout.flush()
