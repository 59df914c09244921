"""A station's table: what it becomes, and what is said of one that cannot be used."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eemt.climate.source import validate
from eemt.climate.station import StationSource, read_table
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError

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
