"""The workflow in folders of its own, run on any executor, and its maps compared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml

from sites import CLIMATE, ROOT

SNAKEMAKE = str(Path(sys.executable).parent / "snakemake")


def clip_config(dem: str, tile_size: int = 24, **sections: Any) -> dict[str, Any]:
    """Return the config of a small site: four tiles of the clip, hourly steps."""
    return {
        "sites": {"clip": {"dem": {"source": dem}, "climate": CLIMATE}},
        "tiles": {"size": tile_size},
        "sun": {"step": 60},
        **sections,
    }


@dataclass(frozen=True)
class Run:
    """A folder that the workflow is called in.

    `prefix` stands before each call of Snakemake, such as what enters a bed's network; `variables` are added
    to the environment; `program` is Snakemake, where it is another than beside this Python.
    """

    folder: Path
    prefix: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    program: str = SNAKEMAKE

    def configure(self, config: Mapping[str, Any]) -> None:
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(dict(config)))

    def command(self, *words: str, profile: str | Path = "local", snakefile: Path | None = None) -> list[str]:
        """Return the call of Snakemake with a profile of the project, by its name, or another, by its path."""
        return [
            *self.prefix,
            self.program,
            "--snakefile",
            str(snakefile or ROOT / "workflow/Snakefile"),
            "--profile",
            str(ROOT / "profiles" / profile if isinstance(profile, str) else profile),
            *words,
        ]

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def snakemake(
        self, *words: str, profile: str | Path = "local", snakefile: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever that is; output and errors are in `stdout`, in the order they came."""
        return subprocess.run(
            self.command(*words, profile=profile, snakefile=snakefile),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def start(
        self, *words: str, profile: str | Path = "local", snakefile: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start and return at once, in a process group of its own, with the output in `driver.log`."""
        with (self.folder / "driver.log").open("ab") as log:
            return subprocess.Popen(
                self.command(*words, profile=profile, snakefile=snakefile),
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def result(self, name: str, site: str = "clip") -> Path:
        return self.folder / "results" / site / name

    def written(self) -> dict[str, int]:
        """Return when each file under `results` was written [ns]; unequal times mean that it was done again."""
        files = [path for path in (self.folder / "results").rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in files}


def map_names(run: Run, site: str = "clip") -> list[str]:
    return sorted(path.name for path in run.result("maps", site).glob("*.tif"))


def assert_same_maps(run: Run, reference: Run, site: str = "clip") -> None:
    """Assert that two runs made the same maps, and that each value of each band is the same to the last bit."""
    names = map_names(reference, site)
    assert names, f"{reference.folder} has no maps"
    assert map_names(run, site) == names
    for name in names:
        with (
            rasterio.open(run.result(f"maps/{name}", site)) as ours,
            rasterio.open(reference.result(f"maps/{name}", site)) as theirs,
        ):
            assert (ours.crs, ours.transform, ours.dtypes) == (theirs.crs, theirs.transform, theirs.dtypes), name
            # bytes, so that nodata equals itself
            np.testing.assert_array_equal(ours.read().view(np.uint32), theirs.read().view(np.uint32), err_msg=name)
