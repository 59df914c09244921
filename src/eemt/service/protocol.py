"""HTTP as the server speaks it, with an end to patience: heads of requests arrive in time, or the connection ends.

Bodies have their limits in `bounds`; what comes before there is a request is seen here only.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

LARGEST_HEAD = 32_768  # bytes, of all headers of a request together


class PatientProtocol(H11Protocol):
    """HTTP/1.1, with a limit on the time in which a request's head arrives.

    Between two requests a connection rests as long as uvicorn's timeout_keep_alive says.
    """

    head_seconds = 30.0
    _patience: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, head_seconds: float) -> type[PatientProtocol]:
        """Return the protocol with another limit."""
        return type(cls.__name__, (cls,), {"head_seconds": head_seconds})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in a part; only while none of a request's answer is due, there is something to wait for."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.head_seconds, self._give_up)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        # an answer may have begun meanwhile, to a request that had waited behind another
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
