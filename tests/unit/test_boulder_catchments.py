"""The catchments of the embedded site are made by the script beside them."""

from __future__ import annotations

import runpy

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from eemt.config import ZoneSettings
from eemt.zones import read_zones
from sites import BOULDER, ROOT

SCRIPT = ROOT / "config" / "data" / "boulder_catchments.py"
KEPT = SCRIPT.with_suffix(".geojson")


@pytest.fixture(scope="module")
def kept() -> gpd.GeoDataFrame:
    return gpd.read_file(KEPT)


def test_committed_file_is_what_the_script_makes(tmp_path, kept):
    runpy.run_path(str(SCRIPT))["main"](tmp_path)
    made = gpd.read_file(tmp_path / KEPT.name)
    assert made.drop(columns="geometry").equals(kept.drop(columns="geometry"))
    apart = shapely.area(shapely.symmetric_difference(made.geometry.to_numpy(), kept.geometry.to_numpy()))
    assert (apart < 1e-3 * shapely.area(kept.geometry.to_numpy())).all()
    assert KEPT.stat().st_size < 100_000


def test_outlines_hold_the_area_that_drains_to_the_outlet(kept):
    np.testing.assert_allclose(kept.to_crs("EPSG:32613").area / 1e6, kept.drained_km2, rtol=0.01)


def test_catchments_lie_side_by_side_within_the_model():
    zones = read_zones(ZoneSettings(file=str(KEPT), id="catchment"))
    assert zones.names == ["B1", "B2", "B3", "B4", "B5"]
    with rasterio.open(BOULDER) as dem:
        whole = shapely.box(*dem.bounds)
    shapes = zones.polygons.to_numpy()
    assert shapely.contains(whole, shapes).all()
    joined = shapely.union_all(shapes)
    assert joined.area == pytest.approx(shapely.area(shapes).sum(), rel=1e-3)
