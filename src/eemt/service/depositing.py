"""One run of ``eemt archive`` or ``eemt retrieve`` for a job: the command that it is, its process, what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from eemt.archive.journal import journal_path, read_journal
from eemt.archive.settings import archive_settings
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.service import jobs, processes
from eemt.service.archives import ArchivalState, Fault
from eemt.service.models import Archive, Job
from eemt.service.processes import Identity
from eemt.service.settings import PREFIX, Settings
from eemt.sql import now

WORK = Path("archive")  # in the job's folder, as are these
RECEIPT = WORK / "receipt.json"
LOG = "archive.log"
HEADER = "=== "
OF_HEADER = re.compile(rf"^{HEADER}(archive|retrieve|discard), ".encode())
TAIL_BYTES = 65_536
INPUT_ERROR = 2  # exit codes
INTERRUPTED = 130
ASKED_TO_END = {INTERRUPTED, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP}
STEP = re.compile(r"^\S+Z \S+: (?:(pack|move|verify|register)|waits for room: (.+))$", re.MULTILINE)
STATES: dict[str, ArchivalState] = {
    "pack": "packing",
    "move": "moving",
    "verify": "verifying",
    "register": "verifying",
}
SEALED = re.compile(r"^\S+Z \S+: archived in ", re.MULTILINE)
AT_FAULT = re.compile(r"^\S+Z \S+: at fault: (.+)$", re.MULTILINE)
NOT_SET_UP = "The archive cannot be used as it is set up; the operator finds the reason in the service's log."
NOT_BROUGHT = "It cannot be brought back as the archive is; the operator finds the reason in the service's log."
REASON = re.compile(r"^eemt (?:archive|retrieve): (?:(?:archive|retrieve): )?(.+)$", re.MULTILINE)

Work = Literal["archive", "retrieve", "discard"]


def settings_of_archive(settings: Settings) -> ArchiveSettings | None:
    """Return the archive's settings, relative folders as the commands take them; None where there is no archive.

    Raises
    ------
    InputError
        One line that says what is wrong with the config file.
    """
    if settings.archive is None:
        return None
    if not settings.archive.is_file():
        raise InputError(f"settings: {PREFIX}ARCHIVE names {settings.archive}, which is no file")
    chosen = archive_settings(Namespace(settings=None, config=settings.archive))
    if chosen.storage is None:
        raise InputError(f"settings: {settings.archive}, named by {PREFIX}ARCHIVE, has no archive.storage")
    return chosen


def words(settings: Settings, job: Job, row: Archive, work: Work) -> list[str]:
    """Return the command that archives a job, brings it back, or gives up what was begun of it."""
    place = folder(settings, job.id, work).absolute()
    assert settings.archive is not None
    config = ("--config", str(settings.archive.absolute()))
    start = (sys.executable, "-m", "eemt.cli")
    if work == "discard":
        return [*start, "archive", str(place / "results" / job.name), *config, "--work", str(place / WORK), "--discard"]
    if work == "retrieve":
        # what is there is of an attempt that was broken off
        return [*start, "retrieve", str(row.identifier), *config, "--out", str(place / "results"), "--force"]
    return [
        *(*start, "archive", str(place / "results" / job.name), *config),
        # when files are removed is the service's to say
        *("--no-clean-source", "--work", str(place / WORK), "--receipt", str(place / RECEIPT)),
    ]


def has_begun(settings: Settings, job: Job) -> bool:
    """Whether staging and storage may have something of a dataset of the job's that is not finished."""
    journal = read_journal(journal_path(folder(settings, job.id, "archive") / WORK, job.name))
    return journal is not None and not journal.tagmanifest


def remove_files(settings: Settings, job_id: str) -> None:
    """Remove a job's files but the archive's log, and those by which it knows what was begun.

    What cannot be removed goes with these at the end.
    """
    there: list[Path] = []
    with suppress(OSError):
        there = [path for path in jobs.folder(settings, job_id).iterdir() if path.name not in (WORK.name, LOG)]
    for path in there:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def folder(settings: Settings, job_id: str, action: str) -> Path:
    """Return the folder that a command works in: the job's, or one beside it for what comes back.

    Of a job whose files are just being removed nothing must be written there.
    """
    place = jobs.folder(settings, job_id)
    return place.with_name(f".{job_id}.back") if action == "retrieve" else place


class Failure(NamedTuple):
    """Why a command failed.

    Attributes
    ----------
    message : str
        For the job's user.
    fault : str
        user or system.
    reason : str
        For the operator.
    is_taken : bool
        Whether another process is at the same files, for whose end one can wait.
    """

    message: str
    fault: Fault
    reason: str
    is_taken: bool = False


