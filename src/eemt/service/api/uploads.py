"""The API of uploads."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["uploads"])
