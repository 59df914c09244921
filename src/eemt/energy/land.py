"""The land of one tile: what does not change from year to year, read from its rasters.

Nothing heavy is imported here, so that rasters can be read while `eemt.energy.tile` is being imported.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eemt.config import EemtSettings
from eemt.energy.productivity import leaf_area_index
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import read_on_grid
from eemt.resampling import on_cells

Floats = npt.NDArray[np.float32]

NDVI_RANGE = (-1.0, 1.0)
TALLEST = 150.0  # m; the tallest tree is 116 m high
NO_VEGETATION = "eemt transfer: warning: {} and {} have no value together on any cell of {}; EEMT of veg is empty there"


@dataclass(frozen=True)
class Land:
    """What does not change from year to year, (rows, columns) or (12, rows, columns); None where no method needs it."""

    elevation: Floats
    sun: Floats | None  # Wh m-2 month-1
    flat_sun: Floats | None  # Wh m-2 month-1
    northness: Floats | None
    share: Floats | None
    slope: Floats | None  # degrees
    leaves: Floats | None  # (bands, rows, columns)
    height: Floats | None  # m


class Rasters:
    """The rasters that `eemt transfer` is given, each read once, when it is first needed.

    Parameters
    ----------
    args : Namespace
        What the command was called with.
    elevation : ndarray (rows, columns)
        [m]
    grid : Grid
        Of the elevation.
    """

    def __init__(self, args: argparse.Namespace, elevation: Floats, grid: Grid) -> None:
        self.args, self.elevation, self.grid = args, elevation, grid
        self._layers: dict[str, Floats] = {}
        self._plants: dict[tuple[str, str], tuple[Floats, Floats]] = {}

    def land(self, settings: EemtSettings) -> Land:
        """Return what the methods of some settings need.

        Raises
        ------
        InputError
            When a raster is missing, has not the bands that are needed, is not on the cells of the
            tile, or holds impossible values.
        """
        layers = {name: self._layer(name, bands, why) for name, (bands, why) in _needs(settings).items()}
        leaves, height = self._plants_of(settings) if "veg" in settings.methods else (None, None)
        return Land(
            elevation=self.elevation,
            sun=layers.get("sun"),
            flat_sun=layers.get("flat_sun"),
            northness=layers.get("northness"),
            share=layers.get("mcwi"),
            slope=layers.get("slope"),
            leaves=leaves,
            height=height,
        )

    def _layer(self, name: str, bands: int, why: str) -> Floats:
        if name not in self._layers:
            path, what = getattr(self.args, name), name.replace("_", "-")
            if path is None:
                raise InputError(f"--{what}: is missing; {why} needs it")
            values = read_on_grid(path, self.grid, what)
            if values.shape[0] != bands:
                raise InputError(f"{what}: {path} has {values.shape[0]} bands; {bands} are needed")
            self._layers[name] = values[0] if bands == 1 else values
        return self._layers[name]

    def _plants_of(self, settings: EemtSettings) -> tuple[Floats, Floats]:
        files = (str(settings.ndvi), str(settings.canopy_height))
        if files not in self._plants:
            self._plants[files] = _read_plants(*files, self.grid)
        return self._plants[files]


def _needs(settings: EemtSettings) -> dict[str, tuple[int, str]]:
    """Return the rasters that the settings need: the bands of each, and why."""
    combined = {"penman", "penman_monteith"}
    sloping = [method for method in ("topo", "veg") if method in settings.methods]
    needs = {}
    if sloping:
        why = f"the method {sloping[0]}"
        needs = {"mcwi": (1, why), "sun": (12, why), "flat_sun": (12, why)}
    if "topo" in settings.methods:
        needs["northness"] = (1, "the method topo")
    if "trad" in settings.methods and settings.pet_trad in combined:
        needs["flat_sun"] = (12, f"the method trad with pet {settings.pet}")
    if sloping and settings.radiation_area == "horizontal":
        needs["slope"] = (1, "radiation_area horizontal")
    return needs


def _read_plants(ndvi_file: str, height_file: str, grid: Grid) -> tuple[Floats, Floats]:
    """Read leaf area (1 or 12, rows, columns) and canopy height on the cells of the tile."""
    ndvi = on_cells(ndvi_file, grid, "ndvi")
    if len(ndvi) not in {1, 12}:
        raise InputError(f"ndvi: {ndvi_file} has {len(ndvi)} bands; one, or twelve with January first, are needed")
    _refuse_outside(ndvi, *NDVI_RANGE, f"ndvi: {ndvi_file}", "scaled whole numbers need their scale in the file")
    heights = on_cells(height_file, grid, "canopy_height")
    if len(heights) != 1:
        raise InputError(f"canopy_height: {height_file} has {len(heights)} bands; one is needed")
    # laser scans put bare ground some centimetres below itself
    _refuse_outside(heights, -5.0, TALLEST, f"canopy_height: {height_file}", "it must be in metres above ground")
    leaves = np.asarray(leaf_area_index(ndvi), dtype=np.float32)
    if np.isnan(leaves[0] + heights[0]).all():
        print(NO_VEGETATION.format(ndvi_file, height_file, "the tile"), file=sys.stderr)
    return leaves, np.asarray(np.maximum(heights[0], 0.0), dtype=np.float32)


def _refuse_outside(values: Floats, lowest: float, highest: float, what: str, hint: str) -> None:
    wrong = values[(values < lowest - 1e-3) | (values > highest + 1e-3)]
    if wrong.size:
        raise InputError(f"{what} is {wrong[0]:g} in places; {lowest:g} to {highest:g} is possible, {hint}")
