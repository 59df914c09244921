"""Figures of a sweep: what its parameters do to the mean EEMT, and the maps of its cases side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from eemt.comparison import unit_of
from eemt.figures import ANNUAL, INK, METHOD_COLOUR, Floats, Panel, draw_map, styled
from eemt.grid import Grid
from eemt.sensitivity import Response, Sobol
from eemt.sweep import Key, label

LOW, HIGH, CHOICE = "#0072B2", "#E69F00", "#8A8A8A"  # of a tornado's bars; Okabe & Ito's, and grey
FIRST, TOTAL = "#56B4E9", "#0072B2"
PERCENTILES = (5, 50, 95)
WIDE, COLUMNS = 9.0, 4  # in, and maps in a row
LINE_HEIGHT = 0.13  # in, of a small title
LETTERS_PER_INCH = 15  # of a small title
DENSITY = 200  # pixels an inch, of dots within drawings
LONGEST_NAME = 22  # letters, at the end of a bar
HALO = [withStroke(linewidth=2.2, foreground="white")]


@styled
def tornado(effects: Mapping[str, Sequence[Response]], own: Mapping[str, float]) -> Figure:
    """Draw a bar a key from the mean EEMT at its lowest value to that at its highest, the longest bar on top.

    Keys whose bars are of conditional means have a star where there are others too.

    Parameters
    ----------
    effects : mapping
        Responses by method, of the same keys.
    own : mapping of str to float
        Mean EEMT of the site's own parameters by method [MJ m-2 yr-1], where bars of single keys begin.
    """
    order = _by_swing(effects)
    height = 1.25 + 0.36 * len(order)
    figure = Figure(figsize=(WIDE if len(effects) > 1 else 5.8, height), layout="constrained")
    row = figure.subplots(1, len(effects), sharey=True, squeeze=False)[0]
    for axes, (method, responses) in zip(row, effects.items(), strict=True):
        by_key = {response.key: response for response in responses}
        for place, key in enumerate(order):
            _tornado_bar(axes, place, by_key[key], own[method])
        axes.axvline(own[method], color=INK, linewidth=0.9)
        axes.set_title(method.upper())
        axes.set_xlabel(f"Mean EEMT ({ANNUAL})")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.margins(x=0.3)
        axes.grid(axis="x")
    conditional = {response.key: response.conditional for response in next(iter(effects.values()))}
    starred = {key for key in order if conditional[key] and not all(conditional.values())}
    row[0].set_yticks(range(len(order)), [label(key) + " *" * (key in starred) for key in order])
    row[0].set_ylim(len(order) - 0.4, -0.6)
    for axes in row:
        axes.tick_params(axis="y", length=0)
    return figure


def _by_swing(effects: Mapping[str, Sequence[Response]]) -> list[Key]:
    swings: dict[Key, float] = {}
    for responses in effects.values():
        for response in responses:
            swings[response.key] = max(response.swing, swings.get(response.key, 0.0))
    return sorted(swings, key=lambda key: -swings[key])


def _tornado_bar(axes: Axes, place: int, response: Response, own: float) -> None:
    centre = float(np.mean(response.means)) if response.conditional else own
    ends = [(response.means[end], response.names[end]) for end in response.ends]
    colours = (LOW, HIGH) if response.numeric else (CHOICE, CHOICE)
    for (mean, _), colour in zip(ends, colours, strict=True):
        axes.barh(place, mean - centre, left=centre, height=0.62, color=colour)
    if response.swing < 1e-3 * abs(own):
        axes.annotate(
            "no effect",
            (max(own, centre), place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color="#6A6A6A",
            path_effects=HALO,
        )
        return
    (left, left_name), (right, right_name) = sorted(ends)
    for at, name, shift, side in (
        (min(left, centre), left_name, -3, "right"),
        (max(right, centre), right_name, 3, "left"),
    ):
        axes.annotate(
            textwrap.shorten(name, LONGEST_NAME, placeholder=" …"),
            (at, place),
            (shift, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=7.5,
            path_effects=HALO,
        )


@styled
def response_curves(
    curves: Mapping[str, Sequence[Response]], own: Mapping[str, float], own_values: Mapping[Key, object]
) -> Figure:
    """Draw what each key changes in the mean EEMT, a line a method; single cases are dots.

    Parameters
    ----------
    curves : mapping
        Responses by method, of the same keys.
    own : mapping of str to float
        Mean EEMT of the site's own parameters by method [MJ m-2 yr-1], which changes are from.
    own_values : mapping
        The site's own value of each key, drawn as a dashed line.
    """
    keys = [response.key for response in next(iter(curves.values()))]
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(3.0 * columns + (0.8 if columns == 1 else 0), 0.35 + 2.35 * rows), layout="constrained")
    figure.set_dpi(DENSITY)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for number, (axes, key) in enumerate(zip(grid, keys, strict=False)):
        for method, responses in curves.items():
            _curve(axes, responses[number], own[method], method)
        _own_value(axes, next(iter(curves.values()))[number], own_values[key])
        unit = unit_of(key)
        axes.set_xlabel(f"{label(key)} ({unit})" if unit else label(key), labelpad=2)
        axes.grid(axis="y")
    for axes in grid[len(keys) :]:
        axes.set_visible(False)
    for axes in grid[::columns]:
        axes.set_ylabel(f"Change of mean EEMT\n({ANNUAL})")
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names))
    return figure


def _curve(axes: Axes, response: Response, own: float, method: str) -> None:
    colour = METHOD_COLOUR[method]
    x = np.asarray(response.values, dtype=float) if response.numeric else np.arange(len(response.values))
    if response.points.size:
        where, outcomes = response.points.T
        axes.scatter(where, outcomes - own, s=5, color=colour, alpha=0.25, linewidths=0, rasterized=True)
    axes.plot(
        x,
        np.asarray(response.means) - own,
        color=colour,
        linestyle="-" if response.numeric else "none",
        linewidth=1.6,
        marker="o",
        markersize=4,
        label=method.upper(),
    )
    if not response.numeric:
        names = [textwrap.fill(name.replace("_", " "), 11, break_long_words=False) for name in response.names]
        axes.set_xticks(x, names, fontsize=7)
        axes.set_xlim(-0.5, len(x) - 0.5)


def _own_value(axes: Axes, response: Response, own: object) -> None:
    if response.numeric:
        axes.axvline(float(own), color=INK, linewidth=0.8, linestyle=(0, (4, 3)))  # type: ignore[arg-type]
    elif own in response.values:
        axes.axvline(list(response.values).index(own), color=INK, linewidth=0.8, linestyle=(0, (4, 3)))


@styled
def distribution(outcomes: Mapping[str, npt.NDArray[np.float64]], own: Mapping[str, float]) -> Figure:
    """Draw how the mean EEMT of drawn points is distributed: a histogram and the share below, with percentiles.

    Parameters
    ----------
    outcomes : mapping of str to (points,) array of float
        By method [MJ m-2 yr-1].
    own : mapping of str to float
        Of the site's own parameters.
    """
    figure = Figure(figsize=(3.0 * len(outcomes) + (1.6 if len(outcomes) == 1 else 0), 2.8), layout="constrained")
    row = figure.subplots(1, len(outcomes), squeeze=False)[0]
    for axes, (method, values) in zip(row, outcomes.items(), strict=True):
        colour = METHOD_COLOUR[method]
        bins = int(np.clip(np.sqrt(values.size), 5, 40))
        axes.hist(values, bins, weights=np.full(values.size, 100 / values.size), color=colour, alpha=0.35)
        axes.set_title(method.upper())
        axes.set_xlabel(f"Mean EEMT ({ANNUAL})")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        below = axes.twinx()
        below.plot(np.sort(values), np.arange(1, values.size + 1) / values.size * 100, color=colour, linewidth=1.6)
        below.set_ylim(0, 108)
        below.set_yticks([0, 25, 50, 75, 100])
        below.spines["right"].set_visible(True)
        for percent, at in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True):
            below.plot([at, at], [0, percent], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            below.plot(at, percent, color=INK, marker="o", markersize=3)
        axes.axvline(own[method], color=INK, linewidth=0.9)
        if axes is row[0]:
            axes.set_ylabel("Points in the bar (%)")
        if axes is row[-1]:
            below.set_ylabel("Points below (%)")
    return figure


@styled
def sobol_bars(indices: Mapping[str, Sobol]) -> Figure:
    """Draw first-order and total Sobol indices of each key with their confidence intervals, method by method."""
    keys = list(next(iter(indices.values())).keys)
    greatest = {key: max(float(found.total[place]) for found in indices.values()) for place, key in enumerate(keys)}
    order = sorted(keys, key=lambda key: -greatest[key])
    width = WIDE if len(indices) > 1 else 5.8
    figure = Figure(figsize=(width, 1.5 + 0.42 * len(order)), layout="constrained")
    row = figure.subplots(1, len(indices), sharey=True, sharex=True, squeeze=False)[0]
    error = {"elinewidth": 0.9, "ecolor": INK, "capsize": 2}
    for axes, (method, found) in zip(row, indices.items(), strict=True):
        which = [keys.index(key) for key in order]
        place = np.arange(len(order))
        for shift, values, errors, colour, name in (
            (-0.19, found.first, found.first_error, FIRST, "first order"),
            (0.19, found.total, found.total_error, TOTAL, "total"),
        ):
            spread = np.nan_to_num(errors[which])
            axes.barh(place + shift, values[which], 0.36, xerr=spread, color=colour, error_kw=error, label=name)
        axes.axvline(0, color=INK, linewidth=0.7)
        axes.set_title(method.upper())
        axes.set_xlabel("Share of the variance")
        axes.grid(axis="x")
    row[0].set_yticks(range(len(order)), [label(key) for key in order])
    row[0].set_ylim(len(order) - 0.4, -0.6)
    for axes in row:
        axes.tick_params(axis="y", length=0)
    handles, names = row[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=2)
    return figure


@styled
def case_maps(panels: Sequence[Panel], grid: Grid, shade: Floats) -> Figure:
    """Draw the maps of cases in rows, all in the same colours, without coordinates.

    Parameters
    ----------
    panels : sequence of Panel
        Of equal colours; the first has the scale bar and the north arrow.
    grid : Grid
        Of the panels and the hillshade, in metres.
    shade : (rows, cols) array of float
        From `eemt.figures.hillshade`.
    """
    shape = grid.height * grid.dy / (grid.width * grid.dx)
    columns = min(len(panels), COLUMNS if shape > 0.45 else 2)
    gap, margin, bar = 0.1, 0.06, 0.62  # in
    across = (WIDE - 2 * margin - (COLUMNS - 1) * gap) / COLUMNS if shape > 0.45 else (WIDE - 2 * margin - gap) / 2
    high = min(across * shape, 1.6 * across)
    titles = [textwrap.wrap(panel.title, int(across * LETTERS_PER_INCH)) for panel in panels]
    above = 0.06 + LINE_HEIGHT * max(map(len, titles))
    rows = -(-len(panels) // columns)
    width = max(2 * margin + columns * across + (columns - 1) * gap, 3.4)
    height = rows * (above + high) + bar
    figure = Figure(figsize=(width, height))

    def axes_at(left: float, top: float, wide: float, tall: float) -> Axes:
        return figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height))

    for number, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        row, column = divmod(number, columns)
        axes = axes_at(margin + column * (across + gap), above + row * (above + high), across, high)
        draw_map(axes, panel, grid, shade, furniture=number == 0, labelled=False)
        axes.set(xticks=[], yticks=[], xlabel="")
        axes.set_title("\n".join(title), fontsize=7.5, fontweight="normal", pad=3, linespacing=1.1)
    length = min(4.2, width - 0.8)
    _colour_bar(axes_at((width - length) / 2, rows * (above + high) + 0.12, length, 0.12), panels)
    return figure


def _colour_bar(axes: Axes, panels: Sequence[Panel]) -> None:
    colours = panels[0].colours
    least = min(float(np.nanmin(panel.values)) for panel in panels)
    greatest = max(float(np.nanmax(panel.values)) for panel in panels)
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    mappable = ScalarMappable(Normalize(colours.low, colours.high), colours.cmap)
    bar = axes.figure.colorbar(
        mappable, cax=axes, orientation="horizontal", extend=ends[least < colours.low, greatest > colours.high]
    )
    bar.outline.set_linewidth(0.5)
    bar.locator = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    bar.ax.tick_params(length=2, pad=2)
    bar.set_label(colours.label, labelpad=2)
