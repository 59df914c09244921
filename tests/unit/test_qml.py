"""Styles for QGIS beside maps, and the maps as GDAL sees them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from rasterio.vrt import WarpedVRT
from rio_cogeo.cogeo import cog_validate

from eemt import pictures
from eemt.cf import VARIABLES
from eemt.errors import InputError
from eemt.qml import OVER_YEARS, RAMPS, ramp, shown_range, write_style


def style_of(path: Path) -> ElementTree.Element:
    return ElementTree.fromstring(path.with_suffix(".qml").read_text(encoding="utf-8"))


def test_every_map_has_a_style_with_its_range_and_units(finished_once):
    for name in finished_once.maps:
        path = finished_once.folder / "maps" / f"{name}.tif"
        style = style_of(path)
        assert style.tag == "qgis" and style.get("version").startswith("3.")
        renderer = style.find("pipe/rasterrenderer")
        assert (renderer.get("type"), renderer.get("band")) == ("singlebandpseudocolor", "1")
        shader = renderer.find("rastershader/colorrampshader")
        assert shader.get("colorRampType") == "INTERPOLATED"
        low, high = float(shader.get("minimumValue")), float(shader.get("maximumValue"))
        items = shader.findall("item")
        values = [float(item.get("value")) for item in items]
        assert values == sorted(values) and values[0] == pytest.approx(low) and values[-1] == pytest.approx(high)
        unit = {"trend": " MJ m-2 yr-1 per 10 years", "trend_p": ""}.get(name.split("_", 2)[2], " MJ m-2 yr-1")
        assert all(item.get("label").endswith(unit) for item in items)
        assert shader.find("rampLegendSettings").get("suffix") == unit
        with rasterio.open(path) as source:
            band = source.read(1)
        if "trend" not in name:
            assert np.nanmin(band) - 1e-4 <= low < high <= np.nanmax(band) + 1e-4


def test_gradient_and_items_say_the_same_colours(finished_once):
    shader = style_of(finished_once.folder / "maps" / "eemt_topo_mean.tif").find(".//colorrampshader")
    options = {one.get("name"): one.get("value") for one in shader.findall("colorramp/Option/Option")}
    stops = [stop.split(";")[1] for stop in options["stops"].split(":")]
    gradient = [tuple(map(int, text.split(",")))[:3] for text in (options["color1"], *stops, options["color2"])]
    items = [tuple(round(255 * part) for part in to_rgb(item.get("color"))) for item in shader.findall("item")]
    assert gradient == items == ramp("viridis")


def test_colours_are_those_of_the_report():
    for name, (colours, _) in (pictures.KEPT | pictures.PARTS).items():
        assert RAMPS[name] == colours
    assert RAMPS.keys() == VARIABLES.keys()
    assert all(name in colormaps for name in (*RAMPS.values(), *OVER_YEARS.values()))


def test_range_leaves_out_the_far_ends_and_a_trend_is_even_about_zero():
    found = {
        "STATISTICS_MINIMUM": "-5",
        "STATISTICS_MAXIMUM": "1000",
        "STATISTICS_MEAN": "10",
        "STATISTICS_STDDEV": "4",
    }
    assert shown_range(found, "2001") == (2.0, 18.0)
    assert shown_range(found, "trend") == (-18.0, 18.0)
    assert shown_range(found, "trend_p") == (0.0, 1.0)
    assert shown_range({}, "2001") == (0.0, 1.0)
    level = dict.fromkeys(("STATISTICS_MINIMUM", "STATISTICS_MAXIMUM", "STATISTICS_MEAN"), "7") | {
        "STATISTICS_STDDEV": "0"
    }
    low, high = shown_range(level, "2001")
    assert low < 7 < high and math.isclose(low + high, 14)
    nothing = dict.fromkeys(("STATISTICS_MINIMUM", "STATISTICS_MAXIMUM", "STATISTICS_MEAN", "STATISTICS_STDDEV"), "0")
    assert shown_range(nothing, "trend")[0] < 0 < shown_range(nothing, "trend")[1]


def test_an_unknown_variable_has_no_colours(tmp_path: Path):
    with pytest.raises(InputError, match="no colours for snow"):
        write_style(tmp_path / "snow.tif", "snow", "2001", "mm")


def test_map_is_a_valid_cog_whose_tags_say_what_it_is(finished_once):
    path = finished_once.folder / "maps" / "eemt_topo_trend.tif"
    assert cog_validate(path, strict=True)[0]
    with rasterio.open(path) as source:
        tags = source.tags()
    assert (tags["VARIABLE"], tags["METHOD"], tags["YEAR"], tags["YEARS"]) == (
        "eemt",
        "topo",
        "trend",
        "2001,2002,2003",
    )
    assert tags["DOI"] == "10.2136/vzj2014.07.0102" and tags["DOI"] in tags["CITATION"]
    assert tags["UNITS"] == "band 1 MJ m-2 yr-1 per 10 years, bands 2 to 13 MJ m-2 month-1 per 10 years"
    assert json.loads(tags["OPTIONS"])["omega"] == 2.63
    assert {"eemt", "gdal", "numpy"} <= set(json.loads(tags["VERSIONS"]))
    assert tags["CREATED"].endswith("+00:00")


def test_time_in_the_tags_can_be_fixed(finished, call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    tile, out = finished.folder / "eemt" / "r000c000.nc", finished.folder / "maps"
    assert call("maps", tile, "--maps", "eemt_topo_2001", "--out", out)[0] == 0
    first = (out / "eemt_topo_2001.tif").read_bytes()
    assert call("maps", tile, "--maps", "eemt_topo_2001", "--out", out)[0] == 0
    assert (out / "eemt_topo_2001.tif").read_bytes() == first
    with rasterio.open(out / "eemt_topo_2001.tif") as source:
        assert source.tags()["CREATED"] == "2027-01-15T08:00:00+00:00"


def test_gdal_opens_and_warps_a_map(finished_once):
    path = finished_once.folder / "maps" / "eemt_topo_2002.tif"
    with rasterio.open(path) as source, WarpedVRT(source, crs="EPSG:3857") as warped:
        assert np.isfinite(warped.read(1)).any()
        assert np.nanmean(warped.read(1)) == pytest.approx(np.nanmean(source.read(1)), rel=0.02)


def test_rio_shows_the_tags(finished_once):
    path = finished_once.folder / "maps" / "eemt_topo_2002.tif"
    shown = subprocess.run(
        [Path(sys.executable).with_name("rio"), "info", path, "--tags"], capture_output=True, text=True, check=True
    )
    assert json.loads(shown.stdout)["METHOD"] == "topo"
