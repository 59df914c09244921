#!/usr/bin/env bash
# A real HTCondor (23.9) on one machine: a pool of one node whose slot of two cores is divided among jobs, the
# queue on the same host, an ordinary user `eemt` to submit. It lives in a root file system of Debian trixie's
# packages, with the checkout and a Python environment of its pins; this host's own Python is not used.
#
#   htcondor.sh install   the root file system and the Python environment, 1.6 GB
#   htcondor.sh up        a fresh pool; what jobs wrote in $BED/htcondor/work stays
#   htcondor.sh status    say by the exit code whether it is up
#   htcondor.sh down      stop it
#   htcondor.sh prefix    print what a command must be called with to be the pool's user on its host
#   htcondor.sh env       print both, the prefix and the folder that host and pool share, as lines for a shell
#
# BED     folder of all beds' state (/var/tmp/eemt-beds)
# CPUS    cores that the node offers (2), MEMORY its memory in MB (16000): offered, not reserved
#
# Needs root and Debian or Ubuntu with mmdebstrap. Processes, mounts and network are namespaces' of the bed's own, which
# end with their first process, in whatever way that ends: nothing stays mounted or running, nothing listens outside.
set -euo pipefail

BED=${BED:-/var/tmp/eemt-beds}
CPUS=${CPUS:-2}
MEMORY=${MEMORY:-16000}
HERE=$(cd "$(dirname "$0")" && pwd)
CHECKOUT=$(cd "$HERE/../.." && pwd)
H=$BED/htcondor
ROOT=$H/root         # root file system
WORK=$H/work         # the file system that queue and node share
POOL=$H/pool         # logs, queue and scratch of the daemons
KEEPER=$H/keeper.pid # first process of the namespaces, by its number on this host
USER_ID=51234
ENVIRONMENT=/opt/eemt # in $ROOT
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

prefix() {
  alive || { echo "htcondor.sh: no pool is up in $BED" >&2; exit 1; }
  echo "nsenter --target=$(cat "$KEEPER") --mount --net --pid --uts --ipc --wdns=$WORK" \
    "setpriv --reuid=$USER_ID --regid=$USER_ID --init-groups --no-new-privs" \
    "env -i USER=eemt HOME=$WORK LANG=C.UTF-8 TZ=UTC PATH=$ENVIRONMENT/bin:/usr/bin:/bin"
}

environment() {
  local words
  words=$(prefix)
  echo "export EEMT_HTCONDOR_PREFIX='$words'"
  echo "export EEMT_HTCONDOR_WORK='$WORK'"
}

alive() { [ -s "$KEEPER" ] && kill -0 "$(cat "$KEEPER")" 2> /dev/null; }

# what the environment was made of
pins() { cat "$CHECKOUT"/requirements.txt "$CHECKOUT"/requirements-htcondor.txt "$CHECKOUT"/pyproject.toml | sha256sum; }

installed() { [ -e "$ROOT$ENVIRONMENT/pins" ] && [ "$(cat "$ROOT$ENVIRONMENT/pins")" = "$(pins) $CHECKOUT" ]; }

install() {
  installed && return
  alive && down
  local missing=()
  command -v mmdebstrap > /dev/null || missing+=(mmdebstrap)
  command -v ip > /dev/null || missing+=(iproute2)
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
      "${missing[@]}" > /dev/null
  fi
  mkdir -p "$H"
  if [ ! -e "$ROOT/etc/eemt-bed" ]; then
    rm -rf "$ROOT" "$ROOT.new"
    mmdebstrap --quiet --variant=apt --include=ca-certificates,htcondor,mount,python3,python3-venv \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' trixie "$ROOT.new"
    chroot "$ROOT.new" /usr/sbin/useradd --uid "$USER_ID" --user-group --no-create-home --home-dir "$WORK" eemt
    touch "$ROOT.new/etc/eemt-bed"
    mv "$ROOT.new" "$ROOT"
  fi
  # this host's way to the package index, with its authorities
  cp -L "$CERTIFICATES" "$ROOT$CERTIFICATES"
  cp -L /etc/resolv.conf "$ROOT/etc/resolv.conf"
  unshare --mount --pid --fork --kill-child bash "$0" environment-inside
  echo "$(pins) $CHECKOUT" > "$ROOT$ENVIRONMENT/pins"
}

mount_inside() { # in a mount namespace: what the root file system needs of this host
  mount --make-rprivate /
  mount --bind "$ROOT" "$ROOT"
  mount -t proc proc "$ROOT/proc"
  mount --bind -o ro "$ROOT/proc/sys" "$ROOT/proc/sys"
  mount --rbind /dev "$ROOT/dev"
  mkdir -p "$ROOT$CHECKOUT" "$ROOT$WORK" "$ROOT$POOL"
  mount --bind "$CHECKOUT" "$ROOT$CHECKOUT"
}

make_environment() { # inside the namespaces of `install`
  mount_inside
  chroot "$ROOT" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8 PIP_CERT="$CERTIFICATES" SSL_CERT_FILE="$CERTIFICATES" \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_DEFAULT_TIMEOUT=180 \
    sh -euc '
      [ -x "$1/bin/pip" ] || python3 -m venv "$1"
      cd "$2"
      "$1/bin/pip" install --quiet --require-hashes --requirement requirements.txt
      "$1/bin/pip" install --quiet --no-deps --require-hashes --requirement requirements-htcondor.txt
      "$1/bin/pip" install --quiet --no-deps --no-build-isolation --editable .' sh "$ENVIRONMENT" "$CHECKOUT"
}

