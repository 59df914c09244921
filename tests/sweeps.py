"""Results of sweeps as a run leaves them, of formulas instead of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eemt.config import Site, load_config
from eemt.grid import Grid
from eemt.raster import write_geotiff
from eemt.summary import summarise
from eemt.sweep import cases
from sites import CLIMATE, hills

GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 14, 12)


def site(sweep: Mapping[str, Any], **sections: Any) -> Site:
    """A site with a sweep, and with sections of its own."""
    config = {"dem": {"source": "dem.tif"}, "climate": CLIMATE, "sites": {"here": {"sweep": dict(sweep)}}}
    return load_config({**config, **sections}).sites["here"]


def formula(settings: Site, method: str) -> float:
    """A mean EEMT that rises with omega, falls with the lapse rate, and by topo also with Linke turbidity."""
    linke = settings.sun.linke if isinstance(settings.sun.linke, float) else 3.5
    mean = 20 + 4 * settings.eemt.omega - 0.5 * float(settings.climate.lapse_tmin)
    return mean + (0.0 if method == "trad" else 5 - 0.8 * linke + 0.1 * linke * settings.eemt.omega)


def make_sweep(
    folder: Path,
    settings: Site,
    mean: Callable[[Site, str], float] = formula,
    grid: Grid = GRID,
    labels: tuple[str, ...] = ("1971-2000",),
    parts: bool = False,
) -> Path:
    """Leave the elevation, and for each case its maps, of EEMT and if asked for its parts, and its summary."""
    elevation = hills(*grid.shape)
    write_geotiff(folder / "dem" / "dem.tif", elevation, grid, ["elevation"], "m")
    for case in cases(settings):
        maps = []
        for method in settings.eemt.methods:
            for number, label in enumerate(labels):
                eemt = mean(case.settings, method) + number + (elevation - elevation.mean()) / 100
                for variable, values in {"eemt": eemt, **({"eppt": 0.1 * eemt} if parts else {})}.items():
                    path = folder / case.name / "maps" / f"{variable}_{method}_{label}.tif"
                    write_geotiff(path, values[np.newaxis].astype(np.float32), grid, ["year"], "MJ m-2 yr-1")
                    maps.append(path)
        summarise(maps, "here", case.name).to_csv(folder / case.name / "summary.csv", index=False)
    return folder
