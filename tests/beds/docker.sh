#!/usr/bin/env bash
# Docker on a bare Debian 12, without systemd and without an image registry. Run as root.
#
#   docker.sh up       start dockerd, make the base image local/debian:12 from Debian's packages
#   docker.sh env      print the lines that point docker at it:  eval "$(tests/beds/docker.sh env)"
#   docker.sh status   say whether it runs, by exit code
#   docker.sh down     stop it; images and containers stay in $BED/docker for the next time
#
# State lies in $BED (default /var/tmp/eemt-beds). DOCKER_NS=1 starts dockerd inside the beds' network namespace.
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
STATE=$BED/docker
HERE=$(cd "$(dirname "$0")" && pwd)
BASE_IMAGE=local/debian:12
export DOCKER_HOST=unix://$STATE/docker.sock

# Debian's client builds with the BuildKit inside dockerd; a newer one found first on the path wants a plugin for it.
docker() { /usr/bin/docker "$@"; }

install_packages() {
  local missing=()
  command -v dockerd > /dev/null && [ -x /usr/bin/docker ] || missing+=(docker.io runc)
  command -v iptables > /dev/null || missing+=(iptables)
  command -v mmdebstrap > /dev/null || missing+=(mmdebstrap)
  command -v docker-compose > /dev/null || missing+=(docker-compose)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
      "${missing[@]}" > /dev/null
  fi
}

# Kubernetes asks for negative OOM scores, which root without CAP_SYS_RESOURCE may not give: take 0 for them.
write_runtime() {
  cat > "$STATE/runc-clamped" << 'PYTHON'
#!/usr/bin/python3
import json
import os
import sys

args = sys.argv[1:]
if "create" in args or "run" in args:
    for i, arg in enumerate(args):
        bundle = None
        if arg in ("--bundle", "-b"):
            bundle = args[i + 1]
        elif arg.startswith("--bundle="):
            bundle = arg.split("=", 1)[1]
        if bundle:
            path = os.path.join(bundle, "config.json")
            with open(path) as file:
                spec = json.load(file)
            if (spec.get("process", {}).get("oomScoreAdj") or 0) < 0:
                spec["process"]["oomScoreAdj"] = 0
                with open(path, "w") as file:
                    json.dump(spec, file)
os.execv("/usr/sbin/runc", ["runc", *args])
PYTHON
  chmod +x "$STATE/runc-clamped"
}

is_up() {
  [ -f "$STATE/docker.pid" ] && kill -0 "$(cat "$STATE/docker.pid")" 2> /dev/null && docker info > /dev/null 2>&1
}

start() {
  # where others work, the machine's own network and firewall stay as they are: containers are run without a network,
  # and images are built with that of the machine
  local enter=() network=(--bridge=none --iptables=false)
  [ -z "${DOCKER_NS:-}" ] || enter=(nsenter --net=/run/netns/eemtbed) network=()
  setsid "${enter[@]}" dockerd --host "$DOCKER_HOST" --data-root "$STATE/data" --exec-root "$STATE/exec" \
    --pidfile "$STATE/docker.pid" --storage-driver overlay2 --add-runtime "clamped=$STATE/runc-clamped" \
    --default-runtime clamped "${network[@]}" > "$STATE/dockerd.log" 2>&1 &
  for _ in $(seq 100); do
    docker info > /dev/null 2>&1 && return
    sleep 0.3
  done
  tail -n 20 "$STATE/dockerd.log" >&2
  echo "dockerd did not start; its log: $STATE/dockerd.log" >&2
  exit 1
}

make_base_image() {
  docker image inspect "$BASE_IMAGE" > /dev/null 2>&1 && return
  # as small as the slim images of a registry: no manuals, no translations, and /usr merged without usrmerge's Perl
  mmdebstrap --quiet --variant=apt --include=ca-certificates,usr-is-merged \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' bookworm "$STATE/base.tar"
  docker import "$STATE/base.tar" "$BASE_IMAGE" > /dev/null
  rm "$STATE/base.tar"
}

up() {
  install_packages
  mkdir -p "$STATE"
  "$HERE/netns.sh" up > /dev/null
  write_runtime
  is_up || start
  make_base_image
  environment
}

down() {
  [ -s "$STATE/docker.pid" ] || return 0
  local pid
  pid=$(cat "$STATE/docker.pid")
  kill "$pid" 2> /dev/null || return 0
  # it stops its containers first
  for _ in $(seq 150); do kill -0 "$pid" 2> /dev/null || return 0; sleep 0.2; done
  kill -9 "$pid" 2> /dev/null || true
}

environment() {
  echo "export DOCKER_HOST=$DOCKER_HOST"
}

case ${1:-} in
  up) up ;;
  env) environment ;;
  status) is_up ;;
  down) down ;;
  *)
    echo "usage: $0 up|env|status|down" >&2
    exit 2
    ;;
esac
