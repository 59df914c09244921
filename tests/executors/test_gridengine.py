"""The workflow on a real Grid Engine, through the scripts of profiles/sge.

The cluster is tests/beds/gridengine.sh: one node of four slots. It is brought up for this module where it is
not up yet, and taken down again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from eemt.stages.profile import FILE
from executors.runs import Run
from sites import ROOT

pytestmark = pytest.mark.workflow

BED = ROOT / "tests/beds/gridengine.sh"
MAP = "maps/eemt_topo_mean.tif"


@pytest.fixture(scope="module")
def prefix(require: Callable[..., None]) -> Iterator[list[str]]:
    was_up = subprocess.run([BED, "status"], check=False, capture_output=True).returncode == 0
    require("gridengine")
    words = subprocess.run([BED, "prefix"], check=True, capture_output=True, text=True).stdout.split()
    # the last word is the folder to be in, which each call has for itself
    yield [word for word in words if not word.startswith("--wdns")]
    if not was_up:
        subprocess.run([BED, "down"], check=True, capture_output=True)


def test_cancelled_job_is_repeated_and_maps_equal_those_of_one_machine(
    prefix: list[str], reference: Run, tmp_path: Path
):
    folder = tmp_path / "run"
    shutil.copytree(reference.folder, folder)
    for name in ("sun/tiles", "eemt", "maps"):
        shutil.rmtree(folder / "results/clip" / name)
    run = Run(folder, prefix=[*prefix, f"--wdns={folder}"])
    before = run.written()
    words = [sys.executable, "-m", "eemt.cli", "profile", "install", "sge", "--account", "test", "--partition", "all.q"]
    subprocess.run([*words, "--folder", str(tmp_path)], check=True, capture_output=True)
    # one slot a job, so that four run beside each other
    options = ["--seconds-between-status-checks", "4", "--set-threads", "sun=1"]
    driver = run.start(f"results/clip/{MAP}", *options, profile=tmp_path / "sge")

    def qstat() -> str:
        return subprocess.run([*prefix, "qstat"], capture_output=True, text=True, check=True).stdout

    try:
        deadline = time.monotonic() + 180
        while not (found := re.search(r"^ *(\d+) \S+ eemt\.sun\S* +\S+ +r ", qstat(), re.M)):
            assert time.monotonic() < deadline, "no job of the sun runs"
            time.sleep(0.2)
        subprocess.run([*prefix, "qdel", found[1]], check=True, capture_output=True)
        assert driver.wait(timeout=420) == 0, (folder / "driver.log").read_text()
    finally:
        driver.kill()
        driver.wait()
        subprocess.run([*prefix, "qdel", "-u", "root"], check=False, capture_output=True)
    log = (folder / "driver.log").read_text()
    assert f"external_jobid: {found[1]}" in log
    assert log.count("Submitted job") == 4 + 1 + 4 + 1
    after = run.written()
    assert {name: after[name] for name in before} == before
    with rasterio.open(run.result(MAP)) as ours, rasterio.open(reference.result(MAP)) as theirs:
        np.testing.assert_array_equal(ours.read().view(np.uint32), theirs.read().view(np.uint32))
    assert yaml.safe_load((tmp_path / "sge" / FILE).read_text())["default-resources"]["account"] == "'test'"
