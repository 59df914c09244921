"""``eemt account``: the accounts of the web service."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from eemt.errors import InputError
from eemt.service.opening import libraries

if TYPE_CHECKING:
    from eemt.service.database import Database
    from eemt.service.models import Role
    from eemt.service.settings import Settings


def run(args: argparse.Namespace) -> None:
    """Do what was asked, in the database of the service's settings."""
    with libraries():
        from eemt.service.database import Database
        from eemt.service.problems import Problem
        from eemt.service.settings import load_settings
    settings = load_settings(folder=args.folder)
    settings.make_folders()
    database = Database(settings.database)
    try:
        database.upgrade()
        ACTIONS[args.action](args, settings, database)
    except Problem as problem:
        raise InputError(problem.detail) from None
    finally:
        database.close()


def _add(args: argparse.Namespace, settings: Settings, database: Database) -> None:  # noqa: ARG001 - as all actions
    from eemt.service import accounts, audit

    name = accounts.check_name(args.name)
    quota = None if args.quota_gb is None else round(args.quota_gb * 1e9)
    if quota is not None and not 0 <= quota < 2**63:
        raise InputError(f"--quota-gb: {args.quota_gb:g} is no size of a disk")
    role: Role = "operator" if args.operator else "user"
    with database.reading() as session:
        if accounts.find(session, name) is not None:
            raise InputError(f"account: there is {name} already; `eemt account password {name}` changes its password")
    kept = accounts.hash_password(accounts.check_password(_password(), name))
    with database.session() as session:
        accounts.add(session, name, kept, role, quota)
        audit.write(session, "user.add", user_name=_who(), target=name, role=role)
    print(f"{role} {name} is there")


def _list(args: argparse.Namespace, settings: Settings, database: Database) -> None:  # noqa: ARG001 - as all actions
    from eemt.service import accounts

    with database.reading() as session:
        found = accounts.search(session, limit=100_000)
    print(f"{'name':32} {'role':8} {'made':10} {'quota [GB]':>10}")
    for user in found:
        quota = "" if user.quota_bytes is None else f"{user.quota_bytes / 1e9:.1f}"
        mark = "  disabled" if user.disabled else ""
        print(f"{user.name:32} {user.role:8} {user.created:%Y-%m-%d} {quota:>10}{mark}".rstrip())


def _change_password(args: argparse.Namespace, settings: Settings, database: Database) -> None:  # noqa: ARG001 - as all
    from eemt.service import accounts, audit

    with database.reading() as session:
        name = accounts.by_name(session, args.name).name
    kept = accounts.hash_password(accounts.check_password(_password(), name))
    with database.session() as session:
        accounts.change_password(session, accounts.by_name(session, name), kept)
        audit.write(session, "user.password", user_name=_who(), target=name)
    print(f"{name} has another password, and is signed out everywhere")


def _disable(args: argparse.Namespace, settings: Settings, database: Database) -> None:  # noqa: ARG001 - as all actions
    from eemt.service import accounts, audit

    with database.session() as session:
        user = accounts.by_name(session, args.name)
        accounts.disable(session, user)
        audit.write(session, "user.change", user_name=_who(), target=user.name, disabled=True)
    print(f"{args.name} is let in no more")


def _enable(args: argparse.Namespace, settings: Settings, database: Database) -> None:  # noqa: ARG001 - as all actions
    from eemt.service import accounts, audit

    with database.session() as session:
        user = accounts.by_name(session, args.name)
        user.disabled = False
        audit.write(session, "user.change", user_name=_who(), target=user.name, disabled=False)
    print(f"{args.name} is let in again")


def _token(args: argparse.Namespace, settings: Settings, database: Database) -> None:
    from eemt.service import accounts, audit, sessions

    label = args.label.strip()
    if not 1 <= len(label) <= 64 or not label.isprintable():
        raise InputError("--for: has to be 1 to 64 characters of text")
    if args.days is not None and not 0 < args.days <= settings.token_days:
        raise InputError(
            f"--days: {args.days:g} is not between 0 and {settings.token_days:g}, the settings' token_days"
        )
    with database.session() as session:
        user = accounts.by_name(session, args.name)
        if user.disabled or user.password is None:
            raise InputError(f"account: {user.name} is not let in, so that a token would be worth nothing")
        key, record = sessions.issue(session, settings, user.id, label, args.days)
        audit.write(session, "token.make", user_name=_who(), target=record.id, of=user.name, name=label)
    print(key)
    print(f"lasts until {record.expires:%Y-%m-%d %H:%M} UTC; it is shown this once", file=sys.stderr)


def _password() -> str:
    """Ask twice in a terminal, or take the first line of standard input; arguments would be seen by all users."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise InputError("password: the two are not the same")
    return password


def _who() -> str:
    """Return who is in the audit trail for what was done in a shell."""
    try:
        return f"{getpass.getuser()} in a shell"[:64]
    except (KeyError, OSError):  # a container's user may have no name
        return "in a shell"


ACTIONS: dict[str, Callable[[argparse.Namespace, Settings, Database], None]] = {
    "add": _add,
    "list": _list,
    "password": _change_password,
    "disable": _disable,
    "enable": _enable,
    "token": _token,
}
