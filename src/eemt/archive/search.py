"""What is asked of the catalogue: by place, years, parameters and words; how it is read, and what answers to it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from eemt.errors import InputError

Box = tuple[float, float, float, float]  # west, south, east, north [degrees]; west > east across the antimeridian

TURN = 360.0  # degrees


def read_box(words: str) -> Box:
    """Read a box, ``W,S,E,N`` in degrees; across the antimeridian W is greater than E.

    Raises
    ------
    InputError
        When it is none.
    """
    try:
        west, south, east, north = (float(word) for word in words.split(","))
    except ValueError:
        raise InputError(f"--bbox: {words} is not W,S,E,N in degrees, such as --bbox=-105.4,39.9,-105.2,40.1") from None
    if not all(-180 <= longitude <= 180 for longitude in (west, east)):
        raise InputError(f"--bbox: longitudes are -180 to 180, not {west:g} and {east:g}; across 180, W > E")
    if not -90 <= south <= north <= 90:
        raise InputError(f"--bbox: latitudes are -90 to 90, the southern one first, not {south:g} and {north:g}")
    return west, south, east, north


def read_years(words: str) -> tuple[int, int]:
    """Read a year, or the first and the last of some: ``2003``, ``1971:2000`` or ``1971-2000``.

    Raises
    ------
    InputError
        When it is none.
    """
    found = re.fullmatch(r"(\d{1,4})(?:[:-](\d{1,4}))?", words.strip())
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise InputError(f"--years: {words} is neither a year nor FIRST:LAST, such as 1971:2000")
    return first, last


def read_parameter(words: str) -> tuple[str, Any]:
    """Read a parameter and its value, ``sun.linke=2``; numbers, true, false and lists as in JSON, all else is text.

    Raises
    ------
    InputError
        When it is none.
    """
    key, equals, value = words.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--parameter: {words} is not SECTION.KEY=VALUE, such as sun.linke=2")
    return key.strip(), _value(value.strip())


def overlap(one: Box | None, other: Box) -> bool:
    """Whether two boxes have a point in common, wherever around the earth they meet.

    Parameters
    ----------
    one, other : tuple of float
        West, south, east, north [degrees]; without the first, they have none.
    """
    if one is None or one[1] > other[3] or other[1] > one[3]:
        return False
    (west, east), (other_west, other_east) = _stretch(one), _stretch(other)
    return any(west <= other_east + turn and other_west + turn <= east for turn in (-TURN, 0.0, TURN))


def agree(parameters: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a dataset was made with these values.

    Numbers are compared as numbers, 2 with 2.0 and with ``"2"``; of a parameter that is a list, one of its values
    is enough. What stands within a parameter is named by a further point.
    """
    return all(_is(_at(parameters, key), value) for key, value in wanted.items())


def mentions(document: Any, words: str) -> bool:
    """Whether each of the words stands somewhere in the texts of a record, in capitals or not."""
    texts = " ".join(_texts(document)).casefold()
    return all(word in texts for word in words.casefold().split())


class _Absent:
    """What no parameter has for a value."""


def _at(parameters: Mapping[str, Any], key: str) -> Any:
    if key in parameters:
        return parameters[key]
    head, point, last = key.rpartition(".")
    within = _at(parameters, head) if point else None
    return within.get(last, _Absent) if isinstance(within, Mapping) else _Absent


def has(parameters: Mapping[str, Any], key: str) -> bool:
    """Whether a dataset has a parameter, whatever its value."""
    return _at(parameters, key) is not _Absent


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _stretch(box: Box) -> tuple[float, float]:
    """Return west and east, east being the greater one."""
    return box[0], box[2] + TURN if box[0] > box[2] else box[2]


def _is(kept: Any, wanted: Any) -> bool:
    if isinstance(kept, list | tuple) and not isinstance(wanted, list | tuple):
        return any(_is(one, wanted) for one in kept)
    if isinstance(kept, list | tuple):
        return len(kept) == len(wanted) and all(_is(a, b) for a, b in zip(kept, wanted, strict=True))
    one, other = _number(kept), _number(wanted)
    if one is not None and other is not None:
        return math.isclose(one, other, rel_tol=1e-12)
    return type(kept) is type(wanted) and bool(kept == wanted)


def _number(value: Any) -> float | None:
    """Return what is a number, be it as text; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
