"""Files that users send, in pieces, so that an upload that broke off goes on where it was.

A piece is on disk before it is acknowledged: it is written and synchronised first, and then the number of bytes
received is. What was written and not acknowledged, since the server died, is cut off when the next piece comes.
Files are named by identifiers of ours. What users call them is only ever shown.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import threading
import unicodedata
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, get_args

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette import status
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from eemt.service import inspection, places, quotas
from eemt.service.database import Database
from eemt.service.models import FINISHED, Job, JobUpload, Upload, new_id
from eemt.service.policy import UploadKind
from eemt.service.problems import Problem
from eemt.service.reading import file_of
from eemt.service.settings import Settings
from eemt.sql import now

KINDS: tuple[UploadKind, ...] = get_args(UploadKind)
# tables and polygons are read whole, so that they have to be smaller than rasters
LARGEST: dict[str, int] = {"climate": 20_000_000, "table": 2_000_000, "zones": 200_000_000}
MOST_PENDING = 20  # uploads of one user that are on their way or being checked
WRITE_BYTES = 1_000_000  # held in memory before they are written
PATIENCE = 60.0  # s, that a connection may be silent within a piece
AT_ONCE = 2  # files that are checked
READ_BYTES = 1_000_000
DATABASE_PAUSE = 5.0  # s, after which a database that did not answer is asked again


@dataclass(frozen=True)
class Page:
    """Some uploads, newest first, and the identifier that the next ones come after."""

    uploads: Sequence[Upload]
    following: str | None


class Uploads:
    """What receives and checks uploads.

    Parameters
    ----------
    settings : Settings
    database : Database
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self._receiving: set[str] = set()  # those of which a piece is on its way
        self._lock = threading.Lock()
        self._checks: ThreadPoolExecutor | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Take up checks that were not finished."""
        self._stopping.clear()
        self._checks = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check")
        with self.database.reading() as session:
            waiting = session.scalars(select(Upload.id).where(Upload.state == "checking").order_by(Upload.created))
            for upload_id in waiting.all():
                self._checks.submit(self._check, upload_id)

    def stop(self) -> None:
        """End checks; they are taken up at the next start."""
        self._stopping.set()
        if self._checks is not None:
            self._checks.shutdown(wait=True, cancel_futures=True)
            self._checks = None

    def folder(self, upload_id: str) -> Path:
        """Return an upload's folder: data, hillshade.png."""
        return self.settings.uploads / upload_id

    def path(self, upload_id: str) -> Path:
        """Return where an upload's file is."""
        return file_of(self.settings, upload_id)

    def limit(self, kind: str) -> int:
        """Return the size of the largest upload of a kind [bytes]."""
        return min(self.settings.upload_bytes, LARGEST.get(kind, self.settings.upload_bytes))

    def create(self, session: Session, user_id: str, name: str, size: int, kind: UploadKind) -> Upload:
        """Begin an upload.

        Raises
        ------
        Problem
            When it is too large, too many are on their way, or disk or quota do not suffice.
        """
        if size > self.limit(kind):
            raise Problem(
                "too-large",
                f"{quotas.readable(size)} are too much: {quotas.readable(self.limit(kind))} are the most for files of "
                f"the kind {kind}.",
                limit=self.limit(kind),
            )
        pending = select(func.count()).select_from(Upload)
        pending = pending.where(Upload.user_id == user_id, Upload.state.in_(("receiving", "checking")))
        if (session.scalar(pending) or 0) >= MOST_PENDING:
            raise Problem("conflict", f"{MOST_PENDING} of your uploads are unfinished; finish or delete some of them.")
        quotas.refuse_over_quota(session, self.settings, user_id, size)
        quotas.refuse_full_disk(self.settings, size)
        upload = Upload(id=new_id(), user_id=user_id, kind=kind, name=shown_name(name), size=size, received=0)
        upload.state = "receiving"
        session.add(upload)
        session.flush()
        return upload

    async def receive(
        self, user_id: str | None, upload_id: str, offset: int, length: int | None, pieces: AsyncIterator[bytes]
    ) -> Upload:
        """Take in a piece of an upload, however much of it comes.

        Parameters
        ----------
        user_id : str or None
            Whose the upload has to be.
        upload_id : str
        offset : int
            Where the piece begins [bytes], which must be where the last one ended.
        length : int or None
            Of the piece, as announced.
        pieces : async iterator of bytes

        Raises
        ------
        Problem
            When the piece does not fit to what is there, is too long, or the disk is full.
        """
        with self._alone(upload_id):
            received, size = await run_in_threadpool(self._position, user_id, upload_id)
            if offset != received:
                raise wrong_offset(offset, received)
            room = min(self.settings.chunk_bytes, size - received)
            if length is not None and length > room:
                raise self._too_long(size - received)
            await run_in_threadpool(quotas.refuse_full_disk, self.settings, min(length or 0, room))
            file = await run_in_threadpool(self._open, upload_id, received)
            try:
                written, ended = await self._write(file, room, pieces)
                await run_in_threadpool(_settle, file)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                await run_in_threadpool(_cut, file, received)
                raise Problem("disk-full", "The service's disk is full; try again later.") from None
            finally:
                await run_in_threadpool(file.close)
            if written > room:
                await run_in_threadpool(self._shorten, upload_id, received)
                raise self._too_long(size - received)
            upload = await run_in_threadpool(self._acknowledge, upload_id, received + written)
        if upload.state == "checking":
            self._begin_check(upload_id)
        if not ended:
            detail = f"The piece did not come whole; go on from {upload.received}."
            raise Problem("too-slow", detail, headers=_offset(upload.received), offset=upload.received)
        return upload

    async def _write(self, file: BinaryIO, room: int, pieces: AsyncIterator[bytes]) -> tuple[int, bool]:
        """Write what comes, and return how much, one byte beyond the room at most, and whether it was all."""
        held, written, ended = bytearray(), 0, False
        while written + len(held) <= room:
            try:
                async with asyncio.timeout(PATIENCE):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                ended = True
                break
            except HTTPException as error:
                if error.status_code == status.HTTP_413_CONTENT_TOO_LARGE:
                    return room + 1, False
                break
            except (TimeoutError, ClientDisconnect):
                break  # silent or gone: what came is kept
            held += piece[: room + 1 - written - len(held)]
            if len(held) >= WRITE_BYTES:
                await run_in_threadpool(_write_all, file, held)
                written += len(held)
                held = bytearray()
        await run_in_threadpool(_write_all, file, held)
        return written + len(held), ended

    def _too_long(self, left: int) -> Problem:
        return Problem(
            "too-large",
            f"A piece may have {self.settings.chunk_bytes} bytes, and {left} of the upload are missing.",
            limit=min(self.settings.chunk_bytes, left),
        )

    @contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        """Let one piece of an upload in at a time."""
        with self._lock:
            if upload_id in self._receiving:
                raise Problem(
                    "conflict", "Another piece of this upload is on its way; wait for it.", headers={"Retry-After": "2"}
                )
            self._receiving.add(upload_id)
        try:
            yield
        finally:
            with self._lock:
                self._receiving.discard(upload_id)

    def _position(self, user_id: str | None, upload_id: str) -> tuple[int, int]:
        """Return how much of an upload was received and how much there will be; both [bytes]."""
        with self.database.session() as session:
            upload = get(session, upload_id, user_id)
            if upload.state != "receiving":
                raise Problem("conflict", f"The upload is {upload.state}; nothing more is taken.")
            path = self.path(upload_id)
            there = path.stat().st_size if path.exists() else 0
            # what was acknowledged is on disk, unless the disk was exchanged for an older copy of it
            upload.received = min(upload.received, there)
            return upload.received, upload.size

    def _open(self, upload_id: str, received: int) -> BinaryIO:
        folder = self.folder(upload_id)
        if not folder.exists():
            folder.mkdir(mode=0o700)
            _sync_folder(folder.parent)
        descriptor = os.open(file_of(self.settings, upload_id), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        file = os.fdopen(descriptor, "wb", buffering=0)
        try:
            file.truncate(received)
            file.seek(received)
            if received == 0:
                _sync_folder(folder)
        except OSError:
            file.close()
            raise
        return file

    def _shorten(self, upload_id: str, received: int) -> None:
        with self.path(upload_id).open("r+b") as file:
            _cut(file, received)

    def _acknowledge(self, upload_id: str, received: int) -> Upload:
        with self.database.session() as session:
            try:
                upload = get(session, upload_id, None)
            except Problem:  # deleted meanwhile
                self.remove_files(upload_id)
                raise
            upload.received, upload.touched = received, now()
            if received == upload.size:
                upload.state = "checking"
        return upload

    def _begin_check(self, upload_id: str) -> None:
        if self._checks is not None:
            self._checks.submit(self._check, upload_id)

    def _check(self, upload_id: str) -> None:
        """Look at a whole upload, again where the database does not answer."""
        while not self._stopping.is_set():
            try:
                self._check_once(upload_id)
                return
            except SQLAlchemyError:
                self._stopping.wait(DATABASE_PAUSE)

    def _check_once(self, upload_id: str) -> None:
        """Look at a whole upload in a process of its own, and write down what was found."""
        with self.database.reading() as session:
            upload = session.get(Upload, upload_id)
        if upload is None or upload.state != "checking" or self._stopping.is_set():
            return
        path = self.path(upload_id)
        try:
            checksum = self._sha256(path)
            header, problem = inspection.inspect(upload.kind, path, self.settings.upload_cells, self._stopping)
        except OSError as error:
            checksum, header, problem = "", {}, f"the file cannot be read: {error.strerror}"
        except inspection.Stopped:
            return
        if upload.kind == "dem" and not problem:
            header["warnings"] += places.layout_warnings(header["grid"])
        with self.database.session() as session:
            known = session.get(Upload, upload_id)
            if known is None:  # deleted meanwhile
                return
            known.sha256, known.header, known.problem = checksum or None, None if problem else header, problem
            known.state, known.touched = "refused" if problem else "ready", now()
        if problem:
            path.unlink(missing_ok=True)

    def _sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, read in parts."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(READ_BYTES):
                digest.update(part)
                if self._stopping.is_set():
                    raise inspection.Stopped
        return digest.hexdigest()

    def delete(self, session: Session, upload: Upload) -> None:
        """Delete an upload's record; `remove_files` is for afterwards, when that is committed.

        Raises
        ------
        Problem
            When a job that is not finished reads it.
        """
        query = select(Job.name).join(JobUpload, JobUpload.job_id == Job.id)
        query = query.where(JobUpload.upload_id == upload.id, Job.state.not_in(FINISHED), Job.deleted.is_(None))
        if job := session.scalar(query.limit(1)):
            raise Problem("conflict", f"The job {job} reads this file; wait for its end, or cancel it.")
        session.delete(upload)

    def remove_files(self, upload_id: str) -> None:
        """Remove an upload's folder."""
        shutil.rmtree(self.folder(upload_id), ignore_errors=True)


def get(session: Session, upload_id: str, user_id: str | None) -> Upload:
    """Return an upload of a user's, or of anyone's where no user is given.

    Raises
    ------
    Problem
        When there is none, or it is another's, which callers cannot tell apart.
    """
    query = select(Upload).where(Upload.id == upload_id)
    if user_id is not None:
        query = query.where(Upload.user_id == user_id)
    upload = session.scalar(query)
    if upload is None:
        raise Problem("not-found", "There is no such upload.")
    return upload


def page(
    session: Session, user_id: str | None, kind: str | None = None, limit: int = 50, after: str | None = None
) -> Page:
    """List uploads, newest first; `after` is the last one's identifier of the page before."""
    query = select(Upload)
    if user_id is not None:
        query = query.where(Upload.user_id == user_id)
    if kind is not None:
        query = query.where(Upload.kind == kind)
    if after is not None:
        created = _created(session, after, user_id)
        query = query.where((Upload.created < created) | ((Upload.created == created) & (Upload.id < after)))
    found = session.scalars(query.order_by(Upload.created.desc(), Upload.id.desc()).limit(limit + 1)).all()
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)


def _created(session: Session, upload_id: str, user_id: str | None) -> datetime:
    try:
        return get(session, upload_id, user_id).created
    except Problem:
        raise Problem(
            "invalid", "after: is no upload of a page before", [{"field": "after", "message": "unknown"}]
        ) from None


def shown_name(name: str) -> str:
    """Return a file's name as it is shown: its last part, without what cannot be seen."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    seen = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C").strip()
    return seen[:200] or "file"


def wrong_offset(offset: int, received: int) -> Problem:
    """Say where an upload goes on."""
    return Problem(
        "wrong-offset",
        f"The piece begins at {offset}, and {received} bytes are there; go on from {received}.",
        headers=_offset(received),
        offset=received,
    )


def _offset(received: int) -> dict[str, str]:
    return {"Upload-Offset": str(received)}


def _write_all(file: BinaryIO, data: bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _settle(file: BinaryIO) -> None:
    os.fsync(file.fileno())


def _cut(file: BinaryIO, received: int) -> None:
    file.truncate(received)
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
