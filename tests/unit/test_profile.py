"""Profiles: what `eemt profile` writes is what Snakemake finds, and nothing is written over unasked."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from eemt.errors import InputError
from eemt.stages.profile import FILE, find_profile, known_profiles, site_profile, snakemake_folder
from sites import ROOT

NAMES = sorted(path.parent.name for path in ROOT.glob(f"profiles/*/{FILE}"))
CLUSTERS = ["htcondor", "lsf", "pbs", "sge", "slurm"]
SNAKEMAKE = str(Path(sys.executable).parent / "snakemake")


def read(name: str) -> dict[str, object]:
    return yaml.safe_load((ROOT / "profiles" / name / FILE).read_text(encoding="utf-8"))


def install(call, folder: Path, *words: str) -> tuple[int, str, str]:
    return call("profile", "install", *words, "--folder", folder)


@pytest.mark.parametrize("name", NAMES)
def test_profiles_plan_fast_and_try_again_without_arrays_or_groups(name: str):
    profile = read(name)
    assert profile["scheduler"] == "greedy"
    assert profile["rerun-incomplete"] is True
    assert profile["keep-going"] is True
    assert not {"slurm-array-jobs", "eemt-slurm-array-jobs", "groups", "group-components"} & profile.keys()
    if name in CLUSTERS:
        assert profile["retries"] == 2
        assert profile["latency-wait"] == 60


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_key_of_a_profile_has_a_comment(name: str):
    lines = (ROOT / "profiles" / name / FILE).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    bare = [
        line
        for above, line in itertools.pairwise(lines)
        if re.match(r"[a-z-]+:", line) and " #" not in line and not above.startswith("#")
    ]
    assert [line for line in bare if not line.startswith("executor:")] == []


@pytest.mark.parametrize("name", ["lsf", "pbs"])
def test_profiles_that_nobody_ran_say_so(call, name: str):
    assert "untested" in call("profile", "show", name)[1].splitlines()[0]
    assert re.search(rf"^{name} .*untested", call("profile", "list")[1], re.M)


def test_list_names_every_profile(call):
    code, out, _ = call("profile", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == NAMES
    assert {"local", "slurm", "htcondor", "lsf", "pbs", "sge"} <= set(NAMES)


def test_show_prints_the_file(call):
    assert call("profile", "show", "slurm")[1] == (ROOT / "profiles/slurm" / FILE).read_text(encoding="utf-8")


def test_account_partition_and_qos_stand_where_slurm_looks(call, tmp_path: Path):
    code, out, _ = install(
        call, tmp_path, "slurm", "--account", "open", "--partition", "1day", "--qos", "high"
    )  # fmt: skip
    written = tmp_path / "slurm" / FILE
    assert code == 0
    assert out == f"written: {written}\nnext: snakemake --profile {tmp_path}/slurm --dry-run\n"
    profile = yaml.safe_load(written.read_text())
    # strings of Python: `open` alone would be a function there
    assert profile["default-resources"] == {"slurm_account": "'open'", "slurm_partition": "'1day'"}
    assert profile["eemt-slurm-qos"] == "high"
    assert profile | read("slurm") == profile


def test_site_joins_the_resources_that_a_profile_has(call, tmp_path: Path):
    assert install(call, tmp_path, "sge", "--account", "hydro", "--partition", "all.q")[0] == 0
    resources = yaml.safe_load((tmp_path / "sge" / FILE).read_text())["default-resources"]
    assert resources == {**read("sge")["default-resources"], "account": "'hydro'", "queue": "'all.q'"}


def test_scripts_come_along_and_can_be_run(call, tmp_path: Path):
    assert install(call, tmp_path, "sge")[0] == 0
    profile = read("sge")
    for step in ("submit", "status", "cancel"):
        assert os.access(tmp_path / "sge" / str(profile[f"cluster-generic-{step}-cmd"]), os.X_OK)


def test_image_is_named_by_its_whole_path(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eemt.sif").touch()
    assert install(call, tmp_path, "slurm", "--image", "eemt.sif")[0] == 0
    profile = yaml.safe_load((tmp_path / "slurm" / FILE).read_text())
    assert profile["software-deployment-method"] == ["apptainer"]
    assert profile["config"] == {"container": str(tmp_path / "eemt.sif")}


def test_installed_profile_is_found_by_its_name(tmp_path: Path):
    """By Snakemake itself, in the folder that it keeps for its users."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    eemt = [sys.executable, "-m", "eemt.cli", "profile", "install", "local"]
    done = subprocess.run(eemt, env=environment, capture_output=True, text=True, check=True)
    assert "next: snakemake --profile local --dry-run\n" in done.stdout
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'done'\n    shell: 'touch {output}'\n")
    words = done.stdout.split("next: ")[1].split()
    found = subprocess.run(
        [SNAKEMAKE, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "Using profile local" in found.stdout + found.stderr


def test_folder_is_the_one_that_snakemake_keeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert snakemake_folder() == tmp_path / "snakemake"


def test_profile_is_not_written_over_unless_forced(call, tmp_path: Path):
    assert install(call, tmp_path, "slurm", "--account", "mine")[0] == 0
    before = (tmp_path / "slurm" / FILE).read_text()
    code, _, err = install(call, tmp_path, "slurm", "--account", "other")
    assert code == 2
    assert err.splitlines()[-1] == (
        f"eemt profile: profile: {tmp_path}/slurm holds {FILE}; --force writes over {FILE}"
    )  # fmt: skip
    assert (tmp_path / "slurm" / FILE).read_text() == before
    assert install(call, tmp_path, "slurm", "--account", "other", "--force")[0] == 0
    assert "other" in (tmp_path / "slurm" / FILE).read_text()
    assert [path.name for path in (tmp_path / "slurm").iterdir()] == [FILE]


def test_profile_of_another_name_is_not_overshadowed(call, tmp_path: Path):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/config.yaml").write_text("jobs: 1\n")
    for words in ([], ["--force"]):
        code, _, err = install(call, tmp_path, "slurm", *words)
        assert code == 2
        assert "config.yaml" in err
        assert not (tmp_path / "slurm" / FILE).exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["slrum"], f"profile: slrum is not known; there are {', '.join(NAMES)}"),
        (["local", "--account", "a"], "profile: local has no use for --account"),
        (["htcondor", "--partition", "a"], "profile: htcondor has no use for --partition"),
        (["slurm", "--account", "a b"], "profile: account: 'a b' is no name; letters, digits and . _ - @ : + are"),
        (["slurm", "--image", "gone.sif"], "profile: image: "),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(call, tmp_path: Path, words: list[str], line: str):
    code, out, err = install(call, tmp_path / "new", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"eemt profile: {line}")
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_folder_that_cannot_be_written_is_one_line(call, tmp_path: Path):
    (tmp_path / "file").touch()
    code, _, err = install(call, tmp_path / "file", "local")
    assert code == 2
    assert err == f"eemt profile: profile: {tmp_path}/file/local cannot be written: Not a directory\n"


def test_site_text_of_an_unknown_option_is_refused():
    with pytest.raises(InputError, match="lsf has no use for --qos"):
        site_profile("lsf", find_profile("lsf"), {"qos": "high"}, None)


def test_every_profile_can_be_installed(call, tmp_path: Path):
    for name in known_profiles():
        assert install(call, tmp_path, name)[0] == 0
        assert yaml.safe_load((tmp_path / name / FILE).read_text()) == read(name)
