"""The command line: ``eemt STAGE …``, the same call in a rule, in a container and by hand.

What can be asked stands here; what is done stands in ``eemt.stages``, one module a command, loaded
only when its command is called. Options that are parameters of the model are made from
``eemt.config``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eemt import __version__, kernel_cache
from eemt.archive.commands import COMMANDS as ARCHIVE_COMMANDS
from eemt.config import (
    ClimateSettings,
    DemSettings,
    EemtSettings,
    LapseSettings,
    SunSettings,
    WetnessSettings,
    ZoneSettings,
    check_section,
)
from eemt.errors import InputError
from eemt.inventory import BESIDE
from eemt.options import add_settings, as_help
from eemt.service.commands import COMMANDS as SERVICE_COMMANDS

EXIT_BAD_INPUT = 2
EXIT_FAILED = 1


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    args = _parser().parse_args(argv)
    try:
        kernel_cache.settle()
        _settle(args)
        importlib.import_module(f"eemt.stages.{args.stage}").run(args)
        sys.stdout.flush()
    except InputError as error:
        print(f"eemt {args.stage}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except ModuleNotFoundError as error:
        extra = _extra_of(args.stage)
        if extra is None or (error.name or "").startswith("eemt"):
            raise
        print(f"eemt {args.stage}: {error.name} is not installed; make setup EXTRAS={extra}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(f"eemt {args.stage}: interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        print(f"eemt {args.stage}: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _extra_of(stage: str) -> str | None:
    """Return the extra that has the libraries of a command, if it needs one."""
    extras = {"archive": ARCHIVE_COMMANDS, "service": SERVICE_COMMANDS}
    return next((extra for extra, commands in extras.items() if stage in commands), None)


def _as_interrupt(*_: Any) -> None:
    # a batch system's termination cleans up as Ctrl-C does
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eemt",
        description="Maps of effective energy and mass transfer (EEMT) from a digital elevation model. "
        "One command runs one stage; the Snakemake workflow runs them all.",
    )
    parser.add_argument("--version", action="version", version=f"eemt {__version__}")
    commands = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for name, build in COMMANDS.items():
        summary = (build.__doc__ or "").strip()
        command = commands.add_parser(name, help=as_help(summary), description=summary)
        command.add_argument("--version", action="version", version=f"eemt {__version__}")
        command.set_defaults(sections={})
        build(command)
    return parser


def _dem(command: argparse.ArgumentParser) -> None:
    """Bring elevations to a grid in metres; write dem.tif, far_field.tif and their provenance, dem.json."""
    command.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="elevation rasters that GDAL reads, addresses of GeoTIFFs, or 3dep or glo30 with --bbox=W,S,E,N",
    )
    _out_folder(command)
    add_settings(command, DemSettings, leave_out={"source"})


def _tile(command: argparse.ArgumentParser) -> None:
    """Cut one tile, with a rim of the terrain around it, out of a DEM."""
    _dem_argument(command)
    command.add_argument("--tile", required=True, metavar="NAME", help="the tile's row and column, such as r000c001")
    command.add_argument("--size", type=int, required=True, metavar="CELLS", help="rows and columns of a tile")
    _area(command, "tiles are cut from it, counted from its corner; their rim is of the whole DEM")
    command.add_argument(
        "--halo",
        type=float,
        default=None,
        metavar="M",
        help="width of the rim [m] (default: as far as the sun engine looks at full resolution)",
    )
    _out_file(command, "GeoTIFF of the tile and its rim; what lies beyond the DEM is nodata")


def _terrain(command: argparse.ArgumentParser) -> None:
    """Slope [degrees], aspect [degrees from north] and northness; write slope.tif, aspect.tif, northness.tif."""
    _dem_argument(command)
    _out_folder(command)
    _halo(command)


def _wetness(command: argparse.ArgumentParser) -> None:
    """Topographic wetness of the whole DEM; write area.tif [m], twi.tif and mcwi.tif."""
    _dem_argument(command)
    _out_folder(command)
    _area(command, "what is written of it, and where mcwi.tif has its mean of one; water comes from the whole DEM")
    add_settings(command, WetnessSettings)


def _sun(command: argparse.ArgumentParser) -> None:
    """Daily sun maps with terrain shadows [Wh m-2 day-1, h], and their monthly sums."""
    _dem_argument(command)
    _out_folder(command)
    _halo(command)
    command.add_argument("--far", type=Path, metavar="FILE", help="far_field.tif of the whole DEM, for a tile of it")
    command.add_argument("--days", default="1:365", metavar="FIRST:LAST", help="days of the year (default: 1:365)")
    command.add_argument(
        "--horizons", action="store_true", help="also write horizon.tif, the height of the horizon [degrees] all around"
    )
    command.add_argument("--threads", type=int, default=None, metavar="N", help="processor threads (default: all)")
    add_settings(command, SunSettings)


def _climate(command: argparse.ArgumentParser) -> None:
    """Monthly climate [degC, mm, Pa] on its source's own grid, as CF-1.8 NetCDF."""
    _out_file(command, "NetCDF with tmin, tmax, prcp, vp and the elevation they belong to")
    command.add_argument(
        "--dem", type=Path, metavar="FILE", help="the site's elevation [m], see `eemt dem`; for grid and daymet"
    )
    _area(command, "where climate is wanted, for grid and daymet")
    command.add_argument(
        "--join",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="put these files, of a year or more each, together instead of asking the source; they make up --years",
    )
    add_settings(command, ClimateSettings, leave_out=LapseSettings.model_fields)


