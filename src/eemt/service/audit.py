"""The audit trail: who did what, when, from where."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import CursorResult, delete
from sqlalchemy.orm import Session

from eemt.service.models import Audit
from eemt.sql import now


def write(
    session: Session,
    action: str,
    *,
    user_id: str | None = None,
    user_name: str | None = None,
    address: str | None = None,
    target: str | None = None,
    **detail: object,
) -> None:
    """Add a line, of which `detail` must hold no secret."""
    line = Audit(user_id=user_id, user_name=user_name, address=address, action=action, target=target)
    line.detail = detail or None
    session.add(line)


def shorten(session: Session, days: float) -> int:
    """Remove lines older than so many days and return their number."""
    result = session.execute(delete(Audit).where(Audit.at < now() - timedelta(days=days)))
    assert isinstance(result, CursorResult)
    return result.rowcount
