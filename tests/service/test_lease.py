"""One server has a database's queue; another one gets it when, and only when, that one has gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from eemt.errors import InputError
from eemt.service import models, processes
from eemt.service.database import Database
from eemt.service.lease import Lease
from eemt.sql import now

from .snakefiles import until


@pytest.fixture
def make_lease(database: Database) -> Iterator[Callable[..., Lease]]:
    leases: list[Lease] = []

    def lease(every: float = 0.2, valid: float = 0.8) -> Lease:
        leases.append(Lease(database, every, valid))
        return leases[-1]

    yield lease
    for one in leases:
        one.give_back()


def of_another(database: Database, **values: object) -> None:
    """Make the present lease that of a server on another machine."""
    with database.session() as session:
        session.execute(update(models.Lease).values(holder="another", where="far, process 7", **values))


FAR = {"pid": 7, "started": 1.0, "boot": "another", "host": "far"}


def test_a_second_server_is_refused_and_told_where_the_first_is(make_lease: Callable[..., Lease]) -> None:
    first = make_lease()
    first.take()
    assert first.holds
    with pytest.raises(InputError, match=r"^database: \S+ has a server already: .+, process \d+; stop that"):
        make_lease().take()
    assert first.holds


def test_the_next_server_gets_a_lease_that_was_given_back(make_lease: Callable[..., Lease]) -> None:
    first, second = make_lease(), make_lease()
    first.take()
    first.give_back()
    assert not first.holds
    second.take()
    assert second.holds


def test_a_lease_is_renewed_for_as_long_as_the_server_lives(make_lease: Callable[..., Lease]) -> None:
    first = make_lease()
    first.take()
    end = now() + timedelta(seconds=2)
    while now() < end:
        assert first.holds


def test_a_dead_process_of_this_machine_holds_nothing(make_lease: Callable[..., Lease], database: Database) -> None:
    first, second = make_lease(every=100, valid=1000), make_lease(every=100, valid=1000)
    first.take()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = processes.identify(child.pid)
    assert identity is not None
    of_another(database, process=identity.as_json())
    with pytest.raises(InputError, match="far, process 7"):
        second.take()
    child.communicate(b"\n")
    second.take()
    assert second.holds


def test_a_server_elsewhere_that_renews_is_left_its_lease(make_lease: Callable[..., Lease], database: Database) -> None:
    first, second = make_lease(every=0.05, valid=2), make_lease(every=0.2, valid=2)
    first.take()
    # by its clock, which is an hour slow, it has run out long ago
    with database.session() as session:
        session.execute(update(models.Lease).values(process=FAR))
    until(lambda: first.holds)
    with pytest.raises(InputError, match="has a server already"):
        second.take()


def test_a_server_elsewhere_that_died_loses_its_lease(make_lease: Callable[..., Lease], database: Database) -> None:
    first, second = make_lease(every=100), make_lease()
    first.take()
    # its clock is an hour fast: what counts is that it does not renew
    of_another(database, process=FAR, expires=now() + timedelta(hours=1))
    second.take()
    assert second.holds


def test_of_servers_that_start_at_once_one_gets_it(make_lease: Callable[..., Lease]) -> None:
    leases = [make_lease() for _ in range(6)]

    def take(lease: Lease) -> bool:
        try:
            lease.take()
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(take, leases)) == [False] * 5 + [True]
    assert sum(lease.holds for lease in leases) == 1


def test_a_lease_that_another_took_is_not_held_and_comes_back_when_free(
    make_lease: Callable[..., Lease], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_lease()
    first.take()
    of_another(database, process=FAR, expires=now() + timedelta(hours=1))
    until(lambda: not first.holds)
    until(lambda: "no job is started" in caplog.text)
    until(lambda: first.holds)  # since the other one never renews
    until(lambda: "held again" in caplog.text)


def test_a_database_that_is_away_for_long_ends_the_lease(
    make_lease: Callable[..., Lease], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_lease()
    first.take()
    with database.session() as session:
        session.execute(text("ALTER TABLE leases RENAME TO away"))
    until(lambda: not first.holds)
    assert "could not be renewed" in caplog.text
    with database.session() as session:
        session.execute(text("ALTER TABLE away RENAME TO leases"))
    until(lambda: first.holds)


def test_a_clock_set_forward_ends_the_lease_until_it_is_renewed(make_lease: Callable[..., Lease]) -> None:
    first = make_lease(every=100, valid=1000)
    first.take()
    first._expires = now() - timedelta(hours=1)  # as it looks after the clock was set
    assert not first.holds
    assert first.renew()