def _transfer(command: argparse.ArgumentParser) -> None:
    """EEMT, E_BIO and E_PPT [MJ m-2 month-1] of one tile, for all its years and methods."""
    _dem_argument(command)
    _halo(command)
    command.add_argument(
        "--climate", dest="climate_file", type=Path, required=True, metavar="FILE", help="what `eemt climate` wrote"
    )
    for option, meaning in {
        "--northness": "of the tile; for the method topo",
        "--mcwi": "of the whole DEM, or of all that is mapped of it; for the methods topo and veg",
        "--sun": "monthly_global.tif of the tile; for the methods topo and veg",
        "--flat-sun": "monthly_flat_global.tif of the tile; for these, and for trad with one of Penman's equations",
        "--slope": "of the tile [degrees]; for radiation_area horizontal",
    }.items():
        command.add_argument(option, type=Path, metavar="FILE", help=meaning)
    command.add_argument("--threads", type=int, default=None, metavar="N", help="processor threads (default: all)")
    files = command.add_mutually_exclusive_group(required=True)
    files.add_argument("--out", type=Path, metavar="FILE", help="NetCDF of the tile")
    files.add_argument(
        "--case",
        action="append",
        metavar="JSON",
        help="one of several files, and the parameters in which it differs from the other options, such as "
        '\'{"out": "a.nc", "omega": 2.0, "lapse_tmin": 5.0}\'; may be repeated, and inputs are read once',
    )
    add_settings(command, EemtSettings)
    add_settings(command, LapseSettings, into="lapse")


def _mosaic(command: argparse.ArgumentParser) -> None:
    """Put tiles together into one cloud-optimised GeoTIFF."""
    command.add_argument(
        "tiles", nargs="+", type=Path, metavar="TILE", help="GeoTIFFs, or NetCDF files of `eemt transfer`"
    )
    _out_file(command, "the map")
    command.add_argument(
        "--variable",
        metavar="NAME",
        help="of NetCDF tiles: eemt, ebio or eppt, and as far as kept pet, aet, peff, npp, temperature or fbio",
    )
    command.add_argument("--method", metavar="NAME", help="of NetCDF tiles: trad, topo or veg")
    command.add_argument(
        "--year",
        metavar="YEAR",
        help="of NetCDF tiles: a year, a period such as 1971-2000, or over all years mean, sd, trend or trend_p",
    )


def _maps(command: argparse.ArgumentParser) -> None:
    """Put tiles of EEMT together into maps, all those of a run at once."""
    command.add_argument("tiles", nargs="+", type=Path, metavar="TILE", help="NetCDF files of `eemt transfer`")
    _out_folder(command)
    command.add_argument(
        "--maps",
        nargs="+",
        required=True,
        metavar="NAME",
        help="VARIABLE_METHOD_YEAR, such as eemt_topo_2003 or eemt_topo_mean; see `eemt mosaic`",
    )


