"""Make the synthetic NDVI and canopy height of the embedded site: NOT MEASURED, for demonstration only.

    python config/data/synthetic_vegetation.py

Both are plain functions of the embedded elevation model z [m] and its northness n: greener and taller
on north slopes and on high ground.

    ndvi   = 0.25 + 0.30 (z - 1600) / 1000 + 0.30 n     within 0.10 and 0.85
    height = 1.0  + 9.0  (z - 1600) / 1000 + 16.0 n     within 0 and 24 m
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio

from eemt.terrain import horn, northness

HERE = Path(__file__).parent
DEM = HERE / "boulder_srtm3.tif"
METRES_PER_DEGREE = 111_195.0
LAYERS = {
    # file: meaning, unit, step of the stored whole numbers
    "boulder_ndvi_synthetic.tif": ("synthetic NDVI, not measured", "1", 1e-3),
    "boulder_canopy_synthetic.tif": ("synthetic canopy height, not measured", "m", 0.1),
}


def vegetation() -> dict[str, np.ndarray]:
    """Return both layers on the cells of the elevation model."""
    with rasterio.open(DEM) as source:
        z = source.read(1).astype(np.float64)
        dy = source.res[0] * METRES_PER_DEGREE
        dx = source.res[1] * METRES_PER_DEGREE * np.cos(np.radians((source.bounds.top + source.bounds.bottom) / 2))
    height, exposure = (z - 1600.0) / 1000.0, northness(*horn(z, dx, dy))
    ndvi = np.clip(0.25 + 0.30 * height + 0.30 * exposure, 0.10, 0.85)
    canopy = np.clip(1.0 + 9.0 * height + 16.0 * exposure, 0.0, 24.0)
    return dict(zip(LAYERS, (ndvi, canopy), strict=True))


def main(folder: Path) -> None:
    """Write both files."""
    with rasterio.open(DEM) as source:
        profile = {"crs": source.crs, "transform": source.transform, "width": source.width, "height": source.height}
    for name, values in vegetation().items():
        meaning, unit, step = LAYERS[name]
        options = {"driver": "GTiff", "count": 1, "dtype": "int16", "nodata": -32768}
        with rasterio.open(folder / name, "w", **options, **profile, compress="deflate", predictor=2) as target:
            target.write(np.round(values / step).astype(np.int16), 1)
            target.scales, target.units, target.descriptions = (step,), (unit,), (meaning,)
            target.update_tags(TITLE=meaning, SOURCE="config/data/synthetic_vegetation.py")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
