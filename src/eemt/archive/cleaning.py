"""Removing a site's own files once they are archived: those that the archive has, as they are there, and no others."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from eemt.archive.bag import read_bag
from eemt.archive.blocks import Member
from eemt.archive.errors import StorageError
from eemt.archive.journal import Journal, held, journal_path, read_journal
from eemt.archive.limits import locks_folder
from eemt.archive.settings import open_storage
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.inventory import CRATE
from eemt.verification import digest

LOG = logging.getLogger(__name__)


def remove_source(folder: Path, members: Iterable[Member], journal: Journal, path: Path) -> None:
    """Remove the files of a site that are as they were archived, the crate last, and folders that are empty then.

    Parameters
    ----------
    folder : path
        The site's folder.
    members : iterable of Member
        What was archived.
    journal : Journal
        Of the dataset; it is kept in `path` that this was begun, and that it is finished.
    path : path

    Raises
    ------
    StorageError
        When a file cannot be removed.
    """
    journal.cleaning = True
    journal.cleaned = False
    journal.write(path)
    for member in sorted(members, key=lambda member: member.path == CRATE):
        _remove(folder / member.path, member)
    for place in sorted((one for one in folder.rglob("*") if one.is_dir()), reverse=True):
        with suppress(OSError):  # not empty
            place.rmdir()
    with suppress(OSError):
        folder.rmdir()
    journal.cleaned = True
    journal.write(path)


def _remove(path: Path, member: Member) -> None:
    try:
        if not path.is_file():
            return
        now = digest(path)
        if (now.sha256, now.size) == (member.sha256, member.size):
            path.unlink()
        else:
            LOG.warning("%s changed after it was archived, and stays", path)
    except OSError as error:
        raise StorageError("denied", f"archive: {path} cannot be removed ({error.strerror}); the rest stays") from None


def finish_cleaning(folder: Path, site: str, settings: ArchiveSettings, work: Path) -> str | None:
    """Go on where an earlier run was broken off while it removed a site's own files.

    Returns
    -------
    str or None
        Identifier of the dataset; None where that is not so, or another dataset has come in its place.

    Raises
    ------
    InputError
        When they were removed by an earlier run, or another process has them.
    StorageError
        When the dataset is not in the storage.
    """
    path = journal_path(work, site)
    journal = read_journal(path)
    if journal is None or not journal.cleaning:
        return None
    identifier = journal.identifier
    with held(identifier, None, locks_folder(settings.locks)):
        crate = folder / CRATE
        if not crate.exists():
            # it is removed last: what is there now is of a run that is not finished
            if not journal.cleaned:
                journal.cleaned = True
                journal.write(path)
                return identifier
            raise InputError(
                f"archive: {site} is archived as {identifier}, and its files were removed from {folder} then; "
                f"`eemt retrieve {identifier}` brings them back"
            )
        if journal.cleaned:
            return None
        bag = read_bag(open_storage(settings), identifier, journal.tagmanifest)
        members = [member for block in bag.blocks for member in block.members]
        found = digest(crate)
        if not any(member == Member(CRATE, found.size, found.sha256) for member in members):
            return None
        remove_source(folder, members, journal, path)
        return identifier
