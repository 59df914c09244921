#!/bin/sh
# pip of the image's environment, with the build's secrets: pip.conf and a CA bundle, where they were given.
set -eu
secrets=/run/secrets
[ ! -s "$secrets/pip_conf" ] || export PIP_CONFIG_FILE="$secrets/pip_conf"
[ ! -s "$secrets/ca" ] || export PIP_CERT="$secrets/ca"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
exec /opt/eemt/bin/python -m pip "$@"
