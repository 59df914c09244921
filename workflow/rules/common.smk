"""What the rules share: the checked configuration, and what follows from it for a site."""

import json
import os
import shlex
import sys
from pathlib import Path

from eemt.cli import put_commands_on_path
from eemt.config import ACCESS_KEYS, ALGORITHMS, LapseSettings, load_config
from eemt.dem.layout import Layout
from eemt.errors import InputError
from eemt.grid import TILE_NAME
from eemt.inventory import BESIDE, CASE_ITEM, CASE_THUMBNAIL, CATALOGUE
from eemt.options import as_options
from eemt.plan import RASTERS, Plan, folder, rasters_of
from eemt.provenance import remember_command
from snakemake.settings.types import SharedFSUsage

put_commands_on_path()


wildcard_constraints:
    site=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    tile=TILE_NAME,
    method="[a-z]+",
    variable="[a-z]+",
    year=r"\d+(-\d+)?|mean|sd|trend|trend_p",
    # of a sweep: /linke~2_omega~2.2, or nothing for the site's own parameters
    case=r"(/[^/]+~[^/]+)?",
    sun=r"(/[^/]+~[^/]+)?",
    raster="|".join(RASTERS),


DAYS = tuple(
    f"sun/{name}.tif"
    for name in ("global", "beam", "diffuse", "insolation", "flat_global")
)


def or_stop(step, *arguments):
    """Return what a step returns; where the input is at fault, say so in one line and stop."""
    try:
        return step(*arguments)
    except InputError as error:
        print(f"eemt: {error}", file=sys.stderr)
        sys.exit(2)


CONFIG = or_stop(load_config, config)
SITES = CONFIG.sites
IN_STORAGE = workflow.storage_settings.default_storage_provider is not None
# With results in a bucket, or with software of their own, as pods on a shared volume have it, jobs see the results
# alone: what reads the user's own files, or the network, runs where the run is driven from, and jobs are told how the
# sites lie.
APART = IN_STORAGE or (
    SharedFSUsage.SOFTWARE_DEPLOYMENT not in workflow.storage_settings.shared_fs_usage
)
KNOWN = "EEMT_KNOWN"
if APART and not workflow.is_main_process:
    TOLD = json.loads(os.environ[KNOWN])
    PLANS = {
        name: Plan(site, known=Layout.from_json(told["layout"]), table=told["table"])
        for (name, site), told in zip(SITES.items(), TOLD, strict=True)
    }
else:
    PLANS = {name: Plan(site) for name, site in SITES.items()}
LAPSE = list(LapseSettings.model_fields)
ANY_CASE = ["{case}"]
LAND_AND_SUN = (
    *(f"wetness/{name}.tif" for name in ("area", "twi", "mcwi")),
    *(f"terrain/{name}.tif" for name in ("slope", "aspect", "northness")),
    *(f"sun/monthly_{name}.tif" for name in ("global", "flat_global", "insolation")),
)


def check_before_start():
    """Look at all inputs once, where the run is driven from."""
    if workflow.is_main_process:
        from eemt.stages.check import check_inputs

        check_inputs(CONFIG, Path("results"))


or_stop(check_before_start)

# what the crate says of the run; no parameter, since another command is no reason to run again
if workflow.is_main_process:
    remember_command(["snakemake", *sys.argv[1:]])


if APART:
    if workflow.is_main_process:
        os.environ[KNOWN] = json.dumps(
            [
                {"layout": plan.layout.as_json(), "table": plan.table}
                for plan in PLANS.values()
            ]
        )

    envvars:
        KNOWN,


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


def own_zones(wildcards):
    return local(SITES[wildcards.site].zones.file)


def own_raster(wildcards):
    return local(PLANS[wildcards.site].rasters[wildcards.raster])


def raster(name):
    """Return the function that names the raster of a parameter, if it has one: the user's, or its copy among the results."""

    def of_site(wildcards):
        path = rasters_of(settings_of(wildcards)).get(name, [])
        copy = f"results/{wildcards.site}/inputs/{name}.tif"
        return copy if path and APART else path

    return of_site


