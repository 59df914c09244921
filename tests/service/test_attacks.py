"""What attackers try: others' identifiers, paths that lead out, injected code, forged and slow requests."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from eemt.service import jobs
from eemt.service.database import Database
from eemt.service.models import Upload
from eemt.service.settings import PREFIX, Settings
from service.conftest import Finished, Server, finish_job
from service.people import PASSWORD, browser, group, make_user, program, service_of

METHODS = ("get", "head", "post", "put", "patch", "delete")
# may be asked by anybody: whether the service lives, and to sign in or out
OPEN = {("post", "/api/v1/session"), ("delete", "/api/v1/session")}
OF_OPERATORS = re.compile(r"/api/v1/(users|audit|system/cleanup)\b")


@dataclass(frozen=True)
class Operation:
    """One thing that the API can be asked."""

    method: str
    path: str
    about: dict[str, Any] = field(repr=False)

    def names(self, place: str) -> list[str]:
        return [one["name"] for one in self.about.get("parameters", ()) if one["in"] == place]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Group:
    """Three users of a service; ben has an upload, a finished job with results, and a token."""

    nobody: TestClient
    ada: TestClient
    ben: TestClient
    olga: TestClient
    job: Finished
    values: dict[str, str]  # of path parameters, that are ben's

    @property
    def folder(self) -> Path:
        return service_of(self.nobody).settings.folder

    def operations(self) -> list[Operation]:
        assert isinstance(self.nobody.app, FastAPI)
        described = self.nobody.app.openapi()["paths"]
        return [
            Operation(name, path, ways[name]) for path, ways in described.items() for name in METHODS if name in ways
        ]

    def ask(self, client: TestClient, operation: Operation, **values: str) -> httpx.Response:
        """Ask with ben's identifiers, but for those given; everything else of the request is right."""
        filled = self.values | {name: quote(value, safe="") for name, value in values.items()}
        path = operation.path.replace(":path}", "}").format(**filled)
        query = {"longitude": "-105.25", "latitude": "39.95"} if path.endswith("/value") else {}
        return client.request(
            operation.method, path, params=query, follow_redirects=False, **BODIES.get(str(operation), {})
        )


