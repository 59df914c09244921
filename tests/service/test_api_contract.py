"""The API is as it says that it is."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from service.contract import differences, serve_described


def test_the_api_answers_as_its_description_says(tmp_path: Path) -> None:
    server = serve_described(tmp_path / "service")
    try:
        found = differences(server, tmp_path / "asked", 2, "examples,coverage,fuzzing", 540)
    finally:
        server.end()
    assert found is None, found


def test_the_description_says_who_may_ask_and_who_is_refused(client: TestClient) -> None:
    described = client.get("/api/v1/openapi.json").json()
    assert set(described["components"]["securitySchemes"]) == {"token", "cookie"}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            asks_for_users = path.startswith("/api/") and path != "/api/v1/session"
            assert bool(operation["security"]) == asks_for_users, where
            wanted = {"400", "403", "429", "503"} | ({"401"} if asks_for_users else set())
            wanted |= {"408", "413", "415"} if "requestBody" in operation else set()
            assert wanted <= set(operation["responses"]), where
            assert operation["summary"], where
            for code, response in operation["responses"].items():
                errors = set(response.get("content", {})) if code >= "400" else set()
                assert errors <= {"application/problem+json", "text/plain"} or path.startswith("/health"), where
