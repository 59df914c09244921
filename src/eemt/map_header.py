"""What a map says of itself: its grid, its tags, and the names and statistics of its bands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import grid_of, open_raster

NEEDED = ("TITLE", "UNITS", "VARIABLE", "METHOD", "YEAR", "YEARS", "CREATED")
UNITS = re.compile(r"band 1 (?P<year>.+), bands 2 to 13 (?P<month>.+)")


@dataclass(frozen=True)
class MapHeader:
    """The header of a map.

    Attributes
    ----------
    tags : mapping
        Of the file, see docs/outputs.md.
    bands : list of (str, mapping)
        Description and tags of each.
    optimised : bool
        Whether the file is laid out for the cloud.
    """

    path: Path
    grid: Grid
    tags: Mapping[str, str]
    bands: list[tuple[str, Mapping[str, str]]]
    optimised: bool

    @property
    def units(self) -> tuple[str, str]:
        """Of the year in band 1 and of the months in the others."""
        found = UNITS.fullmatch(self.tags["UNITS"])
        return (found["year"], found["month"]) if found else ("", "")


def read_header(path: Path, what: str) -> MapHeader:
    """Read the header of a map that `eemt maps` or `eemt mosaic` wrote.

    Raises
    ------
    InputError
        When it is missing or lacks the tags of a map; the message begins with `what`.
    """
    with open_raster(path, what) as source:
        grid, tags = grid_of(source, what, least=1), source.tags()
        bands = [(source.descriptions[number - 1] or "", source.tags(number)) for number in source.indexes]
        optimised = source.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    missing = [name for name in NEEDED if name not in tags]
    if missing:
        raise InputError(f"{what}: {path} has no tag {missing[0]}; make it again with `eemt maps`")
    return MapHeader(path, grid, tags, bands, optimised)
