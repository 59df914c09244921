"""All maps of a site in one file for xarray."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import CRS
from zarr.storage import ZipStore

from eemt import stack
from eemt.raster import read_grid
from eemt.stack import cf_units


def opened(path: Path) -> xr.Dataset:
    if path.suffix == ".nc":
        return xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False)
    return xr.open_dataset(ZipStore(path, mode="r"), engine="zarr", consolidated=False, mask_and_scale=False)


@pytest.fixture(params=["stack.nc", "stack.zarr.zip"])
def stacked(request, finished, call, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stack, "WIDE", 32)  # several blocks a strip
    monkeypatch.setattr(stack, "BLOCK", 16)
    out = finished.folder / request.param
    code, _, err = call("stack", *finished.words, "--out", out)
    assert code == 0, err
    return out


def test_stack_holds_every_map_to_the_bit(stacked: Path, finished):
    with opened(stacked) as dataset:
        for name in finished.maps:
            variable, method, year = name.split("_", 2)
            over_years = not year.isdigit()
            place = {"method": method} | ({} if over_years else {"year": int(year)})
            suffix = f"_{year}" if over_years else ""
            with rasterio.open(finished.folder / "maps" / f"{name}.tif") as source:
                np.testing.assert_array_equal(dataset[f"{variable}_annual{suffix}"].sel(place), source.read(1))
                np.testing.assert_array_equal(dataset[f"{variable}{suffix}"].sel(place), source.read()[1:])


def test_coordinates_and_attributes_are_those_of_the_maps(stacked: Path, finished):
    grid = read_grid(finished.folder / "maps" / "eemt_topo_2002.tif")
    with opened(stacked) as dataset:
        assert dict(dataset.sizes) == {"method": 2, "year": 3, "month": 12, "y": grid.height, "x": grid.width}
        assert dataset["eemt"].dims == ("method", "year", "month", "y", "x")
        assert dataset["eemt_trend"].dims == ("method", "month", "y", "x")
        np.testing.assert_array_equal(dataset["x"], grid.x)
        np.testing.assert_array_equal(dataset["y"], grid.y)
        assert dataset["year"].values.tolist() == [2001, 2002, 2003]
        assert dataset["method"].values.tolist() == ["trad", "topo"]
        assert dataset["eemt"].attrs["units"] == "MJ m-2 month-1"
        assert dataset["eemt_annual"].attrs["units"] == "MJ m-2 yr-1"
        assert dataset["eemt_annual_trend"].attrs["units"] == "0.1 MJ m-2 yr-1 yr-1"
        assert dataset["eemt"].attrs["grid_mapping"] == "crs"
        assert CRS.from_cf(dataset["crs"].attrs) == CRS.from_user_input(grid.crs)
        assert dataset.attrs["Conventions"] == "CF-1.8"
        assert json.loads(dataset.attrs["options"])["omega"] == 2.63


def test_chunks_are_a_method_and_year_at_a_time(stacked: Path):
    with opened(stacked) as dataset:
        chunks = dataset["eemt"].encoding.get("chunksizes") or dataset["eemt"].encoding["chunks"]
        assert tuple(chunks) == (1, 1, 12, 16, 16)
    if stacked.suffix == ".zip":
        names = zipfile.ZipFile(stacked).namelist()
        assert len(names) == len(set(names))


def test_a_period_is_a_year_by_its_name(finished, call):
    values = json.loads(finished.as_json)
    values["climate"] |= {"years": None, "normals_period": [1971, 2000]}
    maps = finished.folder / "maps"
    for method in ("trad", "topo"):
        with rasterio.open(maps / f"eemt_{method}_2001.tif") as source:
            tags = source.tags() | {"YEAR": "1971-2000", "YEARS": "1971-2000"}
            with rasterio.open(
                maps / f"eemt_{method}_1971-2000.tif", "w", **source.profile | {"driver": "GTiff"}
            ) as target:
                target.write(source.read())
                target.update_tags(**tags)
    out = finished.folder / "stack.nc"
    code, _, err = call("stack", finished.folder, "--site", "r", "--settings", json.dumps(values), "--out", out)
    assert code == 0, err
    with opened(out) as dataset:
        assert dataset["year"].values.tolist() == ["1971-2000"]
        assert dataset["eemt"].sel(year="1971-2000").notnull().any()


def test_units_are_such_as_udunits_reads():
    assert cf_units("MJ m-2 month-1") == "MJ m-2 month-1"
    assert cf_units("mm yr-1 per 10 years") == "0.1 mm yr-1 yr-1"


def test_what_cannot_be_stacked_is_refused_and_leaves_no_file(finished, call):
    code, _, err = call("stack", *finished.words, "--out", finished.folder / "stack.tif")
    assert code == 2 and "ends neither in .nc nor in .zarr.zip" in err
    path = finished.folder / "maps" / "eemt_topo_sd.tif"
    with rasterio.open(path) as source:
        tags, profile = source.tags(), source.profile | {"driver": "GTiff", "height": 5}
    path.unlink()
    with rasterio.open(path, "w", **profile) as target:
        target.update_tags(**tags)
    code, _, err = call("stack", *finished.words, "--out", finished.folder / "stack.nc")
    assert code == 2 and "eemt_topo_sd.tif is not on the same cells as" in err
    assert not list(finished.folder.glob("*stack*"))
