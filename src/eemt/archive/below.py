"""A folder within a place for files, as a place of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eemt.archive.areas import Area, Space


class Below:
    """What of an area lies below a folder, names being counted from there.

    Parameters
    ----------
    area : Area
    folder : str
        Its name in the area.
    """

    def __init__(self, area: Area, folder: str) -> None:
        self.area = area
        self.folder = folder
        self.address = f"{area.address.rstrip('/')}/{folder}"

    def put(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write a file whole or not at all."""
        self.area.put(self._inside(name), pieces, size)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes."""
        return self.area.read(self._inside(name))

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None where it is absent."""
        return self.area.size(self._inside(name))

    def names(self, prefix: str = "") -> list[str]:
        """List the files, sorted."""
        return [name.removeprefix(f"{self.folder}/") for name in self.area.names(self._inside(prefix))]

    def remove(self, name: str) -> None:
        """Remove a file; one that is absent is fine."""
        self.area.remove(self._inside(name))

    def remove_all(self) -> None:
        """Remove all files, and what killed writers left."""
        self.clear_leftovers()
        for name in self.names():
            self.remove(name)

    def clear_leftovers(self, prefix: str = "") -> None:
        """Remove what killed writers left."""
        self.area.clear_leftovers(self._inside(prefix))

    def space(self) -> Space | None:
        """Return the space of the whole area."""
        return self.area.space()

    def used(self) -> int:
        """Return the bytes of all files of the whole area."""
        return self.area.used()

    def link(self, name: str, seconds: int) -> str | None:
        """Return an address at which a file can be had for some time, where there is one."""
        return self.area.link(self._inside(name), seconds)

    def _inside(self, name: str) -> str:
        return f"{self.folder}/{name}"
