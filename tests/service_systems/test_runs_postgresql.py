"""The queue's lease, its order, its events and their viewers on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from sqlalchemy import text

from eemt.service import jobs
from eemt.service.database import Database
from eemt.service.hub import Hub
from eemt.service.settings import Settings
from service.snakefiles import add_job
from service.test_events import (
    folder,
    job_id,
    test_a_new_attempt_counts_from_nothing,
    test_errors_of_snakemake_become_messages,
    test_every_reader_goes_on_where_the_last_one_was_killed,
    test_rules_are_counted_as_their_jobs_begin_and_end,
)
from service.test_hub import (
    collect,
    make_hub,
    test_many_viewers_see_all_events_in_order,
    test_streams_end_when_the_service_stops,
    test_viewers_see_only_what_is_theirs,
)
from service.test_lease import (
    make_lease,
    test_a_database_that_is_away_for_long_ends_the_lease,
    test_a_lease_that_another_took_is_not_held_and_comes_back_when_free,
    test_a_second_server_is_refused_and_told_where_the_first_is,
    test_a_server_elsewhere_that_died_loses_its_lease,
    test_of_servers_that_start_at_once_one_gets_it,
)
from service.test_queue import (
    test_users_take_turns_however_much_each_has_submitted,
    test_who_has_fewest_running_comes_first,
)
from service_systems.test_postgresql import make, settings

# those of SQLite, with PostgreSQL's fixtures
__all__ = [
    "folder",
    "job_id",
    "make",
    "make_hub",
    "make_lease",
    "settings",
    "test_a_database_that_is_away_for_long_ends_the_lease",
    "test_a_lease_that_another_took_is_not_held_and_comes_back_when_free",
    "test_a_new_attempt_counts_from_nothing",
    "test_a_second_server_is_refused_and_told_where_the_first_is",
    "test_a_server_elsewhere_that_died_loses_its_lease",
    "test_errors_of_snakemake_become_messages",
    "test_every_reader_goes_on_where_the_last_one_was_killed",
    "test_many_viewers_see_all_events_in_order",
    "test_of_servers_that_start_at_once_one_gets_it",
    "test_rules_are_counted_as_their_jobs_begin_and_end",
    "test_streams_end_when_the_service_stops",
    "test_users_take_turns_however_much_each_has_submitted",
    "test_viewers_see_only_what_is_theirs",
    "test_who_has_fewest_running_comes_first",
]


def test_an_event_whose_transaction_ends_behind_a_later_one_is_seen_in_its_place(
    database: Database, settings: Settings, make_hub: Callable[..., Hub]
) -> None:
    job = add_job(database, settings)
    one = make_hub()
    has_number, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        with database.session() as session:
            jobs.tell(session, job, "message", text="first")
            session.flush()
            has_number.set()
            may_end.wait(10)

    async def watch() -> list[object]:
        seen = asyncio.create_task(collect(one, 2, [job]))
        writer = threading.Thread(target=slow)
        writer.start()
        await asyncio.to_thread(has_number.wait, 10)
        with database.session() as session:
            jobs.tell(session, job, "message", text="second")
        await asyncio.sleep(0.3)
        may_end.set()
        await asyncio.to_thread(writer.join)
        return await asyncio.wait_for(seen, 20)

    assert asyncio.run(watch()) == ["first", "second"]


def test_the_queue_is_read_while_another_changes_it(database: Database, settings: Settings) -> None:
    job = add_job(database, settings)
    with database.session() as session:
        jobs.cancel(session, jobs.get(session, job, None, lock=True))
        with database.reading() as other:
            other.execute(text("SET statement_timeout = '5s'"))
            assert jobs.get(other, job, None).state == "pending"
