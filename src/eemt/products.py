"""What users open: maps put together from tiles."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from rasterio import __gdal_version__ as gdal_version
from rasterio.windows import Window

from eemt.cf import CITATION, VARIABLES
from eemt.climate.monthly import days_in_months, select, year_labels
from eemt.climatology import Climatology, climatology
from eemt.constants import MONTH_NAMES
from eemt.errors import InputError
from eemt.grid import Grid
from eemt.provenance import DOI, now, versions
from eemt.qml import write_style
from eemt.raster import BLOCK, cog_writer, grid_of, open_netcdf, open_raster, row_strips

MEAN = "mean"
STATISTICS = {"mean": 1, "sd": 2, "trend": 3, "trend_p": 3}  # over years, and the least number of them
DECADE = 10  # years, that trends are given for
MAP_NAME = re.compile(r"(?P<variable>[a-z]+)_(?P<method>[a-z]+)_(?P<year>\d{4}(-\d{4})?|mean|sd|trend|trend_p)\.tif")


def keys_of(path: Path, what: str) -> dict[str, str]:
    """Return the variable, method and year that a map's name says.

    Raises
    ------
    InputError
        One line that begins with `what`.
    """
    name = MAP_NAME.fullmatch(path.name)
    if name is None:
        raise InputError(f"{what}: {path.name} is not named VARIABLE_METHOD_YEAR.tif")
    return name.groupdict()


def mosaic_rasters(tiles: Sequence[Path], out: Path) -> None:
    """Put GeoTIFF tiles together, all their bands.

    Raises
    ------
    InputError
        When a tile is missing or not on the same cells as the first.
    """
    grids = []
    for path in tiles:
        with open_raster(path, "tile") as tile:
            grids.append(grid_of(tile, "tile", least=1))
            names, units, tags = tile.descriptions, tile.units[0], tile.tags()
    whole = _union(grids, tiles)
    tags = {name: value for name, value in tags.items() if name not in {"AREA_OR_POINT", "EEMT_VERSION"}}
    with cog_writer(out, whole, [name or "" for name in names], units or "", tags) as target:
        for path, grid in zip(tiles, grids, strict=True):
            with open_raster(path, "tile") as tile:
                place = _window(grid, whole)
                for rows in row_strips(slice(0, grid.height)):
                    strip = Window.from_slices(rows, slice(0, grid.width))
                    there = Window(place.col_off, place.row_off + rows.start, grid.width, strip.height)
                    target.write(tile.read(window=strip), window=there)


def mosaic_transfer(tiles: Sequence[Path], out: Path, variable: str, method: str, year: str) -> None:
    """Put one variable of transfer tiles together: the year in band 1, its months in bands 2 to 13.

    Its style for QGIS is put beside it, see `eemt.qml`.

    Parameters
    ----------
    tiles : sequence of path
        NetCDF files of `eemt transfer`.
    out : path
    variable, method : str
        One of `VARIABLES`, such as ``eemt``, and a method, such as ``topo``.
    year : str
        A label of the tiles, or over all of their years: ``mean``; ``sd``, of a sample; ``trend``,
        the slope of the least squares line for a decade; ``trend_p``, its p-value (t test).

    Raises
    ------
    InputError
        When a tile is missing, lacks what is asked for, or is not on the same cells as the first;
        and when there are fewer than two years for sd, or three for a trend.
    """
    if variable not in VARIABLES:
        raise InputError(f"mosaic: no variable {variable}; known are {', '.join(VARIABLES)}")
    grids = [read_transfer_grid(path) for path in tiles]
    whole = _union(grids, tiles)
    water = _Water.of(tiles, method)
    about, units = VARIABLES[variable], _units(variable, year)
    bands = [f"{variable} {method} {year} {span}" for span in ("year", *MONTH_NAMES)]
    per = (" yr-1", " month-1") if about.summed and year != "trend_p" else ("", "")
    tags: dict[str, Any] = {
        "TITLE": f"{about.meaning}, method {method}, {year}",
        "UNITS": "band 1 {}, bands 2 to 13 {}".format(*(_units(variable, year, span) for span in per)),
        "VARIABLE": variable,
        "METHOD": method,
        "YEAR": year,
        "CITATION": CITATION,
        "DOI": DOI,
        "CREATED": now(),
        "VERSIONS": json.dumps(versions(("numpy", "rasterio", "xarray")) | {"gdal": gdal_version}),
    }
    with cog_writer(out, whole, bands, units, tags) as target:
        counts: Counter[tuple[str, int]] = Counter()
        options, years = "", year
        for path, grid in zip(tiles, grids, strict=True):
            with open_netcdf(path, "tile") as dataset:
                tile = _Tile(dataset, path, method, water)
                for rows, values in tile.maps(variable, year):
                    part = grid.window(rows, slice(0, grid.width))
                    target.write(values.astype(np.float32), window=_window(part, whole))
                counts.update(tile.counts(year))
                options = str(dataset.attrs.get("options", ""))
                years = ",".join(tile.labels) if year in STATISTICS else year
        # of several years, the worst
        names = {name: max(counts[key] for key in counts if key[0] == name) for name, _ in counts}
        target.update_tags(OPTIONS=options, YEARS=years, **{name: str(count) for name, count in names.items()})
    write_style(out, variable, year, _units(variable, year, per[0]))


def read_transfer_grid(path: Path) -> Grid:
    """Return the grid of a NetCDF tile.

    Raises
    ------
    InputError
        When the file is missing or is no such tile.
    """
    with open_netcdf(path, "tile") as dataset:
        if "crs" not in dataset or "GeoTransform" not in dataset["crs"].attrs:
            raise InputError(f"tile: {path} has no grid; give files that `eemt transfer` wrote")
        attributes, width, height = dataset["crs"].attrs, dataset.sizes["x"], dataset.sizes["y"]
    west, dx, _, north, _, dy = (float(v) for v in attributes["GeoTransform"].split())
    return Grid(attributes["crs_name"], west, north, dx, -dy, width, height)


def _units(variable: str, year: str, per: str = "") -> str:
    if year == "trend_p":
        return "1"
    return VARIABLES[variable].units + per + (f" per {DECADE} years" if year == "trend" else "")


@dataclass(frozen=True)
class _Water:
    """By what the water of all tiles together is multiplied, month by month (times,)."""

    factors: npt.NDArray[np.float64] | None

    @classmethod
    def of(cls, tiles: Sequence[Path], method: str) -> _Water:
        """Add up the water of all tiles, where the settings want its sum kept."""
        sums: npt.NDArray[np.int64] | int = 0
        for path in tiles:
            with open_netcdf(path, "tile") as dataset:
                chosen = json.loads(dataset.attrs.get("options", "{}")).get("redistribution")
                if chosen != "renormalised" or f"water_{method}_shared" not in dataset:
                    return cls(None)
                sums = sums + np.stack([dataset[f"water_{method}_{name}"].values for name in ("effective", "shared")])
        effective, shared = np.asarray(sums)
        return cls(np.where(shared > 0, effective / np.where(shared > 0, shared, 1), 1.0))


class _Tile:
    """One method of an open tile."""

    def __init__(self, dataset: xr.Dataset, path: Path, method: str, water: _Water) -> None:
        self.dataset, self.path, self.method, self.water = dataset, path, method, water
        self.labels = year_labels(dataset)

    def maps(self, variable: str, year: str) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
        """Yield rows, and on them the year and its months, or a statistic of these over all years."""
        self._refuse_unknown(variable, year)
        for rows in row_strips(slice(0, self.dataset.sizes["y"]), self._strip_height()):
            if year not in STATISTICS:
                yield rows, self._year(variable, year, rows)
            elif year == MEAN and variable == "fbio":
                # of the mean energies, since a year without energy has no share
                parts = [self._over_years(name, rows).mean for name in ("ebio", "eemt")]
                yield rows, _ratio(*parts)
            else:
                found = self._over_years(variable, rows)
                chosen = {"mean": found.mean, "sd": found.sd, "trend": found.slope * DECADE, "trend_p": found.p}
                yield rows, chosen[year]

    def counts(self, year: str) -> dict[tuple[str, int], int]:
        """Return in how many cells the model left its domain, by name and year of the map."""
        prefix = f"cells_{self.method}_"
        years = range(len(self.labels)) if year in STATISTICS else [self.labels.index(year)]
        return {
            (f"EEMT_CELLS_{name.removeprefix(prefix).upper()}", number): int(self.dataset[name].values[number])
            for name in map(str, self.dataset.data_vars)
            if name.startswith(prefix)
            for number in years
        }

    def _refuse_unknown(self, variable: str, year: str) -> None:
        if year not in STATISTICS and year not in self.labels:
            raise InputError(f"mosaic: {self.path} has no year {year}; it has {', '.join(self.labels)}")
        if len(self.labels) < STATISTICS.get(year, 1):
            raise InputError(
                f"mosaic: {year} needs {STATISTICS[year]} years; {self.path} has {len(self.labels)}: "
                f"{', '.join(self.labels)}"
            )
        for name in ("ebio", "eemt") if variable == "fbio" else (variable,):
            if f"{name}_{self.method}" not in self.dataset:
                have = ", ".join(str(key) for key in self.dataset.data_vars if self.dataset[key].ndim == 3)
                raise InputError(f"mosaic: {self.path} has no {name}_{self.method}; it has {have}")

    def _strip_height(self) -> int:
        """Return whole chunks, about as high as the map's own."""
        chunk = self.dataset[f"eemt_{self.method}"].encoding.get("chunksizes") or (1, 1, 1)
        return int(chunk[1]) * max(1, BLOCK // int(chunk[1]))

    def _over_years(self, variable: str, rows: slice) -> Climatology:
        times = [float(label) if label.isdigit() else 0.0 for label in self.labels]
        return climatology((self._year(variable, label, rows) for label in self.labels), times)

    def _year(self, variable: str, label: str, rows: slice) -> npt.NDArray[np.float64]:
        """Return the year and its months (13, rows, columns)."""
        if variable == "fbio":
            return _ratio(self._year("ebio", label, rows), self._year("eemt", label, rows))
        months = self._months(variable, label, rows)
        if VARIABLES[variable].summed:
            year = months.sum(axis=0, keepdims=True)
        else:
            year = np.average(months, axis=0, weights=days_in_months(label))[np.newaxis]
        return np.concatenate([year, months])

    def _months(self, variable: str, label: str, rows: slice) -> npt.NDArray[np.float64]:
        def read(name: str) -> npt.NDArray[np.float64]:
            layer = select(self.dataset, label)[f"{name}_{self.method}"].isel(y=rows)
            return np.asarray(layer.values, dtype=np.float64)

        if self.water.factors is None or variable not in {"eemt", "eppt"}:
            return read(variable)
        first = 12 * self.labels.index(label)
        heat = read("eppt") * self.water.factors[first : first + 12, np.newaxis, np.newaxis]
        return heat + read("ebio") if variable == "eemt" else heat


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.where(whole > 0.0, part, np.nan) / np.where(whole > 0.0, whole, 1.0))


def _union(grids: Sequence[Grid], tiles: Sequence[Path]) -> Grid:
    first = grids[0]
    for grid, path in zip(grids, tiles, strict=True):
        offset = ((grid.west - first.west) / first.dx, (grid.north - first.north) / first.dy)
        same = (grid.crs, grid.dx, grid.dy) == (first.crs, first.dx, first.dy)
        if not same or any(abs(cells - round(cells)) > 1e-3 for cells in offset):
            raise InputError(f"mosaic: {path} is not on the same cells as {tiles[0]}")
    west, north = min(g.west for g in grids), max(g.north for g in grids)
    east, south = max(g.bounds[2] for g in grids), min(g.bounds[1] for g in grids)
    return Grid(
        first.crs, west, north, first.dx, first.dy, round((east - west) / first.dx), round((north - south) / first.dy)
    )


def _window(tile: Grid, whole: Grid) -> Window:
    return Window(
        round((tile.west - whole.west) / whole.dx),
        round((whole.north - tile.north) / whole.dy),
        tile.width,
        tile.height,
    )
