"""What an S3 server's refusals and silences mean to the archive, in words without secrets."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore import exceptions

from eemt.archive.errors import Kind

SKEW = timedelta(minutes=15)  # that the protocol allows between the clocks of both sides

_CLOCK = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_DENIED = {
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_FULL = {
    "QuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "InsufficientStorage",
    "EntityTooLarge",
}
_BUSY = {
    "SlowDown",
    "RequestTimeout",
    "RequestTimeoutException",
    "Throttling",
    "ThrottlingException",
    "OperationAborted",
}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidPart"}
_KEYS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
    exceptions.NoAuthTokenError,
    exceptions.MetadataRetrievalError,
)


class Fault(NamedTuple):
    """What is wrong.

    Parameters
    ----------
    kind : str
        Of `StorageError`.
    message : str
    passes : bool
        It may be over after a while.
    absent : bool
        An object or an upload is not there; all else is well.
    """

    kind: Kind
    message: str
    passes: bool = False
    absent: bool = False


def fault_of(error: Exception, endpoint: str) -> Fault:
    """Say what an error of boto3 means.

    Parameters
    ----------
    error : exception
        Of botocore, or of the connection below it.
    endpoint : str
        Address of the server.
    """
    server = _host(endpoint)
    if isinstance(error, exceptions.ClientError):
        return _of_answer(error.response, server)
    if isinstance(error, _KEYS):
        return Fault(
            "denied",
            "no keys for the S3 server, or none that are valid; name a profile of ~/.aws/config, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if isinstance(error, exceptions.FlexibleChecksumError):
        return Fault("corrupt", "its bytes do not have the checksum that the server keeps of it")
    # other faults of TLS are those of a connection that breaks
    if isinstance(error, exceptions.SSLError) and re.search(
        "CERTIFICATE_VERIFY|WRONG_VERSION|doesn't match", str(error)
    ):
        return Fault("gone", f"no safe connection to {server}: its certificate cannot be checked, or it speaks no TLS")
    if isinstance(
        error, (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError, OSError)
    ):
        return Fault("gone", f"{server} does not answer ({_plain(type(error).__name__)})", passes=True)
    # the message of others may quote what was sent
    return Fault("gone", f"the request to {server} cannot be made ({_plain(type(error).__name__)})")


def _of_answer(answer: dict[str, Any], server: str) -> Fault:
    code = _plain(str(answer.get("Error", {}).get("Code", "")))
    heads = answer.get("ResponseMetadata", {})
    status = int(heads.get("HTTPStatusCode") or 0)
    what = f"{server} answers {status}" + (f" {code}" if code and code != str(status) else "")
    ahead = _clock_ahead(heads.get("HTTPHeaders", {}).get("date", ""))
    if code in _EXPIRED:
        return Fault("denied", f"the token has expired ({what}); get new keys")
    if code in _CLOCK or (status == 403 and ahead is not None and abs(ahead) > SKEW):
        return Fault("denied", f"the clock of this machine is off{_by(ahead)} ({what}); set it, best by NTP")
    if code in _FULL or status == 507:
        return Fault("full", f"no room is left ({what})")
    if code == "InvalidObjectState":
        return Fault("gone", f"it lies in a storage class that must be restored before it can be read ({what})")
    if code in _DENIED or status in (401, 403):
        return Fault("denied", f"these keys do not open it ({what})")
    if code == "NoSuchBucket":
        return Fault("gone", f"there is no such bucket ({what})")
    if code in ("NoSuchKey", "NoSuchUpload") or status == 404:
        return Fault("gone", f"it is not there ({what})", absent=True)
    if status == 412:
        return Fault("corrupt", f"it was replaced while it was read ({what})")
    if code in _DAMAGED:
        return Fault("corrupt", f"what the server got is not what was sent ({what})", passes=True)
    if status == 301 or code in _ELSEWHERE:
        return Fault("denied", f"the bucket is in another region ({what}); set `region` in the profile, or AWS_REGION")
    if status == 501 or code == "NotImplemented":
        return Fault(
            "denied",
            f"the server cannot do this ({what}); if it knows no SHA-256 checksums, set "
            "`request_checksum_calculation = when_required` in the profile, or "
            "AWS_REQUEST_CHECKSUM_CALCULATION=when_required",
        )
    return Fault("gone", what, passes=status >= 500 or status in (408, 429) or code in _BUSY)


def _clock_ahead(date: str) -> timedelta | None:
    """Return how much this machine's clock is ahead of the server's."""
    try:
        told = parsedate_to_datetime(date)
    except ValueError:
        return None
    return datetime.now(UTC) - told if told.tzinfo else None


def _by(ahead: timedelta | None) -> str:
    if ahead is None:
        return ""
    seconds = abs(ahead.total_seconds())
    amount = f"{seconds / 86_400:.1f} days" if seconds > 172_800 else f"{seconds / 60:.0f} minutes"
    return f": {amount} {'ahead of' if ahead > timedelta() else 'behind'} the server's"


def _host(endpoint: str) -> str:
    """Return host and port: an address may have a name and a password before them."""
    parts = urlsplit(endpoint)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _plain(code: str) -> str:
    return code if re.fullmatch(r"\w{1,60}", code) else ""
