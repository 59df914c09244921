"""Every parameter once: its type, default, unit, allowed range and meaning.

The command line's options, the JSON schema, the reference page in the docs and the checks of a
config file are all made from the models below.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from eemt.errors import InputError


def _monthly(lowest: float, highest: float, word: str = "", file: bool = False) -> Any:
    """Type of a value that holds all year or comes as twelve, January first; or a `word`, or a raster's path."""
    other = f", or {word}" if word else ", or the path of a raster" if file else ""
    wanted = f"must be a number or twelve numbers, January first{other}"

    def check(value: Any) -> float | tuple[float, ...] | str:
        if isinstance(value, str):
            if word and value == word:
                return value
            if file and _is_path(value):
                return value
            value = value.split(",")
            value = value[0] if len(value) == 1 else value
        many = isinstance(value, list | tuple)
        if isinstance(value, bool):
            raise ValueError(wanted)
        try:
            numbers = tuple(float(v) for v in value) if many else (float(value),)
        except (TypeError, ValueError):
            raise ValueError(wanted) from None
        if many and len(numbers) != 12:
            raise ValueError(f"has {len(numbers)} values; give one, or twelve with January first")
        for number in numbers:
            if not lowest <= number <= highest:
                raise ValueError(f"is {number:g}; allowed are {lowest:g} to {highest:g}")
        return numbers if many else numbers[0]

    number = {"type": "number", "minimum": lowest, "maximum": highest}
    several = {"type": "array", "items": number, "minItems": 12, "maxItems": 12}
    schema: list[dict[str, Any]] = [number, several]
    if word:
        schema.append({"const": word})
    if file:
        schema.append({"type": "string", "format": "path", "pattern": PATH})
    return Annotated[
        float | tuple[float, ...] | str if word or file else float | tuple[float, ...],
        BeforeValidator(check),
        WithJsonSchema({"anyOf": schema}),
    ]


def _whole_or_auto(least: int, most: int) -> Any:
    """Type of a whole number, or the word auto."""

    def check(value: Any) -> int | str:
        if value == "auto":
            return "auto"
        try:
            number = int(value)
            whole = not isinstance(value, bool) and number == float(value)
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole or not least <= number <= most:
            raise ValueError(f"is {value!r}; must be auto or a whole number from {least:,} to {most:,}")
        return number

    schema = [{"type": "integer", "minimum": least, "maximum": most}, {"const": "auto"}]
    return Annotated[int | Literal["auto"], BeforeValidator(check), WithJsonSchema({"anyOf": schema})]


def is_address(source: str) -> bool:
    """Tell the address of something on a server from a file's name."""
    return source.lower().startswith(("http://", "https://"))


# A file's name has a folder before it or an ending that begins with a letter; no number has either.
PATH = r"[/\\]|\.[A-Za-z][A-Za-z0-9]*$"


def _is_path(text: str) -> bool:
    return re.search(PATH, text) is not None


Year = Annotated[int, Field(ge=1, le=9999)]


# Raised by one when a stage's results change for the same input, so that the workflow makes them anew.
ALGORITHMS = {
    "dem": 2,
    "tile": 1,
    "terrain": 1,
    "wetness": 2,
    "sun": 1,
    "climate": 1,
    "transfer": 2,
    "mosaic": 3,
    "summary": 2,
    "zones": 1,
    "report": 4,
    "sweep": 2,
    "stack": 1,
    "catalogue": 2,
    "crate": 1,
}


ELEVATION_DATA_SETS = ("3dep", "glo30")


