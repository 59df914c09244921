"""What a reader of the report is promised."""

import argparse
import base64
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import rasterio

from browser import DESK, PHONE, assert_fits, needs_browser
from eemt import citations, origins, pictures, raster, report
from eemt.climate.daymet.source import CITATION
from eemt.climate.join import TIME_ENCODING
from eemt.climate.station import StationSource
from eemt.config import Site
from eemt.dem.datasets import DATA_SETS
from eemt.energy.eemt import COUNTS, COUNTS_OF
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.inventory import BESIDE
from eemt.results import counts, edge, open_run, shown_grid, survey
from eemt.stages import report as stage
from eemt.summary import summarise

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


STATION_MONTHS = "month,tmin_degC,tmax_degC,prcp_mm,vp_Pa"
PLANTS = {"ndvi": "leaves.tif", "canopy_height": "trees.tif"}


def settings(methods=("trad", "topo"), parts=True, years=None, **eemt):
    climate = SITE["climate"] if years is None else {**SITE["climate"], "normals_period": None, "years": years}
    plants = PLANTS if "veg" in methods else {}
    return {
        **SITE,
        "climate": climate,
        "eemt": {"methods": list(methods), **plants, **eemt},
        "outputs": {"parts": parts},
    }


def configured(*changes, **options):
    """Make a site of the settings, with whole sections changed."""
    values = settings(**options)
    for change in changes:
        values |= change
    return Site.model_validate(values)


def make_results(
    folder, shape=(90, 110), methods=("trad", "topo"), parts=True, labels=("1971-2000",), cells=None, rim=0, keep=()
):
    """Leave what a run leaves: ridges and valleys, with a sliver of missing cells along two edges.

    The elevation reaches `rim` cells beyond the maps.
    """
    grid = Grid("EPSG:32613", 471_720.0, 4_427_880.0, 30.0, 30.0, shape[1], shape[0])
    whole = grid.window(slice(-rim, shape[0] + rim), slice(-rim, shape[1] + rim))
    elevation = ridges(whole)
    raster.write_geotiff(folder / "dem/dem.tif", elevation.astype("float32"), whole, ["elevation"], "m")
    elevation = elevation[rim : rim + shape[0], rim : rim + shape[1]]
    missing = np.isnan(elevation)
    north, east = np.gradient(elevation, -30.0, 30.0)
    northness = -north / np.sqrt(1 + north**2 + east**2)
    y = np.broadcast_to(np.arange(shape[0])[:, None] * 30.0, shape)
    put = {
        "terrain/northness.tif": northness,
        "wetness/twi.tif": 7 + np.sin(y / 120) * 2,
        "wetness/mcwi.tif": 1 + 0.3 * np.sin(y / 120),
    }
    for name, values in put.items():
        raster.write_geotiff(folder / name, values.astype("float32"), grid, [name.split("/")[1][:-4]], "-")
    flags = np.stack([100 + y, y < 120]).astype("float32")
    reached = {"EDGE_CELLS": int(flags[1].sum()), "EDGE_SHARE": f"{flags[1].mean():.6g}"}
    raster.write_geotiff(folder / "wetness/area.tif", flags, grid, ["area", "edge"], "m", reached)
    flat = np.broadcast_to((1 + 10 * SEASON)[:, None, None] * 80_000, (12, *shape))
    for name, values in {"global": flat * (1 - 0.4 * northness), "flat_global": flat, "insolation": flat / 500}.items():
        bands = np.where(missing, np.nan, values).astype("float32")
        raster.write_geotiff(folder / f"sun/monthly_{name}.tif", bands, grid, MONTH_BANDS, "Wh m-2")
    write_climate(folder, labels)
    write_maps(folder, grid, elevation, northness, methods, parts, labels, cells or {}, keep)
    return folder


