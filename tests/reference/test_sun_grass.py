"""The `grass` convention against GRASS r.sun: its stored maps, and the program itself where it is installed."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.faithfulness import DAYS, RAYS, comparable, eemt, errors, rsun, stored

from eemt.grid import Grid
from eemt.terrain import horn, horn_level_rim

DATA = Path(__file__).parent / "data"
needs_grass = pytest.mark.skipif(shutil.which("grass") is None, reason="GRASS is not installed")

SURFACES = ["jacksboro", "steep"]
STEP = 0.25  # h


@pytest.fixture(scope="module", params=SURFACES)
def clip(request):
    return stored(DATA / f"rsun_{request.param}.npz")


@pytest.fixture(scope="module", params=["stored", pytest.param("installed", marks=needs_grass)])
def peer(request, clip):
    elevation, grid, maps = clip
    return maps if request.param == "stored" else rsun(elevation, grid)


def test_with_rays_all_around_the_maps_are_those_of_rsun(clip, peer):
    elevation, grid, _ = clip
    ours = eemt(elevation, grid, convention="grass", azimuths=RAYS, threads=1)
    cells = comparable(elevation, grid, outermost=True)
    for day in DAYS:
        apart, mean_hours, most_hours = errors(ours[day], peer[day], cells)
        assert apart < 1e-4
        assert mean_hours < 0.01
        assert most_hours < STEP + 1e-3


@pytest.mark.parametrize(("azimuths", "limit"), [(64, 1.5e-3), (256, 1e-3)])
def test_with_few_rays_the_maps_are_near_those_of_rsun(clip, peer, azimuths, limit):
    elevation, grid, _ = clip
    ours = eemt(elevation, grid, convention="grass", azimuths=azimuths, threads=1)
    for day in DAYS:
        apart, mean_hours, _ = errors(ours[day], peer[day], comparable(elevation, grid, outermost=True))
        assert apart < limit
        assert mean_hours < 50 * limit


@needs_grass
@pytest.mark.parametrize(
    ("crs", "north", "day"),
    [
        ("EPSG:32716", 5_600_000.0, 172),  # winter at 40 degrees south
        ("EPSG:32616", 1_000.0, 80),  # the equator at the equinox
        ("EPSG:32616", 7_800_000.0, 172),  # midnight sun at 70 degrees north
        ("EPSG:32616", 7_800_000.0, 355),  # polar night
    ],
)
def test_the_maps_are_those_of_rsun_elsewhere_on_earth(crs, north, day):
    elevation, here, _ = stored(DATA / "rsun_jacksboro.npz")
    part = np.ascontiguousarray(elevation[:48, :48])
    grid = Grid(crs, 500_000.0, north, here.dx, here.dy, 48, 48)
    peer = rsun(part, grid, [day])[day]
    ours = eemt(part, grid, [day], convention="grass", azimuths=RAYS, threads=1)[day]
    cells = comparable(part, grid, outermost=True)
    assert np.abs(ours[0] - peer[0])[cells].mean() <= 1e-4 * peer[0][cells].mean()
    assert np.abs(ours[1] - peer[1])[cells].max() < STEP + 1e-3


def test_level_rim_is_the_gradient_of_horn_within():
    elevation, grid, _ = stored(DATA / "rsun_steep.npz")
    for ours, level in zip(horn(elevation, grid.dx, grid.dy), horn_level_rim(elevation, grid.dx, grid.dy), strict=True):
        np.testing.assert_allclose(level[1:-1, 1:-1], ours[1:-1, 1:-1], atol=1e-12)
    np.testing.assert_allclose(horn_level_rim(np.array([[3.0, 5.0, np.nan]]), 1.0, 1.0)[0], [[0.5, 0.5, np.nan]])
