"""``eemt doctor``: whether the service has what it needs on this machine, and what to mend where it has not."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eemt.errors import InputError
from eemt.service.opening import libraries

if TYPE_CHECKING:
    from eemt.archive.areas import Area
    from eemt.config import ArchiveSettings
    from eemt.service.settings import Settings

EXIT_WRONG = 1
ANSWER_SECONDS = 20.0
SCRATCH_BYTES = 2_000_000_000
CLOCK_SECONDS = 5.0
PATIENCE = "EEMT_ARCHIVE_PATIENCE"  # with a storage that does not answer
# what an executor is asked by, and who mends it
EXECUTORS = {
    "slurm": (["sinfo", "--noheader", "--format=%R %a %D"], "SLURM's controller"),
    "eemt-slurm": (["sinfo", "--noheader", "--format=%R %a %D"], "SLURM's controller"),
    "lsf": (["lsid"], "LSF"),
    "htcondor": (["condor_status", "-total"], "HTCondor"),
}
# what a driver must be allowed in Kubernetes, as containers/kubernetes/base allows it: group, resource, part, verb
DRIVER = (
    *(("batch", "jobs", "", verb) for verb in ("create", "get", "list", "delete")),
    *(("", "pods", "", verb) for verb in ("list", "delete")),
    ("", "pods", "log", "get"),
    *(("", "secrets", "", verb) for verb in ("create", "delete")),
)
# the generic executor's systems, by the name of the profile
GENERIC = {"sge": (["qhost"], "Grid Engine"), "pbs": (["qstat", "-B"], "PBS")}
# where SQLite's locks and shared memory are not to be relied on
SHARED = {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "fuse.glusterfs", "9p"}
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do."""

    subject: str
    state: Literal["good", "note", "wrong"]
    said: str
    mend: str | None = None


def run(args: argparse.Namespace) -> None:
    """Look at everything and exit with 1 where something is wrong."""
    with libraries():
        from eemt.service.settings import load_settings
    settings = load_settings(folder=args.folder, profile=args.profile)
    findings = list(examine(settings))
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.state:<6}{finding.subject}: {finding.said}")
            if finding.mend:
                print(f"      {finding.mend}")
    wrong = sum(finding.state == "wrong" for finding in findings)
    if not args.json:
        print("nothing is wrong" if not wrong else f"{wrong} to mend")
    if wrong:
        raise SystemExit(EXIT_WRONG)


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at all that the service stands on."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        snakemake,
        profile,
        folders,
        disk,
        scratch,
        database,
        accounts,
        address,
        clock,
        archive,
        daymet,
    )
    for check in checks:
        try:
            yield from check(settings)
        except Exception as error:  # a check that fails is a finding, and the others go on
            yield Finding(check.__name__, "wrong", f"cannot be looked at: {type(error).__name__}: {error}")


def snakemake(settings: Settings) -> Iterator[Finding]:
    """Check that Snakemake starts and that there is a workflow."""
    done = call([sys.executable, "-m", "snakemake", "--version"])
    if done is None or done.returncode:
        yield Finding("snakemake", "wrong", "does not start", "install eemt again: make setup")
    else:
        yield Finding("snakemake", "good", done.stdout.strip())
    from eemt.service.runs import workflow_file

    try:
        yield Finding("workflow", "good", str(workflow_file(settings)))
    except InputError as error:
        yield Finding("workflow", "wrong", str(error).removeprefix("workflow: "), "install eemt again")


def profile(settings: Settings) -> Iterator[Finding]:
    """Check that the profile and its executor's plugin are there, and that the executor answers."""
    from eemt.service.runs import profile_folder
    from eemt.stages.profile import read_profile

    try:
        folder = profile_folder(settings)
    except InputError as error:
        yield Finding("profile", "wrong", str(error).removeprefix("profile: "), "set EEMT_SERVICE_PROFILE")
        return
    found = read_profile(folder)
    if found is None:
        yield Finding(
            "profile", "wrong", f"{folder} holds no profile that can be read", "see `eemt profile show local`"
        )
        return
    yield Finding("profile", "good", f"{settings.profile}, {folder}")
    executor = str(found.get("executor", "local"))
    if executor in ("local", "dryrun", "touch"):
        yield Finding("executor", "good", f"local, {len(os.sched_getaffinity(0))} cores")
    else:
        yield from _executor(executor, folder.name, found)
    if executor.endswith("kubernetes"):
        yield from _files_of_pods(settings, found)
    methods = found.get("software-deployment-method", found.get("sdm", []))
    if "apptainer" in (methods if isinstance(methods, list) else [methods]):
        yield from _image(settings, found)


