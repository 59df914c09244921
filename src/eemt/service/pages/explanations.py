"""What problem types mean, and what to do, for the pages that their addresses lead to."""

from __future__ import annotations

from eemt.service.problems import TYPES

MEANINGS: dict[str, tuple[str, str]] = {
    "bad-request": ("The request is not what HTTP or this API knows.", "Compare it with the API's reference."),
    "not-signed-in": (
        "Nobody is signed in, or the API token has expired or was revoked.",
        "Sign in, or send a token: Authorization: Bearer …",
    ),
    "wrong-login": (
        "No account has this name and password.",
        "Try again; the operator sets a new password. After several failures there is a pause.",
    ),
    "not-allowed": (
        "Your account may not do this, or the page was loaded before you signed in.",
        "Load the page again; for what only operators may do, ask one.",
    ),
    "not-found": (
        "There is no such thing, or it is another user's, which is not told apart.",
        "Look into the list of jobs; deleted jobs are no longer there.",
    ),
    "method-not-allowed": ("The address is there, but not for this method.", "The API's reference has the methods."),
    "too-slow": ("The body of the request did not arrive in time.", "Send it anew, a large file in smaller pieces."),
    "conflict": (
        "What was asked for does not go with the state that the job or upload is in.",
        "Look at its state first: only finished jobs can be run again or deleted, others cancelled.",
    ),
    "key-used-otherwise": (
        "An Idempotency-Key makes the same request sent twice one job; this one came with another request before.",
        "Take a new key for each job.",
    ),
    "wrong-offset": (
        "A piece of an upload must begin where those before it end.",
        "Ask for the upload's offset, and go on there.",
    ),
    "gone": (
        "It was there, and was removed when its time was over.",
        "A clone of the job computes it anew; uploads that are gone are sent again.",
    ),
    "too-large": ("It is larger than the operator allows.", "The detail names the limit. Cut a model, or coarsen it."),
    "unsupported-media-type": ("The API takes JSON, and for pieces of uploads plain bytes.", "Set Content-Type."),
    "range-not-satisfiable": ("The file is shorter than what was asked for.", "Ask for its size first."),
    "invalid": (
        "Something in the request is outside of what is allowed.",
        "errors names each field, what was found and what is allowed.",
    ),
    "upload-refused": (
        "The file was looked into and cannot be used; the detail says why.",
        "Elevation and other rasters are GeoTIFFs with a coordinate system; stations are CSV tables.",
    ),
    "too-many": ("So many requests came that others would have to wait.", "Wait for as long as Retry-After says."),
    "failed": (
        "A fault of the service, not of the request. Its log has what happened.",
        "Tell the operator when it happened. Running jobs go on by themselves.",
    ),
    "unavailable": (
        "The service is there, but what it needs does not answer, such as its database.",
        "Try again in a while, as Retry-After says. Running jobs go on by themselves.",
    ),
    "queue-full": ("As many jobs wait as may.", "Wait until some have begun, or cancel some of yours."),
    "quota": ("Your jobs and uploads fill the disk that you may use.", "Download results and delete old jobs."),
    "disk-full": ("The service's disk is nearly full.", "Delete old jobs, and tell the operator."),
}


def explain(name: str) -> tuple[str, str]:
    """Return what a type of problem means, and what to do."""
    return MEANINGS.get(name, (f"{TYPES[name][1]}.", ""))
