#!/usr/bin/env bash
# A real PostgreSQL, Debian's package, on a socket of its own in $BED/postgresql. Run as root or as any user.
#
#   postgresql.sh install  install the package (as root)
#   postgresql.sh up       make the cluster and start it, if need be; about 5 s
#   postgresql.sh env      print the address of its database `postgres`:  eval "$(tests/beds/postgresql.sh env)"
#   postgresql.sh status   say whether it answers, by exit code
#   postgresql.sh down     stop it; the data stay for the next time
#   postgresql.sh crash    stop it as a power cut would
#   postgresql.sh wipe     stop it and remove the data
#
# State lies in $BED (default /var/tmp/eemt-beds). It listens on no port of the network.
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
STATE=$BED/postgresql
RUN=$STATE/run
PORT=15432
# it refuses to run as root
AS=()
[ "$(id -u)" -ne 0 ] || AS=(runuser -u "${BED_USER:-postgres}" --)

programs() {
  # Debian keeps them beside the path, a folder for each version
  find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/pg_ctl' -printf '%h\n' 2> /dev/null | sort -V | tail -n 1
}

install_package() {
  [ -n "$(programs)" ] && return
  apt-get update -qq
  # no cluster of the system's own
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
    postgresql > /dev/null
}

control() { "${AS[@]}" "$(programs)/pg_ctl" --pgdata "$STATE/data" --silent "$@"; }

answers() {
  [ -n "$(programs)" ] && "$(programs)/pg_isready" --quiet --host "$RUN" --port $PORT
}

up() {
  answers || {
    [ -n "$(programs)" ] || {
      echo "PostgreSQL is not installed; as root: $0 install" >&2
      exit 1
    }
    mkdir -p "$RUN"
    chmod 755 "$STATE" "$RUN"
    [ ${#AS[@]} -eq 0 ] || chown "${BED_USER:-postgres}" "$STATE" "$RUN"
    # whoever reaches the socket is let in: it is a bed for tests
    [ -d "$STATE/data" ] || "${AS[@]}" "$(programs)/initdb" --pgdata "$STATE/data" --auth=trust --username=eemt \
      --encoding=UTF8 --locale=C.UTF-8 > /dev/null
    control --wait --log "$STATE/log" start --options \
      "-c listen_addresses= -c port=$PORT -c unix_socket_directories=$RUN -c max_connections=100" || {
      tail -n 20 "$STATE/log" >&2
      exit 1
    }
  }
  environment
}

environment() {
  echo "export EEMT_TEST_POSTGRESQL='postgresql+psycopg://eemt@/postgres?host=$RUN&port=$PORT'"
}

down() {
  [ -f "$STATE/data/postmaster.pid" ] || return 0
  control --wait stop --mode "$1" || true
}

case ${1:-} in
  install) install_package ;;
  up) up ;;
  env) environment ;;
  status) answers ;;
  down) down fast ;;
  crash) down immediate ;;
  wipe)
    down immediate
    rm -rf "$STATE"
    ;;
  *)
    echo "usage: $0 install|up|env|status|down|crash|wipe" >&2
    exit 2
    ;;
esac
