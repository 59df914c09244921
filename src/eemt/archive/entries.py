"""What stands in the catalogue of a dataset, and how a record becomes that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from eemt.archive.search import Box
from eemt.archive.tables import DatasetRow

if TYPE_CHECKING:
    from eemt.archive.record import Record


class Entry(NamedTuple):
    """A dataset in the catalogue.

    Attributes
    ----------
    state : str
        packing, staged, moving, verifying, archived or failed.
    fault, message : str or None
        Whether the user or a system is at fault, and what is wrong; of an archived dataset, what the last
        verifications found.
    storage : str or None
        Address of the area where it is kept, once it is archived.
    created, changed, archived_at : datetime
        When the maps were made, the state was last changed, the dataset was archived (UTC).
    bytes : int
        Of its files, before packing.
    bbox : tuple of float or None
        West, south, east, north [degrees]; west is greater than east across the antimeridian.
    years : tuple of int or None
        First and last.
    record : dict
        All that was written of it, as in metadata/record.json.
    tagmanifest_sha256 : str or None
        Of the bag's last file, once it is archived.
    """

    identifier: str
    site: str
    title: str
    kind: str
    state: str
    fault: str | None
    message: str | None
    storage: str | None
    created: datetime | None
    changed: datetime
    archived_at: datetime | None
    files: int
    bytes: int
    bbox: Box | None
    years: tuple[int, int] | None
    methods: tuple[str, ...]
    parameters: Mapping[str, Any]
    record: Mapping[str, Any]
    tagmanifest_sha256: str | None


class BlockEntry(NamedTuple):
    """A block of a dataset: when it was last found right, and last read, right or not; what was wrong then."""

    name: str
    size: int
    sha256: str
    verified_at: datetime | None
    read_at: datetime | None
    fault: str | None


class Event(NamedTuple):
    """What happened to a dataset, and when (UTC)."""

    at: datetime
    step: str
    outcome: str
    message: str | None


def columns_of(record: Record) -> dict[str, Any]:
    """Return what the catalogue has of a record, by the names of its columns."""
    document = json.loads(record.model_dump_json())  # without NaN, which PostgreSQL does not take
    west, south, east, north = document["bbox"] or (None,) * 4
    first, last = document["period"] or (None, None)
    same = ("identifier", "site", "title", "kind", "files", "bytes", "parameters")
    return {
        **{name: document[name] for name in same},
        "created": instant(document["created"]),
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "year_first": first,
        "year_last": last,
        "methods": list(document["methods"]),
        "record": document,
    }


def instant(text: str) -> datetime | None:
    """Return a time as in ISO 8601, of UTC where no zone is said; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def as_line(message: str | None) -> str | None:
    """Return a message as one line that every database takes."""
    return None if message is None else " ".join(message.replace("\0", "").split())


def entry_of(row: DatasetRow) -> Entry:
    """Return a dataset as it stands in its row."""
    corners = (row.west, row.south, row.east, row.north)
    years = (row.year_first, row.year_last)
    return Entry(
        identifier=row.identifier,
        site=row.site,
        title=row.title,
        kind=row.kind,
        state=row.state,
        fault=row.fault,
        message=row.message,
        storage=row.storage,
        created=row.created,
        changed=row.changed,
        archived_at=row.archived_at,
        files=row.files,
        bytes=row.bytes,
        bbox=corners if None not in corners else None,  # type: ignore[arg-type] # all four or none
        years=years if None not in years else None,  # type: ignore[arg-type] # both or none
        methods=tuple(row.methods),
        parameters=row.parameters,
        record=row.record,
        tagmanifest_sha256=row.tagmanifest_sha256,
    )
