"""Docstrings as the library reference shows them: citations of numpydoc as plain numbers and lists."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

CITED = re.compile(r"\[(\w+)\]_")
SOURCE = re.compile(r"^( *)\.\. \[(\w+)\] ", re.M)


class Citations(Extension):
    """Write `[1]_` as [1], and the sources that are numbered so as items of a list."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            text = CITED.sub(r"\[\1\]", obj.docstring.value)
            obj.docstring.value = SOURCE.sub(r"\1- \\[\2\\] ", text)
