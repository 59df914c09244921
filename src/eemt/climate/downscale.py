"""From the source to each cell: in space, then by lapse rates in height.

A grid is bilinear between the centres of its cells, several stations are weighted by the inverse of
their distance. Either way a cell's climate does not depend on the tile that it is asked for in.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from eemt.climate import sampling
from eemt.climate.months import Months
from eemt.climate.positions import Axis, projected
from eemt.climate.source import OPTIONAL, VARIABLES
from eemt.constants import LAPSE_RATE
from eemt.energy.evaporation import saturation_vapour_pressure
from eemt.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

ALWAYS = ("tmin", "tmax", "prcp")
CELLS_AT_ONCE = 200_000  # bounds the memory of twelve-month arrays to some hundred MB
OUTSIDE = 1e-3  # of a grid's cell, by which a cell may lie outside: rounding
LEAST_STATIONS = 3  # to fit a lapse rate to
LEAST_RELIEF = 100.0  # m between the lowest and the highest station, under which a lapse rate is noise
LAPSE_LIMITS = (-15.0, 15.0)  # K km-1, as in the configuration
POSITIVE_ROUNDS = 200  # of the correction that keeps conserved precipitation from below zero


def to_cells(
    climate: Months | xr.Dataset,
    elevation: Floats,
    x: Doubles,
    y: Doubles,
    crs: str,
    *,
    lapse_tmin: Any = LAPSE_RATE,
    lapse_tmax: Any = LAPSE_RATE,
    precipitation_gradient: float = 0.0,
    precipitation_resampling: str = "bilinear",
    idw_power: float = 2.0,
    fill_distance: float = 2.0,
    names: Collection[str] = (*VARIABLES, *OPTIONAL),
) -> dict[str, Floats]:
    """Carry one year's months to cells.

    ``T = T_source - lapse * (z - z_source) / 1000`` [1]_, for the minimum and the maximum alike.

    Parameters
    ----------
    climate : Months or Dataset
        Twelve months, see `eemt.climate.source`: a grid, whose variable ``crs`` names its coordinate
        system, or stations. A single cell or station holds everywhere.
    elevation : ndarray (rows, columns)
        Of the cells [m]; NaN stays NaN in all that is returned.
    x, y : ndarray (columns,), (rows,)
        Coordinates of the cells' centres.
    crs : str
        Coordinate system of `x` and `y`, in metres.
    lapse_tmin, lapse_tmax : float, (12,) or "stations"
        Fall of temperature with height [K km-1]; "stations" fits it to the stations, see `fitted_lapse`.
    precipitation_gradient : float
        Change of precipitation with height as a fraction of the source's [km-1].
    precipitation_resampling : {"bilinear", "conservative"}
        See `conserving`.
    idw_power : float
        Power of the distance in the weights of several stations.
    fill_distance : float
        How far from its known cells a grid's unknown ones take the value, and the elevation, of the
        nearest known one [cells of the grid].
    names : collection of str
        What is wanted of what is returned; ``tmin``, ``tmax`` and ``prcp`` come always.

    Returns
    -------
    dict of ndarray float32 (12, rows, columns)
        ``tmin``, ``tmax`` [degC], ``prcp`` [mm month-1], ``vp`` [Pa], and of ``srad``, ``dayl`` and
        ``swe`` what the source has. Vapour pressure that the source only estimated from its minimum
        temperature is estimated anew from the cell's.

    Raises
    ------
    InputError
        When a cell lies outside the grid, or where the grid has no value near.

    References
    ----------
    .. [1] Rasmussen, C. et al. 2015. Vadose Zone Journal, doi:10.2136/vzj2014.07.0102, Eq 6.
    """
    climate = Months.of(climate)
    wanted = tuple(name for name in _names(climate) if name in ALWAYS or name in names)
    source = _source_of(climate, wanted, precipitation_resampling, idw_power, fill_distance)
    lapse = {"tmin": _rates(climate, "tmin", lapse_tmin), "tmax": _rates(climate, "tmax", lapse_tmax)}
    estimated = "estimated" in climate["vp"].attrs
    cells = {name: np.empty((12, *elevation.shape), dtype=np.float32) for name in wanted}
    height = max(1, CELLS_AT_ONCE // elevation.shape[1])
    for start in range(0, elevation.shape[0], height):
        rows = slice(start, start + height)
        heights = elevation[rows].astype(np.float64)
        here = source.at(x, y[rows], crs, heights, precipitation_gradient)
        _by_height(here, heights, lapse, estimated, {name: values[:, rows] for name, values in cells.items()})
    return cells


def fitted_lapse(climate: Months | xr.Dataset, name: str) -> Doubles:
    """Fit the lapse rate of each month to stations, by least squares over their elevations.

    Parameters
    ----------
    climate : Months or Dataset
        Twelve months of three or more stations, 100 m or more apart in height.
    name : str
        ``tmin`` or ``tmax``.

    Returns
    -------
    ndarray (12,)
        Fall of temperature with height [K km-1]; negative where it is warmer above.

    Raises
    ------
    InputError
        When the stations are too few or too level, or a rate is outside -15 to 15.
    """
    climate = Months.of(climate)
    key = f"climate.lapse_{name}"
    stations = climate.sizes.get("station", 1)
    if stations < LEAST_STATIONS:
        raise InputError(f"{key}: there are {stations} stations; {LEAST_STATIONS} are needed to fit a lapse rate to")
    heights = climate["elevation"].values / 1000.0
    if np.ptp(heights) * 1000.0 < LEAST_RELIEF or len(np.unique(heights)) < LEAST_STATIONS:
        raise InputError(
            f"{key}: the stations stand at {1000 * heights.min():.0f} to {1000 * heights.max():.0f} m; a lapse rate is "
            f"fitted to {LEAST_STATIONS} heights or more, over {LEAST_RELIEF:.0f} m or more"
        )
    away = heights - heights.mean()
    values = climate[name].along("time", "station")
    rates = -(values @ away) / (away @ away)
    lowest, highest = LAPSE_LIMITS
    wrong = np.flatnonzero((rates < lowest) | (rates > highest))
    if len(wrong):
        raise InputError(
            f"{key}: fitted to the stations it is {rates[wrong[0]]:.1f} K km-1 in month {wrong[0] + 1}; "
            f"{lowest:g} to {highest:g} are allowed; give it yourself"
        )
    return np.asarray(rates)


def conserving(precipitation: Doubles) -> Doubles:
    """Change a grid's precipitation so that interpolated bilinearly it has each cell's amount as its mean.

    The mean of a bilinear field over a cell, three quarters its own centre and an eighth either
    neighbour along each axis, is inverted exactly. Where a cell is far wetter than its neighbours
    that would need less than nothing in them: they are kept at zero, the total of the grid remains
    exact, and the amounts of those few cells alone do not.

    Parameters
    ----------
    precipitation : ndarray (months, rows, columns)
        Means of the cells, all known.

    Returns
    -------
    ndarray (months, rows, columns)
        Values at the cells' centres.
    """
    down, right = (_cell_means(number) for number in precipitation.shape[1:])
    exact = np.linalg.solve(down, precipitation)
    exact = np.linalg.solve(right, exact.swapaxes(1, 2)).swapaxes(1, 2)
    for month in np.flatnonzero((exact < 0).any(axis=(1, 2))):
        wanted = precipitation[month]
        values = np.maximum(exact[month], 0.0)
        for _ in range(POSITIVE_ROUNDS):
            values = np.maximum(values + wanted - down @ values @ right.T, 0.0)
        total = (down @ values @ right.T).sum()
        exact[month] = values * (wanted.sum() / total if total > 0 else 0.0)
    return np.asarray(exact)


def _cell_means(number: int) -> Doubles:
    """Return the matrix (cells, cells) from values at the centres of a row of cells to the field's means over them."""
    if number == 1:
        return np.eye(1)
    means = 0.75 * np.eye(number) + 0.125 * (np.eye(number, k=1) + np.eye(number, k=-1))
    # in the outer half of the outermost cells the value at the centre holds
    means[0, 0] = means[-1, -1] = 0.875
    return means


