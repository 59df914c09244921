"""Whether a storage has room for a dataset, with what other datasets on their way there will take."""

from __future__ import annotations

import json
import logging
import platform
import time
from pathlib import Path

from pydantic import BaseModel, ValidationError

from eemt.archive.areas import Area, Space
from eemt.archive.errors import StorageError
from eemt.archive.journal import read_journal, unwritable
from eemt.archive.limits import slot
from eemt.config import ArchiveSettings
from eemt.raster import whole_or_nothing

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 10.0
NAMED = 3  # datasets in a message
GB = 1e9


class Note(BaseModel):
    """What a dataset will still write to a storage.

    Attributes
    ----------
    identifier, address : str
        Of the dataset and the storage.
    bytes : int
    journal, host : str
        By which others tell that it has been given up: its journal is gone, or is of another dataset.
    """

    identifier: str
    address: str
    bytes: int
    journal: str
    host: str


class Room:
    """The room in a storage that a dataset on its way there holds.

    Parameters
    ----------
    storage : Area
    identifier : str
        Of the dataset.
    locks : path
        Folder that all who write to the storage have in common.
    journal : path
        Of the dataset.
    """

    def __init__(self, storage: Area, identifier: str, locks: Path, journal: Path) -> None:
        self.storage, self.identifier, self.locks, self.journal = storage, identifier, locks, journal
        self._path = locks / f"room-{identifier}.json"

    def take(self, needed: int, settings: ArchiveSettings) -> None:
        """Hold some bytes, once the storage has them; wait for that as long as the settings say.

        A run that was killed goes on holding what it held.

        Raises
        ------
        StorageError
            With the figures, when there is no room.
        """
        until = time.monotonic() + settings.wait_hours * 3600
        said = False
        while True:
            # others shall find their room while this one waits
            with slot("space", settings.space_checks, self.locks, self.identifier):
                lack = self._lack(needed, settings)
                if lack is None:
                    self.keep(needed)
                    return
            if time.monotonic() >= until:
                raise StorageError("full", f"archive: no room: {lack}")
            if not said:
                LOG.info("%s: waits for room: %s", self.identifier, lack)
                said = True
            time.sleep(min(LOOK_SECONDS, max(until - time.monotonic(), 0.1)))

    def keep(self, bytes_left: int) -> None:
        """Hold so many bytes from now on; none lets go of all.

        Raises
        ------
        StorageError
            When the folder of the locks does not take it.
        """
        try:
            if not bytes_left:
                self._path.unlink(missing_ok=True)
                return
            note = Note(
                identifier=self.identifier,
                address=self.storage.address,
                bytes=bytes_left,
                journal=str(self.journal.absolute()),
                host=platform.node(),
            )
            with whole_or_nothing(self._path) as partial:
                partial.write_text(note.model_dump_json(), encoding="utf-8")
        except OSError as error:
            raise unwritable(self._path, error) from None

    def held(self) -> int:
        """Return the bytes that it holds."""
        note = _read(self._path)
        return note.bytes if note and note.address == self.storage.address else 0

    def is_of_another(self) -> bool:
        """Whether another journal goes on with the same dataset."""
        note = _read(self._path)
        return note is not None and note.journal != str(self.journal.absolute()) and _goes_on(note)

    def others(self) -> list[Note]:
        """Return what other datasets hold in the storage, the most first."""
        found = [_read(path) for path in self.locks.glob("room-*.json") if path != self._path]
        alive = [note for note in found if note and note.address == self.storage.address and _goes_on(note)]
        return sorted(alive, key=lambda note: -note.bytes)

    def _lack(self, needed: int, settings: ArchiveSettings) -> str | None:
        """Say why there is no room; None where there is."""
        space = size(self.storage, settings.capacity_gb)
        if space is None:
            LOG.warning(
                "%s does not tell how much space it has; set archive.capacity_gb to have it checked",
                self.storage.address,
            )
            return None
        others = self.others()
        reserved = sum(note.bytes for note in others)
        left = space.free - reserved - needed
        if left >= space.total * settings.min_free_percent / 100:
            return None
        named = ", ".join(note.identifier for note in others[:NAMED]) + (", …" if len(others) > NAMED else "")
        return (
            f"{self.storage.address} has {space.free / GB:.3g} GB free of {space.total / GB:.3g} GB; the dataset takes "
            f"{needed / GB:.3g} GB and others on their way {reserved / GB:.3g} GB{f' ({named})' if named else ''}, "
            f"which would leave {100 * left / space.total:.3g} % where archive.min_free_percent wants "
            f"{settings.min_free_percent:g} %"
        )


def size(storage: Area, capacity_gb: float | None) -> Space | None:
    """Return the size of a storage and what is free of it, as it tells or as its capacity and files say."""
    told = storage.space()
    if told is not None or capacity_gb is None:
        return told
    total = int(capacity_gb * GB)
    return Space(total, max(total - storage.used(), 0))


def _goes_on(note: Note) -> bool:
    """Whether a dataset is still on its way, as far as can be told here; no clock is asked."""
    path = Path(note.journal)
    journal = read_journal(path)
    if journal is not None:
        return journal.identifier == note.identifier and not journal.tagmanifest
    return note.host != platform.node()


def _read(path: Path) -> Note | None:
    try:
        return Note.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None  # given back meanwhile
