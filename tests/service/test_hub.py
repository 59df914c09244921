"""Every viewer sees each event once and in order, whoever else watches and however slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import event

from eemt.service import hub, jobs
from eemt.service.database import Database
from eemt.service.hub import Hub
from eemt.service.settings import Settings

from .snakefiles import add_job


@pytest.fixture
def make_hub(database: Database) -> Iterator[Callable[..., Hub]]:
    hubs: list[Hub] = []

    def make(**how: float) -> Hub:
        hubs.append(Hub(database, **{"every": 0.02, **how}))  # type: ignore[arg-type]
        hubs[-1].start()
        return hubs[-1]

    yield make
    for one in hubs:
        one.stop()


def tell(database: Database, job_id: str, *texts: object) -> None:
    with database.session() as session:
        for text in texts:
            jobs.tell(session, job_id, "message", text=text)


async def collect(
    watching: Hub, number: int, job_ids: list[str] | None = None, user_id: str | None = None, after: int = 0
) -> list[object]:
    seen: list[object] = []
    async for told in watching.watch(job_ids, user_id, after):
        assert set(told) == {"id", "job_id", "at", "kind", "data"}
        if told["kind"] == "message":
            seen.append(told["data"]["text"])
        if len(seen) == number:
            break
    return seen


def test_many_viewers_see_all_events_in_order(
    database: Database, settings: Settings, make_hub: Callable[..., Hub]
) -> None:
    job_id = add_job(database, settings)
    one = make_hub()

    async def watch() -> list[list[object]]:
        early = [asyncio.create_task(collect(one, 300, [job_id])) for _ in range(40)]
        for begin in range(0, 300, 100):
            await asyncio.to_thread(tell, database, job_id, *range(begin, begin + 100))
            await asyncio.sleep(0.03)
        late = [asyncio.create_task(collect(one, 300, [job_id])) for _ in range(20)]
        return await asyncio.wait_for(asyncio.gather(*early, *late), 30)

    seen = asyncio.run(watch())
    assert len(seen) == 60
    assert all(each == list(range(300)) for each in seen)


def test_viewers_see_only_what_is_theirs(database: Database, settings: Settings, make_hub: Callable[..., Hub]) -> None:
    of_ann, other_of_ann, of_bob = (add_job(database, settings, user=user) for user in ("ann", "ann", "bob"))
    with database.reading() as session:
        ann = jobs.get(session, of_ann, None).user_id
    one = make_hub()
    tell(database, of_bob, "b1")
    tell(database, of_ann, "a1")

    async def watch() -> list[list[object]]:
        tasks = [
            collect(one, 4, None, ann),
            collect(one, 2, [of_ann, of_bob], ann),
            collect(one, 6, None, None),
            collect(one, 2, [other_of_ann], None),
        ]
        running = [asyncio.create_task(task) for task in tasks]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(tell, database, of_bob, "b2")
        await asyncio.to_thread(tell, database, of_ann, "a2")
        await asyncio.to_thread(tell, database, other_of_ann, "o1", "o2")
        return await asyncio.wait_for(asyncio.gather(*running), 30)

    assert asyncio.run(watch()) == [
        ["a1", "a2", "o1", "o2"],
        ["a1", "a2"],
        ["b1", "a1", "b2", "a2", "o1", "o2"],
        ["o1", "o2"],
    ]


def test_who_comes_again_goes_on_behind_what_they_know(
    database: Database, settings: Settings, make_hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PAGE", 7)
    job_id = add_job(database, settings)
    one = make_hub()
    tell(database, job_id, *range(50))
    with database.reading() as session:
        known = jobs.events(session, job_id)[20].id
    assert asyncio.run(asyncio.wait_for(collect(one, 30, [job_id], after=known), 30)) == list(range(20, 50))


def test_a_slow_viewer_is_let_go_misses_nothing_and_keeps_nobody(
    database: Database, settings: Settings, make_hub: Callable[..., Hub]
) -> None:
    job_id = add_job(database, settings)
    one = make_hub(room=50)

    async def slow(is_written: asyncio.Event) -> tuple[list[object], int]:
        seen: list[object] = []
        last = times = 0
        while len(seen) < 500:
            times += 1
            async for told in one.watch([job_id], None, last):
                last = told["id"]
                if told["kind"] == "message":
                    seen.append(told["data"]["text"])
                if len(seen) == 500:
                    break
                await is_written.wait()
        return seen, times

    async def watch() -> tuple[tuple[list[object], int], list[object]]:
        is_written = asyncio.Event()
        of_slow = asyncio.create_task(slow(is_written))
        of_quick = asyncio.create_task(collect(one, 500, [job_id]))
        await asyncio.sleep(0.1)
        for begin in range(0, 500, 25):
            await asyncio.to_thread(tell, database, job_id, *range(begin, begin + 25))
            await asyncio.sleep(0.03)
        quick = await asyncio.wait_for(of_quick, 30)
        is_written.set()
        return await asyncio.wait_for(of_slow, 30), quick

    (seen, times), quick = asyncio.run(watch())
    assert quick == list(range(500))
    assert seen == list(range(500)) and times > 1


def test_streams_end_when_the_service_stops(
    database: Database, settings: Settings, make_hub: Callable[..., Hub]
) -> None:
    job_id = add_job(database, settings)
    one = make_hub()

    async def watch() -> list[list[object]]:
        running = [asyncio.create_task(collect(one, 10, [job_id])) for _ in range(5)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(tell, database, job_id, "last")
        await asyncio.sleep(0.2)
        await asyncio.to_thread(one.stop)
        return await asyncio.wait_for(asyncio.gather(*running), 10)

    assert asyncio.run(watch()) == [["last"]] * 5
    assert one.viewers == 0
    assert asyncio.run(collect(one, 1)) == []


def test_who_goes_away_is_forgotten(database: Database, settings: Settings, make_hub: Callable[..., Hub]) -> None:
    job_id = add_job(database, settings)
    one = make_hub()

    async def watch() -> tuple[int, int]:
        tasks = [asyncio.create_task(collect(one, 10, [job_id])) for _ in range(5)]
        await asyncio.sleep(0.1)
        before = one.viewers
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return before, one.viewers

    assert asyncio.run(watch()) == (5, 0)


def test_the_database_is_asked_once_for_all(
    database: Database, settings: Settings, make_hub: Callable[..., Hub]
) -> None:
    job_id = add_job(database, settings)
    one = make_hub(every=0.05)
    asked = 0

    @event.listens_for(database.engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    async def watch() -> int:
        tasks = [asyncio.create_task(collect(one, 1, [job_id], after=10**6)) for _ in range(100)]
        await asyncio.sleep(0.1)
        before = asked
        await asyncio.sleep(1)
        number = asked - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return number

    assert asyncio.run(watch()) <= 60  # of a hundred viewers


def test_an_event_that_shows_up_behind_a_later_one_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Hub(database)
    monkeypatch.setattr(type(database), "is_sqlite", False)
    rows = [{"id": number} for number in (1, 2, 4, 5, 7)]
    assert [row["id"] for row in one._ready(rows)] == [1, 2]
    monkeypatch.setattr(hub, "GAP_SECONDS", 0.0)
    assert [row["id"] for row in one._ready(rows)] == [1, 2, 4, 5, 7]
