"""What the service's commands begin with: its libraries are there, its folder is the one that is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eemt.errors import InputError

if TYPE_CHECKING:
    from eemt.service.settings import Settings


@contextmanager
def libraries() -> Iterator[None]:
    """Import what the service stands on, or say in one line what is missing.

    Raises
    ------
    InputError
        When the extra `service` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; the service needs: make setup EXTRAS=service") from None


def settings_in_use(folder: Path | None, command: str) -> Settings:
    """Read the settings of a service that has been started before.

    Raises
    ------
    InputError
        When none was, in this folder.
    """
    from eemt.service.settings import load_settings

    settings = load_settings(folder=folder)
    if not settings.jobs.is_dir():
        raise InputError(f"{command}: {settings.jobs} is not there; no service was started on this folder")
    return settings
