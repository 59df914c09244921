"""Maps summed up over polygons; what is expected is computed by hand from shares of cells."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eemt.config import ZoneSettings
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.raster import write_geotiff
from eemt.zonal_statistics import annual_means, summarise_zones, weighted_percentiles
from eemt.zones import read_zones, refuse_elsewhere
from sites import BOULDER, CLIMATE

CRS = "EPSG:32613"
GRID = Grid(CRS, 471_000.0, 4_423_000.0, 100.0, 100.0, 12, 10)
BANDS = ["year", *(f"{month:02d}" for month in range(1, 13))]
ALL = ("mean", "sd", "min", "max", "p5", "p50", "p95")
VALUES = np.random.default_rng(5).gamma(2.0, 7.0, size=(13, *GRID.shape)).astype(np.float32)
VALUES[:, 4, 7] = np.nan


def cells(top: float, bottom: float, left: float, right: float) -> shapely.Polygon:
    """A rectangle from rows and columns, in parts of cells, counted from the upper left corner."""
    x, y = GRID.west, GRID.north
    return shapely.box(x + left * GRID.dx, y - bottom * GRID.dy, x + right * GRID.dx, y - top * GRID.dy)


@pytest.fixture
def eemt_map(tmp_path: Path) -> Path:
    path = tmp_path / "eemt_topo_2003.tif"
    write_geotiff(path, VALUES, GRID, BANDS, "MJ m-2")
    return path


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Write polygons to a file and return its path."""

    def to_file(shapes: list, name: str = "zones.gpkg", crs: str = CRS, **attributes: list) -> str:
        path = tmp_path / name
        gpd.GeoDataFrame(attributes, geometry=shapes, crs=crs).to_file(path)
        return str(path)

    return to_file


def table_of(path: Path, file: str, statistics: tuple[str, ...] = ALL, **settings: str) -> pd.DataFrame:
    return summarise_zones([path], read_zones(ZoneSettings(file=file, **settings)), statistics, "here")


def expected(shares: np.ndarray, band: int = 0) -> dict[str, float]:
    """Sum up a band by the share of each cell that counts."""
    shares = np.where(np.isfinite(VALUES[band]), shares, 0.0)
    values, weights = VALUES[band][shares > 0].astype(float), shares[shares > 0]
    mean = np.average(values, weights=weights)
    return {
        "mean": mean,
        "sd": np.sqrt(np.average((values - mean) ** 2, weights=weights)),
        "min": values.min(),
        "max": values.max(),
        "cells": weights.sum(),
        "area_km2": weights.sum() * 0.01,
    }


def assert_as_expected(row: pd.Series, shares: np.ndarray, rtol: float = 1e-6) -> None:
    for name, value in expected(shares, int(row.month)).items():
        assert row[name] == pytest.approx(value, rel=rtol), name


def test_cells_count_by_the_share_that_lies_in_the_zone(eemt_map, save):
    table = table_of(eemt_map, save([cells(0, 1, 0.5, 2), cells(2.25, 5, 6, 9.5)]))
    half = np.zeros(GRID.shape)
    half[0, :2] = 0.5, 1.0
    shares = np.zeros(GRID.shape)
    shares[2:5, 6:10] = np.outer([0.75, 1.0, 1.0], [1.0, 1.0, 1.0, 0.5])
    assert list(table.zone) == [1] * 13 + [2] * 13 and list(table.month) == [*range(13), *range(13)]
    for _, row in table.iterrows():
        assert_as_expected(row, half if row.zone == 1 else shares)


def test_diagonal_halves_a_cell(eemt_map, save):
    x, y = GRID.west, GRID.north
    [row] = table_of(eemt_map, save([shapely.Polygon([(x, y), (x + 100, y), (x, y - 100)])])).iloc[:1].itertuples()
    assert (row.cells, row.mean) == (pytest.approx(0.5), pytest.approx(VALUES[0, 0, 0]))


