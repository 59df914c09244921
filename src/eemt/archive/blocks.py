"""Datablocks: the files of a dataset in tar archives of about the same size, the same bytes whenever they are packed.

What stands in a block follows from the names, sizes and checksums of its files and one instant for all. So a block
is as long as can be told beforehand, no file is packed that is not as its checksum says, and whoever unpacks knows
every byte between the files: nothing else than what was packed can come out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import unicodedata
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from eemt.archive.compression import compressed
from eemt.archive.errors import StorageError
from eemt.errors import InputError
from eemt.verification import PIECE

Compression = Literal["none", "zstd"]
Pieces = Iterable[bytes]

ENDINGS: dict[Compression, str] = {"none": ".tar", "zstd": ".tar.zst"}
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
READERS = 4  # threads that let files be read ahead
TOGETHER = 64  # files that they do so for at once
AHEAD = 8  # pieces that wait for a checksum at most
LONGEST = 4096  # bytes of a path, as Linux has it
PARTS_LONGEST = 255  # bytes of a name


class Member(NamedTuple):
    """A file of a dataset: its path within the site's folder, its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Block:
    """Files that are packed together.

    Attributes
    ----------
    name : str
        Of the block in its bag, ``data/0001.tar`` or ``data/0001.tar.zst``.
    members : tuple of Member
        In the order in which they stand in it.
    """

    name: str
    members: tuple[Member, ...]

    @property
    def compression(self) -> Compression:
        """How it is compressed."""
        return "zstd" if self.name.endswith(ENDINGS["zstd"]) else "none"


class Packed(NamedTuple):
    """A block as it is stored: its name in the bag, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


class Target(Protocol):
    """What of an area a block is put into."""

    def put(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Keep a file, whole or not at all."""


def in_order(members: Iterable[Member]) -> list[Member]:
    """Return files sorted by the bytes of their paths, which is the same in every language."""
    return sorted(members, key=lambda member: member.path.encode())


def check_path(path: str) -> None:
    """Refuse a path that cannot be kept for decades, or leads out of its folder.

    Raises
    ------
    ValueError
        What is wrong with it.
    """
    shown = ascii(path)[1:-1] if len(path) < 200 else f"{ascii(path)[1:100]}…"
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the name {shown} is not UTF-8") from None
    if any(sign == "\\" or unicodedata.category(sign) in {"Cc", "Zl", "Zp"} for sign in path):
        raise ValueError(f"the name {shown} has a backslash, line break or other control character")
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"the name {shown} is no path within a folder")
    if length > LONGEST or any(len(part.encode()) > PARTS_LONGEST for part in parts):
        raise ValueError(f"the name {shown} is longer than file systems take")


def plan_blocks(members: Sequence[Member], target: int, compression: Compression = "none") -> list[Block]:
    """Share files out to blocks, in the order of their paths.

    Parameters
    ----------
    members : sequence of Member
        In any order; each path once.
    target : int
        What the sizes of a block's files add up to at most [bytes]; a larger file is a block of its own.
    compression : str
        none or zstd.

    Returns
    -------
    list of Block
        Numbered from 0001; the same whenever the files and the target are.
    """
    groups: list[list[Member]] = []
    total = 0
    for member in in_order(members):
        if not groups or total + member.size > target:
            groups.append([])
            total = 0
        groups[-1].append(member)
        total += member.size
    return [Block(f"data/{n:04d}{ENDINGS[compression]}", tuple(group)) for n, group in enumerate(groups, start=1)]


def block_size(site: str, block: Block) -> int:
    """Return the length of a block before it is compressed [bytes]."""
    return len(END) + sum(_header_size(site, member) + member.size + padding(member.size) for member in block.members)


def header(site: str, member: Member, mtime: int) -> bytes:
    """Return what stands before a file in its block."""
    about = tarfile.TarInfo(f"{site}/{member.path}")
    about.size, about.mtime, about.mode = member.size, mtime, 0o644
    # of GNU, which every tar reads: long names and files of any size; not in the encoding of the locale
    return about.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _header_size(site: str, member: Member) -> int:
    name = len(f"{site}/{member.path}".encode())
    # a longer name is a file of its own before, with a zero at its end
    return BLOCK if name <= tarfile.LENGTH_NAME else 2 * BLOCK + name + 1 + padding(name + 1)


def padding(size: int) -> int:
    """Return the number of zeros that follow on a file of a size."""
    return -size % BLOCK


def stream(folder: Path, site: str, block: Block, mtime: int) -> Generator[bytes, None, None]:
    """Yield the bytes of a block before it is compressed, about 1 MiB at a time.

    Parameters
    ----------
    folder : path
        The site's folder.
    site : str
        Name of the site, under which the files stand in the block.
    block : Block
    mtime : int
        Time of all files [s since 1970].

    Raises
    ------
    InputError
        When a file is gone, or is not of the size and the checksum of its member. What was yielded before is of no
        use then.
    StorageError
        When a file cannot be read.
    """
    waiting = bytearray()
    for piece in _parts(folder.absolute(), site, block, mtime):
        # small files are put together; large pieces go as they are
        small = len(piece) < PIECE // 2
        if small:
            waiting += piece
        if len(waiting) >= PIECE or (waiting and not small):
            yield bytes(waiting)
            waiting.clear()
        if not small:
            yield piece
    if waiting:
        yield bytes(waiting)


