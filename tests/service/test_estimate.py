"""What a job will be: grid, tiles, time and disk, before anything is submitted and without a network."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from eemt.config import Site, load_config
from eemt.dem.layout import Layout, layout
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.plan import Plan
from eemt.raster import read_grid
from eemt.service import estimate, places, quotas
from eemt.service.app import create_app
from eemt.service.database import Database
from eemt.service.estimate import Work
from eemt.service.models import Job, new_id
from eemt.service.problems import Problem
from eemt.service.settings import Settings
from eemt.sql import now
from service.people import make_user
from service.test_uploads import send
from sites import BOULDER, CLIMATE

BBOX = "-105.33,39.93,-105.26,40.0"


def site(**sections: Any) -> Site:
    given = {"dem": {"source": "dem.tif"}, "climate": CLIMATE, **sections}
    return load_config({"sites": {"a": given}}).sites["a"]


def work(side: int, **sections: Any) -> Work:
    """Return what there is to compute on a square."""
    grid = Grid("EPSG:32613", 0.0, 0.0, 10.0, 10.0, side, side)
    return Work(Plan(site(**sections), known=Layout(grid, slice(0, side), slice(0, side))))


# docs/scaling.md: cells a side, jobs, seconds on two cores, GB
MEASURED = [(1024, 19, 61, 0.43), (2048, 51, 138, 1.64), (4096, 51, 329, 6.23), (8192, 79, 1378, 23.51)]


@pytest.mark.parametrize(("side", "jobs", "seconds", "gigabytes"), MEASURED)
def test_estimates_agree_with_what_was_measured(side: int, jobs: int, seconds: float, gigabytes: float) -> None:
    found = work(side, sun={"daily": False})
    assert found.jobs == pytest.approx(jobs, rel=0.25)
    assert found.seconds(2) == pytest.approx(seconds, rel=0.35)
    assert found.bytes / 1e9 == pytest.approx(gigabytes, rel=0.05)


def test_more_work_takes_longer_and_more_room() -> None:
    plain = work(1024)
    for sections in (
        {"sun": {"step": 5}},
        {"climate": {**CLIMATE, "normals_period": None, "years": [2001, 2010]}},
        {"eemt": {"keep": ["pet", "aet"]}},
        {"sweep": {"sun": {"linke": [2, 4]}}},
        {"sweep": {"eemt": {"omega": [2.2, 3]}}},
    ):
        more = work(1024, **sections)
        assert more.seconds(2) > plain.seconds(2)
        assert more.bytes >= plain.bytes
    less = work(1024, climate={"source": "none"})
    assert less.seconds(2) < plain.seconds(2)
    assert less.bytes < plain.bytes
    assert work(1024, sun={"daily": False}).bytes < plain.bytes / 3
    assert plain.seconds(16) < plain.seconds(1)


def test_a_million_tiles_are_counted_and_not_listed() -> None:
    assert work(20_000, tiles={"size": 1}).tiles == 400_000_000


def test_the_layout_of_an_upload_is_that_of_the_file() -> None:
    grid = read_grid(BOULDER).__dict__
    header = {name: grid[name] for name in ("crs", "west", "north", "dx", "dy", "width", "height")}
    for given in (
        {},
        {"crs": "EPSG:32613", "resolution": 30},
        {"bbox": [-105.32, 39.94, -105.28, 39.98], "buffer": 500},
    ):
        settings = site(dem={"source": str(BOULDER), **given}).dem
        named = settings.model_copy(update={"source": "inputs/dem.tif"})
        assert places.layout_of(named, {"inputs/dem.tif": header}) == layout(settings)
    outside = site(dem={"source": "inputs/dem.tif", "bbox": [0, 0, 1, 1]}).dem
    with pytest.raises(InputError, match=r"lies outside inputs/dem\.tif"):
        places.layout_of(outside, {"inputs/dem.tif": header})


def test_outlines_are_closed_and_follow_the_edges_of_a_projection() -> None:
    outline = places.footprint(Grid("EPSG:32613", 400_000, 4_500_000, 1000.0, 1000.0, 200, 300))
    ring = outline["coordinates"][0]
    assert ring[0] == ring[-1]
    assert len(ring) == 65
    assert min(y for _, y in ring) == pytest.approx(37.93, abs=0.02)
    with pytest.raises(InputError, match="no place on Earth"):
        places.footprint(Grid("EPSG:32613", 1e12, 1e12, 1e9, 1e9, 3, 3))


def finished(database: Database, seconds: float, **given: Any) -> None:
    """Write down a job on 1024 x 1024 cells that took so long."""
    settings = {"dem": {"source": "dem.tif"}, "climate": CLIMATE}
    values = {"kind": "eemt", "state": "completed", "cells": 1024 * 1024, **given}
    with database.session() as session:
        session.add(
            Job(
                id=new_id(),
                user_id=given.pop("user_id"),
                name="a",
                settings={},
                config=yaml.safe_dump({"sites": {"a": settings}}),
                started=now() - timedelta(seconds=seconds),
                finished=now(),
                **{name: value for name, value in values.items() if name != "user_id"},
            )
        )


def test_jobs_that_ran_here_correct_the_time(database: Database) -> None:
    user = make_user(database, "ada")

    def correction(has_climate: bool = True) -> float | None:
        with database.reading() as session:
            return estimate.measured_correction(session, has_climate)

    assert correction() is None
    expected = work(1024).seconds(estimate.cores())
    for times in (2, 3, 100_000):
        finished(database, expected * times, user_id=user)
    finished(database, expected * 7, user_id=user, state="failed")
    finished(database, expected * 7, user_id=user, attempt=2)
    finished(database, expected * 7, user_id=user, cells=None)
    assert correction() == pytest.approx(3, rel=0.01)
    assert correction(has_climate=False) is None


def test_jobs_that_are_not_finished_count_with_what_is_expected(database: Database, settings: Settings) -> None:
    user = make_user(database, "ada", quota_bytes=1000)
    for state, there, expected in (("pending", 0, 300), ("running", 250, 200), ("completed", 100, 400)):
        finished(database, 1, user_id=user, state=state, bytes=there, expected=expected)
    with database.reading() as session:
        found = quotas.usage(session, settings, user)
        assert (found.jobs, found.left) == (300 + 250 + 100, 350)
        quotas.refuse_over_quota(session, settings, user, 350)
        with pytest.raises(Problem, match="350 bytes of your 1 kB are left"):
            quotas.refuse_over_quota(session, settings, user, 351)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was to be made")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_an_area_is_known_without_a_network(client: TestClient) -> None:
    for source, cell in (("3dep", 10.0), ("glo30", 30.0)):
        answer = client.get("/api/v1/areas", params={"bbox": BBOX, "source": source})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["grid"]["crs"], found["grid"]["dx"]) == ("EPSG:32613", cell)
        assert found["cells"] == found["grid"]["width"] * found["grid"]["height"]
        assert found["fits"]
        assert found["seconds"] > 0
        west = min(x for x, _ in found["footprint"]["coordinates"][0])
        assert west == pytest.approx(-105.33, abs=0.01)
        around = min(x for x, _ in found["prepared_footprint"]["coordinates"][0])
        assert around < west - 0.1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"bbox": "1,2,3"}, "dem.bbox"),
        ({"bbox": "a,b,c,d"}, "dem.bbox"),
        ({"bbox": "-105,40,-106,41"}, "dem.bbox"),
        ({"bbox": "-180,-80,180,80"}, "dem.crs"),
        ({"bbox": "-110,35,-100,45"}, "dem.bbox"),
        ({"bbox": BBOX, "resolution": "0.001"}, "dem.resolution"),
        ({"bbox": BBOX, "resolution": "5e-324"}, "dem.resolution"),
        ({"bbox": BBOX, "crs": "EPSG:4326"}, "dem.crs"),
        ({"bbox": BBOX, "crs": "x"}, "dem.crs"),
        ({"bbox": BBOX, "buffer": "-1"}, "buffer"),
        ({"bbox": BBOX, "source": "srtm"}, "source"),
    ],
)
def test_a_mistake_in_an_area_is_told_at_its_field(client: TestClient, query: dict[str, str], field: str) -> None:
    answer = client.get("/api/v1/areas", params=query)
    assert answer.status_code == 422
    assert [mistake["field"] for mistake in answer.json()["errors"]] == [field]


def test_a_job_is_estimated_from_its_upload(client: TestClient) -> None:
    upload = send(client, BOULDER, "dem")
    settings = {"dem": {"source": {"upload": upload["id"]}, "resolution": 30, "crs": "EPSG:32613"}}
    answer = client.post("/api/v1/estimate", json={"kind": "sun", "settings": settings})
    found = answer.json()
    assert answer.status_code == 200
    assert (found["cells"], found["tiles"], found["cases"], found["measured"]) == (260 * 202, 1, 1, False)
    assert found["footprint"]["type"] == "Polygon"
    settings["sun"] = {"linke": 99}
    answer = client.post("/api/v1/estimate", json={"kind": "sun", "settings": settings})
    assert answer.json()["errors"] == [{"field": "sun.linke", "message": "is 99; allowed are 1 to 10"}]


def test_what_does_not_fit_is_told_with_the_estimate(tmp_path: Path) -> None:
    app = create_app(Settings(folder=tmp_path / "service", quota_bytes=1000))
    with TestClient(app, base_url="http://127.0.0.1:8420") as client:
        found = client.get("/api/v1/areas", params={"bbox": BBOX}).json()
    assert not found["fits"]
    assert "1 kB" in found["problem"]