@dataclass(frozen=True)
class _Point:
    """A single place, whose climate holds everywhere."""

    values: dict[str, Doubles]  # (12, 1, 1), the elevation (1, 1)

    def at(self, x: Doubles, y: Doubles, crs: str, elevation: Doubles, gradient: float) -> dict[str, Doubles]:  # noqa: ARG002
        if not gradient:
            return self.values
        climb = (elevation - self.values["elevation"]) / 1000.0
        return self.values | {"prcp": self.values["prcp"] * np.maximum(1.0 + gradient * climb, 0.0)}


@dataclass(frozen=True)
class _Surface:
    """A grid, bilinear between the centres of its cells."""

    names: tuple[str, ...]
    fields: Doubles  # (12 months of each name and the elevation, rows, columns)
    unknown: npt.NDArray[np.bool_]  # (rows, columns)
    columns: Axis
    rows: Axis
    crs: str

    def at(self, x: Doubles, y: Doubles, crs: str, elevation: Doubles, gradient: float) -> dict[str, Doubles]:
        there = projected(x, y, crs, self.crs, near=self.columns.middle)
        col = (there[0] - self.columns.first) / self.columns.step
        row = (there[1] - self.rows.first) / self.rows.step
        known = np.isfinite(elevation)
        self._refuse_outside(col, row, known, there)
        if self.unknown.any():
            self._refuse_unknown(sampling.touched(self.unknown, row, col) & known, there)
        found = sampling.bilinear(self.fields, row, col)
        values = {name: found[12 * k : 12 * k + 12] for k, name in enumerate(self.names)}
        climb = (elevation - found[-1]) / 1000.0
        if gradient:
            values["prcp"] = values["prcp"] * np.maximum(1.0 + gradient * climb, 0.0)
        return values | {"elevation": found[-1]}

    def _refuse_outside(
        self, col: Doubles, row: Doubles, known: npt.NDArray[np.bool_], there: tuple[Doubles, Doubles]
    ) -> None:
        half = 0.5 + OUTSIDE
        # a comparison with what cannot be projected is false
        inside = (col >= -half) & (col <= self.columns.number - 1 + half)
        inside &= (row >= -half) & (row <= self.rows.number - 1 + half)
        wrong = known & ~inside
        if wrong.any():
            (west, east), (south, north) = self.columns.edges, self.rows.edges
            xs, ys = there[0][known], there[1][known]
            raise InputError(
                f"climate: the source covers x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g} in "
                f"{_short(self.crs)}; the site needs x {xs.min():.6g} to {xs.max():.6g}, y {ys.min():.6g} to "
                f"{ys.max():.6g}; take a source that covers it"
            )

    def _refuse_unknown(self, wrong: npt.NDArray[np.bool_], there: tuple[Doubles, Doubles]) -> None:
        if wrong.any():
            at = np.unravel_index(int(np.flatnonzero(wrong)[0]), wrong.shape)
            raise InputError(
                f"climate: the source has no value within climate.fill_distance of x {there[0][at]:.6g}, "
                f"y {there[1][at]:.6g} in {_short(self.crs)}, where {int(wrong.sum())} cells of the site are; "
                "raise climate.fill_distance, or take another source"
            )


@dataclass(frozen=True)
class _Stations:
    """Several stations, weighted by the inverse of their distance."""

    names: tuple[str, ...]
    fields: Doubles  # (12 months of each name and the elevation, stations)
    latitude: Doubles
    longitude: Doubles
    power: float

    def at(self, x: Doubles, y: Doubles, crs: str, elevation: Doubles, gradient: float) -> dict[str, Doubles]:
        station_x, station_y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(
            self.longitude, self.latitude
        )
        weights = sampling.station_weights(x, y, station_x, station_y, self.power)
        found = sampling.weighted(self.fields, weights)
        values = {name: found[12 * k : 12 * k + 12] for k, name in enumerate(self.names)}
        if gradient:
            first = 12 * self.names.index("prcp")
            rain, heights = self.fields[first : first + 12], self.fields[-1]
            values["prcp"] = sampling.weighted_rain(rain, heights, elevation, weights, gradient)
        return values | {"elevation": found[-1]}


def _source_of(
    climate: Months, names: tuple[str, ...], precipitation_resampling: str, idw_power: float, fill_distance: float
) -> _Point | _Surface | _Stations:
    if "station" in climate.sizes:
        months = [climate[name].along("time", "station") for name in names]
        fields = np.concatenate([*months, climate["elevation"].values[np.newaxis]]).astype(np.float64)
        latitude, longitude = (climate[name].values.astype(np.float64) for name in ("lat", "lon"))
        return _Stations(names, fields, latitude, longitude, idw_power)
    if climate.sizes["x"] == climate.sizes["y"] == 1:
        return _Point({name: climate[name].values.astype(np.float64) for name in (*names, "elevation")})
    by_name = {name: climate[name].along("time", "y", "x") for name in _names(climate)}
    by_name["elevation"] = climate["elevation"].along("y", "x")[np.newaxis]
    unknown = _fill(by_name, fill_distance)
    if precipitation_resampling == "conservative":
        by_name["prcp"] = conserving(by_name["prcp"])
    x, y = climate["x"].values.astype(np.float64), climate["y"].values.astype(np.float64)
    return _Surface(
        names,
        np.concatenate([by_name[name] for name in (*names, "elevation")]),
        unknown,
        Axis.of(x, y),
        Axis.of(y, x),
        climate["crs"].attrs["crs_name"],
    )


