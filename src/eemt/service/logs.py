"""The service's own log: one JSON object a line with the request's identifier, for people where a terminal reads.

Nothing of a query stands in it, nor anything that looks like a key: addresses of databases lose their passwords.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path

from fastapi import FastAPI
from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eemt.service.settings import Settings

FILE = "service.log"
HEADER = "X-Request-ID"
GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")  # identifiers that a proxy may have given
HIDDEN = (
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+@"), r"\1…@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 …"),
    (
        re.compile(
            r"(?i)\b((?:password|passwd|token|secret|secret_key|api_key|csrf)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+"
        ),
        r"\1…",
    ),
    (re.compile(r"\$argon2[^\s\"',]*"), "…"),
)
QUIET = ("/health/", "/metrics", "/static/")  # asked every few seconds by machines

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
access = logging.getLogger("eemt.service.access")


def set_up(settings: Settings) -> None:
    """Send this process's log to the terminal or standard output, and as JSON to a file a day.

    A folder that cannot be written to costs the file and not the service.
    """
    reason: str | None
    logs: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    logs[0].setFormatter(Plain() if sys.stdout.isatty() else Json())
    try:
        file = TimedRotatingFileHandler(
            _path(settings), when="midnight", utc=True, backupCount=settings.keep_logs_days, encoding="utf-8"
        )
    except OSError as error:
        reason = str(error.strerror)
    else:
        reason = None
        file.setFormatter(Json())
        logs.append(file)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in logs:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name, level in {"alembic": logging.WARNING, "httpx": logging.WARNING, "rasterio": logging.ERROR}.items():
        logging.getLogger(name).setLevel(level)
    if reason is not None:
        logging.getLogger(__name__).warning("no log in %s: %s", settings.logs, reason)


def _path(settings: Settings) -> Path:
    settings.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.logs / FILE
    path.touch(mode=0o600)
    return path


def hide(text: str) -> str:
    """Return a text without what looks like a key or a password."""
    for pattern, shown in HIDDEN:
        text = pattern.sub(shown, text)
    return text


class Json(JsonFormatter):
    """One JSON object a line: at, level, logger, message, request, and what the caller adds."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s", rename_fields={"levelname": "level", "name": "logger"})

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """Begin with the time and name the request."""
        log_data["at"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        super().add_fields(log_data, record, message_dict)
        log_data.pop("color_message", None)  # uvicorn's, for terminals
        if identifier := request_id.get():
            log_data["request"] = identifier
        for name in ("message", "exc_info", "stack_info"):
            if isinstance(text := log_data.get(name), str):
                log_data[name] = hide(text)


class Plain(logging.Formatter):
    """Lines for a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Write a line."""
        return hide(super().format(record))


def install(app: FastAPI) -> None:
    """Name each request of an application and write a line when it is answered."""
    app.add_middleware(Requests)


class Requests:
    """ASGI middleware that names requests and logs how they ended."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its identifier, which the answer names too."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        identifier = given if GIVEN.fullmatch(given) else secrets.token_hex(8)
        token = request_id.set(identifier)
        started, status = time.perf_counter(), 500

        async def name(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = identifier
            await send(message)

        try:
            await self.app(scope, receive, name)
        finally:
            self._log(scope, status, time.perf_counter() - started)
            request_id.reset(token)

    @staticmethod
    def _log(scope: Scope, status: int, seconds: float) -> None:
        path: str = scope["path"]
        if path.startswith(QUIET) and status < 400:
            return
        principal = scope.get("state", {}).get("principal")
        client = scope.get("client")
        access.log(
            logging.WARNING if status >= 500 else logging.INFO,
            "%s %s %d",
            scope["method"],
            # a line end in an address would begin a line of its own
            "".join(letter if letter.isprintable() else "?" for letter in path[:500]),
            status,
            extra={
                "seconds": round(seconds, 4),
                "client": client[0] if client else None,
                "user": getattr(principal, "name", None),
            },
        )
