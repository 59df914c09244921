"""``eemt submit``: run a config on the web service."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from eemt.config import Site, load_config
from eemt.errors import InputError
from eemt.service.client import FINISHED, Client, Event
from eemt.service.policy import FILES, NOT_OFFERED, SECTIONS_OF, elevation_word
from eemt.stages.jobs import report_end

if TYPE_CHECKING:
    from eemt.service.models import Kind


def run(args: argparse.Namespace) -> None:
    """Upload what the config names, submit it, and write the job's identifier to standard output."""
    name, site = _site(args.config, args.site)
    kind: Kind = args.kind or ("eemt" if site.has_climate else "sun")
    client = Client.from_settings()
    sent: dict[Path, str] = {}
    settings = {
        section: _with_uploads(client, section, values, sent)
        for section, values in site.model_dump(mode="json", exclude_unset=True).items()
        if section in SECTIONS_OF[kind]
    }
    job = client.submit(args.name or name, kind, settings)
    print(job["id"], flush=True)
    if args.wait:
        report_end(client.wait(job["id"], _show))


def _site(path: Path, name: str | None) -> tuple[str, Site]:
    """Return a site of a config file and its name: the one that is named, or the only one."""
    if not path.is_file():
        raise InputError(f"config: {path} does not exist")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config: {path} is not YAML: {' '.join(str(error).split())}") from None
    sites = load_config(raw).sites
    if name is None and len(sites) > 1:
        raise InputError(f"config: {path} has several sites, name one by --site: {', '.join(sites)}")
    name = name or next(iter(sites))
    if name not in sites:
        raise InputError(f"config: {path} has no site {name}; it has {', '.join(sites)}")
    return name, sites[name]


def _with_uploads(client: Client, section: str, values: Mapping[str, Any], sent: dict[Path, str]) -> dict[str, Any]:
    """Return a section as the service takes it: files uploaded, without what is the service's own."""
    found = {}
    for name, value in values.items():
        key = f"{section}.{name}"
        if key in NOT_OFFERED and "operator's" in NOT_OFFERED[key]:
            print(f"eemt submit: {key} is left out: it {NOT_OFFERED[key]}", file=sys.stderr)
        elif key in FILES and value is not None:
            several = [_upload(client, key, one, sent) for one in (value if isinstance(value, list) else [value])]
            found[name] = several if isinstance(value, list) else several[0]
        else:
            found[name] = value
    return found


def _upload(client: Client, key: str, value: Any, sent: dict[Path, str]) -> Any:
    """Upload a file and name it as the service does; numbers, addresses and names of data sets stay."""
    if not isinstance(value, str) or "://" in value or (key == "dem.source" and elevation_word(value)):
        return value
    path = Path(value)
    if key == "sun.albedo" and not path.exists() and _is_number(value):
        return value
    if path not in sent:
        sent[path] = client.upload(path, FILES[key].kind, _tell)["id"]
    return {"upload": sent[path]}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _tell(name: str, there: int, size: int) -> None:
    end = "\n" if there == size else "\r"
    if sys.stderr.isatty() or there == size:
        print(f"{name}: {100 * there // size} % of {size:,} bytes", end=end, file=sys.stderr, flush=True)


def _show(event: Event) -> None:
    match event.kind:
        case "progress" if event.data.get("total"):
            print(f"{event.data['done']} of {event.data['total']} steps", file=sys.stderr, flush=True)
        case "state" if event.data["state"] not in FINISHED:
            print(event.data["state"], file=sys.stderr, flush=True)
        case "rule_failed":
            print(f"rule {event.data['rule']} failed", *event.data.get("tail", ()), sep="\n", file=sys.stderr)
