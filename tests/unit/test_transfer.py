"""``eemt transfer`` and the maps of its tiles: what is asked for is there, tiled as untiled."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin
from scipy.stats import linregress

from eemt.cf import VARIABLES, Field
from eemt.climatology import climatology
from eemt.config import EemtSettings, check_section
from eemt.constants import MONTH_LENGTHS
from eemt.energy.eemt import topographic
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.products import MAP_NAME
from eemt.raster import read_band, write_geotiff
from eemt.tilefile import Frame, packed, tile_file
from sites import hills

GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 96, 80)
YEARS = (2001, 2004)
MONTHS = [f"{month}" for month in range(1, 13)]
PLANTS = ["--methods", "trad,topo,veg", "--ndvi", "ndvi.tif", "--canopy-height", "canopy.tif"]
CUTS = {"a": (slice(0, 80), slice(0, 50)), "b": (slice(0, 33), slice(50, 96)), "c": (slice(33, 80), slice(50, 96))}


# what xarray says of dates and their bounds when the climate of several years is written


@dataclass
class Place:
    """A folder with all that transfer reads, and the command in it."""

    folder: Path
    call: Callable[..., tuple[int, str, str]]

    def transfer(self, *words: object, dem: str = "dem.tif", out: str = "eemt.nc") -> xr.Dataset:
        code, _, err = self.run(*words, dem=dem, out=out)
        assert code == 0, err
        with xr.open_dataset(self.folder / out, engine="h5netcdf") as dataset:
            return dataset.load()

    def run(self, *words: object, dem: str = "dem.tif", out: str = "eemt.nc") -> tuple[int, str, str]:
        inputs = [f"--{name}={name}.tif" for name in ("northness", "mcwi", "sun", "flat-sun", "slope")]
        return self.call("transfer", dem, "--climate", "climate.nc", *inputs, "--threads", 2, "--out", out, *words)

    def mosaic(self, *tiles: str, variable: str = "eemt", method: str = "topo", year: object = 2002) -> Path:
        out = self.folder / f"{variable}_{method}_{year}.tif"
        words = ["--variable", variable, "--method", method, "--year", year, "--out", out]
        code, _, err = self.call("mosaic", *tiles, *words)
        assert code == 0, err
        return out


def raster(path: Path, values: np.ndarray, crs: str, west: float, north: float, cell: float) -> None:
    bands = values.reshape(-1, *values.shape[-2:]).astype(np.float32)
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(
        path, "w", dtype="float32", crs=crs, transform=from_origin(west, north, cell, cell), **profile
    ) as target:
        target.write(bands)


def station(folder: Path) -> None:
    rng = np.random.default_rng(5)
    season = 10 * np.sin(2 * np.pi * (np.arange(12) - 3) / 12)
    tables = [
        pd.DataFrame(
            {
                "year": year,
                "month": range(1, 13),
                "tmin_degC": season + 0.3 * (year - 2001) + rng.normal(0, 1, 12),
                "tmax_degC": season + 14 + rng.normal(0, 1, 12),
                "prcp_mm": rng.gamma(2.0, 25.0, 12).round(1),
            }
        )
        for year in range(YEARS[0], YEARS[1] + 1)
    ]
    pd.concat(tables).to_csv(folder / "station.csv", index=False)


@pytest.fixture
def place(tmp_path: Path, call, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(11)
    elevation = hills(*GRID.shape)
    elevation[40:43, 30:33] = np.nan
    holes = np.isnan(elevation)
    season = np.sin(2 * np.pi * (np.arange(12) - 3) / 12)[:, None, None]
    flat = np.broadcast_to(150e3 + 70e3 * season, (12, *GRID.shape))
    slope = rng.uniform(0, 40, GRID.shape)
    northness = np.cos(rng.uniform(0, 6.28, GRID.shape)) * np.sin(np.radians(slope))
    wet = rng.gamma(4.0, 1.0, GRID.shape)
    wet[5, 5] = 0.0
    layers = {
        "dem": elevation,
        "slope": slope,
        "northness": northness,
        "mcwi": wet / wet[~holes].mean(),
        "flat-sun": flat,
        "sun": flat * (1.0 - 0.5 * northness),
    }
    for name, values in layers.items():
        bands = ["x"] * (12 if values.ndim == 3 else 1)
        write_geotiff(tmp_path / f"{name}.tif", np.where(holes, np.nan, values).astype(np.float32), GRID, bands, "")
    y, x = np.mgrid[:400, :500] / 40.0
    raster(tmp_path / "ndvi.tif", 0.45 + 0.4 * np.sin(x) * np.cos(y), "EPSG:4326", -105.345, 39.965, 0.0001)
    y, x = np.mgrid[:420, :460] / 30.0
    raster(tmp_path / "canopy.tif", 14 + 16 * np.cos(x + y), "EPSG:32613", 470_900.0, 4_423_100.0, 8.0)
    station(tmp_path)
    here = ["--elevation", 1594, "--latitude", 40.43, "--longitude", -105.21]
    assert call("climate", "--out", "climate.nc", "--file", "station.csv", "--years", "2001-2004", *here)[0] == 0
    return Place(tmp_path, call)


def cut(place: Place, halo: int = 2) -> dict[str, list[str]]:
    """Cut the DEM into tiles with rims; return the options of each."""
    elevation = read_band(place.folder / "dem.tif")
    padded = np.pad(elevation, halo, constant_values=np.nan)
    for name, (rows, cols) in CUTS.items():
        window = GRID.window(slice(rows.start - halo, rows.stop + halo), slice(cols.start - halo, cols.stop + halo))
        part = padded[rows.start : rows.stop + 2 * halo, cols.start : cols.stop + 2 * halo]
        write_geotiff(place.folder / f"{name}.tif", part, window, ["z"], "m")
    return {name: ["--halo", halo * GRID.dx] for name in CUTS}


def test_any_subset_of_methods_and_all_years_stand_in_one_file(place: Place):
    for methods in ("trad", "topo", "veg", "trad,veg", "trad,topo,veg"):
        found = place.transfer(*PLANTS, "--methods", methods)
        maps = {name for name in found.data_vars if found[name].ndim == 3}
        assert maps == {f"{name}_{method}" for name in ("eemt", "ebio", "eppt") for method in methods.split(",")}
        assert found.sizes["time"] == 48
        assert found["time"].dt.year.values[::12].tolist() == [2001, 2002, 2003, 2004]


def test_energy_in_the_file_is_the_sum_of_its_parts_to_the_last_bit(place: Place):
    found = place.transfer(*PLANTS)
    for method in ("trad", "topo", "veg"):
        parts = found[f"ebio_{method}"].values + found[f"eppt_{method}"].values
        np.testing.assert_array_equal(found[f"eemt_{method}"].values, parts)
        assert np.isfinite(parts).sum() == 48 * (GRID.width * GRID.height - 9)


def test_what_is_kept_is_there_and_closes(place: Place):
    found = place.transfer(*PLANTS, "--keep", "pet,aet,peff,npp,temperature,fbio")
    with xr.open_dataset("climate.nc", engine="h5netcdf") as climate:
        rain = climate["prcp"].values.reshape(48, 1, 1)
    for method in ("trad", "topo", "veg"):
        aet, peff = found[f"aet_{method}"].values, found[f"peff_{method}"].values
        valid = np.isfinite(aet)
        np.testing.assert_allclose((aet + peff)[valid], np.broadcast_to(rain, aet.shape)[valid], rtol=1e-5)
        assert np.nanmin(aet) >= 0 and np.nanmin(peff) >= 0
        np.testing.assert_allclose(found[f"ebio_{method}"], 0.022 * found[f"npp_{method}"], rtol=1e-5)
        assert found[f"pet_{method}"].attrs["units"] == "mm month-1"
        assert found[f"temperature_{method}"].attrs["units"] == "degC"
    assert not np.array_equal(found["temperature_trad"], found["temperature_topo"])


def test_file_holds_what_the_library_computes(place: Place):
    found = place.transfer("--keep", "pet,aet")
    with xr.open_dataset("climate.nc", engine="h5netcdf") as climate:
        year = {name: climate[name].values[12:24].reshape(12, 1, 1) for name in ("tmin", "tmax", "prcp", "vp")}
    z = read_band("dem.tif").astype(np.float64)
    climb = (z - 1594.0) * 6.5e-3
    tmin, tmax = year["tmin"] - climb, year["tmax"] - climb
    vapour = 610.8 * np.exp(17.27 * tmin / (tmin + 237.3))  # the station's own is an estimate from its minimum
    sun, flat = (np.stack([read_band(f"{name}.tif", band) for band in range(1, 13)]) for name in ("sun", "flat-sun"))
    ours = topographic(
        tmin, tmax, year["prcp"], vapour, sun, flat, z, read_band("northness.tif"), read_band("mcwi.tif"), MONTH_LENGTHS
    )
    for name in ("pet", "aet", "eppt", "ebio"):
        np.testing.assert_allclose(found[f"{name}_topo"].values[12:24], getattr(ours, name), rtol=2e-4, atol=1e-4)


def test_tiled_equals_untiled_in_every_variable(place: Place):
    words = [*PLANTS, "--keep", "pet,aet,peff,npp,temperature"]
    whole = place.transfer(*words)
    counted: dict[str, int] = {}
    for name, halo in cut(place).items():
        tile = place.transfer(*words, *halo, dem=f"{name}.tif", out=f"{name}.nc")
        rows, cols = CUTS[name]
        for variable in whole.data_vars:
            if whole[variable].ndim == 3:
                np.testing.assert_array_equal(tile[variable], whole[variable][:, rows, cols], err_msg=variable)
            elif str(variable).startswith(("cells_", "water_")):
                counted[variable] = counted.get(variable, 0) + tile[variable].values
    assert len(counted) > 15
    for variable, number in counted.items():
        np.testing.assert_array_equal(number, whole[variable], err_msg=variable)


MAPS = [("eemt", "trad", 2002), ("temperature", "veg", 2001), ("fbio", "topo", "mean"), ("eppt", "veg", "trend")]
WHOLE_SITE = [("eemt", "topo", 2003), ("eppt", "veg", "mean")]


@pytest.mark.parametrize(
    ("words", "wanted"), [([], MAPS), (["--redistribution", "renormalised"], WHOLE_SITE)], ids=["paper", "renormalised"]
)
def test_tiled_equals_untiled_in_maps(place: Place, words: list[str], wanted: list[tuple[str, str, object]]):
    words = [*PLANTS, "--keep", "temperature,fbio", *words]
    place.transfer(*words)
    for name, halo in cut(place).items():
        assert place.run(*words, *halo, dem=f"{name}.tif", out=f"{name}.nc")[0] == 0
    for variable, method, year in wanted:
        maps = []
        for tiles in (["eemt.nc"], ["a.nc", "b.nc", "c.nc"]):
            path = place.mosaic(*tiles, variable=variable, method=method, year=year)
            with rasterio.open(path) as source:
                counts = {key: value for key, value in source.tags().items() if key.startswith("EEMT_CELLS")}
                maps.append((source.read(), counts))
        np.testing.assert_array_equal(maps[0][0], maps[1][0])
        assert maps[0][1] == maps[1][1] != {}


def test_renormalised_water_adds_up_over_the_site(place: Place):
    found = place.transfer("--redistribution", "renormalised", "--keep", "peff,temperature")
    eppt, peff, t = (place.mosaic("eemt.nc", variable=name, year=2002) for name in ("eppt", "peff", "temperature"))
    for band in (6, 8):
        heat = 4187e-6 * np.maximum(read_band(t, band), 0)
        water = read_band(eppt, band) / heat
        assert np.nansum(water) == pytest.approx(np.nansum(read_band(peff, band)), rel=1e-4)
    paper = found["eppt_topo"].values[12:24].sum(axis=0)
    assert np.nansum(paper) != pytest.approx(np.nansum(read_band(eppt)), rel=1e-6)
    total = read_band(place.mosaic("eemt.nc", variable="eemt", year=2002))
    parts = read_band(eppt) + read_band(place.mosaic("eemt.nc", variable="ebio", year=2002))
    np.testing.assert_allclose(total, parts, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["--pet", "thornthwaite"], {"trad"}),
        (["--pet", "penman"], {"trad"}),
        (["--pet", "penman_monteith"], {"trad"}),
        (["--pet-topo", "hamon"], {"topo"}),
        (["--pet-topo", "thornthwaite"], {"topo"}),
        (["--pet-topo", "penman_monteith"], {"topo"}),
        (["--pet-veg", "hamon"], {"veg"}),
        (["--pet-veg", "thornthwaite"], {"veg"}),
        (["--pet-veg", "penman"], {"veg"}),
        (["--cold-npp"], {"trad"}),
        (["--omega", 3.5], {"topo"}),
        (["--budyko", "annual"], {"topo"}),
        (["--wind", "4"], {"topo", "veg"}),
        (["--wind", "1,1,1,1,1,1,1,1,1,1,1,5"], {"topo", "veg"}),
        (["--net-radiation", "shortwave"], {"topo", "veg"}),
        (["--clearness", "0.7"], {"topo", "veg"}),
        (["--albedo", "0.5"], {"topo", "veg"}),
        (["--albedo", "0.7,0.7,0.5,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.3,0.6"], {"topo", "veg"}),
        (["--radiation-area", "horizontal"], {"topo", "veg"}),
        (["--solar-ratio-limits", "0.9,1.1"], {"topo", "veg"}),
        (["--npp-floor", "700"], {"topo"}),
        (["--npp-veg", "centred"], {"veg"}),
        (["--npp-veg-floor", "300"], {"veg"}),
        (["--npp-split", "warmth"], {"topo", "veg"}),
        (["--reference-temperature", "275"], {"trad", "topo", "veg"}),
        (["--water-heat-capacity", "4180"], {"trad", "topo", "veg"}),
        (["--biomass-enthalpy", "22.2"], {"trad", "topo", "veg"}),
    ],
)
def test_every_choice_changes_the_methods_it_names_and_no_other(place: Place, words: list[Any], changed: set[str]):
    default = place.transfer(*PLANTS, "--wind", "0.6")
    other = place.transfer(*PLANTS, "--wind", "0.6", *words)
    for method in ("trad", "topo", "veg"):
        same = np.array_equal(default[f"eemt_{method}"], other[f"eemt_{method}"], equal_nan=True)
        assert same == (method not in changed), method


def test_measured_vapour_pressure_can_be_set_aside(place: Place):
    table = pd.read_csv("station.csv")
    table["vp_Pa"] = 300.0
    table.to_csv("station.csv", index=False)
    here = ["--elevation", 1594, "--latitude", 40.43, "--longitude", -105.21, "--years", "2001-2004"]
    assert place.call("climate", "--out", "climate.nc", "--file", "station.csv", *here)[0] == 0
    own, estimated = (place.transfer("--vapour-pressure", how, "--keep", "pet") for how in ("source", "tmin"))
    assert np.nanmean(own["pet_topo"]) > 1.05 * np.nanmean(estimated["pet_topo"])
    np.testing.assert_array_equal(own["eemt_trad"], estimated["eemt_trad"])


def test_twelve_bands_of_ndvi_are_months(place: Place):
    with rasterio.open("ndvi.tif") as source:
        ndvi, profile = source.read(1), source.profile
    with rasterio.open("monthly.tif", "w", **profile | {"count": 12}) as target:
        target.write(np.stack([ndvi] * 6 + [0.5 * ndvi] * 6))
    one, twelve = place.transfer(*PLANTS), place.transfer(*PLANTS, "--ndvi", "monthly.tif")
    np.testing.assert_array_equal(one["eemt_veg"][:6], twelve["eemt_veg"][:6])
    assert not np.array_equal(one["eppt_veg"][6:12], twelve["eppt_veg"][6:12])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--methods", "veg"], "options: ndvi is missing; the method veg needs a raster of it"),
        (
            ["--methods", "veg", "--ndvi", "ndvi.tif"],
            "options: canopy_height is missing; the method veg needs a raster",
        ),
        ([*PLANTS, "--ndvi", "gone.tif"], "ndvi: gone.tif does not exist"),
        ([*PLANTS, "--ndvi", "canopy.tif"], "ndvi: canopy.tif is "),
        ([*PLANTS, "--ndvi", "two.tif"], "ndvi: two.tif has 2 bands; one, or twelve with January first, are needed"),
        ([*PLANTS, "--canopy-height", "two.tif"], "canopy_height: two.tif has 2 bands; one is needed"),
        ([*PLANTS, "--canopy-height", "feet.tif"], "canopy_height: feet.tif is 900 in places; -5 to 150 is possible"),
        (
            ["--keep", "pet,rain"],
            "options: keep.1: is 'rain'; allowed are 'pet', 'aet', 'peff', 'npp', 'temperature' or",
        ),
        (["--keep", "pet,pet"], "options: keep: names a variable twice"),
        (["--wind", "1,2"], "options: wind: has 2 values; give one, or twelve with January first"),
        (["--solar-ratio-limits", "2,5"], "options: solar_ratio_limits: is 2 to 5; a lower bound in (0, 1]"),
        (["--mcwi", "sun.tif"], "mcwi: sun.tif has 12 bands; 1 are needed"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(place: Place, words: list[str], line: str):
    raster(place.folder / "two.tif", np.full((2, 9, 9), 0.5), "EPSG:32613", 470_000.0, 4_424_000.0, 1000.0)
    raster(place.folder / "feet.tif", np.full((9, 9), 900.0), "EPSG:32613", 470_000.0, 4_424_000.0, 1000.0)
    code, _, err = place.run(*words)
    assert code == 2
    assert err.startswith(f"eemt transfer: {line}"), err
    assert err.count("\n") == 1
    assert not (place.folder / "eemt.nc").exists()


def test_a_raster_that_a_choice_needs_is_asked_for(place: Place):
    base = ["transfer", "dem.tif", "--climate", "climate.nc", "--out", "eemt.nc"]
    given = [f"--{name}={name}.tif" for name in ("northness", "mcwi", "sun", "flat-sun")]
    for words, line in (
        ([], "--mcwi: is missing; the method topo needs it"),
        (
            ["--methods", "trad", "--pet", "penman"],
            "--flat-sun: is missing; the method trad with pet penman needs it",
        ),
        (
            [*given, "--radiation-area=horizontal"],
            "--slope: is missing; radiation_area horizontal needs it",
        ),
    ):
        code, _, err = place.call(*base, *words)
        assert (code, err) == (2, f"eemt transfer: {line}\n")
    assert place.call(*base, "--methods", "trad")[0] == 0


def test_cells_outside_the_domain_are_counted_by_year_and_shown_on_the_map(place: Place):
    found = place.transfer(*PLANTS, "--npp-floor", 700, "--solar-ratio-limits", "0.9,1.1")
    z = read_band("dem.tif")
    assert found["cells_topo_elevation_out_of_range"].values.tolist() == [0] * 4
    assert found["cells_topo_mcwi_clipped"].values.tolist() == [1] * 4
    assert (
        found["cells_topo_npp_floor_used"].values[0] == (0.39 * z + 346 * read_band("northness.tif") - 187 < 700).sum()
    )
    assert found["cells_topo_solar_ratio_clamped"].values[0] > 100
    assert found["cells_veg_lai_clipped"].values[0] > 0
    assert found["cells_veg_canopy_out_of_range"].values[0] > 0
    dry = found["cells_trad_dry_month"].values
    assert len(dry) == 4 and dry.max() <= GRID.width * GRID.height
    for year, expected in ((2002, dry[1]), ("mean", dry.max())):
        with rasterio.open(place.mosaic("eemt.nc", method="trad", year=year)) as source:
            assert int(source.tags()["EEMT_CELLS_DRY_MONTH"]) == expected
            assert json.loads(source.tags()["OPTIONS"])["npp_floor"] == 700


def test_missing_plants_are_missing_energy_and_said_so(place: Place):
    raster(place.folder / "far.tif", np.full((9, 9), 5.0), "EPSG:32613", 570_000.0, 4_424_000.0, 30.0)
    code, _, err = place.run(*PLANTS, "--canopy-height", "far.tif")
    assert code == 0
    assert "ndvi.tif and far.tif have no value together on any cell" in err
    with xr.open_dataset("eemt.nc", engine="h5netcdf") as found:
        assert np.isnan(found["eemt_veg"]).all() and np.isfinite(found["eemt_topo"]).any()
        assert found["cells_veg_without_vegetation"].values[0] == GRID.width * GRID.height - 9


def test_statistics_over_years_are_those_of_the_years(place: Place):
    place.transfer()
    years = np.stack([read_band(place.mosaic("eemt.nc", year=year)) for year in range(2001, 2005)])
    mean, sd, trend, p = (read_band(place.mosaic("eemt.nc", year=name)) for name in ("mean", "sd", "trend", "trend_p"))
    np.testing.assert_allclose(mean, years.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sd, years.std(axis=0, ddof=1), rtol=1e-3, atol=1e-4)
    line = linregress([2001, 2002, 2003, 2004], years[:, 7, 9])
    assert trend[7, 9] == pytest.approx(10 * line.slope, rel=1e-3)
    assert p[7, 9] == pytest.approx(line.pvalue, rel=1e-3)
    with rasterio.open(place.mosaic("eemt.nc", year="trend")) as source:
        assert source.count == 13
        assert source.units[0] == "MJ m-2 per 10 years"
        assert MAP_NAME.fullmatch(Path(source.name).name)


def test_bands_are_the_year_and_its_months(place: Place):
    place.transfer("--keep", "temperature,fbio,pet")
    for variable, about in VARIABLES.items():
        if variable in {"eemt", "ebio", "eppt", "pet", "temperature", "fbio"}:
            with rasterio.open(place.mosaic("eemt.nc", variable=variable, year=2004)) as source:
                year, *months = source.read()
                assert source.descriptions[0] == f"{variable} topo 2004 year"
            if about.summed:
                np.testing.assert_allclose(year, np.sum(months, axis=0), rtol=1e-5)
            else:
                assert np.nanmin(months) <= np.nanmin(year) and np.nanmax(year) <= np.nanmax(months)


@pytest.mark.parametrize(
    ("variable", "method", "year", "line"),
    [
        ("rain", "topo", 2002, "mosaic: no variable rain; known are eemt, ebio, eppt, pet"),
        ("pet", "topo", 2002, "mosaic: eemt.nc has no pet_topo; it has eemt_trad, ebio_trad"),
        ("eemt", "topo", 1999, "mosaic: eemt.nc has no year 1999; it has 2001, 2002, 2003, 2004"),
    ],
)
def test_a_map_that_cannot_be_made_is_refused(place: Place, variable: str, method: str, year: int, line: str):
    place.transfer()
    words = ["--variable", variable, "--method", method, "--year", year, "--out", "x.tif"]
    code, _, err = place.call("mosaic", "eemt.nc", *words)
    assert code == 2
    assert err.startswith(f"eemt mosaic: {line}") and err.count("\n") == 1


def test_spread_and_trend_need_years(place: Place):
    here = ["--elevation", 1594, "--latitude", 40.43, "--longitude", -105.21]
    assert place.call("climate", "--out", "climate.nc", "--file", "station.csv", "--years", "2003-2004", *here)[0] == 0
    place.transfer("--methods", "trad")
    words = ["mosaic", "eemt.nc", "--variable", "eemt", "--method", "trad", "--out", "x.tif", "--year"]
    assert place.call(*words, "sd")[0] == 0
    assert place.call(*words, "trend")[2].startswith("eemt mosaic: mosaic: trend needs 3 years; eemt.nc has 2")


def test_climatology_of_a_line_and_of_level_years():
    when = [1990, 1991, 1993, 1996, 1997]
    rng = np.random.default_rng(0)
    stack = rng.normal(300.0, 1.0, (5, 3, 4))
    stack[:, 0, 0] = 7.0
    stack[:, 0, 1] = 2.0 * np.array(when)
    stack[2, 0, 2] = np.nan
    found = climatology(stack, when)
    np.testing.assert_allclose(found.mean, stack.mean(axis=0))
    np.testing.assert_allclose(found.sd, stack.std(axis=0, ddof=1), atol=1e-9)
    for cell in ((1, 1), (2, 3)):
        line = linregress(when, stack[:, *cell])
        assert found.slope[cell] == pytest.approx(line.slope)
        assert found.p[cell] == pytest.approx(line.pvalue)
    assert (found.slope[0, 0], found.p[0, 0]) == (0.0, 1.0)
    assert found.slope[0, 1] == pytest.approx(2.0) and found.p[0, 1] < 1e-9
    assert np.isnan([part[0, 2] for part in (found.mean, found.sd, found.slope, found.p)]).all()


def test_climatology_of_few_years():
    one, two = (climatology(np.arange(n * 2.0).reshape(n, 2), list(range(n))) for n in (1, 2))
    assert np.isnan(one.sd).all() and np.isnan(one.slope).all()
    np.testing.assert_allclose(two.sd, np.sqrt(2.0))
    assert np.isnan(two.slope).all() and np.isnan(two.p).all()
    with pytest.raises(ValueError, match="no year"):
        climatology([], [])
    with pytest.raises(ValueError, match="same"):
        climatology(np.ones((3, 1)), [1, 1, 1])


def test_chunks_are_lossless_and_filled_up():
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    raw = np.frombuffer(zlib.decompress(packed(values, 8)), np.uint8).reshape(4, -1).T.copy().view("<f4").reshape(8, 7)
    np.testing.assert_array_equal(raw[:5], values)
    assert np.isnan(raw[5:]).all()


def test_settings_of_plants_are_checked_where_they_are_read():
    with pytest.raises(InputError, match="ndvi is missing; the method veg needs a raster of it"):
        check_section(EemtSettings, {"methods": ["veg"]}, "x")
    whole = {"methods": ["veg"], "ndvi": "a.tif", "canopy_height": "b.tif"}
    assert check_section(EemtSettings, whole, "x").methods == ("veg",)


@pytest.mark.parametrize("kind", ["noise", "smooth", "zero", "missing"])
def test_every_kind_of_map_is_in_the_file_to_the_bit_and_read_by_others(kind: str, tmp_path: Path):
    rows, cols = 64, 128
    values = {
        "noise": np.random.default_rng(1).integers(0, 2**31 - 2**24, (rows, cols), dtype=np.int32).view(np.float32),
        "smooth": np.linspace(0.0, 40.0, rows * cols, dtype=np.float32).reshape(rows, cols),
        "zero": np.zeros((rows, cols), dtype=np.float32),
        "missing": np.full((rows, cols), np.nan, dtype=np.float32),
    }[kind]
    axes = {"time": np.array([0]), "y": np.arange(100.0), "x": np.arange(float(cols))}
    frame = Frame({name: Field(values, (name,), {}) for name, values in axes.items()}, {})
    with tile_file(tmp_path / "map.nc", frame, {"map": {"units": "1"}}, rows) as file:
        file.put(("map", 0, 0), packed(values, rows))
        file.put(("map", 0, rows), packed(values[:36], rows))
    with xr.open_dataset(tmp_path / "map.nc", engine="h5netcdf") as read:
        whole = np.concatenate([values, values[:36]])
        np.testing.assert_array_equal(read["map"].values[0], whole)


INPUTS = [f"--{name}={name}.tif" for name in ("northness", "mcwi", "sun", "flat-sun", "slope")]
CASES = [
    {"out": "a.nc", "omega": 2.0, "lapse_tmin": 5.0},
    {
        "out": "deep/b.nc",
        "methods": ["topo", "veg"],
        "keep": ["aet"],
        "ndvi": "ndvi.tif",
        "canopy_height": "canopy.tif",
    },
    {"out": "c.nc", "pet": "penman", "wind": [2.5] * 12, "precipitation_gradient": 0.3, "cold_npp": True},
]
ALONE = [
    ["--omega", 2.0, "--lapse-tmin", 5.0],
    ["--methods", "topo,veg", "--keep", "aet", "--ndvi", "ndvi.tif", "--canopy-height", "canopy.tif"],
    ["--pet", "penman", "--wind", ",".join(["2.5"] * 12), "--precipitation-gradient", 0.3, "--cold-npp"],
]


def in_cases(place: Place, *cases: object, words: tuple[object, ...] = ()) -> tuple[int, str, str]:
    given = [word for case in cases for word in ("--case", case if isinstance(case, str) else json.dumps(case))]
    return place.call("transfer", "dem.tif", "--climate", "climate.nc", *INPUTS, "--threads", 2, *words, *given)


@pytest.mark.usefixtures("place")
def test_transfer_starts_without_what_it_does_not_need():
    code = """
