"""Slope, aspect and northness against GRASS r.slope.aspect and gdaldem, where these are installed.

Both leave the cells at the edge and beside holes out, or level the terrain there; all others are compared.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.faithfulness import stored

from eemt.grid import Grid
from eemt.raster import write_geotiff
from eemt.terrain import terrain

DATA = Path(__file__).parent / "data"
STEEP_ENOUGH = 0.05  # degrees; on flatter ground the rounding of elevations turns the aspect


def call(*words: object) -> None:
    made = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        values: np.ndarray = source.read(1, masked=True, out_dtype="float64").filled(np.nan)
    return values


def by_grass(dem: Path, grid: Grid, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Slope and aspect [degrees] of r.slope.aspect, whose aspect runs anticlockwise from east and is 0 where flat."""
    lines = [
        "set -e",
        f"r.in.gdal -o --q input={dem} output=z",
        "g.region raster=z",
        "r.slope.aspect --q elevation=z slope=slope aspect=aspect precision=DCELL",
        f"r.out.gdal --q -c input=slope output={folder}/slope.tif type=Float64 nodata=-9999",
        f"r.out.gdal --q -c input=aspect output={folder}/aspect.tif type=Float64 nodata=-9999",
    ]
    script = folder / "script.sh"
    script.write_text("\n".join(lines) + "\n")
    call("grass", "-c", grid.crs, folder / "location", "-e")
    call("grass", folder / "location" / "PERMANENT", "--exec", "bash", script)
    facing = read(folder / "aspect.tif")
    return read(folder / "slope.tif"), np.where(facing == 0.0, np.nan, (90.0 - facing) % 360.0)


def by_gdal(dem: Path, _grid: Grid, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Slope and aspect [degrees] of gdaldem."""
    for layer in ("slope", "aspect"):
        call("gdaldem", layer, "-q", dem, folder / f"{layer}.tif")
    return read(folder / "slope.tif"), read(folder / "aspect.tif")


PEERS = [
    pytest.param(
        by_grass, marks=pytest.mark.skipif(shutil.which("grass") is None, reason="GRASS is not installed"), id="grass"
    ),
    pytest.param(
        by_gdal, marks=pytest.mark.skipif(shutil.which("gdaldem") is None, reason="gdaldem is not installed"), id="gdal"
    ),
]


def clip(name: str) -> tuple[np.ndarray, Grid]:
    elevation, grid, _ = stored(DATA / f"rsun_{name}.npz")
    elevation = elevation.copy()
    elevation[20:24, 31:33] = np.nan
    return elevation, grid


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", ["jacksboro", "steep"])
def test_slope_aspect_and_northness_are_those_of_other_programs(peer, name, tmp_path: Path):
    elevation, grid = clip(name)
    write_geotiff(tmp_path / "dem.tif", elevation, grid, ["elevation"], "m")
    steepness, facing = peer(tmp_path / "dem.tif", grid, tmp_path)
    ours = terrain(elevation, grid.dx, grid.dy)
    inside = ndimage.binary_erosion(np.isfinite(elevation), np.ones((3, 3)))
    np.testing.assert_array_equal(np.isfinite(steepness) & inside, inside)
    # in single precision a slope of 60 degrees has an error of 4e-6, and its gradient of some times that
    np.testing.assert_allclose(ours[0][inside], steepness[inside], atol=2e-5)
    inside &= steepness > STEEP_ENOUGH
    turned = (ours[1] - facing + 180.0) % 360.0 - 180.0
    assert np.abs(turned[inside]).max() < 2e-3
    northness = np.cos(np.radians(facing)) * np.sin(np.radians(steepness))
    np.testing.assert_allclose(ours[2][inside], northness[inside], atol=2e-6)


@pytest.mark.parametrize("peer", PEERS)
def test_a_plane_has_the_slope_and_aspect_that_other_programs_give_it(peer, tmp_path: Path):
    grid = Grid("EPSG:32616", 500_000.0, 4_000_000.0, 10.0, 10.0, 12, 9)
    elevation = (100.0 + 3.0 * np.arange(12) - 1.0 * np.arange(9)[:, np.newaxis]).astype(np.float32)
    write_geotiff(tmp_path / "dem.tif", elevation, grid, ["elevation"], "m")
    steepness, facing = peer(tmp_path / "dem.tif", grid, tmp_path)
    ours = terrain(elevation, grid.dx, grid.dy)
    # ours to the very edge, theirs within
    np.testing.assert_allclose(ours[0], steepness[4, 5], atol=1e-5)
    np.testing.assert_allclose(ours[1], facing[4, 5], atol=1e-4)
