"""Figures for Prometheus."""

from __future__ import annotations

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Measure the requests of an application."""
