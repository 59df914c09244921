"""The image by Docker, Apptainer and Compose: same maps to the last bit, and nothing but a folder to write to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from executors.beds import IMAGE, compose_command
from executors.runs import Run, assert_same_maps, clip_config
from sites import NORMALS, ROOT

pytestmark = pytest.mark.workflow

A_USER = "12345:12345"  # without a name or a home in the image
CONFINED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none", "--user", A_USER]
# root in a container lacks capabilities that Apptainer would hand on
AS_ROOT = {"APPTAINER_NO_PRIVS": "1"} if os.geteuid() == 0 else {}
# a change to these changes bits, so that a comparison with this machine would say nothing
NUMERICAL = ("numpy", "numba", "llvmlite", "scipy", "rasterio", "pyproj", "whitebox-workflows")


def docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def in_image(*words: str, options: tuple[str, ...] = ()) -> str:
    done = docker("run", "--rm", *CONFINED, *options, IMAGE, *words)
    assert done.returncode == 0, done.stdout
    return done.stdout


def self_contained(run: Run, clip: Path) -> None:
    """Put all that the config names into the run's folder, by relative paths, and open it to any user."""
    config = clip_config("clip.tif")
    config["sites"]["clip"]["climate"] = {**config["sites"]["clip"]["climate"], "file": NORMALS.name}
    run.configure(config)
    shutil.copy(clip, run.folder / "clip.tif")
    shutil.copy(NORMALS, run.folder)
    run.folder.chmod(0o777)


@pytest.fixture(scope="module")
def by_docker(require: Callable[..., None], fresh: Callable[..., Run], clip: Path) -> Run:
    """The clip, finished inside the image as a user that it does not know, with nothing else to write to."""
    require("docker")
    run = fresh("docker", {})
    self_contained(run, clip)
    in_image("eemt-workflow", options=("--volume", f"{run.folder}:/data", "--env", "NUMBA_DEBUG_CACHE=1"))
    return run


