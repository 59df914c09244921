"""One run of ``eemt archive`` or ``eemt retrieve`` for a job: the command that it is, its process, and what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

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
TAIL_BYTES = 65_536
USER_ERROR = 2  # exit codes
INTERRUPTED = 130
ASKED_TO_END = {INTERRUPTED, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP}
STEP = re.compile(r"^\S+Z \S+: (?:(pack|move|verify|register)|waits for room: (.+))$", re.MULTILINE)
STATES: dict[str, ArchivalState] = {
    "pack": "packing",
    "move": "moving",
    "verify": "verifying",
    "register": "verifying",
}
REASON = re.compile(r"^eemt (?:archive|retrieve): (?:(?:archive|retrieve): )?(.+)$", re.MULTILINE)


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


def words(settings: Settings, job: Job, row: Archive) -> list[str]:
    """Return the command that archives a job, or brings it back."""
    place = folder(settings, job.id, row.action).absolute()
    assert settings.archive is not None
    config = ("--config", str(settings.archive.absolute()))
    start = (sys.executable, "-m", "eemt.cli")
    if row.action == "retrieve":
        # what is there is of an attempt that was broken off
        return [*start, "retrieve", str(row.identifier), *config, "--out", str(place / "results"), "--force"]
    return [
        *(*start, "archive", str(place / "results" / job.name), *config),
        # when files are removed is the service's to say
        *("--no-clean-source", "--work", str(place / WORK), "--receipt", str(place / RECEIPT)),
    ]


def folder(settings: Settings, job_id: str, action: str) -> Path:
    """Return the folder that a command works in: the job's, or one beside it for what comes back.

    Of a job whose files are just being removed nothing must be written there.
    """
    place = jobs.folder(settings, job_id)
    return place if action == "archive" else place.with_name(f".{job_id}.back")


@dataclass
class Deposit:
    """A command that runs.

    Parameters
    ----------
    job_id : str
    action : str
        archive or retrieve.
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
    action: str
    log: Path
    begin: int
    child: subprocess.Popen[bytes] | None = None
    other: Identity | None = None
    read: int = 0  # of its lines [bytes]

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

    def steps(self) -> Iterator[tuple[ArchivalState, str | None]]:
        """Yield the states, with a message, that it has come to since the last time."""
        octets = self._log(self.begin + self.read)
        whole = octets[: octets.rfind(b"\n") + 1]
        self.read += len(whole)
        for step, figures in STEP.findall(whole.decode(errors="replace")) if self.action == "archive" else []:
            yield (STATES[step], None) if step else ("waiting", f"It waits for room: {figures}")

    def why(self, code: int) -> tuple[str, Fault]:
        """Return what it says of its failure, and whose fault that is."""
        fault: Fault = "user" if code == USER_ERROR else "system"
        size = self.log.stat().st_size if self.log.is_file() else 0
        said = self._log(max(self.begin, size - TAIL_BYTES)).decode(errors="replace")
        if reasons := REASON.findall(said):
            # where the service keeps its files is not for users
            return reasons[-1].replace(f"{self.log.parent.absolute()}/", ""), fault
        if code < 0:
            return f"The command was killed by {signal.Signals(-code).name}.", fault
        return f"The command ended with code {code}; the operator finds its log in {LOG} of the job.", fault

    def _log(self, begin: int) -> bytes:
        try:
            with self.log.open("rb") as file:
                file.seek(begin)
                return file.read()
        except OSError:
            return b""


def begin(settings: Settings, job: Job, row: Archive) -> Deposit:
    """Start a job's command, in a process group of its own, with its log beside that of the run.

    Raises
    ------
    OSError
        When its folder cannot be written, or no process can be started.
    """
    place = folder(settings, job.id, row.action)
    (place / "results").mkdir(parents=True, exist_ok=True, mode=0o700)
    (place / RECEIPT).unlink(missing_ok=True)
    path = place / LOG
    with path.open("ab") as log:
        start = log.tell()
        log.write(f"{HEADER}{row.action}, {now().isoformat(timespec='seconds')}\n".encode())
        log.flush()
        child = subprocess.Popen(
            words(settings, job, row),
            cwd=settings.folder,  # what the config file names by relative paths is there
            env=_environment(job.id),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Deposit(job.id, row.action, path, start, child)


def begun_before(settings: Settings, row: Archive) -> Deposit | None:
    """Return a job's command that outlived the server which began it; None where none runs."""
    found = living(row.job_id)
    if not found:
        return None
    path = folder(settings, row.job_id, row.action) / LOG
    try:
        start = path.read_bytes().rfind(f"\n{HEADER}".encode()) + 1
    except OSError:
        start = 0
    return Deposit(row.job_id, row.action, path, start, other=processes.identify(found[0].pid))


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
