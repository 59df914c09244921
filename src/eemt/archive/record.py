"""What is known of a dataset, in one record, and the same as DataCite and STAC have it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pystac
from pydantic import BaseModel, ConfigDict, Field

from eemt.archive.blocks import Block, Member, Packed
from eemt.archive.dataset import Dataset, entities, raw_settings
from eemt.cf import CITATION
from eemt.config import ArchiveSettings
from eemt.errors import InputError
from eemt.inventory import CRATE, media_type
from eemt.origins import without_secrets
from eemt.provenance import DOI
from eemt.raster import read_grid
from eemt.stac import KEYWORDS, degrees

DATACITE = "http://datacite.org/schema/kernel-4"
UNKNOWN = "(:unav)"  # DataCite's word for a value that is not available
MEDIA_TYPES = {"none": "application/x-tar", "zstd": "application/zstd"}
# where the rasters are that say what ground the dataset is of, the best first
PLACED = ("maps/", "sun/monthly_global", "sun/", "terrain/", "dem/dem.tif")


class Source(BaseModel):
    """Something that the dataset was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    url: str | None = None
    sha256: str | None = None


class Record(BaseModel):
    """What is known of a dataset.

    Times are as in ISO 8601, the box is west, south, east, north [degrees, WGS 84].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal[1] = Field(1, description="Version of this record's form")
    identifier: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*-[0-9a-f]{12}$")
    site: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    title: str
    description: str
    created: str = Field(description="When the crate was written")
    bbox: tuple[float, float, float, float] | None
    period: tuple[int, int] | None = Field(description="First and last year")
    kind: Literal["eemt", "sun"]
    methods: tuple[str, ...]
    parameters: dict[str, Any] = Field(description="Settings by section.key")
    versions: dict[str, str] = Field(description="Of the program and what it ran with")
    licence: str | None = Field(description="SPDX name")
    publisher: str | None
    creators: tuple[str, ...]
    contact: str | None = Field(description="E-mail address for letters about the dataset")
    files: int = Field(ge=1)
    bytes: int = Field(ge=0)
    tiles: bool = Field(description="Whether tiles are among the files")
    program: str
    sources: tuple[Source, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings by section."""
        sections: dict[str, Any] = {}
        for name, value in self.parameters.items():
            section, _, key = name.partition(".")
            sections.setdefault(section, {})[key] = value
        return sections


def describe(dataset: Dataset, archive: ArchiveSettings | None = None) -> Record:
    """Describe a dataset by its settings, its crate and the headers of its rasters.

    Parameters
    ----------
    dataset : Dataset
        What of its settings cannot be understood is taken from the crate as it stands there.
    archive : ArchiveSettings, optional
        Who made the datasets, and who answers for them.

    Raises
    ------
    InputError
        When the crate, or a raster that says where the site is, is not as it was written.
    """
    folder, site, members = dataset.folder, dataset.site, dataset.members
    try:
        about = entities((folder / CRATE).read_bytes())
    except OSError as error:
        raise InputError(f"archive: {folder / CRATE} cannot be read ({error.strerror})") from None
    root, run = about.get("./", {}), about.get("#run", {})
    told = dataset.settings.model_dump(mode="json") if dataset.settings else raw_settings(about)
    kind: Literal["eemt", "sun"] = "sun" if _section(told, "climate").get("source") == "none" else "eemt"
    versions = {
        str(one["name"]): str(one.get("softwareVersion", ""))
        for one in about.values()
        if one.get("@type") == "SoftwareApplication" and "name" in one
    }
    outputs = _section(told, "outputs")
    publisher = outputs.get("publisher") or _name(about, root.get("publisher"))
    made_by = archive.creators if archive else ()
    creators = made_by or tuple(_names(about, root.get("author"))) or ((publisher,) if publisher else ())
    return Record(
        identifier=dataset.identifier,
        site=site,
        title=str(root.get("name") or f"{'EEMT' if kind == 'eemt' else 'Sun maps'} of {site}"),
        description=str(root.get("description", "")),
        created=str(root.get("datePublished", "")),
        bbox=_bbox(folder, members),
        period=_period(told) if kind == "eemt" else None,
        kind=kind,
        methods=tuple(_section(told, "eemt").get("methods") or ()) if kind == "eemt" else (),
        parameters=_parameters(told),
        versions=dict(sorted(versions.items())),
        licence=outputs.get("licence") or _licence(about, root.get("license")),
        publisher=publisher,
        creators=creators,
        contact=archive.contact if archive else None,
        files=len(members),
        bytes=dataset.size,
        tiles=dataset.tiles,
        program=f"eemt {versions.get('eemt', '')}".strip(),
        sources=tuple(_sources(about, run)),
    )


