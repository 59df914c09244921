"""What a reader of the report is promised."""

import argparse
import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from eemt import raster, report
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.results import open_run, shown_grid, survey
from eemt.stages import report as stage

SITE = {
    "dem": {"source": "dem.tif"},
    "climate": {
        "file": "station.csv",
        "elevation": 1594.0,
        "latitude": 40.43,
        "longitude": -105.21,
        "normals_period": [1971, 2000],
    },
}
MONTH_BANDS = [f"{month:02d}" for month in range(1, 13)]
SEASON = np.array([0, 0, 0.3, 0.7, 1.5, 2.0, 2.4, 2.2, 1.5, 0.7, 0.1, 0]) / 11.4


def settings(methods=("trad", "topo"), parts=True, years=None):
    climate = SITE["climate"] if years is None else {**SITE["climate"], "normals_period": None, "years": years}
    return {**SITE, "climate": climate, "eemt": {"methods": list(methods)}, "outputs": {"parts": parts}}


def make_results(folder, shape=(90, 110), methods=("trad", "topo"), parts=True, labels=("1971-2000",), cells=None):
    """Leave what a run leaves: ridges and valleys, with a sliver of missing cells along two edges."""
    grid = Grid("EPSG:32613", 471_720.0, 4_427_880.0, 30.0, 30.0, shape[1], shape[0])
    x, y = np.meshgrid(np.arange(shape[1]) * 30.0, np.arange(shape[0]) * 30.0)
    elevation = 2000 + 0.12 * x + 160 * np.sin(y / 260) + 90 * np.sin(x / 330 + y / 700)
    missing = (x < y / 20 - 60) | (x > x.max() - 30 + y / 40) if min(shape) > 20 else np.zeros(shape, bool)
    elevation[missing] = np.nan
    north, east = np.gradient(elevation, -30.0, 30.0)
    northness = -north / np.sqrt(1 + north**2 + east**2)
    put = {
        "dem/dem.tif": elevation,
        "terrain/northness.tif": northness,
        "wetness/twi.tif": 7 + np.sin(y / 120) * 2,
        "wetness/mcwi.tif": 1 + 0.3 * np.sin(y / 120),
    }
    for name, values in put.items():
        raster.write_geotiff(folder / name, values.astype("float32"), grid, [name.split("/")[1][:-4]], "-")
    flat = np.broadcast_to((1 + 10 * SEASON)[:, None, None] * 80_000, (12, *shape))
    for name, values in {"global": flat * (1 - 0.4 * northness), "flat_global": flat, "insolation": flat / 500}.items():
        bands = np.where(missing, np.nan, values).astype("float32")
        raster.write_geotiff(folder / f"sun/monthly_{name}.tif", bands, grid, MONTH_BANDS, "Wh m-2")
    write_climate(folder, labels)
    write_maps(folder, grid, elevation, northness, methods, parts, labels, cells or {})
    return folder


def write_climate(folder, labels):
    time = pd.date_range("2001-01-15", periods=12 * len(labels), freq="30D" if len(labels) == 1 else "MS")
    month = np.tile(np.arange(12), len(labels)) if len(labels) > 1 else np.arange(12)
    warm = -np.cos(2 * np.pi * month / 12)
    stack = lambda values: (("time", "y", "x"), np.asarray(values, "float32")[:, None, None])  # noqa: E731
    raster.write_netcdf(
        folder / "climate" / "climate.nc",
        xr.Dataset(
            {
                "tmin": stack(2 + 11 * warm),
                "tmax": stack(18 + 12 * warm),
                "prcp": stack(36 + 20 * warm),
                "vp": stack(700 + 300 * warm),
                "elevation": (("y", "x"), np.array([[1594.0]], "float32")),
            },
            {"time": time},
            {"title": "Waterdale, Colorado <COOP 058839>", "source": "NCDC monthly normals", "period": "1971-2000"},
        ),
    )


