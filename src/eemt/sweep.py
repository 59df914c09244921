"""The cases of a sweep: which there are, what each changes, and the names of their folders.

A case's name holds the values that differ from the site's own and no others, so that whatever two cases
have in common is one file, and a case without differences is the site itself.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eemt.config import SWEPT, Axis, Site, Spread, swept_section
from eemt.errors import InputError

Key = tuple[str, str]  # section and key
LONGEST_VALUE = 40  # characters in a name; longer ones are shortened to a digest
LONGEST_NAME = 180  # file systems take 255 bytes
DIGITS = 6  # of drawn values, so that a name says them exactly
MOST_CASES = 10_000


@dataclass(frozen=True)
class Case:
    """A site with some parameters changed.

    Attributes
    ----------
    settings : Site
        The site, complete, with the case's parameters.
    values : mapping
        What the case has of each swept key, by `label`.
    changes : mapping
        What differs from the site's own, by section and key.
    """

    settings: Site
    values: Mapping[str, Any]
    changes: Mapping[Key, Any]

    @property
    def name(self) -> str:
        """Folder of the case; empty of the site itself."""
        return _name(self.changes)

    @property
    def sun(self) -> str:
        """Folder of its sun maps; empty where they are the site's own."""
        return _name({key: value for key, value in self.changes.items() if key[0] == "sun"})

    @property
    def energy(self) -> dict[str, Any]:
        """What it changes of `eemt transfer`, by key."""
        return {key: value for (section, key), value in self.changes.items() if section != "sun"}


def label(key: Key) -> str:
    """Return the short name of a swept key: with its section where two sections have it."""
    section, name = key
    ambiguous = sum(name in names for names in SWEPT.values()) > 1
    return f"{section}.{name}" if ambiguous else name


def swept_keys(site: Site, table: Sequence[Mapping[str, str]] | None = None) -> list[Key]:
    """List what a site's sweep changes, in the order of the config or of the table's columns."""
    if site.sweep.table:
        rows = table if table is not None else read_table(site.sweep.table)
        return [_key_of(column, site.sweep.table) for column in rows[0]]
    return list(site.sweep.axes)


def cases(site: Site, table: Sequence[Mapping[str, str]] | None = None) -> list[Case]:
    """List the cases of a site, the site itself first, each once.

    Parameters
    ----------
    site : Site
    table : sequence of mapping, optional
        Rows of the sweep's table, where they have been read already.

    Raises
    ------
    InputError
        When the table cannot be read, a value in it is not allowed, or there are too many cases.
    """
    own = _case(site, {}, swept_keys(site, table))
    return list({case.name: case for case in [own, *drawn(site, table)]}.values())


def drawn(site: Site, table: Sequence[Mapping[str, str]] | None = None) -> list[Case]:
    """List the cases in the order of their design, with repetitions.

    With samples that is Saltelli's: for each point of a first Latin hypercube the point itself, then the
    point with one key after the other taken from a second hypercube, then the second's point.

    References
    ----------
    Saltelli, A. et al. 2010. Variance based sensitivity analysis of model output. Design and estimator for the
    total sensitivity index. Computer Physics Communications 181, doi:10.1016/j.cpc.2009.09.018.
    """
    keys = swept_keys(site, table)
    return [_case(site, changes, keys) for changes in _designed(site, table)]


def _designed(site: Site, table: Sequence[Mapping[str, str]] | None) -> Iterator[dict[Key, Any]]:
    sweep = site.sweep
    if sweep.table:
        rows = table if table is not None else read_table(sweep.table)
        for row in rows:
            yield {_key_of(column, sweep.table): _parsed(text) for column, text in row.items() if text}
    elif sweep.samples:
        yield from _sampled(sweep.axes, sweep.samples, sweep.seed)
    elif sweep.combine == "each":
        yield from ({key: value} for key, axis in sweep.axes.items() for value in _values(axis))
    elif sweep.axes:
        number = int(np.prod([len(_values(axis)) for axis in sweep.axes.values()]))
        if number > MOST_CASES:
            raise InputError(f"sweep: {number} cases; {MOST_CASES} are the most, sweep fewer values or combine: each")
        for values in itertools.product(*(_values(axis) for axis in sweep.axes.values())):
            yield dict(zip(sweep.axes, values, strict=True))


