"""What a command of the archive goes by: the section `archive` of a config file, and options on top of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from eemt.archive.areas import Area, open_area
from eemt.config import ArchiveSettings, check_section
from eemt.errors import InputError

CONFIG = Path("config/config.yaml")


def archive_settings(args: argparse.Namespace) -> ArchiveSettings:
    """Return the settings of a command.

    Parameters
    ----------
    args : namespace
        With `settings`, JSON or None; else with `config`, a path or None for the config file of this folder, if there
        is one; and the attributes of `ArchiveSettings` that were given as options.

    Raises
    ------
    InputError
        One line that names what cannot be used.
    """
    text = getattr(args, "settings", None)
    values = _of_json(text) if text else _of_file(args.config)
    given = {name: value for name, value in vars(args).items() if name in ArchiveSettings.model_fields}
    settings: ArchiveSettings = check_section(
        ArchiveSettings, {**values, **{name: value for name, value in given.items() if value is not None}}, "archive"
    )
    return settings


def _of_json(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"settings: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise InputError("settings: must be a JSON object, the section archive of a config file")
    return values


def _of_file(path: Path | None) -> dict[str, Any]:
    chosen = path or CONFIG
    if path is None and not chosen.exists():
        return {}
    try:
        values = yaml.safe_load(chosen.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"archive: {chosen} cannot be read as YAML ({reason})") from None
    section = values.get("archive") if isinstance(values, dict) else None
    if section is not None and not isinstance(section, dict):
        raise InputError(f"archive: {chosen}: archive must be keys and values, not {section!r}")
    return section or {}


def open_storage(settings: ArchiveSettings) -> Area:
    """Open the long-term storage.

    Raises
    ------
    InputError
        When none is named.
    StorageError
        When it is not there.
    """
    if settings.storage is None:
        raise InputError(
            "archive: no storage is named; set archive.storage in the config file, or give --storage: a folder, "
            "s3://bucket/folder or rclone:remote:folder"
        )
    return open_area(settings.storage, settings.storage_profile)


def open_staging(settings: ArchiveSettings) -> Area:
    """Open the area where blocks wait for their move."""
    return open_area(settings.staging, settings.staging_profile, make_root=True)
