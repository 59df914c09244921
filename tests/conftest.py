"""What several tests share: a small hilly DEM, and the command line called in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from eemt import kernel_cache
from eemt.cli import main
from eemt.config import DemSettings
from eemt.grid import Grid
from eemt.raster import write_geotiff
from executors.runs import Run
from sites import BOULDER, hills

CLIP = 40  # cells

kernel_cache.settle()
# the first example may have to wait for a compiler
settings.register_profile("eemt", deadline=None)
settings.load_profile("eemt")


@pytest.fixture
def hill_grid() -> Grid:
    return Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 44, 36)


@pytest.fixture
def hill_dem(tmp_path: Path, hill_grid: Grid) -> Path:
    elevation = hills(*hill_grid.shape)
    elevation[20:23, 30:33] = np.nan
    path = tmp_path / "hills.tif"
    write_geotiff(path, elevation, hill_grid, ["elevation"], "m")
    return path


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call the command line; return its exit code, output and error lines."""

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 x 40 cells of the embedded DEM in its middle, with a hole."""
    from eemt.stages.dem import projected  # loads numba, for which a place for kernels is settled above

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

    def make(name: str, config: Mapping[str, Any] | None = None, **how: Any) -> Run:
        run = Run(tmp_path_factory.mktemp(name), **how)
        if config is not None:
            run.configure(config)
        return run

    return make
