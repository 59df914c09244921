"""What every request passes: known hosts, limits, who asks, whether a browser meant it, and headers of the answer.

From outside to inside: Answers, ProxyHeadersMiddleware, Hosts, Bodies, Callers, Rates, Origins, Streams.
All are plain ASGI, so that nothing is held back on its way, neither streams nor pieces of uploads.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from urllib.parse import parse_qs, urlsplit

from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from eemt.service import sessions
from eemt.service.accounts import LOCAL, find
from eemt.service.bounds import Bodies, Check, Rates, Streams, answer
from eemt.service.dependencies import Principal
from eemt.service.problems import Problem
from eemt.service.service import Service
from eemt.service.settings import Settings

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
API_PATH = "/api/"
STATIC_PATH = "/static/"
PROBES_PATH = "/health/"
# a new sign-in asks for a password and stands on no cookie
SIGN_IN_PATHS = frozenset({"/sign-in", "/api/v1/session"})
# of bodies that the API takes; a page elsewhere can send none of these without asking us before
BODY_TYPES = (
    "application/json",
    "application/merge-patch+json",
    "application/octet-stream",
    "application/offset+octet-stream",
)

# Content security policies, all of them.
_BASE = "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
PAGES = (
    f"{_BASE}; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'"
)
# the library of plots and maps sets styles from its scripts
MAPS = PAGES.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
MAP_PAGES = re.compile(r"/jobs/[^/]+/map")
# a job's own report has its styles and its one script within; it is shown as if it came from nowhere, so that nothing
# in it can use the reader's cookie, whatever names and values the job's user put into it
RESULTS = (
    f"{_BASE}; sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; font-src data:"
)
RESULT_FILES = re.compile(r"/api/v1/jobs/[^/]+/files/")
DATA = _BASE

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer, with which browsers send Origin: null with forms of our own
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
}
YEAR = 31_536_000  # s


def install(app: FastAPI, service: Service) -> None:
    """Put the checks around an application; the last one added is the first that a request passes."""
    for check in (Streams, Origins, Rates, Callers, Bodies, Hosts):
        app.add_middleware(check, service=service)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(service.settings.proxies))
    app.add_middleware(Answers, service=service)


class Answers(Check):
    """Adds to each answer what browsers are to know of it, to those of failures too."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        self.is_https = sessions.is_behind_https(service.settings)

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        scope.setdefault("state", {})
        is_begun = False

        async def with_headers(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                self._add(MutableHeaders(scope=message), scope["path"])
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        except Exception:
            # the framework would answer outside of this; it still gets the failure, which it has written to the log
            if not is_begun:
                await answer(Problem("failed", "The service failed; its log says why."), scope, receive, with_headers)
            raise

    def _add(self, headers: MutableHeaders, path: str) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers["Content-Security-Policy"] = policy(path, headers.get("content-type", ""))
        if not path.startswith(STATIC_PATH):
            headers.setdefault("Cache-Control", "no-store")
        if self.is_https:
            headers["Strict-Transport-Security"] = f"max-age={YEAR}"


def policy(path: str, media_type: str) -> str:
    """Return the content security policy of an answer."""
    if RESULT_FILES.match(path):
        return RESULTS
    if not media_type.startswith("text/html"):
        return DATA
    return MAPS if MAP_PAGES.fullmatch(path) else PAGES


class Hosts(Check):
    """Ends requests for names that are not ours, and for addresses that are none.

    A page elsewhere can give its own name our address (DNS rebinding), and would then be taken for ours by the
    browser; and what we write of our own address must not come from whoever asks.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        self.names = known_hosts(service.settings)
        self.any_number = service.settings.host in {"0.0.0.0", "::", ""}

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        # no file and no text in PostgreSQL has one in its name
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await answer(Problem("bad-request", "There is a NUL in the address."), scope, receive, send)
            return
        # probes of Kubernetes and of containers call by whatever number the machine has just now
        if scope["path"].startswith(PROBES_PATH) or self._knows(Headers(scope=scope).get("host", "")):
            await self.app(scope, receive, send)
            return
        text = "This service is not known by that name; its operator adds names with EEMT_SERVICE_TRUSTED_HOSTS."
        await answer(Problem("bad-request", text), scope, receive, send)

    def _knows(self, host: str) -> bool:
        name = _host_name(host)
        if name in self.names:
            return True
        # a number in place of a name cannot be made to point to us
        return self.any_number and name is not None and _is_number(name)


def known_hosts(settings: Settings) -> frozenset[str]:
    """Return the names that the service is known by."""
    names = {"localhost", "127.0.0.1", "::1", settings.host, *settings.trusted_hosts}
    if settings.public_url:
        names.add(urlsplit(settings.public_url).hostname or "")
    if not settings.is_local:
        names.add(socket.gethostname())
    return frozenset(name.lower().strip("[]") for name in names if name)


def _host_name(host: str) -> str | None:
    """Return a Host header without its port, or None where it is none."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?", host.lower())
    return (found[1] or found[2]) if found else None


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Callers(Check):
    """Finds out who asks: `request.state.principal`, and `request.state.csrf` for pages to embed."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        self.cookie = sessions.cookie_name(service.settings)
        self.local: Principal | None = None
        self.last_use = sessions.LastUse()

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        state = scope["state"]
        state["csrf"], state["principal"], state["key"] = "", None, None
        if not scope["path"].startswith((STATIC_PATH, PROBES_PATH)):
            try:
                await self._find(scope)
            except SQLAlchemyError:
                text = "The database does not answer; try again."
                await answer(Problem("unavailable", text, headers={"Retry-After": "5"}), scope, receive, send)
                return
        await self.app(scope, receive, send)
        principal: Principal | None = state["principal"]
        # after the answer, so that nobody waits for it
        if (
            principal is not None
            and principal.by == "token"
            and principal.key_id
            and self.last_use.is_due(principal.key_id)
        ):
            await to_thread.run_sync(self._note, principal.key_id)

    async def _find(self, scope: Scope) -> None:
        state = scope["state"]
        if not self.settings.with_accounts:
            self.local = self.local or await to_thread.run_sync(self._local)
            state["principal"] = self.local
            return
        key = self._key(Headers(scope=scope))
        if key is None:
            return
        state["principal"] = await to_thread.run_sync(self._principal, key)
        if state["principal"] is not None:
            state["key"] = key
            if key.by == "cookie":
                state["csrf"] = sessions.csrf_token(self.settings, key.hash)

    def _key(self, headers: Headers) -> sessions.Key | None:
        if "authorization" in headers:  # whoever sends one means it, and not a cookie that is there too
            return sessions.of_header(headers["authorization"])
        value = cookie_parser(headers.get("cookie", "")).get(self.cookie)
        return sessions.of_cookie(self.settings, value) if value else None

    def _local(self) -> Principal | None:
        with self.service.database.reading() as session:
            user = find(session, LOCAL)
        return Principal(user.id, LOCAL, "operator", "local") if user else None

    def _principal(self, key: sessions.Key) -> Principal | None:
        with self.service.database.reading() as session:
            return sessions.principal(session, key)

    def _note(self, token_id: str) -> None:
        try:
            with self.service.database.session() as session:
                self.last_use.note(session, token_id)
        except SQLAlchemyError:  # the database is busy or gone: the next use is noted again
            return


class Origins(Check):
    """Ends what a browser sends on behalf of a page that is not ours.

    Without accounts, too: any page that the user looks at could otherwise post to 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        self.public = _origin(service.settings.public_url) if service.settings.public_url else None

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        headers = Headers(scope=scope)
        is_change = scope["method"] in CHANGING
        try:
            self._from_here(scope, headers, is_change)
            if is_change:
                _of_a_type(scope, headers)
                receive = await self._meant(scope, headers, receive)
        except Problem as problem:
            await answer(problem, scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _from_here(self, scope: Scope, headers: Headers, is_change: bool) -> None:
        site = headers.get("sec-fetch-site", "none")
        if is_change:
            origin = headers.get("origin")
            ours = {f"{scope['scheme']}://{headers.get('host', '')}".lower(), self.public}
            if site not in {"none", "same-origin"} or (origin is not None and origin.lower() not in ours):
                raise Problem(
                    "not-allowed",
                    "This came from a page of another site. Where it did not, the service does not know its own "
                    "address: its operator sets EEMT_SERVICE_PUBLIC_URL.",
                )
        elif site == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise Problem("not-allowed", "Other sites may link to this service, and use nothing of it.")

    async def _meant(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Demand the token of the session where a cookie is what speaks for the caller."""
        principal: Principal | None = scope["state"]["principal"]
        if (
            principal is None
            or principal.by != "cookie"
            or (scope["path"] in SIGN_IN_PATHS and scope["method"] == "POST")
        ):
            return receive
        shown = headers.get(CSRF_HEADER)
        if shown is None and _media_type(headers) == "application/x-www-form-urlencoded":
            body, receive = await _read(receive)
            shown = parse_qs(body.decode("latin-1")).get(CSRF_FIELD, [""])[0]
        if not hmac.compare_digest((shown or "").encode(), scope["state"]["csrf"].encode()):
            raise Problem("not-allowed", f"{CSRF_HEADER} is missing or of another session; load the page again.")
        return receive


def _origin(address: str) -> str:
    parts = urlsplit(address.lower())
    return f"{parts.scheme}://{parts.netloc}"


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _of_a_type(scope: Scope, headers: Headers) -> None:
    # forms and texts can be posted by any page elsewhere; for other methods browsers ask us before
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if (
        scope["method"] == "POST"
        and scope["path"].startswith(API_PATH)
        and has_body
        and _media_type(headers) not in BODY_TYPES
    ):
        raise Problem("unsupported-media-type", f"Content-Type is none of: {', '.join(BODY_TYPES)}.")


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """Read a body, whose size `Bodies` bounds, and return it with what gives it once more."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, again
