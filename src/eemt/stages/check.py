"""``eemt check``: a config file and the inputs it names, looked at before anything is computed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import yaml

from eemt.climate.station import read_table
from eemt.config import Config, Site, load_config
from eemt.errors import InputError
from eemt.grid import map_grid, tiles
from eemt.raster import open_raster, read_grid, window_on_grid
from eemt.stages.climate import source
from eemt.stages.dem import projected, warn_of_implausible

RESULTS = Path("results")


def run(args: argparse.Namespace) -> None:
    """Check everything and say what a run would compute."""
    config = load_config(read_yaml(args.config))
    check_inputs(config, RESULTS)
    for name, site in config.sites.items():
        elevation, grid = projected(site.dem.source, site.dem)
        warn_of_implausible(elevation, site.dem.source)
        print(
            f"{name}: {grid.height} x {grid.width} cells of {grid.dx:g} m in {grid.crs}, "
            f"{len(tiles(grid, site.tiles.size))} tiles, methods {', '.join(site.eemt.methods)}, "
            f"years {', '.join(site.climate.labels)}"
        )
    print(f"{args.config}: good")


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    InputError
        When it is missing or no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"config: {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config: {path} is not YAML: {' '.join(str(error).split())}") from None


def check_inputs(config: Config, results: Path) -> None:
    """Check what can be checked of a run's inputs without reading whole rasters.

    Raises
    ------
    InputError
        For the first thing that would stop the run.
    """
    _refuse_unwritable(results)
    for site in config.sites.values():
        check_site(site)


def check_site(site: Site) -> None:
    """Check a site's elevation header, grid, map of albedo and climate table."""
    grid = map_grid(read_grid(site.dem.source), site.dem.crs, site.dem.resolution)
    if isinstance(site.sun.albedo, str):
        with open_raster(site.sun.albedo, "sun.albedo") as albedo:
            window_on_grid(albedo, grid, "sun.albedo")
    read_table(site.climate.file)
    source(site.climate).monthly()


def _refuse_unwritable(folder: Path) -> None:
    """Raise when files cannot be made in a folder, or in the nearest one above that exists."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"results: {nearest} is a file; results cannot be written to {folder}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"results: {nearest} is not writable; results go to {folder}")
