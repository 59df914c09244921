"""When and with what something was made, as files, catalogues and records say it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import eemt

DOI = "10.2136/vzj2014.07.0102"  # of the paper that a map cites


def now() -> str:
    """Return the time in UTC as ``2026-11-21T12:51:23Z``.

    Where SOURCE_DATE_EPOCH is set [s since 1970], it is that time, so that files can be made again byte for byte
    (https://reproducible-builds.org/specs/source-date-epoch/).
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(fixed), UTC) if fixed.isdigit() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of this program and of those packages that are installed."""
    found = {"eemt": eemt.__version__}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
