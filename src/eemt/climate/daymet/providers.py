"""Who has Daymet, and how each is asked for a year of one variable on some cells."""

from __future__ import annotations

import abc
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from eemt.climate.daymet.cache import Cache, now, write_json
from eemt.climate.daymet.check import Floats, check_kind, check_values, read_axes, read_daily
from eemt.climate.daymet.download import PATIENCE, TIMEOUT, Fetcher, RemoteFile, sha256_of
from eemt.climate.daymet.errors import AbsentError, DeniedError, ProviderError, RefusedError, TransientError
from eemt.climate.daymet.grid import DAYS, PUERTO_RICO_FIRST_YEAR, Region, Window
from eemt.climate.daymet.login import Earthdata
from eemt.climate.daymet.pixel import Pixel, read_pixel
from eemt.errors import InputError
from eemt.raster import whole_or_nothing

COLLECTION = "C2532426483-ORNL_CLOUD"  # Daymet V4 R1 daily, doi:10.3334/ORNLDAAC/2129
BASE_URLS = {
    "gdex": "https://tds.gdex.ucar.edu/thredds",
    "earthdata": "https://opendap.earthdata.nasa.gov",
    "data": "https://data.ornldaac.earthdata.nasa.gov",
    "cmr": "https://cmr.earthdata.nasa.gov",
    "login": "https://urs.earthdata.nasa.gov",
    "single_pixel": "https://daymet.ornl.gov/single-pixel",
}
PROVIDERS = ("local", "gdex", "earthdata", "single_pixel")

T = TypeVar("T")


@dataclass(frozen=True)
class Delivery:
    """A year's days of one variable, and how they came.

    Attributes
    ----------
    values : ndarray float32 (365, rows, columns)
    origin : dict
        For the sidecar: provider, method, url, and the SHA-256 of a whole file.
    """

    values: Floats
    origin: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What all providers are told.

    Attributes
    ----------
    cache : Cache
    base_urls : mapping
        Of servers to ask instead of the public ones.
    variables : tuple of str
        All that a run needs; the single-pixel service gives them at once.
    local : Path, optional
        Folder of files already on disk.
    whole_files : bool
        Whether files of some GB may be downloaded.
    max_single_pixel_cells : int
    patience, timeout
        See `eemt.climate.daymet.download.Fetcher`.
    """

    cache: Cache
    base_urls: Mapping[str, str]
    variables: tuple[str, ...]
    local: Path | None = None
    whole_files: bool = False
    max_single_pixel_cells: int = 121
    patience: float = PATIENCE
    timeout: tuple[float, float] = TIMEOUT
    first_pause: float = 1.0

    def url(self, name: str) -> str:
        """Return a server's base URL without a slash at its end."""
        return checked_url(name, self.base_urls.get(name, BASE_URLS[name]))

    def fetcher(self, login: Earthdata | None = None) -> Fetcher:
        """Make what asks a provider's servers."""
        return Fetcher(login, patience=self.patience, timeout=self.timeout, first_pause=self.first_pause)


class Provider(Protocol):
    """Something that has Daymet's days."""

    name: str

    def daily(self, window: Window, variable: str, year: int) -> Delivery:
        """Return a year's days, checked.

        Raises
        ------
        ProviderError
            With the reason, in words.
        """
        ...

    def region(self, name: str) -> Region:
        """Read where a region's cells are, of a region that is not known beforehand."""
        ...


def make(name: str, options: Options) -> Provider:
    """Make a provider by its name."""
    kinds: dict[str, Callable[[Options], Provider]] = {
        "local": Local,
        "gdex": Gdex,
        "earthdata": EarthdataCloud,
        "single_pixel": SinglePixel,
    }
    return kinds[name](options)


def file_name(region: str, variable: str, year: int) -> str:
    """Return the name of a daily file."""
    return f"daymet_v4_daily_{region}_{variable}_{year}.nc"


