"""Archived datasets registered with a SciCat catalogue: what they are, their files, blocks and states.

The words of the states are those that archivers and SciCat's pages know. SciCat itself counts a dataset's files and
bytes from what is registered; it also gives the dataset its identifier, and finds it again by ours among the keywords.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eemt.archive.errors import StorageError
from eemt.errors import InputError

if TYPE_CHECKING:
    from eemt.archive.blocks import Block, Member, Packed
    from eemt.archive.record import Record
    from eemt.archive.scicat_api import Api
    from eemt.config import ArchiveSettings

# files in one request, about 200 bytes each: proxies often take no more than 1 MB
FILES_AT_ONCE = 4000
CHECKSUM = "sha256"
FORM = "BagIt 1.0"  # of the folder that a datablock is a file of
FAULTS = {"user": "missingFilesError", "system": "scheduleArchiveJobFailed"}

Fields = dict[str, Any]
Known = dict[str, tuple[int, str | None]]  # size and checksum of files that SciCat has


def open_scicat(settings: ArchiveSettings) -> Scicat | None:
    """Open the SciCat that a site registers its datasets with.

    Parameters
    ----------
    settings : ArchiveSettings
        Of them `scicat`, `scicat_version`, `scicat_owner_group`, `scicat_access_groups`, `contact` and `storage`.

    Returns
    -------
    Scicat or None
        None where the site has no SciCat.

    Raises
    ------
    InputError
        When there is no token, an address that is not https, or the client is not installed.
    StorageError
        When the token has expired.
    """
    if settings.scicat is None:
        return None
    try:
        from eemt.archive.scicat_api import Api
    except ModuleNotFoundError as error:
        raise InputError(
            f"archive.scicat: {error.name} is not installed; install the extra with `pip install 'eemt[archive]'`"
        ) from None
    return Scicat(Api(settings.scicat, settings.scicat_version), settings)


class Scicat:
    """A SciCat catalogue that is told of datasets.

    Each call may be made again, after one that failed or was cut off: what is there already, and is the same, stays.

    Parameters
    ----------
    api : Api
        Its calls.
    settings : ArchiveSettings
        See `open_scicat`.

    Raises
    ------
    InputError
        In every call, when SciCat finds fault with the description of the dataset.
    StorageError
        In every call: gone, when SciCat could not be reached for long or has no such dataset; denied, when it
        refuses the token or what its user wants to do; corrupt, when it has something else of the same name.
    """

    def __init__(self, api: Api, settings: ArchiveSettings) -> None:
        self.api, self.settings = api, settings
        self._blocks: dict[str, tuple[Record, Sequence[Block]]] = {}

    def register(self, record: Record, blocks: Sequence[Block]) -> str:
        """Register a dataset and its files.

        Parameters
        ----------
        record : Record
            What is known of it.
        blocks : sequence of Block
            How its files are packed.

        Returns
        -------
        str
            The identifier that SciCat knows it by.
        """
        found = self.api.ensure(
            partial(self._dataset, record.identifier),
            partial(self.api.make_dataset, self._described(record)),
            f"the dataset {record.identifier}",
        )
        pid = str(found["pid"])
        self._list_files(pid, record, [member for block in blocks for member in block.members])
        self._blocks[pid] = record, blocks
        return pid

    def archiving(self, pid: str) -> None:
        """Say that the dataset is on its way to the storage."""
        self.api.change_lifecycle(pid, {"archivable": False, "retrievable": False, "archiveStatusMessage": "started"})

    def datablocks(self, pid: str, packed: Sequence[Packed]) -> None:
        """Register the blocks of a dataset as they lie in the storage.

        Parameters
        ----------
        pid : str
            As `register` of this object returned it.
        packed : sequence of Packed
            The blocks.
        """
        record, blocks = self._blocks[pid]
        members = {block.name: block.members for block in blocks}
        for one in packed:
            self._store(pid, record, one, members[one.name])
        everything = [member for block in blocks for member in block.members]
        self.api.correct_counts(pid, len(everything), _bytes(everything))

    def archived(self, pid: str) -> None:
        """Say that every block of the dataset is in the storage and verified."""
        self.api.change_lifecycle(
            pid,
            {
                "archivable": False,
                "retrievable": True,
                "archiveStatusMessage": "datasetOnArchiveDisk",
                "archiveReturnMessage": {"message": "all blocks were read back and are right"},
            },
        )

    def failed(self, pid: str, fault: Literal["user", "system"], message: str) -> None:
        """Say that the dataset could not be archived, whose fault that is and what it was."""
        self.api.change_lifecycle(
            pid,
            {
                "archivable": False,
                "retrievable": False,
                "archiveStatusMessage": FAULTS[fault],
                "archiveReturnMessage": {"message": message},
            },
        )

    def retrieving(self, pid: str) -> None:
        """Say that the dataset is being brought back."""
        self.api.change_lifecycle(pid, {"retrieveStatusMessage": "started", "retrieveIntegrityCheck": False})

    def retrieved(self, pid: str) -> None:
        """Say that the dataset was brought back and is what was archived."""
        self.api.change_lifecycle(
            pid,
            {
                "retrievable": True,
                "retrieveStatusMessage": "datasetRetrieved",
                "retrieveReturnMessage": {"message": "every file is what was archived"},
                "retrieveIntegrityCheck": True,
            },
        )

    def retrieval_failed(self, pid: str, message: str) -> None:
        """Say that the dataset could not be brought back, and why."""
        self.api.change_lifecycle(
            pid,
            {
                "retrieveStatusMessage": "datasetRetrievalFailed",
                "retrieveReturnMessage": {"message": message},
                "retrieveIntegrityCheck": False,
            },
        )

    def find(self, identifier: str) -> str | None:
        """Return the identifier that SciCat knows a dataset by, None where it does not know it."""
        found = self._dataset(identifier)
        return str(found["pid"]) if found else None

    def _dataset(self, identifier: str) -> Fields | None:
        found = self.api.datasets("keywords", identifier)
        # the first that was made, should two runs ever have made one each
        return min(found, key=lambda one: (str(one.get("createdAt", "")), str(one["pid"])), default=None)

    def _described(self, record: Record) -> dict[str, Any]:
        if self.settings.contact is None:
            raise InputError("archive.contact: is not set; SciCat takes no dataset without an address for letters")
        people = list(record.creators) or [record.publisher or self.settings.contact]
        return {
            "type": "derived",
            "datasetName": record.title,
            "description": record.description or record.title,
            "keywords": [record.identifier, record.site, record.kind, *record.methods],
            "owner": "; ".join(people),
            "principalInvestigators": people,
            "contactEmail": self.settings.contact,
            "ownerGroup": self.settings.scicat_owner_group,
            "accessGroups": list(self.settings.scicat_access_groups),
            "creationTime": record.created,
            "sourceFolder": _source_folder(self.settings.storage, record.identifier),
            "inputDatasets": list(dict.fromkeys(source.url or source.name for source in record.sources)),
            "usedSoftware": [record.program],
            "license": record.licence,
            "scientificMetadata": _metadata(record),
        }

    def _list_files(self, pid: str, record: Record, members: Sequence[Member]) -> None:
        known = _known(self.api.orig_datablocks(pid))
        self._compare(pid, [member for member in members if member.path in known], known)
        missing = [member for member in members if member.path not in known]
        for start in range(0, len(missing), FILES_AT_ONCE):
            some = missing[start : start + FILES_AT_ONCE]
            fields = {"size": _bytes(some), "chkAlg": CHECKSUM, "dataFileList": _files(some, record)}
            self.api.ensure(
                partial(self._list_with, pid, some[0].path),
                partial(self.api.make_orig_datablock, pid, fields),
                f"the files of {pid}",
                look_first=False,
            )

    def _list_with(self, pid: str, path: str) -> Fields | None:
        return next((one for one in self.api.orig_datablocks(pid) if path in _known([one])), None)

    def _store(self, pid: str, record: Record, packed: Packed, members: Sequence[Member]) -> None:
        name = f"{record.identifier}/{packed.name}"  # where it is in the storage; SciCat wants it to be unique
        fields = {
            "archiveId": name,
            "size": _bytes(members),
            "packedSize": packed.size,
            "chkAlg": CHECKSUM,
            "version": FORM,
            "dataFileList": _files(members, record),
        }
        groups = {
            "ownerGroup": self.settings.scicat_owner_group,
            "accessGroups": list(self.settings.scicat_access_groups),
        }
        found = self.api.ensure(
            partial(self.api.datablock, pid, name),
            partial(self.api.make_datablock, pid, fields, groups),
            f"the datablock {name}",
        )
        if found["packedSize"] != packed.size:
            raise self._other(pid, f"{name} of {found['packedSize']} bytes, not {packed.size}")
        self._compare(pid, members, _known([found]), of=f" in {name}")

    def _compare(self, pid: str, members: Iterable[Member], known: Known, of: str = "") -> None:
        for member in members:
            if known.get(member.path) != (member.size, member.sha256):
                raise self._other(pid, f"{member.path}{of} with another size or checksum, or not at all")

    def _other(self, pid: str, what: str) -> StorageError:
        return StorageError(
            "corrupt",
            f"archive: SciCat at {self.api.address} has of {pid} {what}; it was changed there: remove the dataset from "
            "SciCat and run again",
        )


def _known(lists: Iterable[Fields]) -> Known:
    return {one["path"]: (one["size"], one.get("chk")) for listed in lists for one in listed.get("dataFileList") or ()}


def _bytes(members: Iterable[Member]) -> int:
    return sum(member.size for member in members)


def _files(members: Iterable[Member], record: Record) -> list[dict[str, Any]]:
    # all files have the time of the dataset, in the blocks as well
    return [
        {"path": member.path, "size": member.size, "time": record.created, "chk": member.sha256} for member in members
    ]


def _source_folder(storage: str | None, identifier: str) -> str:
    """Return where a dataset's bag lies, as an absolute path within its folder, bucket or remote."""
    place = storage or "/"
    if place.startswith("s3://"):
        folder = "/" + place.removeprefix("s3://")
    elif place.startswith("rclone:"):
        folder = "/" + place.split(":", 2)[2]
    else:
        folder = str(Path(place).resolve())
    return f"/{folder.strip('/')}/{identifier}".replace("//", "/")


def _metadata(record: Record) -> dict[str, Any]:
    """Return what can be searched for in SciCat, parameters by section."""
    box = dict(zip(("west", "south", "east", "north"), record.bbox or (), strict=False))
    found = {
        "identifier": record.identifier,
        "site": record.site,
        "kind": record.kind,
        "methods": list(record.methods),
        **({"bounds": {side: {"value": value, "unit": "deg"} for side, value in box.items()}} if box else {}),
        **({"years": {"first": record.period[0], "last": record.period[1]}} if record.period else {}),
        "parameters": record.settings,
        "versions": record.versions,
    }
    return {name: _storable(value) for name, value in found.items()}


def _storable(value: Any) -> Any:
    """Return a value with names that MongoDB takes: without points, and no $ at the start."""
    if isinstance(value, dict):
        return {re.sub(r"\.|^\$", "_", str(name)): _storable(inner) for name, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list | tuple) else value
