"""What the rules share: the checked configuration, and what follows from it for a site."""

import json
import sys
from functools import cache
from pathlib import Path

from eemt.cli import as_options, put_commands_on_path
from eemt.config import ALGORITHMS, LapseSettings, load_config
from eemt.errors import InputError
from eemt.grid import TILE_NAME, map_grid, tiles
from eemt.raster import read_grid
from eemt.sun import HALO_CELLS

put_commands_on_path()


wildcard_constraints:
    site=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    tile=TILE_NAME,
    method="[a-z]+",
    variable="[a-z]+",
    year=r"\d+(-\d+)?|mean",


def or_stop(step, *arguments):
    """Return what a step returns; where the input is at fault, say so in one line and stop."""
    try:
        return step(*arguments)
    except InputError as error:
        print(f"eemt: {error}", file=sys.stderr)
        sys.exit(2)


CONFIG = or_stop(load_config, config)
SITES = CONFIG.sites
LAPSE = list(LapseSettings.model_fields)


def check_before_start():
    """Look at all inputs once, where the run is driven from."""
    if workflow.is_main_process:
        from eemt.stages.check import check_inputs

        check_inputs(CONFIG, Path("results"))


or_stop(check_before_start)


@cache
def grid_of(site):
    """Return the grid of a site's maps, from its elevation raster's header."""
    dem = SITES[site].dem
    return or_stop(lambda: map_grid(read_grid(dem.source), dem.crs, dem.resolution))


def tile_names(wildcards):
    return list(tiles(grid_of(wildcards.site), SITES[wildcards.site].tiles.size))


def dem_source(wildcards):
    return SITES[wildcards.site].dem.source


def climate_file(wildcards):
    return SITES[wildcards.site].climate.file


def albedo_raster(wildcards):
    """Name the file that the albedo of a site's ground is read from, if it is."""
    albedo = SITES[wildcards.site].sun.albedo
    return albedo if isinstance(albedo, str) else []


def tile_size(wildcards):
    return SITES[wildcards.site].tiles.size


def halo(wildcards):
    """Width of a tile's rim in metres: as far as the sun engine looks at full resolution."""
    grid = grid_of(wildcards.site)
    return f"{HALO_CELLS * max(grid.dx, grid.dy):.15g}"


def options(section, only=None, leave_out=()):
    """Return the function that writes a site's parameters of a section as command line options."""

    def of_site(wildcards):
        return as_options(getattr(SITES[wildcards.site], section), only, leave_out)

    return of_site


def sites_keeping_days(daily):
    """Return the pattern of the sites that keep, or do not keep, the sun maps of single days."""
    return (
        "|".join(name for name, site in SITES.items() if site.sun.daily is daily)
        or "(?!)"
    )


def settings_as_json(wildcards):
    return json.dumps(SITES[wildcards.site].model_dump(mode="json"))


def growing(mem_mb):
    """Return the function that asks for more memory at each new attempt."""
    return lambda wildcards, attempt: mem_mb * 2 ** (attempt - 1)


def map_names(site):
    """List the maps of a site without folder and ending."""
    settings = SITES[site]
    variables = ["eemt", "ebio", "eppt"] if settings.outputs.parts else ["eemt"]
    return [
        f"{variable}_{method}_{year}"
        for variable in variables
        for method in settings.eemt.methods
        for year in [*settings.climate.labels, "mean"]
    ]


def maps_of_site(wildcards):
    return [
        f"results/{wildcards.site}/maps/{name}.tif"
        for name in map_names(wildcards.site)
    ]


def wanted_results():
    """List what a run is for."""
    wanted = []
    for site, settings in SITES.items():
        wanted += [f"results/{site}/maps/{name}.tif" for name in map_names(site)]
        wanted += [
            f"results/{site}/summary.csv",
            f"results/{site}/sun/monthly_global.tif",
        ]
        wanted += [f"results/{site}/report.html"] if settings.outputs.report else []
    return wanted


def where_results_are():
    lines = []
    for site, settings in SITES.items():
        lines.append(
            f"{site}: maps in results/{site}/maps, table in results/{site}/summary.csv"
        )
        if settings.outputs.report:
            lines.append(f"{site}: report in results/{site}/report.html")
    return "\n".join(lines)
