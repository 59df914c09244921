"""Every parameter once: its type, default, unit, allowed range and meaning.

The command line's options, the JSON schema, the reference page in the docs and the checks of a
config file are all made from the models below.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
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


# A file's name has a folder before it or an ending that begins with a letter; no number has either.
PATH = r"[/\\]|\.[A-Za-z][A-Za-z0-9]*$"


def _is_path(text: str) -> bool:
    return re.search(PATH, text) is not None


Year = Annotated[int, Field(ge=1, le=9999)]


# Raised by one when a stage's results change for the same input, so that the workflow makes them anew.
ALGORITHMS = dict.fromkeys(
    ("dem", "tile", "terrain", "wetness", "sun", "climate", "transfer", "mosaic", "summary", "report"), 1
)


class Section(BaseModel):
    """A group of parameters; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class DemSettings(Section):
    """The elevation model and the grid that every map is on."""

    source: str = Field(description="Elevation raster, anything GDAL reads, in metres above sea level", min_length=1)
    crs: str = Field(
        "auto",
        description="Projected coordinate system of the maps, such as EPSG:32613; auto keeps the source's own where "
        "it is in metres and takes the UTM zone of the centre elsewhere",
        pattern=r"^(auto|[A-Za-z]+:\d+)$",
    )
    resolution: float | None = Field(
        None, description="Cell size; without one, the source's own", gt=0, le=10_000, json_schema_extra={"unit": "m"}
    )
    resampling: Literal["bilinear", "cubic", "average"] = Field(
        "bilinear", description="How elevations are carried to the grid; average suits a much coarser grid"
    )


