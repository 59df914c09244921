"""Scrubbing: blocks on a storage read again and compared, a few each time, so that rot is found while it can be mended.

Nothing on the storage is ever changed, nor is anything made anew from what was read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import zstandard

from eemt.archive.areas import Area
from eemt.archive.bag import BLOCKS, MANIFEST, TAGMANIFEST
from eemt.archive.blocks import Block, Member, Packed, block_size
from eemt.archive.catalogue import Catalogue
from eemt.archive.entries import BlockEntry, Entry
from eemt.archive.errors import StorageError
from eemt.verification import Digest

BEGINNING = datetime.min.replace(tzinfo=UTC)
SLICE = 1024  # bytes that are decompressed at once; damaged ones may swell to more than anybody put in
NAMED = 20  # files of a block that are named, at most
END = 2 * tarfile.BLOCKSIZE  # bytes of zeros, a tar archive's end


class Fault(NamedTuple):
    """Something on a storage that is not as it was written: in which dataset, block and file, and what."""

    dataset: str
    block: str | None
    file: str | None
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class Tags(NamedTuple):
    """What came of reading a bag's own files: faults, how many were read, and the list of files, if it is right."""

    faults: list[Fault]
    read: int
    files: bytes | None


class Found(NamedTuple):
    """What came of looking at a dataset: how many blocks of how many, how many bytes, and what was wrong."""

    dataset: str
    read: int
    blocks: int
    bytes: int
    faults: tuple[Fault, ...]


def sample(blocks: Mapping[str, Sequence[BlockEntry]], percent: float) -> dict[str, list[BlockEntry]]:
    """Choose some of the blocks of several datasets, those first that were not looked at for longest.

    Parameters
    ----------
    blocks : mapping
        Of each dataset.
    percent : float
        Of all blocks; of each dataset at least one is chosen.
    """
    waiting = sorted(
        ((block.read_at or BEGINNING, dataset, block) for dataset, some in blocks.items() for block in some),
        key=lambda one: (one[0], one[1], one[2].name),
    )
    wanted = math.ceil(len(waiting) * percent / 100)
    chosen: dict[str, list[BlockEntry]] = {dataset: [] for dataset in blocks}
    later = []
    for _, dataset, block in waiting:
        if chosen[dataset]:
            later.append((dataset, block))
        else:
            chosen[dataset].append(block)
    left = max(wanted - (len(waiting) - len(later)), 0)
    for dataset, block in later[:left]:
        chosen[dataset].append(block)
    return chosen


def scrub(
    catalogue: Catalogue, open_storage: Callable[[], Area], entry: Entry, chosen: Collection[BlockEntry]
) -> Found:
    """Look at an archived dataset: all its bag's own files, which blocks are there, and some blocks byte by byte.

    What is found stands in the catalogue when this returns, block by block. That the storage cannot be asked is a fault
    of the dataset too.

    Parameters
    ----------
    catalogue : Catalogue
    open_storage : callable
        Opens the area where the dataset is kept.
    entry : Entry
    chosen : collection of BlockEntry
        Blocks to be read.

    Raises
    ------
    StorageError
        When the catalogue cannot be used.
    """
    try:
        return _look(catalogue, open_storage(), entry, chosen)
    except StorageError as error:
        catalogue.event(entry.identifier, "verify", "not done", str(error))
        fault = Fault(entry.identifier, None, None, f"cannot be looked at: {error}")
        return Found(entry.identifier, 0, len(catalogue.blocks(entry.identifier)), 0, (fault,))


def _look(catalogue: Catalogue, area: Area, entry: Entry, chosen: Collection[BlockEntry]) -> Found:
    name = entry.identifier
    known = catalogue.blocks(name)
    there = {file.removeprefix(f"{name}/") for file in area.names(f"{name}/")}
    if not there:
        faults = [Fault(name, None, None, f"is not in {area.address}")]
        catalogue.scrubbed(name, [faults[0].what], f"nothing of it is in {area.address}")
        return Found(name, 0, len(known), 0, tuple(faults))
    tags = _read_tags(area, entry, there, known)
    wanted = {block.name for block in chosen}
    of_blocks: list[Fault] = []
    total = 0
    for block in known:
        packed = Packed(block.name, block.size, block.sha256)
        if block.name not in there:
            found, size = [Fault(name, block.name, None, "is missing")], 0
        elif block.name in wanted:
            found, size = _block_faults(area, entry, packed, tags.files)
        else:
            continue
        total += size
        if found:
            catalogue.block_faulty(name, packed, "; ".join(": ".join(filter(None, fault[2:])) for fault in found))
        else:
            catalogue.block_verified(name, packed)
        of_blocks += found
    read = sum(block.name in there for block in known if block.name in wanted)
    said = f"{read} of {len(known)} blocks and {tags.read} tag files read, {total} bytes"
    catalogue.scrubbed(name, [": ".join(filter(None, fault[1:])) for fault in tags.faults], said)
    return Found(name, read, len(known), total, (*tags.faults, *of_blocks))


