"""The catalogues that are told how far a dataset is: the archive's own, and SciCat where a site has one.

What is safe in the storage does not hang on them: on the way there a catalogue that cannot be reached is warned of and
left out; only when the dataset is archived, and has to be made known, a catalogue that fails is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from eemt.archive.blocks import Block, Packed
from eemt.archive.errors import StorageError
from eemt.archive.scicat import Scicat, open_scicat
from eemt.config import ArchiveSettings
from eemt.errors import InputError

if TYPE_CHECKING:
    from eemt.archive.catalogue import Catalogue, Entry, Fault, State
    from eemt.archive.record import Record

LOG = logging.getLogger(__name__)
OURS, SCICAT = "the catalogue", "SciCat"
STATES: dict[str, State] = {"pack": "packing", "space": "staged", "move": "moving", "verify": "verifying"}


class Known(NamedTuple):
    """A dataset as it is told of: what is known of it, how its files are packed, address of the storage."""

    record: Record
    blocks: Sequence[Block]
    storage: str

    @property
    def identifier(self) -> str:
        """Of the dataset."""
        return self.record.identifier


class Catalogues:
    """What is told of datasets on their way to the storage and back.

    Parameters
    ----------
    settings : ArchiveSettings
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        self._settings = settings
        self._catalogue: Catalogue | None = None
        self._scicat: Scicat | None = None
        self._scicat_opened = False
        self._silent: set[str] = set()  # those that could not be reached
        self._pids: dict[str, str] = {}

    def __enter__(self) -> Catalogues:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._catalogue:
            self._catalogue.close()

    @property
    def catalogue(self) -> Catalogue:
        """The archive's own; it is opened when it is first asked for.

        Raises
        ------
        InputError, StorageError
            When it cannot be.
        """
        if self._catalogue is None:
            from eemt.archive.catalogue import open_catalogue  # loads SQLAlchemy, which single steps do not need

            self._catalogue = open_catalogue(self._settings.catalogue)
        return self._catalogue

    @property
    def scicat(self) -> Scicat | None:
        """SciCat, None where the site has none; it is opened when it is first asked for.

        Raises
        ------
        InputError, StorageError
            When there is no token, or one that has expired.
        """
        if not self._scicat_opened:
            self._scicat = open_scicat(self._settings)
            self._scicat_opened = True
        return self._scicat

    def begun(self, known: Known, step: str) -> None:
        """Say that a step is begun of a dataset that is not in the storage yet.

        Raises
        ------
        InputError
            When a catalogue cannot be used as it is set up.
        """

        def ours() -> None:
            self._begin(known)
            if step in STATES:
                self.catalogue.state(known.identifier, STATES[step])

        def scicat() -> None:
            if self.scicat and known.identifier not in self._pids:
                self._pids[known.identifier] = self.scicat.register(known.record, known.blocks)
                self.scicat.archiving(self._pids[known.identifier])

        self._tell(OURS, ours)
        self._tell(SCICAT, scicat)

    def failed(self, known: Known, step: str, fault: Fault, message: str) -> None:
        """Say that a step failed of a dataset that is not in the storage yet, whose fault that is and what it was."""

        def ours() -> None:
            self._begin(known)
            self.catalogue.failed(known.identifier, step, fault, message)

        def scicat() -> None:
            if self.scicat:
                pid = self._pids.get(known.identifier) or self.scicat.register(known.record, known.blocks)
                self.scicat.failed(pid, fault, message)

        self._tell(OURS, ours, whatever=True)
        self._tell(SCICAT, scicat, whatever=True)

    def had(self, identifier: str, storage: str) -> bool:
        """Say whether the archive's own had a dataset as archived in a storage at any time.

        Raises
        ------
        InputError, StorageError
            When it cannot be asked.
        """
        entry = self.catalogue.get(identifier)
        return (
            entry is not None
            and entry.identifier == identifier
            and entry.storage == storage
            and entry.archived_at is not None
        )

    def given_up(self, identifier: str) -> None:
        """Say that a dataset, which is not archived, was given up on its way."""
        message = "it was given up on its way"
        open_ones: list[str] = []

        def ours() -> None:
            entry = self.catalogue.get(identifier)
            if entry is not None and entry.identifier == identifier and entry.state != "archived":
                self.catalogue.failed(identifier, "discard", "user", message)
                open_ones.append(identifier)

        def scicat() -> None:
            pid = self.scicat.find(identifier) if self.scicat and open_ones else None
            if self.scicat and pid:
                # of its two words for failures, the other says that files are missing
                self.scicat.failed(pid, "system", message)

        self._tell(OURS, ours, whatever=True)
        self._tell(SCICAT, scicat, whatever=True)

    def know(self, identifier: str, tagmanifest: str) -> bool:
        """Say whether the archive's own has a dataset as archived, with this checksum of its bag's last file."""
        entry = self.catalogue.get(identifier)
        return entry is not None and (entry.state, entry.tagmanifest_sha256) == ("archived", tagmanifest)

    def archived(self, known: Known, packed: Sequence[Packed], tagmanifest: str) -> None:
        """Say that a dataset is archived.

        Raises
        ------
        InputError, StorageError
            When a catalogue cannot be told.
        """
        self.catalogue.begin(known.record)
        for one in packed:
            self.catalogue.block_verified(known.identifier, one)
        self.catalogue.archived(known.identifier, known.storage, tagmanifest, packed)
        if self.scicat:
            pid = self.scicat.register(known.record, known.blocks)
            self.scicat.archiving(pid)
            self.scicat.datablocks(pid, packed)
            self.scicat.archived(pid)

    def entry(self, given: str) -> Entry | None:
        """Return what the archive's own has of a dataset, None where that is nothing or it cannot be asked.

        Raises
        ------
        InputError
            When several datasets begin with what was given.
        """
        found: list[Entry | None] = [None]

        def ours() -> None:
            found[0] = self.catalogue.get(given)

        self._tell(OURS, ours)
        return found[0]

    def retrieving(self, identifier: str) -> None:
        """Say that a dataset is being brought back."""

        def scicat() -> None:
            pid = self.scicat.find(identifier) if self.scicat else None
            if self.scicat and pid:
                self._pids[identifier] = pid
                self.scicat.retrieving(pid)

        self._tell(SCICAT, scicat, whatever=True)

    def retrieved(self, identifier: str, place: str) -> None:
        """Say that a dataset was brought back, and where it is."""
        self._tell(OURS, lambda: self._note(identifier, "done", place), whatever=True)
        if identifier in self._pids and self.scicat:
            self._tell(SCICAT, partial(self.scicat.retrieved, self._pids[identifier]), whatever=True)

    def retrieval_failed(self, identifier: str, message: str) -> None:
        """Say that a dataset could not be brought back, and why."""
        self._tell(OURS, lambda: self._note(identifier, "failed", message), whatever=True)
        if identifier in self._pids and self.scicat:
            self._tell(SCICAT, partial(self.scicat.retrieval_failed, self._pids[identifier], message), whatever=True)

    def _begin(self, known: Known) -> None:
        """Take a dataset in; one that is archived elsewhere stays so, one that this storage has lost does not."""
        entry = self.catalogue.get(known.identifier)
        self.catalogue.begin(known.record, again=entry is not None and entry.storage == known.storage)

    def _note(self, identifier: str, outcome: str, message: str) -> None:
        if self.catalogue.get(identifier):
            self.catalogue.event(identifier, "retrieve", outcome, message)

    def _tell(self, which: str, action: Callable[[], None], whatever: bool = False) -> None:
        """Go on where a catalogue cannot be reached, and ask it no more; or whatever is wrong with it."""
        if which in self._silent:
            return
        try:
            action()
        except StorageError as error:
            self._silent.add(which)
            LOG.warning("%s could not be told: %s", which, error)
        except InputError as error:
            if not whatever:
                raise
            LOG.warning("%s could not be told: %s", which, error)
