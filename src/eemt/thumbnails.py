"""Small pictures of maps, in the colours of the report, for those who browse a catalogue."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.image import imsave

from eemt import figures, raster
from eemt.figures import Colours, Floats, Panel
from eemt.grid import Grid
from eemt.map_header import MapHeader
from eemt.qml import OVER_YEARS, RAMPS
from eemt.results import shown_grid

SIDE = 200  # pixels of the longer side


class Thumbnails:
    """Draws the annual maps of a site, and of its sweep's cases, over the hillshade.

    Maps of the same variable and year have the same colours, those of the site's own maps of all methods, so that
    pictures can be compared.

    Parameters
    ----------
    own : iterable of MapHeader
        The site's own maps.
    dem : path
        Elevation, of the maps' cells and maybe more.
    """

    def __init__(self, own: Iterable[MapHeader], dem: Path) -> None:
        self._own = list(own)
        self._dem = dem
        self._shades: dict[Grid, npt.NDArray[np.float64]] = {}
        self._colours: dict[tuple[str, str], Colours] = {}

    def draw(self, known: MapHeader) -> bytes:
        """Return the picture of a map, a PNG that is transparent where there is no value."""
        kind = known.tags["VARIABLE"], known.tags["YEAR"]
        if kind not in self._colours:
            self._colours[kind] = self._shared_colours(*kind)
        grid = shown_grid(known.grid, SIDE)
        panel = Panel("", _annual(known.path, known.grid, grid), self._colours[kind], kind[1] not in OVER_YEARS)
        if known.grid not in self._shades:
            elevation = _annual(self._dem, known.grid, grid)
            self._shades[known.grid] = figures.hillshade(elevation, grid)
        buffer = io.BytesIO()
        pixels = np.round(255 * figures.drape(panel, self._shades[known.grid])).astype(np.uint8)
        imsave(buffer, pixels, format="png", pil_kwargs={"optimize": True})
        return buffer.getvalue()

    def _shared_colours(self, variable: str, year: str) -> Colours:
        same = [one for one in self._own if (one.tags["VARIABLE"], one.tags["YEAR"]) == (variable, year)]
        maps: list[Floats] = [_annual(one.path, one.grid, shown_grid(one.grid, SIDE)) for one in same]
        ramp = OVER_YEARS.get(year, RAMPS[variable])
        if year == "trend_p":
            return Colours(ramp, 0.0, 1.0, "")
        return figures.diverging(ramp, "", *maps) if year == "trend" else figures.sequential(ramp, "", *maps)


def _annual(path: Path, source: Grid, grid: Grid) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = raster.read_averaged(path, source, grid, "catalogue")[0]
    return values
