"""How many do the same at once: places that processes hold, and what logs of several datasets show."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from archive.bags import FinishedSite, make_site, with_large_file
from archive.flow import Call, Flow, Kennel, contents, most_at_once, running_kennel, spans
from eemt.archive.limits import alone, locks_folder, slot
from eemt.errors import InputError

SITES = ("alder", "birch", "cedar", "dogwood")


@pytest.fixture
def kennel() -> Iterator[Kennel]:
    with running_kennel() as kennel:
        yield kennel
        kennel.clear()


def sites_in(place: Path) -> list[FinishedSite]:
    made = [with_large_file(make_site(place / "results" / name)) for name in SITES]
    return [FinishedSite(site.folder, site.settings, site.folder.name) for site in made]


def test_four_datasets_at_once_keep_to_the_limits_and_all_are_archived(
    tmp_path: Path, call: Call, kennel: Kennel
) -> None:
    flow = Flow(tmp_path, call, {"moves": 2, "verifies": 1, "reads": 1, "space_checks": 1})
    sites = sites_in(tmp_path)
    was = {site.site: contents(site.folder) for site in sites}
    # all have packed before the first moves
    children = [kennel.start(flow.words(site, "--only", "pack", work=site.site), tmp_path) for site in sites]
    assert [child.end() for child in children] == [0] * 4
    children = [kennel.start(flow.words(site, work=site.site), tmp_path) for site in sites]
    assert [child.end() for child in children] == [0] * 4
    archiving = [span for child in children for span in spans(child.said())]
    words = [["retrieve", name, "--out", str(tmp_path / "out" / name), *flow.options()] for name in flow.finished()]
    children = [kennel.start(some, tmp_path) for some in words]
    assert [child.end() for child in children] == [0] * 4
    done = archiving + [span for child in children for span in spans(child.said())]
    blocks = len(list(flow.storage.glob("*/data/*")))
    counts = Counter(span.what for span in done)
    assert counts == {"space": 4, "move": blocks, "verify": blocks, "read": blocks}
    for what, limit in {"space": 1, "move": 2, "verify": 1, "read": 1}.items():
        assert most_at_once([span for span in done if span.what == what]) <= limit, what
    for name in flow.finished():
        flow.assert_archived(name, was[name.rpartition("-")[0]])


def test_as_many_as_the_limit_do_it_at_once_and_the_next_waits(tmp_path: Path, call: Call, kennel: Kennel) -> None:
    flow = Flow(tmp_path, call, {"moves": 2})
    sites = sites_in(tmp_path)[:3]
    held = []
    for site in sites[:2]:
        held.append(kennel.start(flow.words(site, work=site.site), tmp_path, ("in put", "storage/")))
        held[-1].reach()
    third = kennel.start(flow.words(sites[2], work="third"), tmp_path, ("with slot", "move"))
    # it says so when it finds no place
    while "waits for one of 2 places to move" not in third.said():
        assert "Traceback" not in third.said()
        time.sleep(0.05)
    # one that is killed gives its place back
    held[0].end(signal.SIGKILL)
    third.kill()
    held[1].end(signal.SIGKILL)
    assert not flow.finished()


def test_a_place_is_taken_once_and_given_back_at_the_end(tmp_path: Path) -> None:
    with slot("move", 2, tmp_path, "a"), slot("move", 2, tmp_path, "b"):
        assert not free(tmp_path, "move", 2)
    assert free(tmp_path, "move", 2)
    with pytest.raises(KeyError), slot("move", 1, tmp_path, "a"):
        raise KeyError
    assert free(tmp_path, "move", 1)


def free(folder: Path, what: str, at_once: int) -> bool:
    """Say whether another process finds a place at once."""
    program = (
        "import sys, contextlib; from pathlib import Path; from eemt.archive.limits import _take\n"
        "with contextlib.ExitStack() as held:\n"
        f"    print(any(_take(Path({str(folder)!r}) / f'{what}.{{n}}', held) for n in range({at_once})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_different_things_have_their_own_places(tmp_path: Path) -> None:
    with slot("move", 1, tmp_path, "a"), slot("verify", 1, tmp_path, "a"), slot("read", 1, tmp_path, "a"):
        assert free(tmp_path, "space", 1)


def test_what_is_held_alone_says_by_whom(tmp_path: Path) -> None:
    def hold() -> AbstractContextManager[None]:
        return alone(tmp_path / "lock", "ridge-1 is being archived")

    told = r"ridge-1 is being archived by process \d+ on .+ already; wait for it"
    with hold(), pytest.raises(InputError, match=told), hold():
        pass
    with hold():
        pass


def test_a_folder_of_locks_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"archive\.locks: .*file/locks cannot be made .*; name a folder"):
        locks_folder(str(tmp_path / "file" / "locks"))