class TileSettings(Section):
    """How the grid is cut into jobs."""

    size: int = Field(
        1024,
        description="Rows and columns of a tile; a job computes one tile for all days, months and years",
        ge=1,
        le=16_384,
        json_schema_extra={"unit": "cells"},
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

    lapse_tmin: _monthly(-15.0, 15.0) = Field(  # type: ignore[valid-type]
        6.5,
        description="Fall of the daily minimum temperature with height. One value or twelve",
        json_schema_extra={"unit": "K km-1"},
    )
    lapse_tmax: _monthly(-15.0, 15.0) = Field(  # type: ignore[valid-type]
        6.5,
        description="Fall of the daily maximum temperature with height. One value or twelve",
        json_schema_extra={"unit": "K km-1"},
    )
    precipitation_gradient: float = Field(
        0.0,
        description="Change of precipitation with height as a fraction of the source's: 0.5 adds half per km",
        ge=-1,
        le=5,
        json_schema_extra={"unit": "km-1"},
    )


class ClimateSettings(LapseSettings):
    """Monthly climate and how it is carried to each cell."""

    source: Literal["station"] = Field("station", description="Kind of source: a station's monthly table")
    file: str = Field(
        description="CSV with columns month, tmin_degC, tmax_degC, prcp_mm and, where known, year and vp_Pa",
        min_length=1,
    )
    elevation: float = Field(description="Elevation of the station", ge=-430, le=9000, json_schema_extra={"unit": "m"})
    latitude: float = Field(
        description="Latitude of the station", ge=-90, le=90, json_schema_extra={"unit": "degrees north"}
    )
    longitude: float = Field(
        description="Longitude of the station", ge=-180, le=180, json_schema_extra={"unit": "degrees east"}
    )
    years: tuple[Year, Year] | None = Field(
        None, description="First and last year to compute, for a table with a column year"
    )
    normals_period: tuple[Year, Year] | None = Field(
        None, description="First and last year that a table of normals, without a column year, is the mean of"
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

    @field_validator("years", "normals_period")
    @classmethod
    def _in_order(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value and value[0] > value[1]:
            raise ValueError(f"runs backwards, from {value[0]} to {value[1]}; write the earlier year first")
        return value

    @model_validator(mode="after")
    def _years_or_normals(self) -> ClimateSettings:
        if (self.years is None) == (self.normals_period is None):
            raise ValueError("needs one of years (a table with a column year) and normals_period (a table of normals)")
        return self

    @property
    def labels(self) -> list[str]:
        """Names of the years computed, as they stand in file names: ``2003`` or ``1971-2000``."""
        if self.normals_period:
            return ["{}-{}".format(*self.normals_period)]
        first, last = self.years or (0, -1)
        return [str(year) for year in range(first, last + 1)]


class EemtSettings(Section):
    """The energy transfer and the choices its papers leave open."""

    methods: tuple[Literal["trad", "topo"], ...] = Field(
        ("trad", "topo"),
        description="trad: climate and elevation alone; topo: with slope, aspect, sun and wetness (Rasmussen 2015)",
        min_length=1,
    )
    pet: Literal["hamon", "thornthwaite"] = Field("hamon", description="Potential evaporation of the method trad")
    cold_npp: bool = Field(
        False, description="Whether plants grow, in the method trad, in months whose mean is at or below 0 degC"
    )
    omega: float = Field(2.63, description="Shape of the Zhang-Budyko curve, method topo", gt=1, le=10)
    wind: float = Field(
        2.0, description="Wind speed at 2 m, method topo", ge=0, le=30, json_schema_extra={"unit": "m s-1"}
    )
    net_radiation: Literal["fao56", "shortwave"] = Field(
        "fao56",
        description="Energy for evaporation, method topo. fao56: absorbed sun less net longwave; shortwave: the sun "
        "map itself, as the earlier code took it",
    )
    albedo: float = Field(
        0.2, description="Reflectance of the evaporating surface, method topo with net_radiation fao56", ge=0, le=1
    )
    solar_ratio_limits: tuple[float, float] = Field(
        (0.2, 5.0), description="Bounds of the ratio of sloped to flat sun that corrects the temperature, method topo"
    )
    npp_floor: float = Field(
        100.0,
        description="Least net primary production, method topo",
        ge=0,
        le=3000,
        json_schema_extra={"unit": "g m-2 yr-1"},
    )

    @field_validator("methods")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a method twice")
        return value

    @field_validator("methods", "solar_ratio_limits", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    @field_validator("solar_ratio_limits")
    @classmethod
    def _around_one(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= 1 <= value[1]:
            raise ValueError(
                f"is {value[0]:g} to {value[1]:g}; a lower bound in (0, 1] and an upper one from 1 are allowed"
            )
        return value


class OutputSettings(Section):
    """What is kept of a run."""

    parts: bool = Field(True, description="Whether E_BIO and E_PPT are mapped beside EEMT")
    report: bool = Field(True, description="Whether report.html is written")


class Site(Section):
    """A place: its elevation model, and any parameter that differs from the common one."""

    dem: DemSettings
    tiles: TileSettings = TileSettings()
    wetness: WetnessSettings = WetnessSettings()
    sun: SunSettings = SunSettings()
    climate: ClimateSettings
    eemt: EemtSettings = EemtSettings()
    outputs: OutputSettings = OutputSettings()


SECTIONS: dict[str, type[Section]] = {
    "dem": DemSettings,
    "tiles": TileSettings,
    "wetness": WetnessSettings,
    "sun": SunSettings,
    "climate": ClimateSettings,
    "eemt": EemtSettings,
    "outputs": OutputSettings,
}

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
    rest = {name: value for name, value in raw.items() if name not in SECTIONS}
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


def _merged(common: Mapping[str, Any], site: Any) -> Any:
    """Lay a site's own values over the common sections."""
    if not isinstance(site, Mapping):
        return site
    merged = dict(site)
    for name, values in common.items():
        own = site.get(name)
        if not own:
            merged[name] = values
        elif isinstance(own, Mapping) and isinstance(values, Mapping):
            merged[name] = {**values, **own}
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
    found = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key{_nearest(location[-1], _model_at(location[:-1], model))}"
        case "missing":
            return f"{where}: is missing"
        case "value_error":
            reason = problem["ctx"]["error"]
            return f"{where}: {reason}" if where else str(reason)
        case "literal_error":
            return f"{where}: is {found!r}; allowed are {problem['ctx']['expected']}"
        case "too_short":
            return f"{where}: must not be empty"
        case "string_pattern_mismatch" if len(location) == 2 and location[0] == "sites":
            return f"{where}: a site's name may have letters, digits, - and _ only"
        case _:
            reason = problem["msg"].removeprefix("Input should ").removeprefix("be ")
            return f"{where}: is {found!r}; must be {reason}"


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
    return SECTIONS.get(location[0]) if len(location) == 1 else None
