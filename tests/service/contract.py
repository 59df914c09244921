"""What the API's description promises, held against a service by Schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from eemt.service.database import Database
from eemt.service.models import User
from eemt.service.settings import PREFIX, Settings
from service.conftest import Server
from service.people import PASSWORD, make_user
from service.records import add_job, add_upload

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# the first would end the sign-in that all stands on, the second is a stream that has no end
LEFT_OUT = ("--exclude-operation-id", "end_session_api_v1_session_delete", "--exclude-path", "/api/v1/events")


def serve_described(folder: Path) -> Server:
    """Serve a group, of which the operator olga has an upload and jobs, in a process of its own, with an archive."""
    settings = Settings(folder=folder)
    settings.make_folders()
    database = Database(settings.database)
    database.upgrade()
    make_user(database, "ada")
    olga = make_user(database, "olga", "operator")
    with database.session() as session:
        user = session.get_one(User, olga)
        upload = add_upload(session, settings, user)
        add_job(session, settings, user, "completed", uploads=(upload,))
        add_job(session, settings, user, "failed", message="why")
    database.close()
    storage, config = folder.with_name("storage"), folder.with_name("archive.yaml")
    storage.mkdir()
    config.write_text(f"archive: {{storage: {storage}, locks: {folder.with_name('locks')}}}\n")
    names = {"ACCOUNTS": "true", "ARCHIVE": str(config), "REQUESTS_A_MINUTE": "1000000", "LOGINS_A_QUARTER": "1000000"}
    return Server(folder, {PREFIX + name: value for name, value in names.items()}).start()


def differences(server: Server, folder: Path, examples: int, phases: str, seconds: int) -> str | None:
    """Ask the service all that its description allows, and much that it does not; return what was not as described.

    Parameters
    ----------
    folder : path
        To work in.
    examples : int
        Of requests made up for each operation, beside those that follow from its description.
    seconds : int
        Until it is given up as hung.
    """
    with httpx.Client(base_url=server.address, timeout=60) as client:
        signed_in = client.post("/api/v1/session", json={"name": "olga", "password": PASSWORD})
        signed_in.raise_for_status()
        cookie, csrf = client.cookies["eemt"], signed_in.json()["csrf"]
    folder.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.address}/api/v1/openapi.json"]
    command += ["--header", f"Cookie: eemt={cookie}", "--header", f"X-CSRF-Token: {csrf}", *LEFT_OUT]
    command += ["--phases", phases, "--max-examples", str(examples), "--checks", ",".join(CHECKS)]
    command += ["--generation-deterministic", "--generation-with-security-parameters", "false"]
    command += ["--continue-on-failure", "--no-shrink", "--warnings", "off", "--no-color"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    return None if done.returncode == 0 else done.stdout[-8000:] + done.stderr[-2000:]
