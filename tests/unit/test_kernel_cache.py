"""Compiled kernels find a place, in containers and on clusters too."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import eemt
from eemt import kernel_cache
from eemt.kernel_cache import VARIABLE, is_writable, settle


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing can be written but a folder for temporary files: files stand where the folders would be."""
    for name in ("package", "home"):
        (tmp_path / name).write_text("")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(kernel_cache, "__file__", str(tmp_path / "package" / "kernel_cache.py"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    # set first, so that what is set in a test is taken back
    monkeypatch.setenv(VARIABLE, "")
    return tmp_path


def test_kernels_stay_beside_a_package_that_can_be_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "")
    settle()
    assert Path(os.environ[VARIABLE]).parent == Path(eemt.__file__).parent / "__pycache__"


def test_each_state_of_the_sources_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    shutil.copytree(Path(eemt.__file__).parent, tmp_path / "eemt", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(eemt, "__file__", str(tmp_path / "eemt/__init__.py"))
    before = kernel_cache.state_of_kernels()
    assert kernel_cache.state_of_kernels() == before
    constants = tmp_path / "eemt/constants.py"
    constants.write_text(constants.read_text().replace("EARTH_RADIUS = 6_371_000.0", "EARTH_RADIUS = 6_400_000.0"))
    assert kernel_cache.state_of_kernels() != before


def test_folder_that_the_user_names_is_kept(homeless: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, str(homeless / "mine"))
    settle()
    assert os.environ[VARIABLE] == str(homeless / "mine")


def test_read_only_package_has_its_kernels_in_the_users_cache(homeless: Path, monkeypatch: pytest.MonkeyPatch):
    state = kernel_cache.state_of_kernels()
    monkeypatch.setenv("HOME", str(homeless / "other"))
    settle()
    assert os.environ[VARIABLE] == str(homeless / "other/.cache/eemt" / state)
    monkeypatch.setenv("XDG_CACHE_HOME", str(homeless / "cache"))
    monkeypatch.setenv(VARIABLE, "")
    settle()
    assert os.environ[VARIABLE] == str(homeless / "cache/eemt" / state)


def test_without_a_home_kernels_go_to_a_private_temporary_folder(homeless: Path, monkeypatch: pytest.MonkeyPatch):
    settle()
    folder = Path(os.environ[VARIABLE]).parent
    assert folder == homeless / "temporary" / f"eemt-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setenv(VARIABLE, "")
    settle()
    assert Path(os.environ[VARIABLE]).parent == folder, "the next job finds the same kernels"


def test_folder_named_by_the_user_that_cannot_be_written_is_passed_over(
    homeless: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(VARIABLE, str(homeless / "home/cache"))
    settle()
    assert Path(os.environ[VARIABLE]).is_relative_to(homeless / "temporary")


def test_temporary_folder_that_another_laid_out_is_not_used(homeless: Path):
    (homeless / "elsewhere").mkdir()
    (homeless / "temporary" / f"eemt-{os.getuid()}").symlink_to(homeless / "elsewhere")
    settle()
    folder = Path(os.environ[VARIABLE]).parent
    assert folder.parent == homeless / "temporary"
    assert folder.name != f"eemt-{os.getuid()}"


def test_home_that_is_unknown_makes_no_folder_of_that_name(homeless: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(homeless)
    settle()
    assert not (homeless / "~").exists()


def test_read_only_install_without_home_runs_and_finds_its_kernels_again(tmp_path: Path, hill_dem: Path):
    source = Path(eemt.__file__).parent
    copy = tmp_path / "lib" / "eemt"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (copy, *(path for path in copy.iterdir() if path.is_dir())):
        (folder / "__pycache__").write_text("")  # a file is no folder, not even for root
    (tmp_path / "home").write_text("")
    (tmp_path / "tmp").mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "XDG_CACHE_HOME")}
    environment |= {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONPATH": str(copy.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "eemt.cli", "terrain", str(hill_dem), "--out", str(tmp_path / "maps")]
    kernels = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        kernels.append({path: path.stat().st_mtime_ns for path in (tmp_path / "tmp").rglob("*.nbc")})
    assert kernels[0] and kernels[0] == kernels[1]


def test_kernels_of_a_read_only_package_are_brought_along(homeless: Path, monkeypatch: pytest.MonkeyPatch):
    state = kernel_cache.state_of_kernels()
    shipped = homeless / "image/__pycache__" / state
    shipped.mkdir(parents=True)
    (shipped / "kernel.nbc").write_text("compiled")
    monkeypatch.setattr(kernel_cache, "__file__", str(homeless / "image/kernel_cache.py"))
    # stands for a read-only file system, which root cannot be kept from writing to by permissions
    monkeypatch.setattr(kernel_cache, "is_writable", lambda folder: folder != shipped and is_writable(folder))
    monkeypatch.setenv("HOME", str(homeless / "other"))
    settle()
    folder = Path(os.environ[VARIABLE])
    assert folder == homeless / "other/.cache/eemt" / state
    assert (folder / "kernel.nbc").read_text() == "compiled"
    assert list(folder.parent.iterdir()) == [folder]

    (folder / "kernel.nbc").write_text("compiled for this machine")
    monkeypatch.setenv(VARIABLE, "")
    settle()
    assert (folder / "kernel.nbc").read_text() == "compiled for this machine", "what is there is left alone"
