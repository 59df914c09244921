"""``eemt dem``: elevations on a grid in metres."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eemt.config import DemSettings, is_address
from eemt.dem.datasets import DATA_SETS
from eemt.dem.layout import layout
from eemt.dem.prepare import Extremes, named, prepare, prepared, refuse_empty
from eemt.dem.remote import OpenRasters, environment
from eemt.dem.source import open_source
from eemt.grid import Grid

# Earth's surface from the Dead Sea's shore to Everest; what lies outside is another unit or a fill value
PLAUSIBLE_ELEVATION = (-500.0, 9000.0)  # m


def run(args: argparse.Namespace) -> None:
    """Write ``dem.tif``, for far horizons ``far_field.tif``, and ``dem.json``, which says where they come from."""
    settings: DemSettings = args.settings
    warn_of_implausible(prepare(settings, args.out), settings)


def check(settings: DemSettings) -> Grid:
    """Go through a source without keeping anything: all cells of files, of servers what they have.

    Returns
    -------
    Grid
        Of the maps.

    Raises
    ------
    InputError
        When the source cannot be used.
    """
    found = layout(settings)
    if settings.sources[0] in DATA_SETS or any(map(is_address, settings.sources)):
        with environment(), OpenRasters() as rasters:
            open_source(settings, found.grid, rasters)
        return found.area
    extremes = Extremes()
    with tempfile.TemporaryDirectory() as folder, prepared(settings, Path(folder)) as ready:
        for _, elevation in ready.strips():
            extremes.add(elevation)
        refuse_empty(extremes, ready)
    warn_of_implausible(extremes, settings)
    return found.area


def projected(source: str, settings: DemSettings) -> tuple[npt.NDArray[np.float32], Grid]:
    """Bring a small elevation raster to the grid of the maps in memory.

    Returns
    -------
    elevation : ndarray float32 (rows, columns)
        [m], NaN where the source has no data.
    grid : Grid

    Raises
    ------
    InputError
        When the source cannot be used.
    """
    settings = settings.model_copy(update={"source": source})
    with tempfile.TemporaryDirectory() as folder, prepared(settings, Path(folder)) as ready:
        return np.concatenate([elevation for _, elevation in ready.strips()]), ready.layout.grid


def warn_of_implausible(extremes: Extremes, settings: DemSettings) -> None:
    """Say on the error stream when elevations cannot be metres above the sea."""
    if extremes.lowest < PLAUSIBLE_ELEVATION[0] or extremes.highest > PLAUSIBLE_ELEVATION[1]:
        print(
            f"eemt dem: warning: {named(settings)} runs from {extremes.lowest:,.0f} to {extremes.highest:,.0f}; are "
            f"these metres above sea level? See dem.vertical_unit",
            file=sys.stderr,
        )
