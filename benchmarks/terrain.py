"""The terrains that are measured on; ``python -m benchmarks.terrain 2048 --folder data`` writes one."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.cbook
import numpy as np
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.warp import reproject

from eemt.grid import Grid
from eemt.raster import write_geotiff

CRS = "EPSG:32616"
SIDE = 28_940.0  # m, of the square of the Jacksboro DEM that every grid covers


def jacksboro(cells: int) -> tuple[np.ndarray, Grid]:
    """Return the DEM that comes with matplotlib on `cells` x `cells` cells, metres and UTM 16N.

    The file names its southern and northern edges the wrong way round.
    """
    with np.load(matplotlib.cbook.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)) as data:
        z = data["elevation"].astype(np.float32)
        west, east = float(data["xmin"]), float(data["xmax"])
        south, north = sorted((float(data["ymin"]), float(data["ymax"])))
    middle = _to_utm((west + east) / 2, (south + north) / 2)
    grid = Grid(CRS, middle[0] - SIDE / 2, middle[1] + SIDE / 2, SIDE / cells, SIDE / cells, cells, cells)
    elevation = np.full(grid.shape, np.nan, dtype=np.float32)
    reproject(
        z,
        elevation,
        src_transform=from_bounds(west, south, east, north, z.shape[1], z.shape[0]),
        src_crs="EPSG:4326",
        dst_transform=grid.transform,
        dst_crs=CRS,
        dst_nodata=np.nan,
        resampling=Resampling.cubic,
    )
    return elevation, grid


def write_jacksboro(folder: Path, cells: int) -> Path:
    """Write the DEM of a size and return its path."""
    elevation, grid = jacksboro(cells)
    path = folder / f"jacksboro_{cells}.tif"
    write_geotiff(path, elevation, grid, ["elevation"], "m")
    return path


def _to_utm(longitude: float, latitude: float) -> tuple[float, float]:
    from pyproj import Transformer

    x, y = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(longitude, latitude)
    return float(x), float(y)


def main() -> None:
    """Write a DEM of a size that is asked for."""
    parser = argparse.ArgumentParser(description="Write the Jacksboro DEM on a finer grid, as a GeoTIFF.")
    parser.add_argument("cells", type=int, help="rows and columns")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to, this folder by default")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    print(write_jacksboro(args.folder, args.cells))


if __name__ == "__main__":
    main()
