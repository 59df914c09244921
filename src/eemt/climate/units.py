"""From the units that a file is in to ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from eemt.constants import GRAVITY
from eemt.errors import InputError

# our unit, what else it may be, and an example for the person who gave another
KINDS: dict[str, tuple[str, str]] = {
    "tmin": ("degC", "K, degC or degF"),
    "tmax": ("degC", "K, degC or degF"),
    "tdew": ("degC", "K, degC or degF"),
    "prcp": ("mm", "mm, mm/day, kg m-2 s-1, m or inch"),
    "vp": ("Pa", "Pa, hPa, kPa or mbar"),
    "rh": ("percent", "% or 1"),
    "srad": ("W m**-2", "W m-2"),
    "dayl": ("s", "s or h"),
    "swe": ("kg m**-2", "kg m-2, mm or m"),
    "elevation": ("m", "m, ft, or m2 s-2 of geopotential"),
}
# as they stand in files, where pint reads them otherwise or not at all
SPELLINGS = {
    "%": "percent",
    "c": "degC",
    "°c": "degC",
    "deg c": "degC",
    "deg_c": "degC",
    "degree c": "degC",
    "degrees c": "degC",
    "degree_c": "degC",
    "degrees_c": "degC",
    "degree_celsius": "degC",
    "degrees_celsius": "degC",
    "f": "degF",
    "°f": "degF",
    "deg f": "degF",
    "degrees f": "degF",
    "degrees_fahrenheit": "degF",
    "w/m2": "W m-2",
    "mb": "mbar",
    "(0 - 1)": "1",
    "fraction": "1",
}
_PER_MONTH = re.compile(r"(/\s*|per\s+)(month|mon|mo)\b|\b(month|mon|mo)(\*\*|\^)?-1\b", re.IGNORECASE)
_POWER = re.compile(r"(?<![A-Za-z0-9.])([A-Za-z]+)(-?\d+)")


@dataclass(frozen=True)
class Conversion:
    """How numbers of a file become ours: ``ours = scale * theirs + offset``, and per day where they are rates."""

    scale: float
    offset: float = 0.0
    a_day: bool = False


@cache
def conversion(name: str, units: str) -> Conversion:
    """Find how a variable is brought to our unit.

    Parameters
    ----------
    name : str
        One of `KINDS`.
    units : str
        As in files, CF's ``kg m-2 s-1`` or ``mm/day`` alike. Precipitation may be an amount, of a
        month or of a day as the values are, or a rate, which is then returned per day.

    Raises
    ------
    InputError
        When the unit is not known, or measures something else.
    """
    ours, others = KINDS[name]
    what = f"climate.variables.{name}.units"
    unit = _parsed(_PER_MONTH.sub("", units) if name == "prcp" else units)
    if unit is None:
        raise InputError(f"{what}: {units!r} is not a unit that is known; give it as {others}")
    one = _registry().Quantity(1.0, unit)
    found = None
    if name in {"prcp", "swe"}:
        found = _water(one, ours, rates=name == "prcp")
    elif name == "elevation" and one.check("[length]**2/[time]**2"):
        found = Conversion(float(one.to("m**2/s**2").magnitude) / GRAVITY)
    elif one.is_compatible_with(ours):
        # a temperature's zero is another; everything else has none
        zero = float(_registry().Quantity(0.0, unit).to(ours).magnitude)
        found = Conversion(float(one.to(ours).magnitude) - zero, zero)
    if found is None:
        raise InputError(f"{what}: {units!r} does not measure what {name} is; {others} does")
    return found


def _water(one: Any, ours: str, rates: bool) -> Conversion | None:
    """Return the conversion of a depth or mass of water, a millimetre being a kilogram on a square metre."""
    density = _registry().Quantity(1000.0, "kg/m**3")
    for a_day in (False, True) if rates else (False,):
        amount = one * _registry().Quantity(1.0, "day") if a_day else one
        for candidate in (amount, amount / density, amount * density):
            if candidate.is_compatible_with(ours):
                return Conversion(float(candidate.to(ours).magnitude), a_day=a_day)
    return None


def _parsed(units: str) -> Any:
    """Return a unit as pint has it, or nothing where it has none."""
    import pint

    plain = re.sub(r"\s+of water( equivalent)?$", "", units.strip())
    for text in (SPELLINGS.get(plain.lower(), plain), plain.lower()):
        try:
            return _registry().parse_units(_POWER.sub(r"\1**\2", text))
        except (pint.errors.PintError, ValueError, TypeError, AttributeError, SyntaxError):
            continue
    return None


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry()
