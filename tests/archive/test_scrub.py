"""Rot on a storage is found and named, and nothing there is changed by looking for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archive.bags import FinishedSite, Stored, store
from archive.test_catalogue import catalogue, place
from eemt.archive.areas import Area
from eemt.archive.bag import MANIFEST, TAGMANIFEST
from eemt.archive.blocks import Packed
from eemt.archive.catalogue import Catalogue
from eemt.archive.entries import BlockEntry
from eemt.archive.errors import StorageError
from eemt.archive.scrub import Found, sample, scrub
from eemt.verification import digest

__all__ = ["catalogue", "place"]  # fixtures

HEADER = 512  # bytes before a file in a tar archive


@pytest.fixture
def kept(stored: Stored, catalogue: Catalogue) -> Stored:
    """The finished site on a storage, as the catalogue knows it."""
    archived(stored, catalogue)
    return stored


@pytest.fixture
def plain(finished_site: FinishedSite, catalogue: Catalogue, tmp_path: Path) -> Stored:
    """The same in blocks that are not compressed."""
    made = store(finished_site, tmp_path / "storage")
    archived(made, catalogue)
    return made


def archived(stored: Stored, catalogue: Catalogue) -> None:
    catalogue.begin(stored.bag.record)
    for packed in stored.bag.packed:
        catalogue.block_verified(stored.identifier, packed)
    catalogue.archived(stored.identifier, stored.area.address, stored.bag.tagmanifest)


def look(catalogue: Catalogue, stored: Stored, percent: float = 100, area: Area | None = None) -> Found:
    entry = catalogue.get(stored.identifier)
    chosen = sample({entry.identifier: catalogue.blocks(entry.identifier)}, percent)[entry.identifier]
    return scrub(catalogue, lambda: area or stored.area, entry, chosen)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0b100
    path.write_bytes(content)


def everything(folder: Path) -> dict[Path, tuple[str, int]]:
    return {path: (digest(path).sha256, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_that_is_as_it_was_written_has_no_fault(catalogue, kept):
    before = everything(kept.folder)
    at_first = catalogue.blocks(kept.identifier)
    found = look(catalogue, kept)
    assert found.faults == ()
    assert (found.read, found.blocks) == (len(kept.bag.packed), len(kept.bag.packed))
    assert found.bytes == sum(packed.size for packed in kept.bag.packed)
    assert everything(kept.folder) == before
    later = catalogue.blocks(kept.identifier)
    assert all(now.verified_at > then.verified_at for now, then in zip(later, at_first, strict=True))
    event = catalogue.history(kept.identifier)[-1]
    assert (event.step, event.outcome) == ("verify", "right")
    assert f"{found.read} of {found.blocks} blocks and {len(kept.bag.tag_files)} tag files read" in event.message


def member_at(stored: Stored, block: int, member: int) -> tuple[Path, str, int]:
    """Return a block, a file in it and the place of the file's first byte, where it is not compressed."""
    chosen = stored.bag.blocks[block]
    place = 0
    for other in chosen.members[:member]:
        place += HEADER + other.size + -other.size % HEADER
    return stored.folder / chosen.name, chosen.members[member].path, place + HEADER


def test_a_flipped_bit_is_named_by_dataset_block_and_file(catalogue, plain):
    number = next(n for n, block in enumerate(plain.bag.blocks) if len(block.members) > 2)
    path, file, place = member_at(plain, number, 1)
    flip(path, place + 5)
    before = everything(plain.folder)
    found = look(catalogue, plain)
    block = f"data/{path.name}"
    assert {(fault.dataset, fault.block) for fault in found.faults} == {(plain.identifier, block)}
    assert [fault.file for fault in found.faults] == [file]
    assert str(found.faults[0]).startswith(f"{plain.identifier}: {block}: {file}: its SHA-256 is ")
    assert everything(plain.folder) == before
    # the catalogue knows which block it is, that the others are right, and says so of the dataset
    faulty = {one.name for one in catalogue.blocks(plain.identifier) if one.fault}
    assert faulty == {block}
    entry = catalogue.get(plain.identifier)
    assert (entry.state, entry.fault) == ("archived", "system")
    assert block in entry.message and file in entry.message
    event = catalogue.history(plain.identifier)[-1]
    assert (event.step, event.outcome) == ("verify", "faults")


