"""Accounts: passwords that are kept safe, wrong ones that are counted, and commands that tell nobody else."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from eemt.errors import InputError
from eemt.service import accounts
from eemt.service.accounts import check_name, check_password, log_in, neighbourhood
from eemt.service.database import Database
from eemt.service.models import Audit, FailedLogin, User
from eemt.service.problems import Problem
from eemt.service.service import Service
from eemt.service.settings import Settings
from eemt.sql import now
from service.people import PASSWORD, make_user


@pytest.fixture
def ada(database: Database) -> str:
    return make_user(database, "ada")


def refused(database: Database, settings: Settings, name: str, password: str, address: str = "192.0.2.1") -> Problem:
    with pytest.raises(Problem) as caught:
        log_in(database, settings, name, password, address)
    return caught.value


@pytest.mark.usefixtures("ada")
def test_name_and_password_let_in(database: Database, settings: Settings) -> None:
    assert log_in(database, settings, "ada", PASSWORD, "192.0.2.1").name == "ada"
    assert log_in(database, settings, " Ada ", PASSWORD, None).name == "ada"


def test_what_is_kept_of_a_password_is_argon2id(database: Database, ada: str) -> None:
    with database.reading() as session:
        kept = session.get_one(User, ada).password
    assert kept is not None
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_accents_may_be_typed_either_way(database: Database, settings: Settings) -> None:
    with database.session() as session:
        accounts.add(session, "zoe", accounts.hash_password("Zo\u00eb of the hills"))
    assert log_in(database, settings, "zoe", "Zoe\u0308 of the hills", None).name == "zoe"


def test_weaker_hashes_are_made_anew_at_the_next_login(database: Database, settings: Settings, ada: str) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with database.session() as session:
        session.get_one(User, ada).password = weak
    log_in(database, settings, "ada", PASSWORD, None)
    with database.reading() as session:
        kept = session.get_one(User, ada).password
    assert kept is not None
    assert kept != weak
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert log_in(database, settings, "ada", PASSWORD, None).name == "ada"


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong"), ("nobody", PASSWORD), ("", ""), ("ada' --", PASSWORD), ("ada\x00", PASSWORD), ("a" * 64, "")],
)
def test_wrong_names_and_passwords_get_the_same_answer(
    database: Database, settings: Settings, name: str, password: str
) -> None:
    problem = refused(database, settings, name, password)
    assert (problem.status, problem.detail) == (401, "Name or password is wrong.")


def test_names_that_are_not_there_cost_as_much_as_others(database: Database, ada: str) -> None:
    # what the password is held against in place of theirs has the same parameters
    with database.reading() as session:
        kept = session.get_one(User, ada).password or ""
    assert accounts._nobody.rsplit("$", 2)[0] == kept.rsplit("$", 2)[0]


def test_who_guesses_is_stopped_for_the_name_wherever_from(database: Database, settings: Settings, ada: str) -> None:
    del ada
    for number in range(settings.logins_a_quarter):
        assert refused(database, settings, "ada", "wrong", f"192.0.2.{number}").status == 401
    problem = refused(database, settings, "ada", PASSWORD, "198.51.100.7")
    assert problem.name == "too-many"
    assert 0 < int((problem.headers or {})["Retry-After"]) <= 901


def test_who_guesses_is_stopped_for_the_address_whatever_the_name(database: Database, settings: Settings) -> None:
    make_user(database, "ada")
    for number in range(settings.logins_a_quarter):
        assert refused(database, settings, f"user{number}", "wrong", f"2001:db8::{number}").status == 401
    assert refused(database, settings, "ada", PASSWORD, "2001:db8::ffff").name == "too-many"
    assert log_in(database, settings, "ada", PASSWORD, "2001:db8:0:1::1").name == "ada"


@pytest.mark.usefixtures("ada")
def test_the_count_outlives_a_restart_and_ends_after_a_quarter_of_an_hour(
    database: Database, settings: Settings
) -> None:
    for _ in range(settings.logins_a_quarter):
        refused(database, settings, "ada", "wrong")
    database.close()
    anew = Database(settings.database)
    assert refused(anew, settings, "ada", PASSWORD).name == "too-many"
    with anew.session() as session:
        session.execute(update(FailedLogin).values(at=now() - timedelta(minutes=16)))
    assert log_in(anew, settings, "ada", PASSWORD, "192.0.2.1").name == "ada"
    anew.close()


@pytest.mark.usefixtures("ada")
def test_a_right_password_is_not_counted(database: Database, settings: Settings) -> None:
    for _ in range(settings.logins_a_quarter + 2):
        log_in(database, settings, "ada", PASSWORD, "192.0.2.1")


@pytest.mark.usefixtures("ada")
def test_guesses_at_the_same_moment_are_counted_too(database: Database, settings: Settings) -> None:
    few = settings.model_copy(update={"logins_a_quarter": 3})
    with ThreadPoolExecutor(12) as pool:
        problems = list(pool.map(lambda number: refused(database, few, "ada", f"guess {number}").name, range(12)))
    assert problems.count("wrong-login") == 3
    assert problems.count("too-many") == 9


@pytest.mark.usefixtures("ada")
def test_failed_logins_are_in_the_audit_trail_without_the_password(database: Database, settings: Settings) -> None:
    refused(database, settings, "ada", "a wrong password")
    with database.reading() as session:
        line = session.scalars(select(Audit)).one()
    assert (line.action, line.target, line.address) == ("login.failed", "ada", "192.0.2.1")
    assert "wrong" not in str(line.detail)


@pytest.mark.parametrize(
    "name", ["", "a", "Ada", "1ada", "a b", "ada/..", "ada\n", "\u0430da", "a" * 33, "local", "-a"]
)
def test_names_that_could_be_mistaken_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="name: "):
        check_name(name)


@pytest.mark.parametrize(
    "password", ["", "short", "eleven char", "a" * 20, "abababababababab", "x" * 1025, "ada.lovelace12"]
)
def test_passwords_that_can_be_guessed_are_refused_and_not_shown(password: str) -> None:
    with pytest.raises(InputError, match="password: ") as caught:
        check_password(password, "ada.lovelace12")
    assert not password or password not in str(caught.value)


def test_addresses_count_as_their_owners_have_them() -> None:
    assert neighbourhood("192.0.2.1") == neighbourhood("::ffff:192.0.2.1") == "192.0.2.1"
    assert neighbourhood("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert neighbourhood(None) == neighbourhood("testclient") == "unknown"


def test_the_last_operator_stays(database: Database) -> None:
    olga = make_user(database, "olga", "operator")
    with database.session() as session, pytest.raises(Problem, match="only operator"):
        accounts.disable(session, session.get_one(User, olga))
    make_user(database, "otto", "operator")
    with database.session() as session:
        accounts.disable(session, session.get_one(User, olga))


def eemt(folder: Path, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eemt.cli", "account", *words, "--folder", str(folder)]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def test_accounts_are_made_and_changed_in_a_shell(tmp_path: Path) -> None:
    made = eemt(tmp_path, "add", "olga", "--operator", given=PASSWORD + "\n")
    assert (made.returncode, made.stdout) == (0, "operator olga is there\n")
    eemt(tmp_path, "add", "ada", "--quota-gb", "2.5", given=PASSWORD)
    settings = Settings(folder=tmp_path, accounts=True)
    database = Database(settings.database)
    assert log_in(database, settings, "olga", PASSWORD, None).role == "operator"

    listed = eemt(tmp_path, "list").stdout.splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [["ada", "user"], ["olga", "operator"]]
    assert listed[1].split()[3] == "2.5"

    assert eemt(tmp_path, "password", "ada", given="another long password\n").returncode == 0
    assert log_in(database, settings, "ada", "another long password", None).name == "ada"

    token = eemt(tmp_path, "token", "ada", "--for", "notebook", "--days", "2")
    assert token.stdout.startswith("eemt_")
    assert "lasts until" in token.stderr

    assert eemt(tmp_path, "disable", "ada").returncode == 0
    assert "disabled" in eemt(tmp_path, "list").stdout
    assert refused(database, settings, "ada", "another long password").status == 401
    assert eemt(tmp_path, "enable", "ada").returncode == 0
    assert log_in(database, settings, "ada", "another long password", None).name == "ada"
    database.close()


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (("add", "olga"), PASSWORD, "there is olga already"),
        (("add", "Olga!"), PASSWORD, "cannot be one"),
        (("add", "local"), PASSWORD, "one user of a service without accounts"),
        (("add", "ben"), "short", "at least 12"),
        (("add", "ben"), "", "at least 12"),
        (("password", "nobody"), PASSWORD, "there is no 'nobody'"),
        (("disable", "olga"), "", "only operator"),
        (("token", "olga", "--days", "1000"), "", "not between 0 and 90"),
        (("token", "olga", "--for", ""), "", "1 to 64 characters"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    database: Database, settings: Settings, words: tuple[str, ...], given: str, said: str
) -> None:
    make_user(database, "olga", "operator")
    done = eemt(settings.folder, *words, given=given)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not given or given not in done.stdout + done.stderr


def test_no_command_takes_a_password_as_argument() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eemt.cli", "account", "add", "--help"], capture_output=True, text=True, check=True
    )
    assert "--password" not in done.stdout


@pytest.mark.parametrize(
    "given",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "maps.example.org"},
        {"public_url": "https://maps.example.org"},
        {"trusted_hosts": ("maps.example.org",)},
    ],
)
def test_whoever_can_be_reached_by_others_has_accounts(tmp_path: Path, given: dict[str, Any]) -> None:
    assert Settings(folder=tmp_path, **given).with_accounts
    with pytest.raises(ValueError, match="needs accounts"):
        Settings(folder=tmp_path, accounts=False, **given)


@pytest.mark.parametrize("given", [{}, {"host": "::1"}, {"host": "localhost", "public_url": "http://localhost:8420"}])
def test_one_user_of_this_machine_needs_no_account(tmp_path: Path, given: dict[str, Any]) -> None:
    assert not Settings(folder=tmp_path, **given).with_accounts


def test_a_service_for_others_does_not_start_without_an_account(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, host="0.0.0.0")
    service = Service(settings)
    with pytest.raises(InputError, match="eemt account add NAME --operator"):
        service.start()
    service.database.close()
    command = [sys.executable, "-m", "eemt.cli", "serve", "--host", "0.0.0.0", "--port", "0", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "eemt account add NAME --operator" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_one_user_of_a_service_without_accounts_has_no_login_and_no_token(tmp_path: Path) -> None:
    alone = Settings(folder=tmp_path)
    alone.make_folders()
    database = Database(alone.database)
    database.upgrade()
    accounts.prepare(alone, database)
    accounts.prepare(alone, database)
    make_user(database, "ada")
    assert refused(database, alone, "local", "").status == 401
    done = eemt(tmp_path, "token", "local")
    assert "worth nothing" in done.stderr
    database.close()


def test_a_database_that_is_away_is_no_wrong_password(database: Database, settings: Settings) -> None:
    database.close()
    (settings.folder / "service.sqlite").unlink()
    with pytest.raises(SQLAlchemyError):
        log_in(database, settings, "ada", PASSWORD, None)