import sys
from eemt.cli import main
code = main(sys.argv[1:])
print(code, sorted({"xarray", "pandas", "pyarrow", "scipy", "matplotlib"} & set(sys.modules)))
"""
    words = ["transfer", "dem.tif", "--climate", "climate.nc", *INPUTS, "--out", "eemt.nc"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 []", done.stderr


def test_a_case_is_what_a_call_of_its_own_makes(place: Place):
    code, _, err = in_cases(place, *CASES, words=("--albedo", 0.25))
    assert code == 0, err
    for case, words in zip(CASES, ALONE, strict=True):
        alone = place.transfer("--albedo", 0.25, *words)
        with xr.open_dataset(place.folder / str(case["out"]), engine="h5netcdf") as found:
            assert set(found.variables) == set(alone.variables)
            for name in alone.variables:
                assert found[name].values.tobytes() == alone[name].values.tobytes(), name
            ours, theirs = (json.loads(dataset.attrs["options"]) for dataset in (found, alone))
            assert ours == theirs


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("{out: a}", "case 2: is not JSON"),
        ("[1]", "case 2: is [1]; write keys and values"),
        ({"omega": 2.0}, "case 2: has no out; name the file"),
        ({"out": "x.nc", "omgea": 2.0}, "case 2: omgea: unknown key; did you mean omega?"),
        ({"out": "x.nc", "omega": 0.5}, "case 2 (x.nc): omega: is 0.5; "),
        ({"out": "x.nc", "lapse_tmin": "steep"}, "case 2 (x.nc): lapse_tmin: "),
        ({"out": "x.nc", "methods": ["veg"]}, "case 2 (x.nc): ndvi is missing; the method veg needs a raster of it"),
        ({"out": "x.nc", "methods": ["veg"], "ndvi": "gone.tif", "canopy_height": "canopy.tif"}, "ndvi: gone.tif does"),
        ({"out": "first.nc"}, "case 2: out is first.nc, as in case 1; give each case a file of its own"),
    ],
)
def test_a_mistake_in_a_case_is_one_line_before_anything_is_computed(place: Place, case: object, line: str):
    code, _, err = in_cases(place, {"out": "first.nc"}, case)
    assert code == 2
    assert err.startswith(f"eemt transfer: {line}"), err
    assert err.count("\n") == 1
    assert not (place.folder / "first.nc").exists()


def test_a_case_that_fails_leaves_those_before_it(place: Place):
    (place.folder / "taken").write_text("")
    code, _, err = in_cases(place, {"out": "first.nc"}, {"out": "taken/second.nc"}, {"out": "third.nc"})
    assert code == 1
    assert err.count("\n") == 1
    assert (place.folder / "first.nc").exists()
    assert not (place.folder / "third.nc").exists()
    assert not [*place.folder.glob(".*")]


def test_cases_take_the_place_of_out(place: Place):
    assert in_cases(place)[0] == 2
    code, _, err = in_cases(place, {"out": "a.nc"}, words=("--out", "b.nc"))
    assert code == 2
    assert "not allowed with argument" in err
