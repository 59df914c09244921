"""Maps of a run, and the style of all its figures, drawn without pyplot so that nothing outlives a figure.

Every function takes arrays, and a `Grid` where there is a map, and returns a matplotlib Figure.
Colour maps are perceptually uniform and safe for colour-blind readers.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import OffsetFrom, Text
from matplotlib.ticker import MaxNLocator

from eemt.grid import Grid

Floats = npt.NDArray[np.floating]
Arguments = ParamSpec("Arguments")

ANNUAL = "MJ m⁻² yr⁻¹"
MONTHLY = "MJ m⁻² month⁻¹"
MONTHS = "JFMAMJJASOND"
# Okabe & Ito's palette, told apart by readers with any colour vision
METHOD_COLOUR = {"trad": "#D55E00", "topo": "#0072B2", "veg": "#009E73"}
PART_COLOUR = {"ebio": "#009E73", "eppt": "#56B4E9", "eemt": "#7F7F7F"}
ASPECT_COLOUR = {"north": "#0072B2", "south": "#E69F00"}
PART_NAME = {"ebio": "E$_\\mathrm{BIO}$", "eppt": "E$_\\mathrm{PPT}$", "eemt": "EEMT"}
MISSING = "#E4E4E4"
INK = "#2B2B2B"

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": "#8A8A8A",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "eemt",  # the same figure has the same bytes
}

# Layout of a row or column of maps
MARGIN_LEFT, MARGIN_RIGHT, GAP = 0.62, 0.14, 0.2  # in
TITLE_HEIGHT, TICKS_HEIGHT, BAR_HEIGHT = 0.3, 0.5, 0.55  # in
LEAST_PANEL, TALLEST_PANEL = 1.5, 6.0  # in
DOTS = 42  # along a map's longer side, where it is doubtful
WIDE_SITE = 2.2  # width over height from which maps stand below one another


@dataclass(frozen=True)
class Colours:
    """How numbers become colours; panels with equal colours share one bar."""

    cmap: str
    low: float
    high: float
    label: str
    words: tuple[str, ...] = ()  # for evenly spaced values, in place of numbers


@dataclass(frozen=True)
class Panel:
    """One map of a figure; sun and water show the terrain themselves and need no hillshade."""

    title: str
    values: Floats
    colours: Colours
    shaded: bool = True
    doubtful: npt.NDArray[np.bool_] | None = None  # where the map is dotted


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draw with the house style and leave matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def styled(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def hillshade(elevation: Floats, grid: Grid, azimuth: float = 315.0, altitude: float = 45.0) -> npt.NDArray[np.float64]:
    """Brightness of the terrain under a low sun, between 0 and 1.

    Gentle terrain is exaggerated vertically, up to tenfold, so that its forms show.

    Parameters
    ----------
    elevation : (rows, cols) array of float
        [m], NaN where there is none; row 0 is the northern edge.
    grid : Grid
    azimuth, altitude : float
        Of the light [degrees clockwise from north], [degrees above the horizon].

    Returns
    -------
    (rows, cols) array of float64
        Level ground has ``sin(altitude)``; NaN where there is no elevation.
    """
    centre = np.asarray(elevation, dtype=np.float64)
    padded = np.pad(centre, 1, mode="edge")
    rows, cols = centre.shape

    def neighbour(row: int, col: int) -> npt.NDArray[np.float64]:
        value = padded[1 + row : 1 + row + rows, 1 + col : 1 + col + cols]
        return np.where(np.isnan(value), centre, value)

    east = neighbour(-1, 1) + 2 * neighbour(0, 1) + neighbour(1, 1)
    west = neighbour(-1, -1) + 2 * neighbour(0, -1) + neighbour(1, -1)
    north = neighbour(-1, -1) + 2 * neighbour(-1, 0) + neighbour(-1, 1)
    south = neighbour(1, -1) + 2 * neighbour(1, 0) + neighbour(1, 1)
    eastward, northward = (east - west) / (8 * grid.dx), (north - south) / (8 * grid.dy)
    steepness = np.hypot(eastward, northward)
    typical = float(np.nanpercentile(steepness, 75)) if np.isfinite(steepness).any() else 0.0
    exaggeration = min(max(0.35 / typical, 1.0), 10.0) if typical > 0 else 1.0
    eastward, northward = eastward * exaggeration, northward * exaggeration
    to_light, height = math.radians(azimuth), math.radians(altitude)
    facing = -eastward * math.sin(to_light) - northward * math.cos(to_light)
    shade = (math.sin(height) + math.cos(height) * facing) / np.sqrt(1 + eastward**2 + northward**2)
    return np.where(np.isnan(centre), np.nan, np.clip(shade, 0.0, 1.0))


def sequential(cmap: str, label: str, *maps: Floats) -> Colours:
    """Colours that the given maps share, from their 1st to their 99th percentile."""
    values = _finite(*maps)
    low, high = np.percentile(values, [1, 99]) if values.size else (0.0, 1.0)
    if high - low < 1e-6 * max(abs(low), abs(high), 1e-6):
        margin = max(abs(low) * 0.05, 0.5)
        low, high = low - margin, high + margin
    return Colours(cmap, float(low), float(high), label)


def diverging(cmap: str, label: str, *maps: Floats, centre: float = 0.0) -> Colours:
    """Colours that reach equally far to both sides of `centre`."""
    values = _finite(*maps)
    reach = float(np.percentile(np.abs(values - centre), 98)) if values.size else 1.0
    reach = reach if reach > 1e-6 else 0.5
    return Colours(cmap, centre - reach, centre + reach, label)


def drape(panel: Panel, shade: Floats) -> npt.NDArray[np.float64]:
    """Lay a map's colours over the terrain.

    Level ground keeps the colour of the bar; slopes toward the light are mixed with white, those
    away from it with black.

    Returns
    -------
    (rows, cols, 4) array of float
        Red, green, blue and opacity, which is 0 where the map has no value.
    """
    colours = panel.colours
    rgba = np.array(matplotlib.colormaps[colours.cmap](Normalize(colours.low, colours.high)(panel.values)))
    strength = 0.7 if panel.shaded else 0.0
    relief = np.clip(np.nan_to_num(shade - math.sin(math.radians(45)), nan=0.0) * strength, -0.4, 0.3)[..., np.newaxis]
    towards = np.where(relief > 0, 1.0, 0.0)
    rgba[..., :3] += (towards - rgba[..., :3]) * np.abs(relief)
    rgba[..., 3] = np.isfinite(panel.values)
    return rgba


@styled
def maps(panels: Sequence[Panel], grid: Grid, shade: Floats, width: float = 9.0, stacked: bool | None = None) -> Figure:
    """Draw maps over the hillshade, in a row or, for a wide site, below one another.

    Parameters
    ----------
    panels : sequence of Panel
        Neighbours with equal colours share a colour bar.
    grid : Grid
        Of the panels and the hillshade, in metres.
    shade : (rows, cols) array of float
        From `hillshade`.
    width : float
        Of the figure at the most [in].
    stacked : bool, optional
        Whether the maps stand below one another; by default as the site's shape asks.
    """
    if stacked is None:
        stacked = len(panels) > 1 and grid.width * grid.dx > WIDE_SITE * grid.height * grid.dy
    groups = [list(group) for _, group in itertools.groupby(panels, key=lambda panel: panel.colours)]
    columns = 1 if stacked else len(panels)
    panel_width, panel_height = _panel_size(grid, columns, width)
    step = TITLE_HEIGHT + panel_height + TICKS_HEIGHT
    total_width = MARGIN_LEFT + columns * panel_width + (columns - 1) * GAP + MARGIN_RIGHT
    total_height = len(panels) * step + len(groups) * BAR_HEIGHT if stacked else step + BAR_HEIGHT
    figure = Figure(figsize=(total_width, total_height))

    def axes_at(left: float, top: float, wide: float, high: float) -> Axes:
        return figure.add_axes(
            (left / total_width, 1 - (top + high) / total_height, wide / total_width, high / total_height)
        )

    left, top = MARGIN_LEFT, 0.0
    for group in groups:
        first_left = left
        for panel in group:
            axes = axes_at(left, top + TITLE_HEIGHT, panel_width, panel_height)
            draw_map(axes, panel, grid, shade, furniture=panel is panels[0], labelled=stacked or panel is panels[0])
            left, top = (left, top + step) if stacked else (left + panel_width + GAP, top)
        span = panel_width if stacked else left - GAP - first_left
        bar_width = min(span, 4.2)
        bar_top = top if stacked else step
        _colour_bar(axes_at(first_left + (span - bar_width) / 2, bar_top, bar_width, 0.12), group)
        top += BAR_HEIGHT if stacked else 0.0
    return figure


def _panel_size(grid: Grid, columns: int, width: float) -> tuple[float, float]:
    """Width and height of a map's box [in]; very tall and very wide sites leave some of it empty."""
    shape = grid.height * grid.dy / (grid.width * grid.dx)
    across = (width - MARGIN_LEFT - MARGIN_RIGHT - (columns - 1) * GAP) / columns
    high = min(across * shape, TALLEST_PANEL)
    return max(min(high / shape, across), LEAST_PANEL), max(high, LEAST_PANEL / 2)