class Section(BaseModel):
    """A group of parameters; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @property
    def unused(self) -> frozenset[str]:
        """Keys that the others leave without effect."""
        return frozenset()

    @classmethod
    def inherited(cls, common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """Take from the common section what a site with values of its `own` can use."""
        return {key: value for key, value in common.items() if key not in own}


class DemSettings(Section):
    """The elevation model and the grid that every map is on."""

    source: Annotated[
        str | tuple[str, ...],
        Field(min_length=1),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                ]
            }
        ),
    ] = Field(
        description="Elevations above sea level: a raster that GDAL reads, several to be put together, the http(s) "
        "address of a cloud-optimised GeoTIFF, or 3dep (United States, 1/3 arc second) or glo30 (Copernicus, 1 arc "
        "second) for the pieces of that data set within bbox",
    )
    bbox: tuple[float, float, float, float] | None = Field(
        None,
        description="West, south, east and north edge of the area that is mapped (WGS 84). Needed for 3dep and glo30; "
        "without it, all of the source",
        json_schema_extra={"unit": "degrees"},
    )
    buffer: float = Field(
        10_000.0,
        description="Width of the terrain around bbox that is prepared too, for its shadows and its water, as far as "
        "the source reaches",
        ge=0,
        le=200_000,
        json_schema_extra={"unit": "m"},
    )
    crs: str = Field(
        "auto",
        description="Projected coordinate system of the maps, such as EPSG:32613; auto keeps the source's own where "
        "it is in metres and takes the UTM zone of the centre elsewhere, or a conformal projection about the centre of "
        "an area wider than a zone",
        pattern=r"^(auto|[A-Za-z]+:\d+)$",
    )
    resolution: float | None = Field(
        None,
        description="Cell size; without one, the source's own, 10 for 3dep and 30 for glo30",
        gt=0,
        le=10_000,
        json_schema_extra={"unit": "m"},
    )
    resampling: Literal["auto", "bilinear", "cubic", "average"] = Field(
        "auto",
        description="How elevations are carried to the grid; auto: average where a cell takes in about two or more of "
        "the source's a side, bilinear elsewhere",
    )
    vertical_unit: Literal["metre", "foot", "us_foot"] = Field(
        "metre", description="Unit of the source's elevations; foot is 0.3048 m, us_foot the US survey foot"
    )
    fill_voids: float = Field(
        0.0,
        description="Width up to which voids are filled from their rims; wider ones, and with 0 all, stay without data",
        ge=0,
        le=10_000,
        json_schema_extra={"unit": "m"},
    )
    base_url: str | None = Field(
        None,
        description="Address of a mirror to fetch 3dep or glo30 from instead of the provider's own",
        pattern=r"^https?://[^\s?#]+$",
    )

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """Take a list of one for that one."""
        if isinstance(value, list | tuple) and len(value) == 1:
            return value[0]
        return value

    @field_validator("source")
    @classmethod
    def _words_alone(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        several = () if isinstance(value, str) else value
        if "" in several:
            raise ValueError("has an empty name in its list")
        for word in ELEVATION_DATA_SETS:
            if word in several:
                raise ValueError(f"names {word} beside other sources; it has to stand alone")
        if len({is_address(name) for name in several}) == 2:
            raise ValueError("names files and addresses side by side; fetch the rasters at the addresses first")
        return value

    @field_validator("bbox", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        numbers = value.split(",") if isinstance(value, str) else value
        if isinstance(numbers, list | tuple) and len(numbers) != 4:
            raise ValueError(f"has {len(numbers)} numbers; four are needed: west, south, east and north [degrees]")
        return numbers

    @field_validator("bbox")
    @classmethod
    def _in_order(cls, value: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if value is None:
            return None
        west, south, east, north = value
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= 90 and -90 <= north <= 90):
            found = ", ".join(f"{edge:g}" for edge in value)
            raise ValueError(f"is {found}; west and east lie in -180 to 180 degrees, south and north in -90 to 90")
        if west >= east:
            raise ValueError(
                f"has its west, {west:g}, not west of its east, {east:g}; the order is west, south, east, north, and "
                "an area across the date line has to be mapped as two sites"
            )
        if south >= north:
            raise ValueError(
                f"has its south, {south:g}, not south of its north, {north:g}; the order is west, south, east, north"
            )
        return value

    @model_validator(mode="after")
    def _data_set_has_its_area(self) -> DemSettings:
        if self.source in ELEVATION_DATA_SETS and self.bbox is None:
            raise ValueError(f"bbox: is missing; source {self.source} needs west, south, east and north [degrees]")
        return self

    @property
    def unused(self) -> frozenset[str]:
        """The mirror where no data set is fetched, the buffer where there is no bbox."""
        return frozenset(
            (() if self.source in ELEVATION_DATA_SETS else ("base_url",)) + (() if self.bbox else ("buffer",))
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The names or addresses, one or several."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def files(self) -> tuple[str, ...]:
        """Those of the sources that are local files."""
        return tuple(name for name in self.sources if name not in ELEVATION_DATA_SETS and not is_address(name))


class TileSettings(Section):
    """How the grid is cut into jobs."""

    size: _whole_or_auto(1, 16_384) = Field(  # type: ignore[valid-type]
        "auto",
        description="Rows and columns of a tile; a job computes one tile for all days, months and years. auto: one "
        "tile for up to a million cells, else tiles of 512 to 2048, at least one a worker where they can be so many",
        json_schema_extra={"unit": "cells"},
    )
    workers: int = Field(
        8,
        description="How many jobs a run should be able to keep busy, for size auto. It is not taken from the "
        "machine, so that tiles have the same names everywhere",
        ge=1,
        le=100_000,
        json_schema_extra={"unit": "jobs"},
    )


class WetnessSettings(Section):
    """Topographic wetness, by which water is shared out over the slopes."""

    slope_floor: float = Field(
        0.001, description="Least tan(slope) in ln(a / tan(slope)), for flat cells", gt=0, le=0.1
    )
    domain: Literal["valid", "catchment"] = Field(
        "valid",
        description="Area over which the mass conservative wetness index has mean one: all cells, or each "
        "connected region of cells",
    )


class SunSettings(Section):
    """Daily sun maps: clear sky, terrain shadows."""

    step: float = Field(
        15.0, description="Time step of the daily integral", ge=1, le=60, json_schema_extra={"unit": "min"}
    )
    linke: _monthly(1.0, 10.0, word="climatology") = Field(  # type: ignore[valid-type]
        3.0,
        description="Linke turbidity of the air; 2 mountains, 3 rural, 4 to 7 cities. One value or twelve; "
        "climatology: of the world table in pvlib at the centre of the elevation model, day by day",
    )
    albedo: _monthly(0.0, 1.0, file=True) = Field(  # type: ignore[valid-type]
        0.2,
        description="Reflectance of the ground around a slope. One value or twelve, or the path of a raster "
        "on the cells of the maps",
    )
    shadows: bool = Field(True, description="Whether terrain casts shadows on terrain")
    sky_view: bool = Field(
        False, description="Whether the horizon takes its part of the sky from the diffuse light of a cell"
    )
    convention: Literal["eemt", "grass"] = Field(
        "eemt",
        description="eemt: horizons between cells, soft shadow edges, true north; grass: as r.sun samples time "
        "and terrain, for comparison with published r.sun maps",
    )
    daily: bool = Field(True, description="Whether the maps of single days are kept beside the monthly sums")


class LapseSettings(Section):
    """How climate is carried from its source's elevation to a cell's."""

    lapse_tmin: _monthly(-15.0, 15.0, word="stations") = Field(  # type: ignore[valid-type]
        6.5,
        description="Fall of the daily minimum temperature with height. One value or twelve; stations: fitted each "
        "month to three or more stations of different heights",
        json_schema_extra={"unit": "K km-1"},
    )
    lapse_tmax: _monthly(-15.0, 15.0, word="stations") = Field(  # type: ignore[valid-type]
        6.5,
        description="Fall of the daily maximum temperature with height. One value or twelve; stations: fitted each "
        "month to three or more stations of different heights",
        json_schema_extra={"unit": "K km-1"},
    )
    precipitation_gradient: float = Field(
        0.0,
        description="Change of precipitation with height as a fraction of the source's: 0.5 adds half per km",
        ge=-1,
        le=5,
        json_schema_extra={"unit": "km-1"},
    )
    precipitation_resampling: Literal["bilinear", "conservative"] = Field(
        "bilinear",
        description="How precipitation goes from a grid to the cells. bilinear: between centres; conservative: smooth "
        "too, but its mean over each of the grid's cells is that cell's own, before precipitation_gradient",
    )
    idw_power: float = Field(
        2.0, description="Power of the distance that weights fall with, where there are several stations", gt=0, le=10
    )
    fill_distance: float = Field(
        2.0,
        description="How far from known cells of a grid its unknown ones, such as the sea's, take the nearest value",
        ge=0,
        le=100,
        json_schema_extra={"unit": "cells of the grid"},
    )


def _from_json(value: Any) -> Any:
    """Read what a command line gives for keys that hold keys."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f'is not JSON ({error}); write it as \'{{"key": "value"}}\'') from None


