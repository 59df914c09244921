"""Schemas of the STAC extensions that catalogues use, for the fields that there are.

pystac ships the schemas of STAC itself; those of extensions are on servers. These were written from the published
specifications, of the versions that their keys name, and are stricter: a field of the extension's prefix that is not
listed, a value of another type or an enumeration's wrong word is an error, and so is a field without its extension.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

SITE = "https://stac-extensions.github.io"
DOI = {"type": "string", "pattern": r"^10\.[0-9a-zA-Z]{4,}/\S+$"}
TEXT = {"type": "string", "minLength": 1}
NUMBER = {"type": "number"}


def numbers(*lengths: int) -> dict[str, Any]:
    return {"oneOf": [{"type": "array", "items": NUMBER, "minItems": n, "maxItems": n} for n in lengths]}


def record(fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "additionalProperties": False, "minProperties": 1, **more}


BAND = record(
    {
        "data_type": {
            "enum": [
                *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
                *("float16", "float32", "float64", "cint16", "cint32", "cfloat32", "cfloat64", "other"),
            ]
        },
        "unit": TEXT,
        "sampling": {"enum": ["area", "point"]},
        "nodata": {"oneOf": [NUMBER, {"enum": ["nan", "inf", "-inf"]}]},
        "scale": NUMBER,
        "offset": NUMBER,
        "spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
        "statistics": record(dict.fromkeys(("mean", "minimum", "maximum", "stddev", "valid_percent"), NUMBER)),
    }
)

# prefix, address, fields of an item's properties, fields of an asset
EXTENSIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "proj": (
        f"{SITE}/projection/v2.0.0/schema.json",
        record(
            {
                "proj:code": {"type": ["string", "null"], "pattern": r"^[A-Z]+:\w+$"},
                "proj:wkt2": {"type": ["string", "null"]},
                "proj:bbox": numbers(4, 6),
                "proj:shape": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1},
                    "minItems": 2,
                    "maxItems": 2,
                },
                "proj:transform": numbers(6, 9),
            },
            anyOf=[{"required": [name], "properties": {name: TEXT}} for name in ("proj:code", "proj:wkt2")],
        ),
        {},
    ),
    "raster": (
        f"{SITE}/raster/v1.1.0/schema.json",
        {},
        record({"raster:bands": {"type": "array", "items": BAND, "minItems": 1}}),
    ),
    "sci": (
        f"{SITE}/scientific/v1.0.0/schema.json",
        record(
            {
                "sci:doi": DOI,
                "sci:citation": TEXT,
                "sci:publications": {"type": "array", "items": record({"doi": DOI, "citation": TEXT}), "minItems": 1},
            }
        ),
        {},
    ),
    "processing": (
        f"{SITE}/processing/v1.1.0/schema.json",
        record(
            {
                "processing:software": {"type": "object", "additionalProperties": TEXT, "minProperties": 1},
                **dict.fromkeys(("processing:lineage", "processing:level", "processing:facility"), TEXT),
            }
        ),
        {},
    ),
}
OURS = "eemt"


def faults(content: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the extensions of an item or a collection, as JSON has it."""
    places = [("properties", 1, content.get("properties", {}))]
    places += [(name, 2, asset) for name, asset in content.get("assets", {}).items()]
    used = set()
    for where, kind, fields in places:
        for prefix in {name.split(":")[0] for name in fields if ":" in name} - {OURS}:
            if prefix not in EXTENSIONS:
                yield f"{where}: no extension has {prefix}"
                continue
            used.add(prefix)
            chosen = {name: value for name, value in fields.items() if name.startswith(f"{prefix}:")}
            schema = EXTENSIONS[prefix][kind] or False
            for error in Draft202012Validator(schema).iter_errors(chosen):
                yield f"{where}: {error.json_path}: {error.message}"
    declared = set(content.get("stac_extensions", []))
    if declared != (needed := {EXTENSIONS[prefix][0] for prefix in used}):
        yield f"declared {sorted(declared)}, used {sorted(needed)}"
