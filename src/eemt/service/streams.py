"""Server-sent events: what happens to jobs, and what they write, for as long as somebody looks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anyio import to_thread
from sse_starlette import EventSourceResponse, ServerSentEvent

from eemt.service import runlog
from eemt.service.archives import UNDER_WAY
from eemt.service.models import FINISHED

if TYPE_CHECKING:
    from eemt.service.service import Service

HEARTBEAT = 15  # s
LONGEST = 900.0  # s, after which viewers ask anew, and are asked again who they are
LOOK = 0.5  # s between looks at a log
# EventSource asks again after a stream has ended, but not after this
NOTHING_MORE = 204


def response(stream: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    """Answer with a stream that no proxy holds back."""
    return EventSourceResponse(stream, ping=HEARTBEAT)


def as_event(kind: str, data: dict[str, Any], number: int | None = None) -> ServerSentEvent:
    """Make one event; its data is JSON."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return ServerSentEvent(text, event=kind, id=None if number is None else str(number), sep="\n")


async def these(events: list[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    """Yield some events and end."""
    for event in events:
        yield event


async def happenings(
    parts: Service,
    jobs: list[str] | None,
    user_id: str | None,
    after: int,
    first: list[ServerSentEvent],
    is_over: Callable[[], bool] | None = None,
) -> AsyncIterator[ServerSentEvent]:
    """Yield what happens to some jobs, or to all of a user's.

    Parameters
    ----------
    jobs : list of str or None
        Their identifiers; all of the user's where none are given.
    user_id : str or None
        Whose; of everyone where none is given.
    after : int
        The event that is known already.
    first : list of ServerSentEvent
        What is sent before.
    is_over : callable, optional
        Whether, after the news that a job is finished or archived, nothing more is to come.
    """
    until = asyncio.get_running_loop().time() + LONGEST
    for event in first:
        yield event
    news = cast(AsyncGenerator[dict[str, Any], None], parts.hub.watch(jobs, user_id, after))
    try:
        while True:
            try:
                async with asyncio.timeout_at(until):
                    happened = await anext(news)
            except (TimeoutError, StopAsyncIteration):
                return
            at = happened["at"]
            told = {
                "job_id": happened["job_id"],
                "at": at.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(at, datetime) else at,
                **happened["data"],
            }
            yield as_event(happened["kind"], told, happened["id"])
            finished = happened["kind"] == "state" and happened["data"].get("state") in FINISHED
            archived = happened["kind"] == "archive" and happened["data"].get("state") not in UNDER_WAY
            if (finished or archived) and is_over is not None and await to_thread.run_sync(is_over):
                return
    finally:
        await news.aclose()


async def growing_log(path: Path, offset: int, state: Callable[[], str | None]) -> AsyncIterator[ServerSentEvent]:
    """Yield a log from a place on, and what is added to it until its job is finished.

    Parameters
    ----------
    path : path
    offset : int
        [bytes]; each event's number is where the next begins.
    state : callable
        Returns the job's state, or None where there is no such job any more.
    """
    until = time.monotonic() + LONGEST
    looked = -1.0
    while time.monotonic() < until:
        # the state is asked for before the log is read, so that nothing is missed that a job wrote at its end
        now = time.monotonic()
        present: str | None = "running"
        if now - looked >= 2.0:
            present = await to_thread.run_sync(state)
            looked = now
        piece = await to_thread.run_sync(runlog.read, path, offset)
        while piece.text:
            offset = piece.end
            yield as_event("log", {"offset": piece.start, "text": piece.text}, offset)
            piece = await to_thread.run_sync(runlog.read, path, offset)
        if present is None or present in FINISHED:
            yield as_event("end", {"state": present}, offset)
            return
        await asyncio.sleep(LOOK)