def _read_tags(area: Area, entry: Entry, there: Collection[str], known: Sequence[BlockEntry]) -> Tags:
    """Compare all files of a bag but the blocks."""
    found: list[Fault] = []

    def wrong(file: str, what: str, block: str | None = None) -> None:
        found.append(Fault(entry.identifier, block, file, what))

    def read(file: str) -> bytes | None:
        try:
            content = b"".join(area.read(f"{entry.identifier}/{file}")) if file in there else None
        except StorageError as error:
            _still_there(area, f"{entry.identifier}/{file}")
            wrong(file, f"cannot be read: {error}")
            return None
        if content is None:
            wrong(file, "is missing")
        return content

    seal = read(TAGMANIFEST)
    sealed = seal is not None and _sha256(seal) == entry.tagmanifest_sha256
    if seal is not None and not sealed:
        sha256 = _sha256(seal)
        wrong(TAGMANIFEST, f"its SHA-256 is {sha256} instead of {entry.tagmanifest_sha256}, as the catalogue remembers")
    listed = _sums(seal or b"")
    files = None
    for file, wanted in listed.items():
        content = read(file)
        if content is None:
            continue
        if (sha256 := _sha256(content)) != wanted:
            wrong(file, f"its SHA-256 is {sha256} instead of {wanted}, as {TAGMANIFEST} says")
        elif file == BLOCKS:
            files = content if sealed else None
        elif file == MANIFEST:
            named = _sums(content)
            for block in known:
                if (other := named.pop(block.name, "none")) != block.sha256:
                    wrong(file, f"has the SHA-256 {other}, the catalogue remembers {block.sha256}", block.name)
            for other in named:
                wrong(file, "names a block that the catalogue does not know", other)
    blocks = {block.name for block in known}
    if seal is not None:
        for file in sorted(set(there) - listed.keys() - blocks - {TAGMANIFEST}):
            wrong(file, "belongs to no manifest")
    return Tags(found, len(listed.keys() & set(there)) + (seal is not None), files)


def _block_faults(area: Area, entry: Entry, packed: Packed, listed: bytes | None) -> tuple[list[Fault], int]:
    """Read a block and compare it; return what is wrong, file by file where that can be told, and the bytes read."""
    name = f"{entry.identifier}/{packed.name}"
    try:
        found = _digest(area.read(name))
        if found == (packed.sha256, packed.size):
            return [], found.size
        files = None if listed is None else _damaged_files(area, entry, packed.name, listed)
    except StorageError as error:
        _still_there(area, name)
        return [Fault(entry.identifier, packed.name, None, f"cannot be read: {error}")], 0
    if files:
        named: list[tuple[str | None, str]] = [*files[:NAMED]]
        if more := len(files[NAMED:]):
            named.append((None, f"and {more} files more"))
    else:
        sizes = f", its size {found.size} bytes instead of {packed.size}" if found.size != packed.size else ""
        between = "" if files is None else "; its files are as they were, but not what stands between them"
        named = [(None, f"its SHA-256 is {found.sha256} instead of {packed.sha256}{sizes}{between}")]
    return [Fault(entry.identifier, packed.name, file, what) for file, what in named], found.size


def _still_there(area: Area, name: str) -> None:
    """Raise what is raised where the whole storage cannot be asked, and not only a file of it be read."""
    area.size(name)


def _damaged_files(area: Area, entry: Entry, name: str, listed: bytes) -> list[tuple[str, str]]:
    """Return which files of a damaged block are damaged, by the bag's list of files."""
    rows = csv.DictReader(io.StringIO(listed.decode(), newline=""))
    members = [Member(row["path"], int(row["size"]), row["sha256"]) for row in rows if row["block"] == name]
    block = Block(name, tuple(members))
    pieces: Iterable[bytes] = area.read(f"{entry.identifier}/{name}")
    return damaged_files(_plain(pieces) if block.compression == "zstd" else pieces, entry.site, block)


def damaged_files(pieces: Iterable[bytes], site: str, block: Block) -> list[tuple[str, str]]:
    """Return the files of an uncompressed block that are not as they were packed, and why.

    Files lie where their sizes say, whatever stands between them.
    """
    flow = _Flow(pieces)
    found = []
    for number, member in enumerate(block.members):
        padding = -member.size % tarfile.BLOCKSIZE
        header = block_size(site, Block(block.name, (member,))) - END - member.size - padding
        flow.skip(header)
        sha256 = hashlib.sha256()
        for part in flow.take(member.size):
            sha256.update(part)
        if flow.ended:
            rest = len(block.members) - number - 1
            found.append(
                (member.path, f"cannot be read to its end{f', nor the {rest} files after it' if rest else ''}")
            )
            return found
        if sha256.hexdigest() != member.sha256:
            found.append((member.path, f"its SHA-256 is {sha256.hexdigest()} instead of {member.sha256}"))
        flow.skip(padding)
    return found


class _Flow:
    """Pieces taken by number of bytes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")
        self.ended = False  # before all that was asked for

    def take(self, size: int) -> Iterator[memoryview]:
        """Yield so many bytes, as they come, or fewer at the end."""
        while size and not self.ended:
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part
            if size:
                piece = next(self._pieces, None)
                self.ended = piece is None
                self._rest = memoryview(piece or b"")

    def skip(self, size: int) -> None:
        """Leave out so many bytes."""
        for _ in self.take(size):
            pass


def _plain(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what was compressed, as far as it can be decompressed."""
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    try:
        for piece in pieces:
            for start in range(0, len(piece), SLICE):
                if unpacker.eof:
                    return
                yield unpacker.decompress(piece[start : start + SLICE])
    except zstandard.ZstdError:
        return


def _digest(pieces: Iterable[bytes]) -> Digest:
    sha256, size = hashlib.sha256(), 0
    for piece in pieces:
        sha256.update(piece)
        size += len(piece)
    return Digest(sha256.hexdigest(), size)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sums(content: bytes) -> dict[str, str]:
    """Return checksums by name, of lines that have one."""
    lines = content.decode("utf-8", "replace").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[1]: pair[0].lower() for pair in pairs if len(pair) == 2}
