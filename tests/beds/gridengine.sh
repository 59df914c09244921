#!/usr/bin/env bash
# A real Grid Engine (8.1.9) on one machine: sge_qmaster and one sge_execd, a queue `all.q`, a parallel
# environment `smp`, a project `test`.
#
#   gridengine.sh install   the Debian packages
#   gridengine.sh up        a fresh cluster of one node
#   gridengine.sh status    say by the exit code whether it is up
#   gridengine.sh down      stop it
#   gridengine.sh prefix    print what a command must be called with to be on the cluster
#
# BED     folder of all beds' state (/var/tmp/eemt-beds)
# SLOTS   jobs or cores that the node takes at a time (4)
#
# Needs root and Debian or Ubuntu. Grid Engine refuses hosts that are called 127.0.0.1, so the cluster lives in the
# network namespace of netns.sh, and in a mount namespace in which /etc/hosts gives this host the address there.
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
SLOTS=${SLOTS:-4}
HERE=$(cd "$(dirname "$0")" && pwd)
G=$BED/gridengine
ADDRESS=10.99.0.1
KEEPER=$G/keeper.pid # a process that does nothing but hold the mount namespace
export SGE_ROOT=$G/root SGE_CELL=default SGE_QMASTER_PORT=16444 SGE_EXECD_PORT=16445

prefix() {
  echo "env SGE_ROOT=$SGE_ROOT SGE_CELL=$SGE_CELL SGE_QMASTER_PORT=$SGE_QMASTER_PORT" \
    "SGE_EXECD_PORT=$SGE_EXECD_PORT nsenter --net=/run/netns/eemtbed --mount=/proc/$(cat "$KEEPER")/ns/mnt --wdns=$PWD"
}

install() {
  local package missing=()
  for package in master exec client; do
    [ -e "/usr/share/doc/gridengine-$package" ] || missing+=("gridengine-$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
    "${missing[@]}" > /dev/null
}

down() {
  local name pid
  for name in execd qmaster; do
    pid=$(find "$G" -name "$name.pid" -exec cat {} + 2> /dev/null || true)
    [ -n "$pid" ] && kill "$pid" 2> /dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2> /dev/null || break; sleep 0.2; done
  done
  [ ! -s "$KEEPER" ] || { kill "$(cat "$KEEPER")" 2> /dev/null || true; rm "$KEEPER"; }
}

start_daemons() { # inside both namespaces
  # the packages' programs and tables, with a cell and a spool of the bed's own
  mkdir -p "$SGE_ROOT/$SGE_CELL/common" "$G/spool/qmaster" "$G/spooldb"
  for part in bin lib util utilbin; do ln -sfn "/var/lib/gridengine/$part" "$SGE_ROOT/$part"; done
  sed "s#/var/spool/gridengine/spooldb#$G/spooldb#; s#/var/spool/gridengine#$G/spool#" \
    /var/lib/gridengine/default/common/bootstrap > "$SGE_ROOT/$SGE_CELL/common/bootstrap"
  chown -R sgeadmin "$G"
  runuser -u sgeadmin -- env SGE_ROOT="$SGE_ROOT" SGE_CELL="$SGE_CELL" \
    /usr/share/gridengine/scripts/init_cluster "$SGE_ROOT" "$SGE_CELL" "$G/spooldb" sgeadmin > "$G/init.log" 2>&1
  hostname > "$SGE_ROOT/$SGE_CELL/common/act_qmaster"
  chown sgeadmin "$SGE_ROOT/$SGE_CELL/common/act_qmaster"
  runuser -u sgeadmin -- env SGE_ROOT="$SGE_ROOT" SGE_CELL="$SGE_CELL" SGE_QMASTER_PORT="$SGE_QMASTER_PORT" \
    SGE_EXECD_PORT="$SGE_EXECD_PORT" sge_qmaster > "$G/qmaster.log" 2>&1
  for _ in $(seq 100); do qconf -sh > /dev/null 2>&1 && break; sleep 0.2; done
  configure
}

configure() {
  local host
  host=$(hostname)
  set_up -as "$host"
  printf 'group_name @allhosts\nhostlist %s\n' "$host" > "$G/hosts"
  set_up -Ahgrp "$G/hosts"
  # root runs the tests, and jobs see what happens within a second
  qconf -sconf | sed -E 's/^(min_uid|min_gid) .*/\1 0/; s#^execd_spool_dir.*#execd_spool_dir '"$G/spool"'#' > "$G/global"
  set_up -Mconf "$G/global"
  qconf -ssconf | sed -E 's/^schedule_interval.*/schedule_interval 0:0:1/; s/^flush_(submit|finish)_sec.*/flush_\1_sec 1/' > "$G/scheduler"
  set_up -Msconf "$G/scheduler"
  printf 'name test\noticket 0\nfshare 0\nacl NONE\nxacl NONE\n' > "$G/project"
  set_up -Aprj "$G/project"
  printf '%s\n' "pe_name smp" "slots $SLOTS" "user_lists NONE" \
    "xuser_lists NONE" "start_proc_args NONE" "stop_proc_args NONE" "allocation_rule \$pe_slots" \
    "control_slaves FALSE" "job_is_first_task TRUE" "urgency_slots min" "accounting_summary FALSE" "qsort_args NONE" > "$G/smp"
  set_up -Ap "$G/smp"
  sge_execd > "$G/execd.log" 2>&1
  qconf -sq | sed -E "s/^qname .*/qname all.q/; s/^hostlist .*/hostlist @allhosts/; s/^slots .*/slots $SLOTS/;
    s/^pe_list .*/pe_list smp/; s#^shell .*#shell /bin/bash#; s/^load_thresholds .*/load_thresholds NONE/" > "$G/queue"
  set_up -Aq "$G/queue"
}

set_up() { # root manages the cluster already
  qconf "$@" >> "$G/configure.log" 2>&1 || { cat "$G/configure.log" >&2; return 1; }
}

up() {
  install
  down
  rm -rf "$G"
  mkdir -p "$G"
  chmod 755 "$BED" "$G"
  "$HERE/netns.sh" up > /dev/null
  printf '127.0.0.1 localhost\n%s %s\n' "$ADDRESS" "$(hostname)" > "$G/etc-hosts"
  # shellcheck disable=SC2016
  setsid nsenter --net=/run/netns/eemtbed unshare --mount sh -c \
    'mount --bind "$1" /etc/hosts && echo $$ > "$2" && exec sleep infinity' sh "$G/etc-hosts" "$KEEPER" \
    < /dev/null > /dev/null 2>&1 &
  for _ in $(seq 50); do [ -s "$KEEPER" ] && break; sleep 0.1; done
  chmod 644 "$G/etc-hosts"
  $(prefix) bash "$0" start
  for _ in $(seq 100); do $(prefix) qstat -f 2> /dev/null | grep -q "all.q@.*0/0/$SLOTS .*[0-9.]* *lx-[a-z0-9]* *\$" && return; sleep 0.3; done
  $(prefix) qstat -f >&2 || true
  echo "gridengine.sh: the node did not come up; see $G" >&2
  exit 1
}

case ${1:-} in
  install) install ;;
  up) up ;;
  start) start_daemons ;; # by `up`, inside the namespaces
  status) [ -s "$KEEPER" ] && $(prefix) timeout 5 qstat > /dev/null 2>&1 ;;
  down) down ;;
  prefix) prefix ;;
  *)
    echo "usage: $0 install | up | status | down | prefix" >&2
    exit 2
    ;;
esac