def draw_map(
    axes: Axes, panel: Panel, grid: Grid, shade: Floats, furniture: bool = True, labelled: bool = True
) -> None:
    """Draw one map with coordinates in km and, as furniture, a scale bar and a north arrow."""
    west, south, east, north = (edge / 1000 for edge in grid.bounds)
    axes.imshow(drape(panel, shade), extent=(west, east, south, north), interpolation="auto")
    axes.set_aspect("equal", adjustable="box")
    if panel.doubtful is not None:
        _dots(axes, panel.doubtful, grid)
    axes.set_facecolor(MISSING)
    axes.set_title(panel.title, pad=4)
    axes.spines[:].set_visible(True)
    ticks = max(2, min(4, int(axes.get_window_extent().width / axes.figure.dpi / 0.8)))
    axes.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.set_xlabel("Easting (km)", labelpad=1)
    axes.tick_params(length=2.5, labelleft=labelled)
    axes.yaxis.set_tick_params(labelrotation=90)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    if labelled:
        axes.set_ylabel("Northing (km)", labelpad=2)
    if furniture:
        _scale_bar(axes, grid)
        _north_arrow(axes)


def _dots(axes: Axes, where: npt.NDArray[np.bool_], grid: Grid) -> None:
    """Dot the cells that are doubtful, evenly and few enough to leave the colours to be seen."""
    step = max(1, round(max(where.shape) / DOTS))
    first = step // 2
    row, col = np.nonzero(where[first::step, first::step])
    x, y = grid.x[first::step][col] / 1000, grid.y[first::step][row] / 1000
    west, south, east, north = (edge / 1000 for edge in grid.bounds)
    axes.scatter(x, y, s=1.1, color="black", linewidths=0, gid="doubtful")
    axes.set(xlim=(west, east), ylim=(south, north))


