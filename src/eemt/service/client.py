"""The service's API from Python.

    client = Client("https://eemt.example.org", token)
    dem = client.upload(Path("valley.tif"), "dem")
    job = client.submit("valley", "sun", {"dem": {"source": {"upload": dem["id"]}}})
    for event in client.events(job["id"]):
        print(event.kind, event.data)
    client.fetch_all(job["id"], Path("results"))

It needs none of what the service itself needs: only requests.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import time
import tomllib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests
from platformdirs import user_config_path
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import Retry

from eemt.errors import InputError

API = "/api/v1"
HERE = "http://127.0.0.1:8420"
URL, TOKEN = "EEMT_SERVICE_URL", "EEMT_SERVICE_TOKEN"
FINISHED = ("completed", "failed", "cancelled")
SUMS = "SHA256SUMS"
PIECE = 8_000_000  # bytes of an upload that are sent at once, at the most
READ = 32_768  # bytes that are read at once; where a download breaks off, so many are lost
SILENCE = 60.0  # s without a sign, heartbeats included, after which a stream is taken for broken
PATIENCE = 8  # attempts one after the other that bring nothing, before one gives up
PAUSE = 1.0  # s before the next attempt, and twice as long before each one after it
LONGEST_PAUSE = 15.0  # s
TOO_MANY = 429

Tell = Callable[[str, int, int], None]


class Refused(InputError):  # noqa: N818 - what the service did
    """The service does not do what was asked for: it was wrong, or is not allowed."""

    def __init__(self, message: str, status: int, problem: str, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.errors = errors


class Failed(OSError):  # noqa: N818 - what the service did
    """The service does not answer, or cannot do what was asked for just now."""


class Event(NamedTuple):
    """What happened: its kind, its data and its number."""

    kind: str
    data: dict[str, Any]
    number: str | None


class _Bearer(AuthBase):
    """Sends a token; what ~/.netrc says of the host is left out."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Client:
    """A service, as one user sees it.

    Parameters
    ----------
    address : str
        Of the service, such as https://eemt.example.org.
    token : str, optional
        API token; a service on this machine without accounts needs none.
    timeout : float
        Time without an answer after which one gives up [s].
    """

    def __init__(self, address: str, token: str | None = None, timeout: float = 60.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(f"service: {address} is no address; write it as https://eemt.example.org")
        self.address = address.rstrip("/").removesuffix(API)
        self.timeout = timeout
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        retry = Retry(3, backoff_factor=0.5, allowed_methods=("GET", "HEAD"), status_forcelist=(502, 504))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    @classmethod
    def from_settings(cls, timeout: float = 60.0) -> Client:
        """Make a client of what EEMT_SERVICE_URL and EEMT_SERVICE_TOKEN say, or the file service.toml.

        Raises
        ------
        InputError
            When the file cannot be read, or others may read the token in it.
        """
        path = settings_file()
        told = _told(path)
        token = os.environ.get(TOKEN) or told.get("token")
        return cls(os.environ.get(URL) or told.get("url") or HERE, token, timeout)

    # jobs

    def submit(self, name: str, kind: str, settings: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        """Submit a job and return it.

        Parameters
        ----------
        name : str
            Of the job and its site.
        kind : {"sun", "eemt"}
        settings : mapping
            One site as in config.yaml, files as {"upload": ID}.
        key : str, optional
            Text by which the service knows the request again, so that it can be sent twice; made up by default.
        """
        body = {"name": name, "kind": kind, "settings": settings}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        job: dict[str, Any] = self._patiently(lambda: self._json("POST", "/jobs", json=body, headers=headers))
        return job

    def jobs(
        self, states: Sequence[str] = (), search: str | None = None, of_all: bool = False, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield jobs, newest first."""
        params = {"state": list(states), "search": search, "all": "true" if of_all else None}
        yield from self._pages("/jobs", params, limit)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        return self._json("GET", f"/jobs/{_word(job_id)}")

    def progress(self, job_id: str) -> dict[str, Any]:
        """Return how far a job is, rule by rule."""
        return self._json("GET", f"/jobs/{_word(job_id)}/progress")

    def config(self, job_id: str) -> str:
        """Return the config.yaml that the workflow got."""
        return self._ask("GET", f"/jobs/{_word(job_id)}/config").text

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Take a job out of the queue, or end it."""
        return self._json("POST", f"/jobs/{_word(job_id)}/cancel")

    def retry(self, job_id: str) -> dict[str, Any]:
        """Run a finished job again."""
        return self._json("POST", f"/jobs/{_word(job_id)}/retry")

    def clone(
        self,
        job_id: str,
        name: str | None = None,
        kind: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Submit a job like another, with other settings; None takes one away."""
        body = {"name": name, "kind": kind, "settings": settings or {}}
        return self._json("POST", f"/jobs/{_word(job_id)}/clone", json=body)

    def delete(self, job_id: str) -> None:
        """Remove a finished job's files and take it off the list."""
        self._ask("DELETE", f"/jobs/{_word(job_id)}")

    def wait(self, job_id: str, tell: Callable[[Event], None] | None = None) -> dict[str, Any]:
        """Wait until a job is finished and return it.

        Parameters
        ----------
        tell : callable, optional
            Called with each event.
        """
        for event in self.events(job_id):
            if tell is not None:
                tell(event)
        return self.job(job_id)

    # what happens

    def events(self, job_id: str | None = None, after: str | None = None) -> Iterator[Event]:
        """Yield what happens to a job until it is finished, or to all of one's jobs for ever.

        A stream that breaks off is taken up again where it broke off.
        """
        path = "/events" if job_id is None else f"/jobs/{_word(job_id)}/events"
        for event in self._stream(path, after):
            yield event
            ended = job_id is not None and event.kind == "state" and event.data.get("state") in FINISHED
            # of an attempt before the present one, that was not the end
            if ended and self.job(str(job_id))["state"] in FINISHED:
                return

    def log(self, job_id: str, lines: int | None = None) -> str:
        """Return what a job's processes wrote, or its last lines."""
        if lines is not None:
            return self._ask("GET", f"/jobs/{_word(job_id)}/logs", params={"lines": lines}).text
        text, offset = "", 0
        while True:
            answer = self._ask("GET", f"/jobs/{_word(job_id)}/logs", params={"offset": offset})
            text += answer.text
            if int(answer.headers["X-Next-Offset"]) == offset:
                return text
            offset = int(answer.headers["X-Next-Offset"])

    def follow_log(self, job_id: str, offset: int = 0) -> Iterator[str]:
        """Yield what a job's processes write, until it is finished."""
        for event in self._stream(f"/jobs/{_word(job_id)}/logs/stream", None, {"offset": offset}):
            if event.kind == "end":
                return
            yield event.data["text"]

    def rule_log(self, job_id: str, rule: str, jobid: int | None = None) -> str:
        """Return the log of one of the workflow's rules: of a step, or of one that failed."""
        return self._ask("GET", f"/jobs/{_word(job_id)}/rules/{_word(rule)}/log", params={"jobid": jobid}).text

    # files in

    def upload(self, path: Path, kind: str, tell: Tell | None = None) -> dict[str, Any]:
        """Send a file, wait until it was looked into, and return the upload.

        What the service has of it already is not sent again: neither the whole file nor its beginning.

        Parameters
        ----------
        path : path
        kind : {"dem", "raster", "climate", "zones", "table"}
        tell : callable, optional
            Called with the file's name, and how many of its bytes are there.

        Raises
        ------
        InputError
            When there is no such file, or it cannot be used.
        """
        if not path.is_file():
            raise InputError(f"upload: {path} does not exist")
        size, sha256 = path.stat().st_size, _sha256(path)
        for known in self._pages("/uploads", {"kind": kind}):
            alike = (known["name"], known["size"]) == (path.name, size) and known["state"] != "refused"
            if alike and (known["state"] == "receiving" or known["sha256"] == sha256):
                upload = self._send(known, path, tell)
                if upload["sha256"] == sha256:
                    return upload
        new = {"name": path.name, "size": size, "kind": kind}
        return self._send(self._json("POST", "/uploads", json=new), path, tell)

    def _send(self, upload: Mapping[str, Any], path: Path, tell: Tell | None) -> dict[str, Any]:
        address, size = f"/uploads/{upload['id']}", int(upload["size"])
        offset, most = int(upload["offset"]), min(PIECE, int(upload["chunk_bytes"]))
        with path.open("rb") as file:
            while offset < size:
                offset = self._patiently(lambda: self._send_piece(address, file, most))
                if tell is not None:
                    tell(path.name, offset, size)
        pause = 0.1
        while (found := self._json("GET", address))["state"] in {"receiving", "checking"}:
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)
        if found["state"] == "refused":
            raise InputError(f"upload: {path} cannot be used: {found['problem']}")
        return found

    def _send_piece(self, address: str, file: Any, most: int) -> int:
        """Send what follows what is there, and return how much is there then."""
        offset = int(self._ask("HEAD", address).headers["Upload-Offset"])
        file.seek(offset)
        piece = file.read(most)
        if not piece:
            return offset
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
        try:
            return int(self._json("PATCH", address, data=piece, headers=headers)["offset"])
        except Refused as error:
            # the service has not noticed yet that the piece before this one broke off
            if error.status == requests.codes.conflict:
                raise Failed(f"{self.address}: {error}") from error
            raise

    # results

    def files(self, job_id: str) -> list[dict[str, Any]]:
        """List the files of a job's results: path, bytes, media_type, meaning."""
        items: list[dict[str, Any]] = self._json("GET", f"/jobs/{_word(job_id)}/files")["items"]
        return items

    def maps(self, job_id: str) -> list[dict[str, Any]]:
        """List the maps of a job."""
        items: list[dict[str, Any]] = self._json("GET", f"/jobs/{_word(job_id)}/maps")["items"]
        return items

    def summary(self, job_id: str, **columns: str | int) -> list[dict[str, Any]]:
        """Return rows of summary.csv, all or those whose columns are as given."""
        return list(self._pages(f"/jobs/{_word(job_id)}/summary", columns))

    def fetch(self, job_id: str, path: str, out: Path, tell: Tell | None = None) -> Path:
        """Fetch one file of the results into a folder, where it has the same path, and return it.

        Raises
        ------
        InputError
            When there is no such file.
        """
        target = out / _inside(path)
        name = "/".join(_word(part) for part in PurePosixPath(path).parts)
        part = target.with_name(f".{target.name}.part")
        self._download(f"/jobs/{_word(job_id)}/files/{name}", part, path, tell)
        part.replace(target)
        return target

    def fetch_all(self, job_id: str, out: Path, tell: Tell | None = None) -> list[Path]:
        """Fetch all results into a folder, check them against their checksums, and return the files.

        They come as one archive, which stands in the folder until it is whole: called again after an
        interruption, this goes on where it was.

        Raises
        ------
        InputError
            When the job is not finished, or has no results.
        Failed
            When a file is not as its checksum says.
        """
        part = out / f".{_inside(job_id)}.tar.part"
        self._download(f"/jobs/{_word(job_id)}/bundle.tar", part, "bundle.tar", tell)
        try:
            return unpack(part, out)
        finally:
            part.unlink()

    def _download(self, path: str, part: Path, name: str, tell: Tell | None) -> None:
        """Fetch a file under another name, going on with what there is of it."""
        part.parent.mkdir(parents=True, exist_ok=True)
        tag = part.with_name(f"{part.name}.etag")
        self._patiently(lambda: self._download_on(path, part, tag, name, tell), lambda: _size(part))
        tag.unlink(missing_ok=True)

    def _download_on(self, path: str, part: Path, tag: Path, name: str, tell: Tell | None) -> None:
        there = _size(part)
        headers = {"Accept-Encoding": "identity"}
        if there and tag.is_file():
            headers |= {"Range": f"bytes={there}-", "If-Range": tag.read_text()}
        try:
            answer = self._ask("GET", path, headers=headers, stream=True)
        except Refused as error:
            # nothing is missing, of a download whose end was interrupted
            if error.status == requests.codes.requested_range_not_satisfiable:
                return
            raise
        with answer:
            goes_on = answer.status_code == requests.codes.partial_content
            there = there if goes_on else 0
            size = there + int(answer.headers["Content-Length"])
            tag.write_text(answer.headers["ETag"])
            with part.open("ab" if goes_on else "wb") as file:
                for piece in answer.iter_content(READ):
                    file.write(piece)
                    there += len(piece)
                    if tell is not None:
                        tell(name, there, size)
        if there != size:
            raise requests.ConnectionError(f"{there} of {size} bytes were sent")

    # asking

    def _json(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        answer = self._ask(method, path, **how)
        try:
            found = answer.json()
        except ValueError:
            raise Failed(f"{self.address} answers, but not as EEMT's service does; is the address right?") from None
        if not isinstance(found, dict):
            raise Failed(f"{self.address} answers, but not as EEMT's service does; is the address right?")
        return found

    def _ask(self, method: str, path: str, **how: Any) -> requests.Response:
        """Send a request and return its answer.

        Raises
        ------
        Refused, Failed
        """
        try:
            answer = self._session.request(
                method, f"{self.address}{API}{path}", **{"timeout": self.timeout, "allow_redirects": False, **how}
            )
        except requests.RequestException as error:
            raise Failed(f"{self.address} does not answer: {_reason(error)}") from error
        if answer.ok and not answer.is_redirect:
            return answer
        with answer:
            raise self._error(answer)

    def _error(self, answer: requests.Response) -> Exception:
        if answer.is_redirect:
            return Refused(f"service: {self.address} is now elsewhere: {answer.headers.get('Location')}", 300, "moved")
        try:
            told = answer.json()
            errors = told.get("errors") or []
            detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors) or told["detail"]
            problem = str(told["type"]).rpartition("/")[2]
        except (ValueError, KeyError, TypeError, AttributeError, requests.RequestException):
            errors, detail, problem = [], f"{answer.status_code} {answer.reason}", ""
        if answer.status_code == requests.codes.unauthorized:
            detail += f" (with a token in {TOKEN} or {settings_file()})"
        if answer.status_code < 500 and answer.status_code != TOO_MANY:
            return Refused(detail, answer.status_code, problem, errors)
        return Failed(f"{self.address}: {detail}")

    def _pages(self, path: str, params: Mapping[str, Any], limit: int | None = None) -> Iterator[dict[str, Any]]:
        after: str | None = None
        number = 0
        while True:
            page = self._json("GET", path, params={**params, "after": after})
            for item in page["items"]:
                if number == limit:
                    return
                number += 1
                yield item
            after = page["following"]
            if after is None:
                return

    def _patiently(self, do: Callable[[], Any], reached: Callable[[], int] = lambda: 0) -> Any:
        """Do something again that failed, such as a download that broke off, as long as that brings anything."""
        failures, before = 0, reached()
        while True:
            try:
                return do()
            except (Failed, requests.RequestException) as error:
                failures = failures + 1 if reached() == before else 1
                before = reached()
                if failures >= PATIENCE:
                    if isinstance(error, Failed):
                        raise
                    raise Failed(f"{self.address} does not answer: {_reason(error)}") from error
                time.sleep(min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))

    def _stream(self, path: str, after: str | None, params: Mapping[str, Any] | None = None) -> Iterator[Event]:
        """Yield server-sent events, connecting again where they break off, until nothing more is to come."""
        failures = 0
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
            try:
                answer = self._ask(
                    "GET", path, headers=headers, params=params, stream=True, timeout=(self.timeout, SILENCE)
                )
                with answer:
                    if answer.status_code == requests.codes.no_content:
                        return
                    for event in _events(answer.iter_lines()):
                        after = event.number or after
                        failures = 0
                        yield event
            except (Failed, requests.RequestException) as error:
                failures += 1
                if failures >= PATIENCE:
                    raise Failed(f"{self.address} does not answer: {_reason(error)}") from error
                time.sleep(min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))


def settings_file() -> Path:
    """Return the file that holds address and token: url and token, in TOML."""
    return user_config_path("eemt") / "service.toml"


def _told(path: Path) -> dict[str, str]:
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        mode = path.stat().st_mode
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"service: {path} is not TOML ({error})") from None
    unknown = sorted(set(told) - {"url", "token"})
    if unknown or not all(isinstance(value, str) for value in told.values()):
        raise InputError(
            f"service: {path} has {unknown[0] if unknown else 'a number'}; allowed are url and token, text"
        )
    if "token" in told and mode & 0o077:
        raise InputError(f"service: others can read the token in {path}; do `chmod 600 {path}`")
    return told