def checked_url(name: str, url: str) -> str:
    """Return a base URL that is fit to be shown and written to disk.

    Raises
    ------
    InputError
        When it is none, or carries a secret.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(f"climate.base_urls.{name}: is no address; one such as {BASE_URLS[name]} is needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"climate.base_urls.{name}: carries a name, a password or a query; "
            "logins are taken from EARTHDATA_TOKEN or ~/.netrc"
        )
    return url.rstrip("/")


class Local:
    """Files already on disk: whole ones, or parts with or without axes in kilometres."""

    name = "local"

    def __init__(self, options: Options) -> None:
        self._folder = options.local

    def daily(self, window: Window, variable: str, year: int) -> Delivery:
        """Return the days from the first file that has them."""
        reasons = []
        for path in self._files(window.region.name, variable, year):
            try:
                values = read_daily(path, window, variable, year)
            except ProviderError as fault:
                reasons.append(f"{path.name} {fault}".replace(" sent ", " has "))
            else:
                return Delivery(values, {"provider": self.name, "method": "file", "url": path.name})
        raise AbsentError(
            "; ".join(reasons) or f"{self._folder} has no {file_name(window.region.name, variable, year)}"
        )

    def region(self, name: str) -> Region:
        """Read the axes of any file of the region."""
        for path in self._files(name, "*", "*"):
            return read_axes(path, name, PUERTO_RICO_FIRST_YEAR)
        raise AbsentError(f"{self._folder} has no file of the region {name}")

    def _files(self, region: str, variable: str, year: int | str) -> list[Path]:
        if self._folder is None:
            raise AbsentError("climate.local names no folder")
        return sorted(self._folder.glob(f"**/*daymet_v4_daily_{region}_{variable}_{year}*.nc*"))


class _Files(abc.ABC):
    """Servers of gridded files: parts of them where possible, whole ones where allowed."""

    name: str

    def __init__(self, options: Options, login: Earthdata | None = None) -> None:
        self._options = options
        self._fetcher = options.fetcher(login)
        self._given_up: dict[str, str] = {}

    def daily(self, window: Window, variable: str, year: int) -> Delivery:
        """Return the days by the first way that works."""
        self._fetcher.login.check()
        reasons = []
        absent = {}
        for method, way in self._ways(window).items():
            if method in self._given_up:
                reasons.append(f"{method} {self._given_up[method]}")
                continue
            try:
                values, origin = way(window, variable, year)
            except ProviderError as fault:
                reasons.append(f"{method} {fault}")
                if isinstance(fault, DeniedError):
                    break
                if isinstance(fault, AbsentError):
                    absent[method] = str(fault)
            else:
                # the file is there, so it is the service that is not
                self._given_up |= absent
                return Delivery(values, {"provider": self.name, "method": method, **origin})
        raise AbsentError("; ".join(reasons))

    def region(self, name: str) -> Region:
        """Not known here."""
        raise AbsentError(f"has no files of the region {name}")

    @abc.abstractmethod
    def _ways(self, window: Window) -> dict[str, Callable[[Window, str, int], tuple[Floats, dict[str, Any]]]]:
        """Return the ways to get at a part of a file, the best first, each under a name for messages."""

    def _part(self, url: str, query: Mapping[str, str] | None, check: Callable[[Path], T]) -> T:
        """Download a part of a file for as long as it takes to read it."""
        with self._options.cache.scratch() as partial:
            return self._fetcher.to_file(url, partial, check, query)

    def _whole(self, url: str, window: Window, variable: str, year: int) -> tuple[Floats, dict[str, Any]]:
        """Download a whole file, compare it with its published SHA-256, and keep it."""
        path = self._options.cache.folder / "whole" / file_name(window.region.name, variable, year)
        with self._options.cache.locked(path):
            if not path.exists():
                with whole_or_nothing(path) as partial:
                    published = self._published_sha256(path.name)
                    self._fetcher.to_file(url, partial, _same_as(published))
                    read_daily(partial, window, variable, year)
                    record = {"url": url, "retrieved": now(), "sha256": sha256_of(partial)}
                write_json(path.with_suffix(".json"), record | {"published_sha256": published})
        values = read_daily(path, window, variable, year)
        return values, {"url": url, "whole_file_sha256": sha256_of(path)}

    def _published_sha256(self, name: str) -> str | None:
        """Look up a whole file's SHA-256, beside the file or in NASA's catalogue; None where neither answers."""
        fetcher = self._options.fetcher()
        beside = f"{self._options.url('data')}/public/daymet/Daymet_Daily_V4R1/data/{name}.sha256"
        try:
            return fetcher.content(beside, check=_sha256_in)
        except ProviderError:
            pass
        query = {"collection_concept_id": COLLECTION, "readable_granule_name": f"Daymet_Daily_V4R1.{name}"}
        url = f"{self._options.url('cmr')}/search/granules.umm_json"
        try:
            return fetcher.content(url, query, lambda content: sha256_in_record(content, name))
        except ProviderError:
            return None


class Gdex(_Files):
    """NCAR's mirror: North America and Hawaii, daily, without a login."""

    name = "gdex"
    FOLDER = "files/d682806"

    def _ways(self, window: Window) -> dict[str, Callable[[Window, str, int], tuple[Floats, dict[str, Any]]]]:
        if window.region.name == "pr":
            raise AbsentError("has no files of Puerto Rico")
        ways = {"subset service": self._subset, "byte ranges": self._byte_ranges}
        return ways | ({"whole file": self._whole_file} if self._options.whole_files else {})

    def _subset(self, window: Window, variable: str, year: int) -> tuple[Floats, dict[str, Any]]:
        west, south, east, north = window.degrees()
        url = f"{self._options.url(self.name)}/ncss/grid/{self.FOLDER}/{file_name(window.region.name, variable, year)}"
        query = {
            "var": variable,
            "north": f"{north:.6f}",
            "west": f"{west:.6f}",
            "east": f"{east:.6f}",
            "south": f"{south:.6f}",
            "horizStride": "1",
            "time_start": f"{year}-01-01T12:00:00Z",
            "time_end": f"{year}-12-31T12:00:00Z",
            "accept": "netcdf4",
        }
        return self._part(url, query, lambda path: read_daily(path, window, variable, year)), {"url": url}

    def _byte_ranges(self, window: Window, variable: str, year: int) -> tuple[Floats, dict[str, Any]]:
        url = self._file_url(window, variable, year)
        remote = RemoteFile(self._fetcher, url)
        try:
            return read_daily(remote, window, variable, year), {"url": url}
        except ProviderError:
            if remote.fault:
                raise remote.fault from None
            raise

    def _whole_file(self, window: Window, variable: str, year: int) -> tuple[Floats, dict[str, Any]]:
        return self._whole(self._file_url(window, variable, year), window, variable, year)

    def _file_url(self, window: Window, variable: str, year: int) -> str:
        name = file_name(window.region.name, variable, year)
        return f"{self._options.url(self.name)}/fileServer/{self.FOLDER}/{name}"


