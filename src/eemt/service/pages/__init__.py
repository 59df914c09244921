"""The pages that people see: Jinja templates, and small scripts that call the API."""

from __future__ import annotations

from pathlib import Path

import bokeh
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

from eemt.service.pages import errors, routes, sign_in
from eemt.service.pages.rendering import HERE, render

__all__ = ["install", "render"]

BOKEH = Path(bokeh.__file__).parent / "server" / "static" / "js"  # of the installed package


class Static(StaticFiles):
    """Files that browsers keep, and ask about before they use them again, so that an upgrade is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def install(app: FastAPI) -> None:
    """Add the pages and what they load; errors of pages become pages."""
    app.include_router(sign_in.router)
    app.include_router(routes.router)
    app.mount("/static/bokeh", Static(directory=BOKEH), name="bokeh")
    app.mount("/static", Static(directory=HERE / "static"), name="static")
    errors.install(app)
