"""The whole flow on a disk that is small, full, read-only or unmounted."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from archive.bags import FinishedSite, make_site, write
from archive.flow import Call, Flow, contents, identifier_in

MEGABYTE = 2**20
LARGE = 3 * MEGABYTE


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FinishedSite:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    made = make_site(tmp_path / "results" / "ridge")
    write(made.folder / "stack.nc", random.Random(2).randbytes(LARGE))
    made.describe()
    return made


class OnDisk(Flow):
    """A flow whose storage is a folder of the small disk."""

    disk: Path

    @property
    def storage(self) -> Path:
        return self.disk / "storage"


@pytest.fixture
def flow(tmp_path: Path, call: Call, small_disk: Path) -> Flow:
    OnDisk.disk = small_disk
    return OnDisk(tmp_path, call)


def filled(disk: Path, size: int) -> Path:
    path = disk / "of-others"
    path.write_bytes(bytes(size))
    return path


def assert_told(said: tuple[int, str, str], *words: str) -> None:
    code, _, err = said
    last = err.splitlines()[-1]
    assert code == 1 and last.startswith("eemt ") and "Traceback" not in err
    assert all(word in last for word in words), last


def test_a_storage_that_fills_up_under_way_is_told_and_the_next_run_finishes(
    flow: Flow, site: FinishedSite, small_disk: Path
) -> None:
    was = contents(site.folder)
    assert flow.archive(site, "--only", "space")[0] == 0
    others = filled(small_disk, 6 * MEGABYTE)
    assert_told(flow.archive(site, "--only", "move"), "No space left on device", str(flow.storage), "data/")
    assert contents(site.folder) == was and flow.finished() == []
    assert not list(flow.storage.rglob(".*")) and flow.journal()["fault"] == "system"
    assert_told(flow.archive(site), "no room")
    others.unlink()
    code, said, err = flow.archive(site)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), was)


def test_a_storage_that_is_full_when_the_bag_is_finished_has_no_finished_bag(
    flow: Flow, site: FinishedSite, small_disk: Path
) -> None:
    was = contents(site.folder)
    assert flow.archive(site, "--only", "verify")[0] == 0
    free = shutil.disk_usage(small_disk).free
    others = filled(small_disk, free - 8192)
    assert_told(flow.archive(site, "--only", "register"), "No space left on device")
    assert flow.finished() == [] and contents(site.folder) == was
    others.unlink()
    code, said, err = flow.archive(site, "--only", "register")
    assert code == 0, err
    flow.assert_archived(identifier_in(said), was)


def test_what_must_stay_free_is_counted_on_a_real_disk(flow: Flow, site: FinishedSite) -> None:
    assert_told(flow.archive(site, min_free_percent=60.0), "has 0.00839 GB free of 0.00839 GB", "wants 60 %")
    assert not list(flow.storage.iterdir())
    code, said, err = flow.archive(site, min_free_percent=50.0)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), contents(site.folder))


def test_a_full_staging_area_is_told_and_the_next_run_finishes(
    flow: Flow, site: FinishedSite, small_disk: Path
) -> None:
    was = contents(site.folder)
    staging = {"staging": str(small_disk / "staging"), "storage": str(flow.place)}
    storage = flow.place / "elsewhere"
    storage.mkdir()
    staging["storage"] = str(storage)
    others = filled(small_disk, 6 * MEGABYTE)
    assert_told(flow.archive(site, **staging), "No space left on device", str(small_disk / "staging"))
    assert contents(site.folder) == was and not list(storage.iterdir())
    others.unlink()
    code, said, err = flow.archive(site, **staging)
    assert code == 0, err
    assert (storage / identifier_in(said) / "tagmanifest-sha256.txt").exists()


def test_a_full_disk_of_the_journal_is_told_and_the_next_run_finishes(
    flow: Flow, site: FinishedSite, small_disk: Path
) -> None:
    flow.settings = {"storage": str(flow.place / "elsewhere")}
    (flow.place / "elsewhere").mkdir()
    free = shutil.disk_usage(small_disk).free
    others = filled(small_disk, free)
    work = str(small_disk / "work")
    assert_told(flow.archive(site, work=work), "cannot be written", "No space left on device", work)
    others.unlink()
    code, said, err = flow.archive(site, work=work)
    assert code == 0, err
    assert (flow.place / "elsewhere" / identifier_in(said) / "tagmanifest-sha256.txt").exists()


def test_a_read_only_storage_is_denied_and_the_next_run_finishes(
    flow: Flow, site: FinishedSite, small_disk: Path
) -> None:
    was = contents(site.folder)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert_told(flow.archive(site), "Read-only file system", str(flow.storage))
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    code, said, err = flow.archive(site)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), was)


@pytest.mark.parametrize("step", ["space", "move", "verify", "register"])
def test_a_storage_that_is_unmounted_under_way_is_not_made_anew_below_it(
    flow: Flow, site: FinishedSite, small_disk: Path, step: str
) -> None:
    was = contents(site.folder)
    assert flow.archive(site, "--only", step)[0] == 0
    subprocess.run(["umount", small_disk], check=True)
    assert_told(flow.archive(site), "is its disk or share mounted?")
    assert list(small_disk.iterdir()) == [] and contents(site.folder) == was
    # another disk, empty
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small_disk], check=True)
    flow.storage.mkdir()
    code, said, err = flow.archive(site)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), was)


def test_a_retrieval_to_a_full_disk_leaves_no_half_file_and_is_finished_by_the_next(
    flow: Flow, site: FinishedSite, small_disk: Path
) -> None:
    flow.settings = {"storage": str(flow.place / "elsewhere")}
    (flow.place / "elsewhere").mkdir()
    _, said, _ = flow.archive(site)
    others = filled(small_disk, 6 * MEGABYTE)
    out = small_disk / "out"
    assert_told(flow.retrieve(identifier_in(said), "--out", out), "no space is left")
    assert contents(out / "ridge").items() <= contents(site.folder).items()
    assert not list(out.glob(".*"))
    others.unlink()
    assert flow.retrieve(identifier_in(said), "--out", out)[0] == 0
    assert contents(out / "ridge") == contents(site.folder)
