"""Packing and unpacking: the same bytes every time, nothing that changed, nothing that was not packed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from archive.bags import write
from eemt.archive import blocks
from eemt.archive.areas import open_area
from eemt.archive.blocks import Block, Member, block_size, check_path, pack, plan_blocks, stream
from eemt.archive.errors import StorageError
from eemt.archive.unpacking import unpack
from eemt.errors import InputError

MTIME = 1_700_000_000
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="/\\"), min_size=1, max_size=20
)
MEMBERS = st.lists(
    st.builds(Member, NAMES, st.integers(0, 300), st.just("0" * 64)), max_size=40, unique_by=lambda member: member.path
)


def members_of(folder: Path, *names: str) -> tuple[Member, ...]:
    return tuple(write(folder / name, (folder / name).read_bytes())._replace(path=name) for name in names)


@pytest.fixture
def folder(tmp_path):
    """A site's folder with files of all sizes around those of tar's blocks and of pieces, and names of all lengths."""
    place = tmp_path / "ridge"
    rng = random.Random(1)
    for size in (0, 1, 511, 512, 513, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20 + 77):
        write(place / "sizes" / f"{size}.bin", rng.randbytes(size))
    for name in (
        "a b.csv",
        "höhe.csv",
        "山/山.csv",
        "x" * 99,
        f"{'y' * 100}/{'z' * 120}.csv",
        "ä" * 100,
        "$(x);'\".csv",
    ):
        write(place / name, name.encode())
    return place


@pytest.fixture
def all_files(folder):
    return members_of(folder, *(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))


@pytest.fixture
def area(tmp_path):
    (tmp_path / "storage").mkdir()
    return open_area(str(tmp_path / "storage"))


def bytes_of(folder: Path, block: Block) -> bytes:
    return b"".join(stream(folder, "ridge", block, MTIME))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(MEMBERS, st.integers(1, 400))
def test_every_file_is_in_one_block_and_they_are_sorted_by_path(members, target):
    planned = plan_blocks(members, target)
    assert [member for block in planned for member in block.members] == sorted(members, key=lambda m: m.path.encode())
    assert [block.name for block in planned] == [f"data/{n:04d}.tar" for n in range(1, len(planned) + 1)]


@given(MEMBERS, st.integers(1, 400))
def test_blocks_keep_to_the_target_and_larger_files_are_alone(members, target):
    for block in plan_blocks(members, target):
        if sum(member.size for member in block.members) > target:
            assert len(block.members) == 1
    for one, other in zip(plan_blocks(members, target), plan_blocks(members, target)[1:], strict=False):
        assert sum(member.size for member in one.members) + other.members[0].size > target


@given(MEMBERS, st.integers(1, 400), st.randoms())
def test_blocks_do_not_depend_on_the_order_of_the_files(members, target, randomness):
    mixed = [*members]
    randomness.shuffle(mixed)
    assert plan_blocks(mixed, target, "zstd") == plan_blocks(members, target, "zstd")


@given(st.lists(NAMES, min_size=1, max_size=5).map("/".join))
def test_a_path_that_is_let_in_stays_in_its_folder(path):
    with contextlib.suppress(ValueError):
        check_path(path)
        assert Path("/here", path).resolve().is_relative_to("/here") and os.path.normpath(path) == path


@pytest.mark.parametrize(
    "path", ["", "/a", "a/../b", "..", "a//b", "./a", "a/", "a\nb", "a\0b", "a\\b", "\udcff", "n" * 256]
)
def test_paths_that_lead_elsewhere_or_cannot_be_kept_are_refused(path):
    with pytest.raises(ValueError, match="the name"):
        check_path(path)


def test_a_block_is_as_long_as_was_told_beforehand(folder, all_files):
    block = Block("data/0001.tar", all_files)
    assert len(bytes_of(folder, block)) == block_size("ridge", block)


def test_the_same_files_give_the_same_bytes_in_another_locale_umask_time_and_place(folder, all_files, tmp_path):
    block = Block("data/0001.tar", all_files)
    here = hashlib.sha256(bytes_of(folder, block)).hexdigest()
    other = tmp_path / "other" / "ridge"
    shutil.copytree(folder, other)
    for path in other.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (7, 7))
    program = (
        "import hashlib, os, sys\n"
        "from pathlib import Path\n"
        "from eemt.archive.blocks import Block, Member, stream\n"
        "os.umask(0o077)\n"
        f"block = Block('data/0001.tar', tuple(Member(*one) for one in {[tuple(one) for one in all_files]!a}))\n"
        f"pieces = stream(Path({str(other)!r}), 'ridge', block, {MTIME})\n"
        "print(hashlib.sha256(b''.join(pieces)).hexdigest())\n"
    )
    elsewhere = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "TZ": "Asia/Tokyo"}
    done = subprocess.run([sys.executable, "-c", program], env=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here


def test_compressed_blocks_are_the_same_bytes_again(folder, all_files, area):
    (block,) = plan_blocks(all_files, 10**9, "zstd")
    once = pack(folder, "ridge", block, MTIME, area, "zstd")
    first = b"".join(area.read(block.name))
    assert pack(folder, "ridge", block, MTIME, area, "zstd") == once
    assert b"".join(area.read(block.name)) == first
    assert hashlib.sha256(first).hexdigest() == once.sha256 and len(first) == once.size


def test_gnu_tar_and_python_unpack_a_block_bit_equal(folder, all_files, area, tmp_path):
    (block,) = plan_blocks(all_files, 10**9)
    pack(folder, "ridge", block, MTIME, area)
    path = Path(area.address) / block.name
    for name in ("tar", "python"):
        (tmp_path / name).mkdir()
    subprocess.run(["tar", "-xf", path, "-C", tmp_path / "tar"], check=True)
    with tarfile.open(path, encoding="utf-8") as tar:
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.gname, member.mode) == (0, 0, "", "", 0o644)
            assert member.mtime == MTIME and member.isreg()
        tar.extractall(tmp_path / "python", filter="data")
    assert content(tmp_path / "tar" / "ridge") == content(tmp_path / "python" / "ridge") == content(folder)


def test_zstd_and_tar_unpack_a_compressed_block(folder, all_files, area, tmp_path):
    (block,) = plan_blocks(all_files, 10**9, "zstd")
    pack(folder, "ridge", block, MTIME, area, "zstd")
    (tmp_path / "out").mkdir()
    shell = f"zstd -dc '{area.address}/{block.name}' | tar -xf - -C '{tmp_path / 'out'}'"
    subprocess.run(["bash", "-o", "pipefail", "-c", shell], check=True)
    assert content(tmp_path / "out" / "ridge") == content(folder)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_what_was_packed_is_unpacked_bit_equal_however_the_pieces_come(folder, all_files, area, tmp_path, compression):
    (block,) = plan_blocks(all_files, 10**9, compression)
    packed = pack(folder, "ridge", block, MTIME, area, compression)
    stored = b"".join(area.read(block.name))
    assert (len(stored), hashlib.sha256(stored).hexdigest()) == packed[1:]
    for step in (len(stored), 70_001, 509):
        out = tmp_path / f"out-{step}"
        pieces = (stored[at : at + step] for at in range(0, len(stored), step))
        written = unpack(pieces, block, "ridge", out)
        assert content(out / "ridge") == content(folder)
        assert written == [out / "ridge" / member.path for member in block.members]
        assert {path.stat().st_mtime for path in written} == {MTIME}


def test_only_wanted_files_are_written_and_the_rest_is_read_on(folder, all_files, tmp_path):
    block = Block("data/0001.tar", all_files)
    pieces = iter([bytes_of(folder, block)])
    (written,) = unpack(pieces, block, "ridge", tmp_path / "out", lambda path: path == "höhe.csv")
    assert list(content(tmp_path / "out")) == ["ridge/höhe.csv"] and written.read_bytes() == "höhe.csv".encode()
    assert next(pieces, None) is None


def test_ten_thousand_small_files_come_back(tmp_path, area):
    folder = tmp_path / "ridge"
    members = []
    for n in range(10_000):
        name = f"{n % 100:02d}/{n}.csv"
        members.append(write(folder / name, b"%d\n" % n)._replace(path=name))
    planned = plan_blocks(members, 20_000)
    assert len(planned) == 3
    for block in planned:
        pack(folder, "ridge", block, MTIME, area)
        unpack(area.read(block.name), block, "ridge", tmp_path / "out")
    assert content(tmp_path / "out" / "ridge") == content(folder)


def test_memory_stays_flat_for_large_files(tmp_path, area):
    path = tmp_path / "ridge" / "large.tif"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    total = hashlib.sha256(bytes(200 * 2**20)).hexdigest()
    for compression in ("none", "zstd"):
        (block,) = plan_blocks([Member("large.tif", 200 * 2**20, total)], 10**6, compression)
        tracemalloc.start()
        pack(path.parent, "ridge", block, MTIME, area, compression)
        packing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        unpack(area.read(block.name), block, "ridge", tmp_path / "out")
        unpacking = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert packing < 40 * 2**20 and unpacking < 20 * 2**20


def test_files_over_eight_gigabytes_have_headers_that_tar_reads():
    block = Block("data/0001.tar", (Member("maps/large.tif", 9 * 10**9, "0" * 64),))
    pieces = blocks._parts(Path("/nowhere"), "ridge", block, MTIME)
    header = next(pieces)
    pieces.close()
    with tarfile.open(fileobj=io.BytesIO(header + bytes(2**16)), mode="r:") as tar:
        first = tar.next()
    assert (first.name, first.size) == ("ridge/maps/large.tif", 9 * 10**9)
    assert block_size("ridge", block) == 512 + 9 * 10**9 + (-9 * 10**9) % 512 + 1024
    listing = subprocess.run(["tar", "-tvf", "-"], input=header, capture_output=True, check=False).stdout.decode()
    assert "9000000000" in listing and listing.rstrip().endswith("ridge/maps/large.tif")


def test_a_file_that_changed_is_found_and_named_and_nothing_stays(folder, all_files, area):
    (block,) = plan_blocks(all_files, 10**9)
    changed = folder / "sizes" / f"{3 * 2**20 + 77}.bin"
    content_ = bytearray(changed.read_bytes())
    for fault, pattern in (
        (lambda: changed.write_bytes(content_[:-1] + b"\0\0"), "has changed: it has"),
        (lambda: changed.write_bytes(bytes([content_[0] ^ 1]) + content_[1:]), "has changed: its SHA-256 is"),
        (changed.unlink, "is gone"),
        (changed.mkdir, "is gone|has changed"),
    ):
        fault()
        with pytest.raises(InputError, match=f"{changed.name} ({pattern})"):
            pack(folder, "ridge", block, MTIME, area)
        assert area.names() == []


@pytest.mark.parametrize("fault", ["changed", "shorter", "longer"])
def test_a_file_that_changes_while_it_is_packed_is_found(folder, area, fault):
    path = write(folder / "maps.tif", bytes(20 * 2**20)) and folder / "maps.tif"
    block = Block("data/0001.tar", members_of(folder, "maps.tif"))
    pieces = stream(folder, "ridge", block, MTIME)
    next(pieces)
    with path.open("r+b") as file:
        if fault == "shorter":
            file.truncate(10 * 2**20)
        else:
            file.seek(0 if fault == "longer" else 15 * 2**20, os.SEEK_END if fault == "longer" else os.SEEK_SET)
            file.write(b"x")
    words = {"changed": "has changed: its SHA-256", "shorter": "was cut short", "longer": "has grown"}
    with pytest.raises(InputError, match=f"maps.tif {words[fault]}"):
        area.put(block.name, pieces, block_size("ridge", block))
    assert area.names() == []


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder):
    (member,) = members_of(folder, "a b.csv")
    (folder / "a b.csv").unlink()
    os.mkfifo(folder / "a b.csv")
    with pytest.raises(InputError, match=r"a b.csv has changed"):
        bytes_of(folder, Block("data/0001.tar", (member,)))


def test_a_full_folder_for_temporary_files_is_a_fault_of_the_system(folder, all_files, area):
    (block,) = plan_blocks(all_files, 10**9, "zstd")
    with pytest.raises(StorageError, match=r"cannot be written \(No such file"):
        pack(folder, "ridge", block, MTIME, area, "zstd", folder / "missing")


# what may stand in a block that somebody tampered with


def tampered(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for about, data in entries:
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return file.getvalue()


def entry(name: str, sort: bytes = tarfile.REGTYPE, link: str = "", mtime: int = MTIME) -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname, about.mtime, about.mode = sort, link, mtime, 0o644
    return about


@pytest.mark.parametrize(
    ("about", "data"),
    [
        (entry("/tmp/evil.csv"), b"evil"),
        (entry("../evil.csv"), b"evil"),
        (entry("ridge/../../evil.csv"), b"evil"),
        (entry("ridge/other.csv"), b"evil"),
        (entry("ridge/a.csv", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (entry("ridge/a.csv", tarfile.LNKTYPE, "../../etc/passwd"), b""),
        (entry("ridge/a.csv", tarfile.CHRTYPE), b""),
        (entry("ridge/a.csv", tarfile.FIFOTYPE), b""),
        (entry("ridge/a.csv", tarfile.DIRTYPE), b""),
        (entry("ridge/a.csv", tarfile.GNUTYPE_LONGNAME), b"../evil.csv\0"),
        (entry("ridge/a.csv", tarfile.XHDTYPE), b"19 path=../evil.cs\n"),
        (entry("ridge/a.csv"), b"longer than it should be"),
        (entry("ridge/" + "l" * 150), b"good"),
        (entry("ridge/a.csv", mtime=2**60), b"good"),
        (entry("ridge/a.csv", mtime=-1), b"good"),
    ],
)
def test_nothing_but_the_expected_files_comes_out_of_a_block(tmp_path, about, data):
    block = Block("data/0001.tar", (Member("a.csv", 4, hashlib.sha256(b"good").hexdigest()),))
    with pytest.raises(
        StorageError, match=r"s3://b/x: data/0001.tar is corrupt: it has .* instead of the file ridge/a"
    ):
        unpack([tampered((about, data))], block, "ridge", tmp_path / "in" / "out", where="s3://b/x")
    assert content(tmp_path) == {}


@given(st.binary(max_size=3000), st.sampled_from([".tar", ".tar.zst"]), st.booleans())
def test_rubbish_is_corrupt_and_nothing_else(rubbish, ending, whole_header):
    block = Block(f"data/0001{ending}", (Member("a.csv", 4, hashlib.sha256(b"good").hexdigest()),))
    before = tampered((entry("ridge/a.csv"), b"good"))[:512] if whole_header else b""
    with tempfile.TemporaryDirectory() as place:
        with pytest.raises(StorageError, match="is corrupt"):
            unpack([before + rubbish], block, "ridge", Path(place))
        assert content(Path(place)) == {}


def test_links_and_names_that_a_manifest_asks_for_are_refused(tmp_path):
    for name in ("../evil.csv", "/tmp/evil.csv", "a/../../evil.csv"):
        block = Block("data/0001.tar", (Member(name, 4, hashlib.sha256(b"evil").hexdigest()),))
        with pytest.raises(StorageError, match="is no path within a folder"):
            unpack([tampered((entry(f"ridge/{name}"), b"evil"))], block, "ridge", tmp_path / "out")
    assert content(tmp_path) == {}


def test_a_link_in_the_folder_that_leads_out_is_not_followed(tmp_path):
    (tmp_path / "out" / "ridge").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "out" / "ridge" / "maps").symlink_to(tmp_path / "outside")
    block = Block("data/0001.tar", (Member("maps/a.csv", 4, hashlib.sha256(b"good").hexdigest()),))
    with pytest.raises(InputError, match="is a link that leads out of"):
        unpack([tampered((entry("ridge/maps/a.csv"), b"good"))], block, "ridge", tmp_path / "out")
    assert content(tmp_path / "outside") == {}
    # a link in the file's own place is replaced, not written through
    (tmp_path / "out" / "ridge" / "a.csv").symlink_to(tmp_path / "outside" / "a.csv")
    block = Block("data/0001.tar", (Member("a.csv", 4, hashlib.sha256(b"good").hexdigest()),))
    unpack([tampered((entry("ridge/a.csv"), b"good"))[: 4 * 512]], block, "ridge", tmp_path / "out")
    assert content(tmp_path / "outside") == {} and not (tmp_path / "out" / "ridge" / "a.csv").is_symlink()


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_any_flipped_bit_is_found_and_no_wrong_file_is_left(folder, area, tmp_path, compression):
    names = ("a b.csv", "sizes/513.bin", f"{'y' * 100}/{'z' * 120}.csv")
    (block,) = plan_blocks(members_of(folder, *names), 10**9, compression)
    pack(folder, "ridge", block, MTIME, area, compression)
    stored = b"".join(area.read(block.name))
    out = tmp_path / "out"
    missed = []
    for at in range(0, len(stored), 29 if compression == "none" else 3):
        wrong = bytearray(stored)
        wrong[at] ^= 1 << (at % 8)
        try:
            unpack([bytes(wrong)], block, "ridge", out)
        except StorageError as error:
            if error.kind != "corrupt" or "data/0001.tar" not in str(error):
                missed.append(str(error))
        else:  # a bit of the compressed form that says nothing; the checksum of the whole block finds it
            if compression == "none" or content(out / "ridge").keys() != {*names}:
                missed.append(f"byte {at}")
        for path, found in content(out).items():
            assert found == (folder / path.removeprefix("ridge/")).read_bytes()
        shutil.rmtree(out, ignore_errors=True)
    assert missed == []


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_block_that_is_cut_off_or_longer_is_corrupt(folder, all_files, area, tmp_path, compression):
    (block,) = plan_blocks(all_files, 10**9, compression)
    pack(folder, "ridge", block, MTIME, area, compression)
    stored = b"".join(area.read(block.name))
    frame = zstandard.ZstdCompressor().compress(b"more")
    for wrong in (stored[: len(stored) // 2], stored[:-2000], b"", stored + b"more", stored + frame):
        with pytest.raises(StorageError, match=r"data/0001.tar.* is corrupt"):
            unpack([wrong], block, "ridge", tmp_path / "out")


def test_a_bomb_is_not_unpacked(tmp_path):
    bomb = zstandard.ZstdCompressor().compress(bytes(2**30))
    block = Block("data/0001.tar.zst", (Member("a.csv", 4, "0" * 64),))
    tracemalloc.start()
    with pytest.raises(StorageError, match="is corrupt"):
        unpack([bomb], block, "ridge", tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


def test_a_folder_in_the_place_of_a_file_is_named(folder, tmp_path):
    block = Block("data/0001.tar", members_of(folder, "a b.csv"))
    (tmp_path / "out" / "ridge" / "a b.csv" / "inner").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a b.csv cannot be written, since a file or folder is in its place"):
        unpack([bytes_of(folder, block)], block, "ridge", tmp_path / "out")
