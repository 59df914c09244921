"""A STAC catalogue of a site's maps: one collection, one item a map, with relative links only.

A sweep's cases are items too, one each, whose assets are all their maps: they are many, and a case is looked at as a
whole.

It follows STAC 1.1.0 (https://stacspec.org) with the extensions Projection 2.0.0, Raster 1.1.0, Scientific Citation
1.0.0 and Processing 1.1.0. The folder can be moved or put on any server of files as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pystac
import rasterio
from pyproj import CRS, Transformer
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, NoDataStrings, RasterBand, RasterExtension, Sampling, Statistics
from pystac.extensions.scientific import Publication, ScientificExtension
from pystac.layout import TemplateLayoutStrategy
from rasterio.warp import transform_bounds

from eemt.comparison import changed
from eemt.config import Site
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.inventory import CASE_ITEM, CASE_THUMBNAIL, CATALOGUE, ITEMS, Kind, kind, media_type, site_files
from eemt.map_header import MapHeader, read_header
from eemt.origins import without_secrets
from eemt.plan import Plan
from eemt.products import MEAN
from eemt.provenance import DOI
from eemt.raster import whole_or_nothing
from eemt.sweep import Case, label
from eemt.thumbnails import Thumbnails

Part = TypeVar("Part", pystac.Collection, pystac.Item)

EDGE_POINTS = 8  # of a footprint's side, which is no straight line in degrees
DECIMALS = 7  # of degrees: a centimetre
# of no extension of pystac's own
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
TABLE = "summary.csv"
KEYWORDS = ["EEMT", "effective energy and mass transfer", "critical zone", "climate", "topography"]


def write_catalogue(folder: Path, out: Path, site: str, settings: Site) -> list[Path]:
    """Write the catalogue of a site.

    Parameters
    ----------
    folder : path
        The site's folder of results.
    out : path
        The collection, ``catalog.json``; items are put beside it into the folder ``stac``, one a map, under its name,
        with a small picture each, and those of a sweep's cases into their folders.
    site : str
        Name of the site, and of the collection.
    settings : Site
        They say which maps there are.

    Returns
    -------
    list of path
        All that was written, the collection first.

    Raises
    ------
    InputError
        When a map is missing or was not made by `eemt maps` or `eemt mosaic`.
    """
    plan = Plan(settings)
    cases = [case for case in plan.cases.values() if case.name]
    maps = {name: _headers(folder / name / "maps", plan) for name in ("", *(case.name for case in cases))}
    drawn = Thumbnails(maps[""], folder / "dem" / "dem.tif")
    items = [item(known, out.parent / ITEMS / f"{known.path.stem}.json", site) for known in maps[""]]
    of_cases = [case_item(case, maps[case.name], out.parent / case.name / CASE_ITEM, site) for case in cases]
    collection = _collection(folder, out, site, settings, [*items, *of_cases])
    shown = shown_map(plan)
    _add_thumbnail(collection, out.parent / ITEMS / f"{shown}.png")
    paths = [_written(collection)]
    for made, known in zip(items, maps[""], strict=True):
        picture = out.parent / ITEMS / f"{known.path.stem}.png"
        paths += [_written(_add_thumbnail(made, picture)), _drawn(drawn, known, picture)]
    for made, case in zip(of_cases, cases, strict=True):
        known = next(one for one in maps[case.name] if one.path.stem == shown)
        picture = out.parent / case.name / CASE_THUMBNAIL
        paths += [_written(_add_thumbnail(made, picture)), _drawn(drawn, known, picture)]
    return paths


def _headers(folder: Path, plan: Plan) -> list[MapHeader]:
    return [read_header(folder / f"{name}.tif", "catalogue") for name in plan.maps]


def shown_map(plan: Plan) -> str:
    """Return the name of the map that stands for all: EEMT with topography, of all years."""
    method = next((name for name in ("topo", "veg") if name in plan.settings.eemt.methods), "trad")
    return f"eemt_{method}_{MEAN if MEAN in plan.over_years else plan.years[-1]}"


def _written(part: pystac.Collection | pystac.Item) -> Path:
    path = Path(part.get_self_href() or "")
    with whole_or_nothing(path) as partial:
        text = json.dumps(part.to_dict(include_self_link=False), indent=1, ensure_ascii=False)
        partial.write_text(f"{text}\n", encoding="utf-8")
    return path


def _drawn(drawn: Thumbnails, known: MapHeader, path: Path) -> Path:
    with whole_or_nothing(path) as partial:
        partial.write_bytes(drawn.draw(known))
    return path


def _add_thumbnail(part: Part, path: Path) -> Part:
    href = _relative(path, part)
    part.add_asset("thumbnail", pystac.Asset(href, "Thumbnail", media_type=pystac.MediaType.PNG, roles=["thumbnail"]))
    return part


def item(known: MapHeader, path: Path, site: str) -> pystac.Item:
    """Return a map as an item of the site's collection; `path` is where it will be written."""
    tags = known.tags
    about = {
        "title": _title(known),
        **_about_map(known),
        "eemt:years": tags["YEARS"].split(","),
        "eemt:parameters": without_secrets(json.loads(tags.get("OPTIONS") or "{}")),
    }
    made = _item(known.path.stem, [known], path, site, about)
    _add_map(made, known, "data")
    _add_style(made, known, "style")
    return made