def _values(axis: Axis) -> tuple[Any, ...]:
    return () if isinstance(axis, Spread) else axis


def _sampled(axes: Mapping[Key, Axis], samples: int, seed: int) -> Iterator[dict[Key, Any]]:
    generator = np.random.default_rng(seed)
    first, second = (_latin_hypercube(generator, samples, len(axes)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        mixed = [np.where(np.arange(len(axes)) == k, b, a) for k in range(len(axes))]
        for point in (a, *mixed, b):
            yield {key: _at(axis, float(u)) for (key, axis), u in zip(axes.items(), point, strict=True)}


def _latin_hypercube(generator: np.random.Generator, samples: int, keys: int) -> np.ndarray:
    """Draw points (samples, keys) in [0, 1), one in each of `samples` equal slices along each key.

    Three lines, where scipy's would take half a second in each job that Snakemake starts.
    """
    slices = np.stack([generator.permutation(samples) for _ in range(keys)], axis=1)
    return np.asarray((slices + generator.random((samples, keys))) / samples)


def _at(axis: Axis, share: float) -> Any:
    if isinstance(axis, Spread):
        return float(f"{axis.low + share * (axis.high - axis.low):.{DIGITS}g}")
    return axis[int(share * len(axis))]


def _case(site: Site, changes: Mapping[Key, Any], keys: Sequence[Key]) -> Case:
    """Make a case of values, of which those that the site has anyway are no changes."""
    settings = site
    for section in SWEPT:
        own = {key: value for (part, key), value in changes.items() if part == section}
        if own:
            try:
                settings = settings.model_copy(update={section: swept_section(site, section, own)})
            except ValueError as error:
                raise InputError(f"config: {error}") from None

    def value(of: Site, key: Key) -> Any:
        return getattr(getattr(of, key[0]), key[1])

    real = {key: value(settings, key) for key in keys if value(settings, key) != value(site, key)}
    if real and settings.sun.daily:
        # days take a hundred times the space of months, and comparing is done on months and years
        settings = settings.model_copy(update={"sun": settings.sun.model_copy(update={"daily": False})})
    return Case(settings, {label(key): value(settings, key) for key in keys}, real)


def _name(changes: Mapping[Key, Any]) -> str:
    name = "_".join(f"{label(key)}~{_in_name(value)}" for key, value in changes.items())
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}~{_digest(name)}"


def _in_name(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ",".join(_in_name(item) for item in value) if isinstance(value, tuple) else _plain(value)
    safe = re.sub(r"[^A-Za-z0-9.,+-]", "-", text)
    return safe if len(safe) <= LONGEST_VALUE else _digest(text)


def _plain(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_table(path: str) -> list[dict[str, str]]:
    """Read the cases of a CSV, as text by column.

    Raises
    ------
    InputError
        When it does not exist, or has no rows, or rows of unequal length.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(_uncommented(file), skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"sweep.table: {path} cannot be read: {error}") from None
    if not rows:
        raise InputError(f"sweep.table: {path} has no rows; one line of keys and one a case are needed")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"sweep.table: {path}: line {number} has not as many values as there are keys")
    return [{str(column).strip(): text.strip() for column, text in row.items()} for row in rows]


def _uncommented(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip() and not line.startswith("#"))


def _key_of(column: str, path: str) -> Key:
    section, _, name = column.rpartition(".")
    found = [part for part, names in SWEPT.items() if name in names and section in {"", part}]
    if len(found) == 1:
        return found[0], name
    if found:
        raise InputError(f"sweep.table: {path}: {name} is a key of {' and '.join(found)}; write {found[0]}.{name}")
    raise InputError(f"sweep.table: {path}: {column} is no key that can be swept")


def _parsed(text: str) -> Any:
    """Read a value of a table as YAML would."""
    if text.lower() in {"true", "yes", "false", "no"}:
        return text.lower() in {"true", "yes"}
    try:
        return float(text)
    except ValueError:
        return tuple(float(part) for part in text.split()) if re.fullmatch(r"[-+.\deE\s]+", text) else text
