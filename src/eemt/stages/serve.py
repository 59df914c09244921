"""``eemt serve``: the web service."""

from __future__ import annotations

import argparse
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from eemt.errors import InputError
from eemt.service.opening import libraries

if TYPE_CHECKING:
    import uvicorn

    from eemt.service.settings import Settings

GRACE_SECONDS = 10  # that requests under way have, once the service is told to stop


def run(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is under way, and end streams."""
    with libraries():
        import uvicorn

        from eemt.service import logs
        from eemt.service.app import create_app
        from eemt.service.protocol import LARGEST_HEAD, PatientProtocol
        from eemt.service.settings import load_settings
    settings = load_settings(host=args.host, port=args.port, folder=args.folder, profile=args.profile)
    listener = listen(settings)
    logs.set_up(settings)
    app = create_app(settings)
    begun = Begun(app)
    config = uvicorn.Config(
        begun,
        lifespan="on",
        log_config=None,
        access_log=False,  # it has queries in it; `logs` writes a line for each request
        server_header=False,
        proxy_headers=False,  # `security` believes the proxies that the settings name, and no others
        http=PatientProtocol.of(settings.request_seconds),
        ws="none",
        h11_max_incomplete_event_size=LARGEST_HEAD,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # uvicorn sends itself the signal again when it has stopped: that was asked for and is no failure
    with contextlib.suppress(KeyboardInterrupt):
        try:
            server(config, app.state.service, address(settings, listener)).run(sockets=[listener])
        except SystemExit:
            if begun.problem is not None:
                raise begun.problem from None
            raise


def listen(settings: Settings) -> socket.socket:
    """Take the address and port, before anything else is begun.

    Raises
    ------
    InputError
        When they are taken, or not this machine's.
    """
    with contextlib.ExitStack() as taken:
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM
            )[0]
            listener = taken.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
        except OSError as error:
            raise InputError(
                f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}; "
                "choose another by --port or --host"
            ) from None
        taken.pop_all()
    return listener


def address(settings: Settings, listener: socket.socket) -> str:
    """Return the address to type into a browser."""
    if settings.public_url:
        return settings.public_url
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


class Begun:
    """An application whose beginning may fail for a reason that is told in one line."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.problem: InputError | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, and keep the reason of a failed beginning."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        failed: list[Any] = []

        async def tell(message: Any) -> None:
            if message["type"] == "lifespan.startup.failed":
                failed.append(message)
            else:
                await send(message)

        try:
            await self.app(scope, receive, tell)
        except InputError as error:
            self.problem = error
            # without its traceback, which helps nobody where the reason is a setting
            for message in failed:
                await send({"type": message["type"]})
            raise
        except BaseException:
            for message in failed:
                await send(message)
            raise


def server(config: uvicorn.Config, service: Any, where: str) -> uvicorn.Server:
    """Make the server, which says where it is and ends streams when it stops."""
    import uvicorn
    from anyio import to_thread

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"EEMT is at {where}", flush=True)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # they would be waited for: a stream has no end of its own
            await to_thread.run_sync(service.hub.stop)
            await super().shutdown(sockets)

    return Server(config)
