"""The messages that the troubleshooting page explains are those that the program gives."""

from __future__ import annotations

import re

import pytest

from sites import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `((?:[a-z.]+: |FILE )[^`]*)` \|", PAGE, re.M)
# words in capitals stand for names, but for these
PLACEHOLDER = re.compile(r"(?!GDAL|HTTP|UTM|YAML)\b[A-Z]{2,}(?:\.[A-Z]+)?|W, S, E, N|…|; ")


@pytest.fixture(scope="module")
def texts() -> str:
    """Source with strings that go over several lines put together."""
    code = [path.read_text(encoding="utf-8") for path in [*(ROOT / "src/eemt").rglob("*.py"), ROOT / "Makefile"]]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(code))


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_the_programs_own(message: str, texts: str):
    parts = [part.strip(" :;,.()?") for part in PLACEHOLDER.split(message)]
    assert [part for part in parts if len(part) > 6 and part not in texts] == []


def test_there_are_messages_to_explain():
    assert len(MESSAGES) > 10
