"""All results of a job as one tar archive, written while it is sent, from any place on.

What stands where in it follows from names and sizes alone, so that a download that broke off goes on without reading
what was before. Its first member is SHA256SUMS: `sha256sum -c SHA256SUMS` in the folder checks what was received.
"""

from __future__ import annotations

import bisect
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from eemt.inventory import CRATE
from eemt.raster import whole_or_nothing
from eemt.service.files import Body, etag_of, read_file
from eemt.service.results import Result, listed
from eemt.verification import digests

SUMS = "SHA256SUMS"
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)


@dataclass(frozen=True)
class Segment:
    """Some bytes of the archive: known ones, or those of a file."""

    start: int
    size: int
    content: bytes | Path


def bundle(place: Path, name: str, remembered: Path) -> Body:
    """Describe the archive of some results.

    Parameters
    ----------
    place : path
        Folder of the results.
    name : str
        Of the folder in the archive.
    remembered : path
        File in which checksums are kept that had to be computed.
    """
    files = listed(place)
    newest = max((file.modified for file in files), default=0.0)
    sums = "".join(
        f"{sum_}  {file.path}\n" for file, sum_ in zip(files, checksums(place, files, remembered), strict=True)
    )
    segments, size = _lay_out(place, name, files, sums.encode(), newest)
    starts = [segment.start for segment in segments]

    def read(start: int, end: int) -> Iterator[bytes]:
        first = bisect.bisect_right(starts, start) - 1
        for segment in segments[first:]:
            if segment.start >= end:
                return
            begin, stop = max(start - segment.start, 0), min(end - segment.start, segment.size)
            if isinstance(segment.content, bytes):
                yield segment.content[begin:stop]
            else:
                yield from _unchanged(segment, begin, stop)

    return Body(size, etag_of(name, sums, *files), newest, read)


def _lay_out(place: Path, name: str, files: Sequence[Result], sums: bytes, newest: float) -> tuple[list[Segment], int]:
    segments: list[Segment] = []
    size = 0

    def add(length: int, content: bytes | Path) -> None:
        nonlocal size
        if length:
            segments.append(Segment(size, length, content))
            size += length

    members: list[tuple[str, int, float, bytes | Path]] = [(SUMS, len(sums), newest, sums)]
    members += [(file.path, file.bytes, file.modified, place / file.path) for file in files]
    for path, length, modified, content in members:
        header = _header(f"{name}/{path}", length, modified)
        add(len(header), header)
        add(length, content)
        padding = -length % BLOCK
        add(padding, bytes(padding))
    add(len(END), END)
    return segments, size


def _header(path: str, size: int, modified: float) -> bytes:
    member = tarfile.TarInfo(path)
    member.size, member.mtime, member.mode = size, int(modified), 0o644
    # of GNU, which every tar reads: long names and files of any size
    return member.tobuf(tarfile.GNU_FORMAT)


def _unchanged(segment: Segment, start: int, end: int) -> Iterator[bytes]:
    """Yield a file's bytes, unless its size is no longer that of the header before it."""
    assert isinstance(segment.content, Path)
    if segment.content.stat().st_size != segment.size:
        raise OSError(f"{segment.content} has changed while it was sent")
    yield from read_file(segment.content, start, end)


def checksums(place: Path, files: Sequence[Result], remembered: Path) -> list[str]:
    """Return the SHA-256 of files: from the RO-Crate as far as it knows them as they are, else computed once.

    Parameters
    ----------
    place : path
        Folder of the results.
    files : sequence of Result
    remembered : path
        Where those are kept that had to be computed.
    """
    known = _of_crate(place, files) | _of_before(remembered, files)
    missing = [file for file in files if file.path not in known]
    if missing:
        made = digests((place / file.path for file in missing), 1)
        known |= {file.path: digest.sha256 for file, digest in zip(missing, made, strict=True)}
        keep = {file.path: [file.bytes, file.modified, known[file.path]] for file in files}
        with whole_or_nothing(remembered) as partial:
            partial.write_text(json.dumps(keep), encoding="utf-8")
    return [known[file.path] for file in files]


def _of_crate(place: Path, files: Sequence[Result]) -> dict[str, str]:
    """Return the checksums in the RO-Crate of the files that it is not older than."""
    path = place / CRATE
    told = _json(path)
    graph = told.get("@graph") if isinstance(told, dict) else None
    if not isinstance(graph, list):
        return {}
    written = path.stat().st_mtime
    entities = {unquote(str(entity.get("@id"))): entity for entity in graph if isinstance(entity, dict)}
    known = {}
    for file in files:
        entity = entities.get(file.path, {})
        if entity.get("sha256") and entity.get("contentSize") == str(file.bytes) and file.modified <= written:
            known[file.path] = str(entity["sha256"])
    return known


def _of_before(remembered: Path, files: Sequence[Result]) -> dict[str, str]:
    """Return the checksums that were computed before, of files that have not changed since."""
    kept = _json(remembered)
    if not isinstance(kept, dict):
        return {}
    return {
        file.path: kept[file.path][2] for file in files if kept.get(file.path, [])[:2] == [file.bytes, file.modified]
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
