"""The embedded NDVI and canopy height are made by the script beside them, and say that they are not measured."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
import rasterio

from sites import ROOT

SCRIPT = ROOT / "config" / "data" / "synthetic_vegetation.py"


@pytest.mark.parametrize("name", ["boulder_ndvi_synthetic.tif", "boulder_canopy_synthetic.tif"])
def test_committed_file_is_what_the_script_makes(tmp_path, name: str):
    runpy.run_path(str(SCRIPT))["main"](tmp_path)
    with rasterio.open(tmp_path / name) as made, rasterio.open(SCRIPT.parent / name) as kept:
        assert (made.crs, made.transform, made.scales) == (kept.crs, kept.transform, kept.scales)
        np.testing.assert_array_equal(made.read(1), kept.read(1))
        assert "synthetic" in kept.descriptions[0] and "not measured" in kept.tags()["TITLE"]
    assert (SCRIPT.parent / name).stat().st_size < 20_000
