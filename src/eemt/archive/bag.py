"""The bag: how a dataset lies on the storage, as BagIt 1.0 (RFC 8493), so that anyone can read it without this program.

Blocks are its payload. All else in it is written here: checksums of the blocks and of the files in them, the record in
several forms, and instructions for a person with a shell. The tag manifest, which has the checksums of all that, is
written last; a folder without it is no finished dataset.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shlex
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import bagit
from pydantic import ValidationError

from eemt.archive.blocks import Block, Member, Packed, check_path
from eemt.archive.compression import unwritable
from eemt.archive.dataset import identify
from eemt.archive.errors import StorageError
from eemt.errors import InputError
from eemt.inventory import CRATE

if TYPE_CHECKING:
    from eemt.archive.record import Record

BAGIT = "bagit.txt"
INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAGMANIFEST = "tagmanifest-sha256.txt"
README = "README.txt"
RECORD = "metadata/record.json"
SUMS = "metadata/files-sha256.txt"
BLOCKS = "metadata/blocks.csv"
DATABLOCKS = "metadata/datablocks.csv"
DATACITE = "metadata/datacite.json"
COLLECTION = "metadata/collection.json"
CONFIG = "metadata/config.json"
CRATE_COPY = f"metadata/{CRATE}"
# all that a bag has beside its blocks, but for the tag manifest
TAG_FILES = (
    *(BAGIT, INFO, MANIFEST, README, BLOCKS, COLLECTION, CONFIG),
    *(DATABLOCKS, DATACITE, SUMS, RECORD, CRATE_COPY),
)
BLOCKS_HEADER = ["path", "size", "sha256", "block"]
DATABLOCKS_HEADER = ["block", "size", "sha256", "files"]
BAGGED = "Bagging-Time"  # beside BagIt's own Bagging-Date, which is a day

# bagit changes the folder of the process while it saves; of this program nothing else may call it
_SAVING = threading.Lock()


class Source(Protocol):
    """What of an area a bag is read from."""

    address: str

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes."""

    def size(self, name: str) -> int | None:
        """Return a file's size, None where it is absent."""


@dataclass(frozen=True)
class Bag:
    """A dataset on a storage, without its blocks' bytes.

    Attributes
    ----------
    record : Record
    blocks : tuple of Block
    packed : tuple of Packed
        The same blocks as they are stored.
    tag_files : mapping
        Contents of all other files by name, the tag manifest last.
    bagged : str
        When the bag was finished.
    """

    record: Record
    blocks: tuple[Block, ...]
    packed: tuple[Packed, ...]
    tag_files: Mapping[str, bytes]
    bagged: str

    @property
    def tagmanifest(self) -> str:
        """SHA-256 of the tag manifest, and so of all that the bag says."""
        return hashlib.sha256(self.tag_files[TAGMANIFEST]).hexdigest()


def write_bag(
    folder: Path, record: Record, blocks: Sequence[Block], packed: Sequence[Packed], source: Path, bagged: str
) -> str:
    """Write all files of a bag but its blocks into a folder, and return the SHA-256 of its tag manifest.

    The blocks are not read: their checksums are known from packing.

    Parameters
    ----------
    folder : path
        An empty one, or one that holds the blocks below ``data``.
    record : Record
    blocks : sequence of Block
    packed : sequence of Packed
        The same blocks as they are stored.
    source : path
        The site's folder, whose crate is copied.
    bagged : str
        Time for the bag, as in ISO 8601.

    Raises
    ------
    InputError
        When the crate is no longer that of the dataset.
    StorageError
        When the folder cannot be written.
    """
    contents = _contents(record, blocks, packed, _crate(source, blocks))
    try:
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        _save(folder, _info(record, packed, bagged))
        return hashlib.sha256((folder / TAGMANIFEST).read_bytes()).hexdigest()
    except bagit.BagError as error:
        raise StorageError("denied", f"archive: {folder} does not take a bag ({error})") from None
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise unwritable(folder, error) from None


