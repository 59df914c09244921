"""A backup of the service and its way back: one tar file with checksums, made while the service runs.

The database is written as lines of JSON, a file a table, from one consistent reading: such a backup goes back into
SQLite and PostgreSQL alike, and into a newer eemt, whose migrations then bring it forward.

    manifest.json             of what, when, by which eemt, which form of the tables
    database/TABLE.jsonl      a row a line
    secret.key                with which cookies are signed
    jobs/ID/config/…          of every job whose files are still kept
    jobs/ID/inputs/…          of jobs that wait or run, so that they can begin again
    jobs/ID/…                 everything of finished jobs, if asked for
    uploads/…                 if asked for
    SHA256SUMS                of all of these
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, Connection, MetaData, Table, select
from sqlalchemy.exc import SQLAlchemyError

from eemt import __version__
from eemt.errors import InputError
from eemt.service.database import Database
from eemt.service.models import FINISHED
from eemt.service.settings import Settings
from eemt.sql import now

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
KEY = "secret.key"
# who runs the queue, and who is signed in just now, are of the server that was
LEFT_OUT = {"alembic_version", "leases", "sign_ins", "failed_logins"}
ROWS_AT_ONCE = 1000
PIECE = 1 << 20


@dataclass
class Contents:
    """What a backup holds."""

    at: str
    eemt: str
    revision: str
    database: str  # sqlite or postgresql
    with_uploads: bool
    with_results: bool
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0


def back_up(
    settings: Settings, database: Database, out: Path, with_uploads: bool = False, with_results: bool = False
) -> Contents:
    """Write a backup, which is there whole or not at all.

    Parameters
    ----------
    settings, database
        Of the service, which may run.
    out : path
        The tar file; ending in .gz it is compressed.
    with_uploads, with_results : bool
        Whether uploads, and the files of finished jobs, come along.

    Raises
    ------
    InputError
        When the database cannot be read, or a file of that name is there.
    """
    if out.exists():
        raise InputError(f"backup: {out} is there already; name another file")
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # keys and hashes of passwords are in it
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            mode: Literal["w:gz", "w"] = "w:gz" if out.suffix == ".gz" else "w"
            with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as archive:
                contents = _write(settings, database, Writer(archive), with_uploads, with_results)
            file.flush()
            os.fsync(file.fileno())
        part.rename(out)
    except SQLAlchemyError as error:
        raise InputError(f"backup: {database.name} cannot be read: {type(error).__name__}") from None
    finally:
        part.unlink(missing_ok=True)
    return contents


class Writer:
    """Puts files into a tar and sums them up."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.sums: list[str] = []
        self.bytes = 0

    def add(self, name: str, source: IO[bytes], size: int, modified: float) -> None:
        """Add so many bytes of a file."""
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, int(modified), 0o600
        summed = Summed(source)
        self.archive.addfile(info, summed)
        self.sums.append(f"{summed.sha256.hexdigest()}  {name}")
        self.bytes += size

    def text(self, name: str, content: str) -> None:
        """Add a file of this content."""
        data = content.encode()
        self.add(name, io.BytesIO(data), len(data), now().timestamp())

    def file(self, name: str, path: Path) -> bool:
        """Add a file as it is, unless it is gone meanwhile; a file that grows is taken as far as it is written."""
        try:
            with path.open("rb") as source:
                there = os.fstat(source.fileno())
                self.add(name, source, there.st_size, there.st_mtime)
        except FileNotFoundError:
            return False
        return True

    def folder(self, name: str, path: Path) -> None:
        """Add all files of a folder and of those in it; links are left out."""
        for parent, _, files in os.walk(path):
            for file in sorted(files):
                inside = Path(parent, file)
                if inside.is_file() and not inside.is_symlink():
                    self.file(f"{name}/{inside.relative_to(path).as_posix()}", inside)


class Summed(io.RawIOBase):
    """A file that is summed up while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        piece = self.file.read(size)
        self.sha256.update(piece)
        return piece


def _write(settings: Settings, database: Database, writer: Writer, with_uploads: bool, with_results: bool) -> Contents:
    isolation = {} if database.is_sqlite else {"isolation_level": "REPEATABLE READ"}
    with database.engine.connect().execution_options(**isolation) as connection, connection.begin():
        # every table is read as it was at one moment
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            raise InputError(f"backup: {database.name} has no tables; nothing was ever served from it")
        dialect = connection.dialect.name
        contents = Contents(f"{now():%Y-%m-%dT%H:%M:%SZ}", __version__, revision, dialect, with_uploads, with_results)
        found = {table.name: table for table in tables(connection)}
        for name, table in found.items():
            contents.rows[name] = _write_rows(connection, table, writer)
        jobs, uploads = found["jobs"], found["uploads"]
        states = connection.execute(select(jobs.c.id, jobs.c.state).where(jobs.c.removed.is_(None))).all()
        upload_ids = connection.scalars(select(uploads.c.id)).all() if with_uploads else []
    if (settings.folder / KEY).exists():
        writer.file(KEY, settings.folder / KEY)
    for job_id, state in states:
        folder = settings.jobs / job_id
        if state in FINISHED and with_results:
            writer.folder(f"jobs/{job_id}", folder)
            continue
        writer.folder(f"jobs/{job_id}/config", folder / "config")
        if state not in FINISHED:
            writer.folder(f"jobs/{job_id}/inputs", folder / "inputs")
    for path in sorted(path for upload_id in upload_ids for path in settings.uploads.glob(f"{upload_id}*")):
        if path.is_dir():
            writer.folder(f"uploads/{path.name}", path)
        else:
            writer.file(f"uploads/{path.name}", path)
    contents.files, contents.bytes = len(writer.sums), writer.bytes
    writer.text(MANIFEST, json.dumps({"format": FORMAT, **vars(contents)}, indent=2) + "\n")
    writer.text(SUMS, "\n".join(writer.sums) + "\n")
    return contents


def _write_rows(connection: Connection, table: Table, writer: Writer) -> int:
    """Write a table as lines of JSON, by way of a file of its own: a tar wants to know the size first."""
    number = 0
    result = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(
        select(table).order_by(*table.primary_key.columns)
    )
    with tempfile.SpooledTemporaryFile(max_size=64_000_000) as lines:
        for row in result.mappings():
            number += 1
            content = {name: _as_json(value) for name, value in row.items()}
            lines.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")
        size = lines.tell()
        lines.seek(0)
        writer.add(f"database/{table.name}.jsonl", lines, size, now().timestamp())
    return number


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        # SQLite's have no zone and are UTC
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    return value


def tables(connection: Connection) -> list[Table]:
    """Return the tables as they are in this database, those first that others refer to."""
    metadata = MetaData()
    metadata.reflect(connection)
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)
    return [table for table in metadata.sorted_tables if table.name not in LEFT_OUT]
