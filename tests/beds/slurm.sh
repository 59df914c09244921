#!/usr/bin/env bash
# A real SLURM on one machine: slurmctld, NODES slurmd, munge, and slurmdbd on MariaDB so that `sacct` works.
# The nodes share the machine's processors and disk; a job's memory is limited by its control group, so that
# a job that takes more is killed as on a cluster.
#
#   slurm.sh install      the Debian packages
#   slurm.sh up [NODES]   a fresh cluster, 4 nodes where none are named
#   slurm.sh node NAME    start a node's slurmd again after it was killed
#   slurm.sh status       say by the exit code whether a cluster is up
#   slurm.sh down         stop everything
#   slurm.sh prefix       print what a command must be called with to be on the cluster's network
#
# BED     folder of all beds' state (/var/tmp/eemt-beds)
# CPUS    processors that each node offers (4), MEMORY its memory in MB (16000): offered, not reserved
#
# Needs root and Debian or Ubuntu. It lives in the network namespace that netns.sh makes: nothing that
# listens here can be reached from outside the machine.
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
CPUS=${CPUS:-4}
MEMORY=${MEMORY:-16000}
HERE=$(cd "$(dirname "$0")" && pwd)
S=$BED/slurm
NAMESPACE=/run/netns/eemtbed
CONTROLLER_PORT=16817 DATABASE_PORT=16819 NODE_PORT=17000
SOCKET=$S/mysql/mysqld.sock
export SLURM_CONF=$S/slurm.conf
LINK=/etc/slurm/slurm.conf

# `ip netns exec` would mount /sys anew, and the control groups would be gone
prefix() { echo "nsenter --net=$NAMESPACE"; }

install() {
  local missing=()
  command -v slurmctld > /dev/null || missing+=(slurm-wlm)
  command -v slurmdbd > /dev/null || missing+=(slurmdbd slurm-wlm-mysql-plugin)
  command -v munged > /dev/null || missing+=(munge)
  command -v mariadbd > /dev/null || missing+=(mariadb-server)
  command -v ip > /dev/null || missing+=(iproute2)
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
    "${missing[@]}" > /dev/null
}

wait_for() { # SECONDS WHAT COMMAND...
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $until ] || { echo "slurm.sh: $what did not come up; see $S/log" >&2; exit 1; }
    sleep 0.2
  done
}

stop() { # PIDFILE...: end what this bed started, and wait until it has ended
  local file pid
  for file in "$@"; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2> /dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2> /dev/null || true
  done
}

down() {
  # jobs first: those that a node runs outlive the daemons
  if [ -s "$S/run/slurmctld.pid" ] && kill -0 "$(cat "$S/run/slurmctld.pid")" 2> /dev/null; then
    # shellcheck disable=SC2046
    $(prefix) timeout 5 scancel --user=root 2> /dev/null || true
    sleep 1
  fi
  stop "$S"/run/slurmctld.pid "$S"/run/slurmd-*.pid "$S"/run/slurmdbd.pid "$S"/mysql/mysqld.pid
  [ "$(readlink "$LINK")" != "$SLURM_CONF" ] || rm "$LINK"
  # munged is the machine's where it ran before
  [ -e "$S/run/munged.ours" ] && stop /run/munge/munged.pid && rm -f "$S/run/munged.ours"
  return 0
}

start_munge() {
  mkdir -p /run/munge
  chown munge /run/munge
  chmod 755 /run/munge
  munge --no-input > /dev/null 2>&1 && return
  [ -e /etc/munge/munge.key ] || mungekey
  runuser -u munge -- /usr/sbin/munged
  touch "$S/run/munged.ours"
}

