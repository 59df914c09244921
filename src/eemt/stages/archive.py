"""``eemt archive``: finished sites brought to long-term storage, or given up on the way there."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path

from eemt.archive.catalogues import Catalogues
from eemt.archive.cleaning import finish_cleaning
from eemt.archive.deposit import Deposit
from eemt.archive.discarding import Discarded, discard
from eemt.archive.errors import SourceError, StorageError, TakenError
from eemt.archive.settings import archive_settings
from eemt.archive.telling import tell
from eemt.config import SITE_NAME, ArchiveSettings
from eemt.errors import InputError
from eemt.raster import whole_or_nothing

LOG = logging.getLogger("eemt.archive")


def run(args: argparse.Namespace) -> None:
    """Archive each site, or give it up; what is wrong with one is told at the end, after the others.

    Raises
    ------
    InputError
        When that can be mended here: settings, or a site's files.
    StorageError
        When only places for files are at fault.
    """
    tell()
    settings = archive_settings(args)
    sites = {folder: _site(folder) for folder in args.folders}
    if args.receipt and len(sites) > 1:
        raise InputError("archive: --receipt is for one site alone")
    if args.receipt and args.discard:
        raise InputError("archive: --receipt says how far a dataset is, and --discard leaves none")
    faults: list[InputError | StorageError] = []
    with Catalogues(settings) as catalogues:
        for folder, site in sites.items():
            try:
                if args.discard:
                    print(told(site, discard(site, settings, args.work, catalogues)))
                else:
                    _archive(folder, site, settings, catalogues, args)
            except (InputError, StorageError) as error:
                # read by programs that call this one: the exit code says who can mend it, not what is at fault
                LOG.error("%s: at fault: %s", site, at_fault(error))
                faults.append(error)
    if faults:
        kind = InputError if any(isinstance(error, InputError) for error in faults) else OSError
        raise kind("\n".join(map(str, faults)))


def at_fault(error: InputError | StorageError) -> str:
    """Name what is at fault, in two words."""
    match error:
        case SourceError():
            return "the results"
        case TakenError():
            return "another process"
        case InputError():
            return "the settings"
        case _:
            return "the storage"


def told(site: str, done: Discarded) -> str:
    """Say what became of a dataset that was given up."""
    match done.outcome:
        case "nothing":
            return f"{site}: nothing was begun"
        case "archived":
            return f"{site}: is archived as {done.identifier}, which stays"
        case "taken":
            return f"{site}: given up; another run is at {done.identifier}, and what is there of it stays"
        case "kept":
            return f"{site}: given up; {done.identifier} was archived before, and what the storage has of it stays"
        case _:
            return f"{site}: given up; nothing of {done.identifier} is left in staging and storage"


def _site(folder: Path) -> str:
    site = folder.resolve().name
    if not re.match(SITE_NAME, site):
        raise InputError(f"archive: {folder} is not the folder of a site, such as results/embedded")
    return site


def _archive(
    folder: Path, site: str, settings: ArchiveSettings, catalogues: Catalogues, args: argparse.Namespace
) -> None:
    if cleaned := finish_cleaning(folder, site, settings, args.work):
        print(f"{site}: archived as {cleaned}; its files are removed")
        return
    # of single steps, which may be taken on nodes of a cluster, only the last tells the catalogues
    tells = args.only in ("register", None)
    deposit = Deposit(folder, site, settings, args.work, catalogues if tells else None)
    deposit.run(args.only)
    if args.receipt:
        with whole_or_nothing(args.receipt) as partial:
            partial.write_text(deposit.receipt() + "\n", encoding="utf-8")
    if not tells:
        print(f"{site}: {args.only} is done of {deposit.identifier}")
        return
    size = sum(packed.size for packed in deposit.packed)
    print(
        f"{site}: archived as {deposit.identifier}: {len(deposit.dataset.members)} files in {len(deposit.blocks)} "
        f"blocks, {size / 1e6:,.1f} MB, verified in {deposit.storage.address}"
    )
