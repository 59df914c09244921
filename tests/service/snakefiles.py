"""Small workflows that real Snakemakes run in seconds, and jobs that are made of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from eemt.service import jobs, processes
from eemt.service.database import Database
from eemt.service.models import Event, Job, User
from eemt.service.settings import Settings

# what a job of it does stands in its config: pass, fail, wait for the file `go`, or say nothing for an hour
WORKFLOW = """
configfile: "config/config.yaml"
STEPS = [str(number) for number in range(config.get("steps", 2))]
rule all:
    default_target: True
    input: expand("results/{step}.txt", step=STEPS)
rule make:
    output: "results/{step}.txt"
    log: "logs/{step}.log"
    message: "make {wildcards.step}"
    params: does=config.get("does", "pass"), number=config.get("number", 1)
    shell: '''
        case {params.does} in
          pass) echo made > {log} ;;
          fail) for line in $(seq 30); do echo line $line; done > {log}; printf '\\\\377 end\\\\n' >> {log}; exit 1 ;;
          refuse) echo "eemt terrain: dem: has no CRS" > {log}; exit 2 ;;
          wait) while [ ! -e go ]; do sleep 0.1; done ;;
          hang) sleep 3600 ;;
          stubborn) trap '' INT TERM; while true; do sleep 1; done ;;
        esac
        echo {params.number} > {output}
    '''
"""


def snakefile(folder: Path, text: str = WORKFLOW) -> Path:
    """Write a workflow."""
    path = folder / "Snakefile"
    path.write_text(text)
    return path


def add_user(database: Database, name: str = "local") -> str:
    with database.session() as session:
        user = session.scalar(select(User).where(User.name == name))
        if user is None:
            user = User(name=name)
            session.add(user)
            session.flush()
        return user.id


def add_job(database: Database, settings: Settings, does: str = "pass", user: str = "local", steps: int = 2) -> str:
    """Put a job into the queue and return its identifier."""
    user_id = add_user(database, user)
    with database.session() as session:
        job = Job(user_id=user_id, name="site", kind="eemt", settings={}, config=f"does: {does}\nsteps: {steps}\n")
        return jobs.submit(session, settings, job, []).id


def get(database: Database, job_id: str) -> Job:
    with database.reading() as session:
        job = session.get(Job, job_id)
        assert job is not None
        return job


def told(database: Database, job_id: str, kind: str | None = None) -> list[Event]:
    with database.reading() as session:
        events = jobs.events(session, job_id)
    return [event for event in events if kind in {None, event.kind}]


def until(what: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(job_id: str) -> list[int]:
    """Return the numbers of a job's processes."""
    return [process.pid for process in processes.members(job_id)]
