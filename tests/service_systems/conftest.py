"""What the tests of the service on real systems share: what each needs, and servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executors.beds import asker, named
from service.conftest import Server, database, own_settings, serve
from service_systems.beds import PROBES

__all__ = ["Server", "database", "own_settings", "serve"]


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """Ask for a system: skip with what is missing, or fail where `EEMT_REQUIRE_BEDS` says that it must be there."""
    return asker(PROBES, named)
