"""Accounts: who may sign in, passwords, and what becomes of wrong ones."""

from __future__ import annotations

import ipaddress
import re
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from eemt.errors import InputError
from eemt.service import audit
from eemt.service.database import Database
from eemt.service.models import FailedLogin, Role, SignIn, Token, User
from eemt.service.problems import Problem
from eemt.service.settings import Settings
from eemt.sql import now

LOCAL = "local"  # the one user of a service without accounts
NAME_PATTERN = r"^[a-z][a-z0-9._-]{1,31}$"
NAME_RULE = "2 to 32 lower-case letters, digits, dots, hyphens or underscores, and a letter first"
# NIST SP 800-63B asks for eight at least, and for no rules on which characters; length is what helps
PASSWORD_LENGTH = 12
LONGEST_PASSWORD = 1024
WINDOW = timedelta(minutes=15)  # in which failed logins are counted

_hasher = PasswordHasher()  # argon2id with the parameters of RFC 9106's second choice: 64 MiB, three passes
# each takes that memory and a core; however many try to sign in, no more are worked on at once
_hashing = threading.BoundedSemaphore(2)
# what the password of a name that is not there is held against, so that the answer takes as long
_nobody = _hasher.hash(secrets.token_hex(16))


def check_name(name: str) -> str:
    """Return a name that an account may have.

    Raises
    ------
    InputError
        When it may not.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(f"name: {name[:64]!r} cannot be one; allowed are {NAME_RULE}")
    if name == LOCAL:
        raise InputError(f"name: {LOCAL} is that of the one user of a service without accounts; take another")
    return name


def check_password(password: str, name: str) -> str:
    """Return a password that an account may have.

    Raises
    ------
    InputError
        When it may not; the message does not hold it.
    """
    if len(password) < PASSWORD_LENGTH:
        raise InputError(f"password: has {len(password)} characters; at least {PASSWORD_LENGTH} are needed")
    if len(password) > LONGEST_PASSWORD:
        raise InputError(f"password: has {len(password)} characters; at most {LONGEST_PASSWORD} are allowed")
    if len(set(password)) < 4 or password.casefold() == name.casefold():
        raise InputError("password: can be guessed; take one with more different characters that is not the name")
    return password


def hash_password(password: str) -> str:
    """Return what is kept of a password; takes a tenth of a second, so never within a transaction."""
    with _turn():
        return _hasher.hash(_typed_alike(password))


@contextmanager
def _turn() -> Iterator[None]:
    # those who wait hold threads that others' requests need, so they do not wait for long
    if not _hashing.acquire(timeout=10):
        raise Problem("unavailable", "Too many sign in just now; try again.", headers={"Retry-After": "10"})
    try:
        yield
    finally:
        _hashing.release()


def _typed_alike(password: str) -> str:
    # one keyboard sends an accent as a character of its own, another does not
    return unicodedata.normalize("NFKC", password)


def add(session: Session, name: str, password_hash: str, role: Role = "user", quota_bytes: int | None = None) -> User:
    """Add an account.

    Raises
    ------
    Problem
        When the name is taken.
    """
    user = User(name=check_name(name), password=password_hash, role=role, quota_bytes=quota_bytes)
    if find(session, name) is not None:
        raise Problem("conflict", f"There is an account {name} already.")
    session.add(user)
    try:
        session.flush()
    except IntegrityError:  # added by another at the same moment
        raise Problem("conflict", f"There is an account {name} already.") from None
    return user


def find(session: Session, name: str) -> User | None:
    """Return an account, or None where there is none of that name."""
    return session.scalar(select(User).where(User.name == name))


def by_name(session: Session, name: str) -> User:
    """Return an account.

    Raises
    ------
    InputError
        When there is none.
    """
    user = find(session, name)
    if user is None:
        raise InputError(f"account: there is no {name[:64]!r}; `eemt account list` shows all")
    return user


def change_password(session: Session, user: User, password_hash: str, keep_sign_in: str | None = None) -> None:
    """Give an account another password; whoever came in by the old one is signed out.

    Parameters
    ----------
    keep_sign_in : str, optional
        Identifier of the sign-in by which the user does this.
    """
    user.password = password_hash
    _end_sign_ins(session, user.id, keep_sign_in)
    session.execute(delete(FailedLogin).where(FailedLogin.name == user.name))


def disable(session: Session, user: User) -> None:
    """Let an account in no more; its sign-ins and tokens end, jobs and results stay.

    Raises
    ------
    Problem
        When no operator would be left.
    """
    keep_an_operator(session, user)
    user.disabled = True
    _end_sign_ins(session, user.id)
    session.execute(update(Token).where(Token.user_id == user.id, Token.revoked.is_(None)).values(revoked=now()))


def keep_an_operator(session: Session, user: User) -> None:
    """Refuse to take away the last operator.

    Raises
    ------
    Problem
        When the account is that.
    """
    others = select(func.count()).where(
        User.role == "operator", User.id != user.id, User.disabled.is_(False), User.password.is_not(None)
    )
    if user.role == "operator" and not user.disabled and not session.scalar(others):
        raise Problem("conflict", f"{user.name} is the only operator; make another one first.")


def _end_sign_ins(session: Session, user_id: str, but: str | None = None) -> None:
    query = update(SignIn).where(SignIn.user_id == user_id, SignIn.ended.is_(None))
    session.execute((query if but is None else query.where(SignIn.id != but)).values(ended=now()))


def prepare(settings: Settings, database: Database) -> None:
    """Make sure, before the first request, that there is somebody whom the service can know.

    Without accounts that is the user `local`, made here.

    Raises
    ------
    InputError
        When users are to sign in and there is no account, since then nobody could, and whoever came first to make
        one would be the operator.
    """
    with database.session() as session:
        if settings.with_accounts:
            able = select(func.count()).where(User.password.is_not(None), User.disabled.is_(False))
            if not session.scalar(able):
                raise InputError(
                    "accounts: there is none yet, so that nobody could sign in; "
                    "make the first: eemt account add NAME --operator"
                )
        elif find(session, LOCAL) is None:
            session.add(User(name=LOCAL, role="operator"))


def log_in(database: Database, settings: Settings, name: str, password: str, address: str | None) -> User:
    """Return the user whose name and password these are.

    Each attempt is counted before the password is looked at, and taken back when it was right: thousands at the same
    moment are not more than `logins_a_quarter`. Counts stand in the database, where a restart leaves them.

    Raises
    ------
    Problem
        When they are wrong, or when too many were.
    """
    # what cannot be a name is not looked for, and can be anything: too long, or with characters no database takes
    name = name.strip().lower()
    known_as = name if re.fullmatch(NAME_PATTERN, name) else ""
    origin = neighbourhood(address)
    with _turn():
        attempt = _count(database, settings.logins_a_quarter, known_as, origin)
        with database.reading() as session:
            user = find(session, known_as)
        able = user is not None and not user.disabled and user.password is not None
        right = _matches(user.password if user and able else None, password)
    if user is None or not able or not right:
        with database.session() as session:
            audit.write(session, "login.failed", address=address, target=known_as or None)
        raise Problem("wrong-login", "Name or password is wrong.")
    better = hash_password(password) if _hasher.check_needs_rehash(user.password or "") else None
    with database.session() as session:
        session.execute(delete(FailedLogin).where(FailedLogin.id == attempt))
        session.execute(delete(FailedLogin).where(FailedLogin.name == known_as, FailedLogin.address == origin))
        present = session.get(User, user.id)
        if present is None or present.disabled or present.password != user.password:
            raise Problem("wrong-login", "Name or password is wrong.")  # changed while it was looked at
        if better is not None:
            present.password = better
    return user


def _matches(kept: str | None, password: str) -> bool:
    try:
        _hasher.verify(kept or _nobody, _typed_alike(password[: LONGEST_PASSWORD + 1]))
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def _count(database: Database, limit: int, name: str, origin: str) -> int:
    """Note an attempt, or refuse it; return its number."""
    start = now() - WINDOW
    with database.session() as session:
        session.execute(delete(FailedLogin).where(FailedLogin.at < start))
        recent = select(FailedLogin.at).where(FailedLogin.at >= start)
        for seen in [FailedLogin.address == origin] + ([FailedLogin.name == name] if name else []):
            times = session.scalars(recent.where(seen).order_by(FailedLogin.at.desc()).limit(limit)).all()
            if len(times) == limit:
                wait = max(1, int((times[-1] + WINDOW - now()).total_seconds()) + 1)
                raise Problem(
                    "too-many",
                    "Too many wrong passwords for this name or from this address; "
                    f"try again in {wait} seconds, or ask an operator for a new password.",
                    headers={"Retry-After": str(wait)},
                )
        attempt = FailedLogin(name=name, address=origin)
        session.add(attempt)
        session.flush()
        return attempt.id


def neighbourhood(address: str | None) -> str:
    """Return what one caller has of addresses: one of IPv4, but a whole /64 network of IPv6."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def search(session: Session, text: str | None = None, after: str | None = None, limit: int = 100) -> list[User]:
    """List accounts by name.

    Parameters
    ----------
    text : str, optional
        Part of the name.
    after : str, optional
        Name behind which the list begins.
    """
    query = select(User).where(or_(User.password.is_not(None), User.name == LOCAL)).order_by(User.name).limit(limit)
    if text:
        query = query.where(User.name.icontains(text, autoescape=True))
    if after is not None:
        query = query.where(User.name > after)
    return list(session.scalars(query))
