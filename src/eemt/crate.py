"""A finished site as an RO-Crate: what came of which inputs, by which program, with which settings.

It follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and the profile Process Run Crate 0.5
(https://w3id.org/ro/wfrun/process/0.5): one action, the run, made the files of the folder from the inputs. Nothing is
copied; the description names the files where they are, with their checksums.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity, File
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from eemt.cf import CITATION
from eemt.config import Site
from eemt.dem.remote import Place
from eemt.errors import InputError
from eemt.inventory import ITEMS, kind, media_type, site_files
from eemt.origins import without_secrets
from eemt.plan import Plan, rasters_of
from eemt.provenance import DOI, homepage, now, versions
from eemt.raster import open_netcdf, open_raster, whole_or_nothing
from eemt.verification import digest, digests

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
LIBRARIES = ("snakemake", "numpy", "numba", "scipy", "pandas", "xarray", "rasterio", "pyproj", "pvlib", "h5netcdf")


def write_crate(
    folder: Path, out: Path, site: str, settings: Site, command: str | None = None, threads: int | None = None
) -> None:
    """Describe a finished site.

    Parameters
    ----------
    folder : path
        The site's folder of results; all in it that people keep is described (`eemt.inventory.site_files`), of the
        maps those of the settings.
    out : path
        ``ro-crate-metadata.json`` in it.
    site : str
        Name of the site.
    settings : Site
    command : str, optional
        Of the run, as it was typed.
    threads : int, optional
        Files that are read at once for their checksums.

    Raises
    ------
    InputError
        When a map is missing, or what says where inputs came from is not as it was written.
    """
    crate = ROCrate(version="1.1")
    # of schema.org, but not among the names that RO-Crate 1.1 has
    crate.metadata.extra_terms["sha256"] = "https://schema.org/sha256"
    names = list(_kept(folder, settings))
    files = [
        crate.add(File(crate, None, dest_path=name, properties=_about_file(name, digest.sha256, digest.size)))
        for name, digest in zip(names, digests((folder / name for name in names), threads), strict=True)
    ]
    run = _run(crate, folder, settings, command)
    run["object"] = [*_inputs(crate, folder, settings), _settings(crate, settings)]
    run["result"] = files
    crate.root_dataset["mentions"] = run
    _about_site(crate, site, settings, run)
    with whole_or_nothing(out) as partial:
        text = json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False, sort_keys=True)
        partial.write_text(f"{text}\n", encoding="utf-8")


def _kept(folder: Path, settings: Site) -> Iterator[str]:
    """Yield the files to be described; maps of years or methods that are no longer asked for are left out."""
    maps = Plan(settings).maps
    for name in maps:
        if not (folder / "maps" / f"{name}.tif").exists():
            raise InputError(f"crate: {folder / 'maps' / name}.tif does not exist; finish the run first")
    wanted = set(maps)
    for name in site_files(folder):
        path = Path(name)
        if path.parent.name not in {"maps", ITEMS} or path.stem in wanted:
            yield name


def _about_file(name: str, sha256: str, size: int) -> dict[str, Any]:
    known = kind(name)
    # sizes are text in RO-Crate 1.1
    about = {"name": name, "encodingFormat": _form(name), "contentSize": str(size), "sha256": sha256}
    return about | ({"description": known.meaning} if known else {})


def _about_site(crate: ROCrate, site: str, settings: Site, run: Entity) -> None:
    crate.name = f"{'EEMT' if settings.has_climate else 'Sun maps'} of {site}"
    crate.description = f"{_subject(site, settings)}, with what they were made from and how."
    root = crate.root_dataset
    root["identifier"] = site
    root["datePublished"] = now()
    root["keywords"] = ["EEMT", "effective energy and mass transfer", "critical zone"]
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    root["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, profile))
    paper = {"@type": "ScholarlyArticle", "name": CITATION, "identifier": f"doi:{DOI}"}
    root["citation"] = crate.add(ContextEntity(crate, f"https://doi.org/{DOI}", paper))
    outputs = settings.outputs
    root["license"] = _licence(crate, outputs.licence) if outputs.licence else _no_licence(crate)
    if outputs.publisher:
        organisation = crate.add(
            ContextEntity(crate, "#publisher", {"@type": "Organization", "name": outputs.publisher})
        )
        root["publisher"] = root["author"] = run["agent"] = organisation


def _subject(site: str, settings: Site) -> str:
    if not settings.has_climate:
        return f"Sun maps, slopes and wetness of {site}"
    return (
        f"Maps of effective energy and mass transfer (EEMT) of {site}, methods {', '.join(settings.eemt.methods)}, "
        f"years {', '.join(settings.climate.labels)}"
    )


def _licence(crate: ROCrate, name: str) -> Entity:
    about = {"@type": "CreativeWork", "name": name, "identifier": name}
    return crate.add(ContextEntity(crate, f"https://spdx.org/licenses/{name}", about))


def _no_licence(crate: ROCrate) -> Entity:
    about = {"@type": "CreativeWork", "name": "No licence", "description": "None is given; ask who made the maps."}
    return crate.add(ContextEntity(crate, "#licence", about))


def _form(name: str) -> str:
    # without parameters, as RO-Crate has it
    return media_type(name).split(";", maxsplit=1)[0]


def _run(crate: ROCrate, folder: Path, settings: Site, command: str | None) -> Entity:
    """Describe the run: from when the elevation was prepared to when the last map was written."""
    started = _told(folder / "dem" / "dem.json").get("created")
    ended = [_created(folder / "maps" / f"{name}.tif") for name in Plan(settings).maps]
    about = {
        "@type": "CreateAction",
        "name": "Run of the EEMT workflow",
        "instrument": _software(crate),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        **({"startTime": started} if started else {}),
        **({"endTime": max(filter(None, ended))} if any(ended) else {}),
        **({"description": without_secrets(command)} if command else {}),
    }
    return crate.add(ContextEntity(crate, "#run", about))


def _software(crate: ROCrate) -> Entity:
    """Describe this program, and what of other programs it ran with."""
    own, *others = (_program(crate, name, number) for name, number in versions(LIBRARIES).items())
    own["softwareRequirements"] = [
        *others,
        _program(crate, "Python", platform.python_version(), "https://www.python.org"),
    ]
    own["license"] = _licence(crate, "MIT")
    return own


def _program(crate: ROCrate, name: str, number: str, url: str | None = None) -> Entity:
    about = {"@type": "SoftwareApplication", "name": name, "softwareVersion": number}
    address = url or homepage(name)
    return crate.add(ContextEntity(crate, f"#{name}", about | ({"url": address} if address else {})))


def _settings(crate: ROCrate, settings: Site) -> Entity:
    value = json.dumps(without_secrets(settings.model_dump(mode="json")), ensure_ascii=False, sort_keys=True)
    about = {"@type": "PropertyValue", "name": "configuration of the site", "value": value}
    return crate.add(ContextEntity(crate, "#settings", about))


def _inputs(crate: ROCrate, folder: Path, settings: Site) -> Iterator[Entity]:
    yield from _elevations(crate, folder)
    if settings.has_climate:
        yield from _climate(crate, folder)
    for name, path in sorted(rasters_of(settings).items()):
        about = {"description": f"Raster of the parameter {name}"}
        if Path(path).is_file():
            sha256, size = digest(Path(path))
            about |= {"sha256": sha256, "contentSize": str(size), "encodingFormat": _form(path)}
        yield _input(crate, f"#{name}", Path(path).name, about)


def _elevations(crate: ROCrate, folder: Path) -> Iterator[Entity]:
    """Describe the elevation's rasters by what ``dem.json`` tells of them."""
    path = folder / "dem" / "dem.json"
    source = _told(path).get("source", {})
    title = source.get("title", "")
    try:
        pieces = [one for piece in source.get("pieces", []) for one in (piece, *piece.get("with", []))]
        for number, piece in enumerate(pieces, start=1):
            name = without_secrets(piece["url"]) if "url" in piece else piece["file"]
            about = {"description": f"Elevation: {title}" if title != name else "Elevation"}
            about |= {"sha256": piece["sha256"]} if "sha256" in piece else {}
            about |= {"contentSize": str(piece["size"])} if "size" in piece else {}
            about |= {"dateModified": piece["last_modified"]} if "last_modified" in piece else {}
            yield _input(crate, f"#elevation-{number}", name, about)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"crate: {path} is not what `eemt dem` writes ({error!r})") from None


