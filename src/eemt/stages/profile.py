"""``eemt profile``: how Snakemake runs the workflow on a machine, written where Snakemake looks for it.

A profile of this package says how an executor is to be driven; a site adds who pays and where jobs
go. `install` puts the two together in one file of the user's own, so that
``snakemake --profile slurm`` works as typed.
"""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eemt
from eemt.errors import InputError

FILE = "profile.v9+.yaml"
BLOCK = "default-resources:"
# files that Snakemake takes for a profile
ANY_PROFILE = re.compile(r"(profile|config)(\.v\d+\+)?\.yaml")
WORD = re.compile(r"[\w.@:+-]+")
QUERY_SECONDS = 10


@dataclass(frozen=True)
class Executor:
    """What Snakemake needs for a profile, and what an option of ours is called there.

    `plugin` is the module that must be installed, `extra` the extra of this package that has it. An
    option is a resource of every job, or where its name begins with ``--``, a key of the profile.
    """

    plugin: str | None = None
    extra: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None


GENERIC = Executor("snakemake_executor_plugin_cluster_generic", "generic", "account", "queue")
EXECUTORS = {
    "htcondor": Executor("snakemake_executor_plugin_htcondor", "htcondor", "classad_AccountingGroup"),
    "kubernetes": Executor("snakemake_executor_plugin_kubernetes", "kubernetes"),
    "kubernetes-volume": Executor("snakemake_executor_plugin_kubernetes", "kubernetes"),
    "local": Executor(),
    "lsf": Executor("snakemake_executor_plugin_lsf", "lsf", "lsf_project", "lsf_queue"),
    "pbs": GENERIC,
    "sge": GENERIC,
    "slurm": Executor(
        "snakemake_executor_plugin_slurm", "slurm", "slurm_account", "slurm_partition", "--eemt-slurm-qos"
    ),
}


def run(args: argparse.Namespace) -> None:
    """List the profiles, show one or install one."""
    if args.action == "list":
        for name, folder in known_profiles().items():
            print(f"{name:<18}{_subject(folder)}")
        return
    folder = find_profile(args.name)
    if args.action == "show":
        print((folder / FILE).read_text(encoding="utf-8"), end="")
        return
    site = {option: getattr(args, option) for option in ("account", "partition", "qos") if getattr(args, option)}
    text = site_profile(args.name, folder, site, args.image)
    for warning in site_warnings(args.name, site):
        print(f"eemt profile: {warning}", file=sys.stderr)
    home = snakemake_folder()
    written = install(folder, (args.folder or home) / args.name, text, args.force)
    print(f"written: {written}")
    print(f"next: {_next_command(args.name, written, home)}")


def snakemake_folder() -> Path:
    """Return the folder of the user's own that Snakemake looks for profiles in."""
    from platformdirs import PlatformDirs

    return Path(PlatformDirs("snakemake", "snakemake").user_config_dir)


def known_profiles() -> dict[str, Path]:
    """Return the folders of the profiles that come with this package, by name.

    An installed package has them inside; in a checkout they stand beside ``src``.
    """
    inside = Path(eemt.__file__).parent
    for folder in (inside / "profiles", inside.parents[1] / "profiles"):
        if folder.is_dir():
            return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{FILE}"))}
    raise InputError(f"profile: {inside} has no profiles; install the package again")


def find_profile(name: str) -> Path:
    """Return the folder of a profile of this package.

    Raises
    ------
    InputError
        When there is none of that name.
    """
    known = known_profiles()
    if name not in known:
        raise InputError(f"profile: {name} is not known; there are {', '.join(known)}")
    return known[name]


def read_profile(folder: Path) -> dict[str, Any] | None:
    """Return what a profile's file says, or None where there is none that can be read."""
    import yaml

    for path in sorted(folder.iterdir()):
        if ANY_PROFILE.fullmatch(path.name):
            try:
                found = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):
                return None
            return found if isinstance(found, dict) else None
    return None


