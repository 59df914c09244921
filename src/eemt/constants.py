"""Physical constants, each once, with its unit and source.

Sources
-------
R05 : Rasmussen, Southard & Horwath 2005, Soil Sci. Soc. Am. J. 69:1266-1274
R11 : Rasmussen et al. 2011, Biogeochemistry 102:15-29
R12 : Rasmussen 2012, Hydrol. Earth Syst. Sci. 16:725-739
R15 : Rasmussen et al. 2015, Vadose Zone J., doi:10.2136/vzj2014.07.0102
Z16 : Zapata-Rios et al. 2016, Hydrol. Earth Syst. Sci. 20:1103-1115
FAO56 : Allen et al. 1998, FAO Irrigation and Drainage Paper 56
SG00 : Scharmer & Greif 2000, The European Solar Radiation Atlas
HS02 : Hofierka & Suri 2002, The solar radiation model for open source GIS (r.sun)
"""

# Energy and mass
BIOMASS_ENTHALPY = 22.0e6  # J kg-1 of dry matter; R11 p. 20, R15; R05 has 22.2e6
WATER_HEAT_CAPACITY = 4187.0  # J kg-1 K-1; Z16 Eq 3
FREEZING_POINT = 273.15  # K, the reference temperature of E_PPT; R15, Z16
LATENT_HEAT = 2.45e6  # J kg-1, vaporisation of water near 20 degC; FAO56 Eq 8
AIR_HEAT_CAPACITY = 1013.0  # J kg-1 K-1, moist air at constant pressure; FAO56 Eq 8
VAPOUR_MOLECULAR_RATIO = 0.622  # molecular weight of water vapour over dry air; FAO56 Eq 8
DRY_AIR_GAS_CONSTANT = 287.05  # J kg-1 K-1
GAS_CONSTANT = 8.31447  # J mol-1 K-1
AIR_MOLAR_MASS = 0.0289644  # kg mol-1, dry air; US Standard Atmosphere 1976
GRAVITY = 9.80665  # m s-2, standard
SEA_LEVEL_PRESSURE = 101_325.0  # Pa, standard atmosphere
SEA_LEVEL_TEMPERATURE = 288.15  # K, standard atmosphere
STEFAN_BOLTZMANN = 4.903e-9  # MJ m-2 K-4 day-1; FAO56 Eq 39
VON_KARMAN = 0.41  # -; FAO56 Eq 4
DAYS_IN_YEAR = 365  # a sun year has no 29 February
MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days
JOULES_PER_WATT_HOUR = 3600.0

MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Models
ZHANG_OMEGA = 2.63  # -, Budyko curve shape; R15 Eq 8
NPP_FLOOR = 100.0  # g m-2 yr-1, least productivity of Eq 11; R15 p. 8
NPP_ELEVATION_RANGE = (580.0, 2800.0)  # m, where Eq 11 was fitted; R15 p. 4
NPP_CANOPY_LIMIT = 26.0  # m, tallest canopy where Eqs 12 and 13 were fitted; R15 p. 13
LAI_MAXIMUM = 10.0  # m2 m-2, of Eq 6, where a canopy takes all that sun and slope add to the temperature; R15
CARBON_SHARE = 0.45  # kg of carbon in a kg of dry matter
LAPSE_RATE = 6.5  # K km-1, standard atmosphere

# Sun
SOLAR_CONSTANT = 1367.0  # W m-2; HS02, SG00
EARTH_RADIUS = 6_371_000.0  # m, mean
PRESSURE_SCALE_HEIGHT = 8434.5  # m; SG00

# Evaporation and temperature
SECONDS_IN_DAY = 86_400.0  # s
SATURATION_AT_ZERO = 0.6108  # kPa, saturation vapour pressure at 0 degC; FAO56 Eq 11
OPEN_WATER_ROUGHNESS = 0.00137  # m; Shuttleworth 1993, Handbook of Hydrology
WIND_HEIGHT = 2.0  # m above ground, where wind speed is given; FAO56
WIND_SPEED = 2.0  # m s-1, world average at 2 m; FAO56
PRESSURE_LAPSE = 0.0065  # K m-1, in the pressure of the air at an elevation; FAO56 Eq 7
LEAST_CANOPY_HEIGHT = 0.1  # m, in the resistance of the air over land without plants
LEAST_WIND = 0.5  # m s-1, in the resistance of the air over plants; FAO56 p. 63
CANOPY_CONDUCTANCES = (1.0 / 55.0, 1.0 / 38.0)  # m s-1, of bare land and of the densest canopy; R15 p. 7
GRASS_RESISTANCE = 70.0  # s m-1, of the surface of well-watered grass, the reference crop; FAO56 Eq 6
GRASS_AIR_RESISTANCE = 208.0  # of the air over that grass at a wind of 1 m s-1, in s m-1; FAO56 Eq 4
SOLAR_WARMING = 1.0  # K, factor C of S - 1/S; R15 Eq 6
SOLAR_RATIO_LIMITS = (0.2, 5.0)  # -, irradiation over that of flat land; keeps S - 1/S within 4.8
LIETH_MAXIMUM = 3000.0  # g m-2 yr-1, productivity of the warmest land; Lieth 1975, R05 Eq 3