def _climate(crate: ROCrate, folder: Path) -> Iterator[Entity]:
    """Describe the climate's source: each file that was downloaded, or the user's own as ``climate.nc`` names them."""
    path = folder / "climate" / "climate.json"
    parts = _told(path).get("parts", [])
    try:
        for part in parts:
            about = {"description": f"Climate: {part['variable']} of {part['year']}", "sha256": part["sha256"]}
            about |= {"dateModified": part["retrieved"]} if "retrieved" in part else {}
            name = f"climate-{part['variable']}-{part['year']}"
            about |= {"url": without_secrets(part["url"])} if "url" in part else {}
            yield _input(crate, f"#{name}", name, about)
    except (KeyError, TypeError) as error:
        raise InputError(f"crate: {path} is not what `eemt climate` writes ({error!r})") from None
    if parts:
        return
    with open_netcdf(folder / "climate" / "climate.nc", "crate") as dataset:
        told = {str(name): str(value) for name, value in dataset.attrs.items()}
    about = {"description": told.get("title", "Monthly climate")}
    about |= {"sha256": told["source_sha256"]} if "source_sha256" in told else {}
    about |= {"identifier": f"values:sha256:{told['values_sha256']}"} if "values_sha256" in told else {}
    yield _input(crate, "#climate", without_secrets(told.get("source", "climate")), about)


def _input(crate: ROCrate, identifier: str, name: str, about: dict[str, Any]) -> Entity:
    """Describe what is not in the folder: on a server under its address, elsewhere by its name alone."""
    if name.startswith(("http://", "https://")):
        return crate.add(File(crate, name, properties={"name": Place(name).name, **about}))
    return crate.add(ContextEntity(crate, identifier, {"@type": "CreativeWork", "name": name, **about}))


def _told(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"crate: {path} is not JSON ({error})") from None
    return told if isinstance(told, dict) else {}


def _created(path: Path) -> str:
    with open_raster(path, "crate") as source:
        return str(source.tags().get("CREATED", ""))
