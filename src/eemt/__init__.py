"""Effective energy and mass transfer (EEMT) from a digital elevation model and climate.

The command line ``eemt`` runs one stage at a time; the Snakemake workflow beside this package
strings the stages together. The kernels (``eemt.sun``, ``eemt.energy``, ``eemt.terrain``,
``eemt.wetness``) take arrays and return arrays and can be used on their own.
"""

from importlib.metadata import version

__version__ = version("eemt")
