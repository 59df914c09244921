#!/usr/bin/env bash
# A network of the beds' own: what listens in it cannot be reached from outside this machine.
#
#   netns.sh up      make the namespace eemtbed with the address 10.99.0.1, and print how to enter it
#   netns.sh down    end what still runs in it, and remove it
#
# Enter it with nsenter, not with `ip netns exec`: that mounts /sys anew, and the control groups are gone.
set -euo pipefail

NAME=eemtbed
ADDRESS=10.99.0.1

up() {
  if ! command -v ip > /dev/null; then
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends iproute2 > /dev/null
  fi
  if [ ! -e "/run/netns/$NAME" ]; then
    ip netns add "$NAME"
    ip -n "$NAME" link set lo up
    # both ends of the cable lie inside: an address that is not the loopback's, and no way out
    ip -n "$NAME" link add v0 type veth peer name v1
    ip -n "$NAME" addr add "$ADDRESS/24" dev v0
    ip -n "$NAME" link set v0 up
    ip -n "$NAME" link set v1 up
  fi
  echo "nsenter --net=/run/netns/$NAME"
}

down() {
  [ -e "/run/netns/$NAME" ] || return 0
  # such as the keeper of a job that was cancelled a moment ago
  for _ in $(seq 20); do
    [ -n "$(ip netns pids "$NAME")" ] || break
    sleep 0.2
  done
  ip netns pids "$NAME" | xargs --no-run-if-empty kill -9 2> /dev/null || true
  ip netns del "$NAME"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *)
    echo "usage: $0 up|down" >&2
    exit 2
    ;;
esac
