"""What several tests share: a small hilly DEM, and the command line called in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from eemt import kernel_cache
from eemt.cli import main
from eemt.grid import Grid
from eemt.raster import write_geotiff
from sites import hills

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
