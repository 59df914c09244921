"""The documentation site builds without a warning and needs nothing from elsewhere."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from browser import DESK, PHONE, assert_fits, needs_browser
from docs.pages import PAGES
from sites import ROOT

LOADED = re.compile(r'<(?:script|img|iframe|source)\b[^>]*?\bsrc="([^"]+)"|<link\b[^>]*?\bhref="([^"]+)"')
LINKED = re.compile(r'<a\b[^>]*?\bhref="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [Path(sys.executable).parent / "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_page_of_the_documentation_is_on_the_site(site: Path):
    docs = [page.relative_to(ROOT / "docs") for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert docs
    assert [name for name in docs if not (site / name).with_suffix(".html").exists()] == []
    assert (site / "contributing.html").exists() and (site / "changelog.html").exists()


def test_pages_load_nothing_from_elsewhere(pages: dict[Path, str]):
    for path, text in pages.items():
        for script, link in LOADED.findall(text):
            target = html.unescape(script or link)
            assert "//" not in target or target.startswith("data:"), f"{path.name}: {target}"
            assert target.startswith("data:") or (path.parent / target).exists(), f"{path.name}: {target}"


def test_links_lead_to_pages_and_places_that_there_are(pages: dict[Path, str]):
    names = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    for path, text in pages.items():
        for link in map(html.unescape, LINKED.findall(text)):
            if "//" in link or link.startswith(("mailto:", "data:")):
                continue
            target, _, anchor = unquote(link).partition("#")
            page = (path.parent / target).resolve() if target else path
            assert page.exists(), f"{path.name}: {link}"
            assert not anchor or page not in names or anchor in names[page], f"{path.name}: {link}"


def test_formulas_are_drawn_by_the_browser(pages: dict[Path, str]):
    science = next(text for path, text in pages.items() if path.name == "science.html")
    assert science.count("<math") > 50
    for path, text in pages.items():
        assert "arithmatex" not in text and not re.search(r"\$\$|\\frac|\\mathrm", text), path.name


def test_reasons_for_the_tests_are_not_shown(pages: dict[Path, str]):
    assert [path.name for path, text in pages.items() if "not-run" in text] == []


def test_functions_of_the_library_stand_with_their_units(pages: dict[Path, str]):
    energy = next(text for path, text in pages.items() if path.match("library/energy.html"))
    for name in ("traditional", "topographic", "vegetation", "hamon", "penman_monteith", "lieth"):
        assert re.search(rf'id="eemt\.energy\.\w+\.{name}"', energy), name
    assert "[MJ m-2 month-1]" in energy
    assert "]_" not in energy


@needs_browser
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_pages_fit_a_phone_and_a_desk_and_show_their_pictures(pages: dict[Path, str], tmp_path: Path, width: int):
    assert_fits(list(pages), tmp_path, width)


def test_nothing_of_the_making_is_on_the_site(site: Path):
    assert [path.name for path in site.rglob("*.py")] == []
