"""The single-pixel service's tables."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from eemt.climate.daymet.errors import RefusedError, TransientError
from eemt.climate.daymet.grid import CELL, DAYS, FILL

_NUMBER = r"(-?\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class Pixel:
    """One cell's year.

    Attributes
    ----------
    days : dict of ndarray float32 (365,)
        By variable; NaN where there is no value.
    elevation : float
        [m]; NaN where the table does not say.
    """

    days: dict[str, npt.NDArray[np.float32]]
    elevation: float


def read_pixel(content: bytes, variables: tuple[str, ...], year: int, x: float, y: float) -> Pixel:
    """Read a table of the single-pixel service.

    The preamble's length differs between versions of Daymet; the table begins at the row of its
    columns' names, ``year,yday,…``.

    Parameters
    ----------
    content : bytes
        As downloaded.
    variables : tuple of str
        That must be there; for a name that it does not know, the service gives all others.
    year : int
    x, y : float
        Centre of the cell that was asked for [m].

    Raises
    ------
    RefusedError
        When it is no such table, or of another cell, year or variable.
    TransientError
        When rows are missing at its end.
    """
    text = content.decode("utf-8", errors="replace")
    header = re.search(r"^year\s*,\s*yday\s*,.*$", text, re.MULTILINE)
    if header is None:
        raise RefusedError(
            "sent a web page in place of a table" if text.lstrip()[:1] == "<" else "sent no table of days"
        )
    preamble = text[: header.start()]
    _check_place(preamble, x, y)
    table = _table(text[header.start() :], variables, year)
    days = {}
    for name in variables:
        values = table[name].to_numpy(dtype=np.float32)
        days[name] = np.where(values == np.float32(FILL), np.float32(np.nan), values)
    height = re.search(rf"Elevation:?\s*{_NUMBER}", preamble, re.IGNORECASE)
    return Pixel(days, float(height[1]) if height else float("nan"))


def _check_place(preamble: str, x: float, y: float) -> None:
    place = re.search(rf"Lambert Conformal Conic:?\s*{_NUMBER}\s*[, ]\s*{_NUMBER}", preamble, re.IGNORECASE)
    if place is None:
        return
    at_x, at_y = float(place[1]), float(place[2])
    if max(abs(at_x - x), abs(at_y - y)) > CELL / 2:
        raise RefusedError(f"sent the cell at x {at_x:.0f}, y {at_y:.0f} m, where x {x:.0f}, y {y:.0f} m was asked for")


def _table(text: str, variables: tuple[str, ...], year: int) -> pd.DataFrame:
    try:
        table = pd.read_csv(io.StringIO(text), skipinitialspace=True)
    except (pd.errors.ParserError, ValueError):
        raise TransientError("sent a table that is broken off") from None
    # "tmin (deg c)" is tmin
    table.columns = [str(column).split("(")[0].strip() for column in table.columns]
    missing = [name for name in variables if name not in table]
    if missing:
        raise RefusedError(f"sent a table without {missing[0]}")
    of_year = table.loc[table["year"] == year, ["yday", *variables]]
    numbers = pd.DataFrame({name: pd.to_numeric(of_year[name], errors="coerce") for name in of_year})
    if 0 < len(numbers) < DAYS or bool(numbers.tail(1).isna().to_numpy().any()):
        raise TransientError(f"sent {len(numbers)} days of {year}, broken off")
    if numbers["yday"].to_list() != list(range(1, DAYS + 1)) or bool(numbers.isna().to_numpy().any()):
        raise RefusedError(f"sent a table that has not the {DAYS} days of {year}")
    return numbers
