"""Errors of pages: what the API says as a problem, as a page for people."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from eemt.service.pages.rendering import render
from eemt.service.problems import Problem

FOR_MACHINES = ("/api/", "/health", "/metrics", "/static/")


def install(app: FastAPI) -> None:
    """Let browsers be answered with pages where something is wrong."""
    app.state.problem_page = page_of


def page_of(request: Request, problem: Problem) -> Response | None:
    """Return the page that says what is wrong, or what leads to signing in; nothing for who asks for no page."""
    if request.url.path.startswith(FOR_MACHINES) or "text/html" not in request.headers.get("accept", ""):
        return None
    if problem.name == "not-signed-in" and request.method in ("GET", "HEAD"):
        there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?{urlencode({'next': there})}", status_code=303)
    page = render(request, "error.html", problem.status, problem=problem.body(request.url.path))
    page.headers.update(problem.headers or {})
    return page
