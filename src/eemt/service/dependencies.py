"""What the API and the pages are given for a request: the service's parts, and who asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from eemt.service import audit
from eemt.service.problems import Problem

if TYPE_CHECKING:
    from eemt.service.service import Service


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    user_id: str
    name: str
    role: str
    by: str  # cookie, token, or local: the one user of a service without accounts
    key_id: str | None = None  # of the sign-in or token

    @property
    def is_operator(self) -> bool:
        """Whether all users' jobs are seen."""
        return self.role == "operator"

    def owner(self, of_all: bool = False) -> str | None:
        """Return whose records are meant: the user's own, or, for operators who ask for all, everyone's (None)."""
        return None if of_all and self.is_operator else self.user_id


def service(request: Request) -> Service:
    """Return the service that answers."""
    return request.app.state.service  # type: ignore[no-any-return]


Parts = Annotated["Service", Depends(service)]


def writing(parts: Parts) -> Iterator[Session]:
    """Open a transaction for as long as the request is worked on; it is committed before the answer."""
    with parts.database.session() as session:
        yield session


def reading(parts: Parts) -> Iterator[Session]:
    """Open a session that writes nothing."""
    with parts.database.reading() as session:
        yield session


Writing = Annotated[Session, Depends(writing, scope="function")]
Reading = Annotated[Session, Depends(reading, scope="function")]


def anyone(request: Request) -> Principal | None:
    """Return who asks, as `sessions` found out before; nobody where no one is signed in."""
    return getattr(request.state, "principal", None)


def user(principal: Annotated[Principal | None, Depends(anyone)]) -> Principal:
    """Return who asks.

    Raises
    ------
    Problem
        When no one is signed in.
    """
    if principal is None:
        raise Problem(
            "not-signed-in",
            "Sign in, or send an API token: Authorization: Bearer …",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return principal


def operator(principal: Annotated[Principal, Depends(user)]) -> Principal:
    """Return who asks, who must be an operator."""
    if not principal.is_operator:
        raise Problem("not-allowed", "Only operators may do this.")
    return principal


Asker = Annotated[Principal | None, Depends(anyone)]
SignedIn = Annotated[Principal, Depends(user)]
Operator = Annotated[Principal, Depends(operator)]


def note(request: Request, session: Session, action: str, target: str | None = None, **detail: object) -> None:
    """Write to the audit trail what the request does, in its own transaction's fate."""
    principal = anyone(request)
    audit.write(
        session,
        action,
        user_id=principal.user_id if principal else None,
        user_name=principal.name if principal else None,
        address=request.client.host if request.client else None,
        target=target,
        **detail,
    )
