#!/usr/bin/env bash
# Look for what an image lacks:  containers/scan.sh [IMAGE]
#
# Debian packages of which the mirrors have a newer build, such as a security update, by the image's own apt; and known
# vulnerabilities of all that is in it, where trivy is installed. Ends with code 1 where there are any, with 2 where the
# mirrors cannot be asked.
#
#   SCAN_OPTIONS  more words for `docker run`, such as --network=host
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image=${1:-eemt/eemt:$version}

# shellcheck disable=SC2016,SC2086 # the image's own shell; words on purpose
pending=$(docker run --rm --user 0 ${SCAN_OPTIONS:-} "$image" sh -euc '
  apt-get -o APT::Update::Error-Mode=any update -qq
  apt-get --simulate --quiet=2 dist-upgrade | sed -n "s/^Inst //p"
') || { echo "$image: the mirrors of Debian cannot be asked; SCAN_OPTIONS=--network=host may help" >&2; exit 2; }
if [ -n "$pending" ]; then
  printf '%s: newer packages are out, build it again with --no-cache:\n%s\n' "$image" "$pending" >&2
  exit 1
fi
echo "$image: no newer Debian packages"

if command -v trivy > /dev/null; then
  trivy image --scanners vuln --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1 "$image"
else
  echo "$image: vulnerabilities were not looked for, since trivy is not installed" >&2
fi