def _executor(executor: str, name: str, found: dict[str, Any]) -> Iterator[Finding]:
    # those of eemt build on Snakemake's
    theirs = executor.removeprefix("eemt-")
    if find_spec(f"snakemake_executor_plugin_{theirs.replace('-', '_')}") is None:
        extra = {"cluster-generic": "generic"}.get(theirs, theirs)
        yield Finding("executor", "wrong", f"{executor}: its plugin is not installed", f"make setup EXTRAS={extra}")
        return
    if executor.endswith("kubernetes"):
        yield from _kubernetes(executor, str(found.get(f"{executor}-namespace", "default")))
        return
    command, system = EXECUTORS.get(executor) or GENERIC.get(name) or ([], executor)
    if not command:
        yield Finding("executor", "note", f"{executor}: eemt does not know how to ask whether it answers")
    elif shutil.which(command[0]) is None:
        yield Finding(
            "executor", "wrong", f"{command[0]} is not installed", f"run the service where {system} is reached"
        )
    else:
        done = call(command)
        if done is None or done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] if done else ["no answer in time"]
            yield Finding("executor", "wrong", f"{executor}: {' '.join(said) or 'no answer'}", f"see to {system}")
        else:
            yield Finding("executor", "good", f"{executor}: {' '.join(done.stdout.split())[:100]}")


def _kubernetes(executor: str, namespace: str) -> Iterator[Finding]:
    """Ask the cluster, as the executor would, whether it answers and lets this account drive jobs."""
    import kubernetes
    from kubernetes.client.rest import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        try:
            kubernetes.config.load_kube_config()
        except ConfigException:
            kubernetes.config.load_incluster_config()
    except ConfigException:
        yield Finding(
            "executor",
            "wrong",
            f"{executor}: there is no key to a cluster, neither a kubeconfig nor a service account's",
            "set KUBECONFIG, or run in a pod whose service account may drive jobs",
        )
        return
    cluster = kubernetes.client.AuthorizationV1Api()
    lacking = []
    try:
        for group, resource, part, verb in DRIVER:
            asked = {"namespace": namespace, "group": group, "resource": resource, "subresource": part, "verb": verb}
            body = {"spec": {"resourceAttributes": asked}}
            answer = cluster.create_self_subject_access_review(body, _request_timeout=ANSWER_SECONDS / 2)
            if not answer.status.allowed:
                lacking.append(f"{verb} {resource}{'/' * bool(part)}{part}")
    except (ApiException, HTTPError, OSError) as error:
        said = f"{error.status} {error.reason}" if isinstance(error, ApiException) else str(error).splitlines()[0]
        yield Finding("executor", "wrong", f"{executor}: {said}", "see to the Kubernetes cluster")
        return
    if lacking:
        yield Finding(
            "executor",
            "wrong",
            f"{executor}: in the namespace {namespace} it may not {', '.join(lacking)}",
            "kubectl apply --kustomize containers/kubernetes/base, and use its account eemt-driver",
        )
    else:
        yield Finding("executor", "good", f"{executor}: answers, and lets jobs be driven in the namespace {namespace}")


def _files_of_pods(settings: Settings, found: dict[str, Any]) -> Iterator[Finding]:
    """Check that results come to where the service looks for them."""
    if found.get("default-storage-provider"):
        yield Finding(
            "results",
            "wrong",
            f"{settings.profile} keeps results in a bucket, where the service does not look",
            "take the profile kubernetes-volume",
        )
        return
    volumes = found.get("eemt-kubernetes-persistent-volumes") or []
    places = [Path(str(volume).partition(":")[2]) for volume in volumes]
    jobs = settings.jobs.absolute()
    if any(jobs.is_relative_to(place) for place in places):
        yield Finding("results", "good", f"{jobs} is on a volume that pods mount")
    else:
        yield Finding(
            "results",
            "wrong",
            f"{jobs} is on no volume that pods mount ({', '.join(map(str, volumes)) or 'there is none'})",
            "name it in eemt-kubernetes-persistent-volumes of the profile, or set EEMT_SERVICE_JOBS_FOLDER",
        )


