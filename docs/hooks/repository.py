"""Pages of the site that are files of the repository, and links from pages to such files.

On the pages as they stand in the repository links lead to files beside `docs`; on the site these files
are put under `files`, or are pages of their own.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "config/README.md": "your-own-dem.md"}
INCLUDED = ("CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
REASON = re.compile(r"^(```\w+) not-run=.*$", re.M)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages whose text stands in the root of the repository, and the files that pages link to."""
    for name in INCLUDED:
        files.append(File.generated(config, PAGES[name], content=(ROOT / name).read_text(encoding="utf-8")))
    for page in list(files.documentation_pages()):
        for link in LINK.finditer(page.content_string):
            linked = _beside_docs(page, link[2])
            if linked is None or linked in PAGES:
                continue
            if not (ROOT / linked).is_file():
                raise PluginError(f"{page.src_uri}: links to {link[2]}, which is no file of the repository")
            if files.get_file_from_path(f"files/{linked}") is None:
                files.append(File.generated(config, f"files/{linked}", abs_src_path=str(ROOT / linked)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turn links to files of the repository into links within the site, and leave out what is for the tests."""

    def within_site(link: re.Match[str]) -> str:
        name = _beside_docs(page.file, link[2])
        if name is None:
            return link[0]
        target = posixpath.relpath(PAGES.get(name, f"files/{name}"), posixpath.dirname(page.file.src_uri) or ".")
        return f"{link[1]}{target}{link[3] or ''}{link[4]}"

    return REASON.sub(r"\1", LINK.sub(within_site, markdown))


def _beside_docs(page: File, target: str) -> str | None:
    """Return the path in the repository of a link's target, if it is in there and not below `docs`."""
    if "://" in target or target.startswith(("mailto:", "/")):
        return None
    folder = "" if page.src_uri in map(PAGES.get, INCLUDED) else posixpath.join("docs", posixpath.dirname(page.src_uri))
    path = posixpath.normpath(posixpath.join(folder, target))
    return None if path.startswith(("docs/", "..")) else path