def case_item(case: Case, maps: list[MapHeader], path: Path, site: str) -> pystac.Item:
    """Return a case of a sweep, with all its maps as assets, as an item of the site's collection."""
    about = {
        "title": f"Maps with {changed(case)}",
        "eemt:changes": {label(key): value for key, value in case.changes.items()},
    }
    made = _item(case.name, maps, path, site, about)
    for known in maps:
        _add_map(made, known, known.path.stem).extra_fields.update(_about_map(known))
        _add_style(made, known, f"{known.path.stem}_style")
    made.add_asset(
        TABLE, pystac.Asset(f"./{TABLE}", "Table of all maps", media_type=media_type(TABLE), roles=["metadata"])
    )
    return made


def _item(name: str, maps: list[MapHeader], path: Path, site: str, about: dict[str, Any]) -> pystac.Item:
    """Return an item of maps on the same cells, still without assets."""
    spans = [time_span(known.tags["YEARS"]) for known in maps]
    made = pystac.Item(
        id=name,
        geometry=footprint(maps[0].grid),
        bbox=degrees(maps[0].grid),
        datetime=None,
        start_datetime=min(start for start, _ in spans),
        end_datetime=max(end for _, end in spans),
        collection=site,
        properties={**about, "created": max(known.tags["CREATED"] for known in maps)},
    )
    made.set_self_href(str(path.absolute()))
    _project(made, maps[0].grid)
    # the paper of the model; the maps themselves have no DOI
    paper = Publication(doi=DOI, citation=maps[0].tags["CITATION"])
    ScientificExtension.ext(made, add_if_missing=True).apply(publications=[paper])
    versions = json.loads(maps[0].tags.get("VERSIONS") or "{}")
    if versions:
        made.stac_extensions.append(PROCESSING)
        made.properties["processing:software"] = versions
    return made


def _title(known: MapHeader) -> str:
    title = known.tags["TITLE"]
    return title[0].upper() + title[1:]


def _about_map(known: MapHeader) -> dict[str, str]:
    return {f"eemt:{name}": known.tags[name.upper()] for name in ("variable", "method", "year")}


def _project(made: pystac.Item, grid: Grid) -> None:
    projection = ProjectionExtension.ext(made, add_if_missing=True)
    named = re.fullmatch(r"[A-Z]+:\d+", grid.crs)
    projection.apply(
        code=grid.crs if named else None,
        wkt2=None if named else CRS.from_user_input(grid.crs).to_wkt("WKT2_2019"),
        bbox=list(grid.bounds),
        shape=list(grid.shape),
        transform=list(grid.transform)[:6],
    )


def _add_map(made: pystac.Item, known: MapHeader, name: str) -> pystac.Asset:
    form = pystac.MediaType.COG if known.optimised else pystac.MediaType.GEOTIFF
    data = pystac.Asset(_relative(known.path, made), title=_title(known), media_type=form, roles=["data"])
    made.add_asset(name, data)
    names = [description or f"band {number}" for number, (description, _) in enumerate(known.bands, start=1)]
    data.extra_fields["bands"] = [{"name": name.rsplit(" ", 1)[-1], "description": name} for name in names]
    RasterExtension.ext(data, add_if_missing=True).apply(list(_raster_bands(known)))
    return data


def _add_style(made: pystac.Item, known: MapHeader, name: str) -> None:
    style = known.path.with_suffix(".qml")
    if style.exists():
        href = _relative(style, made)
        made.add_asset(name, pystac.Asset(href, "Style for QGIS", media_type=media_type(".qml"), roles=["style"]))


def _raster_bands(known: MapHeader) -> Iterator[RasterBand]:
    year, month = known.units
    for number, (_, tags) in enumerate(known.bands):
        found = {name: tags.get(f"STATISTICS_{tag}") for name, tag in STATISTICS.items()}
        numbers = {name: float(value) for name, value in found.items() if value is not None}
        yield RasterBand.create(
            nodata=NoDataStrings.NAN,
            sampling=Sampling.AREA,
            data_type=DataType.FLOAT32,
            spatial_resolution=known.grid.dx,
            unit=month if number else year,
            statistics=Statistics.create(**numbers) if numbers else None,
        )