def _image(settings: Settings, found: dict[str, Any]) -> Iterator[Finding]:
    if shutil.which("apptainer") is None and shutil.which("singularity") is None:
        yield Finding("image", "wrong", "the profile uses Apptainer, which is not installed here", "install apptainer")
    image = settings.image or next((v for k, v in found.items() if "container-image" in k), None)
    if image is None:
        yield Finding("image", "note", "that of the config's default")
    elif "://" in str(image):
        yield Finding("image", "note", f"{image}, fetched by the jobs")
    elif Path(str(image)).is_file():
        yield Finding("image", "good", str(image))
    else:
        yield Finding(
            "image", "wrong", f"{image} is not there", "build it (containers/README.md) or set EEMT_SERVICE_IMAGE"
        )


def folders(settings: Settings) -> Iterator[Finding]:
    """Check that the folders can be written to, and only by this user."""
    for name in ("folder", "uploads", "jobs", "cache", "logs"):
        path: Path = getattr(settings, name)
        there = path if path.exists() else next(parent for parent in path.absolute().parents if parent.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            yield Finding(
                name, "wrong", f"{there} cannot be written to by {_user()}", f"chown it, or set another {name}"
            )
        elif not path.exists():
            yield Finding(name, "note", f"{path} is made at the first start")
        elif path.stat().st_mode & stat.S_IRWXO:
            yield Finding(name, "note", f"{path} is open to other users of this machine", f"chmod 700 {path}")
        else:
            yield Finding(name, "good", str(path))
    key = settings.folder / "secret.key"
    if key.exists() and key.stat().st_mode & OTHERS:
        yield Finding(
            "secret key", "wrong", f"{key} can be read by others", f"chmod 600 {key}, and better make a new one"
        )


def disk(settings: Settings) -> Iterator[Finding]:
    """Check that there is room for jobs."""
    seen: set[int] = set()
    for name in ("jobs", "uploads", "cache", "logs"):
        path = _existing(getattr(settings, name))
        if path.stat().st_dev in seen:
            continue
        seen.add(path.stat().st_dev)
        usage = shutil.disk_usage(path)
        said = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.0f} GB free on {path}"
        if usage.free < settings.least_free_bytes:
            least = f"{settings.least_free_bytes / 1e9:g} GB"
            yield Finding(
                "disk", "wrong", said, f"below {least} nothing begins: `eemt cleanup`, or less of least_free_bytes"
            )
        else:
            yield Finding("disk", "good", said)


def scratch(_: Settings) -> Iterator[Finding]:
    """Check that jobs have a place for what they throw away."""
    path = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=path) as file:
        file.write(b"eemt")
        file.flush()
        os.fsync(file.fileno())
    free = shutil.disk_usage(path).free
    if free < SCRATCH_BYTES:
        yield Finding(
            "scratch",
            "wrong",
            f"{path} has {free / 1e9:.1f} GB",
            f"set TMPDIR to a place of {SCRATCH_BYTES / 1e9:g} GB",
        )
    else:
        yield Finding("scratch", "good", f"{path}, {free / 1e9:.1f} GB free")


