"""Several cases in one call of `eemt transfer`: the settings of each, and the file it goes to."""

from __future__ import annotations

import argparse
import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eemt.config import EemtSettings, LapseSettings, Section, check_section
from eemt.errors import InputError

SECTIONS: dict[str, type[Section]] = {"settings": EemtSettings, "lapse": LapseSettings}  # by attribute of the call


@dataclass(frozen=True)
class Case:
    """One file, and the settings that it is computed with."""

    out: Path
    settings: EemtSettings
    lapse: LapseSettings


def cases_of(args: argparse.Namespace) -> list[Case]:
    """Return what a call asks for: one file of its options, or a file for each of its cases.

    Raises
    ------
    InputError
        When a case is no JSON object, has no file of its own, or an unknown key or a value that is not allowed.
    """
    if not args.case:
        return [Case(args.out, args.settings, args.lapse)]
    cases = [_case(args, text, f"case {number}") for number, text in enumerate(args.case, start=1)]
    seen: dict[Path, int] = {}
    for number, case in enumerate(cases, start=1):
        first = seen.setdefault(case.out.absolute(), number)
        if first != number:
            raise InputError(f"case {number}: out is {case.out}, as in case {first}; give each case a file of its own")
    return cases


def _case(args: argparse.Namespace, text: str, which: str) -> Case:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f'{which}: is not JSON ({error}); write it as \'{{"out": "a.nc", "omega": 2.0}}\'') from None
    if not isinstance(given, dict):
        raise InputError(f'{which}: is {text}; write keys and values, such as \'{{"out": "a.nc", "omega": 2.0}}\'')
    out = given.pop("out", None)
    if not isinstance(out, str) or not out:
        raise InputError(f"{which}: has no out; name the file that it goes to")
    known = [name for section in SECTIONS.values() for name in section.model_fields]
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are out, {', '.join(known)}"
            raise InputError(f"{which}: {key}: unknown key; {hint}")
    sections = {
        attribute: check_section(section, _changed(getattr(args, attribute), given), f"{which} ({out})")
        for attribute, section in SECTIONS.items()
    }
    return Case(Path(out), **sections)


def _changed(section: Section, given: dict[str, Any]) -> dict[str, Any]:
    """Lay what a case gives over what was given of a section for all."""
    return section.model_dump(exclude_unset=True) | {
        name: value for name, value in given.items() if name in type(section).model_fields
    }
