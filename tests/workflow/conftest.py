"""What the tests of the workflow share: a small site and its plants, finished runs of it, and a look at plans."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from eemt.raster import read_grid
from executors.runs import Run, clip_config


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """Make rasters of vegetation around an area, in degrees and on cells of their own, and return their settings."""

    def make(bounds: tuple[float, float, float, float], crs: str, cell: float) -> dict[str, str]:
        west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
        width, height = (round((high - low) / cell) + 8 for low, high in ((west, east), (south, north)))
        place = from_origin(west - 4 * cell, north + 4 * cell, cell, cell)
        col, row = np.meshgrid(np.arange(width), np.arange(height))
        values = {
            "ndvi": 0.55 + 0.3 * np.sin(col / 5) * np.cos(row / 7),
            "canopy_height": np.maximum(14 * np.sin(col / 9 + row / 6), 0),
        }
        folder = tmp_path_factory.mktemp("plants")
        settings = {}
        for name, field in values.items():
            path = folder / f"{name}.tif"
            shape = {"width": width, "height": height, "count": 1, "dtype": "float32"}
            with rasterio.open(path, "w", driver="GTiff", crs="EPSG:4326", transform=place, **shape) as target:
                target.write(field.astype(np.float32), 1)
            settings[name] = str(path)
        return settings

    return make


@pytest.fixture(scope="session")
def plants(planted: Callable[..., dict[str, str]], clip: Path) -> dict[str, str]:
    """Vegetation of the clip."""
    grid = read_grid(clip)
    return planted(grid.bounds, grid.crs, 0.0007)


@pytest.fixture(scope="session")
def finished(fresh: Callable[..., Run], clip: Path, plants: dict[str, str]) -> Run:
    """The clip in four tiles, by all three methods."""
    run = fresh("tiled", clip_config(str(clip), eemt={"methods": ["trad", "topo", "veg"], **plants}))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    assert "clip: maps in results/clip/maps" in done.stdout
    assert "clip: report in results/clip/report.html" in done.stdout
    return run


@pytest.fixture(scope="session")
def untiled(fresh: Callable[..., Run], clip: Path, plants: dict[str, str]) -> Run:
    """The same in one tile."""
    run = fresh("untiled", clip_config(str(clip), 1024, eemt={"methods": ["trad", "topo", "veg"], **plants}))
    done = run.snakemake()
    assert done.returncode == 0, done.stdout
    return run


@pytest.fixture(scope="session")
def jobs() -> Callable[[str], dict[str, int]]:
    """Count jobs by rule in what Snakemake says at its start; none where there is nothing to do."""

    def count(said: str) -> dict[str, int]:
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", said, re.M | re.S)
        return {line.split()[0]: int(line.split()[1]) for line in table[1].splitlines()} if table else {}

    return count


@pytest.fixture(scope="session")
def planned(jobs: Callable[[str], dict[str, int]]) -> Callable[..., dict[str, int]]:
    """Count the jobs that a run would do, by rule; of another config than the run's own, where one is given."""

    def count(run: Run, *words: str, config: Mapping[str, Any] | None = None) -> dict[str, int]:
        path = run.folder / "config/config.yaml"
        own = path.read_text()
        try:
            if config is not None:
                run.configure(config)
            done = run.snakemake("--dry-run", *words)
        finally:
            path.write_text(own)
        assert done.returncode == 0, done.stdout
        return jobs(done.stdout)

    return count
