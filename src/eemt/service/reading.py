"""What users ask for, read: their uploads, addresses, what they may not set, and every mistake at its field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from eemt.config import SECTIONS, Site, fault, is_address
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.service import estimate, places, policy
from eemt.service.dependencies import Principal
from eemt.service.models import Kind, Upload
from eemt.service.settings import Settings
from eemt.sql import now
from eemt.sweep import cases, read_table

DEEPEST = 6  # levels of keys and lists
MOST_VALUES = 20_000
MOST_ROWS = 2400  # of stations, up to which a table is put together before a job is submitted
ALIGNED = 1e-3  # of a cell
INPUTS = "inputs"
DATA = "data"  # name of an upload's file in its folder

Mistake = dict[str, str]


def shape_problem(values: Any) -> str | None:
    """Say what makes values unfit to be looked at: too deep, too many, or no JSON's."""
    if not isinstance(values, Mapping):
        return "must be keys and values"
    number = 0
    waiting: list[tuple[Any, int]] = [(values, 1)]
    while waiting:
        value, depth = waiting.pop()
        number += 1
        if depth > DEEPEST or number > MOST_VALUES:
            return f"are nested more than {DEEPEST} levels, or have more than {MOST_VALUES} values"
        if isinstance(value, Mapping):
            if not all(isinstance(key, str) and len(key) <= policy.LONGEST_TEXT for key in value):
                return "have a key that is no name"
            waiting += [(key, depth) for key in value]
            waiting += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list | tuple):
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
            return "have text with half a character"
        elif isinstance(value, float) and not math.isfinite(value):
            return "have a number that is not finite"
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
            return "have a number beyond all that is allowed"
    return None


def file_of(settings: Settings, upload_id: str) -> Path:
    """Return where the file of an upload is."""
    return settings.uploads / upload_id / DATA


