"""What the description of the API says of what every request passes: how callers are known, and whom it refuses."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from eemt.service import sessions
from eemt.service.api.documented import problems
from eemt.service.settings import Settings

METHODS = ("get", "head", "post", "put", "patch", "delete")
OF_ALL = ("bad-request", "not-allowed", "too-many", "unavailable")
OF_USERS = ("not-signed-in",)
OF_BODIES = ("too-slow", "too-large", "unsupported-media-type")
API = "/api/"
SIGN_IN = "/api/v1/session"


def install(app: FastAPI, settings: Settings) -> None:
    """Let an application's description name what `security` answers, at every operation."""
    of_endpoints = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(of_endpoints(), settings)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any], settings: Settings) -> None:
    schemes = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of the account page, or of POST /tokens"},
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": sessions.cookie_name(settings),
            "description": "Of browsers that are signed in; changes need the header X-CSRF-Token beside it",
        },
    }
    document.setdefault("components", {})["securitySchemes"] = schemes
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                _complete_operation(operations[method], path)


def _complete_operation(operation: dict[str, Any], path: str) -> None:
    is_for_users = path.startswith(API) and path != SIGN_IN
    operation["security"] = [{"token": []}, {"cookie": []}] if is_for_users else []
    names = OF_ALL + (OF_USERS if is_for_users else ()) + (OF_BODIES if "requestBody" in operation else ())
    said = operation["responses"]
    for status, response in problems(*names).items():
        code = str(status)
        # the framework's own form of errors is not ours
        if code not in said or (code == "422" and "application/json" in said[code].get("content", {})):
            said[code] = response
