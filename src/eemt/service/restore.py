"""A backup put back: its checksums compared, its files and rows in their places, jobs told what they lack.

Files come first and the rows last, in one transaction: a restore that is killed leaves an empty database, and is
begun again.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, DateTime, Integer, MetaData, Table, func, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from eemt.errors import InputError
from eemt.service.backup import FORMAT, KEY, MANIFEST, PIECE, ROWS_AT_ONCE, SUMS, Contents, Summed, back_up, tables
from eemt.service.database import Database, config_of
from eemt.service.models import FINISHED
from eemt.service.settings import Settings
from eemt.sql import now


@dataclass
class Restored:
    """What a restore did beside putting things back."""

    contents: Contents
    without_files: int = 0  # finished jobs whose results were not in the backup
    again: int = 0  # jobs that wait or ran, and wait now
    failed: int = 0  # those of them that cannot begin again, since their inputs are missing
    uploads_gone: int = 0
    aside: Path | None = None  # where what was there before is


def restore(settings: Settings, source: Path, force: bool = False, say: Callable[[str], None] = print) -> Restored:
    """Put a backup back, into an empty folder and database.

    Parameters
    ----------
    settings : Settings
        Of the service that goes on with it, which must not run.
    source : path
        The backup.
    force : bool
        Whether what is there makes way: it is put aside, and not removed.
    say : callable
        Told what is done.

    Raises
    ------
    InputError
        When the backup is damaged or of a newer eemt, a service runs, or something is there.
    """
    contents = check(source)
    settings.make_folders()
    database = Database(settings.database)
    try:
        _refuse_running(database)
        restored = Restored(contents)
        if _is_used(settings, database):
            if not force:
                raise InputError(
                    f"restore: {settings.folder} and its database hold a service's data; name an empty --folder, "
                    "or put what is there aside by --force"
                )
            restored.aside = _put_aside(settings, database)
            say(f"what was there before is in {restored.aside}")
            database.close()
            database = Database(settings.database)
        _put_files_back(settings, source)
        _put_rows_back(settings, database, source, restored)
        database.upgrade()
        return restored
    except SQLAlchemyError as error:
        raise InputError(f"restore: {database.name} cannot be written: {type(error).__name__}") from None
    finally:
        database.close()


def check(source: Path) -> Contents:
    """Read a whole backup, compare it with its checksums and return what it holds.

    Raises
    ------
    InputError
        When it is none, is damaged, incomplete, or of a newer eemt.
    """
    found: dict[str, str] = {}
    sums, manifest = "", ""
    try:
        for name, file in _members(source):
            summed = Summed(file)
            kept = bytearray()
            while piece := summed.read(PIECE):
                if name in (SUMS, MANIFEST):
                    kept += piece
            if name == SUMS:
                sums = kept.decode()
                continue
            if name == MANIFEST:
                manifest = kept.decode()
            found[name] = summed.sha256.hexdigest()
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a whole tar file"
        raise InputError(f"restore: {source} cannot be read: {reason}") from None
    named = {name: sha256 for sha256, _, name in (line.partition("  ") for line in sums.splitlines())}
    if not named or MANIFEST not in named:
        raise InputError(f"restore: {source} is no backup of eemt, or not whole: it has no {SUMS}")
    for name, sha256 in named.items():
        if found.get(name) != sha256:
            what = "is damaged" if name in found else "is missing"
            raise InputError(f"restore: {name} {what} in {source}; take another backup")
    if extra := set(found) - set(named):
        raise InputError(f"restore: {min(extra)} in {source} has no checksum; take another backup")
    described = json.loads(manifest)
    if described.pop("format", None) != FORMAT:
        raise InputError(f"restore: {source} was written by a newer eemt ({described.get('eemt')}); upgrade this one")
    contents = Contents(**described)
    known = {script.revision for script in ScriptDirectory.from_config(config_of(None)).walk_revisions()}
    if contents.revision not in known:
        raise InputError(f"restore: {source} was written by a newer eemt ({contents.eemt}); upgrade this one")
    return contents


def _members(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Go through the files of a backup, whose names must stay in the folder."""
    with tarfile.open(source, mode="r|*") as archive:
        for info in archive:
            path = PurePosixPath(info.name)
            if not info.isfile() or path.is_absolute() or ".." in path.parts:
                raise InputError(f"restore: {source} holds {info.name!r}, which no backup of eemt does")
            file = archive.extractfile(info)
            assert file is not None
            yield info.name, file


def _refuse_running(database: Database) -> None:
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("leases"):
            return
        leases = _reflected(connection, "leases")
        for where, expires in connection.execute(select(leases.c.where, leases.c.expires)):
            until = expires.replace(tzinfo=UTC) if expires.tzinfo is None else expires
            if until > now():
                raise InputError(f"restore: a service runs on {database.name} ({where}); stop it first")


def _reflected(connection: Connection, name: str) -> Table:
    return Table(name, MetaData(), autoload_with=connection)


def _is_used(settings: Settings, database: Database) -> bool:
    for path in (settings.jobs, settings.uploads):
        if any(path.iterdir()):
            return True
    if (settings.folder / KEY).exists():
        return True
    with database.engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
        return any(
            connection.scalar(select(func.count()).select_from(_reflected(connection, name)))
            for name in ("users", "jobs", "uploads")
            if name in there
        )


