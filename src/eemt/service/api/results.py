"""The API of results: files, the archive of all, maps, tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from eemt.service import bundle, files, jobs, maps, results, tiles
from eemt.service.api.documented import problems
from eemt.service.api.jobs import JobId, owner
from eemt.service.dependencies import Parts, Principal, SignedIn
from eemt.service.models import FINISHED, Job
from eemt.service.problems import Problem

router = APIRouter(tags=["results"])

SUMS = "checksums.json"
OVERVIEWS = "overviews"
TILE_SECONDS = 3600  # that a browser keeps a tile without asking
MOST_ROWS = 100_000
SHOWN = (".html", ".png")  # by a browser; all else is saved
OCTETS = {"schema": {"type": "string", "format": "binary"}}
PARTLY: dict[int | str, dict[str, Any]] = {
    206: {"description": "The part that Range asked for"},
    304: {"description": "Not changed since"},
}

MapName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.~,:+=-]+$", max_length=255, description="A map's name")]
Band = Annotated[int, Query(ge=1, le=1000, description="Which band, counted from 1")]


class FileInfo(BaseModel):
    """A file of the results."""

    path: str
    bytes: int
    media_type: str
    meaning: str | None = Field(description="What it is")
    modified: datetime


class FileList(BaseModel):
    """All files of the results."""

    items: list[FileInfo]
    bytes: int = Field(description="All together")


class BandInfo(BaseModel):
    """A band of a map."""

    number: int
    label: str = Field(description="Such as Year or Jan")
    unit: str
    low: float = Field(description="What the first colour stands for, in all maps of the variable")
    high: float = Field(description="What the last colour stands for")


class Stop(BaseModel):
    """A colour and what it stands for."""

    value: float
    colour: str = Field(description="#rrggbb")


class MapInfo(BaseModel):
    """A map."""

    name: str
    title: str
    variable: str
    method: str | None
    year: str | None = Field(description="A year, a period, or mean, sd, trend, trend_p over all of them")
    case: str = Field(description="Of a sweep; empty for the job's own settings")
    unit: str = Field(description="Of the first band")
    low: float
    high: float
    bands: list[BandInfo]
    bounds: tuple[float, float, float, float] = Field(description="West, south, east, north [degrees, WGS 84]")
    crs: str
    min_zoom: int
    max_zoom: int
    legend: list[Stop] = Field(description="Of the first band")
    tiles: str = Field(description="Address of the tiles, with {z}, {x} and {y} in it")
    file: str = Field(description="Path of the file that it is drawn from")


class MapList(BaseModel):
    """All maps of a job."""

    items: list[MapInfo]


class Legend(BaseModel):
    """What a map's colours stand for."""

    title: str
    unit: str
    low: float
    high: float
    stops: list[Stop]


class CellValue(BaseModel):
    """What a map has at a place."""

    value: float | None = Field(description="As in the file; null where there is none")
    unit: str
    band: int
    label: str
    row: int | None = Field(description="Of the cell, counted from 0 at the north; null beyond the map")
    col: int | None = Field(description="Of the cell, counted from 0 at the west; null beyond the map")


class RowsWanted(BaseModel):
    """Which rows of a table are asked for."""

    variable: str | None = Field(None, max_length=32)
    method: str | None = Field(None, max_length=32)
    year: str | None = Field(None, max_length=32)
    month: int | None = Field(None, ge=0, le=12, description="0 for the year")
    case: str = Field("", max_length=255, description="Of a sweep")
    limit: int = Field(10_000, ge=1, le=MOST_ROWS)
    after: str | None = Field(None, pattern=r"^\d{1,9}$", description="The `following` of the page before")


class ZoneRowsWanted(RowsWanted):
    """Which rows of a table of zones are asked for."""

    zone: str | None = Field(None, max_length=255)


class Rows(BaseModel):
    """Rows of a table."""

    items: list[dict[str, Any]]
    following: str | None = Field(description="Where the next page begins (`after`); null on the last")


@router.get("/jobs/{job_id}/files", responses=problems("not-found", "gone"))
def list_files(parts: Parts, principal: SignedIn, job_id: JobId) -> FileList:
    """List the files of a job's results."""
    found = results.listed(results.folder(parts.settings, _job(parts, principal, job_id)))
    items = [FileInfo(**(file._asdict() | {"modified": datetime.fromtimestamp(file.modified, UTC)})) for file in found]
    return FileList(items=items, bytes=sum(file.bytes for file in found))