def test_holes_are_left_out_and_parts_are_joined(eemt_map, save):
    holed = cells(0, 6, 0, 6) - cells(1, 3, 1, 3.5)
    parts = shapely.MultiPolygon([cells(0, 2, 0, 2), cells(7, 9, 8, 12)])
    table = table_of(eemt_map, save([holed, parts]))
    shares = np.zeros((2, *GRID.shape))
    shares[0, :6, :6] = 1.0
    shares[0, 1:3, 1:4] -= [1.0, 1.0, 0.5]
    shares[1, :2, :2] = shares[1, 7:9, 8:12] = 1.0
    for _, row in table.iterrows():
        assert_as_expected(row, shares[row.zone - 1])


def test_percentiles_of_whole_cells_are_those_of_numpy(eemt_map, save):
    table = table_of(eemt_map, save([cells(3, 8, 5, 11), cells(0, 2, 0, 3)]))
    for _, row in table.iterrows():
        here = VALUES[row.month][3:8, 5:11] if row.zone == 1 else VALUES[row.month][:2, :3]
        wanted = np.percentile(here[np.isfinite(here)].astype(float), [5, 50, 95])
        np.testing.assert_allclose([row.p5, row.p50, row.p95], wanted, rtol=1e-6)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), weight=st.floats(1e-3, 10))
def test_percentiles_of_equal_weights_are_those_of_numpy(values: list[float], weight: float):
    found = weighted_percentiles(np.array(values), np.full(len(values), weight), [0, 5, 50, 95, 100])
    np.testing.assert_allclose(found, np.percentile(values, [0, 5, 50, 95, 100]), rtol=1e-6, atol=1e-6)


def test_median_goes_to_the_side_of_the_weight():
    values, weights = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 8.0])
    # the middles of the weights are at 0.5, 1.5 and 6; half way between the first and the last is 3.25
    assert weighted_percentiles(values, weights, [50])[0] == pytest.approx(2 + 1.75 / 4.5)
    assert np.isnan(weighted_percentiles(values[:0], weights[:0], [50])[0])


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32612", "EPSG:5070", "EPSG:3857"])
def test_polygons_of_another_system_lie_where_they_belong(eemt_map, save, crs):
    fine = shapely.segmentize([cells(0, 1, 0.5, 2), cells(2.25, 5, 6, 9.5)], 1.0)
    moved = list(gpd.GeoSeries(fine, crs=CRS).to_crs(crs))
    here, there = (
        table_of(eemt_map, save(shapes, name, system))
        for shapes, name, system in ((list(fine), "own.gpkg", CRS), (moved, "other.gpkg", crs))
    )
    np.testing.assert_allclose(there[[*ALL[:4], "cells"]], here[[*ALL[:4], "cells"]], rtol=1e-4)


def test_straight_edge_in_degrees_bends_on_the_map(tmp_path, save):
    wide = Grid(CRS, 400_000.0, 4_423_000.0, 1000.0, 1000.0, 200, 40)
    write_geotiff(tmp_path / "eemt_topo_mean.tif", np.ones((1, *wide.shape), np.float32), wide, ["year"], "")
    four_corners = shapely.box(-106.1, 39.7, -103.9, 39.8)
    table = table_of(tmp_path / "eemt_topo_mean.tif", save([four_corners], crs="EPSG:4326"))
    many = gpd.GeoSeries(shapely.segmentize([four_corners], 1e-4), crs="EPSG:4326").to_crs(CRS)
    assert table.cells[0] == pytest.approx(many.area[0] / 1e6, rel=1e-6)


def test_polygons_as_large_as_a_continent_hold_the_map(eemt_map, save, capfd):
    continent = shapely.box(-130, 10, -60, 75)
    world = shapely.box(-180, -90, 180, 90)
    table = table_of(eemt_map, save([continent, world], crs="EPSG:4326"))
    assert list(table.cells) == [pytest.approx(119)] * 26
    assert "2 of 2 zones" in capfd.readouterr().err


def test_map_across_the_date_line(tmp_path, save):
    grid = Grid("EPSG:32660", 790_000.0, 7_300_000.0, 1000.0, 1000.0, 30, 12)  # about 179.2 to 180.0 degrees east
    write_geotiff(tmp_path / "eemt_topo_mean.tif", np.ones((1, *grid.shape), np.float32), grid, ["year"], "")
    both = shapely.MultiPolygon([shapely.box(170, 60, 180, 70), shapely.box(-180, 60, -170, 70)])
    table = table_of(tmp_path / "eemt_topo_mean.tif", save([both], crs="EPSG:4326"))
    assert table.cells[0] == pytest.approx(grid.width * grid.height)