OCTETS = {"Content-Type": "application/octet-stream", "Upload-Offset": "0"}
BODIES: dict[str, dict[str, Any]] = {
    "post /api/v1/jobs/{job_id}/clone": {"json": {}},
    "patch /api/v1/uploads/{upload_id}": {"content": b"II*\0", "headers": OCTETS},
    "patch /api/v1/users/{user_id}": {"json": {"role": "operator"}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, clip_results: Path) -> Iterator[Group]:
    folder = tmp_path_factory.mktemp("attacked") / "service"
    with group(folder, requests_a_minute=100_000, logins_a_quarter=1000) as nobody:
        service = service_of(nobody)
        ben = browser(nobody, "ben")
        me = ben.get("/api/v1/me").json()["id"]
        job = finish_job(service, clip_results, user_id=me)
        (job.folder / "run.log").write_text("done\n")
        maps = ben.get(f"{job.address}/maps").json()["items"]
        with service.database.session() as session:
            upload = Upload(user_id=me, kind="dem", name="ben.tif", size=4, received=4, state="ready")
            session.add(upload)
            session.flush()
            place = service.settings.uploads / upload.id
            place.mkdir()
            (place / "hillshade.png").write_bytes(b"\x89PNG")
            (place / "file").write_bytes(b"II*\0")
            rules = jobs.folder(service.settings, job.id) / "logs"
            (rules / "sun.log").write_text("fine\n")
        token = ben.post("/api/v1/tokens", json={"name": "ben's"}).json()["id"]
        values = {"job_id": job.id, "upload_id": upload.id, "token_id": token, "user_id": me}
        values |= {"name": maps[0]["name"], "z": "12", "x": "850", "y": "1550", "path": "report.html", "rule": "sun"}
        yield Group(nobody, program(nobody, "ada"), ben, program(nobody, "olga"), job, values)


# others' things


def test_nobody_gets_nothing(world: Group) -> None:
    answers = {
        str(operation): world.ask(world.nobody, operation).status_code
        for operation in world.operations()
        if operation.path.startswith("/api/") and (operation.method, operation.path) not in OPEN
    }
    assert {name: code for name, code in answers.items() if code != 401} == {}


def test_identifiers_of_others_are_as_if_they_were_not_there(world: Group) -> None:
    wrong = {}
    for operation in world.operations():
        if not (set(operation.names("path")) & {"job_id", "upload_id", "token_id", "user_id"}):
            continue
        answer = world.ask(world.ada, operation)
        expected = 403 if OF_OPERATORS.match(operation.path) else 404
        if answer.status_code != expected or "ben" in answer.text:
            wrong[str(operation)] = (answer.status_code, answer.text[:200])
    assert wrong == {}
    # and nothing has come of it
    assert world.ben.get(world.job.address).json()["state"] == "completed"
    assert len(world.ben.get("/api/v1/tokens").json()["items"]) == 1
    assert world.olga.get("/api/v1/users", params={"search": "ben"}).json()["items"][0]["role"] == "user"


def test_the_same_identifiers_are_there_for_their_owner(world: Group) -> None:
    # without this, the test before could pass since nothing is anywhere
    wrong = {}
    for operation in world.operations():
        if operation.method != "get" or not operation.names("path") or operation.path.endswith("/rules/{rule}/log"):
            continue
        answer = world.ask(world.ben, operation)
        if answer.status_code not in (200, 204):
            wrong[str(operation)] = (answer.status_code, answer.text[:200])
    assert wrong == {}


@pytest.mark.parametrize("of_all", ["false", "true"])
def test_lists_of_a_user_have_nothing_of_another(world: Group, of_all: str) -> None:
    own = {world.values[name] for name in ("job_id", "upload_id", "token_id", "user_id")}
    seen = {}
    for operation in world.operations():
        streams = operation.path == "/api/v1/events"
        if (
            operation.method == "get"
            and not operation.names("path")
            and operation.path.startswith("/api/")
            and not streams
        ):
            text = world.ada.get(operation.path, params={"all": of_all}).text
            seen[str(operation)] = [value for value in own if value in text]
    assert {name: found for name, found in seen.items() if found} == {}


def test_operators_see_all_when_they_ask(world: Group) -> None:
    listed = world.olga.get("/api/v1/jobs", params={"all": "true"}).json()["items"]
    assert world.job.id in [job["id"] for job in listed]
    assert world.olga.get("/api/v1/jobs").json()["items"] == []


def test_users_are_no_operators(world: Group) -> None:
    for operation in world.operations():
        if OF_OPERATORS.match(operation.path):
            assert world.ask(world.ada, operation).status_code == 403, operation


def test_pages_of_others_are_as_if_they_were_not_there(world: Group) -> None:
    ada = browser(world.nobody, "ada")
    for page in ("", "/map", "/progress"):
        assert world.ben.get(f"/jobs/{world.job.id}{page}").status_code == 200
        assert ada.get(f"/jobs/{world.job.id}{page}").status_code == 404
    assert ada.get(f"/jobs/new?from={world.job.id}").status_code == 404
    assert ada.get("/operator").status_code == 403
    assert world.job.id not in ada.get("/jobs?all=true").text


# paths that lead out

# but for dots alone, of which clients make other addresses before they ask; see those over sockets below
OUT = [
    "../../../../../../etc/passwd",
    "../config/config.yaml",
    "../../../../secret.key",
    "../../../../service.sqlite",
    "....//....//....//etc/passwd",
    "..\\..\\..\\etc\\passwd",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "/vsicurl/http://127.0.0.1/x.tif",
    "%2e%2e%2f%2e%2e%2fsecret.key",
    "..%c0%af..%c0%afetc/passwd",
    "report.html\0.png",
    "\0",
    "~root/.ssh/id_rsa",
    "x" * 5000,
    "\u202e\ufeff\U0001f4a9",
    "' OR '1'='1",
    "{{7*7}}${7*7}",
    "-1",
    "1e400",
    "99999999999999999999999",
]
SECRETS = re.compile(rb"root:.*:0:0|SQLite format 3|\$argon2|sites: \{\}")


def test_no_path_parameter_leads_out(world: Group) -> None:
    key = service_of(world.nobody).settings.key
    wrong = {}
    for operation in world.operations():
        for name in operation.names("path"):
            if operation.method == "delete":  # of ben's own things, which others of these need
                continue
            for value in OUT:
                answer = world.ask(world.ben, operation, **{name: value})
                told = SECRETS.search(answer.content) or key in answer.content
                if answer.status_code not in (400, 401, 403, 404, 405, 409, 410, 422) or told:
                    wrong[f"{operation} {name}={value[:40]!r}"] = (answer.status_code, answer.text[:100])
    # a tile far beyond the map is an empty picture, or there is none; either is no way out
    assert {name: what for name, what in wrong.items() if not ("/tiles/" in name and what[0] == 200)} == {}


def test_links_in_results_lead_nowhere_else(world: Group) -> None:
    for name, target in (("key", world.folder / "secret.key"), ("up", world.folder)):
        (world.job.results / name).symlink_to(target)
    try:
        listed = world.ben.get(f"{world.job.address}/files").text
        assert "secret" not in listed
        for path in ("key", "up/secret.key", "up/service.sqlite"):
            assert world.ben.get(f"{world.job.address}/files/{path}").status_code == 404
        bundle = world.ben.get(f"{world.job.address}/bundle.tar").content
        assert service_of(world.nobody).settings.key not in bundle
    finally:
        (world.job.results / "key").unlink()
        (world.job.results / "up").unlink()


# injected code

INJECTED = [
    "' OR 1=1 --",
    "%' UNION SELECT password FROM users --",
    '"; DROP TABLE jobs; --',
    "\0",
    "\ud7ff\ufffe",
    "{{7*7}}",
    "${7*7}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}",
    "<script>alert(1)</script>",
    "%s%s%s%n",
    "x" * 10_000,
]


def test_what_is_injected_into_questions_stays_text(world: Group) -> None:
    wrong = {}
    for operation in world.operations():
        if operation.method != "get" or operation.path in ("/api/v1/events", "/metrics"):
            continue
        path = operation.path.format(**world.values)
        for name in operation.names("query"):
            for value in INJECTED:
                answer = world.olga.get(path, params={name: value})
                if answer.status_code >= 500 or SECRETS.search(answer.content) or b"__subclass" in answer.content:
                    wrong[f"{operation} {name}={value[:30]!r}"] = (answer.status_code, answer.text[:100])
    assert wrong == {}
    assert world.ben.get(world.job.address).status_code == 200  # no table is gone


def test_what_is_injected_into_pages_stays_text(world: Group) -> None:
    bad = "<script>alert(1)</script>{{7*7}}"
    for page in ("/jobs", "/jobs/new", "/problems/x", "/nothing"):
        text = world.ben.get(page, params={"search": bad, "state": bad, "after": bad, "from": bad}).text
        assert "<script>alert" not in text
        assert "49" not in re.findall(r"\b49\b", text)
    answer = world.nobody.post("/sign-in", data={"name": bad, "password": "x", "next": "/" + bad})
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text
    assert world.ben.get(f"/{bad}", headers={"Accept": "text/html"}).text.count("<script>alert") == 0


def test_scripts_of_pages_make_no_markup_and_no_code_from_texts() -> None:
    import eemt.service.pages

    dangerous = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setTimeout\(\s*['\"`]|srcdoc"
    )
    folder = Path(eemt.service.pages.__file__).parent
    for path in [*folder.glob("static/**/*.js"), *folder.glob("templates/*.html")]:
        assert not dangerous.search(path.read_text()), path.name
    for path in folder.glob("templates/*.html"):
        text = path.read_text()
        assert "|safe" not in text.replace(" ", ""), path.name
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", text), path.name
        assert not re.search(r"\son[a-z]+=", text), path.name


@pytest.mark.parametrize(
    "source",
    [
        "http://169.254.169.254/latest/meta-data/dem.tif",
        "http://127.0.0.1:8420/api/v1/me",
        "http://localhost/dem.tif",
        "https://[::1]/dem.tif",
        "http://2130706433/dem.tif",
        "https://evil.example/dem.tif",
        "file:///etc/passwd",
        "ftp://127.0.0.1/dem.tif",
        "/etc/passwd",
        "../../secret.key",
        "inputs/../../../secret.key",
        "/vsicurl/http://127.0.0.1/dem.tif",
        "/vsizip//etc/x.zip/dem.tif",
        "NETCDF:/etc/passwd:x",
        "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
        "s3://bucket/dem.tif",
        "dem.tif\nconfigfile: /etc/passwd",
        "$(id)",
        "`id`",
        "{output}",
    ],
)
def test_no_job_reads_what_its_user_could_not(world: Group, source: str) -> None:
    for settings in (
        {"dem": {"source": source}},
        {"dem": {"source": "glo30", "bbox": [-105.3, 39.9, -105.2, 40.0]}, "zones": {"file": source, "id": "x"}},
    ):
        answer = world.ada.post("/api/v1/jobs", json={"name": "probe", "kind": "sun", "settings": settings})
        assert answer.status_code == 422, answer.text
        assert "root:" not in answer.text


@pytest.mark.parametrize("depth", [100, 500, 900, 2000, 100_000])
def test_settings_that_are_nested_for_ever_are_refused(world: Group, depth: int) -> None:
    body = b'{"name": "deep", "settings": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    for path in ("/api/v1/jobs", f"{world.job.address}/clone", "/api/v1/estimate"):
        given = body if not path.endswith("clone") else body.replace(b'"name": "deep", ', b"")
        answer = world.ben.post(path, content=given, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), (path, answer.status_code)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_refused(world: Group, number: str) -> None:
    body = '{"name": "odd", "settings": {"dem": {"source": "glo30", "bbox": [-105.3, 39.9, -105.2, 40.0]}, '
    body += f'"sun": {{"step": {number}, "linke": {number}}}}}}}'
    answer = world.ada.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


def test_yaml_of_a_job_has_no_tags_and_no_more_keys_than_its_settings(world: Group) -> None:
    for settings in (
        {"dem": {"source": "glo30", "bbox": [-105.3, 39.9, -105.2, 40.0]}, "configfile": "/etc/passwd"},
        {"dem": {"source": "glo30", "bbox": [-105.3, 39.9, -105.2, 40.0]}, "!!python/object/apply:os.system": ["id"]},
        {"dem": {"source": "!!python/object/apply:os.system [id]"}},
    ):
        answer = world.ada.post("/api/v1/jobs", json={"name": "tags", "kind": "sun", "settings": settings})
        assert answer.status_code == 422, answer.text


# forged and slow requests, over real sockets


def serve_group(folder: Path) -> Server:
    """Serve a group in a process of its own, which has little patience."""
    settings = Settings(folder=folder)
    settings.make_folders()
    database = Database(settings.database)
    database.upgrade()
    make_user(database, "olga", "operator")
    make_user(database, "ada")
    database.close()
    names = {"ACCOUNTS": "true", "REQUEST_SECONDS": "1", "CONNECTIONS": "50", "LOGINS_A_QUARTER": "1000"}
    return Server(folder, {PREFIX + name: value for name, value in names.items()}).start()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = serve_group(tmp_path_factory.mktemp("served") / "service")
    yield server
    server.end()


def sent(server: Server, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send bytes as they are and return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except OSError:
            pass
        return answer


def head(server: Server, method: str, path: str, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *more, "", ""]
    return "\r\n".join(lines).encode()


JSON_TYPE = "Content-Type: application/json"


def test_requests_that_never_end_are_ended(attacked: Server) -> None:
    began = time.monotonic()
    # a head of which a header comes now and then
    slow = sent(attacked, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", *[b"X-a: b\r\n"] * 8, pause=0.25)
    assert slow == b""
    # a connection over which nothing comes
    assert sent(attacked) == b""
    # a body that does not come, and one that comes in drops
    for length in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        start = head(attacked, "POST", "/api/v1/session", JSON_TYPE, length)
        assert sent(attacked, start).startswith(b"HTTP/1.1 408")
        assert sent(attacked, start, *[b"1\r\n \r\n"] * 8, pause=0.25).startswith(b"HTTP/1.1 408")
    # a form, which is read before the application has the request
    cookie = httpx.post(f"{attacked.address}/api/v1/session", json={"name": "ada", "password": PASSWORD})
    form = [f"Cookie: eemt={cookie.cookies['eemt']}", "Content-Type: application/x-www-form-urlencoded"]
    start = head(attacked, "POST", "/sign-out", *form, "Content-Length: 1000")
    assert sent(attacked, start).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 60


def test_bodies_without_a_length_end_where_they_are_too_large(attacked: Server) -> None:
    start = head(attacked, "POST", "/api/v1/session", JSON_TYPE, "Transfer-Encoding: chunked")
    piece = b"%x\r\n%s\r\n" % (100_000, b" " * 100_000)
    answer = sent(attacked, start, *[piece] * 60)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()
    start = head(attacked, "POST", "/api/v1/session", JSON_TYPE, "Content-Length: 99999999999")
    assert sent(attacked, start).startswith(b"HTTP/1.1 413")


def test_heads_that_are_too_large_or_mean_two_things_are_refused(attacked: Server) -> None:
    assert sent(attacked, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X-a: " + b"b" * 200_000).startswith(b"HTTP/1.1 4")
    for forged in (
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Content-Length: 5, 6"],
        ["Transfer-Encoding: chunked, identity"],
        ["Host: evil.example"],
        ["X-a : b"],
        ["Content-Length: -1"],
    ):
        assert sent(attacked, head(attacked, "POST", "/api/v1/session", JSON_TYPE, *forged), b"12345").startswith(
            b"HTTP/1.1 4"
        )
    # one request after another within the first one's body is no request
    within = head(attacked, "GET", "/health/live")
    both = [f"Content-Length: {len(within)}", "Transfer-Encoding: chunked", "Connection: close"]
    answer = sent(attacked, head(attacked, "POST", "/api/v1/session", JSON_TYPE, *both), b"0\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/../../etc/passwd",
        "/api/v1/jobs/../../../etc/passwd",
        "/jobs/../../etc/passwd",
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/service.py",
        "/static/..%5c..%5csettings.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static",
        "/%00",
        "//evil.example/static",
        "http://evil.example/",
        "*",
    ],
)
def test_addresses_that_lead_out_or_elsewhere_lead_nowhere(attacked: Server, target: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", attacked.port, timeout=30)
    connection.putrequest("GET", target, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status in (303, 307, 400, 401, 404)
    assert "evil" not in (answer.getheader("Location") or "")
    assert not SECRETS.search(body)
    connection.close()


def test_an_answer_names_no_server(attacked: Server) -> None:
    answer = httpx.get(f"{attacked.address}/health/live")
    assert "server" not in answer.headers


def test_secrets_are_in_no_log_and_no_command_line(tmp_path: Path) -> None:
    attacked = serve_group(tmp_path / "service")
    secrets = [PASSWORD, "a wrong pass phrase"]
    with httpx.Client(base_url=attacked.address, timeout=30) as client:
        signed_in = client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
        csrf = signed_in.json()["csrf"]
        secrets += [csrf, client.cookies["eemt"], client.cookies["eemt"].split(".")[0]]
        made = client.post("/api/v1/tokens", json={"name": "test"}, headers={"X-CSRF-Token": csrf}).json()
        secrets.append(made["token"])
        bearer = {"Authorization": f"Bearer {made['token']}"}
        httpx.get(f"{attacked.address}/api/v1/me", headers=bearer).raise_for_status()
        # where people put them by mistake
        httpx.get(f"{attacked.address}/api/v1/me?token={made['token']}&password={secrets[1].replace(' ', '+')}")
        httpx.post(f"{attacked.address}/api/v1/session", json={"name": "ada", "password": secrets[1]})
        httpx.post(f"{attacked.address}/api/v1/session", json={"name": "ada", "password": {"x": secrets[1]}})
        httpx.post(f"{attacked.address}/sign-in", data={"name": "ada", "password": secrets[1]})
    key = (attacked.folder / "secret.key").read_text()
    secrets.append(key)
    assert attacked.process is not None
    lines = Path(f"/proc/{attacked.process.pid}/cmdline").read_text() if Path("/proc/self").exists() else ""
    assert attacked.end() == 0
    written = attacked.log + lines
    for path in (attacked.folder / "logs").rglob("*"):
        written += path.read_text() if path.is_file() else ""
    assert "/api/v1/session" in written  # it does log
    assert [secret for secret in secrets if secret in written or secret.replace(" ", "+") in written] == []
    stored = b"".join(path.read_bytes() for path in attacked.folder.glob("service.sqlite*"))
    assert [secret for secret in secrets if secret.encode() in stored] == []


def test_secrets_are_not_shown_by_settings(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, secret_key="k" * 40, database_url="postgresql+psycopg://eemt:hunter22@db/eemt")
    assert "k" * 40 not in repr(settings) + str(settings)
    assert "hunter22" not in repr(settings) + str(settings)


def test_the_key_of_cookies_is_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path / "service")
    settings.make_folders()
    assert len(settings.key) == 64
    assert (tmp_path / "service/secret.key").stat().st_mode & 0o077 == 0


def test_wrong_answers_to_wrong_requests_repeat_no_password(world: Group) -> None:
    answer = world.nobody.post("/api/v1/session", json={"name": ["x"], "password": ["a secret of mine"]})
    assert answer.status_code == 422
    assert "a secret of mine" not in json.dumps(answer.json())
