"""What of a finished site is archived, what it is called, and when it is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil

import pytest

from archive.bags import WRITTEN, make_site, write
from eemt.errors import InputError
from eemt.inventory import CRATE, site_files


def test_all_that_people_keep_is_archived_with_the_crate_itself(finished_site):
    dataset = finished_site.land()
    paths = [member.path for member in dataset.members]
    assert paths == sorted([*site_files(finished_site.folder), CRATE], key=str.encode)
    for path, size, sha256 in dataset.members:
        content = (finished_site.folder / path).read_bytes()
        assert (size, sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert dataset.size == sum(member.size for member in dataset.members)
    assert dataset.mtime == WRITTEN
    assert dataset.settings == finished_site.settings


def test_tiles_are_archived_on_request(finished_site):
    without = {member.path for member in finished_site.land().members}
    dataset = finished_site.land(tiles=True)
    assert {member.path for member in dataset.members} - without == {"dem/tiles/r000c000.tif", "eemt/r000c000.nc"}
    assert dataset.tiles and dataset.identifier != finished_site.land().identifier


def test_the_same_files_have_the_same_identifier_wherever_and_whenever_they_lie(finished_site, tmp_path):
    before = finished_site.land().identifier
    assert re.fullmatch(r"ridge-[0-9a-f]{12}", before)
    other = tmp_path / "elsewhere" / "ridge"
    shutil.copytree(finished_site.folder, other)
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    assert type(finished_site)(other, finished_site.settings).land().identifier == before
    write(finished_site.folder / "summary.csv", b"variable,mean\neemt,13\n")
    finished_site.describe()
    assert finished_site.land().identifier != before


def test_a_site_without_crate_is_refused_with_what_writes_one(finished_site):
    (finished_site.folder / CRATE).unlink()
    with pytest.raises(
        InputError, match=r"ro-crate-metadata.json does not exist; `eemt crate` writes it.*outputs.crate"
    ):
        finished_site.land()


def test_missing_changed_and_unknown_files_are_refused_and_the_first_three_named(finished_site):
    folder = finished_site.folder
    (folder / "maps" / "eemt_topo_2001.tif").unlink()
    write(folder / "summary.csv", b"shorter")
    for name in ("a.txt", "b.txt", "c.txt"):
        write(folder / name, b"new")
    with pytest.raises(InputError) as refused:
        finished_site.land()
    text = str(refused.value)
    assert "a.txt (not in the crate); b.txt (not in the crate); c.txt (not in the crate); and 2 more" in text
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).unlink()
    with pytest.raises(
        InputError, match=r"eemt_topo_2001.tif \(missing\); summary.csv \(7 bytes instead of 22\); finish"
    ):
        finished_site.land()


def test_a_change_that_keeps_the_size_is_found_by_a_thorough_look(finished_site):
    write(finished_site.folder / "summary.csv", b"variable,mean\neemt,13\n")
    finished_site.land()
    with pytest.raises(InputError, match=r"summary.csv \(changed: SHA-256"):
        finished_site.land(thorough=True)


@pytest.mark.parametrize("name", ["line\nbreak.csv", "tab\there.csv", "back\\slash.csv", "return\r.csv"])
def test_names_that_do_not_last_are_refused(finished_site, name):
    write(finished_site.folder / name, b"content")
    finished_site.describe()
    with pytest.raises(InputError, match=r"has a backslash, line break or other control character; rename"):
        finished_site.land()


def test_names_that_are_no_text_are_refused(finished_site):
    write(finished_site.folder / os.fsdecode(b"latin-\xe4.csv"), b"content")
    with pytest.raises(InputError, match=r"latin-\\udce4.csv \(not in the crate\)"):
        finished_site.land()


def test_spaces_umlauts_and_percent_signs_are_fine(finished_site):
    names = {"höhen über null.csv", "a b/c d.csv", "50%.csv", "100%25.csv", "#1.csv", "it's; $(x).csv", "山.csv"}
    for name in names:
        write(finished_site.folder / name, name.encode())
    finished_site.describe()
    assert names <= {member.path for member in finished_site.land(thorough=True).members}


@pytest.mark.parametrize("name", ["../outside.csv", "/etc/hostname"])
def test_a_crate_that_leads_out_of_its_folder_is_refused(finished_site, name):
    path = finished_site.folder / CRATE
    path.write_text(path.read_text().replace('"summary.csv"', json.dumps(name)))
    with pytest.raises(InputError, match=r"is not what `eemt crate` writes"):
        finished_site.land()


@pytest.mark.parametrize("text", ["yesterday", "", "1066-10-14", "2300-01-01"])
def test_a_crate_without_a_time_is_refused(finished_site, text):
    path = finished_site.folder / CRATE
    path.write_text(path.read_text().replace("2023-11-14T22:13:20+00:00", text))
    with pytest.raises(InputError, match=r"for datePublished"):
        finished_site.land()


def test_settings_that_this_version_cannot_read_do_not_hinder(finished_site):
    path = finished_site.folder / CRATE
    path.write_text(path.read_text().replace('\\"omega\\"', '\\"omega_of_later\\"'))
    assert finished_site.land().settings is None


def test_a_site_without_climate_is_a_dataset_too(tmp_path):
    site = make_site(tmp_path / "sun" / "ridge", {"climate": {"source": "none", "years": None}})
    assert site.land().settings.has_climate is False
