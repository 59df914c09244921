"""Which of the config's keys the users of a service may set, and where files and addresses may come from.

A key that can hold free text, and with it the name of a file or an address, is refused unless it is named here;
so that a key which eemt.config gets later is closed until someone has thought about it.
"""

from __future__ import annotations

import ipaddress
import socket
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from eemt.config import ELEVATION_DATA_SETS, SECTIONS

if TYPE_CHECKING:
    from eemt.service.models import Kind

UploadKind = Literal["dem", "raster", "climate", "zones", "table"]
LONGEST_TEXT = 200  # characters of free text
LONGEST_ADDRESS = 2000
PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class FileKey:
    """A key that names a file, which users give as one of their uploads.

    Attributes
    ----------
    kind : str
        Of the upload.
    name : str
        Of the file among a job's inputs; endings follow the upload where there are several.
    several : bool
        Whether it may be a list.
    """

    kind: UploadKind
    name: str
    several: bool = False


FILES: dict[str, FileKey] = {
    "dem.source": FileKey("dem", "dem.tif", several=True),
    "sun.albedo": FileKey("raster", "albedo.tif"),
    "climate.file": FileKey("climate", "climate.csv"),
    "climate.elevation_file": FileKey("raster", "climate_elevation.tif"),
    "eemt.ndvi": FileKey("raster", "ndvi.tif"),
    "eemt.canopy_height": FileKey("raster", "canopy_height.tif"),
    "zones.file": FileKey("zones", "zones"),
    "sweep.table": FileKey("table", "sweep.csv"),
}
# free text that names no file: what eemt does with it is to compare it with names in a file, or to write it down
TEXTS = frozenset({"zones.layer", "zones.id", "outputs.publisher"})
# text whose pattern, in eemt.config, leaves no room for a path
PATTERNED = frozenset({"dem.crs", "outputs.licence"})
# values that eemt.config checks one by one by their own sections, where it takes no raster
SWEPT_SECTIONS = frozenset({"sweep.sun", "sweep.climate", "sweep.eemt"})

_OF_GRIDS = "belongs to climate of grids of one's own, which are many files: run these with the command line"
_OF_OPERATOR = "is the operator's: where downloads come from and are kept is the same for all jobs"
NOT_OFFERED: dict[str, str] = {
    "dem.base_url": _OF_OPERATOR,
    "climate.files": _OF_GRIDS,
    "climate.variables": _OF_GRIDS,
    "climate.crs": _OF_GRIDS,
    "climate.providers": _OF_OPERATOR,
    "climate.base_urls": _OF_OPERATOR,
    "climate.cache": _OF_OPERATOR,
    "climate.offline": _OF_OPERATOR,
    "climate.local": _OF_OPERATOR,
    "climate.whole_files": "is the operator's: files of some GB are downloaded by it",
    "climate.patience": _OF_OPERATOR,
    "climate.max_single_pixel_cells": _OF_OPERATOR,
    "tiles.workers": "follows from tiles.size, which can be set",
}
# words of a choice that are not offered
WORDS_NOT_OFFERED: dict[str, dict[str, str]] = {
    "climate.source": {
        "grid": _OF_GRIDS,
        "none": "is what jobs of the kind sun have; choose that kind",
    }
}
SECTIONS_OF: dict[Kind, tuple[str, ...]] = {
    "sun": ("dem", "tiles", "wetness", "sun", "outputs"),
    "eemt": tuple(SECTIONS),
}


def all_keys() -> Iterator[str]:
    """Yield every key of a site, as section.key."""
    for section, model in SECTIONS.items():
        for name in model.model_fields:
            yield f"{section}.{name}"


def why_not(key: str) -> str | None:
    """Say why users may not set a key of the config, or return nothing where they may."""
    if key in NOT_OFFERED:
        return NOT_OFFERED[key]
    if key in FILES or key in TEXTS or key in PATTERNED or key in SWEPT_SECTIONS or not _free(key):
        return None
    return "cannot be set here"