def _listed(value: Any) -> Any:
    """Take ``a,b``, or a JSON list, from a command line for several values, and one text for itself."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        return _from_json(value)
    return [part.strip() for part in value.split(",") if part.strip()]


class GridVariable(Section):
    """A variable of the user's own grid: its name and unit there."""

    name: str | None = Field(None, description="Name in the file, and in its path where that holds {variable}")
    units: str | None = Field(None, description="Unit, where the file gives none or a wrong one, such as mm/day or K")
    scale: float = Field(1.0, description="Factor of the numbers in the file, beside its own scale_factor")
    offset: float = Field(0.0, description="Added to the numbers in the file once they are scaled")
    files: tuple[str, ...] = Field((), description="Files of this variable alone")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("files", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _listed(value)


GridName = Literal["tmin", "tmax", "prcp", "vp", "tdew", "rh", "srad", "dayl", "swe", "elevation"]

# The keys that belong to some of the sources only; all others hold for each.
SOURCE_KEYS: dict[str, frozenset[str]] = {
    "station": frozenset({"file", "elevation", "latitude", "longitude", "normals_period"}),
    "grid": frozenset({"files", "variables", "crs", "elevation_file", "normals_period", "full_months"}),
    "daymet": frozenset(
        {
            "providers",
            "base_urls",
            "cache",
            "offline",
            "region",
            "variables_extra",
            "full_months",
            "elevation_file",
            "max_single_pixel_cells",
            "local",
            "whole_files",
            "patience",
        }
    ),
    "none": frozenset(),
}


# Those that say how data are had, not which; a run does not begin anew when they change.
ACCESS_KEYS = frozenset({"base_urls", "cache", "offline", "local", "whole_files", "patience"})


class ClimateSettings(LapseSettings):
    """Monthly climate and how it is carried to each cell."""

    source: Literal["station", "grid", "daymet", "none"] = Field(
        "station",
        description="Kind of source. station: monthly tables of stations; grid: rasters of your own; daymet: Daymet, "
        "North America, Hawaii and Puerto Rico at 1 km; none: no EEMT, but sun maps, slopes and wetness alone",
    )
    file: str | None = Field(
        None,
        description="station: CSV with columns month, tmin_degC, tmax_degC, prcp_mm and, where known, year and vp_Pa; "
        "of several stations, with station, latitude, longitude and elevation_m too",
        min_length=1,
    )
    elevation: float | None = Field(
        None,
        description="station: its elevation, where the table has none",
        ge=-430,
        le=9000,
        json_schema_extra={"unit": "m"},
    )
    latitude: float | None = Field(
        None,
        description="station: its latitude, where the table has none",
        ge=-90,
        le=90,
        json_schema_extra={"unit": "degrees north"},
    )
    longitude: float | None = Field(
        None,
        description="station: its longitude, where the table has none",
        ge=-180,
        le=180,
        json_schema_extra={"unit": "degrees east"},
    )
    years: tuple[Year, Year] | None = Field(
        None, description="First and last year to compute, for a table with a column year, a grid of years and Daymet"
    )
    normals_period: tuple[Year, Year] | None = Field(
        None, description="First and last year that a table or a grid of normals, twelve months for all, is the mean of"
    )
    files: tuple[str, ...] = Field(
        (),
        description="grid: NetCDF or GeoTIFF files; names may hold *, {variable}, {year} and {month}",
    )
    variables: dict[GridName, GridVariable] = Field(
        {},
        description="grid: what its variables are called and measured in, such as {tmin: {name: tn, units: K}}; "
        "ours are tmin, tmax, prcp, vp or tdew or rh, srad, dayl, swe, elevation",
    )
    crs: str | None = Field(None, description="grid: its coordinate system, such as EPSG:4326, where the files lack it")
    elevation_file: str | None = Field(
        None,
        description="grid, daymet: raster of the elevation that the source's values belong to; without one, the "
        "source's own or the site's elevation model averaged onto its cells",
        min_length=1,
        json_schema_extra={"unit": "m"},
    )
    providers: tuple[Literal["local", "gdex", "earthdata", "single_pixel"], ...] = Field(
        ("local", "gdex", "earthdata", "single_pixel"),
        description="daymet: where it is looked for, in this order",
        min_length=1,
    )
    base_urls: dict[Literal["gdex", "earthdata", "single_pixel", "cmr", "data", "login"], str] = Field(
        {}, description="daymet: addresses of servers to ask instead of the public ones"
    )
    cache: str = Field(
        "resources/daymet", description="daymet: folder that downloads are kept in, shared by runs", min_length=1
    )
    offline: bool = Field(False, description="daymet: whether to use what is on disk alone")
    region: Literal["auto", "na", "hi", "pr"] = Field(
        "auto", description="daymet: North America, Hawaii or Puerto Rico; auto goes by the site's place"
    )
    variables_extra: tuple[Literal["srad", "dayl", "swe"], ...] = Field(
        (), description="daymet: further variables to keep: daylight radiation, day length, snow"
    )
    full_months: bool = Field(
        False,
        description="grid of days, daymet: whether the precipitation of a month that lacks days is scaled to the whole "
        "month; Daymet leaves out 31 December of leap years",
    )
    max_single_pixel_cells: int = Field(
        121, description="daymet: most cells to ask the single-pixel service for", ge=1, le=10_000
    )
    local: str | None = Field(
        None, description="daymet: folder of Daymet files of your own, looked at for the provider local", min_length=1
    )
    whole_files: bool = Field(
        False, description="daymet: whether whole files, of some GB each, may be downloaded where nothing less works"
    )
    patience: float = Field(
        120.0,
        description="daymet: how long a provider that fails is tried again before the next one is asked",
        ge=0,
        le=86_400,
        json_schema_extra={"unit": "s"},
    )

    @field_validator("years", "normals_period", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Take ``1971-2000`` and ``1971,2000`` from a command line, and one year for itself."""
        if isinstance(value, str):
            value = value.replace("-", ",").split(",")
        if isinstance(value, int):
            value = (value, value)
        return value * 2 if isinstance(value, list) and len(value) == 1 else value

    @field_validator("files", "providers", "variables_extra", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("variables", "base_urls", mode="before")
    @classmethod
    def _from_mapping(cls, value: Any) -> Any:
        return _from_json(value)

    @field_validator("variables", mode="before")
    @classmethod
    def _not_the_mean(cls, value: Any) -> Any:
        mean = {"tmean", "tavg", "tas", "tmp", "t2m", "temperature"} & set(value if isinstance(value, Mapping) else ())
        if mean:
            raise ValueError(
                f"{mean.pop()} cannot be used: EEMT needs the daily minimum and maximum, tmin and tmax, not their mean"
            )
        return value

    @field_validator("providers", "variables_extra")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in value if value.count(name) > 1]
        if twice:
            raise ValueError(f"names {twice[0]} twice")
        return value

    @field_validator("years", "normals_period")
    @classmethod
    def _in_order(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value and value[0] > value[1]:
            raise ValueError(f"runs backwards, from {value[0]} to {value[1]}; write the earlier year first")
        return value

    @model_validator(mode="after")
    def _of_its_source(self) -> ClimateSettings:
        for key in sorted(self.unused & self.model_fields_set):
            if getattr(self, key) != type(self).model_fields[key].default:
                of = [name for name, keys in SOURCE_KEYS.items() if key in keys]
                raise ValueError(f"{key} is a key of the source {' and of '.join(of)}, and this is {self.source}")
        needed = {"station": "file", "grid": "files"}.get(self.source)
        in_variables = self.source == "grid" and any(variable.files for variable in self.variables.values())
        if needed and not getattr(self, needed) and not in_variables:
            raise ValueError(f"{needed} is missing; the source {self.source} needs it")
        if "stations" in (self.lapse_tmin, self.lapse_tmax) and self.source != "station":
            raise ValueError(f"lapse rates can be fitted to the source station alone, and this is {self.source}")
        return self

    @model_validator(mode="after")
    def _years_or_normals(self) -> ClimateSettings:
        if self.source == "none":
            if self.years is not None:
                raise ValueError("years is of no use without a source of climate, and this is none")
        elif self.source == "daymet":
            if self.years is None:
                raise ValueError("years is missing; the source daymet needs it")
        elif (self.years is None) == (self.normals_period is None):
            kind = {"station": "table", "grid": "grid"}[self.source]
            with_years = "a table with a column year" if kind == "table" else "a grid of years"
            raise ValueError(f"needs one of years ({with_years}) and normals_period (a {kind} of normals)")
        return self

    @property
    def unused(self) -> frozenset[str]:
        """Keys that belong to other sources than the one chosen."""
        return frozenset().union(*SOURCE_KEYS.values()) - SOURCE_KEYS[self.source]

    @classmethod
    def inherited(cls, common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """Take from the common section what a site's own source can use."""
        chosen = own.get("source", common.get("source", cls.model_fields["source"].default))
        taken = super().inherited(common, own)
        if isinstance(chosen, str) and chosen in SOURCE_KEYS:
            others = frozenset().union(*SOURCE_KEYS.values()) - SOURCE_KEYS[chosen]
            taken = {key: value for key, value in taken.items() if key not in others}
        period = {"years", "normals_period"}
        if period & set(own) or chosen == "none":
            taken = {key: value for key, value in taken.items() if key not in period}
        return taken

    @property
    def labels(self) -> list[str]:
        """Names of the years computed, as they stand in file names: ``2003`` or ``1971-2000``."""
        if self.normals_period:
            return ["{}-{}".format(*self.normals_period)]
        first, last = self.years or (0, -1)
        return [str(year) for year in range(first, last + 1)]


Pet = Literal["hamon", "thornthwaite", "penman", "penman_monteith"]


class EemtSettings(Section):
    """The energy transfer and the choices its papers leave open (docs/science.md)."""

    methods: tuple[Literal["trad", "topo", "veg"], ...] = Field(
        ("trad", "topo"),
        description="trad: climate and elevation alone; topo: with slope, aspect, sun and wetness; veg: topo with the "
        "plants that are there, from NDVI and canopy height (Rasmussen et al. 2015)",
        min_length=1,
    )
    keep: tuple[Literal["pet", "aet", "peff", "npp", "temperature", "fbio"], ...] = Field(
        (),
        description="What is kept and mapped beside energies. pet, aet: potential and actual evaporation; peff: "
        "effective precipitation before it is shared out; npp: net primary production; temperature: the cell's mean; "
        "fbio: share of E_BIO in EEMT",
    )
    ndvi: str | None = Field(
        None,
        description="Raster of the normalised difference vegetation index, on any cells and in any system, one band "
        "or twelve, January first; for the method veg",
        min_length=1,
    )
    canopy_height: str | None = Field(
        None,
        description="Raster of the canopy's height, on any cells and in any system; for the method veg",
        min_length=1,
        json_schema_extra={"unit": "m"},
    )
    pet: Pet = Field(
        "hamon",
        description="Potential evaporation of the method trad: hamon (Rasmussen et al. 2015), thornthwaite (2005, "
        "Zapata-Rios et al. 2016), penman of open water, penman_monteith of grass (FAO-56), these two with flat sun",
    )
    pet_topo: Pet = Field(
        "penman",
        description="Potential evaporation of the method topo, put on the Budyko curve: penman of open water "
        "(Rasmussen et al. 2015), penman_monteith of grass (FAO-56), hamon or thornthwaite",
    )
    pet_veg: Pet = Field(
        "penman_monteith",
        description="Evaporation of the method veg: penman_monteith of the plants that are there, itself actual "
        "evaporation up to precipitation (Rasmussen et al. 2015); the others are put on the Budyko curve",
    )
    cold_npp: bool = Field(
        False,
        description="Whether plants grow, in the method trad, in months whose mean is at or below 0 degC; Zapata-Rios "
        "et al. 2016 leaves these out, the others have the condition P > PET alone",
    )
    omega: float = Field(
        2.63, description="Shape of the Zhang-Budyko curve; published are 2.15 to 3.75 (Zhang et al. 2004)", gt=1, le=10
    )
    budyko: Literal["monthly", "annual"] = Field(
        "monthly",
        description="Whether the curve holds for each month (Rasmussen et al. 2015, Eq 8) or for the year, whose "
        "evaporation is then the same share of each month's precipitation",
    )
    redistribution: Literal["paper", "renormalised"] = Field(
        "paper",
        description="Water shared out by the wetness index. paper: F = alpha (P - AET), which keeps the sum of water "
        "only where P - AET is the same everywhere (Rasmussen et al. 2015, Eq 10); renormalised: brought back to the "
        "sum over the mapped cells, month by month",
    )
    wind: _monthly(0.0, 30.0) = Field(  # type: ignore[valid-type]
        2.0,
        description="Wind speed at 2 m above ground, or above the canopy, of both Penman's equations; 2 is the world's "
        "mean (FAO-56). One value or twelve",
        json_schema_extra={"unit": "m s-1"},
    )
    vapour_pressure: Literal["source", "tmin"] = Field(
        "source",
        description="Vapour pressure of the air, for both Penman's equations. source: the climate's own; tmin: "
        "saturation at the cell's minimum temperature, taken as dew point",
    )
    net_radiation: Literal["fao56", "shortwave"] = Field(
        "fao56",
        description="Energy for both Penman's equations. fao56: absorbed sun less net longwave; shortwave: absorbed "
        "sun alone, which with albedo 0 is what earlier code took. Papers name the sun only",
    )
    clearness: float = Field(
        1.0,
        description="Solar over clear-sky radiation in the net longwave of FAO-56 (Eq 39); 1 agrees with the sun maps, "
        "which are of clear sky",
        ge=0.3,
        le=1,
    )
    albedo: _monthly(0.0, 1.0) = Field(  # type: ignore[valid-type]
        0.2,
        description="Reflectance of the evaporating surface, for both Penman's equations; 0.23 is grass (FAO-56). One "
        "value or twelve",
    )
    radiation_area: Literal["inclined", "horizontal"] = Field(
        "inclined",
        description="Area that the sun's energy for evaporation is counted on. inclined: the slope's own, as in "
        "Rasmussen et al. 2015; horizontal: the map's, greater by 1 / cos(slope)",
    )
    solar_ratio_limits: tuple[float, float] = Field(
        (0.2, 5.0),
        description="Bounds of the ratio S of sloped to flat sun, whose S - 1/S warms the maximum temperature "
        "(Rasmussen et al. 2015, Eq 6) and has none of its own; the papers have no shadows, see sun.shadows",
    )
    npp_floor: float = Field(
        100.0,
        description="Least net primary production of the method topo (Rasmussen et al. 2015, Eq 11)",
        ge=0,
        le=3000,
        json_schema_extra={"unit": "g m-2 yr-1"},
    )
    npp_veg: Literal["printed", "centred"] = Field(
        "printed",
        description="Reading of Eq 12 of Rasmussen et al. 2015, by canopy height h. printed: 196 + 36 h - "
        "(0.61 h - 12.0933)^2; centred, the likelier: 196 + 36 h - 0.61 (h - 12.0933)^2",
    )
    npp_veg_floor: float = Field(
        0.0,
        description="Least net primary production of the method veg; the paper has one for Eq 11 alone",
        ge=0,
        le=3000,
        json_schema_extra={"unit": "g m-2 yr-1"},
    )
    npp_split: Literal["days", "warmth"] = Field(
        "days",
        description="How the year's production of topo and veg is split into months, of which papers say nothing and "
        "the year does not depend on. days: evenly; warmth: by Lieth's production at the month's temperature, none at "
        "or below 0 degC",
    )
    reference_temperature: float = Field(
        273.15,
        description="Temperature at and below which water carries no energy; 273.15 in most papers, 273 in Rasmussen "
        "et al. 2011",
        ge=250,
        le=300,
        json_schema_extra={"unit": "K"},
    )
    water_heat_capacity: float = Field(
        4187.0,
        description="Heat capacity of water: 4187 (Zapata-Rios et al. 2016), 4180 (Rasmussen et al. 2005)",
        ge=4000,
        le=4400,
        json_schema_extra={"unit": "J kg-1 K-1"},
    )
    biomass_enthalpy: float = Field(
        22.0,
        description="Energy of dry matter: 22 (Rasmussen et al. 2011 and later), 22.2 (2005)",
        ge=10,
        le=30,
        json_schema_extra={"unit": "MJ kg-1"},
    )

    @property
    def pet_trad(self) -> Pet:
        """Potential evaporation of the method trad, named as those of the others."""
        return self.pet

    @field_validator("methods", "keep")
    @classmethod
    def _once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a method twice" if info.field_name == "methods" else "names a variable twice")
        return value

    @field_validator("methods", "keep", "solar_ratio_limits", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value

    @field_validator("solar_ratio_limits")
    @classmethod
    def _around_one(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= 1 <= value[1]:
            raise ValueError(
                f"is {value[0]:g} to {value[1]:g}; a lower bound in (0, 1] and an upper one from 1 are allowed"
            )
        return value

    @model_validator(mode="after")
    def _with_plants(self) -> EemtSettings:
        for key in ("ndvi", "canopy_height"):
            if "veg" in self.methods and getattr(self, key) is None:
                raise ValueError(f"{key} is missing; the method veg needs a raster of it")
        return self


class Spread(Section):
    """The range of a number that samples are drawn from, evenly."""

    low: float
    high: float

    @model_validator(mode="after")
    def _with_room(self) -> Spread:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be below high")
        return self


def _values_or_range(value: Any) -> Any:
    if isinstance(value, list | tuple | Spread) and (isinstance(value, Spread) or len(value)):
        return value
    if isinstance(value, Mapping) and set(value) == {"low", "high"}:
        return value
    raise ValueError(f"is {value!r}; give a list of values, or for samples a range such as {{low: 2, high: 4}}")


Axis = Annotated[Spread | tuple[Any, ...], BeforeValidator(_values_or_range)]
# what of each section can be swept: what is used by a tile's job, and does not change which maps there are
SWEPT: dict[str, tuple[str, ...]] = {
    "sun": tuple(name for name in SunSettings.model_fields if name != "daily"),
    "climate": tuple(LapseSettings.model_fields),
    "eemt": tuple(
        name for name in EemtSettings.model_fields if name not in {"methods", "keep", "ndvi", "canopy_height"}
    ),
}


class SweepSettings(Section):
    """The same site with other parameters: cases, mapped and compared with the site's own (docs/sweeps.md)."""

    sun: dict[str, Axis] = Field({}, description="Values by key of the section sun")
    climate: dict[str, Axis] = Field(
        {}, description="Values by key of the section climate, of those on lapse and space"
    )
    eemt: dict[str, Axis] = Field(
        {}, description="Values by key of the section eemt; method, of those in eemt.methods, says which are compared"
    )
    years: tuple[Year, ...] = Field(
        (), description="Years of climate.years that are compared one by one, instead of the mean over all of them"
    )
    combine: Literal["product", "each"] = Field(
        "product",
        description="product: every value with every other; each: one key at a time, the others as the site has them",
    )
    table: str | None = Field(
        None,
        description="CSV of cases instead of values by key: one row a case, one column a key, such as linke",
        min_length=1,
    )
    samples: int | None = Field(
        None,
        description="Latin hypercube of so many points for Sobol indices, of keys that are given as {low: , high: } or "
        "as a list of choices: samples x (keys + 2) cases at most",
        ge=2,
        le=4096,
    )
    seed: int = Field(1, description="Of the random numbers of samples", ge=0)
    together: _whole_or_auto(1, 1000) = Field(  # type: ignore[valid-type]
        "auto",
        description="Cases with the same sun that one job computes of a tile; auto: one, or where that were more than "
        "400 jobs as many as bring them below, 32 at most. With several, a new case makes those of its job anew",
    )

    @property
    def axes(self) -> dict[tuple[str, str], Axis]:
        """Values by section and key; the methods, which one job computes together, are not among them."""
        sections = (("sun", self.sun), ("climate", self.climate), ("eemt", self.eemt))
        return {(section, key): axis for section, named in sections for key, axis in named.items() if key != "method"}

    @model_validator(mode="after")
    def _consistent(self) -> SweepSettings:
        if self.table and (self.axes or self.samples):
            raise ValueError("table has all cases; leave out samples and values by key")
        if self.samples and not self.axes:
            raise ValueError("samples needs keys to draw for, such as eemt: {omega: {low: 2.2, high: 3.2}}")
        for (section, key), axis in self.axes.items():
            if key not in SWEPT[section]:
                raise ValueError(f"{section}.{key} cannot be swept; known are {', '.join(SWEPT[section])}")
            if isinstance(axis, Spread) and not self.samples:
                raise ValueError(
                    f"{section}.{key} is a range, which only samples are drawn from; give a list of values"
                )
        return self


ZoneStatistic = Literal["mean", "sd", "min", "max", "p5", "p50", "p95"]


class ZoneSettings(Section):
    """Polygons, such as catchments, that maps are summed up over."""

    file: str | None = Field(
        None,
        description="Polygons in any coordinate system: GeoPackage, GeoJSON, shapefile, FlatGeobuf or another vector "
        "file that GDAL reads. Without one, there are no zones",
        min_length=1,
    )
    layer: str | None = Field(None, description="Layer of the file, where several have polygons", min_length=1)
    id: str | None = Field(
        None,
        description="Attribute that names a zone, in each polygon another; without one, the polygons are counted from "
        "1 in the file's order",
        min_length=1,
    )
    statistics: tuple[ZoneStatistic, ...] = Field(
        ("mean", "sd", "min", "max"),
        description="What is told of a zone's cells beside their number and area, each cell by the share of it that "
        "lies in the zone, min and max of all that do in part. p5, p50 and p95 are percentiles, and need up to 100 "
        "bytes of memory for each cell of the largest zone",
    )

    @property
    def unused(self) -> frozenset[str]:
        """All others where there is no file."""
        return frozenset(() if self.file else ("layer", "id", "statistics"))

    @field_validator("statistics", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("statistics")
    @classmethod
    def _mean_and_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "mean" not in value or len(set(value)) < len(value):
            raise ValueError(f"is {', '.join(value) or 'empty'}; mean, which zones.gpkg shows, and each once is needed")
        return value


class OutputSettings(Section):
    """What is kept of a run."""

    parts: bool = Field(True, description="Whether E_BIO and E_PPT are mapped beside EEMT")
    over_years: tuple[Literal["mean", "sd", "trend"], ...] = Field(
        ("mean", "sd", "trend"),
        description="What is mapped over all years. sd, of a sample, needs two of them; trend, the least squares slope "
        "for ten years and its p-value by a t test, three",
    )
    report: bool = Field(True, description="Whether report.html is written")
    catalogue: bool = Field(True, description="Whether catalog.json, a STAC catalogue of the maps, is written")
    stack: Literal["none", "netcdf", "zarr"] = Field(
        "none",
        description="Whether all maps of the site are also written as one file for xarray, stack.nc (CF NetCDF) or "
        "stack.zarr.zip; it takes about as much space as they do",
    )
    crate: bool = Field(
        True,
        description="Whether ro-crate-metadata.json is written: inputs, files, checksums, versions and settings, with "
        "which a run can be archived, cited and verified",
    )
    publisher: str | None = Field(
        None, description="Organisation that the maps come from, named in catalogue and crate", min_length=1
    )
    licence: str | None = Field(
        None,
        description="Licence of the maps by its SPDX name, such as CC-BY-4.0, named in catalogue and crate",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$",
    )

    @field_validator("over_years")
    @classmethod
    def _with_mean(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "mean" not in value or len(set(value)) < len(value):
            raise ValueError(f"is {', '.join(value) or 'empty'}; mean, which the report shows, and each once is needed")
        return value


class ArchiveSettings(Section):
    """Long-term keeping of finished sites (docs/archive.md), the same for all of them.

    A place is a folder, ``s3://bucket/folder`` or ``rclone:remote:folder``. Keys and tokens never stand here: S3 takes
    them from AWS configuration or environment, rclone from its own configuration.
    """

    storage: str | None = Field(
        None,
        description="Where datasets are kept for long: a folder that exists already (so that a disk that is not "
        "mounted is not taken for an empty one), s3://bucket/folder or rclone:remote:folder",
        min_length=1,
        json_schema_extra={"allowed": "a place"},
    )
    staging: str = Field(
        "archive/staging",
        description="Where blocks wait for their move: a folder or s3://bucket/folder",
        min_length=1,
        json_schema_extra={"allowed": "a folder or s3"},
    )
    retrieval: str = Field(
        "archive/retrieved",
        description="Where datasets are brought back to: a folder, or s3://bucket/folder for links that expire",
        min_length=1,
        json_schema_extra={"allowed": "a folder or s3"},
    )
    catalogue: str = Field(
        "archive/catalogue.sqlite",
        description="File of the catalogue; the environment's EEMT_ARCHIVE_CATALOGUE names a PostgreSQL database "
        "instead",
        min_length=1,
        json_schema_extra={"allowed": "a path"},
    )
    storage_profile: str | None = Field(
        None,
        description="Profile of AWS configuration with address and keys of the storage; without one, the environment's",
        min_length=1,
    )
    staging_profile: str | None = Field(None, description="The same of the staging area", min_length=1)
    retrieval_profile: str | None = Field(None, description="The same of the retrieval area", min_length=1)
    target_size_mb: float = Field(
        200.0,
        description="Size that blocks come near to; a larger file is a block of its own",
        gt=0,
        le=1_000_000,
        json_schema_extra={"unit": "MB"},
    )
    compression: Literal["none", "zstd"] = Field(
        "none", description="Of blocks; maps are compressed as they are, so that zstd gains little"
    )
    tiles: bool = Field(
        False, description="Whether tiles, which maps were put together from, are archived too, as far as still there"
    )
    min_free_percent: float = Field(
        20.0,
        description="Part of the storage that must stay free after a dataset",
        ge=0,
        lt=100,
        json_schema_extra={"unit": "%"},
    )
    capacity_gb: float | None = Field(
        None,
        description="Size of a storage that does not tell its own, such as S3; without it, its space is not checked",
        gt=0,
        json_schema_extra={"unit": "GB"},
    )
    wait_hours: float = Field(
        0.0,
        description="How long a dataset waits for space before it is refused",
        ge=0,
        le=720,
        json_schema_extra={"unit": "h"},
    )
    clean_staging: bool = Field(True, description="Whether a dataset's staged blocks are removed once it is archived")
    clean_source: bool = Field(
        False, description="Whether a dataset's own files are removed once it is archived and all blocks are verified"
    )
    space_checks: int = Field(1, description="Checks of free space at once, by all runs on a machine", ge=1, le=100)
    moves: int = Field(2, description="Moves to the storage at once, by all runs on a machine", ge=1, le=100)
    verifies: int = Field(1, description="Verifications at once, by all runs on a machine", ge=1, le=100)
    reads: int = Field(
        1, description="Reads from the storage for retrieval at once, by all runs on a machine", ge=1, le=100
    )
    locks: str | None = Field(
        None,
        description="Folder that the runs whose limits hold together have in common; without one, one of the user's on "
        "this machine",
        min_length=1,
        json_schema_extra={"allowed": "a path"},
    )
    creators: tuple[str, ...] = Field(
        (),
        description="People who made the datasets, as Family, Given; without any, the publisher",
        json_schema_extra={"allowed": "names"},
    )
    contact: str | None = Field(
        None,
        description="Address for letters about the datasets; SciCat needs it",
        pattern=r"^[^@\s]+@[^@\s]+$",
        json_schema_extra={"allowed": "an e-mail address"},
    )
    scicat: str | None = Field(
        None,
        description="Address of a SciCat catalogue in which datasets are registered, https except on this machine; its "
        "token is read from the environment's EEMT_SCICAT_TOKEN or the file named by EEMT_SCICAT_TOKEN_FILE",
        pattern=r"^https?://[^\s@]+$",
    )
    scicat_version: Literal["v3", "v4"] = Field("v4", description="Of SciCat's API")
    scicat_owner_group: str = Field("eemt", description="Group that datasets belong to in SciCat", min_length=1)
    scicat_access_groups: tuple[str, ...] = Field(
        (), description="Groups that may see them there", json_schema_extra={"allowed": "names"}
    )
    retrieve: tuple[str, ...] = Field(
        (),
        description="Identifiers of the datasets that `snakemake retrieve` brings back to the retrieval area",
        json_schema_extra={"allowed": "identifiers"},
    )

    @field_validator("creators", mode="before")
    @classmethod
    def _people(cls, value: Any) -> Any:
        # names have commas: Family, Given
        if not isinstance(value, str) or value.startswith("["):
            return _listed(value)
        return [name.strip() for name in value.split(";") if name.strip()]

    @field_validator("scicat_access_groups", "retrieve", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("storage", "staging", "retrieval")
    @classmethod
    def _a_place(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        scheme, sign, rest = value.partition(":")
        if value.startswith("s3://"):
            if not re.match(r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s@?#]*)?$", value):
                raise ValueError(f"is {value!r}; must be s3://bucket/folder")
        elif scheme == "rclone":
            if info.field_name != "storage":
                raise ValueError(f"is {value!r}; allowed are a folder and s3://bucket/folder")
            if ":" not in rest:
                raise ValueError(f"is {value!r}; must be rclone:remote:folder")
        elif sign and rest.startswith("//"):
            raise ValueError(f"is {value!r}; must be a folder, s3://bucket/folder or rclone:remote:folder")
        return value


class Site(Section):
    """A place: its elevation model, and any parameter that differs from the common one."""

    dem: DemSettings
    tiles: TileSettings = TileSettings()
    wetness: WetnessSettings = WetnessSettings()
    sun: SunSettings = SunSettings()
    climate: ClimateSettings
    eemt: EemtSettings = EemtSettings()
    sweep: SweepSettings = SweepSettings()
    zones: ZoneSettings = ZoneSettings()
    outputs: OutputSettings = OutputSettings()

    @property
    def has_climate(self) -> bool:
        """Whether there is EEMT; without climate there are sun maps, slopes and wetness alone."""
        return self.climate.source != "none"

    @model_validator(mode="after")
    def _sweepable(self) -> Site:
        if not self.has_climate and (self.sweep.axes or self.sweep.table or self.sweep.years):
            raise ValueError("sweep: compares maps of EEMT, of which there are none without a source of climate")
        for (section, key), axis in self.sweep.axes.items():
            for value in (axis.low, axis.high) if isinstance(axis, Spread) else axis:
                swept_section(self, section, {key: value})
        unknown = [name for name in self.sweep.eemt.get("method", ()) if name not in self.eemt.methods]
        if unknown:
            raise ValueError(f"sweep.eemt.method: {unknown[0]} is not among eemt.methods")
        strange = [year for year in self.sweep.years if str(year) not in self.climate.labels]
        if strange:
            raise ValueError(f"sweep.years: {strange[0]} is not among the years of climate")
        return self


def swept_section(site: Site, section: str, values: Mapping[str, Any]) -> Any:
    """Return a section of a site with some values changed.

    Raises
    ------
    ValueError
        One line that begins with the swept key.
    """
    own = getattr(site, section)
    if any(isinstance(value, str) and key == "albedo" for key, value in values.items()):
        raise ValueError(f"sweep.{section}.albedo: a raster cannot be swept; numbers can")
    try:
        return type(own).model_validate({**own.model_dump(), **values})
    except ValidationError as error:
        raise ValueError(f"sweep.{section}.{_one_line(error, type(own))}") from None


SECTIONS: dict[str, type[Section]] = {
    "dem": DemSettings,
    "tiles": TileSettings,
    "wetness": WetnessSettings,
    "sun": SunSettings,
    "climate": ClimateSettings,
    "eemt": EemtSettings,
    "sweep": SweepSettings,
    "zones": ZoneSettings,
    "outputs": OutputSettings,
}

# of the whole file, the same for all sites
COMMON_SECTIONS: dict[str, type[Section]] = {"archive": ArchiveSettings}

SITE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


class Config(Section):
    """A whole config file, each site complete with the common parameters."""

    sites: dict[Annotated[str, Field(pattern=SITE_NAME)], Site] = Field(
        description="The places to map, each under its name", min_length=1
    )
    container: str = Field(
        "docker://eemt/eemt:0.1.0",
        description="Image that jobs run in when Snakemake is called with --software-deployment-method apptainer: "
        "an address, or a local .sif file",
    )
    archive: ArchiveSettings = Field(ArchiveSettings(), description="Long-term keeping of finished sites, see below")


def load_config(raw: Mapping[str, Any]) -> Config:
    """Check a config as read from YAML and complete each site with the common sections.

    Raises
    ------
    InputError
        One line that names the key, what was found and what is allowed.
    """
    if not isinstance(raw, Mapping):
        raise InputError("config: must be keys and values; see config/README.md")
    # a section whose keys are all commented out is read from YAML as nothing
    common = {name: value or {} for name, value in raw.items() if name in SECTIONS}
    rest = {
        name: value or {} if name in COMMON_SECTIONS else value for name, value in raw.items() if name not in SECTIONS
    }
    for name, value in common.items():
        _refuse_unknown(value, SECTIONS[name], name)
    sites = rest.get("sites")
    if isinstance(sites, Mapping):
        rest["sites"] = {name: _merged(common, site) for name, site in sites.items()}
    try:
        return Config.model_validate(rest)
    except ValidationError as error:
        raise InputError("config: " + _one_line(error, Config, raw)) from None


def check_section(section: type[Section], values: Mapping[str, Any], where: str) -> Any:
    """Make a section from single values, such as a command line's.

    Raises
    ------
    InputError
        One line that begins with `where`.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {_one_line(error, section)}") from None


def site_from_json(text: str) -> Site:
    """Read a site's resolved configuration, as the workflow hands it to its commands.

    Raises
    ------
    InputError
        One line that begins with ``settings``.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"settings: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise InputError("settings: must be a JSON object, a site's resolved configuration")
    site: Site = check_section(Site, values, "settings")
    return site


def _merged(common: Mapping[str, Any], site: Any) -> Any:
    """Lay a site's own values over the common sections."""
    if not isinstance(site, Mapping):
        return site
    merged = dict(site)
    for name, values in common.items():
        own = site.get(name) or {}
        if isinstance(own, Mapping):
            merged[name] = {**SECTIONS[name].inherited(values, own), **own}
    return merged


def _refuse_unknown(values: Any, section: type[Section], where: str) -> None:
    if not isinstance(values, Mapping):
        raise InputError(f"config: {where}: must be keys and values, not {values!r}")
    for key in values:
        if key not in section.model_fields:
            raise InputError(f"config: {where}.{key}: unknown key{_nearest(str(key), section)}")


def _nearest(key: str, section: type[BaseModel] | None) -> str:
    known = list(section.model_fields) if section else []
    if section is Config:
        known += SECTIONS
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _one_line(error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any] | None = None) -> str:
    """Word the first of a validation's errors for the person who wrote the file."""
    problems = error.errors()
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _worded(problems[0], model, raw) + more


def _worded(problem: Any, model: type[BaseModel], raw: Mapping[str, Any] | None) -> str:
    location = [str(part) for part in problem["loc"] if str(part) != "[key]"]
    where = ".".join(_as_written(location, raw))
    match problem["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key{_nearest(location[-1], _model_at(location[:-1], model))}"
        case "value_error":
            reason = problem["ctx"]["error"]
            return f"{where}: {reason}" if where else str(reason)
        case "string_pattern_mismatch" if len(location) == 2 and location[0] == "sites":
            return f"{where}: a site's name may have letters, digits, - and _ only"
        case _:
            return f"{where}: {fault(problem)}"


def fault(problem: Any, longest: int | None = None) -> str:
    """Word what is wrong with one value, as pydantic found it.

    Parameters
    ----------
    problem : dict
        One of a validation's errors, of its own and not of our validators.
    longest : int, optional
        Characters of the value that are shown.
    """
    found = repr(problem["input"])[:longest]
    match problem["type"]:
        case "missing":
            return "is missing"
        case "literal_error":
            return f"is {found}; allowed are {problem['ctx']['expected']}"
        case "too_short":
            return "must not be empty"
        case _:
            reason = problem["msg"].removeprefix("Input should ").removeprefix("be ")
            return f"is {found}; must be {reason}"


def _as_written(location: list[str], raw: Mapping[str, Any] | None) -> list[str]:
    """Point at the common section where a site's value was taken from there."""
    if raw is None or len(location) < 4 or location[0] != "sites":
        return location
    _, site, section, key, *_ = location
    own, common = raw["sites"][site].get(section) or {}, raw.get(section) or {}
    return location[2:] if key in common and key not in own else location


def _model_at(location: list[str], model: type[BaseModel]) -> type[BaseModel] | None:
    """Find the section that a path of keys leads to."""
    if not location:
        return model
    if location[0] == "sites" and len(location) >= 2:
        return _model_at(location[2:], Site)
    return {**SECTIONS, **COMMON_SECTIONS}.get(location[0]) if len(location) == 1 else None
