"""Daymet's providers on 127.0.0.1: a mirror with a subset service, NASA's OPeNDAP with its login, single pixels.

The files have the structure of Daymet V4 R1: full-size grids at their true coordinates, of which
only the cells around the site are stored, so that indices and byte ranges are true and files small.
The values are synthetic: a function of variable, year, day, row and column (`days`), rounded to
hundredths as the single-pixel service rounds its own.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import re
import tempfile
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from pyproj import Transformer
from scipy.io import netcdf_file

from servers.files import LOGIN_PAGE, FileServer, Handler

LCC = "+proj=lcc +lat_1=25 +lat_2=60 +lat_0=42.5 +lon_0=-100 +x_0=0 +y_0=0 +ellps=WGS84 +units=m +type=crs"
COLLECTION = "C2532426483-ORNL_CLOUD"
DAILY = re.compile(r"daymet_v4_daily_(na|hi|pr)_([a-z]+)_(\d{4})\.nc")
TO_METRES = Transformer.from_crs("EPSG:4326", LCC, always_xy=True)

# north-western centre, columns, rows; that of Puerto Rico is made up, as its true grid is not known here
GRIDS = {
    "na": (-4_560_250.0, 4_984_000.0, 7814, 8075),
    "hi": (-5_802_250.0, -39_000.0, 284, 584),
    "pr": (3_445_750.0, -1_686_000.0, 420, 520),
}
UNITS = {
    "tmin": "degrees C",
    "tmax": "degrees C",
    "prcp": "mm/day",
    "vp": "Pa",
    "srad": "W/m2",
    "dayl": "s",
    "swe": "kg/m2",
}
CSV_UNITS = {
    "prcp": "mm/day",
    "tmin": "deg c",
    "tmax": "deg c",
    "vp": "Pa",
    "srad": "W/m^2",
    "dayl": "s",
    "swe": "kg/m^2",
}
STORED = 40  # cells around the site that whole files hold values of


def days(variable: str, year: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Values of a year, float32 (365, rows, columns), of cells counted from the north-western one."""
    day, row, col = np.ix_(np.arange(365), np.asarray(rows), np.asarray(cols))
    season = -np.cos(2 * np.pi * (day - 20) / 365)
    weather = ((day * 7919 + year * 104_729) % 1009) / 1009 - 0.5
    relief = np.sin(row / 3.0) + np.cos(col / 4.0)
    minimum = 2.0 + 11.0 * season + 6.0 * weather + 2.0 * relief
    match variable:
        case "tmin":
            values = minimum
        case "tmax":
            values = minimum + 11.0 + 3.0 * ((day * 31 + row * 17 + col * 13) % 97) / 97
        case "prcp":
            values = np.maximum(((day * 613 + year * 31 + row * 7 + col * 3) % 211) - 150, 0) / 4.0
        case "vp":
            values = 610.7 * np.exp(17.38 * minimum / (239 + minimum)) + 0.0 * day
        case "srad":
            values = 320.0 + 120.0 * season + 60.0 * weather + 5.0 * relief
        case "dayl":
            values = 43_200.0 + 9000.0 * season + 2.0 * (row % 100) + 0.0 * col
        case "swe":
            values = np.maximum(-60.0 * season + 8.0 * relief, 0.0)
    return np.broadcast_to(np.round(values, 2), np.broadcast_shapes(day.shape, row.shape, col.shape)).astype(np.float32)


def elevation(row: int, col: int) -> float:
    """Elevation that the single-pixel service tells of a cell [m]."""
    return float(round(1800 + 150 * np.sin(row / 5) + 90 * np.cos(col / 3)))


def times(year: int) -> np.ndarray:
    """Daymet's times: noon, 365 days, days since 1950."""
    start = (datetime.date(year, 1, 1) - datetime.date(1950, 1, 1)).days
    return np.arange(start, start + 365, dtype=np.float32) + 0.5


@dataclass
class Spoil:
    pattern: re.Pattern[str]
    kind: str
    left: int | None


