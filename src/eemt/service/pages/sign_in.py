"""Signing in and out in a browser."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from eemt.service.accounts import LONGEST_PASSWORD
from eemt.service.api import accounts
from eemt.service.dependencies import Asker, Parts
from eemt.service.pages.rendering import render
from eemt.service.problems import Problem
from eemt.service.sessions import local_part

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
def sign_in_page(
    request: Request, parts: Parts, asker: Asker, following: Annotated[str | None, Query(alias="next")] = None
) -> Response:
    """Ask for name and password, unless who asks is known already."""
    address = local_part(following)
    if asker is not None or not parts.settings.with_accounts:
        return RedirectResponse(address, 303)
    return render(request, "sign_in.html", next=address, name="", problem=None)


@router.post("/sign-in")
def sign_in(
    request: Request,
    parts: Parts,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=LONGEST_PASSWORD)] = "",
    following: Annotated[str | None, Form(alias="next")] = None,
) -> Response:
    """Sign in and go on to where the user wanted to be; or ask again and say what was wrong."""
    address = local_part(following)
    response = RedirectResponse(address, 303)
    if not parts.settings.with_accounts:
        return response
    try:
        accounts.sign_in(request, response, name, password)
    except Problem as problem:
        page = render(request, "sign_in.html", problem.status, next=address, name=name, problem=problem.detail)
        page.headers.update(problem.headers or {})
        return page
    return response


@router.post("/sign-out")
def sign_out(request: Request) -> Response:
    """Sign out and go to the start page."""
    response = RedirectResponse("/", 303)
    accounts.sign_out(request, response)
    return response
