"""Tiled equals untiled, cell for cell, in every product: the commands called as the workflow calls them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eemt.cli import main
from eemt.config import ClimateSettings, LapseSettings
from eemt.grid import Grid, Tile, area_text, area_window, tiles
from eemt.options import as_options
from eemt.raster import write_geotiff
from eemt.sun import HALO_CELLS
from eemt.sun.horizon import FAR_FACTOR, coarsen
from sites import CLIMATE

CELL = 30.0
HALO = f"{HALO_CELLS * CELL:.15g}"
SLOPES = ("slope", "aspect", "northness")
# days of a year, at the coarsest step, are enough to see whether a cell's sun depends on its tile
SUN = ("--days", "171:172", "--step", "60", "--threads", "1")


@dataclass(frozen=True)
class Site:
    """A DEM, the area of it that is mapped, and the side of its tiles [cells]."""

    elevation: np.ndarray
    area: str
    size: int

    @property
    def grid(self) -> Grid:
        height, width = self.elevation.shape
        return Grid("EPSG:32613", 471_003.7, 4_423_011.3, CELL, CELL, width, height)

    @property
    def window(self) -> tuple[slice, slice]:
        return area_window(self.grid, self.area)

    @property
    def mapped(self) -> Grid:
        return self.grid.window(*self.window)

    def write(self, folder: Path) -> None:
        write_geotiff(folder / "dem.tif", self.elevation, self.grid, ["elevation"], "m")
        coarse = coarsen(self.elevation, FAR_FACTOR)
        side = CELL * FAR_FACTOR
        far = Grid(self.grid.crs, self.grid.west, self.grid.north, side, side, coarse.shape[1], coarse.shape[0])
        write_geotiff(folder / "far_field.tif", coarse, far, ["elevation"], "m")


@st.composite
def sites(draw: st.DrawFn, longest: int, most_tiles: int) -> Site:
    """Draw rough terrain with holes, a buffer around the area, and tiles that divide it or do not."""
    height, width = draw(st.integers(3, longest)), draw(st.integers(3, longest))
    top, left, bottom, right = (draw(st.sampled_from([0, 1, 7, 40])) for _ in range(4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = top + height + bottom, left + width + right
    y, x = np.mgrid[: shape[0], : shape[1]]
    elevation = 1500 + 300 * np.sin(x / 9) * np.cos(y / 13) + rng.normal(scale=8, size=shape)
    for _ in range(draw(st.integers(0, 3))):
        row, col = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
        elevation[row : row + draw(st.integers(1, longest)), col : col + draw(st.integers(1, 12))] = np.nan
    elevation[top, left] = 1500.0  # there is some land
    # the sides that leave a row of one cell, that divide, and any
    sides = {1, 2, 3, 5, height - 1, width - 1, height, (height + 1) // 2, max(height, width)}
    number = {side: -(-height // side) * -(-width // side) for side in sides if side > 0}
    size = draw(st.sampled_from(sorted(side for side, n in number.items() if n <= most_tiles)))
    return Site(elevation.astype(np.float32), f"{top}:{top + height},{left}:{left + width}", size)


def eemt(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def cut(site: Site, folder: Path, halo: str) -> Iterator[tuple[Tile, Path]]:
    """Cut the tiles of a site, each into a folder of its own."""
    for tile in tiles(site.mapped, site.size).values():
        words = ["--tile", tile.name, "--size", site.size, "--area", site.area, "--halo", halo]
        eemt("tile", folder / "dem.tif", *words, "--out", folder / tile.name / "dem.tif")
        yield tile, folder / tile.name


def bands(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        values: np.ndarray = source.read()
    return values


def part(whole: np.ndarray, site: Site, tile: Tile) -> np.ndarray:
    """Return a tile's cells of bands of the whole DEM."""
    rows, cols = site.window
    return whole[:, rows, cols][:, tile.rows, tile.cols]


quietly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@settings(quietly, max_examples=15)
@given(site=sites(longest=40, most_tiles=12), rim=st.sampled_from([1, 2, 9, 45]))
def test_terrain_of_tiles_is_that_of_the_whole(tmp_path_factory: pytest.TempPathFactory, site: Site, rim: int):
    folder = tmp_path_factory.mktemp("terrain")
    site.write(folder)
    eemt("terrain", folder / "dem.tif", "--out", folder)
    for tile, place in cut(site, folder, f"{rim * CELL:g}"):
        eemt("terrain", place / "dem.tif", "--halo", f"{rim * CELL:g}", "--out", place)
        for layer in SLOPES:
            whole = part(bands(folder / f"{layer}.tif"), site, tile)
            np.testing.assert_array_equal(bands(place / f"{layer}.tif"), whole)