def unpack(archive: Path, out: Path) -> list[Path]:
    """Unpack what `bundle.tar` is, each file once it is as its checksum says.

    Raises
    ------
    Failed
        When one is not, or is missing, or the archive holds anything else than files within one folder.
    """
    made: list[Path] = []
    sums: dict[str, str] = {}
    folder = ""
    try:
        with tarfile.open(archive, "r:") as opened:
            for member in opened:
                content = opened.extractfile(member) if member.isreg() else None
                path = PurePosixPath(member.name)
                if content is None or path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
                    raise Failed(f"{member.name} in the archive is no file within its folder; nothing more is unpacked")
                name = PurePosixPath(*path.parts[1:]).as_posix()
                if not folder and name == SUMS:
                    folder, octets = path.parts[0], content.read()
                    sums = _sums(octets.decode())
                    made.append(_written(out / folder / SUMS, [octets]))
                elif path.parts[0] != folder or name not in sums:
                    raise Failed(f"{member.name} in the archive has no checksum; nothing more is unpacked")
                else:
                    made.append(_written(out / folder / name, _pieces(content), sums.pop(name)))
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise Failed(f"the archive cannot be read ({error})") from None
    if sums or not folder:
        raise Failed(f"{next(iter(sums), SUMS)} is missing in the archive")
    return made


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(READ):
        yield piece


