"""The archive's commands: what can be asked; what is done stands in ``eemt.stages``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from eemt.config import ArchiveSettings
from eemt.options import add_setting

STEPS = ("pack", "space", "move", "verify", "register")
OF_RETRIEVAL = ("storage", "storage_profile", "retrieval", "retrieval_profile", "catalogue", "reads", "locks", "scicat")


def _archive(command: argparse.ArgumentParser) -> None:
    """Bring finished sites to long-term storage: pack, move and verify them; what was begun is gone on with."""
    command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a site, such as results/embedded")
    _settings(command, (name for name in ArchiveSettings.model_fields if name != "retrieve"))
    command.add_argument(
        "--work", type=Path, default=Path("archive"), metavar="DIR", help="folder of the journals (default: archive)"
    )
    part = command.add_mutually_exclusive_group()
    part.add_argument(
        "--only",
        choices=STEPS,
        metavar="STEP",
        help=f"take one step, and those before it that are not finished: {', '.join(STEPS)}",
    )
    part.add_argument(
        "--discard",
        action="store_true",
        help="give up what was begun: remove it from staging and storage, and never what is archived; the site's own "
        "files stay, and need not be there",
    )
    command.add_argument("--receipt", type=Path, metavar="FILE", help="also write how far it is, as JSON")


def _retrieve(command: argparse.ArgumentParser) -> None:
    """Bring archived datasets back: all of them, or some products, years and tiles; verified once more."""
    command.add_argument(
        "identifiers", nargs="+", metavar="ID", help="identifier of a dataset, or a beginning that no other has"
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder that sites' folders are made in (default: archive.retrieval)"
    )
    command.add_argument(
        "--product",
        action="append",
        default=[],
        metavar="NAME",
        help="only a folder such as maps, or files whose name begins with this, such as eemt_topo; may be repeated",
    )
    command.add_argument(
        "--year", action="append", default=[], metavar="YEAR", help="only files of a year, such as 2003, or of mean"
    )
    command.add_argument("--tile", action="append", default=[], metavar="NAME", help="only files of a tile")
    command.add_argument("--hours", type=float, default=24.0, metavar="H", help="how long links are good for [h]")
    command.add_argument("--force", action="store_true", help="write over files that differ")
    command.add_argument("--receipt", type=Path, metavar="FILE", help="also write what was brought back, as JSON")
    _settings(command, OF_RETRIEVAL)


def _settings(command: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add the option that names a config file, and one for each of some keys of its section archive."""
    whence = command.add_mutually_exclusive_group()
    whence.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="config file whose section archive is taken, options coming first (default: config/config.yaml)",
    )
    whence.add_argument("--settings", metavar="JSON", help="the section archive itself, instead of a config file")
    for name in names:
        add_setting(command, name, ArchiveSettings.model_fields[name])


def _catalogue(command: argparse.ArgumentParser) -> None:
    """List, search, show and verify archived datasets, or rebuild their catalogue from a storage alone."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str, *settings: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        _settings(made, ("catalogue", *settings))
        return made

    _listing(action("list", "list all datasets, the oldest maps first"))
    search = action("search", "list the datasets to which all that is given applies")
    _listing(search)
    _criteria(search)
    show = action("show", "print a dataset's record, blocks and history")
    show.add_argument("id", metavar="ID", help="identifier, or a beginning that no other has")
    show.add_argument("--json", action="store_true", help="as JSON")
    verify = action(
        "verify",
        "read a part of the archived blocks and all tag files, and compare them; exit 1 where one is not as it was "
        "written",
        *("storage", "storage_profile", "verifies", "locks"),
    )
    verify.add_argument("ids", nargs="*", metavar="ID", help="identifiers, or beginnings of them (default: all)")
    part = verify.add_mutually_exclusive_group()
    part.add_argument(
        "--sample",
        default="5",
        metavar="PERCENT",
        help="part of the blocks, at least one of each dataset, those not looked at for longest first (default: 5)",
    )
    part.add_argument("--all", action="store_true", help="read all blocks")
    rebuild = action("rebuild", "take in what a storage holds, by its bags alone", "storage_profile")
    rebuild.add_argument(
        "storage",
        nargs="?",
        default=argparse.SUPPRESS,
        metavar="STORAGE",
        help="a folder, s3://bucket/folder or rclone:remote:folder (default: archive.storage)",
    )


def _listing(command: argparse.ArgumentParser) -> None:
    states = ("packing", "staged", "moving", "verifying", "archived", "failed")
    command.add_argument("--state", choices=states, help="only datasets in this state")
    command.add_argument("--site", metavar="NAME", help="only datasets of this site")
    command.add_argument("--json", action="store_true", help="as JSON")


def _criteria(command: argparse.ArgumentParser) -> None:
    command.add_argument("text", nargs="*", metavar="WORD", help="all of them stand somewhere in the record")
    command.add_argument(
        "--bbox", metavar="W,S,E,N", help="place [degrees], W > E across the antimeridian; write --bbox=W,S,E,N"
    )
    command.add_argument("--years", metavar="YEARS", help="a year, or FIRST:LAST; one in common is enough")
    command.add_argument("--method", metavar="NAME", help="trad, topo or veg")
    command.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="such as sun.linke=2; numbers are compared as numbers; may be repeated",
    )


COMMANDS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "archive": _archive,
    "retrieve": _retrieve,
    "catalogue": _catalogue,
}
