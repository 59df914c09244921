"""What the documentation links to is there, also where it is read in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pages import PAGES, name_of, outside_blocks


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_lead_somewhere(page: Path):
    text = re.sub(r"\$+[^$]+\$+", "", outside_blocks(page))  # formulas
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        assert (page.parent / file).exists() if file else anchor, target
