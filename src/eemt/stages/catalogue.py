"""``eemt catalogue``: the catalogue of the archive."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any

from eemt.archive.areas import Area, open_area
from eemt.archive.catalogue import Catalogue, open_catalogue
from eemt.archive.entries import Entry
from eemt.archive.limits import locks_folder, slot
from eemt.archive.scrub import Found, sample, scrub
from eemt.archive.search import has, read_box, read_parameter, read_years
from eemt.archive.settings import archive_settings, open_storage
from eemt.archive.telling import tell
from eemt.config import ArchiveSettings
from eemt.errors import InputError

EXIT_FAULTS = 1
SHOWN = 100  # characters of a message in a table


def run(args: argparse.Namespace) -> None:
    """Do what was asked with the catalogue of the settings."""
    settings = archive_settings(args)
    if args.action == "rebuild":
        _rebuild(settings)
        return
    with open_catalogue(settings.catalogue, make=False) as catalogue:
        match args.action:
            case "show":
                _show(catalogue, _known(catalogue, args.id), args.json)
            case "verify":
                _verify(args, settings, catalogue)
            case _:
                _list(catalogue, args)


def _known(catalogue: Catalogue, identifier: str) -> Entry:
    entry = catalogue.get(identifier)
    if entry is None:
        raise InputError(f"{catalogue.name} has no dataset {identifier}; `eemt catalogue list` lists them")
    return entry


def _list(catalogue: Catalogue, args: argparse.Namespace) -> None:
    criteria: dict[str, Any] = {"state": args.state, "site": args.site}
    if args.action == "search":
        criteria |= {
            "text": " ".join(args.text),
            "bbox": None if args.bbox is None else read_box(args.bbox),
            "years": None if args.years is None else read_years(args.years),
            "method": args.method,
            "parameters": dict(map(read_parameter, args.parameter)),
        }
    found = catalogue.search(**criteria)
    if not found:
        _refuse_unknown(catalogue, criteria.get("parameters", {}))
    if args.json:
        print(_json([_summary(entry) for entry in found]))
        return
    header = ("IDENTIFIER", "KIND", "STATE", "MADE", "YEARS", "METHODS", "FILES", "MB", "MESSAGE")
    _table(
        header,
        [
            (
                entry.identifier,
                entry.kind,
                entry.state,
                f"{entry.created:%Y-%m-%d}" if entry.created else "-",
                _years(entry),
                ",".join(entry.methods) or "-",
                str(entry.files),
                f"{entry.bytes / 1e6:.1f}",
                _short(entry.message or ""),
            )
            for entry in found
        ],
    )


def _refuse_unknown(catalogue: Catalogue, parameters: Mapping[str, Any]) -> None:
    """Tell a parameter that no dataset has from one that has other values."""
    known = [entry.parameters for entry in catalogue.search()] if parameters else []
    for key in parameters if known else ():
        if not any(has(one, key) for one in known):
            nearest = difflib.get_close_matches(key, {name for one in known for name in one}, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise InputError(f"--parameter: no dataset in {catalogue.name} has {key}{hint}")


def _show(catalogue: Catalogue, entry: Entry, as_json: bool) -> None:
    blocks, history = catalogue.blocks(entry.identifier), catalogue.history(entry.identifier)
    if as_json:
        whole = _summary(entry) | {
            "record": entry.record,
            "blocks": [block._asdict() for block in blocks],
            "history": [event._asdict() for event in history],
        }
        print(_json(whole))
        return
    print(f"{entry.identifier}: {entry.state}{f' in {entry.storage}' if entry.storage else ''}")
    for name, value in (("archived", _time(entry.archived_at)), ("fault", entry.fault), ("message", entry.message)):
        if value:
            print(f"{name}: {value}")
    print("\nRecord")
    _print_record(entry.record)
    print("\nBlocks")
    rows = [
        (block.name, f"{block.size / 1e6:.1f}", block.sha256, _time(block.verified_at) or "never", block.fault or "")
        for block in blocks
    ]
    _table(("NAME", "MB", "SHA-256", "LAST FOUND RIGHT", "FAULT"), rows)
    print("\nHistory")
    _table(("AT", "STEP", "OUTCOME", "MESSAGE"), [(_time(e.at), e.step, e.outcome, e.message or "") for e in history])


def _verify(args: argparse.Namespace, settings: ArchiveSettings, catalogue: Catalogue) -> None:
    """Print a line for each fault, and exit with 1 if there is one."""
    percent = 100.0 if args.all else _percent(args.sample)
    entries = _to_verify(catalogue, args.ids)
    if not entries:
        print("no dataset is archived", file=sys.stderr)
        return
    tell()
    locks = locks_folder(settings.locks)
    faults = 0
    chosen = sample({name: catalogue.blocks(name) for name in entries}, percent)

    @cache
    def storage(address: str) -> Area:
        return open_area(address, settings.storage_profile)

    for name, blocks in chosen.items():
        with slot("verify", settings.verifies, locks, name):
            # where the dataset was put, unless a command says that this place is now somewhere else
            address = getattr(args, "storage", None) or entries[name].storage or ""
            found = scrub(catalogue, partial(storage, address), entries[name], blocks)
        _print_found(found)
        faults += len(found.faults)
    if faults:
        print(f"{faults} fault{'s'[: faults > 1]}; nothing was changed in the storage", file=sys.stderr)
        raise SystemExit(EXIT_FAULTS)


def _print_found(found: Found) -> None:
    for fault in found.faults:
        print(fault)
    if not found.faults:
        print(
            f"{found.dataset}: {found.read} of {found.blocks} blocks ({found.bytes / 1e6:.1f} MB) and all tag files "
            "are as they were written"
        )
    sys.stdout.flush()


def _to_verify(catalogue: Catalogue, identifiers: Sequence[str]) -> dict[str, Entry]:
    if not identifiers:
        return {entry.identifier: entry for entry in catalogue.search(state="archived")}
    entries = [_known(catalogue, identifier) for identifier in identifiers]
    for entry in entries:
        if entry.state != "archived":
            raise InputError(f"{entry.identifier} is not archived, it is {entry.state}; there is nothing to verify")
    return {entry.identifier: entry for entry in entries}


def _percent(words: str) -> float:
    try:
        percent = float(words.strip().removesuffix("%"))
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise InputError(f"--sample: {words} is no part of the blocks; allowed are percents above 0, up to 100")
    return percent


def _rebuild(settings: ArchiveSettings) -> None:
    area = open_storage(settings)  # first, so that no catalogue is made where there is no storage
    with open_catalogue(settings.catalogue) as catalogue:
        rebuilt = catalogue.rebuild(area)
    for name, reason in rebuilt.left_out.items():
        print(f"{name}: left out: {reason}")
    taken = len(rebuilt.taken)
    datasets = "dataset" if taken == 1 else "datasets"
    print(f"{catalogue.name}: {taken} {datasets} of {area.address}, {len(rebuilt.left_out)} left out")


def _summary(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in entry._asdict().items() if name != "record"}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is not for JSON")
    return value.isoformat()


def _print_record(record: Mapping[str, Any]) -> None:
    for name, value in record.items():
        if isinstance(value, Mapping):
            print(f"{name}:")
            for key, inner in value.items():
                print(f"  {key}: {_plain(inner)}")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            print(f"{name}:")
            for inner in value:
                print(f"  {', '.join(f'{key} {_plain(word)}' for key, word in inner.items() if word)}")
        else:
            print(f"{name}: {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "-"
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    whole = [header, *rows]
    widths = [max(len(row[column]) for row in whole) for column in range(len(header))]
    for row in whole:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _years(entry: Entry) -> str:
    if entry.years is None:
        return "-"
    first, last = entry.years
    return str(first) if first == last else f"{first}-{last}"


def _short(message: str) -> str:
    return message if len(message) <= SHOWN else f"{message[: SHOWN - 1]}…"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
