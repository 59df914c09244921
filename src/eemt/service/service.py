"""The service's parts, put together, started and stopped."""

from __future__ import annotations

from eemt.service import accounts
from eemt.service.archiving import Archiver
from eemt.service.database import Database
from eemt.service.depositing import settings_of_archive
from eemt.service.hub import Hub
from eemt.service.lease import Lease
from eemt.service.queue import Queue
from eemt.service.retention import Cleaner
from eemt.service.settings import Settings
from eemt.service.uploads import Uploads


class Service:
    """What answers requests and runs jobs; one for each process, and one for each database."""

    def __init__(self, settings: Settings) -> None:
        settings.make_folders()
        self.settings = settings
        self.database = Database(settings.database)
        self.lease = Lease(self.database)
        self.hub = Hub(self.database)
        self.queue = Queue(settings, self.database, self.lease)
        self.uploads = Uploads(settings, self.database)
        self.archiver = Archiver(settings, self.database, self.lease)
        self.cleaner = Cleaner(settings, self.database)

    def start(self) -> None:
        """Bring the database up to date, take its queue, take up the jobs that run.

        Raises
        ------
        InputError
            When the database cannot be used, or another server has its queue, or the archive's config file is wrong.
        """
        settings_of_archive(self.settings)  # before anything begins
        self.database.upgrade()
        accounts.prepare(self.settings, self.database)
        self.lease.take()
        self.hub.start()
        self.queue.start()
        self.uploads.start()
        self.archiver.start()
        self.cleaner.start()

    def stop(self) -> None:
        """Stop in the opposite order; running jobs go on or end as the settings say."""
        self.cleaner.stop()
        self.archiver.stop()
        self.uploads.stop()
        self.queue.stop()
        self.hub.stop()
        self.lease.give_back()
        self.database.close()
