"""What every request passes: known hosts, limits, headers, who asks, and whether a browser meant it."""

from __future__ import annotations

from fastapi import FastAPI

from eemt.service.service import Service


def install(app: FastAPI, service: Service) -> None:
    """Put the checks around an application."""
