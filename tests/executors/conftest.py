"""What the tests on real systems share: what each needs, a small site, and a run of it on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from executors.beds import PROBES, asker, required
from executors.runs import Run, clip_config


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """Ask for a system: skip with what is missing, or fail where `EEMT_REQUIRE_BEDS` says that it must be there."""
    return asker(PROBES, required)


@pytest.fixture(scope="session")
def reference(fresh: Callable[..., Run], clip: Path) -> Run:
    """The clip, finished by the local executor on this machine: what every other system must arrive at."""
    run = fresh("reference", clip_config(str(clip)))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run
