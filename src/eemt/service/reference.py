"""The table of settings in the operator's page, made from the settings: ``python -m eemt.service.reference PAGE``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from eemt.service.settings import PREFIX, Settings

BEGIN = "<!-- settings: python -m eemt.service.reference docs/service.md -->"
END = "<!-- end of settings -->"
SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}


def main(path: Path) -> None:
    """Write the table between its marks in a page."""
    path.write_text(replaced(path.read_text(encoding="utf-8")), encoding="utf-8")


def replaced(page: str) -> str:
    """Return a page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def table() -> str:
    """Return all settings as a table."""
    lines = [f"| `{PREFIX}`… | is | default |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        meaning = "; ".join([str(field.description), *_bounds(field)])
        lines.append(f"| `{name.upper()}` | {meaning} | {_default(name, field)} |")
    return "\n".join(lines)


def _bounds(field: FieldInfo) -> Iterator[str]:
    if choices := _choices(field.annotation):
        yield " or ".join(f"`{choice}`" for choice in choices)
    if _is_list(field.annotation):
        yield "a list as JSON"
    for rule in field.metadata:
        for kind, sign in SIGNS.items():
            if isinstance(rule, kind):
                yield f"{sign} {getattr(rule, kind.__name__.lower())}"
        if isinstance(rule, MinLen):
            yield f"{rule.min_length} characters or more"


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _is_list(annotation: Any) -> bool:
    kinds = get_args(annotation) if get_origin(annotation) is Union else (annotation,)
    return any(get_origin(kind) is tuple for kind in kinds)


def _default(name: str, field: FieldInfo) -> str:
    if name == "folder":
        return "`eemt/service` among the user's data"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, SecretStr):
        return ""
    return f"`{json.dumps(value, default=str).strip(chr(34))}`"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