@pytest.fixture(scope="module")
def sif(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as one file, made from its definition."""
    require("apptainer")
    if given := os.environ.get("EEMT_SIF"):
        return Path(given)
    require("docker")
    folder = tmp_path_factory.mktemp("sif")
    archive, image = folder / "eemt.tar", folder / "eemt.sif"
    assert docker("save", IMAGE, "--output", str(archive)).returncode == 0
    done = subprocess.run(
        [
            *("apptainer", "build", "--mksquashfs-args=-comp lz4", "--build-arg", "source=docker-archive"),
            *("--build-arg", f"image={archive}", str(image), str(ROOT / "containers/eemt.def")),
        ],
        env={**os.environ, **AS_ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    archive.unlink()
    return image


@pytest.fixture(scope="module")
def same_versions(require: Callable[..., None]) -> None:
    """Let only those compare bits who have the same Python and numerical libraries in the image as here."""
    require("docker")
    script = f"import importlib.metadata as m, sys; print(*sys.version_info[:2], *map(m.version, {NUMERICAL}))"

    def other_versions() -> str | None:
        there = in_image("python", "-c", script).strip()
        here = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        return None if there == here else f"the image has other versions ({there}) than this environment ({here})"

    require("docker", other_versions)


@pytest.mark.usefixtures("same_versions")
def test_any_user_on_a_read_only_root_makes_the_same_maps(by_docker: Run, reference: Run):
    assert_same_maps(by_docker, reference)
    assert by_docker.result("report.html").is_file()
    assert {path.stat().st_uid for path in by_docker.result("maps").iterdir()} == {12345}


def test_no_kernel_is_compiled_when_the_image_runs(by_docker: Run):
    lines = [line for log in by_docker.folder.glob("logs/**/*.log") for line in log.read_text().splitlines()]
    assert [line for line in lines if line.startswith("[cache] data loaded")]
    assert not [line for line in lines if line.startswith("[cache] data saved")]


def test_no_way_through_the_model_compiles_a_kernel(require: Callable[..., None]):
    require("docker")
    script = ROOT / "containers/compile_kernels.py"
    options = ("--env", "NUMBA_DEBUG_CACHE=1", "--workdir", "/tmp", "--volume", f"{script}:/compile_kernels.py:ro")
    lines = in_image("python", "/compile_kernels.py", options=options).splitlines()
    assert [line for line in lines if line.startswith("[cache] data loaded")]
    assert not [line for line in lines if line.startswith("[cache] data saved")]


def test_folder_without_a_config_gets_the_embedded_example(require: Callable[..., None], tmp_path: Path):
    require("docker")
    tmp_path.chmod(0o777)
    out = in_image("eemt-workflow", "--dry-run", options=("--volume", f"{tmp_path}:/data"))
    assert "taking the embedded example" in out
    assert re.search(r"^sun +\d+$", out, re.M)
    assert (tmp_path / "config/config.yaml").read_bytes() == (ROOT / "config/config.yaml").read_bytes()


def test_folder_that_cannot_be_written_is_one_line(require: Callable[..., None], tmp_path: Path):
    require("docker")
    done = docker("run", "--rm", *CONFINED, "--volume", f"{tmp_path}:/data:ro", IMAGE)
    assert done.returncode == 2
    assert done.stdout == "eemt-workflow: user 12345 cannot write to /data; mount a folder there that it can write to\n"


def test_image_is_small_and_has_no_compiler_no_privileged_program_and_no_ones_settings(require: Callable[..., None]):
    require("docker")
    size = docker("image", "inspect", IMAGE, "--format", "{{.Size}}").stdout
    assert int(size) < 1_000_000_000
    label = docker("image", "inspect", IMAGE, "--format", '{{index .Config.Labels "org.opencontainers.image.title"}}')
    assert label.stdout.strip() == "eemt"
    assert docker("image", "inspect", IMAGE, "--format", "{{.Config.User}}").stdout.strip() == "1000:1000"
    seen_by_root = ("run", "--rm", "--user", "0", "--network", "none", IMAGE, "sh", "-c")
    assert docker(*seen_by_root, "command -v cc gcc g++ clang tcc make ld strip || true").stdout == ""
    assert docker(*seen_by_root, "find / -xdev -type f -perm /6000").stdout == ""
    assert docker(*seen_by_root, "ls -d /etc/pip.conf /root/.config /root/.cache 2> /dev/null || true").stdout == ""
    assert docker(*seen_by_root, "ls -A /run/secrets 2> /dev/null || true").stdout == ""
    assert in_image("python", "-m", "pip", "config", "list") == ""
    assert "No broken requirements" in in_image("python", "-m", "pip", "check")


def test_storage_plugin_of_pods_is_in_the_image_but_off_the_path(require: Callable[..., None]):
    require("docker")
    script = (
        "! python -c 'import snakemake_storage_plugin_s3' 2> /dev/null"
        " && export PYTHONPATH=/opt/s3 && python -c 'import snakemake_storage_plugin_s3 as s3; print(s3.__name__)'"
        " && pip check"
    )
    lines = in_image("sh", "-c", script).splitlines()
    assert lines == ["snakemake_storage_plugin_s3", "No broken requirements found."]


def test_documentation_is_served_and_says_that_it_is_well(require: Callable[..., None]):
    image = f"eemt/docs:{version('eemt')}"
    require("docker", lambda: None if (ROOT / "mkdocs.yml").is_file() else "this state has no site of documentation")
    assert docker("image", "inspect", image).returncode == 0, f"no image {image}: containers/build.sh docs"
    often = ("--health-interval", "1s", "--health-timeout", "10s")
    number = docker("run", "--detach", "--rm", *CONFINED, *often, image).stdout.strip()
    try:
        deadline = time.monotonic() + 60
        while (state := docker("inspect", number, "--format", "{{.State.Health.Status}}").stdout.strip()) != "healthy":
            assert time.monotonic() < deadline, state
            time.sleep(0.5)
        fetch = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8000/clusters.html').read())"
        assert "SLURM" in docker("exec", number, "python3", "-c", fetch).stdout
    finally:
        docker("kill", number)


@pytest.mark.usefixtures("same_versions")
def test_rules_run_inside_the_image_under_apptainer(sif: Path, fresh: Callable[..., Run], clip: Path, reference: Run):
    run = fresh("apptainer", {}, variables=AS_ROOT)
    self_contained(run, clip)
    # each shell command of a rule first leaves the system that it finds itself on
    (run.folder / "seen").mkdir()
    (run.folder / "Snakefile").write_text(
        f"""
configfile: "config/config.yaml"

shell.prefix("cp /etc/os-release seen/$(hostname)-$$-$(date +%N); ")

module eemt:
    snakefile: {str(ROOT / "workflow/Snakefile")!r}
    config: {{**config, "container": {str(sif)!r}}}

use rule * from eemt

rule here:
    default_target: True
    input: rules.all.input
"""
    )
    done = run.snakemake("--software-deployment-method", "apptainer", snakefile=Path("Snakefile"))
    assert done.returncode == 0, done.stdout
    systems = [path.read_text() for path in (run.folder / "seen").iterdir()]
    jobs = len(list(run.folder.glob("logs/**/*.log")))
    assert len(systems) == jobs > 20
    assert "VARIANT_ID=eemt" not in Path("/etc/os-release").read_text()
    assert all("VARIANT_ID=eemt" in system for system in systems)
    assert_same_maps(run, reference)


def test_image_as_one_file_passes_its_own_test_and_runs_the_workflow(sif: Path, tmp_path: Path):
    workflow = ("run", "--pwd", str(tmp_path), "--bind", str(tmp_path), str(sif), "eemt-workflow", "--dry-run")
    for words in (("test", str(sif)), workflow):
        done = subprocess.run(
            ["apptainer", *words],
            env={**os.environ, **AS_ROOT},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "config/config.yaml").is_file()


@pytest.mark.usefixtures("same_versions")
def test_compose_runs_the_workflow_on_a_folder(
    require: Callable[..., None], fresh: Callable[..., Run], clip: Path, reference: Run
):
    require("compose")
    run = fresh("compose", {})
    self_contained(run, clip)
    environment = {**os.environ, "EEMT_FOLDER": str(run.folder), "EEMT_USER": A_USER, "EEMT_IMAGE": IMAGE}

    def compose(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*(compose_command() or []), "--file", str(ROOT / "containers/compose.yaml"), *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    done = compose("run", "--rm", "workflow")
    assert compose("down").returncode == 0  # the network of its own that it made
    assert done.returncode == 0, done.stdout
    assert_same_maps(run, reference)
