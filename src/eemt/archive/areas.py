"""Places for files: a folder, a bucket of an S3 server, a remote of rclone; one set of promises for all three.

A file is put whole or not at all, and lasts once `put` returns; what killed writers left is never listed.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from eemt.archive.errors import StorageError
from eemt.errors import InputError

LOG = logging.getLogger(__name__)

PIECE = 1 << 20  # bytes that are read at once
PATIENCE = 90.0  # seconds that a place that does not answer is waited for; EEMT_ARCHIVE_PATIENCE overrides it
_FIRST_PAUSE = 0.5  # seconds before a call is tried again; then longer, up to
_LONGEST_PAUSE = 10.0

_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
# rclone's own names of remotes; connection strings, which may hold keys, are not among them
_RCLONE = re.compile(r"rclone:(?P<remote>\w[\w.+@ -]*):(?P<path>[^:]*)")
_UNFINISHED = re.compile(r"\.eemt-[0-9a-f]{16}\.part")


class Space(NamedTuple):
    """Room of a place.

    Parameters
    ----------
    total, free : int
        In bytes; `free` is what this user may still write.
    """

    total: int
    free: int


class Area(Protocol):
    """A place for files, each known by a relative name with "/" between its parts.

    Every method raises `StorageError` where the place is at fault, and `InputError` for a name that leads out of it.

    Parameters
    ----------
    address : str
        What people call it; never with a secret.
    """

    address: str

    def put(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file of a known size: whole or not at all, in place of an older one, lasting on return."""

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes, from the medium as far as can be had; what is wrong is raised on the way."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None where there is no such file."""

    def names(self, prefix: str = "") -> list[str]:
        """Return the names, sorted, that begin with the prefix; without what is unfinished."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def clear_leftovers(self, prefix: str) -> None:
        """Remove what killed writers of names with this prefix left; call it only while nobody writes such."""

    def space(self) -> Space | None:
        """Return the room that there is, or None where the place does not tell."""

    def used(self) -> int:
        """Return the bytes of all files, for places that do not tell their room; it may take a while."""

    def link(self, name: str, seconds: int) -> str | None:
        """Return an address that anyone may read the file by for some seconds, or None where there is none."""


def open_area(address: str, profile: str | None = None, make_root: bool = False) -> Area:
    """Open a place for files.

    Parameters
    ----------
    address : str
        Path of a folder, `s3://bucket/prefix`, or `rclone:remote:path`.
    profile : str, optional
        Of the AWS configuration, with endpoint and keys of an S3 server; else those of the environment.
    make_root : bool
        Make the folder if it is missing. Never for long-term storage: where a disk is not mounted, its mount point
        would be taken for an empty storage.

    Raises
    ------
    InputError
        For an address that cannot be used, a profile or program that there is not.
    StorageError
        For a folder that is not there.
    """
    if address.startswith("s3:"):
        match = _S3.fullmatch(address)
        if match is None:
            raise InputError(f"archive: {address}: an S3 place is written s3://bucket/folder, the bucket in lower case")
        from eemt.archive.s3 import open_bucket

        return open_bucket(match["bucket"], _inside(address, match["prefix"] or ""), profile)
    if address.startswith("rclone:"):
        match = _RCLONE.fullmatch(address)
        if match is None:
            # not quoted: a connection string may hold keys
            raise InputError(
                "archive: an rclone place is written rclone:remote:folder, the remote one of rclone's own "
                "configuration (`rclone config`), without options"
            )
        from eemt.archive.rclone import RcloneArea

        return RcloneArea(match["remote"], match["path"].rstrip("/") or match["path"], make_root)
    if "://" in address or not address.strip():
        where = re.sub(r"//[^/]*@", "//", address)
        raise InputError(
            f"archive: {where!r} is no place for files; allowed: a folder, s3://bucket/folder, rclone:remote:path"
        )
    from eemt.archive.folder import FolderArea

    return FolderArea(Path(address).expanduser().absolute(), make_root)


def _inside(address: str, prefix: str) -> str:
    prefix = prefix.strip("/")
    if prefix:
        check_name(prefix, address)
    return prefix


def check_name(name: str, address: str) -> str:
    """Return a file's name as it is, if it is one that stays within its place.

    Raises
    ------
    InputError
        For an absolute name, one with "..", "." or nothing between two "/", a backslash, a control character, or the
        name of an unfinished file.
    """
    parts = name.split("/")
    bad = not name or any(part in ("", ".", "..") for part in parts) or "\\" in name
    if bad or not name.isprintable() or is_unfinished(name):
        raise InputError(
            f"archive: {address}: {name!r} cannot be the name of a file; it must be relative, without '..'"
        )
    return name


def check_prefix(prefix: str, address: str) -> str:
    """Return the beginning of names as it is, if it is none that leads out of its place."""
    if prefix:
        check_name(prefix.removesuffix("/"), address)
    return prefix


def unfinished_name() -> str:
    """Return a new name for a file while it is written."""
    return f".eemt-{os.urandom(8).hex()}.part"


def is_unfinished(name: str) -> bool:
    """Say whether a file of this name was still being written."""
    return _UNFINISHED.fullmatch(name.rpartition("/")[2]) is not None


def counted(pieces: Iterable[bytes], size: int, where: str) -> Iterator[bytes]:
    """Pass on what is to be written, as long as it is as much as was announced.

    Raises
    ------
    StorageError
        corrupt, when it is more or less.
    """
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > size:
            break
        yield piece
    if count != size:
        found = "more" if count > size else f"{count} bytes"
        raise StorageError("corrupt", f"{where}: {size} bytes were to be written, {found} came; nothing was kept")


def patience() -> float:
    """Return the seconds that a place that does not answer is waited for.

    Raises
    ------
    InputError
        When EEMT_ARCHIVE_PATIENCE is no number of seconds.
    """
    given = os.environ.get("EEMT_ARCHIVE_PATIENCE", "")
    if not given.strip():
        return PATIENCE
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise InputError(f"EEMT_ARCHIVE_PATIENCE is {given!r}; it must be a number of seconds, 0 to 86400")
    return seconds


class Waiting:
    """The wait for a place that does not answer, from its first fault on.

    Parameters
    ----------
    stopped : event, optional
        Ends the wait early.
    """

    def __init__(self, stopped: threading.Event | None = None) -> None:
        self._stopped = stopped or threading.Event()
        self._pause = _FIRST_PAUSE
        self._end: float | None = None

    def again(self, reason: str) -> bool:
        """Wait a while, and say whether another attempt is worth it.

        Parameters
        ----------
        reason : str
            Which place, and what is wrong; told once.
        """
        now = time.monotonic()
        if self._end is None:
            self._end = now + patience()
            if self._end > now:
                LOG.warning("%s; trying again for %.0f s", reason, self._end - now)
        if now >= self._end:
            return False
        # those who wait for the same server shall not all come back at once
        pause = min(self._pause * random.uniform(0.8, 1.2), self._end - now)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return not self._stopped.wait(pause)
