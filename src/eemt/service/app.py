"""The web application: which addresses there are, and what every request passes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from eemt import __version__
from eemt.service import described, logs, metrics, pages, problems, security
from eemt.service.api import accounts, archive, jobs, planning, results, system, uploads
from eemt.service.service import Service
from eemt.service.settings import Settings

API = "/api/v1"


def create_app(settings: Settings) -> FastAPI:
    """Make the application; its service starts and stops with it."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await to_thread.run_sync(service.start)
        try:
            yield
        finally:
            await to_thread.run_sync(service.stop)

    app = FastAPI(
        title="EEMT",
        version=__version__,
        description="Maps of effective energy and mass transfer: submit, watch, look at, download.",
        lifespan=lifespan,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    problems.install(app)
    for part in (jobs, planning, uploads, results, archive, accounts, system):
        app.include_router(part.router, prefix=API)
    app.include_router(system.probes)  # /health and /metrics
    pages.install(app)
    # the last one added is the first that a request passes
    metrics.install(app)
    security.install(app, service)
    described.install(app, settings)
    logs.install(app)
    return app
