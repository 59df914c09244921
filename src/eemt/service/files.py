"""Sending what does not fit into memory: files and archives, whole or in part, taken up again where it broke off."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from eemt.service.problems import Problem

PIECE = 262_144  # bytes that are read and sent at once
RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})")


@dataclass(frozen=True)
class Body:
    """What is sent.

    Attributes
    ----------
    size : int
        [bytes].
    etag : str
        Changes with the content; with its quotes.
    modified : float
        [s since 1970].
    read : callable
        Yields the bytes from one place up to another.
    """

    size: int
    etag: str
    modified: float
    read: Callable[[int, int], Iterator[bytes]]


def file_body(path: Path) -> Body:
    """Make a body of a file."""
    stat = path.stat()
    return Body(stat.st_size, etag_of(path.name, stat), stat.st_mtime, lambda start, end: read_file(path, start, end))


def etag_of(*parts: object) -> str:
    """Return an ETag that stands for some facts, such as names, and of files their size and when they were written."""
    facts = [(part.st_size, part.st_mtime_ns) if isinstance(part, os.stat_result) else part for part in parts]
    return f'"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'


def read_file(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a file from one place up to another.

    Raises
    ------
    OSError
        When it has become shorter.
    """
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            piece = file.read(min(PIECE, end - start))
            if not piece:
                raise OSError(f"{path} has become shorter while it was sent")
            start += len(piece)
            yield piece


def send(request: Request, body: Body, media_type: str, headers: dict[str, str]) -> Response:
    """Answer a request with a body, or with the part of it that is asked for (RFC 9110, 13 and 14).

    Raises
    ------
    Problem
        When the part lies beyond the end.
    """
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": body.etag,
        "Last-Modified": _date(body.modified),
        "Cache-Control": "private, no-cache",
        **headers,
    }
    if is_known(request, body.etag, body.modified):
        return Response(status_code=304, headers=headers)
    start, end = 0, body.size
    part = _part(request, body)
    if part is not None:
        start, end = part
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{body.size}"
    headers["Content-Length"] = str(end - start)
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(body.read(start, end), status, headers, media_type)


def is_known(request: Request, etag: str, modified: float | None = None) -> bool:
    """Tell whether who asks has the same already."""
    if (known := request.headers.get("If-None-Match")) is not None:
        return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in known.split(","))
    since = _parsed(request.headers.get("If-Modified-Since"))
    return since is not None and modified is not None and int(modified) <= since


def _part(request: Request, body: Body) -> tuple[int, int] | None:
    """Return the first byte that is asked for and the one after the last; None where all is wanted."""
    asked = request.headers.get("Range")
    # several ranges at once may be answered with the whole
    found = RANGE.fullmatch(asked.strip()) if asked else None
    if found is None or not (found["first"] or found["last"]) or request.method not in {"GET", "HEAD"}:
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and condition != body.etag and _parsed(condition) != int(body.modified):
        return None
    if found["first"]:
        start = int(found["first"])
        end = min(int(found["last"]) + 1, body.size) if found["last"] else body.size
        if found["last"] and int(found["last"]) < start:
            return None
    else:
        start, end = max(0, body.size - int(found["last"])), body.size
    if start >= end:
        raise Problem(
            "range-not-satisfiable",
            f"Range: {asked} lies beyond the end; there are {body.size} bytes.",
            headers={"Content-Range": f"bytes */{body.size}"},
        )
    return start, end


def disposition(name: str, inline: bool = False) -> str:
    """Write the header by which a browser saves a file under its name, or shows it."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def _parsed(date: str | None) -> int | None:
    try:
        return None if date is None else int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None
