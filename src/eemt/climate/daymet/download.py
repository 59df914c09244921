"""Downloads that are polite, patient within a budget, and whole or nothing."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import hashlib
import io
import os
import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin

import requests

import eemt
from eemt.climate.daymet.errors import AbsentError, ProviderError, RefusedError, TransientError
from eemt.climate.daymet.login import Nobody

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

USER_AGENT = f"eemt/{eemt.__version__} (maps of effective energy and mass transfer; python-requests)"
TIMEOUT = (10.0, 60.0)  # s, to connect and between two pieces of an answer
PATIENCE = 120.0  # s that a failing server is tried in a row, waiting included
FIRST_PAUSE = 1.0  # s; doubled after each failure
LONGEST_PAUSE = 30.0  # s
LEAST_RATE = 1000.0  # bytes s-1 below which an answer counts as timed out
MOST_REDIRECTS = 10
PIECE = 1 << 14  # bytes; the rate is looked at after each
BLOCK = 1 << 19  # bytes read at once of a file of which only parts are needed
BLOCKS_KEPT = 128

T = TypeVar("T")


class Fetcher:
    """Asks one provider's servers.

    Failures that may pass (429, 5xx, time-outs, lost connections, bodies that end too soon) are
    tried again after a pause that doubles, with jitter, or that the server asks for. All failures
    in a row share one budget of time; once it is used up, each later request gets one attempt, until
    one succeeds. So a server that is down for the night costs its budget once, not once a file.

    Parameters
    ----------
    login : Nobody
        What requests carry to prove who sends them.
    patience : float
        Budget [s].
    timeout : (float, float)
        To connect, and between two pieces of an answer [s].
    first_pause : float
        [s].
    """

    def __init__(
        self,
        login: Nobody | None = None,
        *,
        patience: float = PATIENCE,
        timeout: tuple[float, float] = TIMEOUT,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self.login = login or Nobody()
        self.patience = patience
        self.timeout = timeout
        self.first_pause = first_pause
        self._left = patience
        self._session = requests.Session()
        self._session.headers["User-Agent"] = USER_AGENT

    def content(self, url: str, query: Mapping[str, str] | None = None, check: Callable[[bytes], T] | None = None) -> T:
        """Return a small answer, as `check` makes it of the bytes.

        Raises
        ------
        ProviderError
            See `eemt.climate.daymet.errors`; also what `check` raises, `TransientError` after other attempts.
        """

        def attempt() -> T:
            with self._answer(url, query) as response:
                content = b"".join(_pieces(response, self.timeout[1]))
            return check(content) if check else content  # type: ignore[return-value]

        return self._patiently(attempt)

    def to_file(self, url: str, path: Path, check: Callable[[Path], T], query: Mapping[str, str] | None = None) -> T:
        """Write an answer to a file and return what `check` makes of it; raises as `content`."""

        def attempt() -> T:
            with self._answer(url, query) as response, path.open("wb") as target:
                for piece in _pieces(response, self.timeout[1]):
                    target.write(piece)
            return check(path)

        return self._patiently(attempt)

    def span(self, url: str, start: int, stop: int) -> tuple[bytes, int, str]:
        """Return some bytes of a file, the file's size, and the mark by which its version is known.

        Raises
        ------
        ProviderError
            RefusedError where the server does not give parts of files.
        """

        def attempt() -> tuple[bytes, int, str]:
            headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
            with self._answer(url, None, headers) as response:
                if response.status_code != 206:
                    kind = response.headers.get("Content-Type", "")
                    raise RefusedError(
                        f"sent {'a web page' if 'html' in kind else 'the whole file'} in place of a part"
                    )
                size = int(response.headers["Content-Range"].rpartition("/")[2])
                content = b"".join(_pieces(response, self.timeout[1]))
                mark = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
            if len(content) != min(stop, size) - start:
                raise TransientError(f"sent {len(content)} bytes of {min(stop, size) - start}")
            return content, size, mark

        return self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        start = time.monotonic()
        attempts = 0
        while True:
            attempts += 1
            try:
                result = attempt()
            except TransientError as fault:
                pause = self._pause(attempts) if fault.retry_after is None else fault.retry_after
                if time.monotonic() - start + pause > self._left:
                    self._left = 0.0
                    again = f" ({attempts} attempts)" if attempts > 1 else ""
                    wait = f" and asks to wait {pause:.0f} s" if fault.retry_after else ""
                    raise type(fault)(f"{fault}{wait}{again}") from None
                time.sleep(pause)
            else:
                self._left = self.patience
                return result

    def _pause(self, failures: int) -> float:
        # jitter, lest many jobs that failed together come back together
        return min(self.first_pause * 2.0 ** (failures - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)

    @contextlib.contextmanager
    def _answer(
        self, url: str, query: Mapping[str, str] | None, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """Open an answer of status 200 or 206, redirects followed; any failure is told in our own words.

        The words of the library are not passed on, since they quote URLs, which after a redirect
        may carry what nobody but the server should see.
        """
        try:
            response = self._followed(url, query, dict(headers or {}))
            with contextlib.closing(response):
                self._check_status(response)
                yield response
        except requests.exceptions.SSLError:
            raise ProviderError("has a certificate that is not trusted") from None
        except requests.exceptions.Timeout:
            raise TransientError("timed out") from None
        except requests.exceptions.ChunkedEncodingError:
            raise TransientError("broke off in mid-answer") from None
        except requests.exceptions.ConnectionError as error:
            raise TransientError(_what_happened(str(error).lower())) from None
        except requests.exceptions.RequestException as error:
            raise ProviderError(f"cannot be asked ({type(error).__name__})") from None

    def _followed(self, url: str, query: Mapping[str, str] | None, headers: dict[str, str]) -> requests.Response:
        """Follow redirects by hand, so that each server gets to see its own credentials and no other's."""
        target = requests.Request("GET", url, params=query).prepare().url or url
        for _ in range(MOST_REDIRECTS):
            response = self._session.get(
                target,
                headers=headers | self.login.headers(target),
                auth=lambda request: request,  # keeps requests from adding what netrc has for the host
                stream=True,
                allow_redirects=False,
                timeout=self.timeout,
            )
            if not response.is_redirect:
                return response
            response.close()
            target = urljoin(target, response.headers["Location"])
            self.login.check_redirect(target)
        raise RefusedError(f"redirects more than {MOST_REDIRECTS} times")

    def _check_status(self, response: requests.Response) -> None:
        status = response.status_code
        if status in {200, 206}:
            return
        if status in {401, 403, 407}:
            raise self.login.denied(status)
        if status in {404, 410}:
            raise AbsentError(f"has no such file (answers {status})")
        if status in {408, 425, 429} or status >= 500:
            raise TransientError(f"answers {status}", _retry_after(response.headers.get("Retry-After")))
        raise RefusedError(f"answers {status}")


