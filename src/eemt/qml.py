"""Styles that QGIS takes by itself: a map's colours, range and units, in a .qml file beside it.

A style is QGIS 3 XML with one pseudocolour renderer of band 1, the year. QGIS looks for it under the map's own name.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from eemt.errors import InputError
from eemt.raster import open_raster, whole_or_nothing

STOPS = 9  # colours of a ramp
SPREAD = 2.0  # standard deviations to both sides of the mean that colours are spread over
RAMPS = {
    "eemt": "viridis",
    "ebio": "viridis",
    "eppt": "plasma",
    "pet": "YlOrBr",
    "aet": "YlGnBu",
    "peff": "YlGnBu",
    "npp": "YlGn",
    "temperature": "RdYlBu_r",
    "fbio": "viridis",
}
OVER_YEARS = {"sd": "magma", "trend": "BrBG", "trend_p": "cividis"}
DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"


class Style(NamedTuple):
    """How a map's numbers become colours."""

    ramp: str
    low: float
    high: float
    units: str


def write_style(path: Path, variable: str, year: str, units: str) -> Path:
    """Write the style of a map beside it.

    Parameters
    ----------
    path : path
        The map, with the statistics of its bands.
    variable, year : str
        Such as ``eemt``, and a year's label or ``mean``, ``sd``, ``trend``, ``trend_p``.
    units : str
        Of band 1.

    Returns
    -------
    path
        The same with the ending .qml.

    Raises
    ------
    InputError
        When there are no colours for the variable.
    """
    if variable not in RAMPS:
        raise InputError(f"style: no colours for {variable}; there are for {', '.join(RAMPS)}")
    with open_raster(path, "map") as source:
        low, high = shown_range(source.tags(1), year)
    out = path.with_suffix(".qml")
    text = style_text(Style(OVER_YEARS.get(year, RAMPS[variable]), low, high, units))
    with whole_or_nothing(out) as partial:
        partial.write_text(text, encoding="utf-8")
    return out


def shown_range(statistics: Mapping[str, str], year: str) -> tuple[float, float]:
    """Return the values that colours are spread over: of a trend as far below zero as above.

    Parameters
    ----------
    statistics : mapping
        A band's tags, with the ``STATISTICS_…`` of GDAL; without them, as where there is no value, 0 to 1.
    year : str
        Label of the map; a p-value has 0 to 1.
    """
    found = [statistics.get(f"STATISTICS_{name}") for name in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")]
    if year == "trend_p" or None in found:
        return 0.0, 1.0
    least, most, mean, sd = (float(value) for value in found if value is not None)
    low, high = max(least, mean - SPREAD * sd), min(most, mean + SPREAD * sd)
    if year == "trend":
        reach = max(abs(low), abs(high)) or 1.0
        low, high = -reach, reach
    if high - low < 1e-6 * max(abs(low), abs(high), 1e-6):
        margin = max(abs(low) * 0.05, 0.5)
        low, high = low - margin, high + margin
    return low, high


def style_text(style: Style) -> str:
    """Return a style as the text of a .qml file."""
    root = ElementTree.Element(
        "qgis", {"version": "3.16.0", "styleCategories": "Symbology", "hasScaleBasedVisibilityFlag": "0"}
    )
    pipe = ElementTree.SubElement(root, "pipe")
    _renderer(pipe, style)
    ElementTree.SubElement(pipe, "brightnesscontrast", {"brightness": "0", "contrast": "0", "gamma": "1"})
    ElementTree.SubElement(pipe, "huesaturation", {"saturation": "0", "grayscaleMode": "0", "colorizeOn": "0"})
    ElementTree.SubElement(pipe, "rasterresampler", {"maxOversampling": "2"})
    ElementTree.SubElement(root, "blendMode").text = "0"
    ElementTree.indent(root)
    return f"{DOCTYPE}\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _renderer(pipe: ElementTree.Element, style: Style) -> None:
    low, high = _number(style.low), _number(style.high)
    renderer = ElementTree.SubElement(
        pipe,
        "rasterrenderer",
        {
            "type": "singlebandpseudocolor",
            "band": "1",
            "opacity": "1",
            "alphaBand": "-1",
            "nodataColor": "",
            "classificationMin": low,
            "classificationMax": high,
        },
    )
    ElementTree.SubElement(renderer, "rasterTransparency")
    origin = ElementTree.SubElement(renderer, "minMaxOrigin")
    # the range is as written here and is not looked for again when the map is opened
    for name, word in (("limits", "None"), ("extent", "WholeRaster"), ("statAccuracy", "Estimated")):
        ElementTree.SubElement(origin, name).text = word
    shader = ElementTree.SubElement(
        ElementTree.SubElement(renderer, "rastershader"),
        "colorrampshader",
        {
            "colorRampType": "INTERPOLATED",
            "classificationMode": "1",
            "clip": "0",
            "labelPrecision": "4",
            "minimumValue": low,
            "maximumValue": high,
        },
    )
    colours = ramp(style.ramp)
    _gradient(shader, colours)
    for number, colour in enumerate(colours):
        value = style.low + (style.high - style.low) * number / (STOPS - 1)
        label = f"{float(f'{value:.4g}'):g}{_unit_words(style.units)}"
        item = {"color": _hexadecimal(colour), "value": _number(value), "label": label, "alpha": "255"}
        ElementTree.SubElement(shader, "item", item)
    _legend(shader, style.units)


def _gradient(shader: ElementTree.Element, colours: list[tuple[int, int, int]]) -> None:
    """Describe the ramp itself, which QGIS's dialogue shows and stretches again."""
    first, *between, last = (",".join(map(str, (*colour, 255))) for colour in colours)
    stops = ":".join(f"{number / (STOPS - 1):g};{colour}" for number, colour in enumerate(between, start=1))
    gradient = ElementTree.SubElement(shader, "colorramp", {"type": "gradient", "name": "[source]"})
    options = ElementTree.SubElement(gradient, "Option", {"type": "Map"})
    about = {"color1": first, "color2": last, "discrete": "0", "rampType": "gradient", "stops": stops}
    for name, value in about.items():
        # up to 3.24 QGIS reads the one form, later the other
        ElementTree.SubElement(options, "Option", {"type": "QString", "name": name, "value": value})
        ElementTree.SubElement(gradient, "prop", {"k": name, "v": value})


def _legend(shader: ElementTree.Element, units: str) -> None:
    legend = {
        "prefix": "",
        "suffix": _unit_words(units),
        "minimumLabel": "",
        "maximumLabel": "",
        "direction": "0",
        "orientation": "2",
        "useContinuousLegend": "1",
    }
    ElementTree.SubElement(shader, "rampLegendSettings", legend)


@functools.cache
def ramp(name: str) -> list[tuple[int, int, int]]:
    """Return a colour map of matplotlib as evenly spaced colours (red, green and blue, 0 to 255)."""
    from matplotlib import colormaps  # half a second that only those who write styles need

    colours = [colormaps[name](number / (STOPS - 1)) for number in range(STOPS)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue, _ in colours]


def _hexadecimal(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise InputError(f"style: the map's statistics are {value}; make the map again with `eemt mosaic`")
    return repr(float(f"{value:.9g}"))


def _unit_words(units: str) -> str:
    return "" if units in {"", "1"} else f" {units}"
