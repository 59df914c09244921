"""Who asks: cookies of browsers, tokens of programs; what ends them ends them at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from eemt.service import sessions
from eemt.service.models import SignIn, Token
from eemt.sql import now
from service.people import ADDRESS, PASSWORD, browser, group, program, service_of, token_of


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with group(tmp_path / "service") as client:
        yield client


def asked(client: TestClient, **headers: str) -> int:
    return client.get("/api/v1/me", headers=headers).status_code


def test_nobody_is_told_to_sign_in(client: TestClient) -> None:
    answer = client.get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_browser_is_known_by_its_cookie(client: TestClient) -> None:
    me = browser(client, "ada").get("/api/v1/me").json()
    assert (me["name"], me["role"], me["by"]) == ("ada", "user", "cookie")
    assert len(me["csrf"]) == 64


def test_a_program_is_known_by_its_token(client: TestClient) -> None:
    me = program(client, "ada").get("/api/v1/me").json()
    assert (me["name"], me["by"], me["csrf"]) == ("ada", "token", "")


def test_without_accounts_the_one_user_is_an_operator(tmp_path: Path) -> None:
    with group(tmp_path / "alone", accounts=False) as client:
        me = client.get("/api/v1/me").json()
    assert (me["name"], me["role"], me["by"]) == ("local", "operator", "local")


def test_the_cookie_is_for_this_service_alone(client: TestClient) -> None:
    answer = client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"].lower()
    assert cookie.startswith("eemt=")
    assert {"httponly", "samesite=lax", "path=/", "max-age=43200"} <= {part.strip() for part in cookie.split(";")}
    assert "domain" not in cookie


def test_behind_https_the_cookie_never_travels_in_clear(tmp_path: Path) -> None:
    with group(tmp_path / "tls", public_url="https://maps.example.org") as client:
        answer = client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
    assert answer.headers["Set-Cookie"].startswith("__Host-eemt=")
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_what_is_kept_of_keys_cannot_be_used(client: TestClient) -> None:
    signed_in, token = browser(client, "ada"), token_of(service_of(client), "ada")
    with service_of(client).database.reading() as session:
        kept = [*session.scalars(select(SignIn.hash)), *session.scalars(select(Token.hash))]
    shown = signed_in.cookies["eemt"]
    assert kept
    assert all(text not in shown and text not in token for text in kept)
    assert {asked(client, Authorization=f"Bearer {text}") for text in kept} == {401}
    assert {asked(client, Cookie=f"eemt={text}") for text in kept} == {401}


def test_a_copied_cookie_is_dead_after_signing_out(client: TestClient) -> None:
    signed_in = browser(client, "ada")
    copied = signed_in.cookies["eemt"]
    assert asked(client, Cookie=f"eemt={copied}") == 200
    assert signed_in.delete("/api/v1/session").status_code == 204
    assert "eemt" not in signed_in.cookies
    assert asked(client, Cookie=f"eemt={copied}") == 401


def test_signing_in_again_gives_another_cookie_and_ends_the_old_one(client: TestClient) -> None:
    signed_in = browser(client, "ada")
    before = signed_in.cookies["eemt"]
    signed_in.post("/api/v1/session", json={"name": "ben", "password": PASSWORD})
    assert signed_in.cookies["eemt"] != before
    assert signed_in.get("/api/v1/me").json()["name"] == "ben"
    assert asked(client, Cookie=f"eemt={before}") == 401


def test_a_cookie_that_was_put_there_before_is_not_taken_over(client: TestClient) -> None:
    planted = browser(client, "ben").cookies["eemt"]
    victim = TestClient(client.app, base_url=ADDRESS, cookies={"eemt": planted})
    answer = victim.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
    assert planted not in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("place", [0, 10, 43, 44, -1])
def test_a_changed_cookie_is_no_cookie(client: TestClient, place: int) -> None:
    value = browser(client, "ada").cookies["eemt"]
    changed = list(value)
    changed[place] = "A" if changed[place] != "A" else "Q"
    assert asked(client, Cookie=f"eemt={value}") == 200
    assert asked(client, Cookie=f"eemt={''.join(changed)}") == 401


def test_a_cookie_signed_with_another_key_is_no_cookie(client: TestClient, tmp_path: Path) -> None:
    with group(tmp_path / "other", secret_key="k" * 32) as other:
        value = browser(other, "ada").cookies["eemt"]
    assert asked(client, Cookie=f"eemt={value}") == 401


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Bearer eemt_", "Bearer eemt_" + "a" * 43, "Bearer x" * 500, "Basic YWRhOmFkYQ==", "eemt_x",
     "Bearer eemt_' OR 1=1 --", "Bearer eemt_\u00e9"],
)  # fmt: skip
def test_what_is_no_token_is_nobody(client: TestClient, value: str) -> None:
    answer = client.get("/api/v1/me", headers=[(b"authorization", value.encode("latin-1"))])
    assert answer.status_code == 401


def test_a_wrong_token_is_not_made_good_by_a_cookie(client: TestClient) -> None:
    assert asked(browser(client, "ada"), Authorization="Bearer eemt_wrong") == 401


def test_sign_ins_and_tokens_expire(client: TestClient) -> None:
    signed_in, token = browser(client, "ada"), program(client, "ada")
    with service_of(client).database.session() as session:
        for table in (SignIn, Token):
            session.execute(update(table).values(expires=now() - timedelta(seconds=1)))
    assert asked(signed_in) == asked(token) == 401


def test_whoever_is_disabled_is_out_at_once_and_for_good(client: TestClient) -> None:
    operator, signed_in, token = browser(client, "olga"), browser(client, "ada"), program(client, "ada")
    number = signed_in.get("/api/v1/me").json()["id"]
    assert operator.patch(f"/api/v1/users/{number}", json={"disabled": True}).status_code == 200
    assert asked(signed_in) == asked(token) == 401
    assert client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD}).status_code == 401
    assert operator.patch(f"/api/v1/users/{number}", json={"disabled": False}).status_code == 200
    assert asked(signed_in) == asked(token) == 401
    assert asked(browser(client, "ada")) == 200


def test_a_revoked_token_is_dead(client: TestClient) -> None:
    signed_in = browser(client, "ada")
    made = signed_in.post("/api/v1/tokens", json={"name": "notebook"}).json()
    assert made["token"].startswith("eemt_")
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert asked(client, **headers) == 200
    assert signed_in.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    assert asked(client, **headers) == 401
    assert signed_in.get("/api/v1/tokens").json()["items"] == []


def test_a_token_lasts_no_longer_than_the_operator_says(client: TestClient) -> None:
    made = browser(client, "ada").post("/api/v1/tokens", json={"name": "for ever", "days": 30_000}).json()
    assert made["expires"] < (now() + timedelta(days=90, minutes=1)).isoformat()
    short = browser(client, "ada").post("/api/v1/tokens", json={"name": "short", "days": 1}).json()
    assert short["expires"] < (now() + timedelta(days=1, minutes=1)).isoformat()


def test_a_stolen_token_makes_no_other_and_no_accounts(client: TestClient) -> None:
    thief = program(client, "olga")
    assert thief.get("/api/v1/users").status_code == 200
    number = thief.get("/api/v1/me").json()["id"]
    new = {"name": "mallory", "password": "a password of mine", "role": "operator"}
    assert thief.post("/api/v1/tokens", json={"name": "another"}).status_code == 403
    assert thief.post("/api/v1/users", json=new).status_code == 403
    assert thief.patch(f"/api/v1/users/{number}", json={"password": "a password of mine"}).status_code == 403
    change = {"password": PASSWORD, "new_password": "a password of mine"}
    assert thief.put("/api/v1/me/password", json=change).status_code == 403


def test_the_last_use_of_a_token_is_noted_once_a_minute(client: TestClient) -> None:
    program_of_ada = program(client, "ada")
    assert asked(program_of_ada) == 200
    with service_of(client).database.session() as session:
        token = session.scalars(select(Token)).one()
        assert token.used is not None
        token.used = None
    assert asked(program_of_ada) == 200
    with service_of(client).database.reading() as session:
        assert session.scalars(select(Token.used)).one() is None


def test_a_changed_password_signs_other_browsers_out(client: TestClient) -> None:
    here, elsewhere = browser(client, "ada"), browser(client, "ada")
    change = {"password": PASSWORD, "new_password": "another long password"}
    assert here.put("/api/v1/me/password", json=change).status_code == 204
    assert (asked(here), asked(elsewhere)) == (200, 401)
    assert client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD}).status_code == 401
    assert asked(browser(client, "ada", "another long password")) == 200


def test_the_sign_in_page_leads_on_and_signs_out(client: TestClient) -> None:
    form = {"name": "ada", "password": PASSWORD, "next": "/account"}
    answer = client.post("/sign-in", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    copied, csrf = client.cookies["eemt"], client.get("/api/v1/me").json()["csrf"]
    answer = client.post("/sign-out", data={"csrf": csrf}, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert asked(client, Cookie=f"eemt={copied}") == 401


def test_the_sign_in_page_says_what_was_wrong(client: TestClient) -> None:
    answer = client.post("/sign-in", data={"name": "ada", "password": "wrong"})
    assert answer.status_code == 401
    assert "Name or password is wrong" in answer.text


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        " //evil.example",
        "javascript:alert(1)",
        "http:evil.example",
        "evil.example",
    ],
)
def test_signing_in_leads_to_no_other_site(client: TestClient, address: str) -> None:
    form = {"name": "ada", "password": PASSWORD, "next": address}
    answer = client.post("/sign-in", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert sessions.local_part(address) == "/"
    answer = client.get("/sign-in", params={"next": address}, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_places_within_are_gone_on_to() -> None:
    assert sessions.local_part("/jobs?state=running&search=a%2Fb#log") == "/jobs?state=running&search=a%2Fb#log"
