"""The tables of the catalogue, which may stand in one PostgreSQL database with those of others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from eemt.sql import NAMES, Instant, now

VERSION = 1  # of the tables; a program leaves those of a higher version alone


class Base(DeclarativeBase):
    """What all tables share: names of constraints, so that a later version can change them."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: Instant, dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012 - read by the library


class Form(Base):
    """Which version the tables are of; one row."""

    __tablename__ = "archive_form"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class DatasetRow(Base):
    """A dataset that was taken in, from its first packing on."""

    __tablename__ = "archive_dataset"
    __table_args__ = (Index("ix_archive_dataset_site", "site"), Index("ix_archive_dataset_state", "state"))

    identifier: Mapped[str] = mapped_column(String(255), primary_key=True)
    site: Mapped[str] = mapped_column(String(255))
    title: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    fault: Mapped[str | None] = mapped_column(String(16))  # user or system
    message: Mapped[str | None] = mapped_column(Text)
    storage: Mapped[str | None] = mapped_column(Text)  # address of the area, once archived
    created: Mapped[datetime | None]  # when the crate says that the maps were
    changed: Mapped[datetime] = mapped_column(default=now)  # when its state was
    archived_at: Mapped[datetime | None]
    files: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)  # of the files, before packing
    west: Mapped[float | None]  # degrees; greater than east across the antimeridian
    south: Mapped[float | None]
    east: Mapped[float | None]
    north: Mapped[float | None]
    year_first: Mapped[int | None]
    year_last: Mapped[int | None]
    methods: Mapped[list[str]]
    parameters: Mapped[dict[str, Any]]
    record: Mapped[dict[str, Any]]
    tagmanifest_sha256: Mapped[str | None] = mapped_column(String(64))


class BlockRow(Base):
    """A block of a dataset that was read back from the storage and found right."""

    __tablename__ = "archive_block"

    dataset: Mapped[str] = mapped_column(ForeignKey("archive_dataset.identifier", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    verified_at: Mapped[datetime | None]  # when it was last found right
    read_at: Mapped[datetime | None]  # when it was last looked at, right or not
    fault: Mapped[str | None] = mapped_column(Text)  # what was wrong then


class EventRow(Base):
    """What happened to a dataset."""

    __tablename__ = "archive_event"
    __table_args__ = (Index("ix_archive_event_dataset", "dataset", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(ForeignKey("archive_dataset.identifier", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=now)
    step: Mapped[str] = mapped_column(String(32))
    outcome: Mapped[str] = mapped_column(String(32))
    message: Mapped[str | None] = mapped_column(Text)
