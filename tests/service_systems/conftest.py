"""What the tests of the service on real systems share: what each needs, and servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.conftest import Server, own_settings, serve
from service_systems.beds import PROBES, Probe, required

__all__ = ["Server", "own_settings", "serve"]


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """Ask for a system: skip with what is missing, or fail where `EEMT_REQUIRE_BEDS` says that it must be there.

    ``require("browser")``, or ``require("postgresql", probe)`` with a probe of the test's own.
    """
    found: dict[tuple[str, Probe], str | None] = {}

    def ask(name: str, probe: Probe | None = None) -> None:
        probe = probe or PROBES[name]
        if (name, probe) not in found:
            found[name, probe] = probe()
        missing = found[name, probe]
        if missing is None:
            return
        if name in required():
            pytest.fail(f"{name}: {missing} (EEMT_REQUIRE_BEDS names it)", pytrace=False)
        pytest.skip(f"{name}: {missing}")

    return ask
