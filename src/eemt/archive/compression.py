"""Blocks compressed with zstd and decompressed again, a piece at a time whatever comes of it."""

from __future__ import annotations

import contextlib
import errno
import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import zstandard

from eemt.archive.errors import StorageError
from eemt.verification import PIECE

LEVEL = 3  # most maps are compressed already


@contextlib.contextmanager
def compressed(
    pieces: Iterable[bytes], size: int, scratch: Path | None = None
) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Compress a block into a temporary file; yield how long it is then, and its bytes.

    Parameters
    ----------
    pieces : iterable of bytes
    size : int
        Length of all pieces, which is written into the compressed form.
    scratch : path, optional
        Folder for the file; by default the system's.

    Raises
    ------
    StorageError
        When the folder does not take the file.
    """
    folder = scratch or Path(tempfile.gettempdir())
    # by one thread: the bytes are then those of the library's version alone
    packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj(size=size)
    with contextlib.ExitStack() as stack:
        with _translated(folder):
            file = stack.enter_context(tempfile.TemporaryFile(prefix="eemt_block_", dir=folder))
        for piece in pieces:
            with _translated(folder):
                file.write(packer.compress(piece))
        with _translated(folder):
            file.write(packer.flush())
            length = file.tell()
            file.seek(0)
        yield length, iter(lambda: file.read(PIECE), b"")


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(path: Path, error: OSError) -> StorageError:
    """Return what a fault of a folder on this machine is to be called."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError("full", f"archive: {path}: no space is left")
    kind: Literal["denied", "gone"] = "denied" if isinstance(error, PermissionError) else "gone"
    return StorageError(kind, f"archive: {path} cannot be written ({error.strerror})")


def decompressed(pieces: Iterable[bytes], place: str) -> Iterator[bytes]:
    """Yield what was compressed, no more than a piece at once however much comes of it.

    Raises
    ------
    StorageError
        corrupt: when that is not what it is; the message begins with `place`.
    """
    # what stands after the end is taken for another frame, and found
    reader = zstandard.ZstdDecompressor().stream_reader(
        io.BufferedReader(_File(pieces), PIECE), read_across_frames=True
    )
    try:
        while piece := reader.read(PIECE):
            yield piece
    except zstandard.ZstdError as error:
        raise StorageError("corrupt", f"{place} is corrupt: it cannot be decompressed ({error})") from None


class _File(io.RawIOBase):
    """Pieces as a file that can be read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
