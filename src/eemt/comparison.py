"""The cases of a sweep beside one another: one table of what their maps amount to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eemt.cf import VARIABLES
from eemt.config import SECTIONS, Site
from eemt.errors import InputError
from eemt.products import MEAN
from eemt.sweep import Case, Key, cases, drawn, label, swept_keys

OWN = "the site's own"  # name of the case without changes, in texts
STATISTICS = ("mean", "sd", "min", "p5", "p50", "p95", "max")  # columns of a summary, in the table's order
OF_SUMMARY = ("variable", "method", "year", "month", *STATISTICS)


@dataclass(frozen=True)
class Comparison:
    """What the cases of a site's sweep amount to.

    Attributes
    ----------
    settings : Site
    keys : list of (section, key)
        What is swept.
    cases : list of Case
        Each once, the site's own first.
    design : list of Case
        In the order they were designed in, with repetitions; see `eemt.sweep.drawn`.
    methods, labels : list of str
        Which are compared; labels are years, a period or ``mean``.
    table : DataFrame
        A row a case, method, label and variable; see `compare`.
    """

    settings: Site
    keys: list[Key]
    cases: list[Case]
    design: list[Case]
    methods: list[str]
    labels: list[str]
    table: pd.DataFrame

    @property
    def own(self) -> Case:
        """The site itself."""
        return self.cases[0]

    def means(self, method: str, year: str, variable: str = "eemt") -> dict[str, float]:
        """Return the mean of a variable's annual map by the case's name."""
        rows = self.table
        chosen = rows[(rows["method"] == method) & (rows["year"] == year) & (rows["variable"] == variable)]
        return dict(zip(chosen["case"], chosen["mean"].astype(float), strict=True))

    def outcomes(self, method: str, year: str) -> npt.NDArray[np.float64]:
        """Return the mean EEMT of each case of the design, in its order."""
        means = self.means(method, year)
        return np.array([means[case.name] for case in self.design])


def compare(results: Path, site: str, settings: Site, table: Sequence[Mapping[str, str]] | None = None) -> Comparison:
    """Put the summaries of a sweep's cases together.

    Parameters
    ----------
    results : path
        Folder of the site, ``results/{site}``, with ``summary.csv`` and a folder a case.
    site : str
        Its name, for the column `site`.
    settings : Site
    table : sequence of mapping, optional
        Rows of the sweep's table, where they have been read already.

    Returns
    -------
    Comparison
        Its table has the columns `site`, `case` (its folder; empty for the site's own), one for each swept key,
        `method`, `year`, `variable`; of the cells of the annual map the `STATISTICS`; `difference` of the mean to
        that of the site's own, and `difference_percent` of that [%].

    Raises
    ------
    InputError
        When there is no sweep, or a case's summary is missing, unreadable or lacks what is compared; the message
        names the case.
    """
    known = cases(settings, table)
    if len(known) < 2:
        raise InputError("compare: the settings have no sweep; give values of a key, such as sweep.sun.linke: [2, 4]")
    methods = list(settings.sweep.eemt.get("method", settings.eemt.methods))
    labels = _labels(settings)
    keys = swept_keys(settings, table)
    rows = pd.concat([_rows_of(case, results, methods, labels) for case in known], ignore_index=True)
    whole = rows.merge(_values(known, keys), on="case")
    whole.insert(0, "site", site)
    named = [label(key) for key in keys]
    ordered = whole[["site", "case", *named, "method", "year", "variable", *STATISTICS]]
    return Comparison(settings, keys, known, drawn(settings, table), methods, labels, _with_differences(ordered))


def _labels(settings: Site) -> list[str]:
    """Return the years that are compared, or what there is of all of them."""
    if settings.sweep.years:
        return [str(year) for year in settings.sweep.years]
    known = list(settings.climate.labels)
    return [MEAN] if len(known) > 1 else known


def _rows_of(case: Case, results: Path, methods: Sequence[str], labels: Sequence[str]) -> pd.DataFrame:
    """Read the annual rows of a case's summary, in a fixed order."""
    path = results / case.name / "summary.csv"
    summary = _read_summary(path, case)
    annual = summary[summary["month"] == 0]
    chosen = annual[annual["method"].isin(methods) & annual["year"].isin(labels) & annual["variable"].isin(VARIABLES)]
    found = set(zip(chosen["method"], chosen["year"], chosen["variable"], strict=True))
    for method, year in ((method, year) for method in methods for year in labels):
        if (method, year, "eemt") not in found:
            raise InputError(f"{_about(case)}: {path} has no annual eemt {method} {year}; run it again")
    if chosen.loc[chosen["variable"] == "eemt", "mean"].isna().any():
        raise InputError(f"{_about(case)}: {path} has no mean EEMT; none of its cells has a value")
    place = {
        "method": {method: rank for rank, method in enumerate(methods)},
        "year": {year: rank for rank, year in enumerate(labels)},
        "variable": {variable: rank for rank, variable in enumerate(VARIABLES)},
    }
    ordered = chosen.sort_values(list(place), key=lambda column: column.map(place[str(column.name)]))
    return ordered[list(OF_SUMMARY)].drop(columns="month").assign(case=case.name)


def _read_summary(path: Path, case: Case) -> pd.DataFrame:
    try:
        summary = pd.read_csv(path, dtype={"year": str, "method": str, "variable": str})
    except FileNotFoundError:
        raise InputError(f"{_about(case)}: {path} does not exist; run the workflow to the end") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{_about(case)}: {path} is not a table ({error})") from None
    missing = [name for name in OF_SUMMARY if name not in summary.columns]
    if missing:
        raise InputError(f"{_about(case)}: {path} has no column {missing[0]}")
    return summary


def _about(case: Case) -> str:
    return f"compare: case {case.name or OWN}"


def _values(known: Sequence[Case], keys: Sequence[Key]) -> pd.DataFrame:
    """Tabulate the swept values of each case; as text where they are not all numbers."""
    columns: dict[str, list[Any]] = {"case": [case.name for case in known]}
    for name in map(label, keys):
        values = [case.values[name] for case in known]
        columns[name] = values if all(map(is_number, values)) else [written(value) for value in values]
    return pd.DataFrame(columns)


def _with_differences(table: pd.DataFrame) -> pd.DataFrame:
    groups = ["method", "year", "variable"]
    own = table.loc[table["case"] == "", [*groups, "mean"]].rename(columns={"mean": "own"})
    reference = table[groups].merge(own, on=groups, how="left")["own"].to_numpy()
    difference = table["mean"].to_numpy() - reference
    share = np.divide(100 * difference, np.abs(reference), out=np.full(difference.shape, np.nan), where=reference != 0)
    return table.assign(difference=difference, difference_percent=share)


def is_number(value: Any) -> bool:
    """Tell a number from choices, words and lists of twelve months."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def written(value: Any) -> str:
    """Write a value as a config file would have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(written(item) for item in value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def shown(value: Any) -> str:
    """Write a value for reading: numbers of many digits, as samples are, with four."""
    if isinstance(value, float) and value != float(f"{value:.5g}"):
        return f"{value:.4g}"
    return written(value)


def unit_of(key: Key) -> str:
    """Return the unit of a swept key as it is printed, ``K km⁻¹``; empty where it has none."""
    section, name = key
    extra = SECTIONS[section].model_fields[name].json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    return unit.replace("-1", "⁻¹").replace("-2", "⁻²")


def meaning_of(key: Key) -> str:
    """Return the beginning of what the reference says of a swept key."""
    section, name = key
    text = SECTIONS[section].model_fields[name].description or name
    ends = [text.find(mark) for mark in (";", ":", ". ", " (") if mark in text]
    return text[: min(ends)] if ends else text


def changed(case: Case) -> str:
    """Write what a case changes: ``linke 2, omega 2.2``."""
    return ", ".join(f"{label(key)} {shown(value)}" for key, value in case.changes.items()) or OWN