STATISTICS = {
    "minimum": "MINIMUM",
    "maximum": "MAXIMUM",
    "mean": "MEAN",
    "stddev": "STDDEV",
    "valid_percent": "VALID_PERCENT",
}


def _collection(folder: Path, out: Path, site: str, settings: Site, items: list[pystac.Item]) -> pystac.Collection:
    boxes = np.array([made.bbox for made in items])
    times = [made.common_metadata for made in items]
    box = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    span = [
        min(t.start_datetime for t in times if t.start_datetime),
        max(t.end_datetime for t in times if t.end_datetime),
    ]
    about = pystac.Collection(
        id=site,
        title=f"EEMT of {site}",
        description=f"Effective energy and mass transfer (EEMT) of {site}: maps by variable, method and year.",
        extent=pystac.Extent(pystac.SpatialExtent([box]), pystac.TemporalExtent([span])),
        license=settings.outputs.licence or "other",
        keywords=KEYWORDS,
        providers=_providers(settings),
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
        href=str(out.absolute()),
    )
    for key in ("eemt:variable", "eemt:method", "eemt:year"):
        about.summaries.add(key, _each(items, key))
    for name in site_files(folder):
        known = kind(name)
        if known is not None and _is_of_collection(name):
            about.add_asset(name.replace("/", "_"), _asset(name, known))
    about.add_link(pystac.Link("cite-as", f"https://doi.org/{DOI}", title="The paper of the model"))
    for made in items:
        place = Path(made.get_self_href() or "").relative_to(out.absolute().parent)
        about.add_item(made, strategy=TemplateLayoutStrategy(item_template=place.as_posix()))
    return about


def _asset(name: str, known: Kind) -> pystac.Asset:
    return pystac.Asset(f"./{name}", title=known.meaning, media_type=media_type(name), roles=[known.role])


def _is_of_collection(name: str) -> bool:
    """Whether a file is of the site as a whole: no map, which has its item, and nothing that is made later."""
    first = name.split("/", 1)[0]
    return first not in {"maps", ITEMS, CATALOGUE} and "~" not in name and not name.startswith(AFTERWARDS)


AFTERWARDS = ("overview.", "report.", "sweep.")  # may be made later


def _providers(settings: Site) -> list[pystac.Provider]:
    software = pystac.Provider("eemt", roles=[pystac.ProviderRole.PROCESSOR], description="The program of the maps")
    publisher = settings.outputs.publisher
    return [pystac.Provider(publisher, roles=[pystac.ProviderRole.PRODUCER]), software] if publisher else [software]


def _each(items: list[pystac.Item], key: str) -> list[str]:
    return list(dict.fromkeys(made.properties[key] for made in items if key in made.properties))


def _relative(path: Path, made: pystac.Collection | pystac.Item) -> str:
    return pystac.utils.make_relative_href(str(path.absolute()), str(made.get_self_href()))


def time_span(years: str) -> tuple[datetime, datetime]:
    """Return the first and last second of years such as ``2001``, ``2001,2003`` or ``1971-2000``.

    Raises
    ------
    InputError
        When there is no year in it.
    """
    numbers = [int(year) for year in re.findall(r"\d+", years)]
    if not numbers:
        raise InputError(f"catalogue: {years} has no year, such as 2001 or 1971-2000")
    return datetime(min(numbers), 1, 1, tzinfo=UTC), datetime(max(numbers), 12, 31, 23, 59, 59, tzinfo=UTC)


def footprint(grid: Grid) -> dict[str, Any]:
    """Return the outline of a grid as a GeoJSON polygon in WGS 84, counter-clockwise, with points along its sides."""
    west, south, east, north = grid.bounds
    along = np.linspace(0.0, 1.0, EDGE_POINTS, endpoint=False)
    x = np.concatenate([west + along * (east - west), 0 * along + east, east - along * (east - west), 0 * along + west])
    y = np.concatenate(
        [0 * along + south, south + along * (north - south), 0 * along + north, north - along * (north - south)]
    )
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    points = [[round(float(v), DECIMALS) for v in point] for point in zip(*to_degrees.transform(x, y), strict=True)]
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


def degrees(grid: Grid) -> list[float]:
    """Return the box around a grid: west, south, east and north [degrees, WGS 84]."""
    box = transform_bounds(rasterio.crs.CRS.from_user_input(grid.crs), "EPSG:4326", *grid.bounds)
    return [round(edge, DECIMALS) for edge in box]