class EarthdataCloud(_Files):
    """NASA: all regions and years, with a login; parts by OPeNDAP (Hyrax, DAP4)."""

    name = "earthdata"

    def __init__(self, options: Options) -> None:
        super().__init__(options, Earthdata([options.url("earthdata"), options.url("data")], options.url("login")))

    def region(self, name: str) -> Region:
        """Read the axes of the region's first year."""
        self._fetcher.login.check()
        url = self._granule(name, "tmin", PUERTO_RICO_FIRST_YEAR)
        query = {"dap4.ce": "/x;/y"}
        return self._part(url, query, lambda path: read_axes(path, name, PUERTO_RICO_FIRST_YEAR))

    def _ways(self, window: Window) -> dict[str, Callable[[Window, str, int], tuple[Floats, dict[str, Any]]]]:  # noqa: ARG002
        ways = {"OPeNDAP": self._dap4}
        return ways | ({"whole file": self._whole_file} if self._options.whole_files else {})

    def _dap4(self, window: Window, variable: str, year: int) -> tuple[Floats, dict[str, Any]]:
        url = self._granule(window.region.name, variable, year)
        rows = f"[{window.first_row}:1:{window.end_row - 1}]"
        cols = f"[{window.first_col}:1:{window.end_col - 1}]"
        days = f"[0:1:{DAYS - 1}]"
        parts = [f"/{variable}{days}{rows}{cols}", f"/x{cols}", f"/y{rows}", f"/time{days}", f"/yearday{days}"]
        query = {"dap4.ce": ";".join([*parts, "/lambert_conformal_conic"])}
        return self._part(url, query, lambda path: read_daily(path, window, variable, year)), {"url": url}

    def _whole_file(self, window: Window, variable: str, year: int) -> tuple[Floats, dict[str, Any]]:
        folder = f"{self._options.url('data')}/protected/daymet/Daymet_Daily_V4R1/data"
        return self._whole(f"{folder}/{file_name(window.region.name, variable, year)}", window, variable, year)

    def _granule(self, region: str, variable: str, year: int) -> str:
        name = f"Daymet_Daily_V4R1.{file_name(region, variable, year)}"
        return f"{self._options.url(self.name)}/collections/{COLLECTION}/granules/{name}.dap.nc4"


