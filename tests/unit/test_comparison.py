"""The table that compares the cases of a sweep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eemt.comparison import compare, meaning_of, shown, unit_of, written
from eemt.errors import InputError
from sweeps import formula, make_sweep, site

SWEEP = {"sun": {"linke": [2, 3, 6]}, "eemt": {"omega": [2.2, 2.63]}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    settings = site(SWEEP)
    return make_sweep(tmp_path_factory.mktemp("sweep"), settings, parts=True), settings


def row_of(table, case, method, variable="eemt"):
    (row,) = table[(table["case"] == case) & (table["method"] == method) & (table["variable"] == variable)].to_dict(
        "records"
    )
    return row


def test_each_case_method_and_variable_has_one_row_with_what_was_swept(swept):
    table = compare(swept[0], "here", swept[1]).table
    assert len(table) == 6 * 2 * 2
    assert list(table)[:6] == ["site", "case", "linke", "omega", "method", "year"]
    assert not table.duplicated(["case", "method", "variable"]).any()
    row = row_of(table, "linke~6_omega~2.2", "topo")
    assert (row["site"], row["linke"], row["omega"], row["year"]) == ("here", 6.0, 2.2, "1971-2000")


def test_statistics_are_those_of_the_case_and_differences_those_to_the_sites_own(swept):
    folder, settings = swept
    comparison = compare(folder, "here", settings)
    case = next(case for case in comparison.cases if case.name == "linke~6")
    row, own = (row_of(comparison.table, name, "topo") for name in ("linke~6", ""))
    expected = formula(case.settings, "topo"), formula(settings, "topo")
    assert (row["mean"], own["mean"]) == (pytest.approx(expected[0], rel=1e-5), pytest.approx(expected[1], rel=1e-5))
    assert row["difference"] == pytest.approx(expected[0] - expected[1], abs=1e-4)
    assert row["difference_percent"] == pytest.approx(100 * (expected[0] / expected[1] - 1), abs=1e-3)
    assert (own["difference"], own["difference_percent"]) == (0, 0)
    summary = pd.read_csv(folder / "linke~6" / "summary.csv")
    of_topo = summary[(summary["method"] == "topo") & (summary["variable"] == "eemt")].iloc[0]
    assert all(row[name] == of_topo[name] for name in ("sd", "min", "p5", "p50", "p95", "max"))


def test_the_sites_own_is_compared_though_it_is_not_among_the_swept_values(tmp_path):
    settings = site({"sun": {"linke": [2, 6]}})
    comparison = compare(make_sweep(tmp_path, settings), "here", settings)
    assert [case.name for case in comparison.cases] == ["", "linke~2", "linke~6"]


def test_methods_of_the_sweep_are_those_compared(tmp_path):
    settings = site({"sun": {"linke": [2]}, "eemt": {"method": ["topo"]}})
    assert set(compare(make_sweep(tmp_path, settings), "here", settings).table["method"]) == {"topo"}


def test_years_of_the_sweep_are_compared_one_by_one_and_without_them_their_mean(tmp_path):
    climate = {"file": "station.csv", "elevation": 1594, "latitude": 40, "longitude": -105, "years": [2003, 2005]}
    labels = ("2003", "2004", "2005", "mean")
    for years, compared in (([2003, 2005], ["2003", "2005"]), ([], ["mean"])):
        settings = site({"sun": {"linke": [2]}, "years": years}, climate=climate)
        folder = make_sweep(tmp_path / str(len(years)), settings, labels=labels)
        comparison = compare(folder, "here", settings)
        assert comparison.labels == compared == list(comparison.table["year"].unique())
        assert (comparison.table.loc[comparison.table["case"] == "", "difference"] == 0).all()


def test_choices_and_lists_are_written_as_text_beside_numbers(tmp_path):
    settings = site(
        {
            "sun": {"shadows": [True, False], "linke": [3, [2] * 12]},
            "eemt": {"pet": ["hamon", "penman"]},
            "combine": "each",
        }
    )
    table = compare(make_sweep(tmp_path, settings), "here", settings).table
    assert set(table["shadows"]) == {"yes", "no"}
    assert set(table["pet"]) == {"hamon", "penman"}
    assert set(table["linke"]) == {"3", ", ".join(["2"] * 12)}
    table.to_parquet(tmp_path / "sweep.parquet")


def test_cases_of_a_table_are_compared_from_its_file_or_from_given_rows(tmp_path):
    cases = tmp_path / "cases.csv"
    cases.write_text("linke,eemt.albedo\n2,0.1\n4,0.3\n")
    settings = site({"table": str(cases)})
    folder = make_sweep(tmp_path / "results", settings)
    read = compare(folder, "here", settings).table
    cases.unlink()
    rows = [{"linke": "2", "eemt.albedo": "0.1"}, {"linke": "4", "eemt.albedo": "0.3"}]
    pd.testing.assert_frame_equal(compare(folder, "here", settings, rows).table, read)
    assert {"linke", "eemt.albedo"} <= set(read)


def test_a_missing_case_is_named(tmp_path):
    settings = site(SWEEP)
    folder = make_sweep(tmp_path, settings)
    (folder / "linke~2_omega~2.2" / "summary.csv").unlink()
    with pytest.raises(InputError, match=r"case linke~2_omega~2\.2: .*summary\.csv does not exist"):
        compare(folder, "here", settings)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not a table"),
        ("a,b\n1,2\n", "has no column variable"),
        ("variable,method,year,month,mean,sd,min,p5,p50,p95,max\n", "has no annual eemt trad 1971-2000"),
    ],
)
def test_an_unusable_summary_is_named(tmp_path, content, reason):
    settings = site(SWEEP)
    folder = make_sweep(tmp_path, settings)
    (folder / "linke~6" / "summary.csv").write_text(content)
    with pytest.raises(InputError, match=f"case linke~6: .*{reason}"):
        compare(folder, "here", settings)


def test_a_map_without_values_is_named(tmp_path):
    settings = site(SWEEP)
    folder = make_sweep(tmp_path, settings)
    path = folder / "linke~6" / "summary.csv"
    table = pd.read_csv(path)
    table["mean"] = np.nan
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"case linke~6: .*none of its cells has a value"):
        compare(folder, "here", settings)


def test_a_site_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no sweep"):
        compare(tmp_path, "here", site({}))


def test_values_are_written_as_in_a_config_and_for_reading_with_few_digits():
    assert (written(2.63), written(True), written((2.0, 3.5))) == ("2.63", "yes", "2, 3.5")
    assert (shown(273.15), shown(7.81848), shown(143.066), shown("hamon")) == ("273.15", "7.818", "143.1", "hamon")


def test_keys_have_units_and_a_meaning():
    assert (unit_of(("climate", "lapse_tmin")), unit_of(("sun", "linke"))) == ("K km⁻¹", "")
    assert meaning_of(("sun", "linke")) == "Linke turbidity of the air"
    assert meaning_of(("eemt", "pet")) == "Potential evaporation of the method trad"


def test_command_writes_table_and_page_and_nothing_where_a_case_is_missing(call, swept, tmp_path: Path):
    folder, settings = swept
    out = [tmp_path / name for name in ("sweep.csv", "sweep.parquet", "sweep.html")]
    words = ["--settings", settings.model_dump_json(), "--csv", out[0], "--parquet", out[1], "--out", out[2]]
    assert call("compare", folder, "--site", "here", *words)[::2] == (0, "")
    table = pd.read_csv(out[0], keep_default_na=False)
    pd.testing.assert_frame_equal(table, pd.read_parquet(out[1]), check_dtype=False, rtol=1e-5, atol=1e-5)
    assert "<title>Sweep of EEMT at here</title>" in out[2].read_text()
    for path in out:
        path.unlink()
    code, _, err = call("compare", tmp_path, "--site", "here", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert "case the site's own" in err
    assert not list(tmp_path.iterdir())


def test_settings_that_are_no_configuration_are_one_line(call, tmp_path):
    words = ["--csv", tmp_path / "a", "--parquet", tmp_path / "b", "--out", tmp_path / "c"]
    for given in ("{", "[]", json.dumps({"climate": {}})):
        code, _, err = call("compare", tmp_path, "--site", "here", "--settings", given, *words)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith("eemt compare: settings: ")
    for given in ("[", '{"linke": 2}', "[2]"):
        good = ["--settings", site(SWEEP).model_dump_json(), "--table", given]
        code, _, err = call("compare", tmp_path, "--site", "here", *good, *words)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith("eemt compare: table: ")
