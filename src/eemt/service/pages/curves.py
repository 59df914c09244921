"""Curves as SVG, drawn here so that they need no script and take the page's colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 74, 14, 26
STEPS = 4  # about so many lines across
APART = 15  # between the names of curves, so that none hides another


def lines(series: Mapping[str, Sequence[float | None]], labels: Sequence[str], title: str) -> Markup:
    """Draw curves over the same places.

    Parameters
    ----------
    series : mapping
        By name, which is its colour's too (trad, topo, veg, sun): values, None where there is none.
    labels : sequence of str
        Of the places; as many are written as there is room for.
    title : str
        What a screen reader says of it.
    """
    there = [value for values in series.values() for value in values if value is not None]
    ticks = _ticks(min([0.0, *there]), max([0.0, *there]))
    across = (WIDTH - LEFT - RIGHT) / max(len(labels) - 1, 1)

    def x(place: int) -> float:
        return LEFT + across * place

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    parts = [part for tick in ticks for part in _across(tick, y(tick))]
    every = math.ceil(len(labels) / 12)
    for number, label in enumerate(labels):
        if number % every == 0:
            parts.append(f'<text x="{x(number):.1f}" y="{HEIGHT - 7}" text-anchor="middle">{escape(label)}</text>')
    ends = []
    for name, values in series.items():
        points = [(x(number), y(value)) for number, value in enumerate(values) if value is not None]
        if points:
            parts.append(_curve(name, points))
            ends.append((points[-1][1], name))
    parts += [_name(name, place) for place, name in _apart(ends)]
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _across(tick: float, y: float) -> tuple[str, str]:
    """Draw a line of equal values, and write the value beside it."""
    kind = "axis" if tick == 0 else "grid"
    return (
        f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>',
    )


def _curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in points)
    return f'<g class="{escape(name)}"><polyline points="{line}"/>{dots}</g>'


def _name(name: str, y: float) -> str:
    right = WIDTH - RIGHT
    return (
        f'<g class="{escape(name)}"><circle cx="{right + 11}" cy="{y - 4:.1f}" r="4"/>'
        f'<text class="series" x="{right + 20}" y="{y:.1f}">{escape(name.upper())}</text></g>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers around a range."""
    span = (high - low) or 1.0
    power = 10 ** math.floor(math.log10(span / STEPS))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if span / (power * factor) <= STEPS + 1)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * place for place in range(first, max(last, first + 1) + 1)]


def _apart(names: list[tuple[float, str]]) -> list[tuple[float, str]]:
    placed: list[tuple[float, str]] = []
    for place, name in sorted(names):
        least = placed[-1][0] + APART if placed else 0.0
        placed.append((max(place + 4, least), name))
    over = max(0.0, placed[-1][0] - (HEIGHT - BOTTOM)) if placed else 0.0
    return [(place - over, name) for place, name in placed]


def _number(value: float) -> str:
    return f"{value:,.10g}".replace(",", "\u202f").replace("-", "\u2212")
