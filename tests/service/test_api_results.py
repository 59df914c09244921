"""The API of results: files, whole and in part, and tables."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from eemt.inventory import CRATE, site_files
from eemt.service.files import disposition
from service.conftest import Finished, finish_job

PROBLEM = "application/problem+json"


def test_all_files_that_people_keep_are_listed(client: TestClient, finished: Finished):
    listing = client.get(f"{finished.address}/files").json()
    by_path = {item["path"]: item for item in listing["items"]}
    assert set(by_path) == {*site_files(finished.results), CRATE}
    for path, item in by_path.items():
        assert item["bytes"] == (finished.results / path).stat().st_size
    assert listing["bytes"] == sum(item["bytes"] for item in listing["items"])
    types = {path: item["media_type"] for path, item in by_path.items()}
    assert types["maps/eemt_topo_1971-2000.tif"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert types["dem/dem.tif"] == "image/tiff; application=geotiff"
    assert (types["summary.csv"], types["report.html"]) == ("text/csv", "text/html")
    assert by_path["report.html"]["meaning"].startswith("Report")


def test_every_listed_file_is_sent_as_it_is(client: TestClient, finished: Finished):
    for item in client.get(f"{finished.address}/files").json()["items"]:
        answer = client.get(f"{finished.address}/files/{item['path']}")
        assert answer.status_code == 200, item
        assert answer.content == (finished.results / item["path"]).read_bytes()
        assert answer.headers["content-type"].removesuffix("; charset=utf-8") == item["media_type"]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=5-99999999", 5, None)],
)
def test_a_part_of_a_file_is_sent(client: TestClient, finished: Finished, asked: str, start: int, end: int | None):
    whole = (finished.results / "summary.csv").read_bytes()
    answer = client.get(f"{finished.address}/files/summary.csv", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == whole[start:end]
    first = start % len(whole)
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


def test_a_part_beyond_the_end_is_refused(client: TestClient, finished: Finished):
    size = (finished.results / "summary.csv").stat().st_size
    answer = client.get(f"{finished.address}/files/summary.csv", headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("asked", ["bytes=9-5", "bytes=-", "lines=1-2", "bytes=0-1,4-5", "bytes=x-"])
def test_ranges_that_are_not_understood_are_answered_with_the_whole(client, finished: Finished, asked: str):
    answer = client.get(f"{finished.address}/files/summary.csv", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, (finished.results / "summary.csv").read_bytes())


def test_a_file_that_is_known_is_not_sent_again(client: TestClient, finished: Finished):
    address = f"{finished.address}/files/summary.csv"
    answer = client.get(address)
    tag, date = answer.headers["etag"], answer.headers["last-modified"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(address, headers={"If-Modified-Since": date}).status_code == 304
    head = client.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == answer.headers["content-length"]
    part = {"Range": "bytes=10-19"}
    assert client.get(address, headers={**part, "If-Range": tag}).status_code == 206
    assert client.get(address, headers={**part, "If-Range": date}).status_code == 206
    path = finished.results / "summary.csv"
    path.write_bytes(path.read_bytes() + b"\n")
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 200
    # a part of another file is not what was asked for
    assert client.get(address, headers={**part, "If-Range": tag}).status_code == 200


def test_the_report_is_shown_in_a_sandbox_and_data_is_saved(client: TestClient, finished: Finished):
    report = client.get(f"{finished.address}/files/report.html")
    assert report.headers["content-disposition"].startswith("inline")
    assert "sandbox" in report.headers["content-security-policy"]
    assert "allow-same-origin" not in report.headers["content-security-policy"]
    table = client.get(f"{finished.address}/files/summary.csv")
    assert table.headers["content-disposition"].startswith("attachment")
    saved = client.get(f"{finished.address}/files/report.html", params={"download": "true"})
    assert saved.headers["content-disposition"].startswith("attachment")


def test_names_of_saved_files_hold_no_second_header():
    assert disposition('a"b\\c\r\nX: y.csv') == (
        "attachment; filename=\"a_b_c__X: y.csv\"; filename*=UTF-8''a%22b%5Cc%0D%0AX%3A%20y.csv"
    )
    assert disposition("Übersicht.png", inline=True).startswith('inline; filename="_bersicht.png"')


@pytest.mark.parametrize(
    "path",
    [
        "%2e%2e/%2e%2e/run.log",
        "maps/%2e%2e/%2e%2e/%2e%2e/config/config.yaml",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "maps",
        "",
        ".hidden",
        "maps/.partial.tif",
        "%00",
        "summary.csv%00.html",
        "link.csv",
        "outside/run.log",
        "a" * 5000,
    ],
)
def test_no_file_is_sent_that_lies_elsewhere_or_is_hidden(client: TestClient, finished: Finished, path: str):
    (finished.folder / "run.log").write_text("secret")
    (finished.results / ".hidden").write_text("secret")
    (finished.results / "maps/.partial.tif").write_text("secret")
    (finished.results / "link.csv").symlink_to(finished.folder / "run.log")
    (finished.results / "outside").symlink_to(finished.folder)
    answer = client.get(f"{finished.address}/files/{path}")
    assert answer.status_code in {400, 404}, answer.text
    assert "secret" not in answer.text
    listing = client.get(f"{finished.address}/files").text
    assert not any(name in listing for name in ("hidden", "partial", "link.csv", "outside"))


def test_the_summary_is_that_of_the_file(client: TestClient, finished: Finished):
    with (finished.results / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    answer = client.get(f"{finished.address}/summary").json()
    assert len(answer["items"]) == len(rows)
    assert answer["following"] is None
    for ours, theirs in zip(answer["items"], rows, strict=True):
        assert (ours["variable"], ours["year"], ours["month"]) == (
            theirs["variable"],
            theirs["year"],
            int(theirs["month"]),
        )
        assert ours["mean"] == float(theirs["mean"])


def test_rows_are_chosen_and_come_in_pages(client: TestClient, finished: Finished):
    address = f"{finished.address}/summary"
    chosen = {"variable": "eemt", "method": "topo", "month": 0}
    found = client.get(address, params=chosen).json()["items"]
    assert found
    assert all((row["variable"], row["method"], row["month"]) == ("eemt", "topo", 0) for row in found)
    whole = client.get(address).json()["items"]
    paged, after = [], {}
    while True:
        page = client.get(address, params={"limit": 7, **after}).json()
        paged += page["items"]
        if page["following"] is None:
            break
        after = {"after": page["following"]}
    assert paged == whole


def test_zones_are_a_table_too(client: TestClient, finished: Finished):
    rows = client.get(f"{finished.address}/zones", params={"zone": "west", "month": 0}).json()["items"]
    assert rows
    assert {row["zone"] for row in rows} == {"west"}


@pytest.mark.parametrize("case", ["..", "../..", "/etc", "linke~9"])
def test_tables_of_cases_that_there_are_not_are_not_found(client: TestClient, finished: Finished, case: str):
    (finished.folder / "summary.csv").write_text("a\nsecret\n")
    assert client.get(f"{finished.address}/summary", params={"case": case}).status_code == 404


def test_a_job_without_results_has_empty_lists(client: TestClient, tmp_path: Path):
    (tmp_path / "nothing").mkdir()
    job = finish_job(client.app.state.service, tmp_path / "nothing", state="failed")
    assert client.get(f"{job.address}/files").json() == {"items": [], "bytes": 0}
    assert client.get(f"{job.address}/maps").json() == {"items": []}
    for path in ("summary", "zones", "bundle.tar", "files/report.html"):
        assert client.get(f"{job.address}/{path}").status_code == 404


def test_results_that_were_removed_are_gone(client: TestClient, finished: Finished):
    from eemt.service.models import Job, now

    with client.app.state.service.database.session() as session:
        session.get(Job, finished.id).removed = now()
    for path in ("files", "files/report.html", "maps", "summary", "bundle.tar", "logs", "maps/slope/legend"):
        assert client.get(f"{finished.address}/{path}").status_code == 410
    assert client.get(finished.address).json()["removed"]


def test_checksums_of_what_is_sent_are_those_of_the_crate(client: TestClient, finished: Finished):
    crate = client.get(f"{finished.address}/files/{CRATE}").json()
    known = {entity["@id"]: entity["sha256"] for entity in crate["@graph"] if "contentSize" in entity}
    sent = client.get(f"{finished.address}/files/summary.csv").content
    assert hashlib.sha256(sent).hexdigest() == known["summary.csv"]
