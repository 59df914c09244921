"""What is raised, by who or what is at fault: a place that keeps files, the results themselves, another process."""

from __future__ import annotations

from typing import Literal

from eemt.errors import InputError

Kind = Literal["gone", "full", "corrupt", "denied"]


class StorageError(OSError):
    """A place for files that cannot be used as it is.

    Parameters
    ----------
    kind : str
        gone: it, or a file in it, cannot be reached; full; corrupt: a file is not what was written; denied: it lets
        nobody in with these keys, or not any longer.
    message : str
        One line: which place, which file, what is wrong.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class SourceError(InputError):
    """Results that are not as their crate says, or that cannot be archived as they are."""


class TakenError(InputError):
    """Something that another process is at."""
