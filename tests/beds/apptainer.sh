#!/usr/bin/env bash
# Apptainer on a bare Debian 12 of amd64, which has no package of it. Run as root.
#
#   apptainer.sh up         install it: the package of Debian sid beside a C library new enough for it
#   apptainer.sh env        print what running it as root needs:  eval "$(tests/beds/apptainer.sh env)"
#   apptainer.sh status     say whether it is there, by exit code
#   apptainer.sh down       remove it
#
# On Ubuntu and later Debian, `apt-get install apptainer` does, where there is such a package.
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
STATE=$BED/apptainer
LIBC=/opt/eemt-bed-libc
MIRROR=${MIRROR:-http://deb.debian.org/debian}
LIBEXEC=/usr/lib/x86_64-linux-gnu/apptainer

# download SUITE PACKAGE: one package of another suite; the system's own sources stay as they are
download() {
  local apt=$STATE/apt-$1
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $1 main" > "$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update -qq
  apt-get "${options[@]}" download -qq "$2"
}

up() {
  if ! command -v apptainer > /dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
      patchelf squashfs-tools squashfuse fuse2fs containernetworking-plugins > /dev/null
    rm -rf "$STATE"
    mkdir -p "$STATE"
    cd "$STATE"
    download sid apptainer
    download trixie libc6
    dpkg -x apptainer_*.deb app
    dpkg -x libc6_*.deb libc
    mkdir -p "$LIBC"
    cp -a libc/usr/lib/x86_64-linux-gnu/. "$LIBC/"
    local program
    for program in app/usr/bin/apptainer "app$LIBEXEC/bin/starter"; do
      patchelf --set-interpreter "$LIBC/ld-linux-x86-64.so.2" --set-rpath "$LIBC" "$program"
    done
    cp -a "app$LIBEXEC" "$(dirname "$LIBEXEC")/"
    cp -a app/etc/apptainer /etc/
    cp -a app/var/lib/. /var/lib/
    # last, since by it the installation is known to be whole; Snakemake calls it by its old name
    ln -sf apptainer /usr/bin/singularity
    cp -a app/usr/bin/apptainer /usr/bin/
  fi
  environment
}

# root without all of its capabilities, as inside a container, cannot hand them on
environment() {
  echo "export APPTAINER_NO_PRIVS=1"
}

down() {
  rm -rf /usr/bin/apptainer /usr/bin/singularity "$LIBEXEC" /etc/apptainer /var/lib/apptainer "$LIBC" "$STATE"
}

case ${1:-} in
  up) up ;;
  env) environment ;;
  status) apptainer --version > /dev/null ;;
  down) down ;;
  *)
    echo "usage: $0 up|env|status|down" >&2
    exit 2
    ;;
esac
