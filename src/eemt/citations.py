"""Works that a report can cite; a page lists those that its text named."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Work:
    """A publication as the list of references prints it."""

    authors: str  # as a text names them
    year: int
    reference: str
    doi: str = ""


WORKS = {
    "allen": Work(
        "Allen et al.",
        1998,
        "Allen, R.G., Pereira, L.S., Raes, D., Smith, M. 1998. Crop evapotranspiration. FAO Irrigation and Drainage "
        "Paper 56. FAO, Rome.",
    ),
    "beven": Work(
        "Beven and Kirkby",
        1979,
        "Beven, K.J., Kirkby, M.J. 1979. A physically based, variable contributing area model of basin hydrology. "
        "Hydrological Sciences Bulletin 24:43–69.",
        "10.1080/02626667909491834",
    ),
    "dozier": Work(
        "Dozier and Frew",
        1990,
        "Dozier, J., Frew, J. 1990. Rapid calculation of terrain parameters for radiation modeling from digital "
        "elevation data. IEEE Transactions on Geoscience and Remote Sensing 28:963–969.",
        "10.1109/36.58986",
    ),
    "hamon": Work(
        "Hamon",
        1961,
        "Hamon, W.R. 1961. Estimating potential evapotranspiration. Journal of the Hydraulics Division, ASCE "
        "87(HY3):107–120.",
    ),
    "hofierka": Work(
        "Hofierka and Šúri",
        2002,
        "Hofierka, J., Šúri, M. 2002. The solar radiation model for Open source GIS: implementation and applications. "
        "Proceedings of the Open source GIS – GRASS users conference 2002, Trento, Italy.",
    ),
    "horn": Work(
        "Horn",
        1981,
        "Horn, B.K.P. 1981. Hill shading and the reflectance map. Proceedings of the IEEE 69:14–47.",
        "10.1109/PROC.1981.11918",
    ),
    "kelliher": Work(
        "Kelliher et al.",
        1995,
        "Kelliher, F.M., Leuning, R., Raupach, M.R., Schulze, E.-D. 1995. Maximum conductances for evaporation from "
        "global vegetation types. Agricultural and Forest Meteorology 73:1–16.",
        "10.1016/0168-1923(94)02178-M",
    ),
    "lieth": Work(
        "Lieth",
        1975,
        "Lieth, H. 1975. Modeling the primary productivity of the world. In: Lieth, H., Whittaker, R.H. (eds) Primary "
        "Productivity of the Biosphere. Springer, New York, 237–263.",
    ),
    "qi": Work(
        "Qi et al.",
        2000,
        "Qi, J., et al. 2000. Spatial and temporal dynamics of vegetation in the San Pedro River basin area. "
        "Agricultural and Forest Meteorology 105:55–68.",
    ),
    "rasmussen2005": Work(
        "Rasmussen et al.",
        2005,
        "Rasmussen, C., Southard, R.J., Horwath, W.R. 2005. Modeling energy inputs to predict pedogenic environments "
        "using regional environmental databases. Soil Science Society of America Journal 69:1266–1274.",
    ),
    "rasmussen2011": Work(
        "Rasmussen et al.",
        2011,
        "Rasmussen, C., Troch, P.A., Chorover, J., Brooks, P., Pelletier, J., Huxman, T.E. 2011. An open system "
        "framework for integrating critical zone structure and function. Biogeochemistry 102:15–29.",
        "10.1007/s10533-010-9476-8",
    ),
    "rasmussen2015": Work(
        "Rasmussen et al.",
        2015,
        "Rasmussen, C., Pelletier, J.D., Troch, P.A., Swetnam, T.L., Chorover, J. 2015. Quantifying topographic and "
        "vegetation effects on the transfer of energy and mass to the critical zone. Vadose Zone Journal 14(11).",
        "10.2136/vzj2014.07.0102",
    ),
    "remund": Work(
        "Remund et al.",
        2003,
        "Remund, J., Wald, L., Lefèvre, M., Ranchin, T., Page, J. 2003. Worldwide Linke turbidity information. "
        "Proceedings of the ISES Solar World Congress, Göteborg, Sweden.",
    ),
    "shuttleworth": Work(
        "Shuttleworth",
        1993,
        "Shuttleworth, W.J. 1993. Evaporation. In: Maidment, D.R. (ed.) Handbook of Hydrology. McGraw-Hill, New York, "
        "4.1–4.53.",
    ),
    "tarboton": Work(
        "Tarboton",
        1997,
        "Tarboton, D.G. 1997. A new method for the determination of flow directions and upslope areas in grid digital "
        "elevation models. Water Resources Research 33:309–319.",
        "10.1029/96WR03137",
    ),
    "thornthwaite": Work(
        "Thornthwaite",
        1948,
        "Thornthwaite, C.W. 1948. An approach toward a rational classification of climate. Geographical Review "
        "38:55–94.",
        "10.2307/210739",
    ),
    "wang": Work(
        "Wang and Liu",
        2006,
        "Wang, L., Liu, H. 2006. An efficient method for identifying and filling surface depressions in digital "
        "elevation models for hydrologic analysis and modelling. International Journal of Geographical Information "
        "Science 20:193–213.",
        "10.1080/13658810500433453",
    ),
    "whittaker": Work(
        "Whittaker and Niering",
        1975,
        "Whittaker, R.H., Niering, W.A. 1975. Vegetation of the Santa Catalina Mountains, Arizona. V. Biomass, "
        "production, and diversity along the elevation gradient. Ecology 56:771–790.",
    ),
    "zapata": Work(
        "Zapata-Rios et al.",
        2016,
        "Zapata-Rios, X., Brooks, P.D., Troch, P.A., McIntosh, J., Rasmussen, C. 2016. Influence of climate "
        "variability on water partitioning and effective energy and mass transfer in a semi-arid critical zone. "
        "Hydrology and Earth System Sciences 20:1103–1115.",
        "10.5194/hess-20-1103-2016",
    ),
    "zhang": Work(
        "Zhang et al.",
        2004,
        "Zhang, L., Hickel, K., Dawes, W.R., Chiew, F.H.S., Western, A.W., Briggs, P.R. 2004. A rational function "
        "approach for estimating mean annual evapotranspiration. Water Resources Research 40:W02502.",
        "10.1029/2003WR002710",
    ),
}


class Citations:
    """Names works in a text and remembers which."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def by(self, key: str) -> str:
        """Name a work within a sentence: ``Hamon (1961)``."""
        self._used.add(key)
        return f"{WORKS[key].authors} ({WORKS[key].year})"

    def __call__(self, *keys: str, at: str = "") -> str:
        """Name works within brackets, and where in the last: ``Allen et al., 1998, Eq. 39``."""
        self._used.update(keys)
        named = "; ".join(f"{WORKS[key].authors}, {WORKS[key].year}" for key in keys)
        return f"{named}, {at}" if at else named

    @property
    def references(self) -> list[Markup]:
        """References of all works named so far, in alphabetical order, as HTML."""
        return [_reference(work) for work in sorted((WORKS[key] for key in self._used), key=lambda w: w.reference)]


def _reference(work: Work) -> Markup:
    text = Markup("{}").format(work.reference)
    if not work.doi:
        return text
    return text + Markup(' <a href="https://doi.org/{0}">doi:{0}</a>').format(work.doi)
