"""What SciCat's server takes, by the DTOs of its backend, and in what words it refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

Check = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str)


def texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(text, value))


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def truth(value: Any) -> bool:
    return isinstance(value, bool)


def mapping(value: Any) -> bool:
    return isinstance(value, dict)


def moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) >= 10 and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def addresses(value: Any) -> bool:
    return text(value) and all(re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", one.strip()) for one in value.split(";"))


def anything(value: Any) -> bool:
    return value is not None


def files(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not any(faults(FILE, one) for one in value)


WORDS: dict[Check, str] = {
    text: "must be a string",
    texts: "each value in {} must be a string",
    whole: "must be an integer number",
    truth: "must be a boolean value",
    mapping: "must be an object",
    moment: "must be a valid ISO 8601 date string",
    addresses: "must be a list of valid emails",
    files: "should not be empty",
    anything: "should not be empty",
}

# name: check, and whether it must be there
Form = dict[str, tuple[Check, bool]]
OWNED: Form = {"ownerGroup": (text, True), "accessGroups": (texts, False), "instrumentGroup": (text, False)}
FILE: Form = {
    "path": (text, True),
    "size": (whole, True),
    "time": (moment, True),
    "chk": (text, False),
    "uid": (text, False),
    "gid": (text, False),
    "perm": (text, False),
}
DATASET: Form = {
    **OWNED,
    "pid": (text, False),
    "type": (text, True),
    "contactEmail": (addresses, True),
    "sourceFolder": (text, True),
    "creationTime": (moment, True),
    "ownerEmail": (addresses, False),
    "sourceFolderHost": (text, False),
    "size": (whole, False),
    "packedSize": (whole, False),
    "numberOfFiles": (whole, False),
    "numberOfFilesArchived": (whole, False),
    "keywords": (texts, False),
    "description": (text, False),
    "license": (text, False),
    "isPublished": (truth, False),
    "datasetlifecycle": (mapping, False),
    "scientificMetadata": (mapping, False),
    "comment": (text, False),
    "jobParameters": (mapping, False),
    "classification": (text, False),
}
DATASETS: dict[str, Form] = {
    "v3": {
        **DATASET,
        "owner": (text, True),
        "datasetName": (text, False),
        "investigator": (text, True),
        "inputDatasets": (texts, True),
        "usedSoftware": (texts, True),
        "proposalId": (text, False),
    },
    "v4": {
        **DATASET,
        "owner": (text, False),
        "datasetName": (text, True),
        "principalInvestigators": (texts, False),
        "inputDatasets": (texts, False),
        "usedSoftware": (texts, False),
        "startTime": (moment, False),
        "endTime": (moment, False),
        "proposalIds": (texts, False),
    },
}
LISTED: Form = {"size": (whole, True), "chkAlg": (text, False), "dataFileList": (files, True)}
ORIG_DATABLOCKS: dict[str, Form] = {
    "v3": LISTED,
    "v4": {**LISTED, **OWNED, "ownerGroup": (text, False), "datasetId": (text, True)},
}
STORED: Form = {**LISTED, "archiveId": (text, True), "packedSize": (whole, True), "version": (text, True)}
DATABLOCKS: dict[str, Form] = {"of a dataset": STORED, "alone": {**STORED, **OWNED, "datasetId": (text, True)}}
LIFECYCLE: Form = {
    "archivable": (truth, False),
    "retrievable": (truth, False),
    "publishable": (truth, False),
    "isOnCentralDisk": (truth, False),
    "archiveStatusMessage": (text, False),
    "retrieveStatusMessage": (text, False),
    "archiveReturnMessage": (anything, False),
    "retrieveReturnMessage": (anything, False),
    "retrieveIntegrityCheck": (truth, False),
    "storageLocation": (text, False),
}
NEW_LIFECYCLE: dict[str, Any] = {
    "archivable": True,
    "retrievable": False,
    "publishable": False,
    "isOnCentralDisk": True,
    "archiveStatusMessage": "datasetCreated",
    "retrieveStatusMessage": "",
    "archiveReturnMessage": {},
    "retrieveReturnMessage": {},
    "retrieveIntegrityCheck": False,
}


def faults(form: Form, sent: Any) -> list[str]:
    """Return what is wrong with something sent, in the server's words."""
    if not isinstance(sent, dict):
        return ["must be an object"]
    found = [f"property {name} should not exist" for name in sent if name not in form]
    for name, (check, needed) in form.items():
        value = sent.get(name)
        if (value is not None or needed) and not check(value):
            words = WORDS[check]
            found.append(words.format(name) if "{}" in words else f"{name} {words}")
    return found
