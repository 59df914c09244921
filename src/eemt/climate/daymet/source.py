"""Monthly climate from Daymet, from whichever provider has it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from eemt.climate import elevation as heights
from eemt.climate.daymet.cache import Cache, Entry, write_json
from eemt.climate.daymet.download import FIRST_PAUSE, PATIENCE, TIMEOUT
from eemt.climate.daymet.errors import ProviderError, UnavailableError
from eemt.climate.daymet.grid import (
    KNOWN_REGIONS,
    PROJECTION,
    TITLES,
    Region,
    Window,
    days_counted,
    grid_mapping,
    outside,
    region_of,
    to_months,
    window_of,
)
from eemt.climate.daymet.providers import PROVIDERS, Options, Provider, SinglePixel, make
from eemt.climate.join import digest, join
from eemt.climate.monthly import coordinates
from eemt.climate.source import VARIABLES, attributes, validate
from eemt.errors import InputError
from eemt.grid import Grid

NEEDED = tuple(VARIABLES)
CITATION = (
    "Thornton, M. M., Shrestha, R., Wei, Y., Thornton, P. E., Kao, S.-C. and Wilson, B. E. 2022. Daymet: Daily "
    "Surface Weather Data on a 1-km Grid for North America, Version 4 R1. ORNL DAAC. doi:10.3334/ORNLDAAC/2129"
)
MARGIN_CELLS = 1  # interpolation up to the site's edge needs the next cell
MAX_SINGLE_PIXEL_CELLS = 121
FROM_HEADERS = "of the single-pixel service, Daymet's own"

Doubles = npt.NDArray[np.float64]


def tell_on_error_stream(line: str) -> None:
    """Say how the downloads go."""
    print(f"eemt climate: {line}", file=sys.stderr, flush=True)


class DaymetSource:
    """Daymet V4 R1 of a site: days from a chain of providers, brought to months.

    A provider that fails is passed over for the next one; each variable and year that came is kept
    in the cache, so that what is interrupted goes on where it was. Which provider delivered does not
    change the result: it stands in `records`, not in the dataset.

    Parameters
    ----------
    bounds : (float, float, float, float)
        West, south, east and north edges of the site.
    years : (int, int)
        First and last year.
    crs : str
        Coordinate system of `bounds`.
    providers : sequence of str
        Of ``local``, ``gdex``, ``earthdata`` and ``single_pixel``, in the order to ask them.
    base_urls : mapping
        Addresses of servers in place of the public ones; see `providers.BASE_URLS`.
    cache : path
        Folder of downloads, which several runs and jobs may share.
    offline : bool
        Whether to use the cache and `local_folder` alone.
    variables : sequence of str
        ``tmin``, ``tmax``, ``prcp`` and ``vp`` always; also ``srad``, ``dayl`` and ``swe``.
    region : str
        ``na``, ``hi``, ``pr``, or ``auto`` to go by the site's place.
    full_months : bool
        Whether precipitation is scaled to months of full length; Daymet has no 31 December in leap years.
    dem : (ndarray, Grid), optional
        Elevation of the site [m], that its mean over each of Daymet's cells stands for the elevation
        the values belong to, where nothing better is known.
    elevation_file : path, optional
        Daymet's own elevation [m], any raster.
    margin_cells : int
        Cells around the site that are taken along, for interpolation up to its edges.
    max_single_pixel_cells : int
        Most cells that the single-pixel service is asked for.
    local_folder : path, optional
        Where the provider ``local`` looks.
    whole_files : bool
        Whether whole files, of some GB each, may be downloaded where no part of them can be had.
    patience, timeout, first_pause
        How long failing servers are tried; see `eemt.climate.daymet.download.Fetcher`.
    tell : callable
        Takes a line about each provider that is passed over.

    Attributes
    ----------
    records : list of dict
        After `monthly`: for each year and variable the provider, method, URL, time of retrieval and
        SHA-256 of the cached file.
    """

    def __init__(
        self,
        bounds: tuple[float, float, float, float],
        *,
        years: tuple[int, int],
        crs: str = "EPSG:4326",
        providers: Sequence[str] = PROVIDERS,
        base_urls: Mapping[str, str] | None = None,
        cache: str | Path = "resources/daymet",
        offline: bool = False,
        variables: Sequence[str] = NEEDED,
        region: str = "auto",
        full_months: bool = False,
        dem: tuple[npt.NDArray[np.float32], Grid] | None = None,
        elevation_file: str | Path | None = None,
        margin_cells: int = MARGIN_CELLS,
        max_single_pixel_cells: int = MAX_SINGLE_PIXEL_CELLS,
        local_folder: str | Path | None = None,
        whole_files: bool = False,
        patience: float = PATIENCE,
        timeout: tuple[float, float] = TIMEOUT,
        first_pause: float = FIRST_PAUSE,
        tell: Callable[[str], None] = tell_on_error_stream,
    ) -> None:
        self.bounds, self.crs, self.years = bounds, crs, years
        self.variables = tuple(dict.fromkeys([*NEEDED, *variables]))
        self.full_months = full_months
        self.dem, self.elevation_file = dem, elevation_file
        self.offline = offline
        self.records: list[dict[str, Any]] = []
        self._region, self._margin, self._tell = region, margin_cells, tell
        self._cache = Cache(Path(cache))
        self._options = Options(
            self._cache,
            base_urls or {},
            self.variables,
            Path(local_folder) if local_folder else None,
            whole_files,
            max_single_pixel_cells,
            patience,
            timeout,
            first_pause,
        )
        self._names = self._chain(providers)
        self._providers: dict[str, Provider] = {name: make(name, self._options) for name in self._names}

    def monthly(self) -> xr.Dataset:
        """Return the months, on Daymet's own cells in metres; see `eemt.climate.source`.

        Raises
        ------
        InputError
            When the site is outside of Daymet, or the options do not fit together.
        UnavailableError
            When no provider delivers; the message gives each one's reason.
        """
        self._check_years()
        self.records = []
        first, last = self.years
        dataset = join([self._year(year) for year in range(first, last + 1)])
        return validate(dataset, "climate: Daymet")

    @cached_property
    def window(self) -> Window:
        """The cells that the site lies on, and those around it."""
        return window_of(self.bounds, self._region_found, self.crs, self._margin)

    def _chain(self, providers: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in providers if name not in PROVIDERS]
        if unknown:
            raise InputError(f"climate.providers: {unknown[0]} is not known; allowed are {', '.join(PROVIDERS)}")
        able = [name for name in providers if name != "local" or self._options.local]
        if not able:
            raise InputError("climate.providers: local is the only one; name the folder with files as climate.local")
        return tuple(name for name in able if name == "local" or not self.offline)

    @cached_property
    def _region_found(self) -> Region:
        name = region_of(self.bounds, self.crs) if self._region == "auto" else self._region
        return KNOWN_REGIONS.get(name) or self._region_from_files(name)

    def _region_from_files(self, name: str) -> Region:
        """Read where the cells of a region are whose grid is only told by its files."""
        path = self._cache.folder / name / "grid.json"
        if path.exists():
            return Region(**json.loads(path.read_text()))
        reasons = []
        for provider in self._providers.values():
            try:
                region = provider.region(name)
            except ProviderError as fault:
                reasons.append(f"{provider.name}: {fault}")
            else:
                write_json(path, asdict(region))
                return region
        raise UnavailableError(self._nobody(f"the grid of {TITLES[name]}", reasons))

    def _check_years(self) -> None:
        first, last = self.years
        if first > last:
            raise InputError(f"climate.years: runs backwards, from {first} to {last}; write the earlier year first")
        if first < self._region_found.first_year:
            title = TITLES[self._region_found.name]
            raise InputError(
                f"climate.years: {first} is before Daymet; in {title} it begins in {self._region_found.first_year}"
            )

    def _year(self, year: int) -> xr.Dataset:
        window = self.window
        entries = {name: self._days(window, name, year) for name in self.variables}
        if np.isnan(entries["tmin"].values).all():
            longitude, latitude = window.centres()
            middle = float(longitude.mean()), float(latitude.mean())
            raise InputError(outside("climate.source", *middle, "land; it has no values there"))
        self.records += [entry.record for entry in entries.values()]
        times = coordinates(year)
        time = times.pop("time")
        counted = {"long_name": "days that the month's values are of", "units": "1"}
        dataset = xr.Dataset(
            {
                **{name: self._variable(name, entry, year) for name, entry in entries.items()},
                "elevation": self._elevation(year),
                "days_counted": ("time", days_counted(year).astype(np.int32), counted),
                **times,
            },
            coords={"time": time, **_axes(window), "crs": ((), np.int32(0), grid_mapping())},
            attrs=self._attributes(),
        )
        dataset.attrs["elevation_source"] = dataset["elevation"].attrs["source"]
        dataset.attrs["source_sha256"] = digest(entry.record["sha256"] for entry in entries.values())
        return dataset

    def _variable(self, name: str, entry: Entry, year: int) -> tuple[Any, ...]:
        months = to_months(entry.values, name, year, self.full_months)
        return ("time", "y", "x"), months, attributes(name) | {"grid_mapping": "crs"}

    def _days(self, window: Window, variable: str, year: int) -> Entry:
        """Return a variable's days of a year, from the cache or from the first provider that delivers."""
        found = self._cache.find(window, variable, year)
        if found:
            return found
        with self._cache.locked(self._cache.path(window, variable, year)):
            # another job may have fetched it while this one waited
            found = self._cache.find(window, variable, year)
            return found or self._fetched(window, variable, year)

    def _fetched(self, window: Window, variable: str, year: int) -> Entry:
        reasons = []
        for provider in self._providers.values():
            try:
                delivery = provider.daily(window, variable, year)
            except ProviderError as fault:
                reasons.append(f"{provider.name}: {fault}")
                self._tell(f"{variable} {year}: passed over {provider.name}: {fault}")
            else:
                return self._cache.keep(window, variable, year, delivery.values, delivery.origin)
        raise UnavailableError(self._nobody(f"{variable} of {year}", reasons))

    def _nobody(self, what: str, reasons: list[str]) -> str:
        if self.offline:
            where = " and ".join(str(place) for place in (self._cache.folder, self._options.local) if place)
            because = f"it is not in {where}, and --offline uses nothing else"
            return f"Daymet: {what} cannot be had: {'; '.join([because, *reasons])}"
        return f"Daymet: {what} cannot be had: {'; '.join(reasons)}"

    def _elevation(self, year: int) -> tuple[Any, ...]:
        values, source = self._heights(year)
        told = {
            "units": "m",
            "standard_name": "surface_altitude",
            "long_name": "elevation that the values belong to",
            "source": source,
            "grid_mapping": "crs",
        }
        return ("y", "x"), values.astype(np.float32), told

    def _heights(self, year: int) -> tuple[Doubles, str]:
        """Find the elevation by what is configured, never by who happened to deliver, and say what it is."""
        x, y = self.window.x, self.window.y
        if self.elevation_file:
            values = heights.elevation_from_file(self.elevation_file, x, y, PROJECTION)
            return values, heights.FROM_FILE.format(Path(self.elevation_file).name)
        alone = [name for name in self._names if name != "local"] == ["single_pixel"]
        pixels = self._providers.get("single_pixel")
        if isinstance(pixels, SinglePixel) and (alone or self.dem is None):
            return self._from_headers(pixels, year), FROM_HEADERS
        if self.dem is None:
            raise InputError("climate: --dem or --elevation-file is missing; Daymet's files have no elevations")
        return heights.elevation_on(x, y, PROJECTION, *self.dem), heights.FROM_SITE

    def _from_headers(self, pixels: SinglePixel, year: int) -> Doubles:
        values = np.full(self.window.shape, np.nan)
        try:
            found = pixels.pixels(self.window, year)
        except ProviderError as fault:
            raise UnavailableError(self._nobody("the elevation of its cells", [f"{pixels.name}: {fault}"])) from None
        for place, pixel in found.items():
            values[place] = pixel.elevation
        return values

    def _attributes(self) -> dict[str, str]:
        region = self.window.region.name
        sums = "precipitation scaled to the full month" if self.full_months else "precipitation as counted"
        return {
            "Conventions": "CF-1.8",
            "title": f"Monthly climate of Daymet V4 R1, {TITLES[region]}",
            "source": f"Daymet V4 R1 daily, region {region}, cells {self.window.name}",
            "calendar": "365 days a year, without 31 December in leap years; means over the days counted, " + sums,
            "institution": "Oak Ridge National Laboratory Distributed Active Archive Center",
            "references": CITATION,
            "license": "free for any use, with citation (NASA Earth Science Data and Information Policy)",
        }


def _axes(window: Window) -> dict[str, Any]:
    return {
        axis: (axis, getattr(window, axis), {"units": "m", "standard_name": f"projection_{axis}_coordinate"})
        for axis in ("y", "x")
    }
