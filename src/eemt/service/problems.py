"""What the API says when something is wrong: problem details of RFC 9457, each of a type that has a page."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from eemt.errors import InputError

MEDIA_TYPE = "application/problem+json"
# name: status and title. The name stands in the type's address and does not change.
TYPES: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be understood"),
    "not-signed-in": (401, "Sign in first"),
    "wrong-login": (401, "Name or password is wrong"),
    "not-allowed": (403, "Not allowed"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "too-slow": (408, "Took too long to arrive"),
    "conflict": (409, "Not in this state"),
    "key-used-otherwise": (409, "The idempotency key was used for another request"),
    "wrong-offset": (409, "The piece does not follow what is there"),
    "gone": (410, "No longer there"),
    "too-large": (413, "Too large"),
    "unsupported-media-type": (415, "Media type not supported"),
    "range-not-satisfiable": (416, "No such range"),
    "invalid": (422, "Not valid"),
    "upload-refused": (422, "The file cannot be used"),
    "too-many": (429, "Too many requests"),
    "failed": (500, "The service failed"),
    "unavailable": (503, "Not available just now"),
    "queue-full": (503, "The queue is full"),
    "quota": (507, "Disk quota is used up"),
    "disk-full": (507, "The disk is full"),
}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An error that is told to the caller.

    Parameters
    ----------
    name : str
        One of TYPES.
    detail : str
        One sentence for people: what was wrong, what was found, what to do.
    errors : list of dict, optional
        Single mistakes, each with `field`, a dotted path such as sun.linke, and `message`.
    headers : dict, optional
        Of the response, such as Retry-After.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        errors: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.status, self.title = TYPES[name]
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.more = more

    def body(self, instance: str) -> dict[str, Any]:
        """Return the problem's members."""
        members = {
            "type": f"/problems/{self.name}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            **self.more,
        }
        return members if self.errors is None else members | {"errors": self.errors}


def response(request: Request, problem: Problem) -> Response:
    """Answer a request with a problem: programs with JSON, browsers that ask for a page with one."""
    application = request.scope.get("app")
    page_of = getattr(application.state, "problem_page", None) if application else None
    page: Response | None = page_of(request, problem) if page_of else None
    body = problem.body(request.url.path)
    return page or JSONResponse(body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem."""

    @app.exception_handler(Problem)
    def own(request: Request, problem: Problem) -> Response:
        return response(request, problem)

    @app.exception_handler(InputError)
    def of_input(request: Request, error: InputError) -> Response:
        return response(request, Problem("invalid", str(error)))

    @app.exception_handler(RequestValidationError)
    def of_validation(request: Request, error: RequestValidationError) -> Response:
        # the first part of a location says where in the request: body, query, path
        errors = [
            {"field": ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]), "message": item["msg"]}
            for item in error.errors()
        ]
        first = errors[0]
        return response(request, Problem("invalid", f"{first['field']}: {first['message']}", errors))

    @app.exception_handler(HTTPException)
    def of_framework(request: Request, error: HTTPException) -> Response:
        names = {status: name for name, (status, _) in reversed(TYPES.items())}
        name = names.get(error.status_code, "failed" if error.status_code >= 500 else "bad-request")
        problem = Problem(name, str(error.detail), headers=dict(error.headers or {}))
        problem.status, problem.title = error.status_code, HTTPStatus(error.status_code).phrase
        return response(request, problem)

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeoutError)
    def of_database(request: Request, _: Exception) -> Response:
        problem = Problem("unavailable", "The database does not answer; try again.", headers={"Retry-After": "5"})
        return response(request, problem)

    @app.exception_handler(Exception)
    def of_us(request: Request, _: Exception) -> Response:
        # what it was stands in the log, with a traceback; callers learn nothing of it
        return response(request, Problem("failed", "The service failed; its log says why."))