def _parts(folder: Path, site: str, block: Block, mtime: int) -> Iterator[bytes]:
    with ThreadPoolExecutor(1, "eemt-file-sum") as pool, ThreadPoolExecutor(READERS, "eemt-read-ahead") as readers:
        for number, member in enumerate(block.members):
            if number % TOGETHER == 0:
                ahead = number + TOGETHER if number else 0
                for begin in range(ahead, number + 2 * TOGETHER, TOGETHER // READERS):
                    readers.submit(_will_need, folder, block.members[begin : begin + TOGETHER // READERS])
            yield header(site, member, mtime)
            yield from _checked(folder, member, pool)
            yield bytes(padding(member.size))
        yield END


def _will_need(folder: Path, members: Iterable[Member]) -> None:
    """Let the kernel read the beginnings of files, while those before are packed; faults are found in their turn."""
    for member in members:
        with contextlib.suppress(OSError):
            file = os.open(f"{folder}/{member.path}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.posix_fadvise(file, 0, min(member.size, PIECE), os.POSIX_FADV_WILLNEED)
            finally:
                os.close(file)


def _checked(folder: Path, member: Member, pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """Yield a file's bytes, and see that they are those of its checksum."""
    path = f"{folder}/{member.path}"
    total = _Sum(pool)
    left = member.size
    try:
        # a pipe in the place of the file must not be waited for
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _of_source(path, error) from None
    try:
        size = os.fstat(file).st_size
        if size != member.size:
            raise InputError(f"archive: {path} has changed: it has {size} bytes instead of {member.size}; {REDO}")
        while left:
            piece = _read(file, path, min(PIECE, left))
            if not piece:
                raise InputError(f"archive: {path} was cut short while it was packed; {REDO}")
            total.update(piece)
            left -= len(piece)
            yield piece
        if _read(file, path, 1):
            raise InputError(f"archive: {path} has grown while it was packed; {REDO}")
    finally:
        os.close(file)
    found = total.hexdigest()
    if found != member.sha256:
        raise InputError(f"archive: {path} has changed: its SHA-256 is {found} instead of {member.sha256}; {REDO}")


REDO = "bring back the file, or finish the run and its crate again"


def _read(file: int, path: str, size: int) -> bytes:
    try:
        return os.read(file, size)
    except OSError as error:
        raise _of_source(path, error) from None


def _of_source(path: str, error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return InputError(f"archive: {path} is gone; {REDO}")
    if isinstance(error, PermissionError):
        return InputError(f"archive: {path} may not be read; change its permissions")
    return StorageError("gone", f"archive: {path} cannot be read ({error.strerror})")


class _Sum:
    """A SHA-256 that another thread computes, a few pieces behind."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._total = hashlib.sha256()
        self._behind: deque[Future[None]] = deque()

    def update(self, piece: bytes) -> None:
        if len(piece) < PIECE // 8 and not self._behind:  # sooner done than handed over
            self._total.update(piece)
            return
        if len(self._behind) == AHEAD:
            self._behind.popleft().result()
        self._behind.append(self._pool.submit(self._total.update, piece))

    def hexdigest(self) -> str:
        while self._behind:
            self._behind.popleft().result()
        return self._total.hexdigest()


def pack(
    folder: Path,
    site: str,
    block: Block,
    mtime: int,
    area: Target,
    compression: Compression = "none",
    scratch: Path | None = None,
) -> Packed:
    """Put a block into an area, whole or not at all.

    Parameters
    ----------
    folder, site, block, mtime
        See `stream`.
    area : Area
        The dataset's folder in a place for files.
    compression : str
        none or zstd, as the block was planned.
    scratch : path, optional
        Folder for a compressed block until its size is known; by default the system's for temporary files.

    Raises
    ------
    InputError
        When a file has changed or is gone; nothing of the block stays.
    StorageError
        When the area, or the folder for temporary files, cannot take it.
    """
    if block.compression != compression:
        raise ValueError(f"{block.name} was planned with another compression than {compression}")
    with contextlib.ExitStack() as stack:
        pieces: Iterator[bytes] = stack.enter_context(contextlib.closing(stream(folder, site, block, mtime)))
        size = block_size(site, block)
        if compression == "zstd":
            size, pieces = stack.enter_context(compressed(pieces, size, scratch))
        total = _Sum(stack.enter_context(ThreadPoolExecutor(1, "eemt-block-sum")))
        area.put(block.name, _summed(pieces, total), size)
        return Packed(block.name, size, total.hexdigest())


def _summed(pieces: Iterable[bytes], total: _Sum) -> Iterator[bytes]:
    for piece in pieces:
        total.update(piece)
        yield piece
