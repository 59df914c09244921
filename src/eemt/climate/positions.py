"""Where cells lie on a climate source's grid, without projecting each of them.

Coordinates are projected at the nodes of a lattice, a kilometre apart, and bilinearly between them,
which is true to some centimetres. The lattice hangs on the zero of the cells' own coordinate system,
so that a cell's position does not depend on the tile that it is asked for in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer

Doubles = npt.NDArray[np.float64]

NODE_METRES = 1000.0
NODE_DEGREES = 0.01


@dataclass(frozen=True)
class Axis:
    """Even axis of cell centres, rising or falling."""

    first: float
    step: float
    number: int

    @classmethod
    def of(cls, centres: Doubles, other: Doubles) -> Axis:
        """Make an axis; one of a single cell has the other axis' step, and infinite cells where both have one."""
        if len(centres) > 1:
            # a step between two neighbours would carry the rounding of float32 axes along all of them
            return cls(float(centres[0]), float(centres[-1] - centres[0]) / (len(centres) - 1), len(centres))
        step = abs(float(other[-1] - other[0])) / (len(other) - 1) if len(other) > 1 else np.inf
        return cls(float(centres[0]), step, 1)

    @property
    def middle(self) -> float:
        """Middle of the axis."""
        return self.first + (self.step * (self.number - 1) / 2 if self.number > 1 else 0.0)

    @property
    def edges(self) -> tuple[float, float]:
        """Least and greatest coordinate of its cells."""
        ends = (self.first - self.step / 2, self.first + self.step * (self.number - 0.5))
        return min(ends), max(ends)


def projected(x: Doubles, y: Doubles, crs: str, to_crs: str, near: float | None = None) -> tuple[Doubles, Doubles]:
    """Carry the centres of cells to another coordinate system.

    Parameters
    ----------
    x, y : ndarray (columns,), (rows,)
        Centres of the cells.
    crs, to_crs : str
        Coordinate systems from and to.
    near : float, optional
        Longitude that longitudes are returned within 180 degrees of, where `to_crs` is in degrees.

    Returns
    -------
    x, y : ndarray (rows, columns)
    """
    node = NODE_DEGREES if CRS.from_user_input(crs).is_geographic else NODE_METRES
    at_x, before_x, weight_x = _nodes(x, node)
    at_y, before_y, weight_y = _nodes(y, node)
    carried = Transformer.from_crs(crs, to_crs, always_xy=True).transform(*np.meshgrid(at_x, at_y))
    if near is not None and CRS.from_user_input(to_crs).is_geographic:
        carried = (carried[0] - 360.0 * np.round((carried[0] - near) / 360.0), carried[1])
    along = [field[:, before_x] * (1 - weight_x) + field[:, before_x + 1] * weight_x for field in carried]
    weight = weight_y[:, np.newaxis]
    first, second = (field[before_y] * (1 - weight) + field[before_y + 1] * weight for field in along)
    return first, second


def _nodes(centres: Doubles, node: float) -> tuple[Doubles, npt.NDArray[np.int64], Doubles]:
    """Return the lattice's coordinates around some centres, the index of the node before each, and the next's weight.

    Where the cells are wider than the lattice they are its nodes themselves.
    """
    if len(centres) > 1 and abs(centres[1] - centres[0]) > node:
        last = np.append(centres, centres[-1])
        return last, np.arange(len(centres)), np.zeros(len(centres))
    place = centres / node
    before = np.floor(place).astype(np.int64)
    numbers = np.arange(before.min(), before.max() + 2)
    return numbers * node, before - numbers[0], place - before
