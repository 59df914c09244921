#!/bin/sh
# Run the workflow in the image once, on the embedded example with coarse cells and with all that a run can write, so
# that Python keeps the compiled form of the modules which runs load.
set -eu
folder=$(mktemp -d)
cd "$folder"
eemt-workflow --config 'sites={"boulder": {"dem": {"resolution": 300}}}' 'tiles={"size": 40}' \
  'sun={"step": 60, "linke": "climatology", "sky_view": true}' 'sweep={"eemt": {"omega": [2.2]}}' \
  'outputs={"stack": "zarr"}'
snakemake --snakefile /opt/eemt/share/eemt/workflow/Snakefile --report report.html
# beside what this run took: the other plugins of Snakemake, and the sources of climate and elevation on the internet
python -m compileall -q /opt/eemt/lib/python3*/site-packages/eemt /opt/eemt/lib/python3*/site-packages/snakemake*
cd /
rm -rf "$folder"
