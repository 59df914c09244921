"""Removing a site's own files once they are archived: those that the archive has, as they are there, and no others."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from eemt.archive.bag import read_bag
from eemt.archive.blocks import Member
from eemt.archive.journal import Journal, journal_path, read_journal
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
    """
    if journal.cleaned:
        return
    journal.cleaning = True
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
    if not path.is_file():
        return
    now = digest(path)
    if (now.sha256, now.size) == (member.sha256, member.size):
        path.unlink()
    else:
        LOG.warning("%s changed after it was archived, and stays", path)


def finish_cleaning(folder: Path, site: str, settings: ArchiveSettings, work: Path) -> bool:
    """Go on where an earlier run was broken off while it removed a site's own files; tell whether that was so.

    Raises
    ------
    InputError
        When they were removed by an earlier run.
    """
    path = journal_path(work, site)
    journal = read_journal(path)
    if journal is None or not journal.cleaning:
        return False
    if journal.cleaned:
        if (folder / CRATE).exists():
            return False
        raise InputError(
            f"archive: {site} is archived as {journal.identifier}, and its files were removed from {folder} then; "
            f"`eemt retrieve {journal.identifier}` brings them back"
        )
    bag = read_bag(open_storage(settings), journal.identifier)
    remove_source(folder, (member for block in bag.blocks for member in block.members), journal, path)
    return True
