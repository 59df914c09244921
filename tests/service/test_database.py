"""The database has the tables that the models say, and survives what happens to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, text

from eemt.errors import InputError
from eemt.service import audit
from eemt.service.database import Database
from eemt.service.models import Audit, Base


def test_migrations_make_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    database.upgrade()


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    with pytest.raises(InputError, match="a newer eemt"):
        database.upgrade()


def test_a_database_that_cannot_be_opened_is_said_in_one_line() -> None:
    with pytest.raises(InputError, match=r"sqlite:////nowhere/x\.sqlite cannot be used: unable to open"):
        Database("sqlite:////nowhere/x.sqlite").upgrade()


def test_many_writers_wait_for_each_other(database: Database) -> None:
    def write(number: int) -> None:
        with database.session() as session:
            session.execute(select(func.count()).select_from(Audit))
            audit.write(session, "test", target=str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(200)))
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Audit)) == 200
