"""A file server over HTTP with byte ranges, a log of what was asked, and failures on demand.

    with FileServer(folder) as server:
        server.fault(r"\\.tif$", "status:503", times=2)
        fetch(f"{server.url}/a.tif")
        assert server.requests[0].status == 503

A subclass answers paths of its own in `FileServer.respond`, with `Handler.answer`: ranges, the
log and the failures then hold for them too.
"""

from __future__ import annotations

import contextlib
import email.utils
import mimetypes
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

LOGIN_PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head><body><form>Password</form></body></html>\n"
BEFORE_BODY = ("status", "html", "redirect")
IN_BODY = ("truncate", "reset", "slow")


@dataclass
class Request:
    """One request as it was answered.

    Attributes
    ----------
    method, path : str
        The path with its query, as sent.
    range : str or None
        The header Range.
    headers : dict
        All headers, their names in lower case.
    status : int
        Sent back; 0 while there is no answer yet.
    fault : str or None
        Kind of the failure that was put upon it.
    """

    method: str
    path: str
    range: str | None
    headers: dict[str, str]
    status: int = 0
    fault: str | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        """Values of each key of the query."""
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, keep_blank_values=True)


@dataclass
class Fault:
    """A failure that the next requests whose path matches meet with."""

    pattern: re.Pattern[str]
    kind: str
    left: int | None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """First word of the kind."""
        return self.kind.partition(":")[0]

    @property
    def value(self) -> str:
        """What stands behind the colon of the kind."""
        return self.kind.partition(":")[2]


class FileServer:
    """Serves the files of a folder on 127.0.0.1, on a port of the system's choice.

    Parameters
    ----------
    folder : Path
        Served as the root. A subclass that makes all its answers may do without.

    Attributes
    ----------
    url : str
        ``http://127.0.0.1:PORT``, without a slash at the end.
    requests : list of Request
        In the order of arrival.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder.resolve() if folder else None
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Address of the root."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self, path: str, kind: str, times: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Let requests fail; of several rules that match, the first given that is not used up counts.

        Parameters
        ----------
        path : str
            Regular expression, searched for in the path with its query.
        kind : str
            ``status:503`` (any status, with a short text), ``html`` (200 and a login page),
            ``redirect:URL`` (302); in the body of a GET: ``truncate`` (Content-Length tells of
            the whole, half comes), ``reset`` (half comes, then a TCP reset), ``slow`` or
            ``slow:SECONDS`` (the body drips over that time; default 1 s).
        times : int, optional
            How many requests fail; default all.
        headers : mapping, optional
            Further headers of a ``status`` or ``redirect``, such as Retry-After.
        """
        fault = Fault(re.compile(path), kind, times, headers or {})
        if fault.name not in BEFORE_BODY + IN_BODY:
            raise ValueError(f"kind: {kind} is none of {', '.join(BEFORE_BODY + IN_BODY)}")
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """Forget all failures."""
        with self._lock:
            self._faults.clear()

    def respond(self, handler: Handler) -> bool:  # noqa: ARG002
        """Answer a request that no file is to answer, by `Handler.answer`, and say whether it was answered.

        For subclasses; called for every GET and HEAD before files are looked for. It runs in the
        thread of the request.
        """
        return False

    def take_fault(self, method: str, path: str) -> Fault | None:
        """Return the failure that a request is to meet with, and count it."""
        with self._lock:
            for fault in self._faults:
                concerns = fault.name in BEFORE_BODY or method == "GET"
                if concerns and fault.left != 0 and fault.pattern.search(path):
                    if fault.left is not None:
                        fault.left -= 1
                    return fault
        return None

    def log(self, request: Request) -> None:
        """Keep a request."""
        with self._lock:
            self.requests.append(request)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection to a `FileServer`.

    Attributes
    ----------
    request_path : str
        Path without query, percent-decoded.
    query : dict
        Values of each key of the query.
    """

    protocol_version = "HTTP/1.1"
    server_version = "files"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer_request()

    def do_HEAD(self) -> None:
        """Answer a HEAD."""
        self._answer_request()

    def answer(
        self,
        content: bytes,
        content_type: str = "application/octet-stream",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        ranges: bool = True,
    ) -> None:
        """Send an answer: of the range asked for where `ranges` allow it, without body to a HEAD."""
        start, stop = 0, len(content)
        extra = dict(headers or {})
        if ranges and status == 200:
            extra["Accept-Ranges"] = "bytes"
            span = _span_of(self.headers.get("Range"), len(content))
            if span == "outside":
                extra["Content-Range"] = f"bytes */{len(content)}"
                status, start, stop = 416, 0, 0
            elif span is not None:
                start, stop = span
                extra["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
                status = 206
        self._send(status, content_type, content[start:stop], extra)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing on the error stream."""

    def _answer_request(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        self.request_path = urllib.parse.unquote(parts.path)
        self.query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        names = {name.lower(): value for name, value in self.headers.items()}
        self._request = Request(self.command, self.path, names.get("range"), names)
        self._fault = self.server.owner.take_fault(self.command, self.path)
        self._request.fault = self._fault.kind if self._fault else None
        self.server.owner.log(self._request)
        if self._fault and self._fault.name in BEFORE_BODY:
            self._refuse(self._fault)
        elif not self.server.owner.respond(self):
            self._answer_with_file()

    def _refuse(self, fault: Fault) -> None:
        match fault.name:
            case "status":
                status = int(fault.value)
                body = b"" if status in (204, 304) else f"{status} as told\n".encode()
                self._send(status, "text/plain", body, fault.headers)
            case "html":
                self._send(200, "text/html", LOGIN_PAGE, fault.headers)
            case "redirect":
                self._send(302, "text/plain", b"", {"Location": fault.value, **fault.headers})

    def _answer_with_file(self) -> None:
        path = self._file()
        if path is None:
            self.answer(b"404 not found\n", "text/plain", 404)
            return
        facts = path.stat()
        headers = {
            "ETag": f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"',
            "Last-Modified": email.utils.formatdate(facts.st_mtime, usegmt=True),
        }
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.answer(path.read_bytes(), kind, headers=headers)

    def _file(self) -> Path | None:
        folder = self.server.owner.folder
        if folder is None:
            return None
        path = (folder / self.request_path.lstrip("/")).resolve()
        return path if path.is_file() and path.is_relative_to(folder) else None

    def _send(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
        self._request.status = status
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and body:
            self._send_body(body)

    def _send_body(self, body: bytes) -> None:
        match self._fault.name if self._fault else None:
            case "truncate" | "reset":
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.close_connection = True
                if self._fault and self._fault.name == "reset":
                    self.server.reset(self.connection)
            case "slow":
                piece = max(len(body) // 10, 1)
                pause = float(self._fault.value or 1) / 10 if self._fault else 0.0
                for start in range(0, len(body), piece):
                    time.sleep(pause)
                    self.wfile.write(body[start : start + piece])
                    self.wfile.flush()
            case _:
                self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: FileServer

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        self._to_reset: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request in self._to_reset:
            # without a shutdown, which would end the stream in order before the reset
            self._to_reset.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def reset(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._to_reset.add(connection)

    def close_connections(self) -> None:
        """End the connections that clients keep open, and with them their threads."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


def _span_of(header: str | None, size: int) -> tuple[int, int] | str | None:
    """Return first byte and end of a range; None for the whole, ``outside`` where it has no byte."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        return (max(size - int(last), 0), size) if int(last) and size else "outside"
    stop = min(int(last) + 1, size) if last else size
    return (int(first), stop) if int(first) < stop else "outside"
