"""Months of climate as plain arrays: the same as xarray reads."""

from __future__ import annotations

from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from eemt.climate.join import TIME_ENCODING
from eemt.climate.monthly import coordinates, year_labels
from eemt.climate.months import Months, read_months
from eemt.climate.source import VARIABLES
from eemt.errors import InputError


def made(first: int = 2001, last: int | None = None) -> xr.Dataset:
    rng = np.random.default_rng(2)
    values = {name: (("time", "y", "x"), rng.normal(size=(12, 3, 2)).astype(np.float32)) for name in VARIABLES}
    values["tmin"][1][:, 0, 0] = np.nan
    place = {"elevation": (("y", "x"), rng.uniform(0, 900, (3, 2))), "crs": ((), 0, {"crs_name": "EPSG:32613"})}
    where = {"x": [0.0, 1000.0], "y": [2000.0, 1000.0, 0.0]}
    return xr.Dataset(values | place, coords=coordinates(first, last) | where)


def write(path: Path, dataset: xr.Dataset, **encoding: dict[str, object]) -> Path:
    dataset["time"].encoding.update(TIME_ENCODING)
    dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    return path


@pytest.mark.parametrize("span", [(2001, None), (1971, 2000)])
def test_every_value_is_read_as_by_xarray(tmp_path: Path, span: tuple[int, int | None]):
    path = write(tmp_path / "climate.nc", made(*span))
    ours = read_months(path)
    with xr.open_dataset(path, engine="h5netcdf") as theirs:
        assert set(ours.fields) == set(map(str, theirs.variables))
        for name, field in ours.fields.items():
            np.testing.assert_array_equal(field.values, theirs[name].values, err_msg=name)
            assert field.dims == theirs[name].dims
            assert {key: value for key, value in field.attrs.items() if key != "coordinates"} == theirs[name].attrs
        for name in ("tmin", "elevation"):
            assert ours[name].values.dtype == theirs[name].values.dtype


def test_numbers_that_were_packed_are_unpacked(tmp_path: Path):
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 5.0, "_FillValue": -32768}
    path = write(tmp_path / "climate.nc", made(), tmin=packing, tmax={"_FillValue": np.float32(-9999)})
    ours = read_months(path)
    with xr.open_dataset(path, engine="h5netcdf") as theirs:
        for name in ("tmin", "tmax"):
            np.testing.assert_allclose(ours[name].values, theirs[name].values, rtol=1e-6)


def test_years_are_named_and_cut_as_those_of_datasets(tmp_path: Path):
    years = xr.concat([made(2003), made(2004)], dim="time", data_vars="minimal", coords="minimal", compat="override")
    ours = read_months(write(tmp_path / "climate.nc", years))
    assert ours.labels == year_labels(years) == ["2003", "2004"]
    second = ours.year(1)
    np.testing.assert_array_equal(second["prcp"].values, years["prcp"].values[12:])
    assert second["elevation"].values.shape == (3, 2)
    assert second.sizes["time"] == 12


def test_a_period_is_one_year_of_its_name(tmp_path: Path):
    normals = made(1971, 2000).assign_attrs(period="1971-2000")
    assert read_months(write(tmp_path / "climate.nc", normals)).labels == ["1971-2000"]


def test_datasets_are_taken_as_they_are():
    dataset = made()
    ours = Months.of(dataset)
    assert ours.sizes == dict(dataset.sizes)
    assert Months.of(ours) is ours
    np.testing.assert_array_equal(ours["vp"].along("y", "x", "time"), dataset["vp"].transpose("y", "x", "time"))


def test_what_is_no_climate_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"climate: .*gone\.nc does not exist"):
        read_months(tmp_path / "gone.nc")
    (tmp_path / "text.nc").write_text("no")
    with pytest.raises(InputError, match="is not a NetCDF-4 file"):
        read_months(tmp_path / "text.nc")
    path = write(tmp_path / "short.nc", made().drop_vars("vp"))
    with pytest.raises(InputError, match=r"short\.nc has no vp; give a file that `eemt climate` wrote"):
        read_months(path)
    path = write(tmp_path / "other.nc", made())
    with h5netcdf.File(path, "a") as file:
        file.variables["time"].attrs["calendar"] = "360_day"
    with pytest.raises(InputError, match="'360_day'"):
        read_months(path)
