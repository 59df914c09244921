r"""Take pictures of a worked example out of the report of a finished run.

`python docs/pictures.py REPORT FOLDER NAME="first words of a caption" …` writes each as FOLDER/NAME.webp or
.svg; without pictures that are named it prints all captions. Those of docs/images/boulder:

    python docs/pictures.py results/boulder/report.html docs/images/boulder maps="EEMT over" changes="What the" \
        months="The year" aspect="Mean EEMT" elevation="EEMT against" sun="Clear-sky" wetness="How topography"

and of docs/images/cluster:

    python docs/pictures.py results/jacksboro/report.html docs/images/cluster maps="EEMT over" changes="What the" \
        elevation="EEMT against"
"""

from __future__ import annotations

import base64
import html
import re
import sys
from pathlib import Path

FIGURE = re.compile(r"<figure.*?data:image/([a-z+]+)[^,]*,([^\"]+)\".*?<figcaption>(.*?)</figcaption>", re.S)


def pictures(report: Path) -> dict[str, tuple[str, bytes]]:
    """Return the ending and the bytes of each picture in a report, by its caption."""
    return {
        html.unescape(re.sub(r"<[^>]*>", "", caption)): (kind.removesuffix("+xml"), base64.b64decode(data))
        for kind, data, caption in FIGURE.findall(report.read_text(encoding="utf-8"))
    }


def main(report: str, folder: str = ".", *wanted: str) -> None:
    """Write the pictures that are wanted, or print the captions."""
    found = pictures(Path(report))
    if not wanted:
        print(*found, sep="\n")
    for name, start in (word.split("=", 1) for word in wanted):
        ending, data = next(picture for caption, picture in found.items() if caption.startswith(start))
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{name}.{ending}").write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
