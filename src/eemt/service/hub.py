"""Events to many viewers: the database is asked once for all of them."""

from __future__ import annotations

from eemt.service.database import Database


class Hub:
    """Hands events of the database on to those who watch."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def start(self) -> None:
        """Begin to look for events."""

    def stop(self) -> None:
        """End all streams."""