def _save(folder: Path, info: Mapping[str, str]) -> None:
    """Let bagit write bag-info.txt and the tag manifest; not at once with threads that name files relatively.

    It lists the files in the order in which the folder has them; they are sorted here, so that the same bag has the
    same bytes, and put as `sha256sum --check` reads them in all its versions.
    """
    with _SAVING:
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            bag = bagit.Bag(str(folder.absolute()))
            bag.info.update(info)
            bag.save()
        finally:
            os.fchdir(here)
            os.close(here)
    path = folder / TAGMANIFEST
    lines = sorted(line.split(maxsplit=1)[::-1] for line in path.read_text(encoding="utf-8").splitlines())
    path.write_text("".join(f"{sha256}  {name}\n" for name, sha256 in lines if name in {*TAG_FILES}), encoding="utf-8")


def _crate(source: Path, blocks: Sequence[Block]) -> bytes:
    path = source / CRATE
    try:
        crate = path.read_bytes()
    except OSError as error:
        raise InputError(f"archive: {path} cannot be read ({error.strerror}); bring it back") from None
    known = {member.sha256 for block in blocks for member in block.members if member.path == CRATE}
    if known != {hashlib.sha256(crate).hexdigest()}:
        raise InputError(f"archive: {path} has changed since the dataset was packed; archive it anew")
    return crate


def _contents(record: Record, blocks: Sequence[Block], packed: Sequence[Packed], crate: bytes) -> dict[str, bytes]:
    """Return what stands in the tag files, but for those that bagit writes."""
    from eemt.archive.record import collection, datacite  # loads xarray and Matplotlib, of no use to most commands

    files = [(member, block.name) for block in blocks for member in block.members]
    counts = {block.name: len(block.members) for block in blocks}
    texts = {
        BAGIT: "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        MANIFEST: "".join(f"{one.sha256}  {one.name}\n" for one in packed),
        README: _readme(record, blocks),
        RECORD: _json(record.model_dump(mode="json")),
        SUMS: "".join(f"{member.sha256}  {record.site}/{member.path}\n" for member, _ in files),
        BLOCKS: _table(BLOCKS_HEADER, ((*member[:2], member.sha256, name) for member, name in files)),
        DATABLOCKS: _table(DATABLOCKS_HEADER, ((one.name, one.size, one.sha256, counts[one.name]) for one in packed)),
        DATACITE: _json(datacite(record)),
        COLLECTION: _json(collection(record, blocks, packed)),
        CONFIG: _json(record.settings),
    }
    return {name: text.encode() for name, text in texts.items()} | {CRATE_COPY: crate}


def _json(value: Any) -> str:
    return f"{json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)}\n"