def _section(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = told.get(name)
    return section if isinstance(section, dict) else {}


def _parameters(told: Mapping[str, Any]) -> dict[str, Any]:
    shown = without_secrets(told)
    return {f"{name}.{key}": value for name in sorted(shown) for key, value in sorted(_section(shown, name).items())}


def _period(told: Mapping[str, Any]) -> tuple[int, int] | None:
    climate = _section(told, "climate")
    match climate.get("normals_period") or climate.get("years"):
        case [int(first), int(last)]:
            return first, last
    return None


def _links(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [str(one["@id"]) for one in listed if isinstance(one, dict) and "@id" in one]


def _names(about: Mapping[str, Mapping[str, Any]], value: Any) -> list[str]:
    return [str(about[link]["name"]) for link in _links(value) if about.get(link, {}).get("name")]


def _name(about: Mapping[str, Mapping[str, Any]], value: Any) -> str | None:
    return next(iter(_names(about, value)), None)


def _licence(about: Mapping[str, Mapping[str, Any]], value: Any) -> str | None:
    return _name(about, [{"@id": link} for link in _links(value) if link != "#licence"])


def _sources(about: Mapping[str, Mapping[str, Any]], run: Mapping[str, Any]) -> Iterable[Source]:
    for link in _links(run.get("object")):
        one = about.get(link, {})
        if link == "#settings" or not one:
            continue
        address = one.get("url") or (link if re.match(r"https?://", link) else None)
        yield Source(
            name=str(without_secrets(str(one.get("name", link)))),
            description=str(one.get("description", "")),
            url=str(without_secrets(str(address))) if address else None,
            sha256=one.get("sha256"),
        )


def _bbox(folder: Path, members: Sequence[Member]) -> tuple[float, float, float, float] | None:
    """Return the box around the maps, from the header of one of them."""
    rasters = [member.path for member in members if member.path.endswith(".tif")]
    placed = next((name for start in PLACED for name in rasters if name.startswith(start)), None)
    if placed is None:
        return None
    box = degrees(read_grid(folder / placed, "archive"))
    if not all(map(math.isfinite, box)):
        raise InputError(f"archive: {folder / placed} has a coordinate system that cannot be brought to degrees")
    west, south, east, north = box
    return west, south, east, north


def _moment(record: Record) -> datetime:
    moment = datetime.fromisoformat(record.created)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def datacite(record: Record) -> dict[str, Any]:
    """Return a record as DataCite's metadata, schema 4.6 in its JSON form.

    It has no DOI: none is registered by archiving. Creator and publisher, which DataCite wants, are its word for
    unavailable where they are not known.
    """
    creators = [{"name": name, "nameType": _sort_of(name, record)} for name in record.creators] or [{"name": UNKNOWN}]
    return {
        "schemaVersion": DATACITE,
        "alternateIdentifiers": [{"alternateIdentifier": record.identifier, "alternateIdentifierType": "eemt archive"}],
        "creators": creators,
        "titles": [{"title": record.title, "lang": "en"}],
        "publisher": {"name": record.publisher or UNKNOWN},
        "publicationYear": str(_moment(record).year),
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Maps with their inputs' description"},
        "subjects": [{"subject": word} for word in KEYWORDS],
        "contributors": _contributors(record),
        "dates": [
            {"date": record.created, "dateType": "Created"},
            *([{"date": _span(record.period), "dateType": "Coverage"}] if record.period else []),
        ],
        "language": "en",
        "relatedIdentifiers": [
            {
                "relatedIdentifier": DOI,
                "relatedIdentifierType": "DOI",
                "relationType": "IsDocumentedBy",
                "resourceTypeGeneral": "JournalArticle",
            },
            *(
                {"relatedIdentifier": url, "relatedIdentifierType": "URL", "relationType": "IsDerivedFrom"}
                for url in dict.fromkeys(source.url for source in record.sources if source.url)
            ),
        ],
        "sizes": [f"{record.files} files", f"{record.bytes} bytes"],
        "formats": ["image/tiff", "application/x-netcdf", "text/csv", "application/x-tar"],
        "version": record.identifier.rpartition("-")[2],
        "rightsList": [_rights(record.licence)] if record.licence else [],
        "descriptions": [
            {"description": record.description or record.title, "descriptionType": "Abstract", "lang": "en"},
            {"description": f"Made by {record.program}, after {CITATION}", "descriptionType": "Methods", "lang": "en"},
        ],
        "geoLocations": [{"geoLocationPlace": record.site, **_place(record.bbox)}],
        "fundingReferences": [],
    }


def _sort_of(name: str, record: Record) -> str:
    return "Organizational" if name == record.publisher else "Personal"


def _contributors(record: Record) -> list[dict[str, str]]:
    made_by = {"name": record.publisher, "nameType": "Organizational", "contributorType": "Producer"}
    answers = {"name": record.contact, "contributorType": "ContactPerson"}
    return [{key: value for key, value in one.items() if value} for one in (made_by, answers) if one["name"]]


def _span(years: tuple[int, int]) -> str:
    return f"{years[0]}/{years[1]}"


def _rights(licence: str) -> dict[str, str]:
    return {
        "rights": licence,
        "rightsUri": f"https://spdx.org/licenses/{licence}",
        "rightsIdentifier": licence,
        "rightsIdentifierScheme": "SPDX",
        "schemeUri": "https://spdx.org/licenses/",
    }


def _place(bbox: tuple[float, float, float, float] | None) -> dict[str, Any]:
    if bbox is None:
        return {}
    names = ("westBoundLongitude", "southBoundLatitude", "eastBoundLongitude", "northBoundLatitude")
    return {"geoLocationBox": dict(zip(names, bbox, strict=True))}


def collection(record: Record, blocks: Sequence[Block], packed: Sequence[Packed]) -> dict[str, Any]:
    """Return a record as a STAC Collection, whose assets are the blocks and what describes them.

    Its links are relative to the folder ``metadata`` of the bag.
    """
    made = pystac.Collection(
        id=record.identifier,
        title=record.title,
        description=record.description or record.title,
        extent=pystac.Extent(
            pystac.SpatialExtent([list(record.bbox or (-180.0, -90.0, 180.0, 90.0))]),
            pystac.TemporalExtent([_interval(record)]),
        ),
        license=record.licence or "other",
        keywords=[*KEYWORDS],
        providers=_providers(record),
        extra_fields={
            "created": record.created,
            "eemt:site": record.site,
            "eemt:kind": record.kind,
            "eemt:methods": list(record.methods),
            "eemt:parameters": record.parameters,
            "eemt:versions": record.versions,
        },
    )
    made.remove_hierarchical_links()
    sizes = {one.name: one for one in packed}
    for block in blocks:
        stored = sizes[block.name]
        title = f"{len(block.members)} files, {block.members[0].path} to {block.members[-1].path}"
        made.add_asset(
            block.name.removeprefix("data/"),
            pystac.Asset(
                f"../{block.name}",
                title,
                media_type=MEDIA_TYPES[block.compression],
                roles=["data", "archive"],
                extra_fields={"eemt:size": stored.size, "eemt:sha256": stored.sha256},
            ),
        )
    for name in ("record.json", "datacite.json", "config.json", "blocks.csv", CRATE):
        made.add_asset(name, pystac.Asset(f"./{name}", media_type=media_type(name), roles=["metadata"]))
    made.add_link(pystac.Link("cite-as", f"https://doi.org/{DOI}", title="The paper of the model"))
    return dict(json.loads(json.dumps(made.to_dict(include_self_link=False, transform_hrefs=False))))


def _interval(record: Record) -> list[datetime | None]:
    if record.period is None:
        return [_moment(record), None]
    first, last = record.period
    return [datetime(first, 1, 1, tzinfo=UTC), datetime(last, 12, 31, 23, 59, 59, tzinfo=UTC)]


def _providers(record: Record) -> list[pystac.Provider]:
    software = pystac.Provider("eemt", roles=[pystac.ProviderRole.PROCESSOR], description="The program of the maps")
    made_by = [pystac.Provider(record.publisher, roles=[pystac.ProviderRole.PRODUCER])] if record.publisher else []
    return [*made_by, software]
