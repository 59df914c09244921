"""Daily sun maps of any terrain: position, clear sky, horizons and irradiation.

The submodules compile with numba when they are first used; importing this package alone is free.

position : where the sun stands, by day, hour and latitude
clearsky : what a cloudless atmosphere lets through
horizon : how high the terrain stands around every cell
skyview : how much of the sky that leaves
turbidity : how hazy the air is through the year
irradiation : daily and monthly maps from all of these
dataset : the same for xarray, a DEM in and a CF dataset out
"""

NEAR_CELLS = 96  # cells; beyond, block maxima stand for the DEM: narrower there than the gap between two of 64 azimuths
HALO_CELLS = NEAR_CELLS + 2  # cells; the rim of a tile with which it gives what the whole DEM gives