write_configuration() {
  # in place of the file in which Debian sets up its security
  cat > "$ROOT/etc/condor/config.d/00-htcondor-9.0.config" << CONF
LOCAL_DIR = $POOL
RUN = $POOL/run
LOG = $POOL/log
LOCK = $POOL/lock
SPOOL = $POOL/spool
EXECUTE = $POOL/execute
CONDOR_HOST = pool.eemtbed
NETWORK_INTERFACE = 127.0.0.1
COLLECTOR_PORT = 19618
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
# host and node see the same files under the same names
UID_DOMAIN = eemtbed
FILESYSTEM_DOMAIN = eemtbed
TRUST_UID_DOMAIN = TRUE
# nothing outside the pool's network namespace can reach it
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
# clients of newer versions, as the wheels on PyPI are, ask for more than a server of this one can show them
SEC_FS_ENFORCE_CHANNEL_BINDING = FALSE
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
ALLOW_ADMINISTRATOR = *
# one slot, divided as jobs ask
NUM_CPUS = $CPUS
MEMORY = $MEMORY
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = TRUE
START = TRUE
SUSPEND = FALSE
PREEMPT = FALSE
KILL = FALSE
# matches within seconds, where a pool takes a minute
NEGOTIATOR_INTERVAL = 5
NEGOTIATOR_CYCLE_DELAY = 2
NEGOTIATOR_UPDATE_INTERVAL = 10
SCHEDD_INTERVAL = 5
UPDATE_INTERVAL = 5
# a job that takes more memory than its slot has is put on hold, within seconds
use POLICY : HOLD_IF_MEMORY_EXCEEDED
POLLING_INTERVAL = 1
STARTER_INITIAL_UPDATE_INTERVAL = 1
STARTER_UPDATE_INTERVAL = 2
PID_SNAPSHOT_INTERVAL = 1
# the kernel is the host's: its settings stay as they are
ENABLE_KERNEL_TUNING = FALSE
# in namespaces, without control groups of its own, jobs were held with these
MOUNT_PRIVATE_DEV_SHM = FALSE
MOUNT_UNDER_SCRATCH =
USE_PID_NAMESPACES = FALSE
PER_JOB_NAMESPACES = FALSE
BASE_CGROUP =
CONF
}

start_daemons() { # inside the namespaces, as their first process
  local id _
  # this process's number on the host stands in the /proc that the host mounted
  read -r id _ < /proc/self/stat
  mount_inside
  mount --bind "$WORK" "$ROOT$WORK"
  mount --bind "$POOL" "$ROOT$POOL"
  ip link set lo up
  hostname pool.eemtbed
  echo "$id" > "$KEEPER"
  cd "$ROOT"
  mkdir -p .old
  pivot_root . .old
  # so that `nsenter` finds this root too
  exec chroot . sh -c 'cd / && umount -l /.old && exec "$@"' sh bash -c '
    condor_master -f > "$0/log/stdout" 2>&1 &
    wait $!' "$POOL"
}

down() {
  [ -s "$KEEPER" ] || return 0
  local pid
  pid=$(cat "$KEEPER")
  # only what is this bed's: the number may be another's by now
  if grep -qs -e condor_master -e htcondor.sh "/proc/$pid/cmdline"; then
    kill -9 "$pid" 2> /dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  fi
  rm -f "$KEEPER"
}

is_up() { # a slot is there, and the queue answers
  alive && [ "$($(prefix) timeout 10 condor_status -af Name 2> /dev/null | wc -l)" -ge 1 ] &&
    $(prefix) timeout 10 condor_q > /dev/null 2>&1
}

up() {
  install
  down
  rm -rf "$POOL"
  mkdir -p "$WORK" "$POOL"/{run,log,lock,spool,execute}
  chmod 755 "$BED" "$H" "$ROOT" "$POOL" "$WORK"
  chown "$USER_ID:$USER_ID" "$WORK"
  write_configuration
  printf '127.0.0.1 pool.eemtbed pool localhost\n' > "$ROOT/etc/hosts"
  local condor
  condor=$(awk -F: '$1 == "condor" { print $3 ":" $4 }' "$ROOT/etc/passwd")
  chown "$condor" "$POOL"/*
  chmod 1777 "$POOL/lock"
  setsid unshare --mount --net --pid --uts --ipc --fork --kill-child bash "$0" start < /dev/null > "$H/start.log" 2>&1 &
  local unshared=$!
  for _ in $(seq 150); do
    is_up && return
    kill -0 "$unshared" 2> /dev/null || break
    sleep 0.4
  done
  cat "$H/start.log" >&2
  down
  echo "htcondor.sh: the pool did not come up; see $POOL/log" >&2
  exit 1
}

case ${1:-} in
  install) install ;;
  installed) installed ;;
  environment-inside) make_environment ;; # by `install`, in its namespaces
  up) up && environment ;;
  start) start_daemons ;; # by `up`, in its namespaces
  status) is_up ;;
  down) down ;;
  prefix) prefix ;;
  env) environment ;;
  *)
    echo "usage: $0 install | up | status | down | prefix | env" >&2
    exit 2
    ;;
esac
