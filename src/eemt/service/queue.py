"""The queue: which job starts next, and what becomes of those that run."""

from __future__ import annotations

from eemt.service.database import Database
from eemt.service.settings import Settings


class Queue:
    """Starts jobs in fair order and follows them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database

    def start(self) -> None:
        """Take up what runs, and begin."""

    def stop(self) -> None:
        """Stop starting jobs."""

    def wake(self) -> None:
        """Look now, since something was submitted or cancelled."""
