#!/bin/sh
# Compile all kernels, by running every stage that has any: first as the workflow does, then with the options that
# take other ways. They are kept beside the package, as for anyone who may write there.
set -eu
folder=$(mktemp -d)
cd "$folder"
cp -r /opt/eemt/share/eemt/config .
eemt-workflow > run.log 2>&1 || { cat run.log >&2; exit 1; }

dem=results/boulder/dem/dem.tif
python - "$dem" albedo.tif << 'PYTHON'
import sys
from pathlib import Path

import numpy as np

from eemt.raster import read_grid, write_geotiff

grid = read_grid(sys.argv[1])
write_geotiff(Path(sys.argv[2]), np.full(grid.shape, 0.2, np.float32), grid, ["albedo"], "1")
PYTHON
for options in "--sky-view" "--convention grass" "--linke climatology" "--no-shadows" "--albedo albedo.tif"; do
  # shellcheck disable=SC2086 # words on purpose
  eemt sun "$dem" --out again --days 1:2 $options > /dev/null 2>&1 || { echo "eemt sun $options failed" >&2; exit 1; }
done
cd /
rm -rf "$folder" /tmp/.cache /tmp/.config /tmp/.snakemake
