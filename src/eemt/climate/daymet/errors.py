"""Why a provider did not deliver, in words for the person who waits for the data."""

from __future__ import annotations


class ProviderError(Exception):
    """A provider could not deliver; the next one may."""


class TransientError(ProviderError):
    """What may be over in a moment: worth another try.

    Attributes
    ----------
    retry_after : float or None
        How long the server asked to wait [s].
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class AbsentError(ProviderError):
    """The server has no such file."""


class RefusedError(ProviderError):
    """What came is not what was asked for."""


class DeniedError(ProviderError):
    """The server wants a login, or does not accept the one it got."""


class UnavailableError(OSError):
    """No provider delivered; the message is one line that gives each one's reason."""