@dataclass
class Deposit:
    """A command that runs.

    Parameters
    ----------
    job_id : str
    action : str
        archive, retrieve or discard.
    log : path
        Which it writes.
    begin : int
        Where in the log its own lines begin [bytes].
    child : Popen, optional
        None where an earlier server began it.
    other : Identity, optional
        One of its processes, then.
    """

    job_id: str
    action: Work
    log: Path
    begin: int
    child: subprocess.Popen[bytes] | None = None
    other: Identity | None = None
    read: int = 0  # of its lines [bytes]
    has_archived: bool = False  # all is in the storage, and it has only to be told
    kill_after: float | None = None  # [s], once it was interrupted

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        if self.child is not None:
            return self.child.poll() is not None
        # to look at one process takes less time than to look for all
        return not (self.other and self.other.is_alive) and not living(self.job_id)

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        processes.send(living(self.job_id), sign)

    def end(self, grace: float) -> None:
        """Interrupt it, as Ctrl-C would; called again, kill it when it has not ended after some time [s]."""
        if self.kill_after is None:
            # right after its start it may not be known by its environment yet
            if found := living(self.job_id):
                processes.send(found, signal.SIGINT)
                self.kill_after = time.monotonic() + grace
        elif time.monotonic() > self.kill_after:
            self.send(signal.SIGKILL)

    def steps(self) -> Iterator[tuple[ArchivalState, str | None]]:
        """Yield the states, with a message, that it has come to since the last time."""
        octets = self._log(self.begin + self.read)
        whole = octets[: octets.rfind(b"\n") + 1]
        self.read += len(whole)
        if self.action != "archive":
            return
        text = whole.decode(errors="replace")
        self.has_archived = self.has_archived or SEALED.search(text) is not None
        for step, figures in STEP.findall(text):
            yield (STATES[step], None) if step else ("waiting", f"It waits for room: {figures}")

    def why(self, code: int) -> Failure:
        """Return what it says of its failure, and whose fault that is."""
        size = self.log.stat().st_size if self.log.is_file() else 0
        said = self._log(max(self.begin, size - TAIL_BYTES)).decode(errors="replace")
        reasons, at_fault = REASON.findall(said), AT_FAULT.findall(said)
        if not reasons:
            killed = f"The command was killed by {signal.Signals(-code).name}." if code < 0 else ""
            told = killed or f"The command ended with code {code}; the operator finds its log in {LOG} of the job."
            return Failure(told, "system", told)
        # where the service keeps its files is not for users
        told = reasons[-1].replace(f"{self.log.parent.absolute()}/", "")
        if code != INPUT_ERROR:
            return Failure(told, "system", reasons[-1])
        match at_fault[-1] if at_fault else "":
            case "the results":
                return Failure(told, "user", reasons[-1])
            case "another process":
                waits = "The same files are on their way to the archive already; it waits for that."
                return Failure(waits, "system", reasons[-1], is_taken=True)
            case _:
                # nor is what the operator has set for them to read, or to mend
                return Failure(NOT_BROUGHT if self.action == "retrieve" else NOT_SET_UP, "system", reasons[-1])

    def _log(self, begin: int) -> bytes:
        try:
            with self.log.open("rb") as file:
                file.seek(begin)
                return file.read()
        except OSError:
            return b""


def begin(settings: Settings, job: Job, row: Archive, work: Work) -> Deposit:
    """Start a job's command, in a process group of its own, with its log beside that of the run.

    Raises
    ------
    OSError
        When its folder cannot be written, or no process can be started.
    """
    place = folder(settings, job.id, work)
    if work != "discard":
        (place / "results").mkdir(parents=True, exist_ok=True, mode=0o700)
        (place / RECEIPT).unlink(missing_ok=True)
    path = place / LOG
    with path.open("ab") as log:
        start = log.tell()
        log.write(f"{HEADER}{work}, {now().isoformat(timespec='seconds')}\n".encode())
        log.flush()
        child = subprocess.Popen(
            words(settings, job, row, work),
            cwd=settings.folder,  # what the config file names by relative paths is there
            env=_environment(job.id),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Deposit(job.id, work, path, start, child)


def begun_before(settings: Settings, row: Archive) -> Deposit | None:
    """Return a job's command that outlived the server which began it; None where none runs."""
    found = living(row.job_id)
    if not found:
        return None
    path = folder(settings, row.job_id, row.action) / LOG
    work: Work = "retrieve" if row.action == "retrieve" else "archive"
    start = 0
    with suppress(OSError):
        octets = path.read_bytes()
        start = octets.rfind(f"\n{HEADER}".encode()) + 1
        if (header := OF_HEADER.match(octets[start : start + 80])) and header[1] == b"discard":
            work = "discard"
    return Deposit(row.job_id, work, path, start, other=processes.identify(found[0].pid))


def living(job_id: str) -> list[psutil.Process]:
    """Return the processes of a job's command."""
    return processes.members(_tag(job_id))


def _tag(job_id: str) -> str:
    """Return what the processes of a job's command are known by; those of its run have the identifier alone."""
    return f"archive-{job_id}"


def _environment(job_id: str) -> dict[str, str]:
    """Return the environment of a command: this process's, with the keys of storages, without the service's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {processes.RUN: _tag(job_id), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
