"""``eemt retrieve``: archived datasets brought back."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from eemt.archive.areas import Area, open_area
from eemt.archive.bag import TAGMANIFEST, read_bag
from eemt.archive.catalogues import Catalogues
from eemt.archive.errors import StorageError
from eemt.archive.retrieve import retrieve_to_area, retrieve_to_folder
from eemt.archive.selection import Selection
from eemt.archive.settings import archive_settings, open_storage
from eemt.archive.telling import tell
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.raster import whole_or_nothing

AREAS = ("s3:", "rclone:")  # beginnings of addresses that are no folders


def run(args: argparse.Namespace) -> None:
    """Bring each dataset back, and say where it is."""
    tell()
    settings = archive_settings(args)
    storage = open_storage(settings)
    brought: dict[str, Any] = {}
    with Catalogues(settings) as catalogues:
        for given in args.identifiers:
            identifier = known_identifier(given, storage, catalogues)
            brought[identifier] = _told(identifier, storage, settings, catalogues, args)
    if args.receipt:
        with whole_or_nothing(args.receipt) as unfinished:
            unfinished.write_text(json.dumps(brought, indent=1) + "\n", encoding="utf-8")


def known_identifier(given: str, storage: Area, catalogues: Catalogues) -> str:
    """Return the identifier that a beginning stands for, by the catalogue, or as the storage has it.

    Raises
    ------
    InputError
        When there is none, or several.
    """
    entry = catalogues.entry(given)
    if entry:
        return entry.identifier
    found = sorted({name.partition("/")[0] for name in storage.names(given) if name.endswith(f"/{TAGMANIFEST}")})
    if given in found:
        return given
    if len(found) != 1:
        several = f"; several begin so: {', '.join(found[:5])}" if found else ""
        raise InputError(
            f"retrieve: neither the catalogue nor {storage.address} has a dataset {given}{several}; "
            "`eemt catalogue list` lists them"
        )
    return found[0]


def _told(
    identifier: str, storage: Area, settings: ArchiveSettings, catalogues: Catalogues, args: argparse.Namespace
) -> dict[str, Any]:
    """Bring a dataset back, and tell the catalogues how that went."""
    catalogues.retrieving(identifier)
    try:
        brought = _bring(identifier, storage, settings, catalogues, args)
    except (InputError, StorageError) as error:
        catalogues.retrieval_failed(identifier, str(error))
        raise
    catalogues.retrieved(identifier, brought["place"])
    return brought


def _bring(
    identifier: str, storage: Area, settings: ArchiveSettings, catalogues: Catalogues, args: argparse.Namespace
) -> dict[str, Any]:
    """Bring one dataset back; say where it is."""
    selection = Selection(tuple(args.product), tuple(args.year), tuple(args.tile))
    entry = catalogues.entry(identifier)
    # what the catalogue remembers of the bag tells a changed one, even where all in it agrees
    bag = read_bag(storage, identifier, entry.tagmanifest_sha256 if entry else None)
    if args.out is None and settings.retrieval.startswith(AREAS):
        target = open_area(settings.retrieval, settings.retrieval_profile, make_root=True)
        links = retrieve_to_area(storage, bag, target, settings, selection, int(args.hours * 3600))
        place = f"{target.address}/{identifier}"
        print(f"{identifier}: {len(links)} files in {place}; for {args.hours:g} hours at")
        for name, link in links.items():
            print(f"  {name} {link or ''}".rstrip())
        return {"place": place, "links": links}
    out = args.out or Path(settings.retrieval)
    paths = retrieve_to_folder(storage, bag, out, settings, selection, args.force)
    size = sum(path.stat().st_size for path in paths)
    print(f"{identifier}: {len(paths)} files, {size / 1e6:,.1f} MB, as they were archived, in {out}")
    return {"place": str(out), "files": len(paths), "bytes": size}
