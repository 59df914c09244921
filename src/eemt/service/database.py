"""The database: opening it, bringing its tables to the present form, sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from eemt.errors import InputError
from eemt.sql import sqlite_engine

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 30.0  # that a writer of SQLite waits for another


class Database:
    """Connections to one database, SQLite or PostgreSQL.

    Parameters
    ----------
    address : str
        As SQLAlchemy has it.
    """

    def __init__(self, address: str) -> None:
        self.engine = _engine(address)
        self._reading = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = sessionmaker(self.engine.execution_options(begin="BEGIN IMMEDIATE"), expire_on_commit=False)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a transaction, which is committed at the end, or rolled back by an exception.

        SQLite has one writer at a time: the others wait here, instead of failing at their first change.
        """
        with self._writing.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that writes nothing, which waits for no writer."""
        with self._reading() as session:
            yield session

    def upgrade(self) -> None:
        """Bring the tables to the form that this version of eemt knows.

        Raises
        ------
        InputError
            When the database cannot be reached, or is of a newer version.
        """
        try:
            with self.engine.begin() as connection:
                config = config_of(connection)
                present = MigrationContext.configure(connection).get_current_heads()
                known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
                if not known.issuperset(present):
                    raise InputError("database: a newer eemt has changed it; upgrade this one, or restore a backup")
                command.upgrade(config, "head")
        except SQLAlchemyError as error:
            raise InputError(f"database: {self.name} cannot be used: {_reason(error)}") from None

    @property
    def name(self) -> str:
        """The address without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite."""
        return self.engine.dialect.name == "sqlite"

    def answers(self) -> bool:
        """Tell whether the database can be asked just now."""
        try:
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(address: str) -> Engine:
    if not address.startswith("sqlite"):
        # a connection that died while it lay idle is replaced when it is taken
        return create_engine(
            address,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            pool_timeout=10,
            connect_args={"connect_timeout": 10},
            hide_parameters=True,
        )
    return sqlite_engine(address, BUSY_SECONDS, "WAL")


def config_of(connection: Connection | None) -> Config:
    """Return what Alembic needs to know to change the database behind a connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _reason(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())
