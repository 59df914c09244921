"""What the documentation shows, runs; what it links to, is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sites import BOULDER, ROOT

PAGES = [ROOT / "README.md", ROOT / "config/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_python_of_the_sun_page_runs_in_turn(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    assert call("dem", BOULDER, "--out", tmp_path / "dem", "--crs", "EPSG:32613", "--resolution", 90)[0] == 0
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sun.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/sun.md", "exec"), names)
    assert "W h m-2" in capfd.readouterr().out
    assert (tmp_path / "sun.nc").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path):
    text = re.sub(r"\$+[^$]+\$+", "", page.read_text(encoding="utf-8"))  # formulas
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        assert (page.parent / file).exists() if file else anchor, target
