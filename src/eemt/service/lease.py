"""One server for one database: whoever holds the lease has the queue."""

from __future__ import annotations

from eemt.service.database import Database


class Lease:
    """The right to run a database's jobs, renewed while the server lives."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take(self) -> None:
        """Take the lease and keep it."""

    def give_back(self) -> None:
        """Give it back."""
