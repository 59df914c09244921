"""Rasters and texts on servers: read in windows, again where a server failed, and never half.

GDAL reads by HTTP range requests. What it cannot read is tried again after a pause, with its cache
emptied, unless the server's answer to a small request of our own says that it is of no use.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import rasterio
from rasterio.errors import RasterioIOError

import eemt
from eemt.config import is_address
from eemt.errors import InputError
from eemt.raster import open_raster

T = TypeVar("T")

USER_AGENT = f"eemt/{eemt.__version__} (effective energy and mass transfer maps)"
LONGEST_TEXT = 64_000_000  # bytes; the longest list of pieces has 2 MB
BLOCK_CACHE = 128 * 2**20  # bytes of decoded blocks that GDAL keeps
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TOO_BUSY = (408, 425, 429)  # of the statuses under 500, those that pass


@dataclass(frozen=True)
class Patience:
    """How long a server that fails is asked again.

    Attributes
    ----------
    tries : int
        Requests for one and the same window or text.
    delay : float
        Pause before the second [s]; it doubles each time.
    budget : float
        Time after which there is no further try [s].
    """

    tries: int = 6
    delay: float = 1.0
    budget: float = 300.0

    def pauses(self) -> Iterator[float]:
        """Yield the pause before each further try, and wait that long, until tries or time are used up."""
        started = time.monotonic()
        for number in range(self.tries - 1):
            pause = self.delay * 2**number
            if time.monotonic() - started + pause > self.budget:
                return
            time.sleep(pause)
            yield pause


PATIENCE = Patience()


@dataclass(frozen=True)
class Place:
    """A raster's file name or http(s) address."""

    address: str

    @property
    def remote(self) -> bool:
        """Whether it is on a server."""
        return is_address(self.address)

    @property
    def shown(self) -> str:
        """The address without user, password and query, which may be secrets; a file's name as it is."""
        if not self.remote:
            return self.address
        parts = urllib.parse.urlsplit(self.address)
        return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def name(self) -> str:
        """Last part of the address, without folders."""
        return self.shown.rstrip("/").rpartition("/")[2] if self.remote else Path(self.address).name


@contextlib.contextmanager
def environment(patience: Patience | None = None) -> Iterator[None]:
    """Set GDAL up for reading remote rasters, with bounded memory, and keep its warnings to itself."""
    delay = (patience or PATIENCE).delay
    logger = logging.getLogger("rasterio")
    level = logger.level
    # GDAL's own words of a failed request hold the address, and with it what may be a secret
    logger.setLevel(logging.CRITICAL)
    try:
        with rasterio.Env(
            GDAL_CACHEMAX=BLOCK_CACHE,
            GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
            GDAL_HTTP_USERAGENT=USER_AGENT,
            GDAL_HTTP_MAX_RETRY=1,
            GDAL_HTTP_RETRY_DELAY=delay,
            GDAL_HTTP_CONNECTTIMEOUT=20,
            GDAL_HTTP_LOW_SPEED_LIMIT=1000,
            GDAL_HTTP_LOW_SPEED_TIME=30,
            GDAL_HTTP_MERGE_CONSECUTIVE_RANGES="YES",
            # what was fetched is forgotten when a raster is closed, and so is a failure
            CPL_VSIL_CURL_NON_CACHED="/vsicurl/",
        ):
            yield
    finally:
        logger.setLevel(level)


class OpenRasters:
    """Rasters that are kept open, local and remote, the least recently used being closed.

    Parameters
    ----------
    patience : Patience, optional
        With servers; `PATIENCE` by default.
    most : int
        How many are open at a time.
    """

    def __init__(self, patience: Patience | None = None, most: int = 32) -> None:
        self.patience = patience or PATIENCE
        self.most = most
        self._open: OrderedDict[Place, rasterio.DatasetReader] = OrderedDict()

    def use(self, place: Place, action: Callable[[rasterio.DatasetReader], T]) -> T:
        """Do something with a raster, such as read a window, again where a server failed.

        Raises
        ------
        InputError
            When it cannot be read: one line that names it and says what to do.
        """
        try:
            return action(self._reader(place))
        except RasterioIOError:
            self._close(place)
        if not place.remote:
            raise InputError(f"dem: {place.shown} cannot be read whole; it, or a file that it names, is damaged")
        refuse(place)
        for _ in self.patience.pauses():
            try:
                return action(self._reader(place))
            except RasterioIOError:
                self._close(place)
                refuse(place)
        raise InputError(f"dem: {place.shown} did not come whole in {self.patience.tries} tries; try again later")

    def _reader(self, place: Place) -> rasterio.DatasetReader:
        reader = self._open.pop(place, None)
        if reader is None:
            reader = rasterio.open(f"/vsicurl/{place.address}") if place.remote else open_raster(place.address)
        self._open[place] = reader
        while len(self._open) > self.most:
            self._open.popitem(last=False)[1].close()
        return reader

    def _close(self, place: Place) -> None:
        reader = self._open.pop(place, None)
        if reader is not None:
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()


