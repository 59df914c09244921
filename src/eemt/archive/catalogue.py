"""The catalogue: which datasets there are, how far each is, where it is kept, when its blocks were last found right.

It holds nothing that the bags on the storage do not hold too, but for the history and for the checksum of each bag's
tagmanifest, by which a bag that was changed as a whole is found out. It can be made again from a storage alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from eemt.archive.blocks import Packed
from eemt.archive.database import Database, catalogue_address
from eemt.archive.entries import BlockEntry, Entry, Event, as_line, columns_of, entry_of, instant
from eemt.archive.errors import StorageError
from eemt.archive.history import note, note_failure
from eemt.archive.search import Box, agree, mentions, overlap
from eemt.archive.tables import BlockRow, DatasetRow, EventRow
from eemt.errors import InputError
from eemt.sql import now

if TYPE_CHECKING:
    from eemt.archive.areas import Area
    from eemt.archive.bag import Bag
    from eemt.archive.record import Record

__all__ = ["BlockEntry", "Catalogue", "Entry", "Event", "Fault", "Rebuilt", "State", "open_catalogue"]

State = Literal["packing", "staged", "moving", "verifying", "archived", "failed"]
Fault = Literal["user", "system"]
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*-[0-9a-f]{12}")
STATES: tuple[State, ...] = get_args(State)


class Rebuilt(NamedTuple):
    """Identifiers of the datasets that a storage holds: those taken in, and the others with the reason."""

    taken: list[str]
    left_out: dict[str, str]


def open_catalogue(file: str | Path, make: bool = True) -> Catalogue:
    """Open the catalogue, several processes at once if need be.

    Parameters
    ----------
    file : str or path
        Of SQLite, unless the environment names a database; see `eemt.archive.database.catalogue_address`.
    make : bool
        Whether to make one where there is none.

    Raises
    ------
    InputError
        When there is none and none is to be made, or it is a newer program's.
    StorageError
        When the database is gone, full, corrupt or denied.
    """
    database = Database(catalogue_address(file))
    try:
        database.settle(make)
    except BaseException:
        database.close()
        raise
    return Catalogue(database)


class Catalogue:
    """What is known of all datasets."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.name = database.name

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def begin(self, record: Record, again: bool = False) -> Entry:
        """Take a dataset in, as being packed, or go on with one that was not finished.

        Parameters
        ----------
        record : Record
        again : bool
            Also where it is archived already; otherwise that one stays as it is, which the state of what is returned
            says.
        """
        columns = columns_of(record)

        def work(session: Session) -> Entry:
            new = self._insert_if_new(session, {**columns, "state": "packing"})
            row = self._locked(session, columns["identifier"])
            anew = row.state == "failed" or (row.state == "archived" and again)
            if row.state != "archived" or again:
                _set(row, columns)
            if anew:
                _set(row, {"state": "packing", "fault": None, "message": None, "changed": now()})
            if new or anew:
                note(session, row.identifier, "packing", "begun")
            return entry_of(row)

        return self._database.write(work)

    def state(self, identifier: str, state: State, fault: Fault | None = None, message: str | None = None) -> None:
        """Say how far a dataset is; its history says so too.

        A dataset that is archived already, maybe by another process, stays so: only its history tells of the state.

        Raises
        ------
        InputError
            When the catalogue does not hold it.
        """
        if state not in STATES or state == "archived":
            raise ValueError(f"{state} is no state to be set; see `archived`")

        def work(session: Session) -> None:
            row = self._locked(session, identifier)
            if row.state != "archived":
                row.state, row.fault, row.message, row.changed = state, fault, as_line(message), now()
            note(session, identifier, state, f"{fault} error" if fault else "done", message)

        self._database.write(work)

    def failed(self, identifier: str, step: str, fault: Fault, message: str) -> None:
        """Say that a dataset failed at a step, whose fault that is and what it was.

        In its history that is one line. Where it failed in the same way before, and nothing but the new try has come
        between, it is still one line, which says how often and since when.

        Raises
        ------
        InputError
            When the catalogue does not hold it.
        """

        def work(session: Session) -> None:
            row = self._locked(session, identifier)
            if row.state != "archived":
                row.state, row.fault, row.message, row.changed = "failed", fault, as_line(message), now()
            note_failure(session, identifier, step, f"{fault} error", as_line(message) or "")

        self._database.write(work)

    def block_verified(self, identifier: str, packed: Packed) -> None:
        """Say that a block was read back from the storage and is right."""

        def work(session: Session) -> None:
            self._locked(session, identifier)
            row = _block(session, identifier, packed)
            row.verified_at = row.read_at = now()
            row.fault = None

        self._database.write(work)

    def block_faulty(self, identifier: str, packed: Packed, fault: str) -> None:
        """Say that a block was read from the storage and is not right."""

        def work(session: Session) -> None:
            self._locked(session, identifier)
            row = _block(session, identifier, packed)
            row.read_at, row.fault = now(), as_line(fault)

        self._database.write(work)

    def archived(
        self, identifier: str, storage: str, tagmanifest_sha256: str, blocks: Sequence[Packed] | None = None
    ) -> None:
        """Mark a dataset as archived, which it is when all its blocks are verified.

        Parameters
        ----------
        identifier, storage : str
            Of the dataset; address of the area.
        tagmanifest_sha256 : str
            Of the bag's last file.
        blocks : sequence of Packed, optional
            All that the bag has; others, of an earlier try that was cut another way, are forgotten. By default those
            that were verified.

        Raises
        ------
        ValueError
            When one of the blocks was not verified, or there is none.
        """

        def work(session: Session) -> None:
            row = self._locked(session, identifier)
            kept = _keep(session, identifier, blocks)
            missing = [block.name for block in kept if block.verified_at is None]
            if missing or not kept:
                raise ValueError(f"{identifier}: {', '.join(missing) or 'no block'} was verified")
            same = (row.state, row.storage, row.tagmanifest_sha256) == ("archived", storage, tagmanifest_sha256)
            if not same:
                _set(row, {"state": "archived", "fault": None, "message": None, "storage": storage})
                row.tagmanifest_sha256 = tagmanifest_sha256
                row.archived_at = row.changed = now()
                note(session, identifier, "archived", "done", f"{len(kept)} blocks at {storage}")

        self._database.write(work)

    def scrubbed(self, identifier: str, faults: Sequence[str], message: str) -> None:
        """Say that a dataset was looked at on its storage, and what was wrong beside its blocks' own faults.

        Parameters
        ----------
        identifier : str
        faults : sequence of str
            Of the bag's other files.
        message : str
            What was looked at.
        """

        def work(session: Session) -> None:
            row = self._locked(session, identifier)
            of_blocks = [
                f"{name}: {fault}"
                for name, fault in session.execute(
                    select(BlockRow.name, BlockRow.fault)
                    .where(BlockRow.dataset == identifier, BlockRow.fault.is_not(None))
                    .order_by(BlockRow.name)
                )
            ]
            known = [*faults, *of_blocks]
            row.fault = "system" if known else None
            row.message = as_line("; ".join(known)) if known else None
            note(session, identifier, "verify", "faults" if known else "right", message)

        self._database.write(work)

    def event(self, identifier: str, step: str, outcome: str, message: str | None = None) -> None:
        """Write down what happened to a dataset, such as its retrieval."""
        self._database.write(
            lambda session: note(session, self._locked(session, identifier).identifier, step, outcome, message)
        )

    def get(self, identifier: str) -> Entry | None:
        """Return a dataset by its identifier, or by a beginning that no other has; None where there is none.

        Raises
        ------
        InputError
            When several begin so.
        """

        def work(session: Session) -> list[Entry]:
            if (row := session.get(DatasetRow, identifier)) is not None:
                return [entry_of(row)]
            if not identifier:
                return []
            like = select(DatasetRow).where(DatasetRow.identifier.startswith(identifier, autoescape=True))
            # SQLite takes capitals for small letters here
            return [entry_of(row) for row in session.scalars(like) if row.identifier.startswith(identifier)]

        found = self._database.read(work)
        if len(found) > 1:
            names = sorted(entry.identifier for entry in found)
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            raise InputError(f"catalogue: {len(names)} datasets begin with {identifier}: {shown}; write more of it")
        return found[0] if found else None

    def search(
        self,
        text: str | None = None,
        bbox: Box | None = None,
        years: tuple[int, int] | None = None,
        method: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        site: str | None = None,
        state: str | None = None,
    ) -> list[Entry]:
        """Find datasets to which all that is given applies, the oldest maps first.

        Parameters
        ----------
        text : str
            Words that all stand somewhere in the record.
        bbox : tuple of float
            West, south, east, north [degrees], west > east across the antimeridian; touching it is enough.
        years : tuple of int
            First and last; one that both have is enough.
        method, site, state : str
        parameters : mapping
            Values by name, such as ``{"sun.linke": 2}``; see `eemt.archive.search.agree`.
        """
        wanted = select(DatasetRow).order_by(DatasetRow.created, DatasetRow.identifier)
        if site is not None:
            wanted = wanted.where(DatasetRow.site == site)
        if state is not None:
            wanted = wanted.where(DatasetRow.state == state)
        if years is not None:
            wanted = wanted.where(DatasetRow.year_first <= years[1], DatasetRow.year_last >= years[0])

        def fits(entry: Entry) -> bool:
            return (
                (bbox is None or overlap(entry.bbox, bbox))
                and (method is None or method in entry.methods)
                and agree(entry.parameters, parameters or {})
                and mentions([entry.identifier, *entry.record.values()], text or "")
            )

        def work(session: Session) -> list[Entry]:
            rows = session.execute(wanted.execution_options(yield_per=500)).scalars()
            return [entry for entry in map(entry_of, rows) if fits(entry)]

        return self._database.read(work)

    def blocks(self, identifier: str) -> list[BlockEntry]:
        """Return the blocks of a dataset that were verified at least once, by name."""
        wanted = select(BlockRow).where(BlockRow.dataset == identifier).order_by(BlockRow.name)
        return self._database.read(
            lambda session: [
                BlockEntry(row.name, row.size, row.sha256, row.verified_at, row.read_at, row.fault)
                for row in session.scalars(wanted)
            ]
        )

    def history(self, identifier: str) -> list[Event]:
        """Return what happened to a dataset, the first first."""
        wanted = select(EventRow).where(EventRow.dataset == identifier).order_by(EventRow.id)
        return self._database.read(
            lambda session: [Event(row.at, row.step, row.outcome, row.message) for row in session.scalars(wanted)]
        )

    def rebuild(self, area: Area) -> Rebuilt:
        """Take in the datasets that a storage holds, by their bags alone.

        Their blocks are not read: they count as never verified, but for those that the catalogue knew before. Left out
        are folders of bags that were not finished, bags whose files are not as their own checksums say or not as the
        catalogue remembers them, and datasets that are being archived.

        Raises
        ------
        StorageError
            When the storage or the database cannot be used.
        """
        from eemt.archive.bag import TAGMANIFEST, read_bag

        names = set(area.names())
        taken, left_out = [], {}
        for folder in sorted({name.partition("/")[0] for name in names if "/" in name}):
            if f"{folder}/{TAGMANIFEST}" not in names:
                if IDENTIFIER.fullmatch(folder):  # other folders have nothing to do with the archive
                    left_out[folder] = f"is not finished: it has no {TAGMANIFEST}"
                continue
            try:
                bag = read_bag(area, folder)
            except StorageError as error:
                area.size(f"{folder}/{TAGMANIFEST}")  # raises where the whole storage is gone
                left_out[folder] = str(error)
                continue
            if reason := self._take_in(folder, bag, area.address):
                left_out[folder] = reason
            else:
                taken.append(folder)
        return Rebuilt(taken, left_out)

    def _take_in(self, folder: str, bag: Bag, storage: str) -> str | None:
        """Take a bag in, or say why not."""
        columns = columns_of(bag.record)

        def work(session: Session) -> str | None:
            archived = {"state": "archived", "storage": storage, "tagmanifest_sha256": bag.tagmanifest}
            new = self._insert_if_new(session, {**columns, **archived, "archived_at": instant(bag.bagged)})
            row = self._locked(session, folder)
            if row.state != "archived":
                return f"is {row.state}, says the catalogue; `eemt archive` goes on with it"
            if row.tagmanifest_sha256 != bag.tagmanifest:
                return "is not the bag that the catalogue remembers: the checksum of its tag manifest is another one"
            _set(row, {**columns, "storage": storage})
            _keep(session, folder, bag.packed)
            note(session, folder, "rebuild", "taken in" if new else "known", storage)
            return None

        return self._database.write(work)

    def _insert_if_new(self, session: Session, values: Mapping[str, Any]) -> bool:
        insert = sqlite.insert if self._database.file else postgresql.insert
        statement = insert(DatasetRow).values(changed=now(), **values).on_conflict_do_nothing()
        return bool(session.execute(statement.returning(DatasetRow.identifier)).all())

    def _locked(self, session: Session, identifier: str) -> DatasetRow:
        """Return a dataset's row, which no other process changes until the transaction ends."""
        row = session.get(DatasetRow, identifier, with_for_update=True, populate_existing=True)
        if row is None:
            raise InputError(f"catalogue: {self.name} does not hold {identifier}")
        return row


def _block(session: Session, identifier: str, packed: Packed) -> BlockRow:
    """Return the row of a block, made anew where it is of other bytes than it was."""
    row = session.get(BlockRow, (identifier, packed.name))
    if row is None:
        row = BlockRow(dataset=identifier, name=packed.name, size=packed.size, sha256=packed.sha256)
        session.add(row)
    elif (row.size, row.sha256) != (packed.size, packed.sha256):
        row.size, row.sha256 = packed.size, packed.sha256
        row.verified_at = row.read_at = row.fault = None
    return row


def _keep(session: Session, identifier: str, blocks: Iterable[Packed] | None) -> list[BlockRow]:
    """Forget all blocks of a dataset but these, and return their rows."""
    rows = {row.name: row for row in session.scalars(select(BlockRow).where(BlockRow.dataset == identifier))}
    if blocks is None:
        return list(rows.values())
    kept = [_block(session, identifier, packed) for packed in blocks]
    for name in rows.keys() - {row.name for row in kept}:
        session.delete(rows[name])
    return kept


def _set(row: DatasetRow, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
