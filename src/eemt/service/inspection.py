"""Looking into a file that a user sent, in a process of its own with little time and memory.

    python -m eemt.service.inspection KIND PATH OUT CELLS

The process opens rasters as GeoTIFF and polygons as GeoJSON or GeoPackage and as nothing else, follows no reference
to another file, and writes OUT/header.json and, of elevation, OUT/hillshade.png.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

CPU_SECONDS = 60
WALL_SECONDS = 180.0
MEMORY = 4 * 2**30  # bytes of address space
WRITTEN = 20_000_000  # bytes of the largest file that may be written
REPORT = "header.json"
PICTURE = "hillshade.png"
GDAL_SETTINGS = {
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "0",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing",
    "GDAL_CACHEMAX": "256",
    "GDAL_NUM_THREADS": "1",
    "GDAL_DRIVER_PATH": "disable",
    "OGR_SQLITE_LOAD_EXTENSIONS": "",
    "OGR_GEOJSON_MAX_OBJ_SIZE": "50",
    "PROJ_NETWORK": "OFF",
}


class Stopped(Exception):  # noqa: N818 - no error
    """The service is stopping."""


def inspect(
    kind: str, path: Path, most_cells: int, stopping: threading.Event | None = None
) -> tuple[dict[str, Any], str | None]:
    """Look into a file in a process of its own.

    Parameters
    ----------
    kind : str
        dem, raster, climate, zones or table.
    path : path
        The file, alone in a folder, which takes what is found.
    most_cells : int
        Of a raster.
    stopping : Event, optional
        Ends the process.

    Returns
    -------
    header : dict
        What is in the file.
    problem : str or None
        One sentence for people where it cannot be used.

    Raises
    ------
    Stopped
    """
    out = path.parent
    _tidy(path)
    command = [sys.executable, "-I", "-m", "eemt.service.inspection", kind, path.name, ".", str(most_cells)]
    process = subprocess.Popen(
        command,
        cwd=out,
        env=_environment(kind),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = _wait(process, stopping)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code is None or code in (-signal.SIGXCPU, -signal.SIGKILL):
        return {}, "looking into the file took too long; is it damaged, or compressed in a strange way?"
    try:
        found: dict[str, Any] = json.loads((out / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, "the file is damaged: looking into it ended the program, or took more memory than there is for it"
    finally:
        _tidy(path, PICTURE)
    return found.get("header", {}), found.get("problem")


def _tidy(path: Path, *kept: str) -> None:
    """Remove what is beside a file."""
    for other in path.parent.iterdir():
        if other.name not in (path.name, *kept):
            other.unlink()


def _wait(process: subprocess.Popen[bytes], stopping: threading.Event | None) -> int | None:
    until = time.monotonic() + WALL_SECONDS
    while time.monotonic() < until:
        if stopping is not None and stopping.is_set():
            raise Stopped
        try:
            return process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    return None


def _environment(kind: str) -> dict[str, str]:
    """Return what the process knows of this one: where programs are, and which of GDAL's drivers it does without."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PROJ_DATA", "GDAL_DATA") if name in os.environ}
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # no kernel is called; without a home, and in a package that cannot be written to, there is no place to keep one
    single["NUMBA_DISABLE_JIT"] = "1"
    return kept | single | GDAL_SETTINGS | {"GDAL_SKIP": ",".join(sorted(_unwanted(kind))), "HOME": "/nonexistent"}


def _unwanted(kind: str) -> set[str]:
    """Name the drivers of GDAL that the process does without; each of the two libraries has its own."""
    if kind == "zones":
        import pyogrio

        return set(pyogrio.list_drivers()) - {"GeoJSON", "GPKG", "MEM", "Memory"}
    if kind in ("dem", "raster"):
        import rasterio

        with rasterio.Env() as environment:
            return set(environment.drivers()) - {"GTiff", "MEM"}
    return set()


def main(kind: str, name: str, out: str, most_cells: str) -> None:
    """Look into a file and write what was found; the process's own limits come first."""
    _limit()
    from eemt.errors import InputError

    path = Path(name)
    found: dict[str, Any]
    try:
        found = {"header": _header(kind, path, int(most_cells))}
    except InputError as error:
        found = {"problem": _readable(str(error), path)}
    except MemoryError:
        found = {"problem": "the file needs more memory than there is to look into it"}
    (Path(out) / REPORT).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")


def _header(kind: str, path: Path, most_cells: int) -> dict[str, Any]:
    match kind:
        case "dem" | "raster":
            from eemt.service import geotiffs

            return geotiffs.header(path, kind, most_cells)
        case "zones":
            from eemt.service import polygons

            return polygons.header(path)
        case "climate":
            return _climate(path)
        case _:
            return _table(path)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def _readable(message: str, path: Path) -> str:
    """Take our own name of the file, and the config's key, out of a message."""
    message = re.sub(rf"(?<![\w/.]){re.escape(str(path))}(?![\w.])", "the file", message)
    return re.sub(r"^(dem|raster|climate|zones|sweep|sweep\.table): ", "", message)


def _climate(path: Path) -> dict[str, Any]:
    from eemt.climate.station import PLACE, read_table

    table = read_table(path)
    years = [int(table["year"].min()), int(table["year"].max())] if "year" in table else None
    return {
        "rows": len(table),
        "years": years,
        "stations": int(table["station"].nunique()) if "station" in table else 1,
        "columns": [str(name) for name in table.columns],
        "needs": [key for column, (key, _, _) in PLACE.items() if column not in table],
    }


def _table(path: Path) -> dict[str, Any]:
    from eemt.sweep import read_table

    rows = read_table(str(path))
    return {"rows": len(rows), "columns": list(rows[0])}


if __name__ == "__main__":
    main(*sys.argv[1:])
