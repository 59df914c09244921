"""Keys by which callers are known: cookies of browsers, tokens of programs. Of either, only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from itsdangerous import BadSignature, Signer
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session
from starlette.responses import Response

from eemt.service.dependencies import Principal
from eemt.service.models import SignIn, Token, User
from eemt.service.settings import Settings
from eemt.sql import now

TOKEN_PREFIX = "eemt_"  # by which people, and scanners of repositories, know one that was left lying about
COOKIE = "eemt"
NOTE_SECONDS = 60.0  # between two notes of a token's last use
ENDED_DAYS = 7.0  # for which sign-ins are kept that are over


@dataclass(frozen=True)
class Key:
    """What a caller has shown, and how."""

    hash: str
    by: Literal["cookie", "token"]


def _hash(key: str) -> str:
    # random keys of 256 bits, unlike passwords, need no slow function
    return hashlib.sha256(key.encode()).hexdigest()


def _signer(settings: Settings) -> Signer:
    return Signer(settings.key, salt="eemt.sign-in", digest_method=hashlib.sha256)


def is_behind_https(settings: Settings) -> bool:
    """Tell whether users reach the service by https only."""
    return (settings.public_url or "").startswith("https://")


def cookie_name(settings: Settings) -> str:
    """Return the cookie's name; behind https, browsers take one so named from this very host only."""
    return f"__Host-{COOKIE}" if is_behind_https(settings) else COOKIE


def begin(session: Session, settings: Settings, user_id: str, before: str | None = None) -> tuple[str, SignIn]:
    """Sign a user in with a new key, whatever the browser had before; return the cookie's value and the record.

    Parameters
    ----------
    before : str, optional
        Identifier of the browser's sign-in until now, which ends.
    """
    if before is not None:
        end(session, before)
    session.execute(delete(SignIn).where(SignIn.expires < now() - timedelta(days=ENDED_DAYS)))
    key = secrets.token_urlsafe(32)
    sign_in = SignIn(user_id=user_id, hash=_hash(key), expires=now() + timedelta(hours=settings.session_hours))
    session.add(sign_in)
    session.flush()
    return _signer(settings).sign(key).decode(), sign_in


def end(session: Session, sign_in_id: str) -> None:
    """End a sign-in, so that its cookie, wherever it was copied to, is worth nothing."""
    session.execute(update(SignIn).where(SignIn.id == sign_in_id, SignIn.ended.is_(None)).values(ended=now()))


def set_cookie(response: Response, settings: Settings, value: str) -> None:
    """Give the browser its cookie.

    It is SameSite=Lax and not Strict: with Strict, who follows a link from a mail to a job is shown the sign-in page
    though signed in. What Lax sends to us from elsewhere are plain links only, and these change nothing; changes
    need a token that other sites cannot know.
    """
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=int(settings.session_hours * 3600),
        path="/",
        secure=is_behind_https(settings),
        httponly=True,
        samesite="lax",
    )


def drop_cookie(response: Response, settings: Settings) -> None:
    """Have the browser forget its cookie."""
    response.delete_cookie(
        cookie_name(settings), path="/", secure=is_behind_https(settings), httponly=True, samesite="lax"
    )


def csrf_token(settings: Settings, sign_in_hash: str) -> str:
    """Return what changes by a browser must show beside its cookie; another site cannot read it."""
    return hmac.new(settings.key, b"csrf:" + sign_in_hash.encode(), hashlib.sha256).hexdigest()


def of_cookie(settings: Settings, value: str) -> Key | None:
    """Return the key in a cookie's value, or None where we have not signed it."""
    try:
        return Key(_hash(_signer(settings).unsign(value).decode()), "cookie")
    except (BadSignature, UnicodeError):
        return None


def of_header(value: str) -> Key | None:
    """Return the key in an Authorization header, or None where it is none of ours."""
    scheme, _, token = value.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token.startswith(TOKEN_PREFIX) or not token.isascii() or len(token) > 100:
        return None
    return Key(_hash(token), "token")


def principal(session: Session, key: Key) -> Principal | None:
    """Return whose key it is, or None where it has ended, or its user was disabled."""
    kind = SignIn if key.by == "cookie" else Token
    over = SignIn.ended if key.by == "cookie" else Token.revoked
    query = (
        select(kind.id, User.id, User.name, User.role)
        .join(User, User.id == kind.user_id)
        .where(kind.hash == key.hash, kind.expires > now(), over.is_(None), User.disabled.is_(False))
    )
    row = session.execute(query).one_or_none()
    return None if row is None else Principal(row[1], row[2], row[3], key.by, row[0])


def issue(session: Session, settings: Settings, user_id: str, name: str, days: float | None) -> tuple[str, Token]:
    """Make a token; return it, which nobody sees again, and its record.

    Parameters
    ----------
    name : str
        What it is for, as its user says.
    days : float, optional
        How long it lasts; at most, and without a value, as long as the settings say.
    """
    lasts = timedelta(days=min(days or settings.token_days, settings.token_days))
    key = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = Token(user_id=user_id, name=name, hash=_hash(key), expires=now() + lasts)
    session.add(token)
    session.flush()
    return key, token


def revoke(session: Session, token_id: str, user_id: str) -> bool:
    """Revoke a token of a user's; tell whether there was one."""
    found = session.scalar(select(Token).where(Token.id == token_id, Token.user_id == user_id))
    if found is None:
        return False
    found.revoked = found.revoked or now()
    return True


class LastUse:
    """Notes when tokens were used, each once a minute at most."""

    def __init__(self) -> None:
        self._noted: dict[str, float] = {}

    def is_due(self, token_id: str) -> bool:
        """Tell whether a use is to be noted, which then counts as done."""
        at = time.monotonic()
        if at - self._noted.get(token_id, -NOTE_SECONDS) < NOTE_SECONDS:
            return False
        if len(self._noted) > 10_000:
            self._noted.clear()
        self._noted[token_id] = at
        return True

    @staticmethod
    def note(session: Session, token_id: str) -> None:
        """Write a use down."""
        session.execute(update(Token).where(Token.id == token_id).values(used=now()))


def local_part(address: str | None) -> str:
    """Return where to go after signing in: a path of this service, never another site.

    Browsers take two slashes, of either kind and with line breaks between, for the beginning of a host.
    """
    if not address or not address.startswith("/") or address.startswith("//") or not address.isprintable():
        return "/"
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or "\\" in address else address
