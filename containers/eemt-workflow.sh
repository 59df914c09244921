#!/bin/sh
# Run the workflow that is in the image, in this folder:  eemt-workflow [OPTIONS OF SNAKEMAKE]
#
# A folder without config/config.yaml gets the embedded example, a start for a config of one's own.
set -eu
share=/opt/eemt/share/eemt
if [ ! -e config/config.yaml ]; then
  if ! mkdir -p config 2> /dev/null || [ ! -w config ]; then
    echo "eemt-workflow: user $(id -u) cannot write to $(pwd); mount a folder there that it can write to" >&2
    exit 2
  fi
  echo "eemt-workflow: no config/config.yaml here; taking the embedded example" >&2
  cp -rn "$share/config/." config/
fi
exec snakemake --snakefile "$share/workflow/Snakefile" --profile "$share/profiles/local" "$@"
