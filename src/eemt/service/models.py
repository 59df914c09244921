"""The tables of the service's database."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from eemt.sql import NAMES, Instant, now

Role = Literal["user", "operator"]
Kind = Literal["sun", "eemt"]
State = Literal["pending", "running", "completed", "failed", "cancelled"]
FINISHED: tuple[State, ...] = ("completed", "failed", "cancelled")


def new_id() -> str:
    """Make an identifier that nobody can guess."""
    return secrets.token_hex(10)


class Base(DeclarativeBase):
    """What all tables share: names of constraints, so that migrations can change them."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: Instant, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 - read by the library


class User(Base):
    """Who may sign in."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password: Mapped[str | None] = mapped_column(String(255))  # argon2id; none: no sign-in by password
    role: Mapped[str] = mapped_column(String(16), default="user")
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    disabled: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(default=now)


class Token(Base):
    """A key to the API; what is kept is its SHA-256."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    used: Mapped[datetime | None]
    revoked: Mapped[datetime | None]


class SignIn(Base):
    """A browser's session; its cookie holds the key whose SHA-256 is kept."""

    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    ended: Mapped[datetime | None]


class FailedLogin(Base):
    """A wrong password, counted by name and by address."""

    __tablename__ = "failed_logins"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    address: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[datetime] = mapped_column(default=now, index=True)


class Upload(Base):
    """A file that a user sends, in pieces."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))  # dem, climate, zones, raster, table
    name: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)  # bytes, as announced
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(String(16), default="receiving")  # then checking, ready or refused
    sha256: Mapped[str | None] = mapped_column(String(64))
    problem: Mapped[str | None] = mapped_column(Text)
    header: Mapped[dict[str, Any] | None]  # what an inspection found: grid, footprint, estimate
    created: Mapped[datetime] = mapped_column(default=now, index=True)
    touched: Mapped[datetime] = mapped_column(default=now)


class Job(Base):
    """A run of the workflow: a config, one Snakemake process at a time, results."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("user_id", "idempotency_key"),
        Index("ix_jobs_user_created", "user_id", "created", "id"),
        Index("ix_jobs_created", "created", "id"),
        Index("ix_jobs_state", "state", "queued"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))  # of the site too
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="pending")
    settings: Mapped[dict[str, Any]]  # as submitted, uploads by their identifiers
    config: Mapped[str] = mapped_column(Text)  # YAML that Snakemake gets
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    cloned_from: Mapped[str | None] = mapped_column(String(32))
    attempt: Mapped[int] = mapped_column(default=1)
    cells: Mapped[int | None] = mapped_column(BigInteger)
    created: Mapped[datetime] = mapped_column(default=now)
    queued: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    last_sign: Mapped[datetime | None]  # of life
    process: Mapped[dict[str, Any] | None]  # of the supervisor: pid, when it started, the machine's boot
    returns: Mapped[int] = mapped_column(default=0)  # into the queue, in a row, since its process was lost
    cancel: Mapped[datetime | None]  # when cancelling was asked for
    steps_done: Mapped[int] = mapped_column(default=0)
    steps_total: Mapped[int] = mapped_column(default=0)
    message: Mapped[str | None] = mapped_column(Text)  # why it failed, with the failing rule's last lines
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)  # on disk
    expected: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes that it will have, as estimated
    events_read: Mapped[int] = mapped_column(BigInteger, default=0)  # of the events' file, in bytes
    removed: Mapped[datetime | None]  # when the files were; the record stays
    deleted: Mapped[datetime | None]  # by its user: no longer listed


class JobUpload(Base):
    """Which uploads a job reads; these are kept as long as it."""

    __tablename__ = "job_uploads"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    upload_id: Mapped[str] = mapped_column(String(32), primary_key=True, index=True)


class Archive(Base):
    """How far a job's results are on their way to the archive, or back from there."""

    __tablename__ = "archives"
    __table_args__ = (Index("ix_archives_state", "state", "asked"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int]  # of the job, that made these results
    action: Mapped[str] = mapped_column(String(16))  # archive, retrieve: what was asked for last
    state: Mapped[str] = mapped_column(String(16))
    identifier: Mapped[str | None] = mapped_column(String(255))  # of the dataset, once the archive has it
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)  # of the results
    message: Mapped[str | None] = mapped_column(Text)
    fault: Mapped[str | None] = mapped_column(String(16))  # of what failed: user or system
    asked: Mapped[datetime] = mapped_column(default=now)
    at: Mapped[datetime] = mapped_column(default=now)  # of the last change
    brought: Mapped[datetime | None]  # when the results came back last


class RuleProgress(Base):
    """How far the jobs of one of the workflow's rules are, in the present attempt."""

    __tablename__ = "rule_progress"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    rule: Mapped[str] = mapped_column(String(128), primary_key=True)
    total: Mapped[int] = mapped_column(default=0)
    running: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)  # of those done


class Event(Base):
    """What happened to a job, in order; viewers are told of it."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_job", "job_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=now)
    kind: Mapped[str] = mapped_column(String(32))  # state, progress, rule_started, …, message, archive
    data: Mapped[dict[str, Any]]


class Audit(Base):
    """Who did what, when, from where."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    user_id: Mapped[str | None] = mapped_column(String(32), index=True)
    user_name: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))  # such as job.submit, login.failed, cleanup
    target: Mapped[str | None] = mapped_column(String(255))
    detail: Mapped[dict[str, Any] | None]


class Lease(Base):
    """Which server has the queue; there is one row."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    where: Mapped[str] = mapped_column(String(255))  # host and pid, for people
    process: Mapped[dict[str, Any] | None]  # as in jobs
    expires: Mapped[datetime]
