"""Numbers whose inputs are printed in a paper: published, by the paper's formula, and by this library.

``python tests/reference/cases.py`` prints the table of docs/science.md. R05, R11, R12, R15 and Z16
stand in `eemt.constants`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eemt.constants import BIOMASS_ENTHALPY, LIETH_MAXIMUM
from eemt.energy.eemt import Energy, biomass_energy, topographic, water_energy
from eemt.energy.productivity import biomass, canopy, leaf_area_index, lieth, whittaker_niering
from eemt.energy.regression import dryness_limit, empirical, state_space

DAY = 86_400.0  # s
MONTH = 365.25 / 12  # days
START, END = "<!-- made by tests/reference/cases.py -->", "<!-- end -->"
OLDER_ENTHALPY = 22.2e6  # J kg-1, R05
CLASSES = {"humid": 2433.0, "humid transition": 2080.0, "arid transition": 1683.0, "semiarid": 1365.0, "arid": 1063.0}

Numbers = Sequence[float]


@dataclass(frozen=True)
class Case:
    """One comparison; digits are those that the formula's results are given with."""

    name: str
    source: str
    what: str
    published: str
    formula: Numbers
    ours: Callable[[], Numbers]
    digits: int = 2

    def texts(self) -> tuple[str, str]:
        """Return the formula's numbers and ours, in the digits of the case."""
        first, second = (
            ", ".join(f"{value:.{self.digits}f}" for value in np.atleast_1d(np.asarray(values, dtype=np.float64)))
            for values in (self.formula, self.ours())
        )
        return first, second


def shares(npp: Numbers, eemt: Numbers) -> np.ndarray:
    """Share of biomass [%]."""
    return 100.0 * biomass_energy(np.asarray(npp)) / np.asarray(eemt)


def total(eppt: float, ebio: float) -> list[float]:
    """EEMT and the share of biomass [%]."""
    energy = Energy(np.array([eppt]), np.array([ebio]))
    return [float(energy.annual_eemt), 100.0 * float(energy.biomass_share)]


def parts(eemt: float, share: float) -> list[float]:
    """E_BIO, E_PPT [kJ] and NPP [g] of a total [kJ] and the share of biomass, after R05."""
    ebio = eemt * share
    return [ebio, eemt - ebio, 1e-3 * ebio / float(biomass_energy(1.0, OLDER_ENTHALPY))]


def redistributed(mcwi: float) -> float:
    """Energy of water at a wetness index, relative to that at one [%]."""
    sun = np.full(12, 1.5e5)
    weather = ([5.0] * 12, [20.0] * 12, [60.0] * 12, [900.0] * 12, sun, sun, 2000.0, 0.0)
    days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    eppt = [float(topographic(*weather, index, days).annual_eppt) for index in (mcwi, 1.0)]
    return 100.0 * eppt[0] / eppt[1]


TABLE_2 = {"north": [26.2, 22.45, 18.65, 14.37, 10.72], "south": [21.16, 17.43, 12.98, 9.24, 6.11]}
MONTHLY = [7.2, 4.1, 3.0, 2.7, 2.0, 1.9, 1.3, 1.1, 0.7]
RAIN = [133.0, 86.0, 89.0, 77.0, 58.0, 41.0, 49.0, 36.0, 57.0]
ASPECT, WETNESS = [8.62, 4.22, 3.02, 2.13, 1.34], [2.49, 1.22, 0.15, 0.28, 0.38]