def write_maps(folder, grid, elevation, northness, methods, parts, labels, cells):
    rows = []
    for number, label in enumerate([*labels, "mean"]):
        for method in methods:
            north = 346 * northness * 0.022 if method == "topo" else 0.0
            ebio = (0.39 * elevation - 187) * 0.022 + north + (number % 3) * 0.5
            eppt = 0.15 * ebio + 1.0
            for name, year in {"eemt": ebio + eppt, "ebio": ebio, "eppt": eppt}.items():
                if name != "eemt" and not parts:
                    continue
                bands = np.concatenate([year[None], SEASON[:, None, None] * year]).astype("float32")
                path = folder / "maps" / f"{name}_{method}_{label}.tif"
                tags = cells if (name, method) == ("eemt", "topo") else {}
                with raster.cog_writer(path, grid, ["year", *MONTH_BANDS], "MJ m-2", tags) as target:
                    target.write(bands)
                rows += [summary_row(name, method, label, month, band) for month, band in enumerate(bands)]
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)


def summary_row(variable, method, label, month, band):
    values = band[np.isfinite(band)].astype("float64")
    row = {"site": "ridge", "variable": variable, "method": method, "year": label, "month": month}
    row |= {"mean": values.mean(), "sd": values.std(), "min": values.min(), "max": values.max()}
    row |= {f"p{p}": np.percentile(values, p) for p in (5, 50, 95)}
    return row | {"cells": values.size, "area_km2": values.size * 900 / 1e6}


