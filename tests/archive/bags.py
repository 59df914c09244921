"""A small finished site with its RO-Crate, made without running the workflow, and the same as a bag in a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eemt.archive.areas import Area, open_area
from eemt.archive.bag import TAGMANIFEST, Bag, read_bag, write_bag
from eemt.archive.below import Below
from eemt.archive.blocks import Member, Packed, pack, plan_blocks
from eemt.archive.dataset import Dataset, land
from eemt.archive.record import describe
from eemt.config import Site, check_section
from eemt.crate import write_crate
from eemt.grid import Grid
from eemt.inventory import CRATE
from eemt.plan import Plan
from eemt.raster import write_geotiff

GRID = Grid("EPSG:32613", 471_000.0, 4_423_000.0, 30.0, 30.0, 12, 10)
WRITTEN = 1_700_000_000  # s since 1970: 2023-11-14T22:13:20+00:00
SITE = "ridge"
LARGE = 2_500_000  # bytes, three pieces of a block


@dataclass(frozen=True)
class FinishedSite:
    """A site's folder of results with its crate, and its configuration."""

    folder: Path
    settings: Site
    site: str = SITE

    def describe(self) -> None:
        """Write the crate, anew after a change."""
        write_crate(self.folder, self.folder / CRATE, self.site, self.settings, "snakemake --cores 2", threads=1)

    def land(self, **how: Any) -> Dataset:
        return land(self.folder, self.site, **{"threads": 1, **how})


def make_site(folder: Path, changes: dict[str, dict[str, Any]] | None = None) -> FinishedSite:
    """Make the files that a run leaves, with small rasters, and their crate."""
    values: dict[str, dict[str, Any]] = {
        "dem": {"source": str(folder.parent / "hills.tif")},
        "climate": {"source": "daymet", "years": [2001, 2003]},
        "eemt": {"methods": ["trad", "topo"], "keep": []},
        "outputs": {"parts": False, "publisher": "Catchment Survey", "licence": "CC-BY-4.0"},
    }
    for section, changed in (changes or {}).items():
        values[section] = {**values.get(section, {}), **changed}
    settings = check_section(Site, values, "settings")
    rng = np.random.default_rng(3)
    names = ["dem/dem", "terrain/slope", "sun/monthly_global"] + [f"maps/{name}" for name in Plan(settings).maps]
    for name in names:
        tags = {"CREATED": "2023-11-14T22:00:00+00:00"}
        values_ = rng.normal(10, 3, GRID.shape).astype(np.float32)
        write_geotiff(folder / f"{name}.tif", values_, GRID, ["values"], "1", tags)
    piece = {"file": "hills.tif", "sha256": "0" * 64, "size": 12}
    told = {"created": "2023-11-14T21:00:00+00:00", "source": {"title": "Survey of hills", "pieces": [piece]}}
    write(folder / "dem" / "dem.json", json.dumps(told).encode())
    if settings.has_climate:
        url = "https://someone:secret@data.example.org/daymet_2001.nc?token=secret"
        part = {"variable": "tmin", "year": 2001, "sha256": "1" * 64, "retrieved": "2023-11-13", "url": url}
        write(folder / "climate" / "climate.json", json.dumps({"parts": [part]}).encode())
    write(folder / "summary.csv", b"variable,mean\neemt,12\n")
    write(folder / "report.html", b"<p>report</p>\n" * 200)
    # what is left out, or archived on request only
    write(folder / "eemt" / "r000c000.nc", rng.bytes(700))
    write(folder / "dem" / "tiles" / "r000c000.tif", rng.bytes(900))
    write(folder / "inputs" / "copy.tif", b"copy")
    write(folder / ".hidden", b"being written")
    made = FinishedSite(folder, settings)
    made.describe()
    return made


def with_large_file(site: FinishedSite) -> FinishedSite:
    """Add a file of several pieces, which makes a block of its own, and make the crate anew."""
    content = b"".join(number.to_bytes(4, "big") for number in range(LARGE // 4))
    write(site.folder / "stack.nc", content)
    site.describe()
    return site


def write(path: Path, content: bytes) -> Member:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Member(path.name, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Stored:
    """A dataset that was put into a folder as a whole bag."""

    area: Area
    dataset: Dataset
    bag: Bag

    @property
    def identifier(self) -> str:
        return self.dataset.identifier

    @property
    def folder(self) -> Path:
        return Path(self.area.address) / self.identifier

    def packed(self, name: str) -> Packed:
        return next(one for one in self.bag.packed if one.name == name)


def store(site: FinishedSite, place: Path, target: int = 30_000, compression: Any = "none", **how: Any) -> Stored:
    """Bring a site to a folder by the plain parts of the archive, without its flow."""
    place.mkdir(parents=True, exist_ok=True)
    area = open_area(str(place))
    dataset = site.land(**how)
    below = Below(area, dataset.identifier)
    blocks = plan_blocks(dataset.members, target, compression)
    packed = [pack(site.folder, site.site, block, dataset.mtime, below, compression) for block in blocks]
    made = place.parent / f"{place.name}-tags"
    write_bag(made, describe(dataset), blocks, packed, site.folder, "2023-11-15T08:00:00+00:00")
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    for name in sorted(names, key=lambda name: name == TAGMANIFEST):
        content = (made / name).read_bytes()
        below.put(name, [content], len(content))
    return Stored(area, dataset, read_bag(area, dataset.identifier))
