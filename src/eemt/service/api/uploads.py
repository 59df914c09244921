"""The API of uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from eemt.service import uploads
from eemt.service.api.documented import problems
from eemt.service.dependencies import Parts, Reading, SignedIn, Writing, note
from eemt.service.models import Upload
from eemt.service.policy import UploadKind
from eemt.service.problems import Problem

router = APIRouter(tags=["uploads"])

MOST_UPLOADS = 200  # of one page
PIECE_TYPES = ("application/octet-stream", "application/offset+octet-stream")
PIECE = {
    "requestBody": {
        "required": True,
        "content": {PIECE_TYPES[0]: {"schema": {"type": "string", "format": "binary"}}},
    }
}
OFFSET: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "How much is there",
        "headers": {
            "Upload-Offset": {"description": "Bytes received", "schema": {"type": "integer"}},
            "Upload-Length": {"description": "Bytes of the whole file", "schema": {"type": "integer"}},
        },
    }
}
PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}

UploadId = Annotated[str, Path(pattern=r"^[0-9a-f]{8,32}$", description="The upload's identifier")]
OfAll = Annotated[bool, Query(alias="all", description="Of all users; for operators")]
UploadState = Literal["receiving", "checking", "ready", "refused"]


class NewUpload(BaseModel):
    """A file that is about to be sent."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, max_length=1000, description="Of the file, for people", examples=["gordon_gulch.tif"]
    )
    size: int = Field(ge=1, le=2**53, description="Bytes", examples=[1_048_576])
    kind: UploadKind = Field(
        description="dem: elevation, GeoTIFF of one band; raster: albedo, NDVI or canopy height, GeoTIFF; climate: CSV "
        "of stations; zones: polygons, GeoJSON or GeoPackage; table: CSV of a sweep's cases"
    )


class UploadView(BaseModel):
    """A file that was sent, or is on its way."""

    id: str
    name: str
    kind: UploadKind
    size: int = Field(description="Bytes of the whole file")
    offset: int = Field(description="Bytes received, from which the next piece goes on")
    chunk_bytes: int = Field(description="Bytes that a piece may have")
    state: UploadState = Field(
        description="receiving: pieces are missing; checking: it is looked into; ready: jobs may name it; refused: it "
        "cannot be used, see problem"
    )
    problem: str | None = Field(description="Why it cannot be used")
    sha256: str | None
    header: dict[str, Any] | None = Field(
        description="What is in it; of a raster: crs, width, height, cell, bounds and footprint (WGS 84), range"
    )
    hillshade: str | None = Field(description="Address of a picture of the elevation, see-through outside of it")
    created: datetime
    touched: datetime = Field(description="When something was last received or found out")


class UploadList(BaseModel):
    """Some uploads, newest first."""

    items: list[UploadView]
    following: str | None = Field(description="Where the next page begins (`after`); null on the last")


class Received(BaseModel):
    """What there is after a piece."""

    id: str
    offset: int = Field(description="Bytes received, from which the next piece goes on")
    size: int
    state: UploadState


@router.post("/uploads", status_code=201, responses=problems("too-large", "conflict", "quota", "disk-full"))
def create_upload(
    request: Request, parts: Parts, principal: SignedIn, session: Writing, new: NewUpload, response: Response
) -> UploadView:
    """Begin to send a file; its pieces follow by PATCH."""
    upload = parts.uploads.create(session, principal.user_id, new.name, new.size, new.kind)
    note(request, session, "upload.create", target=upload.id, name=upload.name, kind=upload.kind, size=upload.size)
    response.headers["Location"] = request.url_for("get_upload", upload_id=upload.id).path
    response.headers.update(_offset_headers(upload))
    return _view(request, parts, upload)


@router.get("/uploads")
def list_uploads(
    request: Request,
    parts: Parts,
    principal: SignedIn,
    session: Reading,
    kind: UploadKind | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_UPLOADS)] = 50,
    after: Annotated[
        str | None, Query(pattern=r"^[0-9a-f]{8,32}$", description="`following` of the page before")
    ] = None,
    of_all: OfAll = False,
) -> UploadList:
    """List uploads, newest first."""
    found = uploads.page(session, principal.owner(of_all), kind, limit, after)
    return UploadList(items=[_view(request, parts, upload) for upload in found.uploads], following=found.following)


