"""Bytes passed on that are all right, or not whole: nobody who is given wrong ones can finish a copy of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator


class DifferentError(Exception):
    """What was read is not what was written; the message has both sizes and checksums."""


def exactly(pieces: Iterable[bytes], size: int, sha256: str) -> Iterator[bytes]:
    """Pass on the bytes of a file, the last piece only when all are known to be right.

    Parameters
    ----------
    pieces : iterable of bytes
    size : int
        That the file must have [bytes].
    sha256 : str
        That it must have.

    Raises
    ------
    DifferentError
        At the end, in the place of the last piece.
    """
    total, count = hashlib.sha256(), 0
    held = b""
    for piece in pieces:
        total.update(piece)
        count += len(piece)
        if held:
            yield held
        held = piece
    if (count, total.hexdigest()) != (size, sha256):
        raise DifferentError(f"{count} bytes, SHA-256 {total.hexdigest()}, instead of {size}, {sha256}")
    yield held
