"""Docstrings as the library reference shows them: numpydoc, without what only Sphinx understands."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:func|class|mod|meth|data):(?=`)")
CITED = re.compile(r"\[(\w+)\]_")
SOURCE = re.compile(r"^( *)\.\. \[(\w+)\] ", re.M)
SHARED = re.compile(r"^(\w+(?:, \w+)+)( : .*)?\n((?: +.*\n?|\n(?= ))+)", re.M)


class Numpydoc(Extension):
    """Write `[1]_` as [1], numbered sources as items of a list, and what parameters share at each of them.

    Of parameters that stand together the reader of docstrings would give all the default of the first.
    """

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            text = CITED.sub(r"\[\1\]", ROLE.sub("", obj.docstring.value))
            obj.docstring.value = SHARED.sub(_apart, SOURCE.sub(r"\1- \\[\2\\] ", text))


def _apart(shared: re.Match[str]) -> str:
    described = shared[3] if shared[3].endswith("\n") else shared[3] + "\n"
    return "".join(f"{name}{shared[2] or ''}\n{described}" for name in shared[1].split(", "))