def database(settings: Settings) -> Iterator[Finding]:
    """Check that the database answers, is whole, and of a form that this eemt knows."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    from eemt.service.database import Database, config_of

    if settings.database.startswith("sqlite") and not settings.database_url and not settings.folder.is_dir():
        yield Finding("database", "note", "SQLite, made at the first start")
        return
    base = Database(settings.database)
    try:
        with base.engine.connect() as connection:
            if base.is_sqlite:
                whole = connection.scalar(text("PRAGMA quick_check"))
                if whole != "ok":
                    yield Finding(
                        "database", "wrong", f"{base.name} is damaged: {whole}", "restore a backup: `eemt restore`"
                    )
                    return
            present = MigrationContext.configure(connection).get_current_revision()
            there = bool(inspect(connection).get_table_names())
        script = ScriptDirectory.from_config(config_of(None))
        known = {revision.revision for revision in script.walk_revisions()}
        if present is not None and present not in known:
            yield Finding("database", "wrong", f"{base.name} was changed by a newer eemt", "upgrade eemt")
        elif present is None and there:
            yield Finding(
                "database", "wrong", f"{base.name} holds tables of something else", "give eemt a database of its own"
            )
        else:
            said = "up to date" if present == script.get_current_head() else "brought up to date at the next start"
            yield Finding("database", "good", f"{base.name}, {said}")
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())
        yield Finding("database", "wrong", f"{base.name}: {reason}", "start it, or mend EEMT_SERVICE_DATABASE_URL")
        return
    finally:
        base.close()
    if base.is_sqlite and (kind := file_system(settings.folder)) in SHARED:
        yield Finding(
            "database",
            "wrong",
            f"{settings.folder} is on {kind}, where SQLite's locks are not to be relied on",
            "put folder on a disk of this machine (jobs_folder may be shared), or use PostgreSQL",
        )


def accounts(settings: Settings) -> Iterator[Finding]:
    """Check that there is an operator where users sign in, and that nobody hears their passwords."""
    if not settings.with_accounts:
        yield Finding("accounts", "note", "nobody signs in: whoever uses this machine is the one user, an operator")
        return
    from sqlalchemy import func, select
    from sqlalchemy.exc import SQLAlchemyError

    from eemt.service.database import Database
    from eemt.service.models import User

    base = Database(settings.database)
    try:
        with base.reading() as session:
            operators = session.scalar(
                select(func.count())
                .select_from(User)
                .where(User.role == "operator", User.disabled.is_(False), User.password.is_not(None))
            )
    except SQLAlchemyError:
        operators = 0
    finally:
        base.close()
    if operators:
        yield Finding("accounts", "good", f"{operators} who may operate")
    else:
        yield Finding("accounts", "wrong", "there is no operator with a password", "eemt account add NAME --operator")
    if not (settings.public_url or "").startswith("https://"):
        yield Finding(
            "encryption",
            "note" if settings.is_local else "wrong",
            "public_url is not https: passwords would be sent in the clear",
            "put a proxy with TLS before it and set EEMT_SERVICE_PUBLIC_URL",
        )


def address(settings: Settings) -> Iterator[Finding]:
    """Check that the port is free, or that the service has it."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    except OSError:
        yield Finding(
            "port", "wrong", f"{settings.host} is no address", "set EEMT_SERVICE_HOST to an address of this machine"
        )
        return
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(target)
        except OSError as error:
            taken = error.strerror
        else:
            yield Finding("port", "good", f"{where} is free")
            return
    if _is_ours(settings):
        yield Finding("port", "good", f"{where}: the service runs")
    else:
        yield Finding(
            "port", "wrong", f"{where}: {taken}", "stop what has it, or set EEMT_SERVICE_PORT or EEMT_SERVICE_HOST"
        )


