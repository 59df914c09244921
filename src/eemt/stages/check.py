"""``eemt check``: a config file and the inputs it names, looked at before anything is computed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import yaml
from pyproj import CRS

from eemt.config import Config, Site, load_config
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.plan import Plan
from eemt.raster import grid_of, open_raster, window_on_grid
from eemt.stages.climate import source
from eemt.stages.dem import check as check_elevation

RESULTS = Path("results")


def run(args: argparse.Namespace) -> None:
    """Check everything and say what a run would compute."""
    config = load_config(read_yaml(args.config))
    check_inputs(config, RESULTS)
    for name, site in config.sites.items():
        grid, plan = check_elevation(site.dem), Plan(site, RESULTS)
        print(
            f"{name}: {grid.height} x {grid.width} cells of {grid.dx:g} m in {_short(grid.crs)}, "
            f"{len(plan.tiles)} tiles, {_wanted(site)}"
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
        check_site(site, results)


def check_site(site: Site, results: Path = RESULTS) -> None:
    """Check a site's elevation header, grid, map of albedo, vegetation, zones and what there is of its climate."""
    plan = Plan(site, results)
    plan.refuse_too_many_jobs()
    area = plan.layout.area
    for name, path in plan.rasters.items():
        key = f"sun.{name}" if name == "albedo" else f"eemt.{name}"
        with open_raster(path, key) as raster:
            if name == "albedo":
                window_on_grid(raster, area, key)
            else:
                grid_of(raster, key, least=1)
    if site.zones.file:
        from eemt.zones import read_zones, refuse_elsewhere

        refuse_elsewhere(read_zones(site.zones), area)
    _check_climate(site, plan, area)


def _check_climate(site: Site, plan: Plan, area: Grid) -> None:
    """Read stations whole; of grids look for the files, of Daymet at the place, since more needs the elevation."""
    for path in plan.climate_files:
        if not path.startswith("/vsi") and not Path(path).exists():
            raise InputError(f"climate: {path} does not exist")
    if site.climate.source == "station":
        source(site.climate).monthly()
    elif site.climate.source == "daymet" and site.climate.region == "auto":
        from eemt.climate.daymet.grid import region_of

        region_of(area.bounds, area.crs)


def _wanted(site: Site) -> str:
    if not site.has_climate:
        return "sun maps alone"
    return f"methods {', '.join(site.eemt.methods)}, years {', '.join(site.climate.labels)}"


def _short(crs: str) -> str:
    """Name a coordinate system that has no code by its projection."""
    return crs if len(crs) < 30 else CRS.from_user_input(crs).name


def _refuse_unwritable(folder: Path) -> None:
    """Raise when files cannot be made in a folder, or in the nearest one above that exists."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"results: {nearest} is a file; results cannot be written to {folder}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"results: {nearest} is not writable; results go to {folder}")
