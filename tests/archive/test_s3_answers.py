"""What the answers of S3 servers mean that a small server does not give by itself, as their documentation has them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from eemt.archive.areas import open_area
from eemt.archive.errors import StorageError
from eemt.archive.rclone import _last_line
from eemt.errors import InputError

SECRET = "not-to-be-told-4711"


@dataclass
class Answers:
    """What a server answers: one refusal after the other, the last again and again; None is no refusal."""

    refusals: list[tuple[int, str] | None] = field(default_factory=list)
    asked: int = 0

    def next(self) -> tuple[int, str] | None:
        self.asked += 1
        return self.refusals.pop(0) if len(self.refusals) > 1 else self.refusals[0]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    """A server, and an environment that leads to it."""
    given = Answers()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refusal = given.next()
            status, code = refusal or (200, "")
            content = (
                f"<Error><Code>{code}</Code><Message>key {SECRET}</Message><AWSAccessKeyId>{SECRET}</AWSAccessKeyId>"
                "</Error>".encode()
                if refusal
                else b""
            )
            self.send_response_only(status)
            self.send_header("Date", formatdate(usegmt=True))
            self.send_header("Content-Length", str(len(content)))
            if not refusal and body:
                self.send_header("x-amz-checksum-sha256", self.headers["x-amz-checksum-sha256"])
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    home = tmp_path_factory.mktemp("home")
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "EEMT_ARCHIVE_PATIENCE": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield given
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (400, "ExpiredToken", "denied", "the token has expired"),
        (403, "ExpiredToken", "denied", "the token has expired"),
        (403, "RequestTimeTooSkewed", "denied", "the clock of this machine is off"),
        (403, "AccessDenied", "denied", "these keys do not open it"),
        (403, "QuotaExceeded", "full", "no room is left"),
        (507, "XMinioStorageFull", "full", "no room is left"),
        (404, "NoSuchBucket", "gone", "there is no such bucket"),
        (403, "InvalidObjectState", "gone", "must be restored"),
        (503, "SlowDown", "gone", "answers 503 SlowDown"),
        (500, "InternalError", "gone", "answers 500 InternalError"),
        (400, "BadDigest", "corrupt", "what the server got is not what was sent"),
        (400, "AuthorizationHeaderMalformed", "denied", "in another region"),
        (501, "NotImplemented", "denied", "request_checksum_calculation"),
        (400, "InvalidBucketName", "gone", "answers 400 InvalidBucketName"),
    ],
)
def test_refusals_are_told_by_kind_and_without_secrets(
    answers: Answers, status: int, code: str, kind: str, told: str
) -> None:
    answers.refusals = [(status, code)]
    area = open_area("s3://bucket/storage")
    for call in (lambda: area.put("set/a", [b"x"], 1), lambda: next(area.read("set/a"))):
        with pytest.raises(StorageError, match=told) as found:
            call()
        assert found.value.kind == kind
        assert str(found.value).startswith("s3://bucket/storage: set/a: ")
        assert "\n" not in str(found.value)
        assert SECRET not in str(found.value)


def test_a_busy_server_is_asked_again(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "60")
    answers.refusals = [(503, "SlowDown"), (500, "InternalError"), None]
    open_area("s3://bucket/storage").put("a", [b"x"], 1)
    assert answers.asked == 3


def test_an_expired_token_is_not_tried_again(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "600")
    answers.refusals = [(400, "ExpiredToken")]
    with pytest.raises(StorageError, match="expired"):
        open_area("s3://bucket/storage").names()
    assert answers.asked == 1


def test_an_endpoint_that_is_none_is_refused_without_telling_it(
    answers: Answers,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"no address {SECRET}")
    with pytest.raises(InputError, match="the AWS configuration cannot be used") as told:
        open_area("s3://bucket/storage")
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    "complaint",
    [
        f'couldn\'t fetch token: {{"access_token":"{SECRET}"}}',
        f"Get https://me:{SECRET}@host/path: EOF",
        f"Get https://host/path?X-Amz-Signature={SECRET}&a=b: EOF",
        f"Authorization: Bearer {SECRET}",
        f"secret_access_key = {SECRET}",
    ],
)
def test_what_rclone_says_is_told_without_secrets(complaint: str) -> None:
    assert SECRET not in _last_line(f"2026/01/02 03:04:05 ERROR : {complaint}\n")