def _is_ours(settings: Settings) -> bool:
    from http.client import HTTPConnection, HTTPException

    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    connection = HTTPConnection(host, settings.port, timeout=5)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().read(100) == b'{"status":"ok"}'
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def clock(settings: Settings) -> Iterator[Finding]:
    """Check that the clocks of this machine and of its file servers agree."""
    path = _existing(settings.jobs)
    if os.access(path, os.W_OK):
        with tempfile.NamedTemporaryFile(dir=path, prefix=".clock-") as file:
            before = time.time()
            os.utime(file.name)  # the file server's time, where there is one
            apart = abs(Path(file.name).stat().st_mtime - before)
        if apart > CLOCK_SECONDS:
            said = f"that of the server of {path} is {apart:.0f} s apart"
            yield Finding(
                "clock", "wrong", said, "let both follow the same time server: Snakemake compares times of files"
            )
            return
    if shutil.which("timedatectl"):
        done = call(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
        if done is not None and done.stdout.strip() == "no":
            yield Finding(
                "clock", "note", "follows no time server, as far as systemd knows", "timedatectl set-ntp true"
            )
            return
    yield Finding("clock", "good", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def archive(settings: Settings) -> Iterator[Finding]:
    """Check that the archive, where the service has one, lets us in, keeps what is written to it, and has room."""
    from eemt.archive.errors import StorageError
    from eemt.service.depositing import settings_of_archive

    mend = "see to it, or to EEMT_SERVICE_ARCHIVE"
    try:
        chosen = settings_of_archive(settings)
    except InputError as error:
        yield Finding("archive", "wrong", str(error).removeprefix("settings: "), "mend that file")
        return
    if chosen is None or chosen.storage is None:
        return
    patience = os.environ.get(PATIENCE)
    os.environ.setdefault(PATIENCE, f"{ANSWER_SECONDS:g}")
    try:
        yield from _archive(chosen, settings.folder)
    except (InputError, StorageError) as error:
        yield Finding("archive", "wrong", str(error).removeprefix("archive: "), mend)
    except ModuleNotFoundError as error:
        yield Finding("archive", "wrong", f"{error.name} is not installed", "make setup EXTRAS=archive")
    finally:
        if patience is None:
            del os.environ[PATIENCE]


def _archive(chosen: ArchiveSettings, folder: Path) -> Iterator[Finding]:
    """Write a file to staging and storage, read it back, remove it; look how much room there is."""
    from eemt.archive.areas import open_area
    from eemt.archive.limits import locks_folder

    locks = locks_folder(chosen.locks)
    if not os.access(locks, os.W_OK | os.X_OK):
        yield Finding("archive", "wrong", f"{locks} cannot be written to by {_user()}", "set archive.locks")
        return
    content = b"eemt doctor\n"
    for name, place, profile in (
        ("staging", chosen.staging, chosen.staging_profile),
        ("archive", chosen.storage or "", chosen.storage_profile),
    ):
        # commands run in the service's folder
        is_folder = ":" not in place
        where = str(folder.absolute() / Path(place).expanduser()) if is_folder else place
        if is_folder and name == "staging" and not Path(where).is_dir():
            yield Finding("staging", "note", f"{where} is made at the first use")
            continue
        area = open_area(where, profile)
        probe = f"eemt-doctor-{os.urandom(6).hex()}"
        area.put(probe, [content], len(content))
        back = b"".join(area.read(probe))
        area.remove(probe)
        if back != content:
            yield Finding(
                name, "wrong", f"{area.address} does not give back what is written to it", "look at its disks"
            )
        elif name == "staging":
            yield Finding(name, "good", area.address)
        else:
            yield _room(area, chosen)


def _room(area: Area, chosen: ArchiveSettings) -> Finding:
    space = area.space()
    if space is None:
        said = f"{area.address}, writable; it does not tell its room"
        known = chosen.capacity_gb is not None
        return Finding("archive", "good" if known else "note", said, None if known else "set archive.capacity_gb")
    percent = 100 * space.free / space.total if space.total else 0.0
    said = f"{area.address}, writable, {space.free / 1e9:.1f} of {space.total / 1e9:.0f} GB free"
    if percent < chosen.min_free_percent:
        least = f"below archive.min_free_percent, {chosen.min_free_percent:g} %, nothing is archived"
        return Finding("archive", "wrong", said, f"{least}: make room")
    return Finding("archive", "good", said)


def daymet(_: Settings) -> Iterator[Finding]:
    """Check that there is a login for what of Daymet only NASA has."""
    from requests.utils import get_netrc_auth

    from eemt.climate.daymet.login import HOW, TOKEN_VARIABLE

    if os.environ.get(TOKEN_VARIABLE) or get_netrc_auth("https://urs.earthdata.nasa.gov"):
        yield Finding("Daymet", "good", "there is a login for Earthdata")
    else:
        yield Finding("Daymet", "note", "no login for Earthdata: years that only it has cannot be fetched", HOW)


def call(words: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Call a program; None where it is not there or does not end in time."""
    try:
        return subprocess.run(
            words, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def file_system(path: Path) -> str:
    """Return what kind of file system a path is on, as Linux calls it."""
    best, kind = "", "unknown"
    here = str(_existing(path).resolve())
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    for line in lines:
        _, at, found, *_ = line.split()
        inside = here == at or here.startswith(at.rstrip("/") + "/")
        if inside and len(at) >= len(best):
            best, kind = at, found
    return kind


def _existing(path: Path) -> Path:
    return path if path.exists() else next(parent for parent in path.absolute().parents if parent.exists())


def _user() -> str:
    return f"user {os.geteuid()}"