def scale_bar_length(width: float) -> float:
    """Longest of 1, 2, 5, 10, … that takes no more than 30 % of a map's width, both in the same unit."""
    most = 0.3 * width
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * digit for digit in (5, 2, 1) if power * digit <= most * (1 + 1e-9))


def _scale_bar(axes: Axes, grid: Grid) -> None:
    """Draw a bar of a round length into the lower left corner."""
    west, south, east, north = (edge / 1000 for edge in grid.bounds)
    length = scale_bar_length(east - west)
    left, bottom = west + 0.04 * (east - west), south + 0.05 * (north - south)
    text = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    for colour, line_width in (("white", 4.5), ("black", 2.2)):
        axes.plot(
            [left, left + length],
            [bottom, bottom],
            color=colour,
            linewidth=line_width,
            solid_capstyle="butt",
            gid="scale",
        )
    label = axes.annotate(
        text, (left + length / 2, bottom), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=8
    )
    _halo(label)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)


def _north_arrow(axes: Axes) -> None:
    """Draw an arrow toward grid north into the upper right corner."""
    from_corner = OffsetFrom(axes.patch, (1, 1), "points")
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.2, "shrinkA": 4, "shrinkB": 0}
    arrow["path_effects"] = [withStroke(linewidth=3.0, foreground="white")]
    label = axes.annotate(
        "N",
        xy=(-11, -4),
        xytext=(-11, -31),
        xycoords=from_corner,
        textcoords=from_corner,
        ha="center",
        va="center",
        fontsize=8,
        fontweight="bold",
        arrowprops=arrow,
    )
    _halo(label)


def _halo(text: Text) -> None:
    """Keep a text legible on any colour."""
    text.set_color("black")
    text.set_path_effects([withStroke(linewidth=2.2, foreground="white")])


