"""How far the archiving of a dataset is, kept in a file, so that the next run goes on from there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eemt.archive.blocks import Block
from eemt.archive.errors import Kind, StorageError
from eemt.archive.limits import alone
from eemt.raster import whole_or_nothing


class Digest(BaseModel):
    """Checksum and size of a block as it was packed."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int


class Journal(BaseModel):
    """What was done of a dataset.

    Attributes
    ----------
    identifier : str
        Of the dataset; with another one, another set of files, it begins anew.
    storage, staging : str
        Addresses of the places; with others it begins anew.
    plan : str
        Stands for which files are in which block; with another plan the blocks are packed anew.
    bagged : str
        Time that the bag bears.
    packed : dict
        Blocks that were packed, by name.
    moved : list of str
        Blocks that were copied to the storage.
    damaged : list of str
        Blocks that are in the storage, but were not right when they were read back; they are to be copied again.
    verified : dict
        Blocks that were read back from there and were right, by name the time.
    tagmanifest : str
        SHA-256 of the bag's last file, when the dataset is archived.
    registered : bool
        Whether catalogues know that.
    was_archived : bool
        Whether it was, when this found it not whole any more and began to make it anew.
    cleaning, cleaned : bool
        Whether removing the site's own files was begun, and finished.
    fault, message : str
        user or system, and what went wrong at the last try.
    """

    identifier: str
    storage: str
    staging: str
    plan: str = ""
    bagged: str = ""
    packed: dict[str, Digest] = {}
    moved: list[str] = []
    damaged: list[str] = []
    verified: dict[str, str] = {}
    tagmanifest: str = ""
    registered: bool = False
    was_archived: bool = False
    cleaning: bool = False
    cleaned: bool = False
    fault: str = ""
    message: str = ""

    def is_of(self, identifier: str, storage: str, staging: str) -> bool:
        """Whether it is of these files, for these places."""
        return (self.identifier, self.storage, self.staging) == (identifier, storage, staging)

    def follow(self, blocks: Iterable[Block]) -> None:
        """Forget what was done of blocks that hold other files than these."""
        plan = _plan(blocks)
        if plan != self.plan:
            self.plan, self.packed, self.moved, self.damaged, self.verified = plan, {}, [], [], {}

    def unfinish(self) -> None:
        """Take the dataset for one that is not archived yet; all its blocks are to be verified."""
        self.tagmanifest, self.registered, self.verified, self.was_archived = "", False, {}, True

    def write(self, path: Path) -> None:
        """Write it, whole and durable.

        Raises
        ------
        StorageError
            When its disk does not take it.
        """
        try:
            with whole_or_nothing(path) as partial, partial.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> StorageError:
    """Say why a file cannot be written."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    kind: Kind = "full" if full else "denied" if isinstance(error, PermissionError) else "gone"
    return StorageError(kind, f"archive: {path} cannot be written ({error.strerror or error})")


def _plan(blocks: Iterable[Block]) -> str:
    lines = (f"{block.name}  {member.path}\n" for block in blocks for member in block.members)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def journal_path(work: Path, site: str) -> Path:
    """Return where a site's journal is kept in the folder of journals."""
    return work / "journal" / f"{site}.json"


def journal_lock(path: Path, locks: Path) -> Path:
    """Return the file by which one process has a journal.

    It is not beside it, since not every file system of a cluster keeps locks.
    """
    return locks / f"journal-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]}"


@contextlib.contextmanager
def held(identifier: str, journal: Path | None, locks: Path) -> Iterator[None]:
    """Hold a dataset, and the journal of its site, for this process.

    Raises
    ------
    TakenError
        When another has one of them.
    """
    what = f"{identifier} is being archived"
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(locks / f"dataset-{identifier}", what))
        if journal:
            stack.enter_context(alone(journal_lock(journal, locks), what))
        yield


def read_journal(path: Path) -> Journal | None:
    """Read a journal, or None where there is none that can be used."""
    try:
        return Journal.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
