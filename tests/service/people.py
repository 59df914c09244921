"""Users of a service with accounts, each with a browser or a program of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from eemt.service import accounts, sessions
from eemt.service.app import create_app
from eemt.service.database import Database
from eemt.service.models import Role
from eemt.service.service import Service
from eemt.service.settings import Settings

PASSWORD = "correct horse battery"
KEPT = PasswordHasher().hash(PASSWORD)  # once, since it takes a while
ADDRESS = "http://127.0.0.1:8420"


def make_user(database: Database, name: str, role: Role = "user", quota_bytes: int | None = None) -> str:
    """Make an account with PASSWORD and return its identifier."""
    with database.session() as session:
        return accounts.add(session, name, KEPT, role, quota_bytes).id


def token_of(service: Service, name: str, days: float | None = None) -> str:
    """Make a token for an account."""
    with service.database.session() as session:
        user = accounts.by_name(session, name)
        return sessions.issue(session, service.settings, user.id, "test", days)[0]


@cache
def _prepared() -> bytes:
    """Return a database with the group's accounts, which takes a while to make."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "service.sqlite"
        database = Database(f"sqlite:///{path}")
        database.upgrade()
        make_user(database, "olga", "operator")
        make_user(database, "ada")
        make_user(database, "ben")
        database.close()
        return path.read_bytes()


@contextmanager
def group(folder: Path, **given: object) -> Iterator[TestClient]:
    """Serve, in this process, a group: operator olga, users ada and ben; the client is nobody yet."""
    settings = Settings(folder=folder, **{"accounts": True, **given})  # type: ignore[arg-type]
    settings.make_folders()
    (settings.folder / "service.sqlite").write_bytes(_prepared())
    with TestClient(create_app(settings), base_url=ADDRESS) as client:
        yield client


def service_of(client: TestClient) -> Service:
    """Return the service behind a client."""
    return client.app.state.service  # type: ignore[attr-defined, no-any-return]


def program(client: TestClient, name: str) -> TestClient:
    """Return another client of the same service, which sends a token of a user's."""
    headers = {"Authorization": f"Bearer {token_of(service_of(client), name)}"}
    return TestClient(client.app, base_url=ADDRESS, headers=headers)


def browser(client: TestClient, name: str, password: str = PASSWORD) -> TestClient:
    """Return another client of the same service, signed in with a cookie, which sends the token for changes."""
    other = TestClient(client.app, base_url=ADDRESS, headers={"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"})
    answer = other.post("/api/v1/session", json={"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    other.headers["X-CSRF-Token"] = answer.json()["csrf"]
    return other
