"""The API of accounts: signing in and out, tokens, users, the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import select

from eemt.errors import InputError
from eemt.service import accounts, audit, sessions
from eemt.service.accounts import LOCAL, LONGEST_PASSWORD, NAME_PATTERN, PASSWORD_LENGTH
from eemt.service.api.documented import problems
from eemt.service.dependencies import Operator, Parts, Principal, Reading, SignedIn, Writing, note, service
from eemt.service.models import Audit, Token, User
from eemt.service.problems import Problem

router = APIRouter(tags=["accounts"])

Role = Literal["user", "operator"]
Identifier = Annotated[str, Path(pattern="^[0-9a-f]{20}$")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most")]
LARGEST = 2**63 - 1  # of the database's whole numbers


class Login(BaseModel):
    """Name and password."""

    name: str = Field(max_length=64, description="Of the account")
    password: SecretStr = Field(max_length=LONGEST_PASSWORD)


class Me(BaseModel):
    """Who asks, as the service knows them."""

    id: str
    name: str
    role: Role
    by: Literal["cookie", "token", "local"] = Field(
        description="What they are known by; local: the one user of a service without accounts"
    )
    quota_bytes: int = Field(description="Disk that they may fill [bytes]")
    csrf: str = Field(description="For the header X-CSRF-Token of changes where a cookie is sent; else empty")


class NewPassword(BaseModel):
    """A password, and the one until now."""

    password: SecretStr = Field(max_length=LONGEST_PASSWORD, description="The one until now")
    new_password: SecretStr = Field(min_length=PASSWORD_LENGTH, max_length=LONGEST_PASSWORD)


class TokenWish(BaseModel):
    """A token that is to be made."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$", description="What it is for")
    days: float | None = Field(
        None, gt=0, le=36_500, description="How long it lasts; at most, and without a value, as the operator says"
    )


class TokenRecord(BaseModel):
    """A token, as far as it is kept."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    created: datetime
    expires: datetime
    used: datetime | None = Field(description="Last, to the minute")
    revoked: datetime | None


class NewToken(TokenRecord):
    """A token that was made."""

    token: str = Field(description="The token itself, which is shown this once")


class Tokens(BaseModel):
    """A user's tokens, newest first."""

    items: list[TokenRecord]
    following: str | None


class UserWish(BaseModel):
    """An account that is to be made."""

    name: str = Field(pattern=NAME_PATTERN, description=accounts.NAME_RULE)
    password: SecretStr = Field(min_length=PASSWORD_LENGTH, max_length=LONGEST_PASSWORD)
    role: Role = "user"
    quota_bytes: int | None = Field(None, ge=0, le=LARGEST, description="Disk; without a value, as the settings say")


class UserChange(BaseModel):
    """What is to change of an account; what is not named stays."""

    password: SecretStr | None = Field(None, min_length=PASSWORD_LENGTH, max_length=LONGEST_PASSWORD)
    role: Role | None = None
    quota_bytes: int | None = Field(None, ge=0, le=LARGEST, description="null: as the settings say")
    disabled: bool | None = Field(None, description="Signs them out everywhere and ends their tokens")


class UserRecord(BaseModel):
    """An account."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    role: Role
    quota_bytes: int | None
    disabled: bool
    created: datetime


class Users(BaseModel):
    """Accounts by name."""

    items: list[UserRecord]
    following: str | None


class AuditLine(BaseModel):
    """Who did what, when, from where."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    user_id: str | None
    user_name: str | None
    address: str | None
    action: str
    target: str | None
    detail: dict[str, Any] | None


class AuditTrail(BaseModel):
    """Lines of the audit trail, newest first."""

    items: list[AuditLine]
    following: str | None


def with_accounts(parts: Parts) -> None:
    """Refuse what makes no sense where nobody signs in."""
    if not parts.settings.with_accounts:
        raise Problem("conflict", "This service has no accounts; whoever reaches it is its one user.")


def in_person(principal: SignedIn) -> Principal:
    """Return who asks, signed in by password: a token that was stolen makes no further ones and no accounts."""
    if principal.by == "token":
        raise Problem("not-allowed", "This needs a sign-in by password; a token does not do.")
    return principal


def operator_in_person(principal: Operator) -> Principal:
    """Return who asks, an operator signed in by password."""
    return in_person(principal)


InPerson = Annotated[Principal, Depends(in_person)]
OperatorInPerson = Annotated[Principal, Depends(operator_in_person)]
WITH_ACCOUNTS = [Depends(with_accounts)]


