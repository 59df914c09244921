"""Where a run's elevations and climate come from, in words, and the climate of its site in numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from eemt import raster
from eemt.climate.downscale import fitted_lapse, to_cells
from eemt.climate.monthly import select, year_labels
from eemt.config import ClimateSettings, LapseSettings
from eemt.dem.remote import Place
from eemt.errors import InputError
from eemt.results import Run, shown_grid

SAMPLED = 64  # cells of the longer side, on which the climate of the site is averaged
STEPS = {
    "bilinear": "bilinear interpolation",
    "cubic": "cubic convolution",
    "average": "averaging",
}
UNITS = {"foot": "feet", "us_foot": "US survey feet"}
PROVIDERS = {
    "local": "files on disk",
    "gdex": "NCAR's Geoscience Data Exchange",
    "earthdata": "NASA Earthdata",
    "single_pixel": "the single-pixel service of ORNL DAAC",
}


def without_secrets(value: Any) -> Any:
    """Return settings with the addresses in them shortened to what may be shown: no user, password and query."""
    if isinstance(value, str):
        return re.sub(r"https?://[^\s,;'\"]+", lambda found: Place(found[0]).shown, value, flags=re.IGNORECASE)
    if isinstance(value, dict):
        return {key: without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Piece:
    """One raster of an elevation model."""

    name: str
    digest: str = ""  # SHA-256 of a file
    date: str = ""  # when a server's copy was changed


@dataclass(frozen=True)
class ElevationOrigin:
    """Where the elevations come from and what was done to them.

    Attributes
    ----------
    title : str
        Of a published data set with what its licence asks to be said, else the names of the files.
    published : bool
        Whether it is such a data set.
    prepared : str
        Day, as ``2026-11-21``; empty where it is not known.
    reach : tuple of float
        How far the elevations reach beyond the maps to the west, south, east and north [m].
    """

    title: str
    published: bool
    prepared: str
    pieces: list[Piece]
    steps: list[str]
    reach: tuple[float, float, float, float]
    sea: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def elevation_origin(run: Run) -> ElevationOrigin:
    """Read what ``dem.json`` tells; without one, what the settings and the raster do.

    Raises
    ------
    InputError
        When the file is not what `eemt dem` wrote.
    """
    path = run.folder / "dem" / "dem.json"
    reach = _reach(run)
    if not path.exists():
        names = [Place(source).name for source in run.settings.dem.sources]
        return ElevationOrigin(", ".join(names), False, "", [Piece(name) for name in names], [], reach)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        source = told["source"]
        return ElevationOrigin(
            title=source["title"],
            published="data_set" in source,
            prepared=told["created"][:10],
            pieces=list(_pieces(source["pieces"])),
            steps=[_step(step) for step in told["steps"]],
            reach=reach,
            sea=source.get("absent_taken_for_sea", []),
            unknown=source.get("absent_without_data", []),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"report: {path} is not what `eemt dem` writes ({error!r})") from None


def _reach(run: Run) -> tuple[float, float, float, float]:
    whole, mapped = raster.read_grid(run.folder / "dem" / "dem.tif", "report").bounds, run.source_grid.bounds
    west, south, east, north = (abs(outer - inner) for outer, inner in zip(whole, mapped, strict=True))
    return west, south, east, north


def _pieces(told: list[dict[str, Any]]) -> Iterator[Piece]:
    for piece in told:
        name = piece.get("url") or piece["file"]
        yield Piece(without_secrets(name), piece.get("sha256", ""), piece.get("last_modified", ""))
        for other in piece.get("with", []):
            yield Piece(other["file"], other.get("sha256", ""))


def _step(step: dict[str, Any]) -> str:
    match step["step"]:
        case "read":
            cell = step["cell"][0]
            degrees = abs(step["bounds"][0]) <= 360 and cell < 1
            size = f"{cell * 3600:.3g} arc seconds" if degrees else f"{cell:.4g} m"
            return f"read on cells of {size} ({_system(step['crs'])})"
        case "to metres":
            return f"brought from {UNITS.get(step['unit'], step['unit'])} to metres"
        case "fill voids":
            return f"voids up to {step['up_to_metres']:g} m wide filled ({step['cells_filled']:,} cells)"
        case "warp":
            return f"carried to the cells of the maps by {STEPS.get(step['resampling'], step['resampling'])}"
        case other:
            return str(other)


def _system(crs: str) -> str:
    return crs if len(crs) < 20 else "its own projection"


@dataclass(frozen=True)
class Station:
    """A station with its means over all months [degC] and of the year's sums [mm]."""

    name: str
    latitude: float
    longitude: float
    elevation: float
    temperature: float
    precipitation: float


@dataclass(frozen=True)
class Climate:
    """Where the climate comes from, and what it is at the site.

    Attributes
    ----------
    about : dict
        Global attributes of ``climate.nc``.
    stations : list of Station
        All of them; of a grid none.
    cells : (int, int)
        Rows and columns of a grid, around the site.
    elevations : (float, float)
        Least and greatest of the source [m].
    elevation_source : str
        What the source's elevation is, where it says so.
    days : dict
        Days that each year's months are of, where the source counts them.
    deliveries : list of str
        Who delivered how many files, and when.
    lapse : dict
        Lapse rates in words, by ``tmin`` and ``tmax``.
    months : dict
        Twelve means over the map and all years, of ``tmin``, ``tmax`` [degC], ``prcp`` [mm] and
        ``vp`` [Pa], carried to the cells as EEMT takes them.
    years : dict
        By year: mean temperature [degC] and precipitation [mm] over the map.
    """

    about: dict[str, str]
    stations: list[Station]
    cells: tuple[int, int]
    elevations: tuple[float, float]
    elevation_source: str
    days: dict[str, int]
    deliveries: list[str]
    lapse: dict[str, str]
    months: dict[str, list[float]]
    years: dict[str, tuple[float, float]]


