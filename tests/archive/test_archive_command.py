"""`eemt archive` as it is called: what it prints, writes and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from archive.bags import FinishedSite, make_site
from archive.flow import Flow, contents, identifier_in, spans
from eemt.archive.deposit import STEPS


def test_it_prints_identifier_files_blocks_and_place(flow: Flow, finished_site: FinishedSite) -> None:
    code, said, _ = flow.archive(finished_site)
    identifier = finished_site.land().identifier
    assert code == 0
    assert re.fullmatch(
        rf"ridge: archived as {identifier}: 22 files in \d blocks, 0\.1 MB, verified in {flow.storage}\n", said
    )


def test_single_steps_print_the_identifier_too(flow: Flow, finished_site: FinishedSite) -> None:
    identifier = finished_site.land().identifier
    for step in STEPS[:-1]:
        assert flow.archive(finished_site, "--only", step)[1] == f"ridge: {step} is done of {identifier}\n"
    assert f"archived as {identifier}" in flow.archive(finished_site, "--only", "register")[1]


def test_receipts_tell_how_far_it_is(flow: Flow, finished_site: FinishedSite) -> None:
    found = {}
    for step in STEPS:
        path = flow.place / "receipts" / f"{step}.json"
        assert flow.archive(finished_site, "--only", step, "--receipt", str(path))[0] == 0
        found[step] = json.loads(path.read_text())
    blocks = len(found["pack"]["packed"])
    counts = {step: (len(told["packed"]), len(told["moved"]), len(told["verified"])) for step, told in found.items()}
    assert counts == {
        "pack": (blocks, 0, 0),
        "space": (blocks, 0, 0),
        "move": (blocks, blocks, 0),
        "verify": (blocks, blocks, blocks),
        "register": (blocks, blocks, blocks),
    }
    assert [bool(told["tagmanifest"]) for told in found.values()] == [False] * 4 + [True]
    assert found["register"] == flow.journal()


def test_the_log_has_begin_and_end_of_each_block_in_order(flow: Flow, finished_site: FinishedSite) -> None:
    _, said, err = flow.archive(finished_site)
    identifier = identifier_in(said)
    blocks = sorted(path.relative_to(flow.bag(identifier)).as_posix() for path in flow.bag(identifier).glob("data/*"))
    whose = [f"{identifier} {name}" for name in blocks]
    done = spans(err)
    assert [(span.what, span.whose) for span in done] == [
        ("space", identifier),
        *(("move", name) for name in whose),
        *(("verify", name) for name in whose),
    ]
    assert all(span.begin <= span.end for span in done)


def test_several_sites_are_archived_at_one_call(flow: Flow, finished_site: FinishedSite, tmp_path: Path) -> None:
    valley = make_site(tmp_path / "results" / "valley")
    words = flow.words(finished_site)
    words.insert(1, str(valley.folder))
    code, said, err = flow.call(*words)
    assert code == 0, err
    assert [line.partition(":")[0] for line in said.splitlines()] == ["valley", "ridge"]
    assert len(flow.finished()) == 2


def test_settings_come_from_a_config_file_and_options_come_first(
    flow: Flow, finished_site: FinishedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    kept = {"storage": str(flow.storage), "locks": str(flow.locks), "min_free_percent": 99.999, "target_size_mb": 0.03}
    (tmp_path / "config" / "config.yaml").write_text(json.dumps({"sites": {}, "archive": kept}))
    code, _, err = flow.call("archive", finished_site.folder)
    assert code == 1 and "archive.min_free_percent wants 99.999 %" in err
    code, said, err = flow.call("archive", finished_site.folder, "--min-free-percent", "0")
    assert code == 0, err
    assert flow.finished() == [identifier_in(said)]
    assert (tmp_path / "archive" / "catalogue.sqlite").exists() and (tmp_path / "archive" / "journal").is_dir()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"storage": None}, 2, "no storage is named; set archive.storage"),
        ({"storage": "ftp://somewhere/else"}, 2, "must be a folder, s3://bucket/folder or rclone:remote:folder"),
        ({"storage": "/nowhere/at/all"}, 1, "is its disk or share mounted?"),
        ({"target_size_mb": 0}, 2, "target_size_mb: is 0; must be greater than 0"),
        ({"colour": "red"}, 2, "colour"),
        ({"scicat": "https://scicat.example.org"}, 2, "there is no token; set EEMT_SCICAT_TOKEN"),
    ],
)
def test_settings_that_cannot_be_used_are_told_in_one_line_before_anything_is_done(
    flow: Flow,
    finished_site: FinishedSite,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    code: int,
    words: str,
) -> None:
    for name in ("EEMT_SCICAT_TOKEN", "EEMT_SCICAT_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    found, said, err = flow.archive(finished_site, **changes)
    told = [line for line in err.splitlines() if line.startswith("eemt archive: ")]
    assert (found, said, len(told)) == (code, "", 1) and words in told[0]
    assert "Traceback" not in err
    assert not list(flow.storage.iterdir()) and not list(flow.staging.rglob("*.*"))


def test_what_is_no_finished_site_is_refused(flow: Flow, finished_site: FinishedSite) -> None:
    for path, words in (
        (flow.place / "nothing", "does not exist"),
        (flow.place / "A B", "is not the folder of a site"),
    ):
        code, _, err = flow.call("archive", path, *flow.options())
        assert code == 2 and words in err
    (finished_site.folder / "ro-crate-metadata.json").unlink()
    code, _, err = flow.archive(finished_site)
    assert code == 2 and "`eemt crate` writes it" in err


def test_a_journal_that_cannot_be_read_is_begun_anew(flow: Flow, finished_site: FinishedSite) -> None:
    flow.archive(finished_site, "--only", "move")
    (flow.place / "work" / "journal" / "ridge.json").write_text('{"identifier": "rid')
    code, said, err = flow.archive(finished_site)
    assert code == 0, err
    flow.assert_archived(identifier_in(said), contents(finished_site.folder))


def test_a_journal_that_cannot_be_written_is_told(flow: Flow, finished_site: FinishedSite) -> None:
    (flow.place / "work").write_bytes(b"no folder")
    code, _, err = flow.archive(finished_site)
    assert code in (1, 2) and str(flow.place / "work") in err.splitlines()[-1] and "Traceback" not in err
    assert not list(flow.storage.iterdir())


def test_a_site_that_is_at_fault_keeps_none_of_the_others_back(flow: Flow, finished_site: FinishedSite) -> None:
    broken = make_site(finished_site.folder.parent / "broken")
    (broken.folder / "summary.csv").unlink()
    words = flow.words(finished_site)
    words.insert(1, str(broken.folder))
    code, said, err = flow.call(*words)
    assert code == 2
    assert f"archived as {finished_site.land().identifier}" in said
    assert err.splitlines()[-1].startswith("eemt archive: archive: ") and "summary.csv (missing)" in err


def test_a_receipt_is_of_one_site(flow: Flow, finished_site: FinishedSite) -> None:
    words = flow.words(finished_site, "--receipt", str(flow.place / "receipt.json"))
    words.insert(1, str(finished_site.folder.parent))
    code, _, err = flow.call(*words)
    assert (code, err) == (2, "eemt archive: archive: --receipt is for one site alone\n")
