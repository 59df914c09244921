"""What every request passes: known names, limits, whether a browser meant it; and headers of every answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from sse_starlette import EventSourceResponse

from eemt.service import bounds, security
from eemt.service.app import create_app
from eemt.service.settings import Settings
from service.people import ADDRESS, PASSWORD, browser, group, program, service_of


@pytest.fixture
def people(tmp_path: Path) -> Iterator[TestClient]:
    with group(tmp_path / "group") as client:
        yield client


def application(client: TestClient) -> FastAPI:
    assert isinstance(client.app, FastAPI)
    return client.app


# headers


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/api/v1/me", "/api/v1/openapi.json", "/nothing", "/health/live", "/static/x"]
)
def test_every_answer_says_what_browsers_may_do_with_it(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers
    assert "Server" not in headers


def test_pages_run_no_script_but_their_own() -> None:
    for path in ("/", "/jobs", "/jobs/new", "/jobs/0123/map", "/sign-in", "/account", "/operator", "/api"):
        rules = dict(rule.split(" ", 1) for rule in security.policy(path, "text/html; charset=utf-8").split("; "))
        assert rules["script-src"] == "'self'"
        assert rules["default-src"] == rules["base-uri"] == rules["object-src"] == "'none'"
        assert rules["form-action"] == "'self'"


def test_reports_of_jobs_are_shown_as_if_from_nowhere() -> None:
    policy = security.policy("/api/v1/jobs/0123/files/site/report.html", "text/html")
    sandbox = next(rule for rule in policy.split("; ") if rule.startswith("sandbox"))
    assert "allow-same-origin" not in sandbox
    assert "allow-forms" not in sandbox
    assert "allow-top-navigation" not in sandbox
    assert "connect-src" not in policy  # so that default-src 'none' holds
    assert security.policy("/api/v1/jobs/0123/files/x.svg", "image/svg+xml") == policy


def test_answers_of_the_api_are_kept_by_no_cache(people: TestClient) -> None:
    assert program(people, "ada").get("/api/v1/me").headers["Cache-Control"] == "no-store"
    assert people.get("/api/v1/me").headers["Cache-Control"] == "no-store"


def test_failures_have_the_headers_and_tell_nothing(tmp_path: Path) -> None:
    app = create_app(Settings(folder=tmp_path))

    @app.get("/fails")
    def fails() -> None:
        raise RuntimeError("the password is 1234")

    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        answer = client.get("/fails")
    assert answer.status_code == 500
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "1234" not in answer.text
    assert "Traceback" not in answer.text


# names


NOT_OURS = [
    "",
    "192.0.2.1",
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8420",
    "127.0.0.1:8420@evil.example",
    "evil.example#127.0.0.1",
    "127.0.0.1:8420/x",
    "[::1",
]


@pytest.mark.parametrize("host", NOT_OURS)
def test_a_name_that_is_not_ours_is_not_answered(client: TestClient, host: str) -> None:
    answer = client.get("/api/v1/me", headers={"Host": host})
    assert answer.status_code == 400
    assert "evil" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:8420", "LOCALHOST", "[::1]:8420"])
def test_this_machine_is_known_by_its_own_names(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/me", headers={"Host": host}).status_code == 200


def test_probes_may_call_by_number(client: TestClient) -> None:
    assert client.get("/health/live", headers={"Host": "10.244.0.17:8420"}).status_code == 200


def test_names_that_the_operator_gives_are_known(tmp_path: Path) -> None:
    given = {"public_url": "https://maps.example.org/eemt", "trusted_hosts": ("eemt.internal",)}
    with group(tmp_path / "named", **given) as client:
        for host, code in (("maps.example.org", 401), ("eemt.internal:8420", 401), ("other.example.org", 400)):
            assert client.get("/api/v1/me", headers={"Host": host}).status_code == code


def test_a_service_on_all_addresses_is_known_by_number_but_not_by_any_name(tmp_path: Path) -> None:
    with group(tmp_path / "all", host="0.0.0.0") as client:
        for host, code in (("192.0.2.7:8420", 401), ("[2001:db8::1]", 401), ("evil.example", 400)):
            assert client.get("/api/v1/me", headers={"Host": host}).status_code == code


# proxies


def seen(client: TestClient, **headers: str) -> tuple[str, str]:
    """Ask for whom and by what the service takes the caller."""
    found: list[tuple[str, str]] = []
    app = application(client)
    if not any(getattr(route, "path", None) == "/seen" for route in app.routes):

        @app.get("/seen")
        def look(request: Request) -> list[str]:
            assert request.client is not None
            return [request.client.host, request.url.scheme]

    host, scheme = client.get("/seen", headers=headers).json()
    found.append((host, scheme))
    return found[0]


def test_what_anybody_says_of_addresses_is_not_believed(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(folder=tmp_path)), base_url=ADDRESS, client=("192.0.2.1", 5)) as client:
        forwarded = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https", "X-Real-IP": "198.51.100.9"}
        assert seen(client, **forwarded) == ("192.0.2.1", "http")


def test_what_our_proxy_says_is_believed_and_no_more_than_that(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, proxies=("192.0.2.0/24",))
    with TestClient(create_app(settings), base_url=ADDRESS, client=("192.0.2.1", 5)) as client:
        # the first is what the caller made up, the second what the proxy saw
        forwarded = {"X-Forwarded-For": "203.0.113.1, 198.51.100.9", "X-Forwarded-Proto": "https"}
        assert seen(client, **forwarded) == ("198.51.100.9", "https")


# whether a browser meant it


def test_another_site_changes_nothing_with_our_cookie(people: TestClient) -> None:
    victim = browser(people, "ada")
    wish = {"name": "forged"}
    for headers in (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": ADDRESS, "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:9999", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://127.0.0.1:8420.evil.example"},
    ):
        assert victim.post("/api/v1/tokens", json=wish, headers=headers).status_code == 403
    assert victim.get("/api/v1/tokens").json()["items"] == []
    assert victim.post("/api/v1/tokens", json=wish).status_code == 201


def test_a_cookie_alone_changes_nothing(people: TestClient) -> None:
    ada, ben = browser(people, "ada"), browser(people, "ben")
    for token in ("", "0" * 64, ben.headers["X-CSRF-Token"], ada.headers["X-CSRF-Token"].upper(), "\u00e9"):
        forged = TestClient(people.app, base_url=ADDRESS, cookies=dict(ada.cookies))
        headers = [(b"x-csrf-token", token.encode("latin-1"))]
        assert forged.post("/sign-out", headers=headers, follow_redirects=False).status_code == 403
    without = TestClient(people.app, base_url=ADDRESS, cookies=dict(ada.cookies))
    assert without.post("/api/v1/tokens", json={"name": "forged"}).status_code == 403
    assert without.delete("/api/v1/session").status_code == 403
    assert without.post("/sign-out", data={"csrf": "wrong"}).status_code == 403
    assert ada.get("/api/v1/me").status_code == 200


def test_the_token_of_an_earlier_sign_in_is_of_no_use(people: TestClient) -> None:
    ada = browser(people, "ada")
    before = ada.headers["X-CSRF-Token"]
    ada.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
    assert ada.post("/api/v1/tokens", json={"name": "x"}, headers={"X-CSRF-Token": before}).status_code == 403


def test_programs_with_a_token_need_no_other(people: TestClient) -> None:
    ada = program(people, "ada")
    made = browser(people, "ada").post("/api/v1/tokens", json={"name": "x"}).json()
    assert ada.delete(f"/api/v1/tokens/{made['id']}").status_code == 204


def test_nobody_is_signed_in_by_another_site(people: TestClient) -> None:
    for path, how in (("/sign-in", "data"), ("/api/v1/session", "json")):
        login: dict[str, Any] = {how: {"name": "ada", "password": PASSWORD}}
        answer = people.post(path, headers={"Origin": "https://evil.example"}, **login)
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers


def test_pages_elsewhere_change_nothing_of_a_service_without_accounts(client: TestClient) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.delete("/api/v1/session", headers=headers).status_code == 403
    assert client.delete("/api/v1/session").status_code == 204
    assert client.delete("/api/v1/session", headers={"Origin": ADDRESS}).status_code == 204


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_elsewhere_can_post_is_not_taken_for_json(client: TestClient, media_type: str) -> None:
    answer = client.post("/api/v1/session", content=b'{"name": "a"}', headers={"Content-Type": media_type})
    assert answer.status_code == 415


def test_other_sites_may_link_and_no_more(client: TestClient) -> None:
    there = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/", headers={**there, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert client.get("/api/v1/me", headers={**there, "Sec-Fetch-Mode": "no-cors"}).status_code == 403


def test_no_other_site_may_read(client: TestClient) -> None:
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (client.options("/api/v1/jobs", headers=preflight), client.get("/", headers=preflight)):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


# how much


def test_bodies_that_are_too_large_are_not_taken(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    with TestClient(create_app(Settings(folder=tmp_path, request_bytes=1000)), base_url=ADDRESS) as client:
        headers = {"Content-Type": "application/json"}
        for body in (b" " * 1001, pieces()):
            answer = client.post("/api/v1/session", content=body, headers=headers)
            assert (answer.status_code, answer.headers["Connection"]) == (413, "close")
            assert answer.json()["type"] == "/problems/too-large"
        assert client.post("/api/v1/session", content=b" " * 1000, headers=headers).status_code == 422


def test_forms_that_are_too_large_are_not_taken_either(tmp_path: Path) -> None:
    with group(tmp_path / "small", request_bytes=1000) as client:
        ada = browser(client, "ada")
        del ada.headers["X-CSRF-Token"]
        answer = ada.post("/sign-out", content=(b"x" * 500 for _ in range(9)), headers={"Content-Type": FORM})
        assert answer.status_code == 413


FORM = "application/x-www-form-urlencoded"


def test_who_asks_too_often_is_told_when_to_go_on(tmp_path: Path) -> None:
    with group(tmp_path / "few", requests_a_minute=5) as client:
        ada, ben = program(client, "ada"), program(client, "ben")
        codes = [ada.get("/api/v1/me").status_code for _ in range(7)]
        assert codes == [200] * 5 + [429] * 2
        answer = ada.get("/api/v1/me")
        assert 1 <= int(answer.headers["Retry-After"]) <= 61
        assert answer.json()["type"] == "/problems/too-many"
        assert ben.get("/api/v1/me").status_code == 200  # others are not kept waiting
        assert [client.get("/api/v1/me").status_code for _ in range(6)] == [401] * 5 + [429]  # nobody: by address
        assert client.get("/health/live").status_code == 200


def test_another_token_is_no_way_around_the_limit(tmp_path: Path) -> None:
    with group(tmp_path / "few", requests_a_minute=5) as client:
        codes = [program(client, "ada").get("/api/v1/me").status_code for _ in range(6)]
        assert codes[-1] == 429
        wrong = [client.get("/api/v1/me", headers={"Authorization": f"Bearer eemt_{n}"}).status_code for n in range(6)]
        assert wrong[-1] == 429


def with_stream(app: FastAPI) -> list[str]:
    """Add a stream that has no end to an application; return what becomes of it."""
    told: list[str] = []

    async def events() -> AsyncIterator[dict[str, str]]:
        try:
            while True:
                yield {"data": "x"}
                await asyncio.sleep(0.05)
        finally:
            told.append("ended")

    @app.get("/stream")
    async def stream() -> EventSourceResponse:
        return EventSourceResponse(events())

    return told


@pytest.fixture
def streaming(tmp_path: Path) -> Iterator[tuple[TestClient, str, list[str]]]:
    """Serve a group by a real server, with a stream that has no end; two streams each are allowed."""
    import uvicorn

    with group(tmp_path / "streams", streams_of_user=2) as client:
        told = with_stream(application(client))
        config = uvicorn.Config(application(client), port=0, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield client, f"http://127.0.0.1:{port}/stream", told
        server.force_exit = server.should_exit = True
        thread.join(30)


def test_open_streams_are_limited(streaming: tuple[TestClient, str, list[str]]) -> None:
    client, address, told = streaming
    headers = dict(program(client, "ada").headers)
    with httpx.Client(headers=headers, timeout=30) as ada:
        with ada.stream("GET", address) as one, ada.stream("GET", address) as two:
            assert (one.status_code, two.status_code) == (200, 200)
            third = ada.get(address)
            assert third.status_code == 429
            assert "open streams" in third.json()["detail"]
            others = httpx.Client(headers=dict(program(client, "ben").headers))
            with others.stream("GET", address, timeout=30) as of_ben:
                assert of_ben.status_code == 200
        while len(told) < 3:
            time.sleep(0.01)
        with ada.stream("GET", address) as again:
            assert again.status_code == 200


def test_an_open_stream_ends_when_its_user_is_disabled(
    streaming: tuple[TestClient, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LOOK_SECONDS", 0.05)
    client, address, told = streaming
    headers = dict(program(client, "ada").headers)
    from eemt.service import accounts

    with httpx.stream("GET", address, headers=headers, timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: x"
        with service_of(client).database.session() as session:
            accounts.disable(session, accounts.by_name(session, "ada"))
        for _ in lines:  # comes to its end by itself
            pass
    assert told == ["ended"]