@pytest.mark.parametrize("name", ["z.geojson", "z.shp", "z.fgb"])
def test_formats_give_the_same(eemt_map, save, name):
    shapes = [cells(0, 1, 0.5, 2), cells(2.25, 5, 6, 9.5)]
    crs = "EPSG:4326" if name == "z.geojson" else CRS
    moved = list(gpd.GeoSeries(shapely.segmentize(shapes, 1.0), crs=CRS).to_crs(crs))
    one, other = (
        table_of(eemt_map, save(*how, label=["Aa", "Öb"]), id="label")
        for how in ((shapes, "z.gpkg", CRS), (moved, name, crs))
    )
    # flatgeobuf has its features in another order
    one, other = (table.sort_values(["zone", "month"], ignore_index=True) for table in (one, other))
    assert list(other.zone) == ["Aa"] * 13 + ["Öb"] * 13
    np.testing.assert_allclose(other[["mean", "cells"]], one[["mean", "cells"]], rtol=1e-4)


def test_attributes_of_all_types_are_kept(call, eemt_map, save, tmp_path):
    file = save(
        [cells(0, 1, 0, 2), cells(2, 5, 6, 9)],
        name="kinds.gpkg",
        number=[7, None],
        share=[0.25, np.nan],
        gauged=[True, False],
        title=["Upper – Öst", None],
        since=[datetime.date(1999, 1, 31), datetime.date(2001, 2, 3)],
        at=pd.to_datetime(["1999-01-31T10:00:00", "2001-02-03T04:05:06"]),
    )
    out = {kind: tmp_path / f"out.{kind}" for kind in ("csv", "parquet", "gpkg")}
    code, _, err = call(
        "zones", eemt_map, "--zones", file, "--site", "s", *(word for kind in out for word in (f"--{kind}", out[kind]))
    )
    assert (code, err) == (0, "")
    parquet, csv = pd.read_parquet(out["parquet"]), pd.read_csv(out["csv"])
    for table in (parquet, csv, gpd.read_file(out["gpkg"])):
        first, last = table.iloc[0], table.iloc[-1]
        assert (first.number, first.share, bool(first.gauged), first.title) == (7, 0.25, True, "Upper – Öst")
        assert pd.isna(last.number) and pd.isna(last.share) and pd.isna(last.title) and not last.gauged
        assert pd.Timestamp(first.since) == pd.Timestamp("1999-01-31")
        assert pd.Timestamp(last["at"]) == pd.Timestamp("2001-02-03T04:05:06")
    assert list(csv.columns) == list(parquet.columns)
    assert list(csv.columns[:3]) == ["site", "case", "zone"] and list(csv.columns[-6:]) == [
        *ALL[:4],
        "cells",
        "area_km2",
    ]


def test_lists_of_geojson_are_kept_as_text(eemt_map, tmp_path):
    shape = gpd.GeoSeries([cells(0, 1, 0, 2)], crs=CRS).to_crs(4326)[0]
    feature = {"type": "Feature", "properties": {"tags": ["a", "b"], "more": {"x": 1}}, "geometry": shape}
    feature["geometry"] = shapely.geometry.mapping(shape)
    path = tmp_path / "lists.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    row = table_of(eemt_map, str(path)).iloc[0]
    assert json.loads(row.tags) == ["a", "b"] and json.loads(row.more) == {"x": 1}


def test_attributes_named_as_our_columns_get_a_prefix(eemt_map, save):
    file = save([cells(0, 1, 0, 2)], Mean=[3.5], year=[1990], zone_year=["b"], site=["x"], eemt_topo_2003=[9.0])
    zones = read_zones(ZoneSettings(file=file))
    table = summarise_zones([eemt_map], zones, ("mean",), "here")
    row = table.iloc[0]
    assert (row.zone_Mean, row.zone_year, row.zone_zone_year, row.zone_site) == (3.5, 1990, "b", "x")
    assert (row.site, row.year) == ("here", "2003")
    joined = annual_means(table, zones).iloc[0]
    assert (joined.zone_eemt_topo_2003, joined.eemt_topo_2003) == (9.0, pytest.approx(VALUES[0, 0, :2].mean()))


