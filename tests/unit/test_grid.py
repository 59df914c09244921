"""Where cells are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Proj, Transformer

from eemt.errors import InputError
from eemt.grid import ONE_TILE, SIDES, Grid, area_text, area_window, map_grid, tile_named, tile_size, tiles

UTM = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 44, 36)
DEGREES = Grid("EPSG:4326", -105.33, 40.0, 1 / 1200, 1 / 1200, 84, 84)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 70))
def test_tiles_cover_each_cell_once(rows: int, cols: int, size: int):
    seen = np.zeros((rows, cols), dtype=int)
    for tile in tiles(Grid("EPSG:32613", 0, 0, 1, 1, cols, rows), size).values():
        seen[tile.rows, tile.cols] += 1
    assert (seen == 1).all()


def test_tile_names_sort_as_places():
    names = list(tiles(Grid("EPSG:32613", 0, 0, 1, 1, 30, 20), 10))
    assert names == sorted(names) == ["r000c000", "r000c001", "r000c002", "r001c000", "r001c001", "r001c002"]


def test_tile_names_sort_as_places_beyond_a_thousand_rows():
    names = list(tiles(Grid("EPSG:32613", 0, 0, 1, 1, 2, 1001), 1))
    assert names == sorted(names)
    assert names[0] == "r0000c0000" and names[-1] == "r1000c0001"


def test_small_grid_is_one_tile():
    for height, width in ((3, 3), (1024, 1024), (100, 10_000)):
        side = tile_size(height, width, "auto", workers=64)
        assert list(tiles(Grid("EPSG:32613", 0, 0, 1, 1, width, height), side)) == ["r000c000"]


@pytest.mark.parametrize(
    ("height", "width", "workers", "side", "number"),
    [
        (1100, 1100, 8, 576, 4),  # 9 would have sides under 512
        (2000, 2000, 8, 704, 9),
        (4000, 4000, 8, 1344, 9),
        (4000, 4000, 1, 2048, 4),
        (8192, 8192, 8, 2048, 16),
        (8192, 8192, 64, 1024, 64),
        (10_000, 10_000, 8, 2048, 25),
        (600, 20_000, 8, 2048, 10),
    ],
)
def test_automatic_tiles(height: int, width: int, workers: int, side: int, number: int):
    assert tile_size(height, width, "auto", workers) == side
    assert len(tiles(Grid("EPSG:32613", 0, 0, 1, 1, width, height), side)) == number


@given(st.integers(1, 60_000), st.integers(1, 60_000), st.integers(1, 500))
def test_automatic_tiles_are_of_about_equal_size(height: int, width: int, workers: int):
    side = tile_size(height, width, "auto", workers)
    if height * width <= ONE_TILE:
        assert side == max(height, width)
        return
    assert side in SIDES
    down, across = -(-height // side), -(-width // side)
    for cells, parts in ((height, down), (width, across)):
        assert parts == 1 or cells / parts >= min(SIDES)
    # a shorter side would cut more tiles: they are evened out
    shorter = side - 64
    assert shorter < min(SIDES) or (-(-height // shorter), -(-width // shorter)) != (down, across)


def test_size_that_is_given_is_taken():
    assert tile_size(5000, 5000, 300, workers=8) == 300


@given(st.integers(0, 40), st.integers(1, 30), st.integers(0, 40), st.integers(1, 30))
def test_area_is_written_as_it_is_read(top: int, height: int, left: int, width: int):
    grid = Grid("EPSG:32613", 471_003.7, 4_423_011.3, 28.26, 28.26, 70, 70)
    rows, cols = slice(top, top + height), slice(left, left + width)
    assert area_window(grid, area_text(grid, grid.window(rows, cols))) == (rows, cols)


def test_no_area_is_all():
    assert area_window(UTM, None) == (slice(0, 36), slice(0, 44))


@pytest.mark.parametrize("area", ["", "0:5", "0:5,0:45", "0:37,0:5", "5:5,0:5", "6:5,0:5", "-1:5,0:5", "a:b,c:d"])
def test_impossible_area_is_an_input_error(area: str):
    with pytest.raises(InputError, match="is not ROW0:ROW1,COL0:COL1 within 0:36,0:44"):
        area_window(UTM, area)


def test_area_of_other_cells_is_an_input_error():
    shifted = Grid(UTM.crs, UTM.west + 11, UTM.north, 30.0, 30.0, 5, 5)
    finer = Grid(UTM.crs, UTM.west, UTM.north, 15.0, 15.0, 5, 5)
    for other in (shifted, finer):
        with pytest.raises(InputError, match="are not on those of the elevation model"):
            area_text(UTM, other)
    with pytest.raises(InputError, match="is not ROW0"):
        area_text(UTM, UTM.window(slice(30, 40), slice(0, 4)))


def test_tile_without_cells_is_an_input_error():
    with pytest.raises(InputError, match="a tile has at least 1 row"):
        tile_named(UTM, 0, "r000c000")


@pytest.mark.parametrize("name", ["r009c000", "r0c0", "../x", ""])
def test_unknown_tile_is_an_input_error(name: str):
    with pytest.raises(InputError, match="the last is r001c001"):
        tile_named(UTM, 24, name)


def test_auto_takes_the_utm_zone_of_the_centre():
    grid = map_grid(DEGREES, "auto", 30)
    assert grid.crs == "EPSG:32613"
    assert (grid.dx, grid.dy) == (30.0, 30.0)


def test_auto_on_the_southern_hemisphere():
    assert map_grid(Grid("EPSG:4326", 19.0, -33.0, 0.001, 0.001, 100, 100)).crs == "EPSG:32734"


def test_projected_grid_covers_the_source_on_round_coordinates():
    grid = map_grid(DEGREES, "auto", 30)
    west, south, east, north = grid.bounds
    assert all(edge % 30 == 0 for edge in grid.bounds)
    to_utm = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
    left, bottom, right, top = to_utm.transform_bounds(*DEGREES.bounds)
    assert west <= left < west + 60 and east - 60 < right <= east
    assert south <= bottom < south + 60 and north - 60 < top <= north


def test_metric_source_is_kept_as_it_is():
    assert map_grid(UTM) is UTM


def test_web_mercator_is_not_taken_for_metres():
    mercator = Grid("EPSG:3857", -11_725_000.0, 4_865_000.0, 30.0, 30.0, 100, 100)
    assert map_grid(mercator).crs == "EPSG:32613"


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2231"])  # degrees; US survey feet
def test_system_not_in_metres_is_refused(crs: str):
    with pytest.raises(InputError, match="not a projected system in metres"):
        map_grid(DEGREES, crs)


def test_unknown_system_is_refused():
    with pytest.raises(InputError, match="not known to PROJ"):
        map_grid(DEGREES, "EPSG:999999")


def test_core_takes_the_rim_off_every_side():
    assert UTM.core(90.0) == (slice(3, 33), slice(3, 41))
    with pytest.raises(InputError, match="leaves nothing"):
        UTM.core(30.0 * 18)


@given(st.integers(0, 40), st.integers(0, 30))
def test_sun_geometry_of_a_cell_does_not_depend_on_the_tile(col: int, row: int):
    grid = Grid("EPSG:32613", 471_003.7, 4_423_011.3, 28.26, 28.26, 300, 50)
    tile = grid.window(slice(row, row + 20), slice(col * 5, col * 5 + 90))
    np.testing.assert_array_equal(tile.latitude(), grid.latitude()[row : row + 20, col * 5 : col * 5 + 90])


def test_latitude_and_convergence_are_projs():
    latitude, convergence, edges = UTM.sun_geometry()
    assert edges[0] == 0 and edges[-1] == UTM.width
    assert latitude.shape == convergence.shape == (UTM.height, len(edges) - 1)
    longitude, expected = Transformer.from_crs(UTM.crs, "EPSG:4326", always_xy=True).transform(UTM.x[0], UTM.y[0])
    assert latitude[0, 0] == pytest.approx(expected, abs=3e-3)
    angle = Proj(UTM.crs).get_factors(longitude, expected).meridian_convergence
    assert convergence[0, 0] == pytest.approx(angle, abs=0.04)


def test_oblong_cells_become_square():
    oblong = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 20.0, 40, 60)
    grid = map_grid(oblong)
    assert grid.dx == grid.dy
    assert grid.crs == oblong.crs