def settings_of(wildcards):
    """Return the settings that a job has: its case's, its sun's, or the site's."""
    site = PLANS[wildcards.site]
    if wildcards.get("case"):
        return or_stop(site.case, wildcards.case).settings
    if wildcards.get("sun"):
        return or_stop(site.sun, wildcards.sun).settings
    return site.settings


def options(section, only=None, leave_out=()):
    """Return the function that writes a job's parameters of a section as command line options."""

    def of_job(wildcards):
        return as_options(getattr(settings_of(wildcards), section), only, leave_out)

    return of_job


def options_but_rasters(section):
    """Return the function that writes those parameters of a section that name no raster as options."""

    def of_job(wildcards):
        rasters = rasters_of(settings_of(wildcards))
        return options(section, leave_out=rasters)(wildcards)

    return of_job


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


def own_settings_as_json(wildcards):
    """Write a site's parameters but for the sweep, of which what describes the site alone says nothing."""
    return json.dumps(SITES[wildcards.site].model_dump(mode="json", exclude={"sweep"}))


def growing(mem_mb, per_million_cells=0, of="tile_million_cells"):
    """Return the function that asks for memory by a site's size, and for more at each new attempt."""

    def of_job(wildcards, attempt):
        cells = getattr(PLANS[wildcards.site], of) if per_million_cells else 0
        return int(mem_mb + per_million_cells * cells) * 2 ** (attempt - 1)

    return of_job


def batches_of_transfer():
    """List the sites whose cases have a job each, and then the cases of other sites that share one.

    Each with a name, the pattern of its sites, and the folders of its cases; of the first these are a wildcard.
    """
    alone = [
        name for name, site in PLANS.items() if len(site.batches) == len(site.cases)
    ]
    yield "transfer", "|".join(alone) or "(?!)", ANY_CASE
    for name, site in PLANS.items():
        if name not in alone:
            for number, cases in enumerate(site.batches, 1):
                yield f"transfer_{name}_{number}", name, cases


def sun_of(cases, layer):
    """Return the function that names the sun maps that some cases have in common."""

    def of_job(wildcards):
        name = wildcards.case if cases == ANY_CASE else cases[0]
        sun = folder(or_stop(PLANS[wildcards.site].case, name).sun)
        return f"results/{wildcards.site}/sun{sun}/tiles/{wildcards.tile}/{layer}.tif"

    return of_job


def outputs_of(cases):
    """Return the function that names a job's files, each with what its case changes; for no reason to run again."""

    def of_job(wildcards, output):
        if cases == ANY_CASE:
            return shlex.join(["--out", output[0]])
        known = PLANS[wildcards.site].cases
        words = [
            {"out": path, **known[name].energy}
            for name, path in zip(cases, output, strict=True)
        ]
        return " ".join(shlex.join(["--case", json.dumps(word)]) for word in words)

    return of_job


def groups_of_maps():
    """List which maps a job makes, with their site and, where it has several such jobs, a number."""
    for site, plan in PLANS.items():
        groups = or_stop(getattr, plan, "map_groups")
        for number, names in enumerate(groups, 1):
            yield site, f"_{number}" if len(groups) > 1 else "", names


def maps_of_case(wildcards):
    place = f"results/{wildcards.site}{wildcards.get('case', '')}/maps"
    return [f"{place}/{name}.tif" for name in PLANS[wildcards.site].maps]


def case_option(wildcards):
    name = wildcards.case.removeprefix("/")
    return shlex.join(["--case", name]) if name else ""


def of_all_cases(pattern):
    """Return the function that names a file of each case of a site."""

    def of_site(wildcards):
        cases = or_stop(getattr, PLANS[wildcards.site], "cases")
        return [pattern.format(site=wildcards.site, case=case) for case in cases]

    return of_site


def compared_maps(wildcards):
    """List the maps of all cases that the page of a sweep shows: of EEMT."""
    site = PLANS[wildcards.site]
    names = [name for name in site.maps if name.startswith("eemt_")]
    return [
        f"results/{wildcards.site}{case}/maps/{name}.tif"
        for case in site.cases
        for name in names
    ]


