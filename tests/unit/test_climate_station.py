"""A station's table: what it becomes, and what is said of one that cannot be used."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from eemt.climate.monthly import select, year_labels
from eemt.climate.source import validate
from eemt.climate.station import StationSource, read_table
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError
from eemt.raster import open_netcdf, write_netcdf

WATERDALE = Path(__file__).parents[2] / "config/data/waterdale_normals_1971-2000.csv"
PLACE = {"elevation": 1594.0, "latitude": 40.43, "longitude": -105.21}


def months(**columns):
    """Build a good table of one year, with some columns replaced."""
    table = {
        "month": range(1, 13),
        "tmin_degC": np.linspace(-5.0, 6.0, 12),
        "tmax_degC": np.linspace(5.0, 16.0, 12),
        "prcp_mm": 30.0,
    }
    return pd.DataFrame(table | columns)


def years(*labels):
    return pd.concat([months(year=label) for label in labels], ignore_index=True)


@pytest.fixture
def write(tmp_path):
    def to_file(table, comment="# a station\n"):
        path = tmp_path / "table.csv"
        path.write_text(comment + (table if isinstance(table, str) else table.to_csv(index=False)))
        return path

    return to_file


def test_normals_of_waterdale():
    climate = StationSource(WATERDALE, **PLACE, normals_period=(1971, 2000)).monthly()
    assert climate["tmax"].dims == ("time", "y", "x")
    assert climate["tmax"].values[6, 0, 0] == pytest.approx(30.61)
    assert climate["prcp"].sum() == pytest.approx(431.9)
    assert climate.attrs["period"] == "1971-2000"
    assert climate["time"].attrs["climatology"] == "climatology_bounds"
    assert climate["elevation"].item() == 1594.0
    assert (climate["y"].item(), climate["x"].item()) == (40.43, -105.21)
    assert len(climate.attrs["source_sha256"]) == 64
    assert "history" not in climate.attrs


def test_vapour_pressure_is_estimated_from_the_minimum_and_says_so():
    climate = StationSource(WATERDALE, **PLACE, normals_period=(1971, 2000)).monthly()
    np.testing.assert_allclose(climate["vp"], 1000 * saturation_vapour_pressure(climate["tmin"].values))
    assert "estimated" in climate["vp"].attrs


def test_vapour_pressure_of_the_table_is_kept(write):
    climate = StationSource(write(months(vp_Pa=700.0)), **PLACE, normals_period=(1981, 2010)).monthly()
    assert np.all(climate["vp"] == 700.0)
    assert "estimated" not in climate["vp"].attrs


def test_years_asked_for_are_given(write):
    climate = StationSource(write(years(2001, 2002, 2003)), **PLACE, years=(2002, 2003)).monthly()
    assert climate.sizes["time"] == 24
    assert set(climate["time"].dt.year.values) == {2002, 2003}
    assert climate["time"].attrs["bounds"] == "time_bnds"
    assert climate["time_bnds"].shape == (24, 2)


def test_rows_may_stand_in_any_order(write):
    shuffled = years(2001, 2002).sample(frac=1, random_state=0)
    climate = StationSource(write(shuffled), **PLACE, years=(2001, 2002)).monthly()
    np.testing.assert_allclose(climate["tmin"].values[:12, 0, 0], months()["tmin_degC"])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"years": (2001, 2002)}, "normals"),
        ({"normals_period": (1981, 2010)}, None),
    ],
    ids=["years of normals", "normals of normals"],
)
def test_table_without_years_holds_normals(write, asked, told):
    source = StationSource(write(months()), **PLACE, **asked)
    if told is None:
        assert source.monthly().sizes["time"] == 12
    else:
        with pytest.raises(InputError, match=told):
            source.monthly()


def test_table_of_years_is_not_normals(write):
    with pytest.raises(InputError, match="year"):
        StationSource(write(years(2001)), **PLACE, normals_period=(1981, 2010)).monthly()


def test_absent_years_are_named_with_those_there_are(write):
    with pytest.raises(InputError, match=r"2004 .*2001 to 2002, 2005"):
        StationSource(write(years(2001, 2002, 2005)), **PLACE, years=(2004, 2005)).monthly()


def test_reversed_years_are_refused(write):
    with pytest.raises(InputError, match="2002 to 2001"):
        StationSource(write(years(2001, 2002)), **PLACE, years=(2002, 2001)).monthly()


def with_value(column, value, month=3):
    table = months().astype({column: object})
    table.loc[month - 1, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (months().drop(columns="prcp_mm"), r"prcp_mm.*month, tmin_degC, tmax_degC"),
        (months().drop(index=4), "month 5 is missing"),
        (pd.concat([months(), months().iloc[[4]]]), "month 5 stands twice"),
        (with_value("month", 13), r"13.*1 to 12"),
        (with_value("month", 2.5), "2.5"),
        (with_value("tmin_degC", "cold"), r"month 3\).*cold"),
        (with_value("tmin_degC", None), r"month 3\).*empty"),
        (with_value("tmin_degC", 50.0), r"month 3\).*tmin 50 is above tmax 7"),
        (with_value("prcp_mm", -1.0), r"month 3\).*prcp_mm is -1"),
        (with_value("tmax_degC", 61.0), r"month 3\).*61; -90 to 60"),
        (with_value("tmin_degC", -91.0), r"month 3\).*-91; -90 to 60"),
        (months(vp_Pa=0.0), r"month 1\).*vp_Pa is 0; more than 0"),
        ("", "not a CSV"),
        (months().head(0), "no rows"),
    ],
)
def test_unusable_table_is_refused_in_one_line(write, table, told):
    path = write(table, comment="")
    with pytest.raises(InputError, match=told) as refusal:
        read_table(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda d: d.drop_vars("vp"), "no vp"),
        (lambda d: d.drop_vars("elevation"), "no elevation"),
        (lambda d: d.isel(time=slice(0, 11)), "twelve months"),
        (lambda d: d.assign(tmin=d["tmin"].assign_attrs(units="K")), "tmin is in K; degC is needed"),
        (lambda d: d.assign(prcp=(d["prcp"] - 1000).assign_attrs(d["prcp"].attrs)), "prcp runs from"),
        (lambda d: d.assign(tmin=(d["tmin"] + 25).assign_attrs(d["tmin"].attrs)), "above tmax"),
    ],
)
def test_every_source_is_held_to_the_same_promises(spoil, told):
    climate = StationSource(WATERDALE, **PLACE, normals_period=(1971, 2000)).monthly()
    assert validate(climate, "station") is climate
    with pytest.raises(InputError, match=told):
        validate(spoil(climate), "station")


PLACES = {"upper": (2000.0, 40.1, -105.4), "lower": (1500.0, 40.0, -105.1), "middle": (1750.0, 39.9, -105.3)}


def network(stations=PLACES, **columns):
    """Build the table of several stations, their places in every row."""
    tables = [
        months(station=name, elevation_m=height, latitude=latitude, longitude=longitude, **columns)
        for name, (height, latitude, longitude) in stations.items()
    ]
    return pd.concat(tables, ignore_index=True)


def test_several_stations_are_time_series_at_their_places(write, tmp_path):
    climate = StationSource(write(network()), normals_period=(1991, 2020)).monthly()
    assert climate["tmin"].dims == ("station", "time")
    assert climate["station_name"].values.tolist() == ["upper", "lower", "middle"]
    assert climate["elevation"].values.tolist() == [2000.0, 1500.0, 1750.0]
    assert climate["lon"].values.tolist() == [-105.4, -105.1, -105.3]
    assert climate.attrs["featureType"] == "timeSeries"
    assert climate.attrs["title"] == "Monthly climate of 3 stations"
    write_netcdf(tmp_path / "climate.nc", climate)
    with open_netcdf(tmp_path / "climate.nc", "climate") as again:
        assert validate(again.load(), "climate")["tmin"].attrs["units"] == "degC"
        assert again["station_name"].values.tolist() == ["upper", "lower", "middle"]
        assert year_labels(again) == ["1991-2020"]
        np.testing.assert_allclose(select(again, "1991-2020")["tmin"].values[2], months()["tmin_degC"])


def test_stations_may_share_a_longitude_or_a_height(write):
    places = {"a": (1500.0, 40.1, -105.0), "b": (1500.0, 40.0, -105.0), "c": (1500.0, 39.9, -105.0)}
    climate = StationSource(write(network(places)), normals_period=(1991, 2020)).monthly()
    for name in ("lat", "lon", "elevation", "station_name"):
        assert climate[name].dims == ("station",), name
    assert climate["lon"].values.tolist() == [-105.0] * 3


def test_a_place_may_stand_in_one_row_of_its_station(write):
    table = network()
    table.loc[table["month"] != 4, ["elevation_m", "latitude", "longitude"]] = np.nan
    climate = StationSource(write(table), normals_period=(1991, 2020)).monthly()
    assert climate["elevation"].values.tolist() == [2000.0, 1500.0, 1750.0]


def test_one_station_may_say_its_place_in_the_table(write):
    climate = StationSource(write(network({"only": (1500.0, 40.0, -105.1)})), normals_period=(1991, 2020)).monthly()
    assert climate["tmin"].dims == ("time", "y", "x")
    assert climate["elevation"].item() == 1500.0
    by_hand = StationSource(
        write(months()), elevation=1500.0, latitude=40.0, longitude=-105.1, normals_period=(1991, 2020)
    ).monthly()
    xr.testing.assert_equal(climate, by_hand)


def test_stations_with_years_give_those_asked_for(write):
    table = pd.concat([network(year=2001), network(year=2002)])
    climate = StationSource(write(table), years=(2002, 2002)).monthly()
    assert climate.sizes == {"station": 3, "time": 12, "nv": 2}
    del_year = table[(table["station"] != "lower") | (table["year"] != 2002)]
    with pytest.raises(InputError, match=r"climate\.years: 2002 is not in .*: station lower, which has 2001"):
        StationSource(write(del_year), years=(2001, 2002)).monthly()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda t: t.drop(columns="elevation_m"), r"station upper: where is it\? Give climate\.elevation, or a column"),
        (lambda t: t.drop(index=14), "station lower: month 3 is missing"),
        (lambda t: t.assign(tmin_degC=t["tmin_degC"].where(t.index != 20, 55)), r"station lower: .*month 9\): tmin 55"),
        (lambda t: t.assign(station=t["station"].where(t.index != 3)), r"month 4\): station is empty"),
        (lambda t: t.assign(latitude=t["latitude"].where(t.index != 1, 41)), "station upper: latitude is 40.1 and 41"),
        (lambda t: t.assign(latitude=t["latitude"] + 60), "station upper: latitude is 100.1; -90 to 90"),
        (lambda t: t.assign(latitude=40.0, longitude=-105.0), "upper and lower stand at the same place"),
        (lambda t: t.assign(elevation_m=t["elevation_m"].astype(str) + " m"), r"elevation_m is '2000.0 m'"),
    ],
)
def test_unusable_network_is_refused_with_the_station_s_name(write, spoil, told):
    with pytest.raises(InputError, match=told) as refusal:
        StationSource(write(spoil(network())), normals_period=(1991, 2020)).monthly()
    assert "\n" not in str(refusal.value)


def test_a_place_given_twice_must_be_the_same(write):
    table = write(network({"only": (1500.0, 40.0, -105.1)}))
    with pytest.raises(InputError, match=r"elevation_m is 1500 and climate\.elevation is 1594; give one of them"):
        StationSource(table, **PLACE, normals_period=(1991, 2020)).monthly()


def test_a_station_without_a_place_names_the_key(write):
    with pytest.raises(InputError, match=r"Give climate\.longitude, or a column longitude"):
        StationSource(write(months()), elevation=1594.0, latitude=40.4, normals_period=(1991, 2020)).monthly()
