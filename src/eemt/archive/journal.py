"""How far the archiving of a dataset is, kept in a file, so that the next run goes on from there."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eemt.raster import whole_or_nothing


class Digest(BaseModel):
    """Checksum and size of a block as it was packed."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int


class Journal(BaseModel):
    """What was done of a dataset.

    Attributes
    ----------
    identifier : str
        Of the dataset; with another one, another set of files, it begins anew.
    storage, staging, compression, target_size_mb
        What the blocks and their places depend on; with others it begins anew.
    packed : dict
        Blocks in the staging area, by name.
    moved : list of str
        Blocks that were copied to the storage.
    verified : dict
        Blocks that were read back from there and were right, by name the time.
    tagmanifest : str
        SHA-256 of the bag's last file, when the dataset is archived.
    registered : bool
        Whether catalogues know that.
    cleaning, cleaned : bool
        Whether removing the site's own files was begun, and finished.
    fault, message : str
        user or system, and what went wrong at the last try.
    """

    identifier: str
    storage: str
    staging: str
    compression: str
    target_size_mb: float
    bagged: str = ""
    packed: dict[str, Digest] = {}
    moved: list[str] = []
    verified: dict[str, str] = {}
    tagmanifest: str = ""
    registered: bool = False
    cleaning: bool = False
    cleaned: bool = False
    fault: str = ""
    message: str = ""

    def is_of(self, other: Journal) -> bool:
        """Whether another one is of the same files, cut the same way, for the same places."""
        keys = {"identifier", "storage", "staging", "compression", "target_size_mb"}
        return self.model_dump(include=keys) == other.model_dump(include=keys)

    def write(self, path: Path) -> None:
        """Write it, whole and durable."""
        with whole_or_nothing(path) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())


def journal_path(work: Path, site: str) -> Path:
    """Return where a site's journal is kept in the folder of journals."""
    return work / "journal" / f"{site}.json"


def read_journal(path: Path) -> Journal | None:
    """Read a journal, or None where there is none that can be used."""
    try:
        return Journal.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
