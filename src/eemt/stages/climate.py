"""``eemt climate``: monthly climate from its source."""

from __future__ import annotations

import argparse

from eemt.climate.source import ClimateSource
from eemt.climate.station import StationSource
from eemt.config import ClimateSettings
from eemt.raster import write_netcdf


def run(args: argparse.Namespace) -> None:
    """Write the source's months, checked, as one NetCDF file."""
    write_netcdf(args.out, source(args.settings).monthly())


def source(settings: ClimateSettings) -> ClimateSource:
    """Make the source that a configuration names."""
    return StationSource(
        settings.file,
        elevation=settings.elevation,
        latitude=settings.latitude,
        longitude=settings.longitude,
        years=settings.years,
        normals_period=settings.normals_period,
    )
