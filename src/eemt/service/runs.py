"""A job's run: the command that it is, starting it, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import eemt
from eemt.errors import InputError
from eemt.service import events, processes, supervise
from eemt.service.jobs import folder
from eemt.service.models import Job
from eemt.service.processes import Identity
from eemt.service.settings import PREFIX, Settings
from eemt.stages.profile import ANY_PROFILE, known_profiles, snakemake_folder

CONFIG = Path("config/config.yaml")
LOCKS = Path(".snakemake/locks")
SITE_PROFILES = Path("/etc/xdg/snakemake")
SHARED = Path("share/eemt/workflow/Snakefile")  # below a prefix, as in the container image
LIBPQ = "PG"  # begins the variables that PostgreSQL's library reads, PGPASSWORD among them


@dataclass(frozen=True)
class End:
    """How a run ended.

    Parameters
    ----------
    code : int
        Of Snakemake's exit; below 0 the signal that killed it.
    at : datetime
        When.
    asked : bool
        Whether its supervisor was told to end it, by the service or by whoever shuts the machine down.
    """

    code: int
    at: datetime
    asked: bool


def workflow_file(settings: Settings) -> Path:
    """Return the Snakefile: the operator's, that of the checkout or of the installed package.

    Raises
    ------
    InputError
        When there is none.
    """
    package = Path(eemt.__file__).parent
    own = [package / "workflow/Snakefile", package.parents[1] / "workflow/Snakefile", Path(sys.prefix) / SHARED]
    candidates = [settings.workflow] if settings.workflow else [*own, Path("/opt/eemt") / SHARED]
    for path in candidates:
        if path.is_file():
            return path.absolute()
    raise InputError(f"workflow: {candidates[0]} does not exist; name the Snakefile in {PREFIX}WORKFLOW")


def profile_folder(settings: Settings) -> Path:
    """Return the profile's folder: a path, or by its name the user's own, the machine's or one that came with eemt.

    Raises
    ------
    InputError
        When there is none.
    """
    name = settings.profile
    path = Path(name).expanduser()
    if path.is_absolute() or len(path.parts) != 1:
        if not _is_profile(path):
            raise InputError(f"profile: {path} is no folder with a profile in it; see `eemt profile list`")
        return path.absolute()
    known = known_profiles()
    for folder_of_it in (snakemake_folder() / name, SITE_PROFILES / name, known.get(name)):
        if folder_of_it is not None and _is_profile(folder_of_it):
            return folder_of_it
    raise InputError(f"profile: {name} is not known; there are {', '.join(known)}, or name a folder")


def _is_profile(path: Path) -> bool:
    return path.is_dir() and any(ANY_PROFILE.fullmatch(item.name) for item in path.iterdir())


def command(settings: Settings, job_id: str) -> list[str]:
    """Return the call of Snakemake that a job is.

    Raises
    ------
    InputError
        When workflow or profile are not there.
    """
    job = folder(settings, job_id).absolute()
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(workflow_file(settings))),
        *("--directory", str(job)),
        *("--configfile", str(job / CONFIG)),
        *("--profile", str(profile_folder(settings))),
        # of the pods, where there are such; the config names it for Apptainer
        *(("--container-image", settings.image) if settings.image else ()),
        *("--quiet", "host", "reason"),  # not about progress, of which events are made
        "--rerun-incomplete",
        "--nocolor",
        *("--logger", "eemt", "--logger-eemt-file", str(job / events.FILE)),
    ]


def environment(settings: Settings, job_id: str, present: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a run: this process's, without what is the service's alone.

    Parameters
    ----------
    present : mapping, optional
        This process's environment.
    """
    hidden = [secret.get_secret_value() for secret in (settings.database_url, settings.secret_key) if secret]
    kept = {
        name: value
        for name, value in (os.environ if present is None else present).items()
        if not name.startswith((PREFIX, LIBPQ, "EEMT_EVENTS_")) and not any(secret in value for secret in hidden)
    }
    # no module is taken from the job's folder, in which files are that users name
    return kept | {processes.RUN: job_id, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def start(settings: Settings, job: Job) -> tuple[Identity, subprocess.Popen[bytes]]:
    """Start a job's run, which goes on when this process ends, and return its supervisor.

    Raises
    ------
    InputError
        When workflow or profile are not there.
    OSError
        When the job's folder cannot be written, or no process can be started.
    """
    words = command(settings, job.id)
    place = folder(settings, job.id).absolute()
    _prepare(place, job.config)
    with (place / supervise.LOG).open("ab") as log:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", supervise.__name__, str(place)),
                *("--attempt", str(job.attempt), "--grace", str(settings.grace_seconds)),
                *("--", *words),
            ],
            cwd=place,
            env=environment(settings, job.id),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    found = processes.identify(child.pid)
    # none, where it has ended already
    return found or Identity(child.pid, 0.0, processes.boot(), ""), child


def _prepare(place: Path, config: str) -> None:
    """Write the config as it was accepted, and take away the lock of a run that was killed."""
    (place / CONFIG.parent).mkdir(parents=True, exist_ok=True)
    path = place / CONFIG
    # an unchanged file keeps its time
    if not path.is_file() or path.read_text(encoding="utf-8") != config:
        supervise.write_whole(path, config)
    if (place / LOCKS).exists():
        shutil.rmtree(place / LOCKS)


def recorded(place: Path, attempt: int) -> Identity | None:
    """Return the supervisor that began an attempt, as it has written down itself; None where none has.

    Raises
    ------
    OSError
        When that cannot be read.
    """
    return processes.from_json(_read(place / supervise.PROCESS, attempt))


def ended(place: Path, attempt: int) -> End | None:
    """Return how an attempt ended, as its supervisor has written down; None where it has not.

    Raises
    ------
    OSError
        When that cannot be read.
    """
    end = _read(place / supervise.EXIT, attempt)
    if end is None:
        return None
    with suppress(KeyError, TypeError, ValueError):
        at = datetime.fromisoformat(str(end["at"])).astimezone(UTC)
        return End(int(end["code"]), at, bool(end.get("asked")))
    return None


def _read(path: Path, attempt: int) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("attempt") == attempt else None


def ask_to_end(identity: Identity) -> None:
    """Tell a supervisor to end its run; told again, it changes nothing."""
    if identity.is_alive:
        with suppress(OSError):
            os.kill(identity.pid, signal.SIGTERM)


def last_sign(place: Path, with_logs: bool = False) -> datetime | None:
    """Return when a run last wrote anything that tells of it: output, events, and the logs of its rules.

    Parameters
    ----------
    with_logs : bool
        Whether to look at the logs of rules too, which are many.
    """
    paths = [place / supervise.LOG, place / events.FILE]
    if with_logs:
        paths += [Path(root) / name for root, _, names in os.walk(place / "logs") for name in names]
    times = []
    for path in paths:
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return datetime.fromtimestamp(max(times), UTC) if times else None


def size(place: Path) -> int:
    """Return the size of a job's files [bytes], each once; uploads that it shares with others are not its own."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for root, _, names in os.walk(place):
        is_shared = Path(root).is_relative_to(place / "inputs")
        for name in names:
            with suppress(OSError):
                about = (Path(root) / name).lstat()
                if (is_shared and about.st_nlink > 1) or (about.st_dev, about.st_ino) in seen:
                    continue
                seen.add((about.st_dev, about.st_ino))
                total += about.st_size
    return total