def sign_in(request: Request, response: Response, name: str, password: str) -> tuple[Principal, str]:
    """Sign a browser in, for the API and for the page alike: return who it is and the token for its changes.

    Raises
    ------
    Problem
        When name or password are wrong, or were too often.
    """
    parts = service(request)
    address = request.client.host if request.client else None
    user = accounts.log_in(parts.database, parts.settings, name, password, address)
    before: Principal | None = request.state.principal
    with parts.database.session() as session:
        old = before.key_id if before is not None and before.by == "cookie" else None
        value, record = sessions.begin(session, parts.settings, user.id, old)
        audit.write(session, "login", user_id=user.id, user_name=user.name, address=address)
    sessions.set_cookie(response, parts.settings, value)
    principal = Principal(user.id, user.name, user.role, "cookie", record.id)
    return principal, sessions.csrf_token(parts.settings, record.hash)


def sign_out(request: Request, response: Response) -> None:
    """Sign a browser out: its cookie is worth nothing from here on."""
    parts = service(request)
    principal: Principal | None = request.state.principal
    if principal is not None and principal.by == "cookie" and principal.key_id is not None:
        with parts.database.session() as session:
            sessions.end(session, principal.key_id)
            note(request, session, "logout")
    sessions.drop_cookie(response, parts.settings)


@router.post(
    "/session",
    summary="Sign in",
    dependencies=WITH_ACCOUNTS,
    responses=problems("wrong-login", "conflict"),
)
def begin_session(request: Request, response: Response, login: Login, parts: Parts) -> Me:
    """Sign in with name and password; the answer sets a cookie."""
    principal, csrf = sign_in(request, response, login.name, login.password.get_secret_value())
    with parts.database.reading() as session:
        return _me(parts.settings.quota_bytes, session.get_one(User, principal.user_id), principal, csrf)


@router.delete("/session", status_code=status.HTTP_204_NO_CONTENT, summary="Sign out", responses=problems())
def end_session(request: Request, response: Response) -> None:
    """Sign out; the cookie, and any copy of it, is worth nothing from here on."""
    sign_out(request, response)


@router.get("/me", responses=problems("not-found"))
def me(request: Request, principal: SignedIn, parts: Parts, session: Reading) -> Me:
    """Tell who asks, and what they need for changes by a browser."""
    user = session.get(User, principal.user_id)
    if user is None:
        raise Problem("not-found", "There is no such user.")
    return _me(parts.settings.quota_bytes, user, principal, request.state.csrf)


def _me(quota_bytes: int, user: User, principal: Principal, csrf: str) -> Me:
    quota = quota_bytes if user.quota_bytes is None else user.quota_bytes
    return Me(id=user.id, name=user.name, role=user.role, by=principal.by, quota_bytes=quota, csrf=csrf)


@router.put(
    "/me/password",
    status_code=status.HTTP_204_NO_CONTENT,
    dependencies=WITH_ACCOUNTS,
    responses=problems("wrong-login", "conflict"),
)
def change_own_password(request: Request, wish: NewPassword, principal: InPerson, parts: Parts) -> None:
    """Change the own password; other browsers are signed out."""
    address = request.client.host if request.client else None
    accounts.log_in(parts.database, parts.settings, principal.name, wish.password.get_secret_value(), address)
    kept = _hashed(wish.new_password, principal.name, "new_password")
    with parts.database.session() as session:
        accounts.change_password(session, session.get_one(User, principal.user_id), kept, principal.key_id)
        note(request, session, "user.password", target=principal.name)


def _hashed(password: SecretStr, name: str, field: str = "password") -> str:
    try:
        return accounts.hash_password(accounts.check_password(password.get_secret_value(), name))
    except InputError as error:
        raise Problem("invalid", str(error), [{"field": field, "message": str(error)}]) from None


@router.get("/tokens", responses=problems())
def list_tokens(principal: SignedIn, session: Reading) -> Tokens:
    """List the own tokens that can be used, newest first."""
    query = select(Token).where(Token.user_id == principal.user_id, Token.revoked.is_(None))
    found = session.scalars(query.order_by(Token.created.desc(), Token.id).limit(1000))
    return Tokens(items=[TokenRecord.model_validate(token) for token in found], following=None)


