"""A small finished site, and the same as a bag in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archive.bags import SITE, WRITTEN, FinishedSite, Stored, make_site, store, with_large_file
from archive.flow import Call, Flow, Kennel, running_kennel


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(WRITTEN))


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedSite]:
    """Finished sites that tests get copies of, which are sooner made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(WRITTEN))
        small, large = (make_site(tmp_path_factory.mktemp(name) / SITE) for name in ("small", "large"))
        return {"small": small, "large": with_large_file(large)}


def _copied(pattern: FinishedSite, place: Path) -> FinishedSite:
    return FinishedSite(shutil.copytree(pattern.folder, place / "results" / SITE), pattern.settings)


@pytest.fixture
def finished_site(patterns: dict[str, FinishedSite], tmp_path: Path) -> FinishedSite:
    """A finished site named ridge, of 13 maps and tables, with crate; tests may change it."""
    return _copied(patterns["small"], tmp_path)


@pytest.fixture
def large_site(patterns: dict[str, FinishedSite], tmp_path: Path) -> FinishedSite:
    """The same with a file of several pieces."""
    return _copied(patterns["large"], tmp_path)


@pytest.fixture
def new_site(tmp_path: Path) -> Callable[..., FinishedSite]:
    """Make a finished site of a name, with changes of its settings by section."""

    def make(name: str, changes: dict[str, dict[str, Any]] | None = None) -> FinishedSite:
        return make_site(tmp_path / name / SITE, changes)

    return make


@pytest.fixture(params=["none", "zstd"])
def stored(request: pytest.FixtureRequest, finished_site: FinishedSite, tmp_path: Path) -> Stored:
    """The finished site as a bag in a folder, once in plain and once in compressed blocks."""
    return store(finished_site, tmp_path / "storage", compression=request.param)


@pytest.fixture(scope="module")
def all_kennels() -> Iterator[Kennel]:
    with running_kennel() as kennel:
        yield kennel


@pytest.fixture
def kennel(all_kennels: Kennel) -> Iterator[Kennel]:
    yield all_kennels
    all_kennels.clear()


@pytest.fixture
def flow(tmp_path: Path, call: Call) -> Flow:
    return Flow(tmp_path, call)


@pytest.fixture
def site(large_site: FinishedSite) -> FinishedSite:
    return large_site
