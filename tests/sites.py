"""Places that the tests run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
NORMALS = ROOT / "config" / "data" / "waterdale_normals_1971-2000.csv"
BOULDER = ROOT / "config" / "data" / "boulder_srtm3.tif"
CLIMATE: dict[str, Any] = {
    "file": str(NORMALS),
    "elevation": 1594,
    "latitude": 40.43,
    "longitude": -105.21,
    "normals_period": [1971, 2000],
}


def hills(rows: int, cols: int, cell: float = 30.0) -> np.ndarray:
    """Two ridges, a valley between them and some roughness: elevations of 1600 to 2200 m."""
    y, x = np.mgrid[:rows, :cols] * cell
    wave = np.sin(2 * np.pi * x / (cols * cell) * 1.7) * np.cos(2 * np.pi * y / (rows * cell) * 1.1)
    rough = np.random.default_rng(7).normal(scale=3.0, size=(rows, cols))
    return (1900 + 280 * wave + rough).astype(np.float32)