def make_benchmarks(folder):
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for name, row in {
        "terrain.tsv": "1.5\t0:00:01\t-\t-\t-\t-\t-\t-\t-\t-\n",
        "sun/ridge/r000c000.tsv": "90.0\t0:01:30\t512.5\t1\t1\t1\t0\t0\t395\t350.0\n",
        "sun/ridge/r000c001.tsv": "60.0\t0:01:00\t400.0\t1\t1\t1\t0\t0\t395\t230.0\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + row)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    cells = {"EEMT_CELLS_SOLAR_RATIO_CLAMPED": 0, "EEMT_CELLS_ELEVATION_OUT_OF_RANGE": 1234}
    return make_results(tmp_path_factory.mktemp("ridge"), cells=cells)


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report.html"
    benchmarks = make_benchmarks(tmp_path_factory.mktemp("benchmarks"))
    report.write_report(results, out, "ridge", settings(), benchmarks)
    return out.read_text(encoding="utf-8")


def mean_of(results, name):
    with rasterio.open(results / "maps" / f"{name}.tif") as source:
        return float(np.nanmean(source.read(1).astype("float64")))


def text_of(html):
    """Give the words a reader sees, without pictures, styles and tags."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body).replace("\u202f", ""))


def write(folder, out, **options):
    report.write_report(folder, out, "ridge", settings(**options))
    return out.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """All tags and attributes of a page; fails where a tag is left open."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_means_in_the_page_are_those_of_the_maps(results, page):
    text = text_of(page)
    for method in ("trad", "topo"):
        mean = mean_of(results, f"eemt_{method}_1971-2000")
        assert f"{mean:.1f} ±" in text
        for variable in ("eemt", "ebio", "eppt"):
            assert f"{mean_of(results, f'{variable}_{method}_1971-2000'):.2f}" in text


def test_aspect_means_are_those_of_the_cells(results, page):
    with rasterio.open(results / "maps" / "eemt_topo_1971-2000.tif") as source:
        values = source.read(1).astype("float64")
    northness = raster.read_band(results / "terrain" / "northness.tif")
    north, south = np.nanmean(values[northness > 0]), np.nanmean(values[northness < 0])
    assert f"({north:.1f} against {south:.1f})" in text_of(page)
    assert f"{north - south:.2f}" in text_of(page)


def test_area_and_elevation_range_are_those_of_the_site(results, page):
    elevation = raster.read_band(results / "dem" / "dem.tif")
    text = text_of(page)
    assert f"covers {np.isfinite(elevation).sum() * 900 / 1e6:.3g} km²" in text
    assert f"between {np.nanmin(elevation):.0f} and {np.nanmax(elevation):.0f} m" in text


def test_page_loads_nothing_from_anywhere(page):
    for tag, attributes in Tags(page).found:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href", "srcset", "data"):
            address = attributes.get(name) or "#"
            followed = tag == "a" and address.startswith("https://doi.org/")
            assert followed or address.startswith(("data:image/", "#"))
    assert "url(" not in page
    assert "@import" not in page


def test_every_picture_is_whole_and_described(page):
    pictures = [attributes for tag, attributes in Tags(page).found if tag == "img"]
    assert len(pictures) >= 9
    for attributes in pictures:
        kind, content = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", attributes["src"]).groups()
        start = {"png": b"\x89PNG", "svg+xml": b"<?xml", "webp": b"RIFF"}[kind]
        assert base64.b64decode(content, validate=True).startswith(start)
        assert len(attributes["alt"]) > 20


def test_page_stays_small(page):
    assert len(page.encode()) < 3_000_000


def test_headings_name_every_part_and_the_contents_lead_to_them(page):
    tags = Tags(page).found
    anchors = {attributes["id"] for tag, attributes in tags if tag == "h2"}
    links = {attributes["href"][1:] for tag, attributes in tags if tag == "a" and attributes["href"].startswith("#")}
    assert links == anchors


def test_hostile_names_are_shown_not_run(results, tmp_path):
    out = tmp_path / "report.html"
    report.write_report(results, out, '<script>alert("x")</script>', settings())
    html = out.read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<COOP" not in html


def test_methods_state_the_settings(results, tmp_path):
    changed = settings() | {"eemt": {"methods": ["trad", "topo"], "pet": "thornthwaite", "omega": 3.1, "npp_floor": 42}}
    changed |= {"sun": {"linke": [2.5] * 12, "shadows": False, "step": 30}}
    out = tmp_path / "report.html"
    report.write_report(results, out, "ridge", changed)
    text = text_of(out.read_text())
    for phrase in ("Thornthwaite (1948)", "ω = 3.1", "not below 42 g", "no terrain shadows", "steps of 30 min"):
        assert phrase in text
    assert "Hamon" not in text


def test_cells_outside_the_models_domain_are_reported_and_none_are_not(page):
    text = text_of(page)
    assert "1234 cells lie outside 580 to 2800 m" in text
    assert "was held at that bound" not in text


def test_run_times_are_summed_by_rule(tmp_path):
    sun, terrain = report.run_times(make_benchmarks(tmp_path))
    assert (sun["rule"], sun["jobs"], sun["total"], sun["longest"], sun["memory"]) == ("sun", 2, 150.0, 90.0, 512.5)
    assert (terrain["rule"], terrain["jobs"], terrain["memory"]) == ("terrain", 1, None)


def test_run_times_show_in_the_page_and_a_run_without_them_is_no_error(page, results, tmp_path):
    assert "2.5 min" in text_of(page)
    out = tmp_path / "report.html"
    report.write_report(results, out, "ridge", settings(), tmp_path / "absent")
    assert "Run times" not in text_of(out.read_text())


@pytest.mark.parametrize("method", ["trad", "topo"])
def test_one_method_without_parts(method, tmp_path):
    folder = make_results(tmp_path, (40, 50), methods=(method,), parts=False)
    text = text_of(write(folder, tmp_path / "report.html", methods=(method,), parts=False))
    assert f"{mean_of(folder, f'eemt_{method}_1971-2000'):.1f} ±" in text
    assert "minus TRAD" not in text


def test_trad_alone_needs_neither_sun_nor_wetness(tmp_path):
    folder = make_results(tmp_path, (40, 50), methods=("trad",))
    for path in [*folder.glob("sun/*"), *folder.glob("wetness/*")]:
        path.unlink()
    assert "Clear-sky" not in text_of(write(folder, tmp_path / "report.html", methods=("trad",)))


def test_several_years_show_their_mean_and_a_row_each(tmp_path):
    folder = make_results(tmp_path, (40, 50), labels=("2003", "2004", "2005"))
    text = text_of(write(folder, tmp_path / "report.html", years=[2003, 2005]))
    assert "Mean of 2003 to 2005" in text
    assert f"{mean_of(folder, 'eemt_topo_mean'):.1f} ±" in text
    for year in ("2003", "2004", "2005"):
        assert f"{mean_of(folder, f'eemt_topo_{year}'):.2f}" in text


@pytest.mark.parametrize("shape", [(10, 10), (200, 16), (16, 200)])
def test_any_shape_of_site(shape, tmp_path):
    folder = make_results(tmp_path, shape)
    assert "Numbers" in write(folder, tmp_path / "report.html")


def test_flat_site_without_aspects(tmp_path):
    folder = make_results(tmp_path, (40, 50))
    grid = raster.read_grid(folder / "dem" / "dem.tif")
    raster.write_geotiff(folder / "terrain" / "northness.tif", np.zeros(grid.shape, "float32"), grid, ["n"], "-")
    assert "no slopes of both aspects" in text_of(write(folder, tmp_path / "report.html"))


def test_large_maps_are_read_averaged_to_fewer_cells_of_the_same_ground():
    grid = Grid("EPSG:32613", 0.0, 0.0, 10.0, 10.0, 5000, 2500)
    shown = shown_grid(grid)
    assert shown.shape == (600, 1200)
    assert shown.bounds == pytest.approx(grid.bounds)
    small = Grid("EPSG:32613", 0.0, 0.0, 10.0, 10.0, 50, 20)
    assert shown_grid(small) == small


def test_survey_counts_every_cell_whatever_the_strips(results, monkeypatch):
    run = open_run(results, settings())
    whole = survey(run)
    monkeypatch.setattr("eemt.results.STRIP", 7)
    strips = survey(run)
    assert strips.cells == whole.cells
    assert strips.facing["topo"] == pytest.approx(whole.facing["topo"])
    assert np.allclose(strips.profiles["topo"].mean, whole.profiles["topo"].mean)


def test_profile_rises_where_eemt_rises_with_elevation(results):
    profile = survey(open_run(results, settings())).profiles["trad"]
    assert (np.diff(profile.mean) > 0).all()
    slope = np.polyfit(profile.elevation, profile.mean, 1)[0]
    assert slope == pytest.approx(0.39 * 0.022 * 1.15, rel=0.02)


@pytest.mark.parametrize(
    "name",
    [
        "dem/dem.tif",
        "terrain/northness.tif",
        "summary.csv",
        "climate/climate.nc",
        "maps/eemt_topo_1971-2000.tif",
        "maps/ebio_trad_1971-2000.tif",
        "sun/monthly_global.tif",
        "wetness/mcwi.tif",
    ],
)
def test_missing_file_is_named_in_one_line(name, results, tmp_path):
    hidden = results / f"{name}.hidden"
    (results / name).rename(hidden)
    try:
        with pytest.raises(InputError) as error:
            write(results, tmp_path / "report.html")
    finally:
        hidden.rename(results / name)
    assert str(results / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_stage_writes_the_report_and_the_picture(results, tmp_path):
    args = argparse.Namespace(
        results=results,
        out=tmp_path / "new" / "report.html",
        site="ridge",
        settings=json.dumps(settings()),
        benchmarks=None,
        picture=tmp_path / "overview.png",
    )
    stage.run(args)
    assert args.out.read_text().startswith("<!DOCTYPE html>")
    assert args.picture.read_bytes().startswith(b"\x89PNG")


def test_failed_report_leaves_no_file(tmp_path):
    args = argparse.Namespace(
        results=tmp_path / "absent",
        out=tmp_path / "report.html",
        site="ridge",
        settings=json.dumps(settings()),
        benchmarks=None,
    )
    with pytest.raises(InputError):
        stage.run(args)
    args.settings = "{"
    with pytest.raises(InputError, match="not JSON"):
        stage.run(args)
    assert not list(tmp_path.iterdir())


def test_map_of_another_size_is_named(tmp_path):
    folder = make_results(tmp_path, (40, 50))
    other = Grid("EPSG:32613", 471_720.0, 4_427_880.0, 30.0, 30.0, 20, 20)
    raster.write_geotiff(folder / "wetness" / "twi.tif", np.ones(other.shape, "float32"), other, ["twi"], "-")
    with pytest.raises(InputError, match=r"twi\.tif has 20 x 20 cells, the elevation 40 x 50"):
        write(folder, tmp_path / "report.html")
