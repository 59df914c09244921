"""Events to many viewers: the database is asked once for all of them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from eemt.service.database import Database
from eemt.service.models import Event, Job

LOG = logging.getLogger(__name__)
EVERY_SECONDS = 0.5
PAGE = 1000  # events read at a time
ROOM = 2000  # events that may wait for a viewer
GAP_SECONDS = 2.0  # that a transaction may take between its event's number and its end

Told = dict[str, Any]


@dataclass(eq=False)
class Viewer:
    """One who watches, in a loop of their own.

    Parameters
    ----------
    wants : function
        Whether an event is for them.
    """

    loop: asyncio.AbstractEventLoop
    wants: Callable[[Told], bool]
    room: int = ROOM
    events: list[Told] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def hand(self, events: Sequence[Told]) -> None:
        """Add events, in the viewer's loop; one who is too slow for them is let go, and comes back for the rest."""
        if self.is_over:
            return
        self.events += [event for event in events if self.wants(event)]
        if len(self.events) > self.room:
            self.events.clear()
            self.is_over = True
        if self.events or self.is_over:
            self.wake.set()

    def end(self) -> None:
        """End, when what waits has been taken."""
        self.is_over = True
        self.wake.set()


class Hub:
    """Hands events of the database on to those who watch.

    Parameters
    ----------
    database : Database
        Where events are.
    every : float
        Time between looks at it [s].
    room : int
        Events that may wait for a viewer.
    """

    def __init__(self, database: Database, every: float = EVERY_SECONDS, room: int = ROOM) -> None:
        self.database = database
        self.every = every
        self.room = room
        self._lock = threading.Lock()
        self._viewers: set[Viewer] = set()
        self._last = 0  # all up to this one were handed on
        self._gap: tuple[int, float] | None = None  # its first number, and since when it is known
        self._end = threading.Event()
        self._is_over = False
        self._thread: threading.Thread | None = None

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    def start(self) -> None:
        """Begin to look for events."""
        with self.database.reading() as session:
            self._last = session.scalar(select(func.max(Event.id))) or 0
        self._end.clear()
        self._is_over = False
        self._thread = threading.Thread(target=self._work, name="hub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all streams; called again it does nothing."""
        with self._lock:
            self._is_over = True
            viewers = list(self._viewers)
        self._end.set()
        for viewer in viewers:
            _call(viewer.loop, viewer.end)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
            self._thread = None

    async def watch(self, job_ids: Iterable[str] | None, user_id: str | None, after: int) -> AsyncIterator[Told]:
        """Yield events as they come, beginning with those there are.

        It ends when the service stops, or when events come faster than they are taken: who then asks again for what
        comes after the last one misses none.

        Parameters
        ----------
        job_ids : iterable of str or None
            Of these jobs; of all where none are given.
        user_id : str or None
            Of this user's jobs; of all users' where none is given.
        after : int
            The number of the last event that is known; 0 begins with the first.

        Yields
        ------
        dict
            id, job_id, at, kind and data of an event.
        """
        wanted = None if job_ids is None else frozenset(job_ids)

        def wants(event: Mapping[str, Any]) -> bool:
            return (wanted is None or event["job_id"] in wanted) and (user_id is None or event["user_id"] == user_id)

        viewer = Viewer(asyncio.get_running_loop(), wants, self.room)
        with self._lock:
            if self._is_over:
                return
            self._viewers.add(viewer)
            known = self._last
        try:
            # what was written before: the viewer is handed what comes after `known` meanwhile
            while after < known:
                page = await asyncio.to_thread(self._page, after, known, wanted, user_id)
                for event in page:
                    after = event["id"]
                    yield _shown(event)
                if len(page) < PAGE:
                    break
                if viewer.is_over:
                    return
            while True:
                await viewer.wake.wait()
                viewer.wake.clear()
                events, viewer.events = viewer.events, []
                for event in events:
                    if event["id"] > after:
                        yield _shown(event)
                if viewer.is_over and not viewer.events:
                    return
        finally:
            with self._lock:
                self._viewers.discard(viewer)

    def _page(self, after: int, upto: int, job_ids: frozenset[str] | None, user_id: str | None) -> list[Told]:
        query = _events().where(Event.id > after, Event.id <= upto)
        if job_ids is not None:
            query = query.where(Event.job_id.in_(job_ids))
        if user_id is not None:
            query = query.where(Job.user_id == user_id)
        with self.database.reading() as session:
            return [_told(row) for row in session.execute(query.limit(PAGE))]

    def _work(self) -> None:
        complained = False
        while not self._end.wait(self.every):
            try:
                while self.look():
                    pass
                complained = False
            except Exception as error:
                if not complained:
                    LOG.error("events cannot be read; viewers wait: %s", " ".join(str(error).split()))
                complained = True

    def look(self) -> bool:
        """Hand on what is new; tell whether there may be more."""
        with self.database.reading() as session:
            rows = [_told(row) for row in session.execute(_events().where(Event.id > self._last).limit(PAGE))]
        ready = self._ready(rows)
        if not ready:
            return False
        with self._lock:
            self._last = ready[-1]["id"]
            loops: dict[asyncio.AbstractEventLoop, list[Viewer]] = {}
            for viewer in self._viewers:
                loops.setdefault(viewer.loop, []).append(viewer)
        for loop, viewers in loops.items():
            _call(loop, _hand_all, viewers, ready)
        return len(rows) == PAGE and len(ready) == len(rows)

    def _ready(self, rows: list[Told]) -> list[Told]:
        """Return those that none with a lower number can come before.

        PostgreSQL gives numbers before transactions end, so that a lower one may show up later; a gap is waited for, as
        long as a transaction takes. In SQLite, where one transaction writes at a time, there are no such gaps.
        """
        if self.database.is_sqlite:
            return rows
        expected = self._last + 1
        for number, row in enumerate(rows):
            if row["id"] != expected:
                if self._gap is None or self._gap[0] != expected:
                    self._gap = expected, time.monotonic()
                if time.monotonic() - self._gap[1] < GAP_SECONDS:
                    return rows[:number]
            expected = row["id"] + 1
        return rows


def _events() -> Any:
    columns = (Event.id, Event.job_id, Event.at, Event.kind, Event.data, Job.user_id)
    return select(*columns).join(Job, Job.id == Event.job_id).order_by(Event.id)


def _told(row: Any) -> Told:
    return dict(row._mapping)


def _shown(event: Told) -> Told:
    return {name: value for name, value in event.items() if name != "user_id"}


def _hand_all(viewers: list[Viewer], events: list[Told]) -> None:
    for viewer in viewers:
        viewer.hand(events)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return  # the loop is closed, and with it the viewer's connection
