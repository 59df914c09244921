"""Choosing files of a dataset by product, year and tile."""

from __future__ import annotations

import pytest

from eemt.archive.blocks import Block, Member
from eemt.archive.selection import Selection
from eemt.errors import InputError

PATHS = (
    "climate/climate.nc",
    "dem/dem.tif",
    "eemt/r000c001.nc",
    "maps/eemt_topo_1971-2000.tif",
    "maps/eemt_topo_2001.tif",
    "maps/eemt_topo_mean.qml",
    "maps/eemt_topo_mean.tif",
    "maps/eemt_topographic_2001.tif",
    "maps/eppt_trad_2001.tif",
    "maps/eppt_trad_2012.tif",
    "ridge~case/maps/eemt_topo_2001.tif",
    "summary.csv",
    "sun/tiles/r000c000/global.tif",
    "sun/tiles/r000c001/global.tif",
    "terrain/slope.tif",
)
BLOCKS = [
    Block("data/0001.tar", tuple(Member(path, 1, "") for path in PATHS[:7])),
    Block("data/0002.tar", tuple(Member(path, 1, "") for path in PATHS[7:])),
]


def chosen(**kinds: tuple[str, ...]) -> set[str]:
    return {member.path for members in Selection(**kinds).of(BLOCKS).values() for member in members}


def test_nothing_chosen_is_everything() -> None:
    assert chosen() == set(PATHS) and Selection().is_everything


@pytest.mark.parametrize(
    ("kinds", "paths"),
    [
        ({"products": ("sun",)}, PATHS[12:14]),
        ({"products": ("eemt_topo",)}, (*PATHS[3:7], PATHS[10])),
        ({"products": ("summary.csv", "slope")}, (PATHS[11], PATHS[14])),
        ({"years": ("2001",)}, (PATHS[4], PATHS[7], PATHS[8], PATHS[10])),
        ({"years": ("1971-2000",)}, (PATHS[3],)),
        ({"years": ("1971",)}, ()),
        ({"years": ("mean", "2012")}, (PATHS[5], PATHS[6], PATHS[9])),
        ({"tiles": ("r000c001",)}, (PATHS[2], PATHS[13])),
        ({"products": ("eppt",), "years": ("2001",)}, (PATHS[8],)),
        ({"products": ("sun",), "tiles": ("r000c000",)}, (PATHS[12],)),
        ({"products": ("ridge~case",)}, (PATHS[10],)),
    ],
)
def test_any_of_a_kind_and_all_kinds(kinds: dict[str, tuple[str, ...]], paths: tuple[str, ...]) -> None:
    selection = Selection(**kinds)
    assert {path for path in PATHS if selection.takes(path)} == set(paths)


def test_only_blocks_that_hold_something_wanted_are_named() -> None:
    assert list(Selection(tiles=("r000c000",)).of(BLOCKS)) == ["data/0002.tar"]


def test_what_nothing_matches_is_told_in_its_own_words() -> None:
    with pytest.raises(InputError, match=r"no file of product eemt or sun, year 1999; metadata/blocks\.csv"):
        Selection(products=("eemt", "sun"), years=("1999",)).of(BLOCKS)
