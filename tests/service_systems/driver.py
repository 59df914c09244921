"""Requests at a steady rate, and viewers of events, at as little cost as can be: machines have two cores for all.

Times are counted from when a request was due, so that a server that stands still is not measured by fewer requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Load:
    """What was asked for, and what came of it."""

    host: str
    port: int
    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    async def ask(self, paths: list[str], rate: float, seconds: float, connections: int = 20) -> None:
        """Send so many requests a second over some connections, each of which waits for its answers."""
        begin = time.perf_counter()
        await asyncio.gather(
            *(
                self._ask(paths, begin + place / rate, connections / rate, seconds, place)
                for place in range(connections)
            )
        )

    async def _ask(self, paths: list[str], first: float, pause: float, seconds: float, place: int) -> None:
        due, number = first, place
        async with self._connected() as (reader, writer):
            while due < first + seconds:
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                path = paths[number % len(paths)]
                writer.write(self._request(path))
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(length_of(head))
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    self.failures.append(f"{path}: {error!r}")
                    return
                if not head.startswith(b"HTTP/1.1 200"):
                    self.failures.append(f"{path}: {head[:20]!r}")
                self.times.append(time.perf_counter() - due)
                due, number = due + pause, number + 1

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _request(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode()

    async def watch(self, path: str, viewers: int, watching: asyncio.Event) -> None:
        """Open so many streams of events and count what they are told, until cancelled."""
        self.told = [0] * viewers
        async with asyncio.TaskGroup() as group:
            for place in range(viewers):
                group.create_task(self._watch(path, place))
            while not all(self.told):
                await asyncio.sleep(0.1)
            watching.set()

    async def _watch(self, path: str, place: int) -> None:
        async with self._connected() as (reader, writer):
            writer.write(self._request(path))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                self.failures.append(f"{path}: {head[:20]!r}")
            while piece := await reader.read(1 << 16):
                self.told[place] += piece.count(b"\ndata:")


def length_of(head: bytes) -> int:
    """Return how many bytes follow a head."""
    lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lines[0].split(b":")[1]) if lines else 0


async def run(load: Load, watched: str, viewers: int, paths: list[str], rate: float, seconds: float) -> None:
    """Let viewers watch, and ask meanwhile."""
    watching = asyncio.Event()
    watch = asyncio.create_task(load.watch(watched, viewers, watching))
    await watching.wait()
    await load.ask(paths, rate, seconds)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
