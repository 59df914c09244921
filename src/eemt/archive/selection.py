"""Which files of a dataset are wanted: by product, year and tile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from eemt.archive.blocks import Block, Member
from eemt.errors import InputError


@dataclass(frozen=True)
class Selection:
    """What is wanted; of each kind any of the values, and of all kinds that have some.

    Parameters
    ----------
    products : sequence of str
        A folder of the site, such as maps, or the beginning of a file's name, up to a _ or its ending: eemt_topo.
    years : sequence of str
        As they stand in names: 2003, 1971-2000, mean.
    tiles : sequence of str
        Such as r000c001.
    """

    products: Sequence[str] = ()
    years: Sequence[str] = ()
    tiles: Sequence[str] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing was chosen."""
        return not (self.products or self.years or self.tiles)

    def takes(self, path: str) -> bool:
        """Whether a file is wanted, by its path within the site's folder."""
        place = PurePosixPath(path)
        stem = place.name.partition(".")[0]
        return (
            _any(self.products, lambda word: word in place.parts[:-1] or _begins(stem, word) or word == place.name)
            and _any(self.years, lambda word: re.search(rf"(^|_){re.escape(word)}(_|$)", stem) is not None)
            and _any(self.tiles, lambda word: word in place.parts[:-1] or stem == word)
        )

    def of(self, blocks: Iterable[Block]) -> dict[str, list[Member]]:
        """Return the files that are wanted, by the block that they are in.

        Raises
        ------
        InputError
            When there are none.
        """
        found = {block.name: [member for member in block.members if self.takes(member.path)] for block in blocks}
        found = {name: members for name, members in found.items() if members}
        if not found:
            asked = {"product": self.products, "year": self.years, "tile": self.tiles}
            words = ", ".join(f"{kind} {' or '.join(values)}" for kind, values in asked.items() if values)
            raise InputError(f"retrieve: the dataset has no file of {words}; metadata/blocks.csv in its bag lists all")
        return found


def _any(words: Sequence[str], holds: Callable[[str], bool]) -> bool:
    return not words or any(holds(word) for word in words)


def _begins(stem: str, word: str) -> bool:
    return stem == word or stem.startswith(f"{word}_")
