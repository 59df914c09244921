"""The log of the archive's commands: a line with its time for each thing that is begun and ended."""

from __future__ import annotations

import logging
import time


def tell() -> None:
    """Write what the archive does to standard error, with times in UTC to the millisecond."""
    handler = logging.StreamHandler()
    form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    log = logging.getLogger("eemt.archive")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
