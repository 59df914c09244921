"""What the description of the API says of errors, which all have one form: problem details of RFC 9457."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from eemt.service.problems import MEDIA_TYPE, TYPES


class Mistake(BaseModel):
    """One thing that is wrong in a request."""

    field: str = Field(description="Where: a dotted path, such as settings.sun.linke")
    message: str = Field(description="What is wrong, and what is allowed")


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Which error; does not change")
    title: str
    status: int
    detail: str = Field(description="One sentence for people: what was wrong, and what to do")
    instance: str = Field(description="Path of the request")
    errors: list[Mistake] | None = None


def problems(*names: str) -> dict[int | str, dict[str, Any]]:
    """Describe errors of an endpoint, by their names in `eemt.service.problems.TYPES`.

    Those that every endpoint has need not be named: not signed in, not valid, too many requests, not available.
    """
    always = ("not-signed-in", "not-allowed", "invalid", "too-many", "unavailable")
    schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"]["errors"]["anyOf"][0]["items"] = schema.pop("$defs")["Mistake"]
    found: dict[int | str, dict[str, Any]] = {}
    for name in (*names, *always):
        status, title = TYPES[name]
        if status in found:
            found[status]["description"] += f"; or: {title}"
        else:
            found[status] = {"description": title, "content": {MEDIA_TYPE: {"schema": schema}}}
    return found
