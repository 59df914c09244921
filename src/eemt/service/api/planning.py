"""The API of what is known before a job is submitted: the form, areas, estimates, the quota."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from eemt.service import estimate as estimating
from eemt.service import form as forms
from eemt.service import places, quotas, submission
from eemt.service.api.documented import problems
from eemt.service.dependencies import Parts, Reading, SignedIn
from eemt.service.models import Kind
from eemt.service.policy import UploadKind
from eemt.service.problems import Problem

router = APIRouter(tags=["planning"])


class GridView(BaseModel):
    """Where cells lie."""

    crs: str
    west: float
    north: float
    dx: float
    dy: float
    width: int
    height: int


class EstimateView(BaseModel):
    """What a job will be, about."""

    grid: GridView | None = Field(description="Of the maps; null where only the elevation's server knows")
    footprint: dict[str, Any] | None = Field(description="Outline of the maps, GeoJSON, WGS 84")
    prepared_footprint: dict[str, Any] | None = Field(description="Outline of the maps and the buffer around them")
    cells: int | None = Field(description="Of a map")
    tiles: int | None = Field(description="Pieces that maps are cut into")
    jobs: int | None = Field(description="Steps of the workflow, about")
    cases: int | None = Field(description="Of a sweep, with the site's own")
    maps: int | None = Field(description="Of EEMT, its parts and what else is kept, of all cases")
    seconds: float | None = Field(description="Time on this machine, once the job runs")
    measured: bool = Field(description="Whether jobs that ran here corrected the time")
    bytes: int = Field(description="On disk")
    fits: bool = Field(description="Whether disk and quota suffice")
    problem: str | None = Field(description="Why they do not")


class Asked(BaseModel):
    """Settings that are thought of."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("job", max_length=64, description="Of the job")
    kind: Kind = "eemt"
    settings: dict[str, Any] = Field(description="As of a job")


class Condition(BaseModel):
    """What another field has to be; one of the three is said."""

    field: str = Field(description="Key of the other")
    one_of: list[Any] = Field([], description="Its value is one of these")
    has: list[Any] = Field([], description="Its values have one of these")
    given: bool = Field(False, description="It has a value")


class Choice(BaseModel):
    """A value that can be chosen."""

    value: Any
    label: str


class AxisView(BaseModel):
    """A key that a sweep can vary."""

    model_config = ConfigDict(extra="allow")

    key: str = Field(description="Such as sun.linke; the last part stands in the sweep's section")
    label: str
    type: str


class FieldView(BaseModel):
    """A key of the settings."""

    key: str = Field(description="Section and name: sun.linke stands in settings as {sun: {linke: …}}")
    label: str
    help: str
    group: Literal["basic", "advanced"]
    kinds: list[Kind] = Field(description="Jobs that have it")
    required: bool
    default: Any
    type: Literal[
        "elevation",
        "bbox",
        "number",
        "whole",
        "boolean",
        "choice",
        "choices",
        "text",
        "monthly",
        "pair",
        "years",
        "list",
        "upload",
        "axes",
    ] = Field(
        description="elevation: an upload, several, one of words, or an address; monthly: a number, or twelve of them, "
        "or one of words, or an upload where that has a kind; pair, years: two numbers; axes: lists of values by key"
    )
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    length: int | None = Field(None, description="Of a list that has so many values")
    longest: int | None = Field(None, description="Characters of a text")
    pattern: str | None = None
    items: Literal["whole", "number"] | None = Field(None, description="Of a list")
    names: list[str] = Field([], description="Of the numbers of a list")
    words: list[str] = Field([], description="That stand for a value")
    choices: list[Choice] = []
    upload: UploadKind | None = Field(None, description="Kind of the upload that is the value, as {upload: ID}")
    several: bool = Field(False, description="Whether there may be a list of uploads")
    keys: list[AxisView] = Field([], description="Of axes")
    shown_when: Condition | None = Field(None, description="When it is of use")
    needed_when: Condition | None = Field(None, description="When it has to be given")


class SectionView(BaseModel):
    """Fields of one subject."""

    name: str
    title: str
    help: str
    kinds: list[Kind]
    fields: list[FieldView]


