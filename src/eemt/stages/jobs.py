"""``eemt jobs``: the jobs on the web service."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from eemt.service.client import Client


def run(args: argparse.Namespace) -> None:
    """List jobs, or show, cancel, run again or delete one."""
    client = Client.from_settings()
    match args.action:
        case "show":
            _show(client, args.id, args.json)
        case "cancel":
            job = client.cancel(args.id)
            print(f"{job['id']} {'is being cancelled' if job['cancelling'] else job['state']}")
        case "retry":
            job = client.retry(args.id)
            print(f"{job['id']} {job['state']}, attempt {job['attempt']}")
        case "delete":
            client.delete(args.id)
            print(f"{args.id} deleted")
        case _:
            _list(client, args)


def _list(client: Client, args: argparse.Namespace) -> None:
    found = list(client.jobs(args.state or (), args.search, args.all, args.limit))
    if args.json:
        print(json.dumps(found, indent=2))
        return
    rows = [("ID", "NAME", "KIND", "STATE", "STEPS", "CREATED", *(("USER",) if args.all else ()))]
    for job in found:
        user = (str(job["user"]),) if args.all else ()
        rows.append((job["id"], job["name"], job["kind"], job["state"], _steps(job), _time(job["created"]), *user))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _show(client: Client, job_id: str, as_json: bool) -> None:
    job, progress = client.job(job_id), client.progress(job_id)
    if as_json:
        print(json.dumps(job | {"progress": progress}, indent=2))
        return
    print(f"{job['id']} {job['name']} ({job['kind']}): {job['state']}, attempt {job['attempt']}")
    for name in ("created", "started", "finished", "removed"):
        if job[name]:
            print(f"{name} {_time(job[name])}")
    if job["steps_total"]:
        left = f", about {job['seconds_left']:.0f} s left" if job["seconds_left"] is not None else ""
        print(f"{_steps(job)} steps{left}")
    for rule in progress["rules"]:
        counts = f"{rule['done']}/{rule['total']}"
        more = "".join(f", {rule[name]} {name}" for name in ("running", "failed") if rule[name])
        print(f"  {rule['rule']}: {counts}{more}")
    if job["message"]:
        print(job["message"])


def report_end(job: Mapping[str, Any]) -> None:
    """Say that a job is finished.

    Raises
    ------
    OSError
        When it was not completed.
    """
    if job["state"] != "completed":
        raise OSError(f"{job['id']} {job['state']}{': ' + job['message'] if job['message'] else ''}")


def _steps(job: Mapping[str, Any]) -> str:
    return f"{job['steps_done']}/{job['steps_total']}" if job["steps_total"] else "-"


def _time(text: str) -> str:
    return text[:19].replace("T", " ") + " UTC"
