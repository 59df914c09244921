"""Processes that outlive the one that started them: telling whether one is still the same, and ending all of a run.

A number of a process is given again to another one after it has ended, and after each start of the machine. With the
time of its start, the machine's boot and, in containers, its namespace of processes it names one process for ever.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

RUN = "EEMT_RUN"  # in the environment of all processes of a job's run: the job's identifier


@dataclass(frozen=True)
class Identity:
    """One process of one machine.

    Parameters
    ----------
    pid : int
        Its number.
    started : float
        When it was started: on Linux in ticks since the machine was, which no change of the clock moves.
    boot : str
        The machine's boot and the namespace that the number counts in.
    host : str
        The machine's name, for people.
    """

    pid: int
    started: float
    boot: str
    host: str

    def as_json(self) -> dict[str, Any]:
        """Return it as the database keeps it."""
        return asdict(self)

    @property
    def is_here(self) -> bool:
        """Whether this process would see it."""
        return self.boot == boot()

    @property
    def is_alive(self) -> bool:
        """Whether it runs here; one that has ended and waits for its parent does not."""
        return self.is_here and identify(self.pid) == self


def from_json(data: Any) -> Identity | None:
    """Return what `as_json` wrote, or None where that is no identity."""
    try:
        return Identity(int(data["pid"]), float(data["started"]), str(data["boot"]), str(data["host"]))
    except (TypeError, KeyError, ValueError):
        return None


def identify(pid: int) -> Identity | None:
    """Return which process has a number now, if one lives that has it."""
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, _started(pid), boot(), socket.gethostname())
    except (psutil.Error, OSError, ValueError, IndexError):
        return None


def _started(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        # the name, in brackets, may hold blanks and brackets itself
        return float(stat.read_text(errors="replace").rpartition(")")[2].split()[19])
    return psutil.Process(pid).create_time()


@cache
def boot() -> str:
    """Return what changes with each start of the machine or of the container."""
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{machine}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()}/{psutil.boot_time():.0f}"


def members(job_id: str, leader: int | None = None) -> list[psutil.Process]:
    """Return the processes of a job's run: those whose environment names it, and their children.

    Parameters
    ----------
    job_id : str
        The job's identifier.
    leader : int, optional
        The number of its session's first process, which lives: all of the session belong to the run too. Of one that
        has ended the number may be another's by now.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            of_session = leader is not None and os.getsid(process.pid) == leader
            if of_session or process.environ().get(RUN) == job_id:
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
    return [process for process in found.values() if process.pid != os.getpid() and _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send(processes: Iterable[psutil.Process], sign: signal.Signals) -> None:
    """Send a signal to processes, as far as they are still there."""
    for process in processes:
        with suppress(psutil.Error, OSError):
            process.send_signal(sign)
