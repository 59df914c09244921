"""All maps of a site in one file for xarray: CF NetCDF-4, or Zarr in a zip file.

A variable's months are ``eemt(method, year, month, y, x)`` and its years ``eemt_annual(method, year, y, x)``; what is
mapped over all years has no year: ``eemt_trend(method, month, y, x)``, ``eemt_annual_trend(method, y, x)``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

import eemt
from eemt.cf import CITATION, VARIABLES, grid_attributes
from eemt.config import Site
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.map_header import MapHeader, read_header
from eemt.plan import Plan
from eemt.provenance import now
from eemt.raster import BLOCK, open_raster, row_strips, whole_or_nothing

ENDINGS = (".nc", ".zarr.zip")
WIDE = 16 * BLOCK  # columns that are read at once: with a strip's rows and 13 bands, 55 MB
CACHE = 64 * 2**20  # bytes, of blocks that GDAL holds meanwhile
MONTHS = 12
OVER_YEARS = {
    "mean": "mean over the years",
    "sd": "standard deviation over the years",
    "trend": "trend over the years, per 10 years",
    "trend_p": "p-value of the trend over the years",
}


@dataclass(frozen=True)
class Layer:
    """A variable of the stack."""

    name: str
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Contents:
    """What a stack holds: coordinates by name, variables, and the attributes of the whole."""

    coordinates: Mapping[str, tuple[npt.NDArray[Any], Mapping[str, Any]]]
    layers: list[Layer]
    mapping: Mapping[str, Any]
    attributes: Mapping[str, Any]

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Return the length of each of a variable's dimensions."""
        return tuple(len(self.coordinates[dim][0]) for dim in layer.dims)

    def chunks(self, layer: Layer) -> tuple[int, ...]:
        """Return how a variable is cut: one method and year, all months, as many cells as a block of a map."""
        whole = {"method": 1, "year": 1, "month": MONTHS, "y": BLOCK, "x": BLOCK}
        return tuple(min(whole[dim], size) for dim, size in zip(layer.dims, self.shape(layer), strict=True))


def write_stack(folder: Path, out: Path, site: str, settings: Site) -> None:
    """Put all maps of a site into one file, a strip of a map at a time.

    Parameters
    ----------
    folder : path
        The site's folder of results.
    out : path
        Ends in ``.nc`` or ``.zarr.zip``.
    site : str
    settings : Site
        They say which maps there are.

    Raises
    ------
    InputError
        When a map is missing, or not on the cells of the others; and when the ending is another.
    """
    if not out.name.endswith(ENDINGS):
        raise InputError(f"stack: {out.name} ends neither in .nc nor in .zarr.zip")
    maps = [read_header(folder / "maps" / f"{name}.tif", "stack") for name in Plan(settings).maps]
    for known in maps:
        if known.grid != maps[0].grid:
            raise InputError(f"stack: {known.path} is not on the same cells as {maps[0].path}")
    contents = _contents(maps, site, settings)
    methods, years = list(map(str, settings.eemt.methods)), settings.climate.labels
    create = _netcdf if out.name.endswith(".nc") else _zarr
    with whole_or_nothing(out) as partial, create(partial, contents) as layers, rasterio.Env(GDAL_CACHEMAX=CACHE):
        for known in maps:
            monthly, annual = _names(known)
            place: tuple[int, ...] = (methods.index(known.tags["METHOD"]),)
            if known.tags["YEAR"] in years:
                place += (years.index(known.tags["YEAR"]),)
            for rows, cols, values in _blocks(known):
                layers[annual][(*place, rows, cols)] = values[0]
                layers[monthly][(*place, slice(None), rows, cols)] = values[1:]


def _blocks(known: MapHeader) -> Iterator[tuple[slice, slice, npt.NDArray[np.float32]]]:
    """Read a map block by block: rows, columns, and their values (13, rows, columns)."""
    grid = known.grid
    with open_raster(known.path, "stack") as source:
        for rows in row_strips(slice(0, grid.height)):
            for cols in row_strips(slice(0, grid.width), WIDE):
                yield rows, cols, source.read(window=Window.from_slices(rows, cols))


def _names(known: MapHeader) -> tuple[str, str]:
    """Name the variables that a map's months and its year go to."""
    variable, year = known.tags["VARIABLE"], known.tags["YEAR"]
    suffix = f"_{year}" if year in OVER_YEARS else ""
    return f"{variable}{suffix}", f"{variable}_annual{suffix}"