def _summary(command: argparse.ArgumentParser) -> None:
    """Tabulate maps: mean, sd, least, greatest, 5, 50 and 95 %, and area, for each year and month."""
    command.add_argument(
        "maps", nargs="+", type=Path, metavar="MAP", help="what `eemt mosaic` wrote, VARIABLE_METHOD_YEAR.tif"
    )
    _table(command)


def _zones(command: argparse.ArgumentParser) -> None:
    """Tabulate maps over polygons, such as catchments, for each year and month; cells count by their share in it."""
    command.add_argument(
        "maps", nargs="+", type=Path, metavar="MAP", help="what `eemt mosaic` wrote, VARIABLE_METHOD_YEAR.tif"
    )
    command.add_argument(
        "--zones",
        dest="file",
        required=True,
        metavar="FILE",
        help="polygons in any coordinate system: GeoPackage, GeoJSON, shapefile, FlatGeobuf or the like",
    )
    _table(command)
    command.add_argument(
        "--gpkg",
        type=Path,
        metavar="FILE",
        help="also write a GeoPackage of the polygons with the mean of each map's year as an attribute",
    )
    add_settings(command, ZoneSettings, leave_out={"file"})


def _report(command: argparse.ArgumentParser) -> None:
    """Write a finished site's report, one self-contained HTML file."""
    _results_of_site(command)
    _out_file(command, "the report")
    command.add_argument(
        "--benchmarks", type=Path, metavar="DIR", help="Snakemake's benchmark files, for the run times"
    )
    command.add_argument("--picture", type=Path, metavar="FILE", help="also write an overview of the maps as PNG")
    _beside(command)


def _stac(command: argparse.ArgumentParser) -> None:
    """Write a STAC catalogue: an item for each map of a site, in the folder stac, and for each case of a sweep."""
    _results_of_site(command)
    _out_file(command, "the collection, catalog.json")


def _stack(command: argparse.ArgumentParser) -> None:
    """Put all maps of a site into one file for xarray: CF NetCDF (.nc), or Zarr in a zip file (.zarr.zip)."""
    _results_of_site(command)
    _out_file(command, "the stack, its ending being .nc or .zarr.zip")


def _crate(command: argparse.ArgumentParser) -> None:
    """Describe a finished site as an RO-Crate: inputs, files, checksums, versions, settings."""
    _results_of_site(command)
    _out_file(command, "ro-crate-metadata.json in the site's folder")
    command.add_argument(
        "--command",
        metavar="TEXT",
        default=os.environ.get("EEMT_COMMAND"),
        help="the command of the run, as it was typed (default: EEMT_COMMAND of the environment)",
    )
    command.add_argument("--threads", type=int, default=None, metavar="N", help="files read at once (default: all)")


def _verify(command: argparse.ArgumentParser) -> None:
    """Compare finished sites with the checksums in their RO-Crates; exit 1 where a file is changed, missing or new."""
    command.add_argument("results", type=Path, metavar="RESULTS", help="folder of results, or of one site")
    command.add_argument("sites", nargs="*", metavar="SITE", help="default: all that have an RO-Crate")
    command.add_argument("--threads", type=int, default=None, metavar="N", help="files read at once (default: all)")


def _results_of_site(command: argparse.ArgumentParser) -> None:
    command.add_argument("results", type=Path, metavar="RESULTS", help="the site's folder")
    command.add_argument("--site", required=True, metavar="NAME")
    command.add_argument("--settings", required=True, metavar="JSON", help="the site's configuration")


def _compare(command: argparse.ArgumentParser) -> None:
    """Compare the cases of a finished sweep: a table of all, and one self-contained HTML page."""
    _results_of_site(command)
    _out_file(command, "the page")
    command.add_argument(
        "--table", metavar="JSON", help="rows of the sweep's table, as a list (default: read from sweep.table)"
    )
    command.add_argument("--csv", type=Path, required=True, metavar="FILE")
    command.add_argument("--parquet", type=Path, required=True, metavar="FILE")
    _beside(command)