def test_polygons_with_their_means_open_as_one_layer_and_can_be_zones_again(call, eemt_map, save, tmp_path):
    other = tmp_path / "ebio_trad_1971-2000.tif"
    write_geotiff(other, VALUES * 2, GRID, BANDS, "MJ m-2")
    shapes = list(gpd.GeoSeries([cells(0, 1, 0, 2), cells(2, 5, 6, 9)], crs=CRS).to_crs(4326))
    file = save(shapes, crs="EPSG:4326", code=["a", "b"])
    words = ("--site", "s", "--csv", tmp_path / "o.csv", "--parquet", tmp_path / "o.parquet")
    for source in (file, tmp_path / "o.gpkg"):
        code, _, err = call(
            "zones", eemt_map, other, "--zones", source, "--id", "code", *words, "--gpkg", tmp_path / "o.gpkg"
        )
        assert (code, err) == (0, "")
    assert [list(layer) for layer in pyogrio.list_layers(tmp_path / "o.gpkg")] == [["zones", "Polygon"]]
    joined = gpd.read_file(tmp_path / "o.gpkg")
    assert joined.crs == "EPSG:4326" and joined.geometry.geom_equals(gpd.GeoSeries(shapes, crs="EPSG:4326")).all()
    table = pd.read_parquet(tmp_path / "o.parquet")
    year = table[(table.month == 0) & (table.zone == "b")].set_index("variable")
    last = joined.iloc[1]
    assert (last.zone, last.code) == ("b", "b")
    assert (last.eemt_topo_2003, last.ebio_trad_1971_2000) == (year["mean"].eemt, year["mean"].ebio)
    assert last.area_km2 == pytest.approx(0.08, rel=1e-3)


def test_table_of_more_maps_than_a_geopackage_has_columns_for(eemt_map, save, monkeypatch):
    monkeypatch.setattr("eemt.zonal_statistics.MOST_COLUMNS", 2)
    file = save([cells(0, 1, 0, 2)])
    mean = eemt_map.with_name("eemt_topo_mean.tif")
    write_geotiff(mean, VALUES, GRID, BANDS, "MJ m-2")
    zones = read_zones(ZoneSettings(file=file))
    joined = annual_means(summarise_zones([eemt_map, mean], zones, ("mean",), "here"), zones)
    assert list(joined.columns) == ["zone", "area_km2", "eemt_topo_mean", "geometry"]


def test_csv_and_parquet_are_alike(call, eemt_map, save, tmp_path):
    code, _, err = call(
        "zones", eemt_map, "--zones", save([cells(0, 3, 0, 3)], kind=["forest"]), "--site", "s", "--case", "linke~2",
        "--statistics", "mean,p50", "--csv", tmp_path / "z.csv", "--parquet", tmp_path / "z.parquet",
    )  # fmt: skip
    assert (code, err) == (0, "")
    csv, parquet = pd.read_csv(tmp_path / "z.csv", dtype={"year": str}), pd.read_parquet(tmp_path / "z.parquet")
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False, rtol=1e-5)
    assert list(csv.columns) == [
        "site", "case", "zone", "kind", "variable", "method", "year", "month", "mean", "p50", "cells", "area_km2",
    ]  # fmt: skip
    assert set(csv.case) == {"linke~2"} and set(csv.year) == {"2003"}


def test_zone_outside_the_maps_has_empty_rows_and_is_told(eemt_map, save, capfd):
    shapes = [cells(0, 1, 0, 2), cells(500, 501, 0, 1), cells(8, 12, 0, 3)]
    table = table_of(eemt_map, save(shapes, name="three.gpkg", label=["in", "out", "half"]), id="label")
    empty = table[table.zone == "out"]
    assert (
        len(empty) == 13
        and empty[list(ALL)].isna().all(axis=None)
        and (empty[["cells", "area_km2"]] == 0).all(axis=None)
    )
    assert table[table.zone == "half"].cells.iloc[0] == pytest.approx(6)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split("three.gpkg ")[1] for line in lines] == [
        "lie outside the maps; their rows are empty: out",
        "reach beyond the maps: half",
    ]


