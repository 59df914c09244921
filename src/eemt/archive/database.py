"""The catalogue's database: opening it, pieces of work in transactions, its errors in one line.

SQLite is for the processes of one machine, since its shared memory does not go over a network's file system; PostgreSQL
is for those of several.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from eemt.archive.areas import Waiting, patience
from eemt.archive.errors import Kind, StorageError
from eemt.archive.tables import VERSION, Base, Form
from eemt.errors import InputError
from eemt.sql import sqlite_engine

ADDRESS = "EEMT_ARCHIVE_CATALOGUE"
ADDRESS_FILE = "EEMT_ARCHIVE_CATALOGUE_FILE"
BUSY_SECONDS = 5.0  # that SQLite itself waits for another writer, before it is asked again
SETTLING = 7_218_450_331  # number of PostgreSQL's lock under which tables are made

SQLITE_KINDS: dict[str, Kind] = {
    "SQLITE_FULL": "full",
    "SQLITE_CORRUPT": "corrupt",
    "SQLITE_NOTADB": "corrupt",
    "SQLITE_READONLY": "denied",
    "SQLITE_PERM": "denied",
    "SQLITE_AUTH": "denied",
}
# the beginnings of PostgreSQL's SQLSTATE
POSTGRESQL_KINDS: dict[str, Kind] = {
    "28": "denied",
    "42501": "denied",
    "53100": "full",
    "XX": "corrupt",
    "42P": "corrupt",
}
PASSING = ("08", "40", "53300", "55P03", "57P")  # no connection, a deadlock, too many connections, a lock, a restart

Result = TypeVar("Result")


def catalogue_address(file: str | Path) -> str:
    """Return which catalogue is meant: that of the environment, else a file.

    Parameters
    ----------
    file : str or path
        Of SQLite, as settings have it.

    Raises
    ------
    InputError
        When the file that `EEMT_ARCHIVE_CATALOGUE_FILE` names cannot be read, or an address that may hold a password
        stands elsewhere than in the environment.
    """
    if address := os.environ.get(ADDRESS, "").strip():
        return address
    if named := os.environ.get(ADDRESS_FILE):
        return _only_line(Path(named))
    if "://" in str(file):
        raise InputError(
            f"archive.catalogue: is a file of SQLite; the address of a database has to be in the environment variable "
            f"{ADDRESS}, or in a file that {ADDRESS_FILE} names"
        )
    return str(file)


def _only_line(path: Path) -> str:
    try:
        content = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{ADDRESS_FILE}: {path} cannot be read: {reason}") from None
    if len(content.splitlines()) != 1:
        raise InputError(f"{ADDRESS_FILE}: {path} has to hold one line, the catalogue's address")
    return content


class Database:
    """Connections to one database, SQLite or PostgreSQL.

    Parameters
    ----------
    address : str
        File of SQLite, or ``postgresql://user:password@host/database``.

    Attributes
    ----------
    name : str
        What it is called in messages: the address without its user, password and options.
    """

    def __init__(self, address: str) -> None:
        url = _url(address)
        self._secrets = [word for word in (url.password, *_options(url, "password", "sslpassword")) if word]
        self.file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
        self.name = str(self.file) if self.file else f"postgresql://{url.host or _host(url)}/{url.database or ''}"
        # WAL needs memory that all readers share, which a network file system, where clusters keep folders, has not
        is_file, busy = self.file is not None, min(BUSY_SECONDS, patience())
        self.engine = sqlite_engine(url, busy, "DELETE") if is_file else _postgresql(url, patience())
        self._reading = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = sessionmaker(self.engine.execution_options(begin="BEGIN IMMEDIATE"), expire_on_commit=False)

    def read(self, work: Callable[[Session], Result]) -> Result:
        """Do what writes nothing.

        Raises
        ------
        StorageError
            When the database cannot be used: gone, also where it stays locked, full, corrupt or denied.
        """
        return self._attempt(self._reading, work)

    def write(self, work: Callable[[Session], Result]) -> Result:
        """Do a piece of work in a transaction: all of it or nothing.

        SQLite has one writer at a time: the others wait here. Where a connection is lost the work is done again, on
        another one, so that it has to be such as may be done twice.

        Raises
        ------
        StorageError
            See `read`.
        """
        return self._attempt(self._writing, work)

    def settle(self, make: bool) -> None:
        """Make the tables where there are none, and look whether they are of a form that is known.

        Raises
        ------
        InputError
            When there are none, and none are to be made; or when they are a newer program's, or something else's.
        """
        if self.file and not self.file.exists():
            if not make:
                raise InputError(self._none_there)
            self._make_folder(self.file)
        version = self.read(_version)
        if version is None:
            if not make:
                raise InputError(self._none_there)
            version = self.write(self._make_tables)
        if version > VERSION:
            raise InputError(
                f"catalogue: {self.name} is of a newer eemt (its tables are of version {version}, known here is "
                f"{VERSION}); upgrade this one"
            )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @property
    def _none_there(self) -> str:
        return f"catalogue: {self.name} holds none; `eemt archive` makes it, or `eemt catalogue rebuild` from a storage"

    def _make_folder(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            no_folder = isinstance(error, FileExistsError | NotADirectoryError)
            reason = f"{file.parent} is no folder" if no_folder else error.strerror
            raise StorageError("denied", f"catalogue: {self.name} cannot be made: {reason}") from None

    def _make_tables(self, session: Session) -> int:
        connection = session.connection()
        if not self.file:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": SETTLING})
        if (version := _version(session)) is not None:
            return version
        if self.file and inspect(connection).get_table_names():
            raise InputError(f"catalogue: {self.name} is a database of something else; name another file")
        Base.metadata.create_all(connection)
        session.add(Form(version=VERSION))
        return VERSION

    def _attempt(self, sessions: sessionmaker[Session], work: Callable[[Session], Result]) -> Result:
        waiting = Waiting()
        while True:
            try:
                with sessions.begin() as session:
                    return work(session)
            except (DBAPIError, PoolTimeoutError) as error:
                said = self._worded(error)
                if not _passes(error):
                    raise StorageError(_kind(error), said) from None
                if not waiting.again(said):
                    raise StorageError(_kind(error), f"{said} (waited for {patience():g} s)") from None

    def _worded(self, error: SQLAlchemyError) -> str:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        return f"catalogue: {self.name} cannot be used: {reason}"


def _version(session: Session) -> int | None:
    if not inspect(session.connection()).has_table(Form.__tablename__):
        return None
    return session.scalar(select(Form.version))


def _url(address: str) -> URL:
    if "://" not in address:
        return URL.create("sqlite", database=str(Path(address).expanduser()))
    try:
        url = make_url(address)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        backend = ""
    if backend in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database:
        return url
    # the address is not shown, since it may hold a password
    raise InputError(f"{ADDRESS}: is neither a file of SQLite nor an address postgresql://user:password@host/database")


def _options(url: URL, *names: str) -> list[str]:
    found = [url.query.get(name, ()) for name in names]
    return [word for value in found for word in ([value] if isinstance(value, str) else value)]


def _host(url: URL) -> str:
    return ",".join(_options(url, "host"))


def _postgresql(url: URL, longest: float) -> Engine:
    # a connection that died while it lay idle is replaced when it is taken
    engine = create_engine(
        url,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "tcp_user_timeout": 30_000},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # not forever, where another process holds a row and does nothing
        connection.execute(f"SET lock_timeout = {max(1, round(longest * 1000))}")
        connection.commit()

    return engine


def _sqlite_code(error: SQLAlchemyError) -> str:
    return getattr(getattr(error, "orig", None), "sqlite_errorname", None) or ""


def _state(error: SQLAlchemyError) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _kind(error: SQLAlchemyError) -> Kind:
    code, state = _sqlite_code(error), _state(error)
    for beginning, kind in SQLITE_KINDS.items():
        if code.startswith(beginning):
            return kind
    for beginning, kind in POSTGRESQL_KINDS.items():
        if state.startswith(beginning):
            return kind
    # refused while connecting, for which the library has no SQLSTATE
    refused = ("authentication failed", "no password supplied", "permission denied", "no pg_hba.conf entry")
    return "denied" if any(words in str(error) for words in refused) else "gone"


def _passes(error: SQLAlchemyError) -> bool:
    """Whether waiting may help."""
    code, state = _sqlite_code(error), _state(error)
    if isinstance(error, PoolTimeoutError):
        return True
    if code:
        return code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"))
    if state:
        return state.startswith(PASSING)
    if not isinstance(error, DBAPIError) or _kind(error) != "gone":
        return False
    hopeless = ("does not exist", "failed to resolve host", "could not translate host name")
    unreached = error.connection_invalidated or "connection" in str(error.orig)
    return unreached and not any(words in str(error) for words in hopeless)