CASES = [
    Case(
        "A1",
        "Z16 p. 1109",
        "E_BIO of 450 g C m⁻², taken as dry matter, MJ m⁻² yr⁻¹",
        "9.89",
        [9.90],
        lambda: [empirical(0.0, 0.0, 450.0, modis_as_carbon="raw")[1]],
    ),
    Case(
        "A2",
        "Z16 p. 1110",
        "EEMT of 1.03 + 10.8, MJ m⁻² yr⁻¹; share of E_BIO, %",
        "11.83; 92",
        [11.83, 91.29],
        lambda: total(1.03, 10.8),
    ),
    Case(
        "A3",
        "Z16 p. 1110",
        "EEMT of 0.1 + 6.72, MJ m⁻² yr⁻¹; share of E_BIO, %; empirical over model",
        "6.82; 99; 1.7",
        [6.82, 98.53, 1.73],
        lambda: [*total(0.1, 6.72), total(1.03, 10.8)[0] / total(0.1, 6.72)[0]],
    ),
    Case(
        "A4",
        "Z16 pp. 1108-9",
        "E_PPT of 6.1 % of 617 mm at 6.1 °C, MJ m⁻² yr⁻¹ (the paper's is a mean of products)",
        "1.03",
        [0.96],
        lambda: [float(water_energy(0.061 * 617.0, 6.1))],
    ),
    Case(
        "A5",
        "Z16 p. 1109",
        "baseflow, quick flow and evaporation together, % of precipitation",
        "100",
        [100.1],
        lambda: [6.1 + 3.0 + 91.0],
        1,
    ),
    Case(
        "A6",
        "R05 abstract",
        "Ultisol, 29915 kJ of which 49 % NPP: E_BIO, E_PPT, kJ m⁻² yr⁻¹; NPP, g m⁻² yr⁻¹",
        "-",
        [14658, 15257, 660],
        lambda: parts(29915.0, 0.49),
        0,
    ),
    Case(
        "A7",
        "R05 abstract",
        "Mollisol, 5880 kJ of which 90 % NPP: the same",
        "-",
        [5292, 588, 238],
        lambda: parts(5880.0, 0.90),
        0,
    ),
    Case(
        "A8",
        "R11 Table 1",
        "NPP of the greatest E_BIO, 57 MJ, g m⁻² yr⁻¹; E_BIO at 26.56 °C; its bound, MJ",
        "57",
        [2591, 57, 66],
        lambda: [
            57.0 / float(biomass_energy(1.0)),
            float(biomass_energy(lieth(26.56))),
            LIETH_MAXIMUM * BIOMASS_ENTHALPY * 1e-9,
        ],
        0,
    ),
    Case(
        "A9",
        "R11 Table 2",
        "F_BIO of tropical grassland, NPP 911 g, EEMT 46 MJ, %",
        "43",
        [43.6],
        lambda: shares([911.0], [46.0]),
        1,
    ),
    Case(
        "A10",
        "R11 Table 2",
        "F_BIO of broadleaf forest, 673 g, 27 MJ, %",
        "57",
        [54.8],
        lambda: shares([673.0], [27.0]),
        1,
    ),
    Case(
        "A11",
        "R11 Table 2",
        "F_BIO of tropical forest, 1202 g, 74 MJ, %",
        "38",
        [35.7],
        lambda: shares([1202.0], [74.0]),
        1,
    ),
    Case(
        "A12",
        "R12 Table 1",
        "monthly EEMT of " + ", ".join(map(str, MONTHLY)) + " MJ m⁻², W m⁻²",
        "2.8, 1.6, 1.1, 1.0, 0.8, 0.7, 0.5, 0.4, 0.3",
        [2.74, 1.56, 1.14, 1.03, 0.76, 0.72, 0.49, 0.42, 0.27],
        lambda: np.array(MONTHLY) * 1e6 / (MONTH * DAY),
    ),
    Case(
        "A13",
        "R12 Table 1",
        "precipitation of 133, 86, 89, 77, 58, 41, 49, 36, 57 mm month⁻¹, g m⁻² s⁻¹",
        "0.051, .033, .034, .029, .022, .016, .019, .014, .022",
        [0.0506, 0.0327, 0.0338, 0.0293, 0.0221, 0.0156, 0.0186, 0.0137, 0.0217],
        lambda: np.array(RAIN) * 1e3 / (MONTH * DAY),
        4,
    ),
    Case(
        "A14",
        "R12 p. 732",
        "heat of water at 300 and 303 K by the state space, kJ kg⁻¹",
        "about 120",
        [109.0, 121.5],
        lambda: 1e3 * np.asarray(state_space([26.85, 29.85], 1.0, 0.0)),
        1,
    ),
    Case(
        "A15",
        "R12 p. 730",
        "limits of vapour pressure deficit at 292 K, below and above, Pa",
        "1200",
        [1258.9, 1200.0],
        lambda: [float(dryness_limit(18.85)), float(dryness_limit(18.8501))],
        1,
    ),
    Case(
        "A16",
        "R15 p. 13",
        "biomass under a canopy of 26 m (Eq 13), Mg ha⁻¹",
        "up to 1600",
        [1593.2],
        lambda: [float(biomass(26.0))],
        1,
    ),
    Case(
        "A17",
        "R15 p. 6",
        "greatest leaf area index, at NDVI 1",
        "9.5",
        [9.522],
        lambda: [float(leaf_area_index(1.0))],
        3,
    ),
    Case(
        "A18",
        "R15 p. 8",
        "energy of water at MCWI 0.4 and 3.4, % of that at 1",
        "reduced by 60; 340",
        [40.0, 340.0],
        lambda: [redistributed(0.4), redistributed(3.4)],
        1,
    ),
    Case(
        "A19",
        "R15 Table 2",
        "EEMT_TOPO, north less south in each class; their mean, MJ m⁻² yr⁻¹",
        "5.04, 5.02, 5.67, 5.13, 4.61; 5.08",
        [5.04, 5.02, 5.67, 5.13, 4.61, 5.09],
        lambda: np.append(d := np.subtract(TABLE_2["north"], TABLE_2["south"]), d.mean()),
    ),
    Case(
        "A20",
        "R15 Table 2",
        "mean of the differences by wetness, MJ m⁻² yr⁻¹",
        "1.39",
        [1.388],
        lambda: [float(np.mean([1.54, 1.91, 1.55, 1.3, 0.64]))],
        3,
    ),
    Case(
        "A21",
        "R15 Table 3",
        "mean of the differences of TOPO-VEG by aspect and by wetness, MJ m⁻² yr⁻¹",
        "3.87; 0.90",
        [3.866, 0.904],
        lambda: [float(np.mean(ASPECT)), float(np.mean(WETNESS))],
        3,
    ),
    Case(
        "A22",
        "R15 Eq 11",
        "E_BIO at the mean elevations of Table 1's classes, level ground, MJ m⁻² yr⁻¹ (below EEMT_TOPO: "
        "23.1, 19.1, 15.0, 11.4, 8.0)",
        "-",
        [16.761, 13.732, 10.326, 7.598, 5.007],
        lambda: biomass_energy(whittaker_niering(np.array(list(CLASSES.values())), 0.0)),
        3,
    ),
    Case(
        "A23",
        "R15 p. 11",
        "climb that equals facing north on a slope of northness 0.338, m; MJ of 300 m; of northness 1",
        "about 300",
        [299.9, 2.6, 7.6],
        lambda: [346.0 * 0.338 / 0.39, float(biomass_energy(117.0)), float(biomass_energy(346.0))],
        1,
    ),
    Case(
        "A24",
        "R15 p. 10",
        "E_BIO of the least productivity, MJ m⁻² yr⁻¹ (least EEMT_TOPO 3.5)",
        "-",
        [2.2],
        lambda: [float(biomass_energy(whittaker_niering(0.0, 0.0)))],
        1,
    ),
    Case(
        "Eq 12",
        "R15 p. 8",
        "E_BIO without a canopy, as printed and centred, MJ m⁻² yr⁻¹ (least EEMT_TOPO-VEG 2.5)",
        "-",
        [1.09, 2.35],
        lambda: [float(biomass_energy(canopy(0.0, form))) for form in ("printed", "centred")],
    ),
]


def table() -> str:
    """Write the Markdown table of docs/science.md."""
    lines = ["| case | source | quantity | published | formula | ours |", "|---|---|---|---|---|---|"]
    for case in CASES:
        formula, ours = case.texts()
        lines.append(f"| {case.name} | {case.source} | {case.what} | {case.published} | {formula} | {ours} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