@router.head("/jobs/{job_id}/files/{path:path}", response_class=Response, include_in_schema=False)
@router.get(
    "/jobs/{job_id}/files/{path:path}",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": OCTETS}, "description": "The file"},
        **PARTLY,
        **problems("not-found", "gone", "range-not-satisfiable"),
    },
)
def get_file(
    request: Request,
    parts: Parts,
    principal: SignedIn,
    job_id: JobId,
    path: str,
    download: Annotated[bool, Query(description="Save it also where a browser could show it")] = False,
) -> Response:
    """Send a file of the results, or a part of it."""
    found = results.file(results.folder(parts.settings, _job(parts, principal, job_id)), path)
    media_type = results.type_of(found)
    shown = found.suffix in SHOWN and not download
    return files.send(
        request,
        files.file_body(found),
        f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type,
        {"Content-Disposition": files.disposition(found.name, inline=shown)},
    )


@router.head("/jobs/{job_id}/bundle.tar", response_class=Response, include_in_schema=False)
@router.get(
    "/jobs/{job_id}/bundle.tar",
    response_class=Response,
    responses={
        200: {"content": {"application/x-tar": OCTETS}, "description": "The archive"},
        **PARTLY,
        **problems("not-found", "conflict", "gone", "range-not-satisfiable"),
    },
)
def get_bundle(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> Response:
    """Send all results of a finished job as one archive; SHA256SUMS comes first in it.

    A download that broke off goes on with Range and If-Range.
    """
    job = _job(parts, principal, job_id)
    if job.state not in FINISHED:
        raise Problem("conflict", f"The job is {job.state}; its results are bundled when it is finished.")
    place = results.folder(parts.settings, job)
    if not results.listed(place):
        raise Problem("not-found", "The job has no results.")
    body = bundle.bundle(place, job.name, jobs.folder(parts.settings, job.id) / SUMS)
    name = f"{job.name}-{job.id}.tar"
    return files.send(request, body, "application/x-tar", {"Content-Disposition": files.disposition(name)})


@router.get("/jobs/{job_id}/maps", responses=problems("not-found", "gone"))
def list_maps(request: Request, parts: Parts, principal: SignedIn, job_id: JobId) -> MapList:
    """List the maps of a job: what they show, where, and in which colours."""
    place = results.folder(parts.settings, _job(parts, principal, job_id))
    found = maps.maps_of(place)
    return MapList(items=[_described(request, job_id, place, one, found) for one in found])


@router.get(
    "/jobs/{job_id}/maps/{name}/tiles/{z}/{x}/{y}.png",
    response_class=Response,
    responses={
        200: {"content": {"image/png": OCTETS}, "description": "256 x 256 pixels; transparent where there is no value"},
        304: PARTLY[304],
        **problems("not-found", "gone"),
    },
)
def get_tile(
    request: Request,
    parts: Parts,
    principal: SignedIn,
    job_id: JobId,
    name: MapName,
    z: Annotated[int, Path(ge=0, le=tiles.CLOSEST)],
    x: Annotated[int, Path(ge=0, lt=2**tiles.CLOSEST)],
    y: Annotated[int, Path(ge=0, lt=2**tiles.CLOSEST)],
    band: Band = 1,
) -> Response:
    """Draw a tile of a map, in web mercator."""
    found, one = _map(parts, _job(parts, principal, job_id), name)
    _band(one, band)
    if max(x, y) >= 2**z:
        raise Problem("not-found", f"There is no tile {z}/{x}/{y}.")
    limits = maps.colour_range(one, found, band)
    etag = files.etag_of(one.ramp, limits, band, z, x, y, one.path.stat())
    headers = {"ETag": etag, "Cache-Control": f"private, max-age={TILE_SECONDS}"}
    if files.is_known(request, etag):
        return Response(status_code=304, headers=headers)
    prepared = tiles.with_overviews(one.path, jobs.folder(parts.settings, job_id) / OVERVIEWS)
    drawn = tiles.tile(one, prepared, band, limits, z, x, y)
    return Response(drawn, headers=headers, media_type="image/png")


@router.get("/jobs/{job_id}/maps/{name}/value", responses=problems("not-found", "gone"))
def get_value(
    parts: Parts,
    principal: SignedIn,
    job_id: JobId,
    name: MapName,
    longitude: Annotated[float, Query(ge=-180, le=180, description="WGS 84 [degrees]")],
    latitude: Annotated[float, Query(ge=-90, le=90, description="WGS 84 [degrees]")],
    band: Band = 1,
) -> CellValue:
    """Return what the cell has that a place lies in."""
    _, one = _map(parts, _job(parts, principal, job_id), name)
    about = _band(one, band)
    found = tiles.value(one.path, band, longitude, latitude)
    return CellValue(**found._asdict(), unit=about.units[band - 1], band=band, label=about.bands[band - 1])


@router.get("/jobs/{job_id}/maps/{name}/legend", responses=problems("not-found", "gone"))
def get_legend(parts: Parts, principal: SignedIn, job_id: JobId, name: MapName, band: Band = 1) -> Legend:
    """Return what the colours of a map stand for."""
    found, one = _map(parts, _job(parts, principal, job_id), name)
    about = _band(one, band)
    low, high = maps.colour_range(one, found, band)
    stops = _stops(one, low, high)
    return Legend(title=one.title, unit=about.units[band - 1], low=low, high=high, stops=stops)


@router.get("/jobs/{job_id}/summary", responses=problems("not-found", "gone"))
def get_summary(parts: Parts, principal: SignedIn, job_id: JobId, wanted: Annotated[RowsWanted, Query()]) -> Rows:
    """Return rows of summary.csv: statistics of each map and month."""
    return _rows(parts, principal, job_id, "summary.csv", wanted)


@router.get("/jobs/{job_id}/zones", responses=problems("not-found", "gone"))
def get_zones(parts: Parts, principal: SignedIn, job_id: JobId, wanted: Annotated[ZoneRowsWanted, Query()]) -> Rows:
    """Return rows of zones.csv: statistics of each zone, map and month."""
    return _rows(parts, principal, job_id, "zones.csv", wanted)


def _job(parts: Parts, principal: Principal, job_id: str) -> Job:
    with parts.database.reading() as session:
        return jobs.get(session, job_id, owner(principal))


def _map(parts: Parts, job: Job, name: str) -> tuple[list[maps.Map], maps.Map]:
    """Return all maps of a job, and one of them by its name."""
    found = maps.maps_of(results.folder(parts.settings, job))
    return found, maps.find(found, name)


def _band(one: maps.Map, band: int) -> maps.Header:
    """Return what a map's file says, which has the band."""
    about = maps.header(one)
    if band > len(about.bands):
        raise Problem("not-found", f"The map has no band {band}; it has {len(about.bands)}.")
    return about


def _described(request: Request, job_id: str, place: Any, one: maps.Map, found: list[maps.Map]) -> MapInfo:
    about = maps.header(one)
    least, most = tiles.zooms(one.path)
    ranges = [maps.colour_range(one, found, number) for number in range(1, len(about.bands) + 1)]
    bands = [
        BandInfo(number=number, label=label, unit=unit, low=low, high=high)
        for number, (label, unit, (low, high)) in enumerate(zip(about.bands, about.units, ranges, strict=True), 1)
    ]
    low, high = ranges[0]
    address = request.url_for("get_tile", job_id=job_id, name=one.name, z=0, x=0, y=0).path
    return MapInfo(
        name=one.name,
        title=one.title,
        variable=one.variable,
        method=one.method,
        year=one.year,
        case=one.case,
        unit=about.units[0],
        low=low,
        high=high,
        bands=bands,
        bounds=about.bounds,
        crs=about.crs,
        min_zoom=least,
        max_zoom=most,
        legend=_stops(one, low, high),
        tiles=address.removesuffix("0/0/0.png") + "{z}/{x}/{y}.png",
        file=one.path.relative_to(place).as_posix(),
    )


def _stops(one: maps.Map, low: float, high: float) -> list[Stop]:
    return [Stop(value=value, colour=colour) for value, colour in maps.stops(one.ramp, low, high)]


def _rows(parts: Parts, principal: Principal, job_id: str, name: str, wanted: RowsWanted) -> Rows:
    place = results.folder(parts.settings, _job(parts, principal, job_id))
    table = results.file(place, f"{wanted.case}/{name}" if wanted.case else name)
    columns = wanted.model_dump(exclude={"case", "limit", "after"}, exclude_none=True)
    given = {column: str(value) for column, value in columns.items()}
    found, following = results.rows(table, given, int(wanted.after or 0), wanted.limit)
    return Rows(items=found, following=None if following is None else str(following))