def _put_aside(settings: Settings, database: Database) -> Path:
    """Move away what is there, and empty the database after writing it down."""
    aside = settings.folder / f"before-restore-{now():%Y%m%dT%H%M%S}"
    aside.mkdir(mode=0o700)
    with database.engine.connect() as connection:
        there = inspect(connection).has_table("alembic_version")
    if there:
        back_up(settings, database, aside / "database.tar")
    for path in (settings.jobs, settings.uploads, settings.folder / KEY):
        if path.exists():
            # another file system has a place of its own
            target = (
                aside / path.name
                if path.stat().st_dev == aside.stat().st_dev
                else path.with_name(f"{path.name}-{aside.name}")
            )
            path.rename(target)
    settings.make_folders()
    with database.engine.begin() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        metadata.drop_all(connection)
    return aside


def _put_files_back(settings: Settings, source: Path) -> None:
    places = {"jobs": settings.jobs, "uploads": settings.uploads}
    for name, file in _members(source):
        first, _, rest = name.partition("/")
        if first in places and rest:
            path = places[first] / rest
        elif name == KEY:
            path = settings.folder / KEY
        else:
            continue
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            shutil.copyfileobj(file, target, PIECE)


def _put_rows_back(settings: Settings, database: Database, source: Path, restored: Restored) -> None:
    """Fill the tables, in the form that they had, in one transaction."""
    with tempfile.TemporaryDirectory(dir=settings.folder, prefix=".restore-") as staging:
        # a tar is read in its own order; tables are filled in theirs
        for name, file in _members(source):
            if name.startswith("database/"):
                with Path(staging, PurePosixPath(name).name).open("wb") as target:
                    shutil.copyfileobj(file, target, PIECE)
        with database.engine.begin() as connection:
            command.upgrade(config_of(connection), restored.contents.revision)
            there = {table.name: table for table in tables(connection)}
            for name, table in there.items():
                lines = Path(staging, f"{name}.jsonl")
                if lines.exists():
                    _fill(connection, table, lines, database.is_sqlite)
            _settle_jobs(settings, connection, there, restored)
            if not database.is_sqlite:
                _settle_sequences(connection, there.values())


def _fill(connection: Connection, table: Table, lines: Path, is_sqlite: bool) -> None:
    times = {column.name for column in table.columns if isinstance(column.type, DateTime)}
    flags = {column.name for column in table.columns if isinstance(column.type, Boolean)}
    rows: list[dict[str, Any]] = []

    def write() -> None:
        if rows:
            connection.execute(insert(table), rows)
            rows.clear()

    with lines.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            for name in times & row.keys():
                if row[name] is not None:
                    at = datetime.fromisoformat(row[name])
                    row[name] = at.replace(tzinfo=None) if is_sqlite else at
            for name in flags & row.keys():
                row[name] = None if row[name] is None else bool(row[name])
            rows.append(row)
            if len(rows) == ROWS_AT_ONCE:
                write()
    write()


def _settle_jobs(settings: Settings, connection: Connection, tables: dict[str, Table], restored: Restored) -> None:
    """Say of jobs and uploads what is true of them here."""
    jobs, uploads = tables["jobs"], tables["uploads"]
    at = now().replace(tzinfo=None) if connection.dialect.name == "sqlite" else now()
    kept = restored.contents.with_results
    inputs = {job_id for (job_id,) in connection.execute(select(tables["job_uploads"].c.job_id).distinct())}
    for job_id, state, config in connection.execute(
        select(jobs.c.id, jobs.c.state, jobs.c.config).where(jobs.c.removed.is_(None))
    ).all():
        folder = settings.jobs / job_id
        one = jobs.update().where(jobs.c.id == job_id)
        if state in FINISHED:
            if not kept or not folder.is_dir():
                connection.execute(one.values(removed=at, bytes=0))
                restored.without_files += 1
        elif job_id in inputs and not (folder / "inputs").is_dir():
            message = "its inputs were not in the backup that the service was restored from; submit it anew"
            connection.execute(
                one.values(state="failed", finished=at, removed=at, process=None, message=message, bytes=0)
            )
            restored.failed += 1
        else:
            config_file = folder / "config" / "config.yaml"
            if not config_file.exists():
                config_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                config_file.write_text(config, encoding="utf-8")
            # what it had computed is not here, and its process is not either
            connection.execute(one.values(state="pending", started=None, process=None, steps_done=0, events_read=0))
            restored.again += 1
    for (upload_id,) in connection.execute(select(uploads.c.id)).all():
        if not any(settings.uploads.glob(f"{upload_id}*")):
            connection.execute(uploads.delete().where(uploads.c.id == upload_id))
            restored.uploads_gone += 1


def _settle_sequences(connection: Connection, tables: Iterable[Table]) -> None:
    """Let new rows be numbered after those that were put back."""
    for table in tables:
        (key, *more) = table.primary_key.columns
        if not more and isinstance(key.type, Integer) and key.autoincrement:
            sequence = connection.scalar(
                text("SELECT pg_get_serial_sequence(:name, :key)"), {"name": table.name, "key": key.name}
            )
            if sequence:
                largest = connection.scalar(select(func.max(key)))
                if largest:
                    connection.execute(
                        text("SELECT setval(:sequence, :largest)"), {"sequence": sequence, "largest": largest}
                    )
