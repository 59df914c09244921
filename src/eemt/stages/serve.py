"""``eemt serve``: the web service."""

from __future__ import annotations

import argparse

from eemt.errors import InputError


def run(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        import uvicorn

        from eemt.service.app import create_app
        from eemt.service.settings import load_settings
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; the service needs: make setup EXTRAS=service") from None
    given = {name: getattr(args, name) for name in ("host", "port", "folder", "profile")}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    config = uvicorn.Config(create_app(settings), host=settings.host, port=settings.port, log_config=None)
    uvicorn.Server(config).run()
