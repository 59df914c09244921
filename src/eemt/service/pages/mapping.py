"""The figure that a job's maps are shown in; the page's script gives it addresses of tiles, colours and a place."""

from __future__ import annotations

from typing import Any

from bokeh.embed import json_item
from bokeh.models import PanTool, Range1d, WheelZoomTool, WMTSTileSource
from bokeh.plotting import figure as new_figure

LAYERS = ("hillshade", "map")  # from below
NOWHERE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"  # a transparent pixel
CLOSEST = 24  # zoom


def figure() -> dict[str, Any]:
    """Return a map of two layers of tiles, as BokehJS takes it (`Bokeh.embed.embed_item`)."""
    pan, zoom = PanTool(), WheelZoomTool(zoom_on_axis=False)
    shown = new_figure(
        x_axis_type="mercator",
        y_axis_type="mercator",
        x_range=Range1d(start=0.0, end=1.0),
        y_range=Range1d(start=0.0, end=1.0),
        sizing_mode="stretch_both",
        tools=[pan, zoom],
        active_drag=pan,
        active_scroll=zoom,
        toolbar_location=None,
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=None,
        min_border_right=12,
        stylesheets=[".bk-Panel { display: none; }"],  # the frame of attributions, of which there are none
        name="map",
    )
    for layer in LAYERS:
        source = WMTSTileSource(url=NOWHERE, max_zoom=CLOSEST, attribution="", wrap_around=False, name=layer)
        shown.add_tile(source, name=layer, smoothing=False)
    return dict(json_item(shown))