def sun_of_tiles(folder: Path, site: Site) -> None:
    site.write(folder)
    eemt("sun", folder / "dem.tif", *SUN, "--out", folder)
    layers = sorted(path.name for path in folder.glob("*.tif") if path.name not in {"dem.tif", "far_field.tif"})
    assert "monthly_global.tif" in layers and "insolation.tif" in layers
    for tile, place in cut(site, folder, HALO):
        eemt("sun", place / "dem.tif", "--halo", HALO, "--far", folder / "far_field.tif", *SUN, "--out", place)
        for layer in layers:
            np.testing.assert_array_equal(bands(place / layer), part(bands(folder / layer), site, tile))


@settings(quietly, max_examples=8)
@given(site=sites(longest=30, most_tiles=6))
def test_sun_of_tiles_shorter_than_their_rim_is_that_of_the_whole(tmp_path_factory: pytest.TempPathFactory, site: Site):
    sun_of_tiles(tmp_path_factory.mktemp("sun"), site)


def test_sun_of_tiles_longer_than_their_rim_is_that_of_the_whole(tmp_path: Path):
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:150, :330]
    elevation = 1500 + 600 * np.sin(x / 50) * np.cos(y / 31) + rng.normal(scale=4, size=y.shape)
    elevation[60:70, 120:150] = np.nan
    sun_of_tiles(tmp_path, Site(elevation.astype(np.float32), "12:140,25:320", 120))


def transferred(folder: Path, site: Site, climate: Path, mcwi: Path) -> dict[str, xr.Dataset]:
    """Compute EEMT of each tile of a site; the datasets under the tiles' names."""
    found = {}
    for tile, place in cut(site, folder, HALO):
        for stage in (["terrain"], ["sun", "--far", folder / "far_field.tif", "--no-daily", *SUN]):
            eemt(stage[0], place / "dem.tif", "--halo", HALO, *stage[1:], "--out", place)
        eemt(
            "transfer",
            place / "dem.tif",
            *("--halo", HALO, "--climate", climate, "--mcwi", mcwi, "--northness", place / "northness.tif"),
            *("--sun", place / "monthly_global.tif", "--flat-sun", place / "monthly_flat_global.tif"),
            *("--methods", "trad,topo", "--out", place / "eemt.nc"),
        )
        with xr.open_dataset(place / "eemt.nc", engine="h5netcdf") as dataset:
            found[tile.name] = dataset.load()
    return found


@settings(quietly, max_examples=4)
@given(site=sites(longest=24, most_tiles=4))
def test_eemt_of_tiles_is_that_of_the_whole(tmp_path_factory: pytest.TempPathFactory, site: Site):
    folder = tmp_path_factory.mktemp("eemt")
    site.write(folder)
    climate, mcwi = folder / "climate.nc", folder / "mcwi.tif"
    settings_of_climate = as_options(ClimateSettings(**CLIMATE), leave_out=LapseSettings.model_fields)
    eemt("climate", "--out", climate, *shlex.split(settings_of_climate))
    eemt("wetness", folder / "dem.tif", "--area", site.area, "--out", folder)
    uncut = Site(site.elevation, site.area, max(site.mapped.shape))
    (whole,) = transferred(folder, uncut, climate, mcwi).values()
    cut_up = tiles(site.mapped, site.size)
    maps = [name for name, variable in whole.data_vars.items() if variable.dims[-2:] == ("y", "x")]
    assert {"eemt_trad", "eemt_topo"} <= set(map(str, maps))
    for name, dataset in transferred(folder, site, climate, mcwi).items():
        for variable in maps:
            expected = whole[variable].values[..., cut_up[name].rows, cut_up[name].cols]
            np.testing.assert_array_equal(dataset[variable].values, expected, err_msg=f"{name} {variable}")


def test_a_tile_without_land_is_empty_and_no_error(tmp_path: Path):
    elevation = np.full((20, 40), np.nan, dtype=np.float32)
    elevation[:, 30:] = 1500.0
    site = Site(elevation, "0:20,0:40", 20)
    site.write(tmp_path)
    tile, place = next(cut(site, tmp_path, "60"))
    assert tile.name == "r000c000"
    eemt("terrain", place / "dem.tif", "--halo", "60", "--out", place)
    assert all(np.isnan(bands(place / f"{layer}.tif")).all() for layer in SLOPES)
    eemt("sun", place / "dem.tif", "--halo", "60", "--far", tmp_path / "far_field.tif", *SUN, "--out", place)
    assert np.isnan(bands(place / "monthly_global.tif")).all()


@given(site=sites(longest=30, most_tiles=400))
def test_an_area_is_found_again_in_its_dem(site: Site):
    assert area_text(site.grid, site.mapped) == site.area