def climate_of(run: Run) -> Climate:
    """Read ``climate.nc`` and average it over the map, by the way that it takes to the cells.

    Raises
    ------
    InputError
        When it is missing or is no climate that `eemt climate` wrote.
    """
    path = run.folder / "climate" / "climate.nc"
    with raster.open_netcdf(path, "report") as dataset:
        absent = [name for name in ("tmin", "tmax", "prcp", "vp", "elevation") if name not in dataset]
        if absent:
            raise InputError(f"report: {path} has no variable {absent[0]}")
        source = dataset.load()
    settings = run.settings.climate
    heights = source["elevation"]
    about = {str(key): str(value) for key, value in source.attrs.items()}
    months, years = _at_site(run, source, settings)
    return Climate(
        about=about,
        stations=_stations(source),
        cells=(source.sizes.get("y", 0), source.sizes.get("x", 0)),
        elevations=(float(heights.min()), float(heights.max())),
        elevation_source=str(heights.attrs.get("source") or about.get("elevation_source", "")),
        days=_days(source),
        deliveries=_deliveries(path.with_suffix(".json")),
        lapse={name: _lapse(source, name, getattr(settings, f"lapse_{name}")) for name in ("tmin", "tmax")},
        months=months,
        years=years,
    )


def _at_site(
    run: Run, source: xr.Dataset, settings: ClimateSettings
) -> tuple[dict[str, list[float]], dict[str, tuple[float, float]]]:
    """Carry each year to a sample of the map's ground, and average."""
    grid = shown_grid(run.source_grid, SAMPLED)
    elevation = run.read("dem/dem.tif", grid=grid)[0]
    choices = {name: getattr(settings, name) for name in LapseSettings.model_fields}
    known = np.isfinite(elevation)
    means: list[dict[str, npt.NDArray[np.float64]]] = []
    labels = year_labels(source)
    for label in labels:
        cells = to_cells(select(source, label), elevation, grid.x, grid.y, grid.crs, **choices)
        means.append({name: cells[name][:, known].mean(axis=1, dtype=np.float64) for name in MONTHLY})
    months = {name: np.mean([year[name] for year in means], axis=0).tolist() for name in MONTHLY}
    years = {
        label: (float((year["tmin"] + year["tmax"]).mean() / 2), float(year["prcp"].sum()))
        for label, year in zip(labels, means, strict=True)
    }
    return months, years


MONTHLY = ("tmin", "tmax", "prcp", "vp")


def _stations(source: xr.Dataset) -> list[Station]:
    if "station" in source.dims:
        return [_station(source.isel(station=n), "lat", "lon") for n in range(source.sizes["station"])]
    if (source.sizes["y"], source.sizes["x"]) == (1, 1) and "source" in source.attrs:
        alone = source.isel(y=0, x=0)
        return [_station(alone, "y", "x")] if str(source.attrs["source"]).startswith("station") else []
    return []


def _station(at: xr.Dataset, latitude: str, longitude: str) -> Station:
    years = at.sizes["time"] // 12
    return Station(
        name=str(at["station_name"].item()) if "station_name" in at else "",
        latitude=float(at[latitude]),
        longitude=float(at[longitude]),
        elevation=float(at["elevation"]),
        temperature=float((at["tmin"].mean() + at["tmax"].mean()) / 2),
        precipitation=float(at["prcp"].sum()) / years,
    )


def _days(source: xr.Dataset) -> dict[str, int]:
    if "days_counted" not in source:
        return {}
    yearly = source["days_counted"].values.reshape(-1, 12).sum(axis=1)
    return {label: int(days) for label, days in zip(year_labels(source), yearly, strict=True)}


def _deliveries(path: Path) -> list[str]:
    """Sum up the records of a source that downloads."""
    if not path.exists():
        return []
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        by = Counter(str(part["provider"]) for part in parts)
        days = sorted(str(part["retrieved"])[:10] for part in parts)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"report: {path} is not what `eemt climate` writes ({error!r})") from None
    when = "" if not days else f" on {days[0]}" if days[0] == days[-1] else f" from {days[0]} to {days[-1]}"
    counted = [
        f"{number} {'file' if number == 1 else 'files'} from {PROVIDERS.get(name, name)}"
        for name, number in by.most_common()
    ]
    return [text + (when if text is counted[-1] else "") for text in counted]


def _lapse(source: xr.Dataset, name: str, rate: float | tuple[float, ...] | str) -> str:
    if isinstance(rate, str):
        fitted = np.mean([fitted_lapse(select(source, label), name) for label in year_labels(source)], axis=0)
        least, most = _number(fitted.min()), _number(fitted.max())
        return least if least == most else f"{least} to {most}"
    if isinstance(rate, tuple):
        return ", ".join(_number(value) for value in rate) + " (January to December)"
    return _number(rate)


def _number(value: float) -> str:
    return f"{round(float(value), 2):g}".replace("-", "−")
