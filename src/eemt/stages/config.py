"""``eemt config``: the schema and the reference page of the config file."""

from __future__ import annotations

import argparse

from eemt.reference import as_yaml, json_schema, reference_page


def run(args: argparse.Namespace) -> None:
    """Print one or the other."""
    print(as_yaml(json_schema()) if args.schema else reference_page(), end="")
