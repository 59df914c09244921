"""How maps are described in NetCDF files, by the CF conventions: their variables, and where their cells are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pyproj import CRS

from eemt.grid import Grid


@dataclass(frozen=True)
class Field:
    """An array, the names of its dimensions, and what is said of it."""

    values: npt.NDArray[Any]
    dims: tuple[str, ...]
    attrs: Mapping[str, Any]

    def along(self, *dims: str) -> npt.NDArray[np.float64]:
        """Return the values as float64 with their dimensions in this order."""
        return np.transpose(self.values, [self.dims.index(name) for name in dims]).astype(np.float64)


class Variable(NamedTuple):
    """What a tile of `eemt transfer` holds, or what follows from that."""

    meaning: str
    units: str  # of a year, without the year
    summed: bool  # whether months add up to the year


VARIABLES = {
    "eemt": Variable("effective energy and mass transfer", "MJ m-2", True),
    "ebio": Variable("energy of net primary production", "MJ m-2", True),
    "eppt": Variable("energy of effective precipitation", "MJ m-2", True),
    "pet": Variable("potential evaporation", "mm", True),
    "aet": Variable("actual evaporation", "mm", True),
    "peff": Variable("effective precipitation before it is shared out over slopes", "mm", True),
    "npp": Variable("net primary production, dry matter", "g m-2", True),
    "temperature": Variable("mean air temperature at the cell", "degC", False),
    "fbio": Variable("share of net primary production in the energy", "1", False),
}
CITATION = "Rasmussen et al. 2015, Vadose Zone Journal, doi:10.2136/vzj2014.07.0102"


def sizes_of(fields: Mapping[str, Field]) -> dict[str, int]:
    """Return the lengths of what fields have, by dimension."""
    return {name: size for field in fields.values() for name, size in zip(field.dims, field.values.shape, strict=True)}


def grid_attributes(grid: Grid) -> dict[str, Any]:
    """Describe a grid by the CF attributes of its grid mapping variable."""
    attributes = dict(CRS.from_user_input(grid.crs).to_cf())
    attributes["GeoTransform"] = " ".join(repr(v) for v in (grid.west, grid.dx, 0.0, grid.north, 0.0, -grid.dy))
    attributes["crs_name"] = grid.crs
    return attributes
