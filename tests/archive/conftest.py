"""A small finished site, and the same as a bag in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archive.bags import SITE, WRITTEN, FinishedSite, Stored, make_site, store


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(WRITTEN))


@pytest.fixture
def finished_site(tmp_path: Path) -> FinishedSite:
    """A finished site named ridge, of 13 maps and tables, with crate; tests may change it."""
    return make_site(tmp_path / "results" / SITE)


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
