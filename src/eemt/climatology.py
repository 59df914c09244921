"""Mean, spread and trend over years, year by year in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

NO_SCATTER = 1e-12  # of the sum of squares, below which residuals are rounding


@dataclass(frozen=True)
class Climatology:
    """Statistics over years, shaped as one year.

    Attributes
    ----------
    mean : ndarray float64
    sd : ndarray float64
        Of a sample (n - 1); NaN of a single year.
    slope : ndarray float64
        Of the least squares line, for a step of one in time; NaN of fewer than three years.
    p : ndarray float64
        Probability of a slope as steep or steeper, either way, without any trend: t test with n - 2
        degrees of freedom, of years that do not depend on one another; NaN of fewer than three.
    """

    mean: Doubles
    sd: Doubles
    slope: Doubles
    p: Doubles


def climatology(years: Iterable[npt.NDArray[np.floating]], times: Sequence[float]) -> Climatology:
    """Sum up years.

    Parameters
    ----------
    years : iterable of ndarray
        One array a year, or an array with the years first; NaN in one is NaN in all that is returned.
    times : sequence of float
        When the years are, such as 1990, 1991; gaps count.

    Raises
    ------
    ValueError
        When there is no year, or not one time for each, or all times are the same.
    """
    when = np.asarray(times, dtype=np.float64)
    centred = when - when.mean() if when.size else when
    spread = float((centred**2).sum())
    if when.size > 1 and spread == 0.0:
        raise ValueError("climatology: all times are the same")
    first: Doubles | None = None
    for time, year in zip(centred, years, strict=True):
        if first is None:
            first = np.asarray(year, dtype=np.float64)
            sums, squares, products = (np.zeros_like(first) for _ in range(3))
        away = year - first  # near zero, so that squares lose no digits
        sums += away
        squares += away**2
        products += time * away
    if first is None:
        raise ValueError("climatology: no year was given")
    number = len(when)
    unknown = first * np.nan
    scatter = np.maximum(squares - sums**2 / number, 0.0)
    mean = first + sums / number
    if number < 3:
        sd = np.sqrt(scatter / (number - 1)) if number > 1 else unknown
        return Climatology(mean, sd, unknown, unknown)
    slope = products / spread
    return Climatology(mean, np.sqrt(scatter / (number - 1)), slope, _chance(slope, scatter, spread, number))


def _chance(slope: Doubles, scatter: Doubles, spread: float, number: int) -> Doubles:
    """Return the two-sided p-value of a slope that is 0 but for chance."""
    from scipy.special import stdtr

    rest = np.maximum(scatter - slope**2 * spread, NO_SCATTER * scatter)
    level = scatter == 0.0
    error = np.sqrt(np.where(level, 1.0, rest) / (number - 2) / spread)
    p = 2.0 * stdtr(number - 2, -np.abs(slope) / error)
    return np.asarray(np.where(level, 1.0 + 0.0 * slope, p), dtype=np.float64)
