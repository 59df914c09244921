"""A finished site brought to long-term storage, step by step: pack, space, move, verify, register.

Each step goes on where an earlier run left off, by the dataset's journal and by what is there, and takes back what was
not finished. The site's own files are read only; they are removed at the very end, if that is asked for, when every
block has been read back from the storage and catalogues know it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from eemt.archive.bag import TAGMANIFEST, Bag, check_block
from eemt.archive.below import Below
from eemt.archive.blocks import Block, Packed, pack, plan_blocks
from eemt.archive.catalogues import Catalogues, Known
from eemt.archive.cleaning import remove_source
from eemt.archive.dataset import Dataset, land
from eemt.archive.discarding import take_back
from eemt.archive.errors import SourceError, StorageError
from eemt.archive.exact import DifferentError, exactly
from eemt.archive.journal import Digest, Journal, held, journal_path, read_journal
from eemt.archive.limits import locks_folder, slot
from eemt.archive.room import Room
from eemt.archive.sealing import remove_strangers, room_for, seal, sealed_bag
from eemt.archive.settings import open_staging, open_storage
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.provenance import now
from eemt.verification import differences, digests

if TYPE_CHECKING:
    from eemt.archive.catalogue import Fault
    from eemt.archive.record import Record

LOG = logging.getLogger(__name__)
STEPS = ("pack", "space", "move", "verify", "register")
NAMED = 3  # files in a message


class Deposit:
    """The archiving of one dataset.

    Parameters
    ----------
    folder : path
        The site's folder of results.
    site : str
        Its name.
    settings : ArchiveSettings
    work : path
        Folder of the journals.
    catalogues : Catalogues, optional
        That are told of each step; without them, of none.

    Attributes
    ----------
    identifier : str
        Of the dataset.
    blocks : list of Block
        As they are packed, or as a bag that is in the storage already has them.

    Raises
    ------
    InputError
        When the dataset is not complete, or not as its crate says.
    StorageError
        When storage or staging is not there.
    """

    def __init__(
        self, folder: Path, site: str, settings: ArchiveSettings, work: Path, catalogues: Catalogues | None = None
    ) -> None:
        self.folder, self.site, self.settings, self.catalogues = folder, site, settings, catalogues
        self.locks = locks_folder(settings.locks)
        self.storage, self.staging = open_storage(settings), open_staging(settings)
        self.path = journal_path(work, site)
        with of_source():
            self.dataset: Dataset = land(folder, site, settings.tiles)
        self.identifier = self.dataset.identifier
        self.stored, self.staged = Below(self.storage, self.identifier), Below(self.staging, self.identifier)
        self.room = Room(self.storage, self.identifier, self.locks, self.path)
        self.blocks: list[Block] = []
        self.journal = self._new_journal()
        self._bag: Bag | None = None  # the finished one in the storage

    @cached_property
    def record(self) -> Record:
        """What is known of the dataset; only catalogues and the bag ask for it.

        Raises
        ------
        InputError
            When crate or rasters cannot be understood.
        """
        from eemt.archive.record import describe  # loads xarray and Matplotlib, which most steps do not need

        with of_source():
            return describe(self.dataset, self.settings)

    @property
    def packed(self) -> list[Packed]:
        """All blocks as they are stored, in their order, as far as they are packed."""
        known = self.journal.packed
        names = [block.name for block in self.blocks if block.name in known]
        return [Packed(name, known[name].size, known[name].sha256) for name in names]

    def run(self, only: str | None = None) -> None:
        """Take all steps in their order, or one and those before it that are not finished, or no longer.

        What went wrong is kept in the journal.

        Raises
        ------
        InputError
            When the dataset is at fault, or another process has it.
        StorageError
            When a place for files is.
        """
        with held(self.identifier, self.path, self.locks):
            self._begin()
            for step in STEPS:
                if only in (step, None):
                    self._take(step)
                elif not self._is_done(step):
                    LOG.info("%s: goes back to %s", self.identifier, step)
                    self._take(step)
                if step == only:
                    return

    def receipt(self) -> str:
        """Return how far the dataset is, as JSON."""
        return self.journal.model_dump_json(indent=1)

    def _take(self, step: str) -> None:
        action: Callable[[], None] = getattr(self, f"_{step}")
        LOG.info("%s: %s", self.identifier, step)
        try:
            if self.catalogues and self._bag is None and step != "register":
                self.catalogues.begun(self._known(), step)
            action()
        except (InputError, StorageError) as error:
            fault: Fault = "user" if isinstance(error, InputError) else "system"
            self._fail(step, fault, str(error))
            raise
        if self.journal.fault:
            self.journal.fault = self.journal.message = ""
            self._keep()

    def _fail(self, step: str, fault: Fault, message: str) -> None:
        self.journal.fault, self.journal.message = fault, message
        LOG.error("%s: %s failed, %s error: %s", self.identifier, step, fault, message)
        with contextlib.suppress(StorageError):  # the first fault is the one to tell
            self._keep()
        if self.catalogues and not self.journal.tagmanifest:
            with contextlib.suppress(InputError):  # nor can it be described, with a file missing or changed
                self.catalogues.failed(self._known(), step, fault, message)

    def _is_done(self, step: str) -> bool:
        """Say whether a step is finished, by what is there now."""
        match step:
            case "pack":
                return all(self._is_packed(block.name) for block in self.blocks)
            case "space":
                left = self._blocks_left()
                return not left or self.room.held() >= left
            case "move":
                return not self._blocks_left()
            case _:
                return all(packed.name in self.journal.verified for packed in self.packed)

    # the steps

    def _pack(self) -> None:
        """Pack all blocks that are neither staged nor stored yet; read the files of the others.

        A file that is not as the crate says takes all blocks of the dataset out of the staging area again.
        """
        self.staged.clear_leftovers()
        try:
            for block in self.blocks:
                if self._is_packed(block.name):
                    self._compare(block)
                    continue
                LOG.info("%s: packs %s of %d files", self.identifier, block.name, len(block.members))
                packed = pack(self.folder, self.site, block, self.dataset.mtime, self.staged, block.compression)
                self.journal.packed[block.name] = Digest(sha256=packed.sha256, size=packed.size)
                self._keep()
        except InputError as error:
            if not self.journal.tagmanifest:
                self.staged.remove_all()
                self.journal.packed = {}
            raise SourceError(str(self._changed(error))) from None

    def _compare(self, block: Block) -> None:
        """See that the files of a block are still those that it holds."""
        paths = [self.folder / member.path for member in block.members]
        try:
            found = digests(paths)
        except OSError as error:
            raise InputError(f"archive: {error.filename} cannot be read ({error.strerror})") from None
        for path, member, there in zip(paths, block.members, found, strict=True):
            if (there.sha256, there.size) != (member.sha256, member.size):
                raise InputError(
                    f"archive: {path} changed after it was packed; run the workflow, or `eemt crate`, again"
                )

    def _space(self) -> None:
        """See that the storage has room for what is not there yet, and hold that room."""
        left = self._blocks_left()
        if left:
            self.room.take(left + room_for(self.dataset), self.settings)

    def _move(self) -> None:
        """Copy the blocks that are not stored yet; each is compared with its checksum on the way."""
        left = self._blocks_left()
        if not left:
            return
        self._unseal()
        self.stored.clear_leftovers()
        remove_strangers(self.stored, self.journal.packed)
        for packed in self.packed:
            if self._is_stored(packed.name):
                continue
            with slot("move", self.settings.moves, self.locks, f"{self.identifier} {packed.name}"):
                self._copy(packed)
            self._say_moved(packed.name)
            self._keep()
            left -= packed.size
            self.room.keep(left + room_for(self.dataset))

    def _verify(self) -> None:
        """Read each block back from the storage and compare it."""
        for packed in self.packed:
            if packed.name in self.journal.verified:
                continue
            try:
                with slot("verify", self.settings.verifies, self.locks, f"{self.identifier} {packed.name}"):
                    check_block(self.storage, self.identifier, packed)
            except StorageError as error:
                if error.kind != "corrupt":
                    raise
                self.journal.damaged = sorted({*self.journal.damaged, packed.name})
                self._keep()
                raise StorageError("corrupt", f"{error}; the next run packs and copies it anew") from None
            self.journal.verified[packed.name] = now()
            self._keep()

    def _register(self) -> None:
        """Finish the bag, tell the catalogues, and clean what is to be cleaned."""
        missing = [packed.name for packed in self.packed if not self._is_stored(packed.name)]
        if missing:
            self._keep()
            raise StorageError(
                "gone", f"archive: {self.stored.address}/{missing[0]} was verified, but is no longer there; run again"
            )
        if not self.journal.tagmanifest:
            self.journal.tagmanifest = self._bag.tagmanifest if self._bag else self._sealed()
            self._keep()
            LOG.info("%s: archived in %s", self.identifier, self.storage.address)
        self.room.keep(0)
        self._tell_archived()
        if self.settings.clean_staging:
            self.staged.remove_all()
        if self.settings.clean_source and self.journal.registered:
            remove_source(self.folder, self.dataset.members, self.journal, self.path)

    def _sealed(self) -> str:
        self._unseal()
        record = self.record
        with of_source():
            return seal(self.stored, record, self.blocks, self.packed, self.folder, self.journal.bagged)

    def _tell_archived(self) -> None:
        if self.catalogues is None:
            return
        told = self.journal.registered and self.catalogues.know(self.identifier, self.journal.tagmanifest)
        if not told:
            self.catalogues.archived(self._known(), self.packed, self.journal.tagmanifest)
            self.journal.registered = True
            self._keep()

    def _known(self) -> Known:
        return Known(self.record, self.blocks, self.storage.address)

    # what is there

    def _new_journal(self) -> Journal:
        places = {"storage": self.storage.address, "staging": self.staging.address}
        return Journal(identifier=self.identifier, bagged=now(), **places)

    def _begin(self) -> None:
        """Go on with the journal of an earlier run, or begin one; take up a bag that is in the storage already."""
        old = read_journal(self.path)
        if old and old.is_of(self.identifier, self.storage.address, self.staging.address):
            self.journal = old
        elif old:
            self._take_back(old)
        self._bag = self._found()
        if self._bag:
            self.blocks = list(self._bag.blocks)
        else:
            target = int(self.settings.target_size_mb * 1e6)
            self.blocks = plan_blocks(self.dataset.members, target, self.settings.compression)
        self.journal.follow(self.blocks)
        if self._bag:
            self._take_up(self._bag)
        self._keep()

    def _take_up(self, bag: Bag) -> None:
        """Go by the checksums that a finished bag has, but for blocks that are not as these say."""
        self.journal.bagged = bag.bagged
        for packed in bag.packed:
            digest = Digest(sha256=packed.sha256, size=packed.size)
            if packed.name not in self.journal.damaged and self.journal.packed.get(packed.name) != digest:
                self.journal.packed[packed.name] = digest
                self.journal.verified.pop(packed.name, None)

    def _found(self) -> Bag | None:
        """Return the finished bag that the storage has; one that is damaged is made anew, since the source is there."""
        try:
            bag = sealed_bag(self.stored, self.journal.tagmanifest or None)
        except StorageError as error:
            if error.kind != "corrupt":
                raise
            LOG.warning("%s; it is made anew of %s", error, self.folder)
            self.journal.unfinish()
            return None
        if bag is None and self.journal.tagmanifest:
            LOG.warning("%s is no longer in %s; it is archived anew", self.identifier, self.storage.address)
            self.journal.unfinish()
        return bag

    def _take_back(self, old: Journal) -> None:
        """Remove what was begun of another dataset of the site, unless another process has it."""
        if old.tagmanifest or old.identifier == self.identifier:
            if old.tagmanifest and not old.registered:
                LOG.warning(
                    "%s is in %s, but in no catalogue; `eemt catalogue rebuild` takes it in",
                    old.identifier,
                    old.storage,
                )
            return
        LOG.info("%s: takes back what was begun of %s", self.identifier, old.identifier)
        with held(old.identifier, None, self.locks):
            take_back(old, self.path, self.storage, self.staging, self.locks, self.catalogues)

    def _keep(self) -> None:
        self.journal.write(self.path)

    def _unseal(self) -> None:
        """Take the finished bag in the storage for one that is not, as long as not all of it is right."""
        if self.stored.size(TAGMANIFEST) is None:
            return
        LOG.info("%s: is not whole in %s, and is finished anew", self.identifier, self.storage.address)
        self.journal.unfinish()
        self._keep()
        self.stored.remove(TAGMANIFEST)
        self._bag = None

    def _is_packed(self, name: str) -> bool:
        digest = self.journal.packed.get(name)
        return digest is not None and (self._is_stored(name) or self.staged.size(name) == digest.size)

    def _is_stored(self, name: str) -> bool:
        there = name not in self.journal.damaged and self.stored.size(name) == self.journal.packed[name].size
        if not there:
            self.journal.moved = [other for other in self.journal.moved if other != name]
            self.journal.verified.pop(name, None)
        elif name not in self.journal.moved:
            # copied whole by a run that ended before it could say so; verified like any other
            self._say_moved(name)
        return there

    def _say_moved(self, name: str) -> None:
        self.journal.moved = sorted({*self.journal.moved, name})
        self.journal.damaged = [other for other in self.journal.damaged if other != name]

    def _blocks_left(self) -> int:
        """Return the bytes of the blocks that are not stored."""
        return sum(packed.size for packed in self.packed if not self._is_stored(packed.name))

    def _copy(self, packed: Packed) -> None:
        name = packed.name
        try:
            self.stored.put(name, exactly(self.staged.read(name), packed.size, packed.sha256), packed.size)
        except DifferentError as error:
            self.staged.remove(name)
            del self.journal.packed[name]
            self._keep()
            raise StorageError(
                "corrupt",
                f"archive: {self.staged.address}/{name} is no longer what was packed ({error}); it was "
                "removed, and is packed anew by the next run",
            ) from None

    def _changed(self, first: InputError) -> InputError:
        """Word what of the dataset changed while it was packed."""
        found = differences(self.folder)
        if not found:  # it has changed back, or is a tile
            return first
        named = "; ".join(f"{name}: {what}" for name, what in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        return InputError(
            f"archive: {self.folder} is not as its crate says ({named}{more}); run the workflow, or `eemt crate`, again"
        )


@contextlib.contextmanager
def of_source() -> Iterator[None]:
    """Say of input that cannot be used that it is the results."""
    try:
        yield
    except InputError as error:
        raise SourceError(str(error)) from None
