#!/usr/bin/env bash
# A real Prometheus with promtool, Debian's package, in $BED/prometheus.
#
#   prometheus.sh install          install the package (as root)
#   prometheus.sh up ADDRESS       start it on 127.0.0.1:15090; it scrapes ADDRESS, such as 127.0.0.1:8420, every second
#   prometheus.sh env              print its address:  eval "$(tests/beds/prometheus.sh env)"
#   prometheus.sh status           say whether it answers, by exit code
#   prometheus.sh down             stop it and remove what it measured
#
# State lies in $BED (default /var/tmp/eemt-beds).
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
STATE=$BED/prometheus
PORT=15090
HERE=$(cd "$(dirname "$0")" && pwd)
RULES=$HERE/../../containers/monitoring/rules.yaml

install_package() {
  command -v prometheus > /dev/null && command -v promtool > /dev/null && return
  apt-get update -qq
  # the package would start one for the whole machine
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
    prometheus > /dev/null
}

answers() { (exec 3<> "/dev/tcp/127.0.0.1/$PORT") 2> /dev/null; }

up() {
  [ -n "${1:-}" ] || {
    echo "usage: $0 up ADDRESS" >&2
    exit 2
  }
  down
  mkdir -p "$STATE"
  cat > "$STATE/prometheus.yaml" << YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$RULES]
scrape_configs:
  - job_name: eemt
    static_configs: [{targets: ["$1"]}]
YAML
  setsid prometheus --config.file="$STATE/prometheus.yaml" --storage.tsdb.path="$STATE/data" \
    --web.listen-address=127.0.0.1:$PORT > "$STATE/log" 2>&1 &
  echo $! > "$STATE/pid"
  for _ in $(seq 100); do
    answers && break
    sleep 0.2
  done
  answers || {
    tail -n 20 "$STATE/log" >&2
    echo "Prometheus did not come up; its log: $STATE/log" >&2
    exit 1
  }
  environment
}

environment() { echo "export EEMT_TEST_PROMETHEUS=http://127.0.0.1:$PORT"; }

down() {
  [ -f "$STATE/pid" ] || return 0
  local pid
  pid=$(cat "$STATE/pid")
  rm "$STATE/pid"
  # after a start of the machine the number may be another's
  if grep -qF "$STATE" "/proc/$pid/cmdline" 2> /dev/null; then
    kill "$pid" 2> /dev/null || true
    for _ in $(seq 50); do
      kill -0 "$pid" 2> /dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2> /dev/null || true
  fi
  rm -rf "$STATE/data"
}

case ${1:-} in
  install) install_package ;;
  up) up "${2:-}" ;;
  env) environment ;;
  status) answers ;;
  down) down ;;
  *)
    echo "usage: $0 install|up ADDRESS|env|status|down" >&2
    exit 2
    ;;
esac
