"""A finished site as a dataset: which files it has, with which checksums, and what it is called for ever."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from eemt.archive.blocks import Member, check_path, in_order
from eemt.config import Site, check_section
from eemt.errors import InputError
from eemt.inventory import CRATE, site_files
from eemt.verification import Difference, differences, digests, recorded

TILES = "tiles"
TRANSFER_TILES = "eemt"  # in the site's folder itself
NAMED = 3  # files in a message
HEX = 12  # digits of an identifier


@dataclass(frozen=True)
class Dataset:
    """A finished site's files as they are archived.

    Attributes
    ----------
    folder : path
    site : str
    identifier : str
        ``{site}-{12 hexadecimal digits}``, which follow from the names and checksums of all files.
    members : tuple of Member
        All files, the crate among them, sorted by the bytes of their paths.
    mtime : int
        When the crate was written [s since 1970]; in the blocks it is the time of all files.
    settings : Site, optional
        As the crate has them; None where this version of the program cannot read them.
    tiles : bool
        Whether tiles are among the files.
    """

    folder: Path
    site: str
    identifier: str
    members: tuple[Member, ...]
    mtime: int
    settings: Site | None
    tiles: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(member.size for member in self.members)


def land(folder: Path, site: str, tiles: bool = False, threads: int | None = None, thorough: bool = False) -> Dataset:
    """Take a finished site's folder for a dataset.

    Parameters
    ----------
    folder : path
        The site's folder, with its RO-Crate.
    site : str
        Name of the site.
    tiles : bool
        Whether the tiles are archived too, which can be made again from the rest.
    threads : int, optional
        Files that are read at once for their checksums.
    thorough : bool
        Whether all files are read and compared with the crate now; they are compared while they are packed anyhow.

    Raises
    ------
    InputError
        When there is no crate, or files are missing, changed or not in it, or have names that cannot be kept.
    """
    crate = folder / CRATE
    if not crate.is_file():
        raise InputError(
            f"archive: {crate} does not exist; `eemt crate` writes it, as does the workflow with outputs.crate: true"
        )
    try:
        members = in_order(_members(folder, tiles, threads, thorough))
        about = entities(crate.read_bytes())
    except OSError as error:
        raise InputError(f"archive: {error.filename or folder} cannot be read ({error.strerror})") from None
    name, instant = identify(site, members), _instant(crate, about)
    return Dataset(folder, site, name, tuple(members), instant, settings_of(about), tiles)


def _members(folder: Path, tiles: bool, threads: int | None, thorough: bool) -> list[Member]:
    """Return all files with their checksums, which are the crate's as far as it has them."""
    known = {name: one for name, one in recorded(folder / CRATE).items() if name != CRATE}
    for name in known:
        _check_name(folder, name)
    sizes = {name: one.size for name, one in known.items()}
    found = differences(folder, threads) if thorough else list(_at_a_glance(folder, sizes))
    if found:
        raise InputError(_refusal(folder, found))
    members = [Member(name, size, sha256) for name, (sha256, size) in known.items()]
    # the crate cannot hold its own checksum, and does not hold those of tiles
    others = [CRATE, *(_tiles(folder) if tiles else ())]
    for name in others:
        _check_name(folder, name)
    for name, (sha256, size) in zip(others, digests((folder / name for name in others), threads), strict=True):
        members.append(Member(name, size, sha256))
    return members


def _at_a_glance(folder: Path, known: Mapping[str, int]) -> Iterator[Difference]:
    """Compare names and sizes alone."""
    for name, size in known.items():
        path = folder / name
        if not path.is_file():
            yield Difference(name, "missing")
        elif path.stat().st_size != size:
            yield Difference(name, f"{path.stat().st_size} bytes instead of {size}")
    yield from (Difference(name, "not in the crate") for name in site_files(folder) if name not in known)


def _refusal(folder: Path, found: list[Difference]) -> str:
    named = "; ".join(f"{ascii(name)[1:-1]} ({what})" for name, what in sorted(found)[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return (
        f"archive: {folder} is not as its {CRATE} says: {named}{more}; finish the run, or bring back or remove the "
        "files, and make the crate again with `eemt crate`"
    )


def _check_name(folder: Path, name: str) -> None:
    try:
        check_path(name)
    except ValueError as error:
        raise InputError(f"archive: {folder}: {error}; rename the file and make the crate again") from None


def _tiles(folder: Path) -> list[str]:
    """Return the paths of tiles: what is in folders of that name, and what `eemt transfer` wrote."""
    found = []
    for place, folders, names in os.walk(folder):
        here = PurePosixPath(Path(place).relative_to(folder).as_posix())
        folders[:] = [name for name in folders if not name.startswith(".")]
        if TILES in here.parts or here.parts[:1] == (TRANSFER_TILES,):
            found += [(here / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def identify(site: str, members: Iterable[Member]) -> str:
    """Return the identifier of a dataset: the same for the same files, and for no others."""
    lines = "".join(f"{member.sha256}  {member.path}\n" for member in in_order(members))
    return f"{site}-{hashlib.sha256(lines.encode()).hexdigest()[:HEX]}"


def entities(crate: bytes) -> dict[str, dict[str, Any]]:
    """Return what an RO-Crate describes, by identifier.

    Raises
    ------
    InputError
        When it is none.
    """
    try:
        return {str(one["@id"]): one for one in json.loads(crate)["@graph"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"archive: {CRATE} is not what `eemt crate` writes ({error!r})") from None


def raw_settings(about: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the configuration that a crate has, as it is written there; empty where it has none."""
    with contextlib.suppress(ValueError, TypeError):
        value = json.loads(about.get("#settings", {}).get("value", "{}"))
        if isinstance(value, dict):
            return value
    return {}


def settings_of(about: Mapping[str, Mapping[str, Any]]) -> Site | None:
    """Return the configuration that a crate has; None where this version of the program cannot read it."""
    try:
        site: Site = check_section(Site, raw_settings(about), "archive")
    except InputError:
        return None
    return site


def _instant(crate: Path, about: Mapping[str, Mapping[str, Any]]) -> int:
    text = str(about.get("./", {}).get("datePublished", ""))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"archive: {crate} has {text or 'nothing'} for datePublished, which is no time; "
            "make the crate again with `eemt crate`"
        ) from None
    seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if not 0 <= seconds < 2**33:  # what a tar of 1988 can hold
        raise InputError(f"archive: {crate} has {text} for datePublished; a time from 1970 to 2242 is allowed")
    return seconds
