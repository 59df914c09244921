"""How much each parameter of a sweep does to the mean EEMT: one at a time, and by Sobol indices."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eemt.comparison import Comparison, is_number, shown
from eemt.config import Spread
from eemt.sweep import Case, Key, label

RESAMPLES = 1000  # of the bootstrap that confidence intervals are from
CONFIDENCE = 0.95
MOST_GROUPS = 10  # that many values are gathered in
LEAST_IN_GROUP = 8
FEW_VALUES = 12  # that stand for themselves
MOST_POINTS = 600  # of a plot

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """Mean EEMT against one key.

    Attributes
    ----------
    key : (section, key)
    numeric : bool
        Whether its values are numbers, which then ascend.
    values : sequence
        Of the key; of gathered numbers their mean.
    names : sequence of str
        The values as they are written; of gathered numbers the ends.
    means : sequence of float
        Mean EEMT [MJ m-2 yr-1] at each value.
    conditional : bool
        Whether the means are over all cases with the value, whatever the other keys have there; else these are
        as the site has them.
    points : (n, 2) array of float
        Value and mean EEMT of single cases, for showing; of what are no numbers, the place in `values`.
    """

    key: Key
    numeric: bool
    values: Sequence[Any]
    names: Sequence[str]
    means: Sequence[float]
    conditional: bool
    points: Floats

    @property
    def name(self) -> str:
        """Name of the key."""
        return label(self.key)

    @property
    def ends(self) -> tuple[int, int]:
        """Places of the lowest and highest value; of what are no numbers, of the least and greatest mean."""
        if self.numeric:
            return 0, len(self.means) - 1
        return int(np.argmin(self.means)), int(np.argmax(self.means))

    @property
    def swing(self) -> float:
        """Absolute difference between both ends [MJ m-2 yr-1]."""
        low, high = self.ends
        return abs(self.means[high] - self.means[low])


def responses(comparison: Comparison, method: str, year: str) -> list[Response]:
    """Return the response of the mean EEMT to each key that has more than one value.

    One key at a time where the cases allow it: those in which nothing else differs from the site's own have the
    lowest and the highest value of the key. Where they do not, and with samples, means over all cases of the
    design that have a value, or a value in the same part of the range.
    """
    means = comparison.means(method, year)
    found = []
    for key in comparison.keys:
        if len({_hashable(_value(case, key)) for case in comparison.cases}) > 1:
            single = _one_at_a_time(comparison, key)
            chosen = comparison.design if single is None else single
            found.append(_response(key, chosen, comparison, means, conditional=single is None))
    return found


def _one_at_a_time(comparison: Comparison, key: Key) -> list[Case] | None:
    """Return the cases in which the key alone differs, and the site's own, if they span what there is of the key."""
    single = [case for case in comparison.cases if set(case.changes) <= {key}]
    if len(single) < 2 or (comparison.settings.sweep.samples and len(comparison.keys) > 1):
        return None
    have, all_there_are = ([_value(case, key) for case in some] for some in (single, comparison.cases))
    if all(map(is_number, all_there_are)):
        spans = min(have) <= min(all_there_are) and max(have) >= max(all_there_are)
    else:
        spans = {_hashable(value) for value in have} == {_hashable(value) for value in all_there_are}
    return single if spans else None


def _response(
    key: Key, chosen: Sequence[Case], comparison: Comparison, means: Mapping[str, float], conditional: bool
) -> Response:
    design = comparison.design
    values = [_value(case, key) for case in chosen]
    outcomes = [means[case.name] for case in chosen]
    numeric = all(is_number(_value(case, key)) for case in [*chosen, *design])
    of_a_range = conditional and isinstance(comparison.settings.sweep.axes.get(key), Spread)
    groups = _groups(values, numeric, 0 if of_a_range else FEW_VALUES)
    centres = [float(np.mean([values[i] for i in group])) if numeric else values[group[0]] for group in groups]
    dotted = _evenly(design, MOST_POINTS)
    place = {_hashable(value): number for number, value in enumerate(centres)}
    points = [
        (_value(case, key) if numeric else place[_hashable(_value(case, key))], means[case.name])
        for case in dotted
        if numeric or _hashable(_value(case, key)) in place
    ]
    return Response(
        key,
        numeric,
        centres,
        [_name([values[i] for i in group]) for group in groups],
        [float(np.mean([outcomes[i] for i in group])) for group in groups],
        conditional,
        np.array(points, dtype=np.float64).reshape(-1, 2),
    )


def _groups(values: Sequence[Any], numeric: bool, few: int) -> list[list[int]]:
    """Gather the places of equal values; of more than `few` numbers, of neighbours, as many to each group."""
    equal: dict[Hashable, list[int]] = {}
    for place, value in enumerate(values):
        equal.setdefault(_hashable(value), []).append(place)
    if not numeric:
        return list(equal.values())
    if len(equal) <= few:
        return [equal[value] for value in sorted(equal)]  # type: ignore[type-var]
    number = max(2, min(MOST_GROUPS, len(values) // LEAST_IN_GROUP))
    return [list(map(int, part)) for part in np.array_split(np.argsort(values, kind="stable"), number)]


def _name(values: Sequence[Any]) -> str:
    if all(value == values[0] for value in values):
        return shown(values[0])
    return f"{min(values):.3g}–{max(values):.3g}"


def _value(case: Case, key: Key) -> Any:
    return case.values[label(key)]


def _hashable(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value


def _evenly(items: Sequence[Case], most: int) -> list[Case]:
    if len(items) <= most:
        return list(items)
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, most)]


@dataclass(frozen=True)
class Sobol:
    """Shares of a result's variance that parameters account for, each with half its 95 % confidence interval.

    `first`: by the parameter alone; `total`: with all that it does together with others.
    """

    keys: Sequence[Key]
    first: Floats
    first_error: Floats
    total: Floats
    total_error: Floats


def sobol_indices(keys: Sequence[Key], outcomes: Floats, seed: int = 1) -> Sobol | None:
    """Estimate first-order and total Sobol indices, with confidence intervals by the bootstrap.

    Parameters
    ----------
    keys : sequence of (section, key)
        What was drawn.
    outcomes : (samples x (keys + 2),) array of float
        Results in the order of `eemt.sweep.drawn`.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Sobol or None
        None where all results are the same.

    References
    ----------
    Saltelli, A. et al. 2010. Variance based sensitivity analysis of model output. Design and estimator for the
    total sensitivity index. Computer Physics Communications 181, doi:10.1016/j.cpc.2009.09.018.
    """
    from SALib.analyze.sobol import analyze

    if np.ptp(outcomes) <= 1e-9 * np.abs(outcomes).max():
        return None
    names = [label(key) for key in keys]
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # of very few samples some resamples are of one value alone
        found = analyze(
            problem,
            outcomes,
            calc_second_order=False,
            num_resamples=RESAMPLES,
            conf_level=CONFIDENCE,
            seed=seed + 1,  # SALib takes 0 for none
        )
    return Sobol(keys, *(np.asarray(found[name], dtype=float) for name in ("S1", "S1_conf", "ST", "ST_conf")))


def independent(comparison: Comparison, outcomes: Floats) -> Floats:
    """Return the results of the points that were drawn independently: those of both Latin hypercubes."""
    by_point = outcomes.reshape(-1, len(comparison.keys) + 2)
    return np.concatenate([by_point[:, 0], by_point[:, -1]])
