"""A dataset brought back from long-term storage: all of it or some products, years, tiles; verified once more."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from eemt.archive.areas import Area
from eemt.archive.bag import Bag
from eemt.archive.below import Below
from eemt.archive.blocks import Member, Packed, unpack
from eemt.archive.errors import StorageError
from eemt.archive.limits import locks_folder, slot
from eemt.archive.selection import Selection
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.verification import digest

LOG = logging.getLogger(__name__)
LINKS = "links.json"


def retrieve_to_folder(
    storage: Area, bag: Bag, out: Path, settings: ArchiveSettings, selection: Selection, force: bool = False
) -> list[Path]:
    """Unpack a dataset into a folder of the site's name.

    A block is unpacked beside its place, and its files appear there when all of it was read and found right. Files that
    are there already, and are the dataset's, are not read again.

    Parameters
    ----------
    storage : Area
    bag : Bag
        Of the dataset, as `eemt.archive.bag.read_bag` returns it.
    out : path
        Folder that the site's folder is made in.
    settings : ArchiveSettings
        By its limits.
    selection : Selection
    force : bool
        Whether files that are there and differ are written over.

    Returns
    -------
    list of path
        The files that were asked for.

    Raises
    ------
    InputError
        When nothing of it is wanted, or files that differ are there.
    StorageError
        When the storage is gone, or what it has is not what was archived.
    """
    identifier = bag.record.identifier
    wanted = selection.of(bag.blocks)
    place = out / bag.record.site
    missing = {name: _missing(place, members, force) for name, members in wanted.items()}
    packed = {one.name: one for one in bag.packed}
    stored = Below(storage, identifier)
    for name, members in missing.items():
        if not members:
            continue
        with slot("read", settings.reads, locks_folder(settings.locks), f"{identifier} {name}"):
            _bring(stored, bag, packed[name], members, place)
    return [place / member.path for members in wanted.values() for member in members]


def retrieve_to_area(
    storage: Area, bag: Bag, target: Area, settings: ArchiveSettings, selection: Selection, seconds: int
) -> dict[str, str | None]:
    """Copy the blocks that are needed, and the bag's own files, to a retrieval area.

    Parameters
    ----------
    storage : Area
    bag : Bag
        Of the dataset, as `eemt.archive.bag.read_bag` returns it.
    target : Area
    settings : ArchiveSettings
        By its limits.
    selection : Selection
    seconds : int
        How long links are good for.

    Returns
    -------
    dict
        Links by the names of files in the bag, None where the area gives none; they are in its ``links.json`` too.

    Raises
    ------
    InputError, StorageError
        As by `retrieve_to_folder`.
    """
    identifier = bag.record.identifier
    stored, brought = Below(storage, identifier), Below(target, identifier)
    wanted = selection.of(bag.blocks)
    for packed in bag.packed:
        if packed.name not in wanted or brought.size(packed.name) == packed.size:
            continue
        with slot("read", settings.reads, locks_folder(settings.locks), f"{identifier} {packed.name}"):
            brought.put(packed.name, _right(stored, packed), packed.size)
    for name, content in bag.tag_files.items():
        brought.put(name, [content], len(content))
    links = {name: brought.link(name, seconds) for name in [*wanted, *bag.tag_files]}
    text = json.dumps({"identifier": identifier, "seconds": seconds, "links": links}, indent=1).encode()
    brought.put(LINKS, [text], len(text))
    return links


def _missing(place: Path, members: Iterable[Member], force: bool) -> list[Member]:
    """List those files of a block that are not there yet as they are in the dataset."""
    missing = []
    for member in members:
        path = place / member.path
        if path.exists():
            now = digest(path)
            if (now.sha256, now.size) == (member.sha256, member.size):
                continue
            if not force:
                raise InputError(f"retrieve: {path} is there already and differs; name another --out, or give --force")
        missing.append(member)
    return missing


def _bring(stored: Below, bag: Bag, packed: Packed, members: list[Member], place: Path) -> None:
    """Unpack some files of a block, once all of it is known to be right."""
    aside = place.parent / f".{bag.record.identifier}.{Path(packed.name).name}"
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    block = next(block for block in bag.blocks if block.name == packed.name)
    names = {member.path for member in members}
    try:
        unpack(_right(stored, packed), block, bag.record.site, aside, lambda path: path in names, stored.address)
        for member in members:
            path = place / member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            (aside / bag.record.site / member.path).replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _right(stored: Below, packed: Packed) -> Iterator[bytes]:
    """Yield a block's bytes, and raise at the end where they are not those that were archived."""
    total, size = hashlib.sha256(), 0
    held = b""
    for piece in stored.read(packed.name):
        total.update(piece)
        size += len(piece)
        if held:
            yield held
        held = piece
    if (size, total.hexdigest()) != (packed.size, packed.sha256):
        raise StorageError(
            "corrupt",
            f"retrieve: {stored.address}/{packed.name} has {size} bytes, SHA-256 {total.hexdigest()}, instead of "
            f"{packed.size}, {packed.sha256}; nothing of it was kept",
        )
    yield held
