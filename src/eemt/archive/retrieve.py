"""A dataset brought back from long-term storage: all of it or some products, years, tiles; verified once more."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from eemt.archive.areas import Area
from eemt.archive.bag import Bag
from eemt.archive.below import Below
from eemt.archive.blocks import Member, Packed
from eemt.archive.errors import StorageError
from eemt.archive.exact import DifferentError, exactly
from eemt.archive.journal import unwritable
from eemt.archive.limits import alone, locks_folder, slot
from eemt.archive.selection import Selection
from eemt.archive.unpacking import unpack
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
        When nothing of it is wanted, files that differ are there, or another process brings the same one there.
    StorageError
        When the storage is gone, or what it has is not what was archived, or the folder does not take it.
    """
    identifier = bag.record.identifier
    wanted = selection.of(bag.blocks)
    place = out / bag.record.site
    packed = {one.name: one for one in bag.packed}
    stored = Below(storage, identifier)
    with _alone(identifier, str(out.absolute()), settings), _writable(out):
        missing = {name: _missing(place, members, force) for name, members in wanted.items()}
        for name, members in missing.items():
            if not members:
                continue
            with slot("read", settings.reads, locks_folder(settings.locks), f"{identifier} {name}"):
                _bring(stored, bag, packed[name], members, out)
    return [place / member.path for members in wanted.values() for member in members]


def retrieve_to_area(
    storage: Area, bag: Bag, target: Area, settings: ArchiveSettings, selection: Selection, seconds: int
) -> dict[str, str | None]:
    """Copy the blocks that are needed, and the bag's own files, to a retrieval area.

    Blocks that are there already are read, and copied again if they are not right.

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
    with _alone(identifier, target.address, settings):
        brought.clear_leftovers()
        for packed in bag.packed:
            if packed.name not in wanted or _is_right(brought, packed):
                continue
            with slot("read", settings.reads, locks_folder(settings.locks), f"{identifier} {packed.name}"):
                brought.put(packed.name, _right(stored, packed), packed.size)
        for name, content in bag.tag_files.items():
            brought.put(name, [content], len(content))
        links = {name: brought.link(name, seconds) for name in [*wanted, *bag.tag_files]}
        text = json.dumps({"identifier": identifier, "seconds": seconds, "links": links}, indent=1).encode()
        brought.put(LINKS, [text], len(text))
    return links


@contextmanager
def _alone(identifier: str, place: str, settings: ArchiveSettings) -> Iterator[None]:
    """Hold the place of a dataset in a folder or area for this process."""
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    lock = locks_folder(settings.locks) / f"retrieval-{identifier}-{name}"
    with alone(lock, f"{identifier} is being brought to {place}"):
        yield


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    """Say in the archive's terms why a folder does not take files."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise unwritable(Path(error.filename2 or error.filename or out), error) from None


def _missing(place: Path, members: Iterable[Member], force: bool) -> list[Member]:
    """List those files of a block that are not there yet as they are in the dataset."""
    missing = []
    for member in members:
        path = place / member.path
        if path.is_dir():
            raise InputError(f"retrieve: {path} is a folder, in the place of a file; name another --out")
        if path.exists():
            now = digest(path)
            if (now.sha256, now.size) == (member.sha256, member.size):
                continue
            if not force:
                raise InputError(f"retrieve: {path} is there already and differs; name another --out, or give --force")
        missing.append(member)
    return missing


def _bring(stored: Below, bag: Bag, packed: Packed, members: list[Member], out: Path) -> None:
    """Unpack some files of a block, once all of it is known to be right."""
    aside = out / f".{bag.record.identifier}.{Path(packed.name).name}"
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    block = next(block for block in bag.blocks if block.name == packed.name)
    site, names = bag.record.site, {member.path for member in members}
    try:
        unpack(_right(stored, packed), block, site, aside, lambda path: path in names, stored.address)
        for member in members:
            path = out / site / member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to((out / site).resolve()):
                raise InputError(f"retrieve: {path.parent} is a link that leads out of {out / site}; remove it")
            (aside / site / member.path).replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _right(stored: Below, packed: Packed) -> Iterator[bytes]:
    """Yield a block's bytes, and raise at the end where they are not those that were archived."""
    try:
        yield from exactly(stored.read(packed.name), packed.size, packed.sha256)
    except DifferentError as error:
        raise StorageError(
            "corrupt", f"retrieve: {stored.address}/{packed.name} has {error}; nothing of it was kept"
        ) from None


def _is_right(brought: Below, packed: Packed) -> bool:
    if brought.size(packed.name) != packed.size:
        return False
    try:
        for _ in exactly(brought.read(packed.name), packed.size, packed.sha256):
            pass
    except DifferentError:
        return False
    return True
