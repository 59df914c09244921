"""Daymet: daily weather on a 1 km grid for North America, Hawaii and Puerto Rico.

``errors`` names what can go wrong, ``grid`` says where the cells and days are, ``check`` what a file
must be, ``login`` who we are, ``download`` how servers are asked, ``cache`` what is kept,
``providers`` who has the data, ``source`` brings it to months.
"""

from eemt.climate.daymet.source import DaymetSource

__all__ = ["DaymetSource"]
