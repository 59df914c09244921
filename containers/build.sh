#!/usr/bin/env bash
# Build an image:  containers/build.sh [base|core|docs|test|web|slurm|kubernetes|web-kubernetes] [TAG]
#
#   slurm and web-kubernetes build on the image `web`, kubernetes on `core`, which must be there: IMAGE=… names another
#
#   BASE_IMAGE    another base, such as local/debian:12 where no registry is reached
#   BUILD_OPTIONS more words for `docker build`, such as --network=host
#
# pip's configuration and a CA bundle of this machine go along as secrets of the build: no layer keeps them.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-core}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
case $target in # as compose.yaml and containers/kubernetes name them
  docs | test | web | slurm | web-kubernetes) name=$target ;;
  kubernetes) name=eemt-kubernetes ;;
  *) name=eemt ;;
esac
tag=${2:-eemt/$name:$version}

# BuildKit comes with docker-buildx, or inside clients before 23; take the first client that has it
for docker in docker /usr/bin/docker; do
  if "$docker" buildx version > /dev/null 2>&1 || [ "$("$docker" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -lt 23 ]; then
    break
  fi
done

options=(--tag "$tag")
case $target in
  slurm) options+=(--file containers/slurm/Dockerfile --build-arg "IMAGE=${IMAGE:-eemt/web:$version}") ;;
  kubernetes) options+=(--file containers/kubernetes/Dockerfile --build-arg "IMAGE=${IMAGE:-eemt/eemt:$version}") ;;
  web-kubernetes) options+=(--file containers/kubernetes/Dockerfile --build-arg "IMAGE=${IMAGE:-eemt/web:$version}") ;;
  *) options+=(--file containers/Dockerfile --target "$target") ;;
esac
options+=(--build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)")
[ -z "${BASE_IMAGE:-}" ] || options+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
for conf in "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" /etc/pip.conf; do
  if [ -f "$conf" ]; then
    options+=(--secret "id=pip_conf,src=$conf")
    break
  fi
done
ca=${PIP_CERT:-${SSL_CERT_FILE:-}}
[ ! -f "$ca" ] || options+=(--secret "id=ca,src=$ca")
# shellcheck disable=SC2086 # words on purpose
DOCKER_BUILDKIT=1 "$docker" build "${options[@]}" ${BUILD_OPTIONS:-} .
