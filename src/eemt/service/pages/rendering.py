"""Templates, and how they write numbers, sizes and times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eemt import __version__

HERE = Path(__file__).parent
SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
STATES = {
    "pending": "waiting",
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


def size(octets: float | None) -> str:
    """Write a number of bytes: 12 MB."""
    if octets is None:
        return "–"
    number, unit = float(octets), SIZES[0]
    for unit in SIZES:
        if number < 999.5 or unit == SIZES[-1]:
            break
        number /= 1000
    return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Write a time span in its two largest units: 3 min 20 s."""
    if seconds is None:
        return "–"
    left = max(0, round(seconds))
    if left < 60:
        return f"{left} s"
    for name, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if left >= length:
            rest = left % length // part
            return f"{left // length} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{left} s"


def instant(at: datetime | None) -> str:
    """Write a time in UTC: 2026-03-01 14:05 UTC."""
    return "–" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def machine_time(at: datetime | None) -> str:
    """Write a time as RFC 3339."""
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def grouped(number: float | None) -> str:
    """Write a whole number with thin spaces between thousands."""
    return "–" if number is None else f"{number:,.0f}".replace(",", "\u202f")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": size,
        "duration": duration,
        "instant": instant,
        "machine_time": machine_time,
        "grouped": grouped,
    }
    # Bokeh's documents name an object after its first mention
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.globals |= {"version": __version__, "state_names": STATES}
    return environment


ENVIRONMENT = _environment()


def render(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Answer with a page.

    Parameters
    ----------
    template : str
        File in templates/.
    context
        What the template names beside who asks, the token against forged requests, and the address.
    """
    text = ENVIRONMENT.get_template(template).render(
        principal=getattr(request.state, "principal", None),
        csrf=getattr(request.state, "csrf", None) or "",
        with_accounts=request.app.state.service.settings.with_accounts,
        path=request.url.path,
        **context,
    )
    # what a page shows is its user's: no cache keeps it
    return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})
