"""What the tests on real systems share: what each needs, a small site, and a run of it on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eemt.config import DemSettings
from eemt.raster import write_geotiff
from eemt.stages.dem import projected
from executors.beds import PROBES, Probe, required
from executors.runs import Run, clip_config
from sites import BOULDER

CLIP = 40  # cells


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """Ask for a system: skip with what is missing, or fail where `EEMT_REQUIRE_BEDS` says that it must be there.

    ``require("slurm")``, or ``require("slurm", probe)`` with a probe of the test's own.
    """
    found: dict[tuple[str, Probe], str | None] = {}

    def ask(name: str, probe: Probe | None = None) -> None:
        probe = probe or PROBES[name]
        if (name, probe) not in found:
            found[name, probe] = probe()
        missing = found[name, probe]
        if missing is None:
            return
        if name in required():
            pytest.fail(f"{name}: {missing} (EEMT_REQUIRE_BEDS names it)", pytrace=False)
        pytest.skip(f"{name}: {missing}")

    return ask


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 x 40 cells of the embedded DEM in its middle, with a hole."""
    elevation, grid = projected(str(BOULDER), DemSettings(source=str(BOULDER), crs="EPSG:32613", resolution=30))
    rows, cols = slice(100, 100 + CLIP), slice(80, 80 + CLIP)
    part = elevation[rows, cols].copy()
    part[10:12, 22:27] = np.nan
    path = tmp_path_factory.mktemp("dem") / "clip.tif"
    write_geotiff(path, part, grid.window(rows, cols), ["elevation"], "m")
    return path


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Make a folder with a config in it, ready to run; words by name go to `Run`."""

    def make(name: str, config: Mapping[str, Any], **how: Any) -> Run:
        run = Run(tmp_path_factory.mktemp(name), **how)
        run.configure(config)
        return run

    return make


@pytest.fixture(scope="session")
def reference(fresh: Callable[..., Run], clip: Path) -> Run:
    """The clip, finished by the local executor on this machine: what every other system must arrive at."""
    run = fresh("reference", clip_config(str(clip)))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run
