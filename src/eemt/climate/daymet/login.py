"""The Earthdata login: where it is taken from, and which servers get to see it.

A token (environment variable ``EARTHDATA_TOKEN``) goes to NASA's data servers alone, name and
password (``~/.netrc``) to the login server alone. Neither is written to disk or put into a message.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from requests.auth import _basic_auth_str
from requests.utils import get_netrc_auth

from eemt.climate.daymet.errors import DeniedError

TOKEN_VARIABLE = "EARTHDATA_TOKEN"
HOW = (
    f"make a token at https://urs.earthdata.nasa.gov (it lasts 60 days) and set {TOKEN_VARIABLE}, or write "
    "`machine urs.earthdata.nasa.gov login NAME password PASSWORD` to ~/.netrc"
)


class Nobody:
    """No login: nothing is added to requests, and a login page is the end."""

    def check(self) -> None:
        """Make sure that there is what is needed: nothing."""

    def headers(self, url: str) -> dict[str, str]:  # noqa: ARG002
        """Return what a request carries to prove who sends it."""
        return {}

    def check_redirect(self, url: str) -> None:
        """Look at where a server sends us.

        Raises
        ------
        DeniedError
            When it is a login page that we have nothing to say to.
        """
        if "/oauth/" in urlsplit(url).path or "urs.earthdata" in urlsplit(url).netloc:
            raise DeniedError("wants a login, which it did not before")

    def denied(self, status: int) -> DeniedError:
        """Word what a refusal means and what to do."""
        return DeniedError(f"answers {status}, access denied, though it needs no login")


class Earthdata(Nobody):
    """A login from the environment.

    Parameters
    ----------
    data_urls : iterable of str
        Base URLs of the servers that the token is for.
    login_url : str
        Of the login server, that name and password are for.
    """

    def __init__(self, data_urls: Iterable[str], login_url: str) -> None:
        self._data = {_origin(url) for url in data_urls}
        self._login = _origin(login_url)
        self._token = os.environ.get(TOKEN_VARIABLE, "").strip()
        self._netrc = None if self._token else get_netrc_auth(login_url)

    def check(self) -> None:
        """Make sure that there is any login.

        Raises
        ------
        DeniedError
            When there is none.
        """
        if not (self._token or self._netrc):
            raise DeniedError(f"needs a login: {HOW}")

    def headers(self, url: str) -> dict[str, str]:
        """Return the token for a data server, name and password for the login server, else nothing."""
        origin = _origin(url)
        if self._token and origin in self._data:
            return {"Authorization": f"Bearer {self._token}"}
        if self._netrc and origin == self._login:
            return {"Authorization": _basic_auth_str(*self._netrc)}
        return {}

    def check_redirect(self, url: str) -> None:
        """Let only name and password go on to the login server."""
        if not self._netrc and (_origin(url) == self._login or "/oauth/" in urlsplit(url).path):
            raise DeniedError(f"did not accept the token and wants a login: {HOW}")

    def denied(self, status: int) -> DeniedError:
        """Say what to do about a refused login."""
        what = "token" if self._token else "name and password"
        return DeniedError(f"answers {status}, the {what} was not accepted: {HOW}")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
