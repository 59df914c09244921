"""Speed of packing beside ``tar | tee >(sha256sum) > file`` on the same disk, in the same run, taking turns.

One large file, and 10,000 small ones; random bytes, which no disk or file system compresses. Packing reads each file
and compares its SHA-256 with the known one, writes the block to a folder area, computes the block's SHA-256 on the
way, and returns when all of it is on the disk. The shell's pipe reads, writes and computes one SHA-256, and leaves it
to the kernel when to write; so it is timed twice, without and with `sync` of the file it wrote. Files are out of the
page cache before each turn, as far as the kernel lets go of them. Python's start is not counted, nor is planning.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import cores_used, processor

from eemt.archive.areas import open_area
from eemt.archive.blocks import Member, pack, plan_blocks
from eemt.verification import digests

SMALL = 10_000  # files
SMALL_SIZE = 20_000  # bytes of each
TARGET = 200_000_000  # bytes of a block
GOAL = 0.8  # of the pipe's throughput
SITE = "site"
PIECE = 2**22


@dataclass(frozen=True)
class Cost:
    """What a run took."""

    seconds: float
    megabytes: float = 0.0  # peak memory


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5, help="size of the large file")
    parser.add_argument("--repeat", type=int, default=3, help="turns of each, of which the median counts")
    parser.add_argument("--folder", type=Path, default=os.environ.get("TMPDIR"), help="on the disk to be measured")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pack:
        packed(args.pack)
        return
    print(f"{processor()}, {cores_used(2)}; Python {platform.python_version()}\n")
    print("| what | tar, MB/s | tar and sync, MB/s | packing, MB/s | of tar | of tar and sync | memory, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="eemt_bench_", dir=args.folder) as name:
        for what, sizes in (
            (f"one file of {args.gigabytes:g} GB", [int(args.gigabytes * 1e9)]),
            (f"{SMALL:,} files of {SMALL_SIZE / 1000:g} kB", [SMALL_SIZE] * SMALL),
        ):
            compare(what, Path(name), sizes, args.repeat)


def compare(what: str, place: Path, sizes: list[int], repeat: int) -> None:
    """Take turns, and print a row."""
    folder = place / str(len(sizes))
    prepare(folder / SITE, sizes)
    total = sum(sizes) / 1e6
    turns = [(piped(folder, False), piped(folder, True), ours(folder)) for _ in range(repeat)]
    pipe, synced, mine = (statistics.median(turn[n].seconds for turn in turns) for n in range(3))
    memory = max(turn[2].megabytes for turn in turns)
    rates = f"{total / pipe:.0f} | {total / synced:.0f} | {total / mine:.0f}"
    print(f"| {what} | {rates} | {pipe / mine:.2f} | {synced / mine:.2f} | {memory:.0f} |", flush=True)
    if pipe / mine < GOAL:
        print(f"\n{what}: below {GOAL} of the pipe\n", flush=True)
    subprocess.run(["rm", "-rf", folder], check=True)


def prepare(folder: Path, sizes: list[int]) -> None:
    """Write the files, and what their checksums are."""
    rng = random.Random(1)
    paths = [folder / f"{n // 100:03d}" / f"map_{n:05d}.bin" for n in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for begin in range(0, size, PIECE):
                file.write(rng.randbytes(min(PIECE, size - begin)))
    found = [(path.relative_to(folder).as_posix(), known) for path, known in zip(paths, digests(paths, 2), strict=True)]
    members = [(name, known.size, known.sha256) for name, known in found]
    (folder.parent / "members.json").write_text(json.dumps(members), encoding="utf-8")
    os.sync()


def forget(folder: Path) -> None:
    """Take files out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def piped(folder: Path, sync: bool) -> Cost:
    """Time the shell's pipe. It is worded so that the shell waits for sha256sum too."""
    forget(folder / SITE)
    out = shlex.quote(str(folder / "piped.tar"))
    tar = f"tar -C {shlex.quote(str(folder))} -cf - {SITE}"
    command = f"{{ {tar} | tee /dev/fd/3 > {out}; }} 3>&1 | sha256sum" + (f" && sync {out}" if sync else "")
    begin = time.perf_counter()
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - begin
    (folder / "piped.tar").unlink()
    os.sync()
    return Cost(taken)


def ours(folder: Path) -> Cost:
    """Time packing in a process of its own, for its memory."""
    forget(folder / SITE)
    command = [sys.executable, "-m", "benchmarks.archive", "--pack", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"packing failed with {process.returncode}")
    subprocess.run(["rm", "-rf", folder / "area"], check=True)
    os.sync()
    return Cost(float(said), usage.ru_maxrss / 1024)


def packed(folder: Path) -> None:
    """Pack all blocks into a folder, and print the seconds."""
    members = [Member(*one) for one in json.loads((folder / "members.json").read_text(encoding="utf-8"))]
    blocks = plan_blocks(members, TARGET)
    (folder / "area").mkdir()
    area = open_area(str(folder / "area"))
    begin = time.perf_counter()
    for block in blocks:
        pack(folder / SITE, SITE, block, 0, area)
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
