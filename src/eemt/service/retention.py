"""What is kept how long."""

from __future__ import annotations

from eemt.service.database import Database
from eemt.service.settings import Settings


class Cleaner:
    """Removes what is past its time, on a schedule."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database

    def start(self) -> None:
        """Begin the schedule."""

    def stop(self) -> None:
        """End it."""
