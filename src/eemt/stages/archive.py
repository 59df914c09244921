"""``eemt archive``: finished sites brought to long-term storage."""

from __future__ import annotations

import argparse
from pathlib import Path

from eemt.archive.catalogue import Catalogue, open_catalogue
from eemt.archive.cleaning import finish_cleaning
from eemt.archive.deposit import STEPS, Deposit
from eemt.archive.scicat import open_scicat
from eemt.archive.settings import archive_settings
from eemt.archive.telling import tell
from eemt.config import SITE_NAME, ArchiveSettings
from eemt.errors import InputError
from eemt.raster import whole_or_nothing

# of single steps, which may be taken on nodes of a cluster, only the last tells the catalogues
TELLS = ("register", None)


def run(args: argparse.Namespace) -> None:
    """Archive each site; what goes wrong with one ends the command there."""
    import re

    tell()
    settings = archive_settings(args)
    for folder in args.folders:
        site = folder.resolve().name
        if not re.match(SITE_NAME, site):
            raise InputError(f"archive: {folder} is not the folder of a site, such as results/embedded")
        _archive(folder, site, settings, args)


def _archive(folder: Path, site: str, settings: ArchiveSettings, args: argparse.Namespace) -> None:
    tells = args.only in TELLS
    catalogue: Catalogue | None = open_catalogue(settings.catalogue) if tells else None
    try:
        if finish_cleaning(folder, site, settings, args.work):
            print(f"{site}: archived; its files are removed")
            return
        deposit = Deposit(folder, site, settings, args.work, catalogue, open_scicat(settings) if tells else None)
        deposit.run([args.only] if args.only else STEPS)
    finally:
        if catalogue:
            catalogue.close()
    if args.receipt:
        with whole_or_nothing(args.receipt) as partial:
            partial.write_text(deposit.receipt() + "\n", encoding="utf-8")
    if tells:
        size = sum(digest.size for digest in deposit.journal.packed.values())
        print(
            f"{site}: archived as {deposit.identifier}: {len(deposit.dataset.members)} files in {len(deposit.blocks)} "
            f"blocks, {size / 1e6:,.1f} MB, verified in {deposit.storage.address}"
        )
