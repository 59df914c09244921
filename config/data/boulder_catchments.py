"""Make the catchments of the embedded site, polygons for zonal statistics.

    python config/data/boulder_catchments.py

They are drawn from the embedded elevation model at 30 m: its depressions are filled and water is led to the lowest
neighbour (D8), both by the library whitebox-workflows, as it is for the wetness index. Kept are the largest
catchments that lie wholly within the model, none within another; each outlet is where its stream meets one whose
catchment does not. They are drawn from a model of 90 m cells and are no survey.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.features import shapes
from scipy.ndimage import binary_erosion

from eemt.config import DemSettings
from eemt.grid import Grid
from eemt.raster import read_band
from eemt.stages.dem import projected
from eemt.wetness import FLAT_INCREMENT, RIM, surface_profile, with_rim

HERE = Path(__file__).parent
DEM = HERE / "boulder_srtm3.tif"
NAME = "boulder_catchments.geojson"
NUMBER = 5
EDGE = 6  # cells, in which the model is level across its edge and does not tell where water goes
TOLERANCE = 30.0  # m, by which outlines leave the edges of cells
DECIMALS = 5  # of degrees, a metre
# whitebox's pointer: 1 is the north-eastern neighbour, the next powers of two follow clockwise
NEIGHBOURS = {1: (-1, 1), 2: (0, 1), 4: (1, 1), 8: (1, 0), 16: (1, -1), 32: (0, -1), 64: (-1, -1), 128: (-1, 0)}


def pointer(elevation: np.ndarray, cell: float) -> np.ndarray:
    """Return the neighbour that each cell's water goes to, by whitebox's numbers."""
    whitebox = import_module("whitebox_workflows").WbEnvironment()
    surface = with_rim(elevation)
    with tempfile.TemporaryDirectory() as folder:
        with rasterio.open(f"{folder}/dem.tif", "w", **surface_profile(*surface.shape, cell)) as target:
            target.write(surface, 1)
        filled = whitebox.hydrology.fill_depressions_wang_and_liu(
            dem=whitebox.read_raster(f"{folder}/dem.tif"), fix_flats=True, flat_increment=FLAT_INCREMENT
        )
        whitebox.write_raster(whitebox.hydrology.d8_pointer(dem=filled), f"{folder}/pointer.tif")
        found = read_band(f"{folder}/pointer.tif")
    return found[RIM:-RIM, RIM:-RIM].astype(np.int64)


def receivers(pointers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the flat index of the cell that each one drains to, or -1."""
    rows, cols = known.shape
    to = np.full(known.shape, -1)
    for code, (down, right) in NEIGHBOURS.items():
        i, j = np.nonzero(known & (pointers == code))
        inside = (i + down >= 0) & (i + down < rows) & (j + right >= 0) & (j + right < cols)
        to[i[inside], j[inside]] = (i[inside] + down) * cols + j[inside] + right
    return to.ravel()


def catchments(elevation: np.ndarray, grid: Grid) -> np.ndarray:
    """Give the largest whole catchments numbers from 1, and all else 0."""
    known = np.isfinite(elevation)
    to = receivers(pointer(elevation, grid.dx), known)
    above: list[list[int]] = [[] for _ in range(to.size)]
    for cell, below in enumerate(to):
        if below >= 0:
            above[below].append(cell)

    def upslope(cell: int) -> list[int]:
        found = [cell]
        for here in found:
            found += above[here]
        return found

    whole = binary_erosion(known, np.ones((3, 3)), iterations=EDGE).ravel()
    for cell in np.flatnonzero(known.ravel() & ~whole):
        below = cell
        while (below := to[below]) >= 0:
            whole[below] = False
    # the lowest cell of a whole catchment drains to one that is not
    outlets = [cell for cell in np.flatnonzero(whole) if to[cell] < 0 or not whole[to[cell]]]
    numbers = np.zeros(to.size, dtype=np.uint8)
    for number, cells in enumerate(sorted(map(upslope, outlets), key=len, reverse=True)[:NUMBER], 1):
        numbers[cells] = number
    return numbers.reshape(known.shape)


def polygons() -> gpd.GeoDataFrame:
    """Return the catchments with a name, their area [km2] and their elevations [m], in degrees."""
    elevation, grid = projected(str(DEM), DemSettings(source=str(DEM), crs="EPSG:32613", resolution=30))
    numbers = catchments(elevation, grid)
    rows = []
    for number in range(1, NUMBER + 1):
        found = shapes(numbers, mask=numbers == number, transform=grid.transform, connectivity=8)
        outline = shapely.union_all([shapely.geometry.shape(shape) for shape, _ in found])
        heights = elevation[numbers == number]
        rows.append(
            {
                "catchment": f"B{number}",
                "drained_km2": round(float(heights.size * grid.cell_area / 1e6), 3),
                "lowest_m": round(float(heights.min())),
                "highest_m": round(float(heights.max())),
                "origin": "D8 on filled SRTM3, config/data/boulder_catchments.py",
                "geometry": outline,
            }
        )
    frame = gpd.GeoDataFrame(rows, crs=grid.crs)
    # neighbours keep their common edges
    frame.geometry = shapely.coverage_simplify(frame.geometry.to_numpy(), TOLERANCE)
    frame = frame.to_crs("EPSG:4326")
    frame.geometry = shapely.set_precision(frame.geometry.to_numpy(), 10.0**-DECIMALS)
    return frame


def main(folder: Path) -> None:
    """Write the file."""
    polygons().to_file(folder / NAME, driver="GeoJSON", COORDINATE_PRECISION=DECIMALS, RFC7946="YES")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
