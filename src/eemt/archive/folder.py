"""A folder as a place for files: a disk, a mounted share."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eemt.archive.areas import PIECE, Space, check_name, check_prefix, counted, is_unfinished, unfinished_name
from eemt.archive.errors import Kind, StorageError

_WINDOW = 32 << 20  # bytes after which what was written is sent to the disk and what was read leaves the page cache
_RACES = 100  # that a writer may lose against one who removes an emptied folder
_KINDS: dict[int | None, Kind] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EFBIG: "full",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EROFS: "denied",
}


class FolderArea:
    """A folder as an `Area`.

    Parameters
    ----------
    root : path
        Absolute.
    make_root : bool
        Make it if it is missing.
    """

    def __init__(self, root: Path, make_root: bool = False) -> None:
        self.root = root
        self.address = str(root)
        if make_root:
            with self._translated(""):
                root.mkdir(parents=True, exist_ok=True)
        self._check_root()

    def put(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file under another name, then rename it; see `Area`."""
        path = self._path(name)
        self._check_root()
        handle, temporary = self._open_temporary(name, path.parent)
        try:
            try:
                self._write(name, handle, counted(pieces, size, f"{self.address}: {name}"))
            finally:
                with self._translated(name):
                    os.close(handle)
            with self._translated(name):
                temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._remove_emptied(path.parent)
            raise
        with self._translated(name):
            _sync_folder(path.parent)

    def _open_temporary(self, name: str, parent: Path) -> tuple[int, Path]:
        temporary = parent / unfinished_name()
        with self._translated(name):
            for left in reversed(range(_RACES)):
                try:
                    self._make_parents(parent)
                    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
                    break
                except FileNotFoundError:
                    # another process has just removed the last other file of the folder, and the folder with it
                    if not left or not self.root.is_dir():
                        raise
        # tells `clear_leftovers` that its writer lives; not every share has locks
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle, temporary

    def _make_parents(self, parent: Path) -> None:
        """Make the folders below the root, never the root itself, so that they last."""
        missing = []
        while parent != self.root and not parent.is_dir():
            missing.append(parent)
            parent = parent.parent
        for folder in reversed(missing):
            with suppress(FileExistsError):
                folder.mkdir()
            _sync_folder(folder.parent)

    def _write(self, name: str, handle: int, pieces: Iterable[bytes]) -> None:
        written = flushed = 0
        # faults of the source that is read for a piece are not this place's, and stay as they are
        for piece in pieces:
            with self._translated(name):
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(handle, rest) :]
                written += len(piece)
                if written - flushed >= _WINDOW:
                    # starts writing to the disk without waiting for it, so that the sync at the end is short
                    _let_go(handle, flushed, written - flushed)
                    flushed = written
        with self._translated(name):
            os.fsync(handle)
            # what is read back shall come from the disk
            _let_go(handle)
            if (found := os.fstat(handle).st_size) != written:
                raise StorageError(
                    "corrupt",
                    f"{self.address}: {name}: {written} bytes were written, {found} are there; nothing was kept",
                )

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes, past the page cache as far as the kernel lets go of it; see `Area`."""
        path = self._path(name)
        self._check_root()
        with self._translated(name):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self._translated(name):
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise StorageError("corrupt", f"{self.address}: {name} is no file")
            _let_go(handle)
            position = let_go = 0
            while True:
                with self._translated(name):
                    piece = os.read(handle, PIECE)
                if not piece:
                    break
                yield piece
                position += len(piece)
                if position - let_go >= _WINDOW:
                    _let_go(handle, let_go, position - let_go)
                    let_go = position
            if position != status.st_size:
                raise StorageError(
                    "corrupt",
                    f"{self.address}: {name} changed while it was read ({position} bytes came of {status.st_size})",
                )
        finally:
            os.close(handle)

    def size(self, name: str) -> int | None:
        """Return a file's size; see `Area`."""
        path = self._path(name)
        self._check_root()
        with self._translated(name):
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the files; see `Area`."""
        return sorted(name for name in self._files(prefix) if name.startswith(prefix) and not is_unfinished(name))

    def _files(self, prefix: str) -> Iterator[str]:
        """Walk through the folder in which names with a prefix begin."""
        check_prefix(prefix, self.address)
        self._check_root()
        waiting = [prefix.rpartition("/")[0]]
        while waiting:
            folder = waiting.pop()
            inside = f"{folder}/" if folder else ""
            with self._translated(folder):
                try:
                    entries = list(os.scandir(self.root / folder))
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except PermissionError:
                    if folder == "lost+found":  # the file system's own, which only root may read
                        continue
                    raise
            for entry in entries:
                name = f"{inside}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if name.startswith(prefix) or prefix.startswith(f"{name}/"):
                        waiting.append(name)
                elif entry.is_file(follow_symlinks=False):
                    yield name

    def remove(self, name: str) -> None:
        """Remove a file, and the folders that this empties; see `Area`."""
        path = self._path(name)
        self._check_root()
        with self._translated(name), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        self._remove_emptied(path.parent)

    def clear_leftovers(self, prefix: str) -> None:
        """Remove unfinished files whose writer lives no longer; see `Area`."""
        for name in list(self._files(prefix)):
            if is_unfinished(name):
                path = self.root / name
                with self._translated(name), suppress(FileNotFoundError):
                    if not _locked(path):
                        path.unlink()
                self._remove_emptied(path.parent)

    def space(self) -> Space:
        """Return the room of the file system; see `Area`."""
        self._check_root()
        with self._translated(""):
            found = os.statvfs(self.root)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def used(self) -> int:
        """Return the bytes of all files; see `Area`."""
        return sum(self.size(name) or 0 for name in self.names())

    def link(self, name: str, seconds: int) -> str | None:  # noqa: ARG002
        """Return None: a folder has no addresses that expire."""
        check_name(name, self.address)
        return None

    def _path(self, name: str) -> Path:
        return self.root / check_name(name, self.address)

    def _check_root(self) -> None:
        with self._translated(""):
            is_folder = stat.S_ISDIR(self.root.stat().st_mode)
        if not is_folder:
            raise StorageError("gone", f"{self.address} is no folder")

    def _remove_emptied(self, folder: Path) -> None:
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Say a fault of the system in the archive's terms."""
        where = f"{self.address}: {name}" if name else self.address
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            kind = _KINDS.get(error.errno, "gone")
            reason = error.strerror or str(error)
            if kind == "gone" and not self.root.is_dir():
                where, reason = self.address, "the folder is not there; is its disk or share mounted?"
            raise StorageError(kind, f"{where}: {reason}") from None


def _let_go(handle: int, start: int = 0, count: int = 0) -> None:
    """Have the page cache write out and let go of a part of a file, 0 for all; not every system and share can."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(handle, start, count, os.POSIX_FADV_DONTNEED)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # some shares cannot sync a folder, and keep its entries without
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _locked(path: Path) -> bool:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
