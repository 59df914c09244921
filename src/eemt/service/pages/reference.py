"""The API's description for people, made from its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete", "head")


@dataclass(frozen=True)
class Row:
    """A parameter, or a member of a body."""

    name: str
    where: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Answer:
    """What may come back."""

    status: str
    description: str
    type: str


@dataclass(frozen=True)
class Operation:
    """One address with one method."""

    method: str
    path: str
    name: str
    summary: str
    description: str
    parameters: list[Row]
    body: list[Row]
    media_type: str
    answers: list[Answer]

    @property
    def anchor(self) -> str:
        """Name of its place on the page."""
        return f"{self.method}-{self.path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}".lower()


def of_document(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Return the operations of an OpenAPI document, by their first tag."""
    groups: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                group = (item[method].get("tags") or ["other"])[0]
                groups.setdefault(group, []).append(_operation(document, path, method, item[method]))
    return groups


def _operation(document: Mapping[str, Any], path: str, method: str, found: Mapping[str, Any]) -> Operation:
    text = str(found.get("description", "")).strip()
    first, _, rest = text.partition("\n\n")
    content = found.get("requestBody", {}).get("content", {})
    media_type = next(iter(content), "")
    return Operation(
        method=method.upper(),
        path=path,
        name=found.get("operationId", ""),
        summary=" ".join(first.split()) or found.get("summary", ""),
        description=rest.strip(),
        parameters=[
            Row(
                row["name"],
                row["in"],
                type_of(row.get("schema", {})),
                row.get("required", False),
                _sentence(row) or _sentence(row.get("schema", {})),
            )
            for row in found.get("parameters", [])
        ],
        body=_members(document, content[media_type].get("schema", {})) if media_type else [],
        media_type=media_type,
        answers=[_answer(status, answer) for status, answer in found.get("responses", {}).items()],
    )


def _answer(status: str, answer: Mapping[str, Any]) -> Answer:
    content = answer.get("content", {})
    media_type = next(iter(content), "")
    schema = content.get(media_type, {}).get("schema", {})
    kind = type_of(schema) if "json" in media_type and "problem" not in media_type and schema else media_type
    return Answer(status, answer.get("description", ""), kind)


def schemas_of(document: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Return the members of the objects that the document names."""
    found = document.get("components", {}).get("schemas", {})
    return {name: rows for name, schema in sorted(found.items()) if (rows := _members(document, schema))}


def _members(document: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Row]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    return [
        Row(name, "", type_of(part), name in required, _sentence(part))
        for name, part in schema.get("properties", {}).items()
    ]


def type_of(schema: Mapping[str, Any]) -> str:
    """Write a JSON schema's type in few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(type_of(part) for part in schema[key]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind == "string" and "format" in schema:
        return str(schema["format"])
    return str(kind)


def _sentence(found: Mapping[str, Any]) -> str:
    text = " ".join(str(found.get("description", "")).split())
    limits = [
        f"{word} {found[key]:g}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"))
        if isinstance(found.get(key), int | float) and abs(found[key]) < 2**53
    ]
    if isinstance(found.get("default"), str | int | float | bool) and found["default"] != "":
        limits.append(f"default {json.dumps(found['default'])}")
    return "; ".join(part for part in (text, ", ".join(limits)) if part)