def test_drawing_without_a_place_on_earth_is_refused(save):
    zones = read_zones(ZoneSettings(file=save([shapely.box(0, 0, 1, 1)], crs='LOCAL_CS["site grid",UNIT["metre",1]]')))
    with pytest.raises(InputError, match=r"is in site grid, from which there is no way to the maps"):
        zones.on(GRID)


def test_zone_without_a_known_cell_is_empty(eemt_map, save, capfd):
    row = table_of(eemt_map, save([cells(4.1, 4.9, 7.1, 7.9)])).iloc[0]
    assert row.cells == 0 and row[list(ALL)].isna().all()
    assert capfd.readouterr().err == ""


def test_zones_all_elsewhere_are_refused_before_a_run(save):
    file = save([shapely.box(5, 45, 6, 46)], crs="EPSG:4326")
    with pytest.raises(InputError, match=r"none of the 1 polygons of .* lies on the maps; they reach from .* WGS 84"):
        refuse_elsewhere(read_zones(ZoneSettings(file=file)), GRID)


def test_check_looks_at_the_zones(call, tmp_path):
    centre = gpd.GeoSeries([shapely.Point(-105.3, 39.96)], crs="EPSG:4326").to_crs(CRS).buffer(500)
    gpd.GeoDataFrame({"code": ["a"]}, geometry=centre).to_file(tmp_path / "here.gpkg")
    gpd.GeoDataFrame({"code": ["a"]}, geometry=centre.translate(1e5)).to_file(tmp_path / "there.gpkg")
    for zones, told in (
        ({"file": "here.gpkg", "id": "code"}, ""),
        ({"file": "there.gpkg"}, "zones: none of the 1 polygons of "),
        ({"file": "gone.gpkg"}, "gone.gpkg does not exist"),
        ({"file": "here.gpkg", "id": "huc"}, "here.gpkg has no attribute huc; it has code"),
    ):
        zones["file"] = str(tmp_path / zones["file"])
        site = {"dem": {"source": str(BOULDER), "resolution": 30}, "climate": CLIMATE, "zones": zones}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"sites": {"boulder": site}}))
        code, _, err = call("check", tmp_path / "config.yaml")
        assert (code, err.count("\n")) == ((2, 1) if told else (0, 0)), err
        assert told in err


def test_statistics_are_known_ones_with_the_mean():
    assert ZoneSettings(file="z.gpkg", statistics="mean,p50").statistics == ("mean", "p50")
    for wrong, told in (("sd,max", "mean, which zones.gpkg shows"), ("mean,mean", "each once"), ("mode", "p95")):
        with pytest.raises(ValueError, match=told):
            ZoneSettings(file="z.gpkg", statistics=wrong)


def test_percentiles_are_the_same_however_much_is_held_at_once(eemt_map, save, monkeypatch):
    file = save([cells(0, 1, 0.5, 2), cells(2.25, 5, 6, 9.5)])
    whole = table_of(eemt_map, file)
    monkeypatch.setattr("eemt.zonal_statistics.HELD", 4 * 64 * 13)
    pd.testing.assert_frame_equal(table_of(eemt_map, file), whole)
    monkeypatch.setattr("eemt.zonal_statistics.CELLS_AT_ONCE", 20)
    pd.testing.assert_frame_equal(table_of(eemt_map, file), whole)


def test_polygons_of_a_system_that_ends_before_the_maps(eemt_map, save):
    far = save([shapely.box(640_000, 6_850_000, 650_000, 6_870_000)], crs="EPSG:2154")  # France
    assert (table_of(eemt_map, far).cells == 0).all()


BOW = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ([BOW], r"zone y \(feature 2\) of .* is no valid polygon: Self-intersection.*; mend it"),
        ([shapely.Point(0, 0)], r"zone y \(feature 2\) of .* is a Point; only polygons have an area"),
        ([None], r"zone y \(feature 2\) of .* has no geometry"),
        ([shapely.Polygon()], r"zone y \(feature 2\) of .* has no geometry"),
    ],
)
def test_what_is_no_polygon_is_named(call, eemt_map, save, tmp_path, shapes, told):
    file = save([cells(0, 1, 0, 1), *shapes], label=["x", "y"])
    code, _, err = call(
        "zones", eemt_map, "--zones", file, "--id", "label", "--site", "s",
        "--csv", tmp_path / "z.csv", "--parquet", tmp_path / "z.parquet",
    )  # fmt: skip
    assert code == 2 and len(err.splitlines()) == 1
    with pytest.raises(InputError, match=told):
        read_zones(ZoneSettings(file=file, id="label"))