def with_styles(wildcards):
    """List the maps of a site, and of a sweep's cases, and their styles."""
    site = PLANS[wildcards.site]
    return [
        f"results/{wildcards.site}{case}/maps/{name}.{kind}"
        for case in or_stop(getattr, site, "cases")
        for name in site.maps
        for kind in ("tif", "qml")
    ]


def items_of(site):
    """List what the catalogue of a site leads to: an item a map, and one a case of a sweep, each with its picture."""
    names = [
        f"stac/{map}.{kind}" for map in PLANS[site].maps for kind in ("json", "png")
    ]
    cases = [case[1:] for case in or_stop(getattr, PLANS[site], "cases") if case]
    return names + [
        f"{case}/{name}" for case in cases for name in (CASE_ITEM, CASE_THUMBNAIL)
    ]


def ground_of_site(wildcards):
    """List what a site's catalogue names beside maps."""
    names = ["dem/dem.tif", "dem/dem.json", *LAND_AND_SUN]
    if SITES[wildcards.site].has_climate:
        names += ["climate/climate.nc", "summary.csv", "summary.parquet"]
        names += [*stack_of_site(wildcards.site), *zones_of_site(wildcards.site)]
    return [f"results/{wildcards.site}/{name}" for name in names]


def stack_of_site(site):
    ending = {"netcdf": "nc", "zarr": "zarr.zip"}.get(SITES[site].outputs.stack)
    return [f"stack.{ending}"] if ending else []


def zones_of_site(site):
    has_zones = SITES[site].zones.file is not None
    return [f"zones.{kind}" for kind in ("csv", "parquet", "gpkg")] if has_zones else []


def results_of(site):
    """List what a run makes of a site, but for the crate, which describes it."""
    outputs, plan = SITES[site].outputs, PLANS[site]
    if not SITES[site].has_climate:
        days = DAYS if SITES[site].sun.daily else ()
        return [f"results/{site}/{name}" for name in (*LAND_AND_SUN, *days)]
    names = [f"maps/{name}.{kind}" for name in plan.maps for kind in ("tif", "qml")]
    names += ["summary.csv", "sun/monthly_global.tif"]
    names += ["report.html"] if outputs.report else []
    names += [CATALOGUE] if outputs.catalogue else []
    names += [*stack_of_site(site), *zones_of_site(site)]
    cases = or_stop(getattr, plan, "cases")
    if plan.is_swept:
        names += [f"sweep.{kind}" for kind in ("csv", "html")]
        names += [
            f"{case[1:]}/{name}"
            for case in cases
            if case
            for name in zones_of_site(site)
        ]
    return [f"results/{site}/{name}" for name in names]


def beside_pages(wildcards):
    """List what a site's pages link to: what else the run makes of it."""
    made = results_of(wildcards.site)
    names = [path.removeprefix(f"results/{wildcards.site}/") for path in made]
    return [name for name in BESIDE if name in names]


def described_of_site(wildcards):
    """List what a site's crate describes."""
    settings = SITES[wildcards.site]
    has_items = settings.outputs.catalogue and settings.has_climate
    items = items_of(wildcards.site) if has_items else []
    return [
        *results_of(wildcards.site),
        *(f"results/{wildcards.site}/{name}" for name in items),
    ]


def wanted_results():
    """List what a run is for."""
    wanted = [name for site in SITES for name in results_of(site)]
    crates = [site for site, settings in SITES.items() if settings.outputs.crate]
    return wanted + [f"results/{site}/ro-crate-metadata.json" for site in crates]


def where_results_are():
    prefix = workflow.storage_settings.default_storage_prefix if IN_STORAGE else ""
    place = f"{prefix.rstrip('/')}/results" if prefix else "results"
    lines = []
    for site, settings in SITES.items():
        if not settings.has_climate:
            lines.append(f"{site}: sun maps in {place}/{site}/sun")
            continue
        lines.append(
            f"{site}: maps in {place}/{site}/maps, table in {place}/{site}/summary.csv"
        )
        if settings.outputs.report:
            lines.append(f"{site}: report in {place}/{site}/report.html")
        if PLANS[site].is_swept:
            lines.append(f"{site}: sweep in {place}/{site}/sweep.html")
    return "\n".join(lines)
