"""What the databases of this program have in common, the service's and the archive's."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, DateTime, Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.types import TypeDecorator

# of constraints, so that a later version can change them
NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Instant(TypeDecorator[datetime]):
    """A time in UTC; SQLite, which knows no time zones, gets it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Write a time."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read a time."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def sqlite_engine(address: str | URL, busy: float, journal: Literal["WAL", "DELETE"]) -> Engine:
    """Open an SQLite database whose transactions last and begin with their first statement.

    One that is to change something begins as the connection's option ``begin`` says, such as BEGIN IMMEDIATE.

    Parameters
    ----------
    address : str or URL
    busy : float
        How long a writer waits for another [s].
    journal : str
        WAL lets readers go on beside a writer; it needs memory that all share, which a network file system has not.
    """
    engine = create_engine(address, connect_args={"timeout": busy}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        # transactions begin with the first statement and not with the first change: see `begin` below
        connection.isolation_level = None
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=FULL")  # what was acknowledged survives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine
