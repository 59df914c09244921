"""Sun maps of a DEM as xarray holds it, with what the CF conventions say of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

import eemt
from eemt.cf import grid_attributes
from eemt.errors import InputError
from eemt.grid import Grid, is_metric
from eemt.sun.irradiation import irradiation
from eemt.sun.turbidity import climatology

__all__ = ["sun_maps"]

MAPPING = "spatial_ref"  # the grid mapping's name, where rioxarray and QGIS look for it
LEAST_CELLS = 2  # of a side, for a cell size to be known
UNEVENNESS = 1e-3  # of a cell, by which a coordinate may miss its place

ENERGY = "W h m-2"
FLUX = "surface_downwelling_shortwave_flux_in_air"
MEANINGS: dict[str, dict[str, str]] = {
    "global": {"long_name": "global irradiation of the slope under a clear sky", "units": ENERGY},
    "beam": {"long_name": "beam irradiation of the slope under a clear sky", "units": ENERGY},
    "diffuse": {"long_name": "diffuse irradiation of the slope under a clear sky", "units": ENERGY},
    "insolation": {
        "long_name": "time of direct sun under a clear sky",
        "standard_name": "duration_of_sunshine",
        "units": "h",
    },
    "flat_global": {
        "long_name": "global irradiation of level, open ground under a clear sky",
        "standard_name": f"integral_wrt_time_of_{FLUX}",
        "units": ENERGY,
    },
    "sky_view": {"long_name": "sky-view factor", "units": "1"},
    "horizon": {"long_name": "elevation of the horizon", "units": "degree"},
}
AXES: dict[str, dict[str, str]] = {
    "day": {"long_name": "day of the year", "units": "1"},
    "month": {"long_name": "month of the year", "units": "1"},
    "azimuth": {"long_name": "azimuth, clockwise from grid north", "units": "degree"},
    "y": {"long_name": "northing", "standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"},
    "x": {"long_name": "easting", "standard_name": "projection_x_coordinate", "units": "m", "axis": "X"},
}


def sun_maps(
    elevation: xr.DataArray,
    *,
    days: Iterable[int] = range(1, 366),
    step: float = 15.0,
    linke: Any = 3.0,
    albedo: Any = 0.2,
    convention: str = "eemt",
    shadows: bool = True,
    sky_view: bool = False,
    horizons: bool = False,
    azimuths: int = 64,
    max_distance: float | None = None,
    daily: bool = True,
    threads: int | None = None,
) -> xr.Dataset:
    """Clear-sky irradiation of terrain, days and months.

    Latitude and meridian convergence follow from the coordinate system. All is held in memory: a daily map takes
    4 bytes a cell, and five come with each day.

    Parameters
    ----------
    elevation : DataArray (y, x)
        Elevation [m] at evenly spaced cell centres `x` and `y` [m], in either order; a band of length one may stand
        before them. NaN, or its ``_FillValue``, is a hole, which casts no shadow. Its coordinate system is taken from
        ``.rio.crs`` where rioxarray is loaded, else from the grid mapping's ``crs_wkt`` (of the coordinate
        ``spatial_ref`` unless an attribute ``grid_mapping`` names another), else from the attribute ``crs``.
    days : iterable of int
        Days of the year, 1..365.
    step : float
        Longest time step [minutes].
    linke : float, array (12) or (365), or "climatology"
        Linke turbidity [-]; "climatology" is that of :func:`eemt.sun.turbidity.climatology` at the DEM's centre.
    albedo : float, array (12), or DataArray (y, x)
        Albedo of the ground [-]; a map must be on the cells of `elevation`.
    convention, shadows, sky_view, horizons, azimuths, max_distance, threads
        As for :func:`eemt.sun.irradiation.strips`.
    daily : bool
        Whether daily maps come with the monthly sums.

    Returns
    -------
    Dataset
        ``monthly_global``, ``monthly_flat_global`` [W h m-2] and ``monthly_insolation`` [h] (month, y, x), sums over
        the chosen `days`; with `daily` also ``global``, ``beam``, ``diffuse``, ``flat_global`` [W h m-2] and
        ``insolation`` [h] (day, y, x); with `sky_view` ``sky_view`` [-] (y, x); with `horizons` ``horizon`` [degrees]
        (azimuth, y, x). On the coordinates of `elevation`, with a grid mapping ``spatial_ref``, as CF-1.8.

    Raises
    ------
    InputError
        When `elevation` has no coordinate system in metres or no even grid.
    """
    days = list(days)
    flat = _flat(elevation)
    grid = _grid(flat)
    turn = tuple(slice(None, None, 1 if even else -1) for even in (flat.y[0] > flat.y[-1], flat.x[0] < flat.x[-1]))
    latitude, convergence, blocks = grid.sun_geometry()
    maps = irradiation(
        _without_fill(flat)[turn],
        dx=grid.dx,
        dy=grid.dy,
        latitude=latitude,
        convergence=convergence,
        blocks=blocks,
        days=days,
        step=step,
        linke=climatology(*grid.centre) if isinstance(linke, str) and linke == "climatology" else linke,
        albedo=_albedo_on(flat, albedo)[turn] if isinstance(albedo, xr.DataArray) else albedo,
        convention=convention,
        shadows=shadows,
        sky_view=sky_view,
        horizons=horizons,
        azimuths=azimuths,
        max_distance=max_distance,
        daily=daily,
        threads=threads,
    )
    result = _empty(flat, grid)
    axes = {"day": days, "month": range(1, 13), "azimuth": np.arange(azimuths) * 360.0 / azimuths}
    for name, values in maps.items():
        layers = values[:, *turn]
        if name == "sky_view":
            result[name] = (("y", "x"), layers[0], _meaning(name))
            continue
        axis = "month" if name.startswith("monthly_") else "azimuth" if name == "horizon" else "day"
        result = result.assign_coords({axis: (axis, np.asarray(axes[axis]), AXES[axis])})
        result[name] = ((axis, "y", "x"), layers, _meaning(name))
    return result


def _flat(elevation: xr.DataArray) -> xr.DataArray:
    """Bring to (y, x), refusing what has no such coordinates or is in degrees."""
    if not isinstance(elevation, xr.DataArray):
        raise InputError(f"elevation: must be an xarray.DataArray, is {type(elevation).__name__}")
    crs = _crs(elevation)
    if crs is None:
        raise InputError(
            "elevation: has no coordinate system; set attrs['crs'], such as 'EPSG:32613', or use rioxarray"
        )
    if not is_metric(crs):
        raise InputError(
            f"elevation: {crs.name} is not a projected system in metres; bring the DEM to one first with `eemt dem`"
        )
    flat = elevation.squeeze(drop=True)
    if set(flat.dims) != {"y", "x"}:
        raise InputError(f"elevation: must have dimensions y and x, has {', '.join(map(str, elevation.dims))}")
    for axis in ("y", "x"):
        if axis not in flat.coords:
            raise InputError(f"elevation: has no coordinate {axis}, the cell centres [m]")
        _cell(flat[axis].to_numpy(), axis)
    return flat.transpose("y", "x")


def _crs(elevation: xr.DataArray) -> CRS | None:
    """Find the coordinate system; an accessor comes before attributes, which may be out of date."""
    found: Any = getattr(getattr(elevation, "rio", None), "crs", None)
    if found is None:
        name = elevation.attrs.get("grid_mapping") or elevation.encoding.get("grid_mapping") or MAPPING
        attributes = elevation.coords[name].attrs if name in elevation.coords else {}
        found = attributes.get("crs_wkt") or attributes.get("spatial_ref") or elevation.attrs.get("crs")
    if found is None:
        return None
    try:
        return CRS.from_user_input(found)
    except CRSError:
        raise InputError(f"elevation: its coordinate system {found!s:.60} is not known to PROJ") from None


def _cell(centres: npt.NDArray[Any], axis: str) -> float:
    """Size of the cells along an axis, signed."""
    centres = centres.astype(np.float64)
    if len(centres) < LEAST_CELLS:
        raise InputError(f"elevation: has {len(centres)} cell along {axis}; {LEAST_CELLS} are the least")
    size = float(centres[-1] - centres[0]) / (len(centres) - 1)
    even = centres[0] + size * np.arange(len(centres))
    if size == 0 or not np.abs(centres - even).max() <= UNEVENNESS * abs(size):
        raise InputError(f"elevation: the coordinate {axis} is not evenly spaced")
    return size


def _grid(flat: xr.DataArray) -> Grid:
    crs = _crs(flat)
    code = crs.to_epsg() if crs else None
    x, y = flat.x.to_numpy().astype(np.float64), flat.y.to_numpy().astype(np.float64)
    dx, dy = abs(_cell(x, "x")), abs(_cell(y, "y"))
    name = f"EPSG:{code}" if code else crs.to_wkt() if crs else ""
    return Grid(name, float(x.min()) - dx / 2, float(y.max()) + dy / 2, dx, dy, len(x), len(y))


def _without_fill(flat: xr.DataArray) -> npt.NDArray[np.float32]:
    values = flat.to_numpy().astype(np.float32)
    fill = flat.attrs.get("_FillValue")
    if fill is not None:
        values[values == np.float32(fill)] = np.nan
    return values


def _albedo_on(flat: xr.DataArray, albedo: xr.DataArray) -> npt.NDArray[np.float64]:
    laid = albedo.squeeze(drop=True)
    alike = set(laid.dims) == {"y", "x"} and all(
        laid.sizes[axis] == flat.sizes[axis] and axis in laid.coords and np.array_equal(laid[axis], flat[axis])
        for axis in ("y", "x")
    )
    if not alike:
        raise InputError("albedo: is not on the cells of the elevation model")
    return laid.transpose("y", "x").to_numpy().astype(np.float64)


def _empty(flat: xr.DataArray, grid: Grid) -> xr.Dataset:
    """Make a dataset of the coordinates alone."""
    x, y = flat.x.to_numpy().astype(np.float64), flat.y.to_numpy().astype(np.float64)
    dx, dy = _cell(x, "x"), _cell(y, "y")
    corner = (float(x[0]) - dx / 2, dx, 0.0, float(y[0]) - dy / 2, 0.0, dy)
    mapping = grid_attributes(grid) | {"GeoTransform": " ".join(map(repr, corner))}
    return xr.Dataset(
        coords={
            "y": ("y", flat.y.to_numpy(), AXES["y"]),
            "x": ("x", flat.x.to_numpy(), AXES["x"]),
            MAPPING: ((), 0, mapping),
        },
        attrs={
            "Conventions": "CF-1.8",
            "title": "Clear-sky irradiation of terrain",
            "source": f"eemt {eemt.__version__}",
            "references": "Hofierka & Suri 2002; Rigollier, Bauer & Wald 2000",
        },
    )


def _meaning(name: str) -> dict[str, str]:
    attributes = dict(MEANINGS[name.removeprefix("monthly_")], grid_mapping=MAPPING)
    if name.startswith("monthly_"):
        attributes["long_name"] += ", sum of the month's days"
    elif MEANINGS[name]["units"] in (ENERGY, "h"):
        attributes["long_name"] += ", sum of the day"
    return attributes
