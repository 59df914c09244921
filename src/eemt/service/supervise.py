"""``python -m eemt.service.supervise``: runs one command to its end, whatever becomes of the server.

It has a session of its own, so that it lives on when the server ends, and the command a process group. It writes what
the command says to run.log and, at its end, how it ended to exit.json, where the next server finds it. SIGTERM asks for
an end: the command gets SIGINT, by which Snakemake also cancels the jobs that it has on a cluster, and after a time of
grace SIGKILL with all of its children.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from eemt.service import processes

LOG = "run.log"
EXIT = "exit.json"
PROCESS = "process.json"
LOCK = "run.lock"
ALREADY_RUNS = 75  # exit code
NOT_STARTED = 126
ROOM = 400  # bytes of exit.json
PR_SET_CHILD_SUBREAPER = 36  # of <linux/prctl.h>
SETTLE_SECONDS = 0.3
WRITE_SECONDS = 600.0


def main(argv: list[str] | None = None) -> int:
    """Run the command that is given after ``--`` and return its exit code."""
    parser = argparse.ArgumentParser(prog="eemt.service.supervise", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="JOB")
    parser.add_argument("--attempt", type=int, default=1, metavar="N")
    parser.add_argument("--grace", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args(argv)
    lock = os.open(args.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ALREADY_RUNS
    except OSError:
        pass  # a file system without locks
    return Run(args.folder, args.attempt, args.grace, args.command).to_the_end()


@dataclass
class Run:
    """One command, from its start to its end.

    Parameters
    ----------
    folder : path
        The job's.
    attempt : int
        Which of the job's runs it is.
    grace : float
        Time [s] that the command has to end in when it is asked to.
    command : list of str
        The command.
    """

    folder: Path
    attempt: int
    grace: float
    command: list[str]
    asked: float | None = None  # to end: when
    killed: bool = False
    wake: tuple[int, int] = field(default_factory=os.pipe)

    def to_the_end(self) -> int:
        """Run the command, write how it ended and return its exit code."""
        self._prepare()
        code = self._run()
        if code != 0:
            # who shuts a machine down signals all processes, and Snakemake may be the first to end
            time.sleep(SETTLE_SECONDS)
        self._write_end(code)
        return code if code >= 0 else 128 - code

    def _prepare(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(sign, self._ask)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for end in self.wake:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)
        _adopt_orphans()
        (self.folder / EXIT).unlink(missing_ok=True)
        # room for exit.json is taken now, so that a full disk does not swallow how the run ended
        write_whole(self.folder / f"{EXIT}.part", " " * ROOM)
        identity = processes.identify(os.getpid())
        about = {"attempt": self.attempt, **(identity.as_json() if identity else {})}
        write_whole(self.folder / PROCESS, json.dumps(about))

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signals have it
        if self.asked is None:
            self.asked = time.monotonic()

    def _run(self) -> int:
        with (self.folder / LOG).open("ab") as log:
            log.write(header(self.attempt).encode())
            log.flush()
            try:
                child = subprocess.Popen(
                    self.command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
            except OSError as error:
                log.write(f"eemt: {self.command[0]} cannot be started: {error.strerror}\n".encode())
                return NOT_STARTED
        code = self._follow(child)
        self._clear_away()
        return code

    def _follow(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for the command's end, and see to it when it is asked for."""
        interrupted = False
        while (code := child.poll()) is None:
            if self.asked is not None and not interrupted:
                interrupted = True
                with suppress(OSError):
                    os.killpg(child.pid, signal.SIGINT)
            if self.asked is not None and time.monotonic() - self.asked >= self.grace:
                self.killed = True
                self._kill_all()
            self._reap(child.pid)
            select.select([self.wake[0]], [], [], 0.5 if self.asked is not None else 5.0)
            with suppress(BlockingIOError):
                os.read(self.wake[0], 4096)
        return code

    def _reap(self, but: int) -> None:
        """Let go of orphans that have ended; the command itself is waited for elsewhere."""
        for process in psutil.Process().children():
            with suppress(psutil.Error, OSError):
                if process.pid != but and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)

    def _kill_all(self) -> None:
        processes.send(psutil.Process().children(recursive=True), signal.SIGKILL)

    def _clear_away(self) -> None:
        """End what the command left behind."""
        sign = signal.SIGTERM
        until = time.monotonic() + min(self.grace, 10.0)
        while left := psutil.Process().children(recursive=True):
            self._reap(0)
            if time.monotonic() >= until:
                sign = signal.SIGKILL
            processes.send(left, sign)
            time.sleep(0.05)

    def _write_end(self, code: int) -> None:
        """Write how it ended, in the room that was taken for it; a disk that fails is tried again."""
        end: dict[str, Any] = {"code": code, "at": _now(), "attempt": self.attempt}
        end |= {"asked": self.asked is not None, "killed": self.killed}
        part = self.folder / f"{EXIT}.part"
        until = time.monotonic() + WRITE_SECONDS
        while True:
            try:
                with part.open("r+b") as file:
                    file.write(json.dumps(end).ljust(ROOM).encode())
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(self.folder / EXIT)
            except OSError:
                if time.monotonic() > until or not self.folder.is_dir():
                    return
                time.sleep(5)
            else:
                return


def header(attempt: int) -> str:
    """Return the line that begins an attempt in run.log."""
    return f"=== attempt {attempt}, {_now()}\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, even after a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _adopt_orphans() -> None:
    """Become the parent of those whose parent ends, so that none of the run is lost from sight (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    sys.exit(main())