def _table(header: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _info(record: Record, packed: Sequence[Packed], bagged: str) -> dict[str, str]:
    known = {
        "Source-Organization": record.publisher,
        "Contact-Email": record.contact,
        "External-Description": record.description or record.title,
        "External-Identifier": record.identifier,
        "Internal-Sender-Identifier": record.site,
        "Bagging-Date": bagged[:10],
        BAGGED: bagged,
        "Payload-Oxum": f"{sum(one.size for one in packed)}.{len(packed)}",
        "Bag-Software-Agent": f"{record.program} with bagit {bagit.VERSION}",
    }
    # a value is one line
    return {name: " ".join(value.split()) for name, value in known.items() if value}


def _readme(record: Record, blocks: Sequence[Block]) -> str:
    """Word how files are got back with what every Unix has."""
    block, member = _example(blocks)
    path = shlex.quote(f"{record.site}/{member.path}")
    zstd = block.compression == "zstd"
    one = f"zstd -dc {block.name} | tar -xf - {path}" if zstd else f"tar -xf {block.name} {path}"
    packages = "one tar archive" if len(blocks) == 1 else f"{len(blocks)} tar archives"
    ending = "tar.zst" if zstd else "tar"
    each = 'zstd -dc "$block" | tar -xf -' if zstd else 'tar -xf "$block"'
    needs = "tar, zstd, grep and sha256sum" if zstd else "tar, grep and sha256sum"
    return f"""{record.title}
{record.identifier}

{record.description}

This folder is a bag after BagIt 1.0 (RFC 8493). Its files are packed in {packages} below data/.
No special program is needed to get them back: {needs} will do.
On macOS, `shasum -a 256` stands for `sha256sum`.

What is where
  data/                       archives with all files: {record.files} files, {record.bytes} bytes
  manifest-sha256.txt         checksums of the archives
  tagmanifest-sha256.txt      checksums of all other files here
  metadata/blocks.csv         which file is in which archive
  metadata/datablocks.csv     the archives with their sizes
  metadata/files-sha256.txt   checksums of the files in the archives
  metadata/record.json        what is known of the dataset: place, years, methods, settings, versions, sources
  metadata/config.json        the settings that it was made with
  metadata/datacite.json      the same as metadata of DataCite
  metadata/collection.json    the same as a STAC collection
  metadata/ro-crate-metadata.json  RO-Crate: which program made which file of which input

All commands are for a copy of this folder, and are typed in it.

1. See that nothing has changed since it was archived
     sha256sum -c tagmanifest-sha256.txt manifest-sha256.txt
   Each line must end in OK.

2. Get one file back, such as {member.path}
     grep -F {shlex.quote(member.path)} metadata/blocks.csv
   names the archive that it is in, here {block.name}:
     {one}
     grep -F {shlex.quote(f"  {record.site}/{member.path}")} metadata/files-sha256.txt | sha256sum -c --ignore-missing
   It is then in the folder {record.site}. Maps are GeoTIFFs: band 1 is the year, bands 2 to 13 are its months.

3. Get all files back
     for block in data/*.{ending}; do {each}; done
     sha256sum -c --quiet metadata/files-sha256.txt
   No further line means that every file is as it was archived.
"""


def _example(blocks: Sequence[Block]) -> tuple[Block, Member]:
    """Choose a file to be shown: a map if there is one."""
    files = [(block, member) for block in blocks for member in block.members]
    wanted = ("maps/eemt_", "maps/", "sun/")
    chosen = (
        (block, member)
        for start in wanted
        for block, member in files
        if member.path.startswith(start) and member.path.endswith(".tif")
    )
    return next(chosen, files[0])


def read_bag(area: Source, identifier: str, tagmanifest: str | None = None) -> Bag:
    """Read a bag from a storage, all but its blocks, and see that every file is as it was written.

    Parameters
    ----------
    area : Area
    identifier : str
        Of the dataset, the bag's folder.
    tagmanifest : str, optional
        SHA-256 that its tag manifest must have, as a catalogue remembers it.

    Raises
    ------
    StorageError
        gone: when there is no finished bag, or a file of it is missing; corrupt: when a file is not as it was written.
    """
    place = f"{area.address.rstrip('/')}/{identifier}"
    if area.size(f"{identifier}/{TAGMANIFEST}") is None:
        raise StorageError("gone", f"archive: {place} is no finished dataset: it has no {TAGMANIFEST}")
    manifest = _content(area, identifier, TAGMANIFEST)
    if tagmanifest and hashlib.sha256(manifest).hexdigest() != tagmanifest:
        raise _corrupt(place, TAGMANIFEST, "it is not the one that was written when the dataset was archived")
    with _understood(place, TAGMANIFEST):
        known = _sums(manifest)
    if known.keys() != {*TAG_FILES}:
        strange = sorted(known.keys() ^ {*TAG_FILES})[0]
        raise _corrupt(place, TAGMANIFEST, f"{strange!a} should {'not ' * (strange in known)}be in it")
    contents = {name: _content(area, identifier, name) for name in TAG_FILES}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != known[name]:
            raise _corrupt(place, name, f"its SHA-256 is not the one in {TAGMANIFEST}")
    return _understand(place, identifier, contents | {TAGMANIFEST: manifest})


def check_block(area: Source, identifier: str, packed: Packed) -> None:
    """Read a block from a storage and compare it with its checksum.

    Raises
    ------
    StorageError
        gone: when it is missing; corrupt: when it is not as it was written.
    """
    total, size = hashlib.sha256(), 0
    for piece in area.read(f"{identifier}/{packed.name}"):
        total.update(piece)
        size += len(piece)
    place = f"{area.address.rstrip('/')}/{identifier}"
    if size != packed.size:
        raise _corrupt(place, packed.name, f"it has {size} bytes instead of {packed.size}")
    if total.hexdigest() != packed.sha256:
        raise _corrupt(place, packed.name, f"its SHA-256 is {total.hexdigest()} instead of {packed.sha256}")


def _content(area: Source, identifier: str, name: str) -> bytes:
    return b"".join(area.read(f"{identifier}/{name}"))


def _corrupt(place: str, name: str, why: str) -> StorageError:
    return StorageError("corrupt", f"archive: {place}/{name} is corrupt: {why}")


@contextlib.contextmanager
def _understood(place: str, name: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _corrupt(place, name, f"{where}: {first['msg']}") from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise _corrupt(place, name, f"it cannot be understood ({error})") from None


def _understand(place: str, identifier: str, contents: Mapping[str, bytes]) -> Bag:
    """Make a bag of its files' contents, which must agree with one another."""
    from eemt.archive.record import Record

    with _understood(place, RECORD):
        record = Record.model_validate_json(contents[RECORD])
        if record.identifier != identifier:
            raise ValueError(f"it is of {record.identifier}")
    with _understood(place, DATABLOCKS):
        rows = _rows(contents[DATABLOCKS], DATABLOCKS_HEADER)
        packed = tuple(Packed(name, int(size), sha256) for name, size, sha256, _ in rows)
    with _understood(place, MANIFEST):
        if _sums(contents[MANIFEST]) != {one.name: one.sha256 for one in packed}:
            raise ValueError(f"its checksums are not those in {DATABLOCKS}")
    with _understood(place, BLOCKS):
        blocks = _blocks(_rows(contents[BLOCKS], BLOCKS_HEADER))
        if [block.name for block in blocks] != [one.name for one in packed]:
            raise ValueError(f"its blocks are not those in {DATABLOCKS}")
        members = [member for block in blocks for member in block.members]
        found = identify(record.site, members)
        if found != identifier:
            raise ValueError(f"its files are those of {found}")
    with _understood(place, SUMS):
        if _sums(contents[SUMS]) != {f"{record.site}/{member.path}": member.sha256 for member in members}:
            raise ValueError(f"its checksums are not those in {BLOCKS}")
    with _understood(place, INFO):
        info = dict(line.split(": ", 1) for line in contents[INFO].decode().splitlines() if ": " in line)
        bagged = info[BAGGED]
    return Bag(record, blocks, packed, contents, bagged)


def _sums(content: bytes) -> dict[str, str]:
    """Read lines of checksums and names."""
    lines = [line.split("  ", 1) for line in content.decode().split("\n") if line]
    if any(len(line) != 2 for line in lines):
        raise ValueError("a line is no checksum and name")
    return {name: sha256 for sha256, name in lines}


def _rows(content: bytes, header: list[str]) -> list[list[str]]:
    first, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    if first != header or any(len(row) != len(header) for row in rows):
        raise ValueError(f"it has other columns than {', '.join(header)}")
    return rows


def _blocks(rows: Iterable[Sequence[str]]) -> tuple[Block, ...]:
    members: dict[str, list[Member]] = {}
    for path, size, sha256, name in rows:
        check_path(path)
        members.setdefault(name, []).append(Member(path, int(size), sha256))
    return tuple(Block(name, tuple(files)) for name, files in members.items())
