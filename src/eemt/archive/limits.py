"""How many processes of a machine may do the same thing at once: move, verify, read.

A place is a file that is locked while it is taken. The kernel gives it back with the process, however that ends. Runs
on several machines hold to one limit where the folder of these files is one that they share and that keeps locks
(NFS 4 does).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import platformdirs

from eemt.archive.errors import TakenError
from eemt.errors import InputError

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.2


def locks_folder(chosen: str | None) -> Path:
    """Return the folder of the locks, made where absent: the one chosen, or the user's on this machine."""
    folder = Path(chosen) if chosen else platformdirs.user_state_path("eemt") / "archive"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"archive.locks: {folder} cannot be made ({error.strerror}); name a folder") from None
    return folder


@contextlib.contextmanager
def slot(what: str, at_once: int, folder: Path, whose: str) -> Iterator[None]:
    """Hold one of the places for doing something, waiting for one as long as it takes.

    Parameters
    ----------
    what : str
        Such as move; begin and end of it are logged, by which runs are compared.
    at_once : int
        Number of places.
    folder : path
        Of the locks.
    whose : str
        What it is done with, for the log.
    """
    with contextlib.ExitStack() as held:
        waited = False
        while not any(_take(folder / f"{what}.{number}", held) for number in range(at_once)):
            if not waited:
                LOG.info("%s: waits for one of %d places to %s", whose, at_once, what)
            waited = True
            time.sleep(LOOK_SECONDS)
        LOG.info("%s: %s begins", whose, what)
        try:
            yield
        finally:
            # before the lock is given back, so that the times of two never overlap that did not
            LOG.info("%s: %s ends", whose, what)


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold something for this process.

    Parameters
    ----------
    path : path
        File that is locked; it is made where absent, and stays.
    what : str
        What is being done, for who comes second: `ridge-0a1b2c3d4e5f is being archived`.

    Raises
    ------
    TakenError
        When another has it.
    """
    with contextlib.ExitStack() as held:
        if not _take(path, held, f"process {os.getpid()} on {platform.node()}"):
            owner = path.read_text(encoding="utf-8").strip() or "another process"
            raise TakenError(f"archive: {what} by {owner} already; wait for it")
        yield


def _take(path: Path, held: contextlib.ExitStack, owner: str = "") -> bool:
    """Lock a file until the end of `held`, if nobody has it."""
    try:
        file: IO[bytes] = path.open("a+b", buffering=0)
    except OSError as error:
        raise InputError(f"archive.locks: {path} cannot be written ({error.strerror}); name another folder") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    except OSError as error:
        file.close()
        raise InputError(f"archive.locks: {path} cannot be locked ({error.strerror}); name another folder") from None
    held.callback(file.close)
    if owner:
        with contextlib.suppress(OSError):  # it is for people; the lock holds on a full disk too
            file.truncate(0)
            file.write(owner.encode())
    return True