def ridges(grid):
    x, y = np.meshgrid(grid.x - 471_735.0, 4_427_865.0 - grid.y)
    elevation = 2000 + 0.12 * x + 160 * np.sin(y / 260) + 90 * np.sin(x / 330 + y / 700)
    missing = (x < y / 20 - 60) | (x > x.max() - 30 + y / 40)
    return np.where(missing & (min(grid.shape) > 20), np.nan, elevation)


def write_climate(folder, labels, stations=1):
    """Let the program itself make the climate, of a station's table."""
    single = labels[0].isdigit()
    places = [("Waterdale", 40.43, -105.21, 1594.0), ("Gross", 39.94, -105.36, 2430.0), ("Hill", 40.0, -105.3, 1900.0)]
    rows = []
    for name, latitude, longitude, height in places[:stations]:
        for number, label in enumerate(labels):
            for month in range(12):
                warm = -np.cos(2 * np.pi * month / 12)
                cold = 0.005 * (height - 1594) - 0.1 * number
                row = [month + 1, 2 + 11 * warm - cold, 18 + 12 * warm - cold, 56 + 20 * warm, 500.0]
                row += [label] if single else []
                rows.append([*row, name, latitude, longitude, height] if stations > 1 else row)
    columns = STATION_MONTHS.split(",") + ["year"] * single
    columns += ["station", "latitude", "longitude", "elevation_m"] if stations > 1 else []
    table = folder / "station <COOP 058839>.csv"
    pd.DataFrame(rows, columns=columns).to_csv(table, index=False)
    years = (int(labels[0]), int(labels[-1])) if single else None
    period = None if single else tuple(map(int, labels[0].split("-")))
    here = {"elevation": 1594.0, "latitude": 40.43, "longitude": -105.21} if stations == 1 else {}
    source = StationSource(table, years=years, normals_period=period, **here)
    dataset = source.monthly()
    dataset["time"].encoding.update(TIME_ENCODING)
    raster.write_netcdf(folder / "climate" / "climate.nc", dataset)


def write_maps(folder, grid, elevation, northness, methods, parts, labels, cells, keep):
    years = {}
    for number, label in enumerate(labels):
        for method in methods:
            north = 346 * northness * 0.022 if method == "topo" else 0.0
            ebio = (0.39 * elevation - 187) * 0.022 + north + (number % 3) * 0.5
            if method == "veg":
                ebio[3:6, 4:9] = np.nan
            eppt = 0.15 * ebio + 1.0
            found = {"eemt": ebio + eppt, "ebio": ebio, "eppt": eppt, **dict.fromkeys(keep, 0.5 + 0.01 * ebio)}
            for name, year in found.items():
                if name not in {"ebio", "eppt"} or parts:
                    bands = np.concatenate([year[None], SEASON[:, None, None] * year])
                    years.setdefault((name, method), {})[label] = bands
    written = []
    for (name, method), by_label in years.items():
        stack = np.stack(list(by_label.values()))
        by_label["mean"] = stack.mean(axis=0)
        if len(labels) > 2:
            by_label |= {"sd": stack.std(axis=0, ddof=1), "trend": stack[-1] - stack[0]}
            by_label["trend_p"] = np.where(np.isnan(stack[0]), np.nan, np.where(northness > 0, 0.01, 0.4))
        for label, bands in by_label.items():
            path = folder / "maps" / f"{name}_{method}_{label}.tif"
            tags = cells.get(method, {}) if name == "eemt" else {}
            with raster.cog_writer(path, grid, ["year", *MONTH_BANDS], "MJ m-2", tags) as target:
                target.write(bands.astype("float32"))
            written.append(path)
    summarise(written, "ridge").to_csv(folder / "summary.csv", index=False)


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
    cells = {"topo": {"EEMT_CELLS_SOLAR_RATIO_CLAMPED": 0, "EEMT_CELLS_ELEVATION_OUT_OF_RANGE": 1234}}
    return make_results(tmp_path_factory.mktemp("ridge"), cells=cells)


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report.html"
    benchmarks = make_benchmarks(tmp_path_factory.mktemp("benchmarks"))
    report.write_report(results, out, "ridge", configured(), benchmarks)
    return out.read_text(encoding="utf-8")