class Reading:
    """Values of one site as they are read: uploads, addresses and what may not be set."""

    def __init__(self, session: Session, settings: Settings, principal: Principal, kind: Kind) -> None:
        self.session = session
        self.settings = settings
        self.principal = principal
        self.kind = kind
        self.errors: list[Mistake] = []
        self.links: dict[str, str] = {}
        self.uploads: dict[str, Upload] = {}  # by path in the job's folder
        self.grids: dict[str, dict[str, Any]] = {}  # of elevation, by path in the job's folder
        self.table: list[dict[str, str]] | None = None  # of the sweep
        self.zones_bounds: list[float] | None = None  # in degrees

    def add(self, key: str, message: str) -> None:
        """Note a mistake."""
        self.errors.append(mistake(key, message))

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with files by their path in the job's folder, without those that may not be set."""
        data: dict[str, Any] = {}
        for section, given in values.items():
            if section not in SECTIONS:
                self.add(section, f"is unknown; known are {', '.join(policy.SECTIONS_OF[self.kind])}")
            elif given in (None, {}):
                continue
            elif section not in policy.SECTIONS_OF[self.kind]:
                self.add(section, f"is of no use to jobs of the kind {self.kind}")
            elif not isinstance(given, Mapping):
                self.add(section, "must be keys and values")
            else:
                data[section] = dict(self._section(section, given))
        if self.kind == "sun":
            data["climate"] = {"source": "none"}
        elif "climate" not in data:
            self.add("climate", "is missing; jobs of the kind eemt need a source of climate")
        if "dem" not in values:
            self.add("dem.source", "is missing")
        elif data.get("climate", {}).get("source") == "daymet":
            data["climate"]["cache"] = str(self.settings.cache.absolute() / "daymet")
        return data

    def _section(self, section: str, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in given.items():
            key = f"{section}.{name}"
            if name not in SECTIONS[section].model_fields:
                self.add(key, f"is unknown; known are {', '.join(SECTIONS[section].model_fields)}")
            elif value is None:
                continue
            elif reason := policy.why_not(key):
                self.add(key, reason)
            elif isinstance(value, str) and value in policy.WORDS_NOT_OFFERED.get(key, {}):
                self.add(key, f"{value} {policy.WORDS_NOT_OFFERED[key][value]}")
            elif key in policy.FILES:
                yield from self._file(name, key, value)
            elif key in policy.TEXTS:
                yield from self._text(name, key, value)
            else:
                yield name, value

    def _text(self, name: str, key: str, value: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(value, str):
            self.add(key, "must be text")
        elif problem := policy.text_problem(value):
            self.add(key, problem)
        elif value:
            yield name, value

    def _file(self, name: str, key: str, value: Any) -> Iterator[tuple[str, Any]]:
        rule = policy.FILES[key]
        several = value if rule.several and isinstance(value, list | tuple) else [value]
        read = [self._one(key, part, number if len(several) > 1 else None) for number, part in enumerate(several, 1)]
        if not several:
            self.add(key, "is an empty list")
        elif all(part is not None for part in read):
            yield name, read if len(read) > 1 else read[0]

    def _one(self, key: str, value: Any, number: int | None) -> Any:
        """Return what one file, address or number becomes in the config; nothing where it is a mistake."""
        if isinstance(value, Mapping):
            return self._upload(key, value, number)
        if key == "dem.source" and isinstance(value, str):
            if number is None and policy.elevation_word(value):
                return value
            if is_address(value):
                problem = policy.address_problem(value, self.settings.source_hosts)
                if problem:
                    self.add(key, problem)
                return None if problem else value
        if key == "sun.albedo" and _are_numbers(value):
            return value
        self.add(key, f"is {value!r:.80}; files are uploaded first and then named as {{upload: ID}}")
        return None

    def _upload(self, key: str, value: Mapping[str, Any], number: int | None) -> str | None:
        rule = policy.FILES[key]
        upload_id = value.get("upload")
        if set(value) != {"upload"} or not isinstance(upload_id, str):
            self.add(key, "must be {upload: ID}")
            return None
        query = select(Upload).where(Upload.id == upload_id, Upload.user_id == self.principal.user_id)
        upload = self.session.scalar(query) if len(upload_id) <= 32 and upload_id.isalnum() else None
        if upload is None:
            self.add(key, "names an upload that you do not have")
        elif upload.kind != rule.kind:
            self.add(
                key, f"names {upload.name}, an upload of the kind {upload.kind}; one of the kind {rule.kind} is needed"
            )
        elif upload.state == "refused":
            self.add(key, f"names {upload.name}, which cannot be used: {upload.problem}")
        elif upload.state != "ready":
            self.add(key, f"names {upload.name}, which is not all there or not checked yet")
        elif not file_of(self.settings, upload.id).is_file():
            self.add(key, f"names {upload.name}, whose file is no longer there; upload it again")
        else:
            return self._linked(rule, upload, number)
        return None

    def _linked(self, rule: policy.FileKey, upload: Upload, number: int | None) -> str:
        stem, dot, ending = rule.name.partition(".")
        header = upload.header or {}
        if not dot:
            dot, ending = ".", str(header.get("ending", "dat"))
        path = f"{INPUTS}/{stem}{'' if number is None else f'_{number}'}{dot}{ending}"
        self.links[path] = upload.id
        self.uploads[path] = upload
        if rule.kind == "dem":
            self.grids[path] = header["grid"]
        return path

    def refuse(self, error: InputError) -> None:
        """Note what eemt itself says of a mistake, with files named as the user named them."""
        message = str(error)
        for path, upload in self.uploads.items():
            message = message.replace(str(file_of(self.settings, upload.id)), upload.name).replace(path, upload.name)
        self.add(*placed("", message))

    def check_files(self, site: Site) -> None:
        """Check small files against the settings, as the workflow does when it begins, and note mistakes."""
        for check in (self._check_station, self._check_table, self._check_zones):
            try:
                check(site)
            except InputError as error:
                self.refuse(error)

    def _check_station(self, site: Site) -> None:
        if site.climate.source != "station":
            return
        upload = self.uploads[str(site.climate.file)]
        if (upload.header or {})["rows"] > MOST_ROWS:
            return  # takes too long for an answer; the workflow says it when it begins
        from eemt.stages.climate import source

        path = str(file_of(self.settings, upload.id))
        source(site.climate.model_copy(update={"file": path})).monthly()

    def _check_table(self, site: Site) -> None:
        if site.sweep.table is None:
            return
        self.table = read_table(str(file_of(self.settings, self.uploads[site.sweep.table].id)))
        estimate.refuse_too_many_cases(site, self.table)
        cases(site, self.table)

    def _check_zones(self, site: Site) -> None:
        if site.zones.file is None:
            return
        layers = (self.uploads[site.zones.file].header or {})["layers"]
        names = ", ".join(layer["layer"] for layer in layers)
        chosen = [layer for layer in layers if site.zones.layer in (None, layer["layer"])]
        if len(chosen) != 1:
            found = "has several layers" if chosen else f"has no layer {site.zones.layer}"
            raise InputError(f"zones.layer: the file {found}; it has {names}")
        if site.zones.id is not None and site.zones.id not in chosen[0]["attributes"]:
            known = ", ".join(chosen[0]["attributes"]) or "none"
            raise InputError(f"zones.id: the file has no attribute {site.zones.id}; it has {known}")
        if site.zones.id is not None and site.zones.id not in chosen[0]["identifiers"]:
            raise InputError(f"zones.id: {site.zones.id} is missing or the same for some polygons; take another")
        self.zones_bounds = chosen[0]["bounds"]

    def check_place(self, site: Site, found: estimate.Estimate) -> None:
        """Check that zones and climate are where the maps are.

        Raises
        ------
        InputError
        """
        if found.grid is None:
            return
        if self.zones_bounds is not None:
            west, south, east, north = places.box_in_degrees(found.grid.bounds, found.grid.crs)
            left, bottom, right, top = self.zones_bounds
            if left > east or right < west or bottom > north or top < south:
                raise InputError("zones.file: none of its polygons lies on the maps")
        if isinstance(site.sun.albedo, str):
            self._check_albedo(site.sun.albedo, found.grid)
        if site.climate.source == "daymet":
            from eemt.climate.daymet.grid import KNOWN_REGIONS, PUERTO_RICO_FIRST_YEAR, region_of

            region = site.climate.region
            name = region_of(found.grid.bounds, found.grid.crs) if region == "auto" else region
            begins = KNOWN_REGIONS[name].first_year if name in KNOWN_REGIONS else PUERTO_RICO_FIRST_YEAR
            first, last = site.climate.years or (0, 0)
            if first < begins or last > now().year:
                raise InputError(f"climate.years: Daymet begins in {begins} there and ends in the last year")

    def _check_albedo(self, path: str, grid: Grid) -> None:
        """Raise where a raster of albedo is not on the cells of the maps, as the workflow would."""
        own = Grid(**(self.uploads[path].header or {})["grid"])
        col, row = (grid.west - own.west) / own.dx, (own.north - grid.north) / own.dy
        aligned = max(abs(col - round(col)), abs(row - round(row))) < ALIGNED and abs(own.dx / grid.dx - 1) < ALIGNED
        inside = 0 <= round(col) <= own.width - grid.width and 0 <= round(row) <= own.height - grid.height
        if own.crs != grid.crs or not aligned or not inside:
            raise InputError(
                f"sun.albedo: the raster is not on the cells of the maps, which are {grid.height} x {grid.width} of "
                f"{grid.dx:g} m from {grid.west:.10g}, {grid.north:.10g}, or does not cover them"
            )


def _are_numbers(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_are_numbers(part) and not isinstance(part, list | tuple) for part in value)
    if isinstance(value, str):
        return re.fullmatch(r"[0-9., ]+", value, re.ASCII) is not None and not re.search(r"[.]$", value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def mistake(key: str, message: str) -> Mistake:
    """Make a mistake of a key and what is wrong."""
    return {"field": key, "message": message}


def validated(data: Mapping[str, Any], known: Sequence[Mistake]) -> tuple[Site | None, list[Mistake]]:
    """Check values as a config file's, and return all mistakes beside those that are known already.

    What a section as a whole lacks is not told where a value of it was taken out as a mistake.
    """
    try:
        return Site.model_validate(data), []
    except ValidationError as error:
        told = {other["field"] for other in known}
        found: dict[str, Mistake] = {}
        for problem in error.errors(include_url=False):
            new = _worded(problem)
            of_whole = problem["type"] == "value_error" and len(problem["loc"]) < 2
            beside = [other for other in told if len(problem["loc"]) == 0 or other.startswith(f"{problem['loc'][0]}.")]
            if new["field"] not in told and not (of_whole and beside):
                found.setdefault(new["field"], new)
        return None, list(found.values())


def _worded(problem: Any) -> Mistake:
    # the place within a list, and which of a field's types was tried, tell users nothing
    location = ".".join(str(part) for part in problem["loc"][: 3 if problem["loc"][:1] == ("sweep",) else 2])
    match problem["type"]:
        case "extra_forbidden":
            return mistake(location, "is unknown")
        case "value_error":
            return mistake(*placed(location, str(problem["ctx"]["error"])))
        case _:
            return mistake(location, fault(problem, longest=80))


def placed(location: str, message: str) -> tuple[str, str]:
    """Find the field that a message about a section, or about several, is of."""
    if dotted := re.match(r"(?:config: )?((?:sweep\.)?([a-z]+)\.([a-z_]+)):? ", message):
        section, name = dotted[2], dotted[3]
        if section in SECTIONS and name in SECTIONS[section].model_fields:
            return dotted[1], message[dotted.end() :]
    if location in SECTIONS:
        for word in re.findall(r"[a-z_]+", message):
            if word in SECTIONS[location].model_fields:
                return f"{location}.{word}", message.removeprefix(f"{word} ").removeprefix(f"{word}: ")
    if named := re.search(r"\b(?:give|see) ([a-z]+)\.([a-z_]+)", message, re.IGNORECASE):
        section, name = named[1], named[2]
        if section in SECTIONS and name in SECTIONS[section].model_fields:
            return f"{section}.{name}", message
    if section := re.match(r"([a-z]+): ", message):
        files = {"climate": "climate.file", "dem": "dem.source", "zones": "zones.file", "sweep": "sweep"}
        return files.get(section[1], section[1]), message[section.end() :]
    return location or "settings", message
