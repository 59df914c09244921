"""The form of a new job, made from eemt.config: what a page needs to ask for everything without knowing any key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from eemt.config import ELEVATION_DATA_SETS, SECTIONS, SWEPT
from eemt.service import policy
from eemt.service.models import Kind
from eemt.service.settings import Settings

TITLES = {
    "dem": "Elevation",
    "tiles": "Tiles",
    "wetness": "Wetness",
    "sun": "Sun",
    "climate": "Climate",
    "eemt": "Energy and mass transfer",
    "sweep": "Sweep: the same with other parameters",
    "zones": "Zones",
    "outputs": "Outputs",
}
LABELS = {
    "dem.source": "Elevation model",
    "dem.bbox": "Area",
    "dem.buffer": "Terrain around the area",
    "dem.crs": "Coordinate system of the maps",
    "dem.resolution": "Cell size",
    "dem.vertical_unit": "Unit of elevations",
    "dem.fill_voids": "Fill voids up to",
    "tiles.size": "Size of a tile",
    "wetness.slope_floor": "Least slope, tan",
    "wetness.domain": "Area of mean one",
    "sun.step": "Time step",
    "sun.linke": "Linke turbidity",
    "sun.albedo": "Albedo of the ground",
    "sun.sky_view": "Horizon shades diffuse light",
    "sun.daily": "Keep daily maps",
    "climate.source": "Source of climate",
    "climate.file": "Table of stations",
    "climate.elevation": "Elevation of the station",
    "climate.latitude": "Latitude of the station",
    "climate.longitude": "Longitude of the station",
    "climate.normals_period": "Period of the normals",
    "climate.elevation_file": "Elevation of the climate",
    "climate.variables_extra": "Further variables",
    "climate.full_months": "Scale months that lack days",
    "climate.lapse_tmin": "Lapse rate of minimum temperature",
    "climate.lapse_tmax": "Lapse rate of maximum temperature",
    "climate.precipitation_gradient": "Precipitation gradient",
    "climate.precipitation_resampling": "Resampling of precipitation",
    "climate.idw_power": "Power of the distance",
    "climate.fill_distance": "Fill unknown cells up to",
    "eemt.keep": "Also map",
    "eemt.ndvi": "NDVI",
    "eemt.canopy_height": "Canopy height",
    "eemt.pet": "Evaporation, TRAD",
    "eemt.pet_topo": "Evaporation, TOPO",
    "eemt.pet_veg": "Evaporation, VEG",
    "eemt.cold_npp": "Growth in cold months, TRAD",
    "eemt.omega": "Budyko shape, omega",
    "eemt.budyko": "Budyko curve holds",
    "eemt.redistribution": "Water shared out by wetness",
    "eemt.wind": "Wind",
    "eemt.clearness": "Clearness of the sky",
    "eemt.albedo": "Albedo of the evaporating surface",
    "eemt.radiation_area": "Area of radiation",
    "eemt.solar_ratio_limits": "Limits of the solar ratio",
    "eemt.npp_floor": "Least production, TOPO",
    "eemt.npp_veg": "Reading of the production equation, VEG",
    "eemt.npp_veg_floor": "Least production, VEG",
    "eemt.npp_split": "Production in months",
    "eemt.reference_temperature": "Reference temperature",
    "eemt.water_heat_capacity": "Heat capacity of water",
    "eemt.biomass_enthalpy": "Energy of biomass",
    "sweep.sun": "Values of the sun",
    "sweep.climate": "Values of the climate",
    "sweep.eemt": "Values of energy and mass transfer",
    "sweep.years": "Years compared one by one",
    "sweep.table": "Table of cases",
    "sweep.together": "Cases in one step",
    "zones.file": "Polygons",
    "zones.id": "Attribute that names a zone",
    "outputs.parts": "Maps of E_BIO and E_PPT",
    "outputs.over_years": "Over all years",
    "outputs.catalogue": "STAC catalogue",
    "outputs.stack": "All maps as one file",
    "outputs.crate": "RO-Crate",
}
BASIC = frozenset(
    {
        "dem.source",
        "dem.bbox",
        "dem.resolution",
        "sun.step",
        "sun.linke",
        "sun.albedo",
        "sun.daily",
        "climate.source",
        "climate.file",
        "climate.elevation",
        "climate.latitude",
        "climate.longitude",
        "climate.years",
        "climate.normals_period",
        "eemt.methods",
        "eemt.ndvi",
        "eemt.canopy_height",
    }
)
# of a section that both kinds of jobs have
ONLY_OF: dict[str, tuple[Kind, ...]] = {"outputs.parts": ("eemt",), "outputs.over_years": ("eemt",)}
VEG = {"field": "eemt.methods", "has": ["veg"]}
TOPO = {"field": "eemt.methods", "has": ["topo"]}
STATION = {"field": "climate.source", "one_of": ["station"]}
DAYMET = {"field": "climate.source", "one_of": ["daymet"]}
SHOWN_WHEN: dict[str, dict[str, Any]] = {
    "dem.buffer": {"field": "dem.bbox", "given": True},
    "climate.file": STATION,
    "climate.elevation": STATION,
    "climate.latitude": STATION,
    "climate.longitude": STATION,
    "climate.normals_period": STATION,
    "climate.idw_power": STATION,
    "climate.region": DAYMET,
    "climate.variables_extra": DAYMET,
    "climate.full_months": DAYMET,
    "climate.elevation_file": DAYMET,
    "climate.precipitation_resampling": DAYMET,
    "climate.fill_distance": DAYMET,
    "eemt.ndvi": VEG,
    "eemt.canopy_height": VEG,
    "eemt.pet_veg": VEG,
    "eemt.npp_veg": VEG,
    "eemt.npp_veg_floor": VEG,
    "eemt.pet_topo": TOPO,
    "eemt.npp_floor": TOPO,
    "zones.layer": {"field": "zones.file", "given": True},
    "zones.id": {"field": "zones.file", "given": True},
    "zones.statistics": {"field": "zones.file", "given": True},
    "sweep.seed": {"field": "sweep.samples", "given": True},
}
NEEDED_WHEN: dict[str, dict[str, Any]] = {
    "dem.bbox": {"field": "dem.source", "one_of": list(ELEVATION_DATA_SETS)},
    "climate.file": STATION,
    "climate.years": DAYMET,
    "eemt.ndvi": VEG,
    "eemt.canopy_height": VEG,
}


def form(settings: Settings) -> dict[str, Any]:
    """Return the form: kinds of jobs, and sections with their fields in the order of the config.

    A field has `key` (section.name), `label`, `help`, `type`, `default`, `group` (basic or advanced), `kinds` of jobs
    that have it, and as they are known `unit`, `minimum`, `maximum` (`exclusive_minimum`, …), `choices`, `word` or
    `words` that stand for a value, `upload` (the kind of file), `shown_when` and `needed_when`: conditions on another
    `field`, which is `one_of` some values, `has` one of them, or is `given`.
    """
    return {
        "kinds": [
            {"value": "sun", "label": "Sun", "help": "Sun maps, slopes and wetness", "sections": list(sections("sun"))},
            {
                "value": "eemt",
                "label": "EEMT",
                "help": "Effective energy and mass transfer, with the sun maps that it needs",
                "sections": list(sections("eemt")),
            },
        ],
        "source_hosts": list(settings.source_hosts),
        "upload_bytes": settings.upload_bytes,
        "upload_cells": settings.upload_cells,
        "chunk_bytes": settings.chunk_bytes,
        "sections": [
            {
                "name": name,
                "title": TITLES[name],
                "help": (model.__doc__ or "").strip().partition("\n")[0],
                "kinds": kinds_of(name),
                "fields": list(fields(name)),
            }
            for name, model in SECTIONS.items()
        ],
        "not_offered": policy.NOT_OFFERED,
    }


def sections(kind: Kind) -> tuple[str, ...]:
    """Return the sections that a kind of job has."""
    return policy.SECTIONS_OF[kind]


def kinds_of(section: str) -> list[Kind]:
    """Return the kinds of jobs that have a section."""
    return [kind for kind in get_args(Kind) if section in sections(kind)]


def fields(section: str) -> Iterator[dict[str, Any]]:
    """Yield the fields of a section that users may set."""
    schema = SECTIONS[section].model_json_schema()
    for name, described in schema["properties"].items():
        key = f"{section}.{name}"
        if policy.why_not(key) is None:
            yield field(key, described, schema.get("$defs", {}), name in schema.get("required", ()))


def field(key: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], required: bool) -> dict[str, Any]:
    """Describe one field."""
    found: dict[str, Any] = {
        "key": key,
        "label": LABELS.get(key) or _title(key),
        "help": schema.get("description", ""),
        "group": "basic" if key in BASIC else "advanced",
        "kinds": list(ONLY_OF.get(key, kinds_of(key.partition(".")[0]))),
        "required": required,
        "default": schema.get("default"),
        **_typed(key, schema, definitions),
    }
    if "unit" in schema:
        found["unit"] = schema["unit"]
    for name, conditions in (("shown_when", SHOWN_WHEN), ("needed_when", NEEDED_WHEN)):
        if key in conditions:
            found[name] = conditions[key]
    return found


def _title(key: str) -> str:
    return key.partition(".")[2].replace("_", " ").capitalize()


def _typed(key: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's type and what belongs to it."""
    match key:
        case "dem.source":
            return {"type": "elevation", "upload": "dem", "several": True, "words": list(ELEVATION_DATA_SETS)}
        case "dem.bbox":
            return {"type": "bbox", "names": ["west", "south", "east", "north"], "minimum": -180, "maximum": 180}
        case _ if key in policy.SWEPT_SECTIONS:
            return {
                "type": "axes",
                "keys": [_axis(key.partition(".")[2], name) for name in SWEPT[key.partition(".")[2]]],
            }
    several = [_resolved(part, definitions) for part in schema.get("anyOf", [schema])]
    parts = [part for part in several if part.get("type") != "null"]
    if key in policy.FILES and len(parts) == 1:
        return {"type": "upload", "upload": policy.FILES[key].kind}
    found = _of_parts(key, parts, definitions)
    if key in policy.FILES:
        found["upload"] = policy.FILES[key].kind
    return found


