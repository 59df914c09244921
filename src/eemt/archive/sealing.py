"""The bag's own files written to the storage, the tag manifest last: with it a dataset is archived."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eemt.archive.bag import TAG_FILES, TAGMANIFEST, Bag, read_bag, write_bag
from eemt.archive.below import Below
from eemt.archive.blocks import Block, Packed
from eemt.archive.dataset import Dataset
from eemt.archive.errors import StorageError
from eemt.archive.journal import unwritable

if TYPE_CHECKING:
    from eemt.archive.record import Record

BYTES = 200_000  # of a bag's own files, and
BYTES_OF_FILE = 700  # for each of its files, in tables, checksums and crate; about three times what was found


def room_for(dataset: Dataset) -> int:
    """Return about how many bytes a bag's own files take, rather too many."""
    return BYTES + BYTES_OF_FILE * len(dataset.members)


def sealed_bag(stored: Below, tagmanifest: str | None) -> Bag | None:
    """Read the finished bag of a dataset.

    Parameters
    ----------
    stored : Below
        Its folder in the storage.
    tagmanifest : str, optional
        SHA-256 that its tag manifest must have.

    Returns
    -------
    Bag or None
        None where there is none.

    Raises
    ------
    StorageError
        corrupt: when a file of it is missing or is not as it was written; otherwise when the storage cannot be asked.
    """
    if stored.size(TAGMANIFEST) is None:
        return None
    try:
        return read_bag(stored.area, stored.folder, tagmanifest)
    except StorageError as error:
        if error.kind == "denied":
            raise
        # raises where the whole storage is gone, and not a file of the bag
        stored.size(TAGMANIFEST)
        raise StorageError("corrupt", str(error)) from None


def seal(
    stored: Below, record: Record, blocks: Sequence[Block], packed: Sequence[Packed], source: Path, bagged: str
) -> str:
    """Write a bag's own files to the storage and read them back; return the SHA-256 of its tag manifest.

    All its blocks are there; what else is in its folder is removed.

    Raises
    ------
    InputError
        When the crate is no longer that of the dataset.
    StorageError
        When the storage does not take them, or gives back something else.
    """
    remove_strangers(stored, (one.name for one in packed))
    try:
        with tempfile.TemporaryDirectory(prefix="eemt-bag-") as place:
            folder = Path(place)
            tagmanifest = write_bag(folder, record, blocks, packed, source, bagged)
            for name in [*sorted(TAG_FILES), TAGMANIFEST]:
                _write(stored, name, (folder / name).read_bytes())
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise unwritable(Path(error.filename or tempfile.gettempdir()), error) from None
    return tagmanifest


def remove_strangers(stored: Below, blocks: Iterable[str]) -> None:
    """Remove from the folder of a bag that is not finished what is neither one of its blocks nor a file of its own."""
    for name in sorted(set(stored.names()) - {*blocks, *TAG_FILES, TAGMANIFEST}):
        stored.remove(name)


def _write(stored: Below, name: str, content: bytes) -> None:
    stored.put(name, [content], len(content))
    if b"".join(stored.read(name)) != content:
        stored.remove(name)
        raise StorageError("corrupt", f"archive: {stored.address}/{name} is not what was written; run again")
