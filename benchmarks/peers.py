"""GRASS GIS as a peer: r.sun on a DEM, in a location of its own that is thrown away."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

ABSENT = "GRASS is not installed; `apt-get install grass-core` brings it, and with it the comparison with r.sun"
LAYERS = ("global", "hours")


@dataclass(frozen=True)
class RSunDay:
    """What r.sun made of one day, and in what time."""

    irradiation: np.ndarray  # Wh m-2 day-1
    hours: np.ndarray
    seconds: float


def available() -> bool:
    """Tell whether GRASS can be called."""
    return shutil.which("grass") is not None


def r_sun(
    dem: Path, crs: str, days: Iterable[int], *, step: float, linke: float, albedo: float, threads: int = 1
) -> dict[int, RSunDay]:
    """Run r.sun for single days, with slopes made before by ``r.slope.aspect -e``.

    Parameters
    ----------
    dem : path
        Elevation [m] without NULL.
    crs : str
        Its coordinate system.
    days : iterable of int
    step : float
        [min]
    linke, albedo : float
    threads : int

    Raises
    ------
    FileNotFoundError
        If GRASS is not installed.
    RuntimeError
        If it fails; the message holds what it said.
    """
    if not available():
        raise FileNotFoundError(ABSENT)
    chosen = list(days)
    with tempfile.TemporaryDirectory(prefix="eemt_grass_") as name:
        folder = Path(name)
        lines = [
            "set -e",
            f"r.in.gdal -o --q input={dem.resolve()} output=z",
            "g.region raster=z",
            "r.slope.aspect -e --q elevation=z slope=slope aspect=aspect",
        ]
        for day in chosen:
            lines += [
                "start=$(date +%s.%N)",
                f"r.sun --q elevation=z slope=slope aspect=aspect day={day} step={step / 60} linke_value={linke}"
                f" albedo_value={albedo} glob_rad=global{day} insol_time=hours{day} nprocs={threads}",
                f"echo seconds {day} $start $(date +%s.%N)",
            ]
            lines += [
                f"r.out.gdal --q -c input={layer}{day} output={folder}/{layer}{day}.tif format=GTiff type=Float32"
                for layer in LAYERS
            ]
        (folder / "script.sh").write_text("\n".join(lines) + "\n")
        _call("grass", "-c", crs, str(folder / "location"), "-e")
        said = _call("grass", str(folder / "location" / "PERMANENT"), "--exec", "bash", str(folder / "script.sh"))
        times = {}
        for line in said.splitlines():
            if line.startswith("seconds "):
                _, day, start, end = line.split()
                times[int(day)] = float(end) - float(start)
        return {day: RSunDay(*(_read(folder / f"{layer}{day}.tif") for layer in LAYERS), times[day]) for day in chosen}


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return np.asarray(source.read(1))


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
