"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from sites import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "config/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.S | re.M)
COMMANDS = {"bash", "console", "sh", "shell"}
RUN = COMMANDS | {"python"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    `reason` says why it is not run here: ```` ```bash not-run="needs a SLURM login node" ````. `title` is the
    name of a file that the reader is told to write, `section` counts the headings above.
    """

    page: Path
    line: int
    section: int
    language: str
    text: str
    reason: str | None
    title: str | None

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub(lambda fence: " " * len(fence[0]), text)  # where a comment is no heading
    return [
        Block(
            page,
            text.count("\n", 0, fence.start()) + 1,
            len(re.findall(r"^#+ ", prose[: fence.start()], re.M)),
            fence["language"],
            textwrap.dedent(fence["text"]),
            _word(fence["info"], "not-run"),
            _word(fence["info"], "title"),
        )
        for fence in FENCE.finditer(text)
    ]


def outside_blocks(page: Path) -> str:
    """Return a page without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _word(info: str, key: str) -> str | None:
    found = re.search(rf'\b{key}="([^"]*)"', info)
    return found[1] if found else None
