"""The form: all that can be set, from the config alone, and enough to ask for it without knowing any key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eemt.config import SECTIONS
from eemt.service import form, policy
from eemt.service.settings import Settings


@pytest.fixture
def whole(settings: Settings) -> dict[str, Any]:
    return form.form(settings)


def fields(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for section in whole["sections"]:
        yield from section["fields"]


def test_every_key_of_the_config_is_on_the_form_or_named_with_the_reason(whole: dict[str, Any]) -> None:
    on_it = [field["key"] for field in fields(whole)]
    assert len(on_it) == len(set(on_it))
    assert set(on_it) | set(whole["not_offered"]) == set(policy.all_keys())
    assert not set(on_it) & set(whole["not_offered"])
    assert all(len(reason) > 20 for reason in whole["not_offered"].values())


def test_every_field_has_what_a_page_needs(whole: dict[str, Any]) -> None:
    keys = set(policy.all_keys())
    for field in fields(whole):
        section, _, name = field["key"].partition(".")
        described = SECTIONS[section].model_fields[name]
        assert field["label"]
        assert field["help"] == described.description
        assert field["kinds"]
        if field["type"] in ("choice", "choices"):
            assert all(choice["label"] for choice in field["choices"])
        if field["type"] in ("number", "whole", "monthly") and name != "seed":
            assert {"minimum", "exclusive_minimum"} & set(field)
        for condition in (field.get("shown_when"), field.get("needed_when")):
            if condition:
                assert condition["field"] in keys
                assert len(condition) == 2


def test_names_in_the_form_are_keys_of_the_config() -> None:
    named = {*form.LABELS, *form.BASIC, *form.SHOWN_WHEN, *form.NEEDED_WHEN, *form.ONLY_OF}
    assert named <= set(policy.all_keys())
    assert set(form.TITLES) == set(SECTIONS)


def test_units_ranges_and_defaults_are_those_of_the_config(whole: dict[str, Any]) -> None:
    known = {field["key"]: field for field in fields(whole)}
    step = known["sun.step"]
    assert (step["type"], step["unit"], step["minimum"], step["maximum"], step["default"]) == (
        "number",
        "min",
        1,
        60,
        15,
    )
    linke = known["sun.linke"]
    assert (linke["type"], linke["minimum"], linke["maximum"], linke["words"]) == ("monthly", 1, 10, ["climatology"])
    assert known["sun.albedo"]["upload"] == "raster"
    assert known["dem.source"]["words"] == ["3dep", "glo30"]
    assert known["dem.source"]["required"]
    assert known["tiles.size"]["words"] == ["auto"]
    assert [choice["value"] for choice in known["climate.source"]["choices"]] == ["station", "daymet"]
    assert known["eemt.ndvi"]["shown_when"] == {"field": "eemt.methods", "has": ["veg"]}
    assert known["climate.years"]["type"] == "years"
    swept = {axis["key"] for axis in known["sweep.sun"]["keys"]}
    assert "sun.linke" in swept
    assert "upload" not in next(axis for axis in known["sweep.sun"]["keys"] if axis["key"] == "sun.albedo")


def test_defaults_of_all_fields_make_the_config_itself(whole: dict[str, Any]) -> None:
    for field in fields(whole):
        section, _, name = field["key"].partition(".")
        described = SECTIONS[section].model_fields[name]
        default = [] if field["default"] == [] else field["default"]
        own = None if described.is_required() else described.default
        own = list(own) if isinstance(own, tuple) else own
        assert default == own, field["key"]


def test_each_kind_of_job_has_its_sections(whole: dict[str, Any]) -> None:
    kinds = {kind["value"]: kind["sections"] for kind in whole["kinds"]}
    assert kinds["eemt"] == list(SECTIONS)
    assert "climate" not in kinds["sun"]
    assert "eemt" not in kinds["sun"]
    for section in whole["sections"]:
        assert section["kinds"] == [kind for kind, names in kinds.items() if section["name"] in names]


def test_the_form_is_answered_as_it_is_described(client: TestClient, whole: dict[str, Any]) -> None:
    answer = client.get("/api/v1/form")
    assert answer.status_code == 200
    assert answer.json() == whole
