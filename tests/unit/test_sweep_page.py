"""What a reader of a sweep's page is promised."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from browser import DESK, PHONE, assert_fits, needs_browser
from eemt.comparison import compare
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.inventory import BESIDE
from eemt.raster import read_band
from eemt.sweep import label
from eemt.sweep_page import write_page
from sweeps import make_sweep, site

CLIMATE = {"file": "station.csv", "elevation": 1594, "latitude": 40, "longitude": -105, "years": [2001, 2006]}
SAMPLED = {
    "sun": {"linke": [2, 3, 4]},
    "climate": {"lapse_tmin": {"low": 5, "high": 8}},
    "eemt": {"omega": {"low": 2.2, "high": 3.2}},
    "samples": 16,
}


def page_of(folder, settings, name="here"):
    comparison = compare(folder, name, settings)
    write_page(folder, folder / "sweep.html", name, comparison)
    return (folder / "sweep.html").read_text(encoding="utf-8")


def text_of(html):
    body = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body).replace("\u202f", "")).replace("&#39;", "'")
    return re.sub(r" ([.,;:)])", r"\1", words)


def section(html, name):
    return html.split(f'<h2 id="{name}">')[1].split("<h2 ")[0]


def body_rows(part):
    return re.findall(r"<tr[ >].*?</tr>", part.split("<tbody>")[1].split("</tbody>")[0], flags=re.DOTALL)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    settings = site({"sun": {"linke": [2, 3, 6]}, "eemt": {"omega": [2.2, 3.2], "pet": ["penman"]}, "combine": "each"})
    folder = make_sweep(tmp_path_factory.mktemp("few"), settings)
    return folder, settings, page_of(folder, settings)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    settings = site(SAMPLED)
    folder = make_sweep(tmp_path_factory.mktemp("sampled"), settings)
    return folder, settings, page_of(folder, settings)


def test_page_loads_nothing_and_links_only_to_its_results_and_works(few, sampled):
    for _, _, html in (few, sampled):
        for address in re.findall(r'(?:src|href)="([^"]*)"', html):
            assert address.startswith(("data:image/", "#", "https://doi.org/")) or address in BESIDE
        assert "<script src" not in html and "url(" not in html and "@import" not in html


def test_page_links_back_to_the_report_and_to_what_stands_beside_it(few):
    folder, settings, html = few
    links = re.compile(r'<a href="([a-z]+\.[a-z]+)">')
    assert set(links.findall(html)) == {"summary.csv", "sweep.csv"}
    out = folder / "other.html"
    write_page(folder, out, "here", compare(folder, "here", settings), ["report.html", "catalog.json", "sweep.html"])
    assert links.findall(out.read_text())[:3] == ["report.html", "sweep.csv", "catalog.json"]
    assert 'see its <a href="report.html">report</a>' in out.read_text()


@needs_browser
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_pages_fit_a_phone_and_a_desk_and_show_their_pictures(few, sampled, tmp_path, width):
    paths = [tmp_path / f"{name}.html" for name in ("few", "sampled")]
    for path, (_, _, html) in zip(paths, (few, sampled), strict=True):
        path.write_text(html, encoding="utf-8")
    assert_fits(paths, tmp_path, width)


def test_every_picture_is_whole_and_described(sampled):
    pictures = re.findall(r'<img src="data:image/([a-z+]+);base64,([^"]+)" alt="([^"]+)"', sampled[2])
    assert len(pictures) == 4 + 2 * 2
    for kind, content, words in pictures:
        start = {"png": b"\x89PNG", "svg+xml": b"<?xml", "webp": b"RIFF"}[kind]
        assert base64.b64decode(content, validate=True).startswith(start)
        assert len(words) > 20


def test_contents_lead_to_every_part(few, sampled):
    for _, _, html in (few, sampled):
        anchors = set(re.findall(r'<h2 id="(\w+)"', html))
        assert set(re.findall(r'href="#(\w+)"', html)) == anchors
    assert "uncertainty" not in few[2].split("</nav>")[0]


def test_what_was_swept_is_told_with_ranges_and_the_sites_own(few, sampled):
    text = text_of(section(few[2], "swept"))
    assert "linke Linke turbidity of the air 2, 3 and 6 3 –" in text
    assert "omega Shape of the Zhang-Budyko curve 2.2, 2.63 and 3.2 2.63 –" in text
    assert "pet Potential evaporation of the method trad hamon and penman hamon –" in text
    assert "lapse_tmin Fall of the daily minimum temperature with height 5 to 8 6.5 K km⁻¹" in text_of(
        section(sampled[2], "swept")
    )


def test_table_has_every_case_and_method_with_the_means_of_the_maps(few):
    folder, _, html = few
    rows = body_rows(section(html, "numbers"))
    assert len(rows) == 6 * 2
    mean = np.nanmean(read_band(folder / "linke~6" / "maps" / "eemt_topo_1971-2000.tif"))
    (row,) = [row for row in rows if "<td>6</td>" in row and "TOPO" in row]
    assert f"<td>{mean:.2f}</td>" in row
    assert sum('class="own"' in row for row in rows) == 2
    assert "Of 6 cases" not in html


def test_long_tables_show_the_extremes_and_where_the_rest_is(sampled):
    folder, settings, html = sampled
    number = len(compare(folder, "here", settings).cases)
    part = section(html, "numbers")
    assert number > 60
    assert f"Of {number} cases" in text_of(part)
    assert 'href="sweep.csv"' in part
    rows = body_rows(part)
    assert len(rows) == 2 * 21
    means = compare(folder, "here", settings).means("trad", "1971-2000")
    for extreme in (min(means.values()), max(means.values())):
        assert f"<td>{extreme:.2f}</td>" in part


def test_maps_of_many_cases_are_chosen_evenly_and_the_page_says_so(sampled, few):
    assert re.search(r"Of \d+ cases, 24 are shown", text_of(section(sampled[2], "maps")))
    assert "All cases" in text_of(section(few[2], "maps"))


def test_indices_come_with_their_intervals_and_a_text_that_cites_how(sampled):
    _, settings, html = sampled
    part = section(html, "uncertainty")
    assert len(body_rows(part)) == 2 * 3
    text = text_of(section(html, "text"))
    assert "N = 16 points" in text and "N (k + 2) = 80 evaluations" in text
    for key in settings.sweep.axes:
        assert re.search(rf"\d ± 0\.\d\d \({label(key)}\)", text)
    for work in ("McKay", "Saltelli", "Sobol′", "Herman", "Iwanaga"):
        assert text.count(work) >= 2
    assert "sweep.samples than 16" in text_of(part)  # so few leave wide intervals


def test_text_without_samples_tells_what_changed_most(few):
    text = text_of(section(few[2], "text"))
    assert "with 5 further sets of parameters, each with one parameter changed" in text
    assert "The greatest change was that of omega" in text
    assert "Sobol" not in text


def test_bars_that_are_conditional_means_are_told(tmp_path):
    settings = site({"sun": {"linke": [2, 6]}, "eemt": {"omega": [2.2, 3.2]}})
    html = page_of(make_sweep(tmp_path, settings), settings)
    assert "no cases in which only this parameter differs" in html


def test_bars_of_single_cases_and_of_conditional_means_are_told_apart(tmp_path):
    settings = site({"sun": {"linke": [2, 6]}, "eemt": {"omega": [2.2, 2.63]}})
    html = page_of(make_sweep(tmp_path, settings), settings)
    assert "all others as the site has them" in html and "*: the sweep has no cases" in html


def test_years_are_told_apart_and_few_of_many_are_drawn(tmp_path):
    years = [2001, 2002, 2003, 2004, 2005]
    settings = site({"sun": {"linke": [2]}, "years": years}, climate=CLIMATE)
    html = page_of(make_sweep(tmp_path, settings, labels=tuple(map(str, years))), settings)
    assert len(body_rows(section(html, "numbers"))) == 2 * 2 * 5
    assert "Of 5 years, 2001, 2003 and 2005 are drawn" in text_of(section(html, "sensitivity"))


def test_sampled_years_have_indices_each(tmp_path):
    settings = site({"eemt": {"omega": {"low": 2, "high": 3}}, "samples": 8, "years": [2001, 2002]}, climate=CLIMATE)
    html = page_of(make_sweep(tmp_path, settings, labels=("2001", "2002")), settings)
    assert len(body_rows(section(html, "uncertainty"))) == 2 * 2


def test_mean_of_years_is_named_as_such(tmp_path):
    settings = site({"sun": {"linke": [2]}}, climate=CLIMATE)
    html = page_of(make_sweep(tmp_path, settings, labels=("2001", "mean")), settings)
    assert "on the mean of all years" in text_of(html)


def test_samples_without_effect_on_a_method_are_no_error(tmp_path):
    settings = site({"sun": {"linke": {"low": 2, "high": 4}}, "samples": 4})
    html = page_of(make_sweep(tmp_path, settings), settings)
    assert "none of the parameters changes the mean EEMT" in html


@pytest.mark.parametrize("shape", [(60, 6), (6, 60), (3, 3)])
def test_any_shape_of_site(tmp_path, shape):
    settings = site({"sun": {"linke": [2]}})
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, shape[1], shape[0])
    assert "<img" in page_of(make_sweep(tmp_path, settings, grid=grid), settings)


def test_hostile_names_are_shown_not_run(few):
    folder, settings, _ = few
    html = page_of(folder, settings, '<script>alert("x")</script>')
    assert "<script>alert" not in html and "&lt;script&gt;" in html


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_a_map_that_cannot_be_read_is_named_with_its_case(tmp_path, damage):
    settings = site({"sun": {"linke": [2]}})
    folder = make_sweep(tmp_path, settings)
    path = folder / "linke~2" / "maps" / "eemt_topo_1971-2000.tif"
    path.unlink() if damage == "missing" else path.write_bytes(b"no raster")
    with pytest.raises(InputError, match=r"compare: case linke~2: .*eemt_topo_1971-2000\.tif"):
        page_of(folder, settings)


def test_fewer_maps_are_shown_where_they_would_be_too_much_for_the_page(tmp_path, monkeypatch):
    settings = site({"eemt": {"omega": [float(value) for value in np.linspace(2, 3, 12)]}})
    grid = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 60, 60)
    folder = make_sweep(tmp_path, settings, grid=grid)
    assert "All cases" in text_of(section(page_of(folder, settings), "maps"))
    monkeypatch.setattr("eemt.sweep_page.MOST_OF_MAPS", 600_000)
    html = page_of(folder, settings)
    assert re.search(r"Of 13 cases, \d are shown", text_of(section(html, "maps")))
    assert len(html) < 1_000_000