class RemoteFile(io.RawIOBase):
    """A file on a server of which only the blocks that are asked for are read.

    Attributes
    ----------
    fault : ProviderError or None
        The failure that ended reading; HDF5 hides it behind an error of its own.
    """

    def __init__(self, fetcher: Fetcher, url: str, block: int = BLOCK) -> None:
        super().__init__()
        self._fetcher, self._url, self._block = fetcher, url, block
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        self.fault: ProviderError | None = None
        content, self.size, self._mark = fetcher.span(url, 0, block)
        self._blocks[0] = content

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return where reading goes on."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read on, up to the size of the buffer."""
        view = memoryview(buffer).cast("B")
        stop = min(self._position + len(view), self.size)
        filled = 0
        while self._position < stop:
            number, within = divmod(self._position, self._block)
            part = self._of_block(number)[within : within + stop - self._position]
            view[filled : filled + len(part)] = part
            filled += len(part)
            self._position += len(part)
        return filled

    def _of_block(self, number: int) -> bytes:
        if number not in self._blocks:
            try:
                self._blocks[number] = self._fetched(number)
            except ProviderError as fault:
                self.fault = fault
                raise OSError(str(fault)) from fault
            while len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _fetched(self, number: int) -> bytes:
        start = number * self._block
        content, size, mark = self._fetcher.span(self._url, start, min(start + self._block, self.size))
        if (size, mark) != (self.size, self._mark):
            raise RefusedError("changed the file while it was read")
        return content


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _pieces(response: requests.Response, longest: float) -> Iterator[bytes]:
    """Yield an answer's body; refuse one that ends too soon or that trickles."""
    start, received = time.monotonic(), 0
    for piece in response.iter_content(PIECE):
        received += len(piece)
        yield piece
        elapsed = time.monotonic() - start
        if elapsed > longest and received < LEAST_RATE * elapsed:
            raise TransientError(f"timed out: {received} bytes came in {elapsed:.0f} s")
    told = response.headers.get("Content-Length")
    if told and not response.headers.get("Content-Encoding") and received != int(told):
        raise TransientError(f"sent {received} bytes of {told}")


def _what_happened(error: str) -> str:
    # a time-out in mid-answer comes under the same name as a host that does not exist
    if "timed out" in error:
        return "timed out"
    return "broke off the connection" if re.search("reset|aborted|broken", error) else "cannot be reached"


def _retry_after(value: str | None) -> float | None:
    """Read the header Retry-After, seconds or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((until - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)
