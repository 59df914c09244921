"""SciCat's REST API: what its versions 3 and 4 take and return, and what they differ in.

scitacean's models refuse what SciCat would refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import pydantic
from scitacean import model

from eemt.archive.errors import StorageError
from eemt.archive.scicat_session import Conflict, Fields, Session
from eemt.errors import InputError

Model = TypeVar("Model", bound=pydantic.BaseModel)

MANY = 10_000  # more than SciCat has of one dataset; without a limit it returns the first 100


class DatasetOfV3(model.UploadDataset):
    """A derived dataset as version 3 takes it."""

    investigator: str
    inputDatasets: list[str]  # type: ignore[assignment]  # noqa: N815  SciCat's name; required here, texts as well as pids
    usedSoftware: list[str]  # noqa: N815


class DatasetOfV4(model.UploadDataset):
    """A derived dataset as version 4 takes it."""

    inputDatasets: list[str]  # type: ignore[assignment]  # noqa: N815  addresses as well as pids


class DatablockOfDataset(model.UploadDatablock):
    """A datablock that says itself which dataset it is of."""

    datasetId: str  # noqa: N815
    ownerGroup: str  # noqa: N815
    accessGroups: list[str]  # noqa: N815


class OrigDatablockOfV3(pydantic.BaseModel):
    """The same as scitacean's; in version 3 the address says which dataset it is of."""

    dataFileList: list[model.UploadDataFile]  # noqa: N815
    size: int
    chkAlg: str  # noqa: N815


class Lifecycle(pydantic.BaseModel):
    """What changes of a dataset's lifecycle."""

    media_type: ClassVar[str] = "application/merge-patch+json"
    model_config = pydantic.ConfigDict(extra="allow")


class Counts(pydantic.BaseModel):
    """How many files and bytes a dataset has."""

    numberOfFiles: int  # noqa: N815
    size: int


class LifecycleOfV3(pydantic.BaseModel):
    """A dataset's whole lifecycle: version 3 replaces it."""

    datasetlifecycle: Fields


class Api(Session):
    """What is asked of a SciCat, in the version of its API that the session has."""

    def datasets(self, field: str, value: str) -> list[Fields]:
        """Return the datasets whose field is, or whose list of that name has, a value."""
        # a lookup of one by its pid has four answers where there is none: 404, 403, an empty one, and 500
        if self.version == "v4":
            wanted: Fields = {"filter": json.dumps({"where": {field: value}, "limits": {"limit": 100}})}
            listed = self.call("GET", "datasets", params=wanted)
        else:
            # texts in a filter of version 3 that JavaScript can read as a date are taken for one; not so here
            wanted = {"fields": json.dumps({field: [value] if field == "keywords" else value})}
            listed = self.call("GET", "datasets/fullquery", params=wanted)
        return [one for one in listed or [] if _fits(one.get(field), value)]

    def make_dataset(self, fields: Mapping[str, Any]) -> Fields | None:
        """Make a dataset; its people, `principalInvestigators`, are one text in version 3."""
        if self.version == "v4":
            return _made(self.once("POST", "datasets", data=_model(DatasetOfV4, fields)))
        others = {name: value for name, value in fields.items() if name != "principalInvestigators"}
        people = "; ".join(fields["principalInvestigators"])
        return _made(self.once("POST", "datasets", data=_model(DatasetOfV3, {**others, "investigator": people})))

    def orig_datablocks(self, pid: str) -> list[Fields]:
        """Return the lists of a dataset's files."""
        if self.version == "v4":
            wanted = {"filter": json.dumps({"where": {"datasetId": pid}, "limits": {"limit": MANY}})}
            return self.call("GET", "origdatablocks", params=wanted) or []
        return self.call("GET", f"datasets/{_quoted(pid)}/origdatablocks") or []

    def make_orig_datablock(self, pid: str, fields: Mapping[str, Any]) -> Fields | None:
        """Add a list of files."""
        if self.version == "v4":
            filled = _model(model.UploadOrigDatablock, {**fields, "datasetId": pid})
            return _made(self.once("POST", "origdatablocks", data=filled))
        path = f"datasets/{_quoted(pid)}/origdatablocks"
        return _made(self.once("POST", path, data=_model(OrigDatablockOfV3, fields)))

    def datablock(self, pid: str, archive_id: str) -> Fields | None:
        """Return one of a dataset's datablocks, or None."""
        if self.version == "v4":
            # version 4 has no datablocks of its own; they are reached as before, beside the datasets. A name that ends
            # in a word, as .tar, is no date to JavaScript, for which a filter of version 3 might take it
            wanted = {"filter": json.dumps({"where": {"archiveId": archive_id}})}
            listed = self.call("GET", "datablocks", params=wanted, version="v3")
        else:
            listed = self.call("GET", f"datasets/{_quoted(pid)}/datablocks")
        return next(
            (one for one in listed or [] if one.get("archiveId") == archive_id and one.get("datasetId") == pid), None
        )

    def make_datablock(self, pid: str, fields: Mapping[str, Any], groups: Mapping[str, Any]) -> Fields | None:
        """Add a datablock."""
        if self.version == "v4":
            filled = _model(DatablockOfDataset, {**fields, **groups, "datasetId": pid})
            return _made(self.once("POST", "datablocks", data=filled, version="v3"))
        path = f"datasets/{_quoted(pid)}/datablocks"
        return _made(self.once("POST", path, data=_model(model.UploadDatablock, fields)))

    def correct_counts(self, pid: str, files: int, size: int) -> None:
        """Have SciCat say how many files and bytes a dataset has; version 3 counts those of datablocks again."""
        if self.version == "v3":
            counts = Counts(numberOfFiles=files, size=size)
            if not counts.model_dump().items() <= self._dataset(pid).items():
                self.call("PATCH", f"datasets/{_quoted(pid)}", data=counts)

    def change_lifecycle(self, pid: str, changes: Mapping[str, Any]) -> None:
        """Change fields of a dataset's lifecycle; the others stay as they are."""
        try:
            if self.version == "v4":
                self.call("PATCH", f"datasets/{_quoted(pid)}/datasetlifecycle", data=Lifecycle(**changes))
            else:
                before = self._dataset(pid).get("datasetlifecycle") or {}
                whole = {name: value for name, value in {**before, **changes}.items() if name != "_id"}
                self.call("PATCH", f"datasets/{_quoted(pid)}", data=LifecycleOfV3(datasetlifecycle=whole))
        except Conflict:  # it is as it should be
            return

    def _dataset(self, pid: str) -> Fields:
        found = self.datasets("pid", pid)
        if not found:
            raise StorageError("gone", f"archive: SciCat at {self.address} has no dataset {pid}")
        return found[0]


def _fits(has: Any, value: str) -> bool:
    return value in has if isinstance(has, list) else has == value


def _quoted(pid: str) -> str:
    return quote(pid, safe="")


def _made(answer: Any) -> Fields | None:
    """Return what was made; version 3 answers with nothing, and well, when the dataset is not there."""
    return answer if isinstance(answer, dict) else None


def _model(form: type[Model], fields: Mapping[str, Any]) -> Model:
    try:
        return form(**fields)
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(map(str, fault["loc"]))
        raise InputError(f"archive: SciCat would not take {name} {fault['input']!r}: {fault['msg']}") from None
