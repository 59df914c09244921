"""What a job made: its files, and its tables."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from eemt.inventory import CRATE, kind, media_type, site_files
from eemt.service import jobs
from eemt.service.models import Job
from eemt.service.problems import Problem
from eemt.service.runlog import inside
from eemt.service.settings import Settings

# within the first bytes of a GeoTIFF that GDAL laid out for the cloud
LAID_OUT = b"LAYOUT=IFDS_BEFORE_DATA"
WORDS = {"site", "case", "zone", "variable", "method", "year"}  # columns that are text, even where it is a number
MEDIA_TYPES = {".md": "text/markdown", ".txt": "text/plain", ".log": "text/plain", ".geojson": "application/geo+json"}


class Result(NamedTuple):
    """A file of a job's results: its path within them, its size [bytes], when it was written [s], what it is."""

    path: str
    bytes: int
    modified: float
    media_type: str
    meaning: str | None


def folder(settings: Settings, job: Job) -> Path:
    """Return where a job's results are.

    Raises
    ------
    Problem
        When they were removed.
    """
    if job.removed is not None:
        raise Problem("gone", "The job's files were removed.")
    return jobs.folder(settings, job.id) / "results" / job.name


def listed(place: Path) -> list[Result]:
    """List the files that people keep, by their paths; there are none where nothing was made yet."""
    if not place.is_dir():
        return []
    names = sorted({*site_files(place), *([CRATE] if (place / CRATE).is_file() else [])})
    found = []
    for name in names:
        path = place / name
        if path.is_symlink() or not path.is_file():
            continue
        stat = path.stat()
        known = kind(name)
        meaning = "Description of the run as an RO-Crate" if name == CRATE else known.meaning if known else None
        found.append(Result(name, stat.st_size, stat.st_mtime, type_of(path), meaning))
    return found


def file(place: Path, name: str) -> Path:
    """Return a file of the results.

    Raises
    ------
    Problem
        When there is none, hidden files and what lies elsewhere included.
    """
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") for part in parts) or "\0" in name
    path = None if hidden or not parts or name.startswith("/") else inside(place, place / name)
    if path is None:
        raise Problem("not-found", "There is no such file.")
    return path


def type_of(path: Path) -> str:
    """Return a file's media type; of a GeoTIFF, whether it is laid out for the cloud."""
    found = MEDIA_TYPES.get(path.suffix) or media_type(path.name)
    if found.startswith("image/tiff"):
        with path.open("rb") as opened:
            if LAID_OUT in opened.read(1024):
                found += "; profile=cloud-optimized"
    return found


def rows(path: Path, wanted: Mapping[str, str], start: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Read rows of a table.

    Parameters
    ----------
    path : path
        CSV with a header.
    wanted : mapping
        What columns must have; columns that the table lacks have nothing.
    start : int
        Rows that are passed over.
    limit : int
        Most rows.

    Returns
    -------
    (list of dict, int or None)
        The rows, numbers as such and what is missing None; and the start of the next ones, if there are any.
    """
    if not path.is_file():
        raise Problem("not-found", f"The job has no {path.name}.")
    with path.open(encoding="utf-8", newline="") as opened:
        found = list(itertools.islice(_rows(csv.DictReader(opened), wanted), start, start + limit + 1))
    return found[:limit], start + limit if len(found) > limit else None


def _rows(table: csv.DictReader[str], wanted: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for row in table:
        if all((row.get(name) or "") == value for name, value in wanted.items()):
            yield {name: _cell(name, text) for name, text in row.items() if name is not None}


def _cell(name: str, text: str | None) -> Any:
    if text is None or text == "":
        return None
    if name in WORDS:
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return None
    return int(text) if text.lstrip("-").isdigit() else number
