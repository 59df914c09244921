"""The doctor finds what is wrong, says what to mend, and finds nothing where all is well."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from eemt.service.database import Database
from eemt.service.settings import Settings
from eemt.stages import doctor
from service.conftest import free_port
from service.records import add_user


def found(check, settings: Settings) -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in check(settings)}


def test_an_empty_machine_has_nothing_wrong(tmp_path, call, monkeypatch):
    monkeypatch.setenv("EEMT_SERVICE_PORT", str(free_port()))
    code, said, error = call("doctor", "--folder", tmp_path / "s", "--json")
    assert code == 0, said + error
    findings = {finding["subject"]: finding for finding in json.loads(said)}
    assert not [finding for finding in findings.values() if finding["state"] == "wrong"]
    assert findings["snakemake"]["said"].startswith("9.")
    assert {"workflow", "profile", "executor", "disk", "scratch", "database", "port", "clock", "Daymet"} <= set(
        findings
    )
    assert not (tmp_path / "s").exists()


def test_something_wrong_is_told_with_how_to_mend_it(tmp_path, call):
    code, said, _ = call("doctor", "--folder", tmp_path / "s", "--profile", "abacus")
    assert code == 1
    assert "wrong profile: abacus is not known" in said
    assert "to mend" in said.splitlines()[-1]


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [("echo 'main up 3'", "good", "main up 3"), ("echo 'no controller' >&2; exit 1", "wrong", "no controller")],
)
def test_a_cluster_is_asked_whether_it_answers(tmp_path, monkeypatch, settings, script, state, said):
    monkeypatch.setattr(doctor, "find_spec", lambda _: True)  # whether the plugin is installed is not what is asked
    program(tmp_path / "bin", "sinfo", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    finding = found(doctor.profile, settings.model_copy(update={"profile": "slurm"}))["executor"]
    assert finding.state == state and said in finding.said


def test_a_cluster_without_its_programs_is_told(tmp_path, monkeypatch, settings):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "config.yaml").write_text("executor: lsf\n")
    changed = settings.model_copy(update={"profile": str(own)})
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert "make setup EXTRAS=lsf" in found(doctor.profile, changed)["executor"].mend
    monkeypatch.setattr(doctor, "find_spec", lambda _: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = found(doctor.profile, changed)["executor"]
    assert finding.state == "wrong" and "lsid is not installed" in finding.said


@pytest.mark.parametrize("executor", ["eemt-slurm", "eemt-kubernetes"])
def test_executors_of_ours_need_those_that_they_build_on(tmp_path, monkeypatch, settings, executor):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "config.yaml").write_text(f"executor: {executor}\n")
    monkeypatch.setattr(doctor, "find_spec", lambda name: True if "_eemt_" in name else None)
    finding = found(doctor.profile, settings.model_copy(update={"profile": str(own)}))["executor"]
    assert finding.mend == f"make setup EXTRAS={executor.removeprefix('eemt-')}"


@pytest.mark.parametrize(
    ("lines", "state", "said"),
    [
        ("default-storage-provider: s3", "wrong", "in a bucket"),
        ("eemt-kubernetes-persistent-volumes: [claim:FOLDER]", "good", "on a volume"),
        ("eemt-kubernetes-persistent-volumes: [claim:/elsewhere]", "wrong", "claim:/elsewhere"),
        ("jobs: 2", "wrong", "there is none"),
    ],
)
def test_results_that_pods_would_leave_elsewhere_are_told(tmp_path, monkeypatch, settings, lines, state, said):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "config.yaml").write_text(f"executor: eemt-kubernetes\n{lines.replace('FOLDER', str(settings.folder))}\n")
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)  # whether the plugin is installed is not what is asked
    finding = found(doctor.profile, settings.model_copy(update={"profile": str(own)}))["results"]
    assert finding.state == state and said in finding.said


def test_an_image_that_is_not_there_is_told(tmp_path, settings):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "config.yaml").write_text("software-deployment-method: [apptainer]\n")
    changed = settings.model_copy(update={"profile": str(own), "image": str(tmp_path / "eemt.sif")})
    assert found(doctor.profile, changed)["image"].state == "wrong"


def test_too_little_disk_is_told(settings):
    finding = found(doctor.disk, settings.model_copy(update={"least_free_bytes": 10**18}))["disk"]
    assert finding.state == "wrong" and "cleanup" in finding.mend


def test_a_key_that_others_can_read_is_told(settings):
    settings.make_folders()
    assert settings.key
    assert "secret key" not in found(doctor.folders, settings)
    (settings.folder / "secret.key").chmod(0o644)
    assert found(doctor.folders, settings)["secret key"].state == "wrong"
    settings.jobs.chmod(0o755)
    assert found(doctor.folders, settings)["jobs"].state == "note"


def test_a_database_that_is_damaged_unreachable_or_anothers_is_told(settings, database: Database):
    assert "up to date" in found(doctor.database, settings)["database"].said
    database.close()
    base = settings.folder / "service.sqlite"
    whole = base.read_bytes()
    for name in ("service.sqlite-wal", "service.sqlite-shm"):
        (settings.folder / name).unlink(missing_ok=True)
    base.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    assert found(doctor.database, settings)["database"].state == "wrong"
    nobody = settings.model_copy(update={"database_url": SecretStr("postgresql+psycopg://u:hunter22@127.0.0.1:1/x")})
    finding = found(doctor.database, nobody)["database"]
    assert finding.state == "wrong" and "hunter22" not in finding.said


def test_accounts_need_an_operator_and_encryption(settings, database: Database):
    open_to_all = settings.model_copy(update={"host": "0.0.0.0"})
    wrong = found(doctor.accounts, open_to_all)
    assert (wrong["accounts"].state, wrong["encryption"].state) == ("wrong", "wrong")
    with database.session() as session:
        add_user(session, "op", role="operator", password="$argon2id$x")
    good = found(doctor.accounts, open_to_all.model_copy(update={"public_url": "https://eemt.example.org"}))
    assert good["accounts"].state == "good" and "encryption" not in good


def hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_port_of_somebody_elses_is_told_and_our_own_is_well(settings, serve):
    server = serve()
    assert "runs" in found(doctor.address, settings.model_copy(update={"port": server.port}))["port"].said
    assert "free" in found(doctor.address, settings.model_copy(update={"port": free_port()}))["port"].said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        thread = threading.Thread(target=hang_up, args=(taken,))
        thread.start()
        other = settings.model_copy(update={"port": taken.getsockname()[1]})
        assert found(doctor.address, other)["port"].state == "wrong"
        thread.join()


def test_the_file_system_is_found(tmp_path):
    assert doctor.file_system(tmp_path) not in doctor.SHARED | {"unknown"}
    assert doctor.file_system(Path("/proc/self")) == "proc"


def test_a_check_that_fails_is_a_finding(settings, monkeypatch):
    def broken(_: Settings):
        raise RuntimeError("broken")
        yield

    monkeypatch.setattr(doctor, "disk", broken)
    findings = {finding.subject: finding for finding in doctor.examine(settings)}
    assert findings["broken"].state == "wrong"
    assert "clock" in findings


def test_keys_stay_for_the_owner(settings):
    settings.make_folders()
    assert settings.key
    assert stat.S_IMODE((settings.folder / "secret.key").stat().st_mode) == 0o600