def test_a_flipped_bit_in_a_compressed_block_is_named_too(catalogue, finished_site, tmp_path):
    kept = store(finished_site, tmp_path / "storage", compression="zstd")
    archived(kept, catalogue)
    number = max(range(len(kept.bag.packed)), key=lambda n: kept.bag.packed[n].size)
    flip(kept.folder / kept.bag.packed[number].name, kept.bag.packed[number].size // 2)
    found = look(catalogue, kept)
    assert {fault.block for fault in found.faults} == {kept.bag.packed[number].name}
    paths = [member.path for member in kept.bag.blocks[number].members]
    assert len(found.faults) == 1
    assert found.faults[0].file in paths and "cannot be read to its end" in found.faults[0].what


def test_a_choice_made_before_another_looked_is_still_read(catalogue, plain):
    before = catalogue.blocks(plain.identifier)
    look(catalogue, plain)
    found = scrub(catalogue, lambda: plain.area, catalogue.get(plain.identifier), before)
    assert found.read == len(before) and found.bytes > 0


def test_damage_between_files_is_found_without_blaming_a_file(catalogue, plain):
    path, _, place = member_at(plain, 0, 0)
    flip(path, place - HEADER + 260)  # in the header
    faults = look(catalogue, plain).faults
    assert [(fault.block, fault.file) for fault in faults] == [("data/0001.tar", None)]
    assert faults[0].what.endswith("its files are as they were, but not what stands between them")


def test_damage_of_a_block_whose_list_of_files_is_damaged_too_is_found(catalogue, plain):
    flip(plain.folder / plain.bag.packed[0].name, 700)
    flip(plain.folder / "metadata" / "blocks.csv", 30)
    faults = look(catalogue, plain).faults
    assert [(fault.block, fault.file) for fault in faults] == [(None, "metadata/blocks.csv"), ("data/0001.tar", None)]
    assert faults[1].what.startswith("its SHA-256 is ") and "between" not in faults[1].what


def test_a_block_cut_short_names_the_file_at_the_cut_and_counts_those_behind(catalogue, plain):
    number = next(n for n, block in enumerate(plain.bag.blocks) if len(block.members) > 2)
    path, file, place = member_at(plain, number, 0)
    path.write_bytes(path.read_bytes()[: place + 3])
    faults = look(catalogue, plain).faults
    rest = len(plain.bag.blocks[number].members) - 1
    assert (faults[0].file, faults[0].what) == (file, f"cannot be read to its end, nor the {rest} files after it")


def test_a_missing_block_is_found_even_where_it_is_not_in_the_sample(catalogue, kept):
    blocks = catalogue.blocks(kept.identifier)
    assert len(blocks) > 1
    first = sample({"x": blocks}, 1)["x"]
    gone = next(block for block in blocks if block not in first)
    (kept.folder / gone.name).unlink()
    found = look(catalogue, kept, percent=1)
    assert [tuple(fault) for fault in found.faults] == [(kept.identifier, gone.name, None, "is missing")]
    assert found.read == 1


@pytest.mark.parametrize("name", ["README.txt", "metadata/record.json", MANIFEST, "metadata/files-sha256.txt"])
def test_a_changed_tag_file_is_found_at_every_look(catalogue, kept, name):
    flip(kept.folder / name, 3)
    found = look(catalogue, kept, percent=1)
    assert [(fault.block, fault.file) for fault in found.faults] == [(None, name)]
    assert f"as {TAGMANIFEST} says" in found.faults[0].what
    assert catalogue.get(kept.identifier).message.startswith(f"{name}: its SHA-256")


def test_a_missing_and_an_unknown_file_are_named(catalogue, kept):
    (kept.folder / "bagit.txt").unlink()
    (kept.folder / "data" / "0099.tar").write_bytes(b"?")
    assert [tuple(fault)[1:] for fault in look(catalogue, kept).faults] == [
        (None, "bagit.txt", "is missing"),
        (None, "data/0099.tar", "belongs to no manifest"),
    ]


def test_a_bag_whose_checksums_were_all_made_again_is_found_out_by_the_catalogue(catalogue, kept):
    """Whoever changes a block and the manifests with it does not get past the checksum that is remembered."""
    block = kept.folder / kept.bag.packed[0].name
    flip(block, 700)
    was, now = kept.bag.packed[0].sha256, digest(block).sha256
    manifest, seal = kept.folder / MANIFEST, kept.folder / TAGMANIFEST
    old = digest(manifest).sha256
    manifest.write_text(manifest.read_text().replace(was, now))
    seal.write_text(seal.read_text().replace(old, digest(manifest).sha256))
    found = look(catalogue, kept, percent=1)
    files = {(fault.block, fault.file) for fault in found.faults}
    assert (None, TAGMANIFEST) in files
    assert (kept.bag.packed[0].name, MANIFEST) in files
    assert any("as the catalogue remembers" in fault.what for fault in found.faults)


def test_a_bag_that_was_exchanged_for_nonsense_is_found_out(catalogue, kept):
    """Its own checksums say that it is right; the catalogue does not trust them."""
    flip(kept.folder / kept.bag.packed[0].name, 700)
    listed, seal = kept.folder / "metadata" / "blocks.csv", kept.folder / TAGMANIFEST
    old = digest(listed).sha256
    listed.write_text("path,size\nx,y\n")
    seal.write_text(seal.read_text().replace(old, digest(listed).sha256))
    files = {(fault.block, fault.file) for fault in look(catalogue, kept).faults}
    assert files == {(None, TAGMANIFEST), (kept.bag.packed[0].name, None)}


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe no sums"])
def test_a_tag_manifest_that_is_gone_or_empty_is_one_fault_of_many(catalogue, kept, content):
    (kept.folder / TAGMANIFEST).unlink()
    if content is not None:
        (kept.folder / TAGMANIFEST).write_bytes(content)
    faults = look(catalogue, kept).faults
    assert TAGMANIFEST in {fault.file for fault in faults}
    assert {fault.block for fault in faults} == {None}  # the blocks are right, by the catalogue


def test_a_dataset_that_is_gone_is_one_fault(catalogue, kept):
    import shutil

    shutil.rmtree(kept.folder)
    faults = look(catalogue, kept).faults
    assert [str(fault) for fault in faults] == [f"{kept.identifier}: is not in {kept.area.address}"]


def test_a_storage_that_is_gone_is_said_and_blames_no_block(catalogue, kept, tmp_path):
    (tmp_path / "storage").rename(tmp_path / "unplugged")
    found = look(catalogue, kept)
    assert len(found.faults) == 1
    assert found.faults[0].block is None and "cannot be looked at" in found.faults[0].what
    assert not any(block.fault for block in catalogue.blocks(kept.identifier))
    event = catalogue.history(kept.identifier)[-1]
    assert (event.step, event.outcome) == ("verify", "not done")


class BadSector:
    """An area one of whose files cannot be read to its end, as of a disk that begins to fail."""

    def __init__(self, area: Area, name: str) -> None:
        self._area, self._name = area, name
        self.address = area.address

    def read(self, name: str) -> Iterator[bytes]:
        for piece in self._area.read(name):
            yield piece[:100]
            if name == self._name:
                raise StorageError("gone", f"{name}: Input/output error")
            yield piece[100:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._area, name)


def test_a_block_that_cannot_be_read_does_not_end_the_look(catalogue, kept):
    name = kept.bag.packed[0].name
    found = look(catalogue, kept, area=BadSector(kept.area, f"{kept.identifier}/{name}"))
    assert [fault.block for fault in found.faults] == [name]
    assert "cannot be read: " in found.faults[0].what and "Input/output error" in found.faults[0].what
    assert found.read == len(kept.bag.packed)


def test_a_fault_is_remembered_until_its_block_is_found_right_again(catalogue, plain):
    path = plain.folder / plain.bag.packed[0].name
    flip(path, 700)
    look(catalogue, plain)
    # looks at other blocks do not make it good
    others = [block for block in catalogue.blocks(plain.identifier) if not block.fault][:1]
    entry = catalogue.get(plain.identifier)
    assert scrub(catalogue, lambda: plain.area, entry, others).faults == ()
    assert "data/0001.tar" in catalogue.get(plain.identifier).message
    flip(path, 700)
    look(catalogue, plain)
    entry = catalogue.get(plain.identifier)
    assert (entry.fault, entry.message) == (None, None)


def entries(prefix: str, days: list[int | None]) -> list[BlockEntry]:
    """Blocks that were looked at so many days after the first of January, or never."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        BlockEntry(f"data/{prefix}{n}.tar", 1, "", None, None if day is None else start + timedelta(days=day), None)
        for n, day in enumerate(days)
    ]


def test_a_sample_is_a_part_of_all_blocks_and_one_of_each_dataset_at_least():
    blocks = {"a": entries("a", [*range(100)]), "b": entries("b", [200]), "c": entries("c", [])}
    chosen = sample(blocks, 5)
    assert [len(some) for some in chosen.values()] == [5, 1, 0]
    assert sum(len(some) for some in sample(blocks, 100).values()) == 101
    assert [len(some) for some in sample(blocks, 0.001).values()] == [1, 1, 0]


def test_those_not_looked_at_for_longest_come_first():
    blocks = {"a": entries("a", [5, 1, None, 3]), "b": entries("b", [4, 2])}
    assert [block.name for block in sample(blocks, 1)["a"]] == ["data/a2.tar"]
    chosen = {block.name for some in sample(blocks, 50).values() for block in some}
    assert chosen == {"data/a2.tar", "data/a1.tar", "data/b1.tar"}


def test_samples_one_after_the_other_come_to_every_block(catalogue, plain):
    names = {packed.name for packed in plain.bag.packed}
    seen: set[str] = set()
    for _ in names:
        chosen = sample({"x": catalogue.blocks(plain.identifier)}, 1)["x"]
        seen |= {block.name for block in chosen}
        look(catalogue, plain, percent=1)
    assert seen == names


def test_a_block_of_other_bytes_than_before_counts_as_not_yet_verified(catalogue, plain):
    first = plain.bag.packed[0]
    catalogue.block_faulty(plain.identifier, Packed(first.name, 1, hashlib.sha256(b"other").hexdigest()), "is missing")
    block = catalogue.blocks(plain.identifier)[0]
    assert (block.verified_at, block.fault) == (None, "is missing")
