"""EEMT of one tile: its land and its climate through the kernels, strip by strip, into its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import eemt
from eemt.cf import CITATION, VARIABLES, Field, Variable, grid_attributes
from eemt.climate.downscale import to_cells
from eemt.climate.monthly import days_in_months, middle_days
from eemt.climate.months import BOUNDS, Months, read_months
from eemt.config import EemtSettings, LapseSettings
from eemt.constants import FREEZING_POINT, PRESSURE_LAPSE
from eemt.energy import kernels
from eemt.energy.cases import Case
from eemt.energy.evaporation import day_length
from eemt.energy.land import Land
from eemt.energy.result import COUNTS, COUNTS_OF
from eemt.grid import Grid
from eemt.tilefile import Frame, TileFile, Where, chunk_rows, packed, tile_file

__all__ = ["compute", "read_months"]

Floats = npt.NDArray[np.float32]

METHODS = ("trad", "topo", "veg")
PETS = ("hamon", "thornthwaite", "penman", "penman_monteith")
ENERGIES = ("eemt", "ebio", "eppt")


@dataclass
class Tallies:
    """Cells outside the model's domain, and sums of water, of one year by method."""

    cells: dict[str, npt.NDArray[np.int64]]
    water: dict[str, npt.NDArray[np.int64]]

    @classmethod
    def of(cls, methods: tuple[str, ...]) -> Tallies:
        """Begin at zero."""
        return cls(
            {method: np.zeros(len(kernels.COUNTS), np.int64) for method in methods},
            {method: np.zeros((2, 12), np.int64) for method in methods},
        )

    def add(self, other: Tallies) -> None:
        """Count in those of other cells."""
        for method in self.cells:
            self.cells[method] += other.cells[method]
            self.water[method] += other.water[method]