def _colour_bar(axes: Axes, group: Sequence[Panel]) -> None:
    """Draw the bar of maps that share colours, pointed where values lie beyond it."""
    colours = group[0].colours
    values = _finite(*(panel.values for panel in group))
    margin = 1e-6 * (colours.high - colours.low)
    below = bool(values.size and values.min() < colours.low - margin)
    above = bool(values.size and values.max() > colours.high + margin)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
    mappable = ScalarMappable(Normalize(colours.low, colours.high), colours.cmap)
    bar = axes.figure.colorbar(mappable, cax=axes, orientation="horizontal", extend=extend, extendfrac=0.04)
    bar.outline.set_linewidth(0.5)
    if colours.words:
        bar.set_ticks(list(np.linspace(colours.low, colours.high, len(colours.words))), labels=list(colours.words))
        # within the figure, where the bar ends at its edge
        first, *_, last = bar.ax.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
    else:
        bar.locator = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    bar.ax.tick_params(length=2, pad=2)
    bar.set_label(colours.label, labelpad=2)


def _finite(*arrays: Floats) -> npt.NDArray[np.float64]:
    """Every number of some arrays in one row."""
    return np.concatenate([np.asarray(a, dtype=np.float64)[np.isfinite(a)].ravel() for a in arrays] or [np.empty(0)])


DIFFERENCES = (("topo", "trad"), ("veg", "topo"))  # what topography changes, and what plants do


def differences(eemt: Mapping[str, Floats]) -> list[Panel]:
    """Make maps of what each method changes, centred on no change and in the same colours."""
    pairs = [pair for pair in DIFFERENCES if set(pair) <= set(eemt)] or [("veg", "trad")]
    changes = {(new, old): eemt[new] - eemt[old] for new, old in pairs if {new, old} <= set(eemt)}
    colours = diverging("RdBu_r", f"Difference of EEMT ({ANNUAL})", *changes.values())
    return [Panel(f"{new.upper()} minus {old.upper()}", change, colours) for (new, old), change in changes.items()]


def variable_panels(
    by_method: Mapping[str, Floats], cmap: str, symbol: str, label: str, shaded: bool = True
) -> list[Panel]:
    """Make maps of any variable by method, in the same colours."""
    colours = sequential(cmap, label, *by_method.values())
    return [Panel(f"{symbol} {method.upper()}", values, colours, shaded) for method, values in by_method.items()]


def trend_panels(slopes: Mapping[str, Floats], chances: Mapping[str, Floats], level: float) -> list[Panel]:
    """Make maps of EEMT's trend by method, dotted where its p-value is `level` or more.

    Parameters
    ----------
    slopes, chances : mapping of str to (rows, cols) array of float
        By method [MJ m-2 yr-1 for ten years], and its p-value [-].
    level : float
    """
    colours = diverging("BrBG", f"Trend of EEMT ({ANNUAL} in ten years)", *slopes.values())
    return [
        Panel(f"Trend {method.upper()}", values, colours, shaded=False, doubtful=chances[method] >= level)
        for method, values in slopes.items()
    ]


def edge_panel(flags: Floats) -> Panel:
    """Make a map of where water may come from beyond the edge of the elevation model."""
    return Panel("Edge", flags, Colours("Oranges", 0.0, 1.0, "Water from beyond the edge", ("none", "possible")))


def eemt_panels(eemt: Mapping[str, Floats]) -> list[Panel]:
    """Make maps of EEMT by method, in the same colours."""
    colours = sequential("viridis", f"EEMT ({ANNUAL})", *eemt.values())
    return [Panel(f"EEMT {method.upper()}", values, colours) for method, values in eemt.items()]


def elevation_panel(elevation: Floats) -> Panel:
    """Make a map of elevation [m]."""
    return Panel("Elevation", elevation, sequential("cividis", "Elevation (m above sea level)", elevation))


def sun_panel(yearly: Floats) -> Panel:
    """Make a map of the year's clear-sky irradiation [kWh m-2]."""
    colours = sequential("inferno", "Clear-sky irradiation (kWh m⁻² yr⁻¹)", yearly)
    return Panel("Sun of the year", yearly, colours, shaded=False)


def overview(grid: Grid, elevation: Floats, sun: Floats | None, eemt: Mapping[str, Floats]) -> Figure:
    """Show a site in one wide row: the year's sun, EEMT by method, and what topography changes.

    Parameters
    ----------
    grid : Grid
    elevation : (rows, cols) array of float
        [m].
    sun : (rows, cols) array of float, optional
        Clear-sky irradiation of the year [kWh m-2]; without it the first map is elevation.
    eemt : mapping of str to (rows, cols) array of float
        By method [MJ m-2 yr-1].
    """
    first = elevation_panel(elevation) if sun is None else sun_panel(sun)
    panels = [first, *eemt_panels(eemt)]
    panels += differences(eemt)
    return maps(panels, grid, hillshade(elevation, grid), width=3.5 * len(panels), stacked=False)
