"""Registering with SciCat, at a server that speaks its REST API."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from scitacean import ScicatCommError, model
from scitacean.client import ScicatClient

from archive import scicat_server
from archive.scicat_server import SciCat
from eemt.archive.blocks import Block, Member, Packed
from eemt.archive.errors import StorageError
from eemt.archive.record import Record, Source
from eemt.archive.scicat import Scicat, open_scicat
from eemt.config import ArchiveSettings
from eemt.errors import InputError

IDENTIFIER = "valley-0a1b2c3d4e5f"
PATIENCE = 20.0  # seconds
STATES = ["archivable", "retrievable", "archiveStatusMessage"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SciCat]:
    with scicat_server.running() as scicat:
        monkeypatch.setenv("EEMT_SCICAT_TOKEN", scicat.token())
        monkeypatch.delenv("EEMT_SCICAT_TOKEN_FILE", raising=False)
        monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", str(PATIENCE))
        yield scicat


@pytest.fixture(params=["v3", "v4"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(server: SciCat, version: str = "v4", **others: Any) -> ArchiveSettings:
    values = {"scicat": server.address, "scicat_version": version, "contact": "maps@example.org", **others}
    return ArchiveSettings(storage="s3://keep/maps", **values)


def opened(server: SciCat, version: str = "v4", **others: Any) -> Scicat:
    scicat = open_scicat(settings(server, version, **others))
    assert scicat is not None
    return scicat


def members(count: int, start: int = 0) -> tuple[Member, ...]:
    return tuple(Member(f"maps/eemt_{at:05}.tif", 1000 + at, f"{at:064x}") for at in range(start, start + count))


BLOCKS = [Block("data/0001.tar", members(3)), Block("data/0002.tar", members(2, 3))]
PACKED = [Packed("data/0001.tar", 12_288, "a" * 64), Packed("data/0002.tar", 9216, "b" * 64)]
BYTES = 5 * 1000 + 10


def record(**others: Any) -> Record:
    values: dict[str, Any] = {
        "identifier": IDENTIFIER,
        "site": "valley",
        "title": "EEMT of valley",
        "description": "Maps of a valley",
        "created": "2026-11-21T10:00:00+00:00",
        "bbox": (-105.4, 40.0, -105.3, 40.1),
        "period": (1991, 2020),
        "kind": "eemt",
        "methods": ("topo", "vegetation"),
        "parameters": {"sun.day_step": 7, "eemt.methods": ["topo"], "zones.names": {"a.b": 1, "$c": 2}},
        "versions": {"eemt": "0.1.0", "scikit.thing": "1.2"},
        "licence": "CC-BY-4.0",
        "publisher": "Institute of Valleys",
        "creators": ("Müller, Ada", "Rossi, Bo"),
        "contact": None,
        "files": 5,
        "bytes": BYTES,
        "tiles": False,
        "program": "eemt 0.1.0",
        "sources": (Source(name="dem.tif"), Source(name="Normals", url="https://example.org/normals")),
        **others,
    }
    return Record(**values)


def archive(scicat: Scicat) -> str:
    pid = scicat.register(record(), BLOCKS)
    scicat.archiving(pid)
    scicat.datablocks(pid, PACKED)
    scicat.archived(pid)
    return pid


def only(server: SciCat) -> dict[str, Any]:
    assert len(server.datasets) == 1
    return next(iter(server.datasets.values()))


def assert_complete(server: SciCat) -> None:
    dataset = only(server)
    assert (dataset["numberOfFiles"], dataset["size"]) == (5, BYTES)
    assert (dataset["numberOfFilesArchived"], dataset["packedSize"]) == (5, 21_504)
    listed = [one["path"] for files in server.orig_datablocks for one in files["dataFileList"]]
    assert listed == [member.path for block in BLOCKS for member in block.members]
    assert [one["archiveId"] for one in server.datablocks] == [f"{IDENTIFIER}/{one.name}" for one in PACKED]
    assert [dataset["datasetlifecycle"][name] for name in STATES] == [False, True, "datasetOnArchiveDisk"]


def test_site_without_scicat_has_none() -> None:
    assert open_scicat(ArchiveSettings()) is None


def test_dataset_is_registered_with_its_files_blocks_and_description(server: SciCat, version: str) -> None:
    pid = archive(opened(server, version, scicat_access_groups=["guests"]))
    assert_complete(server)
    dataset = only(server)
    assert pid == dataset["pid"] and "/" in pid
    assert (dataset["type"], dataset["datasetName"], dataset["license"]) == ("derived", "EEMT of valley", "CC-BY-4.0")
    assert (dataset["ownerGroup"], dataset["accessGroups"]) == ("eemt", ["guests"])
    assert dataset["owner"] == "Müller, Ada; Rossi, Bo"
    assert dataset["keywords"] == [IDENTIFIER, "valley", "eemt", "topo", "vegetation"]
    assert dataset["sourceFolder"] == f"/keep/maps/{IDENTIFIER}"
    assert dataset["inputDatasets"] == ["dem.tif", "https://example.org/normals"]
    assert dataset["usedSoftware"] == ["eemt 0.1.0"]
    told = dataset["scientificMetadata"]
    assert told["parameters"]["sun"] == {"day_step": 7}
    assert told["parameters"]["zones"] == {"names": {"a_b": 1, "_c": 2}}  # as MongoDB takes them
    assert told["versions"] == {"eemt": "0.1.0", "scikit_thing": "1.2"}
    assert told["bounds"]["west"] == {"value": -105.4, "unit": "deg"}
    assert told["years"] == {"first": 1991, "last": 2020}


def test_people_are_a_list_in_version_4_and_a_text_in_version_3(server: SciCat) -> None:
    opened(server, "v4").register(record(), BLOCKS)
    assert only(server)["principalInvestigators"] == ["Müller, Ada", "Rossi, Bo"]
    server.datasets.clear()
    opened(server, "v3").register(record(), BLOCKS)
    assert only(server)["investigator"] == "Müller, Ada; Rossi, Bo"


def test_each_file_has_size_time_and_sha256(server: SciCat, version: str) -> None:
    archive(opened(server, version))
    for one in (server.orig_datablocks[0], server.datablocks[0]):
        assert one["chkAlg"] == "sha256"
        first = one["dataFileList"][0]
        assert (first["path"], first["size"], first["chk"]) == BLOCKS[0].members[0]
        assert first["time"].startswith("2026-11-21T10:00:00")
    assert (server.datablocks[1]["size"], server.datablocks[1]["packedSize"]) == (2007, 9216)


def test_requests_go_to_the_addresses_of_the_version(server: SciCat, version: str) -> None:
    pid = archive(opened(server, version)).replace("/", "%2F")
    posted = [one.path for one in server.asked("POST")]
    assert (
        posted
        == {
            "v3": [
                "/api/v3/datasets",
                f"/api/v3/datasets/{pid}/origdatablocks",
                *[f"/api/v3/datasets/{pid}/datablocks"] * 2,
            ],
            "v4": ["/api/v4/datasets", "/api/v4/origdatablocks", *["/api/v3/datablocks"] * 2],
        }[version]
    )
    changes = {(one.path, one.headers["content-type"]) for one in server.asked("PATCH")}
    assert (
        changes
        == {
            "v3": {(f"/api/v3/datasets/{pid}", "application/json")},
            "v4": {(f"/api/v4/datasets/{pid}/datasetlifecycle", "application/merge-patch+json")},
        }[version]
    )


def test_the_server_of_these_tests_speaks_with_scicats_own_client(server: SciCat) -> None:
    login = {"url": f"{server.address}/api/v3", "username": "archiver", "password": "aman"}
    client = ScicatClient.from_credentials(**login, allow_http=True)
    described = model.UploadDataset(
        contactEmail="maps@example.org",
        creationTime="2026-11-21T10:00:00Z",
        datasetName="of a person",
        owner="Ada",
        ownerGroup="eemt",
        sourceFolder="/somewhere",
        type="derived",
        keywords=["by hand"],
    )
    made = client.create_dataset_model(described)
    file = model.UploadDataFile(path="a.tif", size=7, time="2026-11-21T10:00:00Z")
    client.create_orig_datablock(model.UploadOrigDatablock(datasetId=made.pid, dataFileList=[file], size=7))
    assert made.pid is not None
    assert client.get_dataset_model(made.pid).numberOfFiles == 1
    assert [found.pid for found in client.query_datasets({"keywords": ["by hand"]})] == [made.pid]
    with pytest.raises(ScicatCommError, match=r"400 Bad Request.*contactEmail must be"):
        client.create_dataset_model(described.model_copy(update={"contactEmail": "nobody"}))


@pytest.mark.parametrize("ending", ["", "/", "/api", "/api/v3", "/api/v4/"])
def test_address_may_be_of_scicat_or_of_its_api(server: SciCat, ending: str) -> None:
    archive(opened(server, scicat=server.address + ending))
    assert_complete(server)


def test_states_come_in_the_order_of_archiving_and_retrieval(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = archive(scicat)
    scicat.retrieving(pid)
    scicat.retrieved(pid)
    names = [*STATES, "retrieveStatusMessage", "retrieveIntegrityCheck"]
    assert [[state[name] for name in names] for _, state in server.history] == [
        [False, False, "started", "", False],
        [False, True, "datasetOnArchiveDisk", "", False],
        [False, True, "datasetOnArchiveDisk", "started", False],
        [False, True, "datasetOnArchiveDisk", "datasetRetrieved", True],
    ]


@pytest.mark.parametrize(("fault", "word"), [("user", "missingFilesError"), ("system", "scheduleArchiveJobFailed")])
def test_failure_says_whose_it_is_and_why(server: SciCat, version: str, fault: Any, word: str) -> None:
    scicat = opened(server, version)
    pid = scicat.register(record(), BLOCKS)
    scicat.archiving(pid)
    scicat.failed(pid, fault, "maps/eemt.tif changed")
    state = only(server)["datasetlifecycle"]
    assert [state[name] for name in STATES] == [False, False, word]
    assert state["archiveReturnMessage"] == {"message": "maps/eemt.tif changed"}


def test_failed_retrieval_leaves_the_dataset_retrievable(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = archive(scicat)
    scicat.retrieving(pid)
    scicat.retrieval_failed(pid, "data/0002.tar is not what was written")
    state = only(server)["datasetlifecycle"]
    assert (state["retrievable"], state["retrieveStatusMessage"]) == (True, "datasetRetrievalFailed")
    assert state["retrieveReturnMessage"] == {"message": "data/0002.tar is not what was written"}


def test_archiving_that_succeeds_after_a_failure_clears_its_message(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    scicat.failed(scicat.register(record(), BLOCKS), "system", "the disk was full")
    archive(scicat)
    assert_complete(server)
    assert "full" not in json.dumps(only(server)["datasetlifecycle"])


def test_what_others_set_in_the_lifecycle_stays(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = scicat.register(record(), BLOCKS)
    only(server)["datasetlifecycle"]["publishable"] = True
    scicat.archiving(pid)
    assert only(server)["datasetlifecycle"]["publishable"] is True


def test_registering_again_changes_nothing(server: SciCat, version: str) -> None:
    first = archive(opened(server, version))
    before = len(server.asked("POST"))
    assert archive(opened(server, version)) == first
    assert len(server.asked("POST")) == before
    assert_complete(server)


def test_the_same_state_twice_is_done(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = archive(scicat)
    scicat.archived(pid)
    assert_complete(server)


def test_dataset_is_found_by_its_identifier(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    assert scicat.find(IDENTIFIER) is None
    assert archive(scicat) == scicat.find(IDENTIFIER)
    other = scicat.register(record(identifier="valley-ffffffffffff"), BLOCKS[:1])
    assert other != scicat.find(IDENTIFIER)


def test_first_of_two_datasets_with_one_identifier_is_taken(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = archive(scicat)
    server.datasets["20.500.11935/0"] = {**server.datasets[pid], "pid": "20.500.11935/0", "createdAt": "2999-01-01"}
    assert scicat.find(IDENTIFIER) == pid


def test_dataset_whose_identifier_begins_alike_is_another(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = scicat.register(record(), BLOCKS)
    server.datasets[pid + "0"] = {**only(server), "pid": pid + "0", "datasetlifecycle": {}, "createdAt": "0"}
    scicat.archiving(pid)
    assert server.datasets[pid]["datasetlifecycle"]["archiveStatusMessage"] == "started"
    assert server.datasets[pid + "0"]["datasetlifecycle"] == {}


@pytest.mark.parametrize("words", ["datasets", "origdatablocks", "datablocks"])
@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, the answer lost"])
def test_run_that_was_cut_off_is_finished_by_the_next(server: SciCat, version: str, words: str, after: bool) -> None:
    server.trouble("POST", words, status=0, times=1000, after=after)
    scicat = opened(server, version)
    scicat.api.patience = 0.0
    with pytest.raises(StorageError, match="cannot be reached"):
        archive(scicat)
    server.troubles.clear()
    archive(opened(server, version))
    assert_complete(server)


@pytest.mark.parametrize("words", ["datasets", "origdatablocks", "datablocks"])
def test_connection_that_breaks_after_the_deed_makes_nothing_double(server: SciCat, version: str, words: str) -> None:
    server.trouble("POST", words, status=0, times=3, after=True)
    archive(opened(server, version))
    assert_complete(server)


def test_server_that_is_restarted_in_the_middle_is_waited_for(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    scicat.register(record(), BLOCKS)
    server.stop()
    later = threading.Timer(0.3, server.start)
    later.start()
    archive(scicat)
    later.join()
    assert_complete(server)


def test_server_that_stays_away_is_gone(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = scicat.register(record(), BLOCKS)
    server.stop()
    scicat.api.patience = 0.2
    with pytest.raises(StorageError, match=r"cannot be reached .*; tried for 0\.2 s, run again later") as caught:
        scicat.archiving(pid)
    assert caught.value.kind == "gone"
    server.start()
    archive(opened(server, version))
    assert_complete(server)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_passing_fault_is_tried_again(server: SciCat, version: str, status: int) -> None:
    for verb in ("GET", "POST", "PATCH"):
        server.trouble(verb, "", status=status, times=2)
    archive(opened(server, version))
    assert_complete(server)


def test_lasting_fault_ends_with_patience(server: SciCat, version: str) -> None:
    server.trouble("GET", "", status=500, times=10_000)
    scicat = opened(server, version)
    scicat.api.patience = 0.5
    with pytest.raises(StorageError, match=r"answers 500 Internal server error to GET .*; tried for 0\.5 s") as caught:
        archive(scicat)
    assert caught.value.kind == "gone"
    assert len(server.seen) > 1


def test_slow_answer_is_not_waited_for_beyond_patience(
    server: SciCat, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EEMT_ARCHIVE_PATIENCE", "0.2")
    server.trouble("GET", "", slow=1.0, times=10)
    with pytest.raises(StorageError, match=r"did not answer within 0\.2 s") as caught:
        archive(opened(server, version))
    assert caught.value.kind == "gone"


def test_slow_answer_to_what_was_done_makes_nothing_double(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    scicat.api.answer = 1.0
    server.trouble("POST", "", status=0, slow=2.0, after=True)
    archive(scicat)
    assert_complete(server)


def test_server_says_how_long_to_wait(server: SciCat) -> None:
    server.trouble("GET", "", status=503, headers={"Retry-After": "when it suits"})
    server.trouble("GET", "", status=429, headers={"Retry-After": "1"})
    start = time.monotonic()
    archive(opened(server))
    assert time.monotonic() - start >= 1
    assert_complete(server)


@pytest.mark.parametrize("wish", ["3600", formatdate(4e9, usegmt=True)])
def test_wish_to_wait_beyond_patience_ends_at_once(server: SciCat, wish: str) -> None:
    server.trouble("GET", "", status=503, headers={"Retry-After": wish})
    with pytest.raises(StorageError, match=r"asks to wait \d+ s"):
        archive(opened(server))
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token_says_what_to_renew(server: SciCat, version: str, status: int) -> None:
    server.trouble("GET", "", status=status)
    with pytest.raises(StorageError, match="renew EEMT_SCICAT_TOKEN") as caught:
        archive(opened(server, version))
    assert caught.value.kind == "denied"
    assert len(server.seen) == 1


def test_token_that_no_longer_holds_is_denied(server: SciCat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EEMT_SCICAT_TOKEN", server.token() + "x")
    with pytest.raises(StorageError, match=r"\(401 Unauthorized\).*renew EEMT_SCICAT_TOKEN"):
        archive(opened(server))


def test_expired_token_is_not_even_sent(server: SciCat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EEMT_SCICAT_TOKEN", server.token(seconds=-60))
    with pytest.raises(StorageError, match=r"has expired .*; renew EEMT_SCICAT_TOKEN") as caught:
        opened(server)
    assert caught.value.kind == "denied"
    assert server.seen == []


def test_token_of_a_file_may_be_renewed_in_the_middle(
    server: SciCat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    monkeypatch.delenv("EEMT_SCICAT_TOKEN")
    monkeypatch.setenv("EEMT_SCICAT_TOKEN_FILE", str(path))
    path.write_text(server.token() + "\n")
    scicat = opened(server)
    pid = scicat.register(record(), BLOCKS)
    path.write_text(server.token(seconds=-60))
    with pytest.raises(StorageError, match="renew EEMT_SCICAT_TOKEN_FILE"):
        scicat.archiving(pid)
    path.write_text(server.token())
    archive(scicat)
    assert_complete(server)


def test_group_that_the_user_is_not_in_is_denied(server: SciCat, version: str) -> None:
    with pytest.raises(StorageError, match=r"\(403 Unauthorized .*archive\.scicat_owner_group") as caught:
        archive(opened(server, version, scicat_owner_group="others"))
    assert caught.value.kind == "denied"
    assert server.datasets == {}


def test_dataset_that_was_removed_is_gone(server: SciCat, version: str) -> None:
    scicat = opened(server, version)
    pid = scicat.register(record(), BLOCKS)
    server.datasets.clear()
    with pytest.raises(StorageError, match=pid if version == "v3" else "404") as caught:
        scicat.archiving(pid)
    assert caught.value.kind == "gone"
    with pytest.raises(StorageError):
        scicat.datablocks(pid, PACKED)


def test_address_that_is_no_scicat_is_said(server: SciCat, version: str) -> None:
    server.trouble("GET", "", status=404)
    with pytest.raises(StorageError, match=r"archive\.scicat and archive\.scicat_version"):
        archive(opened(server, version))
    server.trouble("GET", "", status=200, message="<html>Welcome</html>")
    with pytest.raises(StorageError, match="something else than JSON"):
        archive(opened(server, version))


def test_changed_file_list_is_not_taken_for_ours(server: SciCat, version: str) -> None:
    archive(opened(server, version))
    server.orig_datablocks[0]["dataFileList"][1]["chk"] = "f" * 64
    with pytest.raises(StorageError, match=r"maps/eemt_00001\.tif with another size or checksum") as caught:
        archive(opened(server, version))
    assert caught.value.kind == "corrupt"


def test_datablock_of_another_size_is_not_taken_for_ours(server: SciCat, version: str) -> None:
    archive(opened(server, version))
    server.datablocks[1]["packedSize"] += 1
    with pytest.raises(StorageError, match=r"data/0002\.tar of 9217 bytes, not 9216") as caught:
        archive(opened(server, version))
    assert caught.value.kind == "corrupt"


def test_name_of_a_datablock_that_another_dataset_has_is_refused(server: SciCat, version: str) -> None:
    archive(opened(server, version))
    server.datablocks[0]["datasetId"] = "20.500.11935/other"
    scicat = opened(server, version)
    scicat.api.patience = 0.0
    # version 3 has only 500 to say of it
    with pytest.raises(StorageError, match="has, but does not show" if version == "v4" else "500"):
        archive(scicat)


def test_what_scicat_finds_fault_with_is_the_users_error(server: SciCat, version: str) -> None:
    server.trouble("POST", "datasets", status=400, message="PID is not following required standards")
    with pytest.raises(InputError, match=r"does not take POST .*PID is not following required standards"):
        archive(opened(server, version))


def test_what_scicat_would_refuse_is_not_sent(server: SciCat, version: str) -> None:
    with pytest.raises(InputError, match="SciCat would not take creationTime ''"):
        opened(server, version).register(record(created=""), BLOCKS)
    with pytest.raises(InputError, match=r"SciCat would not take contactEmail 'a@b\.c_d'"):
        opened(server, version, contact="a@b.c_d").register(record(), BLOCKS)
    assert server.asked("POST") == []


def test_request_that_is_too_large_says_what_to_do(server: SciCat, version: str) -> None:
    server.trouble("POST", "datablocks", status=413)
    with pytest.raises(StorageError, match=r"\(413 Payload Too Large\).*archive\.target_size_mb") as caught:
        archive(opened(server, version))
    assert caught.value.kind == "denied"


def test_many_files_go_in_requests_that_proxies_let_through(server: SciCat, version: str) -> None:
    opened(server, version).register(record(), [Block("data/0001.tar", members(10_000))])
    sizes = [len(json.dumps(one.body)) for one in server.asked("POST", "origdatablocks")]
    assert len(sizes) == 3 and max(sizes) < 1_000_000
    assert only(server)["numberOfFiles"] == 10_000


def test_redirect_to_another_host_is_not_followed(server: SciCat, version: str) -> None:
    with scicat_server.running() as other:
        for status in (301, 307, 308):
            server.trouble("GET", "", status=status, headers={"Location": f"http://localhost:{other.port}/api/v4"})
            with pytest.raises(StorageError, match="redirects to localhost"):
                archive(opened(server, version))
        assert other.seen == []


def test_token_would_not_be_sent_in_the_clear(server: SciCat) -> None:
    with pytest.raises(InputError, match="must begin with https://"):
        opened(server, scicat="http://scicat.example.org")


@pytest.mark.parametrize(
    ("token", "words"), [("", "there is no token; set EEMT_SCICAT_TOKEN"), ("two words", "holds no token")]
)
def test_site_with_scicat_needs_a_token(
    server: SciCat, token: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EEMT_SCICAT_TOKEN", token)
    with pytest.raises(InputError, match=words) as caught:
        opened(server)
    assert "two words" not in str(caught.value)


def test_token_file_that_cannot_be_read_is_named(server: SciCat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EEMT_SCICAT_TOKEN")
    monkeypatch.setenv("EEMT_SCICAT_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(InputError, match=r"/nowhere/token, named by EEMT_SCICAT_TOKEN_FILE, cannot be read"):
        opened(server)


def test_registering_needs_a_contact(server: SciCat) -> None:
    with pytest.raises(InputError, match=r"archive\.contact"):
        opened(server, contact=None).register(record(), BLOCKS)
    assert server.asked("POST") == []


def test_client_that_is_not_installed_is_named(server: SciCat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "eemt.archive.scicat_api", raising=False)
    monkeypatch.setitem(sys.modules, "scitacean", None)
    with pytest.raises(InputError, match=r"scitacean is not installed; .*eemt\[archive\]"):
        opened(server)


def test_token_is_in_no_log_message_or_address(
    server: SciCat, version: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = server.token()
    monkeypatch.setenv("EEMT_SCICAT_TOKEN", token)
    messages = []
    with caplog.at_level(logging.DEBUG):
        scicat = opened(server, version)
        archive(scicat)
        for status in (400, 401, 404, 405):
            server.trouble("GET", "", status=status, message=f"no user has {token}")
            with pytest.raises((StorageError, InputError)) as caught:
                archive(scicat)
            messages.append(repr(caught.value))
    assert len(messages) == 4 and "no user has ***" in messages[0]
    told = [*messages, repr(scicat.api.token), str(scicat.api.token), repr(vars(scicat.api)), caplog.text]
    asked = [one.path + one.query + json.dumps(one.body) for one in server.seen]
    assert not [one for one in told + asked if token in one or token.split(".")[2] in one]
    assert all(one.headers["authorization"] == f"Bearer {token}" for one in server.seen)


@pytest.mark.parametrize(
    ("storage", "folder"),
    [("/mnt/keep", "/mnt/keep"), ("s3://bucket", "/bucket"), ("rclone:tape:far/away", "/far/away"), (None, "")],
)
def test_source_folder_is_where_the_bag_lies(server: SciCat, storage: str | None, folder: str) -> None:
    scicat = opened(server)
    scicat.settings = scicat.settings.model_copy(update={"storage": storage})
    scicat.register(record(), BLOCKS)
    assert only(server)["sourceFolder"] == f"{folder}/{IDENTIFIER}"