def _of_parts(key: str, parts: list[Mapping[str, Any]], definitions: Mapping[str, Any]) -> dict[str, Any]:
    words = [part["const"] for part in parts if "const" in part]
    numbers = [part for part in parts if part.get("type") in ("number", "integer")]
    arrays = [part for part in parts if part.get("type") == "array"]
    if numbers and arrays:
        return {"type": "monthly", "length": 12, **_range(numbers[0]), **({"words": words} if words else {})}
    if numbers:
        whole = numbers[0]["type"] == "integer"
        return {"type": "whole" if whole else "number", **_range(numbers[0]), **({"words": words} if words else {})}
    if arrays:
        return _of_array(arrays[0], definitions)
    if "enum" in parts[0]:
        return {"type": "choice", "choices": _choices(key, parts[0]["enum"])}
    if parts[0].get("type") == "boolean":
        return {"type": "boolean"}
    pattern = {"pattern": parts[0]["pattern"]} if "pattern" in parts[0] else {}
    return {"type": "text", "longest": policy.LONGEST_TEXT, **pattern}


def _of_array(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if items := schema.get("prefixItems"):
        first = _resolved(items[0], definitions)
        kind = "years" if first.get("type") == "integer" else "pair"
        return {"type": kind, "length": len(items), **_range(first)}
    item = _resolved(schema["items"], definitions)
    if "enum" in item:
        return {"type": "choices", "choices": [{"value": value, "label": str(value)} for value in item["enum"]]}
    return {"type": "list", "items": "whole" if item.get("type") == "integer" else "number", **_range(item)}


def _axis(section: str, name: str) -> dict[str, Any]:
    """Describe one key of a sweep by the field that it varies; rasters cannot be swept."""
    schema = SECTIONS[section].model_json_schema()
    found = field(f"{section}.{name}", schema["properties"][name], schema.get("$defs", {}), required=False)
    return {key: value for key, value in found.items() if key not in {"upload", "group", "shown_when", "needed_when"}}


def _choices(key: str, values: list[Any]) -> list[dict[str, Any]]:
    hidden = policy.WORDS_NOT_OFFERED.get(key, {})
    return [{"value": value, "label": str(value)} for value in values if value not in hidden]


def _range(schema: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "minimum": "minimum",
        "maximum": "maximum",
        "exclusiveMinimum": "exclusive_minimum",
        "exclusiveMaximum": "exclusive_maximum",
    }
    return {ours: schema[theirs] for theirs, ours in names.items() if theirs in schema}


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return schema