@cache
def _free(key: str) -> bool:
    """Say whether a key can hold text of the user's own."""
    section, _, name = key.partition(".")
    schema = SECTIONS[section].model_json_schema()
    return has_free_text(schema["properties"][name], schema.get("$defs", {}))


def has_free_text(schema: Any, definitions: Mapping[str, Any]) -> bool:
    """Say whether a JSON schema takes text that is no choice, or anything at all."""
    if schema is True or schema == {}:
        return True
    if not isinstance(schema, Mapping):
        return False
    if "$ref" in schema:
        return has_free_text(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema or "const" in schema:
        return False
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return any(has_free_text(part, definitions) for part in schema[word])
    match schema.get("type"):
        case "array":
            items = [*schema.get("prefixItems", ()), *([schema["items"]] if "items" in schema else ())]
            return not items or any(has_free_text(part, definitions) for part in items)
        case "object":
            parts = [*schema.get("properties", {}).values()]
            more = schema.get("additionalProperties", True)
            return any(has_free_text(part, definitions) for part in [*parts, *([more] if more is not False else [])])
        case "number" | "integer" | "boolean" | "null":
            return False
        case _:
            return True


def text_problem(text: str) -> str | None:
    """Say what is wrong with free text: too long, or with characters that are not seen or change what is seen."""
    if len(text) > LONGEST_TEXT:
        return f"has {len(text)} characters; {LONGEST_TEXT} are the most"
    if strange := next((sign for sign in text if unicodedata.category(sign)[0] == "C" or sign in "\u2028\u2029"), None):
        return f"has the character U+{ord(strange):04X}, which cannot be seen; take it out"
    return None


def address_problem(address: str, hosts: Iterable[str]) -> str | None:
    """Say why nothing may be fetched from an address, or return nothing where it may.

    Parameters
    ----------
    address : str
    hosts : iterable of str
        That are allowed, exactly: a host's name means https at its usual port; a scheme or another port has to be
        named with it, as in http://data.example.org:8080. An IP address counts as itself alone.
    """
    if (
        len(address) > LONGEST_ADDRESS
        or not address.isascii()
        or not address.isprintable()
        or set(address) & set(' \\"<>^`{|}')
    ):
        return "is no plain address"
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port
    except ValueError:
        return "is no address that can be understood"
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in PORTS:
        return f"has the scheme {scheme or 'none'}; https is allowed"
    if "@" in parts.netloc:
        return "has a user's name or password; these must not be given"
    if parts.fragment or not parts.path.lower().endswith((".tif", ".tiff")):
        return "must end in .tif or .tiff"
    allowed = {_origin(entry) for entry in hosts}
    if (scheme, host, port or PORTS[scheme]) not in allowed:
        shown = ", ".join(sorted(name for _, name, _ in allowed)) or "none; upload the file instead"
        return f"is on {host or 'no host'}, which is not allowed; hosts that are: {shown}"
    return _place_problem(host, port or PORTS[scheme])


def _origin(entry: str) -> tuple[str, str, int]:
    """Read scheme, host and port of a host as the operator listed it."""
    parts = urllib.parse.urlsplit(entry if "://" in entry else f"https://{entry}")
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(scheme, 0)


def _place_problem(host: str, port: int) -> str | None:
    """Look up where a host is: its name must not lead into the operator's own network."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return None  # listed as such by the operator
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return f"is on {host}, which cannot be found just now"
    if not all(is_public(str(where[4][0])) for where in found):
        return f"is on {host}, whose name leads into a private network"
    return None


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public internet."""
    place = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(place, "ipv4_mapped", None) or getattr(place, "sixtofour", None)
    place = mapped or place
    return place.is_global and not place.is_multicast


def elevation_word(value: Any) -> bool:
    """Say whether an elevation source is one of the data sets."""
    return isinstance(value, str) and value in ELEVATION_DATA_SETS
