"""A folder of a bucket on an S3 server as a place for files.

Endpoint, region and keys come from where every program of AWS takes them: a profile of ~/.aws/config, or the
environment (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN).
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from eemt.archive.areas import PIECE, Waiting, check_name, check_prefix, counted, patience
from eemt.archive.errors import StorageError
from eemt.archive.s3_faults import Fault, fault_of
from eemt.errors import InputError

PART = 16 << 20  # bytes
MOST_PARTS = 10_000  # of an upload, by the protocol
AT_ONCE = 2  # parts
LONGEST_LINK = 7 * 86_400  # seconds, by the protocol
_CONNECT_TIMEOUT = 10  # seconds
_READ_TIMEOUT = 60.0

T = TypeVar("T")


class _Part(NamedTuple):
    """A part of an upload that the server has."""

    number: int
    etag: str
    sha256: bytes


def open_bucket(bucket: str, prefix: str, profile: str | None) -> S3Area:
    """Open a folder of a bucket; nothing is asked of the server yet.

    Raises
    ------
    InputError
        When the profile or its endpoint cannot be used.
    """
    config = Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=max(1.0, min(_READ_TIMEOUT, patience())),
        # `Waiting` tries again, for as long as the archive's own settings say
        retries={"total_max_attempts": 1},
        max_pool_connections=AT_ONCE + 2,
        user_agent_extra="eemt-archive",
    )
    try:
        client = boto3.session.Session(profile_name=profile).client("s3", config=config)
    except ProfileNotFound:
        raise InputError(
            f"archive: s3://{bucket}: the AWS configuration has no profile {profile!r}; add it to ~/.aws/config"
        ) from None
    except (BotoCoreError, ValueError) as error:
        # the message may quote an endpoint with keys in it
        raise InputError(
            f"archive: s3://{bucket}: the AWS configuration cannot be used ({type(error).__name__}); see region, "
            "endpoint_url and keys in the environment and in ~/.aws/config"
        ) from None
    return S3Area(client, bucket, prefix)


class S3Area:
    """A folder of a bucket as an `Area`.

    Parameters
    ----------
    client : S3 client of boto3
    bucket, prefix : str
        The prefix without "/" at its ends; may be empty.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        # the setting of AWS for servers that take no newer checksums than MD5
        self._sha256 = client.meta.config.request_checksum_calculation != "when_required"

    def put(self, name: str, pieces: Iterable[bytes], size: int) -> None:
        """Write an object, which the server checks by SHA-256, in parts where it is large; see `Area`."""
        key = self._key(name)
        parts = _cut(counted(pieces, size, self._where(name)), max(PART, -(-size // MOST_PARTS)))
        if size > PART:
            _Upload(self, name, key).write(parts, size)
            return
        content = b"".join(parts)
        answer = self.ask(name, self._client.put_object, Key=key, Body=content, **self.sums(content))
        self.compare_part(name, content, answer)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield an object's bytes; where the connection breaks, it goes on behind those it has; see `Area`."""
        key = self._key(name)
        answer = self.ask(name, self._client.get_object, Key=key)
        size, etag = int(answer["ContentLength"]), answer["ETag"]
        position = 0
        waiting = Waiting()
        while True:
            body = answer["Body"]
            try:
                while piece := body.read(PIECE):
                    position += len(piece)
                    waiting = Waiting()
                    yield piece
            except (BotoCoreError, OSError) as error:
                fault = fault_of(error, self._client.meta.endpoint_url)
                told = self._storage_error(name, fault)
                if not fault.passes or not waiting.again(str(told)):
                    raise told from None
            finally:
                body.close()
            if position >= size:
                break
            answer = self.ask(name, self._client.get_object, Key=key, Range=f"bytes={position}-", IfMatch=etag)
            if not str(answer.get("ContentRange", "")).startswith(f"bytes {position}-"):
                answer["Body"].close()
                raise StorageError("gone", f"{self._where(name)}: the connection broke, and the server cannot go on")
        if position != size:
            raise StorageError("corrupt", f"{self._where(name)}: {position} bytes came of {size}")

    def size(self, name: str) -> int | None:
        """Return an object's size; see `Area`."""
        found = self.head(name, self._key(name))
        return None if found is None else int(found["ContentLength"])

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of objects; see `Area`."""
        return sorted(key.removeprefix(self._prefix) for key, _ in self._objects(prefix) if not key.endswith("/"))

    def used(self) -> int:
        """Return the bytes of all objects; see `Area`."""
        return sum(size for _, size in self._objects(""))

    def _objects(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the keys and sizes of objects whose names begin with a prefix."""
        start = self._prefix + check_prefix(prefix, self.address)
        more: dict[str, str] = {}
        while True:
            page = self.ask("", self._client.list_objects_v2, Prefix=start, **more)
            yield from ((item["Key"], int(item["Size"])) for item in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, name: str) -> None:
        """Remove an object; see `Area`."""
        self.ask(name, self._client.delete_object, Key=self._key(name))

    def clear_leftovers(self, prefix: str) -> None:
        """Abort unfinished uploads; see `Area`."""
        start = self._prefix + check_prefix(prefix, self.address)
        more: dict[str, str] = {}
        while True:
            page = self.ask("", self._client.list_multipart_uploads, Prefix=start, **more)
            for upload in page.get("Uploads", ()):
                if upload["Key"].startswith(start):
                    self.abort(upload["Key"], upload["UploadId"])
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def space(self) -> None:
        """Return None: S3 does not tell."""

    def link(self, name: str, seconds: int) -> str:
        """Return a presigned address; see `Area`.

        Raises
        ------
        InputError
            When it shall last longer than the protocol allows, or not at all.
        """
        if not 1 <= seconds <= LONGEST_LINK:
            raise InputError(f"archive: a link may last 1 to {LONGEST_LINK} seconds (7 days), not {seconds}")
        key = self._key(name)
        if self.head(name, key) is None:
            raise StorageError("gone", f"{self._where(name)} is not there")
        return self._guarded(
            name,
            lambda: str(
                self._client.generate_presigned_url(
                    "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=seconds
                )
            ),
        )

    def head(self, name: str, key: str) -> dict[str, Any] | None:
        """Return what the server says of an object, with its checksum, or None where there is none."""
        try:
            return self.ask(name, self._client.head_object, Key=key, ChecksumMode="ENABLED")
        except _AbsentError:
            pass
        # the answer to this question has no body that tells a missing object from a missing bucket
        self.ask("", self._client.head_bucket)
        return None

    def abort(self, key: str, upload: str) -> None:
        """Abort an unfinished upload; one that is no longer there is fine."""
        with suppress(_AbsentError):
            self.ask("", self._client.abort_multipart_upload, Key=key, UploadId=upload)

    def sums(self, content: bytes | bytearray) -> dict[str, str]:
        """Return the checksum that a server compares what it gets with."""
        if self._sha256:
            return {"ChecksumSHA256": _base64(hashlib.sha256(content).digest())}
        return {"ContentMD5": _base64(hashlib.md5(content, usedforsecurity=False).digest())}

    def algorithm(self) -> dict[str, str]:
        """Return how the parts of an upload are checked."""
        return {"ChecksumAlgorithm": "SHA256"} if self._sha256 else {}

    def compare_part(self, name: str, content: bytes | bytearray, answer: dict[str, Any]) -> None:
        """Compare what the server says that it has got with what was sent.

        Raises
        ------
        StorageError
            corrupt, when it is another.
        """
        if echoed := answer.get("ChecksumSHA256"):
            same = echoed == _base64(hashlib.sha256(content).digest())
        else:
            etag = answer.get("ETag", "").strip('"')
            same = etag == hashlib.md5(content, usedforsecurity=False).hexdigest() or _opaque(etag, answer)
        if not same:
            raise StorageError("corrupt", f"{self._where(name)}: the server's checksum is not that of what was sent")

    def compare_whole(self, name: str, key: str, parts: list[_Part], size: int) -> None:
        """Compare what the server put together with the parts that were sent.

        Raises
        ------
        StorageError
            corrupt, when it is another.
        """
        found = self.head(name, key)
        if found is None:
            raise StorageError("gone", f"{self._where(name)}: the server does not have it after all")
        same = int(found["ContentLength"]) == size
        sum_ = found.get("ChecksumSHA256", "")
        etag = found.get("ETag", "").strip('"')
        count = f"-{len(parts)}"
        if sum_.endswith(count):
            same &= sum_ == _base64(hashlib.sha256(b"".join(part.sha256 for part in parts)).digest()) + count
        elif etag.endswith(count) and all(len(part.etag) == 32 for part in parts) and not _opaque(etag, found):
            joined = b"".join(bytes.fromhex(part.etag) for part in parts)
            same &= etag == hashlib.md5(joined, usedforsecurity=False).hexdigest() + count
        if not same:
            raise StorageError("corrupt", f"{self._where(name)}: the server put together another file than was sent")

    def ask(
        self, name: str, call: Callable[..., Any], stopped: threading.Event | None = None, /, **words: Any
    ) -> dict[str, Any]:
        """Ask the server, again and again for a while where it is gone or busy.

        Raises
        ------
        StorageError
            When it does not do it.
        """
        waiting = Waiting(stopped)
        while True:
            try:
                answer: dict[str, Any] = call(Bucket=self._bucket, **words)
            except (BotoCoreError, ClientError, OSError) as error:
                fault = fault_of(error, self._client.meta.endpoint_url)
                told = self._storage_error(name, fault)
                if not fault.passes or not waiting.again(str(told)):
                    raise told from None
            else:
                return answer

    def _guarded(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            raise self._storage_error(name, fault_of(error, self._client.meta.endpoint_url)) from None

    def _storage_error(self, name: str, fault: Fault) -> StorageError:
        made = _AbsentError if fault.absent else StorageError
        return made(fault.kind, f"{self._where(name)}: {fault.message}")

    def _where(self, name: str) -> str:
        return f"{self.address}: {name}" if name else self.address

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name, self.address)


class _AbsentError(StorageError):
    """An object or upload that is not there."""


class _Upload:
    """The upload of one large object in parts, a few at once."""

    def __init__(self, area: S3Area, name: str, key: str) -> None:
        self._area = area
        self._name = name
        self._key = key
        self._client = area._client
        self._stopped = threading.Event()
        self._upload = ""

    def write(self, contents: Iterator[bytearray], size: int) -> None:
        """Send all parts and have the server put them together, or abort."""
        # the first part before the upload: what cannot be read leaves nothing behind
        first = next(contents)
        begun = self._area.ask(
            self._name, self._client.create_multipart_upload, Key=self._key, **self._area.algorithm()
        )
        self._upload = begun["UploadId"]
        try:
            parts = self._send_all(first, contents)
            listed = [
                {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
                | ({"ChecksumSHA256": _base64(part.sha256)} if self._area.algorithm() else {})
                for part in parts
            ]
            answered = self._complete(listed)
        except BaseException:
            self._give_up()
            raise
        try:
            self._area.compare_whole(self._name, self._key, parts, size)
        except StorageError as error:
            # else it is what was there before
            if answered and error.kind == "corrupt":
                self._area.remove(self._name)
            raise

    def _complete(self, listed: list[dict[str, Any]]) -> bool:
        """Have the server put the parts together; False when it has no such upload.

        That is so where it did it, and its answer was lost: the comparison tells.
        """
        try:
            self._area.ask(
                self._name,
                self._client.complete_multipart_upload,
                Key=self._key,
                UploadId=self._upload,
                MultipartUpload={"Parts": listed},
            )
        except _AbsentError:
            return False
        return True

    def _send_all(self, first: bytearray, contents: Iterator[bytearray]) -> list[_Part]:
        done: list[_Part] = []
        under_way: set[Future[_Part]] = set()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="s3-part") as pool:
            try:
                number, content = 1, first
                while content:
                    if len(under_way) >= AT_ONCE:
                        finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        done += [future.result() for future in finished]
                    under_way.add(pool.submit(self._send, number, content))
                    number, content = number + 1, next(contents, bytearray())
                done += [future.result() for future in under_way]
            except BaseException:
                self._stopped.set()
                raise
        return sorted(done)

    def _send(self, number: int, content: bytearray) -> _Part:
        answer = self._area.ask(
            self._name,
            self._client.upload_part,
            self._stopped,
            Key=self._key,
            UploadId=self._upload,
            PartNumber=number,
            Body=content,
            **self._area.sums(content),
        )
        self._area.compare_part(self._name, content, answer)
        sum_ = answer.get("ChecksumSHA256")
        digest = base64.b64decode(sum_) if sum_ else hashlib.sha256(content).digest()
        return _Part(number, answer["ETag"].strip('"'), digest)

    def _give_up(self) -> None:
        # once, without waiting: who gives up is often told to end; `clear_leftovers` does it otherwise
        with suppress(BotoCoreError, ClientError, OSError):
            self._client.abort_multipart_upload(Bucket=self._area._bucket, Key=self._key, UploadId=self._upload)


def _cut(pieces: Iterable[bytes], length: int) -> Iterator[bytearray]:
    """Join pieces to parts of one length, the last of which may be shorter."""
    part = bytearray()
    for piece in pieces:
        rest = memoryview(piece)
        while len(part) + len(rest) >= length:
            room = length - len(part)
            part += rest[:room]
            rest = rest[room:]
            yield part
            part = bytearray()
        part += rest
    if part:
        yield part


def _opaque(etag: str, answer: dict[str, Any]) -> bool:
    """Say whether an ETag is no MD5: that of a server with its own kind, or of an object it encrypts with a key."""
    hexadecimal = len(etag.partition("-")[0]) == 32 and set(etag) <= set("0123456789abcdef-")
    return not hexadecimal or "SSECustomerAlgorithm" in answer or "kms" in answer.get("ServerSideEncryption", "")


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
