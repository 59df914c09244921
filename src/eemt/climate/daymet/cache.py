"""The folder that downloads are kept in: one small file for each variable and year of a site's cells.

    na/y3600-3610_x3000-3012/tmin_2019.nc       days of these cells, NaN over the sea, axes in metres
    na/y3600-3610_x3000-3012/tmin_2019.json     where they came from, when, and the checksums
    whole/daymet_v4_daily_na_tmin_2019.nc       whole files, where they are allowed

Whoever delivered them, the same values make the same file, byte for byte. Files appear by renaming,
so no reader meets half a one. Locks only spare a second download: on file systems that do not keep
them (some network file systems), two jobs may fetch the same file, and the later one replaces it by
its equal.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eemt.climate.daymet.check import Floats, read_daily
from eemt.climate.daymet.download import sha256_of
from eemt.climate.daymet.errors import ProviderError
from eemt.climate.daymet.grid import FILL, VARIABLES, Window, dates, grid_mapping
from eemt.raster import whole_or_nothing

LONGEST_WAIT = 6 * 3600.0  # s for another job's download; then this one fetches for itself
LOOK_AGAIN = 0.2  # s
LEFT_BEHIND = 86_400.0  # s


@dataclass(frozen=True)
class Entry:
    """One variable's days of one year.

    Attributes
    ----------
    values : ndarray float32 (365, rows, columns)
    record : dict
        The sidecar: provider, url, retrieved, sha256 and the rest.
    """

    values: Floats
    record: dict[str, Any]


class Cache:
    """A folder of downloads that several runs and jobs share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, window: Window, variable: str, year: int) -> Path:
        """Return where a variable's days of a year stand."""
        return self.folder / window.region.name / window.name / f"{variable}_{year}.nc"

    def find(self, window: Window, variable: str, year: int) -> Entry | None:
        """Return what is there, if it is whole and as its sidecar says."""
        path = self.path(window, variable, year)
        try:
            record = json.loads(path.with_suffix(".json").read_text())
            if record["sha256"] != sha256_of(path):
                return None
            return Entry(read_daily(path, window, variable, year), record)
        except (OSError, ValueError, KeyError, ProviderError):
            return None

    def keep(self, window: Window, variable: str, year: int, values: Floats, origin: dict[str, Any]) -> Entry:
        """Write days and their sidecar, and return them."""
        path = self.path(window, variable, year)
        with whole_or_nothing(path) as partial:
            _write_daily(partial, window, variable, year, values)
            record = {
                "variable": variable,
                "year": year,
                "region": window.region.name,
                **origin,
                "retrieved": now(),
                "sha256": sha256_of(partial),
            }
        write_json(path.with_suffix(".json"), record)
        return Entry(values, record)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a file for a download that is only read from; what killed jobs left goes after a day."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > LEFT_BEHIND:
                    left.unlink()
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", suffix=".part") as partial:
            yield Path(partial.name)

    @contextlib.contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Hold the lock on one file, while it is looked for and fetched."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as handle:
            _lock(handle.fileno())
            yield


def write_json(path: Path, record: Any) -> None:
    """Write a sidecar, whole or not at all."""
    with whole_or_nothing(path) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")


def now() -> str:
    """Return the time as sidecars write it, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _lock(handle: int) -> None:
    """Wait for the lock; go on without one where the file system has none. The system frees it on exit."""
    end = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < end:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES, errno.EINTR}:
                return
            time.sleep(LOOK_AGAIN)
        else:
            return


def _write_daily(path: Path, window: Window, variable: str, year: int, values: Floats) -> None:
    """Write days in Daymet's own layout, with axes in metres."""
    os.truncate(path, 0)
    with h5py.File(path, "w", libver="v108") as file:
        file.attrs["Conventions"] = "CF-1.8"
        axes = {
            "time": np.array([day.toordinal() - dates(1950)[0].toordinal() + 0.5 for day in dates(year)]),
            "y": window.y,
            "x": window.x,
        }
        for name, axis in axes.items():
            scale = file.create_dataset(name, data=axis)
            scale.make_scale(name)
            scale.attrs["units"] = "days since 1950-01-01 00:00:00" if name == "time" else "m"
        file["time"].attrs["calendar"] = "standard"
        for name in ("x", "y"):
            file[name].attrs["standard_name"] = f"projection_{name}_coordinate"
        mapping = file.create_dataset("lambert_conformal_conic", data=np.int32(0))
        mapping.attrs.update(grid_mapping())
        days = file.create_dataset(
            variable,
            data=np.where(np.isnan(values), np.float32(FILL), values),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fillvalue=np.float32(FILL),
        )
        days.attrs["_FillValue"] = np.float32(FILL)
        days.attrs["units"] = VARIABLES[variable][0]
        days.attrs["grid_mapping"] = "lambert_conformal_conic"
        for number, name in enumerate(axes):
            days.dims[number].attach_scale(file[name])
