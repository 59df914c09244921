"""What is written to areas, and a program that is killed in the middle of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from eemt.archive.areas import PIECE

KILLED_WRITER = """
import sys, time
from eemt.archive.areas import open_area

def pieces():
    for _ in range(40):
        yield bytes(1 << 20)
    print("half", flush=True)
    time.sleep(600)

open_area(sys.argv[1]).put("set/data/0001.tar", pieces(), 80 << 20)
"""


def content_of(size: int) -> Iterator[bytes]:
    """Yield bytes that differ from place to place."""
    block = hashlib.sha256(b"eemt").digest() * (PIECE // 32)
    done = 0
    while done < size:
        piece = done.to_bytes(8, "big") + block[8:]
        yield piece[: size - done]
        done += len(piece)
