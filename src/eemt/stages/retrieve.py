"""``eemt retrieve``: archived datasets brought back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from eemt.archive.areas import Area, open_area
from eemt.archive.bag import TAGMANIFEST, read_bag
from eemt.archive.catalogue import Catalogue, open_catalogue
from eemt.archive.errors import StorageError
from eemt.archive.retrieve import retrieve_to_area, retrieve_to_folder
from eemt.archive.scicat import Scicat, open_scicat
from eemt.archive.selection import Selection
from eemt.archive.settings import archive_settings, open_storage
from eemt.archive.telling import tell
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.raster import whole_or_nothing


def run(args: argparse.Namespace) -> None:
    """Bring each dataset back, and say where it is."""
    tell()
    settings = archive_settings(args)
    storage = open_storage(settings)
    selection = Selection(tuple(args.product), tuple(args.year), tuple(args.tile))
    catalogue, scicat = open_catalogue(settings.catalogue), open_scicat(settings)
    brought: dict[str, Any] = {}
    try:
        for given in args.identifiers:
            identifier = known_identifier(given, storage, catalogue)
            bring = partial(_bring, identifier, catalogue, storage, settings, selection, args)
            brought[identifier] = _told(identifier, catalogue, scicat, bring)
    finally:
        catalogue.close()
    if args.receipt:
        with whole_or_nothing(args.receipt) as unfinished:
            unfinished.write_text(json.dumps(brought, indent=1) + "\n", encoding="utf-8")


def known_identifier(given: str, storage: Area, catalogue: Catalogue) -> str:
    """Return the identifier that a beginning stands for, by the catalogue, or as the storage has it.

    Raises
    ------
    InputError
        When there is none, or several.
    """
    entry = catalogue.get(given)
    if entry:
        return entry.identifier
    found = sorted({name.partition("/")[0] for name in storage.names(given) if name.endswith(f"/{TAGMANIFEST}")})
    if len(found) != 1:
        several = f"; several begin so: {', '.join(found[:5])}" if found else ""
        raise InputError(
            f"retrieve: neither the catalogue nor {storage.address} has a dataset {given}{several}; "
            "`eemt catalogue list` lists them"
        )
    return found[0]


def _bring(
    identifier: str,
    catalogue: Catalogue,
    storage: Area,
    settings: ArchiveSettings,
    selection: Selection,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Bring one dataset back; say where it is."""
    entry = catalogue.get(identifier)
    # what the catalogue remembers of the bag tells a changed one, even where all in it agrees
    bag = read_bag(storage, identifier, entry.tagmanifest_sha256 if entry else None)
    if args.out is None and settings.retrieval.startswith("s3://"):
        target = open_area(settings.retrieval, settings.retrieval_profile, make_root=True)
        links = retrieve_to_area(storage, bag, target, settings, selection, int(args.hours * 3600))
        print(f"{identifier}: {len(links)} files in {target.address}/{identifier}; for {args.hours:g} hours at")
        for name, link in links.items():
            print(f"  {name} {link or ''}".rstrip())
        return {"place": f"{target.address}/{identifier}", "links": links}
    out = args.out or Path(settings.retrieval)
    paths = retrieve_to_folder(storage, bag, out, settings, selection, args.force)
    size = sum(path.stat().st_size for path in paths)
    print(f"{identifier}: {len(paths)} files, {size / 1e6:,.1f} MB, as they were archived, in {out}")
    return {"place": str(out), "files": len(paths), "bytes": size}


def _told(
    identifier: str, catalogue: Catalogue, scicat: Scicat | None, bring: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Bring a dataset back, and tell the catalogues how that went."""
    known = catalogue.get(identifier) is not None
    pid = scicat.find(identifier) if scicat else None
    if scicat and pid:
        scicat.retrieving(pid)
    try:
        brought = bring()
    except (InputError, StorageError) as error:
        if known:
            catalogue.event(identifier, "retrieve", "failed", str(error))
        if scicat and pid:
            scicat.retrieval_failed(pid, str(error))
        raise
    if known:
        catalogue.event(identifier, "retrieve", "done", brought["place"])
    if scicat and pid:
        scicat.retrieved(pid)
    return brought
