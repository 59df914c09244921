"""What is raised when a place that keeps files, not the person who asked, is at fault."""

from __future__ import annotations

from typing import Literal

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
