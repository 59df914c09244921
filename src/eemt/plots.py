"""Curves and bars of a run: the year, aspect, elevation, climate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eemt.figures import (
    ANNUAL,
    ASPECT_COLOUR,
    METHOD_COLOUR,
    MONTHLY,
    MONTHS,
    PART_COLOUR,
    PART_NAME,
    styled,
)


@styled
def monthly(parts: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the year's course of EEMT and its parts, one plot a method with the same scale.

    Parameters
    ----------
    parts : mapping
        By method, then by ``ebio`` and ``eppt`` (or ``eemt`` alone): twelve means [MJ m-2 month-1].
    """
    figure = Figure(figsize=(9.0 if len(parts) > 1 else 5.5, 3.0), layout="constrained")
    rows = figure.subplots(1, len(parts), sharey=True, squeeze=False)
    months = np.arange(12)
    for axes, (method, series) in zip(rows[0], parts.items(), strict=True):
        base = np.zeros(12)
        for part, values in series.items():
            axes.bar(months, values, bottom=base, width=0.78, color=PART_COLOUR[part], label=PART_NAME[part])
            base = base + np.asarray(values)
        axes.set_title(f"{method.upper()}: {base.sum():.1f} {ANNUAL}")
        axes.set_xticks(months, list(MONTHS))
        axes.set_xlim(-0.7, 11.7)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
    rows[0][0].set_ylabel(MONTHLY)
    rows[0][0].set_ylim(bottom=0)
    rows[0][0].legend(loc="upper left", reverse=True)
    return figure


@styled
def north_south(means: Mapping[str, tuple[float, float]]) -> Figure:
    """Compare the mean EEMT of slopes that face north and south, method by method.

    Parameters
    ----------
    means : mapping of str to (float, float)
        By method, of cells with northness above and below zero [MJ m-2 yr-1].
    """
    figure = Figure(figsize=(1.4 + 1.2 * len(means), 2.8), layout="constrained")
    axes = figure.add_subplot()
    place = np.arange(len(means))
    for side, (facing, shift) in enumerate((("north", -0.2), ("south", 0.2))):
        values = np.array([pair[side] for pair in means.values()])
        bars = axes.bar(place + shift, values, width=0.38, color=ASPECT_COLOUR[facing], label=f"{facing}-facing")
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=9)
    axes.set_xticks(place, [method.upper() for method in means])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"Mean EEMT ({ANNUAL})")
    axes.set_ylim(0, 1.3 * max(max(pair) for pair in means.values()))
    axes.grid(axis="y")
    axes.legend(loc="upper left", ncols=2, columnspacing=1.2, handlelength=1.2, borderaxespad=0)
    return figure


@dataclass(frozen=True)
class Profile:
    """Mean and standard deviation of EEMT [MJ m-2 yr-1] in bands of elevation [m]."""

    elevation: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


@styled
def elevation_profile(profiles: Mapping[str, Profile]) -> Figure:
    """Draw EEMT against elevation: the mean of each band as a line, a standard deviation to both sides as a ribbon."""
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for method, profile in profiles.items():
        colour = METHOD_COLOUR[method]
        low, high = profile.mean - profile.deviation, profile.mean + profile.deviation
        axes.fill_between(profile.elevation, low, high, color=colour, alpha=0.18, linewidth=0)
        marker = "o" if profile.elevation.size < 4 else None
        axes.plot(profile.elevation, profile.mean, color=colour, linewidth=1.8, marker=marker, label=method.upper())
    axes.set_xlabel("Elevation (m)")
    axes.set_ylabel(f"EEMT ({ANNUAL})")
    axes.grid()
    axes.legend(loc="best")
    return figure


@styled
def years(means: Mapping[str, Sequence[float]], labels: Sequence[str]) -> Figure:
    """Draw the mean EEMT of the map year by year.

    Parameters
    ----------
    means : mapping
        By method [MJ m-2 yr-1].
    labels : sequence of str
        The years.
    """
    figure = Figure(figsize=(6.6, 2.9), layout="constrained")
    axes = figure.add_subplot()
    when = [int(label) for label in labels]
    for method, values in means.items():
        axes.plot(
            when,
            values,
            color=METHOD_COLOUR[method],
            linewidth=1.6,
            marker="o",
            markersize=3.5 if len(when) < 40 else 2,
            label=method.upper(),
        )
    axes.xaxis.set_major_locator(MaxNLocator(min(len(when), 12), integer=True))
    axes.margins(y=0.12)
    axes.set_ylabel(f"Mean EEMT ({ANNUAL})")
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0.2)
    return figure


@styled
def climate(tmin: Sequence[float], tmax: Sequence[float], precipitation: Sequence[float]) -> Figure:
    """Draw the climate that drives a run: twelve temperatures [degC] and sums of precipitation [mm]."""
    figure = Figure(figsize=(5.6, 3.0), layout="constrained")
    rain = figure.add_subplot()
    months = np.arange(12)
    rain.bar(months, precipitation, width=0.78, color="#9CC9E8")
    rain.set_ylabel("Precipitation (mm month⁻¹)")
    rain.set_ylim(0, max(1.0, 1.25 * max(precipitation)))
    rain.set_xticks(months, list(MONTHS))
    rain.tick_params(axis="x", length=0)
    air = rain.twinx()
    air.fill_between(months, tmin, tmax, color="#D55E00", alpha=0.12, linewidth=0)
    for values, colour, name in ((tmax, "#D55E00", "daily maximum"), (tmin, "#7A3B00", "daily minimum")):
        air.plot(months, values, color=colour, marker="o", markersize=3, linewidth=1.4, label=name)
    air.axhline(0, color="#8A8A8A", linewidth=0.7, linestyle=(0, (4, 3)))
    air.set_ylabel("Temperature (°C)")
    air.spines["right"].set_visible(True)
    air.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0.2)
    return figure