@router.post(
    "/tokens",
    status_code=status.HTTP_201_CREATED,
    dependencies=WITH_ACCOUNTS,
    responses=problems("conflict"),
)
def make_token(request: Request, wish: TokenWish, principal: InPerson, parts: Parts, session: Writing) -> NewToken:
    """Make a token for programs: Authorization: Bearer … ."""
    key, token = sessions.issue(session, parts.settings, principal.user_id, wish.name, wish.days)
    note(request, session, "token.make", target=token.id, name=wish.name)
    return NewToken(**TokenRecord.model_validate(token).model_dump(), token=key)


@router.delete("/tokens/{token_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems("not-found"))
def revoke_token(request: Request, token_id: Identifier, principal: SignedIn, session: Writing) -> None:
    """Revoke one of the own tokens."""
    if not sessions.revoke(session, token_id, principal.user_id):
        raise Problem("not-found", "There is no such token.")
    note(request, session, "token.revoke", target=token_id)


@router.get("/users", responses=problems())
def list_users(
    _: Operator,
    session: Reading,
    limit: Limit = 100,
    after: Annotated[str | None, Query(max_length=64, description="`following` of the page before")] = None,
    search: Annotated[str | None, Query(max_length=64, description="Part of the name")] = None,
) -> Users:
    """List the accounts by name; for operators."""
    found = accounts.search(session, search, after, limit + 1)
    items = [UserRecord.model_validate(user) for user in found[:limit]]
    return Users(items=items, following=items[-1].name if len(found) > limit else None)


@router.post(
    "/users",
    status_code=status.HTTP_201_CREATED,
    dependencies=WITH_ACCOUNTS,
    responses=problems("conflict"),
)
def make_user(request: Request, wish: UserWish, _: OperatorInPerson, parts: Parts) -> UserRecord:
    """Make an account; for operators."""
    kept = _hashed(wish.password, wish.name)
    with parts.database.session() as session:
        user = accounts.add(session, wish.name, kept, wish.role, wish.quota_bytes)
        note(request, session, "user.add", target=user.name, role=user.role)
        return UserRecord.model_validate(user)


@router.patch("/users/{user_id}", responses=problems("not-found", "conflict"))
def change_user(
    request: Request, user_id: Identifier, wish: UserChange, _: OperatorInPerson, parts: Parts
) -> UserRecord:
    """Change an account: password, role, quota, whether it is let in; for operators."""
    with parts.database.reading() as session:
        user = session.get(User, user_id)
    if user is None:
        raise Problem("not-found", "There is no such user.")
    if user.name == LOCAL and (wish.role or wish.disabled is not None or wish.password):
        raise Problem("conflict", f"{LOCAL} is the one user of a service without accounts, and no account.")
    kept = _hashed(wish.password, user.name) if wish.password is not None else None
    with parts.database.session() as session:
        user = session.get_one(User, user_id)
        if kept is not None:
            accounts.change_password(session, user, kept)
        if "quota_bytes" in wish.model_fields_set:
            user.quota_bytes = wish.quota_bytes
        if wish.role == "user":
            accounts.keep_an_operator(session, user)
        if wish.disabled:
            accounts.disable(session, user)
        user.role = wish.role or user.role
        user.disabled = user.disabled if wish.disabled is None else wish.disabled
        changed = sorted(wish.model_fields_set)
        note(request, session, "user.change", target=user.name, fields=changed, role=user.role, disabled=user.disabled)
        return UserRecord.model_validate(user)


@router.get("/audit", responses=problems())
def read_audit_trail(
    _: Operator,
    session: Reading,
    limit: Limit = 100,
    after: Annotated[int | None, Query(ge=1, le=LARGEST, description="`following` of the page before")] = None,
    user: Annotated[str | None, Query(max_length=64, description="Name of who did it")] = None,
    action: Annotated[str | None, Query(max_length=64, description="Its beginning, such as job. or login")] = None,
    target: Annotated[str | None, Query(max_length=255, description="What it was done to")] = None,
) -> AuditTrail:
    """Read the audit trail, newest first; for operators."""
    query = select(Audit).order_by(Audit.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Audit.id < after)
    if user:
        query = query.where(Audit.user_name == user)
    if action:
        query = query.where(Audit.action.startswith(action, autoescape=True))
    if target:
        query = query.where(Audit.target == target)
    found = list(session.scalars(query))
    items = [AuditLine.model_validate(line) for line in found[:limit]]
    return AuditTrail(items=items, following=str(items[-1].id) if len(found) > limit else None)
