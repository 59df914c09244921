"""A dataset on the storage: read by others' programs, by a shell, and by this program, which trusts no byte of it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import threading
from pathlib import Path

import bagit
import pytest

from archive.bags import WRITTEN, make_site, store
from eemt.archive.bag import (
    BLOCKS,
    CONFIG,
    CRATE_COPY,
    INFO,
    MANIFEST,
    README,
    RECORD,
    SUMS,
    TAG_FILES,
    TAGMANIFEST,
    check_block,
    read_bag,
    write_bag,
)
from eemt.archive.blocks import plan_blocks
from eemt.archive.errors import StorageError
from eemt.archive.record import describe
from eemt.archive.unpacking import unpack
from eemt.config import Site
from eemt.errors import InputError
from eemt.inventory import CRATE

BAGGED = "2023-11-15T08:00:00+00:00"


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rewrite(stored, name: str, content: bytes) -> None:
    """Change a tag file together with its checksum, as somebody might who tampers."""
    (stored.folder / name).write_bytes(content)
    sums = stored.folder / TAGMANIFEST
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}" if line.endswith(f"  {name}") else line
        for line in sums.read_text().splitlines()
    ]
    sums.write_text("\n".join(lines) + "\n")


def test_bagit_validates_a_bag_with_its_payload(stored):
    bag = bagit.Bag(str(stored.folder))
    bag.validate()
    assert bag.version_info == (1, 0)
    assert bag.info["External-Identifier"] == stored.identifier and bag.info["Bagging-Date"] == "2023-11-15"
    assert set(bag.payload_entries()) == {one.name for one in stored.bag.packed}


def test_bagit_finds_a_flipped_bit_in_the_payload(stored):
    path = stored.folder / stored.bag.packed[0].name
    content = bytearray(path.read_bytes())
    content[700] ^= 4
    path.write_bytes(content)
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(stored.folder)).validate()


def test_a_bag_read_again_says_what_was_written(stored, finished_site):
    bag = read_bag(stored.area, stored.identifier)
    compression = bag.blocks[0].compression
    assert bag.record == describe(stored.dataset)
    assert list(bag.blocks) == plan_blocks(stored.dataset.members, 30_000, compression) and len(bag.blocks) > 1
    for packed in bag.packed:
        content = (stored.folder / packed.name).read_bytes()
        assert (packed.size, packed.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert bag.bagged == BAGGED
    assert list(bag.tag_files) == [*TAG_FILES, TAGMANIFEST]
    assert bag.tagmanifest == hashlib.sha256((stored.folder / TAGMANIFEST).read_bytes()).hexdigest()
    assert read_bag(stored.area, stored.identifier, bag.tagmanifest) == bag
    assert bag.tag_files[CRATE_COPY] == (finished_site.folder / CRATE).read_bytes()
    assert Site.model_validate_json(bag.tag_files[CONFIG]) == finished_site.settings


def test_the_same_dataset_is_the_same_bag_byte_for_byte(finished_site, tmp_path):
    first = store(finished_site, tmp_path / "first")
    for path in finished_site.folder.rglob("*"):
        os.utime(path, (WRITTEN + 7, WRITTEN + 7))
    before = os.umask(0o077)
    try:
        second = store(finished_site, tmp_path / "second")
    finally:
        os.umask(before)
    names = first.area.names()
    assert names == second.area.names()
    for name in names:
        assert b"".join(first.area.read(name)) == b"".join(second.area.read(name)), name


def test_a_person_with_a_shell_gets_all_back_by_the_readme(stored, finished_site):
    text = (stored.folder / README).read_text()
    commands = re.findall(r"^     (.+)$", text, re.MULTILINE)
    assert len(commands) == 6
    said = [shell(command, stored.folder) for command in commands]
    assert len(said[0].splitlines()) == len(TAG_FILES) + len(stored.bag.packed)
    assert all(line.endswith(": OK") for line in said[0].splitlines())
    name, block = re.search(r"such as (\S+)\n[^$]*?here (\S+):", text).groups()
    assert name.startswith("maps/eemt_") and said[1].strip().endswith(block)
    assert said[3] == f"ridge/{name}: OK\n" and said[5] == ""
    for member in stored.dataset.members:
        path = stored.folder / "ridge" / member.path
        assert path.read_bytes() == (finished_site.folder / member.path).read_bytes()


def test_checksums_of_files_pass_in_the_shell_whatever_the_names(tmp_path):
    site = make_site(tmp_path / "results" / "ridge")
    for name in ("höhen über null.csv", 'a b/c, d "e".csv', "100%25.csv", "-n.csv", "x" * 200, "*.csv"):
        path = site.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    site.describe()
    stored = store(site, tmp_path / "storage")
    shell('for block in data/*.tar; do tar -xf "$block"; done; sha256sum -c --quiet --strict ' + SUMS, stored.folder)
    assert [block.members for block in stored.bag.blocks]
    out = tmp_path / "out"
    for block in stored.bag.blocks:
        unpack(stored.area.read(f"{stored.identifier}/{block.name}"), block, "ridge", out)
    found = {path.relative_to(out / "ridge").as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {member.path for member in stored.dataset.members}


def test_tables_are_read_by_others(stored):
    with (stored.folder / BLOCKS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], int(row["size"]), row["sha256"]) for row in rows] == [*stored.dataset.members]
    assert json.loads((stored.folder / RECORD).read_text())["identifier"] == stored.identifier


def test_a_flipped_bit_in_any_tag_file_is_found_and_named(stored):
    rng = random.Random(2)
    for name in TAG_FILES:
        path = stored.folder / name
        before = path.read_bytes()
        for _ in range(5):
            wrong = bytearray(before)
            wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
            path.write_bytes(wrong)
            with pytest.raises(StorageError, match=re.escape(f"{stored.identifier}/{name} is corrupt")) as found:
                read_bag(stored.area, stored.identifier)
            assert found.value.kind == "corrupt" and stored.area.address in str(found.value)
        path.write_bytes(before)
    read_bag(stored.area, stored.identifier)


def test_a_flipped_bit_in_the_tag_manifest_is_found(stored):
    path = stored.folder / TAGMANIFEST
    before = path.read_bytes()
    for at in range(0, len(before), 13):
        wrong = bytearray(before)
        wrong[at] ^= 2
        path.write_bytes(wrong)
        with pytest.raises(StorageError, match=TAGMANIFEST) as found:
            read_bag(stored.area, stored.identifier)
        assert found.value.kind == "corrupt"
        with pytest.raises(StorageError, match=f"{TAGMANIFEST} is corrupt: it is not the one that was written"):
            read_bag(stored.area, stored.identifier, stored.bag.tagmanifest)


def test_a_flipped_bit_in_a_block_is_found_and_named(stored):
    for packed in stored.bag.packed:
        check_block(stored.area, stored.identifier, packed)
        path = stored.folder / packed.name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write_bytes(content)
        with pytest.raises(StorageError, match=f"{packed.name} is corrupt: its SHA-256 is") as found:
            check_block(stored.area, stored.identifier, packed)
        assert found.value.kind == "corrupt"
        path.write_bytes(content[:-1])
        with pytest.raises(StorageError, match=f"{packed.name} is corrupt: it has"):
            check_block(stored.area, stored.identifier, packed)
        path.unlink()
        with pytest.raises(StorageError, match=packed.name) as found:
            check_block(stored.area, stored.identifier, packed)
        assert found.value.kind == "gone"


def test_a_missing_tag_file_is_gone_and_named(stored):
    for name in TAG_FILES:
        path = stored.folder / name
        before = path.read_bytes()
        path.unlink()
        with pytest.raises(StorageError, match=re.escape(name)) as found:
            read_bag(stored.area, stored.identifier)
        assert found.value.kind == "gone"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(before)


def test_a_folder_without_tag_manifest_is_no_finished_dataset(stored):
    (stored.folder / TAGMANIFEST).unlink()
    with pytest.raises(StorageError, match="is no finished dataset") as found:
        read_bag(stored.area, stored.identifier)
    assert found.value.kind == "gone"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (RECORD, b'"identifier": "ridge-', b'"identifier": "other-'),
        (RECORD, b'"kind": "eemt"', b'"kind": "else"'),
        (BLOCKS, b"summary.csv", b"../../x.csv"),
        (BLOCKS, b"summary.csv", b"summary.txt"),
        (BLOCKS, b"path,size", b"size,path"),
        (MANIFEST, b"data/0001", b"data/0009"),
        (SUMS, b"ridge/summary.csv", b"other/summary.csv"),
        (SUMS, b"  ridge/summary", b" ridge/summary"),
        (RECORD, b"{", b"\xff"),
        (INFO, b"Bagging-Time", b"Bagging-Tide"),
    ],
)
def test_files_that_contradict_each_other_are_corrupt(stored, name, old, new):
    content = (stored.folder / name).read_bytes()
    assert old in content
    rewrite(stored, name, content.replace(old, new, 1))
    with pytest.raises(StorageError, match=re.escape(f"{name} is corrupt")) as found:
        read_bag(stored.area, stored.identifier)
    assert found.value.kind == "corrupt" and "\n" not in str(found.value)


def test_a_bag_in_the_folder_of_another_is_corrupt(stored):
    other = "ridge-000000000000"
    shutil.copytree(stored.folder, stored.folder.parent / other)
    with pytest.raises(StorageError, match=f"is corrupt: it cannot be understood .it is of {stored.identifier}"):
        read_bag(stored.area, other)


def test_a_crate_that_changed_since_packing_is_refused(finished_site, tmp_path):
    dataset = finished_site.land()
    record, blocks = describe(dataset), plan_blocks(dataset.members, 10**9)
    crate = finished_site.folder / CRATE
    crate.write_text(crate.read_text() + "\n")
    with pytest.raises(InputError, match="has changed since the dataset was packed"):
        write_bag(tmp_path / "bag", record, blocks, [], finished_site.folder, BAGGED)
    crate.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        write_bag(tmp_path / "bag", record, blocks, [], finished_site.folder, BAGGED)
    assert not (tmp_path / "bag").exists()


def test_several_threads_write_bags_and_the_process_stays_in_its_folder(finished_site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = store(finished_site, tmp_path / "storage")
    bag, made = stored.bag, {}

    def write(number: int) -> None:
        folder = tmp_path / f"bag-{number}"
        made[number] = write_bag(folder, bag.record, bag.blocks, bag.packed, finished_site.folder, BAGGED)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == dict.fromkeys(range(6), bag.tagmanifest)
    assert Path.cwd() == tmp_path


def test_a_publisher_of_several_lines_makes_no_tag_of_its_own(new_site, tmp_path):
    site = new_site("lines", {"outputs": {"publisher": "Survey\nPayload-Oxum: 0.0"}})
    stored = store(site, tmp_path / "storage")
    assert "Source-Organization: Survey Payload-Oxum: 0.0\n" in (stored.folder / INFO).read_text()
    bagit.Bag(str(stored.folder)).validate()
