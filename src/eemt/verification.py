"""Checksums of files, and what of a finished site differs from those that its RO-Crate holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

from eemt.errors import InputError
from eemt.inventory import CRATE, site_files

PIECE = 2**20  # bytes that are read at once


class Digest(NamedTuple):
    """A file's SHA-256, and its size in bytes."""

    sha256: str
    size: int


class Difference(NamedTuple):
    """A file that is not as the crate says."""

    name: str
    what: str


def digests(paths: Iterable[Path], threads: int | None = None) -> list[Digest]:
    """Return the checksums of files, several being read at once, a piece at a time.

    Parameters
    ----------
    paths : iterable of path
    threads : int, optional
        Files read at once; by default as many as there are processors.
    """
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return list(pool.map(digest, paths))


def digest(path: Path) -> Digest:
    """Return the checksum of a file."""
    total, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(PIECE))
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(buffer):
            total.update(buffer[:read])
            size += read
    return Digest(total.hexdigest(), size)


def crates(results: Path, sites: Iterable[str] = ()) -> dict[str, Path]:
    """Find the folders of sites that have an RO-Crate, by the name that they are shown under.

    Parameters
    ----------
    results : path
        Folder of results, or of one site.
    sites : iterable of str
        Names of sites; by default all that have a crate.

    Raises
    ------
    InputError
        When there is none, or one of the sites has none.
    """
    wanted = {name: results / name for name in sites}
    if not wanted:
        found = {path.parent.name: path.parent for path in sorted(results.glob(f"*/{CRATE}"))}
        wanted = {results.resolve().name: results} if (results / CRATE).exists() else found
    if not wanted:
        raise InputError(f"verify: {results} has no {CRATE}, nor has a folder in it; `eemt crate` writes one")
    for folder in wanted.values():
        if not (folder / CRATE).exists():
            raise InputError(f"verify: {folder / CRATE} does not exist; `eemt crate` writes it")
    return wanted


def recorded(crate: Path) -> dict[str, Digest]:
    """Read the checksums of files from an RO-Crate, by their paths in its folder.

    Raises
    ------
    InputError
        When it is none that `eemt crate` wrote.
    """
    try:
        entities = json.loads(crate.read_text(encoding="utf-8"))["@graph"]
        found = {_path(one): Digest(one["sha256"], int(one["contentSize"])) for one in entities if _is_held(one)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"verify: {crate} is not what `eemt crate` writes ({error!r})") from None
    if not found:
        raise InputError(f"verify: {crate} names no file with a checksum")
    return found


def differences(folder: Path, threads: int | None = None) -> list[Difference]:
    """Compare the files of a site with its RO-Crate, sorted by name; none is good news.

    Files of another size are not read.
    """
    known = recorded(folder / CRATE)
    found = []
    same_size = []
    for name, (_, size) in known.items():
        path = folder / name
        if not path.is_file():
            found.append(Difference(name, "missing"))
        elif path.stat().st_size != size:
            found.append(Difference(name, f"changed: {path.stat().st_size} bytes instead of {size}"))
        else:
            same_size.append(name)
    for name, now in zip(same_size, digests((folder / name for name in same_size), threads), strict=True):
        if now != known[name]:
            found.append(Difference(name, f"changed: SHA-256 {now.sha256} instead of {known[name].sha256}"))
    found += [Difference(name, "extra: not in the crate") for name in site_files(folder) if name not in known]
    return sorted(found)


def _is_held(entity: Mapping[str, Any]) -> bool:
    """Whether an entity is a file in the crate's folder, rather than somewhere else."""
    return entity["@type"] == "File" and not urlparse(entity["@id"]).scheme


def _path(entity: Mapping[str, Any]) -> str:
    name = PurePosixPath(unquote(entity["@id"]))
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"{name} is not within the crate")
    return name.as_posix()
