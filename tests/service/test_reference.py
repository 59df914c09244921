"""The operator's page has all settings, as they are."""

from __future__ import annotations

import re

from eemt.service import reference
from eemt.service.settings import Settings
from sites import ROOT

PAGE = ROOT / "docs/service.md"


def test_the_page_has_the_settings_as_they_are():
    page = PAGE.read_text(encoding="utf-8")
    assert reference.replaced(page) == page, "python -m eemt.service.reference docs/service.md"


def test_each_setting_has_a_line_with_its_bounds_and_default():
    lines = dict(line.split(" | ", 1) for line in reference.table().splitlines()[2:])
    assert [name.strip("| `").lower() for name in lines] == list(Settings.model_fields)
    assert lines["| `PORT`"] == "Port that it listens on; 0 takes a free one; ≥ 0; ≤ 65535 | `8420` |"
    assert "`leave` or `end`" in lines["| `AT_STOP`"]
    assert "a list as JSON" in lines["| `PROXIES`"]


def test_settings_that_a_page_names_are_there():
    named = set(re.findall(r"EEMT_SERVICE_([A-Z_]+)", PAGE.read_text(encoding="utf-8")))
    others = {"FILE", "SECRETS"}  # where settings are
    of_compose = {"ADDRESS", "MEMORY", "CPUS"}
    assert named - others - of_compose <= {name.upper() for name in Settings.model_fields}
