"""Whether a storage has room for a dataset, with what other datasets on their way there will take."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from eemt.archive.areas import Area, Space
from eemt.archive.errors import StorageError
from eemt.raster import whole_or_nothing

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 10.0
FORGOTTEN_SECONDS = 7 * 86400.0  # after which a dataset that is not finished holds no room any more
GB = 1e9


def wait_for_room(
    storage: Area, needed: int, reserved: int, least_percent: float, capacity_gb: float | None, hours: float
) -> None:
    """Return when a storage has room, or say why it has none.

    Parameters
    ----------
    storage : Area
    needed : int
        Bytes that will be written.
    reserved : int
        Bytes that others will still write.
    least_percent : float
        Part of the storage that must be left then [%].
    capacity_gb : float, optional
        Its size, where it does not tell [GB].
    hours : float
        How long to wait for room [h].

    Raises
    ------
    StorageError
        With the figures, when there is no room.
    """
    until = time.monotonic() + hours * 3600
    while True:
        space = room(storage, capacity_gb)
        if space is None:
            LOG.warning(
                "%s does not tell how much space it has; set archive.capacity_gb to have it checked", storage.address
            )
            return
        left = space.free - reserved - needed
        if left >= space.total * least_percent / 100:
            return
        figures = (
            f"{storage.address} has {space.free / GB:.3g} GB free of {space.total / GB:.3g} GB; the dataset takes "
            f"{needed / GB:.3g} GB and others on their way {reserved / GB:.3g} GB, which would leave "
            f"{100 * left / space.total:.3g} % where archive.min_free_percent wants {least_percent:g} %"
        )
        if time.monotonic() >= until:
            raise StorageError("full", f"archive: no room: {figures}")
        LOG.info("waits for room: %s", figures)
        time.sleep(min(LOOK_SECONDS, max(until - time.monotonic(), 0.1)))


def room(storage: Area, capacity_gb: float | None) -> Space | None:
    """Return the size of a storage and what is free of it, as it tells or as its capacity and files say."""
    told = storage.space()
    if told is not None or capacity_gb is None:
        return told
    total = int(capacity_gb * GB)
    return Space(total, max(total - storage.used(), 0))


def reserve(locks: Path, identifier: str, storage: Area, bytes_left: int) -> None:
    """Note what a dataset will still write to a storage; nothing left lets the note go."""
    path = _note(locks, identifier)
    if not bytes_left:
        path.unlink(missing_ok=True)
        return
    with whole_or_nothing(path) as partial:
        partial.write_text(json.dumps({"address": storage.address, "bytes": bytes_left}), encoding="utf-8")


def reserved_by_others(locks: Path, identifier: str, storage: Area) -> int:
    """Return the bytes that other datasets will still write to a storage."""
    return sum(_notes(locks, identifier, storage))


def _notes(locks: Path, identifier: str, storage: Area) -> Iterator[int]:
    for path in locks.glob("room-*.json"):
        if path == _note(locks, identifier):
            continue
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
            forgotten = time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS
        except (OSError, ValueError):
            continue  # given back meanwhile
        if note.get("address") == storage.address and not forgotten:
            yield int(note["bytes"])


def _note(locks: Path, identifier: str) -> Path:
    return locks / f"room-{identifier}.json"
