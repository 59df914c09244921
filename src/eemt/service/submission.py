"""From what a user asks for to what Snakemake gets: a config that is checked, and the files that it names.

Mistakes are all found at once, each with the key that it is in. What Snakemake gets is written from the checked
values alone; files are the user's own uploads under names of ours, within the job's folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.orm import Session

from eemt.config import SITE_NAME, Site, load_config
from eemt.errors import InputError
from eemt.raster import whole_or_nothing
from eemt.service import estimate, jobs, policy, quotas
from eemt.service.dependencies import Principal
from eemt.service.models import Job, Kind
from eemt.service.problems import Problem
from eemt.service.reading import INPUTS, Mistake, Reading, file_of, mistake, shape_problem, validated
from eemt.service.settings import Settings

LONGEST_NAME = 64


@dataclass(frozen=True)
class Submission:
    """What came of a request for a job.

    Attributes
    ----------
    config_yaml : str
        What Snakemake gets; empty where there are mistakes.
    uploads : list of str
        Identifiers of the uploads that it reads.
    cells : int or None
        Of the maps; nothing where that is known only to the server that the elevation comes from.
    links : dict
        Upload's identifier by path in the job's folder, such as inputs/dem.tif.
    errors : list of dict
        Mistakes, each with `field` and `message`.
    estimate : Estimate or None
        Of time and disk.
    site : Site or None
        The checked settings.
    """

    config_yaml: str = ""
    uploads: list[str] = field(default_factory=list)
    cells: int | None = None
    links: dict[str, str] = field(default_factory=dict)
    errors: list[Mistake] = field(default_factory=list)
    estimate: estimate.Estimate | None = None
    site: Site | None = None

    def refuse_mistakes(self) -> None:
        """Raise where there are any.

        Raises
        ------
        Problem
        """
        if self.errors:
            first = self.errors[0]
            raise Problem("invalid", f"{first['field']}: {first['message']}", self.errors)


def prepare(
    session: Session, settings: Settings, principal: Principal, name: str, kind: Kind, values: Mapping[str, Any]
) -> Submission:
    """Check what a user asks for, and make the config of it.

    Parameters
    ----------
    session : Session
        Only read from.
    settings : Settings
    principal : Principal
        Whose uploads may be named.
    name : str
        Of the job and its site.
    kind : {"sun", "eemt"}
    values : mapping
        One site as in config.yaml, where a file is written {"upload": ID}.

    Raises
    ------
    Problem
        When disk or quota do not suffice. Mistakes in the settings are no exception: see `Submission.errors`.
    """
    checked = examine(session, settings, principal, name, kind, values)
    if checked.estimate is not None:
        quotas.refuse_over_quota(session, settings, principal.user_id, checked.estimate.bytes)
        quotas.refuse_full_disk(settings, checked.estimate.bytes)
    else:
        quotas.refuse_full_disk(settings)
    return checked


def examine(
    session: Session, settings: Settings, principal: Principal, name: str, kind: Kind, values: Mapping[str, Any]
) -> Submission:
    """Do as `prepare` does, whatever disk and quota there are."""
    if problem := shape_problem(values):
        return Submission(errors=[mistake("settings", problem)])
    reading = Reading(session, settings, principal, kind)
    data = reading.read(values)
    if not re.fullmatch(SITE_NAME, name) or len(name) > LONGEST_NAME:
        reading.add("name", f"must be up to {LONGEST_NAME} letters, digits, - and _, and not begin with these two")
    site, mistakes = validated(data, reading.errors)
    if mistakes or reading.errors or site is None:
        return Submission(errors=reading.errors + mistakes)
    reading.check_files(site)
    if reading.errors:
        return Submission(errors=reading.errors)
    found = None
    try:
        found = estimate.estimate(session, settings, site, reading.grids, reading.table)
        reading.check_place(site, found)
    except InputError as error:
        reading.refuse(error)
    if reading.errors or found is None:
        return Submission(errors=reading.errors)
    uploads = sorted(set(reading.links.values()))
    return Submission(_as_yaml(name, site, settings), uploads, found.cells, reading.links, [], found, site)


def _as_yaml(name: str, site: Site, settings: Settings) -> str:
    """Write the checked values, and read them again to be sure that they are the same."""
    whole: dict[str, Any] = {"sites": {name: _plain(site.model_dump(exclude_unset=True))}}
    if settings.image:
        whole["container"] = settings.image
    text = yaml.safe_dump(whole, sort_keys=False)
    if load_config(yaml.safe_load(text)).sites[name] != site:
        raise RuntimeError("a config that was written is not what was to be written")
    return text


def _plain(value: Any) -> Any:
    """Write tuples as lists, which YAML has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def lay_out(settings: Settings, job: Job) -> Path:
    """Make a job's folder, with its config and its inputs; what is there already is left.

    Inputs are hard links to the uploads, so that they take no space and outlive them; where there can be none, copies.

    Raises
    ------
    Problem
        When an upload is no longer there.
    """
    folder = jobs.folder(settings, job.id)
    for name in ("config", INPUTS, "results", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, upload in links(job.settings, job.config).items():
        _link(file_of(settings, upload), folder / path)
    with whole_or_nothing(folder / "config" / "config.yaml") as partial:
        partial.write_text(job.config, encoding="utf-8")
    return folder


def links(values: Mapping[str, Any], config_yaml: str) -> dict[str, str]:
    """Return the upload's identifier by path in the job's folder, of a job's settings and the config made of them."""
    (site,) = yaml.safe_load(config_yaml)["sites"].values()
    found = {}
    for key, rule in policy.FILES.items():
        section, _, name = key.partition(".")
        given, made = (values.get(section) or {}).get(name), site.get(section, {}).get(name)
        parts = given if rule.several and isinstance(given, list) else [given]
        paths = made if isinstance(made, list) else [made]
        for part, path in zip(parts, paths, strict=False):
            if isinstance(part, Mapping) and path is not None:
                found[str(path)] = str(part["upload"])
    return found


def _link(upload: Path, path: Path) -> None:
    if path.exists():
        return
    try:
        os.link(upload, path)
    except FileNotFoundError:
        raise Problem("gone", "A file of the job is no longer there; upload it again.") from None
    except OSError:  # another disk, or one without links
        with whole_or_nothing(path) as partial:
            shutil.copyfile(upload, partial)