@router.patch(
    "/uploads/{upload_id}",
    openapi_extra=PIECE,
    responses=problems(
        "not-found", "too-slow", "wrong-offset", "conflict", "too-large", "unsupported-media-type", "disk-full"
    ),
)
async def send_piece(
    request: Request,
    parts: Parts,
    principal: SignedIn,
    upload_id: UploadId,
    response: Response,
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0, le=2**53, description="Bytes before this piece")],
) -> Received:
    """Send the next piece of a file; one that begins elsewhere is answered by 409, with the right offset."""
    _refuse_other_types(request)
    received = await parts.uploads.receive(
        principal.user_id, upload_id, offset, _length(request), request.stream().__aiter__()
    )
    response.headers.update(_offset_headers(received))
    return Received(id=received.id, offset=received.received, size=received.size, state=received.state)


@router.get("/uploads/{upload_id}", responses=problems("not-found"))
def get_upload(
    request: Request,
    parts: Parts,
    principal: SignedIn,
    session: Reading,
    upload_id: UploadId,
    response: Response,
    of_all: OfAll = False,
) -> UploadView:
    """Say how much of a file is there, and what is in it."""
    upload = uploads.get(session, upload_id, principal.owner(of_all))
    response.headers.update(_offset_headers(upload))
    return _view(request, parts, upload)


@router.head(
    "/uploads/{upload_id}",
    response_class=Response,
    responses=OFFSET | problems("not-found"),
)
def head_upload(principal: SignedIn, session: Reading, upload_id: UploadId) -> Response:
    """Say how much of a file is there, in the headers Upload-Offset and Upload-Length."""
    return Response(headers=_offset_headers(uploads.get(session, upload_id, principal.user_id)))


@router.get(
    "/uploads/{upload_id}/hillshade.png",
    response_class=FileResponse,
    responses=PICTURE | problems("not-found"),
)
def get_hillshade(
    parts: Parts, principal: SignedIn, session: Reading, upload_id: UploadId, of_all: OfAll = False
) -> FileResponse:
    """Return a picture of the elevation, which fills its bounds."""
    upload = uploads.get(session, upload_id, principal.owner(of_all))
    path = parts.uploads.folder(upload.id) / "hillshade.png"
    if upload.state != "ready" or not path.is_file():
        raise Problem("not-found", "There is no picture of this upload.")
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


@router.delete("/uploads/{upload_id}", status_code=204, responses=problems("not-found", "conflict"))
def delete_upload(request: Request, parts: Parts, principal: SignedIn, upload_id: UploadId) -> None:
    """Remove a file; jobs that are finished keep what they read."""
    with parts.database.session() as session:
        upload = uploads.get(session, upload_id, principal.owner(of_all=True))
        parts.uploads.delete(session, upload)
        note(request, session, "upload.delete", target=upload_id, name=upload.name)
    parts.uploads.remove_files(upload_id)


def _view(request: Request, parts: Parts, upload: Upload) -> UploadView:
    picture = upload.state == "ready" and upload.kind == "dem"
    return UploadView(
        id=upload.id,
        name=upload.name,
        kind=upload.kind,
        size=upload.size,
        offset=upload.received,
        chunk_bytes=parts.settings.chunk_bytes,
        state=upload.state,
        problem=upload.problem,
        sha256=upload.sha256,
        header=upload.header,
        hillshade=request.url_for("get_hillshade", upload_id=upload.id).path if picture else None,
        created=upload.created,
        touched=upload.touched,
    )


def _offset_headers(upload: Upload) -> dict[str, str]:
    return {
        "Upload-Offset": str(upload.received),
        "Upload-Length": str(upload.size),
        "Cache-Control": "no-store",
    }


def _refuse_other_types(request: Request) -> None:
    """Raise where a body is said to be something else than octets, such as a form."""
    said = request.headers.get("content-type", PIECE_TYPES[0]).partition(";")[0].strip().lower()
    if said not in PIECE_TYPES:
        raise Problem("unsupported-media-type", f"A piece is {PIECE_TYPES[0]}, not {said[:80]}.")


def _length(request: Request) -> int | None:
    said = request.headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else None
