"""Requests to SciCat: faults of the way there as the archive's own errors, patience, and a token that nobody sees.

Built on scitacean's low-level client. Of a call that fails that tells only a text; status, `Retry-After` and redirects,
on which depends what to do next, are looked at here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx
import pydantic
from scitacean.client import ScicatClient
from scitacean.util.credentials import ExpiringToken, StrStorage

from eemt.archive.areas import patience
from eemt.archive.errors import StorageError
from eemt.errors import InputError

TOKEN, TOKEN_FILE = "EEMT_SCICAT_TOKEN", "EEMT_SCICAT_TOKEN_FILE"
ANSWER = 30.0  # seconds that an answer may take
LONGEST_PAUSE = 10.0  # seconds between two tries
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers after which another try may do

Found = TypeVar("Found")
Fields = dict[str, Any]


class Busy(Exception):  # noqa: N818  it is no error until patience is at its end
    """SciCat cannot be reached, or not now; whether it did what it was asked to is not known."""

    def __init__(self, said: str, pause: float = 0.0) -> None:
        super().__init__(said)
        self.pause = pause


class Conflict(Exception):  # noqa: N818  mostly it says that nothing is left to do
    """SciCat has what it was asked to make already."""


class Token(StrStorage):
    """The token as environment or file have it now, so that a file may be renewed while a run goes on."""

    def __init__(self) -> None:
        super().__init__(None)

    @property
    def place(self) -> str:
        """Where it comes from, for people."""
        return TOKEN if os.environ.get(TOKEN) else TOKEN_FILE

    def get_str(self) -> str:
        """Return the token.

        Raises
        ------
        InputError
            When there is none.
        StorageError
            When it says itself that it has expired.
        """
        token = os.environ.get(TOKEN) or self._of_file()
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise InputError(f"archive: {self.place} holds no token: it is empty, or has blanks or signs that none has")
        try:
            return ExpiringToken.from_jwt(token).get_str()
        except RuntimeError:
            raise StorageError(
                "denied", f"archive: the token of SciCat has expired by this machine's clock; renew {self.place}"
            ) from None

    def _of_file(self) -> str:
        path = os.environ.get(TOKEN_FILE)
        if not path:
            raise InputError(
                f"archive.scicat: there is no token; set {TOKEN}, or {TOKEN_FILE} to the path of a file with it"
            )
        try:
            return Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise InputError(f"archive: {path}, named by {TOKEN_FILE}, cannot be read ({reason})") from None

    def __str__(self) -> str:
        return "***"

    __repr__ = __str__


class Patience:
    """How long tries go on: pauses double, and follow SciCat's wish where it names one.

    Parameters
    ----------
    address : str
        Of SciCat, for the message.
    seconds : float
        Until it ends.
    """

    def __init__(self, address: str, seconds: float) -> None:
        self.address, self.seconds = address, seconds
        self.end = time.monotonic() + seconds
        self.pause = min(1.0, seconds / 200)

    def wait(self, busy: Busy) -> None:
        """Wait for the next try.

        Raises
        ------
        StorageError
            When it would come too late.
        """
        pause = max(self.pause, busy.pause)
        if time.monotonic() + pause > self.end:
            asked = f" and asks to wait {busy.pause:.0f} s" if busy.pause else ""
            raise StorageError(
                "gone",
                f"archive: SciCat at {self.address} {busy}{asked}; tried for {self.seconds:g} s, run again later",
            ) from None
        time.sleep(pause)
        self.pause = min(2 * self.pause, LONGEST_PAUSE)


class Session(ScicatClient):
    """Calls of one SciCat.

    Parameters
    ----------
    address : str
        Of SciCat or of its API, ``https://scicat.example.org``.
    version : str
        Of the API: v3 or v4.

    Raises
    ------
    InputError
        When there is no token, or the address would send it in the clear.
    """

    def __init__(self, address: str, version: Literal["v3", "v4"]) -> None:
        parts = urlsplit(address)
        here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme != "https" and not here:
            raise InputError(f"archive.scicat: {address} would send the token in the clear; must begin with https://")
        self.address, self.version = address, version
        self.patience = patience()
        self.token = Token()
        self.token.get_str()
        self.answer = min(ANSWER, self.patience) or ANSWER
        self._certificates = httpx.create_ssl_context()  # once: it takes longer than a request
        super().__init__(address, self.token, allow_http=here, timeout=None)

    def call(
        self,
        verb: str,
        path: str,
        *,
        data: pydantic.BaseModel | None = None,
        params: Fields | None = None,
        version: str | None = None,
    ) -> Any:
        """Ask for something that may be asked for twice; return the answer, None for an empty one."""
        tries = Patience(self.address, self.patience)
        while True:
            try:
                return self.once(verb, path, data=data, params=params, version=version)
            except Busy as busy:
                tries.wait(busy)

    def once(
        self,
        verb: str,
        path: str,
        *,
        data: pydantic.BaseModel | None = None,
        params: Fields | None = None,
        version: str | None = None,
    ) -> Any:
        """Ask once.

        Raises
        ------
        Busy
            When another try may do.
        Conflict
            When it is there already.
        InputError
            When SciCat finds fault with what it was sent.
        StorageError
            When it does not let this user, knows no such thing, or is no SciCat.
        """
        asked = f"{verb} {path}"
        return self.call_endpoint(
            cmd=verb, url=path, operation=asked, data=data, params=params, version=version or self.version
        )

    def ensure(
        self, find: Callable[[], Found | None], make: Callable[[], Found | None], what: str, look_first: bool = True
    ) -> Found:
        """Make what is not there, once, and return it.

        After a try whose end is not known it is looked for before it is made again, so that an answer that was lost
        makes nothing double.

        Raises
        ------
        StorageError
            When SciCat neither makes it nor shows it.
        """
        tries = Patience(self.address, self.patience)
        found = find() if look_first else None
        while found is None:
            try:
                found = make()
                lost = "made nothing of"
            except Conflict:
                found = find()
                lost = f"has, but does not show to the user of {self.token.place},"
            except Busy as busy:
                tries.wait(busy)
                found = find()
                continue
            if found is None:
                raise StorageError("denied", f"archive: SciCat at {self.address} {lost} {what}")
        return found

    def _send_to_scicat(
        self,
        *,
        cmd: str,
        url: str,
        data: pydantic.BaseModel | None = None,
        params: dict[str, str] | None = None,
    ) -> httpx.Response:
        token = self.token.get_str()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        body = None
        if data is not None:
            headers["Content-Type"] = getattr(data, "media_type", "application/json")
            body = data.model_dump_json(exclude_none=True)
        try:
            # a redirect is not followed: the token is for this host, and a POST would become a GET on the way
            answer = httpx.request(
                cmd,
                url,
                content=body,
                params=params,
                headers=headers,
                timeout=self.answer,
                verify=self._certificates,
                follow_redirects=False,
            )
        except httpx.TimeoutException:
            raise Busy(f"did not answer within {self.answer:g} s") from None
        except httpx.TransportError as error:
            raise Busy(f"cannot be reached ({_shown(str(error), token) or type(error).__name__})") from None
        asked, here = f"{cmd} {urlsplit(url).path}", f"archive: SciCat at {self.address}"
        if not answer.is_success:
            self._refused(answer, asked, here, f"{answer.status_code} {_said(answer, token)}")
        elif answer.text and not _is_json(answer):
            raise StorageError(
                "gone", f"{here} answers {asked} with something else than JSON; archive.scicat must name its API"
            )
        return answer

    def _refused(self, answer: httpx.Response, asked: str, here: str, said: str) -> NoReturn:
        code = answer.status_code
        if answer.is_redirect:
            target = urlsplit(answer.headers.get("Location", "")).hostname or "another path"
            raise StorageError("gone", f"{here} redirects to {target}; archive.scicat must name where it is now")
        if code in PASSING:
            raise Busy(f"answers {said} to {asked}", _pause(answer.headers.get("Retry-After")))
        if code == 409:
            raise Conflict(said)
        if code in {400, 422}:
            raise InputError(f"{here} does not take {asked} ({said})")
        if code == 404:
            raise StorageError(
                "gone", f"{here} knows no {asked} ({said}); archive.scicat and archive.scicat_version must fit it"
            )
        why = {
            401: f": the token was refused or has expired; renew {self.token.place}",
            403: ": the token was refused or has expired, or its user's groups may not do that; renew "
            f"{self.token.place}, or set archive.scicat_owner_group to a group of that user",
            413: ": it, or a proxy before it, takes no request that large; have its limit raised to 16 MB, or archive "
            "with a smaller archive.target_size_mb",
        }
        raise StorageError("denied", f"{here} refuses {asked} ({said}){why.get(code, '')}")


def _said(answer: httpx.Response, token: str) -> str:
    try:
        told = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        told = answer.reason_phrase
    return _shown("; ".join(map(str, told)) if isinstance(told, list) else str(told), token)


def _shown(text: str, token: str) -> str:
    """Return what a person may read of a text from elsewhere: one line, not too long, without the token."""
    return " ".join(text.replace(token, "***").split())[:300]


def _is_json(answer: httpx.Response) -> bool:
    try:
        answer.json()
    except ValueError:
        return False
    return True


def _pause(wish: str | None) -> float:
    """Return the seconds that the header `Retry-After` asks to wait, a number or a date; 0 without one."""
    if not wish:
        return 0.0
    if re.fullmatch(r"\d{1,9}", wish.strip()):
        return float(wish)
    try:
        until = parsedate_to_datetime(wish)
    except ValueError:
        return 0.0
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
