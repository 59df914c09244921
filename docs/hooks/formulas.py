"""Formulas as MathML, which browsers draw without a program or a font from elsewhere."""

from __future__ import annotations

import html
import re
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
SPACE = re.compile(r"\\q?quad\b")  # between equations that stand beside each other
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
THIN = f"{{{NAMESPACE}}}mspace", {"width": "0.17em"}
FUNCTIONS = {"cos", "exp", "ln", "sin", "tan"}
BOLD_A = 0x1D41A  # bold a; browsers do not look at mathvariant="bold"

ElementTree.register_namespace("", NAMESPACE)


def on_page_content(content: str, **_: Any) -> str:
    """Put MathML in the place of each formula that pymdownx.arithmatex has found."""
    return FORMULA.sub(_as_mathml, content)


def _as_mathml(formula: re.Match[str]) -> str:
    latex = html.unescape(formula[2]).strip()
    if formula[1] == "span":
        return _spaced(convert(latex, display="inline"))
    # equations beside each other wrap on narrow screens
    parts = [_spaced(convert(part.strip(), display="block")) for part in SPACE.split(latex)]
    return '<div class="formula">' + "".join(f"<span>{part}</span>" for part in parts) + "</div>"


def _spaced(mathml: str) -> str:
    """Put thin spaces around the names of functions, as TeX does and the converter does not; make vectors bold."""
    math = ElementTree.fromstring(mathml)
    for letter in math.iter(f"{{{NAMESPACE}}}mi"):
        if letter.attrib.pop("mathvariant", None) == "bold" and letter.text:
            letter.text = "".join(chr(BOLD_A + ord(one) - ord("a")) if one.islower() else one for one in letter.text)
    for row in list(math.iter()):
        children = list(row)
        if _tag(row) not in {"math", "mrow", "mtd"}:
            continue
        for before, child in reversed(list(zip([None, *children], children, strict=False))):
            place = children.index(child)
            after = children[place + 1] if place + 1 < len(children) else None
            if _is_function(child) and after is not None and _tag(after) != "mo":
                row.insert(place + 1, ElementTree.Element(*THIN))
            if _is_function(child) and before is not None and _tag(before) != "mo":
                row.insert(place, ElementTree.Element(*THIN))
    return ElementTree.tostring(math, encoding="unicode")


def _is_function(element: ElementTree.Element) -> bool:
    base = element[0] if _tag(element) in {"msup", "msub"} else element
    return (base.text or "") in FUNCTIONS


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