def site_profile(name: str, folder: Path, site: dict[str, str], image: str | None) -> str:
    """Return a profile's text with what belongs to a site added.

    Parameters
    ----------
    name : str
        Of the profile.
    folder : Path
        That holds it.
    site : dict
        Values of `account`, `partition` and `qos`, where given.
    image : str or None
        Container that jobs run in: a .sif file, or an address such as ``docker://…``.

    Raises
    ------
    InputError
        For an option that the profile has no use for, a value that no scheduler takes, and an
        image that is not there.
    """
    executor = EXECUTORS.get(name, Executor())
    keys, resources = [], []
    for option, value in site.items():
        target = getattr(executor, option)
        if target is None:
            raise InputError(f"profile: {name} has no use for --{option}")
        if not WORD.fullmatch(value):
            raise InputError(f"profile: {option}: {value!r} is no name; letters, digits and . _ - @ : + are allowed")
        if target.startswith("--"):
            keys.append(f"{target[2:]}: {json.dumps(value)}")
        else:
            # Snakemake evaluates a resource as Python, where `open` would be a function: quoted twice
            resources.append(f"  {target}: {json.dumps(repr(value))}")
    if image is not None:
        keys += _image_keys(name, image)
    text = (folder / FILE).read_text(encoding="utf-8").rstrip("\n")
    added = ["", "# This site, by `eemt profile install`.", *keys] if keys or resources else []
    if BLOCK not in text.splitlines():
        block = [BLOCK, *resources] if resources else []
        return "\n".join([text, *added, *block]) + "\n"
    # the profile's own block comes last: keys stand before it, resources join it
    before, own = text.rsplit(f"\n{BLOCK}\n", 1)
    return "\n".join([before, *added, BLOCK, own, *resources]) + "\n"


def _image_keys(name: str, image: str) -> list[str]:
    if name.startswith("kubernetes"):
        raise InputError(f"profile: {name} has no use for --image; pods run in the profile's container-image")
    if "://" not in image:
        path = Path(image).expanduser().absolute()
        if not path.is_file():
            raise InputError(f"profile: image: {path} does not exist; name a .sif file, or an address as docker://…")
        image = str(path)
    return [
        "software-deployment-method: [apptainer] # every rule runs in the image",
        f"config: {{container: {json.dumps(image)}}} # of the workflow; --config in a call puts it aside",
        '# apptainer-args: "--bind /scratch" # folders beside the working one that inputs lie in',
    ]


def install(source: Path, target: Path, text: str, force: bool) -> Path:
    """Write a profile and its scripts to a folder, the profile last, each file whole or not at all.

    Raises
    ------
    InputError
        When a profile is there and `force` is not given, or nothing can be written there.
    """
    present = [path.name for path in target.iterdir() if ANY_PROFILE.fullmatch(path.name)] if target.is_dir() else []
    if present and not force:
        raise InputError(f"profile: {target} holds {', '.join(sorted(present))}; --force writes over {FILE}")
    others = sorted(set(present) - {FILE})
    if others:
        raise InputError(f"profile: {target} also holds {', '.join(others)}, which Snakemake might take; move it away")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for script in sorted(source.iterdir()):
            if script.is_file() and script.name != FILE:
                _write(target / script.name, script.read_bytes(), script.stat().st_mode & 0o777)
        _write(target / FILE, text.encode(), 0o644)
    except OSError as error:
        raise InputError(f"profile: {target} cannot be written: {error.strerror}") from None
    return target / FILE


def _write(path: Path, content: bytes, mode: int) -> None:
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).chmod(mode)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def site_warnings(name: str, site: dict[str, str]) -> list[str]:
    """Return what the batch system on this machine does not know of what was given."""
    warnings = []
    executor = EXECUTORS.get(name, Executor())
    if executor.plugin and importlib.util.find_spec(executor.plugin) is None:
        warnings.append(f"Snakemake here lacks the executor's plugin; pip install 'eemt[{executor.extra}]'")
    if name == "slurm":
        if "partition" in site:
            partitions = _answers("sinfo", "--noheader", "--format=%R")
            warnings += _unknown("partition", site["partition"], partitions)
        if "account" in site:
            accounts = _answers(
                "sacctmgr", "--noheader", "--parsable2", "list", "associations",
                f"user={getpass.getuser()}", "format=account",
            )  # fmt: skip
            warnings += _unknown("account", site["account"], accounts)
    return warnings


def _answers(*command: str) -> set[str]:
    """Return the lines that a command of the batch system prints; none where it is absent or fails."""
    if shutil.which(command[0]) is None:
        return set()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True)
    except (subprocess.SubprocessError, OSError):
        return set()
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


def _unknown(what: str, value: str, known: Iterable[str]) -> list[str]:
    names = sorted(known)
    if not names or value.lower() in {name.lower() for name in names}:
        return []
    return [f"{what} {value} is not among yours here: {', '.join(names)}"]


def _next_command(name: str, written: Path, home: Path) -> str:
    profile = name if written.parent.parent.absolute() == home else shlex.quote(str(written.parent))
    return f"snakemake --profile {profile} --dry-run"


def _subject(folder: Path) -> str:
    """Return the first sentence of a profile's opening comment."""
    first = (folder / FILE).read_text(encoding="utf-8").splitlines()[0]
    return first.lstrip("# ").split(": ")[0].rstrip(":.")
