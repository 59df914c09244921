"""Formulas as MathML, which browsers draw without a program or a font from elsewhere."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
SPACE = r"\qquad"


def on_page_content(content: str, **_: Any) -> str:
    """Put MathML in the place of each formula that pymdownx.arithmatex has found."""
    return FORMULA.sub(_as_mathml, content)


def _as_mathml(formula: re.Match[str]) -> str:
    latex = html.unescape(formula[2]).strip()
    if formula[1] == "span":
        return convert(latex, display="inline")
    # equations beside each other wrap on narrow screens
    parts = [convert(part.strip(), display="block") for part in latex.split(SPACE)]
    return '<div class="formula">' + "".join(f"<span>{part}</span>" for part in parts) + "</div>"
