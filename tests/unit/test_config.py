"""Every parameter once, and one clear line for every mistake in a config file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from eemt.config import SECTIONS, SunSettings, check_section, load_config
from eemt.errors import InputError
from eemt.options import as_options
from eemt.reference import as_yaml, json_schema, reference_page

ROOT = Path(__file__).parents[2]
CLIMATE = {"file": "s.csv", "elevation": 1594, "latitude": 40.4, "longitude": -105.2, "normals_period": [1971, 2000]}
GOOD: dict[str, Any] = {"sites": {"valley": {"dem": {"source": "x.tif"}, "climate": CLIMATE}}, "sun": {"albedo": 0.3}}


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(GOOD)
    *folders, key = path.split("/")
    section = config
    for name in folders:
        section = section.setdefault(name, {})
    section[key] = value
    return config


def test_common_section_holds_for_a_site():
    assert load_config(GOOD).sites["valley"].sun.albedo == 0.3


def test_a_sites_own_value_wins_and_leaves_the_rest():
    config = changed("sites/valley/sun", {"linke": 4})
    sun = load_config(config).sites["valley"].sun
    assert (sun.linke, sun.albedo) == (4.0, 0.3)


def test_several_sites_stand_side_by_side():
    config = copy.deepcopy(GOOD)
    config["sites"]["ridge"] = copy.deepcopy(config["sites"]["valley"])
    assert list(load_config(config).sites) == ["valley", "ridge"]


def test_section_with_all_keys_commented_out_is_default():
    assert load_config(changed("eemt", None)).sites["valley"].eemt.omega == 2.63


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("sun/albdo", 0.2, "config: sun.albdo: unknown key; did you mean albedo?"),
        ("site", {}, "config: site: unknown key; did you mean sites?"),
        ("sites/valley/sunn", {}, "config: sites.valley.sunn: unknown key; did you mean sun?"),
        ("sites/valley/dem/sourc", "y", "config: sites.valley.dem.sourc: unknown key; did you mean source?"),
        ("sun/zzz", 1, "config: sun.zzz: unknown key; known are step, linke, albedo, shadows, sky_view, convention,"),
        ("sun/albedo", 1.2, "config: sun.albedo: is 1.2; allowed are 0 to 1"),
        ("sites/valley/sun", {"albedo": 7}, "config: sites.valley.sun.albedo: is 7; allowed are 0 to 1"),
        ("sun/linke", [3, 3], "config: sun.linke: has 2 values; give one, or twelve with January first"),
        ("sun/linke", "hazy", "config: sun.linke: must be a number or twelve numbers, January first, or climatology"),
        ("sun/albedo", "grey", "config: sun.albedo: must be a number or twelve numbers, January first, or the path of"),
        ("sun/step", 0, "config: sun.step: is 0; must be greater than or equal to 1"),
        ("sun/convention", "gras", "config: sun.convention: is 'gras'; allowed are 'eemt' or 'grass'"),
        ("eemt/methods", [], "config: eemt.methods: must not be empty"),
        ("eemt/methods", ["trad", "trad"], "config: eemt.methods: names a method twice"),
        ("eemt/solar_ratio_limits", [2, 5], "config: eemt.solar_ratio_limits: is 2 to 5; a lower bound in (0, 1]"),
        ("sites", {}, "config: sites: must not be empty"),
        ("sites/a valley", GOOD["sites"]["valley"], "config: sites.a valley: a site's name may have letters, digits"),
        ("sites/valley/dem", {}, "config: sites.valley.dem.source: is missing"),
        (
            "sites/valley/climate",
            {**CLIMATE, "normals_period": [2000, 1971]},
            "config: sites.valley.climate.normals_period: runs backwards, from 2000 to 1971; write the earlier",
        ),
        (
            "sites/valley/climate",
            {**CLIMATE, "years": [2001, 2003]},
            "config: sites.valley.climate: needs one of years",
        ),
        (
            "sites/valley/climate",
            {"source": "none", "years": [2001, 2003]},
            "config: sites.valley.climate: years is of no use without a source of climate",
        ),
        (
            "sites/valley",
            {"dem": {"source": "x.tif"}, "climate": {"source": "none"}, "sweep": {"eemt": {"omega": [2, 3]}}},
            "config: sites.valley: sweep: compares maps of EEMT, of which there are none",
        ),
        ("tiles", 1024, "config: tiles: must be keys and values, not 1024"),
    ],
)
def test_a_mistake_gets_one_line_that_names_the_place(path: str, value: Any, line: str):
    with pytest.raises(InputError) as error:
        load_config(changed(path, value))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_a_config_that_is_no_mapping_is_refused():
    with pytest.raises(InputError, match="must be keys and values"):
        load_config(["sites"])  # type: ignore[arg-type]


def test_further_mistakes_are_counted():
    config = changed("sun/albedo", 2)
    config["sun"]["step"] = 900
    with pytest.raises(InputError, match=r"\(and 1 more\)$"):
        load_config(config)


def test_a_site_without_climate_takes_nothing_of_the_common_one():
    sites = {"valley": {"dem": {"source": "x.tif"}, "climate": {"source": "none"}}}
    common = {"source": "daymet", "years": [2001, 2003], "lapse_tmin": 5.0}
    valley = load_config({"sites": sites, "climate": common}).sites["valley"]
    assert not valley.has_climate
    assert valley.climate.labels == []


def test_year_labels_are_years_or_the_period_of_normals():
    climate = load_config(GOOD).sites["valley"].climate
    assert climate.labels == ["1971-2000"]
    config = changed("sites/valley/climate", {**CLIMATE, "normals_period": None, "years": [2001, 2003]})
    assert load_config(config).sites["valley"].climate.labels == ["2001", "2002", "2003"]


def test_options_make_the_same_section_again():
    twelve = [3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.5, 3.4, 3.3, 3.2, 3.1]
    section = SunSettings(step=7.5, linke=twelve, shadows=False)
    given = {}
    for word in as_options(section).split():
        name, _, value = word.removeprefix("--").partition("=")
        key = name.removeprefix("no-").replace("-", "_")
        given[key] = value if value else not name.startswith("no-")
    assert check_section(SunSettings, given, "options") == section


def test_linke_may_be_the_climatology_and_albedo_a_raster():
    sun = load_config(changed("sun", {"linke": "climatology", "albedo": "maps/albedo.tif"})).sites["valley"].sun
    assert (sun.linke, sun.albedo) == ("climatology", "maps/albedo.tif")
    assert "--linke=climatology" in as_options(sun)
    assert "--albedo=maps/albedo.tif" in as_options(sun)
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors({**GOOD, "sun": {"linke": "climatology", "albedo": "maps/albedo.tif"}})) == []
    assert len(list(validator.iter_errors({**GOOD, "sun": {"linke": "hazy", "albedo": "grey"}}))) == 2


@pytest.mark.parametrize("text", ["0.2", ".2", "2e-1", "2.e-1", "0.1," * 11 + "0.1"])
def test_no_number_is_taken_for_a_path(text: str):
    assert not isinstance(check_section(SunSettings, {"albedo": text}, "options").albedo, str)


def test_embedded_default_is_valid_and_shows_every_key_in_use():
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    site = next(iter(load_config(raw).sites.values()))
    own = next(iter(raw["sites"].values()))
    shown = {name: {**raw.get(name, {}), **own.get(name, {})} for name in SECTIONS}
    for name, section in SECTIONS.items():
        settings = getattr(site, name)
        for key, field in section.model_fields.items():
            # what is not asked of this site, or has no value here, stands in the reference
            assert key in shown[name] or key in settings.unused or field.default is None, f"{name}.{key}"


def test_schema_accepts_the_embedded_default_and_refuses_unknown_keys():
    validator = jsonschema.Draft202012Validator(json_schema())
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert list(validator.iter_errors(raw)) == []
    raw["sun"]["albdo"] = 1
    assert len(list(validator.iter_errors(raw))) == 1


def test_generated_files_are_in_step_with_the_code():
    assert (ROOT / "workflow/schemas/config.schema.yaml").read_text() == as_yaml(json_schema())
    assert (ROOT / "docs/configuration.md").read_text() == reference_page()


def test_reference_has_a_meaning_for_every_parameter():
    page = reference_page()
    for section in SECTIONS.values():
        for name, field in section.model_fields.items():
            assert field.description
            assert f"| `{name}` |" in page