def _names(climate: Months) -> tuple[str, ...]:
    return tuple(name for name in (*VARIABLES, *OPTIONAL) if name in climate)


def _fill(fields: dict[str, Doubles], distance: float) -> npt.NDArray[np.bool_]:
    """Give unknown cells of a grid the values of the nearest known one; return those too far from any.

    What a source must know is taken from one cell together, so that temperature and the elevation it
    belongs to stay a pair. What is optional has its own cells, and may remain unknown.
    """
    needed = [name for name in fields if name not in OPTIONAL]
    unknown: npt.NDArray[np.bool_] = np.zeros(fields["elevation"].shape[1:], dtype=bool)
    for names in (needed, *([name] for name in fields if name in OPTIONAL)):
        missing = np.any([np.isnan(fields[name]).any(axis=0) for name in names], axis=0)
        if not missing.any():
            continue
        if missing.all():
            raise InputError(f"climate: the source has no cell where {', '.join(names)} are all known")
        away = _fill_from_nearest([fields[name] for name in names], missing)
        if names is needed:
            unknown = away > distance
        else:
            fields[names[0]][:, away > distance] = np.nan
    return unknown


def _fill_from_nearest(fields: list[Doubles], missing: npt.NDArray[np.bool_]) -> Doubles:
    """Fill missing cells and return how far from each cell the one is that it was filled from [cells]."""
    from scipy.ndimage import distance_transform_edt

    away, nearest = distance_transform_edt(missing, return_indices=True)
    for field in fields:
        field[:, missing] = field[:, nearest[0][missing], nearest[1][missing]]
    return np.asarray(away, dtype=np.float64)


def _by_height(
    here: dict[str, Doubles],
    elevation: Doubles,
    lapse: dict[str, Doubles],
    estimated: bool,
    cells: dict[str, Floats],
) -> None:
    """Write the source's values brought from its height to the cells'; precipitation is there already."""
    climb = (elevation - here["elevation"]) / 1000.0
    missing = 0.0 * climb  # NaN where there is no land
    for month in range(12):  # arrays of one month stay in the processor's cache
        tmin, tmax = (here[name][month] - lapse[name][month] * climb for name in ("tmin", "tmax"))
        # where the two lapse rates differ, high above the source the minimum may pass the maximum
        here_now = {"tmin": tmin, "tmax": np.maximum(tmin, tmax)}
        if estimated and "vp" in cells:
            here_now["vp"] = 1000.0 * np.asarray(saturation_vapour_pressure(tmin))
        for name, values in cells.items():
            values[month] = here_now[name] if name in here_now else here[name][month] + missing


def _rates(climate: Months, name: str, lapse: Any) -> Doubles:
    """Return a lapse rate for each month (12, 1, 1)."""
    rate = fitted_lapse(climate, name) if isinstance(lapse, str) and lapse == "stations" else lapse
    return np.broadcast_to(np.asarray(rate, dtype=np.float64), (12,))[:, np.newaxis, np.newaxis]


def _short(crs: str) -> str:
    """Name a coordinate system that may be a page of WKT."""
    from pyproj import CRS

    return crs if len(crs) < 40 else CRS.from_user_input(crs).name
