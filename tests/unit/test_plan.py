"""What a run makes of a site and from what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eemt.config import load_config
from eemt.errors import InputError
from eemt.plan import Plan
from sites import BOULDER, CLIMATE


def plan(tmp_path: Path, **sections: Any) -> Plan:
    dem = {"source": str(BOULDER), "crs": "EPSG:32613", "resolution": 30}
    site = {"dem": dem, "climate": CLIMATE} | sections
    return Plan(load_config({"sites": {"here": site}}).sites["here"], tmp_path)


def test_whole_file_is_mapped_without_a_bbox(tmp_path: Path):
    found = plan(tmp_path)
    assert found.layout.area == found.layout.grid
    assert found.area == "0:260,0:202"
    assert found.tiles == ["r000c000"]


def test_bbox_is_mapped_and_its_surroundings_are_prepared(tmp_path: Path):
    box = [-105.30, 39.95, -105.29, 39.96]
    found = plan(tmp_path, dem={"source": str(BOULDER), "bbox": box, "resolution": 30, "buffer": 600})
    rows, cols = ([int(end) for end in span.split(":")] for span in found.area.split(","))
    assert rows[0] == cols[0] == 20
    assert found.layout.grid.height == rows[1] + 20
    assert found.million_cells > found.tile_million_cells


def test_data_set_is_laid_out_without_a_server(tmp_path: Path):
    box = [-105.50, 40.00, -105.45, 40.03]
    found = plan(tmp_path, dem={"source": "3dep", "bbox": box, "base_url": "http://127.0.0.1:9/none"})
    assert found.layout.grid.dx == 10
    assert (found.elevation_files, found.elevation_addresses, found.elevation_downloads) == ([], "3dep", 1)


def test_tiles_are_as_large_as_the_site_asks(tmp_path: Path):
    assert plan(tmp_path, tiles={"size": 160}).tiles == ["r000c000", "r000c001", "r001c000", "r001c001"]


@pytest.mark.parametrize(
    ("years", "labels"),
    [
        ([2003, 2003], ["2003", "mean"]),
        ([2003, 2004], ["2003", "2004", "mean", "sd"]),
        ([2003, 2005], ["2003", "2004", "2005", "mean", "sd", "trend", "trend_p"]),
    ],
)
def test_statistics_over_years_are_mapped_where_there_are_enough(tmp_path: Path, years: list[int], labels: list[str]):
    climate = {**CLIMATE, "normals_period": None, "years": years}
    found = plan(tmp_path, climate=climate, eemt={"methods": ["topo"]}, outputs={"parts": False})
    assert found.maps == [f"eemt_topo_{label}" for label in labels]


def test_vegetation_is_an_input_of_its_method_alone(tmp_path: Path):
    plants = {"ndvi": "ndvi.tif", "canopy_height": "height.tif"}
    assert plan(tmp_path, eemt={"methods": ["trad"], **plants}).rasters == {}
    assert plan(tmp_path, eemt={"methods": ["veg"], **plants}).rasters == plants


def test_files_of_a_grid_are_found_by_their_pattern(tmp_path: Path):
    for name in ("tmin_2001.nc", "tmin_2002.nc", "tx_2001.nc", "prcp_2001.nc", "other.nc"):
        (tmp_path / name).touch()
    climate = {
        "source": "grid",
        "files": str(tmp_path / "{variable}_{year}.nc"),
        "variables": {"tmin": {}, "tmax": {"name": "tx"}},
        "years": [2001, 2002],
    }
    names = [Path(path).name for path in plan(tmp_path, climate=climate).climate_files]
    assert names == ["prcp_2001.nc", "tmin_2001.nc", "tmin_2002.nc", "tx_2001.nc"]
    climate["files"] = str(tmp_path / "{variable}-{year}.nc")
    with pytest.raises(InputError, match="no file is named"):
        _ = plan(tmp_path, climate=climate).climate_files


def test_planning_loads_nothing_heavy():
    heavy = "{'numba', 'xarray', 'pandas', 'scipy', 'matplotlib'}"
    code = f"import sys, eemt.plan, eemt.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