def test_layers_are_chosen_by_name_where_there_are_several(eemt_map, save):
    file = save([cells(0, 1, 0, 2)], "several.gpkg")
    more = gpd.GeoDataFrame({"k": [1]}, geometry=[cells(0, 2, 0, 2)], crs=CRS)
    more.to_file(file, layer="plots")
    gpd.GeoDataFrame({"k": [1]}, geometry=[shapely.Point(0, 0)], crs=CRS).to_file(file, layer="gauges")
    assert table_of(eemt_map, file, layer="plots").cells[0] == pytest.approx(4)
    with pytest.raises(InputError, match=r"has several layers: several, plots; name one as zones.layer"):
        read_zones(ZoneSettings(file=file))
    with pytest.raises(InputError, match=r"has no layer plot; it has several, plots, gauges"):
        read_zones(ZoneSettings(file=file, layer="plot"))
    with pytest.raises(InputError, match=r"zone 1 \(feature 1\) of .* is a Point"):
        read_zones(ZoneSettings(file=file, layer="gauges"))


def test_one_layer_of_polygons_among_others_needs_no_name(eemt_map, save):
    file = save([cells(0, 1, 0, 2)], "mixed.gpkg")
    gpd.GeoDataFrame({"k": [1]}, geometry=[shapely.Point(0, 0)], crs=CRS).to_file(file, layer="gauges")
    assert table_of(eemt_map, file).cells[0] == pytest.approx(2)


def test_file_that_cannot_be_used_is_refused_in_one_line(save, tmp_path):
    (tmp_path / "text.gpkg").write_text("no polygons")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    twice = save([cells(0, 1, 0, 1), cells(1, 2, 0, 1)], "twice.gpkg", code=["a", "a"], gap=["a", None])
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    save([cells(0, 1, 0, 1)], "bare.shp")
    (tmp_path / "bare.prj").unlink()
    points = tmp_path / "points.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=CRS).to_file(points)
    for settings, told in (
        ({"file": "absent.gpkg"}, "absent.gpkg does not exist"),
        ({"file": str(tmp_path / "text.gpkg")}, "is not a vector file that GDAL can read"),
        ({"file": str(tmp_path / "table.csv")}, r"has no layer of polygons; it has table \(no geometry\)"),
        ({"file": str(tmp_path / "none.geojson")}, "has no"),
        ({"file": str(points)}, r"has no layer of polygons; it has points \(Point\)"),
        ({"file": str(tmp_path / "bare.shp")}, "has no coordinate system; add one"),
        ({"file": twice, "id": "code"}, "has code a more than once"),
        ({"file": twice, "id": "gap"}, "polygon 2 of .* has no gap"),
        ({"file": twice, "id": "huc"}, "has no attribute huc; it has code, gap"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            read_zones(ZoneSettings(**settings))
        assert str(caught.value).startswith("zones") and "\n" not in str(caught.value)


def test_unclosed_ring_is_named(tmp_path):
    ring = [[-105.3, 39.9], [-105.2, 39.9], [-105.2, 40.0], [-105.3, 40.0]]
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [points]}}
        for points in ([*ring, ring[0]], ring[:2])
    ]
    path = tmp_path / "open.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(InputError, match=r"zone 2 \(feature 2\) of .*open.geojson has no geometry that can be used"):
        read_zones(ZoneSettings(file=str(path)))


def test_damaged_file_is_refused_in_one_line(save, tmp_path):
    whole = Path(save([cells(row, row + 1, 0, 1) for row in range(200)], "whole.fgb")).read_bytes()
    (tmp_path / "cut.fgb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.fgb cannot be read: .+"):
        read_zones(ZoneSettings(file=str(tmp_path / "cut.fgb")))


def test_map_by_another_name_is_refused(eemt_map, save):
    with pytest.raises(InputError, match=r"slope.tif is not named VARIABLE_METHOD_YEAR.tif"):
        table_of(eemt_map.with_name("slope.tif"), save([cells(0, 1, 0, 2)]))
