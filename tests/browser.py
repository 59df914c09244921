"""Pages as a browser lays them out: how wide they come out, and what stands out of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PHONE, DESK = 390, 1280  # pixels
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
# each page in a frame of the width, since a window cannot be as narrow; what reaches beyond the frame and is in no box
# that scrolls by itself is told
FRAMES = """<!DOCTYPE html><meta charset="utf-8">{frames}<p id="found"></p><script>
window.onload = () => {{
  const found = {{}};
  for (const frame of document.querySelectorAll("iframe")) {{
    const page = frame.contentDocument, width = frame.clientWidth;
    const scrolls = element => {{
      for (let it = element; it && it !== page.body; it = it.parentElement)
        if (["auto", "scroll", "hidden"].includes(frame.contentWindow.getComputedStyle(it).overflowX)) return true;
      return false;
    }};
    const beyond = [...page.body.querySelectorAll("*")].filter(element => {{
      const box = element.getBoundingClientRect();
      return box.width && box.right > width + 1 && box.left < width && !scrolls(element);
    }});
    const broken = [...page.images].filter(image => image.complete && !image.naturalWidth);
    found[frame.name] = {{
      width: page.documentElement.scrollWidth,
      height: page.documentElement.scrollHeight,
      beyond: beyond.slice(0, 5).map(element => element.outerHTML.slice(0, 120)),
      broken: broken.map(image => image.src.slice(0, 120)),
    }};
  }}
  document.getElementById("found").textContent = JSON.stringify(found);
}};
</script>"""


def assert_fits(pages: Sequence[Path], folder: Path, width: int) -> None:
    """Assert that pages, opened from disk, are as wide as the window and show all their pictures."""
    frames = "".join(
        f'<iframe name="{number}" src="{escape(page.resolve().as_uri())}" '
        f'style="width:{width}px;height:4000px;border:0"></iframe>'
        for number, page in enumerate(pages)
    )
    wrapper = folder / f"frames_{width}.html"
    wrapper.write_text(FRAMES.format(frames=frames), encoding="utf-8")
    options = ("--allow-file-access-from-files", "--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}")
    words = [str(CHROMIUM), *QUIET, *options, "--window-size=1600,4200", "--dump-dom", wrapper.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r'<p id="found">(\{.*?\})</p>', done.stdout, re.S)
    assert told, done.stderr[-2000:]
    found = json.loads(unescape(told[1]))
    assert len(found) == len(pages)
    for number, page in enumerate(pages):
        layout = found[str(number)]
        assert layout["height"] > 500, page.name
        assert layout["width"] <= width, f"{page.name} is {layout['width']} wide: {layout['beyond']}"
        assert layout["broken"] == [], page.name
