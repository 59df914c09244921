"""Datablocks unpacked: nothing can come out of one but the files that it must hold, each as its checksum says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from eemt.archive.blocks import BLOCK, END, Block, Member, Pieces, check_path, header, padding
from eemt.archive.compression import decompressed, unwritable
from eemt.archive.errors import StorageError
from eemt.errors import InputError
from eemt.raster import whole_or_nothing


def unpack(
    pieces: Pieces,
    block: Block,
    site: str,
    out: Path,
    wanted: Callable[[str], bool] | None = None,
    where: str = "archive",
) -> list[Path]:
    """Unpack a block, whose every byte but the files' own is known; nothing else than its files can come of it.

    Parameters
    ----------
    pieces : iterable of bytes
        The block as it is stored.
    block : Block
        What it must hold.
    site : str
        Name of the site, under which the files stand in the block.
    out : path
        Folder in which the site's folder is made; it may have some of the files already.
    wanted : callable, optional
        Whether a file, by its path within the site's folder, is to be written; by default all are.
    where : str
        Where the block comes from, for messages.

    Returns
    -------
    list of path
        The files that were written, each whole and of its checksum.

    Raises
    ------
    InputError
        When a folder in `out` is a link that leads elsewhere.
    StorageError
        corrupt: when anything else is in the block; files before that place are written. full, denied: `out` does not
        take a file.
    """
    place = f"{where}: {block.name}"
    reader = _Reader(decompressed(pieces, place) if block.compression == "zstd" else pieces, place)
    folder = _Folder(out)
    written = []
    mtime: int | None = None
    _check_paths(site, block, place)
    for member in block.members:
        mtime = _expect_header(reader, site, member, mtime, place)
        if wanted is None or wanted(member.path):
            written.append(_write(reader, member, folder, f"{site}/{member.path}", mtime, place))
        else:
            for _ in reader.take(member.size):
                pass
        if reader.exactly(padding(member.size)).strip(b"\0"):
            raise StorageError("corrupt", f"{place} is corrupt: something stands after {member.path}")
    if reader.exactly(len(END)) != END or reader.more():
        raise StorageError("corrupt", f"{place} is corrupt: something stands after its last file")
    return written


def _check_paths(site: str, block: Block, place: str) -> None:
    """See that no path leads out of the folder, whoever wrote down which there are."""
    try:
        check_path(site)
        for member in block.members:
            check_path(member.path)
    except ValueError as error:
        raise StorageError("corrupt", f"{place}: {error}") from None


def _expect_header(reader: _Reader, site: str, member: Member, mtime: int | None, place: str) -> int:
    """Read the header of a file, which must be that of its member; return its time."""
    wanted = header(site, member, 0)
    found = reader.exactly(len(wanted))
    last = found[-BLOCK:]
    about: tarfile.TarInfo | None = None
    with contextlib.suppress(tarfile.HeaderError, ValueError):
        about = tarfile.TarInfo.frombuf(last, "utf-8", "surrogateescape")
    if about is not None and about.mtime in _times(mtime) and header(site, member, int(about.mtime)) == found:
        return int(about.mtime)
    shown = f"{about.name!a} of type {about.type!a}, {about.size} bytes" if about else "no file"
    raise StorageError("corrupt", f"{place} is corrupt: it has {shown} instead of the file {site}/{member.path}")


def _times(mtime: int | None) -> range:
    """Return which times a file may have: all that tar can write in digits, or that of the file before."""
    return range(8**11) if mtime is None else range(mtime, mtime + 1)


class _Folder:
    """Where files are unpacked, and which of the folders in it are known not to lead out of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: set[Path] = set()

    def place(self, name: str) -> Path:
        """Return where a file goes, its folder being there."""
        path = self.root / name
        if path.parent not in self._known:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self.root.resolve()):
                raise InputError(f"retrieve: {path.parent} is a link that leads out of {self.root}; remove it")
            self._known.add(path.parent)
        return path


def _write(reader: _Reader, member: Member, folder: _Folder, name: str, mtime: int, place: str) -> Path:
    total = hashlib.sha256()
    try:
        target = folder.place(name)
        with whole_or_nothing(target) as partial:
            with partial.open("wb", buffering=0) as file:
                for piece in reader.take(member.size):
                    total.update(piece)
                    file.write(piece)
            if total.hexdigest() != member.sha256:
                raise StorageError(
                    "corrupt",
                    f"{place} is corrupt: the SHA-256 of {member.path} is {total.hexdigest()} "
                    f"instead of {member.sha256}",
                )
            os.utime(partial, (mtime, mtime))
    except StorageError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise InputError(
            f"retrieve: {folder.root / name} cannot be written, since a file or folder is in its place"
        ) from None
    except OSError as error:
        raise unwritable(folder.root / name, error) from None
    return target


class _Reader:
    """Pieces read by number of bytes."""

    def __init__(self, pieces: Iterable[bytes], place: str) -> None:
        self._pieces = iter(pieces)
        self._place = place
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """Yield so many bytes, as they come."""
        while size:
            if not self.more():
                raise StorageError("corrupt", f"{self._place} is corrupt: it ends too soon")
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part

    def exactly(self, size: int) -> bytes:
        return b"".join(self.take(size))

    def more(self) -> bool:
        """Whether there is a byte more."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._rest = memoryview(piece)
        return True
