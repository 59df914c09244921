"""The service's commands: what can be asked; what is done stands in ``eemt.stages``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def _serve(command: argparse.ArgumentParser) -> None:
    """Start the web service: submit, watch, look at and download jobs in a browser or by its API."""
    command.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, metavar="N", help="port to listen on (default: 8420)")
    command.add_argument("--folder", type=Path, metavar="DIR", help="folder of database, uploads and jobs")
    command.add_argument("--profile", metavar="NAME", help="Snakemake profile that jobs run with (default: local)")


def _folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("--folder", type=Path, metavar="DIR", help="folder of the service (default: of its settings)")


def _cleanup(command: argparse.ArgumentParser) -> None:
    """Remove what the web service keeps no longer: files of old jobs, unused uploads, old records of who did what."""
    _folder(command)
    command.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _backup(command: argparse.ArgumentParser) -> None:
    """Write a backup of the web service, which may run meanwhile."""
    command.add_argument("out", type=Path, metavar="OUT", help="tar file to write; .tar.gz is compressed")
    _folder(command)
    command.add_argument("--with-uploads", action="store_true", help="with all uploaded files")
    command.add_argument("--with-results", action="store_true", help="with the results of all finished jobs")


def _restore(command: argparse.ArgumentParser) -> None:
    """Put a backup of the web service back; the service must not run."""
    command.add_argument("source", type=Path, metavar="FROM", help="tar file that `eemt backup` wrote")
    _folder(command)
    command.add_argument("--check", action="store_true", help="only compare the backup with its checksums")
    command.add_argument("--force", action="store_true", help="put what is in the folder and database aside")


def _doctor(command: argparse.ArgumentParser) -> None:
    """Look whether the web service has what it needs here, and say what to mend."""
    _folder(command)
    command.add_argument("--profile", metavar="NAME", help="Snakemake profile that jobs run with (default: local)")
    command.add_argument("--json", action="store_true", help="as JSON")


def _account(command: argparse.ArgumentParser) -> None:
    """Make and change the accounts of the web service, which may run meanwhile."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str, of_one: bool = True) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if of_one:
            made.add_argument("name", metavar="NAME", help="name of the account")
        _folder(made)
        return made

    asked = "the password is asked for in the terminal, or is the first line of standard input"
    add = action("add", f"make an account; {asked}")
    add.add_argument("--operator", action="store_true", help="let it see and change everything, accounts included")
    add.add_argument("--quota-gb", type=float, metavar="GB", help="disk that it may fill (default: of the settings)")
    action("list", "list all accounts", of_one=False)
    action("password", f"give an account another password, which signs it out everywhere; {asked}")
    action("disable", "let an account in no more, at once; its jobs and results stay")
    action("enable", "let a disabled account in again, with new tokens only")
    token = action("token", "make an API token and write it to standard output")
    token.add_argument("--for", dest="label", default="command line", metavar="WHAT", help="what it is for")
    token.add_argument("--days", type=float, metavar="N", help="how long it lasts (default, and at most: settings)")


def _submit(command: argparse.ArgumentParser) -> None:
    """Run a config on the web service: upload the files that it names, and submit a job; prints its identifier."""
    command.add_argument("config", type=Path, metavar="CONFIG", help="such as config/config.yaml")
    command.add_argument("--site", metavar="NAME", help="site of the config (default: the only one)")
    command.add_argument("--name", metavar="NAME", help="name of the job (default: the site's)")
    command.add_argument(
        "--kind", choices=("sun", "eemt"), help="sun maps alone, or all (default: eemt where the site has a climate)"
    )
    command.add_argument("--wait", action="store_true", help="wait for its end; exit 1 where it fails or is cancelled")


def _jobs(command: argparse.ArgumentParser) -> None:
    """List the jobs on the web service, or show, cancel, run again or delete one."""
    command.add_argument("--all", action="store_true", help="of all users; for operators")
    states = ("pending", "running", "completed", "failed", "cancelled")
    command.add_argument("--state", action="append", choices=states, help="only jobs in this state; may be repeated")
    command.add_argument("--search", metavar="TEXT", help="only jobs whose name has this in it")
    command.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default: 50)")
    command.add_argument("--json", action="store_true", help="as JSON")
    actions = command.add_subparsers(dest="action", metavar="ACTION")
    for name, meaning in {
        "show": "say how far a job is, and why it failed",
        "cancel": "take a job out of the queue, or end it",
        "retry": "run a finished job again; what it had finished is not computed again",
        "delete": "remove a finished job's files and take it off the list",
    }.items():
        action = actions.add_parser(name, help=meaning)
        action.add_argument("id", metavar="ID", help="the job's identifier")
        if name == "show":
            action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")


def _logs(command: argparse.ArgumentParser) -> None:
    """Print what a job on the web service writes."""
    command.add_argument("id", metavar="ID", help="the job's identifier")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--follow", action="store_true", help="go on as it grows, until the job is finished")
    which.add_argument("--lines", type=int, metavar="N", help="only its last lines")
    which.add_argument("--rule", metavar="RULE", help="the log of a rule of the workflow, of a step that failed first")


def _fetch(command: argparse.ArgumentParser) -> None:
    """Fetch results of a job from the web service: all, checked and unpacked, or some files."""
    command.add_argument("id", metavar="ID", help="the job's identifier")
    command.add_argument("paths", nargs="*", metavar="PATH", help="such as report.html (default: everything)")
    command.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder to write to, made where absent (default: here)"
    )
    command.add_argument("--list", action="store_true", help="only list the files")


COMMANDS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "serve": _serve,
    "submit": _submit,
    "jobs": _jobs,
    "logs": _logs,
    "fetch": _fetch,
    "account": _account,
    "cleanup": _cleanup,
    "backup": _backup,
    "restore": _restore,
    "doctor": _doctor,
}
