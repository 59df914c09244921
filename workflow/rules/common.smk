"""What the rules share: the checked configuration, and what follows from it for a site."""

import json
import os
import shlex
import sys
from pathlib import Path

from eemt.cli import as_options, put_commands_on_path
from eemt.config import ACCESS_KEYS, ALGORITHMS, LapseSettings, load_config
from eemt.dem.layout import Layout
from eemt.errors import InputError
from eemt.grid import TILE_NAME
from eemt.plan import RASTERS, Plan

put_commands_on_path()


wildcard_constraints:
    site=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    tile=TILE_NAME,
    method="[a-z]+",
    variable="[a-z]+",
    year=r"\d+(-\d+)?|mean|sd|trend|trend_p",
    raster="|".join(RASTERS),


def or_stop(step, *arguments):
    """Return what a step returns; where the input is at fault, say so in one line and stop."""
    try:
        return step(*arguments)
    except InputError as error:
        print(f"eemt: {error}", file=sys.stderr)
        sys.exit(2)


CONFIG = or_stop(load_config, config)
SITES = CONFIG.sites
# With results in a bucket or the like, jobs see that alone: what reads the user's own files runs where the run is
# driven from, and jobs are told how the sites lie.
IN_STORAGE = workflow.storage_settings.default_storage_provider is not None
LAYOUTS = "EEMT_LAYOUTS"
IS_TOLD = IN_STORAGE and not workflow.is_main_process
TOLD = json.loads(os.environ[LAYOUTS]) if IS_TOLD else {}
PLANS = {
    name: Plan(site, known=Layout.from_json(TOLD[name]) if IS_TOLD else None)
    for name, site in SITES.items()
}
LAPSE = list(LapseSettings.model_fields)


def check_before_start():
    """Look at all inputs once, where the run is driven from."""
    if workflow.is_main_process:
        from eemt.stages.check import check_inputs

        check_inputs(CONFIG, Path("results"))


or_stop(check_before_start)

if IN_STORAGE:
    if workflow.is_main_process:
        os.environ[LAYOUTS] = json.dumps(
            {name: plan.layout.as_json() for name, plan in PLANS.items()}
        )

    envvars:
        LAYOUTS,


def plan(attribute):
    """Return the function that looks a site's plan up."""

    def of_site(wildcards):
        return or_stop(getattr, PLANS[wildcards.site], attribute)

    return of_site


def own(attribute):
    """Return the function that looks up files of the user's, which are not in the storage of results."""

    def of_site(wildcards):
        return local(plan(attribute)(wildcards))

    return of_site


def own_raster(wildcards):
    return local(PLANS[wildcards.site].rasters[wildcards.raster])


def raster(name):
    """Return the function that names the raster of a parameter, if it has one: the user's, or its copy in the storage."""

    def of_site(wildcards):
        path = PLANS[wildcards.site].rasters.get(name, [])
        in_storage = f"results/{wildcards.site}/inputs/{name}.tif"
        return in_storage if path and IN_STORAGE else path

    return of_site


def setting(section, key):
    """Return the function that looks a site's parameter up."""

    def of_site(wildcards):
        return getattr(getattr(SITES[wildcards.site], section), key)

    return of_site


def options(section, only=None, leave_out=()):
    """Return the function that writes a site's parameters of a section as command line options."""

    def of_site(wildcards):
        return as_options(getattr(SITES[wildcards.site], section), only, leave_out)

    return of_site


def options_but_rasters(section):
    """Return the function that writes those parameters of a section that name no raster as options."""

    def of_site(wildcards):
        return options(section, leave_out=PLANS[wildcards.site].rasters)(wildcards)

    return of_site


def rasters(wildcards, input):
    """Write the rasters that a job is given as options; a change of `input` is a reason to run again by itself."""
    given = {name: path for name, path in input.items() if name in RASTERS and path}
    return " ".join(
        shlex.quote(f"--{name.replace('_', '-')}={path}")
        for name, path in given.items()
    )


def access(wildcards, resources):
    """Write how a site's climate is had, as options.

    What is asked for with `resources` Snakemake takes for no reason to run again.
    """
    return options("climate", only=ACCESS_KEYS)(wildcards)


def sites_with(section, key, *values):
    """Return the pattern of the sites where a parameter has one of some values."""
    chosen = [
        name
        for name, site in SITES.items()
        if getattr(getattr(site, section), key) in values
    ]
    return "|".join(chosen) or "(?!)"


def climate_records(wildcards):
    """Name the file that says where downloaded climate came from, if there is one."""
    daymet = SITES[wildcards.site].climate.source == "daymet"
    return f"results/{wildcards.site}/climate/climate.json" if daymet else []


def settings_as_json(wildcards):
    return json.dumps(SITES[wildcards.site].model_dump(mode="json"))


def growing(mem_mb, per_million_cells=0, of="tile_million_cells"):
    """Return the function that asks for memory by a site's size, and for more at each new attempt."""

    def of_job(wildcards, attempt):
        cells = getattr(PLANS[wildcards.site], of) if per_million_cells else 0
        return int(mem_mb + per_million_cells * cells) * 2 ** (attempt - 1)

    return of_job


def maps_of_site(wildcards):
    return [
        f"results/{wildcards.site}/maps/{name}.tif"
        for name in PLANS[wildcards.site].maps
    ]


def wanted_results():
    """List what a run is for."""
    wanted = []
    for site, settings in SITES.items():
        wanted += [f"results/{site}/maps/{name}.tif" for name in PLANS[site].maps]
        wanted += [
            f"results/{site}/summary.csv",
            f"results/{site}/sun/monthly_global.tif",
        ]
        wanted += [f"results/{site}/report.html"] if settings.outputs.report else []
    return wanted


def where_results_are():
    prefix = workflow.storage_settings.default_storage_prefix if IN_STORAGE else ""
    folder = f"{prefix.rstrip('/')}/results" if prefix else "results"
    lines = []
    for site, settings in SITES.items():
        lines.append(
            f"{site}: maps in {folder}/{site}/maps, table in {folder}/{site}/summary.csv"
        )
        if settings.outputs.report:
            lines.append(f"{site}: report in {folder}/{site}/report.html")
    return "\n".join(lines)
