"""A remote of rclone as a place for files: WebDAV, SFTP, tape gateways, object stores of many kinds.

Remotes and their keys stand in rclone's own configuration (`rclone config`, RCLONE_CONFIG); the program `rclone` does
the work, and this module says its refusals in the archive's terms.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, Any, TypeVar

from eemt.archive.areas import (
    PIECE,
    Space,
    Waiting,
    check_name,
    check_prefix,
    counted,
    is_unfinished,
    unfinished_name,
)
from eemt.archive.errors import Kind, StorageError
from eemt.errors import InputError

ANSWER_LIMIT = 600  # seconds for an answer that is no file; a listing of a slow remote takes minutes
# quiet; no questions on the terminal; it is `Waiting` that tries again
_OPTIONS = (
    "--quiet",
    "--ask-password=false",
    "--retries=1",
    "--low-level-retries=3",
    "--contimeout=10s",
    "--timeout=60s",
    "--use-json-log=false",
    "--stats=0",
)
_ABSENT = (3, 4)  # exit codes: no such folder, no such file

_FULL = re.compile(
    r"no space left|insufficient (?:storage|space)|\b507\b|storage ?full|disk full|remaining disk space"
    r"|over quota|disk quota"
    # where requests, not bytes, are too many, Google calls that a quota as well
    r"|quota ?exceeded(?! for quota metric)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"permission denied|access ?denied|\b40[13]\b|forbidden|unauthori[sz]ed|unable to authenticate|read-only file"
    r"|signaturedoesnotmatch|invalidaccesskeyid|expired|too ?skewed|invalid_grant|no auth",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"too ?skewed", re.IGNORECASE)
_SECRET = re.compile(
    r"(?i)([\w.-]*(?:key|token|secret|passw\w*|pass|signature|credential|authorization|cookie)[\w.-]*[\"']?\s*[=:]\s*)"
    r"(?:bearer\s+|basic\s+)?[\"']?[^\s\"'&,]+"
)

T = TypeVar("T")


class RcloneArea:
    """A folder of a remote of rclone as an `Area`.

    Parameters
    ----------
    remote : str
        Name of the remote in rclone's configuration.
    path : str
        Folder on it; may be empty.
    make_root : bool
        Make the folder if it is missing.

    Raises
    ------
    InputError
        When the program `rclone` is not installed.
    """

    def __init__(self, remote: str, path: str, make_root: bool = False) -> None:
        program = shutil.which("rclone")
        if program is None:
            raise InputError(
                f"archive: rclone:{remote}:{path} needs the program rclone; install it, on Debian or Ubuntu with "
                "`apt-get install rclone`"
            )
        self._program = program
        self._root = f"{remote}:{path}"
        self._make_root = make_root
        self._ready = False
        self.address = f"rclone:{self._root}"

    def put(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Send a file under another name, compare its size, then rename it; see `Area`.

        What is sent is not kept, so that a remote that goes away in the middle is not waited for.
        """
        target = self._file(name)
        self._make_ready()
        temporary = self._at(self._beside(name))
        try:
            self._send(name, temporary, counted(pieces, size, f"{self.address}: {name}"), size)
            found = _patiently(lambda: self._stat(name, temporary))
            if found != size:
                there = "nothing is" if found is None else f"{found} are"
                raise StorageError("corrupt", f"{self.address}: {name}: {size} bytes were sent, {there} there")
            # without the option, a file of the same size and time would be taken for the same
            _patiently(lambda: self._moved(name, temporary, target, size))
        except BaseException:
            with suppress(StorageError):
                self._run(name, "deletefile", temporary)
            raise

    def _moved(self, name: str, temporary: str, target: str, size: int) -> None:
        try:
            self._run(name, "moveto", "--ignore-times", temporary, target)
        except _AbsentError:
            # a first attempt did it, and its answer was lost
            if self._stat(name, target) != size:
                raise

    def _send(self, name: str, target: str, pieces: Iterator[bytes], size: int) -> None:
        with self._started(["rcat", f"--size={size}", target], stdin=subprocess.PIPE) as (process, complaints):
            assert process.stdin is not None
            broken = False
            for piece in pieces:
                try:
                    process.stdin.write(piece)
                except OSError:
                    broken = True  # it has ended; its complaint tells more
                    break
            try:
                process.stdin.close()
            except OSError:
                broken = True
            code = process.wait()
            if code or broken:
                raise self._fault(name, code, _read(complaints))

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes; where the remote goes away, it goes on behind those it has; see `Area`."""
        path = self._file(name)
        size = self.size(name)
        if size is None:
            raise StorageError("gone", f"{self.address}: {name} is not there")
        position = 0
        waiting = Waiting()
        while position < size:
            with self._started(["cat", f"--offset={position}", path], stdout=subprocess.PIPE) as (process, complaints):
                assert process.stdout is not None
                while piece := process.stdout.read(PIECE):
                    position += len(piece)
                    waiting = Waiting()
                    yield piece
                code = process.wait()
                fault = self._fault(name, code, _read(complaints)) if code else None
            if fault is not None:
                if not fault.passes or not waiting.again(str(fault)):
                    raise fault
                if self.size(name) != size:
                    raise StorageError("corrupt", f"{self.address}: {name} was replaced while it was read")
            elif position < size:
                break
        if position != size:
            raise StorageError("corrupt", f"{self.address}: {name}: {position} bytes came of {size}")

    def size(self, name: str) -> int | None:
        """Return a file's size; see `Area`."""
        path = self._file(name)
        self._make_ready()
        return _patiently(lambda: self._stat(name, path))

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the files; see `Area`."""
        return sorted(name for name in self._files(prefix) if not is_unfinished(name))

    def used(self) -> int:
        """Return the bytes of all files; see `Area`."""
        # some remotes do not know the size of a file, and say less than zero
        return sum(max(size, 0) for size in self._files("").values())

    def _files(self, prefix: str) -> dict[str, int]:
        """Return the sizes of files whose names begin with a prefix, by name."""
        check_prefix(prefix, self.address)
        self._make_ready()
        folder = prefix.rpartition("/")[0]
        words = ["lsjson", "--recursive", "--files-only", "--no-modtime", "--no-mimetype", self._at(folder)]
        try:
            answer = _patiently(lambda: self._run(folder, *words))
        except _AbsentError:
            return {}
        inside = f"{folder}/" if folder else ""
        found = {f"{inside}{entry['Path']}": int(entry["Size"]) for entry in _parsed(answer, list)}
        # what is unfinished has another name than what it is to become
        return {name: size for name, size in found.items() if name.startswith(prefix) or is_unfinished(name)}

    def remove(self, name: str) -> None:
        """Remove a file; see `Area`."""
        path = self._file(name)
        self._make_ready()

        def delete() -> None:
            if self._stat(name, path) is not None:
                with suppress(_AbsentError):
                    self._run(name, "deletefile", path)

        _patiently(delete)
        folder = name.rpartition("/")[0]
        while folder:
            # refused where it is not empty, or where there are no folders
            try:
                self._run(folder, "rmdir", self._at(folder))
            except StorageError:
                break
            folder = folder.rpartition("/")[0]

    def clear_leftovers(self, prefix: str) -> None:
        """Remove unfinished files; see `Area`."""
        for name in self._files(prefix):
            if is_unfinished(name):
                with suppress(_AbsentError):
                    _patiently(partial(self._run, name, "deletefile", self._at(name)))

    def space(self) -> Space | None:
        """Return the room of the remote, where it tells; see `Area`."""
        self._make_ready()
        try:
            answer = _parsed(_patiently(lambda: self._run("", "about", "--json", self._root)), dict)
        except _UnsupportedError:
            return None
        total, free = answer.get("total"), answer.get("free")
        return Space(int(total), int(free)) if total is not None and free is not None else None

    def link(self, name: str, seconds: int) -> str | None:  # noqa: ARG002
        """Return None: the public addresses that some remotes have do not expire."""
        check_name(name, self.address)
        return None

    def _beside(self, name: str) -> str:
        folder = name.rpartition("/")[0]
        return f"{folder}/{unfinished_name()}" if folder else unfinished_name()

    def _file(self, name: str) -> str:
        return self._at(check_name(name, self.address))

    def _at(self, name: str) -> str:
        """Return the address of a file or folder as rclone takes it."""
        if not name:
            return self._root
        return f"{self._root}{name}" if self._root.endswith((":", "/")) else f"{self._root}/{name}"

    def _make_ready(self) -> None:
        """Look, once, whether the folder is there, on a remote whose folders can be empty."""
        if self._ready:
            return
        features = _parsed(_patiently(lambda: self._run("", "backend", "features", self._root)), dict)
        if self._make_root:
            _patiently(lambda: self._run("", "mkdir", self._root))
        elif features.get("Features", {}).get("CanHaveEmptyDirectories"):
            try:
                _patiently(lambda: self._run("", "lsjson", "--max-depth=1", "--dirs-only", self._root))
            except _AbsentError:
                raise StorageError("gone", f"{self.address}: the folder is not there; is its disk mounted?") from None
        self._ready = True

    def _stat(self, name: str, path: str) -> int | None:
        try:
            answer = self._run(name, "lsjson", "--stat", "--no-modtime", "--no-mimetype", path)
        except _AbsentError:
            return None
        found = _parsed(answer, dict)
        return None if found.get("IsDir", True) else int(found["Size"])

    def _run(self, name: str, *words: str) -> bytes:
        """Have rclone do something short, and return what it prints."""
        with self._started(list(words), stdout=subprocess.PIPE) as (process, complaints):
            try:
                answer, _ = process.communicate(timeout=ANSWER_LIMIT)
            except subprocess.TimeoutExpired:
                raise _RcloneError("gone", f"{self._where(name)}: no answer in {ANSWER_LIMIT} s") from None
            if process.returncode:
                raise self._fault(name, process.returncode, _read(complaints))
            return bytes(answer)

    @contextmanager
    def _started(self, words: list[str], **pipes: int) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        """Start rclone, and see to it that it has ended afterwards, whatever happens."""
        with tempfile.TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(
                    [self._program, *_OPTIONS, *words],
                    stdin=pipes.get("stdin", subprocess.DEVNULL),
                    stdout=pipes.get("stdout", subprocess.DEVNULL),
                    stderr=complaints,
                )
            except OSError as error:
                raise StorageError("gone", f"{self.address}: rclone cannot be started: {error.strerror}") from None
            try:
                yield process, complaints
            finally:
                # killed first: to close its input would be the end of a whole file to it
                if process.poll() is None:
                    process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        with suppress(OSError):
                            pipe.close()

    def _where(self, name: str) -> str:
        return f"{self.address}: {name}" if name else self.address

    def _fault(self, name: str, code: int, complaint: str) -> _RcloneError:
        where, last = self._where(name), _last_line(complaint)
        if "didn't find section in config file" in complaint:
            raise InputError(
                f"archive: {self.address}: rclone's configuration has no such remote; see `rclone listremotes`, and "
                "RCLONE_CONFIG where it is not in its usual place"
            )
        if "doesn't support about" in complaint:
            return _UnsupportedError("gone", f"{where}: {last}")
        if code in _ABSENT:
            return _AbsentError("gone", f"{where}: it is not there ({last})")
        kind: Kind = "gone"
        if _CLOCK.search(complaint):
            return _RcloneError("denied", f"{where}: the clock of this machine is off ({last}); set it, best by NTP")
        if _FULL.search(complaint):
            kind = "full"
        elif _DENIED.search(complaint):
            kind = "denied"
        return _RcloneError(kind, f"{where}: {last}", passes=kind == "gone" and "is a directory" not in last)


class _RcloneError(StorageError):
    """A fault that rclone tells of; `passes` says that it may be over after a while."""

    def __init__(self, kind: Kind, message: str, passes: bool = False) -> None:
        super().__init__(kind, message)
        self.passes = passes


class _AbsentError(_RcloneError):
    """A file or folder that is not there."""


class _UnsupportedError(_RcloneError):
    """A question that the remote has no answer to."""


def _patiently(call: Callable[[], T]) -> T:
    """Ask again for a while what fails for reasons that may pass."""
    waiting = Waiting()
    while True:
        try:
            return call()
        except _RcloneError as fault:
            if not fault.passes or not waiting.again(str(fault)):
                raise


def _read(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    return complaints.read(1 << 16).decode("utf-8", "replace")


def _last_line(complaint: str) -> str:
    """Return the last thing that rclone said, without date, queries of addresses and secrets."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    last = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?:[A-Z]+ *: )?", "", lines[-1]) if lines else "rclone failed"
    last = re.sub(r"\?[^\s\"']*", "", re.sub(r"//[^/\s@]*@", "//", last))
    return _SECRET.sub(r"\1…", last)[:300]


def _parsed(answer: bytes, kind: type[T]) -> T:
    found: Any = json.loads(answer)
    if not isinstance(found, kind):
        raise StorageError("gone", f"rclone prints {type(found).__name__} where {kind.__name__} is expected")
    return found
