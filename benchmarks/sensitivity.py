"""What each choice of the energy transfer changes in the mean EEMT of the embedded site.

    python -m benchmarks.sensitivity [RESULTS]

RESULTS is a finished run of config/config.yaml, ``results/boulder`` if not named (`make run` makes it).
NDVI and canopy height of the method VEG are the synthetic ones of config/data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from eemt.cli import main as eemt
from eemt.raster import read_band

DATA = Path(__file__).parents[1] / "config" / "data"
METHODS = ("trad", "topo", "veg")
YEAR = "mean"
CHOICES: list[list[str]] = [
    ["pet=thornthwaite"],
    ["pet=penman"],
    ["pet=penman_monteith"],
    ["pet_topo=hamon"],
    ["pet_topo=thornthwaite"],
    ["pet_topo=penman_monteith"],
    ["pet_veg=hamon"],
    ["pet_veg=thornthwaite"],
    ["pet_veg=penman"],
    ["cold_npp"],
    ["omega=2.15"],
    ["omega=3.75"],
    ["budyko=annual"],
    ["redistribution=renormalised"],
    ["wind=1"],
    ["wind=5"],
    ["vapour_pressure=tmin"],
    ["net_radiation=shortwave"],
    ["net_radiation=shortwave", "albedo=0"],
    ["clearness=0.7"],
    ["albedo=0.1"],
    ["albedo=0.3"],
    ["radiation_area=horizontal"],
    ["solar_ratio_limits=1,1"],
    ["npp_floor=0"],
    ["npp_veg=centred"],
    ["npp_veg_floor=100"],
    ["npp_split=warmth"],
    ["reference_temperature=273"],
    ["water_heat_capacity=4180"],
    ["biomass_enthalpy=22.2"],
    ["lapse_tmin=4", "lapse_tmax=8"],
]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/boulder"))
    results = parser.parse_args().results
    if not (results / "sun" / "monthly_global.tif").exists():
        sys.exit(f"{results} holds no finished run; `make run` makes one")
    with tempfile.TemporaryDirectory(prefix="eemt_sensitivity_") as name:
        base = means(results, Path(name), [])
        print("| choice | TRAD | TOPO | VEG |\n|---|---:|---:|---:|")
        print(f"| defaults, MJ m⁻² yr⁻¹ | {' | '.join(f'{base[method]:.3f}' for method in METHODS)} |")
        for choice in CHOICES:
            found = means(results, Path(name), choice)
            changes = [f"{found[m] - base[m]:+.3f}" for m in METHODS]
            changes = ["0" if float(change) == 0 else change for change in changes]
            print(f"| `{'`, `'.join(choice)}` | {' | '.join(changes)} |", flush=True)


def means(results: Path, folder: Path, choice: list[str]) -> dict[str, float]:
    """Return the site's mean annual EEMT by method [MJ m-2 yr-1]."""
    tile = folder / "eemt.nc"
    layers = {
        "northness": results / "terrain" / "northness.tif",
        "slope": results / "terrain" / "slope.tif",
        "mcwi": results / "wetness" / "mcwi.tif",
        "sun": results / "sun" / "monthly_global.tif",
        "flat-sun": results / "sun" / "monthly_flat_global.tif",
        "climate": results / "climate" / "climate.nc",
        "ndvi": DATA / "boulder_ndvi_synthetic.tif",
        "canopy-height": DATA / "boulder_canopy_synthetic.tif",
    }
    words = ["transfer", str(results / "dem" / "dem.tif"), "--out", str(tile), f"--methods={','.join(METHODS)}"]
    words += [f"--{name}={path}" for name, path in layers.items()]
    for text in choice:
        key, _, value = text.partition("=")
        words.append(f"--{key.replace('_', '-')}" + (f"={value}" if value else ""))
    call(words)
    found = {}
    for method in METHODS:
        out = folder / "map.tif"
        call(["mosaic", str(tile), "--variable=eemt", f"--method={method}", f"--year={YEAR}", "--out", str(out)])
        found[method] = float(np.nanmean(read_band(out)))
    return found


def call(words: list[str]) -> None:
    """Run one command of the program."""
    if eemt(words):
        raise RuntimeError(f"eemt {' '.join(words)} failed")


if __name__ == "__main__":
    main()
