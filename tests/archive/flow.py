"""The whole flow on small sites: what is called, what must hold after it, and processes that are killed in it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import bagit

from archive.bags import FinishedSite
from eemt.archive.bag import TAGMANIFEST
from eemt.archive.catalogue import Entry, open_catalogue
from eemt.inventory import CRATE, site_files
from eemt.verification import digest
from sites import ROOT

Call = Callable[..., tuple[int, str, str]]


def contents(folder: Path) -> dict[str, str]:
    """Return the checksums of all files that are archived of a site: all but tiles, inputs and hidden ones."""
    names = [*site_files(folder), *([CRATE] if (folder / CRATE).exists() else [])]
    return {name: digest(folder / name).sha256 for name in names}


@dataclass
class Flow:
    """Where a test's sites are archived, and by which settings."""

    place: Path
    call: Call
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.storage.mkdir(exist_ok=True)

    @property
    def storage(self) -> Path:
        return self.place / "storage"

    @property
    def staging(self) -> Path:
        return self.place / "staging"

    @property
    def locks(self) -> Path:
        return self.place / "locks"

    def options(self, **changes: Any) -> list[str]:
        values = {
            "storage": str(self.storage),
            "staging": str(self.staging),
            "retrieval": str(self.place / "retrieved"),
            "catalogue": str(self.place / "catalogue.sqlite"),
            "locks": str(self.locks),
            "target_size_mb": 0.03,
            "min_free_percent": 0,
            **self.settings,
            **changes,
        }
        return ["--settings", json.dumps({name: value for name, value in values.items() if value is not None})]

    def words(self, site: FinishedSite, *words: str, work: str = "work", **changes: Any) -> list[str]:
        """Return the call that archives a site."""
        return ["archive", str(site.folder), "--work", str(self.place / work), *words, *self.options(**changes)]

    def archive(self, site: FinishedSite, *words: str, **changes: Any) -> tuple[int, str, str]:
        return self.call(*self.words(site, *words, **changes))

    def retrieve(self, *words: object, **changes: Any) -> tuple[int, str, str]:
        return self.call("retrieve", *words, *self.options(**changes))

    def entry(self, identifier: str) -> Entry | None:
        with open_catalogue(self.place / "catalogue.sqlite") as catalogue:
            return catalogue.get(identifier)

    def finished(self) -> list[str]:
        """Return the datasets that the storage has as finished bags."""
        return sorted(path.parent.name for path in self.storage.glob(f"*/{TAGMANIFEST}"))

    def bag(self, identifier: str) -> Path:
        return self.storage / identifier

    def journal(self, site: str = "ridge", work: str = "work") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place / work / "journal" / f"{site}.json").read_text())
        return found

    def assert_honest(self) -> None:
        """Assert that all that is said to be archived is so."""
        for identifier in self.finished():
            assert_valid(self.bag(identifier))
        with open_catalogue(self.place / "catalogue.sqlite") as catalogue:
            for entry in catalogue.search(state="archived"):
                assert entry.identifier in self.finished()
                sha256 = digest(self.bag(entry.identifier) / TAGMANIFEST).sha256
                assert entry.tagmanifest_sha256 == sha256

    def assert_archived(self, identifier: str, was: Mapping[str, str], **changes: Any) -> None:
        """Assert that a dataset is in the storage, whole and by all rules, and comes back as it was."""
        assert identifier in self.finished()
        self.assert_honest()
        entry = self.entry(identifier)
        assert entry is not None and (entry.state, entry.fault) == ("archived", None)
        out = self.place / "again"
        number = len(list(out.glob("*"))) if out.exists() else 0
        code, _, err = self.retrieve(identifier, "--out", out / str(number), **changes)
        assert code == 0, err
        assert contents(out / str(number) / entry.site) == dict(was)


def assert_valid(folder: Path) -> None:
    """Assert that a bag is right, by BagIt's own library and by a shell."""
    bagit.Bag(str(folder)).validate(processes=1)
    shell = ["sha256sum", "--check", "--quiet", TAGMANIFEST, "manifest-sha256.txt"]
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [path.name for path in folder.rglob(".*")]


def identifier_in(said: str) -> str:
    found = re.search(r"[a-z0-9-]+-[0-9a-f]{12}", said)
    assert found, said
    return found[0]


class Span(NamedTuple):
    """Something that was done, by a log: what, with what, begin and end [s]."""

    what: str
    whose: str
    begin: float
    end: float


def spans(log: str) -> list[Span]:
    """Return what stands in a log as begun and ended."""
    begun: dict[tuple[str, str], float] = {}
    found = []
    for line in log.splitlines():
        match = re.fullmatch(r"(\S+)Z (.+): (space|move|verify|read) (begins|ends)", line)
        if match:
            time = datetime.fromisoformat(match[1]).timestamp()
            key = match[3], match[2]
            if match[4] == "begins":
                begun[key] = time
            else:
                found.append(Span(*key, begun.pop(key), time))
    return found


def most_at_once(some: list[Span]) -> int:
    """Return how many of some spans overlapped at most; those that touch do not."""
    changes = sorted([(span.begin, 1) for span in some] + [(span.end, -1) for span in some])
    level = most = 0
    for _, change in changes:
        level += change
        most = max(most, level)
    return most


class Child:
    """A run of eemt in a process of its own."""

    def __init__(self, kennel: Kennel, words: list[str], folder: Path, point: tuple[str, str] | None) -> None:
        self._kennel = kennel
        self.folder = folder
        kennel.count += 1
        self.log = folder / f"run-{kennel.count}.log"
        pipe = folder / f"run-{kennel.count}.pipe"
        os.mkfifo(pipe)
        order = {"words": words, "folder": str(folder), "log": str(self.log), "pipe": str(pipe), "point": point}
        self.pid: int = kennel.ask(order)
        self._pipe = pipe.open(encoding="ascii")

    def reach(self) -> None:
        """Return when it stands still at its point."""
        assert self._pipe.readline() == "stopped\n", f"the point was not reached:\n{self.said()}"

    def end(self, with_signal: int | None = None) -> int:
        """Send a signal, if any, and return how it ended; less than zero is the number of the signal that ended it."""
        if with_signal is not None:
            os.kill(self.pid, with_signal)
        code: int = self._kennel.ask({"wait": self.pid})
        self._pipe.close()
        self._kennel.alive.discard(self.pid)
        return code

    def kill(self) -> None:
        """Kill it where it stands still."""
        self.reach()
        assert self.end(signal.SIGKILL) == -signal.SIGKILL

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


class Kennel:
    """Processes of `archive.stopping`, all children of one that has everything loaded."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.count = 0
        self.alive: set[int] = set()

    def ask(self, order: Mapping[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, words: list[str], folder: Path, point: tuple[str, str] | None = None) -> Child:
        """Start a run, which stands still at a point if one is given."""
        child = Child(self, words, folder, point)
        self.alive.add(child.pid)
        return child

    def clear(self) -> None:
        """Kill what a failed test left."""
        for pid in list(self.alive):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.ask({"wait": pid})
        self.alive.clear()


@contextmanager
def running_kennel() -> Iterator[Kennel]:
    paths = os.pathsep.join(filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-m", "archive.stopping"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Kennel(process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait()
