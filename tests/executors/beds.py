"""What of the real systems is here: each probe returns None, or what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

BEDS = Path(__file__).parents[1] / "beds"
IMAGE = os.environ.get("EEMT_IMAGE", f"eemt/eemt:{version('eemt')}")


def answers(*words: str, variables: dict[str, str] | None = None) -> bool:
    """Say whether a command is there and succeeds."""
    if shutil.which(words[0]) is None:
        return False
    try:
        done = subprocess.run(
            words, env={**os.environ, **(variables or {})}, capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def compose_command() -> list[str] | None:
    """Return how Docker Compose is called here: as a plugin, or as Debian's program of its own."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if answers(*words, "version"):
            return words
    return None


def docker() -> str | None:
    if not answers("docker", "info"):
        return 'no Docker answers; start one, or `eval "$(tests/beds/docker.sh up)"` as root'
    if not answers("docker", "image", "inspect", IMAGE):
        return f"Docker has no image {IMAGE}; build it with `containers/build.sh`, or name one in EEMT_IMAGE"
    return None


def compose() -> str | None:
    if missing := docker():
        return missing
    return None if compose_command() else "neither `docker compose` nor docker-compose is installed"


def apptainer() -> str | None:
    if not answers("apptainer", "--version"):
        return "Apptainer is not installed; as root on Debian 12: `tests/beds/apptainer.sh up`"
    return None


def brought_up(name: str, title: str, plugin: str, extra: str, program: str) -> str | None:
    """Bring up a bed that is not up yet, where its programs are installed, or say what is missing."""
    if find_spec(plugin) is None:
        return f"the executor plugin is not installed; `make setup EXTRAS={extra}`"
    return started(name, title, lambda: shutil.which(program) is not None)


def started(name: str, title: str, is_installed: Callable[[], bool]) -> str | None:
    bed = BEDS / f"{name}.sh"
    if answers(str(bed), "status"):
        return None
    if os.geteuid() != 0:
        return f"no {title} is up; as root: `tests/beds/{name}.sh up`"
    if not is_installed():
        return f"{title} is not installed; as root on Debian or Ubuntu: `tests/beds/{name}.sh install`"
    done = subprocess.run([bed, "up"], check=False, capture_output=True, text=True, timeout=600)
    return None if done.returncode == 0 else f"{title} did not come up: {done.stderr[-500:]}"


def slurm() -> str | None:
    return brought_up("slurm", "SLURM", "snakemake_executor_plugin_slurm", "slurm", "slurmctld")


def gridengine() -> str | None:
    plugin = "snakemake_executor_plugin_cluster_generic"
    return brought_up("gridengine", "Grid Engine", plugin, "generic", "sge_qmaster")


def htcondor() -> str | None:
    # its programs, and the plugin, are in a root file system of the bed's own
    return started("htcondor", "HTCondor", lambda: answers(str(BEDS / "htcondor.sh"), "installed"))


def s3() -> str | None:
    if find_spec("snakemake_storage_plugin_s3") is None:
        return "the storage plugin is not installed; `pip install 'eemt[kubernetes]'`"
    if not os.environ.get("SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"):
        return 'no S3 server is named in the environment; `eval "$(tests/beds/s3.sh up)"` as root'
    return None


def kubernetes() -> str | None:
    if find_spec("snakemake_executor_plugin_kubernetes") is None:
        return "the executor plugin is not installed; `pip install 'eemt[kubernetes]'`"
    if not os.environ.get("KUBECONFIG"):
        return 'no cluster is named in KUBECONFIG; `eval "$(tests/beds/kubernetes.sh up)"` as root'
    return None


Probe = Callable[[], str | None]

PROBES: dict[str, Probe] = {
    "docker": docker,
    "compose": compose,
    "apptainer": apptainer,
    "slurm": slurm,
    "gridengine": gridengine,
    "htcondor": htcondor,
    "s3": s3,
    "kubernetes": kubernetes,
}


def asker(probes: Mapping[str, Probe], required: Callable[[], Sequence[str]]) -> Callable[..., None]:
    """Make what tests ask for a system with: it skips with what is missing, or fails where the system is required.

    ``require("slurm")``, or ``require("slurm", probe)`` with a probe of the test's own.
    """
    found: dict[tuple[str, Probe], str | None] = {}

    def ask(name: str, probe: Probe | None = None) -> None:
        probe = probe or probes[name]
        if (name, probe) not in found:
            found[name, probe] = probe()
        missing = found[name, probe]
        if missing is None:
            return
        if name in required():
            pytest.fail(f"{name}: {missing} (EEMT_REQUIRE_BEDS names it)", pytrace=False)
        pytest.skip(f"{name}: {missing}")

    return ask


def named() -> list[str]:
    """Return the beds that must be there, by `EEMT_REQUIRE_BEDS=docker,apptainer`, else none."""
    return [name.strip() for name in os.environ.get("EEMT_REQUIRE_BEDS", "").split(",") if name.strip()]


def required() -> Sequence[str]:
    """Return the beds that must be there, all of them known here."""
    names = named()
    if unknown := sorted(set(names) - set(PROBES)):
        raise ValueError(f"EEMT_REQUIRE_BEDS: {', '.join(unknown)}: not one of {', '.join(PROBES)}")
    return names
