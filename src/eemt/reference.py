"""The config file's JSON schema and reference page, made from the models of `eemt.config`."""

from __future__ import annotations

import inspect
import json
from typing import Any

import yaml

from eemt.config import COMMON_SECTIONS, SECTIONS, Config

HEADER = "# Made by `make generate` from src/eemt/config.py; change it there.\n"

INTRODUCTION = """# Configuration

<!-- Made by `make generate` from src/eemt/config.py; change it there. -->

A config file has `sites`, each with a name, and the sections below. A section at the top holds for
all sites; the same section under a site changes single keys for that site alone; `archive` stands at the top only.

| key | meaning | default |
|---|---|---|
"""


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a config file.

    The sections may stand at the top, where no key of them is required, and under each site.
    """
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "EEMT configuration"
    for name, section in SECTIONS.items():
        common = section.model_json_schema()
        common.pop("required", None)
        schema["properties"][name] = common
    # what a site lacks may stand at the top
    for name in ("Site", *(section.__name__ for section in SECTIONS.values())):
        schema["$defs"][name].pop("required", None)
    return schema


def as_yaml(schema: dict[str, Any]) -> str:
    """Write a schema as YAML with a note of where it comes from."""
    return HEADER + yaml.safe_dump(schema, sort_keys=False, width=120, allow_unicode=True)


def reference_page() -> str:
    """Return the Markdown page of all keys."""
    page = INTRODUCTION
    whole = Config.model_json_schema()
    for name, prop in whole["properties"].items():
        if name not in COMMON_SECTIONS:
            page += f"| `{name}` | {prop['description']} | {_default(prop)} |\n"
    for name, section in {**SECTIONS, **COMMON_SECTIONS}.items():
        page += f"\n## {name}\n\n{inspect.getdoc(section)}\n\n"
        page += "| key | meaning | unit | allowed | default |\n|---|---|---|---|---|\n"
        for key, prop in section.model_json_schema()["properties"].items():
            unit = prop.get("unit", "")
            page += f"| `{key}` | {prop['description']} | {unit} | {_allowed(prop)} | {_default(prop)} |\n"
    return page


def _default(prop: dict[str, Any]) -> str:
    if "default" not in prop:
        return "required"
    if prop["default"] is None:
        return "none"
    return f"`{json.dumps(prop['default'])}`"


def _allowed(prop: dict[str, Any]) -> str:
    """Word what a property's schema allows."""
    if "allowed" in prop:
        return str(prop["allowed"])
    options = prop.get("anyOf", [prop])
    first = options[0]
    items = first.get("items", {})
    if "enum" in first or "const" in first:
        return _listed(first)
    if "enum" in items:
        return f"one or more of {_listed(items)}"
    if first.get("type") == "boolean":
        return "`true`, `false`"
    if "pattern" in first:
        return "`auto` or a code such as `EPSG:32613`" if "auto" in first["pattern"] else "an http(s) address"
    if first.get("type") == "array":
        corners = {2: "two numbers", 4: "[west, south, east, north]"}
        return corners.get(len(first.get("prefixItems", ())), "one or more paths")
    words = {
        "minimum": "from {:g}",
        "exclusiveMinimum": "above {:g}",
        "maximum": "to {:g}",
        "exclusiveMaximum": "below {:g}",
    }
    numbers = " ".join(word.format(first[limit]) for limit, word in words.items() if limit in first) or "any"
    others = [f"`{option['const']}`" for option in options if "const" in option]
    others += ["a path" for option in options if option.get("format") == "path"]
    return ", or ".join([numbers, *others])


def _listed(schema: dict[str, Any]) -> str:
    return ", ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("const")]))
