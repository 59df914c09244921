"""When and with what something was made, as files, catalogues and records say it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata, version

import eemt

SECRET = re.compile(r"key|secret|token|passw|credential", re.IGNORECASE)
HIDDEN = "HIDDEN"
DOI = "10.2136/vzj2014.07.0102"  # of the paper that a map cites


def now() -> str:
    """Return the time in UTC as ``2026-11-21T12:51:23+00:00``.

    Where SOURCE_DATE_EPOCH is set [s since 1970], it is that time, so that files can be made again byte for byte
    (https://reproducible-builds.org/specs/source-date-epoch/).
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(fixed), UTC) if fixed.isdigit() else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of this program and of those packages that are installed."""
    found = {"eemt": eemt.__version__}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def homepage(package: str) -> str | None:
    """Return the address that a package gives for itself, if it is installed and has one."""
    try:
        about = metadata(package)
    except PackageNotFoundError:
        return None
    links = [line.split(", ", 1) for line in about.get_all("Project-URL") or []]
    named = {label.strip().lower(): address for label, address in links}
    found = (named.get(label) for label in ("homepage", "home", "home-page", "source", "repository", "source code"))
    return next(filter(None, [*(about.get_all("Home-page") or []), *found]), None)


def remember_command(words: Iterable[str]) -> None:
    """Let this process's children, `eemt crate` among them, know how the run was called."""
    os.environ["EEMT_COMMAND"] = typed(words)


def typed(words: Iterable[str]) -> str:
    """Word a command as it was typed, but for what may be a secret."""
    shown: list[str] = []
    for word in words:
        name, sign, value = word.partition("=")
        if value and SECRET.search(name):
            shown.append(f"{name}{sign}{HIDDEN}")
        else:
            shown.append(HIDDEN if shown and _asks_for_secret(shown[-1]) else word)
    return shlex.join(shown)


def _asks_for_secret(option: str) -> bool:
    return option.startswith("--") and "=" not in option and SECRET.search(option) is not None
