"""Jobs, uploads and users as a service would have them, written into a database and its folders."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from eemt.service.database import Database
from eemt.service.models import Event, Job, JobUpload, Upload, User
from eemt.service.settings import Settings
from eemt.sql import now

CONFIG = "sites: {hill: {dem: {source: inputs/dem.tif}}}\n"


def ago(hours: float) -> datetime:
    return now() - timedelta(hours=hours)


def add_user(session: Session, name: str = "ada", **given: Any) -> User:
    user = User(name=name, **given)
    session.add(user)
    session.flush()
    return user


def add_upload(session: Session, settings: Settings, user: User, hours: float = 0.0, size: int = 1000) -> Upload:
    """Add an upload that was last used so many hours ago, with its file."""
    upload = Upload(
        user_id=user.id, kind="dem", name="dem.tif", size=size, received=size, state="ready", touched=ago(hours)
    )
    session.add(upload)
    session.flush()
    folder = settings.uploads / upload.id
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"d" * size)
    return upload


def add_job(
    session: Session,
    settings: Settings,
    user: User,
    state: str,
    hours: float = 0.0,
    uploads: tuple[Upload, ...] = (),
    **given: Any,
) -> Job:
    """Add a job that came into its state so many hours ago, with its folder."""
    over = state in ("completed", "failed", "cancelled")
    job = Job(
        user_id=user.id,
        name=given.pop("name", "hill"),
        kind="sun",
        state=state,
        settings={"dem": {"source": "x"}},
        config=CONFIG,
        created=ago(hours + 2),
        queued=ago(hours + 2),
        started=None if state == "pending" else ago(hours + 1),
        finished=ago(hours) if over else None,
        **given,
    )
    session.add(job)
    session.flush()
    session.add_all(JobUpload(job_id=job.id, upload_id=upload.id) for upload in uploads)
    for kind, data in (
        ("state", {"state": "pending"}),
        ("rule_finished", {"rule": "sun", "seconds": 2.0}),
        ("state", {"state": state}),
    ):
        session.add(Event(job_id=job.id, kind=kind, data=data))
    folder = settings.jobs / job.id
    for name in ("config", "results/hill", *(["inputs"] if uploads else [])):
        (folder / name).mkdir(parents=True)
    (folder / "config/config.yaml").write_text(CONFIG)
    (folder / "results/hill/summary.csv").write_text("a,b\n1,2\n")
    for number, upload in enumerate(uploads):
        (folder / f"inputs/{number}.tif").hardlink_to(settings.uploads / upload.id / "file")
    return job


def add_operator(settings: Settings) -> None:
    """Make the first account, without which a service that asks for one does not begin."""
    settings.make_folders()
    database = Database(settings.database)
    database.upgrade()
    with database.session() as session:
        add_user(
            session, "op", role="operator", password="$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"
        )
    database.close()
