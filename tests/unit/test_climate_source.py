"""What all sources are held to, and the keys of the configuration that choose between them."""

from __future__ import annotations

import json
import shlex
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from eemt.cli import _parser
from eemt.climate.monthly import coordinates
from eemt.climate.source import attributes, validate
from eemt.config import ClimateSettings, LapseSettings, check_section, load_config
from eemt.errors import InputError
from eemt.options import as_options
from sites import CLIMATE, ROOT

GRID: dict[str, Any] = {"source": "grid", "files": ["g.nc"], "years": [2001, 2002]}
DAYMET: dict[str, Any] = {"source": "daymet", "years": [2019, 2020]}


def config(site: dict[str, Any], common: dict[str, Any] | None = None) -> Any:
    made: dict[str, Any] = {"sites": {"here": {"dem": {"source": "x.tif"}, "climate": site}}}
    return load_config(made | ({"climate": common} if common else {})).sites["here"].climate


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        (CLIMATE, ["1971-2000"]),
        (GRID, ["2001", "2002"]),
        ({"source": "grid", "files": "g.nc", "normals_period": [1981, 2010]}, ["1981-2010"]),
        (DAYMET, ["2019", "2020"]),
        ({"source": "daymet", "years": 2019}, ["2019"]),
    ],
)
def test_years_are_named_from_the_configuration_alone(settings, labels):
    assert config(settings).labels == labels


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"source": "station", "normals_period": [1971, 2000]}, "file is missing; the source station needs it"),
        ({"source": "grid", "years": [2001, 2002]}, "files is missing; the source grid needs it"),
        ({"source": "daymet"}, "years is missing; the source daymet needs it"),
        ({**GRID, "years": None}, r"needs one of years \(a grid of years\) and normals_period"),
        ({**CLIMATE, "cache": "x"}, "cache is a key of the source daymet, and this is station"),
        ({**DAYMET, "file": "s.csv"}, "file is a key of the source station, and this is daymet"),
        ({**CLIMATE, "elevation_file": "z.tif"}, "elevation_file is a key of the source grid and of daymet, and this"),
        ({**GRID, "variables": {"tmean": "tas"}}, "tmean cannot be used: EEMT needs the daily minimum and maximum"),
        ({**GRID, "variables": {"wind": "ws"}}, "wind"),
        ({**GRID, "variables": {"tmin": {"unit": "K"}}}, "unit"),
        ({**DAYMET, "providers": ["gdex", "gdex"]}, "names gdex twice"),
        ({**DAYMET, "providers": []}, "must not be empty"),
        ({**GRID, "lapse_tmin": "stations"}, "fitted to the source station alone, and this is grid"),
        ({"source": "prism"}, "'prism'; allowed are"),
    ],
)
def test_a_mistake_in_the_choice_of_a_source_gets_one_line(settings, told):
    with pytest.raises(InputError, match=told) as refusal:
        config(settings)
    assert "\n" not in str(refusal.value)


def test_common_keys_of_another_source_do_not_disturb_a_site():
    common = {"source": "daymet", "years": [2019, 2020], "cache": "/scratch/daymet", "lapse_tmin": 5}
    assert config({}, common).cache == "/scratch/daymet"
    station = config({**CLIMATE, "source": "station"}, common)
    assert (station.source, station.labels, station.lapse_tmin) == ("station", ["1971-2000"], 5)
    with pytest.raises(InputError, match="cache is a key of the source daymet"):
        config({**CLIMATE, "source": "station", "cache": "x"}, common)


@pytest.mark.parametrize(
    "settings",
    [
        CLIMATE,
        {"source": "station", "file": "a b/it's.csv", "years": [2001, 2003]},
        {
            **GRID,
            "files": ["in/{variable}_{year}{month}.tif", "a, b.nc", "in/*.nc"],
            "variables": {
                "tmin": {"name": "tn", "units": "K", "scale": 0.1, "files": ["x,y.tif", "z.tif"]},
                "prcp": {"units": "kg m-2 s-1"},
                "tmax": "tx",
            },
            "full_months": True,
            "crs": "EPSG:4326",
        },
        {**GRID, "files": "one.nc"},
        {**DAYMET, "base_urls": {"gdex": "http://127.0.0.1:8000/it's"}, "variables_extra": ["srad", "swe"]},
        {**DAYMET, "offline": True, "providers": ["local"], "local": "my files", "max_single_pixel_cells": 9},
    ],
)
def test_options_make_the_same_settings_again(settings):
    section = ClimateSettings.model_validate(settings)
    words = shlex.split(as_options(section, leave_out=LapseSettings.model_fields))
    given = vars(_parser().parse_args(["climate", "--out", "x.nc", *words]))
    again = check_section(ClimateSettings, {k: v for k, v in given.items() if k in ClimateSettings.model_fields}, "o")
    assert again == section


def test_options_leave_out_what_belongs_to_other_sources():
    assert "daymet" not in as_options(ClimateSettings.model_validate(CLIMATE))
    options = as_options(ClimateSettings.model_validate(DAYMET))
    assert "--file" not in options
    assert "--no-offline" in options


def test_what_is_no_json_is_refused():
    with pytest.raises(InputError, match=r"variables: is not JSON"):
        check_section(ClimateSettings, {**GRID, "variables": "{tmin: tn}"}, "options")
    assert json.loads("{}") == ClimateSettings.model_validate(GRID).variables


def grid_of(shape=(12, 2, 3), **fields):
    values = {"tmin": 1.0, "tmax": 9.0, "prcp": 30.0, "vp": 600.0} | fields
    made = xr.Dataset(
        {name: (("time", "y", "x"), np.zeros(shape) + value, attributes(name)) for name, value in values.items()}
        | {"elevation": (("y", "x"), np.zeros(shape[1:]))},
        coords={"x": np.arange(shape[2]) * 1000.0, "y": -np.arange(shape[1]) * 1000.0, "crs": ((), 0)},
    )
    made["crs"].attrs["crs_name"] = "EPSG:32613"
    return made.assign_coords(time=coordinates(2001)["time"])


def test_a_grid_with_holes_and_optional_variables_is_good():
    holed = grid_of(srad=300.0, dayl=40_000.0, swe=0.0)
    holed["tmin"].values[:, 0, 0] = np.nan
    assert validate(holed, "grid") is holed


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda d: d.drop_vars("crs"), "no coordinate system"),
        (lambda d: d.assign_coords(x=[0.0, 1000.0, 2500.0]), "axis x is uneven"),
        (
            lambda d: d.assign(tmin=d["tmin"] * np.nan).assign(tmin=lambda e: e["tmin"].assign_attrs(units="degC")),
            "tmin has no value at all",
        ),
        (lambda d: d.assign(srad=d["tmin"].assign_attrs(units="K")), "srad is in K; W m-2 is needed"),
        (
            lambda d: d.assign(srad=d["tmin"].assign_attrs(units="W m-2") - 5),
            "srad runs from -4 to -4 W m-2; 0 to 1500 is possible",
        ),
    ],
)
def test_an_unfit_grid_is_refused(spoil, told):
    with pytest.raises(InputError, match=told):
        validate(spoil(grid_of()), "grid")


@pytest.mark.parametrize("path", sorted((ROOT / "config/examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_valid(path):
    sites = load_config(yaml.safe_load(path.read_text())).sites
    assert all(site.climate.labels for site in sites.values())