def _written(path: Path, pieces: Iterable[bytes], sha256: str | None = None) -> Path:
    """Write a file under its name when it is whole and as its checksum says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    total = hashlib.sha256()
    try:
        with part.open("wb") as file:
            for piece in pieces:
                total.update(piece)
                file.write(piece)
        if sha256 is not None and total.hexdigest() != sha256:
            raise Failed(f"{path} is not as its checksum says; fetch it again")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _sums(text: str) -> dict[str, str]:
    """Read checksums by name."""
    return {line[66:]: line[:64] for line in text.splitlines() if re.match(r"[0-9a-f]{64}  ", line)}


def _events(lines: Iterator[bytes]) -> Iterator[Event]:
    """Read server-sent events, of which each has its data in JSON."""
    kind, data, number = "message", "", None
    for raw in lines:
        line = raw.decode("utf-8")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                kind = value
            case "data":
                data += value
            case "id":
                number = value
            case "" if not line:
                if data:
                    yield Event(kind, json.loads(data), number)
                kind, data, number = "message", "", None


def _word(text: str) -> str:
    """Write text as one part of an address."""
    if text in {"", ".", ".."}:
        raise InputError(f"service: {text!r} is no name")
    return quote(text, safe="~:")


def _inside(path: str) -> Path:
    """Return a path of the results as one within a folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise InputError(f"fetch: {path} is no path within the results")
    return Path(*parts)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: BaseException) -> str:
    """Say in a few words why a request failed."""
    if isinstance(error, Failed):
        return str(error)
    text = str(error)
    for words, reason in {
        "Connection refused": "nothing listens there",
        "Name or service not known": "there is no such host",
        "Temporary failure in name resolution": "there is no such host",
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not valid",
    }.items():
        if words in text:
            return reason
    return "it takes too long" if isinstance(error, requests.Timeout) else f"{type(error).__name__}"