class SinglePixel:
    """The service of single cells: one request a cell and year, for small sites."""

    name = "single_pixel"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._fetcher = options.fetcher()

    def daily(self, window: Window, variable: str, year: int) -> Delivery:
        """Return the days, cell by cell."""
        pixels = self.pixels(window, year)
        values = np.full((DAYS, *window.shape), np.nan, dtype=np.float32)
        for (row, col), pixel in pixels.items():
            values[:, row, col] = pixel.days[variable]
        check_values(values, variable)
        origin = {"provider": self.name, "method": f"{len(pixels)} cells", "url": self._url()}
        return Delivery(values, origin)

    def region(self, name: str) -> Region:
        """Not told by this service."""
        raise AbsentError(f"does not say where the cells of the region {name} are")

    def pixels(self, window: Window, year: int) -> dict[tuple[int, int], Pixel]:
        """Return the cells that the service has, by row and column of the window."""
        cells = window.shape[0] * window.shape[1]
        most = self._options.max_single_pixel_cells
        if cells > most:
            raise RefusedError(f"is not asked for {cells} cells; climate.max_single_pixel_cells is {most}")
        found = {}
        longitude, latitude = window.centres()
        for row, col in np.ndindex(window.shape):
            place = (float(longitude[row, col]), float(latitude[row, col]))
            pixel = self._pixel(window, row, col, place, year)
            if pixel is not None:
                found[row, col] = pixel
        if not found:
            raise RefusedError("has none of the cells")
        return found

    def _pixel(self, window: Window, row: int, col: int, place: tuple[float, float], year: int) -> Pixel | None:
        """Return one cell's year, from disk where it is; None where the service has no such cell, as over the sea."""
        variables = tuple(sorted(self._options.variables))
        x, y = float(window.x[col]), float(window.y[row])
        cell = f"y{window.first_row + row}_x{window.first_col + col}"
        folder = self._options.cache.folder / window.region.name / "pixels"
        path = folder / f"{cell}_{year}_{'-'.join(variables)}.csv"
        try:
            return read_pixel(path.read_bytes(), variables, year, x, y)
        except (OSError, ProviderError):
            pass
        query = {
            "lat": f"{place[1]:.6f}",
            "lon": f"{place[0]:.6f}",
            "vars": ",".join(variables),
            "years": str(year),
        }

        def kept(content: bytes) -> Pixel:
            pixel = read_pixel(content, variables, year, x, y)
            with whole_or_nothing(path) as partial:
                partial.write_bytes(content)
            record = {"url": self._url(), "query": query, "retrieved": now(), "sha256": sha256_of(path)}
            write_json(path.with_suffix(".json"), record)
            return pixel

        try:
            return self._fetcher.content(self._url(), query, kept)
        except AbsentError:
            raise
        except RefusedError as fault:
            if str(fault) == "answers 400":
                return None
            raise

    def _url(self) -> str:
        return f"{self._options.url(self.name)}/api/data"


def sha256_in_record(content: bytes, name: str) -> str:
    """Return a file's SHA-256 from the record of NASA's catalogue (CMR, UMM-G).

    Raises
    ------
    ProviderError
        When the record does not say it.
    """
    try:
        records = [item["umm"] for item in json.loads(content)["items"]]
        # the name of the file within the record reads "Not provided"
        of_file = [record for record in records if record["GranuleUR"] == f"Daymet_Daily_V4R1.{name}"]
        parts = [part for record in of_file for part in record["DataGranule"]["ArchiveAndDistributionInformation"]]
        checksums = [part["Checksum"] for part in parts if "Checksum" in part]
    except (ValueError, KeyError, TypeError):
        raise RefusedError("sent no record of files") from None
    for checksum in checksums:
        if checksum.get("Algorithm") == "SHA-256":
            return str(checksum["Value"]).lower()
    raise AbsentError(f"has no SHA-256 of {name}")


def _sha256_in(content: bytes) -> str:
    found = re.search(rb"\b[0-9a-fA-F]{64}\b", content[:1000])
    if found is None:
        raise RefusedError("sent no SHA-256")
    return found[0].decode().lower()


def _same_as(published: str | None) -> Callable[[Path], None]:
    """Return the check of a whole file: its kind, and its SHA-256 where it is published."""

    def check(path: Path) -> None:
        with path.open("rb") as source:
            check_kind(source.read(1024))
        found = sha256_of(path)
        if published and found != published:
            raise TransientError(f"sent a file whose SHA-256 is {found[:12]}…, not {published[:12]}… as published")

    return check