def refuse(place: Place) -> None:
    """Raise when a server's answer says that a raster will not come, however often it is asked for.

    Raises
    ------
    InputError
        Naming it, and what to do.
    """
    try:
        with _ask(place.address, {"Range": "bytes=0-3"}) as answer:
            start = answer.read(4)
            kind = answer.headers.get("Content-Type", "")
            ranges = answer.status == 206
    except urllib.error.HTTPError as error:
        error.close()
        _refuse_status(place, error.code)
        return
    except (OSError, http.client.HTTPException):
        return
    if start not in TIFF_STARTS and ("html" in kind or start.lstrip()[:1] == b"<"):
        raise InputError(
            f"dem: {place.shown} is answered by a web page instead of a raster; does the server ask for a login? Fetch "
            "the file by hand and name it as dem.source"
        )
    if not ranges:
        raise InputError(
            f"dem: the server of {place.shown} sends no parts of files (HTTP Range); fetch the file by hand and "
            "name it as dem.source"
        )


def fetch_text(url: str, what: str, patience: Patience | None = None) -> str:
    """Fetch a text, again where the server failed.

    Parameters
    ----------
    url : str
    what : str
        What it is, for the error message.
    patience : Patience, optional

    Raises
    ------
    InputError
        When it does not come whole, or is no text of its kind but a web page.
    """
    place = Place(url)
    patience = patience or PATIENCE
    problem = _try_text(place, what)
    if isinstance(problem, bytes):
        return problem.decode("utf-8", errors="replace")
    for _ in patience.pauses():
        problem = _try_text(place, what)
        if isinstance(problem, bytes):
            return problem.decode("utf-8", errors="replace")
    raise InputError(
        f"dem: {what} did not come from {place.shown} ({problem}); try again later, or name a mirror by dem.base_url"
    )


def facts(place: Place) -> dict[str, Any]:
    """Return what a server says of the state of a file: its size, ETag and date; nothing where it does not answer."""
    try:
        with _ask(place.address, method="HEAD") as answer:
            said = answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        return {}
    except (OSError, http.client.HTTPException):
        return {}
    found = {"etag": said.get("ETag"), "last_modified": said.get("Last-Modified"), "size": said.get("Content-Length")}
    if found["size"] is not None:
        found["size"] = int(found["size"])
    return {key: value for key, value in found.items() if value is not None}


def _ask(url: str, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
    """Open a request; user and password of the address are for its own server alone, not where it points on to."""
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(
        urllib.parse.urlunsplit(parts._replace(netloc=host, fragment="")),
        headers={"User-Agent": USER_AGENT, **(headers or {})},
        method=method,
    )
    if login:
        secret = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return urllib.request.urlopen(request, timeout=30)


def _try_text(place: Place, what: str) -> bytes | str:
    """Return the text, or what went wrong for now."""
    try:
        with _ask(place.address) as answer:
            kind = answer.headers.get("Content-Type", "")
            text: bytes = answer.read(LONGEST_TEXT + 1)
            length = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        error.close()
        _refuse_status(place, error.code, what)
        return f"HTTP status {error.code}"
    except http.client.HTTPException:
        return "the connection broke"
    except OSError as error:
        reason = getattr(error, "reason", error)
        return f"no connection: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    if length is not None and len(text) < min(int(length), LONGEST_TEXT):
        return "it was cut short"
    if "html" in kind:
        raise InputError(f"dem: {what} is answered by a web page at {place.shown}; does the server ask for a login?")
    return text


def _refuse_status(place: Place, status: int, what: str = "") -> None:
    """Raise for a status that no further try will change."""
    named = f"{what}, {place.shown}," if what else place.shown
    if status in (401, 403):
        raise InputError(
            f"dem: the server refuses {named} without a permission (HTTP status {status}); fetch it by hand and name "
            "the file as dem.source, or take another server"
        )
    if status in (404, 410):
        raise InputError(
            f"dem: {named} is not on its server (HTTP status {status}); check the address, or take another server"
        )
    if status < 500 and status not in TOO_BUSY:
        raise InputError(f"dem: the server refuses {named} (HTTP status {status}); check the address")