def compute(case: Case, climate: Months, land: Land, grid: Grid, pool: ThreadPoolExecutor) -> None:
    """Compute year by year and strip by strip, each straight into the file.

    Parameters
    ----------
    case : Case
    climate : Months
        Of all years.
    land : Land
    grid : Grid
        Of the land.
    pool : ThreadPoolExecutor
        Whose threads do the work.
    """
    settings, rows = case.settings, chunk_rows(*grid.shape)
    with tile_file(case.out, _frame(climate, grid, settings), _layers(settings), rows) as file:
        for year, label in enumerate(climate.labels):
            year_of = _Year(climate.year(year), days_in_months(label), land, grid, settings, case.lapse)
            jobs = [pool.submit(year_of.strip, strip, 12 * year, file) for strip in _strips(grid.height, rows)]
            tallies = Tallies.of(settings.methods)
            try:
                for job in jobs:
                    tallies.add(job.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            _note(file, year, tallies)


class _Year:
    """One year's climate, ready to be turned into energy strip by strip."""

    def __init__(
        self,
        months: Months,
        days: npt.NDArray[np.int64],
        land: Land,
        grid: Grid,
        settings: EemtSettings,
        lapse: LapseSettings,
    ) -> None:
        self.months, self.land, self.grid, self.settings, self.lapse = months, land, grid, settings, lapse
        self.days = days.astype(np.float64)
        latitude, _, edges = grid.sun_geometry()
        self.hours = np.asarray(day_length(latitude, middle_days()[:, np.newaxis, np.newaxis]))
        self.block = np.repeat(np.arange(len(edges) - 1), np.diff(edges))  # of each column
        self.vapour_of_tmin = settings.vapour_pressure == "tmin" or "estimated" in months["vp"].attrs
        rules = (rules_of(method, settings, self.vapour_of_tmin) for method in settings.methods)
        self.rules = dict(zip(settings.methods, rules, strict=True))
        self.wind, self.albedo = (np.full(12, value, dtype=np.float64) for value in (settings.wind, settings.albedo))

    def strip(self, rows: slice, first_time: int, file: TileFile) -> Tallies:
        """Compute some rows and write them; return what was counted."""
        inputs = self._inputs(rows)
        layers = kernels.LAYERS if _keeps_all(self.settings) else kernels.LAYERS[:2]
        out = np.empty((len(layers), 12, *inputs.elevation.shape), dtype=np.float32)
        tallies = Tallies.of(self.settings.methods)
        for method, rules in self.rules.items():
            water = tallies.water[method]
            tallies.cells[method] += kernels.transfer(inputs, rules, self.days, self.wind, self.albedo, out, water)
            for where, chunk in self._chunks(out, method, first_time, rows.start, file.rows):
                file.put(where, chunk)
        return tallies

    def _inputs(self, rows: slice) -> kernels.Strip:
        land, elevation = self.land, np.ascontiguousarray(self.land.elevation[rows])
        weather = to_cells(
            self.months,
            elevation,
            self.grid.x,
            self.grid.y[rows],
            self.grid.crs,
            names=() if self.vapour_of_tmin else ("vp",),
            **self.lapse.model_dump(),
        )
        shape = (12, *elevation.shape)
        unused = np.zeros(shape, dtype=np.float32)

        def of_rows(layer: Floats | None) -> Floats:
            if layer is None:
                return unused
            cut = layer[..., rows, :]
            return np.ascontiguousarray(np.broadcast_to(cut, shape) if cut.ndim == 3 else cut)

        def of_cells(layer: Floats | None) -> Floats:
            return unused[0] if layer is None else of_rows(layer)

        return kernels.Strip(
            tmin=weather["tmin"],
            tmax=weather["tmax"],
            rain=weather["prcp"],
            vapour=weather.get("vp", unused),
            sun=of_rows(land.sun),
            flat_sun=of_rows(land.flat_sun),
            leaves=of_rows(land.leaves),
            elevation=elevation,
            northness=of_cells(land.northness),
            share=of_cells(land.share),
            height=of_cells(land.height),
            slope=of_cells(land.slope),
            hours=np.ascontiguousarray(self.hours[:, rows]),
            block=self.block,
        )

    def _chunks(self, out: Floats, method: str, first_time: int, row: int, rows: int) -> Iterator[tuple[Where, bytes]]:
        layers = dict(zip(kernels.LAYERS, out, strict=False))
        for month in range(12):
            # the sum of what the file holds, so that it is their sum in the file too
            total = layers["ebio"][month] + layers["eppt"][month]
            for name in stored(self.settings):
                values = total if name == "eemt" else layers[name][month]
                yield (f"{name}_{method}", first_time + month, row), packed(values, rows)


def rules_of(method: str, settings: EemtSettings, vapour_of_tmin: bool) -> kernels.Rules:
    """Word settings as kernels take them."""
    least, greatest = settings.solar_ratio_limits
    return kernels.Rules(
        method=METHODS.index(method),
        pet=PETS.index(getattr(settings, f"pet_{method}")),
        fao56=settings.net_radiation == "fao56",
        clearness=settings.clearness,
        omega=settings.omega,
        annual_budyko=settings.budyko == "annual",
        split_by_warmth=settings.npp_split == "warmth",
        cold_npp=settings.cold_npp,
        least_ratio=least,
        greatest_ratio=greatest,
        npp_floor=settings.npp_veg_floor if method == "veg" else settings.npp_floor,
        centred=settings.npp_veg == "centred",
        reference=settings.reference_temperature - FREEZING_POINT,
        heat_capacity=settings.water_heat_capacity,
        enthalpy=settings.biomass_enthalpy * 1e6,
        pressure_gradient=PRESSURE_LAPSE,
        vapour_of_tmin=vapour_of_tmin,
        all_layers=_keeps_all(settings),
    )


def stored(settings: EemtSettings) -> tuple[str, ...]:
    """Return the variables that a tile holds for each method; the share of biomass follows from them."""
    return (*ENERGIES, *(name for name in settings.keep if name != "fbio"))


def _keeps_all(settings: EemtSettings) -> bool:
    return len(stored(settings)) > len(ENERGIES)


def _strips(height: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]


def _frame(climate: Months, grid: Grid, settings: EemtSettings) -> Frame:
    """Make all of a tile's file but its maps."""
    fields = {
        "crs": Field(np.array(0), (), grid_attributes(grid)),
        **{name: climate[name] for name in BOUNDS if name in climate},
        "time": climate["time"],
        "y": Field(grid.y, ("y",), {"standard_name": "projection_y_coordinate", "units": "m"}),
        "x": Field(grid.x, ("x",), {"standard_name": "projection_x_coordinate", "units": "m"}),
    }
    steps = climate.sizes["time"]
    for method in settings.methods:
        for name in COUNTS_OF[method]:
            about = {"long_name": COUNTS[name], "units": "1"}
            fields[f"cells_{method}_{name}"] = Field(np.zeros(steps // 12, np.int64), ("year",), about)
        for name, meaning in WATER.items():
            about = {"long_name": meaning, "units": f"{kernels.WATER_UNIT:g} mm"}
            fields[f"water_{method}_{name}"] = Field(np.zeros(steps, np.int64), ("time",), about)
    attributes = {
        "Conventions": "CF-1.8",
        "title": "Effective energy and mass transfer",
        "source": f"eemt {eemt.__version__}",
        "references": CITATION,
        "options": settings.model_dump_json(),
        **{name: climate.attrs[name] for name in ("period",) if name in climate.attrs},
    }
    return Frame(fields, attributes)


WATER = {
    "effective": "sum over cells of effective precipitation",
    "shared": "sum over cells of effective precipitation times wetness index",
}


def _layers(settings: EemtSettings) -> Mapping[str, Mapping[str, Any]]:
    def about(variable: Variable, method: str) -> dict[str, str]:
        units = f"{variable.units} month-1" if variable.summed else variable.units
        return {"long_name": f"{variable.meaning}, method {method}", "units": units, "grid_mapping": "crs"}

    return {
        f"{name}_{method}": about(VARIABLES[name], method) for method in settings.methods for name in stored(settings)
    }


def _note(file: TileFile, year: int, tallies: Tallies) -> None:
    for method, cells in tallies.cells.items():
        for name in COUNTS_OF[method]:
            file.note(f"cells_{method}_{name}", year, int(cells[kernels.COUNTS.index(name)]))
        for name, sums in zip(WATER, tallies.water[method], strict=True):
            for month in range(12):
                file.note(f"water_{method}_{name}", 12 * year + month, int(sums[month]))