start_database() {
  mkdir -p "$S/mysql"
  chown mysql "$S/mysql"
  mariadb-install-db --user=mysql --datadir="$S/mysql" --auth-root-authentication-method=socket > "$S/log/install.log" 2>&1
  mariadbd --no-defaults --user=mysql --datadir="$S/mysql" --socket="$SOCKET" --skip-networking \
    --pid-file="$S/mysql/mysqld.pid" --innodb-buffer-pool-size=64M > "$S/log/mysqld.log" 2>&1 &
  wait_for 30 mariadbd mariadb --socket="$SOCKET" --execute='select 1'
  mariadb --socket="$SOCKET" --execute="create user slurm@localhost identified by 'slurm';
    grant all on slurm_acct_db.* to slurm@localhost"
  cat > "$S/slurmdbd.conf" << CONF
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$DATABASE_PORT
SlurmUser=slurm
AuthType=auth/munge
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile=$S/log/slurmdbd.log
PidFile=$S/run/slurmdbd.pid
CONF
  chown slurm "$S/slurmdbd.conf"
  chmod 600 "$S/slurmdbd.conf" # slurmdbd refuses to start otherwise
  # the socket is the bed's own; this variable is where the client library looks for it
  runuser -u slurm -- env SLURM_CONF="$SLURM_CONF" MYSQL_UNIX_PORT="$SOCKET" slurmdbd
  wait_for 30 slurmdbd bash -c "exec 3<> /dev/tcp/127.0.0.1/$DATABASE_PORT"
}

write_configuration() { # NODES
  local host
  host=$(hostname)
  cat > "$S/slurm.conf" << CONF
ClusterName=eemtbed
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$CONTROLLER_PORT
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=$S/state
SlurmdSpoolDir=$S/spool-%n
SlurmctldPidFile=$S/run/slurmctld.pid
SlurmdPidFile=$S/run/slurmd-%n.pid
SlurmctldLogFile=$S/log/slurmctld.log
SlurmdLogFile=$S/log/slurmd-%n.log
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup,task/affinity
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
# the least loaded node first, so that a few small jobs use all nodes
SelectTypeParameters=CR_CPU_Memory,CR_LLN
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
# a node that no longer answers is down, and its jobs are lost, after so many seconds
SlurmdTimeout=10
KillWait=2
ReturnToService=2
# nodes offer what is written here, not what the machine has
SlurmdParameters=config_overrides
DefMemPerCPU=500
MinJobAge=300
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$DATABASE_PORT
AccountingStorageEnforce=associations
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
CONF
  for i in $(seq "$1"); do
    echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((NODE_PORT + i)) CPUs=$CPUS RealMemory=$MEMORY"
  done >> "$S/slurm.conf"
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >> "$S/slurm.conf"
  # one hierarchy of control groups (version 2) or one for each resource (version 1)
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    printf 'CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n'
  else
    printf 'CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n'
  fi > "$S/cgroup.conf"
  printf 'ConstrainCores=no\nConstrainRAMSpace=yes\nConstrainSwapSpace=yes\nAllowedSwapSpace=0\n' >> "$S/cgroup.conf"
}

up() { # NODES
  local nodes=${1:-4}
  install
  down
  [ ! -e "$LINK" ] || { echo "slurm.sh: $LINK exists: this machine has a SLURM of its own" >&2; exit 1; }
  rm -rf "$S"
  mkdir -p "$S"/{state,log,run}
  chmod 755 "$BED" "$S"
  write_configuration "$nodes"
  # Snakemake's job steps forget SLURM_CONF, and `srun` looks here
  ln -s "$SLURM_CONF" "$LINK"
  chown -R slurm "$S"/{state,log,run}
  start_munge
  start_database
  sacctmgr --immediate add cluster eemtbed > /dev/null
  sacctmgr --immediate add account test > /dev/null
  sacctmgr --immediate add user root account=test > /dev/null
  runuser -u slurm -- env SLURM_CONF="$SLURM_CONF" slurmctld
  for i in $(seq "$nodes"); do slurmd -N "n$i"; done
  wait_for 30 "a cluster of $nodes nodes" bash -c "[ \"\$(sinfo --noheader --states=idle --format=%D)\" = $nodes ]"
}

on_network() { # the rest of this script, inside the namespace
  "$HERE/netns.sh" up > /dev/null
  exec env IN_BED=1 nsenter --net="$NAMESPACE" bash "$0" "$@"
}

case ${1:-} in
  install) install ;;
  up | node) [ "${IN_BED:-}" = 1 ] || { install && on_network "$@"; } ;;&
  up) up "${2:-4}" && sinfo --Node --long ;;
  node) slurmd -N "${2:?name of the node}" ;;
  down) down ;;
  status) [ -e "$NAMESPACE" ] && $(prefix) timeout 5 sinfo > /dev/null 2>&1 ;;
  prefix) prefix ;;
  *)
    echo "usage: $0 install | up [NODES] | node NAME | status | down | prefix" >&2
    exit 2
    ;;
esac
