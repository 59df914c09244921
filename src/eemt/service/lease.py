"""One server for one database: whoever holds the lease has the queue.

The lease is a row that its holder renews. Another server may take it when the holder has given it back, is a process of
this machine that has ended, or has not renewed it for longer than it is valid; clocks of different machines are not
compared, but each watches by its own whether the row changes. All changes are made on condition that the row is what it
was when it was looked at.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, CursorResult, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from eemt.errors import InputError
from eemt.service import models, processes
from eemt.service.database import Database
from eemt.sql import now

NAME = "queue"
EVERY_SECONDS = 10.0
VALID_SECONDS = 30.0
LOG = logging.getLogger(__name__)


class Lease:
    """The right to run a database's jobs, renewed while the server lives.

    Parameters
    ----------
    database : Database
        Whose jobs.
    every : float
        Time between renewals [s].
    valid : float
        How long it is held without one [s].
    clock : function
        Time that no one sets [s].
    """

    def __init__(
        self,
        database: Database,
        every: float = EVERY_SECONDS,
        valid: float = VALID_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        self.every = every
        self.valid = valid
        self.clock = clock
        self.holder = secrets.token_hex(16)
        self.where = f"{socket.gethostname()}, process {os.getpid()}"
        self._until = 0.0  # by the clock
        self._expires: datetime | None = None
        self._seen: tuple[str, datetime] | None = None  # another's row, and since when it is unchanged
        self._seen_since = 0.0
        self._renewals = 0  # of another's, as far as it was looked at
        self._has_said = False
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def holds(self) -> bool:
        """Whether this server has the queue just now."""
        return self.clock() < self._until and self._expires is not None and now() < self._expires

    def take(self) -> None:
        """Take the lease and keep it.

        Raises
        ------
        InputError
            When another server holds it.
        """
        while not self._try():
            other = self._other()
            if other is None:
                continue
            if self._renewals or _is_alive(other):
                raise InputError(
                    f"database: {self.database.name} has a server already: {other.where}; stop that one, "
                    "or give this one a folder or database of its own"
                )
            # it may live on another machine: then it renews its lease before long
            if self._end.wait(min(self.every, self.valid) / 10):
                return
        self._end.clear()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def give_back(self) -> None:
        """Give it back."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(self.every)
            self._thread = None
        self._until = 0.0
        try:
            with self.database.session() as session:
                session.execute(delete(models.Lease).where(self._is_ours))
        except SQLAlchemyError as error:
            LOG.warning("the lease of the queue could not be given back and runs out by itself: %s", error)

    def renew(self) -> bool:
        """Renew the lease once, or take it where it is free, and return whether it is held."""
        before = self.clock()
        expires = now() + timedelta(seconds=self.valid)
        with self.database.session() as session:
            result = session.execute(update(models.Lease).where(self._is_ours).values(expires=expires))
            assert isinstance(result, CursorResult)
            renewed = result.rowcount == 1
        if renewed:
            self._hold(before, expires)
        elif not self._try():
            self._until = 0.0
        return self.holds

    def _keep(self) -> None:
        while not self._end.wait(self.every if self.holds else self.every / 5):
            try:
                self.renew()
            except SQLAlchemyError as error:
                LOG.warning("the lease of the queue could not be renewed: %s", error)
            except Exception:
                LOG.exception("the lease of the queue could not be renewed")
            self._say()

    def _say(self) -> None:
        if not self.holds and not self._has_said:
            LOG.error("the lease of the queue is lost: no job is started until it is held again")
        elif self.holds and self._has_said:
            LOG.warning("the lease of the queue is held again")
        self._has_said = not self.holds

    def _try(self) -> bool:
        """Take the lease if it is free; return whether it is held."""
        before = self.clock()
        expires = now() + timedelta(seconds=self.valid)
        identity = processes.identify(os.getpid())
        values = {
            "holder": self.holder,
            "where": self.where,
            "process": identity.as_json() if identity else None,
            "expires": expires,
        }
        other = self._other()
        try:
            with self.database.session() as session:
                if other is None:
                    session.execute(insert(models.Lease).values(name=NAME, **values))
                elif self._is_free(other):
                    unchanged = (models.Lease.holder == other.holder) & (models.Lease.expires == other.expires)
                    change = update(models.Lease).where(models.Lease.name == NAME, unchanged).values(**values)
                    result = session.execute(change)
                    assert isinstance(result, CursorResult)
                    if result.rowcount != 1:
                        return False
                else:
                    return False
        except IntegrityError:
            return False  # another was quicker
        self._hold(before, expires)
        return True

    def _hold(self, since: float, expires: datetime) -> None:
        self._until = since + self.valid
        self._expires = expires

    def _other(self) -> models.Lease | None:
        with self.database.reading() as session:
            return session.scalar(select(models.Lease).where(models.Lease.name == NAME))

    def _look(self, other: models.Lease) -> None:
        """Note whether another's row has changed since it was looked at last."""
        row = other.holder, other.expires
        if self._seen == row:
            return
        self._renewals = self._renewals + 1 if self._seen and self._seen[0] == other.holder else 0
        self._seen, self._seen_since = row, self.clock()

    def _is_free(self, other: models.Lease) -> bool:
        """Tell whether another's lease may be taken."""
        identity = processes.from_json(other.process)
        if other.holder == self.holder or (identity is not None and identity.is_here and not identity.is_alive):
            return True
        self._look(other)
        unchanged = self.clock() - self._seen_since
        return unchanged > self.valid or (other.expires < now() and unchanged > 1.5 * self.every)

    @property
    def _is_ours(self) -> ColumnElement[bool]:
        return (models.Lease.name == NAME) & (models.Lease.holder == self.holder)


def _is_alive(other: models.Lease) -> bool:
    identity = processes.from_json(other.process)
    return identity is not None and identity.is_alive
