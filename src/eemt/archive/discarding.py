"""Giving up a dataset that was begun: what staging and storage have of it is removed, and never what is archived.

An identifier stands for files, not for a run: another run may have archived the same ones, or be at it now. So what is
removed is only what no finished bag, no other run's journal and no catalogue lays claim to.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, NamedTuple

from eemt.archive.areas import Area
from eemt.archive.bag import TAGMANIFEST
from eemt.archive.below import Below
from eemt.archive.catalogues import Catalogues
from eemt.archive.errors import StorageError, TakenError
from eemt.archive.journal import Journal, held, journal_lock, journal_path, read_journal, unwritable
from eemt.archive.limits import alone, locks_folder
from eemt.archive.room import Room
from eemt.archive.settings import open_staging, open_storage
from eemt.config import ArchiveSettings

LOG = logging.getLogger(__name__)

Outcome = Literal["nothing", "archived", "taken", "kept", "removed"]


class Discarded(NamedTuple):
    """What became of a dataset that was given up.

    Attributes
    ----------
    outcome : str
        nothing: none was begun; archived: it is, and stays; taken: another run is at the same files, and what is there
        is that one's; kept: it was archived before, and what the storage still has of it stays; removed.
    identifier : str
        Of the dataset; empty where there is none.
    """

    outcome: Outcome
    identifier: str = ""


def discard(site: str, settings: ArchiveSettings, work: Path, catalogues: Catalogues) -> Discarded:
    """Give up what was begun of a site's dataset, by its journal, which goes last: a killed run is taken up again.

    Neither the results need to be there any more nor their crate.

    Parameters
    ----------
    site : str
        Its name.
    settings : ArchiveSettings
    work : path
        Folder of the journals.
    catalogues : Catalogues
        That are told.

    Raises
    ------
    InputError
        When another process is archiving the site, or settings cannot be used.
    StorageError
        When storage, staging or catalogue cannot be asked; it is not known then what may be removed.
    """
    path, locks = journal_path(work, site), locks_folder(settings.locks)
    with alone(journal_lock(path, locks), f"{site} is being archived"):
        journal = read_journal(path)
        if journal is None:
            return Discarded("nothing")
        identifier = journal.identifier
        if journal.tagmanifest:
            return Discarded("archived", identifier)
        storage, staging = open_storage(settings), open_staging(settings)
        try:
            with held(identifier, None, locks):
                outcome = take_back(journal, path, storage, staging, locks, catalogues, must_know=True)
        except TakenError as error:
            LOG.info("%s", error)
            outcome = "taken"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(path, error) from None
        return Discarded(outcome, identifier)


def take_back(
    journal: Journal,
    path: Path,
    storage: Area,
    staging: Area,
    locks: Path,
    catalogues: Catalogues | None,
    must_know: bool = False,
) -> Outcome:
    """Remove what a journal's unfinished dataset has in staging and storage, and let go of its room.

    The caller holds the dataset.

    Parameters
    ----------
    journal : Journal
        Of a dataset that is not archived by it.
    path : path
        Where it is kept.
    storage, staging : Area
        What it has elsewhere stays, and is named.
    locks : path
    catalogues : Catalogues, optional
        That are asked and told; without them, the journal alone says whether it was archived before.
    must_know : bool
        Whether a catalogue that cannot be asked is an error; otherwise what the storage has stays then.

    Raises
    ------
    StorageError
        When storage or staging cannot be asked, or the catalogue.
    """
    identifier = journal.identifier
    room = Room(storage, identifier, locks, path)
    if room.is_of_another():
        LOG.info("%s: another run goes on with the same files", identifier)
        return "taken"
    outcome = _claim(journal, Below(storage, identifier), storage.address, catalogues, must_know)
    for address, area in ((journal.staging, staging), (journal.storage, storage)):
        if address != area.address:
            LOG.warning("%s: what was begun of it in %s stays there; %s is used now", identifier, address, area.address)
        elif area is staging or outcome == "removed":
            Below(area, identifier).remove_all()
    room.keep(0)
    if catalogues and outcome != "archived":
        catalogues.given_up(identifier)
    return outcome


def _claim(journal: Journal, stored: Below, storage: str, catalogues: Catalogues | None, must_know: bool) -> Outcome:
    """Say whether what the storage has is archived, was so before, or is this journal's alone."""
    if stored.size(TAGMANIFEST) is not None:
        LOG.info("%s: is archived in %s by another run, and stays", journal.identifier, storage)
        return "archived"
    try:
        had = catalogues is not None and catalogues.had(journal.identifier, storage)
    except StorageError as error:
        if must_know:
            raise
        LOG.warning("%s: what %s has of it stays: %s", journal.identifier, storage, error)
        return "kept"
    if journal.was_archived or had:
        LOG.warning(
            "%s: was archived in %s and is not whole; what is there stays, and is made whole by archiving it again",
            journal.identifier,
            storage,
        )
        return "kept"
    return "removed"
