"""How much one caller may ask: requests a minute, the size and time of a body, streams that stay open."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter

import anyio
from anyio import to_thread
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eemt.service import problems, sessions
from eemt.service.accounts import neighbourhood
from eemt.service.dependencies import Principal
from eemt.service.problems import Problem
from eemt.service.service import Service

# without limit, since what asks does so steadily, or since a page needs many
UNCOUNTED = re.compile(r"/(static|health)/")
PIECE_OF_UPLOAD = re.compile(r"/api/v1/uploads/[^/]+")
# the rest of a body that is refused is not read
CLOSE = {"Connection": "close"}
LOOK_SECONDS = 5.0  # between two looks at whether the user of an open stream may still see it


async def answer(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem instead of passing the request on."""
    await problems.response(Request(scope), problem)(scope, receive, send)


def caller(scope: Scope) -> str:
    """Return whom a request counts for: the user, or the address that asks."""
    principal = scope["state"].get("principal")
    if principal is not None:
        return str(principal.user_id)
    client = scope.get("client")
    return neighbourhood(client[0] if client else None)


class Check:
    """What requests pass on their way to an application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service
        self.settings = service.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at a request; the application's own start and stop pass unseen."""
        await (self.check if scope["type"] == "http" else self.app)(scope, receive, send)

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        raise NotImplementedError


class Bodies(Check):
    """Ends requests whose body is too large or takes too long, with and without a Content-Length."""

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        is_piece = scope["method"] == "PATCH" and PIECE_OF_UPLOAD.fullmatch(scope["path"]) is not None
        most = self.settings.chunk_bytes if is_piece else self.settings.request_bytes
        seconds = self.settings.chunk_seconds if is_piece else self.settings.request_seconds
        until = asyncio.get_running_loop().time() + seconds
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            await answer(Problem("too-large", _too_large(most), headers=CLOSE), scope, receive, send)
            return
        received, is_whole, is_begun = 0, False, False

        async def bounded() -> Message:
            nonlocal received, is_whole
            if is_whole:  # only the end of the connection is to come
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"The body did not arrive within {seconds:g} seconds.", CLOSE) from None
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if received > most:
                raise HTTPException(413, _too_large(most), CLOSE)
            return message

        async def noted(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self.app(scope, bounded, noted)
        except HTTPException as error:  # where the body was read before the application saw the request
            if is_begun:
                raise
            name = "too-slow" if error.status_code == 408 else "too-large"
            await answer(Problem(name, error.detail, headers=CLOSE), scope, receive, send)


def _too_large(most: int) -> str:
    return f"The body is larger than {most} bytes."


class Rates(Check):
    """Ends requests of who has asked too often in the last minute."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        self.limit = RateLimitItemPerMinute(self.settings.requests_a_minute)
        self.window = MovingWindowRateLimiter(MemoryStorage())

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        who = caller(scope)
        if UNCOUNTED.match(scope["path"]) or self.window.hit(self.limit, who):
            await self.app(scope, receive, send)
            return
        wait = max(1, int(self.window.get_window_stats(self.limit, who).reset_time - time.time()) + 1)
        text = f"More than {self.limit.amount} requests in a minute; go on in {wait} seconds."
        await answer(Problem("too-many", text, headers={"Retry-After": str(wait)}), scope, receive, send)


class Streams(Check):
    """Limits streams of events that a caller has open, and ends them when their user may see them no more."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        self.open: Counter[str] = Counter()

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; what it is shows when its answer begins."""
        stream = _Stream(self, scope, send)
        try:
            with stream.time:
                await self.app(scope, receive, stream.send)
        finally:
            stream.close()
        if stream.is_refused:
            text = f"There are {self.settings.streams_of_user} open streams of events of yours; close one first."
            await answer(Problem("too-many", text, headers={"Retry-After": "60"}), scope, receive, send)
        elif stream.is_open and stream.time.cancelled_caught:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def may(self, scope: Scope) -> bool:
        """Tell whether who opened a stream may still see it."""
        before: Principal = scope["state"]["principal"]
        with self.service.database.reading() as session:
            return sessions.principal(session, scope["state"]["key"]) == before


class _Stream:
    """One answer, which may be a stream."""

    def __init__(self, streams: Streams, scope: Scope, send: Send) -> None:
        self.streams = streams
        self.scope = scope
        self.caller = caller(scope)
        self.time = anyio.CancelScope()  # in which the application answers
        self.is_open = self.is_refused = False
        self._send = send
        self._looking: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        """Send a part of the answer, unless it is a stream too many."""
        if message["type"] == "http.response.start" and _is_stream(message):
            self.is_refused = self.streams.open[self.caller] >= self.streams.settings.streams_of_user
            if self.is_refused:
                self.time.cancel()
            else:
                self.is_open = True
                self.streams.open[self.caller] += 1
                if self.scope["state"].get("key") is not None:
                    self._looking = asyncio.create_task(self._look())
        if not self.is_refused:
            await self._send(message)

    async def _look(self) -> None:
        may = True
        while may:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                may = await to_thread.run_sync(self.streams.may, self.scope)
            except SQLAlchemyError:  # nobody is shut out because the database is away for a moment
                continue
        self.time.cancel()

    def close(self) -> None:
        """Count the stream no longer."""
        if self._looking is not None:
            self._looking.cancel()
        if self.is_open:
            self.streams.open[self.caller] -= 1
            self.streams.open += Counter()  # keeps those above zero


def _is_stream(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