def _beside(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--beside",
        nargs="*",
        choices=list(BESIDE),
        metavar="NAME",
        help=f"files in the site's folder that the page links to, of "
        f"{', '.join(BESIDE)} (default: those that are there)",
    )


def _check(command: argparse.ArgumentParser) -> None:
    """Check a config file and the inputs it names, without computing anything."""
    command.add_argument("config", type=Path, metavar="CONFIG", help="such as config/config.yaml")


def _config(command: argparse.ArgumentParser) -> None:
    """Print the JSON schema of the config file, or its reference page."""
    form = command.add_mutually_exclusive_group(required=True)
    form.add_argument("--schema", action="store_true", help="JSON schema, as YAML")
    form.add_argument("--reference", action="store_true", help="Markdown page of all keys")


def _profile(command: argparse.ArgumentParser) -> None:
    """Set Snakemake up for a cluster: write a profile with your account where Snakemake looks for it."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="name the profiles that there are")
    show = actions.add_parser("show", help="print a profile")
    install = actions.add_parser("install", help="write a profile for `snakemake --profile NAME`")
    for action in (show, install):
        action.add_argument("name", metavar="NAME", help="such as slurm; see `eemt profile list`")
    install.add_argument("--account", metavar="A", help="account or project that jobs are charged to")
    install.add_argument("--partition", metavar="P", help="partition or queue that jobs go to")
    install.add_argument("--qos", metavar="Q", help="quality of service, of SLURM")
    install.add_argument("--image", metavar="FILE", help="run every rule by Apptainer in this .sif, or docker://…")
    install.add_argument(
        "--folder", type=Path, metavar="DIR", help="where profiles are kept (default: Snakemake's, ~/.config/snakemake)"
    )
    install.add_argument("--force", action="store_true", help="write over a profile of this name")


COMMANDS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "dem": _dem,
    "tile": _tile,
    "terrain": _terrain,
    "wetness": _wetness,
    "sun": _sun,
    "climate": _climate,
    "transfer": _transfer,
    "mosaic": _mosaic,
    "maps": _maps,
    "summary": _summary,
    "zones": _zones,
    "report": _report,
    "compare": _compare,
    "stack": _stack,
    "stac": _stac,
    "crate": _crate,
    "verify": _verify,
    "check": _check,
    "config": _config,
    "profile": _profile,
    **ARCHIVE_COMMANDS,
    **SERVICE_COMMANDS,
}


def _dem_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("dem", type=Path, metavar="DEM", help="elevation [m] on a grid in metres, see `eemt dem`")


def _out_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to, made where absent")
    command.set_defaults(out_is_folder=True)


def _out_file(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help=meaning)


def _table(command: argparse.ArgumentParser) -> None:
    command.add_argument("--site", required=True, metavar="NAME", help="what the column site says")
    command.add_argument(
        "--case",
        default="",
        metavar="NAME",
        help="what the column case says, of a sweep (default: nothing, for the site's own settings)",
    )
    command.add_argument("--csv", type=Path, required=True, metavar="FILE")
    command.add_argument("--parquet", type=Path, required=True, metavar="FILE")


def _halo(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--halo",
        type=float,
        default=0.0,
        metavar="M",
        help="rim of the DEM that is looked at but not written [m] (default: 0)",
    )


def _area(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument(
        "--area",
        metavar="ROW0:ROW1,COL0:COL1",
        help=f"part of the DEM that is mapped, each end one past the last: {meaning} (default: all of it)",
    )


def _settle(args: argparse.Namespace) -> None:
    """Check the options that are parameters and put them in place as sections."""
    for attribute, section in args.sections.items():
        given = {name: value for name, value in vars(args).items() if name in section.model_fields}
        setattr(args, attribute, check_section(section, given, "options"))
    if getattr(args, "out_is_folder", False) and args.out.is_file():
        raise InputError(f"out: {args.out} is a file; name a folder")


def put_commands_on_path() -> None:
    """Let this process's children find `eemt` where its environment is not activated."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


if __name__ == "__main__":
    sys.exit(main())