class KindView(BaseModel):
    """A kind of job."""

    value: Kind
    label: str
    help: str
    sections: list[str]


class FormView(BaseModel):
    """All that can be asked for."""

    kinds: list[KindView]
    sections: list[SectionView]
    source_hosts: list[str] = Field(description="Hosts that elevation may be fetched from by address")
    upload_bytes: int = Field(description="Of the largest upload")
    chunk_bytes: int = Field(description="Of a piece of an upload")
    upload_cells: int = Field(description="Most cells of an elevation model")
    not_offered: dict[str, str] = Field(description="Keys of eemt's config that cannot be set here, and why")


class QuotaView(BaseModel):
    """Disk that one may fill, and what is there [bytes]."""

    limit: int
    used: int
    left: int
    uploads: int
    jobs: int
    largest_upload: int = Field(description="Of one file")
    chunk_bytes: int = Field(description="Of one piece of a file")


@router.get("/form", response_model=FormView, response_model_exclude_unset=True)
def get_form(parts: Parts, _: SignedIn) -> dict[str, Any]:
    """Return all that can be set of a job: sections, fields, units, ranges, defaults, choices."""
    return forms.form(parts.settings)


@router.post("/estimate", responses=problems("invalid"))
def estimate(parts: Parts, principal: SignedIn, session: Reading, asked: Asked) -> EstimateView:
    """Check settings as of a job, and say what it will be; nothing is submitted."""
    checked = submission.examine(session, parts.settings, principal, asked.name, asked.kind, asked.settings)
    checked.refuse_mistakes()
    assert checked.estimate is not None
    problem = None
    try:
        quotas.refuse_over_quota(session, parts.settings, principal.user_id, checked.estimate.bytes)
        quotas.refuse_full_disk(parts.settings, checked.estimate.bytes)
    except Problem as refusal:
        problem = refusal.detail
    return _estimate_view(checked.estimate, problem)


@router.get("/areas", responses=problems("invalid"))
def get_area(
    parts: Parts,
    principal: SignedIn,
    session: Reading,
    bbox: Annotated[
        str,
        Query(
            max_length=200, description="West, south, east and north [degrees]", examples=["-105.33,39.93,-105.26,40.0"]
        ),
    ],
    source: Annotated[Literal["3dep", "glo30"], Query(description="The data set")] = "3dep",
    buffer: Annotated[float | None, Query(ge=0, le=200_000, description="Around it [m]")] = None,
    resolution: Annotated[float | None, Query(gt=0, le=10_000, description="Cell size [m]")] = None,
    crs: Annotated[str | None, Query(max_length=40, description="Projected, such as EPSG:32613")] = None,
) -> EstimateView:
    """Say what a job on an area of a data set will be, with all else by default; nothing is fetched."""
    given = {"source": source, "bbox": bbox, "buffer": buffer, "resolution": resolution, "crs": crs}
    settings = {"dem": {name: value for name, value in given.items() if value is not None}}
    return estimate(parts, principal, session, Asked(kind="sun", settings=settings))


@router.get("/quota")
def get_quota(parts: Parts, principal: SignedIn, session: Reading) -> QuotaView:
    """Say how much disk one may fill, and how much is there."""
    found = quotas.usage(session, parts.settings, principal.user_id)
    return QuotaView(
        limit=found.limit,
        used=found.used,
        left=found.left,
        uploads=found.uploads,
        jobs=found.jobs,
        largest_upload=parts.settings.upload_bytes,
        chunk_bytes=parts.settings.chunk_bytes,
    )


def _estimate_view(found: estimating.Estimate, problem: str | None) -> EstimateView:
    return EstimateView(
        grid=GridView(**asdict(found.grid)) if found.grid else None,
        footprint=places.footprint(found.grid) if found.grid else None,
        prepared_footprint=places.footprint(found.prepared) if found.prepared else None,
        cells=found.cells,
        tiles=found.tiles,
        jobs=found.jobs,
        cases=found.cases,
        maps=found.maps,
        seconds=found.seconds,
        measured=found.measured,
        bytes=found.bytes,
        fits=problem is None,
        problem=problem,
    )
