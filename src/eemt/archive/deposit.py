"""A finished site brought to long-term storage, step by step: pack, space, move, verify, register.

Each step goes on where an earlier run left off, by the dataset's journal, and takes back what it did not finish. The
site's own files are read only; they are removed at the very end, if that is asked for, when every block has been read
back from the storage and catalogues know it.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from eemt.archive import room
from eemt.archive.bag import TAGMANIFEST, check_block, read_bag, write_bag
from eemt.archive.below import Below
from eemt.archive.blocks import Block, Packed, pack, plan_blocks
from eemt.archive.catalogue import Catalogue, Fault, State
from eemt.archive.cleaning import remove_source
from eemt.archive.dataset import Dataset, land
from eemt.archive.errors import StorageError
from eemt.archive.journal import Digest, Journal, journal_path, read_journal
from eemt.archive.limits import alone, locks_folder, slot
from eemt.archive.record import Record, describe
from eemt.archive.scicat import Scicat
from eemt.archive.settings import open_staging, open_storage
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.provenance import now
from eemt.verification import differences

LOG = logging.getLogger(__name__)
STEPS = ("pack", "space", "move", "verify", "register")
TAG_FILES = 10_000_000  # bytes that are kept for the bag's own files


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
    catalogue : Catalogue, optional
        That is told of each step; without one, only `register` needs one.
    scicat : Scicat, optional
        That is told too.

    Raises
    ------
    InputError
        When the dataset is not complete, or not as its crate says.
    StorageError
        When storage or staging is not there.
    """

    def __init__(
        self,
        folder: Path,
        site: str,
        settings: ArchiveSettings,
        work: Path,
        catalogue: Catalogue | None = None,
        scicat: Scicat | None = None,
    ) -> None:
        self.folder, self.site, self.settings = folder, site, settings
        self.catalogue, self.scicat = catalogue, scicat
        self.locks = locks_folder(settings.locks)
        self.storage = open_storage(settings)
        self.staging = open_staging(settings)
        self.path = journal_path(work, site)
        self.dataset: Dataset = land(folder, site, settings.tiles)
        self.identifier = self.dataset.identifier
        self.stored, self.staged = Below(self.storage, self.identifier), Below(self.staging, self.identifier)
        target = int(settings.target_size_mb * 1e6)
        self.blocks: list[Block] = plan_blocks(self.dataset.members, target, settings.compression)
        self.record: Record = describe(self.dataset, settings)
        self.journal = self._begin()

    def run(self, only: Iterable[str] = STEPS) -> None:
        """Take some steps, in their order, and keep in the journal what went wrong.

        Raises
        ------
        InputError
            When the dataset is at fault, or another process has it.
        StorageError
            When a place for files is.
        """
        with alone(self.identifier, self.locks):
            # what another process did of it before this one had it
            self.journal = self._begin()
            wanted = set(only)
            for step in STEPS:
                if step in wanted:
                    self._take(step)

    def _take(self, step: str) -> None:
        action: Callable[[], None] = getattr(self, step)
        self._tell(step)
        try:
            action()
        except (InputError, StorageError) as error:
            fault: Fault = "user" if isinstance(error, InputError) else "system"
            self.journal.fault, self.journal.message = fault, str(error)
            if step != "pack" or fault == "system":
                self._keep()
            LOG.error("%s: %s failed, %s error: %s", self.identifier, step, fault, error)
            self._tell_failure(step, fault, str(error))
            raise
        if self.journal.fault:
            self.journal.fault = self.journal.message = ""
            self._keep()
        if self.catalogue:
            self.catalogue.event(self.identifier, step, "done")

    def pack(self) -> None:
        """Pack all blocks that are neither staged nor stored yet.

        A file that is not as the crate says takes all blocks of the dataset out of the staging area again.
        """
        self.staged.clear_leftovers()
        for block in self.blocks:
            if self._is_packed(block.name):
                continue
            LOG.info("%s: packs %s of %d files", self.identifier, block.name, len(block.members))
            try:
                packed = pack(self.folder, self.site, block, self.dataset.mtime, self.staged, self.settings.compression)
            except InputError:
                self.staged.remove_all()
                self.path.unlink(missing_ok=True)
                raise self._changed() from None
            self.journal.packed[block.name] = Digest(sha256=packed.sha256, size=packed.size)
            self._keep()

    def space(self) -> None:
        """See that the storage has room for what is not there yet, and hold that room."""
        self._need("pack", all(block.name in self.journal.packed for block in self.blocks))
        chosen = self.settings
        with slot("space", chosen.space_checks, self.locks, self.identifier):
            needed = self._bytes_left()
            if needed:
                others = room.reserved_by_others(self.locks, self.identifier, self.storage)
                room.wait_for_room(
                    self.storage, needed, others, chosen.min_free_percent, chosen.capacity_gb, chosen.wait_hours
                )
            room.reserve(self.locks, self.identifier, self.storage, needed)

    def move(self) -> None:
        """Copy the blocks that are not stored yet; each is compared with its checksum on the way."""
        self._need("pack", all(block.name in self.journal.packed for block in self.blocks))
        self.stored.clear_leftovers()
        for name, digest in self.journal.packed.items():
            if self._is_stored(name, digest):
                continue
            with slot("move", self.settings.moves, self.locks, f"{self.identifier} {name}"):
                self._copy(name, digest)
            self.journal.moved = sorted({*self.journal.moved, name})
            self._keep()
            room.reserve(self.locks, self.identifier, self.storage, self._bytes_left())

    def verify(self) -> None:
        """Read each block back from the storage and compare it; one that is not right is taken out again."""
        self._need("move", all(name in self.journal.moved for name in self.journal.packed))
        for name, digest in self.journal.packed.items():
            if name in self.journal.verified:
                continue
            packed = Packed(name, digest.size, digest.sha256)
            try:
                with slot("verify", self.settings.verifies, self.locks, f"{self.identifier} {name}"):
                    check_block(self.storage, self.identifier, packed)
            except StorageError as error:
                if error.kind != "corrupt":
                    raise
                self.stored.remove(name)
                self.journal.moved.remove(name)
                self._keep()
                raise StorageError("corrupt", f"{error}; it was removed, and the next run copies it anew") from None
            self.journal.verified[name] = now()
            self._keep()
            if self.catalogue:
                self.catalogue.block_verified(self.identifier, packed)

    def register(self) -> None:
        """Finish the bag, tell the catalogues, and clean what is to be cleaned."""
        self._need("verify", all(name in self.journal.verified for name in self.journal.packed))
        if not self.journal.tagmanifest:
            self.journal.tagmanifest = self._write_bag()
            self._keep()
            LOG.info("%s: archived in %s", self.identifier, self.storage.address)
        room.reserve(self.locks, self.identifier, self.storage, 0)
        if not self.journal.registered:
            self._register()
            self.journal.registered = True
            self._keep()
        self._clean()

    def receipt(self) -> str:
        """Return how far the dataset is, as JSON."""
        return self.journal.model_dump_json(indent=1)

    def _begin(self) -> Journal:
        """Go on with the journal of an earlier run, or begin one and take away what belongs to none."""
        chosen = self.settings
        journal = Journal(
            identifier=self.identifier,
            storage=self.storage.address,
            staging=self.staging.address,
            compression=chosen.compression,
            target_size_mb=chosen.target_size_mb,
            bagged=now(),
        )
        old = read_journal(self.path)
        if old and old.is_of(journal):
            return old
        if old and not old.tagmanifest and old.identifier != self.identifier and old.staging == journal.staging:
            LOG.info("%s: takes back what was begun of %s", self.identifier, old.identifier)
            Below(self.staging, old.identifier).remove_all()
            stored = Below(self.storage, old.identifier)
            if old.storage == journal.storage and stored.size(TAGMANIFEST) is None:
                stored.remove_all()
        return self._adopted(journal)

    def _adopted(self, journal: Journal) -> Journal:
        """Take up a finished bag of the same files that is in the storage already, to be verified."""
        if self.stored.size(TAGMANIFEST) is None:
            return journal
        bag = read_bag(self.storage, self.identifier)
        if [block.name for block in bag.blocks] == [block.name for block in self.blocks]:
            journal.packed = {one.name: Digest(sha256=one.sha256, size=one.size) for one in bag.packed}
            journal.bagged = bag.bagged
        return journal

    def _keep(self) -> None:
        self.journal.write(self.path)

    def _need(self, step: str, done: bool) -> None:
        if not done:
            raise InputError(f"archive: {self.identifier}: the step {step} has to be finished first; run it again")

    def _is_packed(self, name: str) -> bool:
        digest = self.journal.packed.get(name)
        if digest is None:
            return False
        if self._is_stored(name, digest) or self.staged.size(name) == digest.size:
            return True
        del self.journal.packed[name]
        return False

    def _is_stored(self, name: str, digest: Digest) -> bool:
        there = self.stored.size(name) == digest.size
        if there and name not in self.journal.moved:
            # copied whole by a run that ended before it could say so; verified like any other
            self.journal.moved = sorted({*self.journal.moved, name})
        if not there:
            self.journal.moved = [other for other in self.journal.moved if other != name]
            self.journal.verified.pop(name, None)
        return there

    def _copy(self, name: str, digest: Digest) -> None:
        try:
            self.stored.put(name, _checked(self.staged.read(name), digest), digest.size)
        except _DifferentError as error:
            self.staged.remove(name)
            del self.journal.packed[name]
            self._keep()
            raise StorageError(
                "corrupt",
                f"archive: {self.staged.address}/{name} is no longer what was packed ({error}); it was "
                "removed, and is packed anew by the next run",
            ) from None

    def _write_bag(self) -> str:
        """Write the bag's own files to the storage, the tag manifest last, and read them back."""
        packed = [Packed(name, digest.size, digest.sha256) for name, digest in self.journal.packed.items()]
        with tempfile.TemporaryDirectory(prefix="eemt-bag-") as place:
            folder = Path(place)
            write_bag(folder, self.record, self.blocks, packed, self.folder, self.journal.bagged)
            names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            for name in [*(name for name in names if name != TAGMANIFEST), TAGMANIFEST]:
                content = (folder / name).read_bytes()
                self.stored.put(name, [content], len(content))
                if b"".join(self.stored.read(name)) != content:
                    self.stored.remove(name)
                    raise StorageError(
                        "corrupt",
                        f"archive: {self.stored.address}/{name} is not what was written; run again",
                    )
            return hashlib.sha256((folder / TAGMANIFEST).read_bytes()).hexdigest()

    def _register(self) -> None:
        packed = [Packed(name, digest.size, digest.sha256) for name, digest in self.journal.packed.items()]
        if self.catalogue:
            self.catalogue.begin(self.record)
            for one in packed:
                self.catalogue.block_verified(self.identifier, one)
            self.catalogue.archived(self.identifier, self.storage.address, self.journal.tagmanifest)
        if self.scicat:
            pid = self.scicat.register(self.record, self.blocks)
            self.scicat.archiving(pid)
            self.scicat.datablocks(pid, packed)
            self.scicat.archived(pid)

    def _clean(self) -> None:
        if self.settings.clean_staging:
            self.staged.remove_all()
        if self.settings.clean_source:
            remove_source(self.folder, self.dataset.members, self.journal, self.path)

    def _changed(self) -> InputError:
        """Word what of the dataset changed while it was packed."""
        found = differences(self.folder)
        named = "; ".join(f"{name}: {what}" for name, what in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return InputError(
            f"archive: {self.folder} is not as its crate says ({named or 'a file changed while it was packed'}{more}); "
            "nothing of it was kept; run the workflow, or `eemt crate`, again"
        )

    def _bytes_left(self) -> int:
        left = sum(digest.size for name, digest in self.journal.packed.items() if not self._is_stored(name, digest))
        return left + TAG_FILES if left else 0

    def _tell(self, step: str) -> None:
        states: dict[str, State] = {"pack": "packing", "move": "moving", "verify": "verifying"}
        LOG.info("%s: %s", self.identifier, step)
        if self.catalogue and step in states and not self.journal.tagmanifest:
            self.catalogue.begin(self.record)
            self.catalogue.state(self.identifier, states[step])

    def _tell_failure(self, step: str, fault: Fault, message: str) -> None:
        if self.catalogue and not self.journal.tagmanifest:
            self.catalogue.state(self.identifier, "failed", fault, message)
            self.catalogue.event(self.identifier, step, "failed", message)


class _DifferentError(Exception):
    """What was copied is not what was packed."""


def _checked(pieces: Iterable[bytes], digest: Digest) -> Iterator[bytes]:
    """Pass on the bytes of a block, unless they are not those that were packed."""
    total, size = hashlib.sha256(), 0
    held = b""
    for piece in pieces:
        total.update(piece)
        size += len(piece)
        # the last piece is kept back until all are known to be right, so that no copy of wrong ones is ever whole
        if held:
            yield held
        held = piece
    if (size, total.hexdigest()) != (digest.size, digest.sha256):
        raise _DifferentError(f"{size} bytes, SHA-256 {total.hexdigest()}, instead of {digest.size}, {digest.sha256}")
    yield held
