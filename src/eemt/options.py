"""Parameters of the model as options of the command line, and back."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from eemt.config import Section


def add_settings(
    command: argparse.ArgumentParser, section: type[Section], leave_out: Iterable[str] = (), into: str = "settings"
) -> None:
    """Add an option for each parameter of a section, to be found checked in the attribute `into`."""
    for name, field in section.model_fields.items():
        if name not in set(leave_out):
            add_setting(command, name, field)
    command.get_default("sections")[into] = section


def add_setting(command: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    """Add an option for one parameter; where it is not given, the namespace has nothing of its name."""
    unit = (field.json_schema_extra or {}).get("unit") if isinstance(field.json_schema_extra, dict) else None
    default = "" if field.is_required() or field.default is None else f" (default: {as_text(field.default)})"
    text = as_help(f"{field.description}{f' [{unit}]' if unit else ''}{default}")
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        command.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        return
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
    command.add_argument(
        flag,
        default=argparse.SUPPRESS,
        required=field.is_required(),
        choices=choices,
        metavar=None if choices else name.upper(),
        help=text,
    )


def as_help(sentence: str) -> str:
    """Write a sentence as argparse's help has it."""
    first, rest = sentence[0], sentence[1:].rstrip(".").replace("%", "%%")
    return (first if rest[:1].isupper() else first.lower()) + rest


def as_text(value: Any) -> str:
    """Write a parameter's value as the command line takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return json.dumps({key: _plain(item) for key, item in value.items()})
    if isinstance(value, tuple | list):
        words = [as_text(item) for item in value]
        return json.dumps(words) if any("," in word or word.startswith("[") for word in words) else ",".join(words)
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, a section by what was set of it."""
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, Section) else value


def as_options(section: Section, only: Iterable[str] | None = None, leave_out: Iterable[str] = ()) -> str:
    """Write a section as the options that make it again, quoted for a shell."""
    words = []
    left_out = section.unused.union(leave_out)
    for name, value in section:
        if value is None or name in left_out or (only is not None and name not in only):
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(shlex.quote(f"--{flag}={as_text(value)}"))
    return " ".join(words)
