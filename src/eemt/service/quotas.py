"""How much disk a user may fill, and how much is left of it and of the disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from eemt.service.archives import UNDER_WAY
from eemt.service.models import FINISHED, Archive, Job, Upload, User
from eemt.service.problems import Problem
from eemt.service.settings import Settings


@dataclass(frozen=True)
class Usage:
    """What a user has on disk [bytes].

    Attributes
    ----------
    limit : int
        What may be.
    uploads : int
        Of uploads; those that are on their way count whole.
    jobs : int
        Of jobs whose files are there, or come back from the archive; those that are not finished count with what is
        expected.
    """

    limit: int
    uploads: int
    jobs: int

    @property
    def used(self) -> int:
        """All together."""
        return self.uploads + self.jobs

    @property
    def left(self) -> int:
        """What may still come."""
        return max(self.limit - self.used, 0)


def usage(session: Session, settings: Settings, user_id: str) -> Usage:
    """Return what a user has on disk, and may."""
    own = session.scalar(select(User.quota_bytes).where(User.id == user_id))
    uploads = session.scalar(
        select(func.coalesce(func.sum(Upload.size), 0)).where(Upload.user_id == user_id, Upload.state != "refused")
    )
    # jobs that are not finished count with what they will have, so that many at once do not take more than all
    there = case((Job.state.in_(FINISHED), Job.bytes), (Job.bytes > Job.expected, Job.bytes), else_=Job.expected)
    jobs = session.scalar(
        select(func.coalesce(func.sum(there), 0)).where(Job.user_id == user_id, Job.removed.is_(None))
    )
    coming = session.scalar(
        select(func.coalesce(func.sum(Archive.bytes), 0))
        .join(Job, Job.id == Archive.job_id)
        .where(Job.user_id == user_id, Archive.action == "retrieve", Archive.state.in_(UNDER_WAY))
    )
    return Usage(settings.quota_bytes if own is None else own, int(uploads or 0), int(jobs or 0) + int(coming or 0))


def refuse_over_quota(session: Session, settings: Settings, user_id: str, more: int) -> None:
    """Raise where so many bytes more are more than a user may have.

    Raises
    ------
    Problem
    """
    found = usage(session, settings, user_id)
    if more > found.left:
        raise Problem(
            "quota",
            f"This needs {readable(more)} and {readable(found.left)} of your {readable(found.limit)} are left; remove "
            "jobs or uploads that you need no more.",
        )


def free_bytes(settings: Settings) -> int:
    """Return what is free on the fuller of the disks that uploads and jobs are on [bytes]."""
    return min(shutil.disk_usage(folder).free for folder in (settings.uploads, settings.jobs))


def refuse_full_disk(settings: Settings, more: int = 0) -> None:
    """Raise where so many bytes more would leave less of the disk free than has to be.

    Raises
    ------
    Problem
    """
    left = free_bytes(settings) - settings.least_free_bytes
    if more > left:
        raise Problem(
            "disk-full",
            f"This needs {readable(more)} and the disk has {readable(max(left, 0))} to give; ask the operator.",
            headers={"Retry-After": "3600"},
        )


def readable(number: int) -> str:
    """Write bytes for people, such as 1.5 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"
