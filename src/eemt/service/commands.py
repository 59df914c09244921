"""The service's commands: what can be asked; what is done stands in ``eemt.stages``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def _serve(command: argparse.ArgumentParser) -> None:
    """Start the web service: submit, watch, look at and download jobs in a browser or by its API."""
    command.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, metavar="N", help="port to listen on (default: 8420)")
    command.add_argument("--folder", type=Path, metavar="DIR", help="folder of database, uploads and jobs")
    command.add_argument("--profile", metavar="NAME", help="Snakemake profile that jobs run with (default: local)")


COMMANDS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "serve": _serve,
}
