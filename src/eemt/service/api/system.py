"""The API of the system: its state, its cleanup; health and metrics."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["system"])
probes = APIRouter(tags=["health"])