def _contents(maps: list[MapHeader], site: str, settings: Site) -> Contents:
    layers: dict[str, Layer] = {}
    for known in maps:
        over_years = known.tags["YEAR"] in OVER_YEARS
        leading = ("method",) if over_years else ("method", "year")
        for name, dims, units, span in zip(
            _names(known), (("month", "y", "x"), ("y", "x")), reversed(known.units), ("months", "year"), strict=True
        ):
            meaning = VARIABLES[known.tags["VARIABLE"]].meaning
            of_years = f", {OVER_YEARS[known.tags['YEAR']]}" if over_years else ""
            about = {"long_name": f"{meaning}, {span}{of_years}", "units": cf_units(units), "grid_mapping": "crs"}
            layers[name] = Layer(name, (*leading, *dims), about)
    outputs = settings.outputs
    attributes = {
        "Conventions": "CF-1.8",
        "title": f"Effective energy and mass transfer of {site}",
        "source": f"eemt {eemt.__version__}",
        "references": CITATION,
        "history": f"{now()} maps put together by eemt stack",
        "options": maps[0].tags.get("OPTIONS", ""),
        **({"institution": outputs.publisher} if outputs.publisher else {}),
        **({"license": outputs.licence} if outputs.licence else {}),
    }
    grid = maps[0].grid
    return Contents(_coordinates(grid, settings), list(layers.values()), grid_attributes(grid), attributes)


def _coordinates(grid: Grid, settings: Site) -> dict[str, tuple[npt.NDArray[Any], dict[str, Any]]]:
    years = settings.climate.labels
    whole = all(year.isdigit() for year in years)
    return {
        "method": (np.array(settings.eemt.methods, dtype=object), {"long_name": "method of EEMT"}),
        "year": (
            np.array(years, dtype=np.int32) if whole else np.array(years, dtype=object),
            {"long_name": "year" if whole else "first and last year of the period"},
        ),
        "month": (np.arange(1, MONTHS + 1, dtype=np.int32), {"long_name": "month of the year"}),
        "y": (grid.y, {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"}),
        "x": (grid.x, {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"}),
    }


def cf_units(units: str) -> str:
    """Return the units of a map as UDUNITS reads them: ``MJ m-2 yr-1 per 10 years`` is ``0.1 MJ m-2 yr-1 yr-1``."""
    base = units.removesuffix(" per 10 years")
    return units if base == units else f"0.1 {base} yr-1"


@contextlib.contextmanager
def _netcdf(path: Path, contents: Contents) -> Iterator[dict[str, Any]]:
    """Lay out a NetCDF-4 file and give its variables to be filled."""
    import h5netcdf
    import h5py

    with h5netcdf.File(path, "w") as file:
        file.dimensions = {name: len(values) for name, (values, _) in contents.coordinates.items()}
        file.attrs.update(contents.attributes)
        for name, (values, about) in contents.coordinates.items():
            form = h5py.string_dtype() if values.dtype == object else values.dtype
            file.create_variable(name, (name,), form, data=values).attrs.update(about)
        file.create_variable("crs", (), np.int32, data=0).attrs.update(contents.mapping)
        layers = {}
        for layer in contents.layers:
            made = file.create_variable(
                layer.name,
                layer.dims,
                np.float32,
                chunks=contents.chunks(layer),
                fillvalue=np.float32(np.nan),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )
            made.attrs.update(layer.attributes)
            layers[layer.name] = made
        yield layers


@contextlib.contextmanager
def _zarr(path: Path, contents: Contents) -> Iterator[dict[str, Any]]:
    """Lay out a Zarr of format 3 in a zip file and give its arrays to be filled, each chunk once."""
    try:
        import zarr
        from zarr.codecs import BloscCodec
    except ImportError:
        raise InputError("outputs.stack: zarr needs a package that is not here; `pip install 'eemt[zarr]'`") from None

    with contextlib.closing(zarr.storage.ZipStore(path, mode="w")) as store:
        group = zarr.create_group(store, zarr_format=3, attributes=_plain(contents.attributes))
        for name, (values, about) in contents.coordinates.items():
            form = str if values.dtype == object else values.dtype
            made = group.create_array(
                name, shape=values.shape, dtype=form, dimension_names=(name,), attributes=_plain(about)
            )
            made[:] = values
        crs = group.create_array(
            "crs", shape=(), dtype=np.int32, dimension_names=(), attributes=_plain(contents.mapping)
        )
        crs[...] = 0
        yield {
            layer.name: group.create_array(
                layer.name,
                shape=contents.shape(layer),
                dtype=np.float32,
                chunks=contents.chunks(layer),
                fill_value=np.nan,
                compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
                dimension_names=layer.dims,
                attributes=_plain(layer.attributes),
            )
            for layer in contents.layers
        }


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in attributes.items()}
