"""A SciCat to test against: its REST API, versions 3 and 4, over sockets, in memory.

What it takes, answers and counts is after the controllers and DTOs of SciCat's backend, with what is odd about them:
version 3 answers nothing, and well, for a dataset that is not there, replaces a lifecycle as a whole, finds 100 things
where nobody says how many, counts the files of datablocks with the others, and answers 500 to a datablock that is there
already; version 4 refuses to change a
lifecycle to what it is, and has no datablocks of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from archive.scicat_forms import (
    DATABLOCKS,
    DATASETS,
    LIFECYCLE,
    NEW_LIFECYCLE,
    ORIG_DATABLOCKS,
    Form,
    faults,
)

BODY = 16 * 1024 * 1024
PREFIX = "20.500.11935"
KEY = b"of this server alone"


class Answer(Exception):  # noqa: N818
    """An answer other than the wanted one."""

    def __init__(self, status: int, message: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message)
        self.status, self.message, self.headers = status, message, headers or {}

    @property
    def body(self) -> dict[str, Any]:
        names = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 413: "Payload Too Large"}
        told = {"message": self.message or names.get(self.status, "Internal server error"), "statusCode": self.status}
        return {**told, "error": names[self.status]} if self.status in names else told


@dataclass
class Trouble:
    """What goes wrong with requests of a verb to a path with some words in it, so many times.

    `after`: the server does what it was asked, but its answer is this one, or none where `status` is 0.
    """

    verb: str
    words: str
    status: int = 500
    times: int = 1
    after: bool = False
    slow: float = 0.0
    message: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A request and what was answered."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any
    status: int


class SciCat:
    """What the server knows; it outlives a stop of the server."""

    def __init__(self) -> None:
        self.datasets: dict[str, dict[str, Any]] = {}
        self.orig_datablocks: list[dict[str, Any]] = []
        self.datablocks: list[dict[str, Any]] = []
        self.history: list[tuple[str, dict[str, Any]]] = []  # changes of lifecycles
        self.groups: dict[str, list[str]] = {"archiver": ["eemt"]}
        self.seen: list[Seen] = []
        self.troubles: list[Trouble] = []
        self.port = 0
        self.lock = threading.RLock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, user: str = "archiver", seconds: float = 3600.0) -> str:
        parts = [{"alg": "HS256", "typ": "JWT"}, {"username": user, "exp": int(time.time() + seconds)}]
        signed = b".".join(_base64(json.dumps(part).encode()) for part in parts)
        return (signed + b"." + _base64(hmac.digest(KEY, signed, hashlib.sha256))).decode()

    def trouble(self, verb: str, words: str, **how: Any) -> None:
        self.troubles.append(Trouble(verb, words, **how))

    def asked(self, verb: str, words: str = "") -> list[Seen]:
        return [one for one in self.seen if one.verb == verb and words in one.path]

    def start(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), type("Bound", (_Handler,), {"scicat": self}))
        server.daemon_threads = True
        self.port, self._server = server.server_address[1], server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    # who asks

    def user(self, headers: dict[str, str]) -> list[str]:
        """Return the groups of who asks."""
        sign, _, token = headers.get("authorization", "").partition(" ")
        if not token:
            raise Answer(403, "Forbidden resource")
        try:
            signed, _, signature = token.rpartition(".")
            right = hmac.compare_digest(_base64(hmac.digest(KEY, signed.encode(), hashlib.sha256)).decode(), signature)
            told = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
        except (ValueError, IndexError):
            raise Answer(401, "Unauthorized") from None
        if sign != "Bearer" or not right or told["exp"] < time.time():
            raise Answer(401, "Unauthorized")
        return self.groups[told["username"]]

    def login(self, sent: Any) -> tuple[int, Any]:
        if sent.get("username") not in self.groups or sent.get("password") != "aman":
            raise Answer(401, "Unauthorized")
        token = self.token(sent["username"])
        return 201, {"access_token": token, "id": token, "expires_in": 3600, "ttl": 3600, "userId": sent["username"]}

    # what is asked

    def answer(
        self, verb: str, path: str, query: dict[str, str], headers: dict[str, str], sent: Any
    ) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if parts[1:] == ["v3", "auth", "login"]:
            return self.login(sent)
        answers = {"datasets": self.of_datasets, "origdatablocks": self.of_files, "datablocks": self.of_datablocks}
        if parts[0] == "api" and len(parts) > 2 and parts[1] in {"v3", "v4"} and parts[2].lower() in answers:
            found = answers[parts[2].lower()](verb, parts[1], parts[3:], self.user(headers), query, sent)
            if found:
                return found
        raise Answer(404, f"Cannot {verb} {path}")

    def of_datasets(
        self, verb: str, version: str, rest: list[str], groups: list[str], query: dict[str, str], sent: Any
    ) -> tuple[int, Any] | None:
        match verb, version, *rest:
            case "POST", _:
                return 201, self.make_dataset(version, groups, sent)
            case "GET", "v4":
                return 200, _found(self.readable(groups), _filter(query, {"keywords", "pid", "datasetName"}))
            case "GET", "v3", "fullquery":
                wanted = {"where": _json(query.get("fields")), "limits": _json(query.get("limits"))}
                return 200, _found(self.readable(groups), wanted)
            case "GET", _, pid:
                return 200, self.dataset(_pid(version, pid), groups, version, missing=500)
            case "PATCH", "v3", pid:
                return 200, self.patch(_pid(version, pid), groups, sent)
            case "PATCH", "v4", pid, "datasetlifecycle":
                return 200, self.change_lifecycle(_pid(version, pid), groups, sent)
            case "GET" | "POST", "v3", pid, "origdatablocks":
                return self.files_of_v3(verb, _pid(version, pid), groups, sent)
            case "GET" | "POST", "v3", pid, "datablocks":
                return self.datablocks_of_v3(verb, _pid(version, pid), groups, sent)
        return None

    def of_files(
        self, verb: str, version: str, rest: list[str], groups: list[str], query: dict[str, str], sent: Any
    ) -> tuple[int, Any] | None:
        match verb, version, *rest:
            case "GET", "v4":
                return 200, _found(self.orig_datablocks, _filter(query, {"datasetId"}))
            case "POST", "v4":
                _refuse(ORIG_DATABLOCKS["v4"], sent)
                return 201, self.add_files(self.dataset(sent["datasetId"], groups, version, write=True), sent)
        return None

    def of_datablocks(
        self, verb: str, version: str, rest: list[str], groups: list[str], query: dict[str, str], sent: Any
    ) -> tuple[int, Any] | None:
        match verb, version, *rest:
            case "GET", "v3":
                return 200, _found(self.datablocks, _filter(query, {"datasetId", "archiveId"}))
            case "POST", "v3":
                _refuse(DATABLOCKS["alone"], sent)
                if sent["archiveId"] in {one["archiveId"] for one in self.datablocks}:
                    raise Answer(409, "A datablock with this this unique key already exists!")
                return 201, self.store(self.dataset(sent["datasetId"], groups, "v4", write=True), sent)
        return None

    def readable(self, groups: list[str]) -> list[dict[str, Any]]:
        return [one for one in self.datasets.values() if {one["ownerGroup"], *one["accessGroups"]} & {*groups}]

    def dataset(
        self, pid: str, groups: list[str], version: str, missing: int = 200, write: bool = False
    ) -> dict[str, Any]:
        if pid not in self.datasets:
            raise Answer(404, f"dataset: {pid} not found") if version == "v4" else Answer(missing)
        found = self.datasets[pid]
        if not {found["ownerGroup"], *([] if write else found["accessGroups"])} & {*groups}:
            raise Answer(403, "Unauthorized access")
        return found

    def make_dataset(self, version: str, groups: list[str], sent: Any) -> dict[str, Any]:
        _refuse(DATASETS[version], sent, version)
        if sent["ownerGroup"] not in groups:
            raise Answer(403, "Unauthorized access" if version == "v4" else "Unauthorized to create this dataset")
        pid = sent.get("pid") or f"{PREFIX}/{uuid.uuid4()}"
        if pid in self.datasets:
            raise Answer(409, "A dataset with this unique key already exists!")
        new = {"accessGroups": [], "keywords": [], "isPublished": False, "size": 0, "numberOfFiles": 0, "packedSize": 0}
        counted = {"numberOfFilesArchived": 0, "createdAt": datetime.now(UTC).isoformat(), "pid": pid}
        lifecycle = {**NEW_LIFECYCLE, **sent.get("datasetlifecycle", {})}
        self.datasets[pid] = {**new, **sent, **counted, "datasetlifecycle": lifecycle}
        return self.datasets[pid]

    def patch(self, pid: str, groups: list[str], sent: Any) -> dict[str, Any]:
        if pid not in self.datasets:
            raise Answer(404)
        found = self.dataset(pid, groups, "v3", write=True)
        _refuse({name: (check, False) for name, (check, _) in DATASETS["v3"].items()}, sent, "v3")
        found.update({name: value for name, value in sent.items() if name != "datasetlifecycle"})
        if "datasetlifecycle" in sent:
            found["datasetlifecycle"] = {**NEW_LIFECYCLE, **sent["datasetlifecycle"]}
            self.history.append((pid, dict(found["datasetlifecycle"])))
        return found

    def change_lifecycle(self, pid: str, groups: list[str], sent: Any) -> dict[str, Any]:
        _refuse(LIFECYCLE, sent)
        if not sent:
            raise Answer(400, "dataset lifecycle DTO must not be empty")
        if pid not in self.datasets:
            raise Answer(404, f"dataset with pid {pid} not found")
        found = self.datasets[pid]["datasetlifecycle"]
        if all(found.get(name) == value for name, value in sent.items()):
            raise Answer(409, f"dataset: {pid} already has the same lifecycle")
        self.dataset(pid, groups, "v4", write=True)
        found.update(sent)
        self.history.append((pid, dict(found)))
        return dict(found)

    def add_files(self, dataset: dict[str, Any], sent: Any) -> dict[str, Any]:
        made = {**sent, "datasetId": dataset["pid"], "ownerGroup": dataset["ownerGroup"], "_id": str(uuid.uuid4())}
        self.orig_datablocks.append(made)
        dataset["size"] += sent["size"]
        dataset["numberOfFiles"] += len(sent["dataFileList"])
        return made

    def files_of_v3(self, verb: str, pid: str, groups: list[str], sent: Any) -> tuple[int, Any]:
        if verb == "GET":
            self.dataset(pid, groups, "v3")
            return 200, [one for one in self.orig_datablocks if one["datasetId"] == pid][:100]
        _refuse(ORIG_DATABLOCKS["v3"], sent)
        if pid not in self.datasets:
            return 201, None
        return 201, self.add_files(self.dataset(pid, groups, "v3", write=True), sent)

    def store(self, dataset: dict[str, Any], sent: Any) -> dict[str, Any]:
        made = {**sent, "datasetId": dataset["pid"], "ownerGroup": dataset["ownerGroup"], "_id": str(uuid.uuid4())}
        self.datablocks.append(made)
        dataset["packedSize"] += sent["packedSize"]
        dataset["numberOfFilesArchived"] += len(sent["dataFileList"])
        return made

    def datablocks_of_v3(self, verb: str, pid: str, groups: list[str], sent: Any) -> tuple[int, Any]:
        if verb == "GET":
            self.dataset(pid, groups, "v3")
            return 200, [one for one in self.datablocks if one["datasetId"] == pid]
        _refuse(DATABLOCKS["of a dataset"], sent)
        if pid not in self.datasets:
            return 201, None
        if sent["archiveId"] in {one["archiveId"] for one in self.datablocks}:
            raise Answer(500)
        dataset = self.dataset(pid, groups, "v3", write=True)
        dataset["size"] += sent["size"]
        dataset["numberOfFiles"] += len(sent["dataFileList"])
        return 201, self.store(dataset, sent)


class _Handler(BaseHTTPRequestHandler):
    scicat: SciCat
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: `seen` is the log."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        raw = self.rfile.read(int(headers.get("content-length", 0)))
        sent = json.loads(raw) if raw else None
        with self.scicat.lock:
            trouble = self._trouble(parts.path)
            status, body, more = self._result(trouble, parts.path, parts.query, headers, sent, len(raw))
            self.scicat.seen.append(Seen(self.command, parts.path, parts.query, headers, sent, status))
        if trouble and trouble.slow:
            time.sleep(trouble.slow)
        if status == 0:
            self.close_connection = True
            return
        told = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(body, str) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(told)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(told)

    def _trouble(self, path: str) -> Trouble | None:
        for one in self.scicat.troubles:
            if one.times and one.verb == self.command and one.words in path:
                one.times -= 1
                return one
        return None

    def _result(
        self, trouble: Trouble | None, path: str, query: str, headers: dict[str, str], sent: Any, size: int
    ) -> tuple[int, Any, dict[str, str]]:
        try:
            if size > BODY:
                raise Answer(413, "request entity too large")
            wanted = {name: values[0] for name, values in parse_qs(query).items()}
            result = None
            if trouble is None or trouble.after:
                result = self.scicat.answer(self.command, path, wanted, headers, sent)
            if trouble:
                if trouble.status == 200 and trouble.message is not None:
                    return 200, trouble.message, trouble.headers
                raise Answer(trouble.status, trouble.message, trouble.headers)
        except Answer as other:
            empty = other.status in {0, 200} or 300 <= other.status < 400
            return other.status, None if empty else other.body, other.headers
        assert result is not None
        return *result, {}


@contextmanager
def running() -> Iterator[SciCat]:
    """Run a SciCat at a free port."""
    scicat = SciCat()
    scicat.start()
    try:
        yield scicat
    finally:
        scicat.stop()


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _pid(version: str, part: str) -> str:
    # version 3 decodes once more than a server does
    return unquote(unquote(part)) if version == "v3" else unquote(part)


def _json(value: str | None) -> Any:
    return json.loads(value) if value else {}


def _filter(query: dict[str, str], names: set[str]) -> dict[str, Any]:
    wanted = _json(query.get("filter"))
    for name in [*wanted, *wanted.get("where", {})]:
        if name not in {"where", "limits", "fields", "include", *names}:
            raise Answer(400, f"Property {name} should not exist in the filter object")
    return dict(wanted)


def _found(among: list[dict[str, Any]], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    def fits(one: dict[str, Any]) -> bool:
        for name, value in wanted.get("where", {}).items():
            has, asked = one.get(name), value if isinstance(value, list) else [value]
            if not ({*has} & {*asked} if isinstance(has, list) else has in asked):
                return False
        return True

    return [one for one in among if fits(one)][: wanted.get("limits", {}).get("limit", 100)]


def _refuse(form: Form, sent: Any, version: str = "v4") -> None:
    found = faults(form, sent)
    if found:
        raise Answer(400, json.dumps(found) if version == "v3" else found)