class DaymetServer(FileServer):
    """All providers on one port.

    Parameters
    ----------
    longitude, latitude : float
        Of the site, around which whole files hold values.
    token : str
        That the OPeNDAP server and the whole files want.
    folder : Path
        For the whole files it makes.
    subset_service : bool
        Whether the mirror has one.
    sea : bool
        Whether all cells are sea.

    Notes
    -----
    `base_urls` is what `DaymetSource` takes. Beside `fault`, `spoil` makes wrong files of kind
    ``one pixel``, ``other grid``, ``other year``, ``cut``, ``leap day``, ``fahrenheit``, ``holes``.
    """

    def __init__(
        self,
        folder: Path,
        longitude: float,
        latitude: float,
        *,
        token: str = "a-token-that-nobody-may-see",
        subset_service: bool = True,
        sea: bool = False,
    ) -> None:
        super().__init__(folder)
        self.place = (longitude, latitude)
        self.token = token
        self.subset_service = subset_service
        self.sea = sea
        self.login = LoginServer(token)
        self._spoils: list[Spoil] = []
        self._making = threading.Lock()

    @property
    def base_urls(self) -> dict[str, str]:
        return {
            "gdex": f"{self.url}/thredds",
            "earthdata": f"{self.url}/opendap",
            "data": f"{self.url}/data",
            "cmr": f"{self.url}/cmr",
            "login": self.login.public_url,
            "single_pixel": f"{self.url}/single-pixel",
        }

    def __enter__(self) -> Self:
        self.login.__enter__()
        self.login.data_url = self.url
        return super().__enter__()

    def __exit__(self, *trouble: object) -> None:
        super().__exit__(*trouble)
        self.login.__exit__(*trouble)

    def spoil(self, path: str, kind: str, times: int | None = None) -> None:
        """Let the next files whose path matches be wrong."""
        self._spoils.append(Spoil(re.compile(path), kind, times))

    def heal(self) -> None:
        super().heal()
        self._spoils.clear()

    def respond(self, handler: Handler) -> bool:
        path = handler.request_path
        ways = {
            "/thredds/ncss/grid/files/d682806/": self._subset,
            "/thredds/fileServer/files/d682806/": self._whole,
            f"/opendap/collections/{COLLECTION}/granules/Daymet_Daily_V4R1.": self._dap4,
            "/data/protected/daymet/Daymet_Daily_V4R1/data/": self._protected,
            "/data/public/daymet/Daymet_Daily_V4R1/data/": self._checksum,
            "/cmr/search/granules.umm_json": self._record,
            "/single-pixel/api/data": self._pixel,
        }
        for start, answer in ways.items():
            if path.startswith(start):
                answer(handler, path.removeprefix(start))
                return True
        handler.answer(b"404 not found\n", "text/plain", 404)
        return True

    def whole_file(self, name: str) -> Path:
        """Make a whole file, once, and return where it is."""
        region, variable, year = self._parts(name)
        path = Path(self.folder or ".") / name
        with self._making:
            if not path.exists():
                x, y = TO_METRES.transform(*self.place)
                write_whole(path, region, variable, year, x, y, self.sea)
        return path

    def _parts(self, name: str) -> tuple[str, str, int]:
        found = DAILY.match(name)
        assert found, name
        return found[1], found[2], int(found[3])

    def _kind_of_spoil(self, handler: Handler) -> str | None:
        for spoil in self._spoils:
            if spoil.left != 0 and spoil.pattern.search(handler.path):
                if spoil.left is not None:
                    spoil.left -= 1
                return spoil.kind
        return None

    def _known(self, handler: Handler, name: str, regions: str) -> bool:
        found = DAILY.match(name)
        if found and found[1] in regions.split() and found[2] in UNITS:
            return True
        handler.answer(b"404 not found\n", "text/plain", 404)
        return False

    def _subset(self, handler: Handler, name: str) -> None:
        """Answer as the NetCDF Subset Service: a box of degrees in, axes in kilometres out."""
        if not self.subset_service or not self._known(handler, name, "na hi"):
            if not self.subset_service:
                handler.answer(b"404 not found\n", "text/plain", 404)
            return
        region, variable, year = self._parts(name)
        if handler.query.get("var") != [variable]:
            handler.answer(b"Variable not found\n", "text/plain", 400)
            return
        west, south, east, north = (float(handler.query[key][0]) for key in ("west", "south", "east", "north"))
        x0, y0, width, height = GRIDS[region]
        box = TO_METRES.transform_bounds(west, south, east, north, densify_pts=51)
        cols = np.arange(max(int(np.ceil((box[0] - x0) / 1000)), 0), min(int((box[2] - x0) // 1000) + 1, width))
        rows = np.arange(max(int(np.ceil((y0 - box[3]) / 1000)), 0), min(int((y0 - box[1]) // 1000) + 1, height))
        if not len(cols) or not len(rows):
            handler.answer(b"Requested Lat/Lon Bounding box does not intersect the Data\n", "text/plain", 400)
            return
        content = self._file(handler, region, variable, year, rows, cols, kilometres=True)
        if handler.query.get("accept") == ["netcdf"]:
            content = classic(content, variable)
        handler.answer(content, "application/x-netcdf4", ranges=False)

    def _whole(self, handler: Handler, name: str) -> None:
        if self._known(handler, name, "na hi"):
            handler.answer(self.whole_file(name).read_bytes(), "application/x-netcdf", headers={"ETag": f'"{name}"'})

    def _protected(self, handler: Handler, name: str) -> None:
        if self._let_in(handler) and self._known(handler, name, "na hi pr"):
            content = self.whole_file(name).read_bytes()
            if self._kind_of_spoil(handler) == "cut":
                content = content[: len(content) // 2]
            handler.answer(content, "application/x-netcdf")

    def _checksum(self, handler: Handler, name: str) -> None:
        name = name.removesuffix(".sha256")
        if self._known(handler, name, "na hi pr"):
            digest = hashlib.sha256(self.whole_file(name).read_bytes()).hexdigest()
            handler.answer(f"{digest}  {name}\n".encode(), "text/plain")

    def _record(self, handler: Handler, _: str) -> None:
        """Answer as NASA's catalogue, in the structure of its granule records (UMM-G)."""
        name = handler.query["readable_granule_name"][0].removeprefix("Daymet_Daily_V4R1.")
        path = self.whole_file(name)
        content = path.read_bytes()
        handler.answer(json.dumps(granule_record(name, content)).encode(), "application/vnd.nasa.cmr.umm_results+json")

    def _dap4(self, handler: Handler, name: str) -> None:
        """Answer as Hyrax: index ranges in, axes in metres out; names of other kinds are not served."""
        if not name.endswith(".dap.nc4") or not self._known(handler, name, "na hi pr") or not self._let_in(handler):
            return
        region, variable, year = self._parts(name)
        _, _, width, height = GRIDS[region]
        ranges: dict[str, list[np.ndarray]] = {}
        for part in handler.query["dap4.ce"][0].split(";"):
            found = re.fullmatch(r"/(\w+)((?:\[\d+:\d+:\d+\])*)", part)
            if not found:
                handler.answer(b"malformed constraint\n", "text/plain", 400)
                return
            spans = re.findall(r"\[(\d+):(\d+):(\d+)\]", found[2])
            ranges[found[1]] = [np.arange(int(first), int(last) + 1, int(step)) for first, step, last in spans]
        cols = ranges["x"][0] if ranges.get("x") else np.arange(width)
        rows = ranges["y"][0] if ranges.get("y") else np.arange(height)
        if cols[-1] >= width or rows[-1] >= height:
            handler.answer(b"index out of range\n", "text/plain", 400)
            return
        with_days = variable in ranges
        content = self._file(handler, region, variable if with_days else None, year, rows, cols, kilometres=False)
        handler.answer(content, "application/x-netcdf;ver=4", ranges=False)

    def _let_in(self, handler: Handler) -> bool:
        """Take the token, or the cookie of a login; send everybody else to the login page."""
        shown = handler.headers.get("Authorization")
        if shown == f"Bearer {self.token}" or self.login.cookie in (handler.headers.get("Cookie") or ""):
            return True
        if handler.query.get("code") == [self.login.code]:
            handler.answer(
                b"",
                "text/plain",
                302,
                {
                    "Location": handler.request_path + "?" + _without_code(handler.path),
                    "Set-Cookie": f"{self.login.cookie}; Path=/",
                },
            )
            return False
        if shown:
            handler.answer(b'{"error":"invalid_token"}', "application/json", 401)
            return False
        back = urllib.parse.quote(f"{self.url}{handler.path}", safe="")
        target = f"{self.login.public_url}/oauth/authorize?client_id=opendap&response_type=code&redirect_uri={back}"
        handler.answer(b"", "text/plain", 302, {"Location": target})
        return False

    def _pixel(self, handler: Handler, _: str) -> None:
        """Answer as the single-pixel service, with its quirks."""
        query = handler.query
        x, y = TO_METRES.transform(float(query["lon"][0]), float(query["lat"][0]))
        x0, y0, width, height = GRIDS["na"]
        col, row = round((x - x0) / 1000), round((y0 - y) / 1000)
        if not (0 <= col < width and 0 <= row < height) or self.sea:
            handler.answer(b'{"message":"Daymet Tile was not found with input lat and lon"}', "application/json", 400)
            return
        names = query["vars"][0].split(",")
        if set(names) - set(UNITS):
            names = sorted(UNITS)  # an unknown name brings all variables
        asked = {int(year) for year in query["years"][0].split(",")}
        years = sorted(max(year, 1980) for year in asked)
        handler.answer(pixel_table(row, col, x, y, sorted(names), years).encode(), "text/csv", ranges=False)

    def _file(
        self,
        handler: Handler,
        region: str,
        variable: str | None,
        year: int,
        rows: np.ndarray,
        cols: np.ndarray,
        kilometres: bool,
    ) -> bytes:
        kind = self._kind_of_spoil(handler)
        if kind == "one pixel":
            rows, cols = rows[:1], cols[:1]
        values = None if variable is None else days(variable, year, rows, cols)
        if values is not None and self.sea:
            values = np.full_like(values, -9999.0)
        if values is not None and kind == "fahrenheit":
            values = values * 9 / 5 + 132
        if values is not None and kind == "holes":
            values[100:110, 0, 0] = -9999.0
        if kind == "other grid":
            rows, cols = rows + 3, cols - 5
        x0, y0, _, _ = GRIDS[region]
        content = subset_file(
            variable,
            values,
            times(year + 1 if kind == "other year" else year),
            x0 + 1000.0 * cols,
            y0 - 1000.0 * rows,
            kilometres,
            noleap=kind == "leap day",
        )
        return content[: len(content) // 2] if kind == "cut" else content


class LoginServer(FileServer):
    """Earthdata's login server: takes name and password, and sends back with a code."""

    def __init__(self, token: str) -> None:
        super().__init__(None)
        self.code = hashlib.sha256(f"code {token}".encode()).hexdigest()[:20]
        self.cookie = f"session={hashlib.sha256(f'cookie {token}'.encode()).hexdigest()[:20]}"
        self.name, self.password = "someone", "a-password-that-nobody-may-see"
        self.data_url = ""

    @property
    def public_url(self) -> str:
        """Under another host's name than the data, as the real one is."""
        return self.url.replace("127.0.0.1", "localhost")

    def respond(self, handler: Handler) -> bool:
        expected = base64.b64encode(f"{self.name}:{self.password}".encode()).decode()
        if handler.headers.get("Authorization") != f"Basic {expected}":
            handler.answer(LOGIN_PAGE, "text/html", 401 if handler.headers.get("Authorization") else 200)
            return True
        back = handler.query["redirect_uri"][0]
        handler.answer(b"", "text/plain", 302, {"Location": f"{back}&code={self.code}"})
        return True


def granule_record(name: str, content: bytes) -> dict[str, Any]:
    """Describe a file as NASA's catalogue does (UMM-G 1.6.4), by the fields that its Daymet records have."""
    base = "https://data.ornldaac.earthdata.nasa.gov"
    folder = "daymet/Daymet_Daily_V4R1/data"
    file_facts = {
        "Name": "Not provided",
        "Size": len(content) / 1e6,
        "SizeInBytes": len(content),
        "Checksum": {"Value": hashlib.sha256(content).hexdigest(), "Algorithm": "SHA-256"},
        "SizeUnit": "MB",
    }
    umm = {
        "GranuleUR": f"Daymet_Daily_V4R1.{name}",
        "CollectionReference": {"ShortName": "Daymet_Daily_V4R1_2129", "Version": "4.5"},
        "DataGranule": {
            "DayNightFlag": "Both",
            "ProductionDateTime": "2023-03-01T00:00:00.000Z",
            "ArchiveAndDistributionInformation": [file_facts],
        },
        "RelatedUrls": [
            {"URL": f"{base}/protected/{folder}/{name}", "Type": "GET DATA"},
            {"URL": f"{base}/public/{folder}/{name}.sha256", "Type": "GET DATA"},
        ],
        "MetadataSpecification": {"Name": "UMM-G", "Version": "1.6.4"},
    }
    meta = {"concept-type": "granule", "native-id": umm["GranuleUR"], "provider-id": "ORNL_CLOUD"}
    return {"hits": 1, "took": 372, "items": [{"meta": meta, "umm": umm}]}


def pixel_table(row: int, col: int, x: float, y: float, names: list[str], years: list[int]) -> str:
    """Write a table as the single-pixel service does, preamble included."""
    longitude, latitude = TO_METRES.transform(x, y, direction="INVERSE")
    lines = [
        f"Latitude: {latitude:.4f}  Longitude: {longitude:.4f}",
        f"X & Y on Lambert Conformal Conic: {x:.2f} {y:.2f}",
        "Tile: 11736",
        f"Elevation: {elevation(row, col):.0f} meters",
        "All years; all variables; Daymet Software Version 4.0",
        "How to cite: Thornton; M.M.; R. Shrestha; Y. Wei; P.E. Thornton; S-C. Kao; and B.E. Wilson. 2022. Daymet.",
        "year,yday," + ",".join(f"{name} ({CSV_UNITS[name]})" for name in names),
    ]
    for year in years:
        columns = [days(name, year, np.array([row]), np.array([col]))[:, 0, 0] for name in names]
        for day in range(365):
            lines.append(f"{year},{day + 1}," + ",".join(f"{column[day]:.2f}" for column in columns))
    return "\n".join(lines) + "\n"


def subset_file(
    variable: str | None,
    values: np.ndarray | None,
    time: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    kilometres: bool,
    noleap: bool = False,
) -> bytes:
    """Make a NetCDF-4 file of some cells; `noleap` puts 31 December in place of 29 February."""
    buffer = io.BytesIO()
    if noleap:
        time = np.delete(np.append(time, time[-1] + 1), 59)
    with h5py.File(buffer, "w") as file:
        scale = 1000.0 if kilometres else 1.0
        _axes(file, time, (y / scale).astype(np.float32), (x / scale).astype(np.float32), "km" if kilometres else "m")
        if variable is not None:
            data = file.create_dataset(variable, data=values, compression="gzip", compression_opts=1)
            _describe(file, data, variable)
    return buffer.getvalue()


def classic(content: bytes, variable: str) -> bytes:
    """Write a subset as NetCDF-3, as the old subset service did."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as source, netcdf_file(buffer, "w", version=2) as target:
        for name in ("time", "y", "x"):
            target.createDimension(name, len(source[name]))
            axis = target.createVariable(name, "f", (name,))
            axis[:] = source[name][()]
            axis.units = source[name].attrs["units"]
        data = target.createVariable(variable, "f", ("time", "y", "x"))
        data[:] = source[variable][()]
        data._FillValue = np.float32(-9999)
        target.flush()
        return buffer.getvalue()


def write_whole(path: Path, region: str, variable: str, year: int, x: float, y: float, sea: bool = False) -> None:
    """Make a whole file, full size, with values around a place and no stored chunk elsewhere."""
    x0, y0, width, height = GRIDS[region]
    col, row = round((x - x0) / 1000), round((y0 - y) / 1000)
    rows = np.arange(max(row - STORED, 0), min(row + STORED, height))
    cols = np.arange(max(col - STORED, 0), min(col + STORED, width))
    chunks = (1, min(1000, height), min(1000, width)) if year < 2020 else (10, min(300, height), min(300, width))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        partial = Path(folder) / path.name
        with h5py.File(partial, "w") as file:
            ys, xs = y0 - 1000.0 * np.arange(height), x0 + 1000.0 * np.arange(width)
            _axes(file, times(year), ys.astype(np.float32), xs.astype(np.float32), "m")
            for name in ("lat", "lon"):
                file.create_dataset(
                    name, (height, width), "f4", chunks=chunks[1:], compression="gzip", fillvalue=-9999.0
                )
            data = file.create_dataset(
                variable,
                (365, height, width),
                "f4",
                chunks=chunks,
                compression="gzip",
                compression_opts=1,
                shuffle=year >= 2020,
                fillvalue=0.0 if year < 2020 else -9999.0,
            )
            _describe(file, data, variable)
            values = days(variable, year, rows, cols)
            data[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] = np.full_like(values, -9999.0) if sea else values
        partial.replace(path)


def _axes(file: h5py.File, time: np.ndarray, y: np.ndarray, x: np.ndarray, unit: str) -> None:
    file.attrs["Conventions"] = "CF-1.6"
    file.attrs["source"] = "Daymet Software Version 4.0"
    file.attrs["Version_data"] = "Daymet Data Version 4.0"
    for name, axis in (("time", time), ("y", y), ("x", x)):
        data = file.create_dataset(name, data=axis)
        data.make_scale(name)
    file["time"].attrs.update(
        {"units": "days since 1950-01-01 00:00:00", "calendar": "standard", "bounds": "time_bnds"}
    )
    file["x"].attrs.update({"units": unit, "standard_name": "projection_x_coordinate"})
    file["y"].attrs.update({"units": unit, "standard_name": "projection_y_coordinate"})
    file["yearday"] = np.arange(1, 366, dtype=np.int16)
    file["time_bnds"] = np.stack([time - 0.5, time + 0.5], axis=1)
    mapping = file.create_dataset("lambert_conformal_conic", data=np.int16(0))
    mapping.attrs.update(
        {
            "grid_mapping_name": "lambert_conformal_conic",
            "longitude_of_central_meridian": -100.0,
            "latitude_of_projection_origin": 42.5,
            "standard_parallel": np.array([25.0, 60.0]),
            "false_easting": 0.0,
            "false_northing": 0.0,
            "semi_major_axis": 6378137.0,
            "inverse_flattening": 298.257223563,
        }
    )


def _describe(file: h5py.File, data: h5py.Dataset, variable: str) -> None:
    for number, name in enumerate(("time", "y", "x")):
        data.dims[number].attach_scale(file[name])
    data.attrs.update(
        {
            "_FillValue": np.float32(-9999),
            "missing_value": np.float32(-9999),
            "units": UNITS[variable],
            "coordinates": "lat lon",
            "grid_mapping": "lambert_conformal_conic",
        }
    )


def _without_code(path: str) -> str:
    query = urllib.parse.urlsplit(path).query
    return "&".join(part for part in query.split("&") if not part.startswith("code="))