def mean_of(results, name):
    with rasterio.open(results / "maps" / f"{name}.tif") as source:
        return float(np.nanmean(source.read(1).astype("float64")))


def text_of(html):
    """Give the words a reader sees, without pictures, styles and tags."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body).replace("\u202f", "")).replace("&#39;", "'")
    return re.sub(r" ([.,;:)])", r"\1", words)


def write(folder, out, **options):
    report.write_report(folder, out, "ridge", configured(**options))
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
            followed = tag == "a" and (address.startswith("https://doi.org/") or address in BESIDE)
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


def test_page_links_to_what_stands_beside_it(results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "ridge")
    out = folder / "report.html"
    links = re.compile(r'<a href="([a-z]+\.[a-z]+)">([^<]+)</a>')
    assert links.findall(write(folder, out)) == [("summary.csv", "table of all maps")]
    for name in ("sweep.html", "zones.csv", "catalog.json", "other.csv"):
        (folder / name).touch()
    found = dict(links.findall(write(folder, out)))
    assert list(found) == ["sweep.html", "summary.csv", "zones.csv", "catalog.json"]
    assert all((folder / name).exists() for name in found)
    report.write_report(folder, out, "ridge", configured(), beside=["report.html", "zones.gpkg"])
    assert dict(links.findall(out.read_text())) == {"zones.gpkg": "zones with their means"}
    report.write_report(folder, out, "ridge", configured(), beside=[])
    assert 'class="links"' not in out.read_text()


@needs_browser
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_page_fits_a_phone_and_a_desk_and_shows_its_pictures(page, tmp_path, width):
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    assert_fits([path], tmp_path, width)
    path.write_text(page.replace("<h2 ", '<div style="width: 1300px">wide</div><h2 ', 1), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"report\.html is 1[34]\d\d wide"):
        assert_fits([path], tmp_path, width)


def test_hostile_names_are_shown_not_run(results, tmp_path):
    out = tmp_path / "report.html"
    report.write_report(results, out, '<script>alert("x")</script>', configured())
    html = out.read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<COOP" not in html


def test_methods_state_the_settings(results, tmp_path):
    changed = {"eemt": {"methods": ["trad", "topo"], "pet": "thornthwaite", "omega": 3.1, "npp_floor": 42}}
    changed["sun"] = {"linke": [2.5] * 12, "shadows": False, "step": 30}
    out = tmp_path / "report.html"
    report.write_report(results, out, "ridge", configured(changed))
    text = text_of(out.read_text())
    for phrase in ("Thornthwaite (1948)", "ω = 3.1", "not below 42 g", "no terrain shadows", "steps of 30 min"):
        assert phrase in text
    assert "Hamon" not in text


def test_cells_outside_the_models_domain_are_reported_and_none_are_not(page):
    text = text_of(page)
    assert f"TOPO 1234 13 % {COUNTS['elevation_out_of_range']}" in text
    assert COUNTS["solar_ratio_clamped"] not in text


def test_run_times_are_summed_by_rule(tmp_path):
    sun, terrain = report.run_times(make_benchmarks(tmp_path))
    assert (sun["rule"], sun["jobs"], sun["total"], sun["longest"], sun["memory"]) == ("sun", 2, 150.0, 90.0, 512.5)
    assert (terrain["rule"], terrain["jobs"], terrain["memory"]) == ("terrain", 1, None)


def test_run_times_show_in_the_page_and_a_run_without_them_is_no_error(page, results, tmp_path):
    assert "2.5 min" in text_of(page)
    out = tmp_path / "report.html"
    report.write_report(results, out, "ridge", configured(), tmp_path / "absent")
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
    assert "How much years differ" in text and "Trend of EEMT over 2003 to 2005" in text
    assert "t test with 1 degrees of freedom" in text
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
    run = open_run(results, configured())
    whole = survey(run)
    monkeypatch.setattr("eemt.results.STRIP", 7)
    strips = survey(run)
    assert strips.cells == whole.cells
    assert strips.facing["topo"] == pytest.approx(whole.facing["topo"])
    assert np.allclose(strips.profiles["topo"].mean, whole.profiles["topo"].mean)


def test_profile_rises_where_eemt_rises_with_elevation(results):
    profile = survey(open_run(results, configured())).profiles["trad"]
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
        "wetness/area.tif",
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
        beside=None,
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
        beside=None,
        picture=None,
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
    with pytest.raises(InputError, match=r"twi\.tif is not on the cells"):
        write(folder, tmp_path / "report.html")


def test_edge_and_every_count_of_every_method_are_told(tmp_path):
    methods = ("trad", "topo", "veg")
    cells = {method: {f"EEMT_CELLS_{name.upper()}": 7 for name in COUNTS_OF[method]} for method in methods}
    folder = make_results(tmp_path, (40, 50), methods=methods, cells=cells)
    text = text_of(write(folder, tmp_path / "report.html", methods=methods))
    for method in methods:
        for name in COUNTS_OF[method]:
            assert (
                f"{method.upper()} 7 0.3 % {COUNTS[name]}" in text or f"{method.upper()} 7 0.4 % {COUNTS[name]}" in text
            )
    assert "To 200 cells (10 %) water may flow from beyond the edge" in text
    run = open_run(folder, configured(methods=methods))
    assert len(counts(run)) == sum(map(len, COUNTS_OF.values()))
    assert edge(run).share == pytest.approx(0.1)


def test_plants_change_is_shown_beside_that_of_topography(tmp_path):
    methods = ("trad", "topo", "veg")
    folder = make_results(tmp_path, (40, 50), methods=methods)
    html = write(folder, tmp_path / "report.html", methods=methods)
    assert "TOPO minus TRAD and VEG minus TOPO" in html
    topo, veg = (mean_of(folder, f"eemt_{method}_1971-2000") for method in ("topo", "veg"))
    assert f"{veg - topo:+.1f}".replace("-", "−") in html
    assert "(leaves.tif)" in html and "(trees.tif)" in html


def test_kept_variables_have_maps_rows_and_units(tmp_path):
    keep = ("pet", "npp", "temperature", "fbio")
    folder = make_results(tmp_path, (40, 50), keep=keep)
    html = write(folder, tmp_path / "report.html", keep=keep)
    text = text_of(html)
    for row in ("PET TRAD mm yr⁻¹", "NPP TOPO g m⁻² yr⁻¹", "Temperature TRAD °C", "F BIO TOPO –"):
        assert row in text
    assert html.count("Potential evaporation, 1971-2000") == 2  # caption and its picture's words


def test_elevation_may_reach_beyond_the_maps(tmp_path):
    bare, rimmed = (make_results(tmp_path / name, rim=rim) for name, rim in (("bare", 0), ("rimmed", 20)))
    inner = raster.read_band(bare / "dem" / "dem.tif")
    run = open_run(rimmed, configured())
    kept = raster.read_band(rimmed / "dem" / "dem.tif")[20:-20, 20:-20]
    np.testing.assert_allclose(run.read("dem/dem.tif")[0], kept)
    assert survey(run).lowest == pytest.approx(float(np.nanmin(kept)))
    assert np.isfinite(inner).any()
    text = text_of(write(rimmed, tmp_path / "report.html"))
    assert "reach beyond the maps by 0.6 km to the north, 0.6 km to the east" in text


def test_elevation_data_name_their_source_steps_and_attribution(tmp_path):
    folder = make_results(tmp_path, (40, 50))
    title = DATA_SETS["glo30"].title
    told = {
        "created": "2026-11-21T10:00:00+00:00",
        "source": {
            "title": title,
            "data_set": "glo30",
            "pieces": [{"url": "https://user:word@example.org/piece.tif?key=1", "last_modified": "Mon, 1 Jan 2024"}],
            "absent_taken_for_sea": ["N39"],
        },
        "steps": [
            {"step": "read", "crs": "EPSG:4326", "bounds": [-105, 39, -104, 40], "cell": [1 / 3600, 1 / 3600]},
            {"step": "to metres", "unit": "us_foot"},
            {"step": "fill voids", "up_to_metres": 90.0, "cells_filled": 12},
            {"step": "warp", "resampling": "average"},
        ],
    }
    (folder / "dem" / "dem.json").write_text(json.dumps(told))
    html = write(folder, tmp_path / "report.html")
    text = text_of(html)
    for phrase in (
        title,
        "read on cells of 1 arc seconds",
        "US survey feet",
        "90 m wide filled (12 cells)",
        "by averaging",
    ):
        assert phrase in text
    assert "https://example.org/piece.tif, of Mon, 1 Jan 2024" in text
    assert "taken for sea, at 0 m: N39" in text
    assert "user:word" not in html and "key=1" not in html
    (folder / "dem" / "dem.json").write_text("{}")
    with pytest.raises(InputError, match=r"dem\.json is not what `eemt dem` writes"):
        write(folder, tmp_path / "report.html")


def test_secrets_in_settings_are_not_shown(results, tmp_path):
    hidden = {"dem": {"source": "https://me:secret@example.org/a/dem.tif?token=abc"}}
    out = tmp_path / "report.html"
    report.write_report(results, out, "ridge", configured(hidden))
    html = out.read_text()
    assert "https://example.org/a/dem.tif" in html
    assert "secret" not in html and "token" not in html


def test_settings_of_other_sources_are_left_out(page):
    assert "lapse_tmin: 6.5" in page
    assert "max_single_pixel_cells" not in page and "methods: [trad, topo]" in page


def test_climate_of_the_site_is_that_of_its_height(results):
    """A station carried by 6.5 K per km, averaged over the map."""
    climate = origins.climate_of(open_run(results, configured()))
    height = float(np.nanmean(raster.read_band(results / "dem" / "dem.tif").astype("float64")))
    at_station = climate.stations[0].temperature
    at_site = np.mean([climate.months["tmin"], climate.months["tmax"]])
    assert at_site == pytest.approx(at_station - 6.5 * (height - 1594) / 1000, abs=0.05)
    assert sum(climate.months["prcp"]) == pytest.approx(12 * 56, rel=1e-3)
    assert climate.years["1971-2000"][0] == pytest.approx(at_site)


def test_several_stations_are_listed_and_their_lapse_rates_told(tmp_path):
    labels = ("2003", "2004", "2005")
    folder = make_results(tmp_path, (40, 50), labels=labels)
    write_climate(folder, labels, stations=3)
    chosen = {
        "climate": {"file": "station.csv", "years": [2003, 2005], "lapse_tmin": "stations", "idw_power": 3},
    }
    out = tmp_path / "report.html"
    report.write_report(folder, out, "ridge", configured(chosen))
    text = text_of(out.read_text())
    assert "of 3 stations (1594 to 2430 m; station.csv; 2003 to 2005)" in text
    assert "to the power 3. Temperatures" in text
    assert "minimum, fitted to the stations month by month," in text
    for name in ("Waterdale 40.43° N, 105.21° W 1594", "Gross", "Hill"):
        assert name in text


def test_daymet_tells_days_providers_licence_and_citation(tmp_path):
    labels = ("2003", "2004")
    folder = make_results(tmp_path, (40, 50), labels=labels)
    path = folder / "climate" / "climate.nc"
    with raster.open_netcdf(path, "test") as dataset:
        source = dataset.load()
    lengths = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    leap = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 30])
    source["days_counted"] = ("time", np.concatenate([lengths, leap]))
    source.attrs |= {"title": "Monthly climate of Daymet V4 R1", "source": "Daymet V4 R1 daily", "references": CITATION}
    source.attrs |= {"license": "free for any use, with citation", "elevation_source": "of the single-pixel service"}
    raster.write_netcdf(path, source)
    parts = [{"provider": "gdex", "retrieved": "2026-11-20T01:00:00"}] * 5
    parts.append({"provider": "local", "retrieved": "2026-11-21T01:00:00"})
    path.with_suffix(".json").write_text(json.dumps({"file": "climate.nc", "parts": parts}))
    chosen = {"climate": {"source": "daymet", "years": [2003, 2004]}}
    out = tmp_path / "report.html"
    report.write_report(folder, out, "ridge", configured(chosen))
    text = text_of(out.read_text())
    assert "Months are of 365 days a year, 730 in all." in text
    assert "5 files from NCAR's Geoscience Data Exchange and 1 file from files on disk from 2026-11-20 to" in text
    assert "Licence: free for any use" in text
    assert CITATION in text
    assert "elevation is of the single-pixel service" in text


OPTIONS = [
    {},
    {"pet": "thornthwaite", "cold_npp": True, "pet_topo": "hamon"},
    {"methods": ("trad",), "pet": "penman"},
    {"methods": ("topo",), "pet_topo": "penman_monteith", "npp_split": "warmth", "budyko": "annual"},
    {"methods": ("veg",), "redistribution": "renormalised", "npp_veg": "centred", "radiation_area": "horizontal"},
    {"methods": ("trad", "veg"), "pet_veg": "thornthwaite", "net_radiation": "shortwave", "vapour_pressure": "tmin"},
    {"methods": ("trad", "topo", "veg"), "clearness": 0.7, "wind": list(range(1, 13)), "albedo": [0.2] * 12},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_references_are_those_that_the_text_cites(options, tmp_path):
    methods = options.get("methods", ("trad", "topo"))
    folder = make_results(tmp_path, (30, 30), methods=methods)
    html = write(folder, tmp_path / "report.html", **options)
    rest = html.split('<h2 id="methods">')[1]
    text, listed = text_of(rest.split('<ul class="references">')[0]), rest.split('<ul class="references">')[1]
    for work in citations.WORKS.values():
        named = re.search(rf"{work.authors},? \(?{work.year}", text) is not None
        assert named == (work.reference in listed.replace("&#39;", "'")), work.reference


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"npp_split": "warmth"}, "by the productivity of Lieth (1975)"),
        ({"budyko": "annual"}, "actual evaporation of the year, the same share of each month"),
        ({"redistribution": "renormalised"}, "brought back, month by month, to the sum"),
        ({"vapour_pressure": "tmin"}, "saturation at the cell's minimum temperature"),
        ({"net_radiation": "shortwave"}, "absorbed sun alone"),
        ({"clearness": 0.7}, "clearness of the sky 0.7"),
        ({"radiation_area": "horizontal"}, "counted on the area of the map"),
        ({"pet_topo": "penman_monteith"}, "reference crop, grass"),
        (
            {"reference_temperature": 273, "water_heat_capacity": 4180, "biomass_enthalpy": 22.2},
            "22.2 MJ kg⁻¹, c w = 4180",
        ),
        ({"cold_npp": True}, "exceeds potential evaporation (Rasmussen et al., 2005)."),
        ({"methods": ("veg",), "npp_veg": "centred"}, "0.61 (h − 12.0933)²"),
        ({"methods": ("veg",), "npp_veg_floor": 100}, "not below 100 g"),
        ({"methods": ("veg",), "pet_veg": "penman"}, "Canopy height is of trees.tif"),
    ],
)
def test_methods_tell_each_choice_of_the_science(options, phrase, tmp_path):
    folder = make_results(tmp_path, (20, 20), methods=options.get("methods", ("trad", "topo")))
    text = text_of(write(folder, tmp_path / "report.html", **options)).replace("&#39;", "'")
    assert phrase in text


def test_units_are_printed_with_their_time():
    assert pictures.units("eemt") == "MJ m⁻² yr⁻¹"
    assert pictures.units("pet") == "mm yr⁻¹"
    assert pictures.units("temperature") == "°C"
